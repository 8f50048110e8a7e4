//! Whether this machine lets us run, asked before the runtime asks: glommio panics or exits where the kernel says no.
//!
//! Containers are where it does: their default seccomp profiles forbid `io_uring`, and their memory-lock limit is
//! small. The answer is in words, with what to do, and `serve` ends with exit code 78 (EX_CONFIG).

use io_uring::{IoUring, Probe, opcode};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{fmt, io};

/// What glommio demands of the soft `RLIMIT_MEMLOCK`, in bytes, whatever it really locks and whoever asks.
const MEMORY_LOCK_BYTES_MIN: u64 = 512 << 10;
/// What one shard locks where that is counted, in bytes: three rings, and its registered memory in two of them. 8 MiB were
/// enough for 34 shards.
const SHARD_MEMORY_LOCK_BYTES: u64 = 256 << 10;
/// The bit of `CAP_IPC_LOCK`, with which locked memory is not counted (`capabilities(7)`).
const CAP_IPC_LOCK: u32 = 14;
/// What a node without a single client holds open, in descriptors: some ten a shard (rings, timers, sockets), and its logs,
/// packs and connections to the upstream.
const DESCRIPTORS_MIN: u64 = 96;
/// What each shard adds to that.
const SHARD_DESCRIPTORS: u64 = 16;
/// glommio's default depth of a ring, so that the kernel is asked for what it will be asked for later.
const RING_ENTRIES: u32 = 128;

/// Why no shard can run here.
#[derive(Debug)]
pub enum Refusal {
    /// `io_uring_setup` was refused.
    Uring {
        /// What the kernel said.
        error: io::Error,
        /// `kernel.io_uring_disabled`, if the kernel has it: 0 allowed, 1 for a group only, 2 for nobody.
        disabled: Option<u8>,
    },
    /// The kernel lacks an operation.
    Kernel {
        /// Which.
        operation: &'static str,
    },
    /// The memory-lock limit is too low.
    MemoryLock {
        /// The limit, in bytes.
        limit: u64,
        /// What is needed, in bytes.
        needed: u64,
        /// For so many shards.
        shards: usize,
    },
    /// Too few files may be open at once.
    Descriptors {
        /// How many may.
        limit: u64,
        /// How many must.
        needed: u64,
    },
}

/// Raises what may be raised without privileges: the soft limits of locked memory and of descriptors to their hard ones.
pub fn raise_limits() {
    for resource in [Resource::Memlock, Resource::Nofile] {
        let mut limit = getrlimit(resource);
        if limit.current != limit.maximum {
            limit.current = limit.maximum;
            // A refusal is found by the checks below, which say so in words.
            let _ = setrlimit(resource, limit);
        }
    }
}

/// How many descriptors this process may have open.
pub fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Asks the kernel for a ring as the runtime will, and looks whether the limits are enough for so many shards.
pub fn check(shards: usize) -> Result<(), Refusal> {
    check_descriptors(descriptors_max(), shards)?;
    check_memory_lock(getrlimit(Resource::Memlock).current, shards, is_lock_counted())?;
    let refused = |error| Refusal::Uring { error, disabled: disabled() };
    let ring = IoUring::new(RING_ENTRIES).map_err(refused)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(refused)?;
    let needed = [
        ("accept", opcode::Accept::CODE),
        ("connect", opcode::Connect::CODE),
        ("poll", opcode::PollAdd::CODE),
        ("read", opcode::Read::CODE),
        ("recv", opcode::Recv::CODE),
        ("send", opcode::Send::CODE),
        ("statx", opcode::Statx::CODE),
        ("timeout", opcode::Timeout::CODE),
        ("link timeout", opcode::LinkTimeout::CODE),
    ];
    match needed.iter().find(|(_, code)| !probe.is_supported(*code)) {
        Some((operation, _)) => Err(Refusal::Kernel { operation }),
        None => Ok(()),
    }
}

fn check_memory_lock(limit: Option<u64>, shards: usize, is_counted: bool) -> Result<(), Refusal> {
    let locked = if is_counted { shards as u64 * SHARD_MEMORY_LOCK_BYTES } else { 0 };
    let needed = locked.max(MEMORY_LOCK_BYTES_MIN);
    match limit {
        Some(limit) if limit < needed => Err(Refusal::MemoryLock { limit, needed, shards }),
        _ => Ok(()),
    }
}

