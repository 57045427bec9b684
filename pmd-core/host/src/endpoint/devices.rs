//! The devices of an endpoint, and the lane of each transport that is in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use pmd_core::{
    accelerator::DeviceMemory,
    memory::{Access, LocalKey, MemoryKind, RegionDescription, RemoteKey},
};

use super::{
    EndpointConfig, EndpointError, MissingReason, RegisterError, Registered, TransportChoice,
    choice::{Carrier, Findings, Terms, fabric::FabricTerms},
    memory::{Described, Held, KeptOut},
    ports::{Messages, OnPorts, Port, Ports},
};
use crate::{
    backend::Transport,
    identity::{HostId, Separation},
    lane::{Lane, LaneConfig, MessageRegistrar},
    metrics::RegistrationBook,
    mlx5::Mlx5Backend,
    nic::{self, NicBackendOptions, StagedBackend},
    region::{Region, RegionPath},
    registration::Registrar,
    soft::{self, AllocateError, Arena, ArenaOptions, ProtectionDomain, SoftBackend, Tuning},
    topology::Near,
    verbs::VerbsBackend,
};

/// Every device that the endpoint may use, open.
pub(super) struct Devices {
    /// Also the allocator of arenas, so there is always one.
    soft: soft::Device,
    nic: Option<nic::Device>,
    /// Transports that may be used, the preferred one first.
    transports: Vec<Transport>,
    wish: TransportChoice,
    /// Of queue pairs of a NIC, as the configuration has it.
    path_mtu: Option<u16>,
    /// Why there is no NIC, where one was looked for.
    nic_missing: Option<nic::OpenError>,
    ports: Ports,
    /// With the number of each among those of its transport.
    lanes: Mutex<Vec<(Transport, usize, Lane)>>,
    book: RegistrationBook,
}

impl Devices {
    pub(super) fn open(config: &EndpointConfig) -> Result<Self, EndpointError> {
        let (nic, nic_missing) = open_nic(config)?;
        let shares_memory = matches!(
            config.transport,
            TransportChoice::Auto | TransportChoice::Only(Transport::SharedMemory)
        );
        let mut transports = Vec::new();
        transports.extend(shares_memory.then_some(Transport::SharedMemory));
        transports.extend(nic.as_ref().map(|nic| nic_transport(config.transport, nic)));
        let over_tcp =
            matches!(config.transport, TransportChoice::Auto | TransportChoice::Only(Transport::Tcp));
        transports.extend(over_tcp.then_some(Transport::Tcp));
        let process_memory = config.soft.process_memory && shares_memory;
        // Where other transports may do, it listens once a peer needs it.
        let tcp = (!shares_memory && over_tcp).then(|| config.soft.tcp.unwrap_or_default());
        let soft = soft::DeviceConfig {
            process_memory,
            tcp,
            security: config.security.clone(),
            ..config.soft.clone()
        };
        let soft = soft::Device::open(soft)?;
        let (lanes, book) = (Mutex::default(), RegistrationBook::default());
        let (wish, path_mtu, ports) = (config.transport, config.connect.mtu, Ports::open(config)?);
        Ok(Self { soft, nic, transports, wish, path_mtu, nic_missing, ports, lanes, book })
    }

    pub(super) fn transports(&self) -> Vec<Transport> {
        self.transports.clone()
    }

    pub(super) fn nic_missing(&self) -> Option<&nic::OpenError> {
        self.nic_missing.as_ref()
    }

    /// Devices of rails.
    pub(super) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Where the messages of the routes of one of them lie.
    pub(super) fn port_registrar(&self, port: &Port) -> Arc<dyn MessageRegistrar> {
        port.message_registrar(&self.soft)
    }

    /// What this end brings to the choice of a transport.
    pub(super) fn terms(&self) -> Terms {
        let terms = |nic| FabricTerms::of(nic, nic_transport(self.wish, nic), self.path_mtu);
        Terms { wish: self.wish, device: self.soft.id(), fabric: self.nic.as_ref().map(terms) }
    }

