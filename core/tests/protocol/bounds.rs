//! Where the machine stops and stock Git does not: every bound has a stated answer.

use crate::{
    dialogue::{encode, run},
    fixture::Fixture,
    stock::{git, id},
};
use heliostat_core::{
    limits::{
        CLIENT_SHALLOWS_MAX, DEEPEN_NOTS_MAX, FILTER_PARTS_MAX, HAVES_MAX, NEGOTIATION_WALKS_MAX, OBJECT_INFO_IDS_MAX,
        PKT_LINE_BYTES_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, REQUESTS_MAX, ROUNDS_MAX, UNREACHABLE_MAX, WANTS_MAX,
    },
    protocol::{Event, Phase, Policy, Session, Version},
    refs::{Head, Ref, RefName, RefTable},
};

/// Checks what the machine dies of, and that the client hears it.
fn check(fixture: &Fixture, version: Version, phase: Phase, input: &[u8], expected: &str) {
    let run = run(fixture, &Policy::mirror("mirror"), version, phase, input, 1 << 20);
    assert_eq!(run.transcript.died.as_deref(), Some(expected));
    assert_eq!(run.transcript.packets.last(), Some(&format!("ERR {expected}")));
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|n| line(n) + "\n").collect()
}

#[test]
fn endless_lists_are_refused() {
    let fixture = Fixture::full();
    let fetch = "command=fetch\n0001\nwant {c12}\n";
    let have = |n| format!("have {n:040x}");
    for (request, expected) in [
        (format!("{fetch}{}", lines(HAVES_MAX + 1, have)), "upload-pack: too many haves"),
        (
            format!("command=object-info\n0001\n{}", lines(OBJECT_INFO_IDS_MAX + 1, |n| format!("oid {n:040x}"))),
            "object-info: too many objects",
        ),
    ] {
        check(&fixture, Version::V2, Phase::Duplex, &encode(&fixture.fill(&request)), expected);
    }
    let first = "want {c12} multi_ack_detailed\n0000\n";
    for (rest, expected) in [
        (lines(HAVES_MAX + 1, have), "upload-pack: too many haves"),
        (lines(ROUNDS_MAX + 1, |_| "0000".into()), "upload-pack: too many rounds of negotiation"),
    ] {
        let request = fixture.fill(&format!("{first}{rest}"));
        check(&fixture, Version::V0, Phase::Duplex, &encode(&request), expected);
    }
    let mut request = encode(&fixture.fill(fetch));
    request.extend(b"000ethin-pack\n".repeat(REQUEST_BYTES_MAX / 14));
    for phase in [Phase::Stateless, Phase::Duplex] {
        check(&fixture, Version::V2, phase, &request, "upload-pack: request too large");
    }
}

/// References `refs/heads/0`, `refs/heads/1`, and so on, each to an id of its own that need not be here.
fn many_references(count: usize) -> RefTable {
    let reference = |n: usize| Ref {
        name: RefName::new(format!("refs/heads/{n}").as_bytes()).unwrap(),
        id: id(&format!("{n:040x}")),
        peeled: None,
        symbolic: None,
    };
    RefTable::new((0..count).map(reference).collect(), Head::Absent)
}

/// By name, so that the objects need not be here; what is here or not is looked at for all of them at the end.
#[test]
fn endless_wants_are_refused() {
    let mut fixture = Fixture::full();
    fixture.refs = many_references(WANTS_MAX + 1);
    let wants = |count| format!("command=fetch\n0001\n{}", lines(count, |n| format!("want-ref refs/heads/{n}")));
    let request = encode(&wants(WANTS_MAX + 1));
    assert!(request.len() <= REQUEST_BYTES_MAX);
    check(&fixture, Version::V2, Phase::Stateless, &request, "upload-pack: too many wants");
}

/// Also when each is a commit that is here: what the client is shallow at elsewhere costs nothing.
#[test]
fn endless_shallow_lines_are_refused() {
    let fixture = Fixture::bare_history(CLIENT_SHALLOWS_MAX + 1);
    let commits = git(&fixture.path, &["rev-list", "--all"]);
    let shallow: String = commits.lines().map(|commit| format!("shallow {commit}\n")).collect();
    let tip = commits.lines().next().unwrap();
    for (version, request) in [
        (Version::V2, format!("command=fetch\n0001\nwant {tip}\n{shallow}")),
        (Version::V0, format!("want {tip}\n{shallow}")),
    ] {
        check(&fixture, version, Phase::Stateless, &encode(&request), "upload-pack: too many shallow lines");
    }
    // One fewer, and as many again that are not here, and each twice, are not too many.
    let known: Vec<_> = commits.lines().take(CLIENT_SHALLOWS_MAX).map(|commit| format!("shallow {commit}\n")).collect();
    let unknown = lines(CLIENT_SHALLOWS_MAX, |n| format!("shallow {n:040x}"));
    let request = format!("want {tip}\n{0}{unknown}{0}0000\ndone\n", known.concat());
    let run = run(&fixture, &Policy::mirror("m"), Version::V0, Phase::Stateless, &encode(&request), usize::MAX);
    assert_eq!(run.transcript.died, None);
    assert_eq!(run.orders[0].query.client_shallow.len(), CLIENT_SHALLOWS_MAX);
}

