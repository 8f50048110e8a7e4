//! Makes a repository from a shell: `heliostat-testrepo --seed 7 --commits 500 app.git`; and lets things happen to one
//! that is there: `heliostat-testrepo --advance 'commits main 3' app.git`.

mod sizes;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use heliostat_testrepo::{Change, HeadForm, RefsForm, Repository, Spec, Store};

use crate::sizes::Sizes;

/// Write a bare Git repository that a seed and some sizes determine
///
/// The same arguments always make the same object ids. Sizes start from a preset, and each option replaces one.
#[derive(Parser)]
#[command(name = "heliostat-testrepo", version, max_term_width = 100)]
struct Arguments {
    /// Where to write it; must not hold a repository yet, but for --advance
    directory: PathBuf,
    /// Decides everything that the sizes leave open
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Sizes to start from
    #[arg(long, default_value = "small", value_parser = preset_names())]
    preset: String,
    /// What HEAD says
    #[arg(long)]
    head: Option<Head>,
    /// Where refs are stored
    #[arg(long)]
    refs: Option<Refs>,
    /// Text to append to the repository's configuration
    #[arg(long, default_value = "")]
    config: String,
    /// Let this happen to a repository made earlier; may be repeated. One of: commits BRANCH N, force BRANCH N,
    /// merge BRANCH FROM, branch NEW FROM, rename FROM TO, delete REF, tag NAME TARGET, annotated NAME TARGET, pull N,
    /// set REF ID, head BRANCH, detach, symbolic REF TARGET
    #[arg(long, value_name = "CHANGE")]
    advance: Vec<Change>,
    /// With --advance: store new objects loose instead of in a pack
    #[arg(long, requires = "advance")]
    loose: bool,
    #[command(flatten)]
    sizes: Sizes,
}

#[derive(Clone, Copy, ValueEnum)]
enum Head {
    Main,
    Unborn,
    Detached,
}

#[derive(Clone, Copy, ValueEnum)]
enum Refs {
    Packed,
    Loose,
    Mixed,
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
    fn spec(&self) -> Spec {
        let preset = presets(self.seed).into_iter().find(|(name, _)| *name == self.preset);
        let mut spec = preset.map_or_else(Spec::default, |(_, spec)| spec);
        spec.seed = self.seed;
        spec.config.clone_from(&self.config);
        self.sizes.apply(&mut spec);
        match self.head {
            Some(Head::Main) => spec.head = HeadForm::Main,
            Some(Head::Unborn) => spec.head = HeadForm::Unborn,
            Some(Head::Detached) => spec.head = HeadForm::Detached,
            None => {}
        }
        match self.refs {
            Some(Refs::Packed) => spec.refs = RefsForm::Packed,
            Some(Refs::Loose) => spec.refs = RefsForm::Loose,
            Some(Refs::Mixed) => spec.refs = RefsForm::Mixed,
            None => {}
        }
        spec
    }

    fn run(&self) -> io::Result<()> {
        if self.advance.is_empty() {
            let made = self.spec().write(&self.directory)?;
            println!(
                "{}: {} objects, {} refs, HEAD {}",
                made.path.display(),
                made.objects,
                made.refs.len() + made.symbolic.len(),
                made.head
            );
            return Ok(());
        }
        let store = if self.loose { Store::Loose } else { Store::Pack };
        let mut repository = Repository::open(&self.directory)?;
        let outcome = repository.advance_stored(&self.advance, store)?;
        for (name, (old, new)) in &outcome.moved {
            let text = |id: &Option<_>| id.map_or("none".to_owned(), |id: heliostat_testrepo::ObjectId| id.to_string());
            println!("{name}: {} -> {}", text(old), text(new));
        }
        println!("{} new objects, HEAD {}", outcome.objects, repository.head);
        Ok(())
    }
}

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("heliostat-testrepo: {error}");
            ExitCode::FAILURE
        }
    }
}
