//! The `heliostat` command.

use std::process::ExitCode;

/// Gives memory back soon after a large plan or ingest. The C library's keeps it: after mirroring and cloning a million
/// objects, 232 MB of what nobody used any more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    heliostat::cli::run()
}
