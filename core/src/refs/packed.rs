//! `packed-refs` (`gitrepository-layout`, `git-pack-refs`): written for the store's generations, read from anywhere.
//!
//! The writer gives the form that Git calls `peeled fully-peeled sorted`. The reader takes every form that Git wrote
//! since 2006: with or without peeled lines, in any order. It skips names that Git would not accept, and counts them.

use super::{Ref, RefName, RefTable};
use crate::ObjectId;
use std::fmt;

const HEADER: &[u8] = b"# pack-refs with: peeled fully-peeled sorted \n";
const HEX: usize = 40;

/// What a `packed-refs` file says.
#[derive(Debug, Default)]
pub struct PackedRefs {
    /// Its references, in the file's order.
    pub refs: Vec<Ref>,
    /// Whether a reference without a peeled line is known to be no annotated tag. (`peeled` alone says so of
    /// `refs/tags/` only.)
    pub fully_peeled: bool,
    /// Lines left out because Git would refuse the name.
    pub bad_names: usize,
}

/// A line that is no reference. Counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedRefsError {
    /// Which line.
    pub line: usize,
}

impl PackedRefs {
    /// Reads the content of a `packed-refs` file.
    pub fn parse(content: &[u8]) -> Result<Self, PackedRefsError> {
        let mut packed = Self::default();
        // Whether the line before was a reference that was taken, and so may be followed by what it peels to.
        let mut taken = false;
        let mut rest = content;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let broken = PackedRefsError { line: number };
            let end = rest.iter().position(|&byte| byte == b'\n').ok_or(broken)?;
            let line = &rest[..end];
            rest = &rest[end + 1..];
            if let Some(words) = line.strip_prefix(b"#") {
                packed.fully_peeled |= words.split(|&byte| byte == b' ').any(|word| word == b"fully-peeled");
            } else if let Some(peeled) = line.strip_prefix(b"^") {
                let peeled = ObjectId::from_hex(peeled).map_err(|_| broken)?;
                if let (true, Some(last)) = (taken, packed.refs.last_mut()) {
                    last.peeled = Some(peeled);
                }
            } else {
                if line.get(HEX) != Some(&b' ') {
                    return Err(broken);
                }
                let id = ObjectId::from_hex(&line[..HEX]).map_err(|_| broken)?;
                let name = RefName::new(&line[HEX + 1..]);
                taken = name.is_ok();
                match name {
                    Ok(name) => packed.refs.push(Ref { name, id, peeled: None, symbolic: None }),
                    Err(_) => packed.bad_names += 1,
                }
            }
        }
        Ok(packed)
    }
}

impl RefTable {
    /// The content of a `packed-refs` file with every reference of this table, symbolic ones with the object that they
    /// resolve to (Git lets a loose file of the same name win).
    pub fn to_packed(&self) -> Vec<u8> {
        let mut content = Vec::with_capacity(HEADER.len() + self.len() * 96);
        content.extend_from_slice(HEADER);
        for reference in self.iter() {
            push_hex(&mut content, &reference.id);
            content.push(b' ');
            content.extend_from_slice(reference.name);
            content.push(b'\n');
            if let Some(peeled) = reference.peeled {
                content.push(b'^');
                push_hex(&mut content, &peeled);
                content.push(b'\n');
            }
        }
        content
    }
}

fn push_hex(content: &mut Vec<u8>, id: &ObjectId) {
    let mut hex = [0; HEX];
    let len = id.hex_to_buf(&mut hex).len();
    content.extend_from_slice(&hex[..len]);
}

impl fmt::Display for PackedRefsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of packed-refs is no reference", self.line)
    }
}

impl std::error::Error for PackedRefsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refs::Head;

    fn id(byte: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[byte; 20])
    }

    fn table() -> RefTable {
        let name = |name: &str| RefName::new(name.as_bytes()).unwrap();
        let refs = vec![
            Ref { name: name("refs/heads/main"), id: id(1), peeled: None, symbolic: None },
            Ref { name: name("refs/tags/v1"), id: id(2), peeled: Some(id(1)), symbolic: None },
            Ref { name: name("refs/heads/alias"), id: id(1), peeled: None, symbolic: Some(name("refs/heads/main")) },
        ];
        RefTable::new(refs, Head::Absent)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let packed = PackedRefs::parse(&table().to_packed()).unwrap();
        assert!(packed.fully_peeled);
        assert_eq!(packed.bad_names, 0);
        let read: Vec<_> = packed.refs.iter().map(|r| (r.name.to_string(), r.id, r.peeled)).collect();
        let wrote: Vec<_> = table().iter().map(|r| (r.name.to_string(), r.id, r.peeled)).collect();
        assert_eq!(read, wrote);
    }

    #[test]
    fn old_forms_and_bad_names_are_read() {
        let hex = "1".repeat(40);
        let packed =
            PackedRefs::parse(format!("{hex} refs/b\n{hex} refs/x..y\n^{hex}\n{hex} refs/a\n^{hex}\n").as_bytes())
                .unwrap();
        assert!(!packed.fully_peeled);
        assert_eq!(packed.bad_names, 1);
        let read: Vec<_> = packed.refs.iter().map(|r| (r.name.to_string(), r.peeled.is_some())).collect();
        assert_eq!(read, [("refs/b".into(), false), ("refs/a".into(), true)]);
    }

    #[test]
    fn damage_is_told_by_line() {
        let hex = "1".repeat(40);
        for (content, line) in [
            (format!("{hex} refs/a\n{hex}refs/b\n"), 2),
            (format!("{hex} refs/a\n{hex} refs/b"), 2),
            (format!("{hex} refs/a\n^{}\n", &hex[1..]), 2),
            ("zz\n".into(), 1),
            ("\n".into(), 1),
        ] {
            assert_eq!(PackedRefs::parse(content.as_bytes()).unwrap_err(), PackedRefsError { line }, "{content}");
        }
    }
}
