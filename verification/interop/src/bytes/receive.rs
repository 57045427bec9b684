//! Receive WQEs, of own and of shared queues, against those of ibv_post_recv and ibv_post_srq_recv.

use std::collections::VecDeque;

use pmd_core::{
    memory::Sge,
    provider::ReceiveRequest,
    wire::{Cqe, Received, ResponderCompletion},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    Options,
    layout::{Difference, Hex},
    pair::{Pair, Unlike},
    request,
    send::{NARROW, fail},
    theirs::{Poll, Wanted},
};
use crate::harness::Harness;

/// A unit of a WQE.
const UNIT: usize = 16;

/// What is done to a receive queue.
#[derive(Clone, Debug)]
enum Step {
    /// Posts a receive.
    Post(Vec<Sge>),
    /// Completes one of those that are outstanding: the oldest, of a shared queue any.
    Complete(Index),
}

/// Runs the checks.
pub(super) fn check(harness: &mut Harness, options: &Options) {
    for sges in [1, 3, 7] {
        let own = Wanted { receive_sges: sges, receives: 16, ..NARROW };
        let shared = Wanted { is_shared: true, ..own };
        harness.check(&format!("bytes::receive::own_queue_of_{sges}"), || steps(options, own));
        harness.check(&format!("bytes::receive::shared_queue_of_{sges}"), || steps(options, shared));
    }
}

fn steps(options: &Options, wanted: Wanted) {
    // libmlx5 leaves empty entries in receives of shared queues, where a device takes them for 2 GiB; our driver never
    // does. No bytes to compare there.
    let keep = move |entry: &Sge| !wanted.is_shared || entry.length != 0;
    let list = request::list(wanted.receive_sges as usize)
        .prop_map(move |list| list.into_iter().filter(keep).collect());
    let step = prop_oneof![
        3 => list.prop_map(Step::Post),
        2 => any::<Index>().prop_map(Step::Complete),
    ];
    let mut posted = 0;
    options.run(&vec(step, 1..200), |steps| {
        let mut queue = Queue::new(Pair::new(&options.device, wanted));
        for step in &steps {
            queue.step(step).map_err(fail)?;
        }
        posted += queue.posted;
        Ok(())
    });
    assert!(posted > 1000, "hardly anything: {posted} receives");
}

/// Receive queues of both sides.
struct Queue {
    pair: Pair,
    posted: u32,
    /// Slots that can be posted, in order; of a shared queue the last one stays free.
    free: VecDeque<u32>,
    /// Slots and ids of what is posted.
    outstanding: VecDeque<(u32, u64)>,
}

impl Queue {
    fn new(pair: Pair) -> Self {
        let free = (0..pair.shape.receives).collect();
        Self { pair, posted: 0, free, outstanding: VecDeque::new() }
    }

    fn step(&mut self, step: &Step) -> Result<(), Unlike> {
        match step {
            Step::Post(list) => self.post(list),
            Step::Complete(index) => self.complete(*index),
        }
    }

    fn post(&mut self, list: &[Sge]) -> Result<(), Unlike> {
        let kept = usize::from(self.pair.shape.is_shared);
        if self.free.len() == kept {
            return Ok(());
        }
        let Some(slot) = self.free.pop_front() else { return Ok(()) };
        let id = 1000 + u64::from(self.posted);
        self.pair.ours.receive(&ReceiveRequest { id, scatter: list })?;
        self.pair.theirs.receive(&ReceiveRequest { id, scatter: list });
        self.posted += 1;
        self.outstanding.push_back((slot, id));
        self.compare_record()?;
        self.compare_slot(slot, list)
    }

    fn complete(&mut self, index: Index) -> Result<(), Unlike> {
        if self.outstanding.is_empty() {
            return Ok(());
        }
        let place = if self.pair.shape.is_shared { index.index(self.outstanding.len()) } else { 0 };
        let Some((slot, id)) = self.outstanding.remove(place) else { return Ok(()) };
        let entry = Cqe::Responder(ResponderCompletion {
            received: Received::Send,
            queue_pair: self.pair.shape.queue_pair,
            wqe_counter: slot as u16,
            ..ResponderCompletion::default()
        });
        let (completion, _) = self.pair.complete(&entry, &[0; 64], Poll::Plain)?;
        assert_eq!(completion.id, id);
        self.free.push_back(slot);
        if self.pair.shape.is_shared {
            (0..self.pair.shape.receives).try_for_each(|slot| self.compare_link(slot))?;
        }
        Ok(())
    }

    fn compare_record(&self) -> Result<(), Unlike> {
        let Pair { ours, theirs, shape, .. } = &self.pair;
        let (name, ours, theirs) = if shape.is_shared {
            ("shared receive", ours.shared_record(), theirs.shared_record())
        } else {
            ("receive", ours.records()[0], theirs.records()[0])
        };
        if ours == theirs { Ok(()) } else { Err(Unlike::Record { name, ours, theirs }) }
    }

    /// Data segments up to the one that ends the list; what follows it is left as it was.
    fn compare_slot(&self, slot: u32, list: &[Sge]) -> Result<(), Unlike> {
        let (ours, theirs) = (self.pair.ours.received(slot), self.pair.theirs.received(slot));
        let before = if self.pair.shape.is_shared { UNIT } else { 0 };
        let entries = list.iter().filter(|entry| entry.length != 0).count();
        let end = (before + (entries + 1) * UNIT).min(ours.len());
        self.compare_link(slot)?;
        for (index, start) in (before..end).step_by(UNIT).enumerate() {
            compare(
                slot,
                format!("data[{index}]"),
                &ours[start..start + UNIT],
                &theirs[start..start + UNIT],
            )?;
        }
        Ok(())
    }

    /// The segment that names the next slot of a shared queue.
    fn compare_link(&self, slot: u32) -> Result<(), Unlike> {
        if !self.pair.shape.is_shared {
            return Ok(());
        }
        let (ours, theirs) = (self.pair.ours.received(slot), self.pair.theirs.received(slot));
        compare(slot, "next".to_owned(), &ours[..UNIT], &theirs[..UNIT])
    }
}

fn compare(slot: u32, field: String, ours: &[u8], theirs: &[u8]) -> Result<(), Unlike> {
    if ours == theirs {
        return Ok(());
    }
    let (ours, theirs) = (Hex(ours.to_vec()), Hex(theirs.to_vec()));
    Err(Unlike::Receive { slot, difference: Difference { field, ours, theirs } })
}
