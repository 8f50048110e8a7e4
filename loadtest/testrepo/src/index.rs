//! The index of a pack, version 2 (gitformat-pack, "Version 2 pack-*.idx files").

use std::io::{self, BufWriter, Write};

use gix_hash::ObjectId;
use sha1::{Digest, Sha1};

use crate::object::id_from_digest;

/// Offsets from here on stand in the table of eight-byte offsets.
const OFFSET_SHORT_MAX: u64 = 0x7fff_ffff;

/// One object of the pack.
pub(crate) struct Row {
    pub(crate) id: ObjectId,
    /// Of the entry as the pack holds it, its header included.
    pub(crate) crc: u32,
    pub(crate) offset: u64,
}

/// Writes the index of a pack with these objects, each once, in any order.
pub(crate) fn write(out: impl Write, mut rows: Vec<Row>, pack_checksum: &ObjectId) -> io::Result<()> {
    rows.sort_unstable_by_key(|row| row.id);
    let mut out = Hashing { inner: BufWriter::with_capacity(1 << 16, out), hasher: Sha1::new() };
    out.put(b"\xfftOc\0\0\0\x02")?;
    let mut fan = [0u32; 256];
    for row in &rows {
        fan[usize::from(row.id.as_slice()[0])] += 1;
    }
    let mut below = 0;
    for count in fan {
        below += count;
        out.put(&below.to_be_bytes())?;
    }
    for row in &rows {
        out.put(row.id.as_slice())?;
    }
    for row in &rows {
        out.put(&row.crc.to_be_bytes())?;
    }
    let mut long = Vec::new();
    for row in &rows {
        let short = if row.offset <= OFFSET_SHORT_MAX {
            row.offset as u32
        } else {
            long.push(row.offset);
            0x8000_0000 | (long.len() - 1) as u32
        };
        out.put(&short.to_be_bytes())?;
    }
    for offset in long {
        out.put(&offset.to_be_bytes())?;
    }
    out.put(pack_checksum.as_slice())?;
    let Hashing { mut inner, hasher } = out;
    inner.write_all(id_from_digest(hasher).as_slice())?;
    inner.flush()
}

struct Hashing<W: Write> {
    inner: BufWriter<W>,
    hasher: Sha1,
}

impl<W: Write> Hashing<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }
}
