//! How the machine says no: faults in Git's words.

use crate::{fault::Fault, objects::ReadError};
use std::borrow::Cow;

/// A step that may end the conversation.
pub(super) type Refused<T> = Result<T, Fault>;

/// Of a client's line, this many bytes are repeated in an error.
const QUOTE_BYTES_MAX: usize = 1_000;

/// Ends the conversation: the peer hears `words`, and so does the log.
pub(super) fn refused<T>(words: impl Into<Cow<'static, str>>) -> Refused<T> {
    Err(Fault::client(words))
}

/// As [`refused`], where stock Git says `git upload-pack: ` and the rest on standard error.
pub(super) fn refused_by_upload_pack<T>(words: impl Into<String>) -> Refused<T> {
    let words = words.into();
    Err(Fault { detail: format!("git {words}"), ..Fault::client(words) })
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
