//! What a repository is to be like: sizes of everything, and named presets.

use crate::pack::PackForm;

/// The sizes of a repository. The default is `small` with seed 0: a few hundred objects, a few milliseconds.
///
/// Counts are what they say whatever the seed is, as long as the history is long enough to hold them; percentages
/// are chances. The same `Spec` always makes the same object ids and, from the same build, the same bytes on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Decides everything that the other fields leave open.
    pub seed: u64,

    /// Commits that the main branch reaches; those of branches, pull requests and lost work come on top. With 0
    /// the repository is empty whatever else is asked for.
    pub commits: u32,
    /// Chance that a step of the main branch merges a topic of one to five commits.
    pub merge_percent: u8,
    /// Merges of more than two parents.
    pub octopuses: u32,
    /// Parents of each octopus merge, 3 to 60.
    pub octopus_parents: u32,
    /// Pairs of lines that merge each other before the main branch merges both: no single best merge base.
    pub criss_crosses: u32,
    /// Root commits. Of those beyond the first, every other one is merged into the main branch (and counts in
    /// `commits`), the rest become branches `orphan/N` of their own.
    pub roots: u32,
    /// Commits in the store that no ref reaches, as a forced push leaves them.
    pub lost_commits: u32,
    /// Chance of a committer date that is up to a month off in either direction.
    pub skew_percent: u8,
    /// Chance of a `gpgsig` header, and of a signature below a tag's message. They look right and verify nothing.
    pub signed_percent: u8,
    /// Chance of a message in ISO-8859-1 or Shift-JIS, with an `encoding` header.
    pub encoded_percent: u8,
    /// Chance of a message of 20 to 60 KB.
    pub long_message_percent: u8,

    /// Ordinary files in the first commit.
    pub files: u32,
    /// Their average size in bytes; most are smaller, a few eight times as large.
    pub file_bytes: u32,
    /// How deep ordinary directories nest.
    pub dir_levels: u32,
    /// Average number of files that a commit changes, at least 1.
    pub changes_per_commit: u32,
    /// Chance that a change is a rename.
    pub rename_percent: u8,
    /// Chance that a file may be executed.
    pub executable_percent: u8,
    /// Symbolic links.
    pub symlinks: u32,
    /// Gitlinks, each with its lines in `.gitmodules`.
    pub submodules: u32,
    /// Files without content.
    pub empty_files: u32,
    /// Files that differ from each other in a few bytes.
    pub near_duplicates: u32,
    /// Files that no compressor makes smaller, never changed later.
    pub large_blobs: u32,
    /// The size of each of these, in bytes, below 4 GiB.
    pub large_blob_bytes: u32,
    /// Files with names that want quoting somewhere: spaces, quotes, tabs, other scripts, a dash in front.
    pub odd_names: u32,
    /// Levels of one directory that holds only the next one, at most 1,000; 0 for none.
    pub deep_tree_levels: u32,
    /// Files in one directory; 0 for none.
    pub wide_tree_entries: u32,

    /// What HEAD says.
    pub head: HeadForm,
    /// Branches beside the main one, some with nested names.
    pub branches: u32,
    /// Commits that each of these has for itself; with 0 they stand on commits of the main branch's history.
    pub branch_commits: u32,
    /// Tags without an object.
    pub light_tags: u32,
    /// Annotated tags of commits.
    pub annotated_tags: u32,
    /// Annotated tags of annotated tags, up to four deep.
    pub nested_tags: u32,
    /// Annotated tags of trees.
    pub tree_tags: u32,
    /// Annotated tags of blobs.
    pub blob_tags: u32,
    /// Refs `refs/pull/N/head`.
    pub pulls: u32,
    /// How many of a hundred pull requests have one commit that no branch reaches; the others stand on commits of
    /// the main branch's history, topics that were merged first.
    pub pull_own_percent: u8,
    /// Symbolic refs other than HEAD.
    pub symbolic_refs: u32,
    /// Refs outside of heads, tags and pull: `refs/changes/…`, `refs/keep-around/…`.
    pub other_refs: u32,

    /// Packs, each with a consecutive part of the history; 0 with `loose_percent` 100 only.
    pub packs: u32,
    /// How many of a hundred commits, the last ones, are stored loose with their trees and blobs.
    pub loose_percent: u8,
    /// Where refs are stored.
    pub refs: RefsForm,
    /// Longest delta chain, 0 (no deltas) to 4095. Chains become that long where the main branch is.
    pub delta_depth: u16,
    /// How many of a hundred deltas are REF_DELTA; the others are OFS_DELTA.
    pub ref_delta_percent: u8,
    /// zlib's level, 0 to 9.
    pub compression: u8,
    /// Appended to the repository's `config`, in its syntax: `[uploadpack]\n\tallowFilter = true\n`.
    pub config: String,
}

