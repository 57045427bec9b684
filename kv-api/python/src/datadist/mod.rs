//! LLM-DataDist for the Python package `llm_datadist`, over [`kv_api::datadist`]. Every call returns upstream's status
//! number first, and why it is what it is last: the package puts both into an `LLMException`.
#![allow(unsafe_code)] // passes addresses on, on the caller's word

mod arguments;
mod task;

use std::collections::BTreeMap;

use kv_api::datadist::{
    ArgumentError, CacheKey, ClusterInfo, ClusterResults, DataDistError, LlmDataDist, LlmRole, Options,
    Status,
};
use pyo3::prelude::*;

use self::arguments::{Cluster, Description, Key, KeyOfRow, Layers, Tensors};
pub(crate) use self::task::CacheTask;
use crate::waiting::Detached;

/// Status number, result, reason.
type Answer<T> = (u32, T, Option<String>);

/// What a call came to, with the result that goes with a failure.
fn answer<T>(result: Result<T, DataDistError>, otherwise: T) -> Answer<T> {
    match result {
        Ok(value) => (Status::Success.code(), value, None),
        Err(problem) => (problem.status().code(), otherwise, Some(problem.to_string())),
    }
}

/// A process of a cluster, as the package wraps it.
#[pyclass(frozen, module = "pmd_kv._native")]
pub(crate) struct DataDist(Detached<LlmDataDist>);

impl DataDist {
    /// Calls it with the interpreter's lock released.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        otherwise: T,
        call: impl FnOnce(&LlmDataDist) -> Result<T, DataDistError> + Send,
    ) -> Answer<T> {
        let handle = self.0.as_ref();
        let result = py.detach(|| handle.map_or(Err(DataDistError::NotInitialised), call));
        answer(result, otherwise)
    }

    fn clusters(
        &self,
        py: Python<'_>,
        clusters: Vec<Cluster>,
        call: impl FnOnce(&LlmDataDist, &[ClusterInfo]) -> Result<ClusterResults, DataDistError> + Send,
    ) -> Answer<Vec<u32>> {
        let parsed: Result<Vec<_>, _> = clusters.into_iter().map(Cluster::parse).collect();
        let outcome = self.call(py, None, |handle| call(handle, &parsed?).map(Some));
        let (status, Some(results), reason) = outcome else { return (outcome.0, Vec::new(), outcome.2) };
        let failed = results.0.iter().filter_map(|result| result.as_ref().err());
        let reasons: Vec<String> = failed.map(ToString::to_string).collect();
        let reason = reason.or_else(|| (!reasons.is_empty()).then(|| reasons.join("; ")));
        let status = if results.status().is_success() { status } else { results.status().code() };
        (status, results.statuses().into_iter().map(Status::code).collect(), reason)
    }
}

fn role(number: i32) -> LlmRole {
    LlmRole::from_number(number).unwrap_or(LlmRole::Mix)
}

#[pymethods]
impl DataDist {
    #[new]
    fn new(cluster_id: u64, role_number: i32) -> Self {
        Self(Detached::new(LlmDataDist::new(cluster_id, role(role_number))))
    }

    fn initialize(&self, py: Python<'_>, options: BTreeMap<String, String>) -> Answer<()> {
        let options: Options = options;
        self.call(py, (), |handle| handle.initialize(&options))
    }

    fn finalize(&self, py: Python<'_>) {
        if let Some(handle) = self.0.as_ref() {
            py.detach(|| handle.finalize());
        }
    }

    fn switch_role(&self, py: Python<'_>, role_number: i32, options: BTreeMap<String, String>) -> Answer<()> {
        self.call(py, (), |handle| handle.set_role(role(role_number), &options))
    }

    fn link_clusters(&self, py: Python<'_>, clusters: Vec<Cluster>, timeout: i32) -> Answer<Vec<u32>> {
        self.clusters(py, clusters, |handle, clusters| handle.link_llm_clusters(clusters, timeout))
    }

    fn unlink_clusters(
        &self,
        py: Python<'_>,
        clusters: Vec<Cluster>,
        timeout: i32,
        force: bool,
    ) -> Answer<Vec<u32>> {
        self.clusters(py, clusters, |handle, clusters| handle.unlink_llm_clusters(clusters, timeout, force))
    }

    fn check_link_status(&self, py: Python<'_>, remote_cluster_id: u64) -> Answer<()> {
        self.call(py, (), |handle| handle.check_link_status(remote_cluster_id))
    }

