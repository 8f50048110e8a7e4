use super::*;
use crate::upstream::transport::BaseUrl;

fn mistakes(text: &str) -> Vec<String> {
    match Config::load(text, &Overrides::default()) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

const WHOLE: &str = r#"
[node]
data = "/srv/heliostat"
cores = 2

[http]
listen = "0.0.0.0:80"
proxy_protocol = true
trusted_proxies = ["10.0.0.0/8", "::1"]

[admin]
listen = "127.0.0.1:9091"
token = "0123456789abcdef"

[upstream]
kind = "git"
url = "https://git.example.com/scm/"
hook = "https://judge.example.com/authenticate"

[[mirror]]
include = ["team/*", "tools/build"]
exclude = ["team/secret*"]
freshness = "lease"
lease = "45s"
wait = "5s"
park = "2s"

[[mirror]]
include = ["public/*"]
refs = ["refs/heads/*", "!refs/heads/wip"]

[auth]
ttl = "30s"
negative_ttl = "1s"
stale_if_error = "1h"

[sync]
interval = "1min"
concurrency = 8

[store]
generations_kept = 3
grace = "1h"

[cache]
bytes = "64MiB"

[limits]
connections = 500
connections_per_address = 100
plans_per_repository = 2
plans_waiting_per_repository = 20
plan_wait = "10s"
spool = "1GiB"

[webhook]
secret = "fedcba9876543210"
"#;

#[test]
fn a_whole_file() {
    let config = Config::load(WHOLE, &Overrides::default()).unwrap();
    assert_eq!(config.node.data, PathBuf::from("/srv/heliostat"));
    assert_eq!(config.node.cores, Some(2));
    assert_eq!(config.http.listen.port(), 80);
    assert_eq!(
        config.upstream,
        Upstream::Git {
            url: "https://git.example.com/scm".into(),
            ca: None,
            client: None,
            proxies: Arc::default(),
            credentials: None
        }
    );
    assert_eq!(config.rule("team/app.git").unwrap().wait, Duration::from_secs(5));
    assert_eq!(config.rule("team/app.git").unwrap().park, Duration::from_secs(2));
    assert_eq!(config.rule("public/x.git").unwrap().park, Duration::from_secs(10));
    assert_eq!(config.rule("public/x.git").unwrap().wait, Duration::from_secs(20));
    assert_eq!(config.rule("team/app.git").unwrap().freshness, Mode::Lease(Duration::from_secs(45)));
    assert_eq!(config.rule("public/x.git").unwrap().freshness, Mode::Strict);
    assert!(config.rule("team/secret-plans.git").is_none());
    assert!(config.rule("other/x.git").is_none());
    assert_eq!(config.sync.interval, Duration::from_secs(60));
    assert_eq!(config.store.generations_kept, 3);
    assert_eq!(config.cache.bytes, 64 << 20);
    assert!(config.http.proxy_protocol && config.http.trusted_proxies.contains([10, 1, 2, 3].into()));
    assert_eq!((config.limits.connections, config.limits.connections_per_address), (500, Some(100)));
    let Limits { plans_per_repository, plans_waiting_per_repository, plan_wait, spool, .. } = config.limits;
    assert_eq!((plans_per_repository, plans_waiting_per_repository), (2, 20));
    assert_eq!((plan_wait, spool), (Duration::from_secs(10), 1 << 30));
    assert_eq!(config.warnings(), Vec::<String>::new());
    let seconds = [config.auth.ttl, config.auth.negative_ttl, config.auth.stale_if_error].map(|time| time.as_secs());
    assert_eq!((seconds, config.auth.hook.as_deref()), ([30, 1, 3600], Some("https://judge.example.com/authenticate")));
    let shows = |path: &str, name: &str| config.shown(path).shows(name.into());
    assert!(shows("public/x.git", "refs/heads/a") && !shows("public/x.git", "refs/heads/wip/a"));
    assert!(shows("team/app.git", "refs/pull/1/head") && !shows("team/app.git", "refs/meta/config"));
    assert_eq!(config.webhook.secret.as_deref(), Some("fedcba9876543210"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("fedcba98"), "secrets must not show in Debug");
}

#[test]
fn plans_are_kept_unless_that_is_turned_off() {
    for (text, bytes) in [("", 256 << 20), ("bytes = 0", 0), ("bytes = \"0\"", 0), ("bytes = \"1GiB\"", 1 << 30)] {
        let config = Config::load(&format!("[upstream]\nurl = \"/srv\"\n[cache]\n{text}\n"), &Overrides::default());
        assert_eq!(config.unwrap().cache.bytes, bytes, "{text}");
    }
}

#[test]
fn the_store_has_a_limit_if_one_is_said() {
    let text = "[upstream]\nurl = \"https://h\"\n[[mirror]]\ninclude = [\"a\"]\n[store]\n";
    let bytes = |more: &str| Config::load(&format!("{text}{more}"), &Overrides::default()).map(|c| c.store.bytes);
    assert_eq!((bytes(""), bytes("bytes = \"10GiB\"\n")), (Ok(None), Ok(Some(10 << 30))));
}

#[test]
fn flags_override_the_file() {
    let flags = Overrides {
        upstream: Some("/srv/git".into()),
        kind: Some("directory".into()),
        data: Some("elsewhere".into()),
        listen: Some("[::1]:8081".into()),
        mirrors: vec!["one/*".into()],
        cores: Some("1".into()),
        ..Overrides::default()
    };
    let config = Config::load(WHOLE, &flags).unwrap();
    assert_eq!(config.upstream, Upstream::Directory("/srv/git".into()));
    assert_eq!(config.node.data, PathBuf::from("elsewhere"));
    assert_eq!(config.http.listen.to_string(), "[::1]:8081");
    assert_eq!(config.node.cores, Some(1));
    assert!(config.rule("one/a.git").is_some());
    assert!(config.rule("team/app.git").is_none());
}

#[test]
fn freshness_is_one_of_three_words_and_the_flag_holds_for_all_rules() {
    let with = |freshness: &str| {
        let flags = Overrides { freshness: Some(freshness.into()), ..Overrides::default() };
        let config = Config::load(WHOLE, &flags).unwrap();
        ["team/app.git", "public/x.git"].map(|path| config.rule(path).unwrap().freshness)
    };
    assert_eq!(with("strict"), [Mode::Strict; 2]);
    assert_eq!(with("eventual"), [Mode::Eventual; 2]);
    assert_eq!(with("lease"), [45, 30].map(|seconds| Mode::Lease(Duration::from_secs(seconds))));

    let rule = "[upstream]\nurl = \"http://h\"\n[[mirror]]\ninclude = [\"*\"]\n";
    for (more, expected) in [
        ("freshness = \"fresh\"", "line 5: unknown freshness `fresh`: write strict, lease or eventual"),
        ("lease = \"1min\"", "line 5: `lease` has no use without freshness = \"lease\""),
        ("freshness = \"lease\"\nlease = \"0s\"", "line 6: `lease` must lie between 1s and 86400s"),
    ] {
        assert_eq!(mistakes(&format!("{rule}{more}\n")), [expected]);
    }
}

/// What is excluded under one spelling can't be had under the other; in a folder they may be two repositories.
#[test]
fn a_pattern_is_on_both_spellings() {
    let text = |upstream: &str| {
        format!(
            "[upstream]\nurl = \"{upstream}\"\n[[mirror]]\ninclude = [\"a/*.git\", \"b/*\"]\n\
             exclude = [\"b/secret.git\", \"b/plans\"]\n"
        )
    };
    let git = Config::load(&text("https://git.example.com"), &Overrides::default()).unwrap();
    for (path, expected) in [
        ("a/x.git", true),
        ("a/x", true),
        ("b/x", true),
        ("b/secret.git", false),
        ("b/secret", false),
        ("b/plans", false),
        ("b/plans.git", false),
    ] {
        assert_eq!(git.rule(path).is_some(), expected, "{path}");
    }
    let folder = Config::load(&text("/srv/git"), &Overrides::default()).unwrap();
    assert!(folder.rule("a/x").is_none() && folder.rule("b/secret").is_some());
}

#[test]
fn kind_is_told_from_the_upstream() {
    let with = |upstream: &str| {
        let flags = Overrides { upstream: Some(upstream.into()), mirrors: vec!["*".into()], ..Overrides::default() };
        Config::load("", &flags).map(|c| c.upstream)
    };
    assert_eq!(with("./repos"), Ok(Upstream::Directory("./repos".into())));
    let git = |url: &str| {
        Ok(Upstream::Git { url: url.into(), ca: None, client: None, proxies: Arc::default(), credentials: None })
    };
    assert_eq!(with("http://localhost:3000/"), git("http://localhost:3000"));
    assert_eq!(with("HTTP://h/"), git("http://h"));
    assert!(with("ssh://git@host/x").is_err());
}

/// Otherwise each listing would find the copies that the one before has made.
#[test]
fn a_folder_and_what_is_mirrored_of_it_lie_apart() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    std::fs::create_dir_all(path("git/team")).unwrap();
    std::os::unix::fs::symlink(path("git"), path("link")).unwrap();
    let with = |upstream: &str, data: &str| {
        let flags = Overrides { upstream: Some(path(upstream)), data: Some(path(data)), ..Overrides::default() };
        Config::load("", &flags).map(|_| ()).map_err(|mistakes| mistakes[0].text.clone())
    };
    for (upstream, data) in
        [("git", "git"), ("git", "git/data"), ("link", "git/not/yet"), ("git", "link/data"), ("git/team", "git")]
    {
        let told = with(upstream, data).expect_err(data);
        assert!(told.contains("must lie apart"), "{told}");
    }
    for (upstream, data) in [("git", "data"), ("git", "git-data"), ("git/team", "git/data")] {
        assert_eq!(with(upstream, data), Ok(()), "{upstream} {data}");
    }
}

#[test]
fn every_mistake_at_once_with_its_line() {
    let text = r#"[node]
data = 5
nam = "x"
[http]
listen = "localhost"
tls = { certificate = "x" }
[upstream]
kind = "gitolite"
url = "https://user:hunter2@git.example.com/"
[[mirror]]
wait = "20"
[sync]
intervall = "3min"
concurrency = 0
[farm]
engine = "etcd"
[colour]
red = 1
"#;
    let found = mistakes(text);
    let expected = [
        "line 2: `data` is written as text, in quotes",
        "line 3: unknown key `nam` in [node]",
        "line 5: `localhost` is not an address: write IP:PORT, as in 0.0.0.0:8080 or [::]:8080",
        "line 6: `tls.certificate` needs `tls.key`, the file of its key",
        "line 8: upstream kind `gitolite` is not built yet",
        "line 9: the upstream's address must not hold a user name or password: it would end up in logs",
        "line 10: a [[mirror]] needs `include`, a list of patterns",
        "line 11: `20` has no unit: write ms, s, min, h or d, as in \"20s\"",
        "line 13: unknown key `intervall` in [sync]; did you mean `interval`?",
        "line 14: `concurrency` is a whole number from 1 to 256",
        "line 15: section [farm] is not built yet",
        "line 17: unknown section [colour]",
    ];
    assert_eq!(found, expected);
}

/// What can't be read as TOML is told once: what would follow from it is not told of.
#[test]
fn one_syntax_error_and_nothing_of_what_follows_from_it() {
    let rest =
        "\n[upstream]\nurl = \"https://h\"\n[[mirror]]\ninclude = [\"a\"]\nwait = \"5s\"\n[store]\ngrace = \"5min\"\n";
    for (first, line) in [
        ("[node]\ndata = \"/srv", 2),
        ("[node]\ndata = /srv\"", 2),
        ("[node\ndata = \"/srv\"", 1),
        ("node]\ndata = \"/srv\"", 1),
        ("[node]\ndata \"/srv\"", 2),
        ("[node]\ndata = \"/srv\"\ncores = 1\ncores = 2", 4),
        ("[node]\ncores = \n[http]\nlisten = ", 2),
    ] {
        let found = mistakes(&format!("{first}{rest}"));
        assert_eq!(found.len(), 1, "{first:?}: {found:#?}");
        assert!(found[0].starts_with(&format!("line {line}: ")), "{first:?}: {found:?}");
    }
    // What stands before it and is wrong by itself is.
    let found = mistakes(&format!("[node]\nnam = 1\n[http]\nlisten = \"1{rest}"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[0], "line 2: unknown key `nam` in [node]");
    assert!(found[1].starts_with("line 4: "), "{found:?}");
}

/// A rule with one bracket too few hides none of the mistakes in the others.
#[test]
fn a_mirror_with_one_bracket() {
    let rules = ["[mirror]\ninclude = [\"a\"]\nwat = 1\n", "[[mirror]]\ninclude = [\"b\"]\nwait = \"1\"\nwot = 1\n"];
    for (first, second, lines) in [(0, 1, [3, 5, 8, 9]), (1, 0, [5, 6, 7, 9])] {
        let text = format!("[upstream]\nurl = \"https://h\"\n{}{}", rules[first], rules[second]);
        let found = mistakes(&text);
        let at = found.iter().map(|m| m.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(at, lines.map(|line| format!("line {line}")), "{found:#?}");
        assert!(
            found.iter().any(|m| m.ends_with("mirror rules are written as [[mirror]], with two brackets")),
            "{found:?}"
        );
    }
    let found = mistakes("[upstream]\nurl = \"https://h\"\n[mirror]\ninclude = [\"a\"]\n");
    assert_eq!(found, ["line 3: mirror rules are written as [[mirror]], with two brackets"]);
}

/// A table is a table, however it is written, and its keys have lines of their own.
#[test]
fn certificates_and_keys() {
    let missing = "/nonexistent/c.pem: No such file or directory (os error 2)";
    for (text, expected) in [
        ("tls = 1", "line 4: `tls` in [http] has keys of its own: `tls.…`".to_owned()),
        ("tls.key = \"k\"", "line 4: `tls.key` needs `tls.certificate`".into()),
        ("tls.certificate = \"\"\ntls.key = \"k\"", "line 4: `tls.certificate` must not be empty".into()),
        ("tls.ca = \"k\"", "line 4: unknown key `tls.ca` in [http]; did you mean `tls.key`?".into()),
        (
            "tls.key = \"/nonexistent/k.pem\"\ntls.certificate = \"/nonexistent/c.pem\"",
            format!("line 5: `tls.certificate`: {missing}"),
        ),
        (
            "[http.tls]\ncertificate = \"/nonexistent/c.pem\"\nkey = \"/nonexistent/k.pem\"",
            format!("line 5: `tls.certificate`: {missing}"),
        ),
    ] {
        assert_eq!(mistakes(&format!("[upstream]\nurl = \"/srv\"\n[http]\n{text}\n")), [expected], "{text}");
    }
}

/// One mistake hides no other, not even in the same section.
#[test]
fn every_mistake_of_one_section() {
    let check = |text: &str, expected: &[&str]| {
        let found = mistakes(&format!("[upstream]\n{text}\n[[mirror]]\ninclude = [\"a\"]\n"));
        let fits = found.len() == expected.len() && found.iter().zip(expected).all(|(m, start)| m.starts_with(start));
        assert!(fits && !found.iter().any(|m| m.contains("hunter2")), "{text:?}: {found:?}");
    };
    let ca = "ca = \"/nonexistent/ca.pem\"";
    check(
        &format!("kind = \"svn\"\nurl = \"ftp://x\"\n{ca}"),
        &[
            "line 2: unknown upstream kind `svn`",
            "line 3: an upstream of kind git is",
            "line 4: `ca`: /nonexistent/ca.pem: ",
        ],
    );
    check(&format!("kind = \"svn\"\n{ca}"), &["no upstream", "line 2: unknown upstream kind", "line 3: `ca`: "]);
    check(&format!("url = \"https://h:x\"\n{ca}"), &["line 2: `x` is not a port", "line 3: `ca`: "]);
    check(&format!("url = \"/srv/git\"\n{ca}"), &["line 3: `ca` has no use"]);
    check(
        "url = \"/srv/git\"\nproxy = \"http://p:1\"\nclient_certificate = \"/nonexistent/c\"",
        &[
            "line 3: `proxy` has no use",
            "line 4: `client_certificate` has no use",
            "line 4: `client_certificate` needs `client_key`",
        ],
    );
    check(
        "url = \"https://h\"\nproxy = \"socks5://u:hunter2@p\"\nclient_key = \"k\"",
        &["line 3: `proxy`: only http:// proxies are built", "line 4: `client_key` needs `client_certificate`"],
    );
    check("url = \"https://h\"\nproxy = 1", &["line 3: `proxy` is written as text"]);
    check("url = \"https://h\"\nproxy = \"http://u:hunter2@\"", &["line 3: `proxy`: it is written http://[USER"]);
    check("kind = \"directory\"\nurl = \"\"", &["line 3: `url` must not be empty"]);
}

/// What is written goes before the environment, which is for upstreams that are reached over a network.
#[test]
fn proxies() {
    let with = |text: &str, variable: &str, value: &str| {
        let proxies = [(variable.to_owned(), value.to_owned())].into();
        Config::load(text, &Overrides { proxies, ..Overrides::default() })
    };
    let through = |config: Config| {
        let BaseUrl { origin, .. } = BaseUrl::parse("https://h").unwrap();
        config.upstream.egress().unwrap().proxy(&origin).map(ToString::to_string)
    };
    let text = |line: &str| format!("[upstream]\nurl = \"https://h\"\n{line}\n[[mirror]]\ninclude = [\"a\"]\n");
    let of = |line: &str| through(with(&text(line), "HTTPS_PROXY", "http://e:1").unwrap());
    assert_eq!(of("").as_deref(), Some("the proxy e:1 (HTTPS_PROXY)"));
    assert_eq!(of("proxy = \"http://f:2\"").as_deref(), Some("the proxy f:2 (`proxy` in [upstream])"));
    assert_eq!(of("proxy = \"\""), None);
    let wrong = |text: &str| with(text, "ALL_PROXY", "socks5://u:hunter2@e:1");
    let mistakes = wrong(&text("")).unwrap_err();
    assert!(mistakes.len() == 1 && mistakes[0].to_string().starts_with("ALL_PROXY: only http://"), "{mistakes:?}");
    assert!(wrong(&text("proxy = \"\"")).is_ok() && wrong("[upstream]\nurl = \"/srv/git\"\n").is_ok());
}

#[test]
fn empty_flags() {
    let empty = || Some(String::new());
    let flags = Overrides { upstream: empty(), kind: empty(), data: empty(), listen: empty(), ..Overrides::default() };
    let found: Vec<_> = Config::load("", &flags).unwrap_err().iter().map(ToString::to_string).collect();
    let expected = ["--data", "--kind", "--listen", "--upstream"].map(|flag| format!("{flag}: must not be empty"));
    assert_eq!(found, expected);
}

#[test]
fn each_refusal_in_words() {
    for (text, expected) in [
        ("", "no upstream: give --upstream URL, or `url` in [upstream]"),
        ("[upstream]\nurl = \"https://h/\"", "an upstream of kind git needs at least one pattern"),
        ("[upstream]\nurl = \"https://u:hunter2@h/\"", "line 2: the upstream's address must not hold a user name"),
        ("[upstream]\nurl = \"https://\"", "line 2: `https://` names no host"),
        ("[upstream]\nurl = \"https://h:x/\"", "line 2: `x` is not a port"),
        ("[upstream]\nurl = \"https://h/?a\"", "line 2: \"https://h/?a\" is not an address of repositories"),
        ("[upstream]\nurl = \"https://h/#a\"", "line 2: \"https://h/#a\" is not an address of repositories"),
        ("[upstream]\nurl = 'https://h\\a'", "line 2: \"https://h\\\\a\" is not an address of repositories"),
        ("[upstream]\nurl = \"https://h/a\\r\\nX: y\"", "line 2: \"https://h/a\\r\\nX: y\" is not an address"),
        ("[upstream]\nurl = \"https://h\\nX\"", "line 2: \"https://h\\nX\" is not an address of repositories"),
        ("[upstream]\nurl = \"https://h/\\u0000\"", "line 2: \"https://h/\\0\" is not an address of repositories"),
        ("[upstream]\nurl = \"https://h/\\u001b[1m\"", "line 2: \"https://h/\\u{1b}[1m\" is not an address"),
        ("[upstream]\nurl = \"https://h/\\u007f\"", "line 2: \"https://h/\\u{7f}\" is not an address"),
        ("[upstream]\nurl = \"https://h/\"\nkind = \"svn\"", "line 3: unknown upstream kind `svn`"),
        ("[upstream]\nurl = \"https://h/\"\nkind = \"directory\"", "line 2: `https://h/` is an address"),
        ("[upstream]\nurl = \"/srv\"\n[admin]\nlisten = \"0.0.0.0:9090\"", "line 4: without a `token`"),
        (
            "[upstream]\nurl = \"/srv\"\n[admin]\nlisten = \"127.0.0.1:8080\"",
            "line 4: the admin port and the main port",
        ),
        ("[upstream]\nurl = \"/srv\"\n[admin]\ntoken = \"short\"", "line 4: `token` is shorter"),
        ("[upstream]\nurl = \"/srv\"\n[store]\nbytes = \"1GiB\"", "line 4: `bytes` has no use"),
        ("[upstream]\nurl = \"/srv\"\n[store]\nbytes = \"1KiB\"", "line 4: `bytes` is at least 1048576 bytes"),
        ("[upstream]\nurl = \"/srv\"\n[store]\nbytes = \"5\"", "line 4: `5` has no unit"),
        ("[upstream]\nurl = \"/srv\"\n[cache]\nbytes = \"1KiB\"", "line 4: `bytes` is at least 1048576 bytes"),
        ("[upstream]\nurl = \"/srv\"\n[cache]\nbytes = 7", "line 4: `bytes` is written as text"),
        ("[upstream]\nurl = \"/srv\"\n[cache]\ndirectory = \"/x\"", "line 4: `directory` in [cache] is not built"),
        ("[upstream]\nurl = \"/srv\"\n[webhook]\nsecret = \"hunter2\"", "line 4: `secret` is shorter"),
        ("[upstream]\nurl = \"/srv\"\n[mirror]\ninclude = [\"x\"]", "line 3: mirror rules are written as [[mirror]]"),
        ("[upstream]\nurl = \"/srv\"\n[[mirror]]\ninclude = [\"/x\"]", "line 4: `/x`: write the path without"),
        ("[upstream]\nurl = \"/srv\"\n[[mirror]]\ninclude = [\"../x\"]", "line 4: `../x` matches no repository"),
        ("[upstream]\nurl = \"git.example.invalid\"", "line 2: `git.example.invalid` is neither an address"),
        ("[upstream]\nurl = \"git@example.invalid:team\"", "line 2: `git@example.invalid:team` is neither an address"),
        (
            "[http]\nlisten = \"0.0.0.0:8080\"\n[admin]\nlisten = \"127.0.0.1:8080\"\n[upstream]\nurl = \"/srv\"",
            "line 4: the admin port and the main port are one, 127.0.0.1:8080 and 0.0.0.0:8080",
        ),
        (
            "[upstream]\nurl = \"http://127.0.0.1:8080/\"",
            "line 2: the upstream is the address where this mirror listens",
        ),
        (
            "[upstream]\nurl = \"http://localhost:8080/\"",
            "line 2: the upstream is the address where this mirror listens",
        ),
        ("[upstream]\nurl = \"/srv\"\n[auth]\nttl = \"0s\"", "line 4: `ttl` must lie between 1s and"),
        ("[upstream]\nurl = \"/srv\"\n[auth]\nstale_if_error = \"8d\"", "line 4: `stale_if_error` must lie between"),
        ("[upstream]\nurl = \"/srv\"\nhook = \"ftp://h\"", "line 3: `hook`: the hook's address does not begin with"),
        (
            "[upstream]\nurl = \"/srv\"\nhook = \"https://u:hunter2@h/\"",
            "line 3: `hook`: the hook's address must not hold",
        ),
        (
            "[upstream]\nurl = \"/srv\"\ncredentials = \"/nonexistent\"",
            "line 3: `credentials` has no use with an upstream",
        ),
        (
            "[upstream]\nurl = \"/srv\"\nca = \"/nonexistent\"",
            "line 3: `ca` has no use with an upstream of kind directory",
        ),
        ("[upstream]\nurl = \"/srv\"\nhook = \"https://h/\"\nca = \"/nonexistent\"", "line 4: `ca`: /nonexistent: "),
        (
            "[upstream]\nurl = \"https://h\"\ncredentials = \"/nonexistent\"",
            "line 3: `credentials`: No such file or directory (os error 2): it is the name",
        ),
        (
            "[upstream]\nurl = \"/srv\"\n[[mirror]]\ninclude = [\"x\"]\nrefs = [\"heads\"]",
            "line 5: `heads`: a pattern on",
        ),
        ("[upstream\nurl = \"/srv\"", "line 1: "),
    ] {
        let found = mistakes(text);
        assert!(found.iter().any(|m| m.starts_with(expected)), "{text:?}: {found:?}");
        assert!(!found.iter().any(|m| m.contains("hunter2") || m.contains(['\r', '\0', '\u{1b}'])), "{found:?}");
    }
}

#[test]
fn an_open_mirror_is_warned_about() {
    let flags = |pattern: &str| Overrides {
        upstream: Some("https://h".into()),
        mirrors: vec![pattern.into()],
        ..Overrides::default()
    };
    assert_eq!(Config::load("", &flags("*")).unwrap().warnings().len(), 1);
    assert_eq!(Config::load("", &flags("team/*")).unwrap().warnings().len(), 0);
    let but = "[upstream]\nurl = \"https://h\"\n[[mirror]]\ninclude = [\"*\"]\nexclude = [\"a\"]\n";
    assert_eq!(Config::load(but, &Overrides::default()).unwrap().warnings().len(), 1, "what is left is open");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\[|\\]|[a-z]{1,8}| |=|\"|\n|\\.|[0-9]){0,80}") {
        let _ = Config::load(&text, &Overrides::default());
    }
}
