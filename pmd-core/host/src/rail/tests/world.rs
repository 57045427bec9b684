//! Two ends, the rails between them, and what can go wrong there, in simulated time.
//!
//! Rails break and heal at random; what is on a broken rail is kept and tried again, as networks and sockets do, long after the
//! end that sent it has given up. Ends learn of a break at random, or never. The world has the memory of both ends and fails the
//! test if anything lands in memory whose owner was told that the transfer is over.

mod leaving;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use proptest::prelude::*;

use super::*;

/// Events after which a world that has not come to rest never will.
const MOST_EVENTS: u32 = 400_000;

/// Microseconds since the world began.
type Time = u64;

/// Something posted that may land.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Load {
    Chunk(ChunkId),
    Notification { transfer: TransferId, sequence: u64, settled: u64 },
}

/// Control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Frame {
    Offer(RailId),
    Answer(RailId, bool),
    Quiet(RailId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Arrives at the other end: bytes of a WRITE, the request of a READ, a notification.
    There {
        end: usize,
        rail: RailId,
        load: Load,
    },
    /// Comes back to the end that posted: an answer, or the bytes of a READ.
    Back {
        end: usize,
        rail: RailId,
        load: Load,
    },
    Probed {
        end: usize,
        rail: RailId,
    },
    Closing {
        end: usize,
        rail: RailId,
    },
    /// The end sees that its rail is broken.
    Seen {
        end: usize,
        rail: RailId,
    },
    Control {
        to: usize,
    },
    Break {
        number: u16,
        heals: bool,
    },
    Heal {
        number: u16,
    },
    Cancel {
        end: usize,
    },
    Submit {
        end: usize,
    },
    Timer {
        end: usize,
    },
}

/// What the world knows of a transfer.
#[derive(Debug)]
struct Work {
    chunks: Vec<u64>,
    direction: Direction,
    notify: bool,
    /// Chunks that are in the target memory.
    there: BTreeSet<u32>,
    /// Chunks that this end knows to be there.
    landed: BTreeSet<u32>,
    /// Times that the other end was told.
    told: u32,
    cancelled: bool,
    outcome: Option<Result<u64, Why>>,
}

struct End {
    bundle: Bundle<Why>,
    inbox: Inbox,
    work: BTreeMap<TransferId, Work>,
    /// Lives of rails that are open here.
    open: BTreeMap<u16, u32>,
    /// What was posted and has not come back.
    outstanding: BTreeSet<(RailId, Load)>,
    /// Frames on their way here.
    frames: std::collections::VecDeque<Frame>,
    to_submit: u32,
    /// When it is looked at next although nothing has happened.
    timer: Option<Time>,
}

struct World {
    now: Time,
    ends: [End; 2],
    broken: Vec<bool>,
    events: BinaryHeap<Reverse<(Time, u32, Event)>>,
    serial: u32,
    seed: u64,
    /// Breaks that are still to come.
    breaks: u32,
    counts: Counts,
}

/// So that a test can tell that something happened at all.
#[derive(Debug, Default)]
struct Counts {
    breaks: u32,
    lost: u32,
    stragglers: u32,
    again: u32,
    repeated: u32,
    cancelled: u32,
}

impl World {
    fn new(seed: u64, rails: usize, transfers: u32, breaks: u32) -> Self {
        let config = BundleConfig {
            window: 300,
            stall: Duration::from_millis(2),
            reopen: Duration::from_micros(300),
            reopen_limit: Duration::from_millis(2),
            refused: Duration::from_micros(20),
            idle: Duration::from_micros(700),
            probe: Duration::from_micros(600),
            attempts: u32::MAX,
            ..BundleConfig::default()
        };
        let end = |role| End {
            bundle: Bundle::new(rails, role, config),
            inbox: Inbox::default(),
            work: BTreeMap::new(),
            open: BTreeMap::new(),
            outstanding: BTreeSet::new(),
            frames: std::collections::VecDeque::new(),
            to_submit: transfers,
            timer: None,
        };
        let mut world = Self {
            now: 0,
            ends: [end(Role::Opens), end(Role::Awaits)],
            broken: vec![false; rails],
            events: BinaryHeap::new(),
            serial: 0,
            seed: seed | 1,
            breaks,
            counts: Counts::default(),
        };
        for end in 0..2 {
            world.within(2000, Event::Submit { end });
            world.within(4000, Event::Cancel { end });
        }
        for _ in 0..breaks {
            let number = world.random(rails as u64) as u16;
            let heals = world.random(2) == 0;
            world.within(8000, Event::Break { number, heals });
        }
        world
    }

