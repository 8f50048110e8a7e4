//! `heliostat check-config FILE`: every mistake at once, each with its line.

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
            eprintln!("{name}: {error}");
            return ExitCode::from(2);
        }
    };
    match Config::load(&text, &Overrides::default()) {
        Ok(config) => {
            for warning in config.warnings() {
                eprintln!("{name}: warning: {warning}");
            }
            println!("{name}: sound");
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                match mistake.origin {
                    Origin::Line(line) => eprintln!("{name}:{line}: {}", mistake.text),
                    _ => eprintln!("{name}: {}", mistake.text),
                }
            }
            ExitCode::FAILURE
        }
    }
}
