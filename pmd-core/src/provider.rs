//! The two seams of the driver.
//!
//! **Upper**: [`Provider`] takes work requests and gives completions. Lanes in `pmd-host` are its callers. NICs that
//! only speak ibverbs implement it directly.
//!
//! **Lower**: queue memory, doorbell record and doorbell ([`SendQueueMemory`], [`Hardware`] and friends).
//! [`crate::queue::QueueProvider`] turns anything that offers the lower seam into a [`Provider`]: ConnectX through
//! mlx5dv and the soft HCA both come in here, so both run the same queue-pair code.

mod completion;
mod hardware;
mod request;

pub use completion::{Completion, CompletionError, CompletionKind, CompletionQueueError};
pub use hardware::{
    CompletionQueueMemory, Hardware, ReceiveQueueMemory, SendDoorbell, SendQueueMemory,
    SharedReceiveQueueMemory, WqeRing,
};
pub use request::{Operation, Payload, PostError, ReceiveRequest, SendFlags, SendRequest};

use crate::queue::QueuePairState;

/// Index of a queue pair within its provider; given out when the queue pair is created, reused after it is
/// destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct QueuePairHandle(pub u32);

/// Index of a shared receive queue within its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct SharedReceiveHandle(pub u32);

/// Queue pair number as the device knows it (24 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct QueuePairNumber(pub u32);

/// One device's queue pairs and the completion queue they share, owned by one thread.
///
/// Posting and ringing are separate: any number of requests are posted, then one doorbell hands them over.
/// A request is borrowed only for the call; when the queue is full nothing was taken and the caller posts the same
/// request again after polling.
///
/// A send queue gets its room back from completions only: of every queue's worth of requests, signal at least one.
/// Once a request has failed, every later one completes too, as flushed, whether it was signalled or not.
///
/// None of these calls allocates, locks, logs or panics.
pub trait Provider {
    /// Writes one work request into the send queue. The device does not see it before [`Provider::ring_send`].
    ///
    /// # Errors
    /// [`PostError::QueueFull`] is the normal return of a full queue. The others name what is wrong with the request.
    fn post_send(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError>;

    /// Hands everything posted since the last call to the device: one doorbell record, one doorbell.
    /// Does nothing when nothing was posted. In the error state, too, it hands over what was posted before: the
    /// device flushes it.
    fn ring_send(&mut self, queue_pair: QueuePairHandle);

    /// Writes one receive request. The device does not see it before [`Provider::ring_receive`].
    ///
    /// # Errors
    /// As [`Provider::post_send`].
    fn post_receive(
        &mut self,
        queue_pair: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError>;

    /// Hands posted receives to the device.
    fn ring_receive(&mut self, queue_pair: QueuePairHandle);

    /// Writes one receive request into a shared receive queue. The device does not see it before
    /// [`Provider::ring_shared_receive`].
    ///
    /// # Errors
    /// As [`Provider::post_send`].
    fn post_shared_receive(
        &mut self,
        queue: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError>;

    /// Hands receives posted to a shared receive queue to the device.
    fn ring_shared_receive(&mut self, queue: SharedReceiveHandle);

    /// Moves up to `completions.len()` completions out of the completion queue and returns how many. On a software
    /// device this is also where unfinished work goes on.
    ///
    /// # Errors
    /// [`CompletionQueueError`] when the queue itself is broken; its queue pairs are then in the error state, and
    /// every later call gives the same error. Completions found before the broken entry are delivered first.
    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError>;

    /// State of a queue pair as far as completions polled until now tell; `Reset` for an unknown handle.
    fn state(&self, queue_pair: QueuePairHandle) -> QueuePairState;

    /// 64-byte send-queue slots (WQEBBs) that are free now. A WRITE or READ with one SGE takes one.
    fn send_room(&self, queue_pair: QueuePairHandle) -> u32;
}
