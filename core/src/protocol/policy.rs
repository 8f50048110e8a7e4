//! What a server offers and grants. The machine takes it as an argument: the mirror's is fixed by design, the command
//! line's is whatever the repository's configuration says.

use crate::graph::Filter;
use std::collections::BTreeMap;

/// Which wants are granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantPolicy {
    /// Only ids that are advertised. The four stock policies hold as in stock Git: for v0 and v1 alone, and a stateless
    /// request also grants commits that advertised references reach, since the advertisement may have moved meanwhile.
    /// In v2 stock Git grants every object that is in the repository, and so do all four.
    Advertised,
    /// Advertised ids and tips of hidden references (`uploadpack.allowTipSHA1InWant`).
    Tips,
    /// What advertised or hidden references reach (`uploadpack.allowReachableSHA1InWant`).
    Reachable,
    /// As [`WantPolicy::Reachable`], and `allow-tip-sha1-in-want` is advertised too (both options are set).
    TipsAndReachable,
    /// Any object of the database (`uploadpack.allowAnySHA1InWant`).
    Any,
    /// The server's, for all versions: reachable from what is advertised now or was in `View::recent`.
    Recent,
}

/// `lsrefs.unborn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unborn {
    /// `unborn` is neither advertised nor honoured.
    Ignore,
    /// Honoured, but not advertised.
    Allow,
    /// Advertised and honoured: Git's default.
    #[default]
    Advertise,
}

/// `uploadpackfilter.*`: which of the filters that the protocol knows are granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRules {
    /// For filters without a rule of their own (`uploadpackfilter.allow`).
    pub fallback: bool,
    /// By the filter's configuration name: `blob:none`, `blob:limit`, `tree`, `sparse:oid`, `object:type`, `combine`
    /// (`uploadpackfilter.<filter>.allow`).
    pub named: BTreeMap<String, bool>,
    /// Deepest `tree:N` that is granted (`uploadpackfilter.tree.maxDepth`).
    pub tree_depth_max: u64,
}

impl FilterRules {
    /// Everything, as stock Git without configuration.
    pub fn all() -> Self {
        Self { fallback: true, named: BTreeMap::new(), tree_depth_max: u64::MAX }
    }

    /// The mirror's: all but `sparse:oid`, whose cost depends on the content of a blob that the client chooses.
    pub fn mirror() -> Self {
        Self { named: BTreeMap::from([("sparse:oid".into(), false)]), ..Self::all() }
    }

    /// Grants `filter` with all its parts, or says in Git's words which part is refused.
    pub(super) fn check(&self, filter: &Filter) -> Result<(), String> {
        let name = config_name(filter);
        if !self.named.get(name).copied().unwrap_or(self.fallback) {
            return Err(format!("filter '{name}' not supported"));
        }
        match filter {
            Filter::Tree(depth) if *depth > self.tree_depth_max => {
                Err(format!("tree filter allows max depth {}, but got {depth}", self.tree_depth_max))
            }
            Filter::Combine(parts) => parts.iter().try_for_each(|part| self.check(part)),
            _ => Ok(()),
        }
    }
}

fn config_name(filter: &Filter) -> &'static str {
    match filter {
        Filter::BlobNone => "blob:none",
        Filter::BlobLimit(_) => "blob:limit",
        Filter::Tree(_) => "tree",
        Filter::ObjectType(_) => "object:type",
        Filter::SparseOid(_) => "sparse:oid",
        Filter::Combine(_) => "combine",
    }
}

/// What this server offers and grants.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which wants are granted.
    pub wants: WantPolicy,
    /// Whether wants that can't be granted are reported as [`Event::Absent`](super::Event::Absent) before they are refused.
    /// In stateless requests only that are complete when they are answered; in others they are refused at once.
    pub parks_wants: bool,
    /// `agent=` value.
    pub agent: String,
    /// Whether `filter` is offered.
    pub filters: bool,
    /// Which filters are granted when they are offered.
    pub filter_rules: FilterRules,
    /// Whether `ref-in-want` is offered.
    pub ref_in_want: bool,
    /// Whether `sideband-all` is offered.
    pub sideband_all: bool,
    /// Whether `object-info` is offered.
    pub object_info: bool,
    /// Whether `unborn` is offered and honoured in `ls-refs`.
    pub unborn: Unborn,
    /// `session-id=` value, if one is offered.
    pub session_id: Option<String>,
}

impl Policy {
    /// What a mirror offers its clients: everything that a client can use, exact wants of what is or recently was
    /// advertised. All but a session id, which takes a source of chance.
    pub fn mirror(agent: impl Into<String>) -> Self {
        Self {
            wants: WantPolicy::Recent,
            parks_wants: false,
            agent: agent.into(),
            filters: true,
            filter_rules: FilterRules::mirror(),
            ref_in_want: true,
            sideband_all: true,
            object_info: true,
            unborn: Unborn::Advertise,
            session_id: None,
        }
    }

    /// What stock `git upload-pack` offers of a repository without configuration.
    pub fn stock(agent: impl Into<String>) -> Self {
        Self {
            wants: WantPolicy::Advertised,
            parks_wants: false,
            agent: agent.into(),
            filters: false,
            filter_rules: FilterRules::all(),
            ref_in_want: false,
            sideband_all: false,
            object_info: false,
            unborn: Unborn::Advertise,
            session_id: None,
        }
    }
}
