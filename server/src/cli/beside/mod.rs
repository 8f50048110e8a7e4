//! Commands that a running node does, or this process where none runs: who that is, and what it is asked.

mod client;
mod place;

pub use client::{Client, Identity};
pub use place::{Place, Refusal};

use super::{complain, usage};
use std::process::ExitCode;

/// What came of one repository: words for success, or for what went wrong.
pub type Outcome = Result<String, String>;

/// Says why nobody does it.
pub fn refused(refusal: Refusal) -> ExitCode {
    match refusal {
        Refusal::Usage(words) => usage(&words),
        Refusal::Failed(words) => {
            complain(format_args!("heliostat: {words}"));
            ExitCode::FAILURE
        }
    }
}
