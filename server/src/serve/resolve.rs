//! From the path in a request to a snapshot: found here, or confirmed by the upstream within the rule's `wait`, as the
//! rule's `freshness` says. What the upstream has confirmed and what is still on its way is enough for references.
//!
//! What the upstream refused when it was asked last is refused for every request, until it shows it again: whoever asks for
//! it makes the mirror ask.
//!
//! Nothing is looked for without a [`Grant`]: a repository that nobody has asked for before is mirrored for whoever may read
//! it, and for nobody else.
//!
//! A path is known with and without `.git`. Which repository either spelling names is for the upstream's adapter to say.

use super::{
    freshness::Freshness,
    node::{Mirrors, Node, Terms},
    view::References,
};
use crate::{
    auth::{Grant, Refused},
    http::response::Response,
    shard::task,
    sync::{Confirmed, Pending},
};
use heliostat_core::{
    RepositoryPath,
    fault::Fault,
    limits::CAPABILITIES_WAIT,
    rights::Payers,
    store::{MirroredRepository, RepositoryId, Snapshot, Stale},
    sync::{Decision, Known, Mode},
};
use std::{sync::Arc, time::Duration};

pub use heliostat_core::sync::Ask;

/// Seconds until a client should try again when the upstream did not answer in time.
pub const RETRY_AFTER_SECONDS: u32 = 10;

/// A repository, ready to be answered from.
pub struct Found {
    /// Which; `None` while its first objects are on their way.
    pub repository: Option<RepositoryId>,
    /// Its upstream path, as it is mirrored.
    pub path: RepositoryPath,
    /// What is answered from.
    pub snapshot: Arc<Snapshot>,
    /// What references are told from, if something newer than the snapshot is on its way.
    pub pending: Option<Arc<Pending>>,
    /// What the upstream has to do with it.
    pub freshness: Freshness,
    /// If it is stale, why.
    pub doubt: Option<Arc<Fault>>,
    /// Whoever asked may read it.
    grant: Grant,
}

impl Found {
    /// By which it may be read.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl Found {
    /// `Heliostat-Generation`.
    pub fn generation(&self) -> String {
        if self.pending.is_some() || self.repository.is_none() {
            return "pending".into();
        }
        self.snapshot.generation.to_string()
    }

    /// Which references the answer tells.
    pub fn references(&self) -> References<'_> {
        self.pending.as_ref().map_or(References::Here { pending: None }, |pending| References::Pending(&pending.refs))
    }
}

/// Why there is nothing to answer from: what the client hears, and the words for the log.
pub struct Unresolved {
    /// What the client hears.
    pub response: Response,
    /// What the operator reads.
    pub detail: Option<String>,
    /// The upstream wants credentials for this repository: the client has to hear of which kind.
    pub wants_credentials: Option<RepositoryPath>,
}

impl Unresolved {
    fn new(response: Response) -> Self {
        Self { response, detail: None, wants_credentials: None }
    }

    fn because(response: Response, detail: impl ToString) -> Self {
        Self { detail: Some(detail.to_string()), ..Self::new(response) }
    }
}

impl From<Refused> for Unresolved {
    fn from(refused: Refused) -> Self {
        Self { detail: refused.detail(), ..Self::new(refused.response()) }
    }
}

/// Finds what is granted, asking the upstream as `ask` and the rule's mode say.
pub async fn resolve(node: &Node, grant: &Grant, ask: Ask) -> Result<Found, Unresolved> {
    let path = grant.path();
    let Some(mirrors) = node.mirrors() else {
        return Err(starting());
    };
    let terms @ Terms { freshness: mode, wait, .. } = node.terms(path);
    let known = known(mirrors, grant, mode, ask);
    // Whoever may not read it has been refused before, so that nobody else learns from this what is here.
    if !terms.on_demand && known.is_none() && mirrors.syncs.find(path).is_none() {
        return Err(Unresolved::because(Response::not_found(), "not here, and its rule mirrors nothing on demand"));
    }
    let confirmed = match (decide(node, grant, terms, ask, known.as_ref().map(|(_, known)| *known)), known) {
        (Decision::Answer, Some((found, _))) => return found.covered(node),
        (Decision::AskBriefly, Some((found, _))) => {
            match task::within(
                wait.min(CAPABILITIES_WAIT),
                mirrors.syncs.references(path.as_str(), Some(grant.payers())),
            )
            .await
            {
                Some(Ok(confirmed)) => confirmed,
                _ => return found.covered(node),
            }
        }
        _ => confirm(mirrors, path, wait, ask, Some(grant.payers())).await,
    };
    finish(node, grant, ask, confirmed)
}

