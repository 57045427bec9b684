//! HIXL: one asynchronous transfer of all blocks in each iteration, an operation for each block. The API has no step
//! that prepares, so looking memory up is a part of posting.
#![allow(unsafe_code)] // registers memory that it owns

use std::{collections::BTreeMap, net::TcpListener, ptr::NonNull, thread};

use kv_api::hixl::{
    Hixl, HixlError, MemDesc, MemType, TransferArgs, TransferOp, TransferOpDesc, TransferReq, TransferStatus,
};

use super::{Client, Operation, Planned, Server, Setup};
use crate::{
    bench::PATIENCE,
    failure::Failure,
    memory::{ARENA, Memory, MemoryOption, Mirror},
    options::LOOPBACK,
};

/// How often the server looks for a port that nobody else takes in between.
const TRIES: usize = 16;

/// An engine and its blocks. Field order: the engine lets go of the memory before it is freed.
struct End {
    engine: Hixl,
    memory: NonNull<[u8]>,
    /// First byte as transfers address it.
    first: u64,
    block: u64,
    mirror: Option<Mirror>,
    _heap: Option<Memory>,
}

struct HixlClient {
    end: End,
    operation: Operation,
    remote: String,
    /// First block of the peer.
    first: u64,
}

struct HixlServer {
    end: End,
    name: String,
}

struct Work<'a> {
    client: &'a HixlClient,
    operations: Vec<TransferOpDesc>,
    req: Option<TransferReq>,
}

pub(super) fn connect(setup: &Setup, address: &str) -> Result<Box<dyn Client>, Failure> {
    let unusable = || Failure::Address { given: address.to_owned() };
    let (remote, first) = address.split_once('/').ok_or_else(unusable)?;
    let first = first.parse().map_err(|_| unusable())?;
    let end = End::open(setup, "127.0.0.1")?;
    end.engine.connect(remote, PATIENCE).map_err(failed)?;
    Ok(Box::new(HixlClient { end, operation: setup.operation, remote: remote.to_owned(), first }))
}

pub(super) fn serve(setup: &Setup) -> Result<Box<dyn Server>, Failure> {
    let mut tries = 1;
    loop {
        let name = free_name()?;
        match End::open(setup, &name) {
            Ok(end) => return Ok(Box::new(HixlServer { end, name })),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

/// A server's name is where it listens, so the port is chosen here.
fn free_name() -> Result<String, Failure> {
    let address = TcpListener::bind(LOOPBACK).and_then(|listener| listener.local_addr());
    address
        .map(|address| address.to_string())
        .map_err(|error| Failure::Api { api: "HIXL", source: error.into() })
}

fn failed(error: HixlError) -> Failure {
    Failure::Api { api: "HIXL", source: Box::new(error) }
}

impl End {
    fn open(setup: &Setup, name: &str) -> Result<Self, Failure> {
        let engine = Hixl::new();
        let mut endpoint = setup.common.endpoint(name, None);
        let accelerator = setup.place.open(&mut endpoint)?;
        engine.initialize_with(name, &BTreeMap::new(), endpoint).map_err(failed)?;
        let bytes = setup.shape.layout()?.total_bytes();
        let block = setup.shape.block_size;
        if let Some(accelerator) = accelerator {
            let mirror = Mirror::new(&accelerator, bytes)?;
            let (memory, first) = (mirror.bytes(), mirror.address());
            // SAFETY: the memory is freed after the engine (field order).
            unsafe { engine.register_mem(MemDesc { addr: first, len: bytes }, MemType::Device) }
                .map_err(failed)?;
            return Ok(Self { engine, memory, first, block, mirror: Some(mirror), _heap: None });
        }
        let (memory, heap) = match setup.shape.memory {
            MemoryOption::Arena => (allocate(&engine, bytes)?, None),
            kind @ MemoryOption::Heap => {
                let heap = Memory::new(kind, bytes)?;
                let addr = heap.bytes().cast::<u8>().as_ptr() as u64;
                // SAFETY: the memory is freed after the engine (field order), and borrowed only between transfers.
                unsafe { engine.register_mem(MemDesc { addr, len: bytes }, MemType::Host) }
                    .map_err(failed)?;
                (heap.bytes(), Some(heap))
            }
        };
        let first = memory.cast::<u8>().as_ptr() as u64;
        Ok(Self { engine, memory, first, block, mirror: None, _heap: heap })
    }
}

fn allocate(engine: &Hixl, bytes: u64) -> Result<NonNull<[u8]>, Failure> {
    let no_memory = || Failure::NoMemory { bytes };
    let length = usize::try_from(bytes).map_err(|_| no_memory())?;
    let (_, memory) = engine.allocate_mem(length, MemType::Host, ARENA).map_err(failed)?;
    let first = NonNull::new(memory.addr as *mut u8).ok_or_else(no_memory)?;
    Ok(NonNull::slice_from_raw_parts(first, length))
}

impl Client for HixlClient {
    fn transport(&self) -> &'static str {
        self.end.engine.transport(&self.remote).map_or("none", |transport| transport.name())
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.end.memory
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.end.mirror.as_ref()
    }

    fn plan(&mut self, destination: &[u32]) -> Result<Box<dyn Planned + '_>, Failure> {
        let block = self.end.block;
        let (here, there) = (self.end.first, self.first);
        let operation = |(from, to): (u64, &u32)| {
            let (source, target) = (from * block, u64::from(*to) * block);
            match self.operation {
                Operation::Read => {
                    TransferOpDesc { local_addr: here + target, remote_addr: there + source, len: block }
                }
                Operation::Write => {
                    TransferOpDesc { local_addr: here + source, remote_addr: there + target, len: block }
                }
            }
        };
        let operations = (0..).zip(destination).map(operation).collect();
        Ok(Box::new(Work { client: self, operations, req: None }))
    }
}

impl Planned for Work<'_> {
    fn post(&mut self) -> Result<(), Failure> {
        let HixlClient { end, operation, remote, .. } = self.client;
        let operation = match operation {
            Operation::Read => TransferOp::Read,
            Operation::Write => TransferOp::Write,
        };
        let args = TransferArgs::default();
        // SAFETY: the blocks stay, and nobody borrows them before the iteration has ended.
        let req = unsafe { end.engine.transfer_async(remote, operation, &self.operations, args) };
        self.req = Some(req.map_err(failed)?);
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let Some(req) = self.req.take() else { return Ok(()) };
        loop {
            match self.client.end.engine.transfer_status(req).map_err(failed)? {
                TransferStatus::Waiting => thread::yield_now(),
                TransferStatus::Completed => return Ok(()),
                TransferStatus::Timeout | TransferStatus::Failed => {
                    return Err(Failure::Api { api: "HIXL", source: "the transfer failed".into() });
                }
            }
        }
    }

    fn work_requests(&self) -> usize {
        self.operations.len()
    }
}

impl Server for HixlServer {
    fn address(&self) -> String {
        format!("{}/{}", self.name, self.end.first)
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.end.memory
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.end.mirror.as_ref()
    }
}
