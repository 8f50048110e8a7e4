//! Dialogues in protocol v2.

use crate::{
    dialogue::{Setting, encode, run},
    fixture::Fixture,
};
use heliostat_core::{
    graph::Filter,
    limits::REF_PREFIXES_MAX,
    pack::Framing,
    protocol::{Phase, Policy, Unborn, Version},
    refs::{Head, Ref, RefName, RefTable},
};
use std::{collections::BTreeSet, sync::Arc};

const V2: Version = Version::V2;

#[test]
fn capabilities_are_advertised_as_stock_git_does() {
    let fixture = Fixture::full();
    for setting in [
        Setting::plain(&fixture),
        Setting::everything(&fixture),
        Setting::plain(&fixture).with("lsrefs.unborn=allow", |policy| policy.unborn = Unborn::Allow),
    ] {
        setting.check(V2, Phase::Advertise, "");
        setting.check(V2, Phase::Duplex, "");
        setting.check(V2, Phase::Duplex, "0000");
        setting.check(V2, Phase::Stateless, "");
    }
}

#[test]
fn ls_refs() {
    let fixtures = [
        Fixture::full(),
        Fixture::empty(),
        Fixture::shallow(),
        Fixture::detached_at("c5"),
        Fixture::detached_at("nested"),
    ];
    for fixture in &fixtures {
        for arguments in [
            "",
            "peel\nsymrefs",
            "symrefs\npeel\nunborn\nref-prefix HEAD",
            "unborn",
            "unborn\nref-prefix refs/heads/",
            "symrefs\nunborn\nref-prefix H",
            "symrefs\npeel\nref-prefix refs/heads/\nref-prefix refs/tags/\nref-prefix HEAD",
            "ref-prefix refs/heads/main\nref-prefix refs/heads/\nref-prefix refs/heads/a",
            "ref-prefix refs/tags/v1\nref-prefix refs/tags/v1",
            "ref-prefix refs/nothing",
            "ref-prefix refs/hidden",
            "ref-prefix main",
            "ref-prefix ",
            "peel\npeel\nsymrefs\nsymrefs",
        ] {
            let setting = Setting::plain(fixture);
            let request = format!("command=ls-refs\nagent=git/x\nobject-format=sha1\n0001\n{arguments}\n0000");
            setting.check(V2, Phase::Stateless, &request);
            setting.check(V2, Phase::Duplex, &format!("{request}\n{request}\n0000"));
        }
        Setting::plain(fixture).check(V2, Phase::Stateless, "command=ls-refs\n0000");
        Setting::plain(fixture).with("lsrefs.unborn=ignore", |policy| policy.unborn = Unborn::Ignore).check(
            V2,
            Phase::Stateless,
            "command=ls-refs\n0001\nunborn\nsymrefs\n0000",
        );
    }
}

#[test]
fn too_many_prefixes_are_no_prefixes() {
    let fixture = Fixture::full();
    for count in [REF_PREFIXES_MAX - 1, REF_PREFIXES_MAX] {
        let prefixes: String = (0..count).map(|n| format!("ref-prefix refs/heads/{n}\n")).collect();
        let run =
            Setting::plain(&fixture).check(V2, Phase::Stateless, &format!("command=ls-refs\n0001\n{prefixes}0000"));
        assert_eq!(run.transcript.packets.len() > 1, count == REF_PREFIXES_MAX);
    }
}

