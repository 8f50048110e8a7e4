//! One large repository, mirrored, cloned with real Git, then cloned by many clients at once under a bound on memory.
//!
//! Memory is what the server has for itself: `RssAnon`, sampled. Pages of mapped packs are the kernel's to drop, and
//! not counted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use heliostat_loadtest::{CloneKind, Fleet, Report};
use heliostat_testrepo::Spec;
use serde::Serialize;

use crate::apache::Apache;
use crate::git::Git;
use crate::heliostat::Heliostat;
use crate::process::watched;

const REPOSITORY: &str = "large.git";
/// How long a client waits for the next bytes: for its turn to be planned, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to do.
pub struct Scale {
    /// The server's program.
    pub heliostat: PathBuf,
    /// The repository.
    pub source: Source,
    /// The upstream is Apache with `git http-backend`; else the folder itself.
    pub apache: bool,
    /// Clients at once.
    pub clients: u32,
    /// How each clones, one fleet after another, and then a fleet in which all of these clone at once.
    pub kinds: Vec<CloneKind>,
}

/// Where the repository comes from.
pub enum Source {
    /// Generated.
    Spec(Box<Spec>),
    /// Cloned by Git, with all its references, from a bundle or another repository on this machine.
    Clone(PathBuf),
}

impl Source {
    /// Makes the repository at `target`; says how many objects and references it has.
    fn make(&self, git: &Git, target: &Path) -> io::Result<(u64, u64)> {
        match self {
            Self::Spec(spec) => {
                let made = spec.write(target)?;
                Ok((made.objects, (made.refs.len() + made.symbolic.len()) as u64))
            }
            Self::Clone(from) => {
                let (from, folder) = (from.canonicalize()?, target.parent().unwrap_or(target));
                let [from, to] = [&from, target].map(|path| path.display().to_string());
                git.run(folder, &["clone", "--quiet", "--mirror", &from, &to])?;
                let lines = |arguments: &[&str]| git.run(target, arguments).map(|text| text.lines().count() as u64);
                let references = lines(&["for-each-ref", "--format=%(refname)"])?;
                let objects = lines(&["rev-list", "--objects", "--all", "--no-object-names"])?;
                Ok((objects, references))
            }
        }
    }
}

/// What came of it. Nothing comes of it but an error if a clone was not sound.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Objects in the upstream.
    pub objects: u64,
    /// References of the upstream.
    pub references: u64,
    /// Making the upstream.
    pub make_seconds: f64,
    /// Mirroring it, while the first clone waits for that.
    pub mirror_seconds: f64,
    /// `git clone --mirror` that begins before anything is mirrored.
    pub first_clone_seconds: f64,
    /// Most memory while mirroring and until the first clone has ended, in bytes.
    pub mirror_memory_bytes: u64,
    /// `git clone --mirror` through the mirror.
    pub clone_seconds: f64,
    /// `git fsck --full --strict` of that clone, and comparing its references.
    pub verify_seconds: f64,
    /// Memory with nothing to do, just before the fleets.
    pub idle_memory_bytes: u64,
    /// Most memory during each fleet, in bytes, and what the fleet saw.
    pub fleets: Vec<(u64, Report)>,
    /// Most memory while clients of every kind cloned at once, in bytes.
    pub mixed_memory_bytes: u64,
    /// What each of these fleets saw.
    pub mixed: Vec<Report>,
}