/// What comes of the upstream's word.
fn finish(node: &Node, grant: &Grant, ask: Ask, confirmed: Confirmed) -> Result<Found, Unresolved> {
    let (path, Some(mirrors)) = (grant.path(), node.mirrors()) else { return Err(starting()) };
    let (snapshot, doubt) = match confirmed {
        Confirmed::Pending(pending) => {
            let found = Found { freshness: Freshness::Confirmed, doubt: None, ..on_its_way(mirrors, grant, pending) };
            return found.covered(node);
        }
        // The last word of the upstream is on its way: nobody is told less than others were before.
        Confirmed::Stale(_, fault) | Confirmed::Unavailable(fault) | Confirmed::Useless(fault)
            if ask != Ask::Whole
                && let Some(pending) = mirrors.syncs.pending(path) =>
        {
            let age = mirrors.syncs.now().saturating_sub(pending.asked_at);
            let freshness = Freshness::Stale(Stale { age: Some(age) });
            return Found { freshness, doubt: Some(fault), ..on_its_way(mirrors, grant, pending) }.covered(node);
        }
        Confirmed::Current(snapshot) => (snapshot, None),
        Confirmed::Stale(_, fault)
            if !is_proven(
                node,
                grant,
                mirrors.syncs.find(path).and_then(|m| m.standing().age(mirrors.syncs.now())),
            ) =>
        {
            return Err(unresolved(node, grant, Confirmed::Unavailable(fault)));
        }
        Confirmed::Stale(snapshot, fault) => (snapshot, Some(fault)),
        refused => return Err(unresolved(node, grant, refused)),
    };
    match here(mirrors, grant) {
        Some(found) => Found {
            snapshot,
            freshness: match found.freshness {
                _ if doubt.is_none() => Freshness::Confirmed,
                stale @ Freshness::Stale(_) => stale,
                // Confirmed for somebody else in this very moment.
                _ => Freshness::Stale(Stale { age: None }),
            },
            doubt,
            ..found
        }
        .covered(node),
        // Removed in this very moment.
        None => Err(Unresolved::new(Response::not_found())),
    }
}

fn starting() -> Unresolved {
    Unresolved::new(Response::unavailable(2, "the server is starting, try again"))
}

impl Found {
    /// Itself, if a rule mirrors it and what was granted is what was found: under another spelling it may be something else.
    fn covered(self, node: &Node) -> Result<Self, Unresolved> {
        // What has never been here is on its way under the likeliest spelling.
        let likeliest = || node.mirrors().and_then(|mirrors| mirrors.syncs.spellings(&self.path).into_iter().next());
        let mirrored_as = if self.repository.is_some() { None } else { likeliest() };
        let mirrored_as = mirrored_as.as_ref().unwrap_or(&self.path);
        if node.config.rule(mirrored_as.as_str()).is_none() {
            return Err(Unresolved::new(Response::not_found()));
        }
        if self.grant.covers(mirrored_as) {
            return self.unless_stale_is_forbidden(node);
        }
        let detail = format!("granted under another spelling than {}", self.path);
        Err(Unresolved::because(Response::unavailable(1, "this repository has just been mirrored, try again"), detail))
    }
}

impl Found {
    /// Itself; but 503 if the upstream was asked in vain, and the rule forbids that it is served then.
    fn unless_stale_is_forbidden(self, node: &Node) -> Result<Self, Unresolved> {
        if !matches!(self.freshness, Freshness::Stale(_)) || node.terms(&self.path).serve_stale {
            return Ok(self);
        }
        let words =
            "the upstream can't tell what this repository holds now, and this mirror may not say it without, try again";
        let why = self.doubt.map_or_else(|| "it is stale".to_owned(), |fault| fault.to_string());
        Err(Unresolved::because(Response::unavailable(RETRY_AFTER_SECONDS, words), why))
    }
}

