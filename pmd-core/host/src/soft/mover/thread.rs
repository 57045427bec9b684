//! The mover's thread: rounds of copies while there are jobs, sleep while there are none.
#![allow(unsafe_code)] // asks for copies of ranges that it has checked

use std::{
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::{
    memory::Access,
    ring::{
        quiesce::Active,
        spsc::{Consumer, Producer},
    },
    wire::Syndrome,
};

use super::{
    Direction, Job, Local, Moved, NAP, Signal,
    host::HostBytes,
    imports::Imports,
    staging::{Conveyor, Refused},
};
use crate::{
    backend::Waker,
    soft::{Device, MappingCache, Reach, Route, Seat},
};

/// Rounds without sleep between two looks at what peers have taken back.
const TRIM_ROUNDS: u32 = 256;
/// Jobs of one round.
const MOST_JOBS: usize = 256;
/// Bytes of one round that pass through the host.
const ROUND_BYTES: u64 = 16 << 20;
/// How many bytes within devices count as one.
const DEVICE_DISCOUNT: u64 = 16;

/// What the thread is started with.
pub(super) struct Ends {
    pub(super) seat: Seat,
    pub(super) incoming: Consumer<Job>,
    pub(super) outgoing: Producer<Moved>,
    pub(super) signal: Arc<Signal>,
    /// Wakes the engine.
    pub(super) engine: Waker,
}

/// Until the engine's end is gone.
pub(super) fn run(ends: Ends) {
    let Ends { seat, mut incoming, mut outgoing, signal, engine } = ends;
    let mut worker = Worker::new(seat.device());
    let mut rounds = 0_u32;
    while !incoming.is_disconnected() {
        rounds = rounds.wrapping_add(1);
        let idle = worker.current.is_none() && incoming.is_empty();
        if idle || rounds.is_multiple_of(TRIM_ROUNDS) {
            worker.imports.trim();
            worker.mappings.trim();
        }
        if idle {
            sleep(&mut incoming, &signal);
            continue;
        }
        worker.round(&seat, &mut incoming);
        for moved in worker.results() {
            // Never full: there is room for the result of every job.
            let _ = outgoing.push(moved);
        }
        engine.wake();
    }
}

fn sleep(incoming: &mut Consumer<Job>, signal: &Signal) {
    signal.parking.announce();
    if incoming.is_empty() && !incoming.is_disconnected() {
        let timeout = PollTimeout::try_from(NAP).unwrap_or(PollTimeout::MAX);
        // An interrupted sleep is a short one.
        let _ = poll(&mut [PollFd::new(signal.waker.as_fd(), PollFlags::POLLIN)], timeout);
        let _ = signal.waker.0.read();
    }
    signal.parking.resume();
}

struct Worker {
    device: Device,
    mappings: MappingCache,
    imports: Imports,
    conveyors: Vec<Conveyor>,
    /// A job that goes on in the next round, and how far it has come.
    current: Option<(Job, u64)>,
    batch: Vec<Begun>,
}

/// A job, or a part of it, in this round.
struct Begun {
    moved: Moved,
    /// The job ends with it.
    complete: bool,
    route: Arc<Route>,
    /// Whose stream has it.
    conveyor: Option<usize>,
}

/// What a round takes of a job.
struct Share {
    bytes: u64,
    /// Of the round's budget.
    cost: u64,
}

/// One side of a job.
enum Side {
    Host(HostBytes),
    Device { address: u64, conveyor: usize },
}

impl Worker {
    fn new(device: &Device) -> Self {
        let accelerators = &device.config().accelerators;
        let conveyors = (0..accelerators.count()).filter_map(|index| accelerators.at(index));
        Self {
            device: device.clone(),
            mappings: MappingCache::new(device),
            imports: Imports::default(),
            conveyors: conveyors.cloned().map(Conveyor::new).collect(),
            current: None,
            batch: Vec::with_capacity(MOST_JOBS),
        }
    }

    /// Copies some of what there is; nothing is under way any more when it returns.
    fn round(&mut self, seat: &Seat, incoming: &mut Consumer<Job>) {
        let active = seat.enter();
        // An accelerator's code may panic; its stream counts as failed then.
        if catch_unwind(AssertUnwindSafe(|| self.begin_all(&active, incoming))).is_err() {
            self.fail_all();
        }
        for index in 0..self.conveyors.len() {
            if !catch_unwind(AssertUnwindSafe(|| self.settle(index))).unwrap_or(false) {
                self.fail_conveyor(index);
            }
        }
        drop(active);
    }

    /// What is over with this round.
    fn results(&mut self) -> impl Iterator<Item = Moved> {
        for begun in &mut self.batch {
            if begun.moved.result.is_err() {
                begun.route.set_failed();
                // The rest of a job that failed is not begun; it is the last of the round.
                if !begun.complete {
                    (begun.complete, self.current) = (true, None);
                }
            }
        }
        self.batch.drain(..).filter(|begun| begun.complete).map(|begun| begun.moved)
    }

    fn begin_all(&mut self, active: &Active<'_>, incoming: &mut Consumer<Job>) {
        let mut budget = ROUND_BYTES;
        while budget > 0 && self.batch.len() < MOST_JOBS {
            let next = self.current.take().or_else(|| incoming.pop().map(|job| (job, 0)));
            let Some((job, offset)) = next else { break };
            let Job { queue_pair, sequence, last, .. } = job;
            let moved = Moved { queue_pair, sequence, last, result: Ok(()) };
            self.batch.push(Begun { moved, complete: true, route: job.route.clone(), conveyor: None });
            let at = self.batch.len() - 1;
            let mut cost = 0;
            match self.begin(active, &job, offset, budget) {
                Ok(begun) => {
                    cost = begun.cost;
                    let offset = offset + begun.bytes;
                    if offset < job.length {
                        self.batch[at].complete = false;
                        self.current = Some((job, offset));
                    }
                }
                Err(syndrome) => {
                    self.fail(at, syndrome);
                    job.route.set_failed();
                }
            }
            budget = budget.saturating_sub(cost.max(64));
        }
    }

    /// Puts a job, from `offset` on, on its stream, as much of it as `budget` allows.
    fn begin(&mut self, active: &Active<'_>, job: &Job, offset: u64, budget: u64) -> Result<Share, Syndrome> {
        let route = &job.route;
        if route.has_failed() || !route.is_open(active) {
            return Err(Syndrome::Flushed);
        }
        let count = (job.length - offset).min(budget * DEVICE_DISCOUNT);
        let local = self.local(active, job, offset, count)?;
        let remote = self.remote(active, job, offset, count)?;
        let (from, to) = match job.direction {
            Direction::Write => (local, remote),
            Direction::Read => (remote, local),
        };
        let within = matches!((&from, &to), (Side::Device { .. }, Side::Device { .. }));
        let (bytes, cost) =
            if within { (count, count / DEVICE_DISCOUNT) } else { (count.min(budget), count.min(budget)) };
        self.convey(from, to, bytes, self.batch.len() - 1)?;
        Ok(Share { bytes, cost })
    }

    fn convey(&mut self, from: Side, to: Side, count: u64, owner: usize) -> Result<(), Syndrome> {
        let index = match (&from, &to) {
            (Side::Device { conveyor, .. }, _) | (_, Side::Device { conveyor, .. }) => *conveyor,
            (Side::Host(_), Side::Host(_)) => return Err(Syndrome::LocalQueuePairOperation),
        };
        self.batch[owner].conveyor = Some(index);
        let Self { conveyors, batch, .. } = self;
        let kind = |index: usize| conveyors[index].accelerator().identity().kind;
        if let (Side::Device { conveyor: one, .. }, Side::Device { conveyor: two, .. }) = (&from, &to)
            && kind(*one) != kind(*two)
        {
            return Err(Syndrome::RemoteOperation);
        }
        let failed = &mut |owner: usize, syndrome| batch[owner].moved.result = Err(syndrome);
        let conveyor = &mut conveyors[index];
        let begun = match (from, to) {
            (Side::Device { address: from, .. }, Side::Device { address: to, .. }) => {
                conveyor.move_within(from, to, count)
            }
            // SAFETY: both sides were checked in this round, which ends once the conveyor has settled.
            (Side::Host(from), Side::Device { address: to, .. }) => unsafe {
                conveyor.move_in(from, to, count, failed)
            },
            (Side::Device { address: from, .. }, Side::Host(to)) => {
                conveyor.move_out(from, to, count, owner, failed)
            }
            (Side::Host(_), Side::Host(_)) => return Err(Syndrome::LocalQueuePairOperation),
        };
        match begun {
            Ok(()) => Ok(()),
            Err(Refused::Copy(syndrome)) => Err(syndrome),
            Err(Refused::Stream) => Err(Syndrome::LocalQueuePairOperation),
        }
    }

    fn local(&self, active: &Active<'_>, job: &Job, offset: u64, count: u64) -> Result<Side, Syndrome> {
        let (address, key) = match job.local {
            Local::Inline(address) => return Ok(Side::Host(HostBytes::Here(address + offset))),
            Local::Registered { address, key } => (address.wrapping_add(offset), key),
        };
        let access = match job.direction {
            Direction::Write => Access::empty(),
            Direction::Read => Access::LOCAL_WRITE,
        };
        let regions = self.device.regions();
        match regions.check(active, key, address, count, access, job.route.domain()) {
            Err(_) => Err(Syndrome::LocalProtection),
            Ok(None) => Ok(Side::Host(HostBytes::Here(address))),
            Ok(Some(number)) => {
                let conveyor = self.device.memories().accelerator(number);
                Ok(Side::Device { address, conveyor: conveyor.ok_or(Syndrome::LocalProtection)? })
            }
        }
    }

    fn remote(&mut self, active: &Active<'_>, job: &Job, offset: u64, count: u64) -> Result<Side, Syndrome> {
        let access = match job.direction {
            Direction::Write => Access::REMOTE_WRITE,
            Direction::Read => Access::REMOTE_READ,
        };
        let (peer, domain) = (job.route.peer(), job.route.peer_domain());
        let address = job.remote.wrapping_add(offset);
        let reach = peer.reach(&mut self.mappings, active, job.remote_key, address, count, access, domain);
        match reach.map_err(|_| Syndrome::RemoteAccess)? {
            Reach::Direct(here) => Ok(Side::Host(HostBytes::Here(here as u64))),
            Reach::Process { .. } if !peer.confirm_alive() => Err(Syndrome::RetryExceeded),
            Reach::Process { pid, address } => Ok(Side::Host(HostBytes::Process { pid, address })),
            Reach::Packets => Err(Syndrome::RemoteOperation),
            Reach::Device(shared) => {
                let opened = self.imports.open(&self.device, peer, shared, count);
                let opened = opened.ok_or(Syndrome::RemoteOperation)?;
                Ok(Side::Device { address: opened.address, conveyor: opened.accelerator })
            }
        }
    }

    /// Whether all went well.
    fn settle(&mut self, index: usize) -> bool {
        let Self { conveyors, batch, .. } = self;
        let failed = &mut |owner: usize, syndrome| batch[owner].moved.result = Err(syndrome);
        conveyors[index].settle(failed).is_ok()
    }

    /// Everything of this round that a stream had fails.
    fn fail_conveyor(&mut self, index: usize) {
        for at in 0..self.batch.len() {
            if self.batch[at].conveyor == Some(index) {
                self.fail(at, Syndrome::LocalQueuePairOperation);
            }
        }
    }

    fn fail_all(&mut self) {
        (0..self.batch.len()).for_each(|at| self.fail(at, Syndrome::LocalQueuePairOperation));
    }

    /// The first reason stands.
    fn fail(&mut self, at: usize, syndrome: Syndrome) {
        let result = &mut self.batch[at].moved.result;
        *result = result.and(Err(syndrome));
    }
}
