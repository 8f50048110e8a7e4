//! Capabilities: `name` or `name=value`, one a line in v2 (`gitprotocol-v2`), in one list on the first line of v0 and
//! v1 (`gitprotocol-capabilities`).

/// One capability as a peer wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability<'a> {
    /// Before the first `=`.
    pub name: &'a [u8],
    /// After it.
    pub value: Option<&'a [u8]>,
}

impl<'a> Capability<'a> {
    /// Splits `text` at its first `=`.
    pub fn parse(text: &'a [u8]) -> Self {
        match text.iter().position(|byte| *byte == b'=') {
            Some(equals) => Self { name: &text[..equals], value: Some(&text[equals + 1..]) },
            None => Self { name: text, value: None },
        }
    }
}

/// The list of v0 and v1, separated by white space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities<'a>(pub &'a [u8]);

impl<'a> Capabilities<'a> {
    /// Those that are there, in order.
    pub fn iter(self) -> impl Iterator<Item = Capability<'a>> {
        self.0.split(u8::is_ascii_whitespace).filter(|text| !text.is_empty()).map(Capability::parse)
    }

    /// Whether `name` is there, with or without a value.
    pub fn contains(self, name: &str) -> bool {
        self.iter().any(|capability| capability.name == name.as_bytes())
    }

    /// The value of the first `name`; empty if it has none.
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|capability| capability.name == name.as_bytes())
            .map(|capability| capability.value.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_searched_by_whole_names() {
        let list = Capabilities(b" multi_ack_detailed  side-band-64k agent=git/2.47 symref=HEAD:refs/heads/a=b\n");
        assert!(list.contains("multi_ack_detailed"));
        assert!(!list.contains("multi_ack"));
        assert!(!list.contains("side-band"));
        assert_eq!(list.value("agent"), Some(&b"git/2.47"[..]));
        assert_eq!(list.value("symref"), Some(&b"HEAD:refs/heads/a=b"[..]));
        assert_eq!(list.value("side-band-64k"), Some(&b""[..]));
        assert_eq!(list.value("filter"), None);
        assert_eq!(Capabilities(b"").iter().count(), 0);
    }
}