/// What the rule's mode says; but the upstream's word to the mirror, where a caller's right rests on it, has to be there, and
/// no older than any right is believed.
fn decide(node: &Node, grant: &Grant, terms: Terms, ask: Ask, known: Option<Known>) -> Decision {
    // What must not be served stale is asked about until it is not.
    if !terms.serve_stale && known.is_some_and(|known| known.is_stale) {
        return Decision::Ask;
    }
    let decision = terms.freshness.decide(ask, known);
    let Some(known) = known.filter(|_| grant.is_the_mirrors()) else { return decision };
    // An upstream that keeps silent takes nothing back; and capabilities name nothing.
    let is_too_old = !known.is_stale && known.age.is_none_or(|age| age >= node.rights.word_age_max());
    if !is_proven(node, grant, known.age) || (is_too_old && ask != Ask::IfOld) { Decision::Ask } else { decision }
}

/// Whether what is here, confirmed `age` ago if it has been since the start, may be shown to whom `grant` lets in before the
/// upstream is asked: where everybody may read what the mirror may, it must be known that the mirror got it as everybody does.
fn is_proven(node: &Node, grant: &Grant, age: Option<Duration>) -> bool {
    !grant.is_the_mirrors() || node.rights.is_all_public() || age.is_some()
}

/// The upstream's word on `path`, within `wait`. `payers` pay for a first copy.
pub async fn confirm(
    mirrors: &Mirrors,
    path: &RepositoryPath,
    wait: Duration,
    ask: Ask,
    payers: Option<Payers>,
) -> Confirmed {
    let answer = match ask {
        Ask::Whole => mirrors.syncs.confirm(path.as_str(), payers),
        Ask::Always | Ask::IfOld | Ask::IfAbsent => mirrors.syncs.references(path.as_str(), payers),
    };
    match task::within(wait, answer).await {
        Some(Ok(confirmed)) => confirmed,
        Some(Err(_)) => Confirmed::Unavailable(late("synchronisation has ended")),
        None => unconfirmed(mirrors, path),
    }
}

/// `wait` is over. An upstream that has said nothing is away, and what is here is served; once it has named its
/// references, what is here is known to be old, and the client comes again when the objects have arrived.
fn unconfirmed(mirrors: &Mirrors, path: &RepositoryPath) -> Confirmed {
    let fault = late("no answer within `wait`");
    if mirrors.syncs.pending(path).is_some() {
        return Confirmed::Unavailable(still_coming());
    }
    let Some(mirrored) = mirrors.syncs.find(path) else { return Confirmed::Unavailable(fault) };
    let standing = mirrored.standing();
    match (standing.refusal(), mirrored.snapshot()) {
        (Some(refusal), _) => refusal.into(),
        (None, Some(snapshot)) => {
            standing.unanswered(&fault);
            Confirmed::Stale(snapshot, fault)
        }
        (None, None) => Confirmed::Unavailable(fault),
    }
}

/// The upstream has answered, and its objects take longer than `wait`.
pub fn still_coming() -> Arc<Fault> {
    let detail = "the objects have not come within `wait`";
    Arc::new(Fault::upstream("this mirror is still fetching the repository from its upstream, try again", detail))
}

fn late(detail: &str) -> Arc<Fault> {
    Arc::new(Fault::upstream("the upstream has not answered in time, try again", detail))
}

/// What a client hears that can't be served, one status for each reason:
/// 404 as for any unknown path, the upstream's own 410 and 451 as they are, its 401 as 401 with its challenge, its 403 as it is;
/// but 403 in words where the caller may read what the mirror may not; 501 for what this server can't mirror, 502 where no Git
/// host answers, 503 for what may work later.
fn unresolved(node: &Node, grant: &Grant, confirmed: Confirmed) -> Unresolved {
    match confirmed {
        // A host may say 404 where it means 403; where others judge, it means what it says.
        Confirmed::NotFound if !grant.is_judged() || !node.rights.upstream_judges() => {
            Unresolved::new(Response::not_found())
        }
        Confirmed::NotFound | Confirmed::Denied(401 | 403) if grant.is_judged() => {
            let says = match confirmed {
                Confirmed::Denied(status) => status,
                _ => 404,
            };
            Unresolved::because(
                Response::text(
                    403,
                    "you may read this repository, but this mirror may not at the upstream, and so cannot serve it: its \
                     operator has to give it credentials that may",
                ),
                format_args!("the caller may read it, but to the mirror the upstream answers {says}"),
            )
        }
        Confirmed::Denied(401) => Unresolved {
            wants_credentials: Some(grant.path().clone()),
            ..Unresolved::because(Response::text(401, "credentials are needed"), "the upstream wants credentials")
        },
        Confirmed::Current(_) | Confirmed::Pending(_) | Confirmed::Stale(..) | Confirmed::NotFound => {
            Unresolved::new(Response::not_found())
        }
        Confirmed::Denied(410) => Unresolved::because(
            Response::text(410, "the upstream says that this repository is gone for good"),
            "the upstream answers 410",
        ),
        Confirmed::Denied(451) => Unresolved::because(
            Response::text(451, "the upstream withholds this repository for legal reasons"),
            "the upstream answers 451",
        ),
        Confirmed::Denied(status) => Unresolved::because(
            Response::text(403, "the upstream refuses access to this repository"),
            format_args!("the upstream answers {status}"),
        ),
        Confirmed::Unsupported(fault) => Unresolved::because(
            Response::text(501, format_args!("this repository can't be mirrored: {}", fault.public)),
            &fault,
        ),
        Confirmed::Useless(fault) => Unresolved::because(Response::text(502, &fault.public), &fault),
        Confirmed::Unavailable(fault) => {
            Unresolved::because(Response::unavailable(RETRY_AFTER_SECONDS, &fault.public), &fault)
        }
    }
}

