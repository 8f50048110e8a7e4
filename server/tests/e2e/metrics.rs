//! `/metrics`: well formed at every moment, and true of what clients and the upstream have seen.

use std::collections::BTreeSet;

use crate::support::exposition::{Samples, read, sum};
use crate::support::git::{Git, Which};
use crate::support::repositories::Upstream;
use crate::support::site::Site;

const APP: &str = "team/app.git";
const CLONES: usize = 6;

fn site() -> Site {
    Site::start(|git, folder| {
        Upstream::rich(git, &folder.join(APP));
    })
}

fn scrape(site: &mut Site) -> Samples {
    let answer = site.mirror().admin("GET", "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    read(&answer.text()).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// Nothing that only goes up has gone down.
fn ascends(before: &Samples, after: &Samples) {
    for (key, value) in before {
        let name = key.split('{').next().expect("a name");
        if ["_total", "_bucket", "_sum", "_count"].iter().any(|suffix| name.ends_with(suffix)) {
            assert!(after.get(key).is_some_and(|later| later >= value), "{key} was {value}: {:?}", after.get(key));
        }
    }
}

/// Clones run, the figures are read meanwhile, and at the end they are what was done.
#[test]
fn figures_are_what_clients_and_the_upstream_saw() {
    let mut site = site();
    let first = scrape(&mut site);
    assert_eq!(sum(&first, "heliostat_requests_total", "operation=\"fetch\""), 0.0);
    let (url, missing) = (site.mirror_url(APP), site.mirror_url("team/no-such.git"));
    let targets: Vec<_> = (0..CLONES).map(|_| site.sandbox.fresh("clone")).collect();
    let git = Git::client(&site.sandbox, Which::Machine, 2);
    let scrapes = std::thread::scope(|scope| {
        let clones: Vec<_> = targets
            .iter()
            .map(|target| {
                let (git, url) = (&git, &url);
                let folder = site.sandbox.path().to_owned();
                scope.spawn(move || {
                    git.text(&folder, &["clone", "--quiet", "--bare", url, &target.display().to_string()]);
                })
            })
            .collect();
        let (mut last, mut scrapes) = (first.clone(), 0);
        while clones.iter().any(|clone| !clone.is_finished()) || scrapes == 0 {
            let now = scrape(&mut site);
            ascends(&last, &now);
            (last, scrapes) = (now, scrapes + 1);
        }
        scrapes
    });
    let target = site.sandbox.fresh("clone").display().to_string();
    assert!(git.try_text(site.sandbox.path(), &["clone", "--quiet", "--bare", &missing, &target]).is_err());

    let after = scrape(&mut site);
    let count = |name: &str, label: &str| sum(&after, name, label) as usize;
    for operation in ["info/refs", "ls-refs", "fetch"] {
        let ended = format!("operation=\"{operation}\",status=\"200\"");
        assert_eq!(count("heliostat_requests_total", &ended), CLONES, "{operation}");
    }
    assert_eq!(count("heliostat_requests_total", "status=\"404\""), 1);
    assert_eq!(count("heliostat_requests_total", "operation=\"metrics\""), scrapes + 1, "the last is under way");
    assert_eq!(count("heliostat_requests_cut_total", ""), 0);
    assert_eq!(count("heliostat_request_duration_seconds_count", "operation=\"fetch\""), CLONES);
    let planned = |result: &str| count("heliostat_plans_total", &format!("result=\"{result}\""));
    assert_eq!(planned("made") + planned("shared") + planned("hit"), CLONES);
    assert_eq!((planned("failed"), planned("given up")), (0, 0));
    let cached = |cache: &str| count("heliostat_cache_total", &format!("cache=\"{cache}\""));
    assert_eq!((cached("shared"), cached("hit")), (planned("shared"), planned("hit")));
    // All order the same, so the second has it kept, whether it comes meanwhile or later.
    assert_eq!(count("heliostat_kept_plans", ""), 1);
    assert!(count("heliostat_kept_plan_bytes", "") > 0 && count("heliostat_kept_plans_evicted_total", "") == 0);
    assert_eq!(cached("miss"), planned("made") + 2 * CLONES, "answers from references are made each time");
    assert_eq!(count("heliostat_plan_wait_seconds_count", ""), CLONES);
    // Each clone holds every object that a branch, a tag or HEAD reaches.
    let theirs = site.upstream(APP);
    let objects = theirs.run(&["rev-list", "--objects", "--branches", "--tags", "HEAD"]).lines().count();
    assert_eq!(count("heliostat_plan_objects_total", ""), planned("made") * objects);
    assert!(count("heliostat_plan_objects_copied_total", "") > 0);
    assert!(count("heliostat_sent_bytes_total", "operation=\"fetch\"") >= count("heliostat_plan_bytes_total", ""));
    assert_eq!(count("heliostat_connections_refused_total", ""), 0);
    assert!(count("heliostat_connections_total", "port=\"main\"") > CLONES);

    assert_eq!(count("heliostat_repositories", "state=\"current\""), 1);
    assert_eq!(count("heliostat_repositories", ""), 1);
    assert_eq!(count("heliostat_syncs_total", "outcome=\"done\""), 1);
    assert!(count("heliostat_rights_requests_total", "") >= 3, "of the two repositories");
    assert_eq!(
        count("heliostat_upstream_requests_total", "") + count("heliostat_rights_requests_total", ""),
        site.apache.requests().len(),
        "as the upstream's log says"
    );
    assert!(count("heliostat_upstream_received_bytes_total", "") >= count("heliostat_store_pack_bytes", ""));
    assert!(after["heliostat_oldest_confirmation_seconds{}"] < 120.0);

    let id = site.mirror().id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count() as f64;
    assert!((after["process_open_fds{}"] - open).abs() < 20.0, "{open}");
    let anonymous = site.mirror().memory_bytes() as f64;
    assert!((after["heliostat_anonymous_memory_bytes{}"] / anonymous - 1.0).abs() < 0.5, "{anonymous}");
}

/// Nothing that a client chooses shows, and asking for more makes no more series than the closed lists have.
#[test]
fn clients_make_no_time_series() {
    let mut site = site();
    let before = scrape(&mut site);
    for number in 0..50 {
        for service in ["git-upload-pack", "git-receive-pack", "canary"] {
            site.mirror().get(&format!("/canary/{number}.git/info/refs?service={service}"));
        }
        site.mirror().admin("GET", &format!("/canary/{number}"));
        site.mirror().admin("POST", &format!("/api/v1/repositories/canary/{number}/sync"));
    }
    let after = scrape(&mut site);
    assert!(!after.keys().any(|key| key.contains("canary")), "{after:?}");
    let operations = |samples: &Samples| {
        let of = |key: &String| Some(key.split_once("operation=\"")?.1.split('"').next()?.to_owned());
        samples.keys().filter_map(of).collect::<BTreeSet<_>>()
    };
    assert_eq!(operations(&before), operations(&after));
    assert!(after.len() < before.len() + 100, "{} and then {}", before.len(), after.len());
}

/// With a token in the configuration, `/metrics` and `/status` go without; a web page's browser may read no API.
#[test]
fn no_token_is_needed() {
    let mut site = site();
    let folder = site.sandbox.folder("with a token");
    let file = folder.join("heliostat.toml");
    std::fs::write(&file, "[admin]\ntoken = \"0123456789abcdef\"\n").unwrap();
    let upstream = site.apache.url();
    let other =
        crate::support::heliostat::Heliostat::start(&folder, &upstream, &["--config", &file.display().to_string()]);
    for (path, status) in [("/metrics", 200), ("/status", 200), ("/api/v1/node", 401), ("/api/v1/repositories", 401)] {
        assert_eq!(other.admin("GET", path).status, status, "{path}");
    }
    assert_eq!(other.admin("POST", "/metrics").status, 405);
    assert_eq!(site.mirror().get("/metrics").status, 404, "not on the main port");
}
