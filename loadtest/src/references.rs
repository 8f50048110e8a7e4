//! What a server says before the fetch: its capabilities and its references (`gitprotocol-v2`).

use crate::connection::Connection;
use crate::failure::Failure;
use crate::frames::{Frame, Frames, push, text};

pub(crate) const AGENT: &str = "agent=heliostat-loadtest/0.1";

/// A SHA-1, in hexadecimal as it came.
pub(crate) type Id = [u8; 40];

/// What of the capabilities a clone depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) shallow: bool,
    pub(crate) filter: bool,
}

/// What `ls-refs` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// The commit that HEAD leads to.
    pub(crate) head: Option<Id>,
    /// The ids of all references, without duplicates.
    pub(crate) ids: Vec<Id>,
    /// How many references.
    pub(crate) count: u64,
}

/// `GET info/refs`.
pub(crate) fn capabilities(connection: &mut Connection) -> Result<Capabilities, Failure> {
    let body = connection.get("info/refs?service=git-upload-pack", "application/x-git-upload-pack-advertisement")?;
    let mut frames = Frames::new(body);
    let mut line = data(&mut frames)?;
    if text(line) == b"# service=git-upload-pack" {
        // Allowed in v2 too, and sent by some servers: a section of its own.
        if frames.next()? != Frame::Flush {
            return Err(Failure::Framing("no flush after the name of the service"));
        }
        line = data(&mut frames)?;
    }
    if text(line) != b"version 2" {
        return Err(Failure::Framing("not protocol version 2"));
    }
    let mut found = Capabilities::default();
    let (mut can_list, mut can_fetch) = (false, false);
    while let Frame::Data(line) = frames.next()? {
        let line = text(line);
        can_list |= line == b"ls-refs" || line.starts_with(b"ls-refs=");
        if line == b"fetch" || line.starts_with(b"fetch=") {
            can_fetch = true;
            let words = line.get(6..).unwrap_or_default();
            let has = |word: &[u8]| words.split(|&byte| byte == b' ').any(|it| it == word);
            found = Capabilities { shallow: has(b"shallow"), filter: has(b"filter") };
        }
        if line.starts_with(b"object-format=") && line != b"object-format=sha1" {
            return Err(Failure::Capability("object-format=sha1"));
        }
    }
    frames.end()?;
    match (can_list, can_fetch) {
        (true, true) => Ok(found),
        (false, _) => Err(Failure::Capability("ls-refs")),
        (_, false) => Err(Failure::Capability("fetch")),
    }
}

/// `ls-refs` of what begins with `prefixes`; with none, of everything.
pub(crate) fn list(connection: &mut Connection, prefixes: &[&str]) -> Result<References, Failure> {
    let mut request = Vec::new();
    for line in ["command=ls-refs", AGENT, "object-format=sha1"] {
        push(&mut request, line);
    }
    request.extend_from_slice(b"0001");
    for line in ["peel", "symrefs"] {
        push(&mut request, line);
    }
    for prefix in prefixes {
        push(&mut request, &format!("ref-prefix {prefix}"));
    }
    request.extend_from_slice(b"0000");

    let mut frames = Frames::new(connection.post(&request)?);
    let mut found = References::default();
    loop {
        let line = match frames.next()? {
            Frame::Data(line) => text(line),
            Frame::Flush => break,
            Frame::Delimiter => return Err(Failure::Framing("a delimiter among references")),
        };
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(first), Some(name)) = (words.next(), words.next()) else {
            return Err(Failure::References("a line without a name"));
        };
        if first == b"unborn" {
            continue;
        }
        let id = id(first).ok_or(Failure::References("a line without an id"))?;
        if name == b"HEAD" {
            found.head = Some(id);
        } else if !name.starts_with(b"refs/") {
            return Err(Failure::References("a name outside of refs/"));
        }
        found.ids.push(id);
        found.count += 1;
    }
    frames.end()?;
    found.ids.sort_unstable();
    found.ids.dedup();
    Ok(found)
}

/// An id in hexadecimal.
pub(crate) fn id(word: &[u8]) -> Option<Id> {
    let id = Id::try_from(word).ok()?;
    id.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(id)
}

fn data<'f>(frames: &'f mut Frames<'_>) -> Result<&'f [u8], Failure> {
    match frames.next()? {
        Frame::Data(line) => Ok(line),
        Frame::Flush | Frame::Delimiter => Err(Failure::Framing("an empty section")),
    }
}
