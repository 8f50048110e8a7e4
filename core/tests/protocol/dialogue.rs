//! Dialogues: what both sides say, as text, and the comparison of the machine's with stock Git's.

use crate::{
    fixture::{Fixture, upload_pack},
    stock::{git, git_with},
};
use heliostat_core::{
    ObjectId,
    pack::Framing,
    protocol::{Event, PackOrder, Phase, Policy, Session, Version},
    wire::{
        pktline::{self, Decoded, Packet},
        sideband::{self, Band},
    },
};
use std::{collections::BTreeSet, io::Write as _};

/// One side's words and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// One a packet: text without newline, `0000`, `0001`; `PACK` for a pack in whatever frames.
    pub packets: Vec<String>,
    /// What it died of.
    pub died: Option<String>,
}

/// A run of the machine.
pub struct Run {
    pub transcript: Transcript,
    /// Everything it sent; the pack is the word `PACK` in a frame.
    pub bytes: Vec<u8>,
    pub orders: Vec<PackOrder>,
}

/// The bytes of `text`, a packet a line: `0000`, `0001`, `0002` are the special packets, `raw:` begins bytes as they are.
pub fn encode(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        match (line, line.strip_prefix("raw:")) {
            ("0000" | "0001" | "0002", _) => out.extend_from_slice(line.as_bytes()),
            (_, Some(raw)) => out.extend_from_slice(raw.as_bytes()),
            _ => pktline::line(&mut out, format_args!("{line}\n")),
        }
    }
    out
}

/// Lets the machine answer `input`, which arrives in pieces of `piece` bytes and then ends.
pub fn run(fixture: &Fixture, policy: &Policy, version: Version, phase: Phase, input: &[u8], piece: usize) -> Run {
    let view = fixture.view(policy);
    let mut session = Session::new(version, phase);
    let mut pieces = input.chunks(piece);
    let (mut bytes, mut orders) = (Vec::new(), Vec::new());
    let died = loop {
        match session.poll(&view) {
            Event::Send(some) => bytes.extend_from_slice(&some),
            Event::Absent(_) => session.deny(),
            Event::NeedInput => match pieces.next() {
                Some(piece) => session.receive(piece),
                None => session.finish_input(),
            },
            Event::Pack(order) => {
                match order.framing {
                    Framing::Bare => bytes.extend_from_slice(b"PACK"),
                    _ => sideband::frames(&mut bytes, Band::Data, b"PACK", 900),
                }
                orders.push(*order);
                session.pack_sent();
            }
            Event::End(fault) => break fault.map(|fault| fault.detail),
        }
        assert!(bytes.len() < 1 << 24, "an answer without end");
    };
    Run { transcript: Transcript { packets: packets(&bytes), died }, bytes, orders }
}

/// The packets of an answer, in words.
pub fn packets(mut bytes: &[u8]) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    let mut in_pack = false;
    while !bytes.is_empty() {
        if bytes.starts_with(b"PACK") {
            packets.push("PACK".into());
            break;
        }
        let Ok(Decoded::Complete { packet, consumed }) = pktline::decode(bytes) else {
            packets.push(format!("not a packet: {}", bytes.escape_ascii()));
            break;
        };
        bytes = &bytes[consumed..];
        match packet {
            Packet::Flush => {
                in_pack = false;
                packets.push("0000".into());
            }
            Packet::Delimiter => packets.push("0001".into()),
            Packet::ResponseEnd => packets.push("0002".into()),
            Packet::Data(payload) => match sideband::split(payload) {
                Ok((Band::Data, content)) if in_pack || content.starts_with(b"PACK") => {
                    in_pack = true;
                    if packets.last().is_none_or(|last| last != "PACK") {
                        packets.push("PACK".into());
                    }
                }
                Ok((Band::Progress, _)) => {}
                Ok((Band::Data, line)) => packets.push(format!("1|{}", text(line))),
                Ok((Band::Error, line)) if in_pack => packets.push(format!("3|{}", text(line))),
                // The first of the differences: an error before the pack is never banded here.
                Ok((Band::Error, line)) => packets.push(format!("ERR {}", text(line))),
                Err(_) => packets.push(text(payload)),
            },
        }
    }
    packets
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload.strip_suffix(b"\n").unwrap_or(payload)).replace('\0', "\\0")
}

