//! Dialogues in protocols v0 and v1.

use crate::{dialogue::Setting, fixture::Fixture};
use heliostat_core::{
    pack::Framing,
    protocol::{Phase, Version, WantPolicy},
};

const VERSIONS: [Version; 2] = [Version::V0, Version::V1];
const NONE: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

#[test]
fn references_are_advertised_as_stock_git_does() {
    for fixture in [
        Fixture::full(),
        Fixture::empty(),
        Fixture::shallow(),
        Fixture::detached_at("c5"),
        Fixture::detached_at("nested"),
    ] {
        for version in VERSIONS {
            Setting::plain(&fixture).check(version, Phase::Advertise, "");
            Setting::plain(&fixture).check(version, Phase::Duplex, "0000");
            Setting::plain(&fixture).check(version, Phase::Duplex, "");
            Setting::everything(&fixture).check(version, Phase::Advertise, "");
        }
    }
    let fixture = Fixture::full();
    for (config, policy) in [
        ("uploadpack.allowTipSHA1InWant=true", WantPolicy::Tips),
        ("uploadpack.allowReachableSHA1InWant=true", WantPolicy::Reachable),
        ("uploadpack.allowAnySHA1InWant=true", WantPolicy::Any),
    ] {
        Setting::plain(&fixture).with(config, |stock| stock.wants = policy).check(Version::V0, Phase::Advertise, "");
    }
}

#[test]
fn what_is_malformed_is_refused_in_the_words_of_stock_git() {
    let fixture = Fixture::full();
    for request in [
        "nothing\n0000",
        "want x\n0000",
        "want {c12}",
        "want {c12}\nhave {c1}\n0000",
        "want 1111111111111111111111111111111111111111\n0000",
        "want {c12}\nfilter blob:none\n0000",
        "want {c12} filter\nfilter blob:none\n0000",
        "want {c12}\nshallow x\n0000",
        "want {c12}\nshallow {tree}\n0000",
        "want {c12}\ndeepen x\n0000",
        "want {c12}\ndeepen-not nothing\n0000",
        "want {c12}\ndeepen 1\ndeepen-since 1\n0000",
        "want {c12}\n0000\nhave x\n",
        "want {c12}\n0000\nnothing\n",
        "want {c12}\n0000\nhave {c1}\n",
        "want {c12}\n0000",
        "want {c12}\n0001",
        "0000",
        "ERR the client gives up",
        "raw:0003",
        "raw:xxxx",
        "raw:fff",
    ] {
        for version in VERSIONS {
            Setting::plain(&fixture).check(version, Phase::Stateless, request);
            Setting::plain(&fixture).check(version, Phase::Duplex, request);
        }
    }
}

#[test]
fn wants_are_granted_as_stock_git_does() {
    let fixture = Fixture::full();
    for (config, policy) in [
        ("uploadpack.allowTipSHA1InWant=false", WantPolicy::Advertised),
        ("uploadpack.allowTipSHA1InWant=true", WantPolicy::Tips),
        ("uploadpack.allowReachableSHA1InWant=true", WantPolicy::Reachable),
        ("uploadpack.allowAnySHA1InWant=true", WantPolicy::Any),
    ] {
        for mark in ["c12", "c3", "tag", "nested", "lost", "lost-parent", "secret", "secret-parent", "blob", "tree"] {
            for phase in [Phase::Stateless, Phase::Duplex] {
                let request = format!("want {{c5}} no-progress\nwant {{{mark}}}\n0000\ndone");
                Setting::plain(&fixture).with(config, |stock| stock.wants = policy).check(Version::V0, phase, &request);
            }
        }
    }
}

