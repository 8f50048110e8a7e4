//! One request to each server, and the two answers compared packet by packet.

use crate::stage::{Outcome, Side, Stage, run};
use std::{collections::BTreeSet, os::unix::process::ExitStatusExt, path::PathBuf};

/// A request's lines, as packets.
#[derive(Clone, Debug, Default)]
pub struct Request(pub Vec<u8>);

impl Request {
    /// `0000` and `0001` stand for flush and delimiter packets; every other line becomes a packet.
    pub fn of(lines: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for line in lines {
            match *line {
                "0000" | "0001" | "0002" => bytes.extend_from_slice(line.as_bytes()),
                line => bytes.extend_from_slice(format!("{:04x}{line}\n", line.len() + 5).as_bytes()),
            }
        }
        Self(bytes)
    }
}

/// How a server is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub repository: PathBuf,
    pub options: Vec<&'static str>,
    pub environment: Vec<(String, String)>,
    pub request: Request,
    /// Tips of what the client says it has: what may be left out or sent all the same.
    pub haves: Vec<String>,
    /// Commits whose parents the client lacks.
    pub client_shallow: BTreeSet<String>,
    /// Trees that are asked for by a filtered request: stock Git may forget them (difference 14).
    pub wanted_trees: BTreeSet<String>,
    /// The filter is a combination: stock Git may forget what it lets through (difference 11).
    pub combined: bool,
}

/// An answer in comparable form.
#[derive(Debug)]
pub struct Answer {
    /// Packets, those of the pack left out: what must be equal.
    pub packets: Vec<String>,
    /// The whole pack, if there is one.
    pub pack: Vec<u8>,
    /// The exit code, or the negated signal.
    pub code: i32,
    pub err: String,
}

impl Answer {
    pub fn of(outcome: &Outcome) -> Self {
        let code = outcome.status.code().unwrap_or_else(|| -outcome.status.signal().unwrap_or_default());
        let (mut packets, pack) = split(&outcome.out);
        // In v2 stock Git lists a namespace's `HEAD` twice: as `HEAD`, and as a reference of the namespace.
        packets.dedup_by(|a, b| a == b && a.contains(" HEAD"));
        Self { packets, pack, code, err: without_progress(&outcome.err) }
    }
}

impl Answer {
    /// Stock's packets, but for the version line that it sends before it finds that it can't read the repository.
    fn without_vain_beginning(&self, ours: &Answer) -> &[String] {
        let vain =
            self.code != 0 && ours.packets.is_empty() && self.packets.iter().all(|packet| !packet.ends_with("0000"));
        if vain && self.packets.first().is_some_and(|packet| packet.starts_with("version ")) {
            &[]
        } else {
            &self.packets
        }
    }

    /// Our packets, but for one that tells the peer why it fails: stock Git says many of these on its own standard error
    /// alone, where a remote user never reads them.
    fn without_spoken_error(&self, stock: &Answer) -> &[String] {
        let words = self.err.trim_end().strip_prefix("fatal: ").unwrap_or_default();
        match self.packets.split_last() {
            Some((last, before)) if self.code != 0 && stock.packets.last() != Some(last) => {
                let told = last.strip_prefix("ERR ").unwrap_or_default().trim_end();
                if !told.is_empty() && words.ends_with(told) { before } else { &self.packets }
            }
            _ => &self.packets,
        }
    }
}

/// Shallow lines come in no order that is promised, from stock Git some of them twice; and it sends `wanted-refs` before
/// `shallow-info` (difference 1), in whatever order.
fn with_shallow_lines_in_order(packets: &[String]) -> Vec<String> {
    let packets = with_sections_in_order(packets);
    let kind = |packet: &String| packet.split(' ').next().filter(|word| word.ends_with("shallow")).map(str::to_owned);
    let mut ordered = Vec::new();
    for run in packets.chunk_by(|one, next| kind(one).is_some() && kind(next).is_some()) {
        let mut run = run.to_vec();
        if run.first().and_then(kind).is_some() {
            run.sort();
            run.dedup();
        }
        ordered.extend(run);
    }
    ordered
}

