//! Two and more processes of LLM-DataDist in one: what moves, what is refused and with which status, and what happens
//! when the other side goes.

mod arithmetic;
mod devices;
mod keys;
mod linking;
mod load;
mod moves;
mod numbers;
mod refusals;
mod tasks;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::*;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const TIMEOUT: i32 = 20_000;

/// Options of a client.
pub(super) fn client() -> Options {
    let options = [(OPTION_DEVICE_ID, "0"), (OPTION_SYNC_CACHE_WAIT_TIME, "20000")];
    options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Options of a server at a port that the system chooses.
pub(super) fn server() -> Options {
    with(client(), OPTION_LISTEN_IP_INFO, "127.0.0.1:0")
}

pub(super) fn with(mut options: Options, name: &str, value: &str) -> Options {
    options.insert(name.to_owned(), value.to_owned());
    options
}

/// A process that takes no peer for dead because the machine is busy.
pub(super) fn start(cluster_id: u64, options: &Options) -> LlmDataDist {
    start_with(cluster_id, options, |endpoint| endpoint)
}

/// As [`start`], with an endpoint that the test changes.
pub(super) fn start_with(
    cluster_id: u64,
    options: &Options,
    change: impl FnOnce(EndpointConfig) -> EndpointConfig,
) -> LlmDataDist {
    let datadist = LlmDataDist::new(cluster_id, LlmRole::Mix);
    let mut endpoint = environment::endpoint_config().expect("the environment");
    (endpoint.down_after, endpoint.lane.grace) = (PATIENCE, PATIENCE);
    datadist.initialize_with(options, change(endpoint)).expect("initialised");
    datadist
}

pub(super) fn address(datadist: &LlmDataDist) -> SocketAddr {
    datadist.local_address().expect("initialised").expect("it listens")
}

pub(super) fn cluster(datadist: &LlmDataDist) -> ClusterInfo {
    cluster_at(datadist.cluster_id(), address(datadist))
}

pub(super) fn cluster_at(remote_cluster_id: u64, at: SocketAddr) -> ClusterInfo {
    let remote_ip_infos = vec![IpInfo { ip: at.ip(), port: at.port() }];
    ClusterInfo { remote_cluster_id, remote_ip_infos, ..ClusterInfo::default() }
}

pub(super) fn link(from: &LlmDataDist, to: &LlmDataDist) {
    let results = from.link_llm_clusters(&[cluster(to)], TIMEOUT).expect("taken");
    assert_eq!(results.statuses(), [Status::Success], "{results:?}");
}

/// A linked pair: cluster 0 listens, cluster 1 has linked.
pub(super) fn pair() -> (LlmDataDist, LlmDataDist) {
    let (prompt, decoder) = (start(0, &server()), start(1, &client()));
    link(&decoder, &prompt);
    (prompt, decoder)
}

/// Tensors of a process, registered as a cache. Dropped after the process is finalized.
pub(super) struct Tensors {
    pub(super) tensors: Vec<Vec<i32>>,
    pub(super) cache_id: i64,
}

/// The shape of the examples: rows of 16 numbers.
pub(super) fn desc(tensors: u32, rows: i64) -> CacheDesc {
    CacheDesc::new(CachePlacement::Device, tensors, DataType::Int32, &[rows, 16])
}

/// A cache whose tensor `t` holds `first + 1000 t + i` at place `i`.
pub(super) fn cache(datadist: &LlmDataDist, tensors: u32, rows: i64, first: i32) -> Tensors {
    cache_with(datadist, &desc(tensors, rows), first, &CacheKeys::None)
}

pub(super) fn cache_with(datadist: &LlmDataDist, desc: &CacheDesc, first: i32, keys: &CacheKeys) -> Tensors {
    let bytes = desc.data_type.bits().expect("a size") / 8 * desc.shape.iter().product::<i64>() as u64;
    let tensor = |tensor: i32| (0..(bytes / 4) as i32).map(|place| first + 1000 * tensor + place).collect();
    let tensors: Vec<Vec<i32>> = (0..desc.num_tensors as i32).map(tensor).collect();
    let addresses: Vec<u64> = tensors.iter().map(|tensor| tensor.as_ptr() as u64).collect();
    // SAFETY: the tests keep the tensors for longer than the cache, and look at them while nothing moves.
    let cache_id = unsafe { datadist.register_kv_cache(desc, &addresses, keys) }.expect("registered");
    Tensors { tensors, cache_id }
}

impl Tensors {
    /// What lies at a place now; written by devices behind the compiler's back.
    pub(super) fn at(&self, tensor: usize, place: usize) -> i32 {
        let pointer = &raw const self.tensors[tensor][place];
        // SAFETY: the place is there, and nothing moves while the tests look.
        unsafe { pointer.read_volatile() }
    }

    /// A row of 16 numbers.
    pub(super) fn row(&self, tensor: usize, row: usize) -> Vec<i32> {
        (16 * row..16 * (row + 1)).map(|place| self.at(tensor, place)).collect()
    }
}

/// A row as [`cache`] fills it.
pub(super) fn filled(first: i32, tensor: i32, row: i32) -> Vec<i32> {
    (0..16).map(|place| first + 1000 * tensor + 16 * row + place).collect()
}

pub(super) fn index(cluster_id: u64, cache_id: i64, batch_index: u32) -> CacheIndex {
    CacheIndex { cluster_id, cache_id, batch_index }
}

/// Waits for what comes a little later.
pub(super) fn within(mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn status(result: Result<(), DataDistError>) -> Status {
    result.map_or_else(|error| error.status(), |()| Status::Success)
}
