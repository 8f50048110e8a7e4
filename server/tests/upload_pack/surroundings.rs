//! Where the process finds itself: folders that the environment names.

use crate::{
    conversation::{Answer, Question, Request, compare},
    stage::run,
    subject::{ADVERTISE, STATELESS, Subject},
};
use heliostat_testrepo::Rng;
use std::{fs, path::Path};

/// Adds a file of this many bytes that do not compress, as a loose object, and asks for it.
fn with_a_large_object(subject: &Subject, bytes: usize) -> Vec<String> {
    fs::write(subject.stage.path("noise"), Rng::new(7).bytes(bytes)).unwrap();
    let (directory, noise) = (subject.path.to_str().unwrap(), subject.stage.path("noise"));
    let blob = subject.stage.git(&["-C", directory, "hash-object", "-w", noise.to_str().unwrap()]);
    subject.stage.git(&["-C", directory, "update-ref", "refs/tags/large", &blob]);
    ["command=fetch", "0001", &format!("want {blob}"), "done", "0000"].map(str::to_owned).to_vec()
}

/// What has to be compressed anew waits in a file, which lies in the repository's own file system if the one for temporary
/// files has no room.
#[test]
fn without_a_folder_for_temporary_files() {
    let subject = Subject::new();
    let request = with_a_large_object(&subject, 3 << 20);
    let request: Vec<_> = request.iter().map(String::as_str).collect();
    let mut question = subject.question(2, STATELESS, &request);
    let objects = |subject: &Subject| {
        let mut names: Vec<_> =
            fs::read_dir(subject.path.join("objects")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = objects(&subject);
    question.environment.push(("TMPDIR".into(), "/nonexistent".into()));
    let answer = compare(&subject.stage, &question, "TMPDIR=/nonexistent");
    assert!(answer.pack.len() > 3 << 20);
    assert_eq!(objects(&subject), before, "it left something behind");
}

/// Where it fits nowhere the words name both places, and speak of no corruption.
#[test]
fn without_room_for_temporary_files() {
    let subject = Subject::new();
    let request = with_a_large_object(&subject, 3 << 20);
    let request: Vec<_> = request.iter().map(String::as_str).collect();
    let mut command = subject.stage.process("prlimit");
    command.args(["--fsize=65536:65536", "sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_heliostat")).args(["upload-pack", "--stateless-rpc"]).arg(&subject.path);
    let answer = run(command.env("GIT_PROTOCOL", "version=2"), &Request::of(&request).0);
    let told = String::from_utf8_lossy(&answer.out).into_owned() + &answer.err;
    assert_eq!(answer.status.code(), Some(128), "{told}");
    let places = [subject.stage.path("scratch"), subject.path.join("objects")];
    for place in places {
        let words = format!("{}: File too large", place.display());
        assert!(told.contains(&words), "{words}: {told}");
    }
    assert!(answer.err.contains("no place for a temporary file") && !told.contains("corruption"), "{told}");
}

/// `GIT_COMMON_DIR` says where objects and configuration are. References are the repository's own all the same.
#[test]
fn another_common_directory() {
    let subject = Subject::new();
    let stage = &subject.stage;
    let other = stage.path("other.git");
    stage.git(&["clone", "-q", "--mirror", subject.path.to_str().unwrap(), other.to_str().unwrap()]);
    for branch in ["one", "two"] {
        stage.git(&["-C", other.to_str().unwrap(), "branch", branch, &subject.main]);
    }
    stage.git(&["-C", subject.path.to_str().unwrap(), "pack-refs", "--all"]);
    stage.git(&["-C", subject.path.to_str().unwrap(), "update-ref", "refs/heads/loose", &subject.main]);
    let set = |mut question: Question, to: &Path| {
        question.environment.push(("GIT_COMMON_DIR".into(), to.display().to_string()));
        question
    };
    let names = |answer: &Answer| answer.packets.iter().filter(|line| line.contains("refs/heads/")).count();
    let own = compare(stage, &subject.question(0, ADVERTISE, &[]), "its own");
    let with = compare(stage, &set(subject.question(0, ADVERTISE, &[]), &other), "GIT_COMMON_DIR");
    assert_eq!(names(&own), names(&with));
    let want = format!("want {}", subject.main);
    let fetch = subject.question(2, STATELESS, &["command=fetch", "0001", &want, "done", "0000"]);
    assert!(!compare(stage, &set(fetch, &other), "a fetch with GIT_COMMON_DIR").pack.is_empty());
}