fn check_descriptors(limit: u64, shards: usize) -> Result<(), Refusal> {
    let needed = DESCRIPTORS_MIN + shards as u64 * SHARD_DESCRIPTORS;
    if limit < needed { Err(Refusal::Descriptors { limit, needed }) } else { Ok(()) }
}

/// Whether the kernel counts what this process locks; if it can't be known, it does.
fn is_lock_counted() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    bits & 1 << CAP_IPC_LOCK == 0
}

fn disabled() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uring { error, disabled: Some(mode @ 1..) } => write!(
                f,
                "the kernel refuses io_uring ({error}): kernel.io_uring_disabled is {mode}; \
                 set it to 0 (sysctl kernel.io_uring_disabled=0)"
            ),
            Self::Uring { error, .. } if error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => {
                write!(
                    f,
                    "there is no io_uring here ({error}): the kernel is older than 5.8 or built without it, or a seccomp \
                 profile hides it; in a container allow io_uring_setup, io_uring_enter and io_uring_register"
                )
            }
            Self::Uring { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "io_uring is forbidden here ({error}), as the default seccomp profiles of container runtimes do; \
                 allow io_uring_setup, io_uring_enter and io_uring_register \
                 (docker, podman: --security-opt seccomp=PROFILE.json)"
            ),
            Self::Uring { error, .. } if error.kind() == io::ErrorKind::OutOfMemory => write!(
                f,
                "io_uring got no memory ({error}): raise the memory-lock limit \
                 (ulimit -l, LimitMEMLOCK= in systemd, --ulimit memlock= in a container runtime)"
            ),
            Self::Uring { error, .. } => write!(f, "io_uring can't be set up here: {error}"),
            Self::Kernel { operation } => {
                write!(f, "the kernel's io_uring lacks the operation '{operation}': Linux 5.8 or newer is needed")
            }
            Self::MemoryLock { limit, needed, shards } => write!(
                f,
                "the memory-lock limit is {} KiB and {} KiB are needed for {shards} {}: raise it \
                 (ulimit -l, LimitMEMLOCK= in systemd, --ulimit memlock= in a container runtime)",
                limit >> 10,
                needed >> 10,
                if *shards == 1 { "shard" } else { "shards" },
            ),
            Self::Descriptors { limit, needed } => write!(
                f,
                "{limit} files may be open at once and {needed} are needed before the first client comes: raise the limit \
                 (ulimit -n, LimitNOFILE= in systemd, --ulimit nofile= in a container runtime)"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_the_runtime_demands_is_looked_at() {
        assert!(check_memory_lock(None, 1_000, true).is_ok());
        assert!(check_memory_lock(Some(MEMORY_LOCK_BYTES_MIN), 2, true).is_ok());
        assert!(check_memory_lock(Some(MEMORY_LOCK_BYTES_MIN), 1_000, false).is_ok());
        for (limit, shards, is_counted, words) in [
            (64 << 10, 1, false, "memory-lock limit is 64 KiB and 512 KiB are needed for 1 shard:"),
            (MEMORY_LOCK_BYTES_MIN, 3, true, "memory-lock limit is 512 KiB and 768 KiB are needed for 3 shards:"),
        ] {
            let refusal = check_memory_lock(Some(limit), shards, is_counted).unwrap_err();
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
    }

    #[test]
    fn descriptors_are_counted_before_they_are_missed() {
        assert!(check_descriptors(1_024, 8).is_ok());
        let refusal = check_descriptors(32, 1).unwrap_err().to_string();
        assert!(refusal.starts_with("32 files may be open at once and 112 are needed"), "{refusal}");
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let uring = |errno: rustix::io::Errno, disabled| Refusal::Uring { error: errno.into(), disabled }.to_string();
        use rustix::io::Errno;
        for (text, advice) in [
            (uring(Errno::PERM, Some(2)), "sysctl kernel.io_uring_disabled=0"),
            (uring(Errno::PERM, Some(0)), "seccomp"),
            (uring(Errno::NOSYS, None), "older than 5.8"),
            (uring(Errno::NOMEM, None), "ulimit -l"),
            (uring(Errno::MFILE, None), "can't be set up"),
        ] {
            assert!(text.contains(advice), "{text}");
        }
    }
}
