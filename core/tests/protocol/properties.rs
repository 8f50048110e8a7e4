//! What holds for all inputs: how they are cut does not matter, and nothing makes the machine panic or never end.

use crate::{
    dialogue::{encode, run},
    fixture::Fixture,
};
use heliostat_core::{
    fault::Fault,
    protocol::{Event, Phase, Policy, Session, Version},
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
    let planning = |version, phase, input: &str| {
        let mut session = Session::new(version, phase);
        session.receive(&encode(&FIXTURE.fill(input)));
        session.needs_planning()
    };
    for (version, phase, input, expected) in [
        (Version::V2, Phase::Advertise, "", Some(false)),
        (Version::V0, Phase::Advertise, "", Some(false)),
        (Version::V2, Phase::Duplex, "", Some(false)),
        (Version::V2, Phase::Stateless, "", None),
        (Version::V2, Phase::Stateless, "agent=git/x", None),
        (Version::V2, Phase::Stateless, "agent=git/x\ncommand=fetch", Some(true)),
        (Version::V2, Phase::Stateless, "command=ls-refs", Some(false)),
        (Version::V2, Phase::Stateless, "0000", Some(false)),
        (Version::V2, Phase::Stateless, "raw:xxxx", Some(false)),
        (Version::V0, Phase::Stateless, "", None),
        (Version::V0, Phase::Stateless, "want {c12}", Some(true)),
    ] {
        assert_eq!(planning(version, phase, input), expected, "{version:?} {phase:?} {input:?}");
    }
}