fn with_sections_in_order(packets: &[String]) -> Vec<String> {
    let start_of = |name: &str| packets.iter().position(|line| line == name);
    let end_of =
        |start: usize| packets[start..].iter().position(|line| line == "0001").map(|length| start + length + 1);
    let Some(start) = start_of("wanted-refs\n") else { return packets.to_vec() };
    let end = end_of(start).unwrap_or(packets.len());
    let mut names = packets[start + 1..end].to_vec();
    // The delimiter comes last.
    names.sort_by_key(|line| (line == "0001", line.clone()));
    let (mut before, mut after) = (packets[..start].to_vec(), &packets[end..]);
    if after.first().is_some_and(|line| line == "shallow-info\n") {
        match end_of(end) {
            Some(next) => {
                before.extend_from_slice(&packets[end..next]);
                after = &packets[next..];
            }
            // It died of the boundary, and we before we told of names.
            None => return [&before, after].concat(),
        }
    }
    [&before, &packets[start..=start], &names, after].concat()
}

/// Asks both and asserts that they answer alike. Gives our answer.
pub fn compare(stage: &Stage, question: &Question, what: &str) -> Answer {
    let [stock, ours] = Side::BOTH.map(|side| {
        let mut command = stage.server(side);
        command.args(&question.options).arg(&question.repository);
        command.envs(question.environment.iter().map(|(name, value)| (name, value)));
        Answer::of(&run(&mut command, &question.request.0))
    });
    let unsent = told_and_not_sent(stage, question, &stock);
    let mut expected = with_shallow_lines_in_order(stock.without_vain_beginning(&ours));
    expected.retain(|packet| packet.strip_prefix("shallow ").is_none_or(|id| !unsent.contains(id)));
    assert_eq!(
        with_shallow_lines_in_order(ours.without_spoken_error(&stock)),
        expected,
        "{what}: packets; ours: {}; stock's: {}",
        ours.err,
        stock.err
    );
    assert_eq!(ours.code, stock.code, "{what}: exit code; ours: {}; stock's: {}", ours.err, stock.err);
    assert_eq!(ours.err, stock.err, "{what}: standard error");
    compare_packs(stage, question, [&ours, &stock], &unsent, what);
    ours
}

/// Difference 17: the commits that stock Git tells as shallow though every way to them ends before, at the boundary.
fn told_and_not_sent(stage: &Stage, question: &Question, stock: &Answer) -> BTreeSet<String> {
    let asked = split(&question.request.0).0;
    let words = |lines: &[String], before: &str| -> Vec<String> {
        let rests = lines.iter().filter_map(|line| line.strip_prefix(before));
        rests.filter_map(|rest| rest.split_whitespace().next()).map(String::from).collect()
    };
    let mut told: BTreeSet<String> = words(&stock.packets, "shallow ").into_iter().collect();
    if told.is_empty() || !asked.iter().any(|line| line.starts_with("deepen-since ") || line.starts_with("deepen-not "))
    {
        return BTreeSet::new();
    }
    let mut tips = [words(&asked, "want "), words(&asked, "want-ref ")].concat();
    for id in words(&stock.packets, "unshallow ") {
        let parents = stage.git(&["-C", question.repository.to_str().unwrap(), "rev-parse", &format!("{id}^@")]);
        tips.extend(parents.lines().map(String::from));
    }
    let ends = told.iter().cloned().chain(words(&asked, "shallow ")).collect();
    let met = stage.reachable(&question.repository, &tips, &ends);
    told.retain(|id| !met.contains(id));
    told
}

