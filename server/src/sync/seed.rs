//! Seeding a repository from disk: a bundle or a bare repository brings the bulk, the upstream the rest.
//!
//! The seed's pack goes into the same quarantine as what the upstream then sends, and one state is published: the
//! upstream's. So nothing that only the seed names is ever advertised. The seed is opened before the upstream is asked, and
//! what is wrong with it is said of it.

use super::job;
use crate::{
    auth::{own::OwnCredential, public},
    config::{self, Config},
    upstream::{
        Asked, Context, DirectoryUpstream, GitUpstream, Phase, Upstream, UpstreamError, bundle::BundleHead,
        git::ASK_IDLE_MIN, of_ingest,
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
    sync::{Arc, atomic::AtomicBool},
};

/// Where the bulk comes from: opened, and of a form that is understood.
pub struct Seed {
    source: PathBuf,
    content: Content,
}

enum Content {
    Repository(Box<dyn Asked>),
    Bundle(BufReader<File>, Box<BundleHead>),
}

/// Seeds `path` from `seed` and syncs it, on the calling thread. The store must not be in use by running syncs.
pub fn seed(
    config: &Config,
    store: &Store,
    path: &RepositoryPath,
    seed: Seed,
    context: &Context,
) -> Result<Arc<Snapshot>, UpstreamError> {
    let upstream: Box<dyn Upstream> = open(config).map_err(UpstreamError::Ours)?;
    let path = upstream.canonical(path, &|path| store.find(path.as_str()).is_some());
    let mut asked = upstream.ask(&job::answered_before(store, &*upstream, &path), context)?;
    asked.advertised_mut().show_only(&config.shown(path.as_str()));
    job::bring(store, &*upstream, &path, &mut *asked, context, Some(seed), &AtomicBool::new(false))
}

/// The configured upstream.
pub(super) fn open(config: &Config) -> Result<Box<dyn Upstream>, String> {
    let data = config.node.data.display();
    public::note(config).map_err(|error| format!("the data directory {data}: {error}"))?;
    Ok(match &config.upstream {
        config::Upstream::Git { url, credentials, .. } => {
            let own = credentials.as_deref().map(OwnCredential::read);
            let own = own.transpose().map_err(|why| format!("`credentials` in [upstream]: {why}"))?;
            let ask_idle = ASK_IDLE_MIN.max(config.wait_max());
            Box::new(GitUpstream::through(url, config.upstream.egress()?, ask_idle)?.with_credential(own))
        }
        config::Upstream::Directory(folder) => Box::new(DirectoryUpstream::new(folder, &config.node.data)?),
    })
}

impl Seed {
    /// Opens the repository or the bundle `source`. `spool` is a folder for what has to be encoded anew.
    pub fn open(source: &Path, spool: &Path, context: &Context) -> Result<Self, UpstreamError> {
        let unusable = |error: io::Error| of_seed(source, UpstreamError::Unreachable(error.to_string()));
        let found = source.canonicalize().map_err(unusable)?;
        let content = if found.is_dir() {
            let asked = DirectoryUpstream::open_repository(&found, spool, context);
            Content::Repository(asked.map_err(|error| of_seed(source, error))?)
        } else {
            let mut file = BufReader::with_capacity(1 << 20, File::open(&found).map_err(unusable)?);
            let head = BundleHead::read(&mut file);
            let head = head.map_err(|error| of_seed(source, UpstreamError::NotGit(error.to_string())))?;
            Content::Bundle(file, Box::new(head))
        };
        Ok(Self { source: source.to_owned(), content })
    }

    /// Where it lies, as it was called.
    pub(super) fn source(&self) -> &Path {
        &self.source
    }

    /// Brings the seed's objects into `quarantine`, and gives the references whose history is now there.
    pub(super) fn plant(self, quarantine: &mut Quarantine, context: &Context) -> Result<RefTable, UpstreamError> {
        let Self { source, content } = self;
        context.progress.enter(Phase::Receiving);
        let planted = match content {
            Content::Repository(asked) => plant_repository(asked, quarantine),
            Content::Bundle(file, head) => plant_bundle(file, *head, quarantine, context),
        };
        planted.map_err(|error| of_seed(&source, error))
    }
}

fn plant_repository(mut asked: Box<dyn Asked>, quarantine: &mut Quarantine) -> Result<RefTable, UpstreamError> {
    let refs = asked.advertised().refs.clone();
    asked.fetch(None, quarantine, u64::MAX)?;
    Ok(refs.as_ref().clone())
}

fn plant_bundle(
    mut file: BufReader<File>,
    head: BundleHead,
    quarantine: &mut Quarantine,
    context: &Context,
) -> Result<RefTable, UpstreamError> {
    if let Some(missing) = head.prerequisites.iter().find(|id| !quarantine.has(id)) {
        return Err(UpstreamError::NotGit(format!("the bundle builds on commit {missing}, which is not here")));
    }
    quarantine.ingest(&mut file, &context.stop).map_err(of_ingest)?;
    context.progress.add_bytes(file.stream_position().unwrap_or(0));
    Ok(head.refs)
}

/// What the words for an upstream mean where a seed was read.
fn of_seed(source: &Path, error: UpstreamError) -> UpstreamError {
    let why = match error {
        UpstreamError::Stopped | UpstreamError::Ours(_) | UpstreamError::Seed(_) => return error,
        UpstreamError::Missing => "neither a Git repository nor a bundle".into(),
        UpstreamError::Broken(why) => format!("damaged: {why}"),
        UpstreamError::Unreachable(why) | UpstreamError::Unreadable(why) => why,
        UpstreamError::NotGit(why) | UpstreamError::Unsupported(why) => why,
        other => other.to_string(),
    };
    UpstreamError::Seed(format!("{}: {why}", source.display()))
}

/// Where proving failed: nobody can say whose object it was.
pub(super) fn of_both(source: &Path, error: UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::Broken(why) => {
            UpstreamError::Seed(format!("what came from {} or from the upstream is damaged: {why}", source.display()))
        }
        other => other,
    }
}
