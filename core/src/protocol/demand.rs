//! What a fetch demands, however it was said: the lines and options that v0, v1 and v2 share.

use super::{
    PackOrder, Phase, Version, View, WantPolicy,
    arguments::{c_number, leading_id},
    refusal::{Refused, Stop, not_our_ref, quoted, refused, unreadable},
    wants,
};
use crate::{
    ObjectId,
    graph::{Boundary, Deepen, Filter, Graph, Query},
    limits::{ABSENT_WANTS_MAX, CLIENT_SHALLOWS_MAX, DEEPEN_NOTS_MAX, WANTS_MAX},
    objects::{Kind, Reader},
    pack::{Encoding, Framing},
    refs::{Head, RefTable, RefView},
};
use std::collections::{BTreeSet, HashSet};

/// `deepen 2147483647`: everything.
const INFINITE_DEPTH: u32 = i32::MAX as u32;

/// A fetch as far as it has been read.
#[derive(Default)]
pub(super) struct Demand {
    /// Objects wanted, each once, in the order of the request.
    pub wants: Vec<ObjectId>,
    wanted: HashSet<ObjectId>,
    /// Objects wanted that are not here, where the policy has them reported.
    absent: Vec<ObjectId>,
    /// The client's shallow commits, as far as they are here.
    pub shallows: BTreeSet<ObjectId>,
    depth: Option<u32>,
    since: Option<u64>,
    not: Vec<ObjectId>,
    filter: Option<Filter>,
    /// `deepen-relative`.
    pub relative: bool,
    /// `thin-pack`.
    pub thin_pack: bool,
    /// `ofs-delta`.
    pub ofs_delta: bool,
    /// `no-progress`.
    pub no_progress: bool,
    /// `include-tag`.
    pub include_tag: bool,
    reader: Reader,
}

impl Demand {
    /// Adds a want, if the object is here.
    pub fn want(&mut self, id: ObjectId, view: &View<'_>) -> Refused<()> {
        if view.objects.number(&id).is_none() {
            return self.want_absent(id, view);
        }
        self.want_known(id)
    }

    /// Adds a want that is not here, or not yet.
    pub fn want_absent(&mut self, id: ObjectId, view: &View<'_>) -> Refused<()> {
        if !view.policy.parks_wants {
            return Err(not_our_ref(&[id]));
        }
        if self.absent.len() < ABSENT_WANTS_MAX && !self.absent.contains(&id) {
            self.absent.push(id);
        }
        Ok(())
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty() && self.absent.is_empty()
    }

    /// Grants all wants, or says which can't be.
    pub fn grant(&mut self, version: Version, phase: Phase, view: &View<'_>) -> Result<(), Stop> {
        if !view.policy.parks_wants {
            return Ok(wants::check(&self.wants, version, phase, view)?);
        }
        let mut absent = std::mem::take(&mut self.absent);
        if absent.is_empty() {
            absent.extend(wants::unreachable(self.wants.clone(), view)?);
        }
        if absent.is_empty() { Ok(()) } else { Err(Stop::Absent(absent)) }
    }

    /// Adds a want that is here, such as the value of a reference.
    pub fn want_known(&mut self, id: ObjectId) -> Refused<()> {
        if !self.wanted.insert(id) {
            return Ok(());
        }
        if self.wants.len() == WANTS_MAX {
            return refused("upload-pack: too many wants");
        }
        self.wants.push(id);
        Ok(())
    }

