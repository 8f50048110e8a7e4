//! Log lines, written by a thread of their own: a full pipe behind standard error must not stop a shard.
//!
//! Lines that do not fit the queue are counted and dropped, and the count is logged when there is room again.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Lines that may wait for the thread.
const QUEUE_LINES: usize = 16_384;
/// What the last lines get to leave when the process ends.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The way to the thread. [`Logging::flush`] before the process ends.
#[derive(Clone)]
pub struct Logging {
    lines: flume::Sender<Entry>,
    dropped: Arc<AtomicU64>,
}

enum Entry {
    Line(Vec<u8>),
    Flush(flume::Sender<()>),
}

/// Starts logging to standard error. `filter` as in `RUST_LOG`; default: everything from `info`, the runtime's from
/// `warn`.
pub fn start(format: Format, filter: Option<&str>) -> io::Result<Logging> {
    let (lines, queue) = flume::bounded(QUEUE_LINES);
    let logging = Logging { lines, dropped: Arc::default() };
    let dropped = logging.dropped.clone();
    thread::Builder::new().name("log".into()).spawn(move || write(&queue, &dropped))?;
    let filter = EnvFilter::builder().parse_lossy(filter.unwrap_or("info,glommio=warn"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(logging.clone()).with_ansi(false);
    // A process that has a subscriber already (a test's) keeps it.
    let _ = match format {
        Format::Human => subscriber.try_init(),
        Format::Json => subscriber.json().flatten_event(true).try_init(),
    };
    Ok(logging)
}

fn write(queue: &flume::Receiver<Entry>, dropped: &AtomicU64) {
    let mut error = io::stderr();
    while let Ok(entry) = queue.recv() {
        // Standard error that can't be written to leaves nobody to tell.
        match entry {
            Entry::Line(line) => drop(error.write_all(&line)),
            Entry::Flush(done) => drop(done.send(())),
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => drop(writeln!(error, "{lines} log lines were dropped: standard error takes them too slowly")),
        }
    }
}

impl Logging {
    /// Waits until what was logged so far is written, for a moment at most.
    pub fn flush(&self) {
        let (done, written) = flume::bounded(1);
        if self.lines.send_timeout(Entry::Flush(done), FLUSH_TIME).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIME);
        }
    }
}

impl<'a> MakeWriter<'a> for Logging {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { logging: self, bytes: Vec::new() }
    }
}

/// One line being written; sent when dropped.
pub struct Line<'a> {
    logging: &'a Logging,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() && self.logging.lines.try_send(Entry::Line(bytes)).is_err() {
            self.logging.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_does_not_keep_up_costs_lines_and_not_time() {
        let (lines, queue) = flume::bounded(2);
        let logging = Logging { lines, dropped: Arc::default() };
        for _ in 0..5 {
            logging.make_writer().write_all(b"line\n").unwrap();
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(logging.dropped.load(Ordering::Relaxed), 3);
    }
}
