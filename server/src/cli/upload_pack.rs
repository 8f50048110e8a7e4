//! `heliostat upload-pack`: the engine on any bare repository's standard input and output, a stand-in for
//! `git-upload-pack`.
//!
//! Exit codes and error texts are stock Git's: 128 with `fatal: …`, 129 with the usage. What the repository's
//! configuration sets and is not honoured is warned of. One view of the repository is taken at the start and kept: only
//! when an object has vanished since (a concurrent `git gc`), the objects are listed anew, once.

mod arguments;
mod deadline;
mod output;
mod pack;

use arguments::{Arguments, Usage};
use deadline::Deadline;
use heliostat_core::{
    ObjectId,
    objects::Database,
    protocol::{Event, Phase, Policy, Session, Version, View},
    refs::RefTable,
    repository::{ConfigurationError, Environment, OpenError, Repository, Scope, Service},
};
use output::{Output, WriteError};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::AtomicBool,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Serve one repository on standard input and output, as git-upload-pack does
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct UploadPack {
    /// `[--[no-]strict] [--timeout=<n>] [--stateless-rpc] [--advertise-refs] <directory>`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// `git-upload-pack`'s exit code for everything that begins with `fatal:`.
const FATAL: u8 = 128;
/// Its exit code for a wrong command line.
const WRONG_USAGE: u8 = 129;
/// A client that has been refused gets this long to read why and to hang up.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest line on standard error, in Git too.
const COMPLAINT_BYTES_MAX: usize = 4_095;
/// Bytes read at once.
const INPUT_BYTES: usize = 64 << 10;

/// Runs the command. `words` are all that stand behind its name: of [`UploadPack`], a first `--` is missing.
pub fn run(words: &[OsString]) -> ExitCode {
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(Usage::Help(text)) => {
            print!("{text}");
            return ExitCode::from(WRONG_USAGE);
        }
        Err(Usage::Wrong(text)) => {
            tell(&text);
            return ExitCode::from(WRONG_USAGE);
        }
        Err(Usage::Ambiguous(text)) => {
            tell(&text);
            print!("{}", arguments::USAGE);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Fatal(words)) => {
            complain(&format!("fatal: {words}"));
            ExitCode::from(FATAL)
        }
        Err(Failure::Refused(words)) => {
            complain(&format!("error: {words}"));
            ExitCode::from(FATAL)
        }
        Err(Failure::Write(error)) => error.end(),
    }
}

/// Why the conversation ended early.
enum Failure {
    /// In Git's words.
    Fatal(String),
    /// The same, where Git says `error: `.
    Refused(String),
    /// The peer does not listen any more.
    Write(WriteError),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Configuration(error) => error.into(),
            error => Self::Fatal(error.to_string()),
        }
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        let told = format!("error: {error}");
        match error {
            ConfigurationError::BadOverride(_) => {
                complain(&told);
                Self::Fatal("unable to parse command-line config".into())
            }
            ConfigurationError::MissingValue { key, scope: Scope::Command } => {
                complain(&told);
                Self::Fatal(format!("unable to parse '{key}' from command-line config"))
            }
            ConfigurationError::MissingValue { key, .. } => {
                complain(&told);
                Self::Fatal(format!("bad config variable '{key}'"))
            }
            ConfigurationError::BadInclude { line, file, .. } => {
                complain(&told);
                Self::Fatal(ConfigurationError::BadLine { line, file }.to_string())
            }
            error => Self::Fatal(error.to_string()),
        }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

/// All that a conversation needs to know of the repository, read once.
struct Opened {
    repository: Repository,
    service: Service,
    policy: Policy,
    refs: RefTable,
    hidden: Vec<ObjectId>,
    objects: Database,
    shallow: BTreeSet<ObjectId>,
    stop: AtomicBool,
}

impl Opened {
    fn open(arguments: &Arguments, environment: &Environment) -> Result<Self, Failure> {
        let repository = Repository::open(&arguments.directory, environment, arguments.strict)?;
        let agent = match environment.get("GIT_USER_AGENT") {
            Some(agent) => sanitized(&agent.to_string()),
            None => concat!("heliostat/", env!("CARGO_PKG_VERSION")).into(),
        };
        let mut service = Service::from_configuration(repository.configuration(), environment, agent)?;
        let advertises = arguments.advertise_refs || !arguments.stateless_rpc;
        if let Some(error) = service.wrong_in_v2.take()
            && version_in(environment) == Version::V2
            && advertises
        {
            return Err(error.into());
        }
        for key in &service.ignored {
            complain(&format!("warning: {key} is not honoured"));
        }
        let (objects, complaints) = repository.objects()?;
        let references = repository.references(&service.hidden_refs, Some(&objects))?;
        let borrowed = &repository.object_directories().complaints;
        for complaint in borrowed.iter().chain(&complaints).chain(&references.complaints) {
            complain(complaint);
        }
        let shallow = repository.shallow()?;
        let mut policy = service.policy.clone();
        policy.session_id = service.session_id.then(session_id);
        Ok(Self {
            refs: references.table,
            hidden: references.hidden,
            objects,
            shallow,
            policy,
            service,
            repository,
            stop: AtomicBool::new(false),
        })
    }

