//! KVTrans: one message for each block, sent by the source in the order of its blocks and received into
//! `destination[i]` each.
#![allow(unsafe_code)] // registers and posts the blocks

use std::{error::Error, ptr::NonNull, thread};

use kv_api::{
    fabric::Segment,
    kvtrans::{Config, ConnectionId, Engine, Memory, MemoryId, PostError, ReceiveHandle, SendHandle},
};
use pmd_host::endpoint::EndpointConfig;

use super::{Client, Operation, Planned, Server, Setup};
use crate::{
    bench::PATIENCE,
    failure::Failure,
    memory::{ARENA, Heap, MemoryOption, Mirror},
};

/// Most lanes; fewer where the machine has not twice as many cores.
const MOST_LANES: usize = 4;

/// An engine with a buffer of blocks. Field order: the engine is closed before its memory is freed.
struct End {
    engine: Engine,
    memory: MemoryId,
    bytes: NonNull<[u8]>,
    /// First byte as messages address it.
    first: u64,
    block: usize,
    owner: Owner,
}

/// What keeps the blocks.
enum Owner {
    Heap { _heap: Heap },
    Arena { _segment: Segment },
    Device(Mirror),
}

struct KvTransClient {
    end: End,
    connection: ConnectionId,
    operation: Operation,
}

struct KvTransServer {
    end: End,
    connection: Option<ConnectionId>,
    operation: Operation,
}

/// One iteration of one end: all of its sends, or all of its receives.
struct Exchange<'a> {
    end: &'a End,
    connection: ConnectionId,
    /// Where each message goes; none at the end that sends.
    destination: Option<Vec<u32>>,
    blocks: usize,
    sends: Vec<SendHandle>,
    receives: Vec<ReceiveHandle>,
}

pub(super) fn connect(setup: &Setup, address: &str) -> Result<Box<dyn Client>, Failure> {
    let unusable = || Failure::Address { given: address.to_owned() };
    let address: std::net::SocketAddr = address.parse().map_err(|_| unusable())?;
    let end = End::open(setup, "bench")?;
    let connection = end.engine.connect(address.ip(), address.port()).map_err(failed)?;
    Ok(Box::new(KvTransClient { end, connection, operation: setup.operation }))
}

pub(super) fn serve(setup: &Setup) -> Result<Box<dyn Server>, Failure> {
    let end = End::open(setup, "bench-peer")?;
    Ok(Box::new(KvTransServer { end, connection: None, operation: setup.operation }))
}

fn failed(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure::Api { api: "KVTrans", source: Box::new(error) }
}

impl End {
    fn open(setup: &Setup, name: &str) -> Result<Self, Failure> {
        let lanes = thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, MOST_LANES));
        let mut config = Config::new("lo", lanes as u32, 1, 0);
        let EndpointConfig { message_bytes, message_receives, .. } = config.endpoint;
        config.endpoint =
            EndpointConfig { message_bytes, message_receives, ..setup.common.endpoint(name, None) };
        let accelerator = setup.place.open(&mut config.endpoint)?;
        config.patience = PATIENCE;
        config.in_flight = config.in_flight.max(setup.shape.blocks as usize);
        let engine = Engine::open(config).map_err(failed)?;
        let (total, kind) = (setup.shape.layout()?.total_bytes(), setup.shape.memory);
        let (bytes, owner) = match &accelerator {
            Some(accelerator) => {
                let mirror = Mirror::new(accelerator, total)?;
                (mirror.bytes(), Owner::Device(mirror))
            }
            None => allocate(&engine, total, kind)?,
        };
        let first = match &owner {
            Owner::Device(mirror) => mirror.address(),
            Owner::Heap { .. } | Owner::Arena { .. } => bytes.cast::<u8>().as_ptr() as u64,
        };
        let memory = Memory { address: first, length: total };
        let described = if accelerator.is_some() { memory.device() } else { memory.host() };
        // SAFETY: `owner` keeps the memory until the engine is closed, which is before it in field order; it is
        // borrowed between transfers only.
        let memory = unsafe { engine.reg_memory(&described) }.map_err(failed)?;
        Ok(Self { engine, memory, bytes, first, block: setup.shape.block_size as usize, owner })
    }

    const fn mirror(&self) -> Option<&Mirror> {
        match &self.owner {
            Owner::Device(mirror) => Some(mirror),
            Owner::Heap { .. } | Owner::Arena { .. } => None,
        }
    }

    fn blocks(&self) -> usize {
        self.bytes.len() / self.block
    }

    fn block(&self, index: usize) -> Memory {
        let address = self.first + (index * self.block) as u64;
        Memory { address, length: self.block as u64 }
    }

    /// The end's part in an iteration; it receives where `destination` says where to.
    fn exchange(&self, connection: ConnectionId, destination: Option<&[u32]>) -> Exchange<'_> {
        let destination = destination.map(<[u32]>::to_vec);
        let (blocks, sends, receives) = (self.blocks(), Vec::new(), Vec::new());
        Exchange { end: self, connection, destination, blocks, sends, receives }
    }
}

