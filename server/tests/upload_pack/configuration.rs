//! Configuration that can't be read or is malformed: where stock Git serves nothing, nothing is served, in the same words.

use crate::{
    conversation::{Answer, compare},
    stage::{Outcome, Side, Stage, run, unprivileged},
    subject::{ADVERTISE, STATELESS, Subject},
};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What both say of `a.git`: stock Git, then ours.
fn told(stage: &Stage, environment: &[(&str, &str)]) -> [Outcome; 2] {
    Side::BOTH.map(|side| {
        let mut command = stage.server(side);
        run(command.envs(environment.iter().copied()).args(ADVERTISE).arg("a.git"), b"")
    })
}

/// That both say the same, stock Git's warning left out where it will say the same again and end. Gives the words.
fn check(stage: &Stage, environment: &[(&str, &str)], what: &str) -> (Option<i32>, String) {
    let [stock, ours] = told(stage, environment).map(|outcome| {
        let err: String = outcome
            .err
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("warning: unable to access './"))
            .collect();
        (outcome.status.code(), err, Answer::of(&outcome).packets)
    });
    assert_eq!(ours, stock, "{what}");
    (ours.0, ours.1)
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn forbid(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o000)).unwrap();
}

fn allow(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// What hides references may stand where we can't read.
#[test]
fn what_may_not_be_read_is_not_passed_over() {
    let stage = Stage::new();
    stage.git(&["init", "-q", "--bare", "a.git"]);
    let (own, home) = (stage.path("a.git/config"), stage.path("home/.gitconfig"));
    let config = std::fs::read_to_string(&own).unwrap();
    let hidden = "[transfer]\n\thideRefs = refs/heads/\n";
    let (include, folder, system) = (stage.path("a.git/more"), stage.path("a.git/folder"), stage.path("system"));
    let system_config = [("GIT_CONFIG_NOSYSTEM", "0"), ("GIT_CONFIG_SYSTEM", system.to_str().unwrap())];
    let global_config = [("GIT_CONFIG_GLOBAL", system.to_str().unwrap())];
    write(&include, hidden);
    write(&system, hidden);
    std::fs::create_dir(&folder).unwrap();

    type Case<'a> = (&'a str, &'a str, &'a str, &'a Path, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 7] = [
        ("the repository's", hidden, "", &own, &[], "unable to access 'config': Permission denied"),
        ("its include", "[include]\n\tpath = more\n", "", &include, &[], "unable to access 'more': Permission denied"),
        ("below a folder", "[include]\n\tpath = folder/x\n", "", &folder, &[], "'folder/x': Permission denied"),
        ("the user's include", "", "[include]\n\tpath = ../a.git/more\n", &include, &[], "Permission denied"),
        ("the system's", "", "", &system, &system_config, "Permission denied"),
        ("the user's", "", hidden, &home, &[], ""),
        ("another of the user's", "", "", &system, &global_config, ""),
    ];
    for (what, repository, user, file, environment, words) in cases {
        write(&own, &format!("{config}{repository}"));
        write(&home, user);
        forbid(file);
        let (code, err) = unprivileged(|| check(&stage, environment, what));
        allow(file);
        assert_eq!(code, Some(if words.is_empty() { 0 } else { 128 }), "{what}: {err}");
        assert!(err.contains(words), "{what}: {err}");
        // It is what may not be read that ends it.
        assert_eq!(check(&stage, environment, what), (Some(0), String::new()), "{what}");
    }
}

#[test]
fn includes_that_can_not_be_followed() {
    let stage = Stage::new();
    stage.git(&["init", "-q", "--bare", "a.git"]);
    let own = stage.path("a.git/config");
    let config = std::fs::read_to_string(&own).unwrap();
    write(&stage.path("a.git/more"), "[transfer]\n\thideRefs = refs/heads/\n[include]\n\tpath\n");
    for (text, words) in [
        ("[include]\n\n\tpath\n", "error: missing value for 'include.path'"),
        ("[include]\n\tx = \\\n\\\n1\n\tpath", "error: missing value for 'include.path'"),
        ("[include]\n\tpath = more\n", "fatal: bad config line 4 in file more"),
        ("[include]\n\tpath =\n", ""),
        ("[include]\n\tpath = none\n", ""),
        ("[include]\n\tpath = more/none\n", ""),
        ("[include]\n\tpath = ~nobody.of.that.name/x\n", "could not expand include path '~nobody.of.that.name/x'"),
        ("[includeIf \"gitdir:a.git\"]\n\tpath\n", "error: missing value for 'include.path'"),
        ("[includeIf \"gitdir:b.git\"]\n\tpath\n", ""),
    ] {
        write(&own, &format!("{config}{text}"));
        let (code, err) = check(&stage, &[], text);
        assert_eq!(code, Some(if words.is_empty() { 0 } else { 128 }), "{text}: {err}");
        assert!(err.contains(words), "{text}: {err}");
    }
    write(&own, &config);
    let absolute = format!("'include.path'='{}'", stage.path("a.git/more").display());
    for (parameters, words) in [
        (&*absolute, "fatal: bad config line 4 in file "),
        ("'include.path'='more'", "error: relative config includes must come from files"),
        ("'include.path'", "error: missing value for 'include.path'"),
    ] {
        let (code, err) = check(&stage, &[("GIT_CONFIG_PARAMETERS", parameters)], parameters);
        assert_eq!(code, Some(128), "{parameters}: {err}");
        assert!(err.contains(words), "{parameters}: {err}");
    }
}

