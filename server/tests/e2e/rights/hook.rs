//! A service that judges, in front of which callers are brought with the body of Bitbucket's `authenticate`.

use super::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Answers each question by `judge`, on a thread for each connection, and keeps what it was asked.
struct Service {
    port: u16,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Service {
    fn start(judge: fn(&Value) -> (u16, String)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let seen = asked.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(stream, judge, &seen));
            }
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/rest/authenticate", self.port)
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, judge: fn(&Value) -> (u16, String), seen: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
        if line == "\r\n" {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let question: Value = serde_json::from_slice(&body).unwrap();
            let (status, text) = judge(&question);
            seen.lock().unwrap().push((std::mem::take(&mut head), question));
            let length = text.len();
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{text}");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        } else {
            head += &line;
        }
        line.clear();
    }
}

/// alice reads everything, bob is known, a token reads one repository.
fn judge(question: &Value) -> (u16, String) {
    let (credentials, repository) = (&question["credentials"], question["repository"].as_str().unwrap());
    let known = |permissions: Value| (200, json!({ "active": true, "effectivePermissions": permissions }).to_string());
    if credentials["username"] == "alice" && credentials["password"] == "alices-CANARY-pass-1" {
        known(json!(["REPO_READ"]))
    } else if credentials["username"] == "bob" {
        known(json!(["LICENSED_USER"]))
    } else if credentials["username"] == "broken" {
        (500, String::new())
    } else if credentials["token"] == "tok" && repository == PUBLIC {
        known(json!(["REPO_WRITE"]))
    } else {
        (401, "{}".into())
    }
}

#[test]
fn a_service_judges_for_an_upstream_over_http() {
    let service = Service::start(judge);
    let url = service.url();
    let house = House::start_with(true, "", "info", |_| format!("hook = \"{url}\"\n"));
    let bearer = |path: &str| {
        house.ask("GET", &format!("/{path}/info/refs?service=git-upload-pack"), 2, Some("Bearer tok"), "").status
    };
    assert_eq!(house.statuses(PRIVATE, Some(ALICE)), [200; 5]);
    assert_eq!(house.statuses(PRIVATE, Some(BOB)), [403; 5], "the upstream would let bob in, the service does not");
    assert_eq!(house.statuses(PRIVATE, Some("mallory:x")), [401; 5]);
    assert_eq!((bearer(PUBLIC), bearer(PRIVATE)), (200, 401));
    assert_eq!(house.get(PRIVATE, Some("broken:x")).status, 503, "what it does not decide is an outage");
    // Without credentials the upstream is asked.
    assert_eq!(house.statuses(PUBLIC, None), [200; 5]);
    assert_eq!(house.statuses(PRIVATE, None), [401; 5]);
    house.clone(&house.url(PRIVATE, Some(ALICE)), &[]).unwrap();
    for (head, question) in service.asked() {
        assert!(head.starts_with("POST /rest/authenticate HTTP/1.1\r\n"), "{head}");
        assert!(!head.to_lowercase().contains("authorization"), "the mirror's own is not for another host: {head}");
        assert_eq!(question["action"], "read");
    }
}

#[test]
fn a_service_judges_for_a_folder() {
    let service = Service::start(judge);
    let house = House::start(false, "");
    let config = house.sandbox.path().join("folder.toml");
    std::fs::write(&config, format!("[upstream]\nhook = \"{}\"\n[auth]\nttl = \"1h\"\n", service.url())).unwrap();
    let folder = house.sandbox.path().join("upstream").display().to_string();
    let flags = ["--config", &config.display().to_string()];
    let mirror = Heliostat::start(&house.sandbox.folder("of-the-folder"), &folder, &flags);
    let house = House { mirror, ..house };
    let anonymous = house.get(PUBLIC, None);
    assert_eq!(anonymous.status, 401, "{anonymous:?}");
    assert!(anonymous.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")), "{anonymous:?}");
    assert_eq!(house.statuses(PRIVATE, Some(ALICE)), [200; 5]);
    assert_eq!(house.statuses("team/private", Some(BOB)), [403; 5]);
    assert_eq!(house.get("team/none.git", Some(ALICE)).status, 404);
    house.clone(&house.url(PRIVATE, Some(ALICE)), &[]).unwrap();
    assert!(house.clone(&house.url(PRIVATE, None), &[]).is_err());
}
