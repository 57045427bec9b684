//! `pmd_kv.Fabric`: memory by address, over [`kv_api::fabric`].

mod plan;
mod segment;
mod service;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use kv_api::fabric::{Fabric as Handle, FabricError, PostOptions};
use pmd_host::{soft::ArenaOptions, transfer::Direction};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyTuple},
};

pub(crate) use plan::Plan;
pub(crate) use segment::Segment;
pub(crate) use service::Message;

use self::service::Service;
use crate::{
    config, error,
    peer::Peer,
    transfer::Transfer,
    waiting::{self, Detached},
};

/// Default bound of calls that ask a peer, in seconds.
const PATIENCE: f64 = 10.0;

/// Registered memory, peers, and transfers between them.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Fabric {
    handle: Detached<Mutex<Option<Handle>>>,
    service: Arc<Service>,
}

impl Fabric {
    /// The fabric, if it is not closed.
    fn handle(&self, py: Python<'_>) -> PyResult<Handle> {
        let held =
            self.handle.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "fabric"))
    }

    fn planned(
        &self,
        py: Python<'_>,
        peer: &Peer,
        direction: Direction,
        descriptors: &Bound<'_, PyAny>,
        patience: f64,
    ) -> PyResult<kv_api::fabric::Plan> {
        let (handle, patience) = (self.handle(py)?, waiting::duration(patience)?);
        let peer = peer.handle().ok_or_else(|| error::closed(py, "peer"))?;
        let descriptors = plan::descriptors(descriptors)?;
        let planned = py.detach(|| handle.plan(peer, direction, &descriptors, patience));
        planned.map_err(|problem| error::fabric(py, problem))
    }

    fn transfer(
        &self,
        py: Python<'_>,
        (peer, direction): (&Peer, Direction),
        descriptors: &Bound<'_, PyAny>,
        notify: Option<Vec<u8>>,
        timeout: Option<f64>,
    ) -> PyResult<Transfer> {
        let deadline = waiting::deadline(timeout)?;
        let planned = self.planned(py, peer, direction, descriptors, timeout.unwrap_or(PATIENCE))?;
        post(py, &planned, notify, None, deadline)
    }
}

/// Posts a plan.
fn post(
    py: Python<'_>,
    plan: &kv_api::fabric::Plan,
    notify: Option<Vec<u8>>,
    immediate: Option<u32>,
    deadline: Option<Instant>,
) -> PyResult<Transfer> {
    let options = PostOptions { notify, immediate, deadline };
    let posted = py.detach(|| plan.post(options));
    posted.map(Transfer::of_memory).map_err(|problem| error::fabric(py, problem))
}

#[pymethods]
impl Fabric {
    #[new]
    #[pyo3(signature = (*, on_request=None, **options))]
    fn new(
        py: Python<'_>,
        on_request: Option<Py<PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let config = config::config(py, options)?;
        let service = Arc::new(Service::new(on_request));
        let handle = py.detach(|| Handle::open(config, Arc::clone(&service) as Arc<_>));
        let handle = handle.map_err(|problem| error::fabric(py, problem))?;
        Ok(Self { handle: Detached::new(Mutex::new(Some(handle))), service })
    }

