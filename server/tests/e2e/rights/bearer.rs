//! Tokens: an upstream that checks `Authorization: Bearer`, one that offers nothing that can be passed on, and the mirror's own
//! token.

use super::*;
use crate::support::compare::sound_and_same;

const TOKEN: &str = "glpat-CANARY-token.1_x~y+z/w==";
const OTHER: &str = "glpat-CANARY-token.2";

/// Whoever comes without one of the tokens hears 401 and `challenge`.
fn checks(tokens: &[&str], challenge: &str) -> String {
    let conditions: String = tokens
        .iter()
        .map(|token| format!("RewriteCond expr \"%{{HTTP:Authorization}} != 'Bearer {token}'\"\n"))
        .collect();
    format!(
        "<LocationMatch \"^/team/private(\\.git)?/\">\nRewriteEngine On\n{conditions}RewriteRule ^ - [R=401,L]\n\
         Header always set WWW-Authenticate \"{challenge}\" \"expr=%{{REQUEST_STATUS}} == 401\"\n</LocationMatch>\n"
    )
}

fn house(challenge: &str) -> House {
    let mut house = House::start_with(false, "", "info", |sandbox| {
        let secrets = sandbox.join("secrets");
        std::fs::create_dir_all(&secrets).unwrap();
        let file = secrets.join("token");
        std::fs::write(&file, format!("{OTHER}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("credentials = {file:?}\n")
    });
    house.apache.configure(&["rewrite", "headers"], &checks(&[TOKEN, OTHER], challenge));
    house
}

#[test]
fn a_token_is_replayed() {
    let house = house("Bearer realm=\\\"git\\\", error=\\\"invalid_token\\\"");
    let get = |authorization: Option<&str>| {
        house.ask("GET", &format!("/{PRIVATE}/info/refs?service=git-upload-pack"), 2, authorization, "")
    };
    let answer = get(None);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"git\", error=\"invalid_token\""));
    assert_eq!(get(Some("Bearer wrong")).status, 401);
    assert_eq!(get(Some(&format!("Bearer {TOKEN}x"))).status, 401);
    assert_eq!(get(Some(&format!("bearer {TOKEN}"))).status, 200);
    let header = format!("http.extraHeader=Authorization: Bearer {TOKEN}");
    let clone = house.clone(&house.url(PRIVATE, None), &[&header]).unwrap();
    let upstream = house.clone(&format!("{}/{PRIVATE}", house.apache.url()), &[&header]).unwrap();
    sound_and_same(&house.git, &clone, &upstream).unwrap();
}

#[test]
fn an_upstream_that_wants_what_cannot_be_passed_on() {
    let house = house("Negotiate");
    let answer = house.get(PRIVATE, None);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, None), "{answer:?}");
    assert!(answer.text().contains("of no kind that this mirror can pass on"), "{answer:?}");
    // What is no Basic and no Bearer is not shown to anybody: it counts as nothing.
    let target = format!("/{PRIVATE}/info/refs?service=git-upload-pack");
    for line in ["Negotiate YIICANARY", "Digest username=\"alice\", response=\"CANARY\""] {
        assert_eq!(house.ask("GET", &target, 2, Some(line), "").status, 401);
        assert_eq!(house.ask("GET", &target.replace("private", "public"), 2, Some(line), "").status, 200);
    }
}
