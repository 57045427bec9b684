//! What a case is given: the bed, how hard to try, and how long to wait.

use std::{sync::Arc, time::Duration};

use crate::bed::{Ability, Bed};

/// How much of a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Effort {
    /// Every kind of thing once or a few times: for slow devices.
    Quick,
    /// All of it.
    Full,
}

/// What a case is given.
#[derive(Clone)]
pub struct Context {
    /// Where it runs.
    pub bed: Arc<dyn Bed>,
    /// How much of it runs.
    pub effort: Effort,
    /// First seed of what is drawn by chance.
    pub seed: u64,
    /// Seeds that cases take which try many.
    pub seeds: u64,
    /// Longest wait for anything that must happen. Whatever takes longer is a hang.
    pub patience: Duration,
}

impl Context {
    /// One number with little effort, another with full effort.
    #[must_use]
    pub fn scale<T>(&self, quick: T, full: T) -> T {
        match self.effort {
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }

    /// Whether the bed has an ability.
    #[must_use]
    pub fn has(&self, ability: Ability) -> bool {
        self.bed.lacks(ability).is_none()
    }

    /// A source of numbers for the seed with this index.
    #[must_use]
    pub fn random(&self, index: u64) -> Random {
        Random::new(self.seed.wrapping_add(index))
    }
}

/// Numbers by chance, the same ones for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Bytes that differ from place to place and from seed to seed.
#[must_use]
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| random.draw().to_le_bytes()).take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}
