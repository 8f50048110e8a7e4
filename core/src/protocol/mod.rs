//! The upload-pack machine: one for HTTP, SSH, the command line and the fuzzers.
//!
//! Sans-IO: the driver feeds bytes with [`Session::receive`] and drains [`Session::poll`] until it says
//! [`Event::NeedInput`] or [`Event::End`]. What the machine needs to know of the repository it reads from a [`View`].

mod policy;

pub use policy::{FilterRules, Policy, Unborn, WantPolicy};

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
    /// Send these bytes, then poll again.
    Send(Vec<u8>),
    /// Plan and send this pack (the pack alone, in its frames: what stands before and after it is the session's), then
    /// call [`Session::pack_sent`] or [`Session::pack_failed`], and poll again.
    Pack(Box<PackOrder>),
    /// Feed more input with [`Session::receive`], or [`Session::finish_input`]. Never in [`Phase::Advertise`].
    NeedInput,
    /// The conversation is over. `Some`: it failed; what the peer should hear has been sent already (an `ERR` packet or
    /// band 3), and `detail` is what stock Git would say on standard error, without its `fatal: `.
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

    /// What to do next. From a request's first byte to the end of its answer, every call must get the same view.
    pub fn poll(&mut self, _view: &View<'_>) -> Event {
        unimplemented!()
    }

    /// The ordered pack has been sent whole.
    pub fn pack_sent(&mut self) {
        unimplemented!()
    }

    /// The ordered pack could not be made or sent; `fault.public` goes to the peer on band 3 where there is one.
    pub fn pack_failed(&mut self, _fault: Fault) {
        unimplemented!()
    }

    /// Ends the conversation from outside (a time limit, a failed sync): `fault.public` goes to the peer as `ERR`, or on
    /// band 3 once the pack has begun.
    pub fn fail(&mut self, _fault: Fault) {
        unimplemented!()
    }

    /// A frame that keeps the peer awake and means nothing, if the protocol has room for one right now: `0005\x01` while
    /// an ordered pack with side-band is on its way, `0005\x02` before that if the request asked for `sideband-all`.
    pub fn keep_alive(&self) -> Option<&'static [u8]> {
        unimplemented!()
    }

    /// `text` as progress on band 2, under the same conditions, if the peer wants progress. `text` ends in `\n` or `\r`.
    pub fn progress(&self, _text: &str) -> Option<Vec<u8>> {
        unimplemented!()
    }
}
