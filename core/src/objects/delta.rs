//! Delta instructions (`gitformat-pack`, "Deltified representation"): sizes and application.

/// The size of the base and of the result that a delta declares, and where its instructions begin.
pub(super) fn sizes(delta: &[u8]) -> Result<(u64, u64, usize), &'static str> {
    let (base, first) = varint(delta)?;
    let (result, second) = varint(&delta[first..])?;
    Ok((base, result, first + second))
}

fn varint(bytes: &[u8]) -> Result<(u64, usize), &'static str> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().enumerate() {
        let part = u64::from(byte & 0x7f);
        let shift = 7 * at as u32;
        if shift > 63 || (part << shift) >> shift != part {
            return Err("a size of the delta overflows");
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok((value, at + 1));
        }
    }
    Err("the delta is truncated")
}

/// Applies `delta` to `base`, into `out`, whose size must become exactly what the delta declares. The caller has checked
/// that the declared size is acceptable; memory is taken only as the instructions produce bytes.
pub(super) fn apply(base: &[u8], delta: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (base_bytes, result_bytes, start) = sizes(delta)?;
    if base_bytes != base.len() as u64 {
        return Err("the delta was made for a base of another size");
    }
    let result_bytes = usize::try_from(result_bytes).map_err(|_| "the result is too large")?;
    out.clear();
    // A lying header costs at most this; an honest large result grows by doubling.
    out.reserve_exact(result_bytes.min(16 << 20));
    let mut rest = &delta[start..];
    while let Some((&command, tail)) = rest.split_first() {
        rest = tail;
        let piece = if command & 0x80 != 0 {
            let mut field = |bits: u8, first: u8| {
                let mut value = 0usize;
                for bit in 0..bits {
                    if command & 1 << (first + bit) != 0 {
                        let (&byte, tail) = rest.split_first().ok_or("a copy instruction is truncated")?;
                        rest = tail;
                        value |= usize::from(byte) << (8 * bit);
                    }
                }
                Ok::<_, &'static str>(value)
            };
            let offset = field(4, 0)?;
            let size = match field(3, 4)? {
                0 => 0x10000,
                size => size,
            };
            base.get(offset..offset.saturating_add(size)).ok_or("a copy reaches outside the base")?
        } else if command == 0 {
            return Err("instruction 0 is reserved");
        } else {
            let (piece, tail) = rest.split_at_checked(usize::from(command)).ok_or("an insertion is truncated")?;
            rest = tail;
            piece
        };
        if piece.len() > result_bytes - out.len() {
            return Err("the delta produces more than it declares");
        }
        out.extend_from_slice(piece);
    }
    if out.len() != result_bytes {
        return Err("the delta produces less than it declares");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_deltas_are_refused() {
        let base = b"0123456789";
        let cases: &[(&[u8], &str)] = &[
            (b"", "the delta is truncated"),
            (b"\x0a", "the delta is truncated"),
            (b"\x0b\x01\x01a", "the delta was made for a base of another size"),
            (b"\x0a\x01\x00", "instruction 0 is reserved"),
            (b"\x0a\x01\x02a", "an insertion is truncated"),
            (b"\x0a\x01\x02ab", "the delta produces more than it declares"),
            (b"\x0a\x03\x02ab", "the delta produces less than it declares"),
            (b"\x0a\x03\x91\x08", "a copy instruction is truncated"),
            (b"\x0a\x03\x91\x08\x03", "a copy reaches outside the base"),
            (b"\x0a\x03\x81\x00", "a copy reaches outside the base"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01", "a size of the delta overflows"),
        ];
        for (delta, why) in cases {
            assert_eq!(apply(base, delta, &mut Vec::new()), Err(*why), "{delta:x?}");
        }
        let mut out = Vec::new();
        assert_eq!(apply(base, b"\x0a\x05\x91\x02\x03\x02ab", &mut out), Ok(()));
        assert_eq!(out, b"234ab");
    }
}
