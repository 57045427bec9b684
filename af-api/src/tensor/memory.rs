//! Registered memory that tensors lie in.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::{
    accelerator::{Accelerator, DeviceMemory},
    memory::{Access, LocalKey, MemoryKind, RegionDescription, RegionSource, RemoteKey},
};
use pmd_host::{
    backend::Transport,
    endpoint::{Endpoint, EndpointConfig, Registered},
    identity::DeviceId,
    region::RegionPath,
    registration::Cached,
    soft::{Accelerators, Arena, ArenaOptions},
    transfer::KeepAlive,
};

use super::{LandingError, MemoryError, landing::Landing};

/// Memory registered with an endpoint: that of a [`Worker`](crate::worker::Worker) or of a
/// [`Server`](crate::server::Server). Clones are the same memory; tensors, and requests that they are in, hold one.
///
/// When the last is dropped the memory is deregistered, and when that returns no peer reaches it any more.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    address: u64,
    length: u64,
    kind: MemoryKind,
    endpoint: DeviceId,
    // Deregistered before its owner lets go of the memory.
    registration: Registration,
    /// Where pulls into it land, once one was wanted and peers do not reach it.
    landing: Mutex<Option<Arc<Landing>>>,
    /// Whose streams copy it, where the processor does not reach it.
    device: Option<Arc<dyn DeviceMemory>>,
    _owner: Option<KeepAlive>,
}

enum Registration {
    Own(Registered),
    Cached(Cached<Registered>),
    /// With no device at all: what one transport reaches and the other does not, to the other.
    #[cfg(test)]
    Nowhere,
    /// As if a NIC reached it so.
    #[cfg(test)]
    Claimed(Registered, RegionPath),
}

