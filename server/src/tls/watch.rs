//! Files that are read again when they change: looked at by their stamps (device, inode, size, times), which tell of a file
//! that was written anew, renamed into its place, or reached by a symbolic link that leads elsewhere now: what `certbot`
//! and Kubernetes do.
//!
//! What has changed is read once it has stood still for a look. A certificate and its key are two files: between the two
//! they do not fit, so that only what stays wrong is complained of. What holds is kept until something better is there.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How often the stamps are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long something may be wrong before it is said.
const DOUBT_TIME: Duration = Duration::from_secs(3);
/// How often what stays wrong is tried and said again.
const REMINDER: Duration = Duration::from_secs(600);
/// How long before its end a certificate is warned about.
const ENDS_SOON: Duration = Duration::from_secs(7 * 86_400);
/// How often that is looked at.
const VALIDITY_LOOK: Duration = Duration::from_secs(12 * 3600);

/// Something that is read from files and can be read again.
pub trait Renewable: Send + Sync {
    /// For the log.
    fn name(&self) -> &'static str;
    /// Where it comes from.
    fn files(&self) -> Vec<PathBuf>;
    /// Reads it; an error leaves what there is.
    fn renew(&self) -> Result<Renewed, String>;
    /// Whether what is in use has ended, `ahead` of now, or will have.
    fn doubt(&self, ahead: Duration) -> Option<String>;
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// Nothing else is in the files.
    Same,
    /// It holds from now on.
    Taken {
        /// What deserves a word.
        doubts: Vec<String>,
    },
}

/// Watches on a thread of its own, as long as the process runs. To be started before the shards, whose pins it would
/// inherit.
pub fn watch(renewables: Vec<Arc<dyn Renewable>>) -> Result<(), String> {
    if renewables.is_empty() {
        return Ok(());
    }
    let mut watched: Vec<Watched> = renewables.into_iter().map(Watched::new).collect();
    let spawned = thread::Builder::new().name("certificates".into()).spawn(move || {
        loop {
            watched.iter_mut().for_each(Watched::look);
            thread::sleep(LOOK);
        }
    });
    spawned.map(|_| ()).map_err(|error| format!("starting threads: {error}"))
}

/// One of them, and what is known of its files.
pub(super) struct Watched {
    renewable: Arc<dyn Renewable>,
    change: Change<Vec<Option<Stamp>>>,
    validity_seen: Instant,
}

impl Watched {
    pub(super) fn new(renewable: Arc<dyn Renewable>) -> Self {
        let change = Change::new(stamps(&renewable.files()));
        // The start has said what is wrong already.
        Self { renewable, change, validity_seen: Instant::now() }
    }

    /// Looks whether there is something new, and takes it.
    pub(super) fn look(&mut self) {
        let (now, name) = (Instant::now(), self.renewable.name());
        if self.change.is_due(now, stamps(&self.renewable.files())) {
            match self.renewable.renew() {
                Ok(renewed) => {
                    self.change.taken();
                    if let Renewed::Taken { doubts } = renewed {
                        tracing::info!("{name} is a new one from now on");
                        doubts.iter().for_each(|doubt| tracing::warn!("{name}: {doubt}"));
                    }
                }
                Err(words) => {
                    if self.change.failed(now) {
                        tracing::error!("{name}: the new one can't be used, the old one is kept: {words}");
                    }
                }
            }
        }
        if now.duration_since(self.validity_seen) >= VALIDITY_LOOK {
            self.validity_seen = now;
            if let Some(words) = self.renewable.doubt(Duration::ZERO).or_else(|| self.renewable.doubt(ENDS_SOON)) {
                tracing::warn!("{name}: {words}");
            }
        }
    }
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = fs::metadata(file).ok()?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        size: found.len(),
        written: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// When to read again. Pure: time and stamps are arguments.
struct Change<T> {
    /// What was read last with success. Nothing at first: what the start has read may have changed since.
    taken: Option<T>,
    /// What was seen last.
    seen: T,
    /// What was tried last, if it failed.
    failing: Option<Failing>,
}

struct Failing {
    since: Instant,
    said: Option<Instant>,
}

impl<T: PartialEq + Clone> Change<T> {
    fn new(found: T) -> Self {
        Self { taken: None, seen: found, failing: None }
    }

    /// Whether to read now.
    fn is_due(&mut self, now: Instant, found: T) -> bool {
        if found != self.seen {
            // It may still be being written.
            self.seen = found;
            if let Some(failing) = &mut self.failing {
                failing.said = None;
            }
            return false;
        }
        if self.taken.as_ref() == Some(&self.seen) {
            self.failing = None;
            return false;
        }
        self.failing.as_ref().and_then(|failing| failing.said).is_none_or(|said| now.duration_since(said) >= REMINDER)
    }

    /// What was read holds.
    fn taken(&mut self) {
        self.taken = Some(self.seen.clone());
        self.failing = None;
    }

    /// What was read does not; whether to say so.
    fn failed(&mut self, now: Instant) -> bool {
        let failing = self.failing.get_or_insert(Failing { since: now, said: None });
        let say = now.duration_since(failing.since) >= DOUBT_TIME;
        if say {
            failing.said = Some(now);
        }
        say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at each of `found`, half a second apart, after a start with 0; what is tried fails if it is odd. What happened
    /// at which look.
    fn looks(found: &[u32]) -> Vec<(usize, &'static str)> {
        let (start, mut change, mut events) = (Instant::now(), Change::new(0), Vec::new());
        assert!(change.is_due(start, 0), "what the start has read may have changed since");
        change.taken();
        for (look, &found) in found.iter().enumerate() {
            let now = start + LOOK * u32::try_from(look).unwrap();
            if change.is_due(now, found) {
                if found.is_multiple_of(2) {
                    change.taken();
                    events.push((look, "taken"));
                } else if change.failed(now) {
                    events.push((look, "said"));
                }
            }
        }
        events
    }

    #[test]
    fn what_stands_still_is_taken_once() {
        assert_eq!(looks(&[0; 10]), []);
        assert_eq!(looks(&[0, 2, 2, 2, 2]), [(2, "taken")]);
        assert_eq!(looks(&[2, 4, 6, 6, 6, 8, 8]), [(3, "taken"), (6, "taken")]);
    }

    #[test]
    fn what_does_not_fit_yet_is_not_complained_of() {
        assert_eq!(looks(&[1, 1, 1, 2, 2]), [(4, "taken")]);
        assert_eq!(looks(&[1, 1, 1, 0, 0, 0]), [], "it was put back");
    }

    #[test]
    fn what_stays_wrong_is_said_and_said_again() {
        let reminder = usize::try_from(REMINDER.as_millis() / LOOK.as_millis()).unwrap();
        let mut found = vec![1; reminder + 20];
        found.extend([2, 2]);
        assert_eq!(looks(&found), [(7, "said"), (7 + reminder, "said"), (reminder + 21, "taken")]);
    }

    #[test]
    fn another_failure_is_said_anew() {
        let found: Vec<u32> = [1; 10].into_iter().chain([3; 20]).collect();
        assert_eq!(looks(&found), [(7, "said"), (11, "said")]);
    }
}
