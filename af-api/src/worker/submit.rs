//! Submitting: a planned share becomes headers, each header takes its slots, and a leg is posted for it.
//!
//! All legs of a push-pull take their slots before the first is posted, so a push-pull that does not fit leaves nothing
//! behind and holds nothing while it waits.

use std::{sync::Arc, time::Instant};

use pmd_core::memory::{RemoteAddress, RemoteKey};
use pmd_host::transfer::{
    Direction, Notification, Observer, TransferObserver, TransferOptions, WorkList, WorkListBuilder,
};

use super::{
    DownCause, FailureCause, Part, PushPullError,
    areas::Place,
    connection::{Connection, State},
    operation::{Leg, Operation, Target},
    request::{Pulled, Pushed, Share},
};
use crate::{
    tensor::Memory,
    trace::{self, WorkerStamps},
    wire::{
        AreaGone, BATCH_BYTES, BatchPart, Definition, Flags, HEADER_BYTES, INLINE, Immediate, NO_SLOT,
        PULL_BYTES, PUSH_BYTES, PullEntry, PushEntry, RequestHeader, RequestView,
    },
};

/// Bytes of the largest definition of a layout.
const DEFINITION_BYTES: usize = 4 + 8 * crate::tensor::MOST_DIMENSIONS;

/// What one header carries.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) connection: Arc<Connection>,
    pushes: Vec<Pushed>,
    pulls: Vec<Pulled>,
    flags: Flags,
    batch: Option<BatchPart>,
    tag: u32,
}

/// A piece that has its slots.
#[derive(Debug)]
pub(super) struct Reserved {
    piece: Piece,
    immediate: Immediate,
    /// For each push with bytes.
    places: Vec<Option<Place>>,
    entries: Vec<PushEntry>,
    definitions: Vec<Definition>,
}

/// Cuts a share into pieces whose headers fit the messages. The parts of a batch are cut too.
pub(super) fn pieces(
    share: Share,
    connection: &Arc<Connection>,
    part: Part,
    (tag, up_to): (u32, bool),
) -> Result<Vec<Piece>, PushPullError> {
    let room = connection.message_bytes.saturating_sub(HEADER_BYTES + BATCH_BYTES);
    if room < PUSH_BYTES + DEFINITION_BYTES {
        return Err(PushPullError::MessageTooShort { server: share.server });
    }
    let empty = || Piece {
        connection: Arc::clone(connection),
        pushes: Vec::new(),
        pulls: Vec::new(),
        batch: None,
        flags: if up_to { Flags::UP_TO } else { Flags::empty() },
        tag,
    };
    let (mut pieces, mut last, mut left) = (Vec::new(), empty(), room);
    let mut next = |last: &mut Piece, left: &mut usize, bytes: usize| {
        if *left < bytes {
            pieces.push(std::mem::replace(last, empty()));
            *left = room;
        }
        *left -= bytes;
    };
    for push in share.pushes {
        next(&mut last, &mut left, PUSH_BYTES + DEFINITION_BYTES);
        last.pushes.push(push);
    }
    for pull in share.pulls {
        next(&mut last, &mut left, PULL_BYTES);
        if !pull.tensor.memory().is_host() {
            last.flags |= Flags::WRITE_ONLY;
        }
        last.pulls.push(pull);
    }
    pieces.push(last);
    let count = pieces.len();
    for (index, piece) in pieces.iter_mut().enumerate() {
        let continues = index > 0 || matches!(part, Part::Middle | Part::End);
        let more = index + 1 < count || matches!(part, Part::Start | Part::Middle);
        piece.flags.set(Flags::CONTINUES, continues);
        piece.flags.set(Flags::MORE, more);
    }
    Ok(pieces)
}

impl Piece {
    /// Takes a request slot and an area slot for each push, or nothing and gives the piece back.
    ///
    /// # Errors
    /// The server is down. Inside, `Err` with the piece: too much is in flight.
    pub(super) fn reserve(self) -> Result<Result<Reserved, Self>, PushPullError> {
        let connection = Arc::clone(&self.connection);
        let mut state = connection.live()?;
        if state.slots.room() == 0 {
            return Ok(Err(self));
        }
        let Some(places) = self.take_places(&mut state) else { return Ok(Err(self)) };
        let Some(immediate) = state.slots.take() else { return Ok(Err(self)) };
        let mut definitions: Vec<Definition> = Vec::new();
        let mut entries = Vec::with_capacity(self.pushes.len());
        for (push, place) in self.pushes.iter().zip(&places) {
            let known = state.layouts.number(&push.layout);
            let number = known.map_or(0, |known| known.number);
            if !known.is_some_and(|known| known.confirmed) {
                // Number 0 is defined for each push that uses it, in their order.
                let repeated = |definition: &Definition| number != 0 && definition.number == number;
                if !definitions.iter().any(repeated) {
                    definitions.push(Definition { number, layout: push.layout });
                }
            }
            let slot = place.map_or(NO_SLOT, |place| place.slot);
            entries.push(PushEntry { key: push.key, length: push.layout.bytes(), layout: number, slot });
        }
        drop(state);
        Ok(Ok(Reserved { piece: self, immediate, places, entries, definitions }))
    }

