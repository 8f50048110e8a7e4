//! `loadtest clone`: a fleet from a shell. Exits 1 if any clone failed.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use heliostat_loadtest::{Address, CloneKind, Fleet};

/// A CI fleet in a box: clone from a Git server as many runners do, and check every answer
#[derive(Parser)]
#[command(name = "loadtest", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Clone one repository, from many clients at once
    Clone(CloneArguments),
}

#[derive(Args)]
struct CloneArguments {
    /// http://host:port/path/of/repository
    url: Address,
    /// Clients at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: u32,
    /// Clones in a row by each client
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// What each client asks for
    #[arg(long, value_enum, default_value = "full")]
    kind: Kind,
    /// Seconds that a client waits for the next bytes
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Also inflate and count the entries of each pack
    #[arg(long)]
    walk: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// All branches and tags
    Full,
    /// All references
    Mirror,
    /// The branch of HEAD
    Branch,
    /// Its newest commit
    Depth1,
    /// All branches and tags, without contents of files
    #[value(name = "blobnone")]
    BlobNone,
    /// A fetch of the branch of HEAD from some fifty commits behind
    Incremental,
}

impl From<Kind> for CloneKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Full => Self::Full,
            Kind::Mirror => Self::Mirror,
            Kind::Branch => Self::Branch,
            Kind::Depth1 => Self::Depth1,
            Kind::BlobNone => Self::BlobNone,
            Kind::Incremental => Self::Incremental,
        }
    }
}

fn main() -> ExitCode {
    let Command::Clone(arguments) = Arguments::parse().command;
    let fleet = Fleet {
        clients: arguments.clients,
        rounds: arguments.rounds,
        patience: Duration::from_secs(arguments.patience),
        walk: arguments.walk,
        ..Fleet::new(arguments.url, arguments.kind.into())
    };
    let report = match fleet.run() {
        Ok(report) => report,
        Err(failure) => {
            eprintln!("loadtest: {}: {failure}", fleet.address);
            return ExitCode::FAILURE;
        }
    };
    if arguments.json {
        println!("{:#}", serde_json::json!(report));
    } else {
        print!("{report}");
    }
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
