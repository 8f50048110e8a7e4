//! `distance`: what strict, lease and eventual cost when the upstream is far away.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use heliostat_perf::distance::{Crowd, Distance, Row};
use heliostat_perf::heliostat::built_beside;
use heliostat_testrepo::Spec;

/// Clone from a mirror whose upstream is far away, in each mode of freshness, by one client and by many at once; exits 1
/// if a mode asks the upstream for more than it should, or a client alone waits longer for it than it should
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// The server; if left out, the one beside this program (cargo build --release -p heliostat)
    #[arg(long)]
    heliostat: Option<PathBuf>,
    /// To the upstream and back, in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    round_trip: u64,
    /// Clones by one client
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    clones: u32,
    /// Seconds that it pauses before each, where it is alone: longer than capabilities are told without a question
    #[arg(long, default_value_t = 6.0)]
    pause: f64,
    /// Clients at once
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: u32,
    /// What a client alone may wait longer for references in strict than in eventual, in round trips, by the median
    #[arg(long, default_value_t = TRIPS)]
    trips: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One question takes three: a new connection, its first request, its second. After a pause there are two, one for each
/// request of the client, and something is left for the work of both sides.
const TRIPS: f64 = 7.0;

fn run(arguments: &Arguments) -> io::Result<Vec<String>> {
    let distance = Distance {
        heliostat: arguments.heliostat.clone().map_or_else(built_beside, Ok)?,
        round_trip: Duration::from_millis(arguments.round_trip),
        spec: Spec::small(arguments.seed),
        clones: arguments.clones,
        pause: Duration::try_from_secs_f64(arguments.pause).map_err(io::Error::other)?,
        clients: arguments.clients,
    };
    let folder = heliostat_perf::readable_folder()?;
    if !arguments.json {
        println!("{:28}{:>30} {:>30} {:>21}", "", "ls-remote ms", "clone ms", "upstream");
        let times = format!("{:>10} {:>9} {:>9}", "p50", "max", "added");
        println!("{:20} {:>7}{times} {times} {:>8} {:>8} {:>11}", "", "clones", "requests", "a clone", "connections");
    }
    let mut nearest: Vec<Row> = Vec::new();
    let rows = distance.run(folder.path(), |row| {
        if row.mode == "eventual" {
            nearest.push(row.clone());
        }
        if !arguments.json {
            print(row, nearest.iter().find(|it| it.crowd == row.crowd).unwrap_or(row));
        }
    })?;
    if arguments.json {
        println!("{:#}", serde_json::json!(rows));
    }
    Ok(broken(&rows, arguments))
}

/// The claims that do not hold.
fn broken(rows: &[Row], arguments: &Arguments) -> Vec<String> {
    let find = |mode: &str, crowd| rows.iter().find(|row| row.mode == mode && row.crowd == crowd);
    let mut broken = Vec::new();
    for row in rows {
        let most = match (row.mode, row.crowd) {
            ("eventual", _) => 0,
            // They share questions: one for the capabilities, the one that was under way when some came, the next one;
            // and whether the repository is public.
            (_, Crowd::AtOnce) => 8,
            // One for the capabilities, one for the references, with two requests each; and whether it is public.
            (_, Crowd::Alone | Crowd::InARow) => 6 * row.clones,
        };
        let requests = row.upstream_requests;
        if requests > most {
            broken.push(format!("{} {:?}: {requests} requests to the upstream, {most} allowed", row.mode, row.crowd));
        }
    }
    for crowd in [Crowd::Alone, Crowd::InARow] {
        if let (Some(near), Some(strict)) = (find("eventual", crowd), find("strict", crowd)) {
            let added = (strict.ls_remote_ms[0] - near.ls_remote_ms[0]) / arguments.round_trip as f64;
            if added > arguments.trips {
                broken.push(format!("strict {crowd:?}: ls-remote takes {added:.1} round trips longer"));
            }
        }
    }
    broken
}

fn print(row: &Row, near: &Row) {
    let crowd = match row.crowd {
        Crowd::Alone => "alone",
        Crowd::InARow => "in a row",
        Crowd::AtOnce => "at once",
    };
    let times = |own: [f64; 2], near: [f64; 2]| format!("{:10.1} {:9.1} {:9.1}", own[0], own[1], own[0] - near[0]);
    println!(
        "{:10} {crowd:9} {:7}{} {} {:8} {:8.2} {:11}",
        row.mode,
        row.clones,
        times(row.ls_remote_ms, near.ls_remote_ms),
        times(row.clone_ms, near.clone_ms),
        row.upstream_requests,
        row.requests_per_clone(),
        row.upstream_connections
    );
}

fn main() -> ExitCode {
    let broken = match run(&Arguments::parse()) {
        Ok(broken) => broken,
        Err(error) => vec![error.to_string()],
    };
    broken.iter().for_each(|claim| eprintln!("distance: {claim}"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