#[test]
fn an_include_of_the_command_line_hides_references() {
    let subject = Subject::new();
    write(&subject.stage.path("more"), "[transfer]\n\thideRefs = refs/heads\n");
    let mut question = subject.question(0, ADVERTISE, &[]);
    let include = format!("'include.path'='{}'", subject.stage.path("more").display());
    question.environment.push(("GIT_CONFIG_PARAMETERS".into(), include));
    let answer = compare(&subject.stage, &question, "an include");
    assert!(!answer.packets.iter().any(|packet| packet.contains(" refs/heads/")), "{:?}", answer.packets);
}

/// Mistakes in the repository's configuration.
#[test]
fn configurations_that_do_not_parse() {
    let stage = Stage::new();
    stage.git(&["init", "-q", "--bare", "a.git"]);
    for (text, words) in [
        ("[broken", "bad config line 2"),
        ("[broken\n", "bad config line 1"),
        ("[core]\n\tbare = true\n\n  [bro.k-en", "bad config line 5"),
        ("[a \"b", "bad config line 1"),
        ("[a \"b\n", "bad config line 1"),
        ("[a]\n\tx = \"unclosed", "bad config line 2"),
        ("[a]\n\tx = \"unclosed\n", "bad config line 2"),
        ("[a]\n1 = 2\n", "bad config line 2"),
        ("[core]\n\tbare = true\n\trepositoryformatversion = 0\n[include]\n\tpath = config\n", "from\n\tconfig\n"),
    ] {
        write(&stage.path("a.git/config"), text);
        let (code, err) = check(&stage, &[], text);
        assert_eq!(code, Some(128), "{text:?}: {err}");
        assert!(err.contains(words), "{text:?}: {err}");
    }
}

