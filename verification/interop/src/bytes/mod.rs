//! What our driver writes and reads, compared byte by byte with libmlx5's.
//!
//! ```text
//!   request   generated work requests          generated completion entries
//!                |            |                     |             |
//!   ours: pmd_core's queues   theirs: libmlx5       |             |
//!     over memory of ours       over its own      ours: poll    theirs: ibv_poll_cq, ibv_start_poll
//!                |            |                     |             |
//!   layout     field by field, by name           completed   field by field, by name
//! ```
//! libmlx5 runs unmodified on a (simulated) ConnectX, which does one empty write and hears nothing from then on
//! (`theirs`). Both sides get the same requests and the same entries at the same indexes, for as long as a case goes.
//! What is left out, because libmlx5 leaves there what was there before and no device looks: bytes behind the last unit,
//! padding of inline bytes, the immediate of ibv_wr_* operations that have none, the compare operand of fetch-and-add.
//! Our NOP has no counterpart in libibverbs.

mod completed;
mod completion;
pub mod cost;
mod layout;
mod mutant;
mod ours;
mod pair;
mod receive;
mod request;
mod send;
mod shape;
mod theirs;

use std::fmt::Debug;

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use crate::harness::Harness;

/// What is generated.
#[derive(Clone, Debug)]
pub struct Options {
    /// The device that libmlx5 drives.
    pub device: String,
    /// Cases of each check; a case is some dozens of requests or entries.
    pub cases: u32,
    /// Where the generator starts.
    pub seed: u64,
}

/// Runs all comparisons.
pub fn check(harness: &mut Harness, options: &Options) {
    mutant::check(harness, options);
    send::check(harness, options);
    receive::check(harness, options);
    completion::check(harness, options);
}

impl Options {
    /// Runs a check over generated values; panics with the smallest value found that fails.
    fn run<S: Strategy>(&self, strategy: &S, mut check: impl FnMut(S::Value) -> Result<(), TestCaseError>)
    where
        S::Value: Debug,
    {
        let mut runner = self.runner();
        let check = std::cell::RefCell::new(&mut check);
        if let Err(error) = runner.run(strategy, |value| (check.borrow_mut())(value)) {
            panic!("{error}");
        }
    }

    fn runner(&self) -> TestRunner {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let config = Config { cases: self.cases, failure_persistence: None, ..Config::default() };
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }
}
