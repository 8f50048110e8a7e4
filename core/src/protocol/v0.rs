//! Protocols v0 and v1 (`gitprotocol-pack`): the advertisement and what the client needs.
//!
//! ```text
//! advertisement -> needs --no wants--> end
//!                    '--[shallow lines, flush]--> negotiation -> pack -> end
//! ```

use super::{
    Phase, Version, View, WantPolicy,
    arguments::leading_id,
    demand::Demand,
    fetch::boundary_lines,
    haves::parents,
    listing::{self, Listing, v0_line},
    negotiation::{AckMode, Negotiation},
    refusal::{Refused, Stop, quoted, refused},
    reply::Reply,
};
use crate::{ObjectId, graph::Boundary, objects::Reader, pack::Framing, wire::capability::Capabilities};
use bstr::BStr;
use std::io::Write as _;

/// What every server of v0 can do, in stock Git's order.
const CAPABILITIES: &str = "multi_ack thin-pack side-band side-band-64k ofs-delta shallow deepen-since deepen-not \
                            deepen-relative no-progress include-tag multi_ack_detailed";

/// Begins the advertisement: the version, `HEAD` and the capabilities.
pub(super) fn advertise(version: Version, phase: Phase, view: &View<'_>, reply: &mut Reply) -> Listing {
    if version == Version::V1 {
        reply.line(format_args!("version 1\n"));
    }
    let head = listing::head(view.refs);
    let target = head.filter(|head| head.id.is_some()).and_then(|head| head.target);
    let capabilities = |out: &mut Vec<u8>| put_capabilities(out, target, phase, view);
    let head_id = head.and_then(|head| head.id.map(|id| (id, head.peeled)));
    let mut listing = Listing::v0();
    if let Some((id, peeled)) = head_id {
        v0_line(reply, BStr::new("HEAD"), &id, peeled, capabilities);
    } else if let Some(first) = view.refs.at(0) {
        v0_line(reply, first.name, &first.id, first.peeled, capabilities);
        listing.skip_first();
    } else {
        let none = ObjectId::null(gix_hash::Kind::Sha1);
        v0_line(reply, BStr::new("capabilities^{}"), &none, None, capabilities);
    }
    listing
}

fn put_capabilities(out: &mut Vec<u8>, head_target: Option<&BStr>, phase: Phase, view: &View<'_>) {
    let policy = view.policy;
    let (tips, reachable) = match policy.wants {
        WantPolicy::Advertised => (false, false),
        WantPolicy::Tips => (true, false),
        WantPolicy::Reachable => (false, true),
        WantPolicy::TipsAndReachable | WantPolicy::Any | WantPolicy::Recent => (true, true),
    };
    let when = |offered, text| if offered { text } else { "" };
    // Writing to a vector can't fail.
    let _ = write!(
        out,
        "\0{CAPABILITIES}{}{}{}",
        when(tips, " allow-tip-sha1-in-want"),
        when(reachable, " allow-reachable-sha1-in-want"),
        when(phase == Phase::Advertise, " no-done"),
    );
    if let Some(target) = head_target {
        out.extend_from_slice(b" symref=HEAD:");
        out.extend_from_slice(target);
    }
    out.extend_from_slice(when(policy.filters, " filter").as_bytes());
    if let Some(id) = &policy.session_id {
        let _ = write!(out, " session-id={id}");
    }
    let _ = write!(out, " object-format=sha1 agent={}", policy.agent);
}

/// The first list of a request, as far as it has been read.
#[derive(Default)]
pub(super) struct Needs {
    demand: Demand,
    acks: AckMode,
    no_done: bool,
    filters: bool,
    framing: Option<Framing>,
    /// `session-id`, as far as an error would quote it.
    pub session_id: Option<String>,
}

impl Needs {
    /// Takes one line.
    pub fn line(&mut self, line: &[u8], view: &View<'_>) -> Refused<()> {
        if self.demand.shallow_line(line, view)? {
            return Ok(());
        }
        if let Some(spec) = line.strip_prefix(b"filter ") {
            if !self.filters {
                return refused("git upload-pack: filtering capability not negotiated");
            }
            return self.demand.filter(spec, view);
        }
        let Some((id, capabilities)) = line.strip_prefix(b"want ").and_then(leading_id) else {
            return refused(format!(
                "git upload-pack: protocol error, expected to get object ID, not '{}'",
                quoted(line)
            ));
        };
        self.capabilities(Capabilities(capabilities), view);
        self.demand.want(id, view)
    }

    fn capabilities(&mut self, capabilities: Capabilities<'_>, view: &View<'_>) {
        let demand = &mut self.demand;
        demand.relative |= capabilities.contains("deepen-relative");
        demand.thin_pack |= capabilities.contains("thin-pack");
        demand.ofs_delta |= capabilities.contains("ofs-delta");
        demand.no_progress |= capabilities.contains("no-progress");
        demand.include_tag |= capabilities.contains("include-tag");
        self.no_done |= capabilities.contains("no-done");
        self.filters |= view.policy.filters && capabilities.contains("filter");
        if view.policy.session_id.is_some() && self.session_id.is_none() {
            self.session_id = capabilities.value("session-id").map(quoted);
        }
        if capabilities.contains("multi_ack_detailed") {
            self.acks = AckMode::MultiDetailed;
        } else if capabilities.contains("multi_ack") {
            self.acks = AckMode::Multi;
        }
        if capabilities.contains("side-band-64k") {
            self.framing = Some(Framing::SideBand64k);
        } else if capabilities.contains("side-band") {
            self.framing = Some(Framing::SideBand);
        }
    }

    /// The list is complete: checks the wants, answers with shallow lines if they were asked for. `None`: nothing is
    /// wanted.
    pub fn finish(
        mut self,
        version: Version,
        phase: Phase,
        view: &View<'_>,
        reply: &mut Reply,
    ) -> Result<Option<Negotiation>, Stop> {
        self.demand.grant(version, phase, view)?;
        let boundary = if self.demand.deepens() {
            let boundary = self.demand.boundary(view)?;
            boundary_lines(&boundary, reply);
            reply.flush();
            boundary
        } else {
            Boundary::default()
        };
        if self.demand.wants.is_empty() {
            return Ok(None);
        }
        // The commits behind a boundary that moves back are wanted too.
        let (mut behind, mut reader) = (Vec::new(), Reader::new());
        for id in &boundary.unshallow {
            behind.extend(parents(*id, view, &mut reader)?);
        }
        let framing = self.framing.unwrap_or(Framing::Bare);
        Ok(Some(Negotiation::new(self.demand, boundary, behind, self.acks, self.no_done, framing, view)))
    }
}
