//! What the blocks hold, and whether they arrived.

use crate::pattern::Pattern;

/// What a destination holds before a verified iteration, so that a byte that did not arrive is seen.
pub(super) const NOTHING: u8 = 0xee;

const SEED: u64 = 0x006b_765f_6265_6e63;

/// Fills a source: every block different.
pub(super) fn fill(bytes: &mut [u8], block: usize) {
    let mut pattern = Pattern::new(SEED);
    bytes.chunks_exact_mut(block).for_each(|block| pattern.fill(block));
}

/// Whether block `destination[i]` of `found` is block `i` of a filled source, for every `i`.
pub(super) fn arrived(found: &[u8], block: usize, destination: &[u32]) -> bool {
    let mut pattern = Pattern::new(SEED);
    let mut expected = vec![0; block];
    destination.iter().all(|to| {
        pattern.fill(&mut expected);
        found[*to as usize * block..][..block] == expected
    })
}

/// BLAKE3 of a cache that got block `i` of `source` as its block `destination[i]`, for every `i`.
pub(super) fn digest_of_arrived(source: &[u8], block: usize, destination: &[u32]) -> [u8; 32] {
    let mut origins = vec![0; destination.len()];
    (0..).zip(destination).for_each(|(from, to): (usize, _)| origins[*to as usize] = from);
    let mut hasher = blake3::Hasher::new();
    for from in origins {
        hasher.update(&source[from * block..][..block]);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of 50 blocks, a permutation, and what should arrive.
    fn moved(block: usize) -> (Vec<u8>, Vec<u32>, Vec<u8>) {
        let mut source = vec![0; 50 * block];
        fill(&mut source, block);
        let destination = Pattern::new(5).permutation(50);
        let mut target = vec![NOTHING; 50 * block];
        for (from, to) in destination.iter().enumerate() {
            target[*to as usize * block..][..block].copy_from_slice(&source[from * block..][..block]);
        }
        (source, destination, target)
    }

    #[test]
    fn what_arrived_is_recognised_and_one_wrong_byte_is_too() {
        for block in [1, 13, 64] {
            let (source, destination, mut target) = moved(block);
            assert!(arrived(&target, block, &destination));
            let digest = digest_of_arrived(&source, block, &destination);
            assert_eq!(digest, *blake3::hash(&target).as_bytes());
            let middle = target.len() / 2;
            target[middle] ^= 1;
            assert!(!arrived(&target, block, &destination));
            assert_ne!(digest, *blake3::hash(&target).as_bytes());
        }
    }

    #[test]
    fn blocks_in_another_order_are_not_what_should_have_arrived() {
        let (source, mut destination, target) = moved(64);
        destination.swap(3, 4);
        assert!(!arrived(&target, 64, &destination));
        assert_ne!(digest_of_arrived(&source, 64, &destination), *blake3::hash(&target).as_bytes());
        assert!(!arrived(&vec![NOTHING; 50 * 64], 64, &destination));
    }
}
