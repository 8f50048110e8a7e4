//! Boundaries and negotiations where we differ from stock Git, each in its smallest form.

use crate::{
    conversation::{Answer, Request},
    dates::{dated, late_below_older},
    stage::{Side, Stage, gits, run},
    subject::Subject,
};

/// The answers of both to `request` in `dates.git`: stock Git's, then ours.
fn answers(stage: &Stage, version: u8, options: &[&str], request: &[&str]) -> [Answer; 2] {
    Side::BOTH.map(|side| {
        let mut command = stage.server(side);
        command.env("GIT_PROTOCOL", format!("version={version}")).args(options).arg("dates.git");
        let answer = Answer::of(&run(&mut command, &Request::of(request).0));
        assert_eq!(answer.code, 0, "{side:?}: {}", answer.err);
        answer
    })
}

/// Difference 13, where the starting points are the client's shallow commits.
#[test]
fn a_late_date_below_older_ones_is_deepened_from() {
    let stage = Stage::new();
    let (_, line) = late_below_older(&stage);
    for (at, lost) in [(0, true), (5, false)] {
        let (want, shallow) = (format!("want {}", line[10]), format!("shallow {}", line[at]));
        let request = ["command=fetch", "0001", &want, &shallow, "deepen 1", "deepen-relative", "done", "0000"];
        let [stock, ours] = answers(&stage, 2, &["--stateless-rpc"], &request);
        let unshallow = format!("unshallow {}", line[at]);
        assert!(ours.packets.contains(&unshallow), "{:?}", ours.packets);
        assert_eq!(stock.packets.contains(&unshallow), !lost, "{:?}", stock.packets);
    }
}

/// Difference 16: stock Git takes what a hidden reference points at for something that the client has.
#[test]
fn a_hidden_reference_ends_no_negotiation() {
    let stage = Stage::new();
    let commit = dated(&stage);
    let (other, root) = (commit(1_600_000_000, &[]), commit(1_700_000_000, &[]));
    let hidden = commit(1_700_000_001, &[&root]);
    let main = commit(1_700_000_002, &[&hidden]);
    for (name, id) in [("refs/heads/main", &main), ("refs/heads/other", &other), ("refs/secret/one", &hidden)] {
        stage.git(&["-C", "dates.git", "update-ref", name, id]);
    }
    let want = format!("want {main} side-band-64k multi_ack_detailed");
    let request = [&*want, "0000", &format!("have {other}"), "0000"];
    for hides in [false, true] {
        if hides {
            stage.git(&["-C", "dates.git", "config", "transfer.hideRefs", "refs/secret"]);
        }
        for version in [0, 1] {
            let [stock, ours] = answers(&stage, version, &["--stateless-rpc"], &request);
            assert_eq!(ours.packets, [format!("ACK {other} common\n"), "NAK\n".into()]);
            let ready = format!("ACK {other} ready\n");
            assert_eq!(stock.packets.contains(&ready), hides, "{:?}", stock.packets);
        }
    }
}

/// Difference 17: what no way leads to is not told. The roots of the ways are the wants and the parents of what is no longer
/// shallow; their ends are the boundary and what stays shallow.
#[test]
fn what_is_told_as_shallow_is_sent() {
    let stage = Stage::new();
    let commit = dated(&stage);
    let old = commit(1_600_000_000, &[]);
    let border = commit(1_700_000_000, &[&old]);
    let inner = commit(1_700_000_001, &[&border]);
    let main = commit(1_700_000_002, &[&inner, &old]);
    let late = commit(1_600_000_001, &[&border]);
    let tip = commit(1_600_000_002, &[&late]);
    stage.git(&["-C", "dates.git", "update-ref", "refs/heads/old", &old]);
    for (wants, shallow, is_sent) in [
        (&[&main][..], &[][..], false),
        (&[&main, &inner], &[], true),
        (&[&main, &border], &[], true),
        // It stays shallow: its parent is in the dark.
        (&[&main], &[&main], false),
        // It is unshallowed.
        (&[&main], &[&inner], true),
        // A want that is not selected travels with all its history, but for what the client is shallow at.
        (&[&main, &tip], &[], true),
        (&[&main, &tip], &[&late], false),
    ] {
        let lines = |before: &str, ids: &[&String]| ids.iter().map(|id| format!("{before} {id}")).collect::<Vec<_>>();
        let (wanted, cut) = (lines("want", wants), lines("shallow", shallow));
        let mut request = vec!["command=fetch", "0001"];
        request.extend(wanted.iter().chain(&cut).map(String::as_str));
        request.extend(["deepen-since 1650000000", "done", "0000"]);
        let [stock, ours] = answers(&stage, 2, &["--stateless-rpc"], &request);
        let border_line = format!("shallow {border}");
        assert!(stock.packets.contains(&border_line), "{request:?}: {:?}", stock.packets);
        assert_eq!(ours.packets.contains(&border_line), is_sent, "{request:?}: {:?}", ours.packets);
        for answer in [stock, ours] {
            let sent = stage.objects_of_pack(&answer.pack, &stage.path("dates.git"));
            assert_eq!(sent.contains(&border), is_sent, "{request:?}");
        }
    }
}

