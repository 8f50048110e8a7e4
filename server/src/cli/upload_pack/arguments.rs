//! The command line of `git-upload-pack`: Git's own rules (unambiguous abbreviations, options anywhere, `--no-`), and
//! its own texts.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

pub(super) const USAGE: &str = "\
usage: git-upload-pack [--[no-]strict] [--timeout=<n>] [--stateless-rpc]
                       [--advertise-refs] <directory>

    --[no-]stateless-rpc  quit after a single request/response exchange
    --[no-]strict         do not try <directory>/.git/ if <directory> is no Git directory
    --[no-]timeout <n>    interrupt transfer after <n> seconds of inactivity

";

/// The aliases are told only when the directory is missing.
const USAGE_WITH_ALIAS: &str = "\
usage: git-upload-pack [--[no-]strict] [--timeout=<n>] [--stateless-rpc]
                       [--advertise-refs] <directory>

    --[no-]stateless-rpc  quit after a single request/response exchange
    --[no-]advertise-refs ...
                          alias of --http-backend-info-refs
    --[no-]strict         do not try <directory>/.git/ if <directory> is no Git directory
    --[no-]timeout <n>    interrupt transfer after <n> seconds of inactivity

";

/// And what `--help-all` tells besides.
const USAGE_WHOLE: &str = "\
usage: git-upload-pack [--[no-]strict] [--timeout=<n>] [--stateless-rpc]
                       [--advertise-refs] <directory>

    --[no-]stateless-rpc  quit after a single request/response exchange
    --[no-]http-backend-info-refs
                          serve up the info/refs for git-http-backend
    --[no-]advertise-refs alias of --http-backend-info-refs
    --[no-]strict         do not try <directory>/.git/ if <directory> is no Git directory
    --[no-]timeout <n>    interrupt transfer after <n> seconds of inactivity

";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) directory: PathBuf,
    pub(super) strict: bool,
    pub(super) stateless_rpc: bool,
    pub(super) advertise_refs: bool,
    /// Inactivity after which the process ends.
    pub(super) timeout: Option<Duration>,
}

/// Why nothing is served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Asked for: on standard output.
    Help(String),
    /// A mistake: on standard error.
    Wrong(String),
    /// An abbreviation of several options: which, on standard error, and the usage on standard output.
    Ambiguous(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    StatelessRpc,
    AdvertiseRefs,
    Strict,
    Timeout,
}

const FLAGS: [(&str, Flag); 5] = [
    ("stateless-rpc", Flag::StatelessRpc),
    ("http-backend-info-refs", Flag::AdvertiseRefs),
    ("advertise-refs", Flag::AdvertiseRefs),
    ("strict", Flag::Strict),
    ("timeout", Flag::Timeout),
];

impl Arguments {
    pub(super) fn parse(arguments: &[OsString]) -> Result<Self, Usage> {
        let mut parsed = Self::default();
        let mut directories = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(option) = argument.as_bytes().strip_prefix(b"-").filter(|option| !option.is_empty()) else {
                directories.push(PathBuf::from(argument));
                continue;
            };
            let Some(long) = option.strip_prefix(b"-") else {
                if is_long_with_one_dash(option) {
                    let option = String::from_utf8_lossy(option);
                    return Err(Usage::Wrong(format!("error: did you mean `--{option}` (with two dashes)?\n")));
                }
                if option[0] == b'h' {
                    return Err(Usage::Help(USAGE.into()));
                }
                let switch = String::from_utf8_lossy(option).chars().next().unwrap_or_default();
                return Err(Usage::Wrong(format!("error: unknown switch `{switch}'\n{USAGE}")));
            };
            if long.is_empty() || long == b"end-of-options" {
                directories.extend(rest.by_ref().map(PathBuf::from));
                break;
            }
            let long = String::from_utf8_lossy(long);
            if long == "help" {
                return Err(Usage::Help(USAGE.into()));
            }
            if long == "help-all" {
                return Err(Usage::Help(USAGE_WHOLE.into()));
            }
            let (name, value) = long.split_once('=').map_or((&*long, None), |(name, value)| (name, Some(value)));
            let (full, flag, on) = match find(name) {
                Found::One(full, flag, on) => (full, flag, on),
                Found::None => return Err(Usage::Wrong(format!("error: unknown option `{long}'\n{USAGE}"))),
                Found::Several(first, last) => {
                    let words = format!("error: ambiguous option: {long} (could be --{first} or --{last})\n");
                    return Err(Usage::Ambiguous(words));
                }
            };
            if flag == Flag::Timeout && on {
                let value = match value {
                    Some(value) => Some(value.to_owned()),
                    None => rest.next().map(|value| value.to_string_lossy().into_owned()),
                };
                let Some(value) = value else {
                    return Err(Usage::Wrong(format!("error: option `{full}' requires a value\n")));
                };
                parsed.timeout = seconds(&value).map_err(Usage::Wrong)?;
                continue;
            }
            if value.is_some() {
                let no = if on { "" } else { "no-" };
                return Err(Usage::Wrong(format!("error: option `{no}{full}' takes no value\n")));
            }
            match flag {
                Flag::StatelessRpc => parsed.stateless_rpc = on,
                Flag::AdvertiseRefs => parsed.advertise_refs = on,
                Flag::Strict => parsed.strict = on,
                Flag::Timeout => parsed.timeout = None,
            }
        }
        match <[PathBuf; 1]>::try_from(directories) {
            Ok([directory]) => Ok(Self { directory, ..parsed }),
            Err(_) => Err(Usage::Wrong(USAGE_WITH_ALIAS.into())),
        }
    }
}

