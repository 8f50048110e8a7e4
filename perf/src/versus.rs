//! Side by side with stock Git: the same requests on the same repository, in one run, as processor time a clone.
//!
//! The two servers take turns, so that whatever else happens on the machine happens to both. Each number is the
//! median of the turns.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io, path::Path};

use heliostat_loadtest::{CloneKind, Fleet};
use heliostat_testrepo::Spec;
use serde::Serialize;

use crate::apache::Apache;
use crate::git::Git;
use crate::heliostat::Heliostat;
use crate::process::{Server, machine_busy};

const REPOSITORY: &str = "app.git";
/// Processor time is counted in ticks of 10 ms: a turn has enough clones for some hundred of them at stock's pace.
const ROUNDS_MAX: u32 = 10_000;

/// What to compare.
pub struct Versus {
    /// The server's program.
    pub heliostat: PathBuf,
    /// The repository; stock Git gets it repacked, with a bitmap.
    pub spec: Spec,
    /// Clients at once.
    pub clients: u32,
    /// Turns of each server for each kind.
    pub turns: u32,
    /// About how long a turn lasts.
    pub turn: Duration,
}

/// One kind of clone.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Which.
    pub kind: String,
    /// Stock Git behind Apache.
    pub stock: Cost,
    /// Heliostat.
    pub heliostat: Cost,
    /// Stock's processor time for each millisecond of ours.
    pub ratio: f64,
}

/// What a server spends on a clone: its three requests, `info/refs`, `ls-refs` and `fetch`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Processor time, in milliseconds.
    pub cpu_ms: f64,
    /// Bytes of the answer to `fetch`.
    pub bytes: u64,
    /// Objects in the pack.
    pub objects: u64,
    /// Clones a second, client and server on the same machine.
    pub clones_per_second: f64,
    /// The share of the machine that others used meanwhile, 0 to 1.
    pub foreign_share: f64,
}

impl Versus {
    /// Runs all kinds, in `folder`, which must be empty.
    pub fn run(&self, folder: &Path, mut tell: impl FnMut(&Row)) -> io::Result<Vec<Row>> {
        let git = Git::new(&folder.join("home"))?;
        let upstream = folder.join("upstream");
        fs::create_dir_all(&upstream)?;
        let repository = upstream.join(REPOSITORY);
        self.spec.write(&repository)?;
        git.run(&repository, &["repack", "-a", "-d", "-q", "--write-bitmap-index"])?;
        git.run(&repository, &["commit-graph", "write", "--reachable", "--no-progress"])?;
        let stock = Apache::start(&folder.join("apache"), &upstream, &git)?;
        let ours = Heliostat::start(&self.heliostat, &folder.join("heliostat"), &upstream.display().to_string())?;
        ours.wait_mirrored(REPOSITORY)?;

        let kinds =
            [CloneKind::Full, CloneKind::Branch, CloneKind::Depth1, CloneKind::BlobNone, CloneKind::Incremental];
        let mut rows = Vec::new();
        for kind in kinds {
            let row = self.row(kind, (&stock.server, &stock.url()), (&ours.server, &ours.url()))?;
            tell(&row);
            rows.push(row);
        }
        Ok(rows)
    }

    fn row(&self, kind: CloneKind, stock: (&Server, &str), ours: (&Server, &str)) -> io::Result<Row> {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..self.turns {
            for (costs, (server, url)) in costs.iter_mut().zip([stock, ours]) {
                costs.push(self.turn(kind, server, url)?);
            }
        }
        let [stock, heliostat] = costs.map(median);
        Ok(Row { kind: format!("{kind:?}").to_lowercase(), stock, heliostat, ratio: stock.cpu_ms / heliostat.cpu_ms })
    }

    fn turn(&self, kind: CloneKind, server: &Server, url: &str) -> io::Result<Cost> {
        let url = format!("{url}/{REPOSITORY}");
        let address = url.parse().map_err(|error| io::Error::other(format!("{url}: {error}")))?;
        let mut fleet = Fleet { clients: self.clients, ..Fleet::new(address, kind) };
        let run = |fleet: &Fleet| {
            let report = fleet.run().map_err(|failure| io::Error::other(format!("{kind:?}: {failure}")))?;
            if report.failed == 0 { Ok(report) } else { Err(io::Error::other(format!("{kind:?}: {report}"))) }
        };
        // Warms caches up, and says how many rounds a turn takes.
        let once = run(&fleet)?;
        fleet.rounds = ((self.turn.as_secs_f64() / once.seconds) as u32).clamp(1, ROUNDS_MAX);
        let (begin, server_before, own_before, all_before) =
            (Instant::now(), server.cpu()?, own_cpu(), machine_busy()?);
        let report = run(&fleet)?;
        let spent = server.cpu()?.saturating_sub(server_before);
        let own = own_cpu().saturating_sub(own_before);
        let all = machine_busy()?.saturating_sub(all_before);
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get()) as f64;
        let foreign = all.saturating_sub(spent).saturating_sub(own);
        Ok(Cost {
            cpu_ms: spent.as_secs_f64() * 1e3 / report.whole as f64,
            bytes: report.answer_bytes / report.whole,
            objects: report.objects[0],
            clones_per_second: report.clones_per_second,
            foreign_share: foreign.as_secs_f64() / (begin.elapsed().as_secs_f64() * cores),
        })
    }
}

/// The turn whose processor time is the median.
fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
    costs[costs.len() / 2]
}

/// Processor time of this process: the clients.
fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
