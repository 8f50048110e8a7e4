//! How much disk plans may take together for what they encode anew and nobody keeps.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The room of all plans of a process.
#[derive(Debug)]
pub struct Room {
    bytes_max: u64,
    taken: AtomicU64,
}

/// What one file takes of it, until it is gone.
#[derive(Debug)]
pub(super) struct Taken {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, taken: AtomicU64::new(0) })
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether so much could ever be taken.
    fn is_enough_for(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max
    }
}

impl Taken {
    pub(super) fn nothing(room: &Arc<Room>) -> Self {
        Self { room: room.clone(), bytes: 0 }
    }

    /// Takes more. If there is none left: whether there would be if nobody else took any.
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), bool> {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.room.bytes_max);
        match self.room.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(self.room.is_enough_for(self.bytes.saturating_add(bytes))),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let room = Room::new(100);
        let mut first = Taken::nothing(&room);
        let mut second = Taken::nothing(&room);
        assert_eq!(first.grow(60), Ok(()));
        assert_eq!(second.grow(41), Err(true), "when the first is gone");
        assert_eq!(second.grow(101), Err(false), "never");
        assert_eq!(second.grow(40), Ok(()));
        assert_eq!(second.grow(u64::MAX), Err(false));
        assert_eq!(room.taken(), 100);
        drop(first);
        assert_eq!(second.grow(60), Ok(()));
        drop(second);
        assert_eq!(room.taken(), 0);
    }
}
