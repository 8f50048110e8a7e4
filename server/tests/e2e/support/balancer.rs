//! Load balancers in front of the mirror: haproxy and nginx as Debian has them, and callers with addresses of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{Guarded, SERVER_TIMEOUT, free_port, hermetic, wait_until};

const HAPROXY: &str = "/usr/sbin/haproxy";
const NGINX: &str = "/usr/sbin/nginx";
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
const TIMEOUT: Duration = Duration::from_secs(30);

/// How a balancer tells who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// haproxy passes connections on, with version 1 of the PROXY protocol before each.
    HaproxyV1,
    /// The same with version 2; its health checks say `LOCAL`.
    HaproxyV2,
    /// nginx likewise; it has version 1 only.
    NginxStream,
    /// haproxy passes requests on, and adds `X-Forwarded-For`.
    HaproxyForwarded,
    /// nginx likewise.
    NginxForwarded,
}

/// A balancer, running.
pub struct Balancer {
    pub port: u16,
    folder: PathBuf,
    process: Guarded,
}

impl Balancer {
    /// Listens on 127.0.0.1 and passes everything on to a mirror's `port`; `folder` is for its own files.
    pub fn start(folder: &Path, way: Way, mirror_port: u16) -> Self {
        for _ in 0..5 {
            let port = free_port();
            let mut process = match way {
                Way::HaproxyV1 | Way::HaproxyV2 | Way::HaproxyForwarded => {
                    demand(HAPROXY, "haproxy");
                    let file = folder.join("haproxy.cfg");
                    std::fs::write(&file, haproxy(way, port, mirror_port)).expect("the sandbox is writable");
                    Self::spawn(folder, HAPROXY, &["-db", "-f", &file.display().to_string()])
                }
                Way::NginxStream | Way::NginxForwarded => {
                    demand(NGINX, "nginx-light");
                    demand(STREAM, "libnginx-mod-stream");
                    let file = folder.join("nginx.conf");
                    std::fs::write(&file, nginx(folder, way, port, mirror_port)).expect("the sandbox is writable");
                    let log = folder.join("nginx.err").display().to_string();
                    Self::spawn(folder, NGINX, &["-e", &log, "-c", &file.display().to_string()])
                }
            };
            wait_until("the balancer listens or gives up", SERVER_TIMEOUT, || {
                process.ended().is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
            if process.ended().is_none() {
                return Self { port, folder: folder.into(), process };
            }
        }
        panic!("{way:?} does not come up:\n{}", log(folder));
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn spawn(folder: &Path, program: &str, arguments: &[&str]) -> Guarded {
        let log = std::fs::File::create(folder.join("balancer.log")).expect("the sandbox is writable");
        let output = log.try_clone().expect("a second handle");
        Guarded::start(hermetic(program, folder).args(arguments).stdout(output).stderr(log))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- balancer, ended {:?}:\n{}", self.process.ended(), log(&self.folder));
        }
    }
}

fn demand(file: &str, package: &str) {
    assert!(
        Path::new(file).exists(),
        "{file} is missing: the end-to-end tests need Debian's {package}; ./check installs it"
    );
}

fn log(folder: &Path) -> String {
    ["balancer.log", "nginx.err"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap_or_default()).concat()
}

fn haproxy(way: Way, port: u16, mirror_port: u16) -> String {
    let (mode, forward, send) = match way {
        Way::HaproxyV1 => ("tcp", "", "send-proxy"),
        Way::HaproxyV2 => ("tcp", "", "send-proxy-v2"),
        _ => ("http", "option forwardfor\n", ""),
    };
    format!(
        "global\n maxconn 500\ndefaults\n mode {mode}\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n \
         {forward}listen mirror\n bind 127.0.0.1:{port}\n option httpchk\n \
         http-check send meth GET uri /status ver HTTP/1.1 hdr Host mirror\n \
         server one 127.0.0.1:{mirror_port} {send} check inter 200ms\n"
    )
}

fn nginx(folder: &Path, way: Way, port: u16, mirror_port: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!(" {kind}_temp_path {}/nginx-{kind};\n", folder.display()))
        .concat();
    let block = match way {
        Way::NginxStream => format!(
            "stream {{\n server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{mirror_port}; proxy_protocol on; }}\n}}\n"
        ),
        _ => format!(
            "http {{\n access_log off;\n{temporary} server {{\n  listen 127.0.0.1:{port};\n  client_max_body_size 0;\n  \
             proxy_request_buffering off;\n  proxy_buffering off;\n  proxy_http_version 1.1;\n  \
             proxy_set_header Host $host;\n  proxy_set_header Connection \"\";\n  \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n  \
             location / {{ proxy_pass http://127.0.0.1:{mirror_port}; }}\n }}\n}}\n"
        ),
    };
    format!(
        "load_module {STREAM};\ndaemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log {0}/nginx.err;\n\
         events {{ worker_connections 512; }}\n{block}",
        folder.display()
    )
}

/// A connection to 127.0.0.1 from another loopback address.
pub struct Caller(TcpStream);

impl Caller {
    pub fn connect(from: &str, port: u16) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let from: SocketAddr = format!("{from}:0").parse().expect("an address");
        socket.bind(&from.into()).expect("a loopback address");
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("somebody listens");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a time");
        Self(stream)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have closed.
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// The status of the next answer, whose body has a known length; `None` if there is none.
    pub fn status(&mut self) -> Option<u16> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        self.0.read_exact(&mut vec![0; length.unwrap_or(0)]).ok()?;
        head.split(' ').nth(1)?.parse().ok()
    }

    /// `GET /status` with more header lines.
    pub fn get_status(&mut self, lines: &str) -> Option<u16> {
        self.send(format!("GET /status HTTP/1.1\r\nHost: mirror\r\n{lines}\r\n"));
        self.status()
    }
}
