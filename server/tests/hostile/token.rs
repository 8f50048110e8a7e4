//! The admin token on the wire: who has it, who has not, and that it is in no log line.

use crate::support::{Peer, Server, forget_environment, git, repository, status};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};
use tempfile::TempDir;

const TOKEN: &str = "correct-horse-battery-staple";
const WRONG: &str = "correct-horse-battery-stapler";
const SYNC: &str = "/api/v1/repositories/team/app.git/sync";

/// A server with a token, which logs all that it can log.
fn server() -> Server {
    let folder = TempDir::new().unwrap();
    repository(&folder.path().join("upstream/team/app.git"));
    let config = folder.path().join("heliostat.toml");
    fs::write(&config, format!("[admin]\ntoken = \"{TOKEN}\"\n")).unwrap();
    Server::on(folder, &[], &["--config", &config.display().to_string(), "--log", "trace"])
}

/// One request to the admin port, with `authorization` if it is not empty.
fn ask(server: &Server, method: &str, target: &str, authorization: &str) -> String {
    let line = if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
    let mut peer = Peer::connect(server.admin);
    peer.send(format!("{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{line}\r\n"));
    peer.read_to_end()
}

#[test]
fn only_who_has_it_is_let_in() {
    let mut server = server();
    let right = format!("Bearer {TOKEN}");
    let wrong = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Bearer {WRONG}"),
        format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Bearer {TOKEN}, Bearer {TOKEN}"),
        format!("Basic {TOKEN}"),
        // The same in the form of a user's password, `:TOKEN`.
        "Basic OmNvcnJlY3QtaG9yc2UtYmF0dGVyeS1zdGFwbGU=".into(),
        TOKEN.into(),
    ];
    for authorization in &wrong {
        // What exists and what does not look the same to who may not know.
        for (method, target) in [("POST", SYNC), ("GET", SYNC), ("GET", "/nothing"), ("GET", "/")] {
            let text = ask(&server, method, target, authorization);
            assert_eq!(status(&text), 401, "{authorization:?} {method} {target}: {text}");
            assert!(text.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{text}");
        }
        let text = ask(&server, "GET", "/status", authorization);
        assert_eq!(status(&text), 200, "{authorization:?}: {text}");
    }
    let text = ask(&server, "POST", SYNC, &right);
    assert!(status(&text) == 200 && text.contains("\"outcome\":\"current\""), "{text}");
    assert_eq!(status(&ask(&server, "POST", SYNC, &format!("bearer {TOKEN}"))), 200, "a scheme has no case");
    assert_eq!(status(&ask(&server, "GET", SYNC, &right)), 405);
    assert_eq!(status(&ask(&server, "GET", "/nothing", &right)), 404);
    // It opens nothing on the main port, and is not asked for there.
    let text = server.exchange(format!(
        "POST {SYNC} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: {right}\r\nContent-Length: 0\r\n\r\n"
    ));
    assert_eq!(status(&text), 404, "{text}");
    assert!(server.clone("clone").status().unwrap().success());

    server.lives_on();
    // Its end is when all that it logged is written.
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait(Duration::from_secs(20)).is_some_and(|status| status.success()));
    let log = server.log();
    assert!(log.contains("operation=\"admin\" status=401") && log.contains("TRACE"), "the log says little");
    for secret in [&TOKEN[1..], &TOKEN.to_uppercase()[1..], "OmNvcnJlY3Qt"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// `heliostat sync` beside a running node, with the configuration `text`.
fn sync(server: &Server, text: &str) -> Output {
    let config: PathBuf = server.folder.path().join("sync.toml");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(crate::support::PROGRAM);
    command.args(["sync", "team/app.git", "--config"]).arg(&config);
    command.arg("--upstream").arg(server.folder.path().join("upstream"));
    command.arg("--data").arg(server.folder.path().join("data"));
    command.args(["--admin-listen", &server.admin.to_string()]);
    forget_environment(&mut command);
    command.output().unwrap()
}

#[test]
fn the_command_line_takes_it_from_the_configuration() {
    let server = server();
    let output = sync(&server, &format!("[admin]\ntoken = \"{TOKEN}\"\n"));
    let said = |output: &Output| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("team/app.git: current, generation 1"), "{}", said(&output));
    for text in [String::new(), format!("[admin]\ntoken = \"{WRONG}\"\n")] {
        let output = sync(&server, &text);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("wants its admin token"), "{}", said(&output));
        assert!(!said(&output).contains(WRONG));
    }
    let head = git(server.folder.path()).args(["ls-remote", &server.url(), "HEAD"]).output().unwrap();
    assert!(head.status.success());
    server.lives_on();
}
