//! Random work on two queue pairs against a model that executes the same requests in order.

mod soft_support;

use std::time::Instant;

use pmd_core::{
    memory::Sge,
    provider::{Completion, CompletionKind, Operation, Payload, Provider, SendFlags, SendRequest},
};
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairConfig},
    soft::Tuning,
};
use soft_support::*;

/// Bytes of each memory; each queue pair has half of it to itself.
const HALF: usize = 64 << 10;
const REQUESTS: usize = 400;

/// A generator that gives the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// What both memories should hold.
struct Model {
    mine: Vec<u8>,
    theirs: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Write { from: Vec<(usize, usize)>, to: usize, immediate: bool },
    Read { from: usize, to: Vec<(usize, usize)> },
    Send { from: Vec<(usize, usize)>, to: usize },
    Add { word: usize, result: usize, add: u64 },
    Nop,
}

impl Step {
    /// A request within the half that starts at `base`. Receives use the last quarter, sources and targets the rest.
    fn random(random: &mut Random, base: usize) -> Self {
        const REST: usize = HALF / 4 * 3;
        let size = match random.below(4) {
            0 => 1 + random.below(64),
            1 => 1 + random.below(2000),
            _ => 1 + random.below(12_000),
        };
        let mut pieces = Vec::new();
        let (mut left, mut at) = (size, base + random.below(REST - size));
        while left > 0 && pieces.len() < 29 {
            let length = (1 + random.below(left)).min(left);
            pieces.push((at, length));
            (left, at) = (left - length, at + length);
        }
        if left > 0 {
            pieces.push((at, left));
        }
        let place = base + random.below(REST - size);
        match random.below(6) {
            0 | 1 => Self::Write { from: pieces, to: place, immediate: random.below(4) == 0 },
            2 => Self::Read { from: place, to: pieces },
            3 => Self::Send { from: pieces, to: base + REST },
            4 => Self::Add {
                word: base + random.below(REST / 8) * 8,
                result: base + random.below(REST / 8) * 8,
                add: random.below(1 << 20) as u64,
            },
            _ => Self::Nop,
        }
    }

    fn apply(&self, model: &mut Model) {
        match self {
            Self::Write { from, to, .. } | Self::Send { from, to } => {
                let bytes: Vec<u8> =
                    from.iter().flat_map(|(at, length)| model.mine[*at..at + length].to_vec()).collect();
                model.theirs[*to..to + bytes.len()].copy_from_slice(&bytes);
            }
            Self::Read { from, to } => {
                let mut source = *from;
                for (at, length) in to {
                    let bytes = model.theirs[source..source + length].to_vec();
                    model.mine[*at..at + length].copy_from_slice(&bytes);
                    source += length;
                }
            }
            Self::Add { word, result, add } => {
                let old = u64::from_ne_bytes(model.theirs[*word..word + 8].try_into().unwrap());
                model.mine[*result..result + 8].copy_from_slice(&old.to_ne_bytes());
                model.theirs[*word..word + 8].copy_from_slice(&old.wrapping_add(*add).to_ne_bytes());
            }
            Self::Nop => {}
        }
    }

    fn receive(&self, theirs: &Memory) -> Option<Vec<Sge>> {
        match self {
            Self::Send { from, to } => {
                let size = from.iter().map(|(_, length)| length).sum::<usize>();
                let first = size.div_ceil(3);
                Some(vec![theirs.sge(*to, first), theirs.sge(to + first, size - first + 1)])
            }
            Self::Write { immediate: true, .. } => Some(vec![]),
            _ => None,
        }
    }
}

fn sges(memory: &Memory, pieces: &[(usize, usize)]) -> Vec<Sge> {
    pieces.iter().map(|(at, length)| memory.sge(*at, *length)).collect()
}

/// Posts a step; `false` when the queue is full. Everything is fenced: the model executes one after the other.
fn post(side: &mut Side, id: u64, step: &Step, memories: (&Memory, &Memory), flags: SendFlags) -> bool {
    let (mine, theirs) = memories;
    let list = match step {
        Step::Write { from, .. } | Step::Send { from, .. } => sges(mine, from),
        Step::Read { to, .. } => sges(mine, to),
        Step::Add { result, .. } => vec![mine.sge(*result, 8)],
        Step::Nop => vec![],
    };
    let local = Payload::Gather(&list);
    let operation = match step {
        Step::Write { to, immediate: false, .. } => Operation::Write { remote: theirs.remote(*to), local },
        Step::Write { to, .. } => {
            Operation::WriteImmediate { remote: theirs.remote(*to), local, immediate: id as u32 }
        }
        Step::Read { from, .. } => Operation::Read { remote: theirs.remote(*from), local: &list },
        Step::Send { .. } => Operation::Send { local, immediate: Some(id as u32) },
        Step::Add { word, add, .. } => {
            Operation::FetchAdd { remote: theirs.remote(*word), local: list[0], add: *add }
        }
        Step::Nop => Operation::Nop,
    };
    side.backend
        .post_send(side.queue_pair, &SendRequest { id, operation, flags: flags | SendFlags::FENCE })
        .is_ok()
}

