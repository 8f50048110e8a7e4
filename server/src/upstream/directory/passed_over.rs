//! What a walk of the folder did not look into, and why: a repository that is silently not mirrored is missed too late.

use std::{collections::BTreeMap, io, path::Path};

/// Places that are named; the others are counted.
const EXAMPLES_MAX: usize = 3;

/// Why something was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// This process may not, or can't, read it.
    Unreadable,
    /// A symbolic link to a repository that lies outside the folder.
    RepositoryOutside,
    /// A symbolic link to a directory that is no repository.
    LinkedFolder,
    /// A directory below the depth that is searched.
    TooDeep,
    /// A repository whose name can't be asked for: not UTF-8, a control character, a leading dash.
    Unnameable,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    count: usize,
    examples: Vec<String>,
}

/// Places by the reason for which they were passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PassedOver(BTreeMap<Reason, Places>);

impl PassedOver {
    pub(super) fn note(&mut self, reason: Reason, place: &Path, error: Option<&io::Error>) {
        let places = self.0.entry(reason).or_default();
        places.count += 1;
        if places.examples.len() < EXAMPLES_MAX {
            let error = error.map(|error| format!(": {error}")).unwrap_or_default();
            places.examples.push(format!("{}{error}", place.display()));
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    #[cfg(test)]
    pub(super) fn count(&self, reason: Reason) -> usize {
        self.0.get(&reason).map_or(0, |places| places.count)
    }

    /// Says what was not passed over in the same way `before`: a line for each reason.
    pub(super) fn tell(&self, before: &Self) {
        for (reason, places) in &self.0 {
            if before.0.get(reason) != Some(places) {
                let Places { count, examples } = places;
                tracing::warn!(count, ?examples, "in the upstream folder, not mirrored: {}", reason.words());
            }
        }
    }
}

impl Reason {
    fn words(self) -> &'static str {
        match self {
            Self::Unreadable => "what this process can't read; each listing tries again",
            Self::RepositoryOutside => "links to repositories outside of it",
            Self::LinkedFolder => "what lies in directories behind links: they are not searched",
            Self::TooDeep => "what lies deeper than it is searched",
            Self::Unnameable => "repositories with names that can't be asked for",
        }
    }
}
