//! A reference name that `git check-ref-format` would accept.

use crate::limits::REF_NAME_BYTES_MAX;
use bstr::{BStr, BString, ByteSlice};
use std::fmt;

/// A full reference name below `refs/`, valid by `git check-ref-format`. `HEAD` is not one: see [`super::Head`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(BString);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefNameError {
    /// Does not begin with `refs/`.
    OutsideRefs,
    /// Breaks a rule of `git check-ref-format`.
    Malformed,
    /// Longer than [`REF_NAME_BYTES_MAX`].
    TooLong,
}

impl RefName {
    /// Checks `name` (bytes, not necessarily UTF-8) and takes it.
    pub fn new(name: &[u8]) -> Result<Self, RefNameError> {
        if name.len() > REF_NAME_BYTES_MAX {
            return Err(RefNameError::TooLong);
        }
        if !name.starts_with(b"refs/") {
            return Err(RefNameError::OutsideRefs);
        }
        gix_validate::reference::name(name.as_bstr()).map_err(|_| RefNameError::Malformed)?;
        Ok(Self(name.into()))
    }

    /// A name that a [`super::RefTable`] holds, and that was checked on its way in.
    pub(super) fn taken_from_table(name: &BStr) -> Self {
        Self(name.to_owned())
    }

    /// The name's bytes.
    pub fn as_bstr(&self) -> &BStr {
        self.0.as_bstr()
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_bstr())
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_bstr())
    }
}

impl fmt::Display for RefNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutsideRefs => "reference name does not begin with refs/",
            Self::Malformed => "reference name is malformed",
            Self::TooLong => "reference name is too long",
        })
    }
}

impl std::error::Error for RefNameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_check_ref_format() {
        for good in ["refs/heads/main", "refs/pull/1/head", "refs/tags/v1.0", "refs/x", "refs/heads/ü"] {
            assert!(RefName::new(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "HEAD",
            "heads/main",
            "refs/heads/..",
            "refs/a..b",
            "refs/x.lock",
            "refs/a b",
            "refs/a\x07",
            "refs/@{",
            "refs//a",
            "refs/a/",
        ] {
            assert!(RefName::new(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(RefName::new(&[b'a'; 5000]), Err(RefNameError::TooLong));
    }
}
