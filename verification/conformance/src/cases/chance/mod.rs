//! Requests by chance on several connections, beside a model of both memories that carries them out in the order of
//! posting. Every byte is compared whenever a connection is drained.
//!
//! Where the specification lets requests overtake each other, the case asks for a fence, as an application must: a
//! request that uses what an earlier read or atomic fetches, or changes what it reads, is fenced.

mod model;

use pmd_core::provider::{
    Completion, CompletionKind, Operation, Payload, PostError, Provider, ReceiveRequest, SendFlags,
};
use pmd_host::backend::QueuePairConfig;

use self::model::{Kind, Model, Plan, SLOTS};
use super::{Case, case};
use crate::{
    bed::Place,
    context::{Context, Random},
    memory::Memory,
    stage::{Link, Stage, config},
};

pub(super) const CASES: &[Case] = &[case("chance::memory_is_what_the_model_says", memory_is_as_modelled)];

/// Connections that are used in turn.
const LINKS: usize = 3;

/// A connection with its memories and what they should hold.
struct Actor {
    link: Link,
    here: Memory,
    there: Memory,
    model: Model,
}

fn memory_is_as_modelled(context: &Context) {
    for seed in 0..context.seeds {
        let mut random = context.random(5000 + seed);
        let mut stage = Stage::new(context);
        let mut actors: Vec<Actor> = (0..LINKS).map(|_| Actor::new(&mut stage, &mut random)).collect();
        for _ in 0..context.scale(60, 200) {
            let actor = &mut actors[random.below(LINKS)];
            match random.below(12) {
                0 => actor.ring(&mut stage),
                1 => {
                    stage.poll();
                }
                2 => actor.take(&mut stage),
                3 if random.once_in(4) => actor.drain(&mut stage, seed),
                _ => actor.post(&mut stage, &mut random),
            }
        }
        actors.iter_mut().for_each(|actor| actor.drain(&mut stage, seed));
        stage.nothing_more();
    }
}

impl Actor {
    fn new(stage: &mut Stage, random: &mut Random) -> Self {
        let receives = SLOTS as u32;
        let link = stage.link(&QueuePairConfig { send_slots: 32, receives, ..config() });
        let (here, there) = stage.memories(model::BYTES);
        let model = Model::new(random.draw());
        here.write(0, model.left());
        there.write(0, model.right());
        let mut actor = Self { link, here, there, model };
        (0..SLOTS).for_each(|slot| actor.receive(stage, slot));
        actor
    }

    /// Posts a receive into one of the slots for messages.
    fn receive(&mut self, stage: &mut Stage, slot: usize) {
        let id = self.model.receive(slot);
        let scatter = [self.there.sge(model::slot(slot), model::SLOT_BYTES)];
        let (right, request) = (self.link.right, ReceiveRequest { id, scatter: &scatter });
        stage.backend(right.place).post_receive(right.handle, &request).expect("room for a receive");
        stage.backend(right.place).ring_receive(right.handle);
    }

    /// Posts a request by chance, if there is room for it.
    fn post(&mut self, stage: &mut Stage, random: &mut Random) {
        let Some(plan) = self.model.plan(random) else { return };
        let local: Vec<_> = plan.pieces.iter().map(|piece| self.here.sge(piece.start, piece.len())).collect();
        let remote = self.there.remote(plan.remote);
        let bytes = self.model.gather(&plan);
        let payload = if plan.inline { Payload::Inline(&bytes) } else { Payload::Gather(&local) };
        let operation = match plan.kind {
            Kind::Write => Operation::Write { remote, local: payload },
            Kind::WriteImmediate(immediate) => {
                Operation::WriteImmediate { remote, local: payload, immediate }
            }
            Kind::Read => Operation::Read { remote, local: &local },
            Kind::Send(immediate) => Operation::Send { local: payload, immediate },
            Kind::FetchAdd(add) => Operation::FetchAdd { remote, local: local[0], add },
            Kind::CompareSwap(compare, swap) => {
                Operation::CompareSwap { remote, local: local[0], compare, swap }
            }
        };
        let mut flags = SendFlags::empty();
        flags.set(SendFlags::SIGNALED, plan.signaled);
        flags.set(SendFlags::FENCE, plan.fenced);
        match stage.try_post(self.link.left, plan.id, operation, flags) {
            Ok(()) => self.model.posted(&plan, &bytes),
            Err(PostError::QueueFull { .. }) => self.make_room(stage),
            Err(error) => panic!("{error}"),
        }
    }

    /// Of a full queue nothing may be signalled, and then no room would come back: a signalled request needs one slot.
    fn make_room(&mut self, stage: &mut Stage) {
        self.ring(stage);
        if self.model.has_signaled() {
            let left = self.link.left;
            let arrived = stage.wait(left, 1);
            arrived.iter().for_each(|done| self.model.completed(done));
        }
    }

    fn ring(&mut self, stage: &mut Stage) {
        stage.ring(self.link.left);
    }

    /// Looks at what has completed at both ends.
    fn take(&mut self, stage: &mut Stage) {
        for done in stage.take(self.link.left) {
            self.model.completed(&done);
        }
        for received in stage.take(self.link.right) {
            self.received(stage, &received);
        }
    }

    fn received(&mut self, stage: &mut Stage, received: &Completion) {
        let slot = self.model.received(received);
        if received.result == Ok(CompletionKind::Receive) {
            let found = self.there.read(model::slot(slot), model::SLOT_BYTES);
            assert!(
                found == self.model.right()[model::slot(slot)..][..model::SLOT_BYTES],
                "message {received:?}"
            );
        }
        self.receive(stage, slot);
    }

    /// Waits for everything outstanding, and compares.
    fn drain(&mut self, stage: &mut Stage, seed: u64) {
        let last = loop {
            self.take(stage);
            let plan = Plan::marker(self.model.next_id());
            let marker = Operation::Write { remote: self.there.remote(0), local: Payload::EMPTY };
            let flags = SendFlags::SIGNALED | SendFlags::FENCE;
            match stage.try_post(self.link.left, plan.id, marker, flags) {
                Ok(()) => {
                    self.model.posted(&plan, &[]);
                    break plan.id;
                }
                Err(PostError::QueueFull { .. }) => self.make_room(stage),
                Err(error) => panic!("{error}"),
            }
        };
        self.ring(stage);
        while self.model.is_waiting_for(last) {
            let done = stage.wait(self.link.left, 1);
            done.iter().for_each(|done| self.model.completed(done));
        }
        while self.model.messages() > 0 {
            let received = stage.wait(self.link.right, 1);
            received.iter().for_each(|received| self.received(stage, received));
        }
        self.take(stage);
        let (here, there) = (self.here.read(0, model::BYTES), self.there.read(0, model::BYTES));
        for (place, found, expected) in
            [(Place::Left, here, self.model.left()), (Place::Right, there, self.model.right())]
        {
            let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
            assert_eq!(differs, None, "seed {seed}: first byte that differs at {place:?}");
        }
        self.model.drained();
    }
}
