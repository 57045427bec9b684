//! Random requests on several queue pairs, executed, polled, failed and reset in random order: every id comes back
//! exactly when it should.

mod queue_device;

use std::collections::VecDeque;

use pmd_core::{
    memory::Sge,
    provider::{Completion, Operation, Payload, PostError, Provider, SendFlags, SendRequest},
    queue::QueuePairState,
    wire::Syndrome,
};
use proptest::prelude::*;
use queue_device::{
    number,
    setup::{Plan, Setup},
};

const QUEUE_PAIRS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Post { index: usize, kind: u8, size: usize, signaled: bool },
    Ring { index: usize },
    Poll { limit: usize, budget: u32 },
    Fail,
    Reset { index: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..QUEUE_PAIRS, 0..5u8, 0..30usize, any::<bool>())
            .prop_map(|(index, kind, size, signaled)| Step::Post { index, kind, size, signaled }),
        4 => (0..QUEUE_PAIRS).prop_map(|index| Step::Ring { index }),
        4 => (0..9usize, 0..4u32).prop_map(|(limit, budget)| Step::Poll { limit, budget }),
        1 => Just(Step::Fail),
        1 => (0..QUEUE_PAIRS).prop_map(|index| Step::Reset { index }),
    ]
}

/// What should be outstanding.
#[derive(Default)]
struct Model {
    queues: [VecDeque<(u64, bool)>; QUEUE_PAIRS],
    failed: [bool; QUEUE_PAIRS],
    next_id: u64,
}

impl Model {
    fn check(&mut self, completion: &Completion) {
        let index =
            (0..QUEUE_PAIRS).find(|index| number(*index) == completion.queue_pair).expect("one of ours");
        let (queue, failed) = (&mut self.queues[index], &mut self.failed[index]);
        if *failed {
            // Each request that follows a failed one is flushed by itself.
            assert_eq!(completion.result.expect_err("flushed").syndrome, Syndrome::Flushed);
            assert_eq!(queue.pop_front().expect("outstanding").0, completion.id);
            return;
        }
        loop {
            let (id, signaled) = queue.pop_front().expect("outstanding");
            if id == completion.id {
                *failed = completion.result.is_err();
                assert!(signaled || *failed, "an unsignalled request succeeds silently");
                return;
            }
            assert!(!signaled, "request {id} was signalled and passed over");
        }
    }
}

fn post(setup: &mut Setup, model: &mut Model, index: usize, kind: u8, size: usize, signaled: bool) {
    let local: Vec<Sge> = (0..size).map(|piece| setup.sge(piece * 8, 8 * (piece as u32 % 3))).collect();
    let (remote, bytes) = (setup.remote(1 << 15), [7; 256]);
    let operation = match kind {
        0 => Operation::Nop,
        1 => Operation::Write { remote, local: Payload::Gather(&local) },
        2 => Operation::Read { remote, local: &local },
        3 => Operation::Write { remote, local: Payload::Inline(&bytes[..size * 7]) },
        _ => Operation::FetchAdd { remote, local: setup.sge(0, 8), add: 1 },
    };
    let flags = if signaled { SendFlags::SIGNALED } else { SendFlags::empty() };
    let (handle, id) = (setup.handles[index], model.next_id);
    let room = setup.provider.send_room(handle);
    match setup.provider.post_send(handle, &SendRequest { id, operation, flags }) {
        Ok(()) => {
            model.queues[index].push_back((id, signaled));
            model.next_id += 1;
        }
        Err(PostError::QueueFull { needed, free, .. }) => assert!(free == room && needed > room),
        Err(PostError::WrongState { state }) => assert_eq!(state, QueuePairState::Error),
        Err(other) => panic!("{other}"),
    }
}

fn poll(setup: &mut Setup, model: &mut Model, limit: usize) {
    let mut some = [Completion::EMPTY; 9];
    let count = setup.provider.poll(&mut some[..limit]).expect("a working queue");
    some[..count].iter().for_each(|completion| model.check(completion));
}

fn reset(setup: &mut Setup, model: &mut Model, index: usize) {
    setup.provider.hardware_mut().reset(index);
    setup.provider.reset(setup.handles[index]).expect("attached");
    setup.connect(setup.handles[index]);
    model.queues[index].clear();
    model.failed[index] = false;
}

/// Executes and polls everything; then nothing signalled is outstanding and the queues are free.
fn settle(setup: &mut Setup, model: &mut Model) {
    setup.provider.hardware_mut().inject = None;
    for index in 0..QUEUE_PAIRS {
        setup.provider.ring_send(setup.handles[index]);
        post(setup, model, index, 0, 0, true);
        setup.provider.ring_send(setup.handles[index]);
    }
    for _ in 0..100 {
        setup.provider.hardware_mut().budget = Some(64);
        poll(setup, model, 9);
    }
    for (index, queue) in model.queues.iter().enumerate() {
        let full = setup.provider.send_room(setup.handles[index]) == 0;
        assert!(full || queue.iter().all(|(_, signaled)| !signaled), "{index}: {queue:?}");
        assert!(!model.failed[index] || queue.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn ids_come_back_as_posted(steps in prop::collection::vec(step(), 1..200)) {
        let plan = Plan { queue_pairs: QUEUE_PAIRS, send_slots: 16, cqe_count: 64, ..Plan::default() };
        let (mut setup, mut model) = (plan.build(), Model::default());
        for step in steps {
            match step {
                Step::Post { index, kind, size, signaled } => {
                    setup.provider.hardware_mut().budget = Some(0);
                    post(&mut setup, &mut model, index, kind, size, signaled);
                }
                Step::Ring { index } => setup.provider.ring_send(setup.handles[index]),
                Step::Poll { limit, budget } => {
                    setup.provider.hardware_mut().budget = Some(budget);
                    poll(&mut setup, &mut model, limit);
                }
                Step::Fail => setup.provider.hardware_mut().inject = Some(Syndrome::RetryExceeded),
                Step::Reset { index } => reset(&mut setup, &mut model, index),
            }
        }
        settle(&mut setup, &mut model);
    }
}
