//! What attackers do to others: how long ordinary clients wait for references while a mirror is attacked, beside what they
//! wait while the very same attackers aim at a socket that discards; what memory the mirror takes, and what it asks the
//! upstream for.
//!
//! The ordinary clients come at a fixed rate from an address of their own, and what they read is what is attacked. An
//! attacker does not depend on what it is answered, so that both targets are sent the same.

mod sink;
mod slow;
mod volley;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use heliostat_loadtest::{Percentiles, Steady, Waits};
use heliostat_testrepo::Spec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::apache::{Apache, Readers};
use crate::git::Git;
use crate::heliostat::{Heliostat, Mode};
use crate::process::{Server, free_port, watched};

pub use sink::{FLAG as SINK_FLAG, discard};
use slow::{Held, Slow};
use volley::{Answers, Shot, Volley};

const PUBLIC: &str = "app.git";
const PRIVATE: &str = "private/app.git";
/// Loopback addresses that attackers come from.
const SOURCES: u8 = 4;
/// Places that the mirror has beside those of the slow connections.
const PLACES_FREE: usize = 2_000;
/// How long an ordinary client waits for the next bytes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long slow connections may take to be there.
const OPENING_TIME: Duration = Duration::from_secs(60);
/// Between two attacks: buckets fill again, and what is left of the last one ends.
const PAUSE: Duration = Duration::from_secs(6);

/// One kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub enum Attack {
    /// None
    Nothing,
    /// Fetches of ids that nobody has
    Ids,
    /// Repositories that are nowhere
    Paths,
    /// A dictionary of passwords
    Passwords,
    /// Connections that hardly say anything
    Slow,
    /// Bodies that inflate a thousandfold, and such that inflate as well as they may
    Bombs,
    /// Heads that two readers could take for different requests
    Smuggling,
    /// All of these at once
    All,
}

/// What to do.
pub struct Attacks {
    /// The server's program.
    pub heliostat: PathBuf,
    /// Which, one after another.
    pub attacks: Vec<Attack>,
    /// How the mirror asks its upstream.
    pub mode: Mode,
    /// The repository.
    pub spec: Spec,
    /// `ls-refs` of ordinary clients a second.
    pub per_second: f64,
    /// How long each attack lasts, in each turn, on each of its targets.
    pub time: Duration,
    /// How often the two targets take turns.
    pub turns: u32,
    /// Slow connections.
    pub slow: usize,
    /// Each volley has so many times the requests that it has by itself.
    pub intensity: f64,
}

/// What came of one attack.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub attack: Attack,
    /// What ordinary clients waited while attackers aimed at the socket that discards.
    pub discarded: Percentiles,
    /// And while they aimed at the mirror.
    pub attacked: Percentiles,
    /// `ls-refs` that were not answered as they should be, in both.
    pub failed: u64,
    /// Most private memory of the mirror, in bytes.
    pub memory_bytes: u64,
    /// Requests that the upstream has answered while the mirror was attacked, beyond those that it answered while it was
    /// not.
    pub upstream_requests: u64,
    /// What these may be, by the documented limits.
    pub upstream_requests_max: u64,
    /// Slow connections that were open at the end, of those that were to be.
    pub slow_open: u64,
    /// What attackers heard: how many of each status, 0 where nothing came.
    pub answers: std::collections::BTreeMap<u16, u64>,
    /// Requests that got through behind another one.
    pub smuggled: u64,
}

impl Row {
    /// How many times longer ordinary clients waited, at the 99th percentile.
    pub fn ratio(&self) -> f64 {
        self.attacked.p99_ms / self.discarded.p99_ms
    }
}

/// What one turn at one target has brought.
#[derive(Default)]
struct Turn {
    waits: Waits,
    answers: Answers,
    held: Held,
    upstream_requests: u64,
    memory_bytes: u64,
}

impl Attacks {
    /// All of them, in `folder`, which must be empty.
    pub fn run(&self, folder: &Path, mut tell: impl FnMut(&Row)) -> io::Result<Vec<Row>> {
        raise_descriptors()?;
        let git = Git::new(&folder.join("home"))?;
        let upstream = folder.join("upstream");
        for path in [PUBLIC, PRIVATE] {
            let path = upstream.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            self.spec.write(&path)?;
        }
        let apache = Apache::start_for(Readers::AllButPrivate, &folder.join("apache"), &upstream, &git)?;
        let settings = format!(
            "freshness = {:?}\n[sync]\ninterval = \"24h\"\n[limits]\nconnections = {}\n",
            self.mode.name(),
            self.slow + PLACES_FREE
        );
        let heliostat = Heliostat::start_with(&self.heliostat, &folder.join("heliostat"), &apache.url(), &settings)?;
        heliostat.wait_mirrored(PUBLIC)?;
        let port = free_port()?;
        let sink = sink::start(port)?;
        let field = Field { apache: &apache, heliostat: &heliostat, sink: (&sink, port) };
        let mut rows = Vec::new();
        for (number, &attack) in self.attacks.iter().enumerate() {
            let row = self.row(&field, attack, number as u8)?;
            tell(&row);
            rows.push(row);
        }
        Ok(rows)
    }

