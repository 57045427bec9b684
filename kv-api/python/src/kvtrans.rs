//! KVTrans for the Python module `kvtrans_engine`, over [`kv_api::kvtrans`]. Raises where upstream's functions return
//! False; the module turns the one into the other.
#![allow(unsafe_code)] // registers memory that Python objects own, and addresses on the caller's word

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kv_api::kvtrans::{
    AcceptError, Config, ConnectionId, Engine, KvId, Memory as Room, MemoryId, ReceiveHandle, Via,
};
use pmd_core::{
    accelerator::{Accelerator, CopyDirection, CopyRange},
    memory::{MemoryKind, RegionDescription},
};
use pmd_host::transfer::KeepAlive;
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    config,
    device::{self, Order},
    error,
    memory::unordered,
    waiting::{self, Detached},
};

/// Upstream waits for ever. So does this, but for a peer that is gone, and for Ctrl-C.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A KVTrans engine. Registered arrays are kept until they are released or the engine is gone.
#[pyclass(frozen, module = "pmd_kv._native")]
pub(crate) struct KvTrans {
    // Closed first: only then nothing touches the memory any more.
    engine: Detached<Closing>,
    registered: Mutex<HashMap<u64, Registered>>,
}

/// Closes the engine at the end.
struct Closing(Engine);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What was registered under a number.
#[derive(Clone)]
struct Registered {
    room: Room,
    readonly: bool,
    /// Whose memory it is, where the processor does not reach it.
    accelerator: Option<Arc<dyn Accelerator>>,
    _owner: Option<KeepAlive>,
}

impl Registered {
    /// Copies between the beginning of the memory and bytes of this process.
    ///
    /// # Safety
    /// Both have so many bytes, and nothing else touches either meanwhile.
    unsafe fn copy(&self, bytes: *mut u8, length: usize, direction: CopyDirection) -> Result<(), PyErr> {
        let (here, there) = (bytes as u64, self.room.address);
        let (from, to) = if direction == CopyDirection::DeviceToHost { (there, here) } else { (here, there) };
        let Some(accelerator) = &self.accelerator else {
            // SAFETY: passed on to the caller.
            unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, length) };
            return Ok(());
        };
        let range = CopyRange { from, to, length: length as u64, direction };
        Python::attach(|py| {
            // SAFETY: passed on to the caller; it has ended when this returns.
            let copied = py.detach(|| unsafe { device::copy(&**accelerator, range) });
            copied.map_err(|problem| error::accelerator(py, problem))
        })
    }
}

/// What a send or receive goes through: a kv, or a connection and memory.
#[derive(FromPyObject)]
enum Path {
    Memory((u64, u64)),
    Kv(u64),
}

impl Path {
    const fn via(&self) -> Via {
        match *self {
            Self::Memory((connection, memory)) => Via::Memory(ConnectionId(connection), MemoryId(memory)),
            Self::Kv(kv) => Via::Kv(KvId(kv)),
        }
    }

    const fn number(&self) -> u64 {
        match *self {
            Self::Memory((_, number)) | Self::Kv(number) => number,
        }
    }
}

/// Memory by address and size.
type Place = (u64, u64);

impl KvTrans {
    fn open(py: Python<'_>, config: Config) -> PyResult<Self> {
        let config = Config { patience: FOR_EVER, ..config };
        let engine = py.detach(|| Engine::open(config)).map_err(|problem| failed(py, &problem))?;
        Ok(Self { engine: Detached::new(Closing(engine)), registered: Mutex::default() })
    }

    fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.as_ref().map(|closing| &closing.0).ok_or_else(|| error::closed(py, "engine"))
    }

    fn registered(&self) -> MutexGuard<'_, HashMap<u64, Registered>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(
        &self,
        py: Python<'_>,
        connection: Option<u64>,
        region: RegionDescription,
        (readonly, owner): (bool, Option<KeepAlive>),
    ) -> PyResult<u64> {
        let engine = self.engine(py)?;
        let RegionDescription { address, length, kind, .. } = region;
        let (room, is_device) = (Room { address, length }, kind == MemoryKind::Device);
        let accelerator = is_device.then(|| device::owner(engine.fabric(), address, length)).flatten();
        let memory = Registered { room, readonly, accelerator, _owner: owner };
        let number = py.detach(|| {
            // SAFETY: the owner, or the caller, keeps the memory, and Python's accesses go through no Rust reference.
            unsafe {
                match connection {
                    Some(connection) => engine.reg_kv(ConnectionId(connection), &region).map(|kv| kv.0),
                    None => engine.reg_memory(&region).map(|memory| memory.0),
                }
            }
        });
        let number = number.map_err(|problem| failed(py, &problem))?;
        self.registered().insert(number, memory);
        Ok(number)
    }

    fn send_from(&self, py: Python<'_>, path: &Path, room: Room) -> PyResult<()> {
        let engine = self.engine(py)?;
        // SAFETY: the caller holds the memory until the outcome, which is waited for here.
        let handle = py.detach(|| unsafe { engine.post_send(path.via(), room, None) });
        let handle = handle.map_err(|problem| failed(py, &problem))?;
        let outcome = waiting::until(py, None, |patience| handle.wait_until(Some(Instant::now() + patience)));
        match outcome.inspect_err(|_| drop(py.detach(|| handle.cancel())))? {
            Some(Err(problem)) => Err(failed(py, &problem)),
            _ => Ok(()),
        }
    }

    fn receive_to(&self, py: Python<'_>, path: &Path, room: Room) -> PyResult<u64> {
        let engine = self.engine(py)?;
        // SAFETY: the caller holds the memory until the outcome, which is waited for here.
        let handle = py.detach(|| unsafe { engine.post_receive_into(path.via(), room, None) });
        received(py, handle.map_err(|problem| failed(py, &problem))?)
    }
}

/// Waits for a receive. What interrupts the wait withdraws it first.
fn received(py: Python<'_>, handle: ReceiveHandle) -> PyResult<u64> {
    let outcome = waiting::until(py, None, |patience| handle.wait_until(Some(Instant::now() + patience)));
    match outcome.inspect_err(|_| drop(py.detach(|| handle.cancel())))? {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(problem)) => Err(failed(py, &problem)),
        None => Err(error::timeout(py, "a receive", None)),
    }
}

fn failed(py: Python<'_>, problem: &impl std::error::Error) -> PyErr {
    error::plain(py, "KvTransError", problem)
}

#[pymethods]
impl KvTrans {
    /// An engine that listens on a port of an interface.
    #[staticmethod]
    fn on_interface(
        py: Python<'_>,
        if_name: String,
        ncpus: u32,
        nconn_per_cpu: u32,
        listen_port: u16,
    ) -> PyResult<Self> {
        let config = Config::new(if_name, ncpus, nconn_per_cpu, listen_port).with_environment();
        Self::open(py, config.map_err(|problem| error::environment(py, &problem))?)
    }

    /// An engine that listens where peers look for an accelerator.
    #[staticmethod]
    fn for_gpu(py: Python<'_>, gpu: u8, ncpus: u32) -> PyResult<Self> {
        let config = Config::for_gpu(gpu, ncpus);
        Self::open(py, config.map_err(|problem| error::environment(py, &problem))?)
    }

