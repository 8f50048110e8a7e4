//! Why the upstream could not be asked or mirrored: one enum, told apart because the answers to them differ.

use heliostat_core::{ObjectId, fault::Fault, sync::Verdict};
use std::{fmt, io, path::Path, sync::Arc};

/// Whatever keeps us from an upstream's references or objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// There is no such repository: 404, or not in the folder.
    Missing,
    /// 401, 403, 410 or 451.
    Denied(u16),
    /// It says that it is failing or overloaded: 5xx, 408, 429.
    Failing(u16),
    /// No connection, or it broke.
    Unreachable(String),
    /// The upstream's folder is not there or can't be read; or nothing is in it, as where its file system is not mounted.
    Away(String),
    /// This process can't read something in the upstream's folder, which is there.
    Unreadable(String),
    /// Whoever answers can't prove that it is the upstream, or speaks no TLS: why, and what to do.
    Insecure(String),
    /// The proxy on the way to it: which, and why it leads nowhere.
    Proxy(String),
    /// It was silent, or took, too long.
    Timeout(&'static str),
    /// It sent us elsewhere, which we never follow. The host it named.
    Redirected {
        /// The status.
        status: u16,
        /// The host of its `Location`, escaped; or what is wrong with it.
        to: String,
    },
    /// It answered, but not as a smart-HTTP Git host.
    NotGit(String),
    /// It broke the protocol, or what it sent is damaged.
    Broken(String),
    /// It refused in words: an `ERR` packet or an error on side-band 3. Escaped.
    Refused(String),
    /// Something that we can't mirror.
    Unsupported(String),
    /// More than a limit allows.
    TooLarge(&'static str),
    /// An object that can't be read here, for its size.
    ObjectTooLarge {
        /// Which.
        id: ObjectId,
        /// Its size.
        bytes: u64,
        /// What is read at most.
        bytes_max: u64,
    },
    /// We are shutting down.
    Stopped,
    /// What was given as a seed can't be used: not the upstream's fault.
    Seed(String),
    /// Our disk or a defect of ours.
    Ours(String),
}

impl UpstreamError {
    /// The error of a status that is not 200, where redirections have been dealt with.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            404 => Self::Missing,
            401 | 403 | 410 | 451 => Self::Denied(status),
            408 | 429 | 500..=599 => Self::Failing(status),
            _ => Self::NotGit(format!("status {status}")),
        }
    }

    /// `folder` could not be read.
    #[must_use]
    pub fn away(folder: &Path, error: &io::Error) -> Self {
        Self::Away(format!("{}: {error}", folder.display()))
    }

    /// Whether it might be cured by asking for everything anew, without telling what we have.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// What the schedule has to know.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Missing => Verdict::Missing,
            Self::Denied(status) => Verdict::Denied(*status),
            Self::Unsupported(_) => Verdict::Unsupported(Arc::new(self.fault())),
            Self::Failing(_) => Verdict::Failing(Arc::new(self.fault())),
            Self::Unreachable(_) | Self::Away(_) | Self::Insecure(_) | Self::Proxy(_) | Self::Timeout(_) => {
                Verdict::Outage(Arc::new(self.fault()))
            }
            Self::Redirected { .. } | Self::NotGit(_) => Verdict::Useless(Arc::new(self.fault())),
            _ => Verdict::Failed(Arc::new(self.fault())),
        }
    }

    /// Whose fault it is, and what a client may hear. What the upstream said in its own words stays in the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Missing => Fault::client("repository not found"),
            Self::Denied(410) => Fault::upstream("the upstream says that this repository is gone for good", self),
            Self::Denied(451) => Fault::upstream("the upstream withholds this repository for legal reasons", self),
            Self::Denied(_) => Fault::upstream("the upstream refuses access to this repository", self),
            Self::Unsupported(what) => Fault::upstream(what.clone(), self),
            Self::Failing(status) => {
                Fault::upstream(format!("the upstream answers with an error (status {status})"), self)
            }
            Self::Unreachable(_) | Self::Timeout(_) => Fault::upstream("the upstream does not answer", self),
            Self::Away(_) => Fault::upstream("the upstream's folder can't be read now", self),
            Self::Unreadable(_) => Fault::ours("this mirror can't read the upstream's repository", self),
            Self::Insecure(_) => {
                Fault::upstream("this mirror has no secure connection to the upstream; its log says why", self)
            }
            Self::Proxy(_) => {
                Fault::upstream("this mirror's proxy does not lead to the upstream; its log says why", self)
            }
            Self::Redirected { .. } => Fault::upstream(
                "the upstream sends this mirror to another address, where it does not go; its log says where",
                self,
            ),
            Self::NotGit(_) => {
                Fault::upstream("whoever answers as the upstream is no Git host; the mirror's log says more", self)
            }
            Self::Broken(_) | Self::Refused(_) => Fault::upstream("the upstream's answer could not be used", self),
            Self::TooLarge(_) | Self::ObjectTooLarge { .. } => {
                Fault::upstream("the upstream's repository exceeds a limit of this mirror", self)
            }
            Self::Stopped => Fault::ours("this mirror is shutting down", self),
            Self::Seed(_) => Fault::client("the seed can't be used"),
            Self::Ours(_) => Fault::ours("this mirror could not store the repository", self),
        }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the upstream has no such repository"),
            Self::Denied(410) => f.write_str("the upstream says that the repository is gone (410)"),
            Self::Denied(451) => f.write_str("the upstream withholds the repository for legal reasons (451)"),
            Self::Denied(401) => f.write_str("the upstream wants credentials (401)"),
            Self::Denied(status) => write!(f, "the upstream refuses access ({status})"),
            Self::Failing(status) => write!(f, "the upstream is failing (status {status})"),
            Self::Unreachable(why) => write!(f, "the upstream can't be reached: {why}"),
            Self::Away(why) => write!(f, "the upstream folder can't be read: {why}"),
            Self::Unreadable(why) => write!(f, "this process can't read all of the upstream folder: {why}"),
            Self::Insecure(why) => write!(f, "no secure connection to the upstream: {why}"),
            Self::Proxy(why) => write!(f, "no way to the upstream: {why}"),
            Self::Timeout(what) => write!(f, "the upstream took too long: {what}"),
            Self::Redirected { status, to } => write!(f, "the upstream redirects ({status}) to {to}; not followed"),
            Self::NotGit(why) => write!(f, "the upstream does not answer as a smart-http git host: {why}"),
            Self::Broken(why) => write!(f, "the upstream's answer is damaged: {why}"),
            Self::Refused(text) => write!(f, "the upstream refuses: {text}"),
            Self::Unsupported(what) => f.write_str(what),
            Self::TooLarge(what) => write!(f, "over a limit: {what}"),
            Self::ObjectTooLarge { id, bytes, bytes_max } => {
                write!(f, "over a limit: object {id} has {bytes} bytes, {bytes_max} at most are read")
            }
            Self::Stopped => f.write_str("stopped"),
            Self::Seed(why) | Self::Ours(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for UpstreamError {}

/// Text from outside, fit for a log line: what is not printable is escaped, and it is not longer than it needs to be.
/// Quotes stay, for whoever puts it between some.
#[must_use]
pub fn escaped(text: &[u8]) -> String {
    use heliostat_core::limits::UPSTREAM_TEXT_BYTES_MAX;
    let cut = &text[..text.len().min(UPSTREAM_TEXT_BYTES_MAX)];
    let mut escaped = String::new();
    for c in String::from_utf8_lossy(cut).trim().chars() {
        match c {
            '\'' | '"' | '\\' => escaped.push(c),
            c => escaped.extend(c.escape_debug()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(UpstreamError::of_status(404), UpstreamError::Missing);
        assert_eq!(UpstreamError::of_status(410), UpstreamError::Denied(410));
        assert_eq!(UpstreamError::of_status(401), UpstreamError::Denied(401));
        assert_eq!(UpstreamError::of_status(451), UpstreamError::Denied(451));
        assert_eq!(UpstreamError::of_status(503), UpstreamError::Failing(503));
        assert!(matches!(UpstreamError::of_status(418), UpstreamError::NotGit(_)));
    }

    #[test]
    fn text_from_outside_cannot_write_our_log() {
        assert_eq!(escaped(b"gone\n\x1b[2Jroot: \xff \n"), "gone\\n\\u{1b}[2Jroot: \u{fffd}");
        assert!(escaped(&[b'x'; 100_000]).len() <= 1_000);
        assert_eq!(escaped(b"the upstream's \"x\" \\ y"), "the upstream's \"x\" \\ y", "quoted where it is logged");
    }
}
