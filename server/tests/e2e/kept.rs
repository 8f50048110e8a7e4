//! What is kept for answers to come, plans and entries: the same answers from it, through a restart, and whatever becomes of its
//! files no client takes damage for a clone.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::support::compare::fsck;
use crate::support::exposition::{read, sum};
use crate::support::git::{Git, Which};
use crate::support::repositories::Upstream;
use crate::support::site::Site;

const APP: &str = "team/app.git";

/// An upstream with files that have changed often, and a branch in the midst of their history: what is newest lies whole in a
/// pack, and what the branch takes are deltas against it.
fn site() -> Site {
    Site::start(|git, folder| {
        let app = Upstream::rich(git, &folder.join(APP));
        for round in 0..8 {
            let text = |name: usize| {
                let line = |n: usize| format!("{name} {n} {}\n", if n % 50 == round { round } else { n * 7919 % 1000 });
                (0..400).map(line).collect::<String>()
            };
            let texts: Vec<_> = (0..12).map(|name| (format!("often/{name}.txt"), text(name))).collect();
            let files: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            app.commit("main", &files);
        }
        app.run(&["branch", "old", "main~4"]);
        app.run(&["repack", "-a", "-d", "-q"]);
    })
}

/// `git clone --depth 1` of that branch, judged by stock Git.
fn clone(site: &Site, url: &str) -> Result<(), String> {
    let git = Git::client(&site.sandbox, Which::Machine, 2);
    let target = site.sandbox.fresh("clone");
    let arguments = ["clone", "--quiet", "--bare", "--depth=1", "--branch=old", url, &target.display().to_string()];
    git.try_text(site.sandbox.path(), &arguments)?;
    fsck(&git, &target).unwrap_or_else(|wrong| panic!("a damaged clone was taken for whole: {wrong}"));
    assert_eq!(git.text(&target, &["rev-parse", "HEAD"]), site.upstream(APP).id("old"));
    git.text(&target, &["archive", "--output=/dev/null", "HEAD"]);
    Ok(())
}

fn count(site: &mut Site, name: &str, label: &str) -> usize {
    let samples = read(&site.mirror().admin("GET", "/metrics").text()).unwrap();
    sum(&samples, name, label) as usize
}

fn files(site: &mut Site) -> Vec<PathBuf> {
    let repositories = std::fs::read_dir(site.mirror().data().join("repositories")).unwrap();
    let folders = repositories.map(|folder| folder.unwrap().path().join("entries"));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn the_same_clone_costs_less_each_time() {
    let mut site = site();
    let url = site.mirror_url(APP);
    clone(&site, &url).unwrap();
    assert_eq!(count(&mut site, "heliostat_plan_objects_kept_total", ""), 0);
    let kept = files(&mut site);
    assert_eq!(kept.len(), 1, "{kept:?}");
    site.mirror().stop();
    site.mirror().start_again();
    for _ in 0..4 {
        clone(&site, &url).unwrap();
    }
    let plans = |site: &mut Site, result: &str| count(site, "heliostat_plans_total", &format!("result=\"{result}\""));
    assert!(plans(&mut site, "hit") >= 2, "kept at the second order, or at the third if that shared the second's plan");
    let (objects, copied, kept) =
        ("heliostat_plan_objects_total", "heliostat_plan_objects_copied_total", "heliostat_plan_objects_kept_total");
    let [objects, copied, kept] = [objects, copied, kept].map(|name| count(&mut site, name, ""));
    assert!(kept > 0 && objects == copied + kept, "nothing is encoded anew: {objects}, {copied}, {kept}");
    assert!(plans(&mut site, "made") < 4);

    // What is purged is kept nowhere.
    let answer = site.mirror().admin("POST", &format!("/api/v1/repositories/{APP}/purge"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(files(&mut site).is_empty() && count(&mut site, "heliostat_kept_plans", "") == 0);
    clone(&site, &url).unwrap();
}

/// Bytes of the file of entries change under the running node: each clone is right or fails, and the next one is right.
#[test]
fn damage_reaches_no_client() {
    let mut site = site();
    let url = site.mirror_url(APP);
    (0..3).for_each(|_| clone(&site, &url).unwrap());
    let mut state = 2_463_534_242_u32;
    let (mut failed, mut rounds) = (0, 0);
    while rounds < 25 {
        for file in files(&mut site) {
            let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
            let bytes = file.metadata().unwrap().len();
            // Of the younger part, which the plan names that is kept now.
            for _ in 0..3 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let (at, mut byte) = (bytes - 1 - u64::from(state) % bytes.min(8_000), [0]);
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ 1 << (state % 8)], at).unwrap();
            }
        }
        if clone(&site, &url).is_err() {
            failed += 1;
            clone(&site, &url).expect("another plan");
        }
        rounds += 1;
    }
    assert!(failed > 0, "nothing that a plan names was hit in {rounds} rounds");
    assert!(!site.mirror().log().contains("panic"), "{}", site.mirror().log());
}
