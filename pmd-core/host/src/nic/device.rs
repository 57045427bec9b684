//! Opening a NIC: finding it, choosing its port and GID.
//!
//! Applications and `pmd info` open devices; both back ends are made of one.
#![allow(unsafe_code)] // calls libibverbs

use std::{fmt, io, ptr::NonNull, sync::Arc};

use pmd_core::sync::{AtomicBool, Ordering};
use pmd_sys::{LoadError, Mlx5, Transport, Verbs, devices::DevicesError, verbs::*};

use super::{
    Candidate, GidChoice, GidEntry, OpenError, Port, PortState, events::EventRouter, gid, port::QueryError,
    staged::DeviceMemories,
};
use crate::backend::SetupError;

/// Which NIC to open, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicOptions {
    /// Device name (`mlx5_0`); `None` takes the first one that can be used.
    pub device: Option<String>,
    /// Port, from 1; `None` takes the first active one.
    pub port: Option<u8>,
    /// Which of the port's GIDs to use.
    pub gid: GidChoice,
}

/// An open NIC with one protection domain. Clones are handles of the same device; it is closed when the last handle,
/// region and back end is dropped.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    verbs: &'static Verbs,
    name: String,
    context: NonNull<ibv_context>,
    protection_domain: NonNull<ibv_pd>,
    limits: Limits,
    port: Port,
    gid: GidEntry,
    is_mlx5: bool,
    port_is_active: AtomicBool,
    events: EventRouter,
    memories: Arc<DeviceMemories>,
}

/// What one queue or queue pair of the device can have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Ports of the device.
    pub(super) ports: u8,
    /// Work requests of a send or receive queue.
    pub(crate) work_requests: u32,
    /// Scatter-gather entries of a request.
    pub(crate) sges: u32,
    /// Entries of a completion queue.
    pub(crate) completions: u32,
    /// Receives of a shared receive queue.
    pub(crate) shared_receives: u32,
    /// Scatter entries of a shared receive.
    pub(crate) shared_sges: u32,
    /// Reads and atomics that a queue pair serves at once.
    pub(crate) reads_served: u32,
    /// Reads and atomics that a queue pair has under way at once.
    pub(crate) reads_started: u32,
}

impl Limits {
    fn new(attributes: &ibv_device_attr) -> Self {
        let count = |value: i32| u32::try_from(value).unwrap_or(0);
        Self {
            ports: attributes.phys_port_cnt,
            work_requests: count(attributes.max_qp_wr),
            sges: count(attributes.max_sge),
            completions: count(attributes.max_cqe),
            shared_receives: count(attributes.max_srq_wr),
            shared_sges: count(attributes.max_srq_sge),
            reads_served: count(attributes.max_qp_rd_atom),
            reads_started: count(attributes.max_qp_init_rd_atom),
        }
    }
}

// SAFETY: control calls on a context and a protection domain may come from any thread (ibv_open_device(3)); they are
// freed once, by the last handle.
unsafe impl Send for Inner {}
// SAFETY: as above; everything else here is not changed after opening or is an atomic or a lock.
unsafe impl Sync for Inner {}

impl Device {
    /// Opens a device, and allocates its protection domain.
    ///
    /// # Errors
    /// [`OpenError`]; when no device was named, with the reason of every one that was tried.
    pub fn open(options: &NicOptions) -> Result<Self, OpenError> {
        let verbs = Verbs::load().map_err(DevicesError::from)?;
        let candidates = pmd_sys::devices()?;
        if let Some(name) = &options.device {
            let Some(found) = candidates.iter().find(|device| device.name == *name) else {
                let candidates = candidates.into_iter().map(|device| device.name).collect();
                return Err(OpenError::NoSuchDevice { name: name.clone(), candidates });
            };
            return Self::open_one(verbs, found, options);
        }
        let mut tried = Vec::new();
        for device in &candidates {
            match Self::open_one(verbs, device, options) {
                Ok(opened) => return Ok(opened),
                Err(reason) => {
                    tried.push(Candidate { device: device.name.clone(), reason: Box::new(reason) });
                }
            }
        }
        Err(OpenError::NoneUsable { tried })
    }

