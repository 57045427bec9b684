//! HIXL for the Python module `hixl`, over [`kv_api::hixl`]. Every call returns HIXL's status number first, and why it
//! is what it is last: the module logs that.
#![allow(unsafe_code)] // passes addresses on, on the caller's word

use std::collections::BTreeMap;

use kv_api::hixl::{
    Hixl as Handle, HixlError, MemDesc as Memory, MemHandle, MemType, NotifyDesc, Status, TransferArgs,
    TransferOp, TransferOpDesc as Operation, TransferReq, TransferStatus, TransferStatusArgs, timeout,
};
use pyo3::{prelude::*, types::PyBytes};

use crate::waiting::Detached;

/// One contiguous piece of a transfer.
#[pyclass(get_all, set_all, module = "hixl", name = "TransferOpDesc")]
pub(crate) struct TransferOpDesc {
    local_addr: u64,
    remote_addr: u64,
    len: u64,
}

#[pymethods]
impl TransferOpDesc {
    #[new]
    const fn new(local_addr: u64, remote_addr: u64, len: u64) -> Self {
        Self { local_addr, remote_addr, len }
    }

    fn __repr__(&self) -> String {
        let Self { local_addr, remote_addr, len } = self;
        format!("TransferOpDesc(local_addr={local_addr:#x}, remote_addr={remote_addr:#x}, len={len})")
    }
}

/// Status number, result, reason.
type Answer<T> = (u32, T, Option<String>);

/// What a call came to, with the result that goes with a failure.
fn answer<T>(result: Result<T, HixlError>, otherwise: T) -> Answer<T> {
    match result {
        Ok(value) => (Status::Success.code(), value, None),
        Err(problem) => (problem.status().code(), otherwise, Some(problem.to_string())),
    }
}

/// An engine, as the module wraps it.
#[pyclass(frozen, module = "pmd_kv._native", name = "Hixl")]
pub(crate) struct Hixl(Detached<Handle>);

impl Hixl {
    /// Calls the engine with the interpreter's lock released.
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        otherwise: T,
        call: impl FnOnce(&Handle) -> Result<T, HixlError> + Send,
    ) -> Answer<T> {
        let handle = self.0.as_ref();
        let result = py.detach(|| handle.map_or(Err(HixlError::NotInitialized), call));
        answer(result, otherwise)
    }
}

/// The operation of HIXL's number.
fn operation(number: i32) -> TransferOp {
    if number == TransferOp::Read as i32 { TransferOp::Read } else { TransferOp::Write }
}

fn pieces(descriptions: &[PyRef<'_, TransferOpDesc>]) -> Vec<Operation> {
    let piece = |description: &PyRef<'_, TransferOpDesc>| {
        let TransferOpDesc { local_addr, remote_addr, len } = **description;
        Operation { local_addr, remote_addr, len }
    };
    descriptions.iter().map(piece).collect()
}

#[pymethods]
impl Hixl {
    #[new]
    const fn new() -> Self {
        Self(Detached::new(Handle::new()))
    }

    fn initialize(
        &self,
        py: Python<'_>,
        local_engine: &str,
        options: BTreeMap<String, String>,
    ) -> Answer<()> {
        self.call(py, (), |handle| handle.initialize(local_engine, &options))
    }

    fn finalize(&self, py: Python<'_>) {
        if let Some(handle) = self.0.as_ref() {
            py.detach(|| handle.finalize());
        }
    }

    fn register_mem(&self, py: Python<'_>, addr: u64, len: u64, mem_type: i32) -> Answer<u64> {
        let kind = if mem_type == MemType::Device as i32 { MemType::Device } else { MemType::Host };
        self.call(py, 0, |handle| {
            // SAFETY: HIXL's callers keep registered memory mapped, and Python's accesses go through no Rust reference.
            unsafe { handle.register_mem(Memory { addr, len }, kind) }.map(|handle| handle.0)
        })
    }

    fn deregister_mem(&self, py: Python<'_>, mem_handle: u64) -> Answer<()> {
        self.call(py, (), |handle| handle.deregister_mem(MemHandle(mem_handle)))
    }

