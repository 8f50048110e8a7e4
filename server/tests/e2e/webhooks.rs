//! Webhooks as Git hosts send them, signed by `openssl`, sent by `curl`: what moved is here before anybody asks for it, and
//! who can't sign moves nothing.

use serde_json::{Value, json};

use crate::support::apache::Apache;
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::http::Answer;
use crate::support::process::{SERVER_TIMEOUT, hermetic, run, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const APP: &str = "team/app.git";
const SECRET: &str = "what only the host knows";
const TOKEN: &str = "0123456789abcdef";
const HOOK: &str = "/hooks/refs-changed";

/// A mirror that never asks by itself, and that has the repository already.
struct Scene {
    sandbox: Sandbox,
    git: Git,
    apache: Apache,
    node: Heliostat,
}

impl Scene {
    fn start(settings: &str) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let upstream = sandbox.folder("upstream");
        for path in [APP, "team/new.git"] {
            Upstream::rich(&git, &upstream.join(path));
        }
        let apache = Apache::start(&sandbox.folder("apache"), &upstream, &git);
        let folder = sandbox.folder("node");
        let file = folder.join("node.toml");
        std::fs::write(&file, format!("[sync]\ninterval = \"1d\"\n{settings}")).unwrap();
        let node = Heliostat::start(&folder, &apache.url(), &["--config", &file.display().to_string()]);
        let scene = Self { sandbox, git, apache, node };
        let url = format!("{}/{APP}", scene.node.url());
        scene.git.text(scene.sandbox.path(), &["-c", "protocol.version=0", "ls-remote", &url]);
        scene
    }

    fn signed() -> Self {
        Self::start(&format!("[webhook]\nsecret = \"{SECRET}\"\n[admin]\ntoken = \"{TOKEN}\"\n"))
    }

    fn upstream(&self) -> Upstream {
        Upstream { git: self.git.clone(), folder: self.sandbox.path().join("upstream").join(APP) }
    }

    fn post(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let port = self.node.admin_address().rsplit(':').next().unwrap().parse().unwrap();
        crate::support::http::request("POST", port, HOOK, headers, body.as_bytes()).unwrap()
    }

    /// By `curl`: the status and the body.
    fn curl(&self, headers: &[String], body: &str) -> (u16, String) {
        let mut command = hermetic("curl", self.sandbox.path());
        command.args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"]);
        command.args(["--header", "Content-Type: application/json", "--data-binary", "@-"]);
        headers.iter().for_each(|header| {
            command.args(["--header", header]);
        });
        command.arg(format!("http://{}{HOOK}", self.node.admin_address()));
        let finished = run(&mut command, body.as_bytes(), self.sandbox.path());
        assert!(finished.status.success(), "{}: the tests need Debian's curl", finished.stderr);
        let text = finished.text();
        let (answer, status) = text.trim_end().rsplit_once('\n').expect("a status");
        (status.parse().unwrap(), answer.trim_end().to_owned())
    }

    /// HMAC-SHA256 in hexadecimal digits, as `openssl` makes it.
    fn hmac(&self, body: &str) -> String {
        let mut command = hermetic("openssl", self.sandbox.path());
        command.args(["dgst", "-sha256", "-hmac", SECRET]);
        let finished = run(&mut command, body.as_bytes(), self.sandbox.path());
        assert!(finished.status.success(), "{}: the tests need Debian's openssl", finished.stderr);
        finished.text().trim().rsplit(' ').next().expect("digits").to_owned()
    }

    /// What is here, if anything is.
    fn here(&self) -> Vec<String> {
        let show = |folder: &std::path::PathBuf| self.git.text(folder, &["rev-parse", "main"]).trim().to_owned();
        self.node.stored().iter().map(show).collect()
    }
}

