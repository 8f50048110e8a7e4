//! The `fetch` command: a request, and an answer judged to its last byte (`gitprotocol-v2`).

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::failure::{Failure, PackFault};
use crate::frames::{Frame, Frames, push, text};
use crate::pack::{Pack, PackCheck};
use crate::references::{AGENT, Id, id};

/// What to ask for.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) wants: &'a [Id],
    pub(crate) haves: &'a [Id],
    /// 0 for all of history.
    pub(crate) depth: u32,
    pub(crate) filter: Option<&'static str>,
    /// Inflate and count entries.
    pub(crate) walk: bool,
}

/// A whole answer.
pub(crate) struct Fetched {
    pub(crate) pack: Pack,
    /// New shallow commits.
    pub(crate) shallow: Vec<Id>,
    /// Bytes of bodies.
    pub(crate) bytes: u64,
    /// From the beginning to the first byte of the pack.
    pub(crate) first_byte: Duration,
}

/// What one round of the conversation gave.
struct Round {
    pack: Option<(Pack, Instant)>,
    shallow: Vec<Id>,
    bytes: u64,
}

/// As Git does it: with haves, a first round without `done`, and a second if the server is not `ready`.
pub(crate) fn fetch(connection: &mut Connection, request: &Request<'_>) -> Result<Fetched, Failure> {
    let begin = Instant::now();
    let mut bytes = 0;
    for done in [request.haves.is_empty(), true] {
        let mut frames = Frames::new(connection.post(&request.encode(done))?);
        let mut round = Round { pack: None, shallow: Vec::new(), bytes: 0 };
        while read_section(&mut frames, &mut round, request)? {}
        round.bytes = frames.end()?;
        bytes += round.bytes;
        if let Some((pack, at)) = round.pack {
            return Ok(Fetched { pack, shallow: round.shallow, bytes, first_byte: at - begin });
        }
        if done {
            break;
        }
    }
    Err(Failure::Pack(PackFault::Absent))
}

impl Request<'_> {
    fn encode(&self, done: bool) -> Vec<u8> {
        let mut request = Vec::new();
        for line in ["command=fetch", AGENT, "object-format=sha1"] {
            push(&mut request, line);
        }
        request.extend_from_slice(b"0001");
        for line in ["thin-pack", "no-progress", "include-tag", "ofs-delta"] {
            push(&mut request, line);
        }
        if self.depth > 0 {
            push(&mut request, &format!("deepen {}", self.depth));
        }
        if let Some(filter) = self.filter {
            push(&mut request, &format!("filter {filter}"));
        }
        for (word, ids) in [("want", self.wants), ("have", self.haves)] {
            for id in ids {
                push(&mut request, &format!("{word} {}", String::from_utf8_lossy(id)));
            }
        }
        if done {
            push(&mut request, "done");
        }
        request.extend_from_slice(b"0000");
        request
    }
}

/// Reads one section; false after the last one.
fn read_section(frames: &mut Frames<'_>, round: &mut Round, request: &Request<'_>) -> Result<bool, Failure> {
    let Frame::Data(name) = frames.next()? else { return Err(Failure::Framing("a section without a name")) };
    match text(name) {
        b"packfile" => {
            round.pack = Some(read_pack(frames, request.walk)?);
            return Ok(false);
        }
        b"acknowledgments" | b"shallow-info" => {}
        _ => return Err(Failure::Framing("a section that was not asked for")),
    }
    loop {
        match frames.next()? {
            Frame::Delimiter => return Ok(true),
            Frame::Flush => return Ok(false),
            Frame::Data(line) => match split(text(line)) {
                (b"shallow", rest) => round.shallow.push(id(rest).ok_or(Failure::Framing("a shallow line"))?),
                (b"ACK" | b"unshallow", rest) if id(rest).is_some() => {}
                (b"NAK" | b"ready", b"") => {}
                _ => return Err(Failure::Framing("a line that belongs to no section")),
            },
        }
    }
}

/// The pack on side-band 1, to the final flush.
fn read_pack(frames: &mut Frames<'_>, walk: bool) -> Result<(Pack, Instant), Failure> {
    let mut check = PackCheck::new(walk);
    let mut first = None;
    loop {
        match frames.next()? {
            Frame::Flush => break,
            Frame::Delimiter => return Err(Failure::Framing("a delimiter in a pack")),
            Frame::Data([1, data @ ..]) => {
                // An empty one only keeps the connection alive.
                if !data.is_empty() {
                    first.get_or_insert_with(Instant::now);
                }
                check.push(data).map_err(Failure::Pack)?;
            }
            Frame::Data([2, ..]) => {}
            Frame::Data([3, message @ ..]) => {
                return Err(Failure::Fatal(String::from_utf8_lossy(message.trim_ascii_end()).into_owned()));
            }
            Frame::Data(_) => return Err(Failure::Framing("a side-band that does not exist")),
        }
    }
    let pack = check.finish().map_err(Failure::Pack)?;
    Ok((pack, first.unwrap_or_else(Instant::now)))
}

/// A word and what follows it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&byte| byte == b' ') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}
