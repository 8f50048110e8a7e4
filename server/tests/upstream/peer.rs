//! A scripted HTTP peer: says exactly the bytes that a test gives it, well-formed or not.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET /x HTTP/1.1`.
    pub line: String,
    /// Head as it came.
    pub head: String,
    /// Body as it came.
    pub body: Vec<u8>,
    /// Which connection, from 0.
    pub connection: usize,
}

/// What goes back.
pub enum Say {
    /// These bytes; the connection stays open.
    Keep(Vec<u8>),
    /// These bytes, and the connection is closed.
    Close(Vec<u8>),
    /// These bytes again and again, until the other side has had enough.
    ForEver(Vec<u8>),
    /// These bytes, and then those as `ForEver`.
    Endless { first: Vec<u8>, then: Vec<u8> },
    /// These bytes, and then silence.
    Hang(Vec<u8>),
}

/// A peer on a loopback port.
pub struct Peer {
    port: u16,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Answers each request by `script`.
    pub fn start(script: impl Fn(&Request) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let script = Arc::new(script);
        let thread = std::thread::spawn({
            let (stop, seen) = (stop.clone(), seen.clone());
            move || {
                let mut workers = Vec::new();
                while !stop.load(SeqCst) {
                    let Ok((socket, _)) = listener.accept() else {
                        std::thread::sleep(Duration::from_millis(2));
                        continue;
                    };
                    let (script, stop, seen, connection) = (script.clone(), stop.clone(), seen.clone(), workers.len());
                    workers.push(std::thread::spawn(move || serve(socket, connection, &*script, &stop, &seen)));
                }
                for worker in workers {
                    worker.join().unwrap();
                }
            }
        });
        Self { port, stop, seen, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut socket: TcpStream,
    connection: usize,
    script: &(dyn Fn(&Request) -> Say + Send + Sync),
    stop: &AtomicBool,
    seen: &Mutex<Vec<Request>>,
) {
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut buffer = Vec::new();
    while let Some(request) = receive(&mut socket, &mut buffer, connection, stop) {
        seen.lock().unwrap().push(request.clone());
        match script(&request) {
            Say::Keep(bytes) => {
                if socket.write_all(&bytes).is_err() {
                    return;
                }
            }
            Say::Close(bytes) => {
                let _ = socket.write_all(&bytes);
                let _ = socket.shutdown(std::net::Shutdown::Both);
                return;
            }
            Say::Endless { first, then } => {
                let _ = socket.write_all(&first);
                while !stop.load(SeqCst) && socket.write_all(&then).is_ok() {}
                return;
            }
            Say::ForEver(bytes) => while !stop.load(SeqCst) && socket.write_all(&bytes).is_ok() {},
            Say::Hang(bytes) => {
                let _ = socket.write_all(&bytes);
                while !stop.load(SeqCst) && !matches!(socket.read(&mut [0; 1]), Ok(0)) {}
            }
        }
    }
}

/// One request; `None` when the other side is done.
fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize, stop: &AtomicBool) -> Option<Request> {
    let mut chunk = [0; 64 << 10];
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).into_owned();
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if buffer.len() >= whole {
                let rest = buffer.split_off(whole);
                let body = std::mem::replace(buffer, rest).split_off(end + 4);
                let line = head.lines().next().unwrap_or_default().to_owned();
                return Some(Request { line, head, body, connection });
            }
        }
        match socket.read(&mut chunk) {
            Ok(0) => return None,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return None,
        }
        if stop.load(SeqCst) {
            return None;
        }
    }
}

/// A pkt-line.
pub fn line(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [format!("{:04x}", text.len() + 4).as_bytes(), text].concat()
}

/// A 200 answer of this media type.
pub fn ok(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The media types of a Git host.
pub const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
pub const RESULT: &str = "application/x-git-upload-pack-result";

/// A v2 capability advertisement.
pub fn v2(capabilities: &[&str]) -> Vec<u8> {
    let mut body = [line("# service=git-upload-pack\n"), b"0000".to_vec(), line("version 2\n")].concat();
    for capability in capabilities {
        body.extend(line(format!("{capability}\n")));
    }
    body.extend(b"0000");
    body
}

/// What a usual v2 host offers.
pub const USUAL: &[&str] = &["agent=peer/1", "ls-refs=unborn", "fetch=shallow", "object-format=sha1"];

/// A peer that is a usual v2 host but for its answer to ls-refs.
pub fn with_refs(answer: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> Peer {
    Peer::start(move |request| {
        Say::Keep(if request.line.starts_with("GET") { ok(ADVERTISEMENT, &v2(USUAL)) } else { ok(RESULT, &answer()) })
    })
}
