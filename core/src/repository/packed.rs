//! `packed-refs` (`gitformat-pack` has no page for it; the format is one line a reference, peeled values on `^` lines).

use crate::{ObjectId, limits::PACKED_REFS_BYTES_MAX};
use bstr::{BStr, BString, ByteSlice};
use std::{io, ops::Range, path::Path};

/// The references of one `packed-refs` file, sorted by name.
#[derive(Debug, Default)]
pub(super) struct PackedRefs {
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
pub(super) enum Peeled {
    /// An annotated tag that peels to this.
    To(ObjectId),
    /// Not an annotated tag.
    Itself,
    /// The file does not say.
    Unknown,
}

/// Why a file is refused.
#[derive(Debug)]
pub(super) enum PackedError {
    Io(io::Error),
    TooLarge,
    /// This line is not what it should be.
    UnexpectedLine(BString),
}

impl PackedRefs {
    /// Reads the file; one that is not there holds nothing.
    pub(super) fn read(path: &Path) -> Result<Self, PackedError> {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.len() > PACKED_REFS_BYTES_MAX => return Err(PackedError::TooLarge),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(PackedError::Io(error)),
        }
        Self::parse(std::fs::read(path).map_err(PackedError::Io)?)
    }

    fn parse(text: Vec<u8>) -> Result<Self, PackedError> {
        let mut entries: Vec<Entry> = Vec::new();
        let (mut peeled, mut fully_peeled) = (false, false);
        let mut start = 0;
        while start < text.len() {
            let end = text[start..].find_byte(b'\n').map_or(text.len(), |length| start + length);
            let line = &text[start..end];
            let unexpected = || PackedError::UnexpectedLine(line.into());
            if let Some(traits) = line.strip_prefix(b"# pack-refs with:").filter(|_| start == 0) {
                for word in traits.split(|byte| *byte == b' ') {
                    peeled |= word == b"peeled" || word == b"fully-peeled";
                    fully_peeled |= word == b"fully-peeled";
                }
            } else if let Some(id) = line.strip_prefix(b"^") {
                let id = ObjectId::from_hex(id).map_err(|_| unexpected())?;
                entries.last_mut().ok_or_else(unexpected)?.peeled = Peeled::To(id);
            } else if !(line.starts_with(b"#") && start == 0) {
                let id = line.get(..40).and_then(|id| ObjectId::from_hex(id).ok()).ok_or_else(unexpected)?;
                if line.get(40).is_none_or(|byte| !byte.is_ascii_whitespace()) || end == text.len() {
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
    pub(super) fn iter(&self) -> impl Iterator<Item = (&BStr, ObjectId, Peeled)> {
        self.entries.iter().map(|entry| (self.text[entry.name.clone()].as_bstr(), entry.id, entry.peeled))
    }

    /// What the reference of that name holds.
    pub(super) fn find(&self, name: &BStr) -> Option<ObjectId> {
        let at = self.entries.binary_search_by(|entry| self.text[entry.name.clone()].cmp(name)).ok()?;
        Some(self.entries[at].id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(text: &str) -> Result<Vec<(String, Peeled)>, PackedError> {
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
        ] {
            assert!(matches!(parse(bad), Err(PackedError::UnexpectedLine(_))), "{bad:?}");
        }
    }
}
