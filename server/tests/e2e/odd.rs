//! Upstreams in which something is odd or broken, and which stock Git serves all the same: so do their mirrors.

use std::path::PathBuf;

use crate::support::apache::Apache;
use crate::support::compare::{Report, State};
use crate::support::git::Git;
use crate::support::heliostat::Heliostat;
use crate::support::repositories::Upstream;
use crate::support::sandbox::Sandbox;

const NULL: &str = "0000000000000000000000000000000000000000";
const MISSING: &str = "2222222222222222222222222222222222222222";

/// Repositories in a folder, the folder behind Apache, and a mirror of each.
struct Scene {
    git: Git,
    folder: PathBuf,
    apache: Apache,
    of_host: Heliostat,
    of_folder: Heliostat,
    sandbox: Sandbox,
}

impl Scene {
    fn start(fill: impl FnOnce(&Git, &PathBuf)) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let folder = sandbox.folder("upstream");
        fill(&git, &folder);
        let apache = Apache::start(&sandbox.folder("apache"), &folder, &git);
        let of_host = Heliostat::start(&sandbox.folder("of-host"), &apache.url(), &[]);
        let of_folder = Heliostat::start(&sandbox.folder("of-folder"), &folder.display().to_string(), &[]);
        Self { git, folder, apache, of_host, of_folder, sandbox }
    }

    fn clone(&self, url: &str, arguments: &[&str]) -> Result<State, String> {
        let folder = self.sandbox.fresh("clone");
        let target = folder.display().to_string();
        let words = [&["clone", "--quiet", "--bare"], arguments, &[url, &target]].concat();
        self.git.try_text(self.sandbox.path(), &words)?;
        State::of(&self.git, &folder)
    }

    fn list(&self, url: &str) -> Result<String, String> {
        self.git.try_text(self.sandbox.path(), &["ls-remote", "--symref", url])
    }
}

/// An entry whose mode is none that Git writes is taken by its highest bits; what is neither file, link nor directory then
/// counts as a submodule, and what it names is nobody's.
#[test]
fn modes_of_other_times() {
    let scene = Scene::start(|git, folder| {
        let upstream = Upstream::rich(git, &folder.join("odd.git"));
        let store = |kind: &str, content: &[u8]| {
            let arguments = ["hash-object", "-w", "--literally", "-t", kind, "--stdin"];
            let finished = git.run_with(&upstream.folder, &arguments, content);
            assert!(finished.status.success(), "{}", finished.stderr);
            finished.text()
        };
        let entry = |mode: &str, name: &str, id: &str| {
            let id = (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap());
            [mode.as_bytes(), b" ", name.as_bytes(), b"\0"].concat().into_iter().chain(id).collect::<Vec<u8>>()
        };
        let blob = |content: &str| store("blob", content.as_bytes());
        let below = [entry("100664", "f", &blob("below\n")), entry("100600", "g", &blob("g\n"))].concat();
        let tree = [
            entry("644", "a", &blob("not sent\n")),
            entry("140000", "b", &blob("not sent either\n")),
            entry("0", "c", MISSING),
            entry("20000", "d", MISSING),
            entry("40755", "e", &store("tree", &below)),
            entry("120777", "f", &blob("a")),
            entry("000000100644", "g", &blob("many zeros\n")),
        ];
        let tree = store("tree", &tree.concat());
        let commit = upstream.run(&["commit-tree", "-p", "main", "-m", "odd", &tree]);
        upstream.run(&["update-ref", "refs/heads/odd", &commit]);
    });
    let mut report = Report::default();
    for arguments in [&[][..], &["--mirror"], &["--depth=1", "--single-branch", "-b", "odd"], &["--filter=blob:none"]] {
        let theirs = scene.clone(&format!("{}/odd.git", scene.apache.url()), arguments).expect("stock Git serves it");
        for (kind, mirror) in [("host", &scene.of_host), ("folder", &scene.of_folder)] {
            let ours = scene.clone(&format!("{}/odd.git", mirror.url()), arguments);
            report.case(&format!("{kind} {arguments:?}"), ours.and_then(|ours| ours.same_as(&theirs)));
        }
    }
    report.finish();
    assert!(scene.of_folder.log().contains("cosmetic faults"), "{}", scene.of_folder.log());
}