    fn open_one(
        verbs: &'static Verbs,
        device: &pmd_sys::Device,
        options: &NicOptions,
    ) -> Result<Self, OpenError> {
        let name = &device.name;
        if device.transport != Transport::InfiniBand {
            return Err(OpenError::OtherProtocol { device: name.clone() });
        }
        let opened = Opened::new(verbs, name)?;
        let limits = opened.limits()?;
        let port = opened.choose_port(options.port, limits.ports)?;
        let Some(gid) = gid::choose(options.gid, port.link_layer, &port.gids) else {
            let (device, wanted) = (name.clone(), options.gid);
            return Err(OpenError::NoGid { device, port: port.number, wanted, table: port.gids });
        };
        let events = opened.event_router()?;
        let protection_domain = opened.protection_domain()?;
        let (context, is_mlx5, name) = opened.into_parts();
        Ok(Self(Arc::new(Inner {
            verbs,
            name,
            context,
            protection_domain,
            limits,
            port,
            gid,
            is_mlx5,
            port_is_active: AtomicBool::new(true),
            events,
            memories: Arc::default(),
        })))
    }

    /// Name of the device, `mlx5_0` for example.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The port in use, as it was when the device was opened.
    #[must_use]
    pub fn port(&self) -> &Port {
        &self.0.port
    }

    /// The GID in use.
    #[must_use]
    pub fn gid(&self) -> GidEntry {
        self.0.gid
    }

    /// Whether libmlx5 drives the device, so that [`crate::mlx5::Mlx5Backend`] can use it.
    #[must_use]
    pub fn is_mlx5(&self) -> bool {
        self.0.is_mlx5
    }

    /// Whether the port has not gone down, as far as asynchronous events tell. Back ends read those when they park
    /// and, now and then, when they poll.
    #[must_use]
    pub fn is_port_active(&self) -> bool {
        self.0.port_is_active.load(Ordering::Relaxed)
    }

    /// Whether a queue pair can be connected now.
    ///
    /// # Errors
    /// [`SetupError::System`] with the network being down: the port went down and has not come back.
    pub(super) fn check_port(&self) -> Result<(), SetupError> {
        self.read_events();
        if self.is_port_active() {
            return Ok(());
        }
        let source = io::Error::from_raw_os_error(libc::ENETDOWN);
        Err(SetupError::System { call: "connecting over a port that is down", source })
    }

    pub(crate) fn verbs(&self) -> &'static Verbs {
        self.0.verbs
    }

    pub(crate) fn context(&self) -> NonNull<ibv_context> {
        self.0.context
    }

    pub(crate) fn protection_domain(&self) -> NonNull<ibv_pd> {
        self.0.protection_domain
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(super) fn set_port_active(&self, active: bool) {
        self.0.port_is_active.store(active, Ordering::Relaxed);
    }

    /// Device memory that is registered here.
    pub(crate) fn memories(&self) -> &Arc<DeviceMemories> {
        &self.0.memories
    }

    pub(super) fn events(&self) -> &EventRouter {
        &self.0.events
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Device({} port {})", self.name(), self.port().number)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: whatever was made of them holds a handle of the device, so nothing is left. A failure leaks.
        unsafe {
            let _ = self.verbs.ibv_dealloc_pd(self.protection_domain.as_ptr());
            let _ = self.verbs.ibv_close_device(self.context.as_ptr());
        }
    }
}

/// A context while the device is being looked at; closed when that fails.
struct Opened {
    verbs: &'static Verbs,
    context: Option<NonNull<ibv_context>>,
    name: String,
    is_mlx5: bool,
}

impl Opened {
    /// Opens the device of this name.
    fn new(verbs: &'static Verbs, name: &str) -> Result<Self, OpenError> {
        let list = DeviceList::new(verbs)?;
        let found = list.find(name)?;
        let Some(found) = found else {
            return Err(OpenError::NoSuchDevice { name: name.to_owned(), candidates: Vec::new() });
        };
        // SAFETY: the list is alive, and a context keeps what it needs of its device.
        let context = NonNull::new(unsafe { verbs.ibv_open_device(found.as_ptr()) }?);
        if context.is_none() {
            return Err(system(name, "ibv_open_device", io::Error::last_os_error()));
        }
        // SAFETY: the device is in the list, which is alive.
        let is_mlx5 = unsafe { is_mlx5(found) };
        Ok(Self { verbs, context, name: name.to_owned(), is_mlx5 })
    }

    fn context(&self) -> NonNull<ibv_context> {
        self.context.unwrap_or(NonNull::dangling())
    }