    /// Git calls it an error, not fatal, when a want that is here is not granted.
    fn failure(&self, words: String) -> Failure {
        let refused = words.strip_prefix("git upload-pack: not our ref ");
        let refused = refused.and_then(|id| ObjectId::from_hex(id.as_bytes()).ok());
        match refused {
            Some(id) if self.objects.number(&id).is_some() => Failure::Refused(words),
            _ => Failure::Fatal(words),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            refs: &self.refs,
            hidden: &self.hidden,
            recent: &[],
            pending: None,
            objects: &self.objects,
            shallow: &self.shallow,
            policy: &self.policy,
            stop: &self.stop,
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), Failure> {
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let environment = Environment::new(std::env::vars_os(), directory, rustix::process::geteuid().as_raw());
    let opened = Opened::open(arguments, &environment)?;
    let mut output = Output::standard().map_err(|error| Failure::Fatal(format!("standard output: {error}")))?;
    let deadline = Deadline::after(arguments.timeout);
    let phase = match (arguments.advertise_refs, arguments.stateless_rpc) {
        (true, _) => Phase::Advertise,
        (false, true) => Phase::Stateless,
        (false, false) => Phase::Duplex,
    };
    let mut session = Session::new(version_in(&environment), phase);
    let mut input = vec![0; INPUT_BYTES];
    loop {
        deadline.postpone();
        match session.poll(&opened.view()) {
            Event::Send(bytes) => output.write(&bytes)?,
            // Not this policy's; else all that can be said of it.
            Event::Absent(_) => session.deny(),
            Event::NeedInput => match io::stdin().lock().read(&mut input) {
                Ok(0) => session.finish_input(),
                Ok(count) => session.receive(&input[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Fatal(format!("read error: {error}"))),
            },
            Event::Pack(order) => match pack::send(&order, &opened, &mut output, &deadline)? {
                Ok(()) => session.pack_sent(),
                Err(fault) => session.pack_failed(fault),
            },
            Event::End(None) => return Ok(()),
            Event::End(Some(fault)) => {
                if phase == Phase::Duplex {
                    linger();
                }
                return Err(opened.failure(fault.detail));
            }
        }
    }
}

/// Reads what a refused client still sends, until it hangs up: if we did first, it could die of writing to us before it
/// has read why.
fn linger() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _until_the_end = sender;
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    });
    let _ = receiver.recv_timeout(LINGER_TIME_MAX);
}

/// One line on standard error.
fn complain(line: &str) {
    tell(&format!("{}\n", cut(line)));
}

/// Standard error, in one piece: the client writes to the same terminal.
fn tell(text: &str) {
    // Nobody is left to tell if that fails.
    let _ = io::stderr().write_all(printable(text).as_bytes());
}

/// As Git says it: what could control a terminal becomes a question mark.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_control() && c != '\t' && c != '\n' { '?' } else { c }).collect()
}

/// As much of a line as Git says.
fn cut(line: &str) -> &str {
    let end = (0..=COMPLAINT_BYTES_MAX.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
    &line[..end.unwrap_or_default()]
}

/// The version in which the client wants to be answered.
fn version_in(environment: &Environment) -> Version {
    environment.get("GIT_PROTOCOL").map_or(Version::V0, |value| version_of(value))
}

/// The highest version that is named among `GIT_PROTOCOL`'s colon-separated keys and is known.
fn version_of(value: &[u8]) -> Version {
    let named = value.split(|byte| *byte == b':').filter_map(|key| match key {
        b"version=0" => Some(Version::V0),
        b"version=1" => Some(Version::V1),
        b"version=2" => Some(Version::V2),
        _ => None,
    });
    named.max().unwrap_or_default()
}

/// As Git does with its user agent: what is not printable becomes a dot.
fn sanitized(agent: &str) -> String {
    agent.trim().chars().map(|c| if c.is_ascii_graphic() { c } else { '.' }).collect()
}

/// Unique enough to find a conversation in two logs.
fn session_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}.{:06x}-P{:08x}", now.as_secs(), now.subsec_micros(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_known_version_counts() {
        for (value, version) in [
            ("", Version::V0),
            ("version=1", Version::V1),
            ("version=2", Version::V2),
            ("version=1:version=2:version=0", Version::V2),
            ("foo:version=2:bar=1", Version::V2),
            ("version=3", Version::V0),
            ("version=1:version=7", Version::V1),
            ("version=22", Version::V0),
        ] {
            assert_eq!(version_of(value.as_bytes()), version, "{value}");
        }
    }
}
