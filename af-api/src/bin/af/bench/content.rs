//! What is pushed and pulled, so that it can be checked.

/// Who sent it to whom, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) round: u32,
    pub(super) worker: u32,
    /// The server that it comes from; `None` of what a worker pushes to all of them.
    pub(super) server: Option<u32>,
}

impl Content {
    /// Fills a tensor.
    pub(super) fn fill(self, bytes: &mut [u8]) {
        let mut words = self.words();
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&words().to_le_bytes()[..chunk.len()]));
    }

    /// Whether a tensor is what [`Content::fill`] makes.
    pub(super) fn is_in(self, bytes: &[u8]) -> bool {
        let mut words = self.words();
        bytes.chunks(8).all(|chunk| chunk == &words().to_le_bytes()[..chunk.len()])
    }

    /// A small generator (splitmix64), repeatable.
    fn words(self) -> impl FnMut() -> u64 {
        let from = self.server.map_or(0, |server| server + 1);
        let mut state = u64::from(self.round) << 32 ^ u64::from(self.worker) << 16 ^ u64::from(from);
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Content = Content { round: 1, worker: 2, server: Some(0) };

    #[test]
    fn every_length_is_filled_and_one_wrong_byte_is_seen() {
        for length in 0..40 {
            let mut bytes = vec![0; length];
            ONE.fill(&mut bytes);
            assert!(ONE.is_in(&bytes));
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
                assert!(!ONE.is_in(&bytes), "length {length}");
            }
        }
    }

    #[test]
    fn contents_of_others_are_told_apart() {
        let mut bytes = vec![0; 64];
        ONE.fill(&mut bytes);
        for other in [
            Content { round: 2, ..ONE },
            Content { worker: 1, ..ONE },
            Content { server: Some(1), ..ONE },
            Content { server: None, ..ONE },
        ] {
            assert!(!other.is_in(&bytes), "{other:?}");
        }
    }
}
