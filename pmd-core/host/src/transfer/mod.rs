//! Transfers: what is planned ([`WorkList`]), what is in flight ([`Transfer`]), and what became of it.
//!
//! ```text
//!  block tables --> WorkListBuilder --> Arc<WorkList> --> Route::submit --> Transfer
//!  (kv-api, af-api)   merge, gather       any number of times   one ring slot   poll, wait, .await, cancel
//! ```
//! Planning costs a few nanoseconds a piece and happens on the caller's thread; posting happens on the lane
//! ([`crate::lane`]), which allocates nothing per piece. A [`Transfer`] that has an outcome, whatever it is, is quiet:
//! the device holds nothing of it any more, so the memory it named can be freed or reused.
//!
//! Each has a `tracing` span `transfer` of level DEBUG from its submission to its outcome: `over` what it goes, `direction`,
//! `bytes`, `entries`, and in the end `outcome` (`done`, `cancelled`, `failed`), `landed` entries and the `error`. Its parent
//! is the span in which it was submitted. One without an outcome found its lane's ring full. Where nobody subscribes it
//! costs a comparison, and post and poll nothing.
mod builder;
mod device_fault;
mod error;
mod handle;
mod spares;
mod trace;
mod work_list;

#[cfg(test)]
mod tests;

pub use builder::WorkListBuilder;
pub use device_fault::DeviceFault;
pub use error::{LaneFault, RouteFault, SendError, SubmitError, TransferError, WaitError};
pub use handle::{
    CancelOutcome, KeepAlive, Notification, Observer, Outcome, Priority, Transfer, TransferEnd,
    TransferObserver, TransferOptions,
};
pub(crate) use handle::{Completer, Listener, Stopper, transfer};
pub use spares::{Lent, Spare, Spares};
pub(crate) use trace::Trace;
pub use work_list::{Direction, Entry, LocalPiece, WorkBuffers, WorkList, WorkListLimits};
