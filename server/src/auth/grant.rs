//! The proof that a caller may read one repository: the argument of whatever reads it.

use heliostat_core::{RepositoryPath, rights::Payers};

/// Somebody may read this repository, in this request. Made by the [gate](super::gate) alone.
#[derive(Clone, Debug)]
pub struct Grant {
    asked_for: RepositoryPath,
    by: By,
    /// Who pays for what this costs the upstream.
    payers: Payers,
}

/// Who said so.
#[derive(Clone, Debug)]
enum By {
    /// Whoever reaches the server may read whatever lies in the upstream's folder.
    Everybody,
    /// The caller comes as the mirror itself does, without credentials: what the mirror may read, so may the caller. What the
    /// upstream says to the mirror has to be asked about, then.
    Mirror,
    /// A judge, of the repository under this very path.
    Judge(RepositoryPath),
}

impl Grant {
    pub(super) fn everybody(asked_for: RepositoryPath, payers: Payers) -> Self {
        Self { asked_for, by: By::Everybody, payers }
    }

    pub(super) fn as_the_mirror(asked_for: RepositoryPath, payers: Payers) -> Self {
        Self { asked_for, by: By::Mirror, payers }
    }

    pub(super) fn judged(asked_for: RepositoryPath, judged: RepositoryPath, payers: Payers) -> Self {
        Self { asked_for, by: By::Judge(judged), payers }
    }

    /// What the caller called the repository.
    pub fn path(&self) -> &RepositoryPath {
        &self.asked_for
    }

    /// Who pays for it.
    pub fn payers(&self) -> Payers {
        self.payers
    }

    /// Whether it rests on what the upstream says to the mirror.
    pub fn is_the_mirrors(&self) -> bool {
        matches!(self.by, By::Mirror)
    }

    /// Whether a judge has looked at what this caller brought.
    pub fn is_judged(&self) -> bool {
        matches!(self.by, By::Judge(_))
    }

    /// Whether it holds for what is mirrored as `path`. The caller's spelling may be another, and a judge who was asked about
    /// one has said nothing of the other.
    pub fn covers(&self, path: &RepositoryPath) -> bool {
        match &self.by {
            By::Everybody | By::Mirror => true,
            By::Judge(judged) => judged == path,
        }
    }
}
