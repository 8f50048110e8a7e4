//! The `heliostat` command.

#![allow(unsafe_code)] // One call, of the allocator's options.

use std::process::ExitCode;

/// Gives memory back after a large plan or ingest. The C library's keeps it: after mirroring and cloning a million
/// objects, 232 MB of what nobody used any more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in `mimalloc.h`: after how many milliseconds what is free goes back to the kernel. By itself it is
/// a second, within which plans one after another pile up: clones of a million objects, by many clients and of one kind
/// after another, held 304 MB at most, and 125 MB without the delay, in the same time.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: the option is in the range of those that mimalloc has, and may be set at any time: it is read anew whenever
    // memory becomes free.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
    heliostat::cli::run()
}
