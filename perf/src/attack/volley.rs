//! Hostile requests at a fixed rate, each on a connection of its own, whatever becomes of the earlier ones. Who is answered
//! reads to the end; who is not leaves after a while. So a target that never answers is sent the same as one that does.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{PRIVATE, PUBLIC};
use crate::apache::USER;

/// How often one that waits for an answer looks whether all is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Of an answer; the rest is of no interest.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// So many haves in a row are alike: that is how well it inflates.
const HAVES_ALIKE: usize = 70;
/// What an attacker's thread needs.
const STACK_BYTES: usize = 128 << 10;

/// What is sent.
pub enum Shot {
    /// Fetches of ids that nobody has.
    Ids,
    /// Repositories that are nowhere.
    Paths,
    /// Passwords that are not the user's.
    Passwords,
    /// A body that inflates a thousandfold, and one that inflates as well as it may, by turns.
    Bombs([Vec<u8>; 2]),
    /// Heads that two readers could take for different requests, with a second request behind them.
    Smuggling,
}

/// So many of them a second.
pub struct Volley {
    /// What is sent.
    pub shot: Shot,
    /// How many.
    pub per_second: f64,
    /// How long each waits for an answer.
    pub patience: Duration,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// How many of each status; 0 where none came.
    pub statuses: BTreeMap<u16, u64>,
    /// Connections on which more than one request was answered.
    pub smuggled: u64,
}

impl Shot {
    /// Both bombs, made once.
    pub fn bombs() -> io::Result<Self> {
        let gzip = |piece: &mut dyn FnMut(usize) -> Vec<u8>, pieces: usize| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            for number in 0..pieces {
                encoder.write_all(&piece(number))?;
            }
            encoder.finish()
        };
        let zeros = vec![0; 1 << 20];
        let well = gzip(&mut |_| zeros.clone(), 1_000)?;
        // Below a hundredfold, below 80 MiB, and lines that a fetch may have.
        let mut have = |number: usize| {
            let fresh = format!("0032have {:040x}\n", fastrand::u128(..));
            let first = if number == 0 { "0012command=fetch\n0001" } else { "" };
            [first, &fresh, &format!("0032have {number:040x}\n").repeat(HAVES_ALIKE)].concat().into_bytes()
        };
        let fairly = gzip(&mut have, 75_000_000 / (HAVES_ALIKE + 1) / 50)?;
        Ok(Self::Bombs([well, fairly]))
    }

    fn request(&self, number: u64) -> Vec<u8> {
        match self {
            Self::Ids => {
                // Half of them have no place for progress: their answer is held back.
                let sideband_all = if number.is_multiple_of(2) { "0010sideband-all" } else { "" };
                let id = format!("{:032x}{:08x}", fastrand::u128(..), fastrand::u32(..));
                let body = format!("0012command=fetch\n0001{sideband_all}0032want {id}\n0009done\n0000");
                post("", body.as_bytes())
            }
            Self::Paths => get(&format!("random/{:016x}.git", fastrand::u64(..)), ""),
            Self::Passwords => {
                let guess = STANDARD.encode(format!("{USER}:{:016x}", fastrand::u64(..)));
                get(PRIVATE, &format!("Authorization: Basic {guess}\r\n"))
            }
            Self::Bombs(bombs) => post("Content-Encoding: gzip\r\n", &bombs[(number % 2) as usize]),
            Self::Smuggling => smuggling(number),
        }
    }
}

