//! Errors at the edges: whose fault, and what the peer may hear.
//!
//! Inside, modules use small precise enums. At an edge (a door such as HTTP, SSH or the command line) each becomes
//! one [`Fault`], and each door maps a fault to its own form in one place: a status, an `ERR` line, an exit code.

use std::{borrow::Cow, fmt};

/// Who has to act for the error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The caller sent something wrong or asked for something that is not there.
    Client,
    /// The upstream failed, refused or contradicted itself.
    Upstream,
    /// This node: its disk, its limits, a defect.
    Ours,
}

/// An error with its culprit. `public` is safe to show to the peer; `detail` is for the log only.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Who has to act.
    pub side: Side,
    /// What the peer hears. Lower case, facts only, no paths of this machine, no secrets.
    pub public: Cow<'static, str>,
    /// What the operator reads in the log.
    pub detail: String,
}

impl Fault {
    /// A fault of the caller; the log says the same as the peer hears.
    pub fn client(public: impl Into<Cow<'static, str>>) -> Self {
        let public = public.into();
        Self { side: Side::Client, detail: public.to_string(), public }
    }

    /// A fault of the upstream, told to the peer as `public` and to the log as `detail`.
    pub fn upstream(public: impl Into<Cow<'static, str>>, detail: impl fmt::Display) -> Self {
        Self { side: Side::Upstream, public: public.into(), detail: detail.to_string() }
    }

    /// A fault of this node. The peer hears `public`, which must not tell more than it needs to know.
    pub fn ours(public: impl Into<Cow<'static, str>>, detail: impl fmt::Display) -> Self {
        Self { side: Side::Ours, public: public.into(), detail: detail.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.public == self.detail {
            f.write_str(&self.detail)
        } else {
            write!(f, "{}: {}", self.public, self.detail)
        }
    }
}

impl std::error::Error for Fault {}