    /// Looks how a peer on `host` is reached that has these terms. What neither end would use is not looked for.
    pub(super) fn look(&self, ours: &Terms, host: &HostId, theirs: &Terms) -> Findings {
        let wanted = |carrier| ours.allow(carrier) && theirs.allow(carrier);
        let separation =
            || self.soft.host().separation(host).or_else(|| hidden(self.soft.reach_out(theirs.device)));
        let fabric = || ours.fabric.as_ref()?.obstacle_to(theirs.fabric.as_ref()?);
        Findings {
            separation: wanted(Carrier::SharedMemory).then(separation).flatten(),
            fabric: wanted(Carrier::Fabric).then(fabric).flatten(),
        }
    }

    pub(super) fn allocate(&self, bytes: usize, options: ArenaOptions) -> Result<Arena, AllocateError> {
        self.soft.allocate(bytes, options)
    }

    /// Registers with every device that reaches this kind of memory.
    ///
    /// # Safety
    /// What [`pmd_core::memory::RegionSource`] asks of its implementer holds for the described memory.
    #[expect(unsafe_code, reason = "passes on the caller's promise about memory")]
    pub(super) unsafe fn register(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        let _span = tracing::debug_span!("register", bytes = memory.length).entered();
        // SAFETY: passed on.
        unsafe { self.try_register(memory, access) }.inspect_err(|error| self.refused(error))
    }

    /// # Safety
    /// As [`Devices::register`].
    #[expect(unsafe_code, reason = "passes on the caller's promise about memory")]
    unsafe fn try_register(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        // SAFETY: passed on.
        let source = unsafe { Described::new(*memory) };
        let mut regions = Vec::with_capacity(self.transports.len());
        for transport in self.devices() {
            let region = match (transport, &self.nic) {
                // Copies of the CPU do not reach an accelerator's memory.
                (Transport::SharedMemory | Transport::Tcp, _) if memory.kind == MemoryKind::Device => {
                    continue;
                }
                (Transport::SharedMemory | Transport::Tcp, _) => {
                    self.soft.register_source(&source, access, ProtectionDomain::default())?
                }
                (Transport::Mlx5 | Transport::Verbs, Some(nic)) => nic.register_source(&source, access)?,
                (Transport::Mlx5 | Transport::Verbs, None) => continue,
            };
            let over_tcp = self.shares_its_device(transport);
            regions.push(Held { transport, over_tcp, region });
        }
        if regions.is_empty() {
            return Err(RegisterError::Unreachable { kind: memory.kind });
        }
        let ports = self.ports.register(&source, memory.kind, access, &names(&regions))?;
        Ok(self.registered(memory, (regions, ports), None))
    }

    /// Registers with every device that reaches the memory. That the soft HCA does not drive its accelerator matters
    /// only where there is no NIC.
    pub(super) fn register_device(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
        kept_out: KeptOut,
    ) -> Result<Registered, RegisterError> {
        let bytes = memory.description().length;
        let _span = tracing::debug_span!("register_device", bytes).entered();
        self.try_register_device(memory, access, kept_out).inspect_err(|error| self.refused(error))
    }

    fn try_register_device(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
        kept_out: KeptOut,
    ) -> Result<Registered, RegisterError> {
        let described = memory.description();
        let mut regions = Vec::with_capacity(self.transports.len());
        let mut undriven = None;
        for transport in self.devices() {
            let region = match (transport, &self.nic) {
                (Transport::SharedMemory, _) => {
                    match self.soft.register_device(memory.clone(), access, ProtectionDomain::default()) {
                        Err(error @ soft::RegisterError::NoAccelerator { .. }) => {
                            undriven = Some(error);
                            continue;
                        }
                        registered => registered?,
                    }
                }
                (Transport::Mlx5 | Transport::Verbs, Some(nic)) => {
                    register_with(nic, &memory, access, kept_out)?
                }
                (Transport::Mlx5 | Transport::Verbs, None) | (Transport::Tcp, _) => continue,
            };
            // Streams do not reach an accelerator's memory.
            regions.push(Held { transport, over_tcp: false, region });
        }
        match undriven {
            Some(error) if regions.is_empty() => Err(error.into()),
            None if regions.is_empty() => Err(RegisterError::Unreachable { kind: described.kind }),
            _ => {
                let ports = self.ports.register_device(&memory, access, &names(&regions))?;
                Ok(self.registered(&described, (regions, ports), Some(memory)))
            }
        }
    }

