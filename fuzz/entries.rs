//! What the fuzz targets do with their input, in one file: each target calls one function of it, and
//! `server/tests/fuzz_replay.rs` calls the same ones on the seeds and on every finding kept in `fuzz/findings/`.
//!
//! An entry may do anything but panic, hang or grow; where something can be asserted about the result, it is.

use heliostat::{
    config::{Config, Overrides},
    http::{body::Body, head::http_head},
};
use heliostat_core::{RepositoryPath, graph::Filter, refs::RefName};

/// Name and function of every entry.
pub const ENTRIES: &[(&str, fn(&[u8]))] = &[
    ("config", config),
    ("filter_spec", filter_spec),
    ("http_head", http_head_and_body),
    ("ref_name", ref_name),
    ("repository_path", repository_path),
];

/// The configuration file.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(mistakes) = Config::load(text, &Overrides::default()) {
        assert!(!mistakes.is_empty(), "refused without a reason");
    }
}

/// `filter` lines. What is accepted is written and read back as the same filter.
pub fn filter_spec(data: &[u8]) {
    if let Ok(filter) = Filter::parse(data) {
        assert_eq!(Filter::parse(filter.to_string().as_bytes()).as_ref(), Ok(&filter));
    }
}

/// HTTP heads and the bodies that they announce, in pieces of the size that the first byte names.
pub fn http_head_and_body(data: &[u8]) {
    let Some((&size, data)) = data.split_first() else { return };
    let Ok(Some((head, used))) = http_head(data) else { return };
    assert!(used <= data.len());
    let mut body = Body::new(head.framing, head.coding);
    let mut total = 0;
    for piece in data[used..].chunks(usize::from(size).max(1)) {
        let mut rest = piece;
        while !rest.is_empty() && !body.is_complete() {
            match body.feed(rest, &mut |bytes| total += bytes.len()) {
                Ok(0) => break,
                Ok(taken) => rest = &rest[taken..],
                Err(_) => return,
            }
        }
    }
    assert!(total <= heliostat_core::limits::REQUEST_BYTES_MAX, "a body grew past its limit");
}

/// Reference names. What is accepted can become neither a traversal, nor a lock, nor an option, nor a terminal escape.
pub fn ref_name(data: &[u8]) {
    let Ok(name) = RefName::new(data) else { return };
    let name = name.as_bstr();
    assert!(name.starts_with(b"refs/"));
    assert!(!name.iter().any(|&b| b < b' ' || b == 0x7f || b" ~^:?*[\\".contains(&b)));
    for component in name.split(|&b| b == b'/') {
        assert!(!component.is_empty() && !component.starts_with(b".") && !component.ends_with(b".lock"));
        assert!(!component.windows(2).any(|two| two == b".."));
    }
}

/// Repository paths of requests. What is accepted stays below the root and survives a round through a URL.
pub fn repository_path(data: &[u8]) {
    let Ok(path) = RepositoryPath::new(data) else { return };
    let text = path.as_str();
    assert!(!text.starts_with('/') && !text.contains("//") && !text.contains('\\'));
    assert!(!text.chars().any(char::is_control));
    assert!(text.split('/').all(|component| component != ".." && component != "." && !component.is_empty()));
    assert!(path.to_url_path().bytes().all(|b| b.is_ascii_graphic()));
}
