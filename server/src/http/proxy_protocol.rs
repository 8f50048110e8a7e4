//! The PROXY protocol, versions 1 and 2 (haproxy's `doc/proxy-protocol.txt`): what a load balancer says of a connection,
//! before its first byte. Pure: bytes in, an address out.
//!
//! Promises: a header is understood whole or refused; no byte behind it is needed to know where it ends, so that none is
//! read before its time; nothing is allocated by a length that the peer declares. Does not: look into TLVs (they are
//! skipped), believe a checksum, or judge who may send one.
//!
//! Strict where the specification leaves room: decimal numbers without leading zeros, addresses in their usual form, a TCP
//! connection's own families only.

use heliostat_core::limits::PROXY_HEADER_BYTES_MAX;
use std::net::{IpAddr, SocketAddr};

/// First bytes of version 2. No version 1 header and no HTTP request begins so.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 without addresses.
const FIXED_BYTES: usize = 16;
/// Longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// Shortest: `PROXY UNKNOWN\r\n`.
const LINE_BYTES_MIN: usize = 15;

/// What is known after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least so many more bytes belong to the header.
    Needs(usize),
    /// It ends here.
    Whole(Header),
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes.
    pub len: usize,
    /// Who the client is. `None`: the balancer speaks for itself (`LOCAL`, a health check), or does not know; then the
    /// connection's own address stands.
    pub client: Option<SocketAddr>,
}

/// Why it is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyError(pub &'static str);

