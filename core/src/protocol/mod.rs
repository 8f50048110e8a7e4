//! The upload-pack machine: one for HTTP, SSH, the command line and the fuzzers.
//!
//! Sans-IO: the driver feeds bytes with [`Session::receive`] and drains [`Session::poll`] until it says
//! [`Event::NeedInput`] or [`Event::End`]. What the machine needs to know of the repository it reads from a [`View`].

mod arguments;
mod demand;
mod fetch;
mod haves;
mod input;
mod listing;
mod ls_refs;
mod negotiation;
mod object_info;
mod peek;
mod policy;
mod refusal;
mod reply;
mod session;
mod v0;
mod v2;
mod wants;

pub use policy::{FilterRules, Policy, Unborn, WantPolicy};
pub use session::Session;

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
    /// What the upstream has confirmed and what is still on its way here, if that is something else than `refs`: a
    /// `want-ref` means a reference of these.
    pub pending: Option<&'a RefTable>,
    /// The objects.
    pub objects: &'a Database,
    /// The repository's own shallow commits.
    pub shallow: &'a BTreeSet<ObjectId>,
    /// What is offered and granted.
    pub policy: &'a Policy,
    /// Raised by the driver to end long walks.
    pub stop: &'a AtomicBool,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Which references there are.
    References,
    /// Objects, in a pack: a fetch in any version.
    Pack,
    /// What objects are like.
    ObjectInfo,
    /// Nothing, or nothing that there is.
    Nothing,
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
    /// These are wanted and can't be granted. Bring them, if that can be, and call [`Session::look_again`]; or have them
    /// refused with [`Session::deny`]; or [`Session::fail`]. Then poll again, with whatever view there is then.
    Absent(Vec<ObjectId>),
    /// Feed more input with [`Session::receive`], or [`Session::finish_input`]. Never in [`Phase::Advertise`].
    NeedInput,
    /// The conversation is over. `Some`: it failed; what the peer should hear has been sent already (an `ERR` packet or
    /// band 3), and `detail` is what stock Git would say on standard error, without its `fatal: `.
    End(Option<Fault>),
}
