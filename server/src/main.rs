//! The `heliostat` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    heliostat::cli::run()
}