    /// Sees to it that every key has room, for as many pushes as the piece has of it.
    pub(super) fn agree(&self) -> Result<(), PushPullError> {
        for push in self.pushes.iter().filter(|push| push.layout.bytes() > 0) {
            let depth = self.connection.agree(push.key, u64::from(push.layout.bytes()))?;
            let given =
                self.pushes.iter().filter(|other| other.key == push.key && other.layout.bytes() > 0).count();
            if given > usize::from(depth) {
                return Err(PushPullError::Depth { key: push.key, given, depth });
            }
        }
        Ok(())
    }

    /// Gives it its place in its batch.
    pub(super) const fn place(&mut self, place: BatchPart) {
        self.batch = Some(place);
    }

    fn take_places(&self, state: &mut State) -> Option<Vec<Option<Place>>> {
        let mut places = Vec::with_capacity(self.pushes.len());
        for push in &self.pushes {
            let bytes = u64::from(push.layout.bytes());
            let place = if bytes == 0 { None } else { state.areas.take(push.key, bytes) };
            if bytes > 0 && place.is_none() {
                let taken = self.pushes.iter().zip(&places);
                // Of areas that were in use under this very lock: none is to be released.
                let _ = give_back(state, taken.map(|(push, place)| (push.key, *place)));
                return None;
            }
            places.push(place);
        }
        Some(places)
    }
}

/// Gives back slots that were taken a moment ago. Returns the areas to be released: those that were taken back meanwhile.
#[must_use]
fn give_back(state: &mut State, places: impl Iterator<Item = (u64, Option<Place>)>) -> Vec<AreaGone> {
    let taken = places.filter_map(|(key, place)| Some((key, place?)));
    taken.flat_map(|(key, place)| state.areas.give(key, place.slot)).collect()
}

impl Reserved {
    /// Gives the slots back and the piece out.
    pub(super) fn cancel(self) -> Piece {
        let connection = Arc::clone(&self.piece.connection);
        if let Ok(mut state) = connection.live() {
            state.slots.give(self.immediate);
            let pushes = self.piece.pushes.iter().zip(&self.places);
            let released = give_back(&mut state, pushes.map(|(push, place)| (push.key, *place)));
            drop(state);
            connection.tell_released(&released);
        }
        self.piece
    }

    /// Its server.
    pub(super) const fn connection(&self) -> &Arc<Connection> {
        &self.piece.connection
    }

    pub(super) const fn piece_mut(&mut self) -> &mut Piece {
        &mut self.piece
    }

    /// The server, and what the recorder is told.
    pub(super) fn trace(&self, submitted: u64) -> (u32, trace::Part) {
        let connection = &self.piece.connection;
        let part = trace::Part {
            peer: connection.trace,
            tag: u64::from(self.immediate.to_bits()),
            pushed: self.entries.iter().map(|entry| u64::from(entry.length)).sum(),
            pulled: self.piece.pulls.iter().map(|pull| u64::from(pull.tensor.bytes())).sum(),
            stamps: WorkerStamps { submitted, event_done: submitted, ..WorkerStamps::default() },
        };
        (connection.server.rank, part)
    }

    /// Makes the leg; from now on the connection knows it, unless that is down: then it has ended.
    pub(super) fn enter(&self, operation: &Arc<Operation>, index: usize) -> Arc<Leg> {
        let leg = self.leg(operation, index);
        leg.hold(self.memories());
        let live =
            leg.connection.live().map(|mut state| state.slots.occupy(self.immediate, Arc::clone(&leg)));
        if live.is_err() {
            // One that the connection does not know would not end with it: it is not sent.
            leg.give_up(FailureCause::Down(leg.connection.fault().unwrap_or(DownCause::Closed)));
        }
        leg
    }

    /// Posts the leg, unless it has ended meanwhile. One that cannot be posted ends with the reason.
    pub(super) fn post(mut self, leg: &Arc<Leg>, inline_bytes: u32, deadline: Option<Instant>) {
        if leg.has_ended() {
            return;
        }
        let data = self.collect_inline(inline_bytes);
        let memories = self.memories();
        match self.work() {
            Some((work, pulls)) => self.submit(leg, &work, pulls, &data, (memories, deadline)),
            None => leg.give_up(FailureCause::Down(DownCause::Closed)),
        }
    }

