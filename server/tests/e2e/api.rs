//! The admin API, field by field, with a thousand repositories and many readers; and `heliostat status`, which shows it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::git::Git;
use crate::support::heliostat::{Heliostat, PROGRAM};
use crate::support::http::{Answer, request};
use crate::support::process::{SERVER_TIMEOUT, free_port, hermetic, run, wait_until};
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;
use crate::support::site::Site;

const APP: &str = "team/app.git";
const REPOSITORIES: usize = 1_000;
const READERS: usize = 64;

fn document(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// `heliostat status`: its exit code and what it said.
fn status(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let finished = run(hermetic(PROGRAM, folder).arg("status").args(arguments).current_dir(folder), b"", folder);
    (finished.status.code().unwrap(), finished.text() + &finished.stderr)
}

#[test]
fn fields() {
    let mut site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join(APP));
    });
    let empty = document(&site.mirror().admin("GET", "/api/v1/repositories"));
    assert_eq!(empty, serde_json::json!({ "repositories": [], "next": null, "error": null }));
    site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));

    let node = document(&site.mirror().admin("GET", "/api/v1/node"));
    let (id, data) = (site.mirror().id(), site.mirror().data());
    assert_eq!((node["process"].as_u64(), node["upstream"].as_str()), (Some(id.into()), Some(&*site.apache.url())));
    assert_eq!(Path::new(node["data"].as_str().unwrap()), data.canonicalize().unwrap());
    assert_eq!((node["state"].as_str(), node["repositories"].as_u64()), (Some("SYNCHRONIZED"), Some(1)));
    assert!(node["shards"].as_u64() > Some(0) && node["uptime_seconds"].as_u64() < Some(600), "{node}");
    assert!(node["instance"].is_string() && node["version"].is_string(), "{node}");

    let page = document(&site.mirror().admin("GET", "/api/v1/repositories?limit=10"));
    let row = &page["repositories"][0];
    let stored = site.mirror().stored().remove(0);
    let theirs = site.upstream(APP).run(&["for-each-ref"]).lines().count();
    assert_eq!((row["repository"].as_str(), row["state"].as_str()), (Some(APP), Some("current")));
    assert_eq!(row["id"].as_str(), stored.parent().unwrap().file_name().unwrap().to_str());
    assert_eq!(row["refs"].as_u64(), Some(theirs as u64));
    assert!(row["generation"].as_str().unwrap().ends_with("-1"), "{row}");
    let packs = std::fs::read_dir(stored.join("objects/pack")).unwrap().map(|entry| entry.unwrap());
    let packs: Vec<_> = packs.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack")).collect();
    assert_eq!(row["packs"].as_u64(), Some(packs.len() as u64));
    let bytes: u64 = packs.iter().map(|pack| pack.metadata().unwrap().len()).sum();
    assert_eq!(row["pack_bytes"].as_u64(), Some(bytes));
    assert!(row["confirmed_seconds_ago"].as_f64().unwrap() < 600.0, "{row}");
    assert_eq!((&row["error"], &row["upstream_status"]), (&Value::Null, &Value::Null));

    // The same alone, by either spelling; and how it stands when the upstream refuses it.
    for spelling in ["team/app", APP] {
        let one = document(&site.mirror().admin("GET", &format!("/api/v1/repositories/{spelling}")));
        assert_eq!((&one["repository"], &one["id"]), (&row["repository"], &row["id"]), "{spelling}");
    }
    assert_eq!(site.mirror().admin("GET", "/api/v1/repositories/team/other.git").status, 404);
    site.apache.forbid(Some(APP));
    site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
    let one = document(&site.mirror().admin("GET", &format!("/api/v1/repositories/{APP}")));
    assert_eq!((one["state"].as_str(), one["upstream_status"].as_u64()), (Some("refused"), Some(403)), "{one}");

    let syncs = document(&site.mirror().admin("GET", "/api/v1/syncs"));
    assert_eq!(syncs, serde_json::json!({ "syncs": [], "next": null }));
    for (method, target, status) in [
        ("GET", "/api/v1/repositories?limit=0", 400),
        ("GET", "/api/v1/repositories?limit=1001", 400),
        ("GET", "/api/v1/repositories?after=../x", 400),
        ("GET", "/api/v1/syncs?nonsense", 400),
        ("GET", "/api/v1/repositories/../x", 404),
        ("POST", "/api/v1/repositories", 405),
        ("POST", "/api/v1/node", 405),
    ] {
        assert_eq!(site.mirror().admin(method, target).status, status, "{method} {target}");
    }
}

