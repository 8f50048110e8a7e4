//! An upstream over TLS, by the word of an authority of its own: credentials travel to it, the mirror's and those of callers, and
//! to nobody who takes its place. A service that judges is believed by the same word, also where the mirror is of a folder.

use super::*;
use crate::support::authority::{Authority, Valid};
use crate::support::process::wait_until;
use std::time::{Duration, Instant};

const HERE: &[&str] = &["127.0.0.1"];

fn trusting(folder: &Path, authority: &Authority) -> String {
    let file = folder.join("ca.pem");
    std::fs::write(&file, &authority.certificate).unwrap();
    format!("ca = {file:?}\n")
}

#[test]
fn credentials_travel_to_the_upstream_alone() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let upstream = ours.certify(HERE, Valid::Now);
    let config = "[auth]\nttl = \"1s\"\nnegative_ttl = \"0s\"\n";
    let mut house = House::start_as(Some(&upstream), true, config, "info", |folder| trusting(folder, &ours));
    for (path, user, status) in [
        (PUBLIC, None, 200),
        (PRIVATE, None, 401),
        (PRIVATE, Some(ALICE), 200),
        (PRIVATE, Some("alice:wrong"), 401),
        (ALICES, Some(ALICE), 200),
        (ALICES, Some(BOB), 403),
        (POSTED, Some(BOB), 200),
        (HERS, Some(ALICE), 403),
    ] {
        assert_eq!(house.statuses(path, user), [status; 5], "{path} {user:?}");
    }
    house.clone(&house.url(PRIVATE, Some(ALICE)), &[]).unwrap();

    // Another host at its address: nothing is said to it, and nobody is let in, or told that the password is wrong.
    house.apache.become_another(Some(&theirs.certify(HERE, Valid::Now)));
    let (began, seen) = (Instant::now(), house.apache.requests().len());
    wait_until("the rights have ended", Duration::from_secs(30), || began.elapsed() > Duration::from_secs(1));
    for (path, user) in [(PRIVATE, Some(ALICE)), (PRIVATE, Some(BOB)), ("team/new.git", Some(ALICE))] {
        let answer = house.get(path, user);
        assert_eq!((answer.status, answer.header("www-authenticate")), (503, None), "{path} {user:?}: {answer:?}");
    }
    assert_eq!(house.apache.requests().len(), seen, "{:?}", house.apache.requests());

    house.apache.become_another(Some(&upstream));
    wait_until("it heals", Duration::from_secs(60), || house.get(PRIVATE, Some(ALICE)).status == 200);
}

/// The service is a page of an Apache over TLS that grants whatever it is asked.
#[test]
fn a_hook_by_the_word_of_an_authority_of_its_own() {
    const GRANT: &str = "{\"active\": true, \"effectivePermissions\": [\"REPO_READ\"]}";
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let repositories = sandbox.folder("upstream");
    Upstream::rich(&git, &repositories.join("team/app.git"));
    let folder = sandbox.folder("apache");
    let identity = ours.certify(HERE, Valid::Now);
    let mut service = Apache::start_as(&folder, &sandbox.folder("nothing"), &git, Some(&identity));
    std::fs::write(folder.join("grant.json"), GRANT).unwrap();
    // A CGI program, since a file is not there to be posted to.
    let program = folder.join("judge");
    std::fs::write(
        &program,
        format!(
            "#!/bin/sh\ncat >/dev/null\nprintf 'Content-Type: application/json\\r\\n\\r\\n'\ncat {}\n",
            folder.join("grant.json").display()
        ),
    )
    .unwrap();
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    service.configure(&[], &format!("ScriptAlias /judge {}\n", program.display()));
    let start = |name: &str, ca: &str| {
        let folder = sandbox.folder(name);
        let config = folder.join("heliostat.toml");
        std::fs::write(&config, format!("[upstream]\nhook = \"{}/judge\"\n{ca}", service.url())).unwrap();
        Heliostat::start(&folder, &repositories.display().to_string(), &["--config", &config.display().to_string()])
    };
    let status = |mirror: &Heliostat, user: Option<&str>| {
        let authorization = user.map(basic);
        let headers: Vec<_> = authorization.iter().map(|line| ("Authorization", line.as_str())).collect();
        let target = "/team/app.git/info/refs?service=git-upload-pack";
        request("GET", mirror.port(), target, &headers, b"").unwrap().status
    };
    let believing = start("believing", &trusting(sandbox.path(), &ours));
    assert_eq!((status(&believing, Some(ALICE)), status(&believing, None)), (200, 401));
    let asked = service.requests().len();
    assert!(asked > 0, "the service was asked");
    for (name, ca) in [("public", String::new()), ("others", trusting(&sandbox.folder("others-ca"), &theirs))] {
        assert_eq!(status(&start(name, &ca), Some(ALICE)), 503, "{name}");
    }
    assert_eq!(service.requests().len(), asked, "who is not believed hears nothing");
}
