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