/// Whether `option`, which stands behind one dash, was meant for behind two.
fn is_long_with_one_dash(option: &[u8]) -> bool {
    option.len() >= 3
        && (option.starts_with(b"no-") || FLAGS.iter().any(|(name, _)| name.as_bytes().starts_with(option)))
}

enum Found {
    /// Its full name, and whether it is set or unset.
    One(&'static str, Flag, bool),
    Several(String, String),
    None,
}

/// The option of that name, or of which it is an unambiguous beginning.
fn find(name: &str) -> Found {
    let (stem, on) = name.strip_prefix("no-").map_or((name, true), |stem| (stem, false));
    if let Some((full, flag)) = FLAGS.iter().find(|(full, _)| *full == stem) {
        return Found::One(full, *flag, on);
    }
    let mut found = FLAGS.iter().filter(|(full, _)| !stem.is_empty() && full.starts_with(stem));
    let no = if on { "" } else { "no-" };
    match (found.next(), found.next_back()) {
        (Some((full, flag)), None) => Found::One(full, *flag, on),
        (Some((first, _)), Some((last, _))) => Found::Several(format!("{no}{first}"), format!("{no}{last}")),
        (None, _) => Found::None,
    }
}

/// Seconds, without units. Zero, and what is negative: none.
fn seconds(value: &str) -> Result<Option<Duration>, String> {
    let number: i64 = value.parse().map_err(|_| "error: option `timeout' expects a numerical value\n")?;
    Ok(u64::try_from(number).ok().filter(|number| *number > 0).map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn parse(arguments: &[&str]) -> Result<Arguments, Usage> {
        Arguments::parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_as_git_reads_them() {
        let plain = Arguments { directory: "x".into(), ..Arguments::default() };
        let timeout = |seconds| Some(Duration::from_secs(seconds));
        for (arguments, expected) in [
            (&["x"][..], plain.clone()),
            (&["--strict", "x"], Arguments { strict: true, ..plain.clone() }),
            (&["x", "--strict", "--no-strict"], plain.clone()),
            (&["--http-backend-info-refs", "x"], Arguments { advertise_refs: true, ..plain.clone() }),
            (&["--adv", "--stateless", "x"], Arguments { advertise_refs: true, stateless_rpc: true, ..plain.clone() }),
            (&["--timeout=5", "x"], Arguments { timeout: timeout(5), ..plain.clone() }),
            (&["--timeout", "10", "x"], Arguments { timeout: timeout(10), ..plain.clone() }),
            (&["--timeout=5", "--no-timeout", "x"], plain.clone()),
            (&["--timeout=0", "x"], plain.clone()),
            (&["--", "--strict"], Arguments { directory: "--strict".into(), ..plain.clone() }),
            (&["--end-of-options", "--"], Arguments { directory: "--".into(), ..plain.clone() }),
        ] {
            assert_eq!(parse(arguments), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn mistakes_are_answered_in_the_words_of_git() {
        for arguments in [
            &[][..],
            &["a", "b"],
            &["--nonsense", "x"],
            &["-x", "y"],
            &["-h"],
            &["-hx", "y"],
            &["x", "-h"],
            &["--help-all"],
            &["x", "--help-all", "--nonsense"],
            &["--no-help-all"],
            &["-strict", "x"],
            &["-st", "x"],
            &["-no-strict", "x"],
            &["--st", "x"],
            &["--timeout=x", "y"],
            &["--timeout=1k", "y"],
            &["--timeout"],
            &["--strict=1", "x"],
        ] {
            let stock = Command::new("git").arg("upload-pack").args(arguments).output().unwrap();
            let (out, err) = match parse(arguments) {
                Err(Usage::Help(text)) => (text, String::new()),
                Err(Usage::Wrong(text)) => (String::new(), text),
                Err(Usage::Ambiguous(text)) => (USAGE.to_owned(), text),
                Ok(parsed) => panic!("{arguments:?} is accepted: {parsed:?}"),
            };
            assert_eq!(out, String::from_utf8_lossy(&stock.stdout), "{arguments:?}");
            assert_eq!(err, String::from_utf8_lossy(&stock.stderr), "{arguments:?}");
        }
    }
}
