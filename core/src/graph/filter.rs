//! Object filters (`git-rev-list --filter`): parsed and refused in Git's words, and written back in canonical form.
//!
//! What a filter does to a walk is told beside the walk.

use crate::{ObjectId, limits};
use bstr::{BStr, ByteSlice};
use gix_object::Kind;
use std::fmt;

/// A parsed filter specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `blob:none`.
    BlobNone,
    /// `blob:limit=N`: blobs of at least N bytes are left out.
    BlobLimit(u64),
    /// `tree:N`: trees and blobs at depth N and more are left out.
    Tree(u64),
    /// `object:type=T`.
    ObjectType(Kind),
    /// `sparse:oid=EXPRESSION`, as written.
    SparseOid(Vec<u8>),
    /// `combine:` of several.
    Combine(Vec<Filter>),
}

/// Why a specification is refused, in Git's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError(pub String);

/// Characters that a part of `combine:` must percent-encode (besides white space and controls).
const RESERVED: &[u8] = b"~`!@#$^&*()[]{}\\;'\",<>?";

impl Filter {
    /// Parses a specification as it stands on a `filter` line.
    pub fn parse(spec: &[u8]) -> Result<Self, FilterError> {
        parse(spec, &mut 0)
    }

    /// The canonical form: parsing it gives this filter again. Bytes, since the expression of a `sparse:oid` need not be
    /// text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = match self {
            Self::BlobNone => "blob:none".to_owned(),
            Self::BlobLimit(limit) => format!("blob:limit={limit}"),
            Self::Tree(depth) => format!("tree:{depth}"),
            Self::ObjectType(kind) => format!("object:type={kind}"),
            Self::SparseOid(name) => return [b"sparse:oid=", name.as_slice()].concat(),
            Self::Combine(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| percent_encode(&part.to_bytes())).collect();
                return [b"combine:".as_slice(), &parts.join(&b'+')].concat();
            }
        };
        text.into_bytes()
    }

    /// Puts an id in the place of each `sparse:oid` expression (`main:patterns`), wherever it is nested. The first that
    /// `resolve` does not know is given back: stock Git then says "unable to access sparse blob in '…'".
    pub fn resolve_sparse(&mut self, resolve: &mut dyn FnMut(&[u8]) -> Option<ObjectId>) -> Result<(), Vec<u8>> {
        match self {
            Self::SparseOid(name) => match resolve(name) {
                Some(id) => *name = id.to_string().into_bytes(),
                None => return Err(name.clone()),
            },
            Self::Combine(parts) => {
                for part in parts {
                    part.resolve_sparse(resolve)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// `parts` counts every filter met so far: it bounds both breadth and nesting.
fn parse(spec: &[u8], parts: &mut usize) -> Result<Filter, FilterError> {
    *parts += 1;
    if *parts > limits::FILTER_PARTS_MAX {
        return Err(FilterError(format!("more than {} filters combined", limits::FILTER_PARTS_MAX)));
    }
    if spec == b"blob:none" {
        return Ok(Filter::BlobNone);
    }
    if let Some(limit) = spec.strip_prefix(b"blob:limit=").and_then(parse_ulong) {
        return Ok(Filter::BlobLimit(limit));
    }
    if let Some(depth) = spec.strip_prefix(b"tree:") {
        return parse_ulong(depth).map(Filter::Tree).ok_or_else(|| FilterError("expected 'tree:<depth>'".into()));
    }
    if let Some(name) = spec.strip_prefix(b"sparse:oid=") {
        return Ok(Filter::SparseOid(name.to_vec()));
    }
    if spec.starts_with(b"sparse:path=") {
        return Err(FilterError("sparse:path filters support has been dropped".into()));
    }
    if let Some(name) = spec.strip_prefix(b"object:type=") {
        return Kind::from_bytes(name).map(Filter::ObjectType).map_err(|_| {
            FilterError(format!("'{}' for 'object:type=<type>' is not a valid object type", name.as_bstr()))
        });
    }
    if let Some(list) = spec.strip_prefix(b"combine:") {
        return parse_combine(list, parts);
    }
    Err(FilterError(format!("invalid filter-spec '{}'", spec.as_bstr())))
}

fn parse_combine(list: &[u8], parts: &mut usize) -> Result<Filter, FilterError> {
    if list.is_empty() {
        return Err(FilterError("expected something after combine:".into()));
    }
    // As Git splits: a plus sign at the very end belongs to the last part (which it spoils).
    let mut pieces: Vec<&[u8]> = list.split_inclusive(|byte| *byte == b'+').collect();
    let last = pieces.len() - 1;
    for piece in &mut pieces[..last] {
        *piece = &piece[..piece.len() - 1];
    }
    let filters = pieces.into_iter().map(|piece| {
        // Git compares signed characters, so that everything outside ASCII counts as reserved too.
        let reserved = piece.iter().find(|byte| **byte <= b' ' || **byte >= 0x80 || RESERVED.contains(byte));
        if let Some(byte) = reserved {
            return Err(FilterError(format!("must escape char in sub-filter-spec: '{}'", BStr::new(&[*byte]))));
        }
        parse(&percent_decode(piece), parts)
    });
    filters.collect::<Result<_, _>>().map(Filter::Combine)
}

/// Git's `url_percent_decode`: what is no escape stays as it is, `%00` too.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| Some((hex(two[0])?, hex(two[1])?)));
        match digits {
            Some((high, low)) if byte == b'%' && (high, low) != (0, 0) => {
                out.push(high << 4 | low);
                rest = &tail[2..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

/// One part of a `combine:`, with everything encoded that Git insists on.
fn percent_encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if byte <= b' ' || byte >= 0x7f || byte == b'%' || byte == b'+' || RESERVED.contains(&byte) {
            out.extend_from_slice(format!("%{byte:02x}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Git's `git_parse_ulong`: C's notation (octal and hexadecimal too), then `k`, `m` or `g`; no minus anywhere.
fn parse_ulong(text: &[u8]) -> Option<u64> {
    if text.contains(&b'-') {
        return None;
    }
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let is_hex = text.len() > 2 && text[0] == b'0' && text[1] | 0x20 == b'x' && hex(text[2]).is_some();
    let (radix, digits) = match text {
        _ if is_hex => (16, &text[2..]),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let end = digits.iter().position(|digit| !char::from(*digit).is_digit(radix)).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let value = digits[..end].iter().try_fold(0u64, |value, digit| {
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(char::from(*digit).to_digit(radix)?))
    })?;
    let factor = match digits[end..].to_ascii_lowercase().as_slice() {
        b"" => 1,
        b"k" => 1 << 10,
        b"m" => 1 << 20,
        b"g" => 1 << 30,
        _ => return None,
    };
    value.checked_mul(factor)
}

/// As `to_bytes` writes it; what is not UTF-8 is shown as replacement characters.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_bytes().as_bstr())
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FilterError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        use Filter::*;
        let cases = [
            ("blob:none", BlobNone),
            ("blob:limit=0", BlobLimit(0)),
            ("blob:limit=1k", BlobLimit(1024)),
            ("blob:limit=2M", BlobLimit(2 << 20)),
            ("blob:limit=1g", BlobLimit(1 << 30)),
            ("blob:limit=0x10", BlobLimit(16)),
            ("blob:limit=010", BlobLimit(8)),
            ("tree:0", Tree(0)),
            ("tree:18446744073709551615", Tree(u64::MAX)),
            ("object:type=tag", ObjectType(Kind::Tag)),
            ("sparse:oid=main:spec", SparseOid(b"main:spec".to_vec())),
            ("combine:blob:none", Combine(vec![BlobNone])),
            ("combine:blob:none+tree%3A1", Combine(vec![BlobNone, Tree(1)])),
            ("combine:combine:tree:1%2bblob:none+tree:2", Combine(vec![Combine(vec![Tree(1), BlobNone]), Tree(2)])),
        ];
        for (spec, filter) in cases {
            assert_eq!(Filter::parse(spec.as_bytes()), Ok(filter.clone()), "{spec}");
            assert_eq!(Filter::parse(filter.to_string().as_bytes()), Ok(filter), "{spec} written and read again");
        }
        let not_text = Combine(vec![BlobNone, SparseOid(b"m\xe4in:spec".to_vec())]);
        assert_eq!(Filter::parse(&not_text.to_bytes()), Ok(not_text));
        let nested = Combine(vec![Combine(vec![Tree(1), BlobNone]), Tree(2)]);
        assert_eq!(nested.to_string(), "combine:combine:tree:1%2bblob:none+tree:2");
    }

    #[test]
    fn refusals_in_gits_words() {
        let cases = [
            ("", "invalid filter-spec ''"),
            ("blob:limit=", "invalid filter-spec 'blob:limit='"),
            ("blob:limit=-1", "invalid filter-spec 'blob:limit=-1'"),
            ("blob:limit=1kk", "invalid filter-spec 'blob:limit=1kk'"),
            ("blob:limit=99999999999999999999", "invalid filter-spec 'blob:limit=99999999999999999999'"),
            ("tree:x", "expected 'tree:<depth>'"),
            ("sparse:path=x", "sparse:path filters support has been dropped"),
            ("object:type=blub", "'blub' for 'object:type=<type>' is not a valid object type"),
            ("combine:", "expected something after combine:"),
            ("combine:tree:1+", "expected 'tree:<depth>'"),
            ("combine:blob:none+", "invalid filter-spec 'blob:none+'"),
            ("combine:tree:1++tree:2", "invalid filter-spec ''"),
            ("combine:tree:1+blob:no ne", "must escape char in sub-filter-spec: ' '"),
            ("combine:bl~b", "must escape char in sub-filter-spec: '~'"),
        ];
        for (spec, why) in cases {
            assert_eq!(Filter::parse(spec.as_bytes()), Err(FilterError(why.into())), "{spec}");
        }
        let wide = format!("combine:{}tree:1", "tree:1+".repeat(100));
        assert!(Filter::parse(wide.as_bytes()).is_err());
        let mut deep = "tree:1".to_owned();
        for _ in 0..100 {
            deep = format!("combine:{}", deep.replace('%', "%25"));
        }
        assert!(Filter::parse(deep.as_bytes()).is_err());
    }
}
