//! Receive buffers that the application gives, and takes back.

use std::time::Instant;

use super::{OfferError, Server, areas::Place, lock};
use crate::{
    tensor::Tensor,
    waiting::wait_until,
    wire::{AreaGone, kind},
};

/// A slot is at least so many bytes, and starts at a multiple of it.
const ALIGNMENT: u64 = 1;

impl Server {
    /// Gives memory for pushes of one key of one worker: `depth` slots of even size, one after the other in `buffer`. The
    /// worker gets it when it next asks for room; it asks before its first push, and again where it was told that its room is
    /// gone, which this does.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn offer(&self, worker: u32, key: u64, buffer: &Tensor, depth: u16) -> Result<(), OfferError> {
        let (bytes, slots) = (u64::from(buffer.bytes()), u64::from(depth));
        let capacity = bytes.checked_div(slots).unwrap_or(0);
        if capacity < ALIGNMENT {
            return Err(OfferError::TooSmall { bytes, shares: usize::from(depth) });
        }
        if !buffer.memory().belongs_to(self.endpoint()) {
            return Err(OfferError::ForeignMemory);
        }
        let (memory, offset) = (buffer.memory().clone(), buffer.offset());
        let place = Place { memory, offset, capacity, stride: capacity, depth };
        lock(&self.0.shared.offers).insert(worker, key, place);
        self.revoke(worker, key, None);
        Ok(())
    }

    /// Gives memory for several keys of several workers in even chunks, one for each pair and in their order: the chunk of a
    /// pair is one slot.
    ///
    /// # Errors
    /// [`OfferError`]; then none was given.
    pub fn offer_evenly(&self, buffer: &Tensor, pairs: &[(u32, u64)]) -> Result<(), OfferError> {
        let bytes = u64::from(buffer.bytes());
        let too_small = OfferError::TooSmall { bytes, shares: pairs.len() };
        let chunk =
            bytes.checked_div(pairs.len() as u64).filter(|chunk| *chunk > 0).ok_or(too_small.clone())?;
        let layout = crate::tensor::Layout::of_bytes(chunk as u32);
        for (index, &(worker, key)) in pairs.iter().enumerate() {
            let offset = buffer.offset() + chunk * index as u64;
            let share = Tensor::new(buffer.memory(), offset, layout).map_err(|_| too_small.clone())?;
            self.offer(worker, key, &share, 1)?;
        }
        Ok(())
    }

    /// Takes a buffer back. When this returns `Ok` the worker writes there no more, and its next push of the key gets
    /// memory of the server's.
    ///
    /// # Errors
    /// [`OfferError::NotOffered`]; [`OfferError::Timeout`] when pushes of the worker were still there at `deadline`: they
    /// go with the answers to their requests.
    pub fn take_back(&self, worker: u32, key: u64, deadline: Option<Instant>) -> Result<(), OfferError> {
        let removed = lock(&self.0.shared.offers).remove(worker, key);
        let place = removed.ok_or(OfferError::NotOffered { worker, key })?;
        self.revoke(worker, key, Some(&place));
        let Some(link) = self.inbox().link(worker) else { return Ok(()) };
        let released = wait_until(deadline, |waker| link.look_released(key, &place.memory, waker));
        released.ok_or_else(|| {
            lock(&self.0.shared.offers).insert(worker, key, Place::clone(&place));
            OfferError::Timeout { worker, key }
        })
    }

    /// Tells the worker that it is to write no more into the key's areas: all, or those in one buffer.
    fn revoke(&self, worker: u32, key: u64, place: Option<&Place>) {
        let Some(link) = self.inbox().link(worker) else { return };
        for first_slot in link.areas(key, place.map(|place| &place.memory)) {
            if let Ok(body) = postcard::to_allocvec(&AreaGone { key, first_slot }) {
                // A worker that is down writes nothing.
                let _ = link.peer.connection().event(kind::REVOKE_AREA, body);
            }
        }
    }
}