    fn limits(&self) -> Result<Limits, OpenError> {
        let mut attributes = ibv_device_attr::default();
        // SAFETY: the context is open.
        match unsafe { self.verbs.ibv_query_device(self.context().as_ptr(), &mut attributes) }? {
            0 => Ok(Limits::new(&attributes)),
            error => Err(system(&self.name, "ibv_query_device", io::Error::from_raw_os_error(error.abs()))),
        }
    }

    /// The port asked for, which must be active, or the first active one.
    fn choose_port(&self, wanted: Option<u8>, ports: u8) -> Result<Port, OpenError> {
        let numbers = match wanted {
            Some(port) if port == 0 || port > ports => {
                return Err(OpenError::NoSuchPort { device: self.name.clone(), port, ports });
            }
            Some(port) => port..=port,
            None => 1..=ports,
        };
        let mut refused = OpenError::NoSuchPort { device: self.name.clone(), port: 1, ports };
        for number in numbers {
            let port = self.port(number)?;
            if port.state == PortState::Active {
                return Ok(port);
            }
            refused = OpenError::PortNotActive { device: self.name.clone(), port: number, state: port.state };
        }
        Err(refused)
    }

    fn port(&self, number: u8) -> Result<Port, OpenError> {
        // SAFETY: the context is open.
        unsafe { Port::query(self.verbs, self.context(), number) }.map_err(|error| match error {
            QueryError::Library(error) => error.into(),
            QueryError::System { call, source } => system(&self.name, call, source),
        })
    }

    fn event_router(&self) -> Result<EventRouter, OpenError> {
        // SAFETY: the context is open.
        let descriptor = unsafe { self.context().as_ref() }.async_fd;
        EventRouter::new(descriptor).map_err(|source| system(&self.name, "fcntl", source))
    }

    fn protection_domain(&self) -> Result<NonNull<ibv_pd>, OpenError> {
        // SAFETY: the context is open.
        let domain = NonNull::new(unsafe { self.verbs.ibv_alloc_pd(self.context().as_ptr()) }?);
        domain.ok_or_else(|| system(&self.name, "ibv_alloc_pd", io::Error::last_os_error()))
    }

    fn into_parts(mut self) -> (NonNull<ibv_context>, bool, String) {
        let context = self.context();
        self.context = None;
        (context, self.is_mlx5, std::mem::take(&mut self.name))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(context) = self.context {
            // SAFETY: the context is open, and nothing was made of it.
            let _ = unsafe { self.verbs.ibv_close_device(context.as_ptr()) };
        }
    }
}

/// libibverbs' list of devices, freed when dropped.
struct DeviceList {
    verbs: &'static Verbs,
    list: NonNull<*mut ibv_device>,
    count: usize,
}

impl DeviceList {
    fn new(verbs: &'static Verbs) -> Result<Self, OpenError> {
        let mut count = 0;
        // SAFETY: `count` can be written.
        let list = NonNull::new(unsafe { verbs.ibv_get_device_list(&mut count) }?);
        let list = list.ok_or_else(|| DevicesError::System(io::Error::last_os_error()))?;
        Ok(Self { verbs, list, count: usize::try_from(count).unwrap_or(0) })
    }

    fn find(&self, name: &str) -> Result<Option<NonNull<ibv_device>>, LoadError> {
        for index in 0..self.count {
            // SAFETY: the list has `count` entries; names end with a zero and live as long as the list.
            let found = unsafe {
                let device = *self.list.as_ptr().add(index);
                let text = self.verbs.ibv_get_device_name(device)?;
                (std::ffi::CStr::from_ptr(text).to_bytes() == name.as_bytes()).then_some(device)
            };
            if let Some(device) = found {
                return Ok(NonNull::new(device));
            }
        }
        Ok(None)
    }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: the list came from ibv_get_device_list, and nothing that it holds is kept.
        let _ = unsafe { self.verbs.ibv_free_device_list(self.list.as_ptr()) };
    }
}

/// Whether libmlx5 is there and drives the device.
///
/// # Safety
/// `device` is in a list that is alive.
unsafe fn is_mlx5(device: NonNull<ibv_device>) -> bool {
    let Ok(mlx5) = Mlx5::load() else { return false };
    // SAFETY: the caller's promise.
    unsafe { mlx5.mlx5dv_is_supported(device.as_ptr()) }.unwrap_or(false)
}

fn system(device: &str, call: &'static str, source: io::Error) -> OpenError {
    OpenError::System { device: device.to_owned(), call, source }
}
