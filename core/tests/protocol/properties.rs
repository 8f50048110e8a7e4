//! What holds for all inputs: how they are cut does not matter, and nothing makes the machine panic or never end.

use crate::{
    dialogue::{Setting, encode, run},
    fixture::Fixture,
};
use heliostat_core::{
    fault::Fault,
    limits::SHARD_REQUEST_BYTES_MAX,
    protocol::{Asked, Event, Phase, Policy, Session, Version},
};
use proptest::prelude::*;
use std::sync::LazyLock;

static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::full);

const VERSIONS: [Version; 3] = [Version::V0, Version::V1, Version::V2];
const PHASES: [Phase; 3] = [Phase::Advertise, Phase::Stateless, Phase::Duplex];

/// Lines that a client may send, in any order; most orders are wrong.
const LINES: &[&str] = &[
    "0000",
    "0000",
    "0001",
    "0001",
    "0002",
    "raw:0004",
    "raw:0003",
    "raw:000",
    "done",
    "done",
    "command=ls-refs",
    "command=fetch",
    "command=object-info",
    "agent=git/x",
    "object-format=sha1",
    "peel",
    "symrefs",
    "unborn",
    "ref-prefix refs/heads/",
    "size",
    "oid {blob}",
    "want {c12}",
    "want {c12} multi_ack_detailed side-band-64k no-done",
    "want {nested} multi_ack",
    "want {lost}",
    "want {blob}",
    "want-ref refs/heads/side",
    "have {c10}",
    "have {s1}",
    "have {blob}",
    "have 1111111111111111111111111111111111111111",
    "shallow {c11}",
    "deepen 2",
    "deepen-since 1600010000",
    "deepen-not side",
    "deepen-relative",
    "filter blob:none",
    "sideband-all",
    "wait-for-done",
    "thin-pack",
    "no-progress",
    "nonsense",
];

