//! `heliostat serve`: puts the parts together, watches over them, and ends them in order.
//!
//! Exit codes: 0 drained after a signal; 1 something failed at start or later, in words on standard error; 2 mistakes in
//! the configuration, all of them; 78 (EX_CONFIG) this machine does not let the server run (`io_uring`, locked memory).
//! A second signal ends the process at once with 128 + its number.

use super::{
    complain,
    settings::{Settings, stray_variables},
    usage,
};
use crate::{
    admin::desk::Desk,
    auth::Rights,
    config::{Config, Overrides},
    holder::{Holder, Kind},
    http::admission::Admission,
    logging::{self, Format, Logging},
    serve::{
        flights::SharedPlans,
        node::{Mirrors, Node, Staff},
        workers::{Tools, Workers},
    },
    shard::{
        Door, Seat,
        drain::State,
        executor::{self, Ended, Finding, Pulse, Watch},
        listener::{Listener, Stop},
        message::Post,
        placement, preflight, task,
    },
    sync::{Syncs, Threads},
    tls::{Renewable, Serving},
};
use heliostat_core::{
    limits::DRAIN_TIME,
    pack::Room,
    protocol::Policy,
    store::{DataDirectory, Store, StoreError},
};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    iterator::Signals,
};
use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const EX_CONFIG: u8 = 78;
/// How often the main thread looks at the shards: longer than their tick, so that a healthy one has beaten in between.
const LOOK: Duration = Duration::from_millis(300);
/// What the threads of synchronisation get to end.
const SYNC_END_TIME: Duration = Duration::from_secs(5);
/// After the time for draining, live requests say their last words.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Mirror an upstream and serve clones and fetches of it
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Where to serve clones and fetches (default: 127.0.0.1:8080)
    #[arg(long, value_name = "ADDR", env = "HELIOSTAT_LISTEN")]
    listen: Option<String>,
    /// How many shards to run (default: one per core)
    #[arg(long, value_name = "N", env = "HELIOSTAT_CORES")]
    cores: Option<String>,
    /// Not built yet
    #[arg(long, hide = true, value_name = "ADDR", env = "HELIOSTAT_SSH_LISTEN")]
    ssh_listen: Option<Option<String>>,
    /// When the upstream is asked before references are told: strict (each time), lease or eventual (default: strict)
    #[arg(long, value_name = "MODE", env = "HELIOSTAT_FRESHNESS")]
    freshness: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", env = "HELIOSTAT_LOG_FORMAT", default_value = "human")]
    log_format: Format,
    /// Which log lines to write, as in RUST_LOG (default: info)
    #[arg(long = "log", value_name = "FILTER", env = "HELIOSTAT_LOG")]
    log_filter: Option<String>,
    /// End when this process does, which has started us: the demo's nodes do not outlive it
    #[arg(long, hide = true, value_name = "PID")]
    end_with: Option<i32>,
}

