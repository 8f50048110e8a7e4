//! Any smart-HTTP Git host.
//!
//! Promises: what is advertised is read whole or not at all; a repository that can't be mirrored truly (SHA-256, shallow)
//! is refused in words; a pack that is damaged or lacks a base is asked for once more without telling what is here.
//!
//! `team/app` and `team/app.git` are one repository. Most hosts serve both, some only one, some send the one to the other
//! with a redirection; none that is known serves two repositories under them but a bare `git http-backend` with both
//! directories, of which `app.git` is mirrored. The spelling with `.git` is asked for first, whichever the client used, so
//! that what is mirrored does not depend on who comes first; the other one only when that was denied or redirected. The
//! spelling that was answered becomes the repository's path in the store, and is asked for first from then on.

pub mod advertisement;
mod conversation;
mod haves;

use super::{
    Advertised, Asked, ById, Context, Grounds, Have, Phase, Spellings, Upstream, UpstreamError,
    transport::{BaseUrl, Egress, Patience, Proxies, Session},
};
use crate::auth::own::OwnCredential;
use conversation::Conversation;
use heliostat_core::{
    ObjectId, RepositoryPath,
    limits::{UPSTREAM_BY_ID_TRIES_MAX, UPSTREAM_REFS_BYTES_MAX},
    store::Quarantine,
};
use std::{
    collections::HashSet,
    io::BufRead,
    iter,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long an upstream may be silent while references are asked for. Longer than the `wait` of a mirror that is one's
/// upstream, which says nothing while it mirrors for the first time. Clients don't wait for it: they have their own `wait`.
pub const ASK_IDLE_MIN: Duration = Duration::from_secs(45);
/// And while it makes a pack: git-upload-pack says something every 5 s, but a host behind a proxy may not get through.
const FETCH_IDLE: Duration = Duration::from_secs(60);
/// How long one question for references may take in all.
const ASK_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one fetch may take in all: 100 GB at 10 MB/s are three hours.
const FETCH_TIMEOUT: Duration = Duration::from_secs(4 * 3600);

/// A smart-HTTP host.
#[derive(Clone)]
pub struct GitUpstream {
    base: Arc<BaseUrl>,
    egress: Egress,
    /// How long it may be silent while references are asked for.
    ask_idle: Duration,
    own: Option<OwnCredential>,
}

impl GitUpstream {
    /// The host at `url`, reached directly; `ca` names additional trust anchors; `ask_idle` is how long it may be silent
    /// while references are asked for, [`ASK_IDLE_MIN`] if nothing speaks for more.
    pub fn new(url: &str, ca: Option<&Path>, ask_idle: Duration) -> Result<Self, String> {
        Self::through(url, Egress::new(ca, None, Proxies::default())?, ask_idle)
    }

    /// The host at `url`, reached as `egress` says.
    pub fn through(url: &str, egress: Egress, ask_idle: Duration) -> Result<Self, String> {
        let base = BaseUrl::parse(url).map_err(|error| error.to_string())?;
        Ok(Self { base: Arc::new(base), egress, ask_idle, own: None })
    }

    /// The same, asked with the mirror's own credential.
    #[must_use]
    pub fn with_credential(self, own: Option<OwnCredential>) -> Self {
        Self { own, ..self }
    }

    fn converse(
        &self,
        path: &RepositoryPath,
        context: &Context,
    ) -> Result<(Conversation, Option<Advertised>), UpstreamError> {
        let url_path = format!("{}/{}", self.base.path, path.to_url_path());
        let (session, control) = Session::new(
            self.base.origin.clone(),
            url_path,
            self.egress.clone(),
            self.patience(context),
            context.progress.clone(),
            self.own.as_ref(),
        );
        control.allow(UPSTREAM_REFS_BYTES_MAX, self.patience(context));
        Conversation::open(session, control, context.progress.clone())
    }

    /// With a question for references.
    fn patience(&self, context: &Context) -> Patience {
        patience(context, self.ask_idle, ASK_TIMEOUT.max(self.ask_idle))
    }
}

fn patience(context: &Context, idle: Duration, total: Duration) -> Patience {
    Patience { stop: context.stop.clone(), idle, deadline: Instant::now() + total }
}

impl Upstream for GitUpstream {
    fn list(&self, _context: &Context) -> Result<Option<Vec<RepositoryPath>>, UpstreamError> {
        Ok(None)
    }

    fn canonical(&self, path: &RepositoryPath, _is_mirrored: &dyn Fn(&RepositoryPath) -> bool) -> RepositoryPath {
        self.spellings(path).next().unwrap_or_else(|| path.clone())
    }

    fn spellings(&self, path: &RepositoryPath) -> Spellings {
        match path.other_spelling() {
            Some(other) if other.as_str().ends_with(".git") => iter::once(other).chain(Some(path.clone())),
            other => iter::once(path.clone()).chain(other),
        }
    }

    fn tells_spellings_apart(&self) -> bool {
        false
    }

    fn ask(&self, path: &RepositoryPath, context: &Context) -> Result<Box<dyn Asked>, UpstreamError> {
        context.progress.enter(Phase::Asking);
        let first = match self.ask_as(path, context) {
            Err(error) if is_about_the_path(&error) => error,
            other => return other,
        };
        let Some(other) = path.other_spelling() else { return Err(first) };
        match (self.ask_as(&other, context), &first) {
            (Ok(asked), _) => Ok(asked),
            // A redirection from one spelling to the other says nothing that the other has not said.
            (Err(UpstreamError::Redirected { .. }), _) => Err(first),
            (Err(second), UpstreamError::Missing | UpstreamError::Redirected { .. }) => Err(second),
            _ => Err(first),
        }
    }
}

/// Whether another spelling of the path may be answered otherwise.
fn is_about_the_path(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Missing | UpstreamError::Denied(_) | UpstreamError::Redirected { .. })
}

