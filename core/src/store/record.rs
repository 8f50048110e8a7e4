//! The `generation` file: what a generation's directory holds and which packs belong to its layout.
//!
//! Text, one fact a line, closed by a checksum, so that a torn or rotten file is told from a whole one. The list of
//! packs is what makes the layout: a pack that lies in `objects/pack` and is not listed is not part of the repository.

use super::Generation;
use crate::{ObjectId, refs::RefName};
use bstr::ByteSlice;
use std::{fmt::Write, str::FromStr};

const FIRST_LINE: &str = "heliostat generation 1";

/// The name of a generation's directory: the generation and the number of the layout. No two publications of one
/// repository have the same layout number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DirectoryName {
    pub generation: Generation,
    pub layout: u64,
}

/// What the `generation` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub name: DirectoryName,
    /// The table's digest.
    pub digest: [u8; 32],
    /// Checksum of `packed-refs`.
    pub packed_refs_crc32: u32,
    /// Whether `HEAD` is not known, whatever the `HEAD` file says.
    pub head_absent: bool,
    /// Every symbolic reference and its target.
    pub symbolic: Vec<(RefName, RefName)>,
    /// `pack-<checksum>`, in order of preference.
    pub packs: Vec<String>,
}

impl std::fmt::Display for DirectoryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.generation, self.layout)
    }
}

impl FromStr for DirectoryName {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut parts = name.split('-');
        let (Some(epoch), Some(n), Some(layout), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let parsed = Self {
            generation: Generation {
                epoch: u64::from_str_radix(epoch, 16).map_err(|_| ())?,
                n: n.parse().map_err(|_| ())?,
            },
            layout: layout.parse().map_err(|_| ())?,
        };
        // One spelling only, so that a name that we did not make is never taken for ours.
        if parsed.to_string() == name { Ok(parsed) } else { Err(()) }
    }
}

/// Whether `stem` is `pack-` and forty hexadecimal digits.
pub(super) fn is_pack_stem(stem: &str) -> bool {
    stem.strip_prefix("pack-").is_some_and(|hex| ObjectId::from_hex(hex.as_bytes()).is_ok())
}

impl Record {
    /// The file's content.
    pub fn encode(&self) -> Vec<u8> {
        let Self { name: DirectoryName { generation, layout }, .. } = self;
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = text.write_fmt(words);
            text.push('\n');
        };
        line(format_args!("{FIRST_LINE}"));
        line(format_args!("epoch {:016x}", generation.epoch));
        line(format_args!("n {}", generation.n));
        line(format_args!("layout {layout}"));
        line(format_args!("digest {}", hex(&self.digest)));
        line(format_args!("packed-refs {:08x}", self.packed_refs_crc32));
        if self.head_absent {
            line(format_args!("head absent"));
        }
        for pack in &self.packs {
            line(format_args!("pack {pack}"));
        }
        let mut content = text.into_bytes();
        for (name, target) in &self.symbolic {
            for piece in [b"symbolic ".as_slice(), name.as_bstr(), b" ", target.as_bstr(), b"\n"] {
                content.extend_from_slice(piece);
            }
        }
        let checksum = crc32fast::hash(&content);
        content.extend_from_slice(format!("crc32 {checksum:08x}\n").as_bytes());
        content
    }

    /// Reads what [`Record::encode`] wrote. `None`: it is damaged.
    pub fn decode(content: &[u8]) -> Option<Self> {
        let body_end = content.trim_end_with(|c| c == '\n').rfind_byte(b'\n')? + 1;
        let (body, last) = content.split_at(body_end);
        let stated = u32::from_str_radix(last.strip_prefix(b"crc32 ")?.strip_suffix(b"\n")?.to_str().ok()?, 16).ok()?;
        if crc32fast::hash(body) != stated {
            return None;
        }
        let mut lines = body.strip_suffix(b"\n")?.split(|&byte| byte == b'\n');
        if lines.next()? != FIRST_LINE.as_bytes() {
            return None;
        }
        let (mut epoch, mut n, mut layout, mut digest, mut packed_refs) = (None, None, None, None, None);
        let (mut head_absent, mut symbolic, mut packs) = (false, Vec::new(), Vec::new());
        for line in lines {
            let (word, value) = line.split_once_str(b" ")?;
            let text = value.to_str().ok();
            match word {
                b"epoch" => epoch = u64::from_str_radix(text?, 16).ok(),
                b"n" => n = text?.parse().ok(),
                b"layout" => layout = text?.parse().ok(),
                b"digest" => digest = unhex(text?),
                b"packed-refs" => packed_refs = u32::from_str_radix(text?, 16).ok(),
                b"head" => head_absent = text? == "absent",
                b"pack" if is_pack_stem(text?) => packs.push(text?.to_owned()),
                b"symbolic" => {
                    let (name, target) = value.split_once_str(b" ")?;
                    symbolic.push((RefName::new(name).ok()?, RefName::new(target).ok()?));
                }
                _ => return None,
            }
        }
        Some(Self {
            name: DirectoryName { generation: Generation { epoch: epoch?, n: n? }, layout: layout? },
            digest: digest?,
            packed_refs_crc32: packed_refs?,
            head_absent,
            symbolic,
            packs,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let name = |name: &[u8]| RefName::new(name).unwrap();
        Record {
            name: DirectoryName { generation: Generation { epoch: 0xabc, n: 7 }, layout: 12 },
            digest: [0x5a; 32],
            packed_refs_crc32: 0xdead_beef,
            head_absent: true,
            symbolic: vec![(name(b"refs/heads/\xff"), name(b"refs/heads/b"))],
            packs: vec![format!("pack-{}", "a".repeat(40))],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(Record::decode(&record().encode()), Some(record()));
        let plain = Record { head_absent: false, symbolic: Vec::new(), packs: Vec::new(), ..record() };
        assert_eq!(Record::decode(&plain.encode()), Some(plain));
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let whole = record().encode();
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 1;
            assert_ne!(Record::decode(&flipped), Some(record()), "byte {index}");
            assert_eq!(Record::decode(&whole[..index]), None, "cut at {index}");
        }
    }

    #[test]
    fn directory_names_have_one_spelling() {
        let name = record().name;
        assert_eq!(name.to_string(), "0000000000000abc-7-12");
        assert_eq!(name.to_string().parse(), Ok(name));
        for other in ["abc-7-12", "0000000000000abc-7", "0000000000000abc-07-12", "0000000000000abc-7-12-1", ""] {
            assert_eq!(other.parse::<DirectoryName>(), Err(()), "{other}");
        }
    }
}
