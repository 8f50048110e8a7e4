//! The upload-pack machine: one for HTTP, SSH, the command line and the fuzzers.
//!
//! Sans-IO: the driver feeds bytes with [`Session::receive`] and drains [`Session::poll`] until it says
//! [`Event::NeedInput`] or [`Event::End`]. What the machine needs to know of the repository it reads from a [`View`].

use crate::{
    ObjectId,
    fault::Fault,
    graph::Query,
    objects::Database,
    pack::{Encoding, Framing},
    refs::RefTable,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

/// `GIT_PROTOCOL` / `Git-Protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The original protocol.
    #[default]
    V0,
    /// v0 with a version line.
    V1,
    /// `gitprotocol-v2`.
    V2,
}

/// Which part of a conversation this session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The advertisement only: `GET …/info/refs`, `--advertise-refs`.
    Advertise,
    /// One stateless request, its body complete at [`Session::finish_input`]: `POST …/git-upload-pack`.
    Stateless,
    /// Advertisement and then requests over one connection: SSH, `git://`, the command line.
    Duplex,
}

/// Which wants are granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantPolicy {
    /// Only ids that are advertised (v0/v1 stock default; v2 always checks as `ReachableFromAny` does in stock).
    Advertised,
    /// Advertised ids and tips of hidden references (`uploadpack.allowTipSHA1InWant`).
    Tips,
    /// What advertised references reach (`uploadpack.allowReachableSHA1InWant`).
    Reachable,
    /// Any object of the database (`uploadpack.allowAnySHA1InWant`).
    Any,
    /// The server's: reachable from what is advertised now or was in `View::recent`.
    Recent,
}

/// What this server offers and grants.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which wants are granted.
    pub wants: WantPolicy,
    /// `agent=` value.
    pub agent: String,
    /// Whether `filter` is offered.
    pub filters: bool,
    /// Whether `sparse:oid` is granted.
    pub sparse_oid: bool,
    /// Whether `ref-in-want` is offered.
    pub ref_in_want: bool,
    /// Whether `sideband-all` is offered.
    pub sideband_all: bool,
    /// Whether `object-info` is offered.
    pub object_info: bool,
    /// Whether `unborn` is offered for `ls-refs`.
    pub unborn: bool,
    /// `session-id=` value, if one is offered.
    pub session_id: Option<String>,
}

/// What the machine may know of the repository: one snapshot.
pub struct View<'a> {
    /// What is advertised: hidden references are not in here.
    pub refs: &'a RefTable,
    /// Tips of hidden references, for [`WantPolicy::Tips`].
    pub hidden: &'a [ObjectId],
    /// Earlier tables whose tips still count, for [`WantPolicy::Recent`].
    pub recent: &'a [Arc<RefTable>],
    /// The objects.
    pub objects: &'a Database,
    /// The repository's own shallow commits.
    pub shallow: &'a BTreeSet<ObjectId>,
    /// What is offered and granted.
    pub policy: &'a Policy,
    /// Raised by the driver to end long walks.
    pub stop: &'a AtomicBool,
}

/// A pack that the client shall get now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackOrder {
    /// Which objects.
    pub query: Query,
    /// In which encodings.
    pub encoding: Encoding,
    /// In which frames.
    pub framing: Framing,
    /// Whether the client wants progress on band 2.
    pub progress: bool,
}

/// What the driver has to do next.
#[derive(Debug)]
pub enum Event {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Plan and send this pack, then call [`Session::pack_sent`] or [`Session::pack_failed`].
    Pack(Box<PackOrder>),
    /// Feed more input with [`Session::receive`], or [`Session::finish_input`].
    NeedInput,
    /// The conversation is over. `Some`: it failed; what the peer should hear has been sent already (an `ERR` packet).
    End(Option<Fault>),
}

/// One conversation.
pub struct Session {}

impl Session {
    /// A session at its beginning.
    pub fn new(_version: Version, _phase: Phase) -> Self {
        unimplemented!()
    }

    /// Takes bytes from the peer.
    pub fn receive(&mut self, _bytes: &[u8]) {
        unimplemented!()
    }

    /// No more bytes will come.
    pub fn finish_input(&mut self) {
        unimplemented!()
    }

    /// Whether the request received so far needs only references (answered from one snapshot without planning). `None`:
    /// more input is needed to tell.
    pub fn needs_planning(&self) -> Option<bool> {
        unimplemented!()
    }

    /// What to do next.
    pub fn poll(&mut self, _view: &View<'_>) -> Event {
        unimplemented!()
    }

    /// The ordered pack has been sent whole.
    pub fn pack_sent(&mut self) {
        unimplemented!()
    }

    /// The ordered pack could not be made or sent; `fault.public` goes to the peer on band 3 or as `ERR`.
    pub fn pack_failed(&mut self, _fault: Fault) {
        unimplemented!()
    }
}