/// Looks at the first bytes of a connection.
pub fn proxy_header(bytes: &[u8]) -> Result<Progress, ProxyError> {
    if bytes.is_empty() {
        return Ok(Progress::Needs(LINE_BYTES_MIN));
    }
    if bytes[0] == SIGNATURE[0] { binary(bytes) } else { line(bytes) }
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`.
fn line(bytes: &[u8]) -> Result<Progress, ProxyError> {
    const WORD: &[u8] = b"PROXY ";
    let seen = bytes.len().min(WORD.len());
    if bytes[..seen] != WORD[..seen] {
        return Err(ProxyError("no PROXY protocol header"));
    }
    let looked_at = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = looked_at.windows(2).position(|two| two == b"\r\n") else {
        if bytes.len() >= LINE_BYTES_MAX {
            return Err(ProxyError("a PROXY line without an end"));
        }
        let ended = bytes.ends_with(b"\r");
        return Ok(Progress::Needs(LINE_BYTES_MIN.saturating_sub(bytes.len()).max(if ended { 1 } else { 2 })));
    };
    let client = client_of_line(&looked_at[..end])?;
    Ok(Progress::Whole(Header { len: end + 2, client }))
}

fn client_of_line(line: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    const NO_LINE: ProxyError = ProxyError("a malformed PROXY line");
    let line = std::str::from_utf8(line).map_err(|_| NO_LINE)?;
    let words: Vec<&str> = line.splitn(8, ' ').collect();
    match words[..] {
        // Whatever follows is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let address = |text: &str| -> Option<IpAddr> {
                match family {
                    "TCP4" => text.parse().ok().map(IpAddr::V4),
                    _ => text.parse().ok().map(IpAddr::V6),
                }
            };
            let (source, _) = address(source).zip(address(destination)).ok_or(NO_LINE)?;
            let (port, _) = port(source_port).zip(port(destination_port)).ok_or(NO_LINE)?;
            Ok(Some(SocketAddr::new(source, port)))
        }
        _ => Err(NO_LINE),
    }
}

/// `0` to `65535`: no sign, no leading zero.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Progress, ProxyError> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Err(ProxyError("no PROXY protocol header"));
    }
    if bytes.len() < FIXED_BYTES {
        return Ok(Progress::Needs(FIXED_BYTES - bytes.len()));
    }
    let (version_and_command, family) = (bytes[12], bytes[13]);
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version_and_command >> 4 != 2 {
        return Err(ProxyError("a PROXY header of an unknown version"));
    }
    let local = match version_and_command & 15 {
        0 => true,
        1 => false,
        _ => return Err(ProxyError("a PROXY header with an unknown command")),
    };
    if len > PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError("a PROXY header that is too long"));
    }
    // Source and destination address, source and destination port.
    let addresses = match family {
        // Not told, or not of this world: to be skipped.
        _ if local => 0,
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        // A path of UNIX sockets.
        0x31 => 216,
        _ => return Err(ProxyError("a PROXY header of another family than TCP")),
    };
    if len < FIXED_BYTES + addresses {
        return Err(ProxyError("a PROXY header too short for its addresses"));
    }
    if bytes.len() < len {
        return Ok(Progress::Needs(len - bytes.len()));
    }
    let at = |from: usize| &bytes[FIXED_BYTES + from..];
    let client = match (local, family) {
        (false, 0x11) => at(0)
            .first_chunk()
            .zip(at(8).first_chunk())
            .map(|(address, port)| SocketAddr::new(IpAddr::from(*address as [u8; 4]), u16::from_be_bytes(*port))),
        (false, 0x21) => at(0)
            .first_chunk()
            .zip(at(32).first_chunk())
            .map(|(address, port)| SocketAddr::new(IpAddr::from(*address as [u8; 16]), u16::from_be_bytes(*port))),
        _ => None,
    };
    Ok(Progress::Whole(Header { len, client }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    /// Version 2, of these parts.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &len, rest].concat()
    }

    fn whole(bytes: &[u8]) -> Option<SocketAddr> {
        match proxy_header(bytes) {
            Ok(Progress::Whole(header)) => {
                assert_eq!(header.len, bytes.len(), "{bytes:?}");
                header.client
            }
            other => panic!("{other:?} for {:?}", String::from_utf8_lossy(bytes)),
        }
    }

    const V4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 187];

    fn v6() -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        [&address("2001:db8::1")[..], &address("2001:db8::2"), &[0, 80, 1, 187]].concat()
    }

    #[test]
    fn clients() {
        let tlv = [V4, &[4, 0, 3, 1, 2, 3]].concat();
        for (bytes, client) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), Some("192.0.2.1:56324")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 80 443\r\n".to_vec(), Some("[2001:db8::1]:80")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 0 65535\r\n".to_vec(), Some("[::ffff:192.0.2.1]:0")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 whatever there is 1 2 3\r\n".to_vec(), None),
            (v2(0x21, 0x11, V4), Some("192.0.2.1:56324")),
            (v2(0x21, 0x11, &tlv), Some("192.0.2.1:56324")),
            (v2(0x21, 0x21, &v6()), Some("[2001:db8::1]:80")),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x00, &[7; 30]), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, V4), None),
            (v2(0x20, 0xff, &[1]), None),
        ] {
            assert_eq!(whole(&bytes).map(|client| client.to_string()).as_deref(), client, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_header() {
        let longest = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - LINE_BYTES_MIN - 1)).into_bytes();
        assert_eq!(whole(&longest(LINE_BYTES_MAX)), None);
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01".to_vec(),
            b"\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\r\n\r\n\0\r\nQUIX\n".to_vec(),
            b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n".to_vec(),
            b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n".to_vec(),
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
            longest(LINE_BYTES_MAX + 1),
            v2(0x11, 0x11, V4),
            v2(0x31, 0x11, V4),
            v2(0x22, 0x11, V4),
            v2(0x21, 0x12, V4),
            v2(0x21, 0x41, V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, V4),
            v2(0x21, 0x31, &[0; 215]),
            // Refused by its length alone, before any of it has come.
            v2(0x21, 0x11, &vec![0; PROXY_HEADER_BYTES_MAX])[..FIXED_BYTES].to_vec(),
        ] {
            assert!(proxy_header(&bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    /// Reads as a connection does, never more than is said to be needed: what follows the header stays where it is.
    fn read(bytes: &[u8], piece: usize) -> Result<Header, ProxyError> {
        let mut at = 0;
        loop {
            match proxy_header(&bytes[..at])? {
                Progress::Whole(header) => {
                    assert_eq!(header.len, at, "read beyond the header");
                    return Ok(header);
                }
                Progress::Needs(more) => {
                    assert!(more > 0);
                    at = (at + more.min(piece)).min(bytes.len());
                }
            }
        }
    }

    #[test]
    fn nothing_behind_a_header_is_read() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            b"PROXY UNKNOWN \r\r\r\n".to_vec(),
            v2(0x21, 0x11, V4),
            v2(0x20, 0x00, &[]),
        ] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            for piece in 1..20 {
                assert_eq!(read(&bytes, piece).unwrap().len, header.len());
            }
        }
    }

    proptest! {
        /// What is decided about a whole header is not decided otherwise about its beginning.
        #[test]
        fn no_input_panics_and_pieces_agree(
            signed in any::<bool>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            cut in 0usize..80,
        ) {
            let bytes = if signed { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            let (whole, part) = (proxy_header(&bytes), proxy_header(&bytes[..cut.min(bytes.len())]));
            match part {
                Ok(Progress::Needs(_)) => {}
                decided => prop_assert_eq!(decided, whole),
            }
        }
    }
}
