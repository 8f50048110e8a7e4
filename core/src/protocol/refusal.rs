//! How the machine says no: faults in Git's words.

use crate::{ObjectId, fault::Fault, objects::ReadError};
use std::borrow::Cow;

/// A step that may end the conversation.
pub(super) type Refused<T> = Result<T, Fault>;

/// Why a step comes to no answer.
pub(super) enum Stop {
    /// The conversation ends.
    Refused(Fault),
    /// These wants can't be granted, and the driver may be able to bring them. None is left out but for their number.
    Absent(Vec<ObjectId>),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

/// Of a client's line, this many bytes are repeated in an error.
const QUOTE_BYTES_MAX: usize = 1_000;

/// Ends the conversation: the peer hears `words`, and so does the log.
pub(super) fn refused<T>(words: impl Into<Cow<'static, str>>) -> Refused<T> {
    Err(Fault::client(words))
}

/// Refuses the first of these wants.
pub(super) fn not_our_ref(ids: &[ObjectId]) -> Fault {
    let id = ids.first().map(ObjectId::to_string).unwrap_or_default();
    let words = format!("upload-pack: not our ref {id}");
    Fault { detail: format!("git {words}"), ..Fault::client(words) }
}

/// Ends the conversation because the repository could not be read.
pub(super) fn unreadable(error: ReadError) -> Fault {
    match error {
        ReadError::Interrupted => Fault::ours("upload-pack: the request was abandoned", "a walk was interrupted"),
        // Git's words for whatever is wrong with its objects.
        error => Fault::ours(
            "upload-pack: aborting due to possible repository corruption on the remote side.",
            error.to_string(),
        ),
    }
}

/// What a client wrote, fit for an error message: bounded, without control characters, as Git's `die` does it.
pub(super) fn quoted(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTE_BYTES_MAX)])
        .chars()
        .map(|c| if c.is_control() && c != '\t' && c != '\n' { '?' } else { c })
        .collect()
}