/// A folder with very many repositories is listed in pages, whoever and however many read it.
#[test]
fn a_thousand_repositories() {
    let sandbox = Sandbox::new();
    let git = Git::new(&sandbox);
    let upstream = sandbox.folder("upstream");
    let first = upstream.join("r0000.git");
    Upstream::empty(&git, &first).commit_on_nothing("main", &[("file.txt", "content\n")]);
    for number in 1..REPOSITORIES {
        copy(&first, &upstream.join(format!("r{number:04}.git")));
    }
    let node = Heliostat::start(&sandbox.folder("node"), &upstream.display().to_string(), &[]);
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = document(&node.admin("GET", &format!("/api/v1/repositories?listed&limit=300{after}")));
        let rows = page["repositories"].as_array().unwrap();
        assert!(rows.len() <= 300 && page["error"].is_null(), "{}", page["error"]);
        found.extend(rows.iter().map(|row| row["repository"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(found.last().map(String::as_str), Some(next));
        after = format!("&after={next}");
    }
    let expected: Vec<String> = (0..REPOSITORIES).map(|number| format!("r{number:04}.git")).collect();
    assert_eq!(found, expected);

    let held = node.memory_bytes();
    let port = node.admin_address().rsplit(':').next().unwrap().parse().unwrap();
    let statuses = std::thread::scope(|scope| {
        let reader = || {
            let answer = request("GET", port, "/api/v1/repositories?listed&limit=1000", &[], b"").unwrap();
            if answer.status == 200 {
                assert_eq!(document(&answer)["repositories"].as_array().unwrap().len(), REPOSITORIES);
            }
            answer.status
        };
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
        let mut statuses = BTreeMap::new();
        for reader in readers {
            *statuses.entry(reader.join().unwrap()).or_insert(0) += 1;
        }
        statuses
    });
    assert!(statuses[&200] > 0 && statuses.keys().all(|status| [200, 503].contains(status)), "{statuses:?}");
    // Sixteen answers of half a megabyte, and what mirroring takes meanwhile.
    let grown = node.memory_bytes().saturating_sub(held);
    assert!(grown < 128 << 20, "{grown} bytes");
    assert_eq!(node.admin("GET", "/status").status, 200);

    let (code, said) = status(sandbox.path(), &["--admin-listen", &node.admin_address()]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("node      ") && said.contains(&upstream.display().to_string()), "{said}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() && entry.file_name() != "hooks" => copy(&entry.path(), &target),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), target).unwrap()),
            _ => {}
        }
    }
}

/// The node in a terminal; without a node what lies in the data directory; and words where there is neither.
#[test]
fn status_in_a_terminal() {
    let mut site = Site::start(|git, folder| {
        Upstream::rich(git, &folder.join(APP));
    });
    site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/sync"));
    let (admin, data) = (site.mirror().admin_address(), site.mirror().data().display().to_string());
    let refs = site.upstream(APP).run(&["for-each-ref"]).lines().count();
    let folder = site.sandbox.folder("elsewhere");
    for arguments in [&["--admin-listen", admin.as_str()][..], &["--admin-listen", &admin, "--data", &data]] {
        let (code, said) = status(&folder, arguments);
        assert_eq!(code, 0, "{said}");
        for words in ["SYNCHRONIZED", &admin, &data, &site.apache.url(), &format!("process {}", site.mirror().id())] {
            assert!(said.contains(words), "{words} in {said}");
        }
        let line = said.lines().find(|line| line.contains(APP)).unwrap_or_else(|| panic!("{said}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words[0] == "current" && words.contains(&refs.to_string().as_str()), "{line}");
    }
    // A node that is at work says so.
    site.apache.freeze();
    std::thread::scope(|scope| {
        let port: u16 = admin.rsplit(':').next().unwrap().parse().unwrap();
        scope.spawn(move || request("POST", port, &format!("/api/v1/repositories/{APP}/sync"), &[], b""));
        let mut said = String::new();
        wait_until("the sync shows", SERVER_TIMEOUT, || {
            said = status(&folder, &["--admin-listen", &admin]).1;
            said.contains(&format!("{APP}: asking the upstream"))
        });
        site.apache.thaw();
    });

    assert!(site.mirror().stop().success());
    let (code, said) = status(&folder, &["--admin-listen", &admin, "--data", &data]);
    assert!(
        code == 0 && said.contains("none runs") && said.contains(APP) && said.contains(&refs.to_string()),
        "{said}"
    );
    let nobody = format!("127.0.0.1:{}", free_port());
    let (code, said) = status(&folder, &["--admin-listen", &nobody]);
    assert!(code == 1 && said.contains("no node answers") && said.contains("heliostat-data"), "{code} {said}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "a data directory was made");
}
