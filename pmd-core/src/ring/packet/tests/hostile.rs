//! A peer that writes whatever it likes, wherever the memory lets it: typed errors, and no access outside.

use alloc::boxed::Box;
use core::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::sync::{AtomicU32, Ordering, UnsafeCell};

/// Lines of the ring, between lines that nobody may touch.
const LINES: usize = 8;
const RING: Range<usize> = 4..4 + LINES;
const UNTOUCHED: u32 = 0x5aa5_5aa5;

/// Memory as a peer has it.
struct Memory {
    lines: Box<[Line]>,
    consumed: Box<ConsumedLine>,
}

impl Memory {
    fn new() -> Self {
        let line = |index| {
            let (marker, byte) = if RING.contains(&index) { (NOTHING, 0) } else { (UNTOUCHED, 0xa5) };
            Line { marker: AtomicU32::new(marker), body: UnsafeCell::new([byte; SMALL_BODY]) }
        };
        let consumed = Box::new(ConsumedLine { position: AtomicU32::new(0) });
        Self { lines: (0..RING.end + 4).map(line).collect(), consumed }
    }

    fn base(&self) -> NonNull<Line> {
        // SAFETY: inside of the box.
        unsafe { NonNull::from(&*self.lines).cast::<Line>().add(RING.start) }
    }

    fn producer(&self) -> Producer {
        // SAFETY: the memory outlives the ends in each test, which make one of each.
        unsafe { Producer::attach(self.base(), LINES, NonNull::from(&*self.consumed)).unwrap() }
    }

    fn consumer(&self) -> Consumer {
        // SAFETY: as above.
        unsafe { Consumer::attach(self.base(), LINES, NonNull::from(&*self.consumed)).unwrap() }
    }

    fn set_marker(&self, index: usize, marker: u32) {
        self.lines[RING.start + index].marker.store(marker, Ordering::Relaxed);
    }

    fn set_consumed(&self, position: u32) {
        self.consumed.position.store(position, Ordering::Relaxed);
    }

    fn outside_is_untouched(&self) -> bool {
        let untouched = |line: &Line| {
            // SAFETY: nobody else accesses the memory now.
            let body = line.body.with(|body| unsafe { *body });
            line.marker.load(Ordering::Relaxed) == UNTOUCHED && body == [0xa5; SMALL_BODY]
        };
        self.lines[..RING.start].iter().chain(&self.lines[RING.end..]).all(untouched)
    }
}

#[test]
fn attaching_checks_the_count() {
    let memory = Memory::new();
    for lines in [0, 1, 7] {
        // SAFETY: refused.
        let end = unsafe { Producer::attach(memory.base(), lines, NonNull::from(&*memory.consumed)) };
        assert_eq!(end.err(), Some(LineCount { lines }));
        // SAFETY: refused.
        let end = unsafe { Consumer::attach(memory.base(), lines, NonNull::from(&*memory.consumed)) };
        assert_eq!(end.err(), Some(LineCount { lines }));
    }
}

#[test]
fn attached_ends_meet() {
    let memory = Memory::new();
    let (mut producer, mut consumer) = (memory.producer(), memory.consumer());
    for round in 0..50 {
        let bytes = body(round, round as usize * 7 % 300);
        while producer.push(&bytes).is_err() {
            assert_eq!(take(&mut consumer), None);
            settle(&mut producer, &mut consumer);
        }
        assert_eq!(take(&mut consumer), Some(bytes));
    }
    assert!(memory.outside_is_untouched());
}

#[test]
fn markers_that_cannot_be_are_corrupt() {
    let memory = Memory::new();
    let longest = (LINES as u32 - 1) * 64 - 4;
    for marker in [longest + 2, LINES as u32 * 64 - 3, 1 << 31, PAD - 1, PAD] {
        memory.set_marker(0, marker);
        let corrupt = Corrupt::Marker { marker, line: 0, lines: LINES as u32 };
        let mut consumer = memory.consumer();
        for _ in 0..2 {
            assert_eq!(consumer.peek().err(), Some(corrupt));
        }
        assert_eq!(consumer.position(), 0);
    }
    memory.set_marker(0, longest + 1);
    assert_eq!(memory.consumer().peek().unwrap().unwrap().length(), longest as usize);
}

