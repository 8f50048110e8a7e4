//! One client: what `git clone` or `git fetch` asks of a server, from the first request to the last byte.

use std::time::{Duration, Instant};

use crate::address::Address;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::fetch::{Request, fetch};
use crate::references::{Capabilities, Id, References, capabilities, list};

/// How far behind an incremental fetch starts, in commits; less where history is shorter.
const BEHIND_COMMITS: u32 = 50;
/// A first round of Git's negotiation has at most this many haves.
const HAVES_MAX: usize = 16;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneKind {
    /// All branches and tags, with all of history: `git clone --bare`.
    Full,
    /// All references: `git clone --mirror`.
    Mirror,
    /// The branch of HEAD, with all of history: `--single-branch`.
    Branch,
    /// Its newest commit: `--depth 1`.
    Depth1,
    /// All branches and tags, without contents of files: `--filter=blob:none`.
    BlobNone,
    /// `git fetch` of the branch of HEAD by a client that is some fifty commits behind.
    Incremental,
}

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: Address,
    pub(crate) kind: CloneKind,
    pub(crate) patience: Duration,
    pub(crate) walk: bool,
    /// For `Incremental`: what the client has.
    pub(crate) haves: Vec<Id>,
}

/// A clone that was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cloned {
    /// How long its parts took.
    pub timings: Timings,
    /// References that were listed.
    pub references: u64,
    /// Objects in the pack.
    pub objects: u64,
    /// Bytes of the pack.
    pub pack_bytes: u64,
    /// Bytes of the answer to `fetch`, framing included.
    pub answer_bytes: u64,
}

/// How long the parts of a clone took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Connecting, and `GET info/refs`.
    pub info_refs: Duration,
    /// `ls-refs`.
    pub ls_refs: Duration,
    /// From the `fetch` request to the first byte of the pack.
    pub first_byte: Duration,
    /// From the beginning to the end of all.
    pub total: Duration,
}

impl Client {
    /// Clones on a connection of its own, as every `git clone` does.
    pub(crate) fn clone_once(&self) -> Result<Cloned, Failure> {
        let mut connection = Connection::new(self.address.clone(), self.patience);
        let begin = Instant::now();
        let can = capabilities(&mut connection)?;
        let info_refs = begin.elapsed();
        let references = list(&mut connection, self.prefixes())?;
        let ls_refs = begin.elapsed() - info_refs;
        let request = self.request(can, &references)?;
        let fetched = fetch(&mut connection, &request)?;
        let timings = Timings { info_refs, ls_refs, first_byte: fetched.first_byte, total: begin.elapsed() };
        Ok(Cloned {
            timings,
            references: references.count,
            objects: fetched.pack.objects.into(),
            pack_bytes: fetched.pack.bytes,
            answer_bytes: fetched.bytes,
        })
    }

    /// Learns what a client that is behind would have: the commits where a shallow history of `BEHIND_COMMITS` ends.
    pub(crate) fn commits_behind(&self) -> Result<Vec<Id>, Failure> {
        let mut connection = Connection::new(self.address.clone(), self.patience);
        let can = capabilities(&mut connection)?;
        if !can.shallow {
            return Err(Failure::Capability("shallow"));
        }
        let references = list(&mut connection, &["HEAD"])?;
        let head = [references.head.ok_or(Failure::References("no HEAD"))?];
        let mut depth = BEHIND_COMMITS;
        while depth > 0 {
            let filter = can.filter.then_some("tree:0");
            let request = Request { wants: &head, depth, filter, ..Request::default() };
            let mut found = fetch(&mut connection, &request)?.shallow;
            if !found.is_empty() {
                found.truncate(HAVES_MAX);
                return Ok(found);
            }
            depth /= 2;
        }
        Err(Failure::References("HEAD has no history to be behind"))
    }

    fn prefixes(&self) -> &'static [&'static str] {
        match self.kind {
            CloneKind::Mirror => &[],
            CloneKind::Full | CloneKind::BlobNone => &["HEAD", "refs/heads/", "refs/tags/"],
            // Git's client lists all branches and tags, and then wants one.
            CloneKind::Branch | CloneKind::Depth1 | CloneKind::Incremental => &["HEAD", "refs/heads/", "refs/tags/"],
        }
    }

    fn request<'r>(&'r self, can: Capabilities, references: &'r References) -> Result<Request<'r>, Failure> {
        let head = || references.head.as_ref().map(std::slice::from_ref).ok_or(Failure::References("no HEAD"));
        let all = Request { wants: &references.ids, walk: self.walk, ..Request::default() };
        match self.kind {
            CloneKind::Full | CloneKind::Mirror if all.wants.is_empty() => Err(Failure::References("none to clone")),
            CloneKind::Full | CloneKind::Mirror => Ok(all),
            CloneKind::Branch => Ok(Request { wants: head()?, ..all }),
            CloneKind::Depth1 if !can.shallow => Err(Failure::Capability("shallow")),
            CloneKind::Depth1 => Ok(Request { wants: head()?, depth: 1, ..all }),
            CloneKind::BlobNone if !can.filter => Err(Failure::Capability("filter")),
            CloneKind::BlobNone => Ok(Request { filter: Some("blob:none"), ..all }),
            CloneKind::Incremental => Ok(Request { wants: head()?, haves: &self.haves, ..all }),
        }
    }
}
