//! Which references are mirrored and shown: what the rule leaves out is neither advertised nor fetched, nor counts for what may
//! be asked for, also where it had been mirrored before the rule said so.

use super::*;
use crate::support::conversation::fetch;

fn hide(upstream: &Upstream, reference: &str) -> String {
    let tip = upstream.commit_on(&upstream.id("main"), "aside", &[("aside.txt", reference)]);
    upstream.run(&["update-ref", reference, &tip]);
    upstream.run(&["update-ref", "-d", "refs/heads/aside"]);
    tip
}

fn advertised(house: &House) -> Vec<String> {
    let text = house.git.text(house.sandbox.path(), &["ls-remote", &house.url(PUBLIC, None)]);
    text.lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn what_the_rule_leaves_out_is_not_there() {
    let mut house = House::start(false, "");
    let upstream = house.upstream(PUBLIC);
    let meta = hide(&upstream, "refs/meta/config");
    let pull = hide(&upstream, "refs/pull/9/head");
    let names = advertised(&house);
    assert!(names.iter().any(|name| name == "refs/pull/9/head"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("refs/meta/")), "{names:?}");
    let may_have = |house: &House, id: &str| {
        [0, 1, 2].map(|version| {
            let answer = fetch(house.mirror.port(), PUBLIC, version, &[&format!("want {id}")], &[]);
            crate::support::conversation::pack_of(&answer).is_some()
        })
    };
    assert_eq!((may_have(&house, &meta), may_have(&house, &pull)), ([false; 3], [true; 3]));
    let stored = house.mirror.stored().pop().unwrap();
    assert!(house.git.try_text(&stored, &["cat-file", "-e", &meta]).is_err(), "it has not even been fetched");

    // Pull requests are taken out, with the upstream away: from what lies here, earlier generations too.
    upstream.commit("main", &[("more.txt", "more\n")]);
    assert!(!advertised(&house).is_empty());
    let config = house.sandbox.path().join("heliostat.toml");
    let rule = std::fs::read_to_string(&config)
        .unwrap()
        .replace("include = [\"*\"]", "include = [\"*\"]\nrefs = [\"!refs/pull\"]");
    std::fs::write(&config, rule).unwrap();
    house.apache.stop();
    house.mirror.stop();
    house.mirror.start_again();
    for back in [false, true] {
        if back {
            house.apache.start_again();
        }
        let names = advertised(&house);
        assert!(names.iter().any(|name| name == "refs/heads/main"), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("refs/pull/")), "{names:?}");
        assert_eq!(may_have(&house, &pull), [false; 3]);
    }
    house.clone(&house.url(PUBLIC, None), &[]).unwrap();
}

/// By its id nothing can be had that a hidden reference alone reaches, be it no tip or no commit, though the upstream gives it;
/// what shown ones reach can.
#[test]
fn what_only_a_hidden_reference_reaches_is_not_given_by_its_id() {
    let house = House::start(false, "[[mirror]]\ninclude = [\"*\"]\nrefs = [\"refs/heads\", \"!refs/heads/secret\"]\n");
    let upstream = house.upstream(PUBLIC);
    let main = upstream.id("main");
    let below = upstream.commit_on(&main, "secret", &[("secret.txt", "of nobody else\n")]);
    let tip = upstream.commit_on(&below, "secret", &[("other.txt", "more\n")]);
    let id = |name: &str| house.git.text(&upstream.folder, &["rev-parse", name]).trim().to_owned();
    let hidden = [tip, below, id("secret^{tree}"), id("secret:secret.txt")];
    let shown = [main, id("main~1"), id("main^{tree}")];
    let given = |id: &str, port: u16| {
        let answer = fetch(port, PUBLIC, 2, &[&format!("want {id}")], &[]);
        crate::support::conversation::pack_of(&answer).is_some()
    };
    let port = house.mirror.port();
    // Asked for before and after references have been told.
    for _ in 0..2 {
        for id in &hidden {
            assert!(!given(id, port), "{id}");
            let stored = house.mirror.stored();
            let has = |stored: &PathBuf| house.git.try_text(stored, &["cat-file", "-e", id]).is_ok();
            assert!(!stored.iter().any(has), "{id} lies here");
        }
        assert!(shown.iter().all(|id| given(id, port)));
        assert!(!advertised(&house).contains(&"refs/heads/secret".to_owned()));
    }
    // Where nothing is hidden, the same are given, those that are advertised or not.
    let open = House::start(false, "");
    let upstream = open.upstream(PUBLIC);
    let lost = upstream.commit_on(&upstream.id("main"), "secret", &[("secret.txt", "lost\n")]);
    upstream.run(&["update-ref", "-d", "refs/heads/secret"]);
    assert!(given(&lost, open.mirror.port()), "what no reference reaches is given where the upstream gives it");
}
