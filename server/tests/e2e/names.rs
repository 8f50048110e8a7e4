//! What a request names: the host that it thinks it speaks to, and the repository that it means.

use std::path::Path;

use crate::support::apache::Apache;
use crate::support::compare::Report;
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::http::raw;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

/// A host that no answer may name.
const EVIL: &str = "evil.example";

/// An answer without its date.
fn undated(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n")
}

/// A push or a request for a large file is told where to go by the configuration and the path alone: the answer is the same
/// to the byte, whatever the request says of hosts, and of the same kind whether there is such a repository or not.
#[test]
fn no_answer_to_a_push_names_the_callers_host() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    Upstream::rich(&git, &folder.join("team/app.git"));
    let mut report = Report::default();
    for (kind, upstream) in [("git", "https://git.example.com:8443/base"), ("directory", &folder.display().to_string())]
    {
        let server = Heliostat::start(&sandbox.folder(&format!("heliostat-{kind}")), upstream, &[]);
        let ask = |method: &str, target: &str, lines: &str| {
            let request =
                format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n{lines}\r\n");
            let answer = raw(server.port(), request.as_bytes()).unwrap();
            undated(&format!("{}\n\n{}", answer.head, answer.text()))
        };
        for (method, service, sent, folder) in [
            ("GET", "info/refs?service=git-receive-pack", 307, 403),
            ("POST", "git-receive-pack", 403, 403),
            ("POST", "info/lfs/objects/batch", 307, 501),
            ("GET", "info/lfs/locks?path=a%26b&limit=1", 307, 501),
            ("PUT", "info/lfs/locks/7", 307, 501),
        ] {
            let own = "Host: mirror.example\r\n";
            for path in ["team/app.git", "team/absent.git"] {
                let target = format!("/{path}/{service}");
                let honest = ask(method, &target, own);
                let says_where = match kind {
                    "directory" => honest.starts_with(&format!("HTTP/1.1 {folder} ")) && honest.contains("a folder"),
                    _ => {
                        let location = format!("\nLocation: {upstream}/{path}/{service}\n");
                        honest.starts_with(&format!("HTTP/1.1 {sent} "))
                            && honest.ends_with(&format!(" {upstream}/{path}"))
                            && honest.contains(&location) == (sent == 307)
                    }
                };
                report.case(
                    &format!("{method} {target} in honesty, {upstream}"),
                    if says_where { Ok(()) } else { Err(honest.clone()) },
                );
                for (target, lines) in [
                    (target.clone(), format!("Host: {EVIL}\r\n")),
                    (target.clone(), format!("Host: {EVIL}:443\r\n")),
                    (target.clone(), format!("Host: user:secret@{EVIL}\r\n")),
                    (target.clone(), format!("Host: mirror.example/{EVIL}\r\n")),
                    (target.clone(), "Host: \r\n".into()),
                    (target.clone(), format!("{own}X-Forwarded-Host: {EVIL}\r\nX-Forwarded-Proto: https\r\n")),
                    (target.clone(), format!("{own}X-Forwarded-Proto: {EVIL}://x\r\nX-Forwarded-Prefix: //{EVIL}\r\n")),
                    (target.clone(), format!("{own}Forwarded: for=1.2.3.4;host={EVIL};proto=https\r\n")),
                    (target.clone(), format!("{own}X-Original-URL: //{EVIL}/\r\nX-Rewrite-URL: http://{EVIL}/\r\n")),
                    (target.clone(), format!("{own}X-Host: {EVIL}\r\nX-Forwarded-Server: {EVIL}\r\n")),
                    (target.clone(), format!("{own}Referer: http://{EVIL}/\r\nOrigin: http://{EVIL}\r\n")),
                    (format!("http://{EVIL}{target}"), own.into()),
                    (format!("https://{EVIL}:8443{target}"), format!("Host: {EVIL}\r\n")),
                    (format!("http://user@{EVIL}{target}"), own.into()),
                ] {
                    let answer = ask(method, &target, &lines);
                    let same = answer == honest;
                    report.case(&format!("{method} {target} {lines:?}"), if same { Ok(()) } else { Err(answer) });
                }
                // What is no path here is unknown, in words that repeat nothing of it.
                for target in [
                    format!("//{EVIL}{target}"),
                    format!("/\\{EVIL}{target}"),
                    format!("/%2f%2f{EVIL}{target}"),
                    format!("/%5c{EVIL}{target}"),
                    format!("/team/%0d%0aLocation:%20http:%2f%2f{EVIL}{target}"),
                    format!("/./{EVIL}{target}"),
                    format!("{EVIL}{target}"),
                    format!("ftp://{EVIL}{target}"),
                ] {
                    let answer = ask(method, &target, own);
                    let refused = answer.starts_with("HTTP/1.1 40") && !answer.contains(EVIL);
                    report.case(&format!("{method} {target}"), if refused { Ok(()) } else { Err(answer) });
                }
            }
        }
        // Git's own client, which believes what it is told.
        let clone = sandbox.fresh("clone");
        git.text(&folder, &["clone", "--quiet", "--bare", "team/app.git", &clone.display().to_string()]);
        let (header, to) = (format!("http.extraHeader=Host: {EVIL}"), format!("{}/team/app.git", server.url()));
        let push = git.run(&clone, &["-c", &header, "push", &to, "main:refs/heads/pushed"]);
        let words = if kind == "directory" { "403" } else { "git.example.com" };
        let refused = !push.status.success() && push.stderr.contains(words) && !push.stderr.contains(EVIL);
        report.case("git push", if refused { Ok(()) } else { Err(push.stderr) });
        assert!(!server.log().contains("panicked"), "{}", server.log());
    }
    report.finish();
}