#[test]
fn a_connection_ends_after_so_many_requests() {
    let fixture = Fixture::full();
    let request = "command=ls-refs\n0001\nref-prefix nothing\n0000\n".repeat(REQUESTS_MAX + 1);
    let run = run(&fixture, &Policy::mirror("m"), Version::V2, Phase::Duplex, &encode(&request), 1 << 20);
    assert_eq!(run.transcript.died, None, "it just ends");
    let answers = run.transcript.packets.iter().rev().take_while(|packet| *packet == "0000").count();
    // One flush is that of the advertisement.
    assert_eq!(answers, REQUESTS_MAX + 1);
}

#[test]
fn endless_filters_are_refused() {
    let fixture = Fixture::full();
    let wide = |parts: usize| format!("combine:{}", vec!["blob:none"; parts].join("+"));
    // One part, in as many more.
    let deep = |levels: usize| {
        (0..levels).fold("blob:none".to_owned(), |inner, _| {
            format!("combine:{}", inner.replace('%', "%25").replace('+', "%2b"))
        })
    };
    let request = |filter: &str| {
        encode(&fixture.fill(&format!("command=fetch\n0001\nwant {{c12}}\nfilter {filter}\ndone\n0000")))
    };
    let expected = format!("more than {FILTER_PARTS_MAX} filters combined");
    for filter in [wide(FILTER_PARTS_MAX), deep(FILTER_PARTS_MAX)] {
        check(&fixture, Version::V2, Phase::Stateless, &request(&filter), &expected);
    }
    for filter in [wide(FILTER_PARTS_MAX - 1), deep(FILTER_PARTS_MAX - 1)] {
        let run = run(&fixture, &Policy::mirror("m"), Version::V2, Phase::Stateless, &request(&filter), usize::MAX);
        assert_eq!(run.transcript.died, None, "{filter}");
    }
}

/// A driver never has to hold more of a list of references than it can send at once.
#[test]
fn lists_of_references_come_in_pieces() {
    let mut fixture = Fixture::full();
    fixture.refs = many_references(10_000);
    let policy = Policy::mirror("m");
    for (version, phase, input) in
        [(Version::V0, Phase::Advertise, ""), (Version::V2, Phase::Stateless, "command=ls-refs\n0000")]
    {
        let mut session = Session::new(version, phase);
        session.receive(&encode(input));
        session.finish_input();
        let mut pieces = Vec::new();
        while let Event::Send(piece) = session.poll(&fixture.view(&policy)) {
            pieces.push(piece.len());
        }
        assert!(pieces.len() > 5, "{version:?}: {pieces:?}");
        assert!(pieces.iter().all(|piece| *piece < REPLY_BYTES_MAX + PKT_LINE_BYTES_MAX), "{version:?}: {pieces:?}");
    }
}

#[test]
fn many_boundaries_are_refused() {
    let mut fixture = Fixture::full();
    fixture.refs = many_references(DEEPEN_NOTS_MAX + 1);
    // Named once or again and again.
    for name in [(|n| n) as fn(usize) -> usize, |_| 7] {
        let request = format!("want {{c12}}\n{}", lines(DEEPEN_NOTS_MAX + 1, |n| format!("deepen-not {}", name(n))));
        check(
            &fixture,
            Version::V0,
            Phase::Stateless,
            &encode(&fixture.fill(&request)),
            "upload-pack: too many deepen-not",
        );
    }
}

