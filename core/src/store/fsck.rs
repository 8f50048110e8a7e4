//! The rules for one object: what it names, and what is wrong with it.
//!
//! Two grades. *Broken*: Git itself could not parse it, so nothing that it names can be followed; such an object is
//! refused. *Cosmetic*: history holds it, Git works with it, `git fsck` frowns; it is recorded and mirrored, since the
//! upstream is the authority. The names of cosmetic faults are those of `git fsck` (`git-fsck`, FSCK MESSAGES).
//! Blobs have no rules here.

use crate::{
    ObjectId,
    limits::VERIFY_FINDINGS_KEPT,
    objects::{EntryKind, TreeEntries, TreeEntry, mode_number},
};
use bstr::ByteSlice;
use gix_object::Kind;

const HEX: usize = 40;

/// A cosmetic fault of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object.
    pub id: ObjectId,
    /// Git's name for the fault.
    pub fault: &'static str,
}

/// The cosmetic faults of an ingest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, id: ObjectId, fault: &'static str) {
        self.count += 1;
        if self.first.len() < VERIFY_FINDINGS_KEPT {
            self.first.push(Finding { id, fault });
        }
    }
}

/// What is wrong with an object that Git could not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub &'static str);

/// Checks the content of an object of `kind`, tells `link` each object that it names with the type that it must have,
/// and `fault` each cosmetic fault.
pub(super) fn check(
    kind: Kind,
    content: &[u8],
    link: &mut dyn FnMut(ObjectId, Kind),
    fault: &mut dyn FnMut(&'static str),
) -> Result<(), Broken> {
    match kind {
        Kind::Blob => Ok(()),
        Kind::Tree => tree(content, link, fault),
        Kind::Commit => commit(content, link, fault),
        Kind::Tag => tag(content, link, fault),
    }
}

/// Takes a line `word id` from the front.
fn id_line<'a>(content: &'a [u8], word: &[u8]) -> Option<(ObjectId, &'a [u8])> {
    let rest = content.strip_prefix(word)?;
    let id = ObjectId::from_hex(rest.get(..HEX)?).ok()?;
    Some((id, rest[HEX..].strip_prefix(b"\n")?))
}

