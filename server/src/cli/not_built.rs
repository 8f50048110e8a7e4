//! Subcommands that are planned and not built: refused in words, whatever stands behind them, and hidden from `--help`.
//! Flags of that kind are hidden arguments of the subcommands that will have them, and mistakes of the configuration.

use super::complain;
use std::{ffi::OsString, process::ExitCode};

/// Not built yet
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct NotBuilt {
    /// Whatever it will understand one day
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Says so. 2: a mistake in the call.
pub fn run(name: &str, NotBuilt { words: _ }: &NotBuilt) -> ExitCode {
    complain(format_args!("heliostat: `heliostat {name}` is not built yet"));
    ExitCode::from(2)
}