impl Memory {
    /// Allocates zeroed memory that peers of this host map, and registers it.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn allocate(endpoint: &Endpoint, bytes: usize, options: ArenaOptions) -> Result<Self, MemoryError> {
        let arena: Arena = endpoint.allocate(bytes, options)?;
        Self::of_source(endpoint, arena)
    }

    /// Allocates memory of an accelerator, and registers it. Its content is undefined.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn allocate_on(
        endpoint: &Endpoint,
        accelerator: &dyn Accelerator,
        bytes: u64,
    ) -> Result<Self, MemoryError> {
        Self::of_device(endpoint, accelerator.allocate(bytes)?.into())
    }

    /// Registers memory of an accelerator that the endpoint was opened with, and keeps it for as long as this lives: what
    /// was allocated, imported or adopted there, or pinned memory of the host. A NIC that does not reach it has what is
    /// pushed out of it copied to pinned memory of the host first, and what is pulled into it land there
    /// ([`Memory::path`] is [`Staged`](RegionPath::Staged)).
    ///
    /// # Errors
    /// [`MemoryError::Register`].
    pub fn of_device(endpoint: &Endpoint, memory: Arc<dyn DeviceMemory>) -> Result<Self, MemoryError> {
        let range = memory.description();
        if range.kind != MemoryKind::Device {
            let owner = KeepAlive(Arc::new(Arc::clone(&memory)));
            // SAFETY: the implementer of `RegionSource` promises exactly this of what it describes; the owner is kept.
            return unsafe { Self::register(endpoint, &range, Some(owner)) };
        }
        let registered = endpoint.register_device_or_stage(Arc::clone(&memory), Access::READ_WRITE)?;
        let registration = Registration::Own(registered);
        Ok(Self::assemble(endpoint, &range, registration, (Some(memory), None)))
    }

    /// Registers device memory that another library allocated: a tensor's. `owner`, if any, is held for as long as the
    /// memory lives.
    ///
    /// # Errors
    /// [`MemoryError::Accelerator`] for what is no memory of this device; [`MemoryError::Register`].
    ///
    /// # Safety
    /// The range stays allocated for as long as a clone of the returned value, or a tensor in it, lives (or as long as
    /// `owner` is held), and requests that touch it are ordered with the kernels that do.
    pub unsafe fn adopt(
        endpoint: &Endpoint,
        accelerator: &dyn Accelerator,
        (address, bytes): (u64, u64),
        owner: Option<KeepAlive>,
    ) -> Result<Self, MemoryError> {
        // SAFETY: the caller promises it.
        let memory: Arc<dyn DeviceMemory> = unsafe { accelerator.adopt(address, bytes)? }.into();
        let registered = endpoint.register_device_or_stage(Arc::clone(&memory), Access::READ_WRITE)?;
        let range = memory.description();
        Ok(Self::assemble(endpoint, &range, Registration::Own(registered), (Some(memory), owner)))
    }

    /// Registers what `source` describes and keeps the source for as long as the memory lives.
    ///
    /// # Errors
    /// [`MemoryError::Register`].
    pub fn of_source(
        endpoint: &Endpoint,
        source: impl RegionSource + Send + Sync + 'static,
    ) -> Result<Self, MemoryError> {
        let registered = endpoint.register(&source, Access::READ_WRITE)?;
        let description = source.description();
        let owner = Some(KeepAlive(Arc::new(source)));
        Ok(Self::new(endpoint, &description, Registration::Own(registered), owner))
    }

    /// Registers a range of this process. `owner`, if any, is held for as long as the memory lives.
    ///
    /// # Errors
    /// [`MemoryError::Register`].
    ///
    /// # Safety
    /// The range stays mapped at its address for as long as a clone of the returned value, or a tensor in it, lives (or
    /// as long as `owner` is held), and its bytes are not borrowed while a request may touch them.
    pub unsafe fn register(
        endpoint: &Endpoint,
        range: &RegionDescription,
        owner: Option<KeepAlive>,
    ) -> Result<Self, MemoryError> {
        // SAFETY: the caller promises it.
        let registered = unsafe { endpoint.register_memory(range, Access::READ_WRITE)? };
        Ok(Self::new(endpoint, range, Registration::Own(registered), owner))
    }

    /// As [`Memory::register`], through the endpoint's cache: a range that was seen before costs a look-up. For callers
    /// that meet the same tensors again and again without keeping a `Memory` of them.
    ///
    /// # Errors
    /// [`MemoryError::Cache`].
    ///
    /// # Safety
    /// As [`Memory::register`]; moreover the range stays mapped until
    /// [`Endpoint::invalidate_registrations`] was called for it.
    pub unsafe fn register_cached(
        endpoint: &Endpoint,
        range: &RegionDescription,
        owner: Option<KeepAlive>,
    ) -> Result<Self, MemoryError> {
        // SAFETY: the caller promises it.
        let cached = unsafe { endpoint.register_cached(range, Access::READ_WRITE)? };
        Ok(Self::new(endpoint, range, Registration::Cached(cached), owner))
    }

    fn new(
        endpoint: &Endpoint,
        range: &RegionDescription,
        registration: Registration,
        owner: Option<KeepAlive>,
    ) -> Self {
        Self::assemble(endpoint, range, registration, (None, owner))
    }

    fn assemble(
        endpoint: &Endpoint,
        range: &RegionDescription,
        registration: Registration,
        (device, owner): (Option<Arc<dyn DeviceMemory>>, Option<KeepAlive>),
    ) -> Self {
        Self(Arc::new(Inner {
            address: range.address,
            length: range.length,
            kind: range.kind,
            endpoint: endpoint.identity().incarnation,
            registration,
            landing: Mutex::default(),
            device,
            _owner: owner,
        }))
    }

    /// First byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.0.address
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// Where the bytes live. Only what is not [`MemoryKind::Device`] travels inside a message.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        self.0.kind
    }

    /// The accelerator that it belongs to; none for memory of the host.
    #[must_use]
    pub fn accelerator(&self) -> Option<Arc<dyn Accelerator>> {
        self.0.device.as_ref().map(|device| device.accelerator())
    }

    /// Whose memory it is, where a NIC has written by itself what came over `transport`: that accelerator has to make it
    /// visible to its own work ([`Accelerator::flush_remote_writes`]).
    pub(crate) fn written_by_nic(&self, transport: Transport) -> Option<Arc<dyn Accelerator>> {
        let path = self.path(transport)?;
        matches!(path, RegionPath::DmaBuf | RegionPath::PeerMemory).then(|| self.accelerator())?
    }

    /// How the bytes are reached over `transport`; `None` where they are not.
    #[must_use]
    pub fn path(&self, transport: Transport) -> Option<RegionPath> {
        #[cfg(test)]
        if let Registration::Claimed(_, path) = &self.0.registration {
            return Some(*path);
        }
        self.registered()?.path(transport)
    }

    /// Whether the processor reaches the bytes.
    pub(crate) fn is_host(&self) -> bool {
        self.kind() != MemoryKind::Device
    }

    /// Whether it was registered with this endpoint.
    #[must_use]
    pub fn belongs_to(&self, endpoint: &Endpoint) -> bool {
        self.is_of(&endpoint.identity().incarnation)
    }

    /// Whether both are handles to the same memory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn is_of(&self, endpoint: &DeviceId) -> bool {
        self.0.endpoint == *endpoint
    }

    pub(crate) fn local_key(&self, transport: Transport) -> Option<LocalKey> {
        self.registered()?.local_key(transport)
    }

    pub(crate) fn remote_key(&self, transport: Transport) -> Option<RemoteKey> {
        self.registered()?.remote_key(transport)
    }

    /// Sees to it that peers can be told where to write.
    ///
    /// # Errors
    /// [`LandingError`].
    pub(crate) fn open_to_peers(
        &self,
        endpoint: &Endpoint,
        transport: Transport,
    ) -> Result<(), LandingError> {
        if self.remote_key(transport).is_some() {
            return Ok(());
        }
        let Some(device) = &self.0.device else { return Ok(()) };
        let mut landing = self.landing();
        if landing.is_none() {
            *landing = Some(Arc::new(Landing::new(endpoint, device)?));
        }
        Ok(())
    }

    /// Where peers write what is pulled to the address of this process, with their key.
    pub(crate) fn target(&self, address: u64, transport: Transport) -> Option<(u64, RemoteKey)> {
        if let Some(key) = self.remote_key(transport) {
            return Some((address, key));
        }
        let landing = self.landed(transport)?;
        Some((
            landing.memory().address() + (address - self.address()),
            landing.memory().remote_key(transport)?,
        ))
    }

    /// The landing, where peers write there instead.
    pub(crate) fn landed(&self, transport: Transport) -> Option<Arc<Landing>> {
        if self.is_host() || self.remote_key(transport).is_some() {
            return None;
        }
        self.landing().clone()
    }

    fn landing(&self) -> MutexGuard<'_, Option<Arc<Landing>>> {
        self.0.landing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the memory for as long as a transfer runs.
    pub(crate) fn keep_alive(memories: Vec<Self>) -> KeepAlive {
        KeepAlive(Arc::new(memories))
    }

    fn registered(&self) -> Option<&Registered> {
        match &self.0.registration {
            Registration::Own(registered) => Some(registered),
            Registration::Cached(cached) => Some(cached),
            #[cfg(test)]
            Registration::Nowhere => None,
            #[cfg(test)]
            Registration::Claimed(registered, _) => Some(registered),
        }
    }

    /// An accelerator's memory that no transport to a peer of this host reaches.
    #[cfg(test)]
    pub(crate) fn unreachable(endpoint: &Endpoint, bytes: u64) -> Self {
        let range =
            RegionDescription { address: 4096, length: bytes, kind: MemoryKind::Device, descriptor: None };
        Self::new(endpoint, &range, Registration::Nowhere, None)
    }

    /// An accelerator's memory as if a NIC reached it so, which no machine of a test has.
    #[cfg(test)]
    pub(crate) fn claimed(endpoint: &Endpoint, memory: Arc<dyn DeviceMemory>, path: RegionPath) -> Self {
        let registered = endpoint.register_device(Arc::clone(&memory), Access::READ_WRITE).unwrap();
        let range = memory.description();
        Self::assemble(endpoint, &range, Registration::Claimed(registered, path), (Some(memory), None))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.address(), self.address() + self.length());
        write!(formatter, "Memory({start:#x}..{end:#x}, {:?})", self.kind())
    }
}

/// An endpoint's configuration with this accelerator to drive, where it names none itself, and the accelerator whose streams
/// are followed: that one, or else the first that the configuration names.
pub(crate) fn driven(
    mut config: EndpointConfig,
    accelerator: Option<Arc<dyn Accelerator>>,
) -> (EndpointConfig, Option<Arc<dyn Accelerator>>) {
    if let Some(accelerator) = accelerator.as_ref().filter(|_| config.soft.accelerators.is_empty()) {
        config.soft.accelerators = Accelerators::new(vec![Arc::clone(accelerator)]);
    }
    let accelerator = accelerator.or_else(|| config.soft.accelerators.iter().next().cloned());
    (config, accelerator)
}
