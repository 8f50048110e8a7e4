//! A real upstream: Apache with `git-http-backend`, on a loopback port, with all of its files in the sandbox; over TLS if
//! it is given a certificate.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;

use super::authority::Identity;
use super::git::Git;
use super::process::{Guarded, SERVER_TIMEOUT, free_port, hermetic, wait_until};

const PROGRAM: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// Apache, running or stopped, always on the same port.
pub struct Apache {
    folder: PathBuf,
    repositories: PathBuf,
    backend: PathBuf,
    port: u16,
    identity: Option<Identity>,
    forbidden: Option<String>,
    /// Directives that a test adds, with the modules that they need.
    more: String,
    clients_of: Option<String>,
    process: Option<Guarded>,
}

impl Apache {
    /// Serves the bare repositories under `repositories`; `folder` is for its own files.
    pub fn start(folder: &Path, repositories: &Path, git: &Git) -> Self {
        Self::start_as(folder, repositories, git, None)
    }

    /// The same with `more` lines in its configuration.
    pub fn start_with(folder: &Path, repositories: &Path, git: &Git, more: &str) -> Self {
        Self::try_start_as(folder, repositories, git, None, more)
    }

    /// The same over TLS, as `identity` says.
    pub fn start_as(folder: &Path, repositories: &Path, git: &Git, identity: Option<&Identity>) -> Self {
        Self::try_start_as(folder, repositories, git, identity, "")
    }