impl GitUpstream {
    /// Asks under this very spelling.
    fn ask_as(&self, path: &RepositoryPath, context: &Context) -> Result<Box<dyn Asked>, UpstreamError> {
        let (mut conversation, refs) = self.converse(path, context)?;
        let advertised = match refs {
            Some(advertised) => advertised,
            None => conversation.ls_refs()?,
        };
        let (upstream, path) = (self.clone(), path.clone());
        Ok(Box::new(AskedGit { upstream, path, conversation, advertised, context: context.clone() }))
    }
}

struct AskedGit {
    upstream: GitUpstream,
    path: RepositoryPath,
    conversation: Conversation,
    advertised: Advertised,
    context: Context,
}

impl Asked for AskedGit {
    fn advertised(&self) -> &Advertised {
        &self.advertised
    }

    fn advertised_mut(&mut self) -> &mut Advertised {
        &mut self.advertised
    }

    fn path(&self) -> Option<&RepositoryPath> {
        Some(&self.path)
    }

    fn fetch(
        &mut self,
        have: Option<Have<'_>>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<(), UpstreamError> {
        let refs = self.advertised.refs.clone();
        let mut seen = HashSet::new();
        let wants: Vec<_> = super::tips_of(&refs).filter(|id| seen.insert(*id) && !quarantine.has(id)).collect();
        if wants.is_empty() {
            return Ok(());
        }
        let (context, stop) = (self.context.clone(), self.context.stop.clone());
        // Side-band frames add 5 bytes to each 65,515.
        let bytes_max = pack_bytes_max.saturating_add(pack_bytes_max / 64).saturating_add(1 << 20);
        let mut take = |pack: &mut dyn BufRead| {
            context.progress.enter(Phase::Receiving);
            quarantine.ingest(pack, &stop).map(|_| ()).map_err(super::of_ingest)
        };
        context.progress.enter(Phase::Negotiating);
        self.conversation.allow(bytes_max, patience(&context, FETCH_IDLE, FETCH_TIMEOUT));
        let first = haves::fetch(&mut self.conversation, &wants, &refs, have, &stop, &mut take);
        match first {
            Err(error) if error.is_damage() && have.is_some() => {
                tracing::warn!(repository = %self.path, %error, "fetching again, without telling what is here");
                let (mut conversation, _) = self.upstream.converse(&self.path, &context)?;
                conversation.allow(bytes_max, patience(&context, FETCH_IDLE, FETCH_TIMEOUT));
                haves::fetch(&mut conversation, &wants, &refs, None, &stop, &mut take)
            }
            other => other,
        }
    }

    fn fetch_by_id(
        &mut self,
        groups: &[Vec<ObjectId>],
        _grounds: Grounds,
        have: Have<'_>,
        quarantine: &mut Quarantine,
        pack_bytes_max: u64,
    ) -> Result<ById, UpstreamError> {
        let (context, stop) = (self.context.clone(), self.context.stop.clone());
        let mut take = |pack: &mut dyn BufRead| {
            context.progress.enter(Phase::Receiving);
            quarantine.ingest(pack, &stop).map(|_| ()).map_err(super::of_ingest)
        };
        let mut groups = groups.to_vec();
        let mut refused = Vec::new();
        // The upstream names one that it does not give, and gives none then.
        for _ in 0..UPSTREAM_BY_ID_TRIES_MAX {
            let mut seen = HashSet::new();
            let ids: Vec<_> = groups.iter().flatten().copied().filter(|id| seen.insert(*id)).collect();
            if ids.is_empty() {
                break;
            }
            let (mut conversation, _) = self.upstream.converse(&self.path, &context)?;
            if !conversation.gives_by_id() {
                refused.extend(ids);
                break;
            }
            conversation.allow(pack_bytes_max, patience(&context, FETCH_IDLE, FETCH_TIMEOUT));
            let refs = self.advertised.refs.clone();
            match haves::fetch(&mut conversation, &ids, &refs, Some(have), &stop, &mut take) {
                Ok(()) => return Ok(ById { given: ids, refused }),
                Err(UpstreamError::Refused(words)) => {
                    let Some(id) = ids.into_iter().find(|id| words.contains(&id.to_string())) else {
                        return Err(UpstreamError::Refused(words));
                    };
                    refused.push(id);
                    groups.retain(|group| !group.contains(&id));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ById { given: Vec::new(), refused })
    }
}