fn commit(
    content: &[u8],
    link: &mut dyn FnMut(ObjectId, Kind),
    fault: &mut dyn FnMut(&'static str),
) -> Result<(), Broken> {
    let (tree, mut rest) = id_line(content, b"tree ").ok_or(Broken("commit without a tree line"))?;
    link(tree, Kind::Tree);
    while let Some((parent, behind)) = id_line(rest, b"parent ") {
        link(parent, Kind::Commit);
        rest = behind;
    }
    if rest.starts_with(b"parent ") {
        return Err(Broken("commit with a malformed parent line"));
    }
    let mut lines = header(rest, fault).split(|&byte| byte == b'\n');
    match lines.next().and_then(|line| line.strip_prefix(b"author ")) {
        None => {
            fault("missingAuthor");
            return Ok(());
        }
        Some(author) => identity(author, fault),
    }
    // Some old tools wrote several authors; Git names the fault so and goes on.
    let mut line = lines.next().unwrap_or_default();
    while let Some(author) = line.strip_prefix(b"author ") {
        fault("multipleAuthors");
        identity(author, fault);
        line = lines.next().unwrap_or_default();
    }
    match line.strip_prefix(b"committer ") {
        None => fault("missingCommitter"),
        Some(committer) => identity(committer, fault),
    }
    Ok(())
}

fn tag(
    content: &[u8],
    link: &mut dyn FnMut(ObjectId, Kind),
    fault: &mut dyn FnMut(&'static str),
) -> Result<(), Broken> {
    let (object, rest) = id_line(content, b"object ").ok_or(Broken("tag without an object line"))?;
    let (kind, rest) = rest
        .strip_prefix(b"type ")
        .and_then(|rest| rest.split_once_str(b"\n"))
        .ok_or(Broken("tag without a type line"))?;
    let kind = Kind::from_bytes(kind).map_err(|_| Broken("tag of an unknown type"))?;
    let rest = rest.strip_prefix(b"tag ").ok_or(Broken("tag without a tag line"))?;
    let (_name, rest) = rest.split_once_str(b"\n").ok_or(Broken("tag with an unterminated tag line"))?;
    link(object, kind);
    match header(rest, fault).lines().next().and_then(|line| line.strip_prefix(b"tagger ")) {
        // Tags from before 2005 have none.
        None => fault("missingTaggerEntry"),
        Some(tagger) => identity(tagger, fault),
    }
    Ok(())
}

/// The header's lines, up to the empty one.
fn header<'a>(rest: &'a [u8], fault: &mut dyn FnMut(&'static str)) -> &'a [u8] {
    let end = match rest.find(b"\n\n") {
        Some(end) => end + 1,
        None => {
            if !rest.is_empty() && !rest.ends_with(b"\n") {
                fault("unterminatedHeader");
            }
            rest.len()
        }
    };
    if rest[..end].contains(&0) {
        fault("nulInHeader");
    }
    &rest[..end]
}

/// `name <email> seconds zone`.
fn identity(line: &[u8], fault: &mut dyn FnMut(&'static str)) {
    let Some((name, rest)) = line.split_once_str(b"<") else { return fault("missingEmail") };
    if name.is_empty() {
        fault("missingNameBeforeEmail");
    } else if name.contains(&b'>') {
        fault("badName");
    } else if !name.ends_with(b" ") {
        fault("missingSpaceBeforeEmail");
    }
    let Some((email, rest)) = rest.split_once_str(b">") else { return fault("badEmail") };
    if email.contains(&b'<') {
        fault("badEmail");
    }
    let Some(date) = rest.strip_prefix(b" ") else { return fault("missingSpaceBeforeDate") };
    let Some((seconds, zone)) = date.split_once_str(b" ") else { return fault("badDate") };
    if seconds.is_empty() || !seconds.iter().all(u8::is_ascii_digit) {
        fault("badDate");
    } else if seconds.len() > 1 && seconds[0] == b'0' {
        fault("zeroPaddedDate");
    } else if seconds.to_str().ok().and_then(|text| text.parse::<i64>().ok()).is_none() {
        fault("badDateOverflow");
    }
    if !matches!(zone, [b'+' | b'-', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit)) {
        fault("badTimezone");
    }
}

fn tree(
    content: &[u8],
    link: &mut dyn FnMut(ObjectId, Kind),
    fault: &mut dyn FnMut(&'static str),
) -> Result<(), Broken> {
    let mut before: Option<(&[u8], bool)> = None;
    for entry in TreeEntries::of(content) {
        let TreeEntry { mode, kind, name, id } = entry.map_err(Broken)?;
        entry_mode(mode, fault);
        match kind {
            EntryKind::Tree => link(id.to_owned(), Kind::Tree),
            EntryKind::Blob => link(id.to_owned(), Kind::Blob),
            // Not here, and not to be followed.
            EntryKind::Commit => {}
        }
        let directory = kind == EntryKind::Tree;
        entry_name(name, fault);
        if let Some((last, last_directory)) = before {
            // A directory sorts as if its name ended in a slash; equal names are duplicates, whatever they are.
            let key = |name: &'_ [u8], directory: bool| [name, if directory { b"/" } else { b"" }].concat();
            if last == name {
                fault("duplicateEntries");
            } else if key(last, last_directory) > key(name, directory) {
                fault("treeNotSorted");
            }
        }
        before = Some((name, directory));
    }
    Ok(())
}

fn entry_mode(mode: &[u8], fault: &mut dyn FnMut(&'static str)) {
    if mode.starts_with(b"0") {
        fault("zeroPaddedFilemode");
    }
    if !matches!(mode_number(mode), 0o100_644 | 0o100_755 | 0o120_000 | 0o040_000 | 0o160_000) {
        fault("badFilemode");
    }
}

fn entry_name(name: &[u8], fault: &mut dyn FnMut(&'static str)) {
    if name.contains(&b'/') {
        fault("fullPathname");
    }
    match name {
        b"." => fault("hasDot"),
        b".." => fault("hasDotdot"),
        _ if name.eq_ignore_ascii_case(b".git") => fault("hasDotgit"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1111111111111111111111111111111111111111";

    /// Links and faults, or what is broken.
    fn checked(kind: Kind, content: &[u8]) -> Result<(Vec<Kind>, Vec<&'static str>), &'static str> {
        let (mut links, mut faults) = (Vec::new(), Vec::new());
        check(kind, content, &mut |_, kind| links.push(kind), &mut |fault| faults.push(fault))
            .map(|()| (links, faults))
            .map_err(|broken| broken.0)
    }

    #[test]
    fn commits() {
        let who = "A <a@b> 1 +0000";
        let good = format!("tree {ID}\nparent {ID}\nparent {ID}\nauthor {who}\ncommitter {who}\n\nwords\n");
        assert_eq!(checked(Kind::Commit, good.as_bytes()), Ok((vec![Kind::Tree, Kind::Commit, Kind::Commit], vec![])));
        let head = format!("tree {ID}\n");
        for (rest, fault) in [
            ("".to_owned(), "missingAuthor"),
            (format!("author {who}\n\n"), "missingCommitter"),
            (format!("author A a@b 1 +0000\ncommitter {who}\n\n"), "missingEmail"),
            (format!("author A<a@b> 1 +0000\ncommitter {who}\n\n"), "missingSpaceBeforeEmail"),
            (format!("author A <a@b> +0000\ncommitter {who}\n\n"), "badDate"),
            (format!("author A <a@b> 99999999999999999999 +0000\ncommitter {who}\n\n"), "badDateOverflow"),
            (format!("author A <a@b> 1 0\ncommitter {who}\n\n"), "badTimezone"),
            (format!("author {who}\nauthor {who}\ncommitter {who}\n\n"), "multipleAuthors"),
            (format!("author {who}\ncommitter {who}\nx \0\n\n"), "nulInHeader"),
            (format!("author {who}\ncommitter {who}"), "unterminatedHeader"),
        ] {
            let (links, faults) = checked(Kind::Commit, (head.clone() + &rest).as_bytes()).unwrap();
            assert_eq!((links.len(), faults), (1, vec![fault]), "{rest}");
        }
        for broken in ["", "tree 1\n", &format!("tree {ID}"), &format!("tree {ID}\nparent 12\n")] {
            assert!(checked(Kind::Commit, broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn tags() {
        let good = format!("object {ID}\ntype blob\ntag v1\ntagger A <a@b> 1 +0000\n\nwords\n");
        assert_eq!(checked(Kind::Tag, good.as_bytes()), Ok((vec![Kind::Blob], vec![])));
        let old = format!("object {ID}\ntype commit\ntag v1\n\nwords\n");
        assert_eq!(checked(Kind::Tag, old.as_bytes()).unwrap().1, ["missingTaggerEntry"]);
        for broken in ["type blob\n".to_owned(), format!("object {ID}\ntype blog\ntag v\n"), format!("object {ID}\n")] {
            assert!(checked(Kind::Tag, broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn trees() {
        let tree = |entries: &[(&str, &str)]| {
            let entry =
                |(mode, name): &(&str, &str)| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &[7; 20]].concat();
            entries.iter().flat_map(entry).collect::<Vec<u8>>()
        };
        let good = tree(&[("100644", "a"), ("40000", "a.b"), ("120000", "a.b-"), ("160000", "m"), ("40000", "x")]);
        let (links, faults) = checked(Kind::Tree, &good).unwrap();
        assert_eq!(links, [Kind::Blob, Kind::Tree, Kind::Blob, Kind::Tree]);
        assert_eq!(faults, ["treeNotSorted"], "a.b/ sorts behind a.b-");
        assert_eq!(checked(Kind::Tree, b""), Ok((vec![], vec![])));
        for (entries, fault) in [
            (vec![("100664", "a")], "badFilemode"),
            (vec![("644", "a")], "badFilemode"),
            (vec![("140000", "a")], "badFilemode"),
            (vec![("20000", "a")], "badFilemode"),
            (vec![("0100644", "a")], "zeroPaddedFilemode"),
            (vec![("000000000040000", "a")], "zeroPaddedFilemode"),
            (vec![("100644", "a"), ("100644", "a")], "duplicateEntries"),
            (vec![("100644", "b"), ("100644", "a")], "treeNotSorted"),
            (vec![("40000", ".GIT")], "hasDotgit"),
            (vec![("40000", "..")], "hasDotdot"),
            (vec![("100644", "a/b")], "fullPathname"),
        ] {
            assert_eq!(checked(Kind::Tree, &tree(&entries)).unwrap().1, [fault], "{entries:?}");
        }
        let odd = tree(&[("644", "a"), ("0", "b"), ("140000", "c"), ("40755", "d"), ("100", "e")]);
        assert_eq!(checked(Kind::Tree, &odd).unwrap().0, [Kind::Tree], "the others are nobody's objects");
        for broken in [vec![("", "a")], vec![("9", "a")], vec![("100644", "")], vec![("-644", "a")]] {
            assert!(checked(Kind::Tree, &tree(&broken)).is_err(), "{broken:?}");
        }
        for cut in 1..good.len() {
            let whole = (0..=5).any(|entries| {
                cut == tree(
                    &[("100644", "a"), ("40000", "a.b"), ("120000", "a.b-"), ("160000", "m"), ("40000", "x")]
                        [..entries],
                )
                .len()
            });
            assert_eq!(checked(Kind::Tree, &good[..cut]).is_ok(), whole, "cut at {cut}");
        }
    }
}
