//! The only source of chance: xoshiro256** seeded through SplitMix64.
//!
//! Written here rather than taken from a crate because its stream is part of this crate's promise: the same seed
//! gives the same object ids in every future version. The pinned numbers at the bottom hold it. It is not, and need
//! not be, fit for secrets.

/// A stream of numbers that a seed determines.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Rng {
    /// The stream of `seed`. Any seed is good, zero too.
    pub fn new(seed: u64) -> Self {
        let mut expanding = seed;
        Rng { state: std::array::from_fn(|_| splitmix(&mut expanding)) }
    }

    /// A stream of its own for one purpose, so that drawing more for one thing leaves the others as they were.
    pub fn for_purpose(seed: u64, purpose: &str) -> Self {
        let mut mixed = seed;
        for byte in purpose.bytes() {
            mixed = splitmix(&mut mixed) ^ u64::from(byte);
        }
        Rng::new(mixed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number in `0..bound`; 0 if `bound` is 0. The bias of the multiplication (below 2^-32) does not matter here.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < usize::from(percent)
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// `len` bytes that no compressor makes smaller.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.draw().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn the_stream_never_changes() {
        let mut rng = Rng::new(7);
        let drawn: Vec<u64> = (0..3).map(|_| rng.draw()).collect();
        assert_eq!(drawn, STREAM_OF_7);
        assert_ne!(Rng::for_purpose(7, "a").draw(), Rng::for_purpose(7, "b").draw(),);
    }

    const STREAM_OF_7: [u64; 3] = [0xb358faf74ef9765a, 0x475c3d964f482cd2, 0xd6f1d349952c7996];

    #[test]
    fn draws_stay_in_their_range() {
        let mut rng = Rng::new(1);
        for bound in [1, 2, 3, 100] {
            assert!((0..1000).all(|_| rng.below(bound) < bound));
        }
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| (3..=5).contains(&rng.between(3, 5))));
        assert_eq!(rng.bytes(13).len(), 13);
    }
}
