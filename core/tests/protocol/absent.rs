//! Wants that can't be granted and that the driver may be able to bring: reported, looked at again, refused in the end.

use crate::{dialogue::encode, fixture::Fixture};
use heliostat_core::{
    ObjectId,
    fault::Fault,
    protocol::{Event, PackOrder, Phase, Policy, Session, Version, View, WantPolicy},
    refs::{Head, Ref, RefName, RefTable},
};

fn policy() -> Policy {
    let policy = Policy::mirror("heliostat/test");
    assert!(policy.wants == WantPolicy::Recent && !policy.parks_wants);
    Policy { parks_wants: true, ..policy }
}

/// What a session comes to, as far as these tests tell it apart.
#[derive(Debug)]
enum Came {
    Absent(Vec<ObjectId>),
    Pack(Box<PackOrder>),
    End(Option<Fault>),
}

fn poll(session: &mut Session, view: &View<'_>) -> (Vec<u8>, Came) {
    let mut bytes = Vec::new();
    loop {
        match session.poll(view) {
            Event::Send(more) => bytes.extend(more),
            Event::Absent(ids) => return (bytes, Came::Absent(ids)),
            Event::Pack(order) => return (bytes, Came::Pack(order)),
            Event::End(fault) => return (bytes, Came::End(fault)),
            Event::NeedInput => panic!("the input is complete"),
        }
    }
}

fn session(version: Version, fixture: &Fixture, lines: &[&str]) -> Session {
    let mut session = Session::new(version, Phase::Stateless);
    session.receive(&encode(&fixture.fill(&lines.join("\n"))));
    session.finish_input();
    session
}

/// A fetch in each version of what `mark` names.
fn fetches(fixture: &Fixture, mark: &str) -> [Session; 2] {
    let want = format!("want {{{mark}}}");
    let first = format!("{want} side-band-64k ofs-delta");
    [
        session(Version::V0, fixture, &[&first, "0000", "done"]),
        session(Version::V2, fixture, &["command=fetch", "0001", "sideband-all", &want, "want {c1}", "done", "0000"]),
    ]
}

#[test]
fn what_nothing_reaches_is_reported_and_granted_once_something_does() {
    let fixture = Fixture::full();
    let (policy, lost) = (policy(), fixture.ids["lost"]);
    for mut session in fetches(&fixture, "lost") {
        let view = fixture.view(&policy);
        let (bytes, came) = poll(&mut session, &view);
        assert!(bytes.is_empty() && matches!(&came, Came::Absent(ids) if *ids == [lost]), "{came:?}");
        session.look_again();
        assert!(matches!(poll(&mut session, &view).1, Came::Absent(_)), "nothing has changed");
        session.look_again();
        let name = RefName::new(b"refs/by-id/x").unwrap();
        let kept = RefTable::new(vec![Ref { name, id: lost, peeled: None, symbolic: None }], Head::Absent);
        let recent = [kept.into()];
        let (_, came) = poll(&mut session, &View { recent: &recent, ..view });
        assert!(matches!(&came, Came::Pack(order) if order.query.wants.contains(&lost)), "{came:?}");
    }
}

/// In the words, and the bytes, in which it is refused where nothing is reported.
#[test]
fn what_stays_absent_is_refused_as_ever() {
    let fixture = Fixture::full();
    for mark in ["lost", "secret", "lost-blob"] {
        let (parking, plain) = (policy(), Policy { parks_wants: false, ..policy() });
        for (mut session, mut other) in fetches(&fixture, mark).into_iter().zip(fetches(&fixture, mark)) {
            assert!(matches!(poll(&mut session, &fixture.view(&parking)).1, Came::Absent(_)));
            session.deny();
            let (bytes, came) = poll(&mut session, &fixture.view(&parking));
            let (expected, refused) = poll(&mut other, &fixture.view(&plain));
            assert_eq!(bytes, expected, "{mark}");
            let (Came::End(Some(a)), Came::End(Some(b))) = (came, refused) else { panic!("{mark}: not refused") };
            assert_eq!((a.public, a.detail), (b.public, b.detail));
        }
    }
}