#[test]
fn overrides_are_read_as_stock_reads_them() {
    let stage = Stage::new();
    stage.git(&["init", "-q", "--bare", "a.git"]);
    for (key, words) in [
        ("core.1x", "error: invalid key: core.1x"),
        ("a b.c", "error: invalid key: a b.c"),
        ("core.b c", "error: invalid key: core.b c"),
        ("a_b.c", "error: invalid key: a_b.c"),
        ("a.b\nc", "error: invalid key: a.b\nc"),
        ("a.b\nc.d", "error: invalid key (newline): a.b\nc.d"),
        ("a\nb.c.d", "error: invalid key: a\nb.c.d"),
        ("", "error: empty config key"),
        ("a", "error: key does not contain a section: a"),
        (".a", "error: key does not contain a section: .a"),
        ("a.", "error: key does not contain variable name: a."),
        ("a.b c.d", ""),
        ("a.\u{e9}.d-1", ""),
        (".a.b", ""),
        ("a..b", ""),
    ] {
        let by_count = [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", key), ("GIT_CONFIG_VALUE_0", "1")];
        let quoted = format!("'{key}'='1'");
        for environment in [&by_count[..], &[("GIT_CONFIG_PARAMETERS", &quoted)]] {
            let (code, err) = check(&stage, environment, key);
            assert_eq!(code, Some(if words.is_empty() { 0 } else { 128 }), "{key:?}: {err}");
            assert!(err.starts_with(words), "{key:?}: {err}");
        }
    }
    let bogus = "error: bogus format in GIT_CONFIG_PARAMETERS";
    for (parameters, words) in [
        (" 'transfer.hideRefs=refs/tags' ", bogus),
        ("\t'a.b'", bogus),
        ("'a.b'=x", bogus),
        ("'a.b'x", bogus),
        ("'a.b'='c'x", bogus),
        ("'a.b'\u{c}'c.d'", bogus),
        ("'a.b'\\'", bogus),
        ("'a.b", bogus),
        ("''", "error: bogus config parameter: \n"),
        ("'=x'", "error: bogus config parameter: =x\n"),
        ("' '", "error: bogus config parameter:  \n"),
        ("''=", "error: empty config key"),
        ("' a.b = c'", ""),
        ("'a.b=c' \n\t 'c.d'= 'e.f'='g'\t", ""),
        ("'a.it'\\''s.b'", ""),
        ("", ""),
    ] {
        let (code, err) = check(&stage, &[("GIT_CONFIG_PARAMETERS", parameters)], parameters);
        assert_eq!(code, Some(if words.is_empty() { 0 } else { 128 }), "{parameters:?}: {err}");
        assert!(err.starts_with(words), "{parameters:?}: {err}");
    }
}

#[test]
fn settings_that_mean_nothing_here_must_be_well_formed() {
    let subject = Subject::new();
    for (line, good) in [
        ("core.bare=maybe", false),
        ("core.logAllRefUpdates=maybe", false),
        ("core.logAllRefUpdates=Always", true),
        ("core.preferSymlinkRefs=maybe", false),
        ("core.multiPackIndex=maybe", false),
        ("core.commitGraph=maybe", false),
        ("core.useReplaceRefs=maybe", false),
        ("core.untrackedCache=maybe", true),
        ("commitGraph.readChangedPaths=maybe", false),
        ("feature.manyFiles=maybe", false),
        ("feature.experimental=maybe", false),
        ("gc.writeCommitGraph=maybe", false),
        ("fetch.writeCommitGraph=maybe", false),
        ("fetch.negotiationAlgorithm=maybe", false),
        ("fetch.negotiationAlgorithm=NOOP", true),
        ("index.sparse=maybe", false),
        ("index.skipHash=maybe", false),
        ("pack.useSparse=maybe", false),
        ("pack.readReverseIndex=maybe", false),
        ("pack.useBitmapBoundaryTraversal=maybe", false),
        ("extensions.preciousObjects=maybe", false),
        ("extensions.worktreeConfig=maybe", false),
        ("gc.auto=maybe", true),
    ] {
        subject.configure(&[line]);
        let [stock, ours] = Side::BOTH.map(|side| {
            let mut command = subject.stage.server(side);
            Answer::of(&run(command.args(ADVERTISE).arg(&subject.path), b""))
        });
        assert_eq!((ours.code, &ours.err), (stock.code, &stock.err), "{line}");
        assert_eq!(ours.code == 0, good, "{line}: {}", ours.err);
        // Stock Git has told of a few references before it looks at the first object.
        let told = if good { &stock.packets[..] } else { &[] };
        assert_eq!(ours.packets, told, "{line}");
    }
    // Numbers are told without the file.
    for line in [
        "index.version=x",
        "index.version=99999999999",
        "commitGraph.generationVersion=",
        "commitGraph.changedPathsVersion=1.5",
    ] {
        subject.configure(&[line]);
        let [stock, ours] = Side::BOTH.map(|side| {
            let mut command = subject.stage.server(side);
            let outcome = run(command.args(ADVERTISE).arg(&subject.path), b"");
            (outcome.status.code(), outcome.err.replace(" in file config", ""))
        });
        assert_eq!(ours, stock, "{line}");
        assert_eq!(ours.0, Some(128), "{line}");
    }
    // A later one counts, and only where it is looked at.
    for lines in [&["index.sparse=maybe", "index.sparse=true"][..], &["transfer.advertiseObjectInfo=maybe"]] {
        subject.configure(lines);
        let answer = compare(&subject.stage, &subject.question(0, ADVERTISE, &[]), lines[0]);
        assert_eq!(answer.code, 0, "{lines:?}: {}", answer.err);
    }
    compare(&subject.stage, &subject.question(2, ADVERTISE, &[]), "transfer.advertiseObjectInfo");
}

/// What is read at the start is told at the start; stock Git looks when it first needs it, and takes a `shallow` file that it
/// may not read for none.
#[test]
fn what_stock_finds_late_is_found_at_the_start() {
    let subject = Subject::new();
    let list = ["command=ls-refs", "0001", "peel", "0000"];
    let want = format!("want {}", subject.main);
    let fetch = ["command=fetch", "0001", &want, "no-progress", "done", "0000"];
    let shallow: PathBuf = subject.path.join("shallow");
    let codes = |version: u8, options: &[&'static str], request: &[&str], environment: &[(&str, &str)]| {
        let question = subject.question(version, options, request);
        Side::BOTH.map(|side| {
            let mut command = subject.stage.server(side);
            command.args(options).arg(&subject.path).envs(environment.iter().copied());
            let protocol = question.environment.iter().map(|(name, value)| (name, value));
            run(command.envs(protocol), &question.request.0).status.code()
        })
    };
    subject.configure(&[]);
    write(&shallow, "nonsense\n");
    assert_eq!(codes(0, ADVERTISE, &[], &[]), [Some(128), Some(128)]);
    assert_eq!(codes(2, STATELESS, &list, &[]), [Some(0), Some(128)]);
    write(&shallow, "");
    forbid(&shallow);
    unprivileged(|| {
        assert_eq!(codes(0, ADVERTISE, &[], &[]), [Some(0), Some(128)]);
        assert_eq!(codes(2, STATELESS, &list, &[]), [Some(0), Some(128)]);
    });
    std::fs::remove_file(&shallow).unwrap();
    let namespace = [("GIT_NAMESPACE", "a/../b")];
    assert_eq!(codes(2, STATELESS, &fetch, &namespace), [Some(0), Some(128)]);
    assert_eq!(codes(2, STATELESS, &list, &namespace), [Some(128), Some(128)]);
    subject.configure(&["index.sparse=maybe"]);
    assert_eq!(codes(2, ADVERTISE, &[], &[]), [Some(0), Some(128)]);
}
