//! Loose objects: one file each, listed once.

use super::{Kind, inflate::Inflate};
use crate::{ObjectId, oid};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// An `objects` directory as it was when it was listed.
pub(super) struct LooseDirectory {
    path: PathBuf,
    ids: Vec<ObjectId>,
}

/// Longest header of a loose object: the longest type, a space, 20 digits, NUL.
const HEADER_BYTES_MAX: usize = 32;
/// Enough of a file to inflate that from: it may begin with the codes of a block, some 300 bytes.
const START_BYTES: u64 = 4 << 10;

/// Why a loose object could not be read.
pub(super) enum LooseError {
    Io(io::Error),
    Corrupt(&'static str),
    TooLarge { bytes: u64, bytes_max: u64 },
}

impl LooseDirectory {
    /// Lists `path`, an `objects` directory. One that does not exist holds nothing.
    pub(super) fn list(path: &Path) -> io::Result<Self> {
        let mut ids = Vec::new();
        for first in 0..=255u8 {
            let name = format!("{first:02x}");
            let entries = match fs::read_dir(path.join(&name)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let rest = entry?.file_name();
                let Some(rest) = rest.to_str() else { continue };
                // Temporary files (tmp_obj_XXXXXX) are no ids.
                if let Ok(id) = ObjectId::from_hex(format!("{name}{rest}").as_bytes()) {
                    ids.push(id);
                }
            }
        }
        ids.sort_unstable();
        Ok(Self { path: path.to_owned(), ids })
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn find(&self, id: &oid) -> Option<u32> {
        self.ids.binary_search_by(|own| own.as_ref().cmp(id)).ok().map(|position| position as u32)
    }

    pub(super) fn id_at(&self, position: u32) -> ObjectId {
        self.ids[position as usize]
    }

    fn open(&self, position: u32) -> io::Result<File> {
        let hex = self.ids[position as usize].to_hex().to_string();
        File::open(self.path.join(&hex[..2]).join(&hex[2..]))
    }

    /// Type and size.
    pub(super) fn header(&self, position: u32, inflate: &mut Inflate) -> Result<(Kind, u64), LooseError> {
        let (kind, size, _) = header(&start(&mut self.open(position)?)?, inflate)?;
        Ok((kind, size))
    }

    /// The object, into `out`.
    pub(super) fn read(
        &self,
        position: u32,
        bytes_max: u64,
        inflate: &mut Inflate,
        out: &mut Vec<u8>,
    ) -> Result<Kind, LooseError> {
        let mut file = self.open(position)?;
        let mut compressed = start(&mut file)?;
        let (kind, size, header_bytes) = header(&compressed, inflate)?;
        if size > bytes_max {
            return Err(LooseError::TooLarge { bytes: size, bytes_max });
        }
        let whole = size + header_bytes as u64;
        // What does not compress grows by five bytes in some thousand; a file that is much longer holds something else.
        let rest = whole + whole / 512 + START_BYTES;
        file.take(rest).read_to_end(&mut compressed)?;
        let used = inflate.exact(&compressed, whole, out).map_err(LooseError::Corrupt)?;
        if used != compressed.len() {
            return Err(LooseError::Corrupt("garbage follows the object"));
        }
        out.drain(..header_bytes);
        Ok(kind)
    }
}

/// The beginning of a file.
fn start(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(START_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl From<io::Error> for LooseError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Parses `<type> SP <decimal size> NUL` at the beginning of the inflated stream.
fn header(compressed: &[u8], inflate: &mut Inflate) -> Result<(Kind, u64, usize), LooseError> {
    let mut buffer = [0u8; HEADER_BYTES_MAX];
    let filled = inflate.prefix(compressed, &mut buffer).map_err(LooseError::Corrupt)?;
    parse_header(&buffer[..filled]).ok_or(LooseError::Corrupt("the header is malformed"))
}

fn parse_header(bytes: &[u8]) -> Option<(Kind, u64, usize)> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let space = bytes[..end].iter().position(|byte| *byte == b' ')?;
    let kind = Kind::from_bytes(&bytes[..space]).ok()?;
    let digits = &bytes[space + 1..end];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((kind, size, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        assert_eq!(parse_header(b"blob 12\0abc"), Some((Kind::Blob, 12, 8)));
        for bad in
            ["", "blob", "blob 12", "blob \0", "blob 012\0", "blob -1\0", "blub 1\0", "blob 99999999999999999999\0"]
        {
            assert_eq!(parse_header(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