/// All that are not here at once, and one that has come in between is not missed for another.
#[test]
fn several_are_reported_together() {
    let fixture = Fixture::full();
    let policy = policy();
    let ids = ["1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"];
    let wants = ids.map(|id| format!("want {id}"));
    let lines = ["command=fetch", "0001", "want {c3}", &wants[0], &wants[1], &wants[0], "done", "0000"];
    let mut session = session(Version::V2, &fixture, &lines);
    let Came::Absent(absent) = poll(&mut session, &fixture.view(&policy)).1 else { panic!("granted") };
    assert_eq!(absent.iter().map(ToString::to_string).collect::<Vec<_>>(), ids);
    session.fail(Fault::upstream("the upstream does not answer", "away"));
    let (bytes, came) = poll(&mut session, &fixture.view(&policy));
    assert!(bytes.ends_with(b"ERR the upstream does not answer") && matches!(came, Came::End(Some(_))), "{came:?}");
}

/// A reference by its name means what the client has been told, if that is still on its way.
#[test]
fn a_reference_that_is_pending() {
    let fixture = Fixture::full();
    let policy = policy();
    let moved = |to: ObjectId| {
        let mut refs = fixture.refs.to_refs();
        refs.iter_mut().filter(|r| r.name.as_bstr() == "refs/heads/side").for_each(|r| r.id = to);
        RefTable::new(refs, fixture.refs.head().clone())
    };
    let lost = fixture.ids["lost"];
    let lines = ["command=fetch", "0001", "want-ref refs/heads/side", "done", "0000"];
    let (same, other) = (moved(fixture.ids["s4"]), moved(lost));
    for (pending, is_absent) in [(None, false), (Some(&same), false), (Some(&other), true)] {
        let mut session = session(Version::V2, &fixture, &lines);
        let view = View { pending, ..fixture.view(&policy) };
        let came = poll(&mut session, &view).1;
        assert_eq!(matches!(&came, Came::Absent(ids) if *ids == [lost]), is_absent, "{came:?}");
        if is_absent {
            session.look_again();
            let (bytes, came) = poll(&mut session, &View { refs: &other, pending: None, ..view });
            assert!(matches!(came, Came::Pack(_)), "{came:?}");
            assert!(String::from_utf8_lossy(&bytes).contains(&format!("{lost} refs/heads/side\n")));
        }
    }
}

/// So does one that history is cut off at: it is waited for, even if its object is here.
#[test]
fn a_boundary_that_is_pending() {
    let fixture = Fixture::full();
    let policy = policy();
    let mut refs = fixture.refs.to_refs();
    let (name, id) = (RefName::new(b"refs/heads/new").unwrap(), fixture.ids["c1"]);
    refs.push(Ref { name, id, peeled: None, symbolic: None });
    let pending = RefTable::new(refs, fixture.refs.head().clone());
    let want = "want {c3} side-band-64k ofs-delta";
    for (version, lines) in [
        (Version::V0, &[want, "deepen-not new", "0000", "done"][..]),
        (Version::V2, &["command=fetch", "0001", "want {c3}", "deepen-not new", "done", "0000"]),
    ] {
        let view = fixture.view(&policy);
        let (bytes, came) = poll(&mut session(version, &fixture, lines), &view);
        assert!(matches!(came, Came::End(Some(_))), "nobody knows it: {came:?}");
        assert!(String::from_utf8_lossy(&bytes).contains("ambiguous deepen-not"));
        let mut session = session(version, &fixture, lines);
        let came = poll(&mut session, &View { pending: Some(&pending), ..view }).1;
        assert!(matches!(&came, Came::Absent(ids) if *ids == [id]), "{came:?}");
        session.look_again();
        let (bytes, came) = poll(&mut session, &View { refs: &pending, pending: None, ..view });
        assert!(matches!(came, Came::Pack(_)), "{came:?}");
        assert!(String::from_utf8_lossy(&bytes).contains("shallow "));
    }
}

/// While it is reported, there is room to keep the client awake, and nowhere else than where it asked for that.
#[test]
fn room_for_keep_alives() {
    let fixture = Fixture::full();
    let policy = policy();
    let [mut v0, mut v2] = fetches(&fixture, "lost");
    for session in [&mut v0, &mut v2] {
        assert!(matches!(poll(session, &fixture.view(&policy)).1, Came::Absent(_)));
    }
    assert_eq!(v2.keep_alive(), Some(&b"0005\x02"[..]));
    assert_eq!(v2.progress("so far\r"), Some(b"000c\x02so far\r".to_vec()));
    assert!(v0.keep_alive().is_none() && v0.progress("so far\r").is_none());
}
