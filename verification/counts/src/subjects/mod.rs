//! What is counted. Called by the command when valgrind runs it.
//!
//! | module | subjects |
//! |---|---|
//! | `queue` | posting and polling on ConnectX's queues, the device being memory |
//! | `wqe` | one work request's bytes: made from its fields, and patched from a template |
//! | `plan` | from block tables to work requests: one block, a thousand, a million |
//! | `soft` | the soft HCA moving bytes; transfers of many blocks through a lane |
//!
//! Every subject does its work once before it counts: memory is allocated and what is loaded late is loaded then.

mod plan;
mod queue;
mod soft;
mod wqe;

use crate::meter::Meter;

/// Why there is nothing to count. Boxed: any of the driver's errors, and none is expected.
pub type SubjectError = Box<dyn std::error::Error>;

/// Does the work of all subjects.
///
/// # Errors
/// The driver's, where a subject cannot do its work or moved other bytes than it should.
pub fn run(meter: &mut Meter) -> Result<(), SubjectError> {
    queue::run(meter)?;
    wqe::run(meter)?;
    plan::run(meter)?;
    soft::run(meter)
}

/// Numbers below `count`, each once, in an order without neighbours.
fn permutation(count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..order.len()).rev() {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}
