//! Messages as a route's owner meets them: who takes them, and where their memory comes from.
#![allow(unsafe_code)] // MessageMemory carries a promise about memory

use std::ptr::NonNull;

use pmd_core::memory::LocalKey;

use super::RouteId;
use crate::{backend::SetupError, transfer::RouteFault};

/// A message from the peer, borrowed for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What the peer sent.
    pub bytes: &'a [u8],
    /// The number beside it, if the peer gave one.
    pub immediate: Option<u32>,
}

/// Takes a route's messages, in the order in which the peer sent them.
///
/// Runs on the lane's thread: what it does delays everything else on the lane, and waiting for a transfer or a route
/// of the same lane there waits for ever. A panic takes the route down ([`RouteFault::HandlerPanicked`]), not the
/// lane. A handler that holds a [`Route`](super::Route) keeps it open; close that route explicitly.
pub trait MessageHandler: Send {
    /// A message has arrived.
    fn message(&mut self, route: RouteId, message: Message<'_>);

    /// The route is down; no message follows.
    fn down(&mut self, route: RouteId, fault: RouteFault) {
        let _ = (route, fault);
    }
}

impl<F: FnMut(RouteId, Message<'_>) + Send> MessageHandler for F {
    fn message(&mut self, route: RouteId, message: Message<'_>) {
        self(route, message);
    }
}

/// Gives registered memory to a route's messages.
pub trait MessageRegistrar: Send + Sync {
    /// Allocates `bytes` bytes and registers them with [`Access::LOCAL_WRITE`](pmd_core::memory::Access::LOCAL_WRITE)
    /// on the lane's device.
    ///
    /// # Errors
    /// [`SetupError`] when memory or registrations have run out.
    fn allocate(&self, bytes: usize) -> Result<Box<dyn MessageMemory>, SetupError>;
}

/// A registered buffer; dropping it deregisters and frees.
///
/// # Safety
/// The implementer promises that `length` bytes at `address` stay mapped, writable and registered under `key` as long
/// as the value lives, and that nothing but its holder and the device on the holder's behalf touches them: no peer has
/// a key for them.
///
/// The holder promises to drop it only when no work request names it any more.
pub unsafe trait MessageMemory: Send {
    /// First byte.
    fn address(&self) -> NonNull<u8>;

    /// Bytes.
    fn length(&self) -> usize;

    /// Local key.
    fn key(&self) -> LocalKey;
}