/// Names that some file system, some host or some eye takes for one another.
const ALIKE: &[&str] = &[
    "team/app.git",
    "team/App.git",
    "Team/app.git",
    // One letter, or a letter and an accent (NFC, NFD); and a Kelvin sign that is a K in either.
    "team/caf\u{e9}.git",
    "team/cafe\u{301}.git",
    "team/k.git",
    "team/\u{212a}.git",
    "team/fish.git",
    "team/\u{fb01}sh.git",
    "team/strasse.git",
    "team/stra\u{df}e.git",
    "team/tail.git",
    "team/tail.git.",
    "team/tail.git ",
    "team/tail .git",
    "team/tail..git",
    // As it stands, and as it stands encoded.
    "team/aA.git",
    "team/a%41.git",
    "team/a+b.git",
    "team/a b.git",
];

/// What is like one of these, and is none of them.
const ABSENT: &[&str] = &[
    "TEAM/APP.git",
    "team/APP.git",
    "team/app.GIT",
    "team/CAF\u{c9}.git",
    "team/cafe.git",
    "team/K.git",
    "team/FISH.git",
    "team/STRASSE.git",
    "team/stra\u{1e9e}e.git",
    "team/tail.git..",
    "team/tail.git. ",
    "team/tail.git\u{a0}",
    "team /app.git",
    "team./app.git",
    "team/a%2541.git",
    "team/a%2Bb.git",
];

/// As a URL has it, each byte encoded that may be, so that nothing is left to a client's own rules.
fn encoded(path: &str) -> String {
    let byte = |byte: u8| match byte {
        b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(byte).collect()
}

/// The tip of `path` at each of them is a commit that no other has.
fn make_alike(git: &Git, folder: &Path) {
    for path in ALIKE {
        let upstream = Upstream::empty(git, &folder.join(path));
        upstream.commit_on_nothing("main", &[("name.txt", &format!("{path}\n"))]);
    }
}

/// Each is mirrored as one of its own, by whatever kind of upstream, also after a restart; what is like them is not here.
#[test]
fn names_that_are_alike_are_different_repositories() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let folder = sandbox.folder("upstream");
    make_alike(&git, &folder);
    let apache = Apache::start(&sandbox.folder("apache"), &folder, &git);
    for (kind, upstream) in [("directory", folder.display().to_string()), ("git", apache.url())] {
        let mut server = Heliostat::start(&sandbox.folder(&format!("heliostat-{kind}")), &upstream, &[]);
        let mut report = Report::default();
        for round in ["first", "after a restart"] {
            if round != "first" {
                assert!(server.stop().success());
                server.start_again();
            }
            let references = |path: &str| format!("/{}/info/refs?service=git-upload-pack", encoded(path));
            for path in ALIKE {
                let main = git.text(&folder.join(path), &["rev-parse", "main"]);
                let got = if round == "first" {
                    Ok(server.get(&references(path)).text())
                } else {
                    let (clone, url) = (sandbox.fresh("clone"), format!("{}/{}", server.url(), encoded(path)));
                    git.try_text(sandbox.path(), &["clone", "--quiet", "--bare", &url, &clone.display().to_string()])
                        .and_then(|_| {
                            git.try_text(&clone, &["show", "--no-patch", "--format=%H refs/heads/main", "main"])
                        })
                };
                let own = got.as_ref().is_ok_and(|text| text.contains(&format!("{main} refs/heads/main")));
                report.case(&format!("{kind}, {path:?}, {round}"), if own { Ok(()) } else { Err(format!("{got:?}")) });
            }
            for path in ABSENT {
                let answer = server.get(&references(path));
                let absent = answer.status == 404 && answer.body.is_empty();
                let name = format!("{kind}, {path:?} is not here, {round}");
                report.case(&name, if absent { Ok(()) } else { Err(format!("{answer:?}")) });
            }
        }
        report.finish();
        let mut stored: Vec<String> = server
            .stored()
            .iter()
            .map(|current| std::fs::read_to_string(current.with_file_name("path")).unwrap())
            .collect();
        stored.sort_unstable();
        let mut expected = ALIKE.to_vec();
        expected.sort_unstable();
        assert_eq!(stored, expected);
    }
}
