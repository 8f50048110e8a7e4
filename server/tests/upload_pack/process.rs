//! What surrounds a conversation: warnings, pipes that close, time that runs out, a repository that changes meanwhile.

use crate::{
    conversation::{Answer, Request, compare},
    stage::{Outcome, Side, Stage, run},
    subject::Subject,
};
use heliostat_testrepo::Spec;
use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    time::Instant,
};

#[test]
fn what_is_not_honoured_is_warned_of() {
    let subject = Subject::new();
    subject.configure(&["uploadpack.packObjectsHook=false", "uploadpack.advertiseBundleURIs=true"]);
    let mut command = subject.stage.server(Side::Ours);
    let outcome = run(command.arg("--advertise-refs").arg(&subject.path), b"");
    assert!(outcome.status.success());
    let warnings = "warning: uploadpack.advertiseBundleURIs is not honoured\n\
                    warning: uploadpack.packObjectsHook is not honoured\n";
    assert_eq!(outcome.err, warnings);
}

#[test]
fn objects_that_are_repacked_after_the_advertisement_are_found() {
    let stage = Stage::new();
    let path = stage.path("loose.git");
    Spec::loose(5).write(&path).unwrap();
    let dir = path.to_str().unwrap();
    let main = stage.git(&["-C", dir, "rev-parse", "HEAD"]);
    let request = Request::of(&[&format!("want {main} side-band-64k ofs-delta no-progress"), "0000", "done"]);
    let packs = Side::BOTH.map(|side| {
        let mut command = stage.server(side);
        command.arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        // The first bytes of the advertisement: the objects have been listed.
        let mut bytes = vec![0; 4];
        out.read_exact(&mut bytes).unwrap();
        stage.git(&["-C", dir, "repack", "-q", "-a", "-d"]);
        stage.git(&["-C", dir, "prune-packed", "-q"]);
        child.stdin.take().unwrap().write_all(&request.0).unwrap();
        out.read_to_end(&mut bytes).unwrap();
        let status = child.wait().unwrap();
        let answer = Answer::of(&Outcome { status, out: bytes, err: String::new() });
        assert_eq!(answer.code, 0, "{side:?}: {:?}", answer.packets);
        // Loose again, for the other.
        let pack = stage.git(&["-C", dir, "rev-parse", "--git-path", "objects/pack"]);
        std::fs::rename(path.join(pack), stage.path(&format!("pack-{side:?}"))).unwrap();
        for entry in std::fs::read_dir(stage.path(&format!("pack-{side:?}"))).unwrap() {
            let entry = entry.unwrap().path();
            if entry.extension().is_some_and(|extension| extension == "pack") {
                let mut command = stage.process("git");
                run(command.args(["-C", dir, "unpack-objects", "-q"]), &std::fs::read(entry).unwrap()).expect("unpack");
            }
        }
        stage.objects_of_pack(&answer.pack, &path)
    });
    assert_eq!(packs[0], packs[1]);
}

/// Neither an option that names a directory nor what could control a terminal.
#[test]
fn directories_with_odd_names() {
    let stage = Stage::new();
    let long = "x".repeat(5_000);
    for (arguments, words) in [
        (&["--", "-x.git"][..], "fatal: '-x.git' does not appear to be a git repository\n"),
        (&["--", "--strict"], "fatal: '--strict' does not appear to be a git repository\n"),
        (&["--no-strict", "--", "--"], "fatal: '--' does not appear"),
        (&["nope\x1b[31m\r\x7f\tx"], "fatal: 'nope?[31m??\tx' does not appear"),
        (&["--nope\x1b[31m", "x"], "error: unknown option `nope?[31m'\n"),
        (&[&long], "fatal: 'xxx"),
    ] {
        let [stock, ours] = Side::BOTH.map(|side| run(stage.server(side).args(arguments), b""));
        assert_eq!((ours.status, &ours.err), (stock.status, &stock.err), "{arguments:?}");
        assert_eq!((&ours.out, ours.err.starts_with(words)), (&stock.out, true), "{arguments:?}: {}", ours.err);
    }
    let subject = Subject::new();
    std::fs::write(subject.path.join("packed-refs"), "nonsense\r\n").unwrap();
    let answer = compare(&subject.stage, &subject.question(0, &["--advertise-refs"], &[]), "a carriage return");
    assert_eq!(answer.err, "fatal: unexpected line in ./packed-refs: nonsense?\n");
}

