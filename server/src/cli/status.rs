//! `heliostat status`: the node in a terminal, its repositories and what it is doing; or, where none runs, what lies in the
//! data directory.
//!
//! Exit codes: 0 it is told; 1 it can't be; 2 mistakes in the configuration or in how the command was called.

use super::{
    beside::{self, Client, Identity, Place},
    complain, say,
    settings::Settings,
    usage,
};
use crate::{admin::census::State, config::Overrides, holder::canonical};
use heliostat_core::store::Store;
use indicatif::{HumanBytes, HumanCount};
use serde_json::Value;
use std::{path::Path, process::ExitCode, time::Duration};

/// Show the running node, or what lies in the data directory
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    settings: Settings,
}

/// Runs to the end.
pub fn run(arguments: &Status) -> ExitCode {
    let asked = match arguments.settings.load_beside(Overrides::default()) {
        Ok(asked) => asked,
        Err(words) => return usage(&words),
    };
    let told = match Place::find(&asked, false) {
        Ok(Place::Beside(client, identity)) => of_node(&client, &identity),
        Ok(Place::Alone(store)) => {
            of_directory(&asked.node.data, &store);
            Ok(())
        }
        Err(refusal) => return beside::refused(refusal),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            complain(format_args!("heliostat: {words}"));
            ExitCode::FAILURE
        }
    }
}

fn of_node(client: &Client, identity: &Identity) -> Result<(), String> {
    let text = |name: &str| identity.document.get(name).and_then(Value::as_str).unwrap_or("?");
    let number = |name: &str| identity.document.get(name).and_then(Value::as_u64).unwrap_or_default();
    say(format_args!(
        "node      {} at {}, version {}, process {}, up {}",
        text("state"),
        client.address(),
        text("version"),
        number("process"),
        time(Duration::from_secs(number("uptime_seconds")))
    ));
    say(format_args!("upstream  {}", text("upstream")));
    say(format_args!("data      {}", text("data")));
    say(format_args!(
        "load      {} requests under way, {} connections, {} shards",
        number("requests"),
        number("connections"),
        number("shards")
    ));
    head();
    client.repositories(&mut |row| {
        let text = |name: &str| row.document.get(name).and_then(Value::as_str);
        let number = |name: &str| row.document.get(name).and_then(Value::as_u64);
        let confirmed = row.document.get("confirmed_seconds_ago").and_then(Value::as_f64);
        line(&Line {
            path: row.path.as_str(),
            state: text("state").unwrap_or("?"),
            confirmed: confirmed.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            refs: number("refs"),
            bytes: number("pack_bytes"),
            error: text("error"),
        });
    })?;
    let steps = client.steps();
    if !steps.is_empty() {
        say(format_args!("\nunder way"));
        steps.iter().for_each(|step| say(format_args!("{}", step.line())));
    }
    Ok(())
}

fn of_directory(data: &Path, store: &Store) {
    say(format_args!("node      none runs"));
    say(format_args!("data      {}", canonical(data).display()));
    head();
    for mirrored in store.all() {
        let snapshot = mirrored.snapshot();
        let bytes = |packs: &[std::sync::Arc<heliostat_core::pack::SealedPack>]| {
            packs.iter().map(|pack| pack.bytes().len() as u64).sum()
        };
        let damage = mirrored.damage();
        line(&Line {
            path: mirrored.path(),
            state: State::of(&mirrored, Duration::ZERO).word(),
            confirmed: None,
            refs: snapshot.as_ref().map(|snapshot| snapshot.refs.len() as u64),
            bytes: snapshot.as_ref().map(|snapshot| bytes(snapshot.objects.packs())),
            error: damage.as_ref().map(|damage| damage.as_str()),
        });
    }
}

/// One repository.
struct Line<'a> {
    path: &'a str,
    state: &'a str,
    confirmed: Option<Duration>,
    refs: Option<u64>,
    bytes: Option<u64>,
    error: Option<&'a str>,
}

fn head() {
    say(format_args!("\n{:<9} {:>10} {:>9} {:>11}  REPOSITORY", "STATE", "CONFIRMED", "REFS", "PACKS"));
}

fn line(line: &Line<'_>) {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    say(format_args!(
        "{:<9} {:>10} {:>9} {:>11}  {}{}",
        line.state,
        or_dash(line.confirmed.map(time)),
        or_dash(line.refs.map(|refs| HumanCount(refs).to_string())),
        or_dash(line.bytes.map(|bytes| HumanBytes(bytes).to_string())),
        line.path,
        line.error.map(|error| format!("  ({})", error.escape_debug())).unwrap_or_default()
    ));
}

/// A time in two or three characters and a unit.
fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