/// One run of random work on two queue pairs of the same back ends.
fn run(path: Path, seed: u64) {
    let mut random = Random(seed);
    let (one, two) = (path.device(), path.device());
    let mut tuning = Tuning::default();
    (tuning.doorbell_budget, tuning.poll_budget) =
        (1 + random.below(9000) as u64, 1 + random.below(30_000) as u64);
    tuning.fragment = 1 + random.below(6000);
    let config = QueuePairConfig { send_slots: 64, receives: 512, ..QueuePairConfig::default() };
    let (mut a, mut b) = (Side::with(&one, tuning, &config), Side::with(&two, tuning, &config));
    let mut pairs = vec![(a.queue_pair, b.queue_pair)];
    let second =
        (a.backend.create_queue_pair(&config).unwrap(), b.backend.create_queue_pair(&config).unwrap());
    pairs.push(second);
    for (from, to) in &pairs {
        (a.queue_pair, b.queue_pair) = (*from, *to);
        a.connect(&b, &ConnectOptions::default());
        b.connect(&a, &ConnectOptions::default());
    }
    let (mine, theirs) = (Memory::of(path, &one, 2 * HALF), Memory::of(path, &two, 2 * HALF));
    let mut model = Model { mine: pattern(seed, 2 * HALF), theirs: pattern(seed + 1, 2 * HALF) };
    mine.write(0, &model.mine);
    theirs.write(0, &model.theirs);
    let steps: Vec<Vec<Step>> =
        (0..2).map(|pair| (0..REQUESTS).map(|_| Step::random(&mut random, pair * HALF)).collect()).collect();
    // The two halves are apart, so each pair's order is all that counts.
    steps.iter().flatten().for_each(|step| step.apply(&mut model));
    let expected: usize = steps.iter().flatten().filter(|step| step.receive(&theirs).is_some()).count();
    let (mut next, mut received, mut posted_receives) = ([0; 2], 0, [0; 2]);
    let mut done = [0; 2];
    let start = Instant::now();
    while done != [REQUESTS; 2] || received < expected {
        let pair = random.below(2);
        (a.queue_pair, b.queue_pair) = pairs[pair];
        for _ in 0..random.below(8) {
            if next[pair] == REQUESTS {
                break;
            }
            let last = next[pair] == REQUESTS - 1;
            let flags = if last || random.below(3) == 0 { SendFlags::SIGNALED } else { SendFlags::empty() };
            let id = (pair * REQUESTS + next[pair]) as u64;
            // A queue of 64 slots with unsignalled requests only never empties.
            let flags = if next[pair] % 4 == 0 { SendFlags::SIGNALED } else { flags };
            if !post(&mut a, id, &steps[pair][next[pair]], (&mine, &theirs), flags) {
                break;
            }
            next[pair] += 1;
        }
        a.backend.ring_send(a.queue_pair);
        // Receives come late now and then.
        while posted_receives[pair] < next[pair] && random.below(5) > 0 {
            if let Some(scatter) = steps[pair][posted_receives[pair]].receive(&theirs) {
                b.receive((pair * REQUESTS + posted_receives[pair]) as u64, &scatter);
            }
            posted_receives[pair] += 1;
        }
        if random.below(3) > 0 {
            a.poll();
        }
        if random.below(3) > 0 {
            b.poll();
        }
        for completion in a.polled.drain(..) {
            assert!(completion.result.is_ok(), "{path:?} {seed}: {completion:?}");
            let pair = completion.id as usize / REQUESTS;
            assert!(completion.id as usize % REQUESTS >= done[pair]);
            done[pair] = completion.id as usize % REQUESTS + 1;
        }
        for completion in b.polled.drain(..) {
            check_receive(&completion, &steps);
            received += 1;
        }
        assert!(start.elapsed() < DEADLINE, "{path:?} {seed}: {next:?} {done:?} {received} of {expected}");
    }
    assert!(mine.read(0, 2 * HALF) == model.mine, "{path:?} {seed}: own memory differs");
    assert!(theirs.read(0, 2 * HALF) == model.theirs, "{path:?} {seed}: peer's memory differs");
    assert_eq!(received, expected);
}

fn check_receive(completion: &Completion, steps: &[Vec<Step>]) {
    let step = &steps[completion.id as usize / REQUESTS][completion.id as usize % REQUESTS];
    let (kind, size) = match step {
        Step::Send { from, .. } => (CompletionKind::Receive, from.iter().map(|(_, length)| length).sum()),
        Step::Write { from, .. } => {
            (CompletionKind::ReceiveWriteImmediate, from.iter().map(|(_, length)| length).sum::<usize>())
        }
        other => panic!("a receive completed for {other:?}"),
    };
    succeeded(completion, completion.id, kind);
    assert_eq!((completion.immediate, completion.byte_length as usize), (Some(completion.id as u32), size));
}

#[test]
fn random_work_does_what_the_model_does() {
    for path in PATHS {
        (0..12).for_each(|seed| run(path, seed));
    }
}