/// How a dialogue is held: what the repository's configuration says, and the same as a policy.
pub struct Setting<'a> {
    pub fixture: &'a Fixture,
    pub policy: Policy,
    pub config: Vec<&'static str>,
}

impl<'a> Setting<'a> {
    /// Stock Git without configuration.
    pub fn plain(fixture: &'a Fixture) -> Self {
        Self { fixture, policy: Policy::stock(stock_agent()), config: Vec::new() }
    }

    /// With everything on offer that is off by default.
    pub fn everything(fixture: &'a Fixture) -> Self {
        let mut setting = Self::plain(fixture)
            .with("uploadpack.allowFilter=true", |policy| policy.filters = true)
            .with("uploadpack.allowRefInWant=true", |policy| policy.ref_in_want = true)
            .with("uploadpack.allowSidebandAll=true", |policy| policy.sideband_all = true);
        setting = setting.with("transfer.advertiseObjectInfo=true", |policy| policy.object_info = true);
        setting
    }

    /// With one more line of configuration, which means the same as `change`.
    pub fn with(mut self, config: &'static str, change: impl FnOnce(&mut Policy)) -> Self {
        self.config.push(config);
        change(&mut self.policy);
        self
    }

    /// Holds the dialogue with both sides and compares; returns what the machine said and ordered.
    pub fn check(&self, version: Version, phase: Phase, input: &str) -> Run {
        let input = encode(&self.fixture.fill(input));
        let (number, options): (u8, &[&str]) = match (version, phase) {
            (Version::V0, Phase::Stateless) => (0, &["--stateless-rpc"]),
            (Version::V1, Phase::Stateless) => (1, &["--stateless-rpc"]),
            (Version::V2, Phase::Stateless) => (2, &["--stateless-rpc"]),
            (Version::V0, Phase::Duplex) => (0, &[]),
            (Version::V1, Phase::Duplex) => (1, &[]),
            (Version::V2, Phase::Duplex) => (2, &[]),
            (Version::V0, Phase::Advertise) => (0, &["--advertise-refs"]),
            (Version::V1, Phase::Advertise) => (1, &["--advertise-refs"]),
            (Version::V2, Phase::Advertise) => (2, &["--advertise-refs"]),
        };
        let (bytes, errors, ok) = upload_pack(&self.fixture.path, number, options, &self.config, &input);
        let mut stock = Transcript { packets: packets(&bytes), died: (!ok).then(|| cause(&errors)) };
        let unsent = told_and_not_sent(self.fixture, &packets(&input), &stock.packets);
        stock.packets.retain(|line| {
            let id = line.strip_prefix("1|").unwrap_or(line).strip_prefix("shallow ");
            id.is_none_or(|id| !unsent.contains(id))
        });
        let ours = run(self.fixture, &self.policy, version, phase, &input, usize::MAX);
        let mut expected = comparable(stock.clone(), &stock);
        // Stock Git tells some twice.
        expected.packets.dedup_by(|a, b| a == b && a.strip_prefix("1|").unwrap_or(a).starts_with("shallow "));
        assert_eq!(
            comparable(ours.transcript.clone(), &stock),
            expected,
            "ours (left) and stock Git's (right) after {}",
            input.escape_ascii()
        );
        ours
    }
}

