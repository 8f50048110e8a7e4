//! `scale`: a million objects and 200,000 references, mirrored and cloned by sixteen clients at once.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use heliostat_loadtest::CloneKind;
use heliostat_perf::heliostat::built_beside;
use heliostat_perf::scale::{Scale, Source};
use heliostat_testrepo::Spec;

/// Mirror one large generated repository, clone it with real Git, then with many clients at once; exits 1 if the
/// server's memory exceeds the bound or a clone is not sound
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// The server; if left out, the one beside this program (cargo build --release -p heliostat)
    #[arg(long)]
    heliostat: Option<PathBuf>,
    /// How large the repository is
    #[arg(long, value_enum, default_value = "million")]
    preset: Preset,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A real repository instead of a generated one: a bundle or a bare repository
    #[arg(long, value_name = "BUNDLE|DIR", conflicts_with = "preset")]
    from: Option<PathBuf>,
    /// Mirror it from Apache with git http-backend instead of from the folder
    #[arg(long)]
    apache: bool,
    /// Clients at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,
    /// The bound on memory, in MB (a million bytes)
    #[arg(long, default_value_t = 300)]
    memory: u64,
    /// Where to work, made and left there; a temporary folder if left out
    #[arg(long)]
    directory: Option<PathBuf>,
}

const MB: u64 = 1_000_000;

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    Small,
    Medium,
    Million,
}

fn run(arguments: Arguments) -> io::Result<bool> {
    let source = match (arguments.from, arguments.preset) {
        (Some(from), _) => Source::Clone(from),
        (None, Preset::Small) => Source::Spec(Box::new(Spec::small(arguments.seed))),
        (None, Preset::Medium) => Source::Spec(Box::new(Spec::medium(arguments.seed))),
        (None, Preset::Million) => Source::Spec(Box::new(Spec::million(arguments.seed))),
    };
    let scale = Scale {
        heliostat: arguments.heliostat.map_or_else(built_beside, Ok)?,
        source,
        apache: arguments.apache,
        clients: arguments.clients,
        kinds: vec![CloneKind::Mirror, CloneKind::Full, CloneKind::Depth1, CloneKind::BlobNone],
    };
    let temporary = tempfile::tempdir()?;
    let folder = arguments.directory.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    // Apache's workers are another user, who has to read it.
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let measured = scale.run(&folder)?;
    println!("{:#}", serde_json::json!(measured));
    for (peak, report) in &measured.fleets {
        print!("{report}");
        println!("  memory at most {} MB", peak / MB);
    }
    println!("all of these at once: memory at most {} MB", measured.mixed_memory_bytes / MB);
    Ok(measured.peak_memory_bytes() < arguments.memory * MB)
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("scale: more memory than the bound");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}