#[test]
fn what_is_malformed_is_refused_in_the_words_of_stock_git() {
    let fixture = Fixture::full();
    for request in [
        "0000",
        "command=nothing\n0000",
        "command=ls-refs=x\n0000",
        "command=ls-refs\ncommand=fetch\n0000",
        "command=object-info\n0000",
        "command=bundle-uri\n0000",
        "agent=git/x\n0000",
        "nothing\n0000",
        "ls-refs\n0000",
        "session-id=x\ncommand=ls-refs\n0000",
        "server-option=x\ncommand=ls-refs\n0000",
        "command=ls-refs\nobject-format=sha256\n0000",
        "command=ls-refs\nobject-format=md5\n0000",
        "command=ls-refs\nobject-format\n0000",
        "command=ls-refs\n0001\nnothing\n0000",
        "command=ls-refs\n0001\npeel\n0001",
        "command=fetch\n0001\nnothing\n0000",
        "command=fetch\n0001\nwant x\n0000",
        "command=fetch\n0001\nwant {c12}\nhave x\n0000",
        "command=fetch\n0001\nwant {c12}\n0001",
        "command=fetch\n0001\nwant {c12}\n0002",
        "command=fetch\n0001\nwant 1111111111111111111111111111111111111111\ndone\n0000",
        "command=fetch\n0001\nwant-ref refs/heads/main\n0000",
        "command=fetch\n0001\nfilter blob:none\n0000",
        "command=fetch\n0001\nsideband-all\n0000",
        "command=fetch\n0001\nwant {c12}\nshallow x\n0000",
        "command=fetch\n0001\nwant {c12}\nshallow {blob}\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen 0\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen -1\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen x\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen \n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen-since x\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen-since \ndone\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen-since -1\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen-not nothing\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen 1\ndeepen-not side\ndone\n0000",
        "command=fetch\n0001\nwant {c12}\ndeepen 1\ndeepen-since 1\ndone\n0000",
        "command=fetch\n0001\nwant {c12}\n",
        "command=fetch\n",
        "ERR the client gives up\n0000",
        "raw:0003",
        "raw:PACK",
        "raw:ffff",
        "command=ls-refs\nraw:000fagent\0x",
        "command=ls-refs\nraw:0004",
    ] {
        // As one request, and as the second on a connection.
        Setting::plain(&fixture).check(V2, Phase::Stateless, request);
        Setting::plain(&fixture).check(V2, Phase::Duplex, &format!("command=ls-refs\n0000\n{request}"));
    }
}

#[test]
fn malformed_requests_with_everything_on_offer() {
    let fixture = Fixture::full();
    for arguments in [
        "want-ref refs/heads/nothing",
        "want-ref refs/hidden/secret",
        "want-ref main",
        "want-ref refs/heads/main\nwant-ref refs/heads/main",
        "filter nothing",
        "filter tree:x",
        "filter blob:none\nfilter blob:none",
        "filter combine:blob:none+nothing",
        "sideband-all\nwant 1111111111111111111111111111111111111111",
        "sideband-all\nnothing",
    ] {
        let request = format!("command=fetch\n0001\n{arguments}\ndone\n0000");
        Setting::everything(&fixture).check(V2, Phase::Stateless, &request);
    }
    for (config, filter) in [
        ("uploadpackfilter.sparse:oid.allow=false", "sparse:oid=main:file"),
        ("uploadpackfilter.sparse:oid.allow=false", "combine:blob:none+sparse:oid=main:file"),
    ] {
        Setting::everything(&fixture)
            .with(config, |policy| {
                policy.filter_rules.named.insert("sparse:oid".into(), false);
            })
            .check(V2, Phase::Stateless, &format!("command=fetch\n0001\nwant {{c12}}\nfilter {filter}\ndone\n0000"));
    }
    Setting::everything(&fixture)
        .with("uploadpackfilter.tree.maxDepth=1", |policy| policy.filter_rules.tree_depth_max = 1)
        .check(V2, Phase::Stateless, "command=fetch\n0001\nwant {c12}\nfilter tree:2\ndone\n0000");
    Setting::everything(&fixture)
        .with("uploadpackfilter.allow=false", |policy| policy.filter_rules.fallback = false)
        .check(V2, Phase::Stateless, "command=fetch\n0001\nwant {c12}\nfilter blob:none\ndone\n0000");
}

#[test]
fn object_info() {
    let fixture = Fixture::full();
    for arguments in [
        "",
        "size",
        "size\noid {c12}\noid {blob}\noid {tag}\noid {tree}",
        "oid {c12}",
        "size\noid 1111111111111111111111111111111111111111\noid {blob}",
        "size\noid x\noid {blob}",
        "nothing\nsize\noid {blob}",
        "size\noid {blob}\noid {blob}",
        "size\n0001",
    ] {
        let request = format!("command=object-info\n0001\n{arguments}\n0000");
        Setting::everything(&fixture).check(V2, Phase::Stateless, &request);
    }
}