/// What HEAD of a new repository says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadForm {
    /// `ref: refs/heads/main`; unborn where there is no commit.
    Main,
    /// The name of a branch that does not exist.
    Unborn,
    /// The id of a commit in the middle of the history.
    Detached,
}

/// Where refs of a new repository are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefsForm {
    /// All in `packed-refs`, with peeled lines.
    Packed,
    /// Each in a file of its own.
    Loose,
    /// Branches loose, each with an outdated line in `packed-refs` besides; all others packed.
    Mixed,
}

impl Default for Spec {
    fn default() -> Self {
        Spec::small(0)
    }
}

impl Spec {
    /// No commit, no ref, HEAD unborn.
    pub fn empty() -> Self {
        Spec { commits: 0, ..Spec::small(0) }
    }

    /// A small project with some of everything that is common.
    pub fn small(seed: u64) -> Self {
        Spec {
            seed,
            commits: 80,
            merge_percent: 20,
            octopuses: 0,
            octopus_parents: 4,
            criss_crosses: 0,
            roots: 1,
            lost_commits: 0,
            skew_percent: 0,
            signed_percent: 0,
            encoded_percent: 0,
            long_message_percent: 0,
            files: 40,
            file_bytes: 2_000,
            dir_levels: 3,
            changes_per_commit: 2,
            rename_percent: 3,
            executable_percent: 5,
            symlinks: 1,
            submodules: 0,
            empty_files: 1,
            near_duplicates: 0,
            large_blobs: 0,
            large_blob_bytes: 2 << 20,
            odd_names: 0,
            deep_tree_levels: 0,
            wide_tree_entries: 0,
            head: HeadForm::Main,
            branches: 4,
            branch_commits: 2,
            light_tags: 2,
            annotated_tags: 4,
            nested_tags: 0,
            tree_tags: 0,
            blob_tags: 0,
            pulls: 6,
            pull_own_percent: 50,
            symbolic_refs: 0,
            other_refs: 0,
            packs: 1,
            loose_percent: 0,
            refs: RefsForm::Packed,
            delta_depth: 50,
            ref_delta_percent: 0,
            compression: 6,
            config: String::new(),
        }
    }

    /// One branch, one line of commits, nothing else: the smallest that has a history.
    pub fn linear(seed: u64) -> Self {
        Spec {
            commits: 30,
            merge_percent: 0,
            files: 5,
            symlinks: 0,
            empty_files: 0,
            branches: 0,
            light_tags: 0,
            annotated_tags: 0,
            pulls: 0,
            ..Spec::small(seed)
        }
    }

    /// As many shapes of history as fit: merges of all kinds, several roots, skewed dates, lost commits.
    pub fn braided(seed: u64) -> Self {
        Spec {
            commits: 300,
            merge_percent: 40,
            octopuses: 5,
            octopus_parents: 5,
            criss_crosses: 8,
            roots: 5,
            lost_commits: 12,
            skew_percent: 15,
            branches: 20,
            branch_commits: 3,
            pulls: 40,
            ..Spec::small(seed)
        }
    }

    /// As many odd objects and refs as fit, each a few times.
    pub fn curious(seed: u64) -> Self {
        Spec {
            commits: 120,
            octopuses: 1,
            criss_crosses: 1,
            roots: 3,
            lost_commits: 2,
            skew_percent: 10,
            signed_percent: 20,
            encoded_percent: 10,
            long_message_percent: 2,
            rename_percent: 15,
            symlinks: 4,
            submodules: 3,
            empty_files: 3,
            near_duplicates: 20,
            large_blobs: 1,
            large_blob_bytes: 300_000,
            odd_names: 6,
            deep_tree_levels: 60,
            wide_tree_entries: 500,
            light_tags: 5,
            annotated_tags: 5,
            nested_tags: 3,
            tree_tags: 2,
            blob_tags: 2,
            symbolic_refs: 2,
            other_refs: 4,
            ref_delta_percent: 25,
            ..Spec::small(seed)
        }
    }

