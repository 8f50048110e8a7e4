//! A real HTTP proxy on a loopback port, with all of its files in the sandbox.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::process::{Guarded, SERVER_TIMEOUT, free_port, hermetic, wait_until};

const PROGRAM: &str = "/usr/bin/tinyproxy";

/// Tinyproxy, running.
pub struct Tinyproxy {
    folder: PathBuf,
    port: u16,
    _process: Guarded,
}

impl Tinyproxy {
    /// For everybody, or for who shows this user name and password.
    pub fn start(folder: &Path, credentials: Option<(&str, &str)>) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: the end-to-end tests need Debian's tinyproxy-bin; ./check installs it"
        );
        let port = free_port();
        let credentials =
            credentials.map_or_else(String::new, |(user, password)| format!("BasicAuth {user} {password}\n"));
        let configuration = folder.join("tinyproxy.conf");
        let log = folder.join("tinyproxy.log");
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\nLogLevel Connect\n\
             LogFile \"{}\"\n{credentials}",
            log.display()
        );
        std::fs::write(&configuration, text).expect("the sandbox is writable");
        let mut command = hermetic(PROGRAM, folder);
        command.arg("-d").arg("-c").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Guarded::start(&mut command);
        wait_until("tinyproxy listens", SERVER_TIMEOUT, || {
            assert!(process.ended().is_none(), "tinyproxy does not come up");
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { folder: folder.into(), port, _process: process }
    }

    /// Where it is, with what stands before the `@`.
    pub fn url(&self, credentials: &str) -> String {
        let at = if credentials.is_empty() { "" } else { "@" };
        format!("http://{credentials}{at}127.0.0.1:{}", self.port)
    }

    /// How many requests it has been sent that begin so.
    pub fn requests(&self, begin: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.join("tinyproxy.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("Request (") && line.contains(&format!(": {begin}"))).count()
    }
}
