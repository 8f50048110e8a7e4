//! `freshness`: pushes and fetches by turns, and whether any fetch misses a push.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use heliostat_loadtest::Percentiles;
use heliostat_perf::freshness::Freshness;
use heliostat_perf::heliostat::{Mode, built_beside};
use heliostat_testrepo::Spec;

/// Push through the mirror's URL and fetch from it, by turns, with real Git; exits 1 if a fetch misses a push that had
/// ended before it began
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// The server; if left out, the one beside this program (cargo build --release -p heliostat)
    #[arg(long)]
    heliostat: Option<PathBuf>,
    /// How the mirror asks its upstream; in any mode but strict, pushes are missed
    #[arg(long, value_enum, default_value = "strict")]
    freshness: Mode,
    /// Clients at once, each with a branch of its own
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    clients: u32,
    /// Pushes of all clients together
    #[arg(long, default_value_t = 1000)]
    pushes: u32,
    /// Fetches of all clients together
    #[arg(long, default_value_t = 4000)]
    fetches: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Violations that are spelled out.
const LISTED_MAX: usize = 20;

fn run(arguments: Arguments) -> io::Result<bool> {
    let freshness = Freshness {
        heliostat: arguments.heliostat.map_or_else(built_beside, Ok)?,
        mode: arguments.freshness,
        spec: Spec::small(arguments.seed),
        clients: arguments.clients,
        pushes: arguments.pushes,
        fetches: arguments.fetches,
    };
    let folder = heliostat_perf::readable_folder()?;
    let begin = Instant::now();
    let history = freshness.run(folder.path())?;
    let took = begin.elapsed();
    let violations = history.violations();
    println!(
        "{} clients, {} pushes, {} fetches in {:.1} s, {}: {} violations",
        arguments.clients,
        history.pushes.len(),
        history.fetches.len(),
        took.as_secs_f64(),
        arguments.freshness.name(),
        violations.len()
    );
    let pushes = history.pushes.iter().map(|push| push.ended - push.began).collect();
    let fetches = history.fetches.iter().map(|fetch| fetch.ended - fetch.began).collect();
    print("git push", pushes);
    print("git fetch", fetches);
    violations.iter().take(LISTED_MAX).for_each(|violation| println!("  {violation}"));
    Ok(violations.is_empty())
}

fn print(name: &str, times: Vec<Duration>) {
    let Percentiles { p50_ms, p99_ms, max_ms, .. } = Percentiles::of(times);
    println!("  {name:10} p50 {p50_ms:.0} ms, p99 {p99_ms:.0} ms, at most {max_ms:.0} ms");
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("freshness: a fetch did not see what it had to");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("freshness: {error}");
            ExitCode::FAILURE
        }
    }
}
