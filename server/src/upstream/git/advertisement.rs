//! The reference advertisement of an upstream, line by line, into a table that can be trusted (`gitprotocol-v2`, ls-refs;
//! `gitprotocol-pack`, Reference Discovery).
//!
//! Names that Git itself would refuse are left out, counted and said, and so are references that name no object; a line that is no reference line at all makes the
//! whole advertisement invalid, because what can't be read can't be known to be complete.

use crate::upstream::{Advertised, UpstreamError, error::escaped, shallow_upstream};
use bstr::ByteSlice;
use heliostat_core::{
    ObjectId,
    limits::UPSTREAM_REFS_MAX,
    refs::{Head, Ref, RefName, RefTable},
};
use std::collections::HashMap;

/// How many of the names left out are kept for the log.
const SKIPPED_SHOWN_MAX: usize = 5;

/// Takes lines, gives a table.
pub struct Advertisement {
    refs: Vec<Ref>,
    head: Head,
    /// What the object of `HEAD` finally peels to, if it is a tag.
    head_peeled: Option<ObjectId>,
    skipped: usize,
    examples: Vec<String>,
    shallow: bool,
    /// v0: what the `symref` capabilities say.
    symbolic: HashMap<Vec<u8>, Vec<u8>>,
}

impl Advertisement {
    /// An empty one, of protocol v2.
    #[must_use]
    pub fn v2() -> Self {
        Self::v0(std::iter::empty())
    }

    /// An empty one, of protocol v0 or v1, with the values of its `symref` capabilities (`HEAD:refs/heads/main`).
    pub fn v0<'a>(symrefs: impl Iterator<Item = &'a [u8]>) -> Self {
        let symbolic = symrefs
            .filter_map(|value| value.split_once_str(":"))
            .map(|(name, target)| (name.to_vec(), target.to_vec()))
            .collect();
        Self {
            refs: Vec::new(),
            head: Head::Absent,
            head_peeled: None,
            skipped: 0,
            examples: Vec::new(),
            shallow: false,
            symbolic,
        }
    }

    /// Takes a line of a v2 `ls-refs` answer: `oid-or-unborn SP name *(SP attribute)`.
    pub fn take_v2(&mut self, line: &[u8]) -> Result<(), UpstreamError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(id), Some(name)) = (words.next(), words.next().filter(|name| !name.is_empty())) else {
            return Err(malformed(line));
        };
        let (mut peeled, mut target) = (None, None);
        for word in words {
            if let Some(hex) = word.strip_prefix(b"peeled:") {
                peeled = Some(parse_id(hex).ok_or_else(|| malformed(line))?);
            } else if let Some(name) = word.strip_prefix(b"symref-target:") {
                target = Some(name);
            }
            // Attributes that we did not ask for are for those who know them.
        }
        if id == b"unborn" {
            if name == b"HEAD" {
                self.take_head(None, target);
            }
            return Ok(());
        }
        let id = parse_id(id).ok_or_else(|| malformed(line))?;
        self.take(name, id, peeled, target)
    }

    /// Takes a line of a v0 or v1 advertisement: `oid SP name`, `oid SP name^{}` or `shallow SP oid`.
    pub fn take_v0(&mut self, line: &[u8]) -> Result<(), UpstreamError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (id, name) = line.split_once_str(" ").ok_or_else(|| malformed(line))?;
        if id == b"shallow" {
            self.shallow = true;
            return Ok(());
        }
        let id = parse_id(id).ok_or_else(|| malformed(line))?;
        if name.is_empty() {
            return Err(malformed(line));
        }
        let Some(tag) = name.strip_suffix(b"^{}") else {
            let target = self.symbolic.get(name).cloned();
            return self.take(name, id, None, target.as_deref());
        };
        if tag == b"HEAD" {
            self.head_peeled = Some(id);
            return Ok(());
        }
        // `capabilities^{}` stands in for the first reference where there is none.
        if let Some(last) = self.refs.last_mut()
            && last.name.as_bstr() == tag
        {
            last.peeled = Some(id);
        }
        Ok(())
    }

    /// The table, if all of it can be believed.
    pub fn finish(self) -> Result<Advertised, UpstreamError> {
        if self.shallow {
            return Err(shallow_upstream());
        }
        let table = RefTable::new(self.refs, self.head).with_head_peeled(self.head_peeled);
        Ok(Advertised {
            refs: std::sync::Arc::new(table),
            skipped: self.skipped,
            examples: self.examples,
            hides: false,
        })
    }

    fn take(
        &mut self,
        name: &[u8],
        id: ObjectId,
        peeled: Option<ObjectId>,
        target: Option<&[u8]>,
    ) -> Result<(), UpstreamError> {
        // How Git shows a reference whose file holds no id.
        let broken = id.is_null();
        if name == b"HEAD" {
            self.take_head(Some(id).filter(|_| !broken), target);
            self.head_peeled = peeled;
            return Ok(());
        }
        let Ok(valid) = RefName::new(name) else {
            self.skip(name);
            return Ok(());
        };
        if broken {
            self.skip(name);
            return Ok(());
        }
        if self.refs.len() >= UPSTREAM_REFS_MAX {
            return Err(UpstreamError::TooLarge("references of the upstream's repository"));
        }
        // A target outside this namespace (`(null)`) or one that is no name leaves an ordinary reference.
        let symbolic = target.and_then(|target| RefName::new(target).ok());
        self.refs.push(Ref { name: valid, id, peeled, symbolic });
        Ok(())
    }

    fn take_head(&mut self, id: Option<ObjectId>, target: Option<&[u8]>) {
        self.head = match (target.map(RefName::new), id) {
            (Some(Ok(name)), _) => Head::Symbolic(name),
            (_, Some(id)) => Head::Detached(id),
            (_, None) => Head::Absent,
        };
    }

    fn skip(&mut self, name: &[u8]) {
        self.skipped += 1;
        if self.examples.len() < SKIPPED_SHOWN_MAX {
            self.examples.push(escaped(name));
        }
    }
}

/// 40 hexadecimal digits.
fn parse_id(hex: &[u8]) -> Option<ObjectId> {
    if hex.len() == 40 { ObjectId::from_hex(hex).ok() } else { None }
}

/// What a line is that is no reference: the upstream's refusal, or damage.
fn malformed(line: &[u8]) -> UpstreamError {
    if let Some(text) = line.strip_prefix(b"ERR ") {
        return UpstreamError::Refused(escaped(text));
    }
    UpstreamError::Broken(format!("not a line of a reference advertisement: {}", escaped(&line[..line.len().min(200)])))
}
