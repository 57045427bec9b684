//! Bytes that are cheap to make and different everywhere, and shuffles.

/// A small generator (splitmix64): good enough to make every block of a cache different, and repeatable.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(u64);

impl Pattern {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        let rest = words.into_remainder();
        let last = self.next().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// The numbers below `count` in a random order (Fisher-Yates).
    pub(crate) fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..count).collect();
        for last in (1..numbers.len()).rev() {
            let other = (self.next() % (last as u64 + 1)) as usize;
            numbers.swap(last, other);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_has_each_number_once_and_is_not_the_identity() {
        let mut permutation = Pattern::new(1).permutation(1000);
        assert!(permutation.iter().enumerate().any(|(index, number)| index as u32 != *number));
        permutation.sort_unstable();
        assert_eq!(permutation, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn every_length_is_filled_to_the_end() {
        for length in 0..40 {
            let (mut first, mut second) = (vec![0; length], vec![0xff; length]);
            Pattern::new(7).fill(&mut first);
            Pattern::new(7).fill(&mut second);
            assert_eq!(first, second, "length {length}");
        }
    }
}
