//! Lanes over any back end: a route between two lanes with threads of their own, and what applications do with it.
#![allow(unsafe_code)] // gives memory to messages

mod messages;
mod revoking;
mod stopping;
mod transfers;

use std::{
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pmd_core::memory::{Access, LocalKey, RemoteAddress};
use pmd_host::{
    backend::{ConnectOptions, SetupError},
    lane::{Idle, Lane, LaneConfig, Message, MessageMemory, MessageRegistrar, Route, RouteConfig, RouteId},
    transfer::{
        Direction, LocalPiece, Outcome, Transfer, TransferError, TransferOptions, WaitError, WorkList,
        WorkListBuilder, WorkListLimits,
    },
};

use super::Case;
use crate::{
    bed::{Device, Place},
    context::Context,
    memory::Memory,
    stage::{all, config},
};

/// The cases of all modules here.
pub(super) fn cases() -> Vec<Case> {
    [transfers::CASES, messages::CASES, stopping::CASES, revoking::CASES].concat()
}

/// What was heard: bytes and immediate of each message.
type Heard = Arc<Mutex<Vec<(Vec<u8>, Option<u32>)>>>;

/// Two lanes and a route between them.
struct Lanes {
    context: Context,
    devices: [Arc<dyn Device>; 2],
    lanes: [Lane; 2],
    routes: [Route; 2],
    heard: [Heard; 2],
}

/// How lanes and their route are made.
#[derive(Clone)]
struct Plan {
    lane: LaneConfig,
    queue_pairs: usize,
    receives: u32,
    message_bytes: usize,
    connect: ConnectOptions,
}

impl Plan {
    fn new(context: &Context) -> Self {
        let lane = LaneConfig {
            idle: Idle::Park,
            batch: 8,
            signal_interval: 4,
            grace: context.patience,
            ..LaneConfig::default()
        };
        Self { lane, queue_pairs: 2, receives: 16, message_bytes: 64, connect: context.bed.options() }
    }

    fn open(self, context: &Context) -> Lanes {
        let devices = Place::BOTH.map(|place| context.bed.device(place));
        let heard = [(); 2].map(|()| Heard::default());
        let lanes = devices
            .each_ref()
            .map(|device| Lane::spawn(device.backend(4096), self.lane.clone()).expect("a lane's thread"));
        let routes = [0, 1].map(|side| self.open_route(&lanes[side], &devices[side], &heard[side]));
        let lanes = Lanes { context: context.clone(), devices, lanes, routes, heard };
        lanes.connect(&self.connect);
        lanes
    }

    fn open_route(&self, lane: &Lane, device: &Arc<dyn Device>, heard: &Heard) -> Route {
        let heard = Arc::clone(heard);
        let handler = move |_: RouteId, message: Message<'_>| {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push((message.bytes.to_vec(), message.immediate));
        };
        let config = RouteConfig {
            queue_pairs: self.queue_pairs,
            config: pmd_host::backend::QueuePairConfig { receives: 64, ..config() },
            handler: Some(Box::new(handler)),
            memory: Some(Arc::new(Registrar(Arc::clone(device)))),
            message_receives: self.receives,
            message_bytes: self.message_bytes,
        };
        lane.open_route(config).unwrap_or_else(|error| panic!("opening a route: {error}"))
    }
}

impl Lanes {
    fn connect(&self, options: &ConnectOptions) {
        for side in [0, 1] {
            let connected = self.routes[side].connect(self.routes[1 - side].addresses(), options);
            connected.unwrap_or_else(|error| panic!("connecting a route: {error}"));
        }
    }

    /// Another route between the lanes, with handlers that drop messages.
    fn another_route(&self, plan: &Plan) -> [Route; 2] {
        let routes =
            [0, 1].map(|side| plan.open_route(&self.lanes[side], &self.devices[side], &Heard::default()));
        for side in [0, 1] {
            routes[side].connect(routes[1 - side].addresses(), &plan.connect).expect("connecting");
        }
        routes
    }

    fn memory(&self, place: Place, length: usize) -> Memory {
        self.devices[place as usize].memory(length, all())
    }

    fn memories(&self, length: usize) -> (Memory, Memory) {
        (self.memory(Place::Left, length), self.memory(Place::Right, length))
    }

    fn deadline(&self) -> Option<Instant> {
        Some(Instant::now() + self.context.patience)
    }

    fn submit(&self, side: usize, work: &Arc<WorkList>, options: TransferOptions) -> Transfer {
        let submitted = self.routes[side].submit_waiting(work, options, self.deadline());
        submitted.unwrap_or_else(|error| panic!("submitting: {error}"))
    }

    /// The outcome, which must come in time.
    fn outcome(&self, mut transfer: Transfer) -> Result<Outcome, TransferError> {
        match transfer.wait(self.deadline()) {
            Ok(outcome) => Ok(outcome),
            Err(WaitError::Failed(error)) => Err(error),
            Err(WaitError::Timeout) => panic!("hanging: a transfer has no outcome"),
        }
    }

    /// Waits until `ready`.
    fn until(&self, what: &str, ready: impl Fn() -> bool) {
        let deadline = Instant::now() + self.context.patience;
        while !ready() {
            assert!(Instant::now() < deadline, "hanging: {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn heard(&self, side: usize) -> Vec<(Vec<u8>, Option<u32>)> {
        self.heard[side].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn heard_count(&self, side: usize) -> usize {
        self.heard[side].lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A piece of local memory.
fn piece(memory: &Memory, offset: usize, length: usize) -> LocalPiece {
    LocalPiece { address: memory.address() + offset as u64, length: length as u64, key: memory.local_key() }
}

/// A work list of pieces, in requests of at most `longest` bytes.
fn list(
    direction: Direction,
    longest: u32,
    pieces: impl IntoIterator<Item = (LocalPiece, RemoteAddress)>,
) -> Arc<WorkList> {
    let limits = WorkListLimits { max_sges: config().sges as u16, max_message: longest };
    let mut builder = WorkListBuilder::new(direction, limits);
    pieces.into_iter().for_each(|(local, remote)| builder.push(local, remote));
    Arc::new(builder.finish())
}

/// All of `local` to or from all of `remote`.
fn whole(direction: Direction, longest: u32, local: &Memory, remote: &Memory) -> Arc<WorkList> {
    list(direction, longest, [(piece(local, 0, local.length()), remote.remote(0))])
}

/// Memory for messages.
struct Registrar(Arc<dyn Device>);

impl MessageRegistrar for Registrar {
    fn allocate(&self, bytes: usize) -> Result<Box<dyn MessageMemory>, SetupError> {
        Ok(Box::new(Buffer(self.0.memory(bytes, Access::LOCAL_WRITE))))
    }
}

struct Buffer(Memory);

// SAFETY: the memory is registered as long as the value lives, and nobody else has its address or key.
unsafe impl MessageMemory for Buffer {
    fn address(&self) -> NonNull<u8> {
        self.0.base()
    }

    fn length(&self) -> usize {
        self.0.length()
    }

    fn key(&self) -> LocalKey {
        self.0.local_key()
    }
}