    /// `refs` refs on a short history, nine of ten of them `refs/pull/N/head`.
    pub fn many_refs(seed: u64, refs: u32) -> Self {
        Spec {
            commits: 200,
            branches: refs / 20,
            branch_commits: 0,
            light_tags: refs / 40,
            annotated_tags: refs / 100,
            other_refs: refs / 100,
            pulls: refs / 10 * 9,
            pull_own_percent: 0,
            ..Spec::small(seed)
        }
    }

    /// Delta chains of a thousand entries.
    pub fn long_chains(seed: u64) -> Self {
        Spec {
            commits: 1_200,
            merge_percent: 0,
            files: 3,
            dir_levels: 0,
            delta_depth: 4_095,
            ref_delta_percent: 10,
            ..Spec::small(seed)
        }
    }

    /// Few commits, large content: 24 MB that do not compress, and near-duplicates of it in small.
    pub fn large_blobs(seed: u64) -> Self {
        Spec {
            commits: 20,
            large_blobs: 6,
            large_blob_bytes: 4 << 20,
            near_duplicates: 50,
            file_bytes: 20_000,
            ..Spec::small(seed)
        }
    }

    /// Stored as a repository is that nobody ever repacked: several packs, loose objects, loose and packed refs.
    pub fn scattered(seed: u64) -> Self {
        Spec {
            packs: 4,
            loose_percent: 20,
            refs: RefsForm::Mixed,
            ref_delta_percent: 30,
            symbolic_refs: 1,
            ..Spec::braided(seed)
        }
    }

    /// Every object loose, every ref loose.
    pub fn loose(seed: u64) -> Self {
        Spec { packs: 0, loose_percent: 100, refs: RefsForm::Loose, ..Spec::small(seed) }
    }

    /// HEAD names a branch that does not exist.
    pub fn unborn(seed: u64) -> Self {
        Spec { head: HeadForm::Unborn, ..Spec::small(seed) }
    }

    /// HEAD is a commit.
    pub fn detached(seed: u64) -> Self {
        Spec { head: HeadForm::Detached, ..Spec::small(seed) }
    }

    /// About 50,000 objects and 2,000 refs: a busy project, in a few seconds without optimisation.
    pub fn medium(seed: u64) -> Self {
        Spec {
            commits: 7_000,
            octopuses: 4,
            criss_crosses: 20,
            roots: 3,
            skew_percent: 2,
            signed_percent: 5,
            files: 1_500,
            file_bytes: 3_000,
            dir_levels: 4,
            branches: 100,
            light_tags: 100,
            annotated_tags: 200,
            nested_tags: 2,
            tree_tags: 1,
            blob_tags: 1,
            pulls: 1_600,
            pull_own_percent: 30,
            ..Spec::small(seed)
        }
    }

    /// More than 1,000,000 objects and 200,000 refs, with the proportions of a large repository that is well packed.
    pub fn million(seed: u64) -> Self {
        Spec {
            commits: 132_000,
            criss_crosses: 200,
            files: 15_000,
            file_bytes: 3_500,
            branches: 5_000,
            branch_commits: 1,
            light_tags: 2_000,
            annotated_tags: 3_000,
            pulls: 190_000,
            pull_own_percent: 15,
            other_refs: 500,
            symlinks: 20,
            empty_files: 20,
            submodules: 5,
            near_duplicates: 500,
            large_blobs: 4,
            wide_tree_entries: 2_000,
            deep_tree_levels: 40,
            compression: 4,
            ..Spec::medium(seed)
        }
    }

    /// Every preset that is quick to make, by name: what a test that wants them all goes through.
    pub fn presets(seed: u64) -> Vec<(&'static str, Spec)> {
        vec![
            ("empty", Spec::empty()),
            ("small", Spec::small(seed)),
            ("linear", Spec::linear(seed)),
            ("braided", Spec::braided(seed)),
            ("curious", Spec::curious(seed)),
            ("many-refs", Spec::many_refs(seed, 2_000)),
            ("long-chains", Spec::long_chains(seed)),
            ("large-blobs", Spec::large_blobs(seed)),
            ("scattered", Spec::scattered(seed)),
            ("loose", Spec::loose(seed)),
            ("unborn", Spec::unborn(seed)),
            ("detached", Spec::detached(seed)),
        ]
    }

    pub(crate) fn pack_form(&self) -> PackForm {
        PackForm {
            compression: self.compression,
            delta_depth: self.delta_depth,
            ref_delta_percent: self.ref_delta_percent,
        }
    }
}