/// Runs until told to end.
pub fn run(arguments: &Serve) -> ExitCode {
    if let Some(parent) = arguments.end_with
        && let Err(words) = end_with(parent)
    {
        complain(format_args!("heliostat: {words}"));
        return ExitCode::FAILURE;
    }
    let config = match configuration(arguments) {
        Ok(config) => Arc::new(config),
        Err(words) => {
            for stray in stray_variables() {
                complain(format_args!("heliostat: warning: {stray}"));
            }
            return usage(&words);
        }
    };
    preflight::raise_limits();
    if let Err(refusal) = preflight::check(shards(&config)) {
        complain(format_args!("heliostat: {refusal}"));
        return ExitCode::from(EX_CONFIG);
    }
    let logging = match logging::start(arguments.log_format, arguments.log_filter.as_deref()) {
        Ok(logging) => logging,
        Err(error) => {
            complain(format_args!("heliostat: the log's thread can't be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    log_panics();
    for warning in super::warnings(&config).into_iter().chain(stray_variables()) {
        tracing::warn!("{warning}");
    }
    let code = match Server::start(config, &logging) {
        Ok(server) => server.watch(),
        Err(words) => {
            tracing::error!("{words}");
            ExitCode::FAILURE
        }
    };
    logging.flush();
    code
}

/// SIGTERM when the process that has started us ends, however it does.
fn end_with(parent: i32) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|error| format!("--end-with: {error}"))?;
    // It may have ended before that.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
        return Err("the process that it was to end with has ended".into());
    }
    Ok(())
}

fn configuration(arguments: &Serve) -> Result<Config, Vec<String>> {
    arguments.settings.load(Overrides {
        listen: arguments.listen.clone(),
        cores: arguments.cores.clone(),
        freshness: arguments.freshness.clone(),
        not_built: arguments.ssh_listen.iter().map(|_| "--ssh-listen").collect(),
        ..Overrides::default()
    })
}

/// How many shards run: one a core, if nothing is said.
fn shards(config: &Config) -> usize {
    config.node.cores.unwrap_or_else(|| placement::cores().len()).max(1)
}

/// Panics go to the log, in one line, with their place.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place = place.as_deref(), "panic: {}", task::words(panic.payload()));
    }));
}

/// Everything that runs.
struct Server {
    node: Arc<Node>,
    post: Post,
    stops: Vec<Stop>,
    watch: Watch,
    shards: usize,
    events: flume::Receiver<Event>,
    syncs: Option<Threads>,
    logging: Logging,
}

/// What the main thread hears.
enum Event {
    /// The store is loaded and synchronisation runs; or not, and why.
    Loaded(Result<Threads, String>),
    Signal(i32),
    Ended(usize, Ended),
}

impl Server {
    fn start(config: Arc<Config>, logging: &Logging) -> Result<Self, String> {
        let (sender, events) = flume::unbounded();
        // First of all, so that a signal during a long start ends it in order.
        watch_signals(sender.clone())?;
        // Before anything that others can see: a second process on the same data is told so and touches nothing.
        let data = DataDirectory::lock(&config.node.data).map_err(|error| match error {
            StoreError::InUse => held(&config.node.data),
            error => format!("the data directory {}: {error}", config.node.data.display()),
        })?;
        let holder = Holder::this(Kind::Node);
        holder
            .sign(&data)
            .map_err(|error| format!("the lock of the data directory {}: {error}", config.node.data.display()))?;
        let cores = placement::cores();
        let shards = shards(&config);
        let bind = |address: SocketAddr, count| {
            Listener::bind(address, count).map_err(|error| format!("can't listen on {address}: {error}"))
        };
        let (main_listeners, main_address) = bind(config.http.listen, shards)?;
        let (admin_listeners, admin_address) = bind(config.admin.listen, 1)?;

        let (post, inboxes) = Post::new(shards);
        let session_id = Some(session_id());
        tracing::debug!(session_id, "offered to clients");
        let policy = Arc::new(Policy {
            session_id,
            parks_wants: true,
            ..Policy::mirror(concat!("heliostat/", env!("CARGO_PKG_VERSION")))
        });
        let tools = Tools {
            post: post.clone(),
            policy: policy.clone(),
            spool: config.node.data.clone(),
            room: Room::new(config.limits.spool),
            plans: Arc::new(SharedPlans::new(config.cache.bytes)),
            counts: Arc::default(),
        };
        let workers = Workers::start(shards.max(2), &tools).map_err(|error| format!("starting threads: {error}"))?;
        let admission = Admission::new(preflight::descriptors_max(), &config.limits);
        if admission.connections_max() < config.limits.connections {
            tracing::warn!(
                "room for {} connections, not {}: the process may not open more files",
                admission.connections_max(),
                config.limits.connections
            );
        }
        let desk = Desk::start().map_err(|error| format!("starting threads: {error}"))?;
        let tls = config.http.tls.clone().map(Serving::open).transpose()?;
        crate::tls::watch(tls.clone().into_iter().map(|tls| tls as Arc<dyn Renewable>).collect())?;
        // Their threads end with the process: what they do can be given up at any instant.
        let (rights, _) = Rights::start(&config)?;
        let staff = Staff { workers, desk, rights };
        let node = Arc::new(Node::new(config.clone(), holder, admission, staff, policy, shards).with_tls(tls));
        load(node.clone(), data, sender.clone())?;

        let mut stops = Vec::new();
        let mut watched = Vec::new();
        let mut admin_listeners = admin_listeners.into_iter();
        for (index, (listener, inbox)) in main_listeners.into_iter().zip(inboxes).enumerate() {
            stops.push(listener.stop().map_err(|error| format!("a second handle of a socket: {error}"))?);
            let pulse = Pulse::default();
            let beats = pulse.clone();
            let listeners = std::iter::once((Door::Main, listener))
                // The admin port lives on the first shard.
                .chain(admin_listeners.next().map(|listener| (Door::Admin, listener)))
                .collect();
            let seat = Seat { index, node: node.clone(), post: post.clone(), inbox, listeners, pulse };
            // More shards than cores: none is pinned, the kernel knows better.
            let core = cores.get(index).copied().filter(|_| shards <= cores.len());
            let sender = sender.clone();
            let sleeper = executor::start(
                index,
                core,
                move || crate::shard::run(seat),
                move |index, how| {
                    // Nobody listens any more when the process is ending.
                    let _ = sender.send(Event::Ended(index, how));
                },
            )
            .map_err(|error| format!("starting shard {index}: {error}"))?;
            watched.push((beats, sleeper));
        }
        let tls = config.http.tls.is_some();
        tracing::info!(http = %main_address, tls, admin = %admin_address, shards, "listening");
        Ok(Self {
            node,
            post,
            stops,
            watch: Watch::new(watched),
            shards,
            events,
            syncs: None,
            logging: logging.clone(),
        })
    }