#[test]
fn a_fetch_without_history_in_common() {
    let fixture = Fixture::full();
    for arguments in [
        "",
        "want {c12}\ndone",
        "want {c12}",
        "want {c12}\nwant {c12}\nwant {s4}\nwant {tag}\nwant {blob}\nwant {tree}\ndone",
        "thin-pack\nofs-delta\nno-progress\ninclude-tag\nwant {c12}\ndone",
        "wait-for-done",
        "wait-for-done\ndone",
        "have {c12}",
        "have {c12}\ndone",
        "want {c12}\nshallow 1111111111111111111111111111111111111111\ndone",
        "want {c12}\nshallow {c3}\nshallow {c3}\ndone",
        // In v2 stock Git grants whatever it has.
        "want {lost}\ndone",
        "want {secret}\ndone",
    ] {
        let request = format!("command=fetch\nagent=git/x\n0001\n{arguments}\n0000");
        Setting::plain(&fixture).check(V2, Phase::Stateless, &request);
        Setting::everything(&fixture).check(
            V2,
            Phase::Duplex,
            &format!("{request}\ncommand=ls-refs\n0000\n{request}\n0000"),
        );
    }
}

#[test]
fn the_order_holds_what_was_asked_for() {
    let fixture = Fixture::full();
    let run = Setting::everything(&fixture).check(
        V2,
        Phase::Stateless,
        "command=fetch\n0001\nthin-pack\nofs-delta\ninclude-tag\nfilter blob:none\nwant {c12}\nwant {c12}\nwant {s4}\n\
         shallow {c3}\nhave {c4}\nhave {c3}\nhave 1111111111111111111111111111111111111111\ndone\n0000",
    );
    let [order] = &run.orders[..] else { panic!("one order") };
    let ids = |marks: &[&str]| marks.iter().map(|mark| fixture.ids[*mark]).collect::<Vec<_>>();
    assert_eq!(order.query.wants, ids(&["c12", "s4"]));
    assert_eq!(order.query.haves, ids(&["c4", "c3"]));
    assert_eq!(order.query.client_shallow, ids(&["c3"]).into_iter().collect());
    assert_eq!(order.query.filter, Some(Filter::BlobNone));
    assert_eq!(
        order.query.include_tags,
        [(fixture.ids["nested"], fixture.ids["c6"]), (fixture.ids["tag"], fixture.ids["c6"])]
    );
    assert!(order.encoding.thin_pack && order.encoding.ofs_delta && order.progress);
    assert_eq!(order.framing, Framing::SideBand64k);
}

#[test]
fn acknowledgments() {
    let fixture = Fixture::full();
    for arguments in [
        "want {c12}\nhave 1111111111111111111111111111111111111111",
        "want {c12}\nhave 1111111111111111111111111111111111111111\ndone",
        "want {c12}\nhave {c10}",
        "want {c12}\nhave {c10}\nhave {c9}\nhave {c8}\nhave {c1}",
        "want {c12}\nhave {c1}",
        "want {c12}\nhave {c10}\ndone",
        "want {c12}\nwait-for-done\nhave {c10}",
        "wait-for-done\nhave {c10}\nhave {c9}",
        "wait-for-done\nhave 1111111111111111111111111111111111111111",
        "want {c12}\nwant {s4}\nhave {c7}",
        "want {c12}\nwant {lost}\nhave {s4}",
        "want {s4}\nhave {c12}",
        "want {s4}\nhave {c4}",
        "want {s4}\nhave {c4}\nhave {s1}",
        "want {tag}\nhave {c4}",
        "want {blob}\nhave {c4}",
        "want {c12}\nhave {tag}",
        "want {c12}\nhave {blob}\nhave {c11}\nhave {c11}",
        "sideband-all\nwant {c12}\nhave {c10}",
        "sideband-all\nwant {c12}\nhave 1111111111111111111111111111111111111111",
        "sideband-all\nwant {c12}\nwant-ref refs/heads/side\nshallow {c3}\nhave {c10}",
    ] {
        let request = format!("command=fetch\n0001\nno-progress\n{arguments}\n0000");
        Setting::everything(&fixture).check(V2, Phase::Stateless, &request);
        Setting::everything(&fixture).check(V2, Phase::Duplex, &format!("{request}\n{request}\n0000"));
    }
}