#[test]
fn a_packet_never_runs_over_the_end_and_a_skip_leads_to_a_packet() {
    let memory = Memory::new();
    let mut consumer = memory.consumer();
    memory.set_marker(0, 1);
    take(&mut consumer).unwrap();
    memory.set_marker(1, 7 * 64 - 4 + 1);
    assert_eq!(consumer.peek().unwrap().unwrap().length(), 7 * 64 - 4);
    memory.set_marker(1, 7 * 64 - 4 + 2);
    let corrupt = Corrupt::Marker { marker: 7 * 64 - 4 + 2, line: 1, lines: 8 };
    assert_eq!(consumer.peek().err(), Some(corrupt));
    memory.set_marker(0, PAD);
    memory.set_marker(1, PAD);
    assert_eq!(consumer.peek().err(), Some(Corrupt::Marker { marker: PAD, line: 0, lines: 8 }));
    assert_eq!(consumer.position(), 8);
}

#[test]
fn consumed_positions_that_cannot_be_are_corrupt() {
    let memory = Memory::new();
    let mut producer = memory.producer();
    for _ in 0..5 {
        producer.push(&[]).unwrap();
    }
    producer.acknowledge(2).unwrap();
    for position in [6, 7, 1000, i32::MAX as u32] {
        let corrupt = Err(Corrupt::Position { position, consumed: 2, tail: 5 });
        assert_eq!(producer.acknowledge(position), corrupt);
        memory.set_consumed(position);
        assert_eq!(producer.refresh(), corrupt);
    }
    for stale in [1, 0, u32::MAX, u32::MAX - 1000] {
        assert_eq!(producer.acknowledge(stale), Ok(()));
        memory.set_consumed(stale);
        assert_eq!(producer.refresh(), Ok(()));
    }
    assert_eq!(producer.lines_in_use(), 3);
    producer.acknowledge(5).unwrap();
    assert_eq!(producer.lines_in_use(), 0);
}

#[test]
fn the_shared_word_is_never_more_than_a_lap_behind() {
    let memory = Memory::new();
    let (mut producer, mut consumer) = (memory.producer(), memory.consumer());
    for _ in 0..1000 {
        producer.push(&[]).unwrap();
        take(&mut consumer).unwrap();
        producer.acknowledge(consumer.position()).unwrap();
        assert!(consumer.position() - memory.consumed.position.load(Ordering::Relaxed) < LINES as u32);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Scribble { line: usize, marker: u32, byte: u8 },
    Consumed(u32),
    Push(usize),
    Peek { release: bool },
    Publish,
    Refresh,
    Acknowledge(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let marker = prop_oneof![Just(NOTHING), Just(PAD), 1u32..600, any::<u32>()];
    let position = prop_oneof![0u32..40, any::<u32>()];
    prop_oneof![
        3 => (0..LINES, marker, 0u8..0xa0).prop_map(|(line, marker, byte)| Step::Scribble { line, marker, byte }),
        1 => position.clone().prop_map(Step::Consumed),
        3 => (0usize..600).prop_map(Step::Push),
        4 => any::<bool>().prop_map(|release| Step::Peek { release }),
        1 => Just(Step::Publish),
        1 => Just(Step::Refresh),
        1 => position.prop_map(Step::Acknowledge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_value_leads_outside(steps in prop::collection::vec(step(), 0..200)) {
        let memory = Memory::new();
        let (mut producer, mut consumer) = (memory.producer(), memory.consumer());
        for step in steps {
            match step {
                Step::Scribble { line, marker, byte } => {
                    memory.set_marker(line, marker);
                    // SAFETY: nobody else accesses the memory now.
                    memory.lines[RING.start + line].body.with_mut(|body| unsafe { *body = [byte; SMALL_BODY] });
                }
                Step::Consumed(position) => memory.set_consumed(position),
                Step::Push(length) => drop(producer.push(&vec![0x11; length])),
                Step::Peek { release } => {
                    let Ok(Some(packet)) = consumer.peek() else { continue };
                    prop_assert!(packet.length() <= (LINES - 1) * 64 - 4);
                    let mut bytes = vec![0; packet.length()];
                    packet.read(0, &mut bytes).unwrap();
                    prop_assert!(!bytes.windows(SMALL_BODY).any(|window| window == [0xa5; SMALL_BODY]));
                    if release {
                        packet.release();
                    }
                }
                Step::Publish => consumer.publish(),
                Step::Refresh => drop(producer.refresh()),
                Step::Acknowledge(position) => drop(producer.acknowledge(position)),
            }
            prop_assert!(producer.lines_in_use() < LINES as u32);
        }
        prop_assert!(memory.outside_is_untouched());
    }
}