    fn submit(
        self,
        leg: &Arc<Leg>,
        work: &Arc<WorkList>,
        pulls: Vec<PullEntry>,
        data: &[u8],
        (memories, deadline): (Vec<Memory>, Option<Instant>),
    ) {
        let Self { piece, immediate, entries, definitions, .. } = self;
        let Immediate { slot, generation } = immediate;
        let header =
            RequestHeader { flags: piece.flags, slot, generation, tag: piece.tag, batch: piece.batch };
        let view = RequestView { header, pushes: entries, pulls, definitions, data };
        let mut bytes = Vec::with_capacity(view.metadata_bytes() + data.len());
        view.emit(&mut bytes);
        let options = TransferOptions {
            notify: Some(Notification { bytes, immediate: None }),
            keep_alive: Some(Memory::keep_alive(memories)),
            observer: Some(Observer(Arc::clone(leg) as Arc<dyn TransferObserver>)),
            ..TransferOptions::default()
        };
        leg.note_posted();
        match piece.connection.peer.route().submit_waiting(work, options, deadline) {
            Ok(transfer) => leg.keep(transfer),
            // Nothing was sent. A route that is down is closed by the connection, which ends the others on it.
            Err(error) => {
                leg.give_up(super::route_cause(&error));
                piece.connection.check_route();
            }
        }
    }

    /// Data of small tensors, as far as the message has room. Their entries are marked.
    fn collect_inline(&mut self, inline_bytes: u32) -> Vec<u8> {
        let definitions: usize = self.definitions.iter().map(Definition::bytes).sum();
        let entries = PUSH_BYTES * self.entries.len() + PULL_BYTES * self.piece.pulls.len();
        let mut room = self
            .piece
            .connection
            .message_bytes
            .saturating_sub(HEADER_BYTES + BATCH_BYTES + entries + definitions);
        let mut data = Vec::new();
        for ((push, place), entry) in self.piece.pushes.iter().zip(&self.places).zip(&mut self.entries) {
            let length = entry.length as usize;
            let small = entry.length <= inline_bytes && length <= room;
            let reached = place.is_some_and(|place| !place.write_only) && push.tensor.memory().is_host();
            if small && reached {
                push.append_to(&mut data);
                entry.slot |= INLINE;
                room -= length;
            }
        }
        data
    }

    fn leg(&self, operation: &Arc<Operation>, index: usize) -> Arc<Leg> {
        let pushes = self.piece.pushes.iter().zip(&self.places);
        let transport = self.piece.connection.peer.transport();
        let target = |pull: &Pulled| Target {
            place: pull.place,
            tensor: pull.tensor.clone(),
            landing: pull.tensor.memory().landed(transport),
        };
        Arc::new(Leg {
            operation: Arc::clone(operation),
            index,
            connection: Arc::clone(&self.piece.connection),
            immediate: self.immediate,
            batch: self.piece.batch.map(|place| place.batch),
            area_slots: pushes.filter_map(|(push, place)| Some((push.key, (*place)?.slot))).collect(),
            defined: self.definitions.iter().map(|definition| definition.number).collect(),
            pulls: self.piece.pulls.iter().map(target).collect(),
            up_to: self.piece.flags.contains(Flags::UP_TO),
        })
    }

    fn memories(&self) -> Vec<Memory> {
        let pushed = self.piece.pushes.iter().map(|push| push.tensor.memory().clone());
        pushed.chain(self.piece.pulls.iter().map(|pull| pull.tensor.memory().clone())).collect()
    }

    /// The writes, and the entries of the pulls. `None` where a tensor has no key: the plan was checked, so that does not
    /// happen.
    fn work(&self) -> Option<(Arc<WorkList>, Vec<PullEntry>)> {
        let peer = &self.piece.connection.peer;
        let transport = peer.transport();
        let mut work = WorkListBuilder::new(Direction::Write, peer.route().limits());
        for ((push, place), entry) in self.piece.pushes.iter().zip(&self.places).zip(&self.entries) {
            let Some(place) = place.filter(|_| !entry.is_inline()) else { continue };
            let mut remote = RemoteAddress { address: place.address, key: RemoteKey(place.remote_key) };
            for (offset, length) in push.pieces() {
                work.push(push.tensor.piece(offset, length, transport)?, remote);
                remote.address += length;
            }
        }
        let entry = |pull: &Pulled| {
            let (address, remote_key) = pull.tensor.memory().target(pull.tensor.address(), transport)?;
            Some(PullEntry { key: pull.key, address, remote_key: remote_key.0, length: pull.tensor.bytes() })
        };
        let pulls = self.piece.pulls.iter().map(entry).collect::<Option<Vec<_>>>()?;
        Some((Arc::new(work.finish()), pulls))
    }
}

impl Pushed {
    /// Offsets and lengths of what is pushed.
    fn pieces(&self) -> impl Iterator<Item = (u64, u64)> {
        let row_bytes = self.tensor.layout().row_bytes();
        let whole = self.rows.is_none().then_some((0, u64::from(self.layout.bytes())));
        let rows = self.rows.iter().flatten().map(move |row| (row * row_bytes, row_bytes));
        whole.into_iter().chain(rows)
    }

    #[expect(unsafe_code, reason = "copies a small tensor into its message")]
    fn append_to(&self, data: &mut Vec<u8>) {
        for (offset, length) in self.pieces() {
            // SAFETY: the piece lies within the tensor, which is mapped and not in a device; the caller of the push-pull
            // keeps it free of writes until the push-pull is done.
            let bytes = unsafe {
                std::slice::from_raw_parts(self.tensor.as_ptr().add(offset as usize), length as usize)
            };
            data.extend_from_slice(bytes);
        }
    }
}