    /// A number below `limit`.
    fn random(&mut self, limit: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) % limit.max(1)
    }

    /// An event at some time before `latest` from now.
    fn within(&mut self, latest: Time, event: Event) {
        let after = 1 + self.random(latest);
        self.at(self.now + after, event);
    }

    fn at(&mut self, time: Time, event: Event) {
        self.serial += 1;
        self.events.push(Reverse((time, self.serial, event)));
    }

    fn clock(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// Lets everything happen until nothing is left to happen.
    fn run(&mut self) {
        self.settle();
        for _ in 0..MOST_EVENTS {
            let Some(Reverse((time, _, event))) = self.events.pop() else { return };
            self.now = self.now.max(time);
            self.happen(event);
            self.settle();
            if self.is_at_rest() {
                return;
            }
        }
        panic!("no rest: {:?} {:?}", self.counts, self.ends[0].bundle);
    }

    fn is_at_rest(&self) -> bool {
        let rests = |end: &End| {
            let rails = 0..self.broken.len() as u16;
            end.to_submit == 0
                && end.bundle.unfinished() == 0
                && rails.into_iter().all(|number| end.bundle.state(number) == Some(RailState::Up))
        };
        self.breaks == 0 && self.ends.iter().all(rests)
    }

    /// Carries out what the bundles want.
    fn settle(&mut self) {
        for end in 0..2 {
            while let Some(action) = self.ends[end].bundle.poll(self.clock()) {
                self.act(end, action);
                self.ends[end].bundle.check();
            }
            if let Some(at) = self.ends[end].bundle.next_timer() {
                let at = u64::try_from(at.as_nanos().div_ceil(1000)).expect("not long").max(self.now + 1);
                if self.ends[end].timer.is_none_or(|timer| at < timer) {
                    self.ends[end].timer = Some(at);
                    self.at(at, Event::Timer { end });
                }
            }
        }
    }

    fn act(&mut self, end: usize, action: Action<Why>) {
        match action {
            Action::Post { rail, chunk } => self.post(end, rail, Load::Chunk(chunk)),
            Action::Notify { rail, transfer, sequence, settled } => {
                let work = &self.ends[end].work[&transfer];
                assert_eq!(work.there.len(), work.chunks.len(), "told too early");
                self.post(end, rail, Load::Notification { transfer, sequence, settled });
            }
            Action::Open { rail } => {
                assert_eq!(end, 0);
                self.ends[end].open.insert(rail.number, rail.life);
                self.send(end, Frame::Offer(rail));
            }
            Action::Probe { rail } => self.within(200, Event::Probed { end, rail }),
            Action::Close { rail } => {
                self.counts.lost += 1;
                self.within(300, Event::Closing { end, rail });
            }
            // Nothing is told here of what the other end said last: it comes back when this end sees the end of the rail.
            Action::Drain { rail } => self.within(500, Event::Seen { end, rail }),
            Action::Tell { rail } => {
                assert!(!self.is_open(end, rail), "an end that is open is not quiet");
                self.send(end, Frame::Quiet(rail));
            }
            Action::Stop { transfer } => self.stop(end, transfer),
            Action::Finish { transfer, outcome, .. } => self.finish(end, transfer, outcome),
        }
    }

    fn post(&mut self, end: usize, rail: RailId, load: Load) {
        if let Load::Chunk(chunk) = load
            && self.random(40) == 0
        {
            let now = self.clock();
            return self.ends[end].bundle.refused(rail, chunk, now);
        }
        if !self.is_open(end, rail) {
            return self.come_back(end, rail, load, Fate::Lost("closed"));
        }
        assert!(self.ends[end].outstanding.insert((rail, load)), "{load:?} is on its way already");
        self.within(100 * (1 + u64::from(rail.number)), Event::There { end, rail, load });
    }

    fn stop(&mut self, end: usize, transfer: TransferId) {
        let of = |load: &Load| matches!(load, Load::Chunk(chunk) if chunk.transfer == transfer);
        let outstanding: Vec<_> =
            self.ends[end].outstanding.iter().copied().filter(|(_, load)| of(load)).collect();
        for (rail, load) in outstanding {
            // What was never sent comes back as it was.
            let sent = |Reverse((_, _, event)): &Reverse<(Time, u32, Event)>| {
                *event != Event::There { end, rail, load }
            };
            if self.broken[usize::from(rail.number)] || self.random(2) == 0 {
                continue;
            }
            let before = self.events.len();
            self.events.retain(sent);
            if self.events.len() < before && self.ends[end].outstanding.remove(&(rail, load)) {
                self.come_back(end, rail, load, Fate::Stopped("stopped"));
            }
        }
    }

    fn finish(&mut self, end: usize, transfer: TransferId, outcome: Result<u64, Why>) {
        let work = self.ends[end].work.get_mut(&transfer).expect("known");
        assert_eq!(work.outcome.replace(outcome), None, "one outcome");
        match outcome {
            Ok(bytes) => {
                assert_eq!(bytes, work.chunks.iter().sum::<u64>());
                assert_eq!(work.there.len(), work.chunks.len(), "done before all has landed");
                assert_eq!(work.told, u32::from(work.notify), "told once, if at all");
            }
            Err(_) => self.counts.cancelled += 1,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::There { end, rail, load } => self.there(end, rail, load),
            Event::Back { end, rail, load } => self.back(end, rail, load),
            Event::Probed { end, rail } => {
                let through = self.is_open(0, rail) && self.is_open(1, rail) && !self.is_broken(rail);
                let is_seen = self.random(2) == 0;
                let now = self.clock();
                let bundle = &mut self.ends[end].bundle;
                if through {
                    bundle.answered(rail, now);
                } else if is_seen {
                    bundle.lost(rail);
                }
            }
            Event::Closing { end, rail } => {
                self.break_off(end, rail);
                let now = self.clock();
                self.ends[end].bundle.closed(rail, now);
            }
            Event::Seen { end, rail } => {
                if self.is_open(end, rail) {
                    self.break_off(end, rail);
                    self.ends[end].bundle.lost(rail);
                }
            }
            Event::Control { to } => self.hear(to),
            Event::Break { number, heals } => self.break_rail(number, heals),
            Event::Heal { number } => self.broken[usize::from(number)] = false,
            Event::Cancel { end } => self.cancel(end),
            Event::Submit { end } => self.submit(end),
            Event::Timer { end } => self.ends[end].timer = None,
        }
    }

    /// Something has arrived at the other end, unless the rail is broken: then it is tried again.
    fn there(&mut self, end: usize, rail: RailId, load: Load) {
        let other = 1 - end;
        if self.is_broken(rail) {
            return self.within(500, Event::There { end, rail, load });
        }
        if !self.is_open(other, rail) {
            return;
        }
        if !self.ends[end].outstanding.contains(&(rail, load)) {
            self.counts.stragglers += 1;
        }
        match load {
            Load::Chunk(chunk) => {
                let work = self.ends[end].work.get_mut(&chunk.transfer).expect("known");
                if work.direction == Direction::Write {
                    assert_eq!(work.outcome, None, "{chunk:?} landed at the peer after the outcome");
                    assert_eq!(work.told, 0, "{chunk:?} landed at the peer after that was told");
                    self.counts.again += u32::from(!work.there.insert(chunk.index));
                }
            }
            Load::Notification { transfer, sequence, settled } => {
                let taken = self.ends[other].inbox.take(sequence, settled);
                assert_ne!(taken, Taken::Nonsense);
                if taken == Taken::New {
                    let work = self.ends[end].work.get_mut(&transfer).expect("known");
                    assert_eq!(work.outcome, None, "told after the outcome");
                    assert!(work.notify && work.there.len() == work.chunks.len());
                    work.told += 1;
                } else {
                    self.counts.repeated += 1;
                }
            }
        }
        self.within(50, Event::Back { end, rail, load });
    }

    fn back(&mut self, end: usize, rail: RailId, load: Load) {
        if self.is_broken(rail) {
            return self.within(500, Event::Back { end, rail, load });
        }
        if !self.is_open(end, rail) || !self.ends[end].outstanding.remove(&(rail, load)) {
            return;
        }
        let now = self.clock();
        let end = &mut self.ends[end];
        match load {
            Load::Chunk(chunk) => {
                let work = end.work.get_mut(&chunk.transfer).expect("known");
                if work.direction == Direction::Read {
                    assert_eq!(work.outcome, None, "{chunk:?} landed here after the outcome");
                    work.there.insert(chunk.index);
                }
                work.landed.insert(chunk.index);
                end.bundle.landed(rail, chunk, now);
            }
            Load::Notification { transfer, .. } => end.bundle.notified(rail, transfer),
        }
    }

    /// This end of a rail takes nothing more, and what was outstanding comes back.
    fn break_off(&mut self, end: usize, rail: RailId) {
        if self.is_open(end, rail) {
            self.ends[end].open.remove(&rail.number);
        }
        loop {
            let of: Vec<_> =
                self.ends[end].outstanding.iter().copied().filter(|(on, _)| *on == rail).collect();
            let Some(&(rail, load)) = of.get(self.random(of.len() as u64) as usize) else { return };
            self.ends[end].outstanding.remove(&(rail, load));
            self.come_back(end, rail, load, Fate::Lost("cut"));
            self.ends[end].bundle.check();
        }
    }

    fn come_back(&mut self, end: usize, rail: RailId, load: Load, fate: Fate<Why>) {
        let now = self.clock();
        let bundle = &mut self.ends[end].bundle;
        match load {
            Load::Chunk(chunk) => bundle.returned(rail, chunk, fate, now),
            Load::Notification { transfer, .. } => bundle.unnotified(rail, transfer, fate),
        }
    }

    fn break_rail(&mut self, number: u16, heals: bool) {
        self.breaks -= 1;
        self.counts.breaks += 1;
        self.broken[usize::from(number)] = true;
        for end in 0..2 {
            // Ends that are busy may see it, ends that are not may too, or learn of it from the other, or by a stall.
            let rail = self.ends[end].open.get(&number).map(|life| RailId { number, life: *life });
            if let Some(rail) = rail.filter(|_| !heals && self.random(3) > 0) {
                self.within(600, Event::Seen { end, rail });
            }
        }
        self.within(if heals { 800 } else { 6000 }, Event::Heal { number });
    }

    fn hear(&mut self, to: usize) {
        let Some(frame) = self.ends[to].frames.pop_front() else { return };
        let now = self.clock();
        match frame {
            Frame::Offer(rail) => {
                let taken = self.random(10) > 0 && self.ends[to].bundle.offered(rail);
                if taken {
                    self.ends[to].open.insert(rail.number, rail.life);
                }
                let answered = taken && self.random(10) > 0;
                self.send(to, Frame::Answer(rail, answered));
                if taken {
                    self.ends[to].bundle.opened(rail, now);
                }
            }
            Frame::Answer(rail, true) => self.ends[to].bundle.opened(rail, now),
            Frame::Answer(rail, false) => self.ends[to].bundle.lost(rail),
            Frame::Quiet(rail) => self.ends[to].bundle.heard(rail, now),
        }
    }

    /// Frames keep their order: each event takes the oldest.
    fn send(&mut self, from: usize, frame: Frame) {
        let to = 1 - from;
        self.ends[to].frames.push_back(frame);
        self.within(100, Event::Control { to });
    }

    fn cancel(&mut self, end: usize) {
        let running: Vec<_> = self.ends[end]
            .work
            .iter()
            .filter(|(_, work)| work.outcome.is_none())
            .map(|(transfer, _)| *transfer)
            .collect();
        if let Some(transfer) = running.get(self.random(4 * running.len() as u64) as usize) {
            self.ends[end].bundle.fail(*transfer, "cancelled");
            self.ends[end].work.get_mut(transfer).expect("known").cancelled = true;
        }
        if self.ends[end].to_submit > 0 {
            self.within(3000, Event::Cancel { end });
        }
    }

    fn submit(&mut self, end: usize) {
        let count = self.random(20);
        let chunks: Vec<u64> = (0..count).map(|_| 1 + self.random(150)).collect();
        let direction = if self.random(3) == 0 { Direction::Read } else { Direction::Write };
        let notify = self.random(3) > 0;
        let priority = if self.random(4) == 0 { Priority::High } else { Priority::Normal };
        let near = if self.random(3) == 0 { RailSet::of([self.random(4) as u16]) } else { RailSet::ALL };
        let request = Request { chunks: &chunks, direction, notify, priority, near };
        let transfer = self.ends[end].bundle.submit(&request);
        let (there, landed) = (BTreeSet::new(), BTreeSet::new());
        let work =
            Work { chunks, direction, notify, there, landed, told: 0, cancelled: false, outcome: None };
        self.ends[end].work.insert(transfer, work);
        self.ends[end].to_submit -= 1;
        if self.ends[end].to_submit > 0 {
            self.within(800, Event::Submit { end });
        }
    }

    fn is_open(&self, end: usize, rail: RailId) -> bool {
        self.ends[end].open.get(&rail.number) == Some(&rail.life)
    }

    fn is_broken(&self, rail: RailId) -> bool {
        self.broken[usize::from(rail.number)]
    }

    /// Everything ended as it should.
    fn check(&self) {
        for end in &self.ends {
            assert_eq!(end.bundle.unfinished(), 0);
            for work in end.work.values() {
                let outcome = work.outcome.expect("every transfer ends");
                assert!(
                    outcome.is_ok() || outcome == Err("cancelled") || outcome == Err("stopped"),
                    "{outcome:?}"
                );
                assert!(work.told <= 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Whatever breaks when: every transfer ends, whole or cancelled, every chunk is where it should be, the peer is told once
    /// and not before, nothing lands afterwards, and all rails are back in the end.
    #[test]
    fn everything_arrives_once_whatever_breaks(seed: u64, rails in 1_usize..5, transfers in 1_u32..25, breaks in 0_u32..12) {
        let mut world = World::new(seed, rails, transfers, breaks);
        world.run();
        world.check();
    }
}

/// The worlds of the test above are not all quiet ones.
#[test]
fn worlds_break_in_every_way() {
    let mut sum = Counts::default();
    for seed in 1_u64..60 {
        let mut world = World::new(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed), 3, 20, 8);
        world.run();
        world.check();
        let counts = &world.counts;
        for (sum, count) in [
            (&mut sum.breaks, counts.breaks),
            (&mut sum.lost, counts.lost),
            (&mut sum.stragglers, counts.stragglers),
            (&mut sum.again, counts.again),
            (&mut sum.repeated, counts.repeated),
            (&mut sum.cancelled, counts.cancelled),
        ] {
            *sum += count;
        }
    }
    let Counts { breaks, lost, stragglers, again, repeated, cancelled } = sum;
    assert!([breaks, lost, stragglers, again, repeated, cancelled].iter().all(|count| *count > 0), "{sum:?}");
}
