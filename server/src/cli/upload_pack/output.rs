//! Standard output, unbuffered but for small pieces, and what becomes of the process when nobody reads it.

use signal_hook::{consts::SIGPIPE, low_level::emulate_default_handler};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    process::ExitCode,
};

/// Pieces are gathered up to this many bytes: a header and its payload leave in one call.
const GATHERED_BYTES: usize = 128 << 10;

/// The way to the peer.
pub(super) struct Output {
    file: File,
    gathered: Vec<u8>,
}

/// The peer could not be written to.
#[derive(Debug)]
pub(super) struct WriteError(io::Error);

impl Output {
    pub(super) fn standard() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, gathered: Vec::with_capacity(GATHERED_BYTES) })
    }

    /// Writes at once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.gather(bytes)?;
        self.flush()
    }

    /// Writes now or at the next [`Output::flush`].
    pub(super) fn gather(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.gathered.len() + bytes.len() > GATHERED_BYTES {
            self.flush()?;
        }
        if bytes.len() >= GATHERED_BYTES {
            return self.file.write_all(bytes).map_err(WriteError);
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        let written = self.file.write_all(&self.gathered).map_err(WriteError);
        self.gathered.clear();
        written
    }
}

impl WriteError {
    /// How Git ends then: by SIGPIPE where the reader has gone, else with words.
    pub(super) fn end(self) -> ExitCode {
        if self.0.kind() == io::ErrorKind::BrokenPipe {
            let _ = emulate_default_handler(SIGPIPE);
            return ExitCode::from(141);
        }
        // `os error N` is no part of what Git says.
        let words = self.0.to_string();
        let words = words.split(" (os error").next().unwrap_or_default();
        super::complain(&format!("fatal: write error: {words}"));
        ExitCode::from(super::FATAL)
    }
}