fn bitbucket(event: &str) -> Value {
    json!({
        "eventKey": event,
        "date": "2026-06-17T19:37:57+1000",
        "actor": { "name": "john", "id": 500, "displayName": "John", "active": true, "slug": "john", "type": "NORMAL" },
        "repository": {
            "slug": "app", "id": 656, "name": "app", "scmId": "git", "state": "AVAILABLE", "forkable": true,
            "project": { "key": "TEAM", "id": 389, "name": "Team", "public": true, "type": "NORMAL" },
            "public": false,
            "links": {
                "clone": [
                    { "href": "ssh://git@bitbucket.example.com:7999/team/app.git", "name": "ssh" },
                    { "href": "https://bitbucket.example.com/scm/team/app.git", "name": "http" },
                ],
                "self": [{ "href": "https://bitbucket.example.com/projects/TEAM/repos/app/browse" }],
            },
        },
        "changes": [{
            "ref": { "id": "refs/heads/main", "displayId": "main", "type": "BRANCH" },
            "refId": "refs/heads/main",
            "fromHash": "f09c8889a2d234985734958795a31589cd91ffda",
            "toHash": "22671f0349857934857983457983475ec39f196b",
            "type": "UPDATE",
        }],
    })
}

/// From a primary: without an `eventKey`, which stands in a header.
fn bitbucket_mirror() -> Value {
    let mut body = bitbucket("");
    let event = body.as_object_mut().unwrap();
    event.remove("eventKey");
    event.insert("mirrorServer".into(), json!({ "id": "B2ND-4UB1", "name": "far away" }));
    event.insert("syncType".into(), "INCREMENTAL".into());
    event.insert("refLimitExceeded".into(), false.into());
    body
}

