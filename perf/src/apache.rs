//! Stock Git behind Debian's Apache: `git http-backend` as a CGI program, with all of its files in one folder.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::git::{Git, hermetic};
use crate::process::{Server, free_port};

const PROGRAM: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// The one user whom Apache knows, and who may write.
pub const USER: &str = "figures";
/// The user's password.
pub const PASSWORD: &str = "figures";
/// Its SHA-1 in base64, which is how Apache keeps it.
const PASSWORD_SHA1: &str = "bOJkKa2iXchSKq5Xw6p1GxwPY4c=";

/// Who may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody.
    All,
    /// Everybody, but for repositories below `private/`.
    AllButPrivate,
    /// [`USER`].
    User,
}

/// An Apache that runs.
pub struct Apache {
    /// Its processes.
    pub server: Server,
    port: u16,
    log: PathBuf,
}

impl Apache {
    /// Serves the bare repositories under `repositories` to everybody; `folder` is for its own files.
    pub fn start(folder: &Path, repositories: &Path, git: &Git) -> io::Result<Self> {
        Self::start_for(Readers::All, folder, repositories, git)
    }

    /// The same for these readers.
    pub fn start_for(readers: Readers, folder: &Path, repositories: &Path, git: &Git) -> io::Result<Self> {
        if !Path::new(PROGRAM).exists() {
            return Err(io::Error::other(format!("{PROGRAM} is missing: install Debian's apache2-bin")));
        }
        fs::create_dir_all(folder)?;
        let port = free_port()?;
        let file = folder.join("apache.conf");
        let passwords = folder.join("passwords");
        fs::write(&passwords, format!("{USER}:{{SHA}}{PASSWORD_SHA1}\n"))?;
        let protection = protection(readers, &passwords);
        fs::write(&file, configuration(folder, port, repositories, &git.http_backend()?, &protection))?;
        let error = fs::File::create(folder.join("apache.err"))?;
        let mut command = hermetic(PROGRAM, folder);
        command.arg("-f").arg(&file).arg("-DFOREGROUND").stdout(error.try_clone()?).stderr(error);
        let mut server = Server::start(&mut command)?;
        server.wait_ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { server, port, log: folder.join("access.log") })
    }

    /// Base URL without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests it has answered so far.
    pub fn requests(&self) -> io::Result<u64> {
        let log = fs::read(&self.log)?;
        Ok(log.iter().filter(|&&byte| byte == b'\n').count() as u64)
    }
}

fn protection(readers: Readers, passwords: &Path) -> String {
    let location = match readers {
        Readers::All => return String::new(),
        Readers::AllButPrivate => "^/private/",
        Readers::User => "^/",
    };
    let modules: String = ["authn_core", "authn_file", "auth_basic", "authz_user"]
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .concat();
    format!(
        "{modules}<LocationMatch \"{location}\">\n AuthType Basic\n AuthName upstream\n AuthUserFile {}\n \
         Require valid-user\n</LocationMatch>\n",
        passwords.display()
    )
}

fn configuration(folder: &Path, port: u16, repositories: &Path, backend: &Path, protection: &str) -> String {
    let root = folder.display();
    let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let modules: String = ["mpm_prefork", "authz_core", "env", "setenvif", "alias", "cgi"]
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .concat();
    // Git reads GIT_CONFIG_* as if given on its command line: what a real host has in its configuration.
    let settings =
        [("safe.directory", "*"), ("uploadpack.allowFilter", "true"), ("uploadpack.allowReachableSHA1InWant", "true")];
    let mut environment = format!("SetEnv GIT_CONFIG_COUNT {}\n", settings.len());
    for (at, (key, value)) in settings.iter().enumerate() {
        environment += &format!("SetEnv GIT_CONFIG_KEY_{at} {key}\nSetEnv GIT_CONFIG_VALUE_{at} {value}\n");
    }
    format!(
        "ServerRoot {root}\nServerName localhost\nPidFile {root}/apache.pid\nDefaultRuntimeDir {root}\n\
         Mutex pthread\nListen 127.0.0.1:{port}\n{modules}{user}\
         StartServers 4\nMinSpareServers 1\nMaxRequestWorkers 40\nTimeout 600\nKeepAlive On\n\
         ErrorLog {root}/error.log\nLogFormat \"%m %U%q %>s\" plain\nCustomLog {root}/access.log plain\n\
         SetEnv GIT_PROJECT_ROOT {repositories}\nSetEnv GIT_HTTP_EXPORT_ALL 1\n\
         SetEnvIf Git-Protocol \".*\" GIT_PROTOCOL=$0\n{environment}\
         ScriptAlias / {backend}/\n<Directory />\n Require all granted\n</Directory>\n{protection}",
        repositories = repositories.display(),
        backend = backend.display(),
    )
}