/// A carriage return at the end of a path to other objects belongs to it.
#[test]
fn alternates_end_at_line_feeds() {
    let subject = Subject::new();
    let dir = subject.path.to_str().unwrap();
    let borrowed = subject.stage.path("borrowed");
    std::fs::rename(subject.path.join("objects"), &borrowed).unwrap();
    std::fs::create_dir_all(subject.path.join("objects/info")).unwrap();
    for (end, shown) in [("\n", true), ("", true), ("\r\n", false)] {
        std::fs::write(subject.path.join("objects/info/alternates"), format!("{}{end}", borrowed.display())).unwrap();
        let [stock, ours] = Side::BOTH.map(|side| {
            let mut command = subject.stage.server(side);
            Answer::of(&run(command.args(["--advertise-refs", dir]), b""))
        });
        let complaints = |answer: &Answer| answer.err.lines().any(|line| line.contains("/borrowed? does not exist"));
        assert_eq!([complaints(&stock), complaints(&ours)], [!shown; 2], "{end:?}: {} {}", stock.err, ours.err);
    }
}

#[test]
fn a_reader_that_goes_away_ends_us_as_it_ends_stock() {
    let subject = Subject::new();
    for side in Side::BOTH {
        let server = format!("{} --advertise-refs {}", side.command_line(), subject.path.display());
        let mut shell: Command = subject.stage.process("bash");
        let script = format!("set -o pipefail; (trap - PIPE; sleep 0.2; exec {server}) | true");
        let outcome = run(shell.args(["-c", &script]), b"");
        assert_eq!(outcome.status.code(), Some(141), "{side:?}: {} {:?}", outcome.err, outcome.status.signal());
        assert_eq!(outcome.err, "", "{side:?}");
    }
}

#[test]
fn silence_ends_the_process_after_the_timeout() {
    let subject = Subject::new();
    for side in Side::BOTH {
        let start = Instant::now();
        let mut command = subject.stage.server(side);
        command.args(["--timeout=1"]).arg(&subject.path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed().as_secs() < 20, "{side:?} does not end");
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        assert_eq!(status.signal(), Some(14), "{side:?}");
        assert!(start.elapsed().as_millis() >= 900, "{side:?}");
    }
}

/// Difference 12: stock Git takes a v2 request that ends within its first packet for none at all.
#[test]
fn a_v2_request_that_is_cut_off_in_its_first_packet_is_refused() {
    let subject = Subject::new();
    let whole = b"0014command=ls-refs\n";
    for (cut, options) in [0, 1, 4, 19].into_iter().flat_map(|cut| [(cut, &["--stateless-rpc"][..]), (cut, &[])]) {
        let [stock, ours] = Side::BOTH.map(|side| {
            let mut command = subject.stage.server(side);
            command.env("GIT_PROTOCOL", "version=2").args(options).arg(&subject.path);
            Answer::of(&run(&mut command, &whole[..cut]))
        });
        let what = format!("{options:?} after {cut} bytes");
        assert_eq!((stock.code, stock.err.as_str()), (0, ""), "stock Git, {what}");
        if cut == 0 {
            assert_eq!((ours.code, ours.err.as_str(), ours.packets), (0, "", stock.packets), "{what}");
            continue;
        }
        assert_eq!((ours.code, ours.err.as_str()), (128, "fatal: the remote end hung up unexpectedly\n"), "{what}");
        let (told, before) = ours.packets.split_last().expect("a word about it");
        assert_eq!((told.as_str(), before), ("ERR the remote end hung up unexpectedly", &stock.packets[..]), "{what}");
    }
}
