//! The haves of v0 and v1, and their acknowledgments in each mode (`gitprotocol-pack`, "Packfile Negotiation").
//!
//! | | no multi_ack | multi_ack | multi_ack_detailed |
//! |---|---|---|---|
//! | common have | `ACK` for the first | `ACK continue` | `ACK common` |
//! | other have, enough known | | `ACK continue` | `ACK ready` |
//! | flush | `NAK` until the first | `NAK` | `ACK ready` if enough is known, `NAK` |
//! | `done` | `NAK` if nothing is common | `ACK` of the last, or `NAK` | `ACK` of the last, or `NAK` |

use super::{
    PackOrder, Phase, View,
    arguments::leading_id,
    demand::Demand,
    haves::Common,
    refusal::{Refused, quoted, refused},
    reply::Reply,
};
use crate::{ObjectId, graph::Boundary, limits::ROUNDS_MAX, pack::Framing};

/// How haves are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AckMode {
    /// Only the first.
    #[default]
    Single,
    /// `multi_ack`.
    Multi,
    /// `multi_ack_detailed`.
    MultiDetailed,
}

/// What comes after a packet of the negotiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More of it.
    Continue,
    /// The pack.
    Pack,
    /// Nothing: a stateless client asks again with what it has learned.
    End,
}

/// A negotiation in progress.
pub(super) struct Negotiation {
    demand: Demand,
    boundary: Boundary,
    /// Wanted as well: the parents of what is no longer shallow.
    behind: Vec<ObjectId>,
    acks: AckMode,
    no_done: bool,
    framing: Framing,
    common: Common,
    /// The common have received last.
    last: Option<ObjectId>,
    /// Since the last flush: haves known here, and unknown.
    got_common: bool,
    got_other: bool,
    sent_ready: bool,
    rounds: usize,
}

impl Negotiation {
    pub fn new(
        demand: Demand,
        boundary: Boundary,
        behind: Vec<ObjectId>,
        acks: AckMode,
        no_done: bool,
        framing: Framing,
        view: &View<'_>,
    ) -> Self {
        let shallow = demand.shallows.iter().chain(&boundary.shallow).copied();
        Self {
            common: Common::within(shallow, view),
            demand,
            boundary,
            behind,
            acks,
            no_done,
            framing,
            last: None,
            got_common: false,
            got_other: false,
            sent_ready: false,
            rounds: 0,
        }
    }

    /// Takes one line.
    pub fn line(&mut self, line: &[u8], view: &View<'_>, reply: &mut Reply) -> Refused<Then> {
        if line == b"done" {
            match self.last {
                Some(last) if self.acks != AckMode::Single => reply.line(format_args!("ACK {last}\n")),
                Some(_) => {}
                None => reply.line(format_args!("NAK\n")),
            }
            return Ok(Then::Pack);
        }
        let Some(text) = line.strip_prefix(b"have ") else {
            return refused(format!("git upload-pack: expected SHA1 list, got '{}'", quoted(line)));
        };
        let Some((id, _)) = leading_id(text) else {
            return refused(format!("git upload-pack: expected SHA1 object, got '{}'", quoted(text)));
        };
        if self.common.have(id, view)? {
            self.got_common = true;
            self.last = Some(id);
            match self.acks {
                AckMode::MultiDetailed => reply.line(format_args!("ACK {id} common\n")),
                AckMode::Multi => reply.line(format_args!("ACK {id} continue\n")),
                AckMode::Single if self.common.news.len() == 1 => reply.line(format_args!("ACK {id}\n")),
                AckMode::Single => {}
            }
        } else {
            self.got_other = true;
            if self.acks != AckMode::Single && self.is_enough(view)? {
                if self.acks == AckMode::MultiDetailed {
                    self.sent_ready = true;
                    reply.line(format_args!("ACK {id} ready\n"));
                } else {
                    reply.line(format_args!("ACK {id} continue\n"));
                }
            }
        }
        Ok(Then::Continue)
    }

    /// Takes the flush that ends a round.
    pub fn flush(&mut self, phase: Phase, view: &View<'_>, reply: &mut Reply) -> Refused<Then> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return refused("upload-pack: too many rounds of negotiation");
        }
        if let Some(last) = self.last
            && self.acks == AckMode::MultiDetailed
            && self.got_common
            && !self.got_other
            && self.is_enough(view)?
        {
            self.sent_ready = true;
            reply.line(format_args!("ACK {last} ready\n"));
        }
        if self.common.all.is_empty() || self.acks != AckMode::Single {
            reply.line(format_args!("NAK\n"));
        }
        if let Some(last) = self.last
            && self.no_done
            && self.sent_ready
        {
            reply.line(format_args!("ACK {last}\n"));
            return Ok(Then::Pack);
        }
        self.got_common = false;
        self.got_other = false;
        Ok(if phase == Phase::Stateless { Then::End } else { Then::Continue })
    }

    fn is_enough(&mut self, view: &View<'_>) -> Refused<bool> {
        self.common.is_enough(&self.demand, &self.behind, view)
    }

    /// The pack to be sent.
    pub fn into_order(self, view: &View<'_>) -> PackOrder {
        self.demand.into_order(self.common.all, self.boundary, self.framing, view)
    }
}