fn allocate(engine: &Engine, bytes: u64, kind: MemoryOption) -> Result<(NonNull<[u8]>, Owner), Failure> {
    if kind == MemoryOption::Heap {
        let mut heap = Heap::new(bytes)?;
        return Ok((NonNull::from(heap.as_mut()), Owner::Heap { _heap: heap }));
    }
    let no_memory = || Failure::NoMemory { bytes };
    let length = usize::try_from(bytes).map_err(|_| no_memory())?;
    let segment = engine.fabric().allocate(length, ARENA).map_err(failed)?;
    let first = segment.arena().and_then(|arena| NonNull::new(arena.as_ptr())).ok_or_else(no_memory)?;
    Ok((NonNull::slice_from_raw_parts(first, length), Owner::Arena { _segment: segment }))
}

impl Exchange<'_> {
    fn begin(&mut self) -> Result<(), PostError> {
        let via = (self.connection, self.end.memory);
        for index in 0..self.blocks {
            match &self.destination {
                None => {
                    let block = self.end.block(index);
                    // SAFETY: the blocks stay, and nobody borrows them before the iteration has ended.
                    self.sends.push(unsafe { self.end.engine.post_send(via, block, None) }?);
                }
                Some(destination) => {
                    let block = self.end.block(destination[index] as usize);
                    // SAFETY: as above.
                    self.receives.push(unsafe { self.end.engine.post_receive_into(via, block, None) }?);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        for send in self.sends.drain(..) {
            send.wait().map_err(failed)?;
        }
        for receive in self.receives.drain(..) {
            receive.wait().map_err(failed)?;
        }
        Ok(())
    }
}

impl Client for KvTransClient {
    fn transport(&self) -> &'static str {
        self.end.engine.transport(self.connection).map_or("none", |transport| transport.name())
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.end.bytes
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.end.mirror()
    }

    fn is_two_sided(&self) -> bool {
        true
    }

    fn plan(&mut self, destination: &[u32]) -> Result<Box<dyn Planned + '_>, Failure> {
        let destination = (self.operation == Operation::Read).then_some(destination);
        Ok(Box::new(self.end.exchange(self.connection, destination)))
    }
}

impl Planned for Exchange<'_> {
    fn post(&mut self) -> Result<(), Failure> {
        self.begin().map_err(failed)
    }

    fn wait(&mut self) -> Result<(), Failure> {
        self.end()
    }

    fn work_requests(&self) -> usize {
        self.blocks
    }
}

impl Server for KvTransServer {
    fn address(&self) -> String {
        self.end.engine.listen_address().map(|address| address.to_string()).unwrap_or_default()
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.end.bytes
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.end.mirror()
    }

    fn serve(&mut self, destination: &[u32]) -> Result<(), Failure> {
        let connection = match self.connection {
            Some(connection) => connection,
            None => self.end.engine.accept(PATIENCE).map_err(failed)?.connection,
        };
        self.connection = Some(connection);
        let destination = (self.operation == Operation::Write).then_some(destination);
        let mut exchange = self.end.exchange(connection, destination);
        exchange.begin().map_err(failed)?;
        exchange.end()
    }
}