/// What is here, unasked.
fn here(mirrors: &Mirrors, grant: &Grant) -> Option<Found> {
    Some(found(mirrors, grant, &*mirrors.syncs.find(grant.path())?)?.0)
}

/// What an answer may be given from that needs no question, as far as `mode` says so; nothing if the upstream refuses it.
fn known(mirrors: &Mirrors, grant: &Grant, mode: Mode, ask: Ask) -> Option<(Found, Known)> {
    let path = grant.path();
    let mirrored = mirrors.syncs.find(path);
    if mirrored.as_ref().is_some_and(|mirrored| mirrored.standing().refusal().is_some()) {
        return None;
    }
    let here = mirrored.as_ref().and_then(|mirrored| found(mirrors, grant, mirrored));
    let Some(pending) = mirrors.syncs.pending(path) else { return here };
    let counts = mirrored.is_none_or(|mirrored| mirrored.standing().counts(pending.asked_at));
    match (here, ask) {
        // What was confirmed last is not what is here.
        (here, Ask::Whole) => here.map(|(found, known)| (found, Known { age: None, ..known })),
        (Some(here), _) if mode == Mode::Eventual => Some(here),
        (here, _) => {
            let age = counts.then(|| mirrors.syncs.now().saturating_sub(pending.asked_at));
            let is_stale = here.as_ref().is_some_and(|(_, known)| known.is_stale);
            Some((on_its_way(mirrors, grant, pending), Known { age, is_stale }))
        }
    }
}

/// What references are told from while `pending` is on its way.
fn on_its_way(mirrors: &Mirrors, grant: &Grant, pending: Arc<Pending>) -> Found {
    let age = mirrors.syncs.now().saturating_sub(pending.asked_at);
    match here(mirrors, grant) {
        Some(found) => {
            let freshness = match found.freshness {
                stale @ Freshness::Stale(_) => stale,
                _ => Freshness::Unasked(Some(age)),
            };
            Found { pending: Some(pending), freshness, ..found }
        }
        None => Found {
            repository: None,
            path: grant.path().clone(),
            snapshot: Arc::new(Snapshot::nothing()),
            pending: Some(pending),
            freshness: Freshness::Unasked(Some(age)),
            doubt: None,
            grant: grant.clone(),
        },
    }
}

fn found(mirrors: &Mirrors, grant: &Grant, mirrored: &MirroredRepository) -> Option<(Found, Known)> {
    mirrored.note_asked(crate::sync::clock());
    let snapshot = mirrored.snapshot()?;
    let path = mirrored.path().parse().ok()?;
    let (standing, now) = (mirrored.standing(), mirrors.syncs.now());
    let (stale, age) = (standing.stale(now), standing.age(now));
    let freshness = stale.map_or(Freshness::Unasked(age), Freshness::Stale);
    let (repository, doubt) = (Some(mirrored.id()), standing.doubt());
    let grant = grant.clone();
    let found = Found { repository, path, snapshot, pending: None, freshness, doubt, grant };
    let age = age.filter(|age| standing.counts(now.saturating_sub(*age)));
    Some((found, Known { age, is_stale: stale.is_some() }))
}
