//! Bytes that nobody may read who is not meant to: a credential on its way.
//!
//! No `Display`, a `Debug` that says nothing, compared in constant time, overwritten when dropped. What the kernel, TLS and
//! the buffers of sockets have held of it is beyond this.

use std::fmt;
use zeroize::Zeroizing;

/// A secret.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes, which must have no other owner.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What it is. Not to be kept, shown or logged.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.expose(), other.expose());
        a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | std::hint::black_box(a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With secrets so long that one look fewer shows.
    #[test]
    fn where_two_differ_does_not_show() {
        let with = |at: usize| {
            let mut bytes = vec![b'x'; 1 << 20];
            bytes[at] = b'y';
            Secret::new(bytes)
        };
        let secret = Secret::new(vec![b'x'; 1 << 20]);
        let time = |other: &Secret| {
            let once = |_| {
                let began = std::time::Instant::now();
                assert_ne!(&secret, other);
                began.elapsed()
            };
            (0..20).map(once).min().unwrap()
        };
        let (first, last) = (time(&with(0)), time(&with((1 << 20) - 1)));
        assert!(first < 3 * last && last < 3 * first, "{first:?} and {last:?}");
    }

    #[test]
    fn it_shows_nothing_and_equals_itself_alone() {
        let secret = Secret::new(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        for other in [&b"hunter"[..], b"hunter3", b"Hunter2", b"hunter22", b""] {
            assert_ne!(secret, Secret::new(other.to_vec()));
        }
        assert_eq!(secret, Secret::new(b"hunter2".to_vec()));
    }
}
