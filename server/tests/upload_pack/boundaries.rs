//! Boundaries and negotiations where we differ from stock Git, each in its smallest form.

use crate::{
    conversation::{Answer, Request},
    dates::{dated, late_below_older},
    stage::{Side, Stage, run},
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
