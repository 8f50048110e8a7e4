//! What differs between two tables: one merge over both, in name order.

use super::{RefTable, RefView};
use std::cmp::Ordering;

/// One difference between an earlier and a later table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Only the later table has it.
    Created(RefView<'a>),
    /// Only the earlier table had it.
    Deleted(RefView<'a>),
    /// Both have it; object or symbolic target differ.
    Moved {
        /// As it was.
        from: RefView<'a>,
        /// As it is.
        to: RefView<'a>,
    },
}

impl RefTable {
    /// The differences from `earlier` to this table, in name order. `HEAD` is not among them: compare [`RefTable::head`].
    pub fn changes_since<'a>(&'a self, earlier: &'a RefTable) -> impl Iterator<Item = Change<'a>> + 'a {
        let (mut old, mut new) = (earlier.iter().peekable(), self.iter().peekable());
        std::iter::from_fn(move || {
            loop {
                let order = match (old.peek(), new.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(old), Some(new)) => old.name.cmp(new.name),
                };
                match order {
                    Ordering::Less => return old.next().map(Change::Deleted),
                    Ordering::Greater => return new.next().map(Change::Created),
                    Ordering::Equal => {
                        let (from, to) = (old.next()?, new.next()?);
                        if (from.id, from.symbolic) != (to.id, to.symbolic) {
                            return Some(Change::Moved { from, to });
                        }
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ObjectId,
        refs::{Head, Ref, RefName},
    };

    fn table(refs: &[(&str, u8)]) -> RefTable {
        let refs = refs.iter().map(|&(name, byte)| Ref {
            name: RefName::new(name.as_bytes()).unwrap(),
            id: ObjectId::from_bytes_or_panic(&[byte; 20]),
            peeled: None,
            symbolic: None,
        });
        RefTable::new(refs.collect(), Head::Absent)
    }

    #[test]
    fn differences_come_in_name_order() {
        let earlier = table(&[("refs/a", 1), ("refs/b", 1), ("refs/d", 1), ("refs/e", 1)]);
        let later = table(&[("refs/a", 1), ("refs/a/b", 2), ("refs/d", 2), ("refs/e", 1), ("refs/f", 3)]);
        let told: Vec<_> = later
            .changes_since(&earlier)
            .map(|change| match change {
                Change::Created(r) => format!("+{}", r.name),
                Change::Deleted(r) => format!("-{}", r.name),
                Change::Moved { to, .. } => format!("!{}", to.name),
            })
            .collect();
        assert_eq!(told, ["+refs/a/b", "-refs/b", "!refs/d", "+refs/f"]);
        assert_eq!(later.changes_since(&later).count(), 0);
    }
}
