//! Counts the entries of a pack by inflating each (`gitformat-pack`); resolves no delta.

use flate2::{Decompress, FlushDecompress, Status};

use crate::failure::PackFault;

/// Inflated bytes are thrown away in pieces of this size.
const SCRATCH_BYTES: usize = 32 << 10;
/// Sizes are 64 bits: four in the first byte, seven in each further one.
const SIZE_SHIFT_MAX: u32 = 63;

pub(crate) struct Walk {
    entries: u64,
    at: At,
    inflate: Decompress,
    scratch: Vec<u8>,
}

/// What the next byte is.
#[derive(Clone, Copy)]
enum At {
    /// Type and size of an entry.
    Entry,
    /// More of its size.
    Size { kind: u8, size: u64, shift: u32 },
    /// The distance to a base.
    Distance { size: u64 },
    /// The id of a base.
    Base { size: u64, left: usize },
    /// Compressed data.
    Data { size: u64 },
}

impl Walk {
    pub(crate) fn new() -> Self {
        Self { entries: 0, at: At::Entry, inflate: Decompress::new(true), scratch: vec![0; SCRATCH_BYTES] }
    }

    /// How many entries; `None` in the middle of one.
    pub(crate) fn finish(self) -> Option<u64> {
        matches!(self.at, At::Entry).then_some(self.entries)
    }

    pub(crate) fn push(&mut self, mut data: &[u8]) -> Result<(), PackFault> {
        while let [byte, rest @ ..] = data {
            self.at = match self.at {
                At::Entry => {
                    let (kind, size) = (byte >> 4 & 7, u64::from(byte & 15));
                    if byte & 0x80 == 0 { behind_size(kind, size)? } else { At::Size { kind, size, shift: 4 } }
                }
                At::Size { kind, size, shift } => {
                    if shift > SIZE_SHIFT_MAX {
                        return Err(PackFault::Entry);
                    }
                    let size = size | u64::from(byte & 127) << shift;
                    if byte & 0x80 == 0 { behind_size(kind, size)? } else { At::Size { kind, size, shift: shift + 7 } }
                }
                At::Distance { size } if byte & 0x80 == 0 => At::Data { size },
                At::Distance { size } => At::Distance { size },
                At::Base { size, left: 1 } => At::Data { size },
                At::Base { size, left } => At::Base { size, left: left - 1 },
                At::Data { size } => {
                    data = self.inflate(data, size)?;
                    continue;
                }
            };
            data = rest;
        }
        Ok(())
    }

    /// Returns what it did not take: what belongs to the next entry.
    fn inflate<'d>(&mut self, data: &'d [u8], size: u64) -> Result<&'d [u8], PackFault> {
        let (before, inflated_before) = (self.inflate.total_in(), self.inflate.total_out());
        let outcome = self.inflate.decompress(data, &mut self.scratch, FlushDecompress::None);
        let status = outcome.map_err(|_| PackFault::Entry)?;
        let taken = (self.inflate.total_in() - before) as usize;
        let inflated = self.inflate.total_out();
        match status {
            Status::StreamEnd if inflated == size => {
                self.entries += 1;
                self.at = At::Entry;
                self.inflate.reset(true);
            }
            Status::Ok | Status::BufError if inflated <= size && (taken > 0 || inflated > inflated_before) => {}
            _ => return Err(PackFault::Entry),
        }
        Ok(&data[taken..])
    }
}

fn behind_size(kind: u8, size: u64) -> Result<At, PackFault> {
    match kind {
        1..=4 => Ok(At::Data { size }),
        6 => Ok(At::Distance { size }),
        7 => Ok(At::Base { size, left: 20 }),
        _ => Err(PackFault::Entry),
    }
}