    fn try_start_as(folder: &Path, repositories: &Path, git: &Git, identity: Option<&Identity>, more: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: the end-to-end tests need Debian's apache2-bin; ./check installs it"
        );
        let backend = git.exec_path().join("git-http-backend");
        assert!(backend.exists(), "{} is missing: the tests need a whole Git", backend.display());
        for _ in 0..5 {
            let mut apache = Self {
                folder: folder.into(),
                repositories: repositories.into(),
                backend: backend.clone(),
                port: free_port(),
                identity: identity.cloned(),
                forbidden: None,
                more: more.into(),
                clients_of: None,
                process: None,
            };
            if apache.try_start() {
                return apache;
            }
        }
        panic!("apache2 does not come up:\n{}", log(folder));
    }

    /// Base URL without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Starts it again on the same port with another certificate, or as a plain HTTP host.
    pub fn become_another(&mut self, identity: Option<&Identity>) {
        self.stop();
        self.identity = identity.cloned();
        self.start_again();
    }

    /// Starts it again on the same port, for clients alone whom the authority with this certificate has certified, if one is
    /// given.
    pub fn demand_clients_of(&mut self, authority: Option<&str>) {
        self.stop();
        self.clients_of = authority.map(str::to_owned);
        self.start_again();
    }

    /// Starts it again on the same port, answering 403 for the repository at `path`, if one is given.
    pub fn forbid(&mut self, path: Option<&str>) {
        self.stop();
        self.forbidden = path.map(str::to_owned);
        self.start_again();
    }

    /// Starts it again on the same port with more `directives`, which need `modules`.
    pub fn configure(&mut self, modules: &[&str], directives: &str) {
        self.stop();
        let load = modules.iter().map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"));
        self.more = load.collect::<String>() + directives;
        self.start_again();
    }

    /// Ends it; connections are refused from here on.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("apache2 runs");
        process.signal(Signal::TERM);
        assert!(process.wait(SERVER_TIMEOUT).is_some(), "apache2 does not stop:\n{}", log(&self.folder));
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "apache2 does not come back:\n{}", log(&self.folder));
    }

    /// Stops all its processes where they are: it accepts connections and never answers.
    pub fn freeze(&mut self) {
        self.process.as_mut().expect("apache2 runs").signal(Signal::STOP);
    }

    /// Ends a freeze.
    pub fn thaw(&mut self) {
        self.process.as_mut().expect("apache2 runs").signal(Signal::CONT);
    }

    /// The requests that it has answered, one line each: `METHOD path?query status`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn try_start(&mut self) -> bool {
        let write =
            |name: &str, text: &str| std::fs::write(self.folder.join(name), text).expect("the sandbox is writable");
        write("apache.conf", &self.configuration());
        if let Some(identity) = &self.identity {
            write("apache.crt", &identity.certificate);
            write("apache.key", &identity.key);
        }
        if let Some(authority) = &self.clients_of {
            write("clients.crt", authority);
        }
        let error = std::fs::File::create(self.folder.join("apache.err")).expect("the sandbox is writable");
        let mut process = Guarded::start(
            hermetic(PROGRAM, &self.folder)
                .arg("-f")
                .arg(self.folder.join("apache.conf"))
                .arg("-DFOREGROUND")
                .stdout(Stdio::null())
                .stderr(error),
        );
        let address = ("127.0.0.1", self.port);
        wait_until("apache2 listens or gives up", SERVER_TIMEOUT, || {
            process.ended().is_some() || std::net::TcpStream::connect(address).is_ok()
        });
        let up = process.ended().is_none();
        self.process = up.then_some(process);
        up
    }

    fn configuration(&self) -> String {
        let root = self.folder.display();
        let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
        let module = |name: &str| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n");
        let modules = ["mpm_prefork", "authz_core", "env", "setenvif", "alias", "cgi"].map(module).concat();
        let tls = self.identity.as_ref().map_or_else(String::new, |_| {
            module("ssl")
                + &format!(
                    "SSLEngine on\nSSLCertificateFile {root}/apache.crt\nSSLCertificateKeyFile {root}/apache.key\n"
                )
        });
        let clients = self.clients_of.as_ref().map_or_else(String::new, |_| {
            format!("SSLVerifyClient require\nSSLCACertificateFile {root}/clients.crt\n")
        });
        let forbidden = self.forbidden.as_ref().map_or_else(String::new, |path| {
            // Under either spelling: git-http-backend finds `app.git` as `app` too.
            let path = path.trim_end_matches(".git");
            format!("<LocationMatch \"^/{path}(\\.git)?/\">\n Require all denied\n</LocationMatch>\n")
        });
        // Git reads GIT_CONFIG_* as if given on its command line: what a real host has in its configuration.
        let settings = [
            ("safe.directory", "*"),
            ("uploadpack.allowFilter", "true"),
            ("uploadpack.allowReachableSHA1InWant", "true"),
            ("gc.auto", "0"),
        ];
        let mut environment = format!("SetEnv GIT_CONFIG_COUNT {}\n", settings.len());
        for (at, (key, value)) in settings.iter().enumerate() {
            environment += &format!("SetEnv GIT_CONFIG_KEY_{at} {key}\nSetEnv GIT_CONFIG_VALUE_{at} {value}\n");
        }
        format!(
            "ServerRoot {root}\nServerName localhost\nPidFile {root}/apache.pid\nDefaultRuntimeDir {root}\n\
             Mutex pthread\nListen 127.0.0.1:{port}\n{modules}{tls}{clients}{user}\
             StartServers 2\nMinSpareServers 1\nMaxRequestWorkers 40\nTimeout 60\nKeepAlive On\n\
             ErrorLog {root}/error.log\nLogFormat \"%m %U%q %>s\" plain\nCustomLog {root}/access.log plain\n\
             SetEnv GIT_PROJECT_ROOT {repositories}\nSetEnv GIT_HTTP_EXPORT_ALL 1\n\
             SetEnvIf Git-Protocol \".*\" GIT_PROTOCOL=$0\n{environment}\
             {more}ScriptAlias / {backend}/\n\
             <Directory />\n Require all granted\n</Directory>\n{forbidden}",
            more = self.more,
            port = self.port,
            repositories = self.repositories.display(),
            backend = self.backend.display(),
        )
    }
}

fn log(folder: &Path) -> String {
    ["apache.err", "error.log"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap_or_default()).concat()
}