    fn row(&self, field: &Field<'_>, attack: Attack, number: u8) -> io::Result<Row> {
        let volleys = self.volleys(attack)?;
        let slow = matches!(attack, Attack::Slow | Attack::All).then_some(Slow { connections: self.slow });
        // Others than in the last attack, so that each has whatever one address is allowed.
        let from: Vec<IpAddr> = (1..=SOURCES).map(|source| Ipv4Addr::new(127, 1, number, source).into()).collect();
        let mut both = [Turn::default(), Turn::default()];
        for _ in 0..self.turns {
            for (all, port) in both.iter_mut().zip([field.sink.1, field.heliostat.port()]) {
                thread::sleep(PAUSE);
                let before = field.apache.requests()?;
                let target = SocketAddr::from(([127, 0, 0, 1], port));
                let id = field.heliostat.server.id();
                let (turn, memory) = watched(id, || self.turn(field, &volleys, slow.as_ref(), target, &from));
                let turn = turn?;
                all.waits.add(turn.waits);
                all.answers.merge(&turn.answers);
                all.held = turn.held;
                all.memory_bytes = all.memory_bytes.max(memory?);
                all.upstream_requests += field.apache.requests()? - before;
            }
        }
        let [discarded, attacked] = both;
        let failed = [&discarded, &attacked].iter().flat_map(|turn| turn.waits.failures.values()).sum();
        Ok(Row {
            attack,
            discarded: Percentiles::of(discarded.waits.answered),
            attacked: Percentiles::of(attacked.waits.answered),
            failed,
            memory_bytes: attacked.memory_bytes,
            upstream_requests: attacked.upstream_requests.saturating_sub(discarded.upstream_requests),
            upstream_requests_max: self.upstream_requests_max(attack),
            slow_open: attacked.held.open,
            answers: attacked.answers.statuses,
            smuggled: attacked.answers.smuggled,
        })
    }

    fn turn(
        &self,
        field: &Field<'_>,
        volleys: &[Volley],
        slow: Option<&Slow>,
        target: SocketAddr,
        from: &[IpAddr],
    ) -> io::Result<Turn> {
        let (over, opened) = (AtomicBool::new(false), AtomicU64::new(0));
        let url = format!("{}/{PUBLIC}", field.heliostat.url());
        let address = url.parse().map_err(|error| io::Error::other(format!("{url}: {error}")))?;
        let others = Steady { address, per_second: self.per_second, time: self.time, patience: PATIENCE };
        thread::scope(|scope| {
            let (over, opened) = (&over, &opened);
            let slow = slow.map(|slow| {
                let waiting = scope.spawn(move || slow.run(target, from, opened, over));
                let begin = Instant::now();
                while opened.load(Ordering::Relaxed) < slow.connections as u64 && begin.elapsed() < OPENING_TIME {
                    thread::sleep(Duration::from_millis(10));
                }
                waiting
            });
            let volleys: Vec<_> =
                volleys.iter().map(|volley| scope.spawn(move || volley.run(target, from, over))).collect();
            let mut turn = Turn { waits: others.run(), ..Turn::default() };
            over.store(true, Ordering::Relaxed);
            for volley in volleys {
                turn.answers.merge(&volley.join().map_err(|_| io::Error::other("a volley panicked"))??);
            }
            turn.held = slow.map_or(Ok(Held::default()), |slow| {
                slow.join().map_err(|_| io::Error::other("a slow connection panicked"))
            })?;
            Ok(turn)
        })
    }

    fn volleys(&self, attack: Attack) -> io::Result<Vec<Volley>> {
        let volley = |shot, per_second: f64, patience| {
            let patience = Duration::from_secs(patience);
            vec![Volley { shot, per_second: per_second * self.intensity, patience }]
        };
        Ok(match attack {
            Attack::Nothing | Attack::Slow => Vec::new(),
            // The mirror parks a fetch of what is not here for ten seconds.
            Attack::Ids => volley(Shot::Ids, 20.0, 12),
            Attack::Paths => volley(Shot::Paths, 50.0, 3),
            Attack::Passwords => volley(Shot::Passwords, 50.0, 3),
            Attack::Bombs => volley(Shot::bombs()?, 4.0, 5),
            Attack::Smuggling => volley(Shot::Smuggling, 50.0, 3),
            Attack::All => {
                let mut all = Vec::new();
                for attack in [Attack::Ids, Attack::Paths, Attack::Passwords, Attack::Bombs, Attack::Smuggling] {
                    all.extend(self.volleys(attack)?);
                }
                all
            }
        })
    }

    /// By docs/configuration.md and `core/src/limits.rs`: what buckets hold at first and what flows into them, and what one
    /// question or sync may take of requests.
    fn upstream_requests_max(&self, attack: Attack) -> u64 {
        let seconds = f64::from(self.turns) * (self.time + PAUSE).as_secs_f64();
        let bucket = |burst: f64, per_second: f64, requests: f64| ((burst + per_second * seconds) * requests) as u64;
        let sources = f64::from(SOURCES);
        match attack {
            Attack::Nothing | Attack::Slow | Attack::Bombs | Attack::Smuggling => 0,
            // Syncs: two requests for the references, and a few that ask for the ids.
            Attack::Ids => bucket(10.0, 2.0, 6.0),
            // Under both spellings.
            Attack::Paths => bucket(200.0 * sources, 5.0 * sources, 2.0),
            Attack::Passwords => bucket(30.0 * sources, sources, 2.0),
            Attack::All => [Attack::Ids, Attack::Paths, Attack::Passwords]
                .map(|attack| self.upstream_requests_max(attack))
                .iter()
                .sum(),
        }
    }
}

/// Who is there.
struct Field<'run> {
    apache: &'run Apache,
    heliostat: &'run Heliostat,
    /// With its port.
    sink: (&'run Server, u16),
}

/// As many open files as this process may have.
fn raise_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
