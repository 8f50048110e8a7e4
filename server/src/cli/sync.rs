//! `heliostat sync`: brings repositories up to date now, through the running node or, where none runs, by itself.
//!
//! Exit codes: 0 all are current; 1 some are not, each named on standard error; 2 mistakes in the configuration or in how
//! the command was called.

mod node;
mod progress;

use super::{complain, say, settings::Settings, usage};
use crate::{
    config::{Config, Overrides},
    sync::{Confirmed, Seed, Syncs, seed},
    upstream::{Context, Phase},
};
use futures_lite::future::block_on;
use heliostat_core::{
    RepositoryPath,
    store::{Snapshot, Store, StoreError},
};
use progress::Display;
use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// What the threads of synchronisation get to end.
const END_TIME: Duration = Duration::from_secs(5);

/// Bring repositories up to date now; all of them if none is named
#[derive(Debug, clap::Args)]
pub struct Sync {
    /// Paths of repositories, as in `team/app.git`
    #[arg(value_name = "REPO")]
    repositories: Vec<RepositoryPath>,
    /// Take the bulk of one repository from a bundle or a repository on disk, and only the rest from the upstream
    #[arg(long, value_name = "BUNDLE|DIR")]
    from: Option<PathBuf>,
    /// Not built yet
    #[arg(long, hide = true)]
    accept_mass_change: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What came of one repository: words for success, or for what went wrong.
type Outcome = Result<String, String>;

/// Runs to the end.
pub fn run(arguments: &Sync) -> ExitCode {
    let config = match configuration(arguments) {
        Ok(config) => Arc::new(config),
        Err(words) => return usage(&words),
    };
    let context = Context { stop: Arc::default(), progress: Arc::default() };
    let seed = match (&arguments.from, arguments.repositories.as_slice()) {
        (None, _) => None,
        // Before anything else: what is wrong with it is neither the node's nor the upstream's fault.
        (Some(source), [path]) => match Seed::open(source, &config.node.data, &context) {
            Ok(seed) => Some((path, seed)),
            Err(error) => return usage(&[format!("--from: {error}")]),
        },
        (Some(_), _) => return usage(&["--from seeds one repository: name it".into()]),
    };
    match Store::open(&config.node.data, config.store.retention()) {
        Ok(store) => match seed {
            Some((path, seed)) => conclude([(path.clone(), seeded(&config, &store, path, seed, &context))]),
            None => alone(arguments, &config, Arc::new(store)),
        },
        Err(StoreError::InUse) => beside_a_node(arguments, &config),
        Err(error) => {
            complain(format_args!("heliostat: the data directory {}: {error}", config.node.data.display()));
            ExitCode::FAILURE
        }
    }
}

fn configuration(arguments: &Sync) -> Result<Config, Vec<String>> {
    // Who names repositories on the command line has said what to mirror.
    let named = arguments.settings.config.is_none().then(|| arguments.repositories.iter().map(ToString::to_string));
    arguments.settings.load(Overrides {
        mirrors: named.into_iter().flatten().collect(),
        not_built: if arguments.accept_mass_change { vec!["--accept-mass-change"] } else { Vec::new() },
        ..Overrides::default()
    })
}

/// No node runs: the work is done here.
fn alone(arguments: &Sync, config: &Arc<Config>, store: Arc<Store>) -> ExitCode {
    let (syncs, threads) = match Syncs::start(config.clone(), store) {
        Ok(started) => started,
        Err(error) => return usage(&[error]),
    };
    let paths = if arguments.repositories.is_empty() {
        match syncs.repositories() {
            Ok(paths) => paths.into_iter().collect(),
            Err(error) => {
                complain(format_args!("heliostat: {error}"));
                threads.stop(END_TIME);
                return ExitCode::FAILURE;
            }
        }
    } else {
        arguments.repositories.clone()
    };
    let answers: Vec<_> = paths.into_iter().map(|path| (syncs.confirm(path.as_str()), path)).collect();
    let display = Display::start({
        let syncs = syncs.clone();
        move || syncs.activities()
    });
    let outcomes = answers.into_iter().map(|(answer, path)| {
        let outcome = match block_on(answer) {
            Ok(confirmed) => outcome(confirmed),
            Err(_) => Err("interrupted".into()),
        };
        (path, outcome)
    });
    let outcomes: Vec<_> = outcomes.collect();
    display.end();
    threads.stop(END_TIME);
    conclude(outcomes)
}

fn seeded(config: &Config, store: &Store, path: &RepositoryPath, from: Seed, context: &Context) -> Outcome {
    let display = Display::start({
        let activity = crate::sync::Activity { path: path.clone(), progress: context.progress.clone() };
        move || match activity.progress.phase() {
            Phase::Done => Vec::new(),
            _ => vec![activity.clone()],
        }
    });
    let result = seed(config, store, path, from, context);
    display.end();
    result.map(|snapshot| described(&snapshot)).map_err(|error| error.to_string())
}

fn outcome(confirmed: Confirmed) -> Outcome {
    match confirmed {
        Confirmed::Current(snapshot) => Ok(described(&snapshot)),
        Confirmed::Stale(_, fault) => Err(format!("not brought up to date: {fault}")),
        Confirmed::NotFound => Err("not found: the upstream has no such repository, or no rule mirrors it".into()),
        Confirmed::Denied(status) => Err(format!("the upstream refuses access ({status})")),
        Confirmed::Unsupported(fault) | Confirmed::Unavailable(fault) => Err(fault.to_string()),
    }
}

fn described(snapshot: &Snapshot) -> String {
    format!("current, generation {}, {} references", snapshot.generation.n, snapshot.refs.len())
}

/// A node runs on the data directory: it is asked to do the work.
fn beside_a_node(arguments: &Sync, config: &Config) -> ExitCode {
    let address = config.admin.listen;
    if arguments.from.is_some() {
        complain(format_args!(
            "heliostat: a node runs on {}: stop it to seed a repository from disk",
            config.node.data.display()
        ));
        return ExitCode::FAILURE;
    }
    let repositories = if arguments.repositories.is_empty() {
        match known(&config.node.data) {
            Ok(paths) => paths,
            Err(error) => {
                complain(format_args!("heliostat: {}: {error}", config.node.data.display()));
                return ExitCode::FAILURE;
            }
        }
    } else {
        arguments.repositories.clone()
    };
    let display = Display::waiting(&format!("the node at {address} is at work"));
    let ask = |path: RepositoryPath| {
        let outcome = node::sync(address, config.admin.token.as_deref(), &path);
        (path, outcome)
    };
    let outcomes: Vec<_> = repositories.into_iter().map(ask).collect();
    display.end();
    conclude(outcomes)
}

/// The repositories of a data directory that another process holds, by the `path` file that each has.
fn known(data: &Path) -> io::Result<Vec<RepositoryPath>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(data.join("repositories"))? {
        // One that is being made or removed has none.
        if let Ok(path) = std::fs::read(entry?.path().join("path"))
            && let Ok(path) = RepositoryPath::new(path.trim_ascii_end())
        {
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    Ok(paths)
}

/// Prints what came of each.
fn conclude(outcomes: impl IntoIterator<Item = (RepositoryPath, Outcome)>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (path, outcome) in outcomes {
        match outcome {
            Ok(words) => say(format_args!("{path}: {words}")),
            Err(words) => {
                complain(format_args!("{path}: {words}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
