//! Which references of an upstream are mirrored and shown; the others are as if they were not there.
//!
//! Rights are per repository: what not every reader of it may see has no place in a mirror. Left out unless something else is
//! said are references in which hosts keep their own matters (Gerrit's configuration, users, drafts and the like).

use super::{Head, Ref, RefName, RefTable};
use bstr::{BStr, ByteSlice};

/// Hosts' own matters: `refs/meta/config` holds a project's access rights, `refs/users` settings of people, and so on.
const HIDDEN: [&str; 7] = [
    "refs/meta",
    "refs/users",
    "refs/groups",
    "refs/starred-changes",
    "refs/draft-comments",
    "refs/sequences",
    "refs/cache-automerge",
];

/// Rules in order; the last that matches a name decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    shows: bool,
    pattern: String,
}

impl Default for Shown {
    /// All but the hosts' own matters.
    fn default() -> Self {
        let hides = |pattern: &&str| Rule { shows: false, pattern: (*pattern).to_owned() };
        let all = Rule { shows: true, pattern: "*".to_owned() };
        Self([all].into_iter().chain(HIDDEN.iter().map(hides)).collect())
    }
}

impl Shown {
    /// Reads patterns: `refs/heads/*` shows, `!refs/pull` hides. `*` stands for any characters, and a pattern without one for
    /// that name and for what lies below it. A list that begins with `!` takes away from the default; any other shows only
    /// what it names.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut rules = Vec::new();
        for text in patterns {
            let (shows, pattern) = text.strip_prefix('!').map_or((true, text), |rest| (false, rest));
            let pattern = pattern.trim_end_matches('/');
            if !(pattern.starts_with("refs/") || pattern.starts_with('*')) {
                return Err(format!("`{text}`: a pattern on references begins with refs/, or with !refs/"));
            }
            if pattern.chars().any(|c| c.is_control() || c == ' ') {
                return Err("a pattern on references must not hold spaces or control characters".into());
            }
            if rules.is_empty() && !shows {
                rules = Self::default().0;
            }
            rules.push(Rule { shows, pattern: pattern.to_owned() });
        }
        Ok(if rules.is_empty() { Self::default() } else { Self(rules) })
    }

    /// Whether a reference of that name is shown.
    #[must_use]
    pub fn shows(&self, name: &BStr) -> bool {
        self.0.iter().rev().find(|rule| matches(rule.pattern.as_bytes(), name)).is_some_and(|rule| rule.shows)
    }

    /// `table` without what is hidden; `None` if nothing of it is. `HEAD` stays, unless it names a branch that is hidden.
    #[must_use]
    pub fn only(&self, table: &RefTable) -> Option<RefTable> {
        let is_hidden = |name: &BStr| !self.shows(name);
        let names_hidden = matches!(table.head(), Head::Symbolic(name) if is_hidden(name.as_bstr()));
        let points_hidden = table.iter().any(|r| is_hidden(r.name) || r.symbolic.is_some_and(is_hidden));
        if !names_hidden && !points_hidden {
            return None;
        }
        let shown = table.iter().filter(|reference| self.shows(reference.name)).filter_map(|reference| {
            let target = reference.symbolic.filter(|target| self.shows(target));
            let symbolic = target.and_then(|target| RefName::new(target).ok());
            Some(Ref { name: RefName::new(reference.name).ok()?, id: reference.id, peeled: reference.peeled, symbolic })
        });
        let head = if names_hidden { Head::Absent } else { table.head().clone() };
        Some(RefTable::new(shown.collect(), head).with_head_peeled(table.head_peeled()))
    }
}

fn matches(pattern: &[u8], name: &BStr) -> bool {
    if !pattern.contains(&b'*') {
        return name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    }
    // Each piece at its first place behind the one before; the last at the end.
    let mut pieces = pattern.split_str("*");
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let pieces: Vec<&[u8]> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return false };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ObjectId;

    fn check(patterns: &[&str], shown: &[&str], hidden: &[&str]) {
        let rules = Shown::new(patterns.iter().copied()).unwrap();
        for (names, expected) in [(shown, true), (hidden, false)] {
            for name in names {
                assert_eq!(rules.shows(BStr::new(name)), expected, "{patterns:?} {name}");
            }
        }
    }

    #[test]
    fn which_names_are_shown() {
        check(
            &[],
            &["refs/heads/main", "refs/pull/1/head", "refs/notes/commits", "refs/metadata/x", "refs/changes/1/1/1"],
            &["refs/meta/config", "refs/meta", "refs/users/01/1", "refs/cache-automerge/ab/c"],
        );
        check(&["refs/heads/*", "refs/tags"], &["refs/heads/a/b", "refs/tags/v1"], &["refs/pull/1/head", "refs/heads"]);
        check(&["!refs/pull"], &["refs/heads/a", "refs/pulls/1"], &["refs/pull/1/head", "refs/meta/config"]);
        check(
            &["*", "!refs/heads/secret*", "refs/heads/secret-not"],
            &["refs/meta/config", "refs/heads/secret-not"],
            &["refs/heads/secret", "refs/heads/secrets/x"],
        );
        check(&["refs/*/main"], &["refs/heads/main", "refs/a/b/main"], &["refs/heads/main2", "refs/main"]);
        check(&["refs/a*a"], &["refs/aa", "refs/aba"], &["refs/a"]);
        for wrong in ["heads/main", "main", "", "!", "refs/a b", "!heads", "refs/\n"] {
            assert!(Shown::new([wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_as_if_it_were_not_there() {
        let id = |byte: u8| ObjectId::from_bytes_or_panic(&[byte; 20]);
        let name = |name: &str| RefName::new(name.as_bytes()).unwrap();
        let plain = |text: &str, byte| Ref { name: name(text), id: id(byte), peeled: None, symbolic: None };
        let pointer = Ref { symbolic: Some(name("refs/meta/config")), ..plain("refs/heads/pointer", 2) };
        let refs = vec![plain("refs/heads/main", 1), plain("refs/meta/config", 2), pointer];
        let table = RefTable::new(refs, Head::Symbolic(name("refs/heads/main")));
        let shown = Shown::default().only(&table).unwrap();
        let names: Vec<String> = shown.iter().map(|r| r.name.to_string()).collect();
        assert_eq!(names, ["refs/heads/main", "refs/heads/pointer"]);
        assert!(shown.iter().all(|reference| reference.symbolic.is_none()), "no name of what is hidden");
        assert_eq!(shown.head(), table.head());
        assert!(Shown::default().only(&shown).is_none(), "nothing more to hide");
        let others = Shown::new(["refs/meta"]).unwrap().only(&table).unwrap();
        assert_eq!((others.len(), others.head()), (1, &Head::Absent));
    }
}
