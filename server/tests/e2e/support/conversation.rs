//! The least of a Git client: one request as packets, and the pack of its answer. For what stock Git's client would not
//! ask, or would take too long over.

use super::http::{Answer, request};

/// A POST of these packets to `/path/git-upload-pack`; `0000` and `0001` are the special ones.
pub fn post(port: u16, path: &str, version: u8, lines: &[&str]) -> Answer {
    let body: String = lines.iter().map(|line| packet(line)).collect();
    let protocol = format!("version={version}");
    let headers = [("Git-Protocol", &*protocol), ("Content-Type", "application/x-git-upload-pack-request")];
    request("POST", port, &format!("/{path}/git-upload-pack"), &headers, body.as_bytes()).expect("an answer")
}

/// A fetch of all that `wants` says, with more arguments.
pub fn fetch(port: u16, path: &str, version: u8, wants: &[&str], more: &[&str]) -> Answer {
    if version == 2 {
        let lines = [&["command=fetch", "0001", "no-progress"], wants, more, &["done", "0000"]].concat();
        return post(port, path, 2, &lines);
    }
    // Capabilities stand on the first want; there a filter is one too.
    let first = format!("{} side-band-64k ofs-delta thin-pack no-progress filter deepen-relative", wants[0]);
    let relative = |line: &&&str| **line != "deepen-relative";
    let more: Vec<&str> = more.iter().filter(relative).copied().collect();
    let (haves, more): (Vec<&str>, Vec<&str>) = more.into_iter().partition(|line| line.starts_with("have "));
    let lines = [&[first.as_str()], &wants[1..], &more, &["0000"], &haves, &["done"]].concat();
    post(port, path, version, &lines)
}

pub fn packet(line: &str) -> String {
    match line {
        "0000" | "0001" => line.into(),
        _ => format!("{:04x}{line}\n", line.len() + 5),
    }
}

/// What band 1 carries, from the pack's first byte on.
pub fn pack_of(answer: &Answer) -> Option<Vec<u8>> {
    let payload = answer.payload();
    let (mut rest, mut pack) = (&payload[..], Vec::new());
    while let Some(length) = rest.get(..4) {
        let length = usize::from_str_radix(std::str::from_utf8(length).ok()?, 16).ok()?;
        let frame = rest.get(4..length.max(4))?;
        if let Some((1, data)) = frame.split_first()
            && (!pack.is_empty() || data.starts_with(b"PACK"))
        {
            pack.extend_from_slice(data);
        }
        rest = &rest[length.max(4)..];
    }
    (!pack.is_empty()).then_some(pack)
}
