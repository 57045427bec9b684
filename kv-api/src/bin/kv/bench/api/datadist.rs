//! LLM-DataDist: one cache of blocks on each side, pulled or pushed by lists of blocks. Its calls return when the bytes
//! have moved, so all of an iteration is posting.
#![allow(unsafe_code)] // registers memory that it owns

use std::{net::SocketAddr, ptr::NonNull};

use kv_api::datadist::{
    CacheDesc, CacheIndex, CacheKeys, CachePlacement, ClusterInfo, DataDistError, DataType, IpInfo,
    KvCacheExtParam, LlmDataDist, LlmRole, OPTION_DEVICE_ID, OPTION_LISTEN_IP_INFO,
    OPTION_SYNC_CACHE_WAIT_TIME, Options,
};

use super::{Client, Operation, Planned, Server, Setup};
use crate::{
    bench::PATIENCE,
    failure::Failure,
    memory::{Memory, MemoryOption, Mirror},
    options::LOOPBACK,
};

/// Cluster of the measured side, and of the peer.
const HERE: u64 = 1;
const THERE: u64 = 0;

/// A process and its blocks.
struct Owned {
    datadist: LlmDataDist,
    cache_id: i64,
    memory: NonNull<[u8]>,
    /// After the process, which ends all that reaches it.
    mirror: Option<Mirror>,
    _heap: Option<Memory>,
}

struct DataDistClient {
    owned: Owned,
    operation: Operation,
    transport: &'static str,
    /// All block numbers in order.
    source: Vec<u64>,
}

struct DataDistServer(Owned);

impl Owned {
    fn new(cluster_id: u64, listen: Option<SocketAddr>, setup: &Setup) -> Result<Self, Failure> {
        let role = if cluster_id == THERE { LlmRole::Prompt } else { LlmRole::Decoder };
        let datadist = LlmDataDist::new(cluster_id, role);
        let mut options = Options::from([
            (OPTION_DEVICE_ID.to_owned(), setup.place.device.map_or(0, |device| device.ordinal).to_string()),
            (OPTION_SYNC_CACHE_WAIT_TIME.to_owned(), PATIENCE.as_millis().to_string()),
        ]);
        options.extend(listen.map(|listen| (OPTION_LISTEN_IP_INFO.to_owned(), listen.to_string())));
        let mut endpoint = setup.common.endpoint("bench", None);
        let accelerator = setup.place.open(&mut endpoint)?;
        datadist.initialize_with(&options, endpoint)?;
        let layout = setup.shape.layout()?;
        let shape = [i64::from(layout.blocks()), layout.block_bytes() as i64];
        let place = if accelerator.is_some() { CachePlacement::Device } else { CachePlacement::Host };
        let desc = CacheDesc::new(place, 1, DataType::Uint8, &shape);
        let bytes = layout.total_bytes();
        if let Some(accelerator) = accelerator {
            let mirror = Mirror::new(&accelerator, bytes)?;
            // SAFETY: the memory is freed after the process (field order).
            let cache_id =
                unsafe { datadist.register_kv_cache(&desc, &[mirror.address()], &CacheKeys::None)? };
            return Ok(Self {
                datadist,
                cache_id,
                memory: mirror.bytes(),
                mirror: Some(mirror),
                _heap: None,
            });
        }
        let (cache_id, start, heap) = match setup.shape.memory {
            MemoryOption::Arena => {
                let cache = datadist.allocate_cache(&desc, &CacheKeys::None)?;
                (cache.cache_id, cache.tensor_addrs[0], None)
            }
            kind @ MemoryOption::Heap => {
                let memory = Memory::new(kind, bytes)?;
                let start = memory.bytes().as_ptr().cast::<u8>() as u64;
                // SAFETY: the memory is freed after the process (field order), and borrowed only between transfers.
                let cache_id = unsafe { datadist.register_kv_cache(&desc, &[start], &CacheKeys::None)? };
                (cache_id, start, Some(memory))
            }
        };
        // Registered memory is at no null address; the fallback cannot be reached.
        let first = NonNull::new(start as *mut u8).unwrap_or(NonNull::dangling());
        let memory = NonNull::slice_from_raw_parts(first, bytes as usize);
        Ok(Self { datadist, cache_id, memory, mirror: None, _heap: heap })
    }
}

pub(super) fn connect(setup: &Setup, address: &str) -> Result<Box<dyn Client>, Failure> {
    let unusable = || Failure::Address { given: address.to_owned() };
    let at: SocketAddr = address.parse().map_err(|_| unusable())?;
    let owned = Owned::new(HERE, None, setup)?;
    let remote_ip_infos = vec![IpInfo { ip: at.ip(), port: at.port() }];
    let cluster = ClusterInfo { remote_cluster_id: THERE, remote_ip_infos, ..ClusterInfo::default() };
    let results = owned.datadist.link_llm_clusters(&[cluster], PATIENCE.as_millis() as i32)?;
    results.0.into_iter().collect::<Result<Vec<()>, DataDistError>>()?;
    let transport = owned.datadist.transport(THERE)?.name();
    let source = (0..u64::from(setup.shape.layout()?.blocks())).collect();
    Ok(Box::new(DataDistClient { owned, operation: setup.operation, transport, source }))
}

pub(super) fn serve(setup: &Setup) -> Result<Box<dyn Server>, Failure> {
    Ok(Box::new(DataDistServer(Owned::new(THERE, Some(LOOPBACK), setup)?)))
}

impl Client for DataDistClient {
    fn transport(&self) -> &'static str {
        self.transport
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.owned.memory
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.owned.mirror.as_ref()
    }

    fn plan(&mut self, destination: &[u32]) -> Result<Box<dyn Planned + '_>, Failure> {
        let destination = destination.iter().copied().map(u64::from).collect();
        Ok(Box::new(Work { client: self, destination }))
    }
}

struct Work<'a> {
    client: &'a DataDistClient,
    destination: Vec<u64>,
}

impl Planned for Work<'_> {
    fn post(&mut self) -> Result<(), Failure> {
        let DataDistClient { owned: Owned { datadist, cache_id, .. }, source, operation, .. } = self.client;
        // The first cache of the peer.
        let peer = CacheIndex { cluster_id: THERE, cache_id: 1, batch_index: 0 };
        let all = KvCacheExtParam::default();
        match operation {
            Operation::Read => datadist.pull_kv_blocks(peer, *cache_id, source, &self.destination, &all)?,
            Operation::Write => datadist.push_kv_blocks(*cache_id, peer, source, &self.destination, &all)?,
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn work_requests(&self) -> usize {
        1
    }
}

impl Server for DataDistServer {
    fn address(&self) -> String {
        let address = self.0.datadist.local_address().ok().flatten();
        address.map(|address| address.to_string()).unwrap_or_default()
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.0.memory
    }

    fn mirror(&self) -> Option<&Mirror> {
        self.0.mirror.as_ref()
    }
}

impl From<DataDistError> for Failure {
    fn from(error: DataDistError) -> Self {
        Self::Api { api: "datadist", source: Box::new(error) }
    }
}
