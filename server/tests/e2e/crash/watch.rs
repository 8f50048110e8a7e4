//! Sees a store at work from outside: inotify on its directories, as marks with their times.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// What can be seen to happen, in the order of a sync. A consolidation has all of them but `Checking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A place in quarantine is made.
    Begun,
    /// The pack's file is there, or the directory that a consolidation writes to.
    Filling,
    /// The pack is indexed.
    Checking,
    /// It has been moved to its place.
    Sealing,
    /// The directory of a generation is there.
    Writing,
    /// The link has been renamed into place.
    Published,
    /// The place in quarantine is gone.
    Cleared,
}

enum Place {
    Repositories,
    Root,
    Packs,
    Generations,
    Quarantine,
    /// A place in quarantine.
    Work,
}

/// Watches one data directory from its making on.
pub struct Watch {
    inotify: Inotify,
    places: HashMap<WatchDescriptor, (Place, PathBuf)>,
    marks: BTreeMap<Mark, Instant>,
}

impl Watch {
    pub fn on(data: &Path) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).expect("an inotify instance");
        let mut watch = Self { inotify, places: HashMap::new(), marks: BTreeMap::new() };
        let repositories = data.join("repositories");
        watch.add(Place::Repositories, &repositories);
        for entry in std::fs::read_dir(&repositories).expect("the server has made it") {
            watch.follow(&entry.expect("readable").path());
        }
        watch
    }

    /// Waits for a mark. Tells whether it came within `timeout`.
    pub fn until(&mut self, mark: Mark, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            self.take_in();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.marks.contains_key(&mark) || left.is_zero() {
                return self.marks.contains_key(&mark);
            }
            let mut ready = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            let milliseconds = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            poll(&mut ready, milliseconds).expect("inotify can be waited for");
        }
    }

    /// How long it was from one mark to another, if both were seen.
    pub fn between(&self, from: Mark, to: Mark) -> Option<Duration> {
        Some(self.marks.get(&to)?.saturating_duration_since(*self.marks.get(&from)?))
    }

    fn take_in(&mut self) {
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return,
                Err(error) => panic!("inotify: {error}"),
            };
            for event in events {
                let Some((place, folder)) = self.places.get(&event.wd) else { continue };
                let name = event.name.unwrap_or_default();
                let path = folder.join(&name);
                let created = event.mask.contains(AddWatchFlags::IN_CREATE);
                let moved = event.mask.contains(AddWatchFlags::IN_MOVED_TO);
                let deleted = event.mask.contains(AddWatchFlags::IN_DELETE);
                match place {
                    Place::Repositories if moved => self.follow(&path),
                    Place::Root if moved && name == "current" => self.mark(Mark::Published),
                    Place::Packs if moved => self.mark(Mark::Sealing),
                    Place::Generations if created => self.mark(Mark::Writing),
                    Place::Quarantine if created => self.work(&path),
                    Place::Quarantine if deleted => self.mark(Mark::Cleared),
                    Place::Work if created || moved => self.in_work(&name),
                    _ => {}
                }
            }
        }
    }

    /// A repository's directory.
    fn follow(&mut self, root: &Path) {
        if root.extension().is_some() {
            return;
        }
        self.add(Place::Root, root);
        self.add(Place::Packs, &root.join("objects/pack"));
        self.add(Place::Generations, &root.join("generations"));
        let quarantine = root.join("quarantine");
        self.add(Place::Quarantine, &quarantine);
        // What came before the watch did.
        for entry in std::fs::read_dir(quarantine).into_iter().flatten().flatten() {
            self.work(&entry.path());
        }
    }

    fn work(&mut self, folder: &Path) {
        self.mark(Mark::Begun);
        self.add(Place::Work, folder);
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            self.in_work(&entry.file_name());
        }
    }

    fn in_work(&mut self, name: &OsStr) {
        match name.to_str() {
            Some("incoming.pack" | "consolidated-0") => self.mark(Mark::Filling),
            Some(name) if name.starts_with("pack-") && name.ends_with(".idx") => self.mark(Mark::Checking),
            _ => {}
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.marks.entry(mark).or_insert_with(Instant::now);
    }

    fn add(&mut self, place: Place, folder: &Path) {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        match self.inotify.add_watch(folder, flags) {
            Ok(descriptor) => drop(self.places.insert(descriptor, (place, folder.to_owned()))),
            // It was gone sooner.
            Err(Errno::ENOENT) => {}
            Err(error) => panic!("inotify on {}: {error}", folder.display()),
        }
    }
}
