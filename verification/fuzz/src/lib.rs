//! Fuzz targets: what holds for every input, however strange.
//!
//! Outside of the product and not published. Each module is one target: `run` takes bytes that a fuzzer made, and
//! panics where the driver breaks a promise. `fuzz_targets/` hands libFuzzer's bytes to them; [`seeds`] makes the
//! committed inputs that fuzzing starts from. The suite `fuzz` of `verification` builds and runs all of this.
//!
//! | target | bytes become | promise |
//! |---|---|---|
//! | [`wqe`] | a send queue | parsing stays inside; what parses is emitted and parsed again as it was |
//! | [`cqe`] | completion entries | the same; and a poller that meets them answers with errors at worst |
//! | [`control`] | the control connection's stream | parsing takes memory only for what has arrived; valid frames come back |
//! | [`handshake`] | two sides of a control connection and somebody between | a side hears what the other one with its key said, in order, or hangs up |
//! | [`planner`] | two caches and a block table | the planned work requests copy what a naive copy copies, and nothing else |
//! | [`push_pull`] | a request's header, or a response | parsing takes memory only for what is there; what parses is emitted as it was |
//! | [`two_sided`] | actions on two connected queue pairs | every request completes once, in order, with its data; nothing hangs |
//! | [`planted`] | | none: it panics on one pattern, to show that the fuzzer finds things |

mod allocation;
pub mod control;
pub mod cqe;
pub mod handshake;
pub mod memory;
pub mod planner;
pub mod planted;
pub mod push_pull;
mod security;
pub mod seeds;
pub mod two_sided;
pub mod wqe;