impl Volley {
    /// Until `over`, at `target`, from these addresses by turns.
    pub fn run(&self, target: SocketAddr, from: &[IpAddr], over: &AtomicBool) -> io::Result<Answers> {
        let (begin, next) = (Instant::now(), AtomicU64::new(0));
        let attacker = || {
            let mut answers = Answers::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = begin + Duration::from_secs_f64(number as f64 / self.per_second);
                while Instant::now() < due && !over.load(Ordering::Relaxed) {
                    thread::sleep(due.saturating_duration_since(Instant::now()).min(LOOK_INTERVAL));
                }
                if over.load(Ordering::Relaxed) {
                    return answers;
                }
                let request = self.shot.request(number);
                let from = from[(number % from.len() as u64) as usize];
                // Whoever is shut out has no answer.
                let answer = fire(target, from, &request, self.patience, over).unwrap_or_default();
                answers.add(&answer);
            }
        };
        let threads = (self.per_second * self.patience.as_secs_f64()).ceil() as usize + 1;
        thread::scope(|scope| {
            let start = || thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, attacker);
            let threads = (0..threads).map(|_| start()).collect::<io::Result<Vec<_>>>()?;
            let mut all = Answers::default();
            for thread in threads {
                all.merge(&thread.join().map_err(|_| io::Error::other("an attacker panicked"))?);
            }
            Ok(all)
        })
    }
}

impl Answers {
    fn add(&mut self, answer: &[u8]) {
        let text = String::from_utf8_lossy(answer);
        let mut heads = text.match_indices("HTTP/1.1 ").map(|(at, word)| &text[at + word.len()..]);
        let status = heads.next().and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0);
        *self.statuses.entry(status).or_insert(0) += 1;
        self.smuggled += u64::from(heads.next().is_some());
    }

    /// Adds what others heard.
    pub fn merge(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_insert(0) += count;
        }
        self.smuggled += other.smuggled;
    }
}

/// A connection from one of several loopback addresses.
pub fn connect(target: SocketAddr, from: IpAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&target.into(), CONNECT_TIME)?;
    Ok(socket.into())
}

/// Whatever came within `patience`.
fn fire(
    target: SocketAddr,
    from: IpAddr,
    request: &[u8],
    patience: Duration,
    over: &AtomicBool,
) -> io::Result<Vec<u8>> {
    let begin = Instant::now();
    let mut stream = connect(target, from)?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_read_timeout(Some(LOOK_INTERVAL))?;
    // Who is refused in the middle may still read why.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    while begin.elapsed() < patience && !over.load(Ordering::Relaxed) {
        match (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    Ok(answer)
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET /{path}/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: h\r\nGit-Protocol: version=2\r\n\
         Connection: close\r\n{headers}\r\n"
    )
    .into_bytes()
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /{PUBLIC}/git-upload-pack HTTP/1.1\r\nHost: h\r\nGit-Protocol: version=2\r\nConnection: close\r\n\
         Content-Type: application/x-git-upload-pack-request\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn smuggling(number: u64) -> Vec<u8> {
    let heads = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nContent-Length: 5\r\n",
        "X: y\0\r\n",
        "Host: other\r\n",
    ];
    let head = heads[(number % heads.len() as u64) as usize];
    let target = if (number / heads.len() as u64).is_multiple_of(2) { "status" } else { "app.git/git-upload-pack" };
    let hidden = "GET /status HTTP/1.1\r\nHost: h\r\n\r\n";
    format!("POST /{target} HTTP/1.1\r\nHost: h\r\n{head}\r\n0\r\n\r\n{hidden}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_answer_is_noticed() {
        let mut answers = Answers::default();
        answers.add(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        answers.add(b"HTTP/1.1 400 Bad Request\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}");
        answers.add(b"");
        assert_eq!((answers.smuggled, answers.statuses), (1, BTreeMap::from([(0, 1), (400, 2)])));
    }

    /// The first bomb goes beyond what the server allows, the second does not.
    #[test]
    fn bombs_are_on_both_sides_of_the_bounds() {
        let Ok(Shot::Bombs(bombs)) = Shot::bombs() else { panic!("no bombs") };
        let sizes = bombs.map(|bomb| {
            let inflated = io::copy(&mut flate2::read::GzDecoder::new(&bomb[..]), &mut io::sink()).unwrap();
            (inflated, inflated / bomb.len() as u64)
        });
        assert!(sizes[0].0 > 80 << 20 && sizes[0].1 > 100, "{sizes:?}");
        assert!((70 << 20..80 << 20).contains(&sizes[1].0) && (60..100).contains(&sizes[1].1), "{sizes:?}");
    }
}