#[test]
fn numbers_do_not_wrap() {
    let fixture = Fixture::full();
    for (line, expected) in [
        ("deepen 4294967297", "Invalid deepen: deepen 4294967297"),
        ("deepen 2147483648", "Invalid deepen: deepen 2147483648"),
        ("deepen 9223372036854775808", "Invalid deepen: deepen 9223372036854775808"),
        ("deepen 99999999999999999999", "Invalid deepen: deepen 99999999999999999999"),
        ("deepen-since -2", "Invalid deepen-since: deepen-since -2"),
        ("deepen-since 99999999999999999999", "Invalid deepen-since: deepen-since 99999999999999999999"),
    ] {
        let request = encode(&fixture.fill(&format!("command=fetch\n0001\nwant {{c12}}\n{line}\ndone\n0000")));
        check(&fixture, Version::V2, Phase::Stateless, &request, expected);
    }
}

#[test]
fn a_packet_is_no_longer_than_the_protocol_allows() {
    let fixture = Fixture::full();
    let longest = [&b"fff0"[..], &[b'x'; 65_516]].concat();
    let shown = "x".repeat(1000);
    check(&fixture, Version::V2, Phase::Stateless, &longest, &format!("unknown capability '{shown}'"));
    check(&fixture, Version::V2, Phase::Stateless, b"fff1x", "protocol error: bad line length 65517");
}

#[test]
fn a_v2_request_that_is_cut_off_in_its_first_packet_is_refused() {
    let fixture = Fixture::full();
    let whole = encode("command=ls-refs");
    for cut in 1..whole.len() {
        for phase in [Phase::Stateless, Phase::Duplex] {
            let run = run(&fixture, &Policy::mirror("mirror"), Version::V2, phase, &whole[..cut], 7);
            let expected = "the remote end hung up unexpectedly";
            assert_eq!(run.transcript.died.as_deref(), Some(expected), "{phase:?} after {cut} bytes");
            assert_eq!(run.transcript.packets.last(), Some(&format!("ERR {expected}")), "{phase:?} after {cut} bytes");
        }
    }
    for (phase, packets) in [(Phase::Stateless, 0), (Phase::Duplex, 8)] {
        // Who asks for nothing is not refused.
        let run = run(&fixture, &Policy::mirror("mirror"), Version::V2, phase, b"", 7);
        assert_eq!((run.transcript.died, run.transcript.packets.len()), (None, packets), "{phase:?}");
    }
}

#[test]
fn hidden_references_are_not_named_by_deepen_not() {
    let fixture = Fixture::full();
    let request = encode(&fixture.fill("command=fetch\n0001\nwant {c12}\ndeepen-not refs/hidden/secret\n0000"));
    let expected = "git upload-pack: ambiguous deepen-not: deepen-not refs/hidden/secret";
    check(&fixture, Version::V2, Phase::Stateless, &request, expected);
}

#[test]
fn haves_known_and_unknown_by_turns_cause_a_bounded_number_of_walks() {
    let fixture = Fixture::linear(60);
    let objects = git(&fixture.path, &["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"]);
    let no_commits: Vec<&str> =
        objects.lines().filter_map(|line| line.strip_prefix("blob ").or(line.strip_prefix("tree "))).collect();
    assert!(no_commits.len() >= NEGOTIATION_WALKS_MAX);
    let tip = git(&fixture.path, &["rev-parse", "main"]);
    let other = format!("have {:040x}\n", 1);
    for (walks, ready) in [(NEGOTIATION_WALKS_MAX - 1, true), (NEGOTIATION_WALKS_MAX, false)] {
        let turns: String = no_commits[..walks].iter().map(|id| format!("have {id}\n{other}")).collect();
        let request = format!("want {tip} multi_ack_detailed\n0000\n{turns}have {tip}\n{other}0000\ndone");
        let run = run(&fixture, &Policy::mirror("mirror"), Version::V0, Phase::Duplex, &encode(&request), usize::MAX);
        let says_ready = run.transcript.packets.iter().any(|line| line.ends_with(" ready"));
        assert_eq!((run.transcript.died, says_ready), (None, ready));
        assert_eq!(run.transcript.packets.last().map(String::as_str), Some("PACK"));
    }
}

#[test]
fn object_info_does_not_search_without_end() {
    // Of a repository without references everything is unreachable.
    let mut fixture = Fixture::full();
    fixture.refs = RefTable::new(Vec::new(), Head::Absent);
    let marks: String = fixture.ids.keys().map(|mark| format!("oid {{{mark}}}\n")).collect();
    assert!(fixture.ids.len() > UNREACHABLE_MAX);
    let request = encode(&fixture.fill(&format!("command=object-info\n0001\nsize\n{marks}0000")));
    let run = run(&fixture, &Policy::mirror("mirror"), Version::V2, Phase::Stateless, &request, usize::MAX);
    assert!(run.transcript.died.is_some_and(|words| words.starts_with("git upload-pack: not our ref ")));
}
