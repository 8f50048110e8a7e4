//! `heliostat purge`: drops a repository, or what no reference of it reaches, from the disk at once; through the running node
//! or, where none runs, by itself.
//!
//! Exit codes: 0 it is gone; 1 it is not, or was not here; 2 mistakes in the configuration or in how the command was called.

use super::{
    beside::{self, Outcome, Place},
    complain, say,
    settings::Settings,
    usage,
};
use crate::config::{Beside, Config, Overrides, Upstream};
use heliostat_core::{
    RepositoryPath,
    store::{MirroredRepository, Store},
};
use indicatif::HumanBytes;
use std::{
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

/// Drop a repository from the disk at once
#[derive(Debug, clap::Args)]
pub struct Purge {
    /// The path of the repository, as in `team/app.git`
    #[arg(value_name = "REPO")]
    repository: RepositoryPath,
    /// Drop only what no reference reaches, and earlier generations
    #[arg(long)]
    unreachable: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Runs to the end.
pub fn run(arguments: &Purge) -> ExitCode {
    let asked = match arguments.settings.load_beside(Overrides::default()) {
        Ok(asked) => asked,
        Err(words) => return usage(&words),
    };
    let (path, unreachable) = (&arguments.repository, arguments.unreachable);
    let outcome = match Place::find(&asked, false) {
        Ok(Place::Beside(client, _)) => client.purge(path, unreachable),
        Ok(Place::Alone(store)) => alone(&asked, &store, path, unreachable),
        Err(refusal) => return beside::refused(refusal),
    };
    match outcome {
        Ok(words) => {
            say(format_args!("{path}: {words}"));
            ExitCode::SUCCESS
        }
        Err(words) => {
            complain(format_args!("{path}: {words}"));
            ExitCode::FAILURE
        }
    }
}

/// What is said of so many bytes.
pub(super) fn described(bytes: u64) -> String {
    format!("purged, {} of packs less", HumanBytes(bytes))
}

/// What is said of what is not here.
pub(super) const ABSENT: &str = "there is no such repository here";

fn alone(asked: &Beside, store: &Store, path: &RepositoryPath, unreachable: bool) -> Outcome {
    let mut bytes = None;
    for copy in copies(asked.config.as_ref().ok(), store, path) {
        let freed = if unreachable {
            copy.purge_unreachable(&AtomicBool::new(false))
        } else {
            let size = copy.disk_bytes();
            store.remove(copy.path()).map(|_| size)
        };
        bytes = Some(bytes.unwrap_or(0) + freed.map_err(|error| error.to_string())?);
    }
    bytes.map(described).ok_or_else(|| ABSENT.into())
}

/// The repository under its own name, or else under its other spelling; both, where they are known to be one.
fn copies(config: Option<&Config>, store: &Store, path: &RepositoryPath) -> Vec<Arc<MirroredRepository>> {
    let are_one = config.is_some_and(|config| matches!(config.upstream, Upstream::Git { .. }));
    let spellings = std::iter::once(path.clone()).chain(path.other_spelling());
    let found = spellings.filter_map(|path| store.find(path.as_str()));
    found.take(if are_one { 2 } else { 1 }).collect()
}
