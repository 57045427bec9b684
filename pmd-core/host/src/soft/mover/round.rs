//! Rounds: jobs are checked and put on streams in one; it is over when their copies are.
#![allow(unsafe_code)] // asks for copies of ranges that it has checked

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use pmd_core::{
    memory::Access,
    ring::{quiesce::Active, spsc::Consumer},
    wire::Syndrome,
};

use super::{
    Direction, Fault, Job, Local, Moved,
    host::HostBytes,
    imports::Imports,
    pieces::{Lost, Owner},
    staging::{Conveyor, Token},
};
use crate::{
    soft::{Device, MappingCache, Reach, Route, Seat},
    transfer::DeviceFault,
};

/// Jobs of one round.
const MOST_JOBS: usize = 4096;
/// Bytes of one round that pass through the host.
const ROUND_BYTES: u64 = 16 << 20;
/// How many bytes within devices count as one.
const DEVICE_DISCOUNT: u64 = 16;

/// What the thread works with.
pub(super) struct Worker {
    device: Device,
    mappings: MappingCache,
    imports: Imports,
    conveyors: Vec<Conveyor>,
    /// A job that goes on in the next round.
    current: Option<Current>,
    /// The round that begins.
    batch: Vec<Begun>,
    /// Of rounds that have ended, for their memory.
    spare: Vec<Vec<Begun>>,
    lost: Lost,
    jobs: u64,
    rounds: u64,
}

struct Current {
    job: Job,
    number: u64,
    /// How far it has come.
    offset: u64,
}

/// Jobs whose copies are on streams.
pub(super) struct Round<'seat> {
    number: u64,
    batch: Vec<Begun>,
    /// By conveyor.
    tokens: Vec<Option<Token>>,
    /// Whoever takes a key back, or closes a link, waits for this.
    active: Active<'seat>,
}

/// A job, or a part of it, in a round.
struct Begun {
    /// Which job.
    job: u64,
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

impl Round<'_> {
    /// Whether every stream is done with it, or has failed.
    pub(super) fn is_over(&self) -> bool {
        let tokens = self.tokens.iter().flatten();
        // An accelerator's code may panic; what it did is found out when the round ends.
        catch_unwind(AssertUnwindSafe(|| tokens.into_iter().all(Conveyor::is_over))).unwrap_or(true)
    }
}

impl Worker {
    pub(super) fn new(device: &Device) -> Self {
        let accelerators = &device.config().accelerators;
        let conveyors = (0..accelerators.count()).filter_map(|index| accelerators.at(index));
        Self {
            device: device.clone(),
            mappings: MappingCache::new(device),
            imports: Imports::default(),
            conveyors: conveyors.cloned().map(Conveyor::new).collect(),
            current: None,
            batch: Vec::new(),
            spare: Vec::new(),
            lost: Lost::new(),
            jobs: 0,
            rounds: 0,
        }
    }

    /// Whether a job goes on in the next round.
    pub(super) fn has_job(&self) -> bool {
        self.current.is_some()
    }

    /// Lets go of what peers do not share any more; no round is in flight.
    pub(super) fn trim(&mut self) {
        self.imports.trim();
        self.mappings.trim();
        self.device.memories().let_go();
    }

