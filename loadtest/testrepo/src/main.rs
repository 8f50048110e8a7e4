//! Makes a repository from a shell: `heliostat-testrepo --seed 7 --commits 500 app.git`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use heliostat_testrepo::{HeadForm, RefsForm, Repository, Spec};

/// Write a bare Git repository that a seed and some sizes determine
///
/// The same arguments always make the same object ids. Sizes start from a preset; each option changes one.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Where to write it; must not hold a repository yet
    directory: PathBuf,
    /// Decides everything that the sizes leave open
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Sizes to start from
    #[arg(long, default_value = "small", value_parser = preset_names())]
    preset: String,
    /// Commits that the main branch reaches
    #[arg(long)]
    commits: Option<u32>,
    /// Chance of a merge at each step, in percent
    #[arg(long)]
    merge_percent: Option<u8>,
    /// Files in the first commit
    #[arg(long)]
    files: Option<u32>,
    /// Average size of a file in bytes
    #[arg(long)]
    file_bytes: Option<u32>,
    /// Files that do not compress
    #[arg(long)]
    large_blobs: Option<u32>,
    /// Size of each of these in bytes
    #[arg(long)]
    large_blob_bytes: Option<u32>,
    /// Branches beside the main one
    #[arg(long)]
    branches: Option<u32>,
    /// Commits of its own that each branch has
    #[arg(long)]
    branch_commits: Option<u32>,
    /// Annotated tags
    #[arg(long)]
    annotated_tags: Option<u32>,
    /// Tags without an object
    #[arg(long)]
    light_tags: Option<u32>,
    /// Refs `refs/pull/N/head`
    #[arg(long)]
    pulls: Option<u32>,
    /// What HEAD says
    #[arg(long, value_parser = ["main", "unborn", "detached"])]
    head: Option<String>,
    /// How many packs
    #[arg(long)]
    packs: Option<u32>,
    /// How many of a hundred commits are stored loose
    #[arg(long)]
    loose_percent: Option<u8>,
    /// Where refs are stored
    #[arg(long, value_parser = ["packed", "loose", "mixed"])]
    refs: Option<String>,
    /// Longest delta chain
    #[arg(long)]
    delta_depth: Option<u16>,
    /// Text for the repository's configuration
    #[arg(long)]
    config: Option<String>,
}

fn presets(seed: u64) -> Vec<(&'static str, Spec)> {
    let mut presets = Spec::presets(seed);
    presets.push(("medium", Spec::medium(seed)));
    presets.push(("million", Spec::million(seed)));
    presets
}

fn preset_names() -> Vec<&'static str> {
    presets(0).into_iter().map(|(name, _)| name).collect()
}

impl Arguments {
    fn spec(self) -> Spec {
        let named = presets(self.seed)
            .into_iter()
            .find(|(name, _)| *name == self.preset)
            .map_or_else(|| Spec::small(self.seed), |(_, spec)| spec);
        Spec {
            seed: self.seed,
            commits: self.commits.unwrap_or(named.commits),
            merge_percent: self.merge_percent.unwrap_or(named.merge_percent),
            files: self.files.unwrap_or(named.files),
            file_bytes: self.file_bytes.unwrap_or(named.file_bytes),
            large_blobs: self.large_blobs.unwrap_or(named.large_blobs),
            large_blob_bytes: self.large_blob_bytes.unwrap_or(named.large_blob_bytes),
            branches: self.branches.unwrap_or(named.branches),
            branch_commits: self.branch_commits.unwrap_or(named.branch_commits),
            annotated_tags: self.annotated_tags.unwrap_or(named.annotated_tags),
            light_tags: self.light_tags.unwrap_or(named.light_tags),
            pulls: self.pulls.unwrap_or(named.pulls),
            head: match self.head.as_deref() {
                Some("unborn") => HeadForm::Unborn,
                Some("detached") => HeadForm::Detached,
                Some(_) => HeadForm::Main,
                None => named.head,
            },
            packs: self.packs.unwrap_or(named.packs),
            loose_percent: self.loose_percent.unwrap_or(named.loose_percent),
            refs: match self.refs.as_deref() {
                Some("loose") => RefsForm::Loose,
                Some("mixed") => RefsForm::Mixed,
                Some(_) => RefsForm::Packed,
                None => named.refs,
            },
            delta_depth: self.delta_depth.unwrap_or(named.delta_depth),
            config: self.config.unwrap_or_default(),
            ..named
        }
    }
}

fn report(made: &Repository) {
    println!(
        "{}: {} objects, {} refs, HEAD {}",
        made.path.display(),
        made.objects,
        made.refs.len() + made.symbolic.len(),
        made.head
    );
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let directory = arguments.directory.clone();
    match arguments.spec().write(&directory) {
        Ok(made) => {
            report(&made);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("heliostat-testrepo: {error}");
            ExitCode::FAILURE
        }
    }
}