    /// "host:port" that peers connect to; None when the fabric does not listen.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.handle(py)?.local_address().map(|address| address.to_string()))
    }

    /// Registers an array's memory for transfers both ways. It is kept until the segment and its transfers are gone.
    fn register(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<Segment> {
        let handle = self.handle(py)?;
        Segment::register(py, &handle, array)
    }

    /// Allocates zeroed memory that peers of this host can map, and registers it: the fastest kind.
    fn allocate(&self, py: Python<'_>, nbytes: usize) -> PyResult<Segment> {
        let handle = self.handle(py)?;
        let segment = py.detach(|| handle.allocate(nbytes, ArenaOptions::default()));
        segment.map(Segment::new).map_err(|problem| error::fabric(py, problem))
    }

    /// Connects to the fabric that listens at "host:port".
    fn connect(&self, py: Python<'_>, address: &str) -> PyResult<Peer> {
        let (handle, address) = (self.handle(py)?, config::address(py, address)?);
        let peer = py.detach(|| handle.connect(address));
        peer.map(Peer::new).map_err(|problem| error::fabric(py, problem))
    }

    /// The next peer that has connected.
    #[pyo3(signature = (timeout=None))]
    fn accept(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Peer> {
        let found = waiting::until(py, timeout, |patience| self.service.connected(patience))?;
        found.map(Peer::new).ok_or_else(|| error::timeout(py, "a peer to connect", timeout))
    }

    /// The next peer that went down, and why.
    #[pyo3(signature = (timeout=None))]
    fn wait_down(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<(Peer, String)> {
        let found = waiting::until(py, timeout, |patience| self.service.down(patience))?;
        let (peer, reason) = found.ok_or_else(|| error::timeout(py, "a peer to go down", timeout))?;
        Ok((Peer::new(peer), reason.to_string()))
    }

    /// The next message of any peer: the notification of a transfer whose bytes are all in place.
    #[pyo3(signature = (timeout=None))]
    fn wait_message(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Message> {
        let found = waiting::until(py, timeout, |patience| self.service.message(patience))?;
        found.ok_or_else(|| error::timeout(py, "a message", timeout))
    }

    /// Asks the `on_request` of a peer; kinds are from 0 to 61439.
    #[pyo3(signature = (peer, kind, body, timeout=PATIENCE))]
    fn ask<'py>(
        &self,
        py: Python<'py>,
        peer: &Peer,
        kind: u16,
        body: Vec<u8>,
        timeout: f64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let patience = waiting::duration(timeout)?;
        let peer = peer.handle().ok_or_else(|| error::closed(py, "peer"))?;
        let answer = py.detach(|| peer.request(kind, body, patience));
        Ok(PyBytes::new(py, &answer.map_err(|problem| error::request(py, &problem))?))
    }

    /// Plans reading: descriptors are (local address, remote address, bytes), in a list or in an array of three columns.
    #[pyo3(signature = (peer, descriptors, *, patience=PATIENCE))]
    fn plan_read(
        &self,
        py: Python<'_>,
        peer: &Peer,
        descriptors: &Bound<'_, PyAny>,
        patience: f64,
    ) -> PyResult<Plan> {
        self.planned(py, peer, Direction::Read, descriptors, patience).map(Plan::new)
    }

    /// Plans writing; as plan_read, the other way.
    #[pyo3(signature = (peer, descriptors, *, patience=PATIENCE))]
    fn plan_write(
        &self,
        py: Python<'_>,
        peer: &Peer,
        descriptors: &Bound<'_, PyAny>,
        patience: f64,
    ) -> PyResult<Plan> {
        self.planned(py, peer, Direction::Write, descriptors, patience).map(Plan::new)
    }

    /// Plans and posts reading.
    #[pyo3(signature = (peer, descriptors, *, notify=None, timeout=None))]
    fn read(
        &self,
        py: Python<'_>,
        peer: &Peer,
        descriptors: &Bound<'_, PyAny>,
        notify: Option<Vec<u8>>,
        timeout: Option<f64>,
    ) -> PyResult<Transfer> {
        self.transfer(py, (peer, Direction::Read), descriptors, notify, timeout)
    }

    /// Plans and posts writing.
    #[pyo3(signature = (peer, descriptors, *, notify=None, timeout=None))]
    fn write(
        &self,
        py: Python<'_>,
        peer: &Peer,
        descriptors: &Bound<'_, PyAny>,
        notify: Option<Vec<u8>>,
        timeout: Option<f64>,
    ) -> PyResult<Transfer> {
        self.transfer(py, (peer, Direction::Write), descriptors, notify, timeout)
    }

    /// Says goodbye to all peers and fails what is in flight. Segments keep their memory.
    fn close(&self, py: Python<'_>) {
        let held =
            self.handle.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| drop(held));
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }
}

/// A [`FabricError`] as an exception, for this module's parts.
fn raised(py: Python<'_>, problem: FabricError) -> PyErr {
    error::fabric(py, problem)
}
