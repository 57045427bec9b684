//! What a transfer is compared with: a plain loop of copies within one process.

/// Copies block `i` of `from` to block `destination[i]` of `to`, for every `i`: one memcpy a block.
pub(super) fn copy_blocks(from: &[u8], to: &mut [u8], block: usize, destination: &[u32]) {
    for (from, to_block) in from.chunks_exact(block).zip(destination) {
        to[*to_block as usize * block..][..block].copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::content, pattern::Pattern};

    #[test]
    fn the_baseline_moves_the_same_blocks() {
        let mut source = vec![0; 30 * 17];
        content::fill(&mut source, 17);
        let destination = Pattern::new(9).permutation(30);
        let mut target = vec![content::NOTHING; source.len()];
        copy_blocks(&source, &mut target, 17, &destination);
        assert!(content::arrived(&target, 17, &destination));
    }
}