    fn register_cache(
        &self,
        py: Python<'_>,
        description: Description,
        addrs: Vec<u64>,
        keys: Vec<Key>,
    ) -> Answer<i64> {
        self.call(py, -1, |handle| {
            let (description, keys) = (description.parse()?, arguments::keys(&keys));
            // SAFETY: upstream's callers keep registered tensors until they unregister, and Python's accesses go
            // through no Rust reference.
            unsafe { handle.register_kv_cache(&description, &addrs, &keys) }
        })
    }

    fn unregister_cache(&self, py: Python<'_>, cache_id: i64) -> Answer<()> {
        self.call(py, (), |handle| handle.unregister_kv_cache(cache_id))
    }

    fn allocate_cache(
        &self,
        py: Python<'_>,
        description: Description,
        keys: Vec<Key>,
    ) -> Answer<(i64, Vec<u64>)> {
        self.call(py, (-1, Vec::new()), |handle| {
            let cache = handle.allocate_cache(&description.parse()?, &arguments::keys(&keys))?;
            Ok((cache.cache_id, cache.tensor_addrs))
        })
    }

    fn deallocate_cache(&self, py: Python<'_>, cache_id: i64) -> Answer<()> {
        self.call(py, (), |handle| handle.deallocate_cache(cache_id))
    }

    fn remove_cache_key(&self, py: Python<'_>, key: KeyOfRow) -> Answer<()> {
        let key = CacheKey::from(key);
        self.call(py, (), |handle| handle.remove_cache_key(&key))
    }

    fn pull_cache(
        &self,
        py: Python<'_>,
        source: Key,
        cache_id: i64,
        batch_index: u32,
        size: i64,
        layers: Layers,
    ) -> Answer<()> {
        self.call(py, (), |handle| {
            handle.pull_kv_cache(source, cache_id, batch_index, size, &layers.parse()?)
        })
    }

    fn pull_blocks(
        &self,
        py: Python<'_>,
        source: Key,
        cache_id: i64,
        src_blocks: Vec<u64>,
        dst_blocks: Vec<u64>,
        layers: Layers,
    ) -> Answer<()> {
        self.call(py, (), |handle| {
            handle.pull_kv_blocks(source, cache_id, &src_blocks, &dst_blocks, &layers.parse()?)
        })
    }

    fn push_cache(
        &self,
        py: Python<'_>,
        cache_id: i64,
        destination: Key,
        src_batch_index: u32,
        size: i64,
        layers: Layers,
    ) -> Answer<()> {
        self.call(py, (), |handle| {
            handle.push_kv_cache(cache_id, destination, src_batch_index, size, &layers.parse()?)
        })
    }

    fn push_blocks(
        &self,
        py: Python<'_>,
        cache_id: i64,
        destination: Key,
        src_blocks: Vec<u64>,
        dst_blocks: Vec<u64>,
        layers: Layers,
    ) -> Answer<()> {
        self.call(py, (), |handle| {
            handle.push_kv_blocks(cache_id, destination, &src_blocks, &dst_blocks, &layers.parse()?)
        })
    }

    fn copy_cache(
        &self,
        py: Python<'_>,
        src: (i64, u32),
        dst: (i64, u32),
        offset: u64,
        size: i64,
    ) -> Answer<()> {
        self.call(py, (), |handle| handle.copy_kv_cache(src.0, dst.0, src.1, dst.1, offset, size))
    }

    fn copy_blocks(&self, py: Python<'_>, cache_id: i64, pairs: Vec<(u64, u64)>) -> Answer<()> {
        let (from, to): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        self.call(py, (), |handle| handle.copy_kv_blocks(cache_id, cache_id, &from, &[to]))
    }

    fn swap_blocks(
        &self,
        py: Python<'_>,
        src: Tensors,
        dst: Tensors,
        src_to_dst: Vec<(i64, i64)>,
    ) -> Answer<()> {
        self.call(py, (), |handle| {
            let block = |block: i64| u64::try_from(block).map_err(|_| ArgumentError::Size { size: block });
            let pairs = src_to_dst.iter().map(|(from, to)| Ok((block(*from)?, block(*to)?)));
            let pairs = pairs.collect::<Result<Vec<_>, ArgumentError>>()?;
            let (src, dst) = (src.parse()?, dst.parse()?);
            // SAFETY: upstream's callers keep the tensors of both caches, and use none of these blocks meanwhile.
            unsafe { handle.swap_blocks(&src, &dst, &pairs) }
        })
    }

    fn transfer_cache_async(
        &self,
        py: Python<'_>,
        cache_id: i64,
        synchronizer: Py<PyAny>,
        configs: Vec<arguments::Config>,
        blocks: (Vec<u64>, Vec<u64>, u64),
    ) -> Answer<Option<CacheTask>> {
        self.call(py, None, |handle| {
            CacheTask::start(handle, cache_id, synchronizer, configs, blocks).map(Some)
        })
    }
}