impl Scale {
    /// Does it in `folder`, which must be empty, and leaves it there.
    pub fn run(&self, folder: &Path) -> io::Result<Measured> {
        let git = Git::new(&folder.join("home"))?;
        let upstream = folder.join("upstream");
        fs::create_dir_all(&upstream)?;
        let ((objects, references), made) = timed(|| self.source.make(&git, &upstream.join(REPOSITORY)))?;

        let apache = self.apache.then(|| Apache::start(&folder.join("apache"), &upstream, &git)).transpose()?;
        let address = apache.as_ref().map_or_else(|| upstream.display().to_string(), Apache::url);
        let heliostat = Heliostat::start(&self.heliostat, &folder.join("heliostat"), &address)?;
        let id = heliostat.server.id();
        let url = format!("{}/{REPOSITORY}", heliostat.url());
        let clone = |target: &Path| {
            let target = target.display().to_string();
            timed(|| git.run(folder, &["clone", "--quiet", "--mirror", &url, &target])).map(|(_, took)| took)
        };
        let (first, second) = (folder.join("first.git"), folder.join("second.git"));
        let (began, mirror_memory_bytes) = watched(id, || {
            thread::scope(|scope| {
                let cloned = scope.spawn(|| clone(&first));
                (heliostat.wait_mirrored(REPOSITORY), cloned.join())
            })
        });
        let (mirrored, first_cloned) = (began.0?, began.1.map_err(|_| io::Error::other("a clone panicked"))??);
        let mirror_memory_bytes = mirror_memory_bytes?;
        let cloned = clone(&second)?;
        let (_, verified) = timed(|| verify(&git, &upstream.join(REPOSITORY), &second))?;
        verify(&git, &upstream.join(REPOSITORY), &first)?;

        let idle_memory_bytes = heliostat.server.memory_bytes()?;
        let mut fleets = Vec::new();
        for &kind in &self.kinds {
            let (report, peak) = watched(id, || self.fleet(&url, kind, self.clients));
            let (report, peak) = (report?, peak?);
            fleets.push((peak, report));
        }
        let (mixed, mixed_memory_bytes) = watched(id, || self.mixed(&url));
        let mixed = mixed?;
        Ok(Measured {
            objects,
            references,
            make_seconds: made.as_secs_f64(),
            mirror_seconds: mirrored.as_secs_f64(),
            first_clone_seconds: first_cloned.as_secs_f64(),
            mirror_memory_bytes,
            clone_seconds: cloned.as_secs_f64(),
            verify_seconds: verified.as_secs_f64(),
            idle_memory_bytes,
            fleets,
            mixed_memory_bytes: mixed_memory_bytes?,
            mixed,
        })
    }

    /// Clones of every kind at once, so that no plan serves them all.
    fn mixed(&self, url: &str) -> io::Result<Vec<Report>> {
        let clients = (self.clients / self.kinds.len() as u32).max(1);
        thread::scope(|scope| {
            let fleets: Vec<_> =
                self.kinds.iter().map(|kind| scope.spawn(|| self.fleet(url, *kind, clients))).collect();
            fleets.into_iter().map(|fleet| fleet.join().map_err(|_| io::Error::other("a fleet panicked"))?).collect()
        })
    }

    fn fleet(&self, url: &str, kind: CloneKind, clients: u32) -> io::Result<Report> {
        let address = url.parse().map_err(|error| io::Error::other(format!("{url}: {error}")))?;
        let fleet = Fleet { clients, patience: PATIENCE, ..Fleet::new(address, kind) };
        let report = fleet.run().map_err(|failure| io::Error::other(format!("{kind:?}: {failure}")))?;
        if report.failed > 0 { Err(io::Error::other(format!("{kind:?}: {report}"))) } else { Ok(report) }
    }
}

impl Measured {
    /// Most memory during any fleet, in bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.fleets.iter().map(|(peak, _)| *peak).chain([self.mixed_memory_bytes]).max().unwrap_or(0)
    }
}

/// Sound by itself, and with the references of the upstream: that its objects are those follows.
fn verify(git: &Git, upstream: &Path, clone: &Path) -> io::Result<()> {
    git.run(clone, &["fsck", "--full", "--strict", "--no-dangling", "--no-progress"])?;
    let references = |folder: &Path| git.run(folder, &["for-each-ref", "--format=%(objectname) %(refname)"]);
    if references(upstream)? != references(clone)? {
        return Err(io::Error::other("the clone has other references than the upstream"));
    }
    let head = |folder: &Path| git.run(folder, &["rev-parse", "HEAD"]);
    if head(upstream)? == head(clone)? { Ok(()) } else { Err(io::Error::other("the clone has another HEAD")) }
}

fn timed<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(T, Duration)> {
    let begin = Instant::now();
    work().map(|done| (done, begin.elapsed()))
}
