//! The gate before every read: a caller comes with a path and perhaps a credential, and leaves with a [`Grant`] or a
//! refusal.
//!
//! In this order: a rule of the configuration mirrors the path; the caller may read it; and only then is it looked up, or
//! mirrored for the first time.

use super::{
    Grant, Refused,
    credential::Credential,
    driver::{Question, Way},
};
use crate::{
    http::exchange::Exchange,
    serve::node::Mirrors,
    shard::{Shard, task},
};
use heliostat_core::{
    RepositoryPath,
    fault::Fault,
    rights::{Outcome, Payers, Source},
};
use std::{net::IpAddr, rc::Rc, sync::Arc, time::Duration};

/// Longer than a question waits for its turn and then for its answer.
const TIME: Duration = Duration::from_secs(20);

/// Who asks.
struct Caller<'a> {
    shard: &'a Rc<Shard>,
    address: IpAddr,
    credential: Option<Credential>,
}

/// Lets the caller of `exchange` in to read the repository at `path`, or does not.
pub async fn admit(exchange: &Exchange<'_>, path: RepositoryPath) -> Result<Grant, Refused> {
    let node = &exchange.shard.node;
    let is_ruled = |path: &RepositoryPath| node.config.rule(path.as_str()).is_some();
    if !is_ruled(&path) && !path.other_spelling().as_ref().is_some_and(is_ruled) {
        return Err(Refused::Missing);
    }
    if node.rights.way(false) == Way::Everybody {
        return Ok(Grant::everybody(path, Payers { address: node.rights.source(exchange.client), credential: None }));
    }
    let credential = match &exchange.head.authorization {
        Some(line) => Credential::parse(line).map_err(|_| Refused::Malformed)?,
        None => None,
    };
    let way = node.rights.way(credential.is_some());
    let is_here = || node.mirrors().and_then(|mirrors| mirrors.syncs.find(&path)).is_some();
    let caller = Caller { shard: exchange.shard, address: exchange.client, credential };
    match way {
        Way::Everybody => Ok(Grant::everybody(path, caller.payers())),
        Way::Mirror if is_here() => Ok(Grant::as_the_mirror(path, caller.payers())),
        // Nothing is begun for a path that the upstream may not show: it is asked about first, at its source's expense.
        Way::Mirror => caller.judged(path.clone()).await.map(|_| Grant::as_the_mirror(path, caller.payers())),
        Way::Judge => caller.judged(path).await,
    }
}

/// What the upstream wants of a caller without credentials who has asked for `path`, which the mirror may not read without
/// any either.
pub async fn wanted(exchange: &Exchange<'_>, path: &RepositoryPath) -> Refused {
    let caller = Caller { shard: exchange.shard, address: exchange.client, credential: None };
    match caller.judged(path.clone()).await {
        Err(refused) => refused,
        Ok(_) => unavailable("the upstream has just refused this, and grants it now, try again"),
    }
}

impl Caller<'_> {
    async fn judged(&self, path: RepositoryPath) -> Result<Grant, Refused> {
        let node = self.shard.node.clone();
        let Some(mirrors) = node.mirrors() else {
            return Err(unavailable("the server is starting, try again"));
        };
        let mirrored = mirrors.syncs.find(&path);
        let here = mirrored.as_ref().and_then(|mirrored| mirrored.path().parse::<RepositoryPath>().ok());
        // Either spelling may be at the upstream. What is here is one repository, and only its own lets in; but who is refused
        // must not tell by the time that it takes, or by what it costs, that it is here.
        let mut spellings = mirrors.syncs.spellings(&path);
        if let Some(here) = &here {
            spellings.sort_by_key(|spelling| spelling != here);
        }
        let lets_in = |spelling: &RepositoryPath| here.as_ref().is_none_or(|here| here == spelling);
        let mut refused = None;
        for spelling in spellings {
            match (self.ask(self.credential.as_ref(), &spelling).await, &refused) {
                (Ok(()), _) if lets_in(&spelling) => return Ok(Grant::judged(path, spelling, self.payers())),
                (Ok(()), _) => {}
                // Nobody can tell what this credential is worth now; but everybody may read what is public.
                (Err(Refused::Unavailable(_) | Refused::Useless(_)), None)
                    if self.may_read_as_everybody(mirrors, &path) =>
                {
                    return Ok(Grant::as_the_mirror(path, self.address_alone()));
                }
                // It is the spelling that is here of which somebody's credentials would let in: they are asked for.
                (Err(Refused::Unavailable(_)), Some(Refused::NeedCredentials(_, false))) => {}
                (Err(Refused::Unavailable(fault)), _) => {
                    let is_public = self.credential.is_some() && self.ask(None, &spelling).await.is_ok();
                    return if is_public && lets_in(&spelling) {
                        Ok(Grant::judged(path, spelling, self.address_alone()))
                    } else {
                        Err(Refused::Unavailable(fault))
                    };
                }
                (Err(other), None) if !other.is_about_the_path() => return Err(other),
                (Err(other), None | Some(Refused::Missing | Refused::Useless(_))) => refused = Some(other),
                (Err(_), Some(_)) => {}
            }
        }
        Err(refused.unwrap_or(Refused::Missing))
    }

    /// Who pays for what a grant leads to. A host shows what is public to any credential, also to one that is made up.
    fn payers(&self) -> Payers {
        let rights = &self.shard.node.rights;
        let credential = self.credential.as_ref().map(|credential| rights.source_of(credential));
        Payers { credential, ..self.address_alone() }
    }

    /// The same, where the credential counts for nothing.
    fn address_alone(&self) -> Payers {
        Payers { address: self.address(), credential: None }
    }

    fn address(&self) -> Source {
        self.shard.node.rights.source(self.address)
    }

    /// The upstream can't be asked of this caller now, but what is here is what it shows to everybody.
    fn may_read_as_everybody(&self, mirrors: &Mirrors, path: &RepositoryPath) -> bool {
        let is_shown = || {
            let mirrored = mirrors.syncs.find(path);
            mirrored.is_some_and(|m| m.snapshot().is_some() && m.standing().refusal().is_none())
        };
        self.shard.node.rights.mirror_is_anonymous() && is_shown()
    }

    /// Whether whoever brings `credential` may read what the upstream calls `path`.
    async fn ask(&self, credential: Option<&Credential>, path: &RepositoryPath) -> Result<(), Refused> {
        let rights = &self.shard.node.rights;
        let key = rights.key(credential, path);
        if self.shard.grants.borrow_mut().knows(rights.epoch(), rights.now(), &key) {
            return Ok(());
        }
        let source = rights.source(self.address);
        let other = path.other_spelling();
        let place = rights.place(source, other.as_ref().map_or(path, |other| path.min(other)));
        let question = Question { key, credential: credential.cloned(), path: path.clone(), source, place };
        let reply = match task::within(TIME, rights.ask(question)).await {
            Some(Ok(reply)) => reply,
            Some(Err(_)) => return Err(unavailable("this mirror is shutting down")),
            None => return Err(unavailable("nobody has said in time who may read, try again")),
        };
        if let Outcome::Granted { until, stale: false } = reply.outcome {
            self.shard.grants.borrow_mut().keep(reply.epoch, key, until);
        }
        Refused::of(reply.outcome, credential.is_some()).map_or(Ok(()), Err)
    }
}

fn unavailable(words: &'static str) -> Refused {
    Refused::Unavailable(Arc::new(Fault::ours(words, words)))
}
