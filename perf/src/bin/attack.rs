//! `attack`: what attackers of a mirror do to others, to its memory and to its upstream.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use heliostat_perf::attack::{Attack, Attacks, Row, SINK_FLAG, discard};
use heliostat_perf::heliostat::{Mode, built_beside};
use heliostat_testrepo::Spec;

/// Attack a mirror, kind after kind, while others ask it for references; exits 1 if they wait too much longer than while
/// the same attackers aim at a socket that discards, or are not answered, or if the mirror takes more memory or asks its
/// upstream for more than it may, or answers a request that was hidden behind another
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// The server; if left out, the one beside this program (cargo build --release -p heliostat)
    #[arg(long)]
    heliostat: Option<PathBuf>,
    /// Which attacks
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = ATTACKS)]
    attacks: Vec<Attack>,
    /// How the mirror asks its upstream
    #[arg(long, value_enum, default_value = "strict")]
    freshness: Mode,
    /// ls-refs of the others a second
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds that each attack lasts, in each turn, on each of its targets
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How often the two targets take turns
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Slow connections
    #[arg(long, default_value_t = 10_000)]
    slow: usize,
    /// So many times the requests of each attack (20 ids, 50 paths, 50 passwords, 4 bombs, 50 smugglers a second)
    #[arg(long, default_value_t = 1.0)]
    intensity: f64,
    /// How many times longer the others may wait, at the 99th percentile
    #[arg(long, default_value_t = 3.0)]
    ratio: f64,
    /// The bound on memory, in MB (a million bytes)
    #[arg(long, default_value_t = 600)]
    memory: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const ATTACKS: [Attack; 8] = [
    Attack::Nothing,
    Attack::Ids,
    Attack::Paths,
    Attack::Passwords,
    Attack::Slow,
    Attack::Bombs,
    Attack::Smuggling,
    Attack::All,
];
const MB: u64 = 1_000_000;
/// Of the ordinary clients' own requests to the upstream the two turns of an attack need not have quite the same number.
const UPSTREAM_SLACK: u64 = 50;

fn run(arguments: &Arguments) -> io::Result<Vec<String>> {
    let attacks = Attacks {
        heliostat: arguments.heliostat.clone().map_or_else(built_beside, Ok)?,
        attacks: arguments.attacks.clone(),
        mode: arguments.freshness,
        spec: Spec::small(arguments.seed),
        per_second: arguments.rate,
        time: Duration::try_from_secs_f64(arguments.seconds).map_err(io::Error::other)?,
        turns: arguments.turns,
        slow: arguments.slow,
        intensity: arguments.intensity,
    };
    let folder = heliostat_perf::readable_folder()?;
    if !arguments.json {
        println!(
            "{:10} {:>23} {:>23} {:>6} {:>7} {:>9} {:>19}  answers",
            "", "discarded ms p50, p99", "attacked ms p50, p99", "ratio", "failed", "memory MB", "upstream, allowed"
        );
    }
    let rows = attacks.run(folder.path(), |row| {
        if !arguments.json {
            print(row);
        }
    })?;
    if arguments.json {
        println!("{:#}", serde_json::json!(rows));
    }
    Ok(rows.iter().flat_map(|row| broken(row, arguments)).collect())
}

/// The claims that do not hold.
fn broken(row: &Row, arguments: &Arguments) -> Vec<String> {
    let name = format!("{:?}", row.attack).to_lowercase();
    let claims = [
        (row.ratio() <= arguments.ratio, format!("others wait {:.1} times as long", row.ratio())),
        (row.failed == 0, format!("{} of the others' requests failed", row.failed)),
        (row.memory_bytes <= arguments.memory * MB, format!("{} MB of memory", row.memory_bytes / MB)),
        (
            row.upstream_requests <= row.upstream_requests_max + UPSTREAM_SLACK,
            format!("{} requests to the upstream", row.upstream_requests),
        ),
        (row.smuggled == 0, format!("{} requests got through behind another", row.smuggled)),
    ];
    claims.into_iter().filter(|(holds, _)| !holds).map(|(_, words)| format!("{name}: {words}")).collect()
}

fn print(row: &Row) {
    let times = |it: heliostat_loadtest::Percentiles| format!("{:11.1} {:11.1}", it.p50_ms, it.p99_ms);
    let mut answers: Vec<String> = row.answers.iter().map(|(status, count)| format!("{count} x {status}")).collect();
    if row.slow_open > 0 {
        answers.push(format!("{} slow ones open", row.slow_open));
    }
    println!(
        "{:10} {} {} {:6.2} {:7} {:9} {:9} {:9}  {}",
        format!("{:?}", row.attack).to_lowercase(),
        times(row.discarded),
        times(row.attacked),
        row.ratio(),
        row.failed,
        row.memory_bytes / MB,
        row.upstream_requests,
        row.upstream_requests_max,
        answers.join(", ")
    );
}

fn main() -> ExitCode {
    // The program is its own second target.
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(SINK_FLAG) {
        let port = words.next().and_then(|port| port.parse().ok());
        let ended = port.ok_or_else(|| io::Error::other("no port")).and_then(discard);
        return if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let broken = match run(&Arguments::parse()) {
        Ok(broken) => broken,
        Err(error) => vec![error.to_string()],
    };
    broken.iter().for_each(|claim| eprintln!("attack: {claim}"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
