//! Seeding a repository from disk: a bundle or a bare repository brings the bulk, the upstream the rest.
//!
//! The seed's pack goes into the same quarantine as what the upstream then sends, and one state is published: the
//! upstream's. So nothing that only the seed names is ever advertised.

use super::job;
use crate::{
    config::{self, Config},
    upstream::{
        Context, DirectoryUpstream, GitUpstream, Phase, Upstream, UpstreamError, bundle::BundleHead, of_ingest,
    },
};
use heliostat_core::{
    RepositoryPath,
    refs::RefTable,
    store::{Quarantine, Snapshot, Store},
};
use std::{
    fs::File,
    io::{self, BufReader, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where the bulk comes from.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    source: PathBuf,
    /// For what has to be encoded anew.
    spool: PathBuf,
}

/// Seeds `path` from `source` and syncs it, on the calling thread. The store must not be in use by running syncs.
pub fn seed(
    config: &Config,
    store: &Store,
    path: &RepositoryPath,
    source: &Path,
    context: &Context,
) -> Result<Arc<Snapshot>, UpstreamError> {
    let upstream: Box<dyn Upstream> = open(config).map_err(UpstreamError::Ours)?;
    let path = upstream.canonical(path);
    let asked = upstream.ask(&job::answered_before(store, &*upstream, &path), context)?;
    let seed = Seed { source: source.to_owned(), spool: config.node.data.clone() };
    job::bring(store, &*upstream, &path, asked, context, Some(&seed))
}

/// The configured upstream.
pub(super) fn open(config: &Config) -> Result<Box<dyn Upstream>, String> {
    Ok(match &config.upstream {
        config::Upstream::Git { url, ca } => Box::new(GitUpstream::new(url, ca.as_deref())?),
        config::Upstream::Directory(folder) => Box::new(DirectoryUpstream::new(folder, &config.node.data)?),
    })
}

impl Seed {
    /// Brings the seed's objects into `quarantine`, and gives the references whose history is now there.
    pub(super) fn plant(&self, quarantine: &mut Quarantine, context: &Context) -> Result<RefTable, UpstreamError> {
        context.progress.enter(Phase::Receiving);
        if self.source.is_dir() {
            return self.plant_directory(quarantine, context);
        }
        let unreadable = |error: io::Error| UpstreamError::Ours(format!("{}: {error}", self.source.display()));
        let mut file = BufReader::with_capacity(1 << 20, File::open(&self.source).map_err(unreadable)?);
        let head = BundleHead::read(&mut file)
            .map_err(|error| UpstreamError::Ours(format!("{}: {error}", self.source.display())))?;
        if let Some(missing) = head.prerequisites.iter().find(|id| !quarantine.has(id)) {
            let source = self.source.display();
            return Err(UpstreamError::Ours(format!(
                "{source}: the bundle builds on commit {missing}, which is not here"
            )));
        }
        quarantine.ingest(&mut file, &context.stop).map_err(of_ingest)?;
        context.progress.add_bytes(file.stream_position().unwrap_or(0));
        Ok(head.refs)
    }

    fn plant_directory(&self, quarantine: &mut Quarantine, context: &Context) -> Result<RefTable, UpstreamError> {
        let source = self.source.canonicalize().map_err(|error| UpstreamError::Ours(error.to_string()))?;
        let asked = DirectoryUpstream::open_repository(&source, &self.spool, context)?;
        let refs = asked.advertised().refs.clone();
        asked.fetch(None, quarantine, u64::MAX)?;
        Ok(refs.as_ref().clone())
    }
}
