//! Seats: one engine's activity line, and how to wake the engine.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pmd_core::{
    ring::quiesce::{Active, Activity},
    sync::{AtomicU32, Ordering},
};
use thiserror::Error;

use super::{Device, segment::ENGINES};
use crate::backend::{SetupError, Waker};

/// An engine's place in its device. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    device: Device,
    index: usize,
}

/// The device has as many engines as it has activity lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the soft HCA has {limit} engines: drop a lane, or open another device")]
pub(crate) struct NoSeat {
    /// How many there can be.
    pub(crate) limit: usize,
}

impl From<NoSeat> for SetupError {
    fn from(full: NoSeat) -> Self {
        let limit = full.limit as u64;
        Self::Limit { what: "number of engines", wanted: limit + 1, limit }
    }
}

impl Device {
    /// Takes an activity line for one engine. `waker` is woken when something about any peer changes (a connection
    /// is complete, a process is gone).
    ///
    /// # Errors
    /// [`NoSeat`].
    pub(crate) fn seat(&self, waker: Waker) -> Result<Seat, NoSeat> {
        let index = self.seats().take(waker).ok_or(NoSeat { limit: ENGINES })?;
        self.regions().segment().count_engine(index);
        Ok(Seat { device: self.clone(), index })
    }
}

impl Seat {
    /// Begins a round of moving bytes; keys are checked within it and it ends when the guard is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> Active<'_> {
        self.activity().enter()
    }

    /// The line that peers watch.
    #[inline]
    pub(crate) fn activity(&self) -> &Activity {
        &self.device.regions().segment().all_activities()[self.index]
    }

    /// A number for a new queue pair, that no other of this device has: 24 bits, not 0. Numbers come round again after
    /// 2^24 queue pairs.
    pub(crate) fn next_queue_pair(&self) -> u32 {
        self.device.seats().next_queue_pair()
    }

    /// The device that the engine sits in.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.device.seats().release(self.index);
    }
}

/// Who sits where in one device.
#[derive(Debug)]
pub(super) struct Seats {
    wakers: Mutex<Vec<Option<Waker>>>,
    queue_pairs: AtomicU32,
}

impl Seats {
    pub(super) fn new() -> Self {
        Self { wakers: Mutex::new(Vec::new()), queue_pairs: AtomicU32::new(0) }
    }

    /// Wakes every engine.
    pub(super) fn wake_all(&self) {
        self.lock().iter().flatten().for_each(Waker::wake);
    }

    fn next_queue_pair(&self) -> u32 {
        const NUMBERS: u32 = (1 << 24) - 1;
        self.queue_pairs.fetch_add(1, Ordering::Relaxed) % NUMBERS + 1
    }

    fn take(&self, waker: Waker) -> Option<usize> {
        let mut wakers = self.lock();
        let free = wakers.iter().position(Option::is_none);
        let index = free.unwrap_or(wakers.len());
        if index == ENGINES {
            return None;
        }
        if free.is_none() {
            wakers.push(None);
        }
        wakers[index] = Some(waker);
        Some(index)
    }

    fn release(&self, index: usize) {
        self.lock()[index] = None;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Waker>>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