    fn connect(&self, py: Python<'_>, remote_engine: &str, millis: i32) -> Answer<()> {
        self.call(py, (), |handle| handle.connect(remote_engine, timeout(millis)))
    }

    fn disconnect(&self, py: Python<'_>, remote_engine: &str, millis: i32) -> Answer<()> {
        self.call(py, (), |handle| handle.disconnect(remote_engine, timeout(millis)))
    }

    fn connect_async(&self, py: Python<'_>, remote_engine: &str, millis: i32) -> Answer<()> {
        self.call(py, (), |handle| handle.connect_async(remote_engine, timeout(millis)))
    }

    fn disconnect_async(&self, py: Python<'_>, remote_engine: &str, millis: i32) -> Answer<()> {
        self.call(py, (), |handle| handle.disconnect_async(remote_engine, timeout(millis)))
    }

    fn get_async_connect_status(&self, py: Python<'_>, remote_engine: &str) -> Answer<i32> {
        self.call(py, 0, |handle| handle.async_connect_status(remote_engine).map(|status| status as i32))
    }

    fn get_all_async_connect_status(&self, py: Python<'_>) -> Answer<BTreeMap<String, i32>> {
        self.call(py, BTreeMap::new(), |handle| {
            let statuses = handle.async_connect_statuses()?;
            Ok(statuses.into_iter().map(|(name, status)| (name, status as i32)).collect())
        })
    }

    fn transfer_sync(
        &self,
        py: Python<'_>,
        remote_engine: &str,
        op: i32,
        op_descs: Vec<PyRef<'_, TransferOpDesc>>,
        millis: i32,
    ) -> Answer<()> {
        let pieces = pieces(&op_descs);
        drop(op_descs);
        self.call(py, (), |handle| {
            // SAFETY: HIXL's callers leave the memory alone until the call returns.
            unsafe { handle.transfer_sync(remote_engine, operation(op), &pieces, timeout(millis)) }
        })
    }

    fn transfer_async(
        &self,
        py: Python<'_>,
        remote_engine: &str,
        op: i32,
        op_descs: Vec<PyRef<'_, TransferOpDesc>>,
        user_data: u64,
    ) -> Answer<u64> {
        let pieces = pieces(&op_descs);
        drop(op_descs);
        let args = TransferArgs { user_data, ..TransferArgs::default() };
        self.call(py, 0, |handle| {
            // SAFETY: HIXL's callers leave the memory alone until the transfer has ended.
            unsafe { handle.transfer_async(remote_engine, operation(op), &pieces, args) }.map(|req| req.0)
        })
    }

    fn get_transfer_status(&self, py: Python<'_>, req: u64) -> Answer<i32> {
        let failed = TransferStatus::Failed as i32;
        self.call(py, failed, |handle| handle.transfer_status(TransferReq(req)).map(|status| status as i32))
    }

    fn get_all_transfer_status(
        &self,
        py: Python<'_>,
        max_query_count: u32,
        skip_waiting: bool,
    ) -> Answer<Vec<(u64, u64, i32)>> {
        let args = TransferStatusArgs { max_query_count, skip_waiting };
        self.call(py, Vec::new(), |handle| {
            let results = handle.transfer_statuses(args)?;
            Ok(results
                .into_iter()
                .map(|result| (result.req.0, result.user_data, result.status as i32))
                .collect())
        })
    }

    fn send_notify(
        &self,
        py: Python<'_>,
        remote_engine: &str,
        name: &[u8],
        message: &[u8],
        millis: i32,
    ) -> Answer<()> {
        let notification = NotifyDesc::new(name, message);
        self.call(py, (), |handle| handle.send_notify(remote_engine, &notification, timeout(millis)))
    }

    fn get_notifies<'py>(&self, py: Python<'py>) -> Answer<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let (status, taken, reason) = self.call(py, Vec::new(), Handle::take_notifies);
        let bytes = |text: &[u8]| PyBytes::new(py, text);
        (status, taken.iter().map(|note| (bytes(&note.name), bytes(&note.notify_msg))).collect(), reason)
    }

    #[staticmethod]
    fn get_capability(feature: i32) -> Answer<i32> {
        answer(Handle::capability(feature), kv_api::hixl::FEATURE_NOT_SUPPORTED)
    }
}
