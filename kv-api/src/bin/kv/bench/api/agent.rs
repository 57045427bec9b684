//! Agents: prepared lists of all blocks on both sides, a request by index in each iteration.
#![allow(unsafe_code)] // registers memory that it owns

use std::{ptr::NonNull, sync::Arc};

use kv_api::agent::{
    Agent, AgentConfig, AgentError, Descriptor, DescriptorList, MemoryType, PreparedList, Request,
    backend::Registration,
};
use pmd_core::accelerator::Accelerator;
use pmd_host::transfer::Direction;

use super::{Client, Operation, Planned, Server, Setup};
use crate::{
    failure::Failure,
    memory::{ARENA, Memory, MemoryOption, Mirror},
    options::LOOPBACK,
};

/// Name of the peer's agent.
const PEER: &str = "bench-peer";

/// An agent and its blocks.
struct Owned {
    agent: Agent,
    memory: NonNull<[u8]>,
    list: DescriptorList,
    /// Freed after the agent has let go of it: all transfers have ended, and so has the agent of the other process.
    backing: Backing,
}

enum Backing {
    Arena { _registration: Registration },
    Heap { _memory: Memory },
    Device(Mirror),
}

struct AgentClient {
    owned: Owned,
    operation: Operation,
    local: PreparedList,
    remote: PreparedList,
    /// All block numbers in order.
    source: Vec<u32>,
}

struct AgentServer(Owned);

impl Owned {
    fn new(name: &str, setup: &Setup) -> Result<Self, Failure> {
        let mut config = AgentConfig::new(name);
        config.backend.endpoint = setup.common.endpoint(name, Some(LOOPBACK));
        let accelerator = setup.place.open(&mut config.backend.endpoint)?;
        let agent = Agent::open(config)?;
        let layout = setup.shape.layout()?;
        let (blocks, block) = (u64::from(layout.blocks()), layout.block_bytes());
        let bytes =
            usize::try_from(blocks * block).map_err(|_| Failure::NoMemory { bytes: blocks * block })?;
        if let Some(accelerator) = accelerator {
            return Self::on_device(agent, &accelerator, (blocks, block));
        }
        let (start, backing) = match setup.shape.memory {
            MemoryOption::Arena => {
                let registration = agent.allocate(bytes, ARENA)?;
                (registration.address(), Backing::Arena { _registration: registration })
            }
            kind @ MemoryOption::Heap => {
                let memory = Memory::new(kind, bytes as u64)?;
                let start = memory.bytes().as_ptr().cast::<u8>() as u64;
                // SAFETY: the memory is freed after the agent (field order), and borrowed only between transfers.
                unsafe { agent.register(&DescriptorList::dram([(start, bytes as u64)]))? };
                (start, Backing::Heap { _memory: memory })
            }
        };
        // Registered memory is at no null address; the fallback cannot be reached.
        let first = NonNull::new(start as *mut u8).unwrap_or(NonNull::dangling());
        let list = DescriptorList::dram((0..blocks).map(|index| (start + index * block, block)));
        Ok(Self { agent, memory: NonNull::slice_from_raw_parts(first, bytes), list, backing })
    }

    fn on_device(
        agent: Agent,
        accelerator: &Arc<dyn Accelerator>,
        (blocks, block): (u64, u64),
    ) -> Result<Self, Failure> {
        let (mirror, device) =
            (Mirror::new(accelerator, blocks * block)?, accelerator.identity().ordinal.into());
        let start = mirror.address();
        let vram = |ranges: &mut dyn Iterator<Item = (u64, u64)>| DescriptorList {
            memory: MemoryType::Vram,
            descriptors: ranges.map(|(address, length)| Descriptor { address, length, device }).collect(),
        };
        // SAFETY: the memory is freed after the agent (field order).
        unsafe { agent.register(&vram(&mut [(start, blocks * block)].into_iter()))? };
        let list = vram(&mut (0..blocks).map(|index| (start + index * block, block)));
        Ok(Self { agent, memory: mirror.bytes(), list, backing: Backing::Device(mirror) })
    }

    const fn mirror(&self) -> Option<&Mirror> {
        match &self.backing {
            Backing::Device(mirror) => Some(mirror),
            Backing::Arena { .. } | Backing::Heap { .. } => None,
        }
    }
}

/// The peer's metadata and list go through the benchmark's own channel, as an engine's would through its router.
pub(super) fn connect(setup: &Setup, address: &str) -> Result<Box<dyn Client>, Failure> {
    let unusable = || Failure::Address { given: address.to_owned() };
    let (metadata, list) = address.split_once('.').ok_or_else(unusable)?;
    let metadata = from_hex(metadata).ok_or_else(unusable)?;
    let list = DescriptorList::from_bytes(&from_hex(list).ok_or_else(unusable)?)?;
    let owned = Owned::new("bench", setup)?;
    owned.agent.load_remote_metadata(&metadata)?;
    owned.agent.connect(PEER)?;
    let local = owned.agent.prepare_local(&owned.list)?;
    let remote = owned.agent.prepare_remote(PEER, &list)?;
    let source = (0..owned.list.descriptors.len() as u32).collect();
    Ok(Box::new(AgentClient { owned, operation: setup.operation, local, remote, source }))
}

pub(super) fn serve(setup: &Setup) -> Result<Box<dyn Server>, Failure> {
    Ok(Box::new(AgentServer(Owned::new(PEER, setup)?)))
}

impl Client for AgentClient {
    fn transport(&self) -> &'static str {
        let peers = self.owned.agent.backend().messenger().fabric().endpoint().peers();
        peers.first().map_or("none", |peer| peer.transport().name())
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.owned.memory
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.owned.mirror()
    }

    fn plan(&mut self, destination: &[u32]) -> Result<Box<dyn Planned + '_>, Failure> {
        let (direction, local, remote) = match self.operation {
            Operation::Read => (Direction::Read, destination, &*self.source),
            Operation::Write => (Direction::Write, &*self.source, destination),
        };
        let request = self.owned.agent.make_request(direction, &self.local, local, &self.remote, remote)?;
        Ok(Box::new(Work(request)))
    }
}

struct Work(Request);

impl Planned for Work {
    fn post(&mut self) -> Result<(), Failure> {
        self.0.post(None)?;
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        self.0.wait(None)?;
        Ok(())
    }

    fn work_requests(&self) -> usize {
        self.0.work_requests()
    }
}

impl Server for AgentServer {
    fn address(&self) -> String {
        format!("{}.{}", to_hex(&self.0.agent.local_metadata()), to_hex(&self.0.list.to_bytes()))
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.0.memory
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.0.mirror()
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        Self::Agent(Box::new(error))
    }
}
