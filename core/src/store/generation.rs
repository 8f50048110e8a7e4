//! The version of a repository's references.

use std::fmt;

/// `(epoch, n)`: an epoch is one numbering and names its numberer; only numbers of one epoch are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// A random name of the numbering, drawn when a repository is first mirrored.
    pub epoch: u64,
    /// Counts publications with changed references, from 1.
    pub n: u64,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.n)
    }
}
