//! The `object-info` command (`gitprotocol-v2`).
//!
//! As in stock Git, a line that is wrong is answered by an `ERR` packet and the rest is answered all the same.

use super::{
    View, WantPolicy,
    arguments::leading_id,
    refusal::{Refused, quoted, refused, unreadable},
    reply::Reply,
    wants,
};
use crate::{ObjectId, limits::OBJECT_INFO_IDS_MAX, objects::Reader};
use std::collections::BTreeSet;

/// The arguments as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct ObjectInfo {
    size: bool,
    ids: Vec<Vec<u8>>,
}

impl ObjectInfo {
    /// Takes one argument.
    pub fn argument(&mut self, line: &[u8], reply: &mut Reply) -> Refused<()> {
        if line == b"size" {
            self.size = true;
        } else if let Some(id) = line.strip_prefix(b"oid ") {
            if self.ids.len() == OBJECT_INFO_IDS_MAX {
                return refused("object-info: too many objects");
            }
            self.ids.push(id.to_vec());
        } else {
            reply.error(&format!("object-info: unexpected line: '{}'", quoted(line)));
        }
        Ok(())
    }

    /// Answers.
    pub fn answer(self, view: &View<'_>, reply: &mut Reply) -> Refused<()> {
        let known: Vec<ObjectId> = self.ids.iter().filter_map(|text| leading_id(text)).map(|(id, _)| id).collect();
        let withheld = withheld(known, view)?;
        if self.size && !self.ids.is_empty() {
            reply.line(format_args!("size"));
        }
        let mut reader = Reader::new();
        for text in &self.ids {
            let Some((id, _)) = leading_id(text) else {
                reply.error(&format!("object-info: protocol error, expected to get oid, not '{}'", quoted(text)));
                continue;
            };
            let number = view.objects.number(&id).filter(|_| !withheld.contains(&id));
            match number.filter(|_| self.size) {
                Some(number) => {
                    let (_, size) = view.objects.header(number, &mut reader).map_err(unreadable)?;
                    reply.line(format_args!("{} {size}", quoted(text)));
                }
                None if self.size => reply.line(format_args!("{} ", quoted(text))),
                None => reply.line(format_args!("{}", quoted(text))),
            }
        }
        reply.flush();
        Ok(())
    }
}

/// Those of `ids` that are here but must look as if they were not: under [`WantPolicy::Recent`] what no reference reaches.
fn withheld(ids: Vec<ObjectId>, view: &View<'_>) -> Refused<BTreeSet<ObjectId>> {
    if view.policy.wants != WantPolicy::Recent {
        return Ok(BTreeSet::new());
    }
    let here = ids.into_iter().filter(|id| view.objects.number(id).is_some()).collect();
    wants::unreachable(here, view)
}