    /// Takes `shallow`, `deepen`, `deepen-since` and `deepen-not`. Whether it was one of these.
    pub fn shallow_line(&mut self, line: &[u8], view: &View<'_>) -> Refused<bool> {
        if let Some(text) = line.strip_prefix(b"shallow ") {
            self.shallow(text, line, view)?;
        } else if let Some(text) = line.strip_prefix(b"deepen ") {
            let depth = c_number(text).and_then(|depth| u32::try_from(depth).ok());
            match depth.filter(|depth| (1..=INFINITE_DEPTH).contains(depth)) {
                Some(depth) => self.depth = Some(depth),
                None => return refused(format!("Invalid deepen: {}", quoted(line))),
            }
        } else if let Some(text) = line.strip_prefix(b"deepen-since ") {
            // No number at all is 0 to C.
            let since = if text.is_empty() { Some(0) } else { c_number(text) };
            match since.filter(|since| *since != u64::MAX) {
                Some(since) => self.since = Some(since),
                None => return refused(format!("Invalid deepen-since: {}", quoted(line))),
            }
        } else if let Some(name) = line.strip_prefix(b"deepen-not ") {
            let here = expand_ref(view.refs, name);
            // The client has been told another value than what is here.
            let coming = view.pending.and_then(|table| expand_ref(table, name)).map(|expanded| expanded.id);
            if let Some(id) = coming.filter(|id| here.as_ref().map(|expanded| expanded.id) != Some(*id)) {
                return self.want_absent(id, view).map(|()| true);
            }
            let Some(Expanded { peeled: id, .. }) = here else {
                return refused(format!("git upload-pack: ambiguous deepen-not: {}", quoted(line)));
            };
            if self.not.len() == DEEPEN_NOTS_MAX {
                return refused("upload-pack: too many deepen-not");
            }
            self.not.push(id);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn shallow(&mut self, text: &[u8], line: &[u8], view: &View<'_>) -> Refused<()> {
        let Some((id, _)) = leading_id(text) else {
            return refused(format!("invalid shallow line: {}", quoted(line)));
        };
        // The client may be shallow at commits that never were here.
        let Some(number) = view.objects.number(&id) else { return Ok(()) };
        if self.shallows.contains(&id) {
            return Ok(());
        }
        if view.objects.header(number, &mut self.reader).map_err(unreadable)?.0 != Kind::Commit {
            return refused(format!("invalid shallow object {id}"));
        }
        if self.shallows.len() == CLIENT_SHALLOWS_MAX {
            return refused("upload-pack: too many shallow lines");
        }
        self.shallows.insert(id);
        Ok(())
    }

    /// Takes the specification of a `filter` line.
    pub fn filter(&mut self, spec: &[u8], view: &View<'_>) -> Refused<()> {
        if self.filter.is_some() {
            return refused("multiple filter-specs cannot be combined");
        }
        let filter = Filter::parse(spec).or_else(|error| refused(error.0))?;
        view.policy.filter_rules.check(&filter).or_else(refused)?;
        self.filter = Some(filter);
        Ok(())
    }

    /// Whether the client asked for another boundary.
    pub fn deepens(&self) -> bool {
        self.depth.is_some() || self.since.is_some() || !self.not.is_empty()
    }

    /// The change at the client's boundary that it asked for.
    pub fn boundary(&self, view: &View<'_>) -> Refused<Boundary> {
        if self.depth.is_some() && (self.since.is_some() || !self.not.is_empty()) {
            return refused("git upload-pack: deepen and deepen-since (or deepen-not) cannot be used together");
        }
        let deepen = Deepen { depth: self.depth, relative: self.relative, since: self.since, not: self.not.clone() };
        self.deepened(&deepen, view.shallow, view)
    }

    /// What a client has to know of a repository that is shallow itself, if it did not ask for another boundary: where
    /// history ends before it comes to the client's own shallow commits.
    pub fn own_boundary(&self, view: &View<'_>) -> Refused<Boundary> {
        let deepen = Deepen { depth: Some(INFINITE_DEPTH), relative: self.relative, ..Deepen::default() };
        self.deepened(&deepen, &self.shallows.union(view.shallow).copied().collect(), view)
    }

    fn deepened(&self, deepen: &Deepen, grafts: &BTreeSet<ObjectId>, view: &View<'_>) -> Refused<Boundary> {
        // Stock Git trusts a client that asks for all of history; this server's own policy trusts nobody.
        let checks = view.policy.wants == WantPolicy::Recent || deepen.relative && deepen.depth != Some(INFINITE_DEPTH);
        let mut tips = wants::counted_tips(view);
        let tips: Option<&mut dyn Iterator<Item = ObjectId>> = if checks { Some(&mut tips) } else { None };
        let graph = Graph { grafts, ..graph(view) };
        let boundary = graph.deepen(&self.wants, deepen, &self.shallows, tips).map_err(unreadable)?;
        boundary.map_or_else(|| refused("no commits selected for shallow requests"), Ok)
    }

    /// The pack to be sent.
    pub fn into_order(self, haves: Vec<ObjectId>, boundary: Boundary, framing: Framing, view: &View<'_>) -> PackOrder {
        let include_tags = if self.include_tag { tags(view.refs) } else { Vec::new() };
        let claimed = if self.thin_pack { wants::claimed(&haves, view) } else { BTreeSet::new() };
        PackOrder {
            query: Query {
                wants: self.wants,
                haves,
                claimed,
                client_shallow: self.shallows,
                boundary,
                filter: self.filter,
                include_tags,
            },
            encoding: Encoding { ofs_delta: self.ofs_delta, thin_pack: self.thin_pack },
            framing,
            progress: !self.no_progress && framing != Framing::Bare,
        }
    }
}

/// The walks of one view.
pub(super) fn graph<'a>(view: &View<'a>) -> Graph<'a> {
    Graph { objects: view.objects, grafts: view.shallow, stop: view.stop }
}

