//! (configuration, environment, request) × (stock, ours).

use crate::{
    conversation::{Answer, Request, compare},
    stage::{Side, run},
    subject::{ADVERTISE, STATELESS, Subject},
};

#[test]
fn advertisements_follow_the_configuration() {
    let subject = Subject::new();
    for lines in [
        &[][..],
        &["uploadpack.allowFilter=true"],
        &["uploadpack.allowFilter=1", "uploadpack.allowFilter=off"],
        &["uploadpack.allowTipSHA1InWant=true"],
        &["uploadpack.allowReachableSHA1InWant=true"],
        &["uploadpack.allowTipSHA1InWant=true", "uploadpack.allowReachableSHA1InWant=true"],
        &["uploadpack.allowAnySHA1InWant=true"],
        &["uploadpack.allowAnySHA1InWant=true", "uploadpack.allowTipSHA1InWant=false"],
        &["uploadpack.allowReachableSHA1InWant=true", "uploadpack.allowAnySHA1InWant=false"],
        &["uploadpack.allowRefInWant=true", "uploadpack.allowSidebandAll=true"],
        &["transfer.advertiseSID=true"],
        &["transfer.advertiseObjectInfo=true"],
        &["lsrefs.unborn=ignore"],
        &["lsrefs.unborn=allow"],
        &["transfer.hideRefs=refs/pull", "uploadpack.hideRefs=refs/secret/"],
        &["transfer.hideRefs=refs", "transfer.hideRefs=!refs/heads"],
        &["transfer.hideRefs=!refs/heads", "uploadpack.hideRefs=refs"],
        &["uploadpack.hideRefs=^refs/tags"],
        &["receive.hideRefs=refs/heads"],
        &["uploadpack.allowFilter=maybe"],
        &["uploadpackfilter.allow=perhaps"],
    ] {
        subject.configure(lines);
        for version in [0, 1, 2] {
            compare(&subject.stage, &subject.question(version, ADVERTISE, &[]), &format!("v{version} {lines:?}"));
            compare(
                &subject.stage,
                &subject.question(version, &[], &["0000"]),
                &format!("v{version} duplex {lines:?}"),
            );
        }
    }
}

#[test]
fn ls_refs_in_all_forms() {
    let subject = Subject::new();
    let dir = subject.path.clone();
    for (name, head, lines) in [
        ("as generated", None, &[][..]),
        ("hidden", None, &["transfer.hideRefs=refs/heads", "transfer.hideRefs=refs/pull"]),
        ("unborn", Some("ref: refs/heads/none\n"), &[]),
        ("unborn, not offered", Some("ref: refs/heads/none\n"), &["lsrefs.unborn=allow"]),
        ("unborn, ignored", Some("ref: refs/heads/none\n"), &["lsrefs.unborn=ignore"]),
        ("detached", Some(&*format!("{}\n", subject.parent)), &[]),
        ("detached at a tag", Some(&*format!("{}\n", subject.tag)), &[]),
        ("at a hidden tag", Some(&*format!("ref: {}\n", subject.tag_name)), &["uploadpack.hideRefs=refs/tags"]),
    ] {
        subject.configure(lines);
        let before = std::fs::read(dir.join("HEAD")).unwrap();
        if let Some(head) = head {
            std::fs::write(dir.join("HEAD"), head).unwrap();
        }
        for arguments in [
            &[][..],
            &["symrefs"],
            &["peel"],
            &["unborn"],
            &["symrefs", "peel", "unborn"],
            &["peel", "symrefs", "ref-prefix refs/heads/", "ref-prefix HEAD"],
            &["ref-prefix refs/tags/"],
            &["ref-prefix refs/heads/main", "ref-prefix refs/he"],
            &["ref-prefix nothing"],
            &["ref-prefix "],
        ] {
            if name == "unborn, ignored" && arguments.contains(&"unborn") {
                // Neither offered nor known: `unexpected line`, below.
                continue;
            }
            let request =
                [&["command=ls-refs", "agent=git/2", "object-format=sha1", "0001"], arguments, &["0000"]].concat();
            compare(&subject.stage, &subject.question(2, STATELESS, &request), &format!("{name}: {arguments:?}"));
        }
        for version in [0, 1] {
            compare(&subject.stage, &subject.question(version, ADVERTISE, &[]), &format!("v{version} {name}"));
        }
        std::fs::write(dir.join("HEAD"), before).unwrap();
    }
}

