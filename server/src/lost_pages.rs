//! Pages of mapped files that the disk does not give: the request that meets one fails, the process lives on.
//!
//! A pack that is truncated, or that the disk can't read, raises SIGBUS in whoever touches its map. The handler puts a
//! page of zeros there and remembers its address. Who reads an object from zeros finds out: they are no zlib stream. Who
//! copies entries does not, so whoever sends bytes of a map asks [`any_in`] before each piece leaves, and last before the
//! checksum.
//!
//! The map stays damaged until it is opened again. An address is remembered for good: should another file be mapped there
//! later, its answers fail too, until the process is started anew. That errs on the safe side, and a disk that loses pages
//! needs an operator.

#![allow(unsafe_code)] // Installing a signal handler, and putting a page under the address that faulted.

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use std::{
    ffi::{c_int, c_void},
    io, mem, ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// How many pages were lost since the start.
static LOST: AtomicUsize = AtomicUsize::new(0);
/// Where, as far as there is room; a handler can't allocate. With more lost than this, every map counts as damaged.
static PAGES: [AtomicUsize; PAGES_MAX] = [const { AtomicUsize::new(0) }; PAGES_MAX];
const PAGES_MAX: usize = 4096;
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// Installs the handler for the whole process; once is enough.
pub fn survive() -> io::Result<()> {
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::SeqCst);
    // SAFETY: all zeros are a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_bus_error as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `action` is whole, its handler has the signature that SA_SIGINFO asks for and does only what a signal
    // handler may: system calls and atomics.
    match unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a page of `map` was lost.
pub fn any_in(map: &[u8]) -> bool {
    let lost = LOST.load(Ordering::SeqCst);
    if lost == 0 {
        return false;
    }
    let own = map.as_ptr_range();
    let own = (own.start as usize)..(own.end as usize);
    lost > PAGES_MAX || PAGES[..lost].iter().any(|page| own.contains(&page.load(Ordering::SeqCst)))
}

extern "C" fn on_bus_error(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid `siginfo_t`, and SIGBUS fills in the address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let bytes = PAGE_BYTES.load(Ordering::SeqCst);
    let page = (address & !(bytes - 1)) as *mut c_void;
    if code == libc::BUS_ADRERR {
        // SAFETY: BUS_ADRERR is raised only by an access to a page of a mapped file that can't be had. Nobody holds its
        // contents; a readable page of zeros in its place makes the access succeed.
        let replaced = unsafe { mmap_anonymous(page, bytes, ProtFlags::READ, MapFlags::PRIVATE | MapFlags::FIXED) };
        if replaced.is_ok() {
            // Its place is filled before the thread that faulted goes on, and only that one relies on it.
            if let Some(place) = PAGES.get(LOST.fetch_add(1, Ordering::SeqCst)) {
                place.store(page as usize, Ordering::SeqCst);
            }
            return;
        }
    }
    // Anything else ends the process as it would have without us: the access is tried again under the default action.
    // SAFETY: all zeros are a valid `sigaction` with the default action.
    unsafe {
        let default: libc::sigaction = mem::zeroed();
        libc::sigaction(libc::SIGBUS, &default, ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_truncated_file_reads_as_zeros() {
        survive().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack");
        std::fs::write(&path, vec![7; 64 << 10]).unwrap();
        let file = File::open(&path).unwrap();
        // SAFETY: nobody relies on the contents but the assertions below, which expect them to change.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        assert_eq!(map[40_000], 7);
        File::options().write(true).open(&path).unwrap().set_len(8 << 10).unwrap();
        let other = vec![7; 64 << 10];
        assert!(!any_in(&map));
        assert_eq!((map[100], map[40_000], map[60_000]), (7, 0, 0));
        assert!(any_in(&map) && any_in(&map[40_000..]) && !any_in(&map[..8 << 10]) && !any_in(&other));
    }
}