/// Difference 17: the commits that stock Git tells as shallow though every way to them ends before, at the boundary.
fn told_and_not_sent(fixture: &Fixture, asked: &[String], stock: &[String]) -> BTreeSet<String> {
    let words = |lines: &[String], before: &str| -> Vec<String> {
        let rests = lines.iter().filter_map(|line| line.strip_prefix("1|").unwrap_or(line).strip_prefix(before));
        rests.filter_map(|rest| rest.split(' ').next()).map(String::from).collect()
    };
    let own: BTreeSet<String> = fixture.shallow.iter().map(ObjectId::to_string).collect();
    // Those that v0 advertises are never told as an answer.
    let mut told: BTreeSet<String> = words(stock, "shallow ").into_iter().filter(|id| !own.contains(id)).collect();
    if told.is_empty() || !asked.iter().any(|line| line.starts_with("deepen-since ") || line.starts_with("deepen-not "))
    {
        return BTreeSet::new();
    }
    let mut tips = [words(asked, "want "), words(asked, "want-ref ")].concat();
    for id in words(stock, "unshallow ") {
        tips.push(git(&fixture.path, &["rev-parse", &format!("{id}^@")]));
    }
    let mut ends = tempfile::NamedTempFile::new().expect("a file");
    for id in told.iter().cloned().chain(words(asked, "shallow ")).chain(own) {
        writeln!(ends, "{id}").expect("it is written");
    }
    let ends = ends.path().to_str().expect("a name in Unicode");
    let met = git_with(&fixture.path, &["--shallow-file", ends, "rev-list", "--stdin"], tips.join("\n").as_bytes());
    let met = String::from_utf8_lossy(&met);
    told.retain(|id| !met.contains(id));
    told
}

/// Only the decisions: what `docs/protocol.md` lists as differences is made equal.
fn comparable(mut transcript: Transcript, stock: &Transcript) -> Transcript {
    let packets = &mut transcript.packets;
    // Where stock Git dies with words on its standard error alone, the client here is told too.
    let told = |packets: &[String]| packets.last().is_some_and(|last| last.starts_with("ERR "));
    if transcript.died.is_some() && stock.died.is_some() && told(packets) && !told(&stock.packets) {
        packets.pop();
    }
    sections_in_order(packets);
    transcript
}

/// Puts shallow-info before wanted-refs, and the lines of both in order: stock Git writes them as its tables have them.
fn sections_in_order(packets: &mut Vec<String>) {
    let name = |line: &String| line.strip_prefix("1|").unwrap_or(line).to_owned();
    let mut start = 0;
    while let Some(line) = packets.get(start) {
        if name(line) == "wanted-refs"
            && let Some(end) = packets[start..].iter().position(|line| line == "0001").map(|end| start + end)
            && packets.get(end + 1).is_some_and(|line| name(line) == "shallow-info")
        {
            match packets[end + 1..].iter().position(|line| line == "0001") {
                Some(next) => packets[start..=end + 1 + next].rotate_left(end + 1 - start),
                // It died of the boundary: there is no wanted-refs where shallow-info comes first.
                None => _ = packets.drain(start..=end),
            }
        }
        start += 1;
    }
    for run in packets.chunk_by_mut(|a, b| {
        let shallow = |line: &String| name(line).starts_with("shallow ") || name(line).starts_with("unshallow ");
        shallow(a) && shallow(b)
    }) {
        run.sort();
    }
    let mut from = 0;
    while let Some(start) = packets[from..].iter().position(|line| name(line) == "wanted-refs").map(|at| from + at) {
        let end = packets[start..].iter().position(|line| line == "0001").map_or(packets.len(), |end| start + end);
        packets[start + 1..end].sort();
        from = end;
    }
}

/// What a dying `git upload-pack` gives as its reason: its first complaint, without the word before it.
fn cause(errors: &str) -> String {
    let line = errors.lines().find(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    let line = line.unwrap_or(errors);
    line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line).to_owned()
}

/// The agent that stock Git says it is.
fn stock_agent() -> String {
    let version = git(std::path::Path::new("."), &["version"]);
    format!("git/{}", version.trim_start_matches("git version "))
}