/// A reference that names no object keeps nobody from the others. Where only the upstream can know it (the object of a
/// reference of a host's), the repository is refused: docs/operating.md.
#[test]
fn references_without_an_object() {
    const BREAKAGES: [(&str, &str, &str); 6] = [
        ("null", "refs/heads/broken", NULL),
        ("empty", "refs/heads/broken", ""),
        ("missing", "refs/heads/broken", MISSING),
        ("missing-tag", "refs/tags/broken", MISSING),
        ("head-null", "HEAD", NULL),
        ("head-missing", "HEAD", MISSING),
    ];
    let scene = Scene::start(|git, folder| {
        let sound = Upstream::rich(git, &folder.join("sound.git"));
        for (name, file, id) in BREAKAGES {
            let broken = sound.copy_to(&folder.join(format!("{name}.git")));
            std::fs::write(broken.folder.join(file), format!("{id}\n")).unwrap();
        }
    });
    let main = ["--single-branch", "--branch=main"];
    let mut report = Report::default();
    for (name, file, id) in BREAKAGES {
        let url = format!("{}/{name}.git", scene.apache.url());
        let theirs = scene.clone(&url, &main).expect("stock Git serves the rest");
        let sound: Vec<_> = scene.list(&url).unwrap().lines().map(str::to_owned).collect();
        let sound: Vec<_> =
            sound.into_iter().filter(|line| !line.starts_with(NULL) && !line.starts_with(MISSING)).collect();
        for (kind, mirror) in [("host", &scene.of_host), ("folder", &scene.of_folder)] {
            let url = format!("{}/{name}.git", mirror.url());
            let case = format!("{kind}: {file} of {name}");
            if kind == "host" && id == MISSING {
                // Once while it is tried, and once when that is known to be in vain.
                for _ in 0..2 {
                    let refused = scene.clone(&url, &main).err().unwrap_or_else(|| "served".into());
                    report.case(&case, if refused.contains("upstream") { Ok(()) } else { Err(refused) });
                }
                continue;
            }
            report.case(&case, scene.clone(&url, &main).and_then(|ours| ours.same_as(&theirs)));
            let same =
                |ours: String| if ours == sound.join("\n") { Ok(()) } else { Err(format!("{ours}\n{sound:#?}")) };
            report.case(&format!("{case}: ls-remote"), scene.list(&url).and_then(same));
            let is_said = file == "HEAD" && id == NULL || mirror.log().contains("left out");
            report.case(&format!("{case}: the log"), if is_said { Ok(()) } else { Err(mirror.log()) });
        }
    }
    report.finish();
}

/// Left out while its object is missing, and no longer; and nothing is left out because an alternate is not there.
#[test]
fn objects_that_come_and_go() {
    let scene = Scene::start(|git, folder| {
        let sound = Upstream::rich(git, &folder.join("sound.git"));
        let target = folder.join("borrower.git").display().to_string();
        let source = sound.folder.display().to_string();
        git.text(folder, &["clone", "--quiet", "--bare", "--shared", &source, &target]);
        let borrower = Upstream { git: git.clone(), folder: folder.join("borrower.git") };
        borrower.commit("own", &[("own.txt", "own\n")]);
    });
    let upstream = |path: &str| Upstream { git: scene.git.clone(), folder: scene.folder.join(path) };
    let listed = |path: &str| {
        let list = |base: String| scene.list(&format!("{base}/{path}")).unwrap();
        (list(scene.of_folder.url()), list(format!("file://{}", scene.folder.display())))
    };
    let sound = upstream("sound.git");
    let (before, theirs) = listed("sound.git");
    assert_eq!(before, theirs);
    let commit = sound.run(&["commit-tree", "-p", "main", "-m", "comes and goes", "main^{tree}"]);
    let object = sound.folder.join("objects").join(&commit[..2]).join(&commit[2..]);
    let aside = scene.sandbox.path().join("object");
    std::fs::rename(&object, &aside).unwrap();
    std::fs::write(sound.folder.join("refs/heads/comes"), format!("{commit}\n")).unwrap();
    let (ours, theirs) = listed("sound.git");
    assert!(theirs.contains(&commit), "stock Git shows it");
    assert_eq!(ours, before);
    std::fs::rename(&aside, &object).unwrap();
    let (ours, theirs) = listed("sound.git");
    assert_eq!(ours, theirs, "it is there now");

    let borrower = upstream("borrower.git");
    let (before, theirs) = listed("borrower.git");
    assert_eq!(before, theirs);
    let own = borrower.id("own");
    std::fs::rename(&sound.folder, scene.sandbox.path().join("away.git")).unwrap();
    std::fs::write(borrower.folder.join("refs/heads/another"), format!("{own}\n")).unwrap();
    let (ours, _) = listed("borrower.git");
    let lost: Vec<_> = before.lines().filter(|line| !ours.contains(line)).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}
