//! Which objects tips reach, and when negotiation may end, beside `git rev-list`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod stock;

use heliostat_core::{ObjectId, graph::Graph};
use heliostat_testrepo::Spec;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};
use stock::{answer::Served, id, rev};

fn serve(spec: &Spec) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("r.git");
    spec.write(&repository).unwrap();
    Served::new(folder, repository)
}

#[test]
fn what_tips_do_not_reach_is_named() {
    let served = serve(&Spec { commits: 60, ..Spec::curious(61) });
    let stop = AtomicBool::new(false);
    let graph = Graph { objects: &served.objects, grafts: &served.grafts, stop: &stop };
    let everything = served.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    let everything: Vec<ObjectId> = everything.lines().map(id).collect();
    for tips in [vec![rev(&served.repository, "refs/heads/main")], vec![rev(&served.repository, "refs/heads/main~20")]]
    {
        let reached: BTreeSet<_> = served.closure(&tips);
        let mut unreached = 0;
        for object in everything.iter().step_by(5) {
            let found = graph.first_unreachable(&[tips[0], *object], &mut tips.iter().copied()).unwrap();
            assert_eq!(found.is_none(), reached.contains(object), "{object}");
            unreached += u32::from(found == Some(*object));
        }
        assert!(unreached > 0);
        let all: Vec<_> = reached.iter().copied().collect();
        assert_eq!(graph.first_unreachable(&all, &mut tips.iter().copied()).unwrap(), None);
    }
    let absent = ObjectId::null(gix_hash::Kind::Sha1);
    assert_eq!(graph.first_unreachable(&[absent], &mut std::iter::empty()).unwrap(), Some(absent));
    stop.store(true, Ordering::Relaxed);
    assert!(graph.first_unreachable(&everything, &mut std::iter::once(everything[0])).is_err());
}

#[test]
fn negotiation_ends_when_every_want_reaches_a_have() {
    let served = serve(&Spec { commits: 60, ..Spec::small(62) });
    let stop = AtomicBool::new(false);
    let graph = Graph { objects: &served.objects, grafts: &served.grafts, stop: &stop };
    let commits: Vec<ObjectId> = served.git(&["rev-list", "--all", "--date-order"]).lines().map(id).collect();
    let (mut yes, mut no) = (0, 0);
    for want in commits.iter().step_by(6) {
        let reached = served.closure([want]);
        for have in commits.iter().step_by(7) {
            // As stock: the parents of a have count as had, and a want is not cut off by its own date.
            let line = served.git(&["rev-list", "--parents", "--no-walk", &have.to_string()]);
            let expected = line.split(' ').any(|known| reached.contains(&id(known)));
            let found = graph.every_want_reaches_a_have(&[*want], &[*have]).unwrap();
            // The parents of a have may be older than the cut-off: then the way to them is not followed.
            assert!(found == expected || !reached.contains(have), "{want} {have}");
            if found { yes += 1 } else { no += 1 }
        }
    }
    assert!(yes > 10 && no > 10, "{yes} {no}");
    let (main, old) = (commits[0], commits[commits.len() - 1]);
    assert!(graph.every_want_reaches_a_have(&[main, old], &[old]).unwrap());
    assert!(!graph.every_want_reaches_a_have(&[main], &[]).unwrap());
}
