//! Secrets are planted wherever there is one, and then searched for in everything that the run has written: the log at its
//! most talkative, answers and their bodies, the admin port's and its metrics, the data directory. In plain, in Base64, and as
//! they stand in a URL.

use super::*;
use crate::support::http::{raw, request};
use crate::support::tinyproxy::Tinyproxy;
use std::process::Command;

const TOKEN: &str = "ghp-CANARY-bearer-4";
const ADMIN: &str = "admin-CANARY-token-5";
const IN_QUERY: &str = "query-CANARY-6";
const IN_TARGET: &str = "userinfo-CANARY-7";
const COOKIE: &str = "cookie-CANARY-8";
const PROXY: &str = "robot:proxy-CANARY-9";
const WEBHOOK: &str = "webhook-CANARY-secret-10";

/// All forms in which a secret could have been written.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let password = secret.split_once(':').map_or(secret, |(_, password)| password);
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    // At any offset within Base64: the digits that do not depend on what stands before or behind.
    let shifted = (0..3).map(|shift| {
        let encoded = base64(&[&b"xxx"[..shift], password.as_bytes()].concat());
        encoded[4..encoded.len() - 4].to_owned()
    });
    let in_url = password.replace('-', "%2D");
    let plain = [password.to_owned(), base64(secret.as_bytes()), hex(password), secret.to_owned(), in_url];
    plain.into_iter().chain(shifted).map(String::into_bytes).collect()
}

