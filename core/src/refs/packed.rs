//! `packed-refs` (`gitrepository-layout`, `git-pack-refs`): written for the store's generations, read from anywhere.
//!
//! The writer gives the form that Git calls `peeled fully-peeled sorted`. The reader takes every form that Git wrote
//! since 2006 and refuses, as Git does, a line that is no reference.

use super::{Ref, RefName, RefTable};
use crate::ObjectId;
use bstr::{BStr, BString, ByteSlice};
use std::{fmt, ops::Range};

const HEADER: &[u8] = b"# pack-refs with: peeled fully-peeled sorted \n";
const HEX: usize = 40;

/// The references of one `packed-refs` file, sorted by name.
#[derive(Debug, Default)]
pub struct PackedRefs {
    text: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: Range<usize>,
    id: ObjectId,
    peeled: Peeled,
}

/// What the file says of a reference's peeled value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeled {
    /// An annotated tag that peels to this.
    To(ObjectId),
    /// Not an annotated tag.
    Itself,
    /// The file does not say.
    Unknown,
}

/// A line that is not what it should be, or that the file's end cuts off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnexpectedLine {
    line: BString,
    is_cut: bool,
}

/// What Git says of a line, and of one that is longer.
const LINE_SAID_BYTES: usize = 79;
const LONG_LINE_SAID_BYTES: usize = 75;

impl UnexpectedLine {
    /// In Git's words, for a file that is called `name`.
    pub fn of(&self, name: &str) -> String {
        let what = if self.is_cut { "unterminated" } else { "unexpected" };
        match self.line.get(..=LINE_SAID_BYTES) {
            Some(long) => format!("{what} line in {name}: {}...", long[..LONG_LINE_SAID_BYTES].as_bstr()),
            None => format!("{what} line in {name}: {}", self.line),
        }
    }
}

impl PackedRefs {
    /// Takes the content of a file: with or without peeled lines, in any order. Names are not checked.
    pub fn parse(text: Vec<u8>) -> Result<Self, UnexpectedLine> {
        let mut entries: Vec<Entry> = Vec::new();
        let (mut peeled, mut fully_peeled) = (false, false);
        let mut start = 0;
        if text.starts_with(b"#") {
            let end = text.find_byte(b'\n');
            let line = &text[..end.unwrap_or(text.len())];
            let traits = line.strip_prefix(b"# pack-refs with:").filter(|_| end.is_some());
            let traits = traits.ok_or_else(|| UnexpectedLine { line: line.into(), is_cut: end.is_none() })?;
            for word in traits.split(|byte| *byte == b' ') {
                peeled |= word == b"peeled" || word == b"fully-peeled";
                fully_peeled |= word == b"fully-peeled";
            }
            start = line.len() + 1;
        }
        if start < text.len() && !text.ends_with(b"\n") {
            let last = text.rfind_byte(b'\n').map_or(0, |end| end + 1);
            return Err(UnexpectedLine { line: text[last..].into(), is_cut: true });
        }
        while start < text.len() {
            let end = text[start..].find_byte(b'\n').map_or(text.len(), |length| start + length);
            let line = &text[start..end];
            let unexpected = || UnexpectedLine { line: line.into(), is_cut: false };
            if let Some(id) = line.strip_prefix(b"^") {
                let id = ObjectId::from_hex(id).map_err(|_| unexpected())?;
                entries.last_mut().ok_or_else(unexpected)?.peeled = Peeled::To(id);
            } else {
                let id = line.get(..40).and_then(|id| ObjectId::from_hex(id).ok()).ok_or_else(unexpected)?;
                if line.get(40).is_none_or(|byte| !byte.is_ascii_whitespace()) {
                    return Err(unexpected());
                }
                let name = start + 41..end;
                let known = fully_peeled || peeled && text[name.clone()].starts_with(b"refs/tags/");
                entries.push(Entry { name, id, peeled: if known { Peeled::Itself } else { Peeled::Unknown } });
            }
            start = end + 1;
        }
        if !entries.is_sorted_by(|a, b| text[a.name.clone()] <= text[b.name.clone()]) {
            entries.sort_by(|a, b| text[a.name.clone()].cmp(&text[b.name.clone()]));
        }
        Ok(Self { text, entries })
    }

