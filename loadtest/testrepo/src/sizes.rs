//! The sizes of a `Spec` as options of the command line, one each, named as the field.

use clap::Args;
use heliostat_testrepo::Spec;

macro_rules! sizes {
    ($($field:ident: $number:ty, $help:literal;)*) => {
        /// Each one replaces the preset's.
        #[derive(Args, Debug)]
        pub struct Sizes {
            $(
                #[doc = $help]
                #[arg(long, value_name = "N", help_heading = "Sizes")]
                $field: Option<$number>,
            )*
        }

        impl Sizes {
            /// Sets what was given.
            pub fn apply(&self, spec: &mut Spec) {
                $(if let Some(number) = self.$field {
                    spec.$field = number;
                })*
            }
        }
    };
}

sizes! {
    commits: u32, "Commits that the main branch reaches";
    merge_percent: u8, "Chance of a merge at each step of the main branch";
    octopuses: u32, "Merges of more than two parents";
    octopus_parents: u32, "Parents of each of these";
    criss_crosses: u32, "Pairs of lines that merge each other";
    roots: u32, "Root commits";
    lost_commits: u32, "Commits that no ref reaches";
    skew_percent: u8, "Chance of a committer date that is off";
    signed_percent: u8, "Chance of a signature on commits and tags";
    encoded_percent: u8, "Chance of a message that is not UTF-8";
    long_message_percent: u8, "Chance of a very long message";
    files: u32, "Ordinary files in the first commit";
    file_bytes: u32, "Their average size";
    dir_levels: u32, "How deep ordinary directories nest";
    changes_per_commit: u32, "Files that a commit changes on average";
    rename_percent: u8, "Chance that a change is a rename";
    executable_percent: u8, "Chance that a file may be executed";
    symlinks: u32, "Symbolic links";
    submodules: u32, "Gitlinks";
    empty_files: u32, "Files without content";
    near_duplicates: u32, "Files that differ in a few bytes";
    large_blobs: u32, "Files that do not compress";
    large_blob_bytes: u32, "The size of each of these";
    odd_names: u32, "Files with names that want quoting";
    deep_tree_levels: u32, "Levels of one very deep directory";
    wide_tree_entries: u32, "Files in one very wide directory";
    branches: u32, "Branches beside the main one";
    branch_commits: u32, "Commits that each of these has for itself";
    light_tags: u32, "Tags without an object";
    annotated_tags: u32, "Annotated tags of commits";
    nested_tags: u32, "Annotated tags of tags";
    tree_tags: u32, "Annotated tags of trees";
    blob_tags: u32, "Annotated tags of blobs";
    pulls: u32, "Refs refs/pull/N/head";
    pull_own_percent: u8, "How many of these have a commit of their own";
    symbolic_refs: u32, "Symbolic refs other than HEAD";
    other_refs: u32, "Refs outside of heads, tags and pull";
    packs: u32, "How many packs";
    loose_percent: u8, "How many of a hundred commits are stored loose";
    delta_depth: u16, "Longest delta chain";
    ref_delta_percent: u8, "How many of a hundred deltas name their base by id";
    compression: u8, "zlib's level";
}