fn all_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match std::fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => all_files(&path, found),
            kind if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn no_secret_is_written_anywhere() {
    let mut proxy = None;
    let mut house = {
        let config = format!("[auth]\nttl = \"1s\"\n[admin]\ntoken = \"{ADMIN}\"\n[webhook]\nsecret = \"{WEBHOOK}\"\n");
        House::start_with(true, &config, "trace", |folder| {
            let folder = folder.join("proxy");
            std::fs::create_dir(&folder).unwrap();
            let (user, password) = PROXY.split_once(':').unwrap();
            let proxy = proxy.insert(Tinyproxy::start(&folder, Some((user, password))));
            format!("proxy = \"{}\"\n", proxy.url(&PROXY.replace('-', "%2D")))
        })
    };
    let mut said: Vec<(String, Vec<u8>)> = Vec::new();
    let mut note = |what: String, answer: Answer| said.push((what, [answer.head.as_bytes(), &answer.body].concat()));
    let bearer = format!("Bearer {TOKEN}");
    let malformed = format!("Basic {TOKEN}");
    let target = |path: &str| format!("/{path}/info/refs?service=git-upload-pack&private_token={IN_QUERY}");
    let mut round = |house: &House, when: &str| {
        for path in [PUBLIC, PRIVATE, ALICES, POSTED, HERS, "team/none.git", "team/../x"] {
            for line in [Some(basic(ALICE)), Some(basic(BOB)), Some(bearer.clone()), Some(malformed.clone()), None] {
                for version in [0, 2] {
                    let answer = house.ask("GET", &target(path), version, line.as_deref(), "");
                    note(format!("{when} {path} {version}"), answer);
                }
                let answer = house.ask("POST", &format!("/{path}/git-upload-pack"), 2, line.as_deref(), "0000");
                note(format!("{when} post {path}"), answer);
                let answer = house.ask("POST", &format!("/{path}/git-receive-pack"), 2, line.as_deref(), "0000");
                note(format!("{when} push {path}"), answer);
            }
        }
        let port = house.mirror.port();
        let lines =
            format!("Host: h\r\nConnection: close\r\nCookie: session={COOKIE}\r\nProxy-Authorization: {bearer}\r\n");
        for head in [
            format!("GET http://{IN_TARGET}@h/{PRIVATE}/info/refs?service=git-upload-pack HTTP/1.1\r\n{lines}\r\n"),
            format!("GET /{IN_QUERY} HTTP/1.1\r\n{lines}Authorization: {bearer}\r\n\r\n"),
            format!(
                "BREW /{PRIVATE}/info/refs HTTP/1.1\r\n{lines}Authorization: {bearer}\r\nBad Header: {TOKEN}\r\n\r\n"
            ),
            format!("GET / HTTP/1.1\r\n{lines}Authorization: {bearer}\r\nAuthorization: {bearer}\r\n\r\n"),
        ] {
            note(format!("{when} {head}"), raw(port, head.as_bytes()).unwrap());
        }
        let admin = house.mirror.admin_address().rsplit(':').next().unwrap().parse().unwrap();
        for line in [format!("Bearer {ADMIN}"), format!("Bearer {ADMIN}x"), basic(ALICE)] {
            for (method, target) in [
                ("GET", "/metrics".to_owned()),
                ("GET", "/status".to_owned()),
                ("GET", "/".to_owned()),
                ("GET", "/api/v1/node".to_owned()),
                ("GET", "/api/v1/repositories".to_owned()),
                ("GET", "/api/v1/syncs".to_owned()),
                ("POST", format!("/api/v1/repositories/{HERS}/sync")),
                ("POST", format!("/api/v1/repositories/{PRIVATE}/forget-rights?token={IN_QUERY}")),
                ("POST", "/api/v1/forget-rights".to_owned()),
            ] {
                let answer = request(method, admin, &target, &[("Authorization", &line)], b"").unwrap();
                assert!(target != "/metrics" || answer.text().contains("heliostat_requests_total"), "{answer:?}");
                note(format!("{when} {target}"), answer);
            }
        }
        let host = house.apache.url();
        let body = format!(
            "{{\"object_kind\":\"push\",\"project\":{{\"path_with_namespace\":\"team/private\",\"git_http_url\":\"{host}/{PRIVATE}\"}}}}"
        );
        for (token, status) in [(WEBHOOK.to_owned(), 202), (format!("{WEBHOOK}x"), 401), (WEBHOOK[1..].to_owned(), 401)]
        {
            let headers = [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", &token)];
            let answer = request("POST", admin, "/hooks/refs-changed", &headers, body.as_bytes()).unwrap();
            assert_eq!(answer.status, status, "{answer:?}");
            note(format!("{when} webhook"), answer);
        }
    };
    round(&house, "at first");
    house.clone(&house.url(ALICES, Some(ALICE)), &[]).unwrap();
    house.clone(&house.url(ALICES, Some(BOB)), &[]).unwrap_err();
    assert!(proxy.as_ref().is_some_and(|proxy| proxy.requests("GET http://") > 0), "the proxy was not gone through");
    house.apache.stop();
    round(&house, "in an outage");
    house.apache.start_again();
    house.mirror.stop();
    house.mirror.start_again();
    round(&house, "after a restart");
    assert!(house.mirror.stop().success());
    // What a command says of it as well.
    let config = house.sandbox.path().join("heliostat.toml");
    let data = house.mirror.data().display().to_string();
    for arguments in [&["check-config"][..], &["sync", "--data", &data, "--config"]] {
        let output = Command::new(crate::support::heliostat::PROGRAM).args(arguments).arg(&config).output().unwrap();
        said.push((format!("{arguments:?}"), [output.stdout, output.stderr].concat()));
    }
    let mut files = Vec::new();
    all_files(&house.mirror.data(), &mut files);
    assert!(files.len() > 10, "{files:?}");
    let log = house.mirror.log();
    assert!(log.contains("TRACE") && log.contains(PRIVATE), "the log says little");
    said.push(("the log".to_owned(), log.into_bytes()));
    said.extend(files.into_iter().map(|file| (file.display().to_string(), std::fs::read(&file).unwrap())));

    let secrets = [ALICE, BOB, MIRROR, TOKEN, ADMIN, IN_QUERY, IN_TARGET, COOKIE, PROXY, WEBHOOK];
    for secret in secrets {
        for form in forms(secret) {
            let pattern = bstr::Finder::new(&form);
            for (what, bytes) in &said {
                let found = pattern.find(bytes).map(|at| {
                    String::from_utf8_lossy(&bytes[at.saturating_sub(80)..bytes.len().min(at + 120)]).into_owned()
                });
                assert!(found.is_none(), "{secret} as {:?} in {what}: {found:?}", String::from_utf8_lossy(&form));
            }
        }
    }
}
