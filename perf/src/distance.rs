//! What each mode of freshness costs when the upstream is far away: how much longer clients wait, and what the upstream is
//! asked.
//!
//! The upstream is Apache behind a [`Relay`]; its requests are those of its own log.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use heliostat_loadtest::{CloneKind, Fleet, Report};
use heliostat_testrepo::Spec;
use serde::Serialize;

use crate::apache::Apache;
use crate::git::Git;
use crate::heliostat::{Heliostat, Mode};
use crate::relay::Relay;

const REPOSITORY: &str = "app.git";
/// For so long nothing must come to the upstream before its requests are counted.
const QUIET: Duration = Duration::from_millis(500);
/// And after so long they are counted anyway.
const QUIET_TIME: Duration = Duration::from_secs(20);

/// What to do.
pub struct Distance {
    /// The server's program.
    pub heliostat: PathBuf,
    /// To the upstream and back.
    pub round_trip: Duration,
    /// The repository.
    pub spec: Spec,
    /// Clones by one client.
    pub clones: u32,
    /// What the client waits between two of them, where it does.
    pub pause: Duration,
    /// Clients at once.
    pub clients: u32,
}

/// How clients come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Crowd {
    /// One, with a pause before each clone.
    Alone,
    /// One, clone after clone.
    InARow,
    /// All at once, one clone each.
    AtOnce,
}

/// One mode, and clients that come in one way.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// As the configuration has it.
    pub mode: &'static str,
    /// How the clients came.
    pub crowd: Crowd,
    /// How many clones.
    pub clones: u64,
    /// How long half of them waited for references at most, and the slowest, in milliseconds.
    pub ls_remote_ms: [f64; 2],
    /// And for the whole clone.
    pub clone_ms: [f64; 2],
    /// Requests that the upstream has answered.
    pub upstream_requests: u64,
    /// Connections that were made to it.
    pub upstream_connections: u64,
}

impl Row {
    /// Requests to the upstream for each clone.
    pub fn requests_per_clone(&self) -> f64 {
        self.upstream_requests as f64 / self.clones as f64
    }
}

impl Distance {
    /// All modes, in `folder`, which must be empty. Fails if a clone is not whole.
    pub fn run(&self, folder: &Path, mut tell: impl FnMut(&Row)) -> io::Result<Vec<Row>> {
        let git = Git::new(&folder.join("home"))?;
        let upstream = folder.join("upstream");
        fs::create_dir_all(&upstream)?;
        self.spec.write(&upstream.join(REPOSITORY))?;
        let apache = Apache::start(&folder.join("apache"), &upstream, &git)?;
        let relay = Relay::start(apache.port(), self.round_trip)?;
        let mut rows = Vec::new();
        for mode in [Mode::Eventual, Mode::Lease, Mode::Strict] {
            // Nobody else asks the upstream meanwhile.
            let settings = format!("freshness = {:?}\n[sync]\ninterval = \"24h\"\n", mode.name());
            let folder = folder.join(mode.name());
            let heliostat = Heliostat::start_with(&self.heliostat, &folder, &relay.url(), &settings)?;
            heliostat.wait_mirrored(REPOSITORY)?;
            let url = format!("{}/{REPOSITORY}", heliostat.url());
            for crowd in [Crowd::Alone, Crowd::InARow, Crowd::AtOnce] {
                let before = (quiet(&apache)?, relay.connections());
                let reports = self.clones(&url, crowd)?;
                let after = (quiet(&apache)?, relay.connections());
                let over = |of: fn(&Report) -> f64| {
                    let mut values: Vec<f64> = reports.iter().map(of).collect();
                    values.sort_by(f64::total_cmp);
                    values
                };
                let (ls_remote, clone) = (over(|it| it.ls_remote.p50_ms), over(|it| it.total.p50_ms));
                let most = |of: fn(&Report) -> f64| over(of).last().copied().unwrap_or(0.0);
                let row = Row {
                    mode: mode.name(),
                    crowd,
                    clones: reports.iter().map(|report| report.whole).sum(),
                    ls_remote_ms: [ls_remote[ls_remote.len() / 2], most(|it| it.ls_remote.max_ms)],
                    clone_ms: [clone[clone.len() / 2], most(|it| it.total.max_ms)],
                    upstream_requests: after.0 - before.0,
                    upstream_connections: after.1 - before.1,
                };
                tell(&row);
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn clones(&self, url: &str, crowd: Crowd) -> io::Result<Vec<Report>> {
        let address = url.parse().map_err(|error| io::Error::other(format!("{url}: {error}")))?;
        let one = Fleet::new(address, CloneKind::Full);
        let run = |fleet: &Fleet| {
            let report = fleet.run().map_err(io::Error::other)?;
            if report.failed == 0 { Ok(report) } else { Err(io::Error::other(report.to_string())) }
        };
        match crowd {
            Crowd::Alone => {
                let after_a_pause = |_| {
                    thread::sleep(self.pause);
                    run(&one)
                };
                (0..self.clones).map(after_a_pause).collect()
            }
            Crowd::InARow => Ok(vec![run(&Fleet { rounds: self.clones, ..one })?]),
            Crowd::AtOnce => Ok(vec![run(&Fleet { clients: self.clients, ..one })?]),
        }
    }
}

/// The upstream's requests so far, once no more come.
fn quiet(apache: &Apache) -> io::Result<u64> {
    let begin = Instant::now();
    let (mut since, mut requests) = (begin, apache.requests()?);
    while since.elapsed() < QUIET && begin.elapsed() < QUIET_TIME {
        thread::sleep(QUIET / 10);
        let now = apache.requests()?;
        if now != requests {
            (since, requests) = (Instant::now(), now);
        }
    }
    Ok(requests)
}