fn tags(refs: &RefTable) -> Vec<(ObjectId, ObjectId)> {
    refs.with_prefix(b"refs/tags/").filter_map(|tag| Some((tag.id, tag.peeled?))).collect()
}

/// The value of a reference, and what it peels to.
struct Expanded {
    id: ObjectId,
    peeled: ObjectId,
}

/// The one reference that `name` can mean, by the rules of `git rev-parse`.
fn expand_ref(refs: &RefTable, name: &[u8]) -> Option<Expanded> {
    let expanded =
        |reference: RefView<'_>| Expanded { id: reference.id, peeled: reference.peeled.unwrap_or(reference.id) };
    let rules: [(&[u8], &[u8]); 6] = [
        (b"", b""),
        (b"refs/", b""),
        (b"refs/tags/", b""),
        (b"refs/heads/", b""),
        (b"refs/remotes/", b""),
        (b"refs/remotes/", b"/HEAD"),
    ];
    let head = (name == b"HEAD").then(|| match refs.head() {
        Head::Symbolic(target) => refs.find(target.as_bstr()).map(expanded),
        Head::Detached(id) => Some(Expanded { id: *id, peeled: refs.head_peeled().unwrap_or(*id) }),
        Head::Absent => None,
    });
    let mut found = rules
        .iter()
        .filter_map(|(before, after)| refs.find(&[before, name, after].concat()).map(expanded))
        .chain(head.flatten());
    let one = found.next()?;
    found.next().is_none().then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refs::{Ref, RefName};

    #[test]
    fn names_expand_as_rev_parse_does_it_and_must_be_unambiguous() {
        let id = |byte| ObjectId::from_bytes_or_panic(&[byte; 20]);
        let reference = |name: &str, byte, peeled| Ref {
            name: RefName::new(name.as_bytes()).unwrap(),
            id: id(byte),
            peeled,
            symbolic: None,
        };
        let refs = RefTable::new(
            vec![
                reference("refs/heads/main", 1, None),
                reference("refs/heads/both", 2, None),
                reference("refs/tags/both", 3, None),
                reference("refs/tags/v1", 4, Some(id(5))),
                reference("refs/remotes/origin/HEAD", 6, None),
            ],
            Head::Symbolic(RefName::new(b"refs/heads/main").unwrap()),
        );
        for (name, expected) in [
            ("main", Some(1)),
            ("heads/main", Some(1)),
            ("refs/heads/main", Some(1)),
            ("HEAD", Some(1)),
            ("both", None),
            ("tags/both", Some(3)),
            ("v1", Some(5)),
            ("origin", Some(6)),
            ("nothing", None),
            ("", None),
        ] {
            let peeled = expand_ref(&refs, name.as_bytes()).map(|expanded| expanded.peeled);
            assert_eq!(peeled, expected.map(id), "{name:?}");
        }
    }
}
