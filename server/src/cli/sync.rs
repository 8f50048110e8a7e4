//! `heliostat sync`: brings repositories up to date now, through the running node or, where none runs, by itself.
//!
//! Exit codes: 0 all are current; 1 some are not, each named on standard error; 2 mistakes in the configuration or in how
//! the command was called.

pub(super) mod progress;

use super::{
    beside::{self, Client, Identity, Outcome, Place},
    complain, say,
    settings::Settings,
    usage,
};
use crate::{
    config::{Beside, Config, Overrides},
    sync::{Confirmed, Seed, Syncs, seed},
    upstream::{Context, Phase},
};
use futures_lite::future::block_on;
use heliostat_core::{
    RepositoryPath,
    store::{Snapshot, Store},
};
use progress::{Display, Step};
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

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

/// Runs to the end.
pub fn run(arguments: &Sync) -> ExitCode {
    let asked = match configuration(arguments) {
        Ok(asked) => asked,
        Err(words) => return usage(&words),
    };
    let context = Context { stop: Arc::default(), progress: Arc::default() };
    let seed = match (&arguments.from, arguments.repositories.as_slice()) {
        (None, _) => None,
        // Before anything else: what is wrong with it is neither the node's nor the upstream's fault.
        (Some(source), [path]) => match Seed::open(source, &asked.node.data, &context) {
            Ok(seed) => Some((path, seed)),
            Err(error) => return usage(&[format!("--from: {error}")]),
        },
        (Some(_), _) => return usage(&["--from seeds one repository: name it".into()]),
    };
    let (config, store) = match Place::find(&asked, true) {
        Ok(Place::Beside(client, identity)) => return beside_a_node(arguments, &client, &identity),
        Ok(Place::Alone(store)) => match asked.config {
            Ok(config) => (Arc::new(config), Arc::new(store)),
            Err(missing) => return usage(&super::settings::in_words(&missing)),
        },
        Err(refusal) => return beside::refused(refusal),
    };
    match seed {
        Some((path, seed)) => conclude([(path.clone(), seeded(&config, &store, path, seed, &context))]),
        None => alone(arguments, &config, store),
    }
}

fn configuration(arguments: &Sync) -> Result<Beside, Vec<String>> {
    // Who names repositories on the command line has said what to mirror.
    let named = arguments.settings.config.is_none().then(|| arguments.repositories.iter().map(ToString::to_string));
    arguments.settings.load_beside(Overrides {
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
    let mut unlisted = None;
    let paths = if arguments.repositories.is_empty() {
        match block_on(syncs.repositories()) {
            Ok(found) => {
                unlisted = found.error.map(|error| error.to_string());
                found.paths.into_iter().collect()
            }
            Err(_) => {
                threads.stop(END_TIME);
                complain(format_args!("heliostat: interrupted"));
                return ExitCode::FAILURE;
            }
        }
    } else {
        arguments.repositories.clone()
    };
    let answers: Vec<_> = paths.into_iter().map(|path| (syncs.confirm(path.as_str(), None), path)).collect();
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
    listed(unlisted, conclude(outcomes))
}

/// Whether `name` may be what the upstream calls `path`.
fn is_spelling(path: &RepositoryPath, name: &str) -> bool {
    path.as_str() == name || path.other_spelling().is_some_and(|other| other.as_str() == name)
}

/// With the word that the upstream's list could not be read, if so: what it would have named is not brought up to date.
fn listed(unlisted: Option<String>, code: ExitCode) -> ExitCode {
    let Some(words) = unlisted else { return code };
    complain(format_args!("heliostat: the upstream's repositories could not be listed: {words}"));
    ExitCode::FAILURE
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
        Confirmed::Pending(_) => Err("its objects are still on their way".into()),
        Confirmed::Stale(_, fault) => Err(format!("not brought up to date: {fault}")),
        Confirmed::NotFound => Err("not found: the upstream has no such repository, or no rule mirrors it".into()),
        Confirmed::Denied(410) => Err("the upstream says that the repository is gone (410)".into()),
        Confirmed::Denied(451) => Err("the upstream withholds the repository for legal reasons (451)".into()),
        Confirmed::Denied(status) => Err(format!("the upstream refuses access ({status})")),
        Confirmed::Unsupported(fault) | Confirmed::Unavailable(fault) | Confirmed::Useless(fault) => {
            Err(fault.to_string())
        }
    }
}

fn described(snapshot: &Snapshot) -> String {
    format!("current, generation {}, {} references", snapshot.generation.n, snapshot.refs.len())
}

/// A node runs: it is asked to do the work, of which its own configuration says what there is.
fn beside_a_node(arguments: &Sync, client: &Client, identity: &Identity) -> ExitCode {
    if arguments.from.is_some() {
        let data = &identity.data;
        complain(format_args!("heliostat: a node runs on {data}: stop it to seed a repository from disk"));
        return ExitCode::FAILURE;
    }
    let display = Display::waiting(format!("the node at {}", client.address()), {
        let (client, named) = (client.clone(), arguments.repositories.clone());
        move || {
            let is_meant = |step: &Step| named.is_empty() || named.iter().any(|path| is_spelling(path, &step.name));
            client.steps().into_iter().filter(is_meant).collect()
        }
    });
    let (paths, unlisted) = match arguments.repositories.as_slice() {
        [] => match client.listed() {
            Ok(found) => found,
            Err(words) => {
                display.end();
                complain(format_args!("heliostat: {words}"));
                return ExitCode::FAILURE;
            }
        },
        named => (named.to_vec(), None),
    };
    let ask = |path: RepositoryPath| (client.sync(&path), path);
    let outcomes: Vec<_> = paths.into_iter().map(ask).map(|(outcome, path)| (path, outcome)).collect();
    display.end();
    listed(unlisted, conclude(outcomes))
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