#[test]
fn wanted_refs() {
    let fixture = Fixture::full();
    for arguments in [
        "want-ref refs/heads/main",
        "want-ref refs/heads/main\nwant-ref refs/tags/nested\nwant-ref refs/heads/alias\nwant {s4}",
        "want-ref HEAD",
        "want-ref refs/heads/main\ndeepen 1",
        "want-ref refs/heads/main\nshallow {c10}",
    ] {
        let request = format!("command=fetch\n0001\nno-progress\n{arguments}\ndone\n0000");
        Setting::everything(&fixture).check(V2, Phase::Stateless, &request);
    }
}

#[test]
fn shallow_info() {
    let full = Fixture::full();
    let shallow = Fixture::shallow();
    for fixture in [&full, &shallow] {
        for arguments in [
            "want {c12}\nshallow {c11}",
            "want {c12}\ndeepen 1",
            "want {c12}\ndeepen 2",
            "want {c12}\ndeepen 0x3",
            "want {c12}\ndeepen 6",
            "want {c12}\ndeepen 100",
            "want {c12}\ndeepen 2147483647",
            "want {c12}\nwant {s4}\ndeepen 1",
            "want {c12}\nshallow {c12}\ndeepen 2",
            "want {c12}\nshallow {c11}\nhave {c12}\ndeepen 2\ndeepen-relative",
            "want {c12}\nshallow {c10}\nhave {c12}\ndeepen 2",
            "want {c12}\nshallow {c11}\nhave {c12}\ndeepen 2147483647",
            "want {c12}\ndeepen-since 1600010000",
            "want {c12}\ndeepen-since 1600003550",
            "want {c12}\ndeepen-since 0",
            "want {c12}\ndeepen-since 1700000000",
            "want {c12}\nshallow {c12}\ndeepen-since 1600010500",
        ] {
            let request = format!("command=fetch\n0001\nno-progress\n{arguments}\ndone\n0000");
            Setting::everything(fixture).check(V2, Phase::Stateless, &request);
        }
    }
    for arguments in [
        "want {c12}\ndeepen-not side",
        "want {c12}\ndeepen-not refs/heads/side\ndeepen-not light",
        "want {c12}\ndeepen-not v1",
        "want {c12}\ndeepen-not v1\ndeepen-since 1600011000",
        "want {c12}\ndeepen-not main",
        "want {tag}\ndeepen 1",
        "want {nested}\ndeepen 2",
        "want {blob}\ndeepen 1",
        "want {c12}\nshallow {lost}\ndeepen 1\ndeepen-relative",
        "want {c12}\nshallow {c9}\ndeepen 1\ndeepen-relative",
    ] {
        let request = format!("command=fetch\n0001\nno-progress\n{arguments}\ndone\n0000");
        Setting::everything(&full).check(V2, Phase::Stateless, &request);
    }
}

#[test]
fn the_mirror_grants_what_is_or_recently_was_reachable() {
    let mut fixture = Fixture::full();
    let policy = Policy::mirror("heliostat/test");
    let ask = |fixture: &Fixture, version, arguments: &str| {
        let request = match version {
            V2 => format!("command=fetch\n0001\n{arguments}\ndone\n0000"),
            _ => format!("{arguments}\n0000\ndone"),
        };
        let request = encode(&fixture.fill(&request));
        run(fixture, &policy, version, Phase::Stateless, &request, usize::MAX).transcript
    };
    let refused = |fixture: &Fixture, mark: &str| format!("git upload-pack: not our ref {}", fixture.ids[mark]);
    for version in [Version::V0, Version::V1, V2] {
        for mark in ["c12", "c3", "s2", "tag", "nested", "blob", "tree"] {
            assert_eq!(ask(&fixture, version, &format!("want {{{mark}}}")).died, None, "{mark} in {version:?}");
        }
        for mark in ["lost", "lost-parent", "lost-blob", "secret", "secret-parent"] {
            let answer = ask(&fixture, version, &format!("want {{c12}}\nwant {{{mark}}}"));
            assert_eq!(answer.died, Some(refused(&fixture, mark)), "{mark} in {version:?}");
            assert_eq!(answer.packets, [format!("ERR upload-pack: not our ref {}", fixture.ids[mark])]);
        }
    }
    // A client that claims to be shallow at a hidden commit does not get what lies behind it.
    let answer = ask(&fixture, V2, "want {c12}\nshallow {secret}\ndeepen 2147483647");
    assert_eq!(answer.packets, ["shallow-info", "0001", "packfile", "PACK", "0000"]);
    // Nor does object-info tell of it.
    let request = encode(&fixture.fill("command=object-info\n0001\nsize\noid {secret}\noid {blob}\n0000"));
    let answer = run(&fixture, &policy, V2, Phase::Stateless, &request, usize::MAX).transcript;
    assert_eq!(answer.packets[1], format!("{} ", fixture.ids["secret"]));
    assert!(answer.packets[2].len() > 41);
    // What was a tip lately is still granted.
    let lost =
        Ref { name: RefName::new(b"refs/heads/lost").unwrap(), id: fixture.ids["lost"], peeled: None, symbolic: None };
    let table = RefTable::new(vec![lost], Head::Absent);
    fixture.recent.push(Arc::new(table));
    for version in [Version::V0, Version::V1, V2] {
        for mark in ["lost", "lost-parent", "lost-blob"] {
            assert_eq!(ask(&fixture, version, &format!("want {{{mark}}}")).died, None, "{mark} in {version:?}");
        }
        assert!(ask(&fixture, version, "want {secret}").died.is_some());
    }
}

