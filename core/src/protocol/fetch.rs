//! The `fetch` command (`gitprotocol-v2`).
//!
//! ```text
//! arguments --no wants-----------------------------------------------> nothing
//!     |------done, or no haves-----------------> [shallow-info] [wanted-refs] packfile
//!     '------haves--> acknowledgments --ready--> [shallow-info] [wanted-refs] packfile
//!                            '--not yet, or wait-for-done------------> flush
//! ```
//!
//! Stock Git sends `wanted-refs` before `shallow-info`, against its own protocol document and its own client, which
//! then dies. Here shallow-info comes first.

use super::{
    PackOrder, Phase, Version, View, WantPolicy,
    arguments::leading_id,
    demand::Demand,
    haves::Common,
    refusal::{Refused, Stop, quoted, refused},
    reply::Reply,
};
use crate::{
    ObjectId,
    graph::Boundary,
    pack::Framing,
    refs::{Head, RefTable},
};
use bstr::BString;
use std::collections::HashSet;

/// The arguments as far as they have been read.
#[derive(Default)]
pub(super) struct Fetch {
    demand: Demand,
    common: Common,
    seen_haves: bool,
    done: bool,
    wait_for_done: bool,
    wanted_refs: Vec<(BString, ObjectId)>,
    wanted_names: HashSet<BString>,
}

impl Fetch {
    /// Takes one argument.
    pub fn argument(&mut self, line: &[u8], view: &View<'_>, reply: &mut Reply) -> Refused<()> {
        if let Some(text) = line.strip_prefix(b"want ") {
            let Some((id, _)) = leading_id(text) else {
                return refused(format!(
                    "git upload-pack: protocol error, expected to get oid, not '{}'",
                    quoted(line)
                ));
            };
            return self.demand.want(id, view);
        }
        if let Some(name) = line.strip_prefix(b"want-ref ").filter(|_| view.policy.ref_in_want) {
            return self.want_ref(name, view);
        }
        if let Some(text) = line.strip_prefix(b"have ") {
            let Some((id, _)) = leading_id(text) else {
                return refused(format!("git upload-pack: expected SHA1 object, got '{}'", quoted(text)));
            };
            self.seen_haves = true;
            return self.common.have(id, view).map(|_| ());
        }
        if self.demand.shallow_line(line, view)? {
            return Ok(());
        }
        if let Some(spec) = line.strip_prefix(b"filter ").filter(|_| view.policy.filters) {
            return self.demand.filter(spec, view);
        }
        match line {
            b"thin-pack" => self.demand.thin_pack = true,
            b"ofs-delta" => self.demand.ofs_delta = true,
            b"no-progress" => self.demand.no_progress = true,
            b"include-tag" => self.demand.include_tag = true,
            b"deepen-relative" => self.demand.relative = true,
            b"done" => self.done = true,
            b"wait-for-done" => self.wait_for_done = true,
            b"sideband-all" if view.policy.sideband_all => reply.set_banded(true),
            _ => return refused(format!("unexpected line: '{}'", quoted(line))),
        }
        Ok(())
    }

    fn want_ref(&mut self, name: &[u8], view: &View<'_>) -> Refused<()> {
        // The client has been told another value than what is here.
        let coming = view.pending.and_then(|table| value_of(table, name));
        if let Some(id) = coming.filter(|id| value_of(view.refs, name) != Some(*id)) {
            return self.demand.want_absent(id, view);
        }
        // Deleted since the advertisement it is what it was lately, as it would be by its id.
        let mut tables = std::iter::once(view.refs).chain(lately(view));
        let Some(id) = tables.find_map(|table| value_of(table, name)) else {
            return refused(format!("unknown ref {}", quoted(name)));
        };
        if !self.wanted_names.insert(name.into()) {
            return refused(format!("duplicate want-ref {}", quoted(name)));
        }
        self.wanted_refs.push((name.into(), id));
        self.demand.want_known(id)
    }

    /// Answers up to the pack, and orders it if it is time for one.
    pub fn answer(mut self, phase: Phase, view: &View<'_>, reply: &mut Reply) -> Result<Option<Box<PackOrder>>, Stop> {
        if self.demand.is_empty() && !self.wait_for_done {
            return Ok(None);
        }
        self.demand.grant(Version::V2, phase, view)?;
        if self.seen_haves && !self.done && !self.acknowledge(view, reply)? {
            return Ok(None);
        }
        let boundary = self.shallow_info(view, reply)?;
        self.tell_wanted_refs(reply);
        reply.line(format_args!("packfile\n"));
        reply.set_banded(false);
        Ok(Some(Box::new(self.demand.into_order(self.common.all, boundary, Framing::SideBand64k, view))))
    }

    /// The `acknowledgments` section. Whether the pack follows.
    fn acknowledge(&mut self, view: &View<'_>, reply: &mut Reply) -> Refused<bool> {
        let ready = !self.wait_for_done && self.common.is_enough(&self.demand, &[], view)?;
        reply.line(format_args!("acknowledgments\n"));
        if self.common.news.is_empty() {
            reply.line(format_args!("NAK\n"));
        }
        for id in &self.common.news {
            reply.line(format_args!("ACK {id}\n"));
        }
        if ready {
            reply.line(format_args!("ready\n"));
            reply.delimiter();
        } else {
            reply.flush();
            reply.set_banded(false);
        }
        Ok(ready)
    }

    /// The `shallow-info` section.
    fn shallow_info(&self, view: &View<'_>, reply: &mut Reply) -> Refused<Boundary> {
        let deepens = self.demand.deepens();
        if !deepens && view.shallow.is_empty() && self.demand.shallows.is_empty() {
            return Ok(Boundary::default());
        }
        reply.line(format_args!("shallow-info\n"));
        let boundary = if deepens {
            self.demand.boundary(view)?
        } else if !view.shallow.is_empty() {
            self.demand.own_boundary(view)?
        } else {
            Boundary::default()
        };
        boundary_lines(&boundary, reply);
        reply.delimiter();
        Ok(boundary)
    }

    /// The `wanted-refs` section.
    fn tell_wanted_refs(&self, reply: &mut Reply) {
        if self.wanted_refs.is_empty() {
            return;
        }
        reply.line(format_args!("wanted-refs\n"));
        for (name, id) in &self.wanted_refs {
            reply.frame(|out| {
                super::reply::put_id(out, id);
                out.push(b' ');
                out.extend_from_slice(name);
                out.push(b'\n');
            });
        }
        reply.delimiter();
    }
}

/// The lines of a changed boundary, in all versions.
pub(super) fn boundary_lines(boundary: &Boundary, reply: &mut Reply) {
    for id in &boundary.shallow {
        reply.line(format_args!("shallow {id}"));
    }
    for id in &boundary.unshallow {
        reply.line(format_args!("unshallow {id}"));
    }
}

/// What was advertised lately, newest first, where the policy grants that.
fn lately<'a>(view: &View<'a>) -> impl Iterator<Item = &'a RefTable> + use<'a> {
    let recent: &[_] = if view.policy.wants == WantPolicy::Recent { view.recent } else { &[] };
    recent.iter().map(|table| &**table)
}

fn value_of(refs: &RefTable, name: &[u8]) -> Option<ObjectId> {
    if name == b"HEAD" && *refs.head() != Head::Absent {
        return refs.head_id();
    }
    refs.find(name).map(|reference| reference.id)
}
