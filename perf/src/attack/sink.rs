//! A socket that accepts whoever comes, and discards what they say: the attackers' other target. It is a process of its own,
//! as the server is, so that its sockets count against no one else's limit.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::process::Server;

/// The argument by which the program is the sink; a port follows.
pub const FLAG: &str = "--discard-at";

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 256;

/// Starts this very program as the sink.
pub fn start(port: u16) -> io::Result<Server> {
    let mut server = Server::start(Command::new(std::env::current_exe()?).arg(FLAG).arg(port.to_string()))?;
    server.wait_ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(server)
}

/// Is it, for ever.
pub fn discard(port: u16) -> io::Result<()> {
    super::raise_descriptors()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let (mut peers, mut next) = (HashMap::<u64, TcpStream>::new(), 0);
    let (mut buffer, mut events) = (vec![0; 64 << 10], Vec::with_capacity(EVENTS));
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                // Whoever has left again by now is nobody.
                if let Ok((peer, _)) = listener.accept() {
                    peer.set_nonblocking(true)?;
                    epoll::add(&epoll, &peer, epoll::EventData::new_u64(next), epoll::EventFlags::IN)?;
                    peers.insert(next, peer);
                    next += 1;
                }
                continue;
            }
            let ended = peers.get_mut(&key).is_none_or(|peer| match peer.read(&mut buffer) {
                Ok(read) => read == 0,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            });
            if ended {
                peers.remove(&key);
            }
        }
    }
}