/// Difference 17, to its end: what is told as shallow and never sent breaks the clone for good.
#[test]
fn a_clone_cut_at_a_merge_is_made_whole_again() {
    let stage = Stage::new();
    let commit = dated(&stage);
    let old = commit(1_600_000_000, &[]);
    let behind = commit(1_700_000_000, &[&old]);
    let merge = commit(1_700_000_001, &[&behind, &old]);
    let main = commit(1_700_000_002, &[&merge]);
    for (name, id) in [("refs/heads/main", &main), ("refs/heads/old", &old)] {
        stage.git(&["-C", "dates.git", "update-ref", name, id]);
    }
    let url = format!("file://{}", stage.path("dates.git").display());
    for (number, git) in gits().iter().enumerate() {
        for protocol in ["protocol.version=0", "protocol.version=1", "protocol.version=2"] {
            for bound in ["--shallow-since=@1650000000 +0000", "--shallow-exclude=old"] {
                for side in Side::BOTH {
                    let what = format!("Git {} {protocol} {bound} of {side:?}", git.version);
                    let target = format!("{number}-{protocol}-{}-{side:?}", &bound[..11]);
                    let client = |arguments: &[&str]| {
                        let mut command = stage.process(&git.path);
                        run(command.args(["-c", protocol]).args(arguments), b"")
                    };
                    let server = side.command_line();
                    let clone = ["clone", "-q", "--bare", "-b", "main", "--single-branch", bound, "-u", &server];
                    client(&[&clone[..], &[&url, &target]].concat()).expect(&what);
                    let shallow = std::fs::read_to_string(stage.path(&target).join("shallow")).unwrap();
                    assert_eq!(shallow.contains(&behind), side == Side::Stock, "{what}: {shallow}");
                    let fetch = ["-C", &target, "fetch", "-q", "--unshallow", "--upload-pack", &server, &url, "main"];
                    let fetched = client(&fetch);
                    if side == Side::Stock {
                        assert!(fetched.err.contains(&format!("unshallow {behind}")), "{what}: {}", fetched.err);
                        continue;
                    }
                    fetched.expect(&what);
                    client(&["-C", &target, "fsck", "--full", "--strict"]).expect(&what);
                    assert_eq!(client(&["-C", &target, "rev-list", "--count", "main"]).text(), "4", "{what}");
                }
            }
        }
    }
}

/// Difference 18: what a have holds is left out also where its history does not lead to what is sent.
#[test]
fn what_a_have_holds_is_left_out_below_a_boundary() {
    let subject = Subject::new();
    subject.configure(&[]);
    let (dir, stage) = (subject.path.to_str().unwrap(), &subject.stage);
    stage.git(&["-C", dir, "tag", "-a", "-m", "of a tree", "tree", &subject.tree]);
    let tag = stage.git(&["-C", dir, "rev-parse", "tree"]);
    let (want, have) = (format!("want {}", subject.main), format!("have {}", subject.parent));
    let (tree, itself) = (format!("want {tag}"), format!("have {}", subject.main));
    let shallow = format!("shallow {}", subject.main);
    for (lines, had, shallow) in [
        (&[&*want, &have, "deepen 1"][..], &subject.parent, None),
        (&[&want, &itself, &shallow, "deepen 1", "deepen-relative"], &subject.main, Some(&subject.main)),
        (&[&tree, &itself], &subject.main, None),
    ] {
        let shallow = shallow.into_iter().cloned().collect();
        let at_client = stage.reachable(&subject.path, std::slice::from_ref(had), &shallow);
        for thin in [false, true] {
            let thin_pack: &[&str] = if thin { &["thin-pack"] } else { &[] };
            let request = [&["command=fetch", "0001", "no-progress"], thin_pack, lines, &["done", "0000"]].concat();
            let [stock, ours] = Side::BOTH.map(|side| {
                let mut command = stage.server(side);
                command.env("GIT_PROTOCOL", "version=2").args(["--stateless-rpc", dir]);
                let answer = Answer::of(&run(&mut command, &Request::of(&request).0));
                stage.objects_of_pack(&answer.pack, &subject.path)
            });
            assert!(ours.is_subset(&stock), "{request:?}");
            assert!(stock.difference(&ours).all(|id| at_client.contains(id)), "{request:?}");
            let same = thin && !lines.contains(&&*tree);
            assert_eq!(ours.len() == stock.len(), same, "{request:?}: {} of {}", ours.len(), stock.len());
        }
    }
}
