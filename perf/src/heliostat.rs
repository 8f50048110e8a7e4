//! The server under measurement: a built `heliostat`, mirroring one upstream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use crate::apache::{PASSWORD, USER};
use crate::git::hermetic;
use crate::process::{Server, free_port};

/// How long the first mirroring of a repository may take.
const MIRROR_TIME: Duration = Duration::from_secs(30 * 60);

/// A `heliostat serve` that runs.
pub struct Heliostat {
    /// Its process.
    pub server: Server,
    port: u16,
    log: PathBuf,
}

impl Heliostat {
    /// Mirrors all of `upstream`, a URL or a folder; `folder` is for its data and its log.
    pub fn start(program: &Path, folder: &Path, upstream: &str) -> io::Result<Self> {
        Self::start_with(program, folder, upstream, "")
    }

    /// The same with lines of configuration. They begin in the one `[[mirror]]` rule, which there is for a URL only.
    pub fn start_with(program: &Path, folder: &Path, upstream: &str, settings: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join("heliostat.toml");
        let rule = if upstream.contains("://") { "[[mirror]]\ninclude = [\"*\"]\n" } else { "" };
        fs::write(&file, format!("{rule}{settings}"))?;
        let (port, admin) = (free_port()?, free_port()?);
        let path = folder.join("heliostat.log");
        let log = fs::File::create(&path)?;
        let mut command = hermetic(program, folder);
        command.args(["serve", "--upstream", upstream, "--data"]).arg(folder.join("data"));
        command.arg("--config").arg(&file);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin-listen", &format!("127.0.0.1:{admin}")]);
        let mut server = Server::start(command.stdout(log.try_clone()?).stderr(log))
            .map_err(|error| io::Error::other(format!("{}: {error}", program.display())))?;
        let ready = server.wait_ready(|| matches!(status(port, "/status"), Ok(200)));
        ready.map_err(|error| io::Error::other(format!("{error}\n{}", tail(&path))))?;
        Ok(Self { server, port, log: path })
    }

    /// Base URL without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks for a repository's references until they come: then it is mirrored. In v0, whose first answer is not given
    /// before the objects are here.
    pub fn wait_mirrored(&self, repository: &str) -> io::Result<Duration> {
        let begin = Instant::now();
        let path = format!("/{repository}/info/refs?service=git-upload-pack");
        loop {
            match status(self.port, &path)? {
                200 => return Ok(begin.elapsed()),
                503 if begin.elapsed() < MIRROR_TIME => thread::sleep(Duration::from_millis(100)),
                code => return Err(io::Error::other(format!("{path}: status {code}\n{}", tail(&self.log)))),
            }
        }
    }
}

/// When the upstream is asked before references are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Each time.
    Strict,
    /// Once in ten seconds.
    Lease,
    /// By itself, in the background.
    Eventual,
}

impl Mode {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Lease => "lease",
            Self::Eventual => "eventual",
        }
    }
}

/// Lines of configuration by which the mirror is [`USER`] at the upstream; the password is kept in `folder`.
pub fn credentials(folder: &Path) -> io::Result<String> {
    let file = folder.join("credentials");
    fs::write(&file, format!("{USER}:{PASSWORD}"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    Ok(format!("[upstream]\ncredentials = {file:?}\n"))
}

/// The status that a GET is answered with.
fn status(port: u16, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    // To the end, so that the server sees no reset.
    io::copy(&mut stream, &mut io::sink())?;
    let code = head.strip_prefix(b"HTTP/1.1 ").and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
    code.ok_or_else(|| io::Error::other("not HTTP"))
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The server that was built beside this program.
pub fn built_beside() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("heliostat");
    if program.exists() {
        return Ok(program);
    }
    let path = program.display();
    Err(io::Error::other(format!("{path} is missing: cargo build --release -p heliostat, or name it with --heliostat")))
}
