//! What can go wrong with a clone, as a real client would see it.

use std::{fmt, io};

/// Why a clone failed.
#[derive(Debug)]
pub enum Failure {
    /// No connection.
    Connect(io::Error),
    /// The connection broke in the middle.
    Broken(io::Error),
    /// Nothing came for as long as the client waits.
    TimedOut,
    /// Not a 200.
    Status(u16),
    /// The answer ended before its end.
    Truncated,
    /// Not HTTP/1.1 as it should be.
    Http(&'static str),
    /// Not a pkt-line, or none that belongs there.
    Framing(&'static str),
    /// The server lacks a capability that this kind of clone needs.
    Capability(&'static str),
    /// An `ERR` packet.
    Remote(String),
    /// A message on side-band 3.
    Fatal(String),
    /// The references make no sense, or lack what the clone wants.
    References(&'static str),
    /// The pack is not whole.
    Pack(PackFault),
}

/// What is wrong with a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackFault {
    /// None came.
    Absent,
    /// Shorter than a header and a checksum.
    Short,
    /// Not `PACK` version 2.
    Header,
    /// The checksum at the end is not that of what came before.
    Checksum,
    /// An entry does not parse or inflate, or not to the size that it states.
    Entry,
    /// Fewer or more entries than the header says.
    Count,
}

impl Failure {
    /// The kind, a word or two for reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken connection",
            Self::TimedOut => "timeout",
            Self::Status(_) => "status",
            Self::Truncated => "truncated",
            Self::Http(_) => "http",
            Self::Framing(_) => "framing",
            Self::Capability(_) => "capability",
            Self::Remote(_) => "ERR",
            Self::Fatal(_) => "side-band 3",
            Self::References(_) => "references",
            Self::Pack(_) => "pack",
        }
    }

    /// A read or write that failed on an open connection.
    pub(crate) fn of_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Broken(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Broken(error) => write!(f, "the connection broke: {error}"),
            Self::TimedOut => f.write_str("nothing came in time"),
            Self::Status(code) => write!(f, "status {code}"),
            Self::Truncated => f.write_str("the answer is cut short"),
            Self::Http(what) => write!(f, "bad HTTP: {what}"),
            Self::Framing(what) => write!(f, "bad framing: {what}"),
            Self::Capability(what) => write!(f, "the server does not advertise {what}"),
            Self::Remote(line) => write!(f, "ERR {line}"),
            Self::Fatal(line) => write!(f, "fatal, says the server: {line}"),
            Self::References(what) => write!(f, "references: {what}"),
            Self::Pack(fault) => write!(f, "pack: {fault}"),
        }
    }
}

impl fmt::Display for PackFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "none came",
            Self::Short => "shorter than a header and a checksum",
            Self::Header => "not version 2",
            Self::Checksum => "its checksum is another",
            Self::Entry => "an entry does not inflate to its size",
            Self::Count => "not as many entries as its header says",
        })
    }
}

impl std::error::Error for Failure {}
