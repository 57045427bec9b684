//! The native engine: one cache of one tensor on each side, read or written by block tables.

use std::ptr::NonNull;

use kv_api::{
    engine::{Engine, Prepared, RemoteCache},
    layout::CacheLayout,
    planner::{BlockMap, Selection},
};
use pmd_host::transfer::Transfer;

use super::{Client, Operation, Planned, Server, Setup};
use crate::{bench::PATIENCE, failure::Failure, memory::OwnedCache, options::LOOPBACK};

/// Name under which the peer's cache is looked up.
const PEER_CACHE: &str = "bench-peer";

struct EngineClient {
    operation: Operation,
    remote: RemoteCache,
    local: OwnedCache,
    /// All block numbers in order.
    source: Vec<u32>,
    /// After the cache, so that it goes first.
    _engine: Engine,
}

struct EngineServer {
    owned: OwnedCache,
    engine: Engine,
}

struct Work {
    prepared: Prepared,
    transfer: Option<Transfer>,
}

pub(super) fn connect(setup: &Setup, address: &str) -> Result<Box<dyn Client>, Failure> {
    let unusable = || Failure::Address { given: address.to_owned() };
    let address = address.parse().map_err(|_| unusable())?;
    let engine = Engine::open(setup.common.endpoint("bench", None))?;
    let layout = setup.shape.layout()?;
    let local = OwnedCache::new(&engine, "bench", layout, setup.shape.memory)?;
    let peer = engine.connect(address)?;
    let remote = engine.remote_cache(&peer, PEER_CACHE, PATIENCE)?;
    let source = (0..layout.blocks()).collect();
    Ok(Box::new(EngineClient { operation: setup.operation, remote, local, source, _engine: engine }))
}

pub(super) fn serve(setup: &Setup) -> Result<Box<dyn Server>, Failure> {
    let engine = Engine::open(setup.common.endpoint("bench-peer", Some(LOOPBACK)))?;
    let layout: CacheLayout = setup.shape.layout()?;
    let owned = OwnedCache::new(&engine, PEER_CACHE, layout, setup.shape.memory)?;
    Ok(Box::new(EngineServer { owned, engine }))
}

impl Client for EngineClient {
    fn transport(&self) -> &'static str {
        self.remote.peer().transport().name()
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.local.memory()
    }

    fn plan(&mut self, destination: &[u32]) -> Result<Box<dyn Planned + '_>, Failure> {
        let blocks = BlockMap::Table { source: &self.source, destination };
        let selection = Selection::new(0..1, blocks);
        let prepared = match self.operation {
            Operation::Read => self.remote.pull(self.local.cache(), selection)?,
            Operation::Write => self.remote.push(self.local.cache(), selection)?,
        };
        Ok(Box::new(Work { prepared, transfer: None }))
    }
}

impl Planned for Work {
    fn post(&mut self) -> Result<(), Failure> {
        self.transfer = Some(self.prepared.post(None)?);
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        if let Some(mut transfer) = self.transfer.take() {
            transfer.wait(None)?;
        }
        Ok(())
    }

    fn work_requests(&self) -> usize {
        self.prepared.work_requests()
    }
}

impl Server for EngineServer {
    fn address(&self) -> String {
        self.engine.local_address().map(|address| address.to_string()).unwrap_or_default()
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.owned.memory()
    }
}
