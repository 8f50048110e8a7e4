//! What can happen to an upstream, as a value and as a line of text.

use std::str::FromStr;

use gix_hash::ObjectId;

/// One thing that happens to an upstream. Branches may be named in short (`main`) or in full; other refs in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Commits on top of a branch; a branch that does not exist begins with a root commit.
    AddCommits {
        /// The branch.
        branch: String,
        /// How many.
        count: u32,
    },
    /// The branch goes back one to three commits (as far as it can) and forward by other ones.
    ForcePush {
        /// The branch.
        branch: String,
        /// How many commits it goes forward, at least 1.
        count: u32,
    },
    /// A merge of one branch into another.
    Merge {
        /// The branch that moves.
        branch: String,
        /// The branch or ref that is merged into it.
        from: String,
    },
    /// A new branch where another ref stands.
    CreateBranch {
        /// The new branch.
        branch: String,
        /// The branch or ref.
        from: String,
    },
    /// A branch gets another name; HEAD and symbolic refs stay as they are.
    RenameBranch {
        /// The name it has.
        from: String,
        /// The name it gets.
        to: String,
    },
    /// A ref goes, symbolic or not.
    DeleteRef {
        /// Its full name, or a branch.
        name: String,
    },
    /// A new tag.
    AddTag {
        /// Without `refs/tags/`.
        name: String,
        /// The branch or ref that it tags.
        target: String,
        /// With an object of its own.
        annotated: bool,
    },
    /// One commit on top of HEAD's as `refs/pull/N/head`, new or moved.
    Pull {
        /// N.
        number: u32,
    },
    /// A ref is set to an object that the repository has.
    SetRef {
        /// Its full name, or a branch.
        name: String,
        /// The object.
        id: ObjectId,
    },
    /// HEAD names a branch, which need not exist.
    MoveHead {
        /// The branch.
        branch: String,
    },
    /// HEAD becomes the commit that it leads to.
    DetachHead,
    /// A symbolic ref is added or gets another target.
    SetSymbolic {
        /// Its full name.
        name: String,
        /// The branch or ref that it names.
        target: String,
    },
}

/// Why a line is no change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSyntaxError {
    line: String,
}

impl std::fmt::Display for ChangeSyntaxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a change: {:?}; known are: {}", self.line, Change::SYNTAX)
    }
}

impl std::error::Error for ChangeSyntaxError {}

impl Change {
    /// The lines that `from_str` knows.
    pub const SYNTAX: &str = "commits BRANCH N, force BRANCH N, merge BRANCH FROM, branch NEW FROM, rename FROM TO, \
        delete REF, tag NAME TARGET, annotated NAME TARGET, pull N, set REF ID, head BRANCH, detach, symbolic REF TARGET";
}

impl FromStr for Change {
    type Err = ChangeSyntaxError;

    fn from_str(line: &str) -> Result<Self, ChangeSyntaxError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let error = || ChangeSyntaxError { line: line.to_owned() };
        let number = |word: &str| word.parse().map_err(|_| error());
        let change = match words[..] {
            ["commits", branch, count] => Change::AddCommits { branch: branch.into(), count: number(count)? },
            ["force", branch, count] => Change::ForcePush { branch: branch.into(), count: number(count)? },
            ["merge", branch, from] => Change::Merge { branch: branch.into(), from: from.into() },
            ["branch", branch, from] => Change::CreateBranch { branch: branch.into(), from: from.into() },
            ["rename", from, to] => Change::RenameBranch { from: from.into(), to: to.into() },
            ["delete", name] => Change::DeleteRef { name: name.into() },
            [form @ ("tag" | "annotated"), name, target] => {
                Change::AddTag { name: name.into(), target: target.into(), annotated: form == "annotated" }
            }
            ["pull", count] => Change::Pull { number: number(count)? },
            ["set", name, id] => {
                Change::SetRef { name: name.into(), id: ObjectId::from_hex(id.as_bytes()).map_err(|_| error())? }
            }
            ["head", branch] => Change::MoveHead { branch: branch.into() },
            ["detach"] => Change::DetachHead,
            ["symbolic", name, target] => Change::SetSymbolic { name: name.into(), target: target.into() },
            _ => return Err(error()),
        };
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use super::Change;

    #[test]
    fn lines_become_changes() {
        let parsed = "commits main 3".parse();
        assert_eq!(parsed, Ok(Change::AddCommits { branch: "main".into(), count: 3 }));
        assert_eq!("detach".parse(), Ok(Change::DetachHead));
        for line in ["", "commits main", "commits main x", "explode", "set refs/x 12"] {
            assert!(line.parse::<Change>().is_err(), "{line}");
        }
    }
}