    /// "host:port" that peers connect to.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.engine(py)?.listen_address().map(|address| address.to_string()))
    }

    /// Connects to "host:port" and returns the connection's number.
    fn connect(&self, py: Python<'_>, address: &str) -> PyResult<u64> {
        let (engine, address) = (self.engine(py)?, config::address(py, address)?);
        let ip: IpAddr = address.ip();
        let connection = py.detach(|| engine.connect(ip, address.port()));
        connection.map(|connection| connection.0).map_err(|problem| failed(py, &problem))
    }

    /// Connects to the engine of an accelerator of a host.
    fn connect_gpu(&self, py: Python<'_>, host: &str, gpu: u8) -> PyResult<u64> {
        self.connect(py, &format!("{host}:{}", kv_api::kvtrans::gpu_port(gpu)))
    }

    /// The next peer that connects: its address, port, accelerator, and the connection's number.
    #[pyo3(signature = (timeout=None))]
    fn accept(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<(String, u16, u32, u64)> {
        let engine = self.engine(py)?;
        let peer = waiting::until(py, timeout, |patience| match engine.accept(patience) {
            Err(AcceptError::Timeout(_)) => None,
            other => Some(other),
        })?;
        let peer = peer.ok_or_else(|| error::timeout(py, "a peer to connect", timeout))?;
        let peer = peer.map_err(|problem| failed(py, &problem))?;
        Ok((peer.ip.to_string(), peer.port, peer.label, peer.connection.0))
    }

    /// Closes a connection; what is under way on it fails, and is quiet.
    fn disconnect(&self, py: Python<'_>, connection: u64) -> PyResult<()> {
        let engine = self.engine(py)?;
        py.detach(|| engine.disconnect(ConnectionId(connection))).map_err(|problem| failed(py, &problem))
    }

    /// Registers an array, for one connection or for all.
    #[pyo3(signature = (array, connection=None))]
    fn reg(&self, py: Python<'_>, array: &Bound<'_, PyAny>, connection: Option<u64>) -> PyResult<u64> {
        let memory = device::memory_of(array, &unordered)?;
        let (region, readonly) = (memory.description(), memory.readonly);
        self.register(py, connection, region, (readonly, Some(memory.keep_alive())))
    }

    /// Registers memory that the caller keeps, the host's or an accelerator's.
    fn reg_address(&self, py: Python<'_>, address: u64, size: u64) -> PyResult<u64> {
        let region = self.engine(py)?.describe(Room { address, length: size });
        self.register(py, None, region, (false, None))
    }

    /// Releases what was registered; when it returns nothing touches the memory any more.
    fn dereg(&self, py: Python<'_>, number: u64, of_connection: bool) -> PyResult<()> {
        let engine = self.engine(py)?;
        let released = py.detach(|| match of_connection {
            true => engine.dereg_kv(KvId(number)),
            false => engine.dereg_memory(MemoryId(number)),
        });
        released.map_err(|problem| failed(py, &problem))?;
        self.registered().remove(&number);
        Ok(())
    }

    /// Sends an array's bytes to the peer's next receive, and waits until they are there. Before, it waits for what the
    /// streams of a tensor on a device have been given.
    fn send(&self, py: Python<'_>, path: Path, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let memory = Order::new(self.engine(py)?.fabric()).memory(array)?;
        let sent = self.send_from(py, &path, Room { address: memory.address, length: memory.length });
        drop(memory);
        sent
    }

    /// As send, for memory that the caller keeps.
    fn send_address(&self, py: Python<'_>, path: Path, place: Place) -> PyResult<()> {
        let (address, length) = place;
        self.send_from(py, &path, Room { address, length })
    }

    /// Receives the peer's next send of at most `max_size` bytes, into the registered array as far as it holds it, and
    /// returns the bytes.
    fn recv<'py>(&self, py: Python<'py>, path: Path, max_size: usize) -> PyResult<Bound<'py, PyBytes>> {
        let registered = self.registered().get(&path.number()).cloned();
        let fits = |known: &Registered| !known.readonly && known.room.length >= max_size as u64;
        if let Some(memory) = registered.clone().filter(fits) {
            let room = Room { length: max_size as u64, ..memory.room };
            let bytes = self.receive_to(py, &path, room)? as usize;
            let Some(_) = memory.accelerator else {
                // SAFETY: the clone of the registration keeps the memory; Python code runs only with the lock held here.
                let found = unsafe { std::slice::from_raw_parts(room.address as *const u8, bytes) };
                return Ok(PyBytes::new(py, found));
            };
            let mut found = vec![0_u8; bytes];
            // SAFETY: the registration is kept and has so many bytes; the receive has ended.
            unsafe { memory.copy(found.as_mut_ptr(), bytes, CopyDirection::DeviceToHost)? };
            return Ok(PyBytes::new(py, &found));
        }
        let mut beside = vec![0_u8; max_size];
        let room = Room { address: beside.as_mut_ptr() as u64, length: max_size as u64 };
        let bytes = self.receive_to(py, &path, room)? as usize;
        if let Some(memory) = registered.filter(|known| !known.readonly) {
            let fitting = bytes.min(memory.room.length as usize);
            // SAFETY: the registration is kept and has so many bytes; the vector is no part of it.
            unsafe { memory.copy(beside.as_mut_ptr(), fitting, CopyDirection::HostToDevice)? };
        }
        Ok(PyBytes::new(py, &beside[..bytes]))
    }

    /// Receives the peer's next send into memory that the caller keeps, and returns the number of bytes.
    fn recv_address(&self, py: Python<'_>, path: Path, place: Place) -> PyResult<u64> {
        let (address, length) = place;
        self.receive_to(py, &path, Room { address, length })
    }

    /// Closes the engine; when it returns nothing touches registered memory any more.
    fn close(&self, py: Python<'_>) {
        if let Some(Closing(engine)) = self.engine.as_ref() {
            py.detach(|| engine.close());
            self.registered().clear();
        }
    }
}