    fn refused(&self, error: &RegisterError) {
        self.book.failed();
        tracing::debug!(%error, "not registered");
    }

    /// Counts what was registered.
    fn registered(
        &self,
        memory: &RegionDescription,
        (regions, ports): (Vec<Held>, OnPorts),
        device: Option<Arc<dyn DeviceMemory>>,
    ) -> Registered {
        let path = |held: &Held| match held.transport {
            // The same region of the soft HCA may be reached in other ways from this host.
            Transport::Tcp => RegionPath::Streams,
            _ => held.region.path(),
        };
        let ways = regions.iter().map(|held| (held.transport, path(held)));
        let tally = self.book.registered(ways, memory.length);
        let (address, length) = (memory.address, memory.length);
        Registered { address, length, _ports: ports, regions, _device: device, _tally: tally }
    }

    /// Every lane that was started, those of rails too, with its transport and its number among those of it.
    pub(super) fn all_running(&self) -> Vec<(Transport, usize, Lane)> {
        let mut lanes = self.lanes().clone();
        lanes.extend(self.ports.running());
        lanes
    }

    /// Where registrations are counted.
    pub(super) const fn book(&self) -> &RegistrationBook {
        &self.book
    }

    /// One transport of each device: shared memory and TCP are the soft HCA's, with the same regions.
    fn devices(&self) -> impl Iterator<Item = Transport> {
        let transports = self.transports.iter().copied();
        transports.filter(|transport| {
            *transport != Transport::Tcp || !self.shares_its_device(Transport::SharedMemory)
        })
    }

    /// Whether the device of this transport is reached over TCP too.
    fn shares_its_device(&self, transport: Transport) -> bool {
        let has = |transport| self.transports.contains(&transport);
        transport == Transport::SharedMemory && has(Transport::SharedMemory) && has(Transport::Tcp)
    }

    /// One lane of a transport, started at its first use.
    pub(super) fn lane(
        &self,
        transport: Transport,
        number: usize,
        config: &EndpointConfig,
    ) -> Result<Lane, EndpointError> {
        let mut lanes = self.lanes();
        let wanted = (transport, number);
        if let Some((.., lane)) = lanes.iter().find(|(of, number, _)| (*of, *number) == wanted) {
            return Ok(lane.clone());
        }
        let lane = self.start_lane(transport, number, config)?;
        lanes.push((transport, number, lane.clone()));
        Ok(lane)
    }

    pub(super) fn running(&self, transport: Transport) -> Vec<Lane> {
        let lanes = self.all_running().into_iter();
        lanes.filter(|(of, ..)| *of == transport).map(|(.., lane)| lane).collect()
    }

    /// Where the messages of a transport's routes lie.
    pub(super) fn message_registrar(&self, transport: Transport) -> Arc<dyn MessageRegistrar> {
        let nic = self.nic.clone().filter(|_| transport.is_fabric());
        Arc::new(Messages { soft: self.soft.clone(), nic })
    }

