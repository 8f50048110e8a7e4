//! `versus`: what a clone costs the server, Heliostat and stock Git side by side.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use heliostat_perf::heliostat::built_beside;
use heliostat_perf::versus::{Row, Versus};
use heliostat_testrepo::Spec;

/// Compare the processor time that a clone costs: Heliostat, and git http-backend behind Apache, taking turns
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// The server; if left out, the one beside this program (cargo build --release -p heliostat)
    #[arg(long)]
    heliostat: Option<PathBuf>,
    /// How large the repository is
    #[arg(long, value_enum, default_value = "medium")]
    preset: Preset,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// Turns of each server for each kind of clone
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    /// Seconds that a turn lasts, about
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    Small,
    Medium,
    Million,
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let spec = match arguments.preset {
        Preset::Small => Spec::small(arguments.seed),
        Preset::Medium => Spec::medium(arguments.seed),
        Preset::Million => Spec::million(arguments.seed),
    };
    let versus = Versus {
        heliostat: arguments.heliostat.clone().map_or_else(built_beside, Ok)?,
        spec,
        clients: arguments.clients,
        turns: arguments.turns,
        turn: Duration::try_from_secs_f64(arguments.seconds).map_err(io::Error::other)?,
    };
    let folder = heliostat_perf::readable_folder()?;
    if !arguments.json {
        println!("             processor ms a clone                 MB a clone          clones/s    others' share");
        println!(
            "{:12} {:>9} {:>9} {:>6} {:>9} {:>9} {:>8} {:>8} {:>7} {:>7}",
            "", "stock", "ours", "ratio", "stock", "ours", "stock", "ours", "stock", "ours"
        );
    }
    let rows = versus.run(folder.path(), |row| {
        if !arguments.json {
            print(row);
        }
    })?;
    if arguments.json {
        println!("{:#}", serde_json::json!(rows));
    }
    Ok(())
}

fn print(Row { kind, stock, heliostat: ours, ratio }: &Row) {
    println!(
        "{kind:12} {:9.1} {:9.1} {ratio:6.2} {:9.3} {:9.3} {:8.2} {:8.2} {:7.2} {:7.2}",
        stock.cpu_ms,
        ours.cpu_ms,
        stock.bytes as f64 / 1e6,
        ours.bytes as f64 / 1e6,
        stock.clones_per_second,
        ours.clones_per_second,
        stock.foreign_share,
        ours.foreign_share
    );
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}