    /// Waits for a signal, and for anything that must not happen.
    fn watch(mut self) -> ExitCode {
        loop {
            match self.events.recv_timeout(LOOK) {
                Ok(Event::Signal(signal)) => {
                    tracing::info!(signal, "draining: no new connections, live requests go on");
                    return self.drain();
                }
                Ok(Event::Loaded(Ok(threads))) => {
                    tracing::info!(seconds = self.node.started.elapsed().as_secs_f32(), "loaded");
                    self.syncs = Some(threads);
                }
                Ok(Event::Loaded(Err(words))) => {
                    tracing::error!("{words}");
                    return ExitCode::FAILURE;
                }
                Ok(Event::Ended(shard, Ended::NotStarted(error))) => {
                    tracing::error!(
                        shard,
                        error,
                        "a shard can't start; for want of memory: the memory-lock limit counts all that this user's \
                         processes have locked, raise it (ulimit -l, LimitMEMLOCK= in systemd)"
                    );
                    return ExitCode::from(EX_CONFIG);
                }
                Ok(Event::Ended(shard, how)) => {
                    tracing::error!(shard, ?how, "a shard has ended; without it connections would hang, so we end too");
                    return ExitCode::FAILURE;
                }
                Err(_) => {
                    for finding in self.watch.look() {
                        match finding {
                            Finding::Silent(shard) => tracing::error!(shard, "a shard has been silent for ten seconds"),
                            Finding::Dead(shard) => {
                                tracing::error!(shard, "a shard has been silent for a minute; we end");
                                return ExitCode::FAILURE;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Ends in order: sockets, requests, synchronisation.
    fn drain(mut self) -> ExitCode {
        self.node.stage.advance(State::Draining);
        for stop in &self.stops {
            stop.stop();
        }
        self.post.drain();
        let (mut running, began) = (self.shards, Instant::now());
        let mut code = ExitCode::SUCCESS;
        while running > 0 {
            let waited = began.elapsed();
            if waited >= DRAIN_TIME && !self.node.stage.is_over() {
                tracing::warn!(requests = self.node.live(), "draining took too long: live requests end with an error");
                self.node.stage.advance(State::Over);
            }
            if waited >= DRAIN_TIME + LAST_WORDS {
                tracing::error!("shards do not end; they are left");
                code = ExitCode::FAILURE;
                break;
            }
            match self.events.recv_timeout(Duration::from_millis(100)) {
                Ok(Event::Signal(signal)) => {
                    tracing::warn!(signal, "a second signal: ending at once");
                    self.logging.flush();
                    std::process::exit(128 + signal);
                }
                Ok(Event::Ended(_, Ended::Done)) => running -= 1,
                Ok(Event::Ended(shard, how)) => {
                    tracing::error!(shard, ?how, "a shard failed while draining");
                    running -= 1;
                    code = ExitCode::FAILURE;
                }
                // Loading that ended too late to matter.
                Ok(Event::Loaded(loaded)) => self.syncs = loaded.ok(),
                // Who sleeps does not hear that it shall drain.
                Err(_) => drop(self.watch.look()),
            }
        }
        self.node.rights.stop();
        if let Some(threads) = self.syncs.take() {
            threads.stop(SYNC_END_TIME);
        }
        tracing::info!(seconds = began.elapsed().as_secs_f32(), "drained");
        code
    }
}

/// That another process has the lock, and which.
fn held(data: &Path) -> String {
    let other = Holder::of(data).map(|holder| format!(": {holder}")).unwrap_or_default();
    format!("the data directory {}: {}{other}", data.display(), StoreError::InUse)
}

/// Loads the store on a thread of its own, so that `/status` can say so meanwhile. Started before the shards, whose pins
/// its own threads would inherit.
fn load(node: Arc<Node>, data: DataDirectory, events: flume::Sender<Event>) -> Result<(), String> {
    let spawned = thread::Builder::new().name("load".into()).spawn(move || {
        let loaded = catch_unwind(AssertUnwindSafe(|| mirrors(&node.config, data)))
            .unwrap_or_else(|_| Err("loading the data directory panicked".into()))
            .map(|(mirrors, threads)| {
                node.serve(mirrors);
                threads
            });
        // Nobody listens any more when the process is ending.
        let _ = events.send(Event::Loaded(loaded));
    });
    spawned.map(|_| ()).map_err(|error| format!("starting threads: {error}"))
}

fn mirrors(config: &Arc<Config>, data: DataDirectory) -> Result<(Mirrors, Threads), String> {
    let store = Store::load(data, config.store.retention())
        .map_err(|error| format!("the data directory {}: {error}", config.node.data.display()))?;
    for repository in store.all().iter() {
        repository.show_only(&config.shown(repository.path()));
    }
    let store = Arc::new(store);
    let (syncs, threads) = Syncs::start(config.clone(), store.clone())?;
    Ok((Mirrors { store, syncs }, threads))
}

/// A limit on the size of files (`ulimit -f`) is an error of the write that meets it; its signal, unheard, would end us.
fn watch_signals(events: flume::Sender<Event>) -> Result<(), String> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ]);
    let mut signals = signals.map_err(|error| format!("watching signals: {error}"))?;
    let spawned = thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGXFSZ {
                tracing::error!("a file would be larger than this process may write: raise the limit (ulimit -f)");
            } else if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    spawned.map(|_| ()).map_err(|error| format!("starting threads: {error}"))
}

/// By which the traces of clients name this run of the process. It tells nothing of it: no time, no number, no address.
fn session_id() -> String {
    let chance = RandomState::new();
    format!("{:016x}{:016x}", chance.hash_one(0), chance.hash_one(1))
}