/// A have proves nothing unless it is advertised or was lately; stock Git believes it.
#[test]
fn what_a_client_may_only_claim() {
    let mut fixture = Fixture::full();
    let request = |version, thin: &str| match version {
        V2 => format!(
            "command=fetch\n0001\n{thin}\nwant {{c12}}\nhave {{s4}}\nhave {{lost}}\nhave {{secret}}\ndone\n0000"
        ),
        _ => format!("want {{c12}} {thin}\n0000\nhave {{s4}}\nhave {{lost}}\nhave {{secret}}\ndone"),
    };
    let claimed = |fixture: &Fixture, policy: &Policy, version, thin: &str| {
        let request = encode(&fixture.fill(&request(version, thin)));
        let mut orders = run(fixture, policy, version, Phase::Stateless, &request, usize::MAX).orders;
        orders.pop().expect("an order").query.claimed
    };
    let (mirror, stock) = (Policy::mirror("heliostat/test"), Policy::stock("heliostat/test"));
    let ids = |fixture: &Fixture, marks: &[&str]| marks.iter().map(|mark| fixture.ids[*mark]).collect::<BTreeSet<_>>();
    let lost =
        Ref { name: RefName::new(b"refs/heads/lost").unwrap(), id: fixture.ids["lost"], peeled: None, symbolic: None };
    let table = RefTable::new(vec![lost], Head::Absent);
    for marks in [&["lost", "secret"][..], &["secret"]] {
        for version in [Version::V0, Version::V1, V2] {
            assert_eq!(claimed(&fixture, &mirror, version, "thin-pack"), ids(&fixture, marks), "{version:?}");
            assert!(claimed(&fixture, &mirror, version, "ofs-delta").is_empty(), "there are no bases to speak of");
            assert!(claimed(&fixture, &stock, version, "thin-pack").is_empty());
        }
        fixture.recent = vec![Arc::new(table.clone())];
    }
}

#[test]
fn a_session_id_is_read_where_one_is_offered() {
    let fixture = Fixture::full();
    for offered in [None, Some("0123abcd".to_owned())] {
        let policy = Policy { session_id: offered.clone(), ..Policy::mirror("heliostat/test") };
        let ask = |version, phase, request: &str| {
            run(&fixture, &policy, version, phase, &encode(&fixture.fill(request)), usize::MAX).transcript
        };
        for version in [Version::V0, Version::V1, V2] {
            let advertised = ask(version, Phase::Advertise, "").packets.concat();
            assert_eq!(advertised.contains("session-id="), offered.is_some(), "{version:?}: {advertised}");
        }
        let listed = ask(V2, Phase::Stateless, "session-id=client\ncommand=ls-refs\n0000");
        let unknown = offered.is_none().then(|| "unknown capability 'session-id=client'".to_owned());
        assert_eq!(listed.died, unknown);
        let fetched = ask(Version::V0, Phase::Stateless, "want {c12} session-id=client\n0000\ndone");
        assert_eq!(fetched.died, None);
    }
}
