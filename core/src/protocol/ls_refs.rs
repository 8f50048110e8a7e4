//! The `ls-refs` command (`gitprotocol-v2`).

use super::{
    Unborn, View,
    listing::{Attributes, Listing, head, v2_line},
    refusal::{Refused, quoted, refused},
    reply::Reply,
};
use crate::limits::REF_PREFIXES_MAX;
use bstr::BStr;

/// The arguments as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct LsRefs {
    attributes: Attributes,
    unborn: bool,
    prefixes: Vec<Vec<u8>>,
}

impl LsRefs {
    /// Takes one argument.
    pub fn argument(&mut self, line: &[u8], view: &View<'_>) -> Refused<()> {
        match line {
            b"peel" => self.attributes.peel = true,
            b"symrefs" => self.attributes.symrefs = true,
            b"unborn" => self.unborn = view.policy.unborn != Unborn::Ignore,
            _ => match line.strip_prefix(b"ref-prefix ") {
                Some(prefix) if self.prefixes.len() < REF_PREFIXES_MAX => self.prefixes.push(prefix.to_vec()),
                Some(_) => {}
                None => return refused(format!("unexpected line: '{}'", quoted(line))),
            },
        }
        Ok(())
    }

    /// Answers `HEAD`; the listing answers the rest.
    pub fn answer(mut self, view: &View<'_>, reply: &mut Reply) -> Listing {
        if self.prefixes.len() >= REF_PREFIXES_MAX {
            // An incomplete list of prefixes must not be taken for a complete one.
            self.prefixes.clear();
        }
        let name = BStr::new("HEAD");
        let matches = self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| name.starts_with(prefix));
        let tells_unborn = self.unborn && self.attributes.symrefs;
        if let Some(head) = head(view.refs).filter(|head| matches && (head.id.is_some() || tells_unborn)) {
            v2_line(reply, name, head.id, head.peeled, head.target, self.attributes);
        }
        Listing::v2(self.attributes, self.prefixes)
    }
}