    fn start_lane(
        &self,
        transport: Transport,
        number: usize,
        config: &EndpointConfig,
    ) -> Result<Lane, EndpointError> {
        let mut name = format!("{}-{}", config.lane.name, transport.name());
        if number > 0 {
            name.push_str(&format!("-{number}"));
        }
        let core = config.lane.core.map(|first| first + number);
        let lane = LaneConfig { name, core, ..config.lane.clone() };
        let keep_near = |place: Near<'_>| match core {
            Some(_) => Vec::new(),
            None => lane.pinning.cores_here(place, number),
        };
        let near = |nic: &nic::Device| keep_near(Near::Nic(nic.name()));
        let options = NicBackendOptions::default();
        match (transport, &self.nic) {
            (Transport::SharedMemory, _) => {
                let backend = SoftBackend::new(&self.soft, ProtectionDomain::default(), Tuning::default())?;
                let accelerator = config.soft.accelerators.place();
                let cores = accelerator.map(|place| keep_near(Near::Device(place))).unwrap_or_default();
                Ok(Lane::spawn_on(backend, lane, &cores)?)
            }
            (Transport::Tcp, _) => {
                self.soft.listen_over_tcp(config.soft.tcp.unwrap_or_default())?;
                let domain = ProtectionDomain::default();
                Ok(Lane::spawn(SoftBackend::over_tcp(&self.soft, domain, Tuning::default())?, lane)?)
            }
            (Transport::Mlx5, Some(nic)) => {
                let cores = near(nic);
                let backend = Mlx5Backend::new(nic.clone(), &options)?;
                Ok(Lane::spawn_on(StagedBackend::on(nic, backend), lane, &cores)?)
            }
            (Transport::Verbs, Some(nic)) => {
                let cores = near(nic);
                let backend = VerbsBackend::new(nic.clone(), &options)?;
                Ok(Lane::spawn_on(StagedBackend::on(nic, backend), lane, &cores)?)
            }
            (Transport::Mlx5 | Transport::Verbs, None) => {
                Err(EndpointError::TransportMissing { transport, reason: MissingReason::NotOpen })
            }
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<(Transport, usize, Lane)>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys that applications know a region by.
fn names(regions: &[Held]) -> Vec<(Transport, LocalKey, RemoteKey)> {
    let name = |held: &Held| (held.transport, held.region.local_key(), held.region.remote_key());
    regions.iter().map(name).collect()
}

/// Registers memory of an accelerator with a NIC.
fn register_with(
    nic: &nic::Device,
    memory: &Arc<dyn DeviceMemory>,
    access: Access,
    kept_out: KeptOut,
) -> Result<Region, nic::RegisterError> {
    /// Rights of peers.
    const PEERS: Access = Access::REMOTE_READ.union(Access::REMOTE_WRITE).union(Access::REMOTE_ATOMIC);
    match nic.register_device(memory.clone(), access) {
        Err(nic::RegisterError::Unreachable { .. }) if kept_out == KeptOut::Staged => {
            nic.register_device(memory.clone(), access.difference(PEERS))
        }
        registered => registered,
    }
}

/// Opens a NIC where the configuration lets one be used; where it may be absent, the reason comes beside it.
fn open_nic(config: &EndpointConfig) -> Result<(Option<nic::Device>, Option<nic::OpenError>), EndpointError> {
    let wanted = match config.transport {
        TransportChoice::Only(Transport::SharedMemory | Transport::Tcp) => return Ok((None, None)),
        TransportChoice::Only(transport) => Some(transport),
        TransportChoice::Auto => None,
    };
    match (nic::Device::open(&config.nic), wanted) {
        (Ok(nic), Some(Transport::Mlx5)) if !nic.is_mlx5() => {
            let reason = MissingReason::NotMlx5 { device: nic.name().to_owned() };
            Err(EndpointError::TransportMissing { transport: Transport::Mlx5, reason })
        }
        (Ok(nic), _) => Ok((Some(nic), None)),
        (Err(error), None) => Ok((None, Some(error))),
        (Err(error), Some(transport)) => {
            Err(EndpointError::TransportMissing { transport, reason: MissingReason::Nic(error) })
        }
    }
}

/// What keeps a peer from being found at its socket. That this process is short of something does not.
fn hidden(reached: Result<(), Errno>) -> Option<Separation> {
    match reached {
        Ok(()) | Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => None,
        Err(_) => Some(Separation::Socket),
    }
}

fn nic_transport(choice: TransportChoice, nic: &nic::Device) -> Transport {
    match choice {
        TransportChoice::Only(transport) => transport,
        TransportChoice::Auto if nic.is_mlx5() => Transport::Mlx5,
        TransportChoice::Auto => Transport::Verbs,
    }
}

impl Registrar for Arc<Devices> {
    type Region = Registered;
    type Error = RegisterError;

    #[expect(unsafe_code, reason = "passes on the caller's promise about memory")]
    unsafe fn register(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        // SAFETY: passed on.
        unsafe { Devices::register(self, memory, access) }
    }
}
