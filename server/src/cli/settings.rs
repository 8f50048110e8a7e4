//! What `serve` and `sync` are told alike: the configuration file, and the flags that override it.

use crate::config::{Beside, Config, Mistake, Origin, Overrides, nearest};
use clap::CommandFactory;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

/// The flags that a node and a synchronisation without one have in common.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "HELIOSTAT_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to mirror: an http(s) URL or a folder of bare repositories
    #[arg(long, value_name = "URL", env = "HELIOSTAT_UPSTREAM")]
    pub upstream: Option<String>,
    /// What kind of upstream it is: git or directory; may be left out
    #[arg(long, value_name = "KIND", env = "HELIOSTAT_KIND")]
    pub kind: Option<String>,
    /// Where the mirrored repositories are kept (default: ./heliostat-data)
    #[arg(long, value_name = "DIR", env = "HELIOSTAT_DATA")]
    pub data: Option<String>,
    /// Where the node serves the admin API (default: 127.0.0.1:9090)
    #[arg(long, value_name = "ADDR", env = "HELIOSTAT_ADMIN_LISTEN")]
    pub admin_listen: Option<String>,
    /// Which repositories of a git upstream to mirror; may be repeated
    #[arg(long = "mirror", value_name = "PATTERN", env = "HELIOSTAT_MIRROR", value_delimiter = ',')]
    pub mirrors: Vec<String>,
}

impl Settings {
    /// The configuration with `others` and these flags laid over it; every mistake in it, a line each.
    pub fn load(&self, others: Overrides) -> Result<Config, Vec<String>> {
        let (text, overrides) = self.read(others)?;
        Config::load(&text, &overrides).map_err(|mistakes| in_words(&mistakes))
    }

    /// The same for a process that may find a node.
    pub fn load_beside(&self, others: Overrides) -> Result<Beside, Vec<String>> {
        for stray in stray_variables() {
            super::complain(format_args!("heliostat: warning: {stray}"));
        }
        let (text, overrides) = self.read(others)?;
        Config::load_beside(&text, &overrides).map_err(|mistakes| in_words(&mistakes))
    }

    fn read(&self, others: Overrides) -> Result<(String, Overrides), Vec<String>> {
        let text = match &self.config {
            Some(file) => {
                std::fs::read_to_string(file).map_err(|error| vec![format!("{}: {error}", file.display())])?
            }
            None => String::new(),
        };
        let mirrors = if self.mirrors.is_empty() { others.mirrors } else { self.mirrors.clone() };
        let overrides = Overrides {
            upstream: self.upstream.clone(),
            kind: self.kind.clone(),
            data: self.data.clone(),
            admin_listen: self.admin_listen.clone(),
            mirrors,
            proxies: proxy_variables(),
            ..others
        };
        Ok((text, overrides))
    }
}

/// The variables that name proxies, as they are.
fn proxy_variables() -> BTreeMap<String, String> {
    let names = |name: &str| name.to_ascii_lowercase().ends_with("_proxy");
    let text = |variable: OsString| variable.into_string().ok();
    std::env::vars_os()
        .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .filter(|(name, _)| names(name))
        .collect()
}

/// Mistakes, a line each. Where a flag was not given, it was the variable that stands for it that is wrong.
pub(super) fn in_words(mistakes: &[Mistake]) -> Vec<String> {
    let given: Vec<_> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let is_given = |flag: &str| given.iter().any(|word| word.split('=').next() == Some(flag));
    let in_words = |mistake: &Mistake| match mistake.origin {
        Origin::Flag(flag) if flag.starts_with("--") && !is_given(flag) => {
            let variable = format!("{VARIABLES}{}", flag[2..].replace('-', "_").to_uppercase());
            format!("{variable} ({flag}): {}", mistake.text)
        }
        _ => mistake.to_string(),
    };
    mistakes.iter().map(in_words).collect()
}

/// How the names of our own variables begin.
const VARIABLES: &str = "HELIOSTAT_";

/// Variables that look like ours and that nothing reads, a line each.
pub(super) fn stray_variables() -> Vec<String> {
    let command = super::Arguments::command();
    let arguments = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let known: BTreeSet<String> =
        arguments.filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())).collect();
    let given = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let stray = given.filter(|name| name.starts_with(VARIABLES) && !known.contains(name));
    let told = stray.map(|name| match nearest(&name, known.iter().map(String::as_str)) {
        Some(nearest) => format!("the environment's {name} is no setting; did you mean {nearest}?"),
        None => format!("the environment's {name} is no setting"),
    });
    told.collect()
}
