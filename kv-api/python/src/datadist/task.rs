//! Layers that are sent while Python computes them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kv_api::datadist::{
    CacheTask as Handle, DataDistError, LayerSynchronizer, LlmDataDist, Status, TransferBlocks,
    TransferConfig,
};
use pyo3::prelude::*;

use super::arguments::Config;
use crate::waiting;

/// A task that runs. Dropping it does not stop the task.
#[pyclass(frozen, module = "pmd_kv._native")]
pub(crate) struct CacheTask {
    handle: Handle,
    /// What the synchroniser raised.
    raised: Arc<Mutex<Option<PyErr>>>,
}

/// Python's `LayerSynchronizer`, called on the task's thread with the interpreter's lock taken for the call.
struct Synchronizer {
    object: Py<PyAny>,
    raised: Arc<Mutex<Option<PyErr>>>,
}

impl LayerSynchronizer for Synchronizer {
    fn synchronize_layer(&self, layer_index: u32, timeout_in_millis: Option<u32>) -> bool {
        let synchronised = Python::try_attach(|py| {
            let call =
                self.object.bind(py).call_method1("synchronize_layer", (layer_index, timeout_in_millis));
            call.and_then(|answer| answer.is_truthy())
        });
        match synchronised {
            Some(Ok(synchronised)) => synchronised,
            Some(Err(error)) => {
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                false
            }
            // The interpreter is shutting down.
            None => false,
        }
    }
}

impl CacheTask {
    pub(super) fn start(
        datadist: &LlmDataDist,
        cache_id: i64,
        object: Py<PyAny>,
        configs: Vec<Config>,
        (src_block_indices, dst_block_indices, dst_block_memory_size): (Vec<u64>, Vec<u64>, u64),
    ) -> Result<Self, DataDistError> {
        let raised = Arc::default();
        let synchronizer = Synchronizer { object, raised: Arc::clone(&raised) };
        let configs: Vec<TransferConfig> = configs.into_iter().map(Config::parse).collect();
        let blocks = TransferBlocks { src_block_indices, dst_block_indices, dst_block_memory_size };
        let handle = datadist.transfer_cache_async(cache_id, synchronizer, &configs, blocks)?;
        Ok(Self { handle, raised })
    }
}

#[pymethods]
impl CacheTask {
    /// Waits until every destination has its outcome; False when that takes longer.
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let finished = |patience: Duration| {
            let _ = self.handle.get_results(Some(patience));
            self.handle.is_done().then_some(())
        };
        Ok(waiting::until(py, timeout, finished)?.is_some())
    }

    /// The status of each destination, once it is done.
    fn results(&self) -> Vec<u32> {
        self.handle.get_results(Some(Duration::ZERO)).into_iter().map(Status::code).collect()
    }

    /// What the synchroniser raised, or None.
    fn exception(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        Some(raised.as_ref()?.value(py).clone().into_any().unbind())
    }
}
