//! A set of objects as one bit a number.

use super::Number;

/// A set of numbers of one database.
#[derive(Clone)]
pub(crate) struct NumberSet {
    words: Vec<u64>,
}

impl NumberSet {
    /// An empty set for numbers below `end`.
    pub(crate) fn new(end: u32) -> Self {
        Self { words: vec![0; (end as usize).div_ceil(64)] }
    }

    /// Adds a number; tells whether it is new.
    pub(crate) fn insert(&mut self, number: Number) -> bool {
        let (word, bit) = place(number);
        let Some(word) = self.words.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Adds the numbers from `start` on whose bits are set.
    pub(crate) fn insert_all(&mut self, start: u32, bits: &[u64]) {
        let (first, shift) = (start as usize / 64, start % 64);
        for (at, word) in bits.iter().enumerate() {
            let mut put = |at: usize, bits: u64| {
                if let Some(own) = self.words.get_mut(at) {
                    *own |= bits;
                }
            };
            put(first + at, word << shift);
            if shift > 0 {
                put(first + at + 1, word >> (64 - shift));
            }
        }
    }

    pub(crate) fn contains(&self, number: Number) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The members, ascending.
    pub(crate) fn to_vec(&self) -> Vec<Number> {
        let count = self.words.iter().map(|word| word.count_ones() as usize).sum();
        let mut numbers = Vec::with_capacity(count);
        for (at, word) in self.words.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                numbers.push(Number(at as u32 * 64 + rest.trailing_zeros()));
                rest &= rest - 1;
            }
        }
        numbers
    }
}

fn place(number: Number) -> (usize, u64) {
    (number.0 as usize / 64, 1 << (number.0 % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members() {
        let mut set = NumberSet::new(130);
        for (number, is_new) in [(129, true), (0, true), (63, true), (64, true), (0, false)] {
            assert_eq!(set.insert(Number(number)), is_new, "{number}");
        }
        assert_eq!(set.to_vec(), [0, 63, 64, 129].map(Number));
        let mut shifted = NumberSet::new(200);
        shifted.insert_all(3, &[1 | 1 << 63, 2]);
        assert_eq!(shifted.to_vec(), [3, 66, 68].map(Number));
        assert!(set.contains(Number(64)) && !set.contains(Number(65)) && !set.contains(Number(1000)));
    }
}