    /// All references, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&BStr, ObjectId, Peeled)> {
        self.entries.iter().map(|entry| (self.text[entry.name.clone()].as_bstr(), entry.id, entry.peeled))
    }

    /// The references whose names Git accepts, as a table takes them.
    pub fn refs(&self) -> Vec<Ref> {
        let valid = self.iter().filter_map(|(name, id, peeled)| {
            let peeled = if let Peeled::To(id) = peeled { Some(id) } else { None };
            Some(Ref { name: RefName::new(name).ok()?, id, peeled, symbolic: None })
        });
        valid.collect()
    }

    /// What the reference of that name holds.
    pub fn find(&self, name: &BStr) -> Option<ObjectId> {
        let at = self.entries.binary_search_by(|entry| self.text[entry.name.clone()].cmp(name)).ok()?;
        Some(self.entries[at].id)
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

impl fmt::Display for UnexpectedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.of("packed-refs").as_bytes().escape_ascii().to_string())
    }
}

impl std::error::Error for UnexpectedLine {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refs::Head;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(text: &str) -> Result<Vec<(String, Peeled)>, UnexpectedLine> {
        let refs = PackedRefs::parse(text.into())?;
        Ok(refs.iter().map(|(name, _, peeled)| (name.to_string(), peeled)).collect())
    }

    #[test]
    fn headers_say_what_is_known_of_peeled_values() {
        let body = format!("{A} refs/heads/a\n{A} refs/tags/t\n^{B}\n{A} refs/tags/u\n");
        let b = ObjectId::from_hex(B.as_bytes()).unwrap();
        for (header, head, light) in [
            ("# pack-refs with: peeled fully-peeled sorted \n", Peeled::Itself, Peeled::Itself),
            ("# pack-refs with: peeled \n", Peeled::Unknown, Peeled::Itself),
            ("", Peeled::Unknown, Peeled::Unknown),
        ] {
            let expected = [("refs/heads/a", head), ("refs/tags/t", Peeled::To(b)), ("refs/tags/u", light)];
            let expected: Vec<_> = expected.into_iter().map(|(name, peeled)| (name.to_string(), peeled)).collect();
            assert_eq!(parse(&format!("{header}{body}")).unwrap(), expected);
        }
    }

    #[test]
    fn names_that_git_refuses_are_left_out_of_the_table() {
        let packed = PackedRefs::parse(format!("{A} refs/b\n{A} refs/x..y\n^{B}\n{B} refs/a\n").into()).unwrap();
        let names: Vec<_> = packed.refs().iter().map(|r| r.name.to_string()).collect();
        assert_eq!(names, ["refs/a", "refs/b"]);
    }

    #[test]
    fn unsorted_files_are_sorted_and_broken_ones_refused() {
        let refs = PackedRefs::parse(format!("{A} refs/b\n{B} refs/a\n").into()).unwrap();
        assert_eq!(refs.find("refs/a".into()), Some(ObjectId::from_hex(B.as_bytes()).unwrap()));
        assert_eq!(refs.find("refs/c".into()), None);
        for bad in [
            &format!("^{A}\n"),
            &format!("{A}refs/a\n"),
            &format!("{A} refs/a"),
            "short refs/a\n",
            &format!("{A} refs/a\n# late\n"),
            &format!("# a comment\n{A} refs/a\n"),
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

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
        let packed = PackedRefs::parse(table().to_packed()).unwrap();
        assert!(packed.iter().all(|(_, _, peeled)| peeled != Peeled::Unknown));
        let read: Vec<_> = packed.refs().iter().map(|r| (r.name.to_string(), r.id, r.peeled)).collect();
        let wrote: Vec<_> = table().iter().map(|r| (r.name.to_string(), r.id, r.peeled)).collect();
        assert_eq!(read, wrote);
    }
}