#[test]
fn namespaces_and_configuration_from_the_environment() {
    let subject = Subject::new();
    let dir = subject.path.to_str().unwrap();
    for (name, id) in [("heads/main", &subject.main), ("heads/other", &subject.branch), ("tags/t", &subject.tag)] {
        subject.stage.git(&["-C", dir, "update-ref", &format!("refs/namespaces/a/refs/{name}"), id]);
    }
    subject.stage.git(&["-C", dir, "symbolic-ref", "refs/namespaces/a/HEAD", "refs/namespaces/a/refs/heads/main"]);
    subject.configure(&["uploadpack.hideRefs=refs/tags"]);
    let list = ["command=ls-refs", "0001", "peel", "symrefs", "0000"];
    for environment in [
        &[("GIT_NAMESPACE", "a")][..],
        &[("GIT_NAMESPACE", "a/")],
        &[("GIT_NAMESPACE", "none")],
        &[("GIT_NAMESPACE", "")],
        &[("GIT_NAMESPACE", "b..a")],
        &[
            ("GIT_NAMESPACE", "a"),
            ("GIT_CONFIG_PARAMETERS", "'transfer.hideRefs'='^refs/namespaces/a/refs/heads/main'"),
        ],
        &[("GIT_CONFIG_PARAMETERS", "'transfer.hideRefs'='refs/pull' 'uploadpack.hideRefs=!refs/tags'")],
        &[("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "uploadpack.hideRefs"), ("GIT_CONFIG_VALUE_0", "refs/heads")],
        &[("GIT_CONFIG_COUNT", "many")],
        &[("GIT_CONFIG_COUNT", "-1")],
        &[("GIT_CONFIG_COUNT", "-0")],
        &[("GIT_CONFIG_COUNT", "2147483648")],
        &[("GIT_CONFIG_COUNT", "99999999999999999999")],
        &[("GIT_CONFIG_COUNT", "-99999999999999999999")],
        &[("GIT_CONFIG_COUNT", " +1")],
        &[("GIT_CONFIG_COUNT", "1 ")],
        &[("GIT_CONFIG_COUNT", "0x1")],
        &[("GIT_CONFIG_PARAMETERS", "'transfer.hiderefs'")],
        &[("GIT_CONFIG_PARAMETERS", "'uploadpack.hiderefs'")],
        &[("GIT_CONFIG_PARAMETERS", "'lsrefs.unborn'='bogus'")],
        &[("GIT_CONFIG_PARAMETERS", "'lsrefs.unborn'")],
        &[("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "uploadpack.hideRefs")],
        &[("GIT_CONFIG_PARAMETERS", "broken")],
        &[("GIT_CONFIG_GLOBAL", "/dev/null")],
        &[("GIT_CONFIG_NOSYSTEM", "perhaps")],
    ] {
        for version in [0, 2] {
            let (options, request) = if version == 0 { (ADVERTISE, &[][..]) } else { (STATELESS, &list[..]) };
            let mut question = subject.question(version, options, request);
            question.environment.extend(environment.iter().map(|(name, value)| (name.to_string(), value.to_string())));
            compare(&subject.stage, &question, &format!("v{version} {environment:?}"));
        }
    }
    // In v2 stock reads these when a fetch comes.
    for parameter in ["'uploadpack.keepalive'", "'uploadpack.packobjectshook'", "'uploadpack.allowfilter'='perhaps'"] {
        let mut question = subject.question(0, ADVERTISE, &[]);
        question.environment.push(("GIT_CONFIG_PARAMETERS".into(), parameter.into()));
        compare(&subject.stage, &question, parameter);
    }
    for parameter in ["'lsrefs.unborn'='bogus'", "'lsrefs.unborn'"] {
        let mut question = subject.question(2, ADVERTISE, &[]);
        question.environment.push(("GIT_CONFIG_PARAMETERS".into(), parameter.into()));
        compare(&subject.stage, &question, parameter);
    }
}

/// A variable that is set and empty names no file, and above all not the working directory.
#[test]
fn empty_variables() {
    let subject = Subject::new();
    subject.configure(&[]);
    // What they would lead to, were they taken for the working directory.
    for name in [".gitconfig", "included"] {
        std::fs::write(subject.stage.path(name), "[uploadpack]\n\thideRefs = refs/heads\n").unwrap();
    }
    for folder in ["objects", "refs"] {
        std::fs::create_dir(subject.stage.path(folder)).unwrap();
    }
    std::fs::write(subject.path.join("shallow"), format!("{}\n", subject.parent)).unwrap();
    for environment in [
        &[("GIT_CONFIG_GLOBAL", "")][..],
        &[("GIT_CONFIG_SYSTEM", ""), ("GIT_CONFIG_NOSYSTEM", "")],
        &[("GIT_SHALLOW_FILE", "")],
        &[("GIT_OBJECT_DIRECTORY", "")],
        &[("GIT_ALTERNATE_OBJECT_DIRECTORIES", "")],
        &[("GIT_COMMON_DIR", "")],
        &[("GIT_CONFIG_COUNT", "")],
        &[("GIT_CONFIG_PARAMETERS", "")],
        &[("GIT_PROTOCOL", "")],
        &[("HOME", "")],
        &[("HOME", ""), ("XDG_CONFIG_HOME", "")],
        &[("HOME", ""), ("GIT_CONFIG_PARAMETERS", "'include.path'='~/included'")],
    ] {
        for version in [0, 2] {
            let mut question = subject.question(version, &[], &["0000"]);
            question.environment.extend(environment.iter().map(|(name, value)| (name.to_string(), value.to_string())));
            compare(&subject.stage, &question, &format!("v{version} {environment:?}"));
        }
    }
}

#[test]
fn wants_are_granted_by_policy() {
    let subject = Subject::new();
    for policy in [
        &[][..],
        &["uploadpack.allowTipSHA1InWant=true"],
        &["uploadpack.allowReachableSHA1InWant=true"],
        &["uploadpack.allowTipSHA1InWant=true", "uploadpack.allowReachableSHA1InWant=true"],
        &["uploadpack.allowAnySHA1InWant=true"],
    ] {
        let lines = [&["transfer.hideRefs=refs/secret"][..], policy].concat();
        subject.configure(&lines);
        for (name, id) in [
            ("advertised", &subject.main),
            ("annotated tag", &subject.tag),
            ("reachable", &subject.parent),
            ("hidden tip", &subject.hidden),
            ("lost", &subject.lost),
            ("blob", &subject.blob),
            ("tree", &subject.tree),
            ("absent", &"1".repeat(40)),
            ("null", &"0".repeat(40)),
        ] {
            let want = format!("want {id} side-band-64k ofs-delta no-progress");
            for options in [&[][..], STATELESS] {
                let question = subject.question(0, options, &[&want, "0000", "done"]);
                compare(&subject.stage, &question, &format!("v0 {options:?} {policy:?} {name}"));
            }
            let want = format!("want {id}");
            let request = ["command=fetch", "0001", &want, "ofs-delta", "no-progress", "done", "0000"];
            compare(&subject.stage, &subject.question(2, STATELESS, &request), &format!("v2 {policy:?} {name}"));
        }
    }
}

#[test]
fn filters_are_granted_by_configuration() {
    let subject = Subject::new();
    let want = format!("want {}", subject.main);
    for lines in [
        &["uploadpack.allowFilter=true"][..],
        &["uploadpack.allowFilter=true", "uploadpackfilter.allow=false"],
        &["uploadpack.allowFilter=true", "uploadpackfilter.allow=false", "uploadpackfilter.blob:none.allow=true"],
        &["uploadpack.allowFilter=true", "uploadpackfilter.blob:limit.allow=false"],
        &["uploadpack.allowFilter=true", "uploadpackfilter.tree.maxDepth=1"],
        &["uploadpack.allowFilter=true", "uploadpackfilter.combine.allow=false"],
        &[],
    ] {
        subject.configure(lines);
        for spec in [
            "blob:none",
            "blob:limit=1k",
            "blob:limit=0",
            "tree:0",
            "tree:1",
            "tree:3",
            "object:type=commit",
            "object:type=tree",
            "object:type=blob",
            "object:type=tag",
            "combine:blob:none+tree:2",
            "combine:blob:limit=100+object:type=blob",
            "combine:combine:tree:1%2bblob:none+tree:4",
            "nonsense",
            "tree:-1",
            "blob:limit=x",
            "combine:",
            "combine:blob:none",
            "sparse:path=x",
        ] {
            let filter = format!("filter {spec}");
            let request = ["command=fetch", "0001", &want, "ofs-delta", "no-progress", &filter, "done", "0000"];
            compare(&subject.stage, &subject.question(2, STATELESS, &request), &format!("v2 {lines:?} {spec}"));
            if lines.len() > 1 {
                continue;
            }
            let first = format!("{want} side-band-64k ofs-delta no-progress filter");
            let request = [&*first, &filter, "0000", "done"];
            compare(&subject.stage, &subject.question(0, STATELESS, &request), &format!("v0 {lines:?} {spec}"));
        }
    }
}

#[test]
fn sparse_filters_name_a_blob() {
    let subject = Subject::new();
    subject.configure(&["uploadpack.allowFilter=true"]);
    let dir = subject.path.to_str().unwrap();
    let store = |text: &str| {
        let mut command = subject.stage.process("git");
        let hash = command.args(["-C", dir, "hash-object", "-w", "--stdin"]);
        run(hash, text.as_bytes()).expect("hash-object")
    };
    let files = subject.stage.git(&["-C", dir, "ls-tree", "-r", "--name-only", "HEAD"]);
    let deep = files.lines().find(|path| path.contains('/')).unwrap();
    let (folder, _) = deep.rsplit_once('/').unwrap();
    let want = format!("want {}", subject.main);
    let mut names =
        vec!["none".to_owned(), "main:none".into(), subject.tree.clone(), "HEAD".into(), format!("HEAD:{deep}")];
    for patterns in [
        "/*\n!/*/\n".to_owned(),
        format!("{folder}/\n"),
        format!("/{deep}\n"),
        "*.md\n# comment\n\n*.rs\n!*.toml\n".into(),
        format!("*\n!{folder}/\n"),
        "**/src/*.c\n".into(),
        String::new(),
    ] {
        names.push(store(&patterns));
    }
    subject.stage.git(&["-C", dir, "update-ref", "refs/tags/patterns", names.last().unwrap()]);
    names.extend(["patterns".to_owned(), "refs/tags/patterns".into(), "tags/patterns".into()]);
    for name in &names {
        for filter in [format!("filter sparse:oid={name}"), format!("filter combine:sparse:oid={name}+blob:limit=500")]
        {
            let request = ["command=fetch", "0001", &want, "ofs-delta", "no-progress", &filter, "done", "0000"];
            let question = subject.question(2, STATELESS, &request);
            compare(&subject.stage, &question, &filter);
        }
    }
}

#[test]
fn depths_and_boundaries() {
    let subject = Subject::new();
    subject.configure(&[]);
    let (want, shallow) = (format!("want {}", subject.main), format!("shallow {}", subject.parent));
    let not =
        subject.stage.git(&["-C", subject.path.to_str().unwrap(), "for-each-ref", "--format=%(refname)", "refs/tags"]);
    let not = format!("deepen-not {}", not.lines().next().unwrap());
    let when = subject.stage.git(&["-C", subject.path.to_str().unwrap(), "log", "-1", "--format=%ct", &subject.parent]);
    let since = format!("deepen-since {when}");
    for deepen in [
        &["deepen 1"][..],
        &["deepen 3"],
        &["deepen 2147483647"],
        &[&since],
        &[&not],
        &[&since, &not],
        &["deepen-not refs/heads/none"],
        &["deepen 0"],
        &["deepen -1"],
        &["deepen x"],
        &["deepen 2", &since],
        &["deepen 2", &not],
        &["deepen-since x"],
        &["deepen-since 99999999999"],
        &[&shallow],
        &[&shallow, "deepen 2"],
        &[&shallow, "deepen-relative", "deepen 1"],
        &[&shallow, "deepen 2147483647"],
        &[&shallow, &since],
        &["shallow 1111111111111111111111111111111111111111", "deepen 1"],
        &["shallow nonsense", "deepen 1"],
    ] {
        let request =
            [&["command=fetch", "0001", &want, "ofs-delta", "no-progress"], deepen, &["done", "0000"]].concat();
        let mut question = subject.question(2, STATELESS, &request);
        compare(&subject.stage, &question, &format!("v2 {deepen:?}"));
        let relative = if deepen.contains(&"deepen-relative") { " deepen-relative" } else { "" };
        let first = format!("{want} side-band-64k ofs-delta no-progress shallow deepen-since deepen-not{relative}");
        let rest: Vec<&str> = deepen.iter().copied().filter(|line| *line != "deepen-relative").collect();
        question = subject.question(0, STATELESS, &[&[&*first], &rest[..], &["0000", "done"]].concat());
        compare(&subject.stage, &question, &format!("v0 {deepen:?}"));
    }
}

#[test]
fn negotiations() {
    let subject = Subject::new();
    subject.configure(&[]);
    let want = |capabilities: &str| format!("want {} {capabilities}", subject.main);
    let have = |id: &str| format!("have {id}");
    let (parent, first, branch) = (have(&subject.parent), have(&subject.first), have(&subject.branch));
    let absent = have(&"1".repeat(40));
    for haves in [&[&*absent][..], &[&parent], &[&first, &absent], &[&branch, &parent], &[&absent, &first, &branch]] {
        let known = |id: &&str| !id.ends_with("1111111111");
        let tips: Vec<String> = haves.iter().filter(|id| known(id)).map(|line| line[5..].to_owned()).collect();
        for capabilities in ["", "multi_ack ", "multi_ack_detailed thin-pack ", "multi_ack_detailed no-done thin-pack "]
        {
            let first_line = want(&format!("{capabilities}side-band-64k ofs-delta no-progress"));
            for ending in [&["0000"][..], &["0000", "done"], &["done"]] {
                let request = [&[&*first_line, "0000"], haves, ending].concat();
                for options in [&[][..], STATELESS] {
                    let mut question = subject.question(0, options, &request);
                    question.haves.clone_from(&tips);
                    compare(&subject.stage, &question, &format!("v0 {options:?} {request:?}"));
                }
            }
        }
        let want = format!("want {}", subject.main);
        for ending in [&["0000"][..], &["done", "0000"], &["wait-for-done", "0000"]] {
            let request =
                [&["command=fetch", "0001", &want, "thin-pack", "ofs-delta", "no-progress"], haves, ending].concat();
            let mut question = subject.question(2, STATELESS, &request);
            question.haves.clone_from(&tips);
            compare(&subject.stage, &question, &format!("v2 {request:?}"));
        }
    }
}

#[test]
fn wanted_references_tags_and_bands() {
    let subject = Subject::new();
    subject.configure(&[
        "uploadpack.allowRefInWant=true",
        "uploadpack.allowSidebandAll=true",
        "transfer.hideRefs=refs/secret",
    ]);
    let want = format!("want {}", subject.main);
    let head = subject.stage.git(&["-C", subject.path.to_str().unwrap(), "symbolic-ref", "HEAD"]);
    let want_ref = format!("want-ref {head}");
    for arguments in [
        &[&*want_ref][..],
        &[&want_ref, &want_ref],
        &["want-ref refs/heads/none"],
        &["want-ref refs/secret/one"],
        &["want-ref HEAD"],
        &[&want_ref, "sideband-all"],
        &[&want, "include-tag"],
        &[&want, "include-tag", "filter blob:none"],
        &["sideband-all", "want 1111111111111111111111111111111111111111"],
        &["nonsense"],
        &["want nonsense"],
        &["have nonsense", &want],
        &[],
    ] {
        let request = [&["command=fetch", "0001", "ofs-delta", "no-progress"], arguments, &["done", "0000"]].concat();
        compare(&subject.stage, &subject.question(2, STATELESS, &request), &format!("{arguments:?}"));
    }
    for capabilities in ["", "side-band ", "side-band-64k ", "include-tag side-band-64k ", "ofs-delta ", "thin-pack "] {
        let first = format!("{want} {capabilities}no-progress");
        compare(&subject.stage, &subject.question(0, STATELESS, &[&first, "0000", "done"]), capabilities);
    }
}

#[test]
fn requests_that_break_the_protocol() {
    let subject = Subject::new();
    subject.configure(&["transfer.advertiseObjectInfo=true"]);
    let want = format!("want {}", subject.main);
    let (size, absent) = (format!("oid {}", subject.blob), format!("oid {}", "1".repeat(40)));
    for request in [
        &["command=object-info", "0001", "size", &*size, "0000"][..],
        &["command=object-info", "0001", "size", &size, &absent, "0000"],
        &["command=object-info", "0001", &size, "0000"],
        &["command=object-info", "0001", "nonsense", "0000"],
        &["command=nonsense", "0000"],
        &["command=ls-refs", "command=fetch", "0000"],
        &["nonsense", "0000"],
        &["agent=x", "0000"],
        &["command=ls-refs", "object-format=sha256", "0001", "0000"],
        &["command=ls-refs", "object-format=sha7", "0001", "0000"],
        &["command=ls-refs", "server-option=x", "0001", "0000"],
        &["command=ls-refs", "0001", "nonsense", "0000"],
        &["command=fetch", "0001", &want, "0001"],
        &["command=fetch", "0001", &want],
        &["0000"],
        &[],
    ] {
        compare(&subject.stage, &subject.question(2, STATELESS, request), &format!("v2 {request:?}"));
    }
    for request in [
        &["0000"][..],
        &[],
        &["nonsense", "0000"],
        &["want nonsense", "0000"],
        &[&want],
        &[&want, "0000"],
        &[&want, "0000", "nonsense"],
        &[&want, "0000", "have nonsense"],
        &[&want, "filter blob:none", "0000", "done"],
        &["have x", "0000"],
    ] {
        for options in [&[][..], STATELESS] {
            compare(&subject.stage, &subject.question(0, options, request), &format!("v0 {options:?} {request:?}"));
        }
    }
    // Cut off within its first packet: stock Git ends a v2 conversation without a word then, and we say so (difference 12).
    let cut_off = [&b"0005"[..], b"fff0", b"00"];
    for bytes in [&b"zzzz"[..], b"0003", b"0005", b"fff0", b"ffff", b"00", b"PACK", b"0004", b"0008abcd0000"] {
        for version in if cut_off.contains(&bytes) { &[0][..] } else { &[0, 2] } {
            let version = *version;
            let mut question = subject.question(version, STATELESS, &[]);
            question.request = Request(bytes.to_vec());
            compare(&subject.stage, &question, &format!("v{version} {:?}", String::from_utf8_lossy(bytes)));
        }
    }
}

#[test]
fn directories_that_can_not_be_served() {
    let subject = Subject::new();
    let stage = &subject.stage;
    stage.git(&["init", "-q", "--bare", "broken.git"]);
    std::fs::write(stage.path("broken.git/config"), "[core\n").unwrap();
    stage.git(&["init", "-q", "--bare", "newer.git"]);
    std::fs::write(stage.path("newer.git/config"), "[core]\n\trepositoryformatversion = 9\n").unwrap();
    stage.git(&["init", "-q", "--bare", "unsure.git"]);
    std::fs::write(stage.path("unsure.git/packed-refs"), "nonsense refs/heads/x\n").unwrap();
    stage.git(&["init", "-q", "--bare", "empty.git"]);
    std::fs::write(stage.path("file"), "gitdir: nowhere\n").unwrap();
    std::fs::write(stage.path("text"), "text\n").unwrap();
    std::fs::create_dir(stage.path("folder")).unwrap();
    for name in ["none", "folder", "file", "text", "newer.git", "unsure.git", "empty.git", "empty", "a b", ""] {
        for version in [0, 1, 2] {
            if name == "unsure.git" && version == 2 {
                // Stock reads references later there, and fails later.
                continue;
            }
            for options in [ADVERTISE, &["--strict", "--advertise-refs"]] {
                let mut question = subject.question(version, options, &[]);
                question.repository = name.into();
                compare(stage, &question, &format!("v{version} {options:?} {name}"));
            }
        }
    }
}

/// Difference 14: a tree that is asked for by its tag, and is a wanted commit's own too.
#[test]
fn a_tree_that_is_asked_for_is_sent_whatever_the_filter_says() {
    let subject = Subject::new();
    subject.configure(&["uploadpack.allowFilter=true"]);
    let dir = subject.path.to_str().unwrap();
    subject.stage.git(&["-C", dir, "tag", "-a", "-m", "of a tree", "tree", &subject.tree]);
    let tag = subject.stage.git(&["-C", dir, "rev-parse", "tree"]);
    let (want, commit) = (format!("want {tag}"), format!("want {}", subject.main));
    for (wants, forgotten) in [(&[&*want][..], false), (&[&*commit, &want], true)] {
        for filter in ["filter object:type=blob", "filter object:type=tag"] {
            let request = [&["command=fetch", "0001"], wants, &["no-progress", filter, "done", "0000"]].concat();
            let [stock, ours] = Side::BOTH.map(|side| {
                let mut command = subject.stage.server(side);
                command.env("GIT_PROTOCOL", "version=2").args(STATELESS).arg(dir);
                let answer = Answer::of(&run(&mut command, &Request::of(&request).0));
                subject.stage.objects_of_pack(&answer.pack, &subject.path)
            });
            let difference: Vec<_> = ours.symmetric_difference(&stock).collect();
            assert!(ours.contains(&subject.tree), "{wants:?} {filter}");
            assert_eq!(difference, if forgotten { vec![&subject.tree] } else { vec![] }, "{wants:?} {filter}");
        }
    }
}