fn compare_packs(
    stage: &Stage,
    question: &Question,
    [ours, stock]: [&Answer; 2],
    unsent: &BTreeSet<String>,
    what: &str,
) {
    assert_eq!(ours.pack.is_empty(), stock.pack.is_empty(), "{what}: whether there is a pack");
    if ours.pack.is_empty() || ours.code != 0 {
        return;
    }
    let [ours, stock] = [ours, stock].map(|answer| stage.objects_of_pack(&answer.pack, &question.repository));
    assert!(unsent.is_disjoint(&stock), "{what}: stock Git sends of {unsent:?}");
    let at_client = stage.reachable(&question.repository, &question.haves, &question.client_shallow);
    let differing: BTreeSet<_> = ours.symmetric_difference(&stock).filter(|id| !at_client.contains(*id)).collect();
    let (mut more, mut fewer): (Vec<_>, Vec<_>) = differing.into_iter().partition(|id| ours.contains(*id));
    // The trees, and the tags of them that follow.
    let peeled =
        |id: &str| stage.git(&["-C", question.repository.to_str().unwrap(), "rev-parse", &format!("{id}^{{}}")]);
    more.retain(|_| !question.combined);
    // Difference 8: the tag follows what stock Git sends although the client has it.
    fewer.retain(|id| {
        let target = peeled(id);
        target == **id || !at_client.contains(&target) || ours.contains(&target)
    });
    more.retain(|id| question.wanted_trees.is_empty() || !question.wanted_trees.contains(&peeled(id)));
    assert!(more.is_empty() && fewer.is_empty(), "{what}: ours has more: {more:?}, and lacks: {fewer:?}");
}

/// Packets in readable form, and what is on band 1 (or stands bare) from `PACK` on.
fn split(mut bytes: &[u8]) -> (Vec<String>, Vec<u8>) {
    let (mut packets, mut pack) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        if bytes.starts_with(b"PACK") {
            pack.extend_from_slice(bytes);
            break;
        }
        let Some(length) = bytes.get(..4).and_then(|hex| std::str::from_utf8(hex).ok()) else { break };
        let Ok(length) = usize::from_str_radix(length, 16) else {
            packets.push(format!("not a packet: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(20)])));
            break;
        };
        if length < 4 {
            packets.push(format!("{length:04}"));
            bytes = &bytes[4..];
            continue;
        }
        let payload = &bytes[4..length.min(bytes.len())];
        bytes = &bytes[length.min(bytes.len())..];
        match payload {
            [1, rest @ ..] if !pack.is_empty() || rest.starts_with(b"PACK") => {
                if pack.is_empty() {
                    packets.push("<pack>".into());
                }
                pack.extend_from_slice(rest);
            }
            // A keep-alive; progress.
            [1] | [2, ..] => {}
            // `sideband-all`: what would be a packet of its own.
            [1, rest @ ..] => packets.push(format!("band 1: {}", normalised(rest))),
            // With `sideband-all` stock Git says on band 3 what we say in an `ERR` packet.
            [3, rest @ ..] if pack.is_empty() => packets.push(format!("ERR {}", normalised(rest))),
            [3, rest @ ..] => packets.push(format!("band 3: {}", normalised(rest))),
            payload => packets.push(normalised(payload)),
        }
    }
    (packets, pack)
}

/// Without what differs from one program or process to the next.
fn normalised(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    let mut words = Vec::new();
    for word in text.split(' ') {
        let end = if word.ends_with('\n') { "\n" } else { "" };
        words.push(match word.split_once('=') {
            Some((key @ ("agent" | "session-id"), _)) => format!("{key}=…{end}"),
            _ => word.to_owned(),
        });
    }
    words.join(" ")
}

/// Without what `docs/protocol.md` lists of standard error: progress, and stock Git's words about a damaged object, beside
/// which it says `fatal` a second time.
fn without_progress(err: &str) -> String {
    const PROGRESS: [&str; 5] = ["Enumerating ", "Counting ", "Compressing ", "Total ", "Delta compression"];
    err.split_inclusive(['\n', '\r'])
        .filter(|line| !PROGRESS.iter().any(|begin| line.starts_with(begin)) && !line.contains("fatal: unable to read"))
        .collect()
}