fn policies() -> [Policy; 2] {
    let mut stock = Policy::stock("stock");
    stock.filters = true;
    stock.object_info = true;
    [stock, Policy::mirror("mirror")]
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::collection::vec(prop::sample::select(LINES), 0..24);
    (prop::sample::select(&["", "command=fetch\n0001\n", "command=ls-refs\n0001\n"][..]), lines)
        .prop_map(|(start, lines)| encode(&FIXTURE.fill(&format!("{start}{}", lines.join("\n")))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn how_the_input_is_cut_does_not_matter(input in requests(), piece in 1usize..40) {
        for policy in &policies() {
            for version in VERSIONS {
                for phase in PHASES {
                    let whole = run(&FIXTURE, policy, version, phase, &input, usize::MAX);
                    let pieces = run(&FIXTURE, policy, version, phase, &input, piece);
                    prop_assert_eq!(&whole.transcript, &pieces.transcript);
                    prop_assert_eq!(&whole.orders, &pieces.orders);
                    prop_assert!(whole.bytes == pieces.bytes);
                }
            }
        }
    }

    #[test]
    fn a_failure_never_looks_complete(input in requests()) {
        for version in VERSIONS {
            let [_, policy] = policies();
            let run = run(&FIXTURE, &policy, version, Phase::Stateless, &input, usize::MAX);
            let last = run.transcript.packets.last().map(String::as_str).unwrap_or_default();
            prop_assert_eq!(run.transcript.died.is_some(), last.starts_with("ERR "));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..64) {
        for version in VERSIONS {
            for phase in PHASES {
                run(&FIXTURE, &Policy::mirror("mirror"), version, phase, &input, piece);
            }
        }
    }
}

/// Some of these, in some order.
fn some(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(of), 0..=most)
}

const TIPS: &[&str] = &["c12", "s4", "tag", "nested", "c4", "s2"];
/// Commits alone: how often others are acknowledged when they are repeated is one of the differences.
const HAVES: &[&str] = &[
    "c1",
    "c2",
    "c3",
    "c4",
    "c6",
    "c8",
    "c10",
    "c11",
    "c12",
    "s1",
    "s3",
    "s4",
    "lost",
    "lost-parent",
    "none",
    "other",
];
const SHALLOWS: &[&str] = &["c2", "c5", "c9", "c11", "s2", "s4", "lost", "none"];
const BOUNDARIES: &[&str] = &[
    "",
    "",
    "deepen 1",
    "deepen 2",
    "deepen 5",
    "deepen 2147483647",
    "deepen-since 1600003450",
    "deepen-since 1600009500",
    "deepen-not side",
    "deepen-not light",
    "deepen-not light\ndeepen-since 1600005500",
];
const ACKS: &[&str] = &["", " multi_ack", " multi_ack_detailed", " multi_ack_detailed no-done"];

fn spelled(words: &[&str], before: &str) -> String {
    let marked = |mark: &&str| match *mark {
        "none" => format!("{before}1111111111111111111111111111111111111111\n"),
        "other" => format!("{before}2222222222222222222222222222222222222222\n"),
        mark => format!("{before}{{{mark}}}\n"),
    };
    words.iter().map(marked).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sound_requests_of_v2_are_answered_as_stock_git_does(
        wants in some(TIPS, 3),
        haves in some(HAVES, 6),
        shallows in some(SHALLOWS, 2),
        boundary in prop::sample::select(BOUNDARIES),
        relative in any::<bool>(),
        done in any::<bool>(),
        wait in prop::bool::weighted(0.1),
        banded in any::<bool>(),
        by_name in prop::bool::weighted(0.3),
    ) {
        let when = |condition, line: &'static str| if condition { line } else { "" };
        let request = [
            "command=fetch\n0001\nno-progress\n",
            when(banded, "sideband-all\n"),
            &spelled(&wants, "want "),
            when(by_name, "want-ref refs/heads/side\n"),
            &spelled(&shallows, "shallow "),
            boundary,
            when(relative && boundary.starts_with("deepen "), "\ndeepen-relative"),
            "\n",
            when(wait, "wait-for-done\n"),
            &spelled(&haves, "have "),
            when(done, "done\n"),
            "0000",
        ]
        .concat();
        Setting::everything(&FIXTURE).check(Version::V2, Phase::Stateless, &request);
    }

    #[test]
    fn sound_requests_of_v0_are_answered_as_stock_git_does(
        wants in prop::collection::vec(prop::sample::select(&["c12", "s4", "nested"][..]), 1..3),
        rounds in prop::collection::vec(some(HAVES, 4), 0..4),
        shallows in some(SHALLOWS, 2),
        boundary in prop::sample::select(BOUNDARIES),
        acks in prop::sample::select(ACKS),
        relative in any::<bool>(),
        done in prop::bool::weighted(0.8),
    ) {
        let relative = if relative && boundary.starts_with("deepen ") { " deepen-relative" } else { "" };
        let haves: String = rounds.iter().map(|round| spelled(round, "have ") + "0000\n").collect();
        let request = format!(
            "want {{c12}} side-band-64k no-progress{acks}{relative}\n{}{}{boundary}\n0000\n{haves}{}",
            spelled(&wants, "want "),
            spelled(&shallows, "shallow "),
            if done { "done" } else { "" },
        );
        for phase in [Phase::Stateless, Phase::Duplex] {
            Setting::plain(&FIXTURE).check(Version::V0, phase, &request);
        }
    }
}

/// Failures of the pack reach the client in the frames that it asked for, and the stream is never ended as if it were whole.
#[test]
fn a_failed_pack_is_told_on_band_3() {
    let policy = Policy::mirror("mirror");
    for (version, request, expected) in [
        (Version::V2, "command=fetch\n0001\nwant {c12}\ndone\n0000", &b"0011\x03disk on fire"[..]),
        (Version::V0, "want {c12} side-band\n0000\ndone", b"0011\x03disk on fire"),
        (Version::V0, "want {c12}\n0000\ndone", b""),
    ] {
        let view = FIXTURE.view(&policy);
        let mut session = Session::new(version, Phase::Stateless);
        session.receive(&encode(&FIXTURE.fill(request)));
        session.finish_input();
        let order = loop {
            match session.poll(&view) {
                Event::Send(_) => {}
                Event::Pack(order) => break order,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(session.keep_alive().is_some(), !expected.is_empty());
        assert_eq!(session.progress("x\n").is_some(), order.progress);
        session.pack_failed(Fault::ours("disk on fire", "sector 7"));
        if !expected.is_empty() {
            let Event::Send(bytes) = session.poll(&view) else { panic!("nothing is said") };
            assert_eq!(bytes, expected);
        }
        assert!(matches!(session.poll(&view), Event::End(Some(fault)) if fault.detail == "sector 7"));
        assert!(matches!(session.poll(&view), Event::End(Some(_))));
    }
}

#[test]
fn a_parked_fetch_is_kept_awake_only_where_there_is_room() {
    let policy = Policy::mirror("mirror");
    for (request, room, progress) in [
        ("command=fetch\n0001\nsideband-all\nwant {c12}\ndone\n0000", true, true),
        ("command=fetch\n0001\nsideband-all\nno-progress\nwant {c12}\ndone\n0000", true, false),
        ("command=fetch\n0001\nwant {c12}\ndone\n0000", false, false),
        ("command=fetch\n0001\nsideband-all\nwant {c12}\ndone\n", false, false),
        ("command=ls-refs\n0001\nsideband-all\n0000", false, false),
    ] {
        let mut session = Session::new(Version::V2, Phase::Stateless);
        session.receive(&encode(&FIXTURE.fill(request)));
        assert_eq!(session.keep_alive(), room.then_some(&b"0005\x02"[..]), "{request}");
        assert_eq!(session.progress("waiting\r"), progress.then(|| b"000d\x02waiting\r".to_vec()), "{request}");
        session.fail(Fault::upstream("the upstream does not answer", "connection refused"));
        let Event::Send(bytes) = session.poll(&FIXTURE.view(&policy)) else { panic!("nothing is said") };
        assert_eq!(bytes, b"0024ERR the upstream does not answer");
    }
}

#[test]
fn who_must_plan_is_known_before_the_answer() {
    let looked_at = |version, phase, input: &str| {
        let mut session = Session::new(version, phase);
        session.receive(&encode(&FIXTURE.fill(input)));
        (session.asked(), session.needs_planning())
    };
    let long = |before: &str, line: &str, after: &str| {
        let lines = SHARD_REQUEST_BYTES_MAX / (line.len() + 5) + 1;
        format!("{before}{}{after}", format!("{line}\n").repeat(lines))
    };
    for (version, phase, input, asked, planning) in [
        (Version::V2, Phase::Advertise, "", Some(Asked::References), Some(false)),
        (Version::V0, Phase::Advertise, "", Some(Asked::References), Some(false)),
        (Version::V2, Phase::Duplex, "", Some(Asked::References), Some(false)),
        (Version::V2, Phase::Stateless, "", None, None),
        (Version::V2, Phase::Stateless, "agent=git/x", None, None),
        (Version::V2, Phase::Stateless, "agent=git/x\ncommand=fetch", Some(Asked::Pack), Some(true)),
        (Version::V2, Phase::Stateless, "command=object-info", Some(Asked::ObjectInfo), Some(true)),
        (Version::V2, Phase::Stateless, "command=ls-refs", Some(Asked::References), Some(false)),
        (Version::V2, Phase::Stateless, "command=no-such", Some(Asked::Nothing), Some(false)),
        (Version::V2, Phase::Stateless, "0000", Some(Asked::Nothing), Some(false)),
        (Version::V0, Phase::Stateless, "0000", Some(Asked::Nothing), Some(false)),
        (Version::V2, Phase::Stateless, "raw:xxxx", Some(Asked::Nothing), Some(false)),
        (Version::V0, Phase::Stateless, "", None, None),
        (Version::V0, Phase::Stateless, "want {c12}", Some(Asked::Pack), Some(true)),
        // Reading it takes long, whatever it is.
        (
            Version::V2,
            Phase::Stateless,
            &long("command=ls-refs\n0001\n", "ref-prefix refs/heads/x", "0000"),
            Some(Asked::References),
            Some(true),
        ),
        (
            Version::V2,
            Phase::Stateless,
            &long("", "agent=git/x", "command=fetch\n"),
            Some(Asked::References),
            Some(true),
        ),
    ] {
        assert_eq!(looked_at(version, phase, input), (asked, planning), "{version:?} {phase:?} {input:.60?}");
    }
}

/// A long request is looked at where it begins: what decides whether it can be kept awake stands there.
#[test]
fn a_long_fetch_is_kept_awake_as_a_short_one() {
    let wants = "want {c12}\n".repeat(SHARD_REQUEST_BYTES_MAX / 50 + 1);
    for (request, room) in [
        (format!("command=fetch\n0001\nsideband-all\n{wants}done\n0000"), true),
        (format!("command=fetch\n0001\n{wants}done\n0000"), false),
        (format!("command=ls-refs\n0001\nsideband-all\n{wants}0000"), false),
    ] {
        let mut session = Session::new(Version::V2, Phase::Stateless);
        session.receive(&encode(&FIXTURE.fill(&request)));
        assert_eq!(session.keep_alive().is_some(), room, "{request:.60}");
    }
}
