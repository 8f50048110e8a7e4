//! Paths that want to lead elsewhere: answered with the very bytes of a repository that does not exist.

use crate::support::{Server, status};

#[test]
fn traversal_is_unknown() {
    let server = Server::start();
    // Something worth reading beside the upstream folder.
    crate::support::repository(&server.folder.path().join("secret.git"));
    let body_of = |path: &str| {
        let text = server.exchange(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status(&text), body)
    };
    let refs = "/info/refs?service=git-upload-pack";
    let unknown = body_of(&format!("/team/unknown.git{refs}"));
    assert_eq!(unknown.0, 404);
    let long = "a/".repeat(1_000);
    for path in [
        "../secret.git",
        "team/../../secret.git",
        "%2e%2e/secret.git",
        "team/%2E./%2e%2e/secret.git",
        "..%2fsecret.git",
        "%252e%252e/secret.git",
        "..%c0%afsecret.git",
        "team//app.git",
        "/team/app.git",
        "./team/app.git",
        "team/./app.git",
        "team\\app.git",
        "team%5capp.git",
        "team%2fapp.git",
        "team/app.git%00",
        "team/app.git%00/../../secret.git",
        "team/app.git%0d%0aX:%20y",
        "team/app.git%20",
        "~/app.git",
        "~root/app.git",
        "-uapp.git",
        "--upload-pack=id",
        "team/app.git/.",
        "team/app.git/",
        "team/app.git/objects",
        "team/%",
        "team/%g0",
        "team/%ff",
        "",
        ".git",
        ".",
        &long,
    ] {
        assert_eq!(body_of(&format!("/{path}{refs}")), unknown, "{path:.60}");
    }
    // Absolute form names this server, whatever host it says; it is no proxy.
    assert_eq!(body_of(&format!("http://elsewhere/team/unknown.git{refs}")), unknown);
    assert_eq!(body_of(&format!("http://elsewhere/team/app.git{refs}")).0, 200);
    server.lives_on();
}

/// Nothing of a repository but the smart protocol, whether or not there is such a repository or file.
#[test]
fn files_are_not_served() {
    let server = Server::start();
    for repository in ["team/app.git", "team/unknown.git"] {
        for file in [
            "HEAD",
            "config",
            "description",
            "packed-refs",
            "info/refs",
            "objects/info/packs",
            "objects/info/alternates",
            "objects/info/http-alternates",
            "objects/pack/pack-0123456789012345678901234567890123456789.pack",
            "objects/01/23456789012345678901234567890123456789",
            "refs/heads/main",
            "logs/HEAD",
            "hooks/post-update",
        ] {
            let text =
                server.exchange(format!("GET /{repository}/{file} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
            assert_eq!(status(&text), 403, "{repository}/{file}: {text}");
        }
    }
    server.lives_on();
}

/// What a request says can't write lines into the log or change how it looks.
#[test]
fn the_log_is_not_written_by_clients() {
    let server = Server::start();
    let refs = "/info/refs?service=git-upload-pack";
    for path in ["a%0aERROR%20forged", "a%1b%5b31mred", "a%E2%80%AEgnp"] {
        server.exchange(format!("GET /{path}{refs} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    }
    let log = server.log();
    assert!(!log.contains("forged") && !log.contains('\x1b') && !log.contains('\u{202e}'), "{log}");
    server.lives_on();
}