    /// Puts copies of some of the jobs on streams.
    pub(super) fn begin_round<'seat>(
        &mut self,
        seat: &'seat Seat,
        incoming: &mut Consumer<Job>,
    ) -> Round<'seat> {
        self.rounds += 1;
        self.batch = self.spare.pop().unwrap_or_default();
        let active = seat.enter();
        // An accelerator's code may panic; everything of the round counts as failed then.
        if catch_unwind(AssertUnwindSafe(|| self.begin_all(&active, incoming))).is_err() {
            (0..self.batch.len()).for_each(|at| self.fail(at, DeviceFault::Stream.into()));
        }
        let tokens = (0..self.conveyors.len()).map(|index| self.issue(index)).collect();
        Round { number: self.rounds, batch: std::mem::take(&mut self.batch), tokens, active }
    }

    /// Waits for the copies of a round and ends it; `next` is the one behind it. What is over comes back.
    pub(super) fn end_round(&mut self, round: Round<'_>, next: Option<&mut Round<'_>>) -> Vec<Moved> {
        let Round { number, mut batch, tokens, active } = round;
        for (index, token) in tokens.into_iter().enumerate() {
            let Some(token) = token else { continue };
            let Self { conveyors, lost, .. } = self;
            let settled =
                catch_unwind(AssertUnwindSafe(|| conveyors[index].settle(token, number, lost).is_ok()));
            if !settled.unwrap_or(false) {
                let of_it = batch.iter_mut().filter(|begun| begun.conveyor == Some(index));
                of_it.for_each(|begun| begun.fail(DeviceFault::Stream.into()));
            }
        }
        self.lost.retain(|(owner, fault)| {
            if let Some(begun) = batch.get_mut(owner.place).filter(|_| owner.round == number) {
                begun.fail(*fault);
            }
            owner.round > number
        });
        drop(active);
        self.pass_on(&mut batch, next);
        let moved = batch.iter().filter(|begun| begun.complete).map(|begun| begun.moved).collect();
        batch.clear();
        self.spare.push(batch);
        moved
    }

    /// The rest of a job that failed fails too where it is on a stream already, and is not begun where it is not. A job has one
    /// result, which comes with its last part.
    fn pass_on(&mut self, batch: &mut [Begun], next: Option<&mut Round<'_>>) {
        let mut behind = next.and_then(|next| next.batch.first_mut());
        for begun in batch {
            let Err(fault) = begun.moved.result else { continue };
            begun.route.set_failed();
            if begun.complete {
                continue;
            }
            match behind.as_mut().filter(|rest| rest.job == begun.job) {
                Some(rest) => rest.moved.result = Err(fault),
                None => (begun.complete, self.current) = (true, None),
            }
        }
    }

    fn begin_all(&mut self, active: &Active<'_>, incoming: &mut Consumer<Job>) {
        let mut budget = ROUND_BYTES;
        while budget > 0 && self.batch.len() < MOST_JOBS {
            let next = self.current.take().or_else(|| {
                let job = incoming.pop()?;
                self.jobs += 1;
                Some(Current { job, number: self.jobs, offset: 0 })
            });
            let Some(Current { job, number, offset }) = next else { break };
            let Job { queue_pair, sequence, last, .. } = job;
            let moved = Moved { queue_pair, sequence, last, result: Ok(()) };
            let route = job.route.clone();
            self.batch.push(Begun { job: number, moved, complete: true, route, conveyor: None });
            let at = self.batch.len() - 1;
            let mut cost = 0;
            match self.begin(active, &job, offset, budget) {
                Ok(begun) => {
                    cost = begun.cost;
                    let offset = offset + begun.bytes;
                    if offset < job.length {
                        self.batch[at].complete = false;
                        self.current = Some(Current { job, number, offset });
                    }
                }
                Err(fault) => {
                    self.fail(at, fault);
                    job.route.set_failed();
                }
            }
            budget = budget.saturating_sub(cost.max(64));
        }
    }

    /// Puts a job, from `offset` on, on its stream, as much of it as `budget` allows.
    fn begin(&mut self, active: &Active<'_>, job: &Job, offset: u64, budget: u64) -> Result<Share, Fault> {
        let route = &job.route;
        if route.has_failed() || !route.is_open(active) {
            return Err(Syndrome::Flushed.into());
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
        self.check_runtimes(job.direction, &from, &to)?;
        self.deliver_before(job.direction, &from, &to)?;
        self.convey(from, to, bytes)?;
        Ok(Share { bytes, cost })
    }

    /// No stream copies between two runtimes.
    fn check_runtimes(&self, direction: Direction, from: &Side, to: &Side) -> Result<(), Fault> {
        let (Side::Device { conveyor: from, .. }, Side::Device { conveyor: to, .. }) = (from, to) else {
            return Ok(());
        };
        let kind = |index: usize| self.conveyors[index].accelerator().identity().kind;
        let (here, there) = match direction {
            Direction::Write => (kind(*from), kind(*to)),
            Direction::Read => (kind(*to), kind(*from)),
        };
        if here == there { Ok(()) } else { Err(DeviceFault::OtherRuntime { here, there }.into()) }
    }

    /// Bytes that earlier jobs move to memory of the host get there when their stream is done, so they are waited for
    /// here by a READ of the peer's, and by a WRITE there whose bytes come by another stream.
    fn deliver_before(&mut self, direction: Direction, from: &Side, to: &Side) -> Result<(), Fault> {
        let only = match (direction, from, to) {
            (Direction::Read, Side::Host(_), _) => None,
            (Direction::Write, Side::Device { conveyor, .. }, Side::Host(_)) => Some(*conveyor),
            _ => return Ok(()),
        };
        let Self { conveyors, lost, .. } = self;
        let others = conveyors.iter_mut().enumerate().filter(|(index, _)| Some(*index) != only);
        for (_, conveyor) in others.filter(|(_, conveyor)| conveyor.has_leaving()) {
            conveyor.deliver(lost)?;
        }
        Ok(())
    }

    fn convey(&mut self, from: Side, to: Side, count: u64) -> Result<(), Fault> {
        let owner = Owner { round: self.rounds, place: self.batch.len() - 1 };
        let index = match (&from, &to) {
            (Side::Device { conveyor, .. }, _) | (_, Side::Device { conveyor, .. }) => *conveyor,
            (Side::Host(_), Side::Host(_)) => return Err(Syndrome::LocalQueuePairOperation.into()),
        };
        self.batch[owner.place].conveyor = Some(index);
        let Self { conveyors, lost, .. } = self;
        let conveyor = &mut conveyors[index];
        let begun = match (from, to) {
            (Side::Device { address: from, .. }, Side::Device { address: to, .. }) => {
                conveyor.move_within(from, to, count)
            }
            // SAFETY: both sides were checked in this round, which ends once the conveyor has settled.
            (Side::Host(from), Side::Device { address: to, .. }) => unsafe {
                conveyor.move_in(from, to, count, lost)
            },
            (Side::Device { address: from, .. }, Side::Host(to)) => {
                conveyor.move_out(from, to, count, owner, lost)
            }
            (Side::Host(_), Side::Host(_)) => return Err(Syndrome::LocalQueuePairOperation.into()),
        };
        begun.map_err(Fault::from)
    }

    fn local(&self, active: &Active<'_>, job: &Job, offset: u64, count: u64) -> Result<Side, Fault> {
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
            Err(_) => Err(Syndrome::LocalProtection.into()),
            Ok(None) => Ok(Side::Host(self.own(address, count))),
            Ok(Some(number)) => {
                let conveyor = self.device.memories().accelerator(number);
                Ok(Side::Device { address, conveyor: conveyor.ok_or(Syndrome::LocalProtection)? })
            }
        }
    }

    /// Registered memory of the host, of this process.
    fn own(&self, address: u64, length: u64) -> HostBytes {
        let pinned = self.device.config().pin_arenas
            && self.device.arenas().holder(address, length).is_some_and(|arena| arena.is_pinned());
        if pinned { HostBytes::Pinned(address) } else { HostBytes::Here(address) }
    }

    fn remote(&mut self, active: &Active<'_>, job: &Job, offset: u64, count: u64) -> Result<Side, Fault> {
        let access = match job.direction {
            Direction::Write => Access::REMOTE_WRITE,
            Direction::Read => Access::REMOTE_READ,
        };
        let (peer, domain) = (job.route.peer(), job.route.peer_domain());
        let address = job.remote.wrapping_add(offset);
        let reach = peer.reach(&mut self.mappings, active, job.remote_key, address, count, access, domain);
        match reach.map_err(|_| Syndrome::RemoteAccess)? {
            Reach::Direct(here) if self.mappings.is_pinned(here as u64) => {
                Ok(Side::Host(HostBytes::Pinned(here as u64)))
            }
            Reach::Direct(here) => Ok(Side::Host(HostBytes::Here(here as u64))),
            Reach::Process { .. } if !peer.confirm_alive() => Err(Syndrome::RetryExceeded.into()),
            Reach::Process { pid, address } => Ok(Side::Host(HostBytes::Process { pid, address })),
            Reach::Packets => Err(DeviceFault::HostOutOfReach.into()),
            Reach::Device(shared) => {
                let opened = self.imports.open(&self.device, peer, shared, count)?;
                Ok(Side::Device { address: opened.address, conveyor: opened.accelerator })
            }
        }
    }

    /// Puts what is left of the round on a conveyor's stream.
    fn issue(&mut self, index: usize) -> Option<Token> {
        let conveyor = &mut self.conveyors[index];
        match catch_unwind(AssertUnwindSafe(|| conveyor.end_round())) {
            Ok(token) => token,
            Err(_) => Some(Token::FAILED),
        }
    }

    fn fail(&mut self, at: usize, fault: Fault) {
        self.batch[at].fail(fault);
    }
}

impl Begun {
    /// The first reason stands.
    fn fail(&mut self, fault: Fault) {
        self.moved.result = self.moved.result.and(Err(fault));
    }
}
