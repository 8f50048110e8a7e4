//! `heliostat check-config FILE`: every mistake at once, each with its line.

use super::{complain, say};
use crate::config::{Config, Origin, Overrides};
use std::{path::PathBuf, process::ExitCode};

/// Check a configuration file and report every mistake with its line
#[derive(Debug, clap::Args)]
pub struct CheckConfig {
    /// The configuration file
    file: PathBuf,
}

/// 0: sound; 1: mistakes, on standard error; 2: the file can't be read.
pub fn run(arguments: &CheckConfig) -> ExitCode {
    let name = arguments.file.display();
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => {
            complain(format_args!("{name}: {error}"));
            return ExitCode::from(2);
        }
    };
    match Config::load(&text, &Overrides::default()) {
        Ok(config) => {
            for warning in super::warnings(&config) {
                complain(format_args!("{name}: warning: {warning}"));
            }
            say(format_args!("{name}: sound"));
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                match mistake.origin {
                    Origin::Line(line) => complain(format_args!("{name}:{line}: {}", mistake.text)),
                    _ => complain(format_args!("{name}: {}", mistake.text)),
                }
            }
            ExitCode::FAILURE
        }
    }
}