/// Every acknowledgment mode, stateless and duplex, with and without `no-done`.
#[test]
fn negotiation_in_every_mode() {
    let fixture = Fixture::full();
    for acks in
        ["", " multi_ack", " multi_ack_detailed", " multi_ack_detailed no-done", " no-done", " multi_ack no-done"]
    {
        for haves in [
            "done".to_owned(),
            "0000\ndone".to_owned(),
            format!("have {NONE}\n0000\ndone"),
            format!("have {NONE}\n0000\nhave {OTHER}\n0000\ndone"),
            "have {c10}\n0000\ndone".to_owned(),
            "have {c10}\ndone".to_owned(),
            "have {c10}\nhave {c9}\nhave {c8}\n0000\nhave {c7}\n0000\ndone".to_owned(),
            format!("have {{c10}}\nhave {NONE}\n0000\nhave {OTHER}\n0000\ndone"),
            format!("have {NONE}\nhave {{c10}}\n0000\nhave {OTHER}\nhave {{c9}}\n0000\ndone"),
            format!("have {{s4}}\nhave {NONE}\n0000\nhave {{c7}}\n0000\nhave {OTHER}\n0000\ndone"),
            format!("have {{lost}}\nhave {NONE}\n0000\ndone"),
            "have {lost}\n0000\nhave {c1}\n0000\ndone".to_owned(),
            "have {tag}\n0000\ndone".to_owned(),
            "have {c10}\n0000".to_owned(),
            "have {c12}\nhave {c12}\n0000\ndone".to_owned(),
        ] {
            for wants in ["want {c12}", "want {s4}", "want {nested}"] {
                for phase in [Phase::Stateless, Phase::Duplex] {
                    let request = format!("{wants} no-progress side-band-64k{acks}\n0000\n{haves}");
                    Setting::plain(&fixture).check(Version::V0, phase, &request);
                }
            }
        }
    }
}

#[test]
fn packs_come_in_the_frames_that_were_asked_for() {
    let fixture = Fixture::full();
    for (capabilities, framing) in [
        ("", Framing::Bare),
        (" side-band", Framing::SideBand),
        (" side-band-64k", Framing::SideBand64k),
        (" side-band side-band-64k", Framing::SideBand64k),
        (" side-band-64k=x agent=x object-format=sha1", Framing::SideBand64k),
    ] {
        for phase in [Phase::Stateless, Phase::Duplex] {
            let request = format!("want {{c12}}{capabilities}\nwant {{s4}}\n0000\ndone");
            let run = Setting::plain(&fixture).check(Version::V0, phase, &request);
            assert_eq!(run.orders[0].framing, framing);
            assert_eq!(run.orders[0].progress, framing != Framing::Bare);
        }
    }
    // Capabilities count on whichever want line they stand.
    let run = Setting::everything(&fixture).check(
        Version::V1,
        Phase::Stateless,
        "want {c12}\nwant {c5} thin-pack ofs-delta include-tag side-band-64k no-progress filter\nfilter tree:1\n0000\ndone",
    );
    let order = &run.orders[0];
    assert!(order.encoding.thin_pack && order.encoding.ofs_delta && !order.progress);
    assert_eq!((order.query.include_tags.len(), order.query.wants.len()), (2, 2));
    assert!(order.query.filter.is_some());
}

#[test]
fn shallow_lines() {
    let full = Fixture::full();
    let shallow = Fixture::shallow();
    for fixture in [&full, &shallow] {
        for lines in [
            "shallow {c11}",
            "deepen 1",
            "deepen 3",
            "deepen 100",
            "deepen 2147483647",
            "shallow {c12}\ndeepen 2",
            "shallow {c11}\ndeepen 2147483647",
            "deepen-since 1600010000",
            "deepen-since ",
            "deepen-since 1700000000",
        ] {
            for phase in [Phase::Stateless, Phase::Duplex] {
                for rest in ["", "done", "have {c12}\n0000\ndone", "have {c10}\nhave {c1}\n0000\ndone"] {
                    let wants = "want {c12} side-band-64k no-progress multi_ack_detailed";
                    let request = format!("{wants}\n{lines}\n0000\n{rest}");
                    Setting::plain(fixture).check(Version::V0, phase, &request);
                }
            }
        }
    }
    for lines in ["deepen-not side", "deepen-not v1\ndeepen-not light", "deepen-not main"] {
        let request = format!("want {{c12}} side-band-64k no-progress\n{lines}\n0000\ndone");
        Setting::plain(&full).check(Version::V0, Phase::Stateless, &request);
    }
    let relative =
        "want {c12} side-band-64k no-progress deepen-relative\nshallow {c11}\ndeepen 2\n0000\nhave {c12}\n0000\ndone";
    Setting::plain(&full).check(Version::V0, Phase::Stateless, relative);
    Setting::plain(&full).check(Version::V0, Phase::Stateless, "deepen 1\n0000");
}
