//! The native engine: one cache of one tensor on each side, read or written by block tables.

use std::{net::SocketAddr, ptr::NonNull};

use kv_api::{
    engine::{Engine, Prepared, RemoteCache},
    planner::{BlockMap, Selection},
};
use pmd_host::{region::RegionPath, transfer::Transfer};

use super::{Client, Operation, Planned, Server, Setup};
use crate::{
    bench::PATIENCE,
    failure::Failure,
    memory::{Mirror, OwnedCache},
    options::{LOOPBACK, tell_metrics},
};

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
    let (engine, local) = open(setup, "bench", None)?;
    let peer = engine.connect(address)?;
    let remote = engine.remote_cache(&peer, PEER_CACHE, PATIENCE)?;
    let source = (0..local.cache().layout().blocks()).collect();
    Ok(Box::new(EngineClient { operation: setup.operation, remote, local, source, _engine: engine }))
}

pub(super) fn serve(setup: &Setup) -> Result<Box<dyn Server>, Failure> {
    let (engine, owned) = open(setup, PEER_CACHE, Some(LOOPBACK))?;
    Ok(Box::new(EngineServer { owned, engine }))
}

/// An engine with a cache of its own name, on a device if there is one.
fn open(setup: &Setup, name: &str, listen: Option<SocketAddr>) -> Result<(Engine, OwnedCache), Failure> {
    let mut config = setup.common.endpoint(name, listen);
    let accelerator = setup.place.open(&mut config)?;
    let engine = Engine::open(config)?;
    tell_metrics(engine.endpoint());
    let owned =
        OwnedCache::at(&engine, name, setup.shape.layout()?, accelerator.as_ref(), setup.shape.memory)?;
    Ok((engine, owned))
}

impl Client for EngineClient {
    fn transport(&self) -> &'static str {
        self.remote.peer().transport().name()
    }

    fn path(&self) -> Option<&'static str> {
        self.local.cache().path(self.remote.peer().transport()).map(RegionPath::name)
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.local.memory()
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.local.mirror()
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

    fn mirror(&self) -> Option<&Mirror> {
        self.owned.mirror()
    }
}