fn github(more: Value) -> Value {
    let mut body = json!({
        "ref": "refs/heads/main",
        "repository": {
            "id": 186853002, "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=", "name": "app", "full_name": "team/app",
            "private": false, "owner": { "login": "team", "id": 21031067, "type": "Organization" },
            "html_url": "https://github.example.com/team/app", "url": "https://github.example.com/api/v3/repos/team/app",
            "git_url": "git://github.example.com/team/app.git", "ssh_url": "git@github.example.com:team/app.git",
            "clone_url": "https://github.example.com/team/app.git", "default_branch": "main",
        },
        "sender": { "login": "john", "id": 21031067, "type": "User" },
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn gitlab(kind: &str) -> Value {
    json!({
        "object_kind": kind, "event_name": kind,
        "before": "95790bf891e76fee5e1747ab589903a6a1f80f22", "after": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
        "ref": "refs/heads/main", "checkout_sha": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "message": null,
        "user_id": 4, "user_name": "John", "project_id": 15,
        "project": {
            "id": 15, "name": "app", "description": "", "web_url": "https://gitlab.example.com/team/app",
            "avatar_url": null, "git_ssh_url": "git@gitlab.example.com:team/app.git",
            "git_http_url": "https://gitlab.example.com/team/app.git", "namespace": "team", "visibility_level": 0,
            "path_with_namespace": "team/app", "default_branch": "main",
        },
        "repository": {
            "name": "app", "url": "git@gitlab.example.com:team/app.git", "description": "",
            "homepage": "https://gitlab.example.com/team/app",
            "git_http_url": "https://gitlab.example.com/team/app.git",
            "git_ssh_url": "git@gitlab.example.com:team/app.git", "visibility_level": 0,
        },
        "commits": [], "total_commits_count": 4,
    })
}

fn gitea() -> Value {
    json!({
        "ref": "refs/heads/main", "before": "28e1879d029cb852e4844d9c718537df08844e03",
        "after": "bffeb74224043ba2feb48d137756c8a9331c449a",
        "compare_url": "http://gitea.example.com:3000/team/app/compare/28e1879d029c...bffeb7422404", "commits": [],
        "repository": {
            "id": 140, "owner": { "id": 1, "login": "team", "full_name": "Team" }, "name": "app",
            "full_name": "team/app", "private": false, "fork": false, "empty": false, "parent": null,
            "html_url": "http://gitea.example.com:3000/team/app", "ssh_url": "ssh://gitea@gitea.example.com:2222/team/app.git",
            "clone_url": "http://gitea.example.com:3000/team/app.git", "default_branch": "main",
        },
        "pusher": { "id": 1, "login": "john" }, "sender": { "id": 1, "login": "john" },
    })
}

/// What a push has brought is fetched although no client asks and no interval ends.
#[test]
fn each_hosts_webhook_brings_what_moved() {
    let scene = Scene::signed();
    let hub = |scene: &Scene, body: &str| vec![format!("X-Hub-Signature: sha256={}", scene.hmac(body))];
    let github_lines = |scene: &Scene, body: &str| {
        let mac = scene.hmac(body);
        vec![format!("X-Hub-Signature: sha1={}", &mac[..40]), format!("X-Hub-Signature-256: sha256={mac}")]
    };
    let gitea_lines = |scene: &Scene, body: &str| vec![format!("X-Gitea-Signature: {}", scene.hmac(body))];
    let gitlab_lines = |_: &Scene, _: &str| vec![format!("X-Gitlab-Token: {SECRET}")];
    type Lines<'a> = &'a dyn Fn(&Scene, &str) -> Vec<String>;
    let push = json!({ "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "after": "0000000000000000000000000000000000000000",
        "created": false, "deleted": true, "forced": false, "base_ref": null, "commits": [], "head_commit": null });
    let hosts: [(&str, Value, Lines<'_>); 9] = [
        ("bitbucket push", bitbucket("repo:refs_changed"), &hub),
        ("bitbucket mirror", bitbucket_mirror(), &hub),
        ("bitbucket mirror with its key", bitbucket("mirror:repo_synchronized"), &hub),
        ("github push", github(push), &github_lines),
        ("github create", github(json!({ "ref_type": "branch", "master_branch": "main" })), &github_lines),
        ("github delete", github(json!({ "ref_type": "tag", "pusher_type": "user" })), &github_lines),
        ("gitlab push", gitlab("push"), &gitlab_lines),
        ("gitlab tag push", gitlab("tag_push"), &gitlab_lines),
        ("gitea push", gitea(), &gitea_lines),
    ];
    for (host, body, lines) in hosts {
        let expected = scene.upstream().commit("main", &[("pushed.txt", &format!("{host}\n"))]);
        assert_ne!(scene.here(), [expected.as_str()], "{host}: nobody has asked yet");
        let body = body.to_string();
        let (status, said) = scene.curl(&lines(&scene, &body), &body);
        assert_eq!((status, said.as_str()), (202, r#"{"hinted":["team/app.git"]}"#), "{host}");
        wait_until(host, SERVER_TIMEOUT, || scene.here() == [expected.as_str()]);
    }
}

/// Within a lease nobody is asked, until a host says that something has changed.
#[test]
fn a_webhook_ends_a_lease() {
    let rule = "[[mirror]]\ninclude = [\"*\"]\nfreshness = \"lease\"\nlease = \"1h\"\n";
    let scene = Scene::start(&format!("{rule}[webhook]\nsecret = \"{SECRET}\"\n[admin]\ntoken = \"{TOKEN}\"\n"));
    let url = format!("{}/{APP}", scene.node.url());
    let told = || scene.git.text(scene.sandbox.path(), &["ls-remote", &url, "refs/heads/main"]);
    let old = scene.upstream().id("main");
    let new = scene.upstream().commit("main", &[("pushed.txt", "pushed\n")]);
    assert!(told().starts_with(&old), "the lease does not hold");
    let body = github(json!({})).to_string();
    let (status, _) = scene.curl(&[format!("X-Hub-Signature-256: sha256={}", scene.hmac(&body))], &body);
    assert_eq!(status, 202);
    assert!(told().starts_with(&new), "the very next question is answered by the upstream");
}

/// Who does not know the secret costs the upstream nothing and learns nothing, the admin token or not.
#[test]
fn what_is_not_signed_moves_nothing() {
    let scene = Scene::signed();
    scene.upstream().commit("main", &[("pushed.txt", "pushed\n")]);
    let (asked, here) = (scene.apache.requests().len(), scene.here());
    let body = bitbucket("repo:refs_changed").to_string();
    let mac = scene.hmac(&body);
    let other = scene.hmac(&format!("{body} "));
    let wrong = format!("{}{}", &mac[..63], if mac.ends_with('0') { '1' } else { '0' });
    let (bearer, close) = (format!("Bearer {TOKEN}"), format!("{SECRET}!"));
    let mut said = Vec::new();
    for headers in [
        &[][..],
        &[("Authorization", bearer.as_str())],
        &[("X-Hub-Signature", mac.as_str())],
        &[("X-Hub-Signature", &format!("sha256={wrong}"))],
        &[("X-Hub-Signature-256", &format!("sha256={other}"))],
        &[("X-Hub-Signature", &format!("sha1={}", &mac[..40]))],
        &[("X-Gitea-Signature", &wrong)],
        &[("X-Gitlab-Token", &close)],
        &[("X-Gitlab-Token", "")],
        &[("X-Gitlab-Token", &mac)],
    ] {
        let answer = scene.post(headers, &body);
        assert_eq!(answer.status, 401, "{headers:?} {answer:?}");
        said.push(answer.text());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "one answer for all: {said:?}");
    assert!(!said[0].contains(SECRET) && !scene.node.log().contains(SECRET));
    assert_eq!(scene.post(&[("X-Gitlab-Token", SECRET)], "{\"object_kind\":\"push\"}").status, 400);
    assert_eq!((scene.apache.requests().len(), scene.here()), (asked, here));
    // The signature is of the hook and of nothing else.
    assert_eq!(scene.node.admin("GET", "/api/v1/node").status, 401);
    assert_eq!(scene.node.admin("GET", HOOK).status, 405);
    assert_eq!(scene.node.get(HOOK).status, 404, "not on the main port");
}

/// A hint makes no mirror, a replay makes questions at a bounded rate, and what is no webhook is told so.
#[test]
fn hints_are_only_hints() {
    let scene = Scene::signed();
    let token = [("X-Gitlab-Token", SECRET)];
    let elsewhere = |path: &str| {
        let mut body = gitlab("push");
        for (at, name) in
            [("project", "path_with_namespace"), ("project", "git_http_url"), ("repository", "git_http_url")]
        {
            body[at][name] = path.into();
        }
        body.to_string()
    };
    let asked = scene.apache.requests().len();
    for path in ["team/new", "team/no-such", "../../etc/passwd", "https://gitlab.example.com/team/new.git"] {
        let answer = scene.post(&token, &elsewhere(path));
        assert_eq!((answer.status, answer.text().trim()), (202, r#"{"hinted":[]}"#), "{path}");
    }
    let ping = scene.post(&token, r#"{"test":true}"#);
    assert_eq!((ping.status, ping.text().trim()), (202, r#"{"hinted":[]}"#));
    for body in ["", "payload=%7B%7D", "[]", &"[".repeat(1 << 20), "{\"object_kind\":\"push\"}"] {
        let answer = scene.post(&token, body);
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let large = format!(r#"{{"object_kind":"push","pad":"{}"}}"#, "x".repeat(4 << 20));
    assert_eq!(scene.post(&token, &large).status, 413);
    assert_eq!(scene.apache.requests().len(), asked, "no question came of any of these");
    assert_eq!(scene.here().len(), 1, "no mirror was made");

    let body = gitlab("push").to_string();
    let began = std::time::Instant::now();
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..700 {
        *statuses.entry(scene.post(&token, &body).status).or_insert(0u64) += 1;
    }
    let admitted = 500 + 50 * (began.elapsed().as_secs() + 1);
    assert!(statuses[&202] <= admitted && statuses.keys().all(|status| [202, 429].contains(status)), "{statuses:?}");
    let questions = scene.apache.requests().len() - asked;
    assert!(questions as u64 <= statuses[&202], "{questions} questions for {statuses:?}");
    assert_eq!(scene.node.get("/status").status, 200);
}

/// Without a secret the admin port's own rule holds: here, loopback, and no web page of another site.
#[test]
fn without_a_secret_the_admin_ports_rule_holds() {
    let scene = Scene::start("");
    let body = gitea().to_string();
    let expected = scene.upstream().commit("main", &[("pushed.txt", "pushed\n")]);
    assert_eq!(scene.post(&[("Origin", "https://evil.example")], &body).status, 403);
    assert_eq!(scene.post(&[], &body).status, 202);
    wait_until("the commit is here", SERVER_TIMEOUT, || scene.here() == [expected.as_str()]);
}
