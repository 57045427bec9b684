//! Batches that are being submitted to a server: whose they are, and which part comes next.
//!
//! Called by [`Worker::push_pull`](super::Worker::push_pull) once a push-pull has its slots, so that one that was not taken
//! leaves no gap in its batch. A batch belongs to who began it: threads that submit batches to one server at the same time
//! do not get into each other's.

use std::{collections::HashMap, sync::Arc, thread::ThreadId};

use super::{Part, PushPullError, connection::Connection, submit::Reserved};
use crate::wire::BatchPart;

/// Batches of one worker that may be open at a server; the server bounds them as well.
const MOST_OPEN: usize = 1024;

/// Who begins a batch, and goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Thread(ThreadId),
    Named(u64),
}

/// Those of one server.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// Number of the last one that was begun.
    last: u32,
    /// The next part of each that has not ended.
    open: HashMap<Owner, BatchPart>,
}

/// A part of a batch that was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotBegun;

/// Places in batches that a push-pull has taken.
#[derive(Debug)]
#[must_use = "what is not submitted has to take them back"]
pub(super) struct Places {
    owner: Owner,
    part: Part,
    taken: Vec<(Arc<Connection>, BatchPart)>,
}

/// Gives the headers of a push-pull their places in the batch of each server.
///
/// # Errors
/// [`PushPullError::NoBatch`], or a server is down; then no place is taken.
pub(super) fn place(
    reserved: &mut [Reserved],
    (owner, part): (Owner, Part),
) -> Result<Places, PushPullError> {
    let mut places = Places { owner, part, taken: Vec::new() };
    for headers in reserved.chunk_by_mut(|one, next| Arc::ptr_eq(one.connection(), next.connection())) {
        let connection = Arc::clone(headers[0].connection());
        let server = connection.server.rank;
        let found = connection.live().and_then(|mut state| {
            let first = state.batches.place(owner, part, headers.len());
            first.map_err(|NotBegun| PushPullError::NoBatch { server })
        });
        let first = found.inspect_err(|_| places.take_back())?;
        let Some(first) = first else { continue };
        for (index, header) in (first.index..).zip(headers) {
            header.piece_mut().place(BatchPart { index, ..first });
        }
        places.taken.push((connection, first));
    }
    Ok(places)
}

impl Places {
    /// The push-pull is not submitted: the next part takes its places.
    pub(super) fn take_back(&self) {
        for (connection, first) in &self.taken {
            connection.state().batches.take_back(self.owner, self.part, *first);
        }
    }
}

impl Batches {
    /// The place of the first of so many headers. None for one header that is no part of anything.
    pub(super) fn place(
        &mut self,
        owner: Owner,
        part: Part,
        headers: usize,
    ) -> Result<Option<BatchPart>, NotBegun> {
        let next = |first: BatchPart| {
            // Every header has a request slot, of which there are no more than fit.
            BatchPart { index: first.index.saturating_add(headers as u16), ..first }
        };
        Ok(Some(match part {
            Part::Single if headers == 1 => return Ok(None),
            Part::Single => self.begin(),
            Part::Start => {
                self.make_room(owner);
                let first = self.begin();
                self.open.insert(owner, next(first));
                first
            }
            Part::Middle => {
                let open = self.open.get_mut(&owner).ok_or(NotBegun)?;
                let first = *open;
                *open = next(first);
                first
            }
            Part::End => self.open.remove(&owner).ok_or(NotBegun)?,
        }))
    }

    /// One that cannot be completed any more.
    pub(super) fn forget(&mut self, batch: u32) {
        self.open.retain(|_, next| next.batch != batch);
    }

    /// As it was before the headers had their places.
    fn take_back(&mut self, owner: Owner, part: Part, first: BatchPart) {
        let _ = match part {
            Part::Single => None,
            Part::Start => self.open.remove(&owner),
            Part::Middle | Part::End => self.open.insert(owner, first),
        };
    }

    const fn begin(&mut self) -> BatchPart {
        self.last = self.last.wrapping_add(1);
        BatchPart { batch: self.last, index: 0 }
    }

    /// Forgets the oldest where there are too many: nobody goes on with it.
    fn make_room(&mut self, owner: Owner) {
        if self.open.len() < MOST_OPEN || self.open.contains_key(&owner) {
            return;
        }
        if let Some(oldest) = self.open.values().map(|next| next.batch).min() {
            self.forget(oldest);
        }
    }
}
