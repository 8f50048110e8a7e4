//! The command line: one file a subcommand.

mod beside;
mod check_config;
mod demo;
mod not_built;
mod purge;
mod serve;
mod settings;
mod status;
mod sync;
mod upload_pack;

use crate::{
    config::{Config, Upstream},
    upstream::DirectoryUpstream,
};
use clap::{Parser, Subcommand};
use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// A Git mirror: live copies of an upstream's repositories, served to CI fleets.
#[derive(Debug, Parser)]
#[command(name = "heliostat", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    CheckConfig(check_config::CheckConfig),
    Serve(Box<serve::Serve>),
    Sync(Box<sync::Sync>),
    Purge(purge::Purge),
    Status(status::Status),
    UploadPack(upload_pack::UploadPack),
    Demo(demo::Demo),
    #[command(hide = true)]
    Vet(not_built::NotBuilt),
    #[command(hide = true)]
    Farm(not_built::NotBuilt),
}

/// Parses the command line and runs what it names.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = crate::lost_pages::survive() {
        eprintln!("heliostat: a damaged pack would end this process: {error}");
    }
    match arguments.command {
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Sync(arguments) => sync::run(&arguments),
        Command::Purge(arguments) => purge::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::UploadPack(_) => upload_pack::run(&std::env::args_os().skip(2).collect::<Vec<_>>()),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Vet(arguments) => not_built::run("vet", &arguments),
        Command::Farm(arguments) => not_built::run("farm", &arguments),
    }
}

/// What is allowed and deserves a word at the start, of the configuration and of what it points to.
fn warnings(config: &Config) -> Vec<String> {
    let doubt = match &config.upstream {
        Upstream::Git { .. } => None,
        Upstream::Directory(folder) => DirectoryUpstream::doubt(folder),
    };
    config.warnings().into_iter().chain(doubt).collect()
}

/// A line on standard output. That nobody can read it (a full disk, a reader that left) changes nothing of what was
/// done, so it must neither fail nor panic.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on standard error, likewise.
fn complain(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Mistakes in a call or in the configuration, a line each, and the exit status that says so.
fn usage(mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        complain(format_args!("heliostat: {mistake}"));
    }
    ExitCode::from(2)
}
