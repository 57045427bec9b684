//! The devices of an endpoint, and the lane of each transport that is in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pmd_core::{
    accelerator::DeviceMemory,
    memory::{Access, MemoryKind, RegionDescription},
};

use super::{
    EndpointConfig, EndpointError, MissingReason, RegisterError, Registered, TransportChoice,
    memory::{Described, RegisteredArena},
};
use crate::{
    backend::{SetupError, Transport},
    identity::HostId,
    lane::{Lane, LaneConfig, MessageMemory, MessageRegistrar},
    mlx5::Mlx5Backend,
    nic::{self, NicBackendOptions, StagedBackend},
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
    /// Why there is no NIC, where one was looked for.
    nic_missing: Option<nic::OpenError>,
    /// With the number of each among those of its transport.
    lanes: Mutex<Vec<(Transport, usize, Lane)>>,
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
        let over_tcp = config.transport == TransportChoice::Only(Transport::Tcp);
        transports.extend(over_tcp.then_some(Transport::Tcp));
        let process_memory = config.soft.process_memory && shares_memory;
        let tcp = over_tcp.then(|| config.soft.tcp.unwrap_or_default());
        let soft = soft::Device::open(soft::DeviceConfig { process_memory, tcp, ..config.soft.clone() })?;
        Ok(Self { soft, nic, transports, nic_missing, lanes: Mutex::default() })
    }

    pub(super) fn transports(&self) -> Vec<Transport> {
        self.transports.clone()
    }

    pub(super) fn nic_missing(&self) -> Option<&nic::OpenError> {
        self.nic_missing.as_ref()
    }

    /// The transport to a peer on `host` that has `theirs`: shared memory where it can work, else a NIC.
    pub(super) fn choose(&self, host: &HostId, theirs: &[Transport]) -> Result<Transport, EndpointError> {
        let separation = self.soft.host().separation(host);
        let usable = |mine: &&Transport| match mine {
            Transport::SharedMemory => theirs.contains(mine) && separation.is_none(),
            Transport::Tcp => theirs.contains(mine),
            Transport::Mlx5 | Transport::Verbs => theirs.iter().any(|their| their.is_fabric()),
        };
        match self.transports.iter().find(usable) {
            Some(transport) => Ok(*transport),
            None => {
                let (ours, theirs) = (self.transports.clone(), theirs.to_vec());
                Err(EndpointError::NoCommonTransport { ours, theirs, separation })
            }
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
        // SAFETY: passed on.
        let source = unsafe { Described::new(*memory) };
        let mut regions = Vec::with_capacity(self.transports.len());
        for transport in &self.transports {
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
            regions.push((*transport, region));
        }
        if regions.is_empty() {
            return Err(RegisterError::Unreachable { kind: memory.kind });
        }
        Ok(Registered { address: memory.address, length: memory.length, regions, _device: None })
    }

    /// Registers with every device that reaches the memory. That the soft HCA does not drive its accelerator matters
    /// only where there is no NIC.
    pub(super) fn register_device(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        let described = memory.description();
        let mut regions = Vec::with_capacity(self.transports.len());
        let mut undriven = None;
        for transport in &self.transports {
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
                    nic.register_device(memory.clone(), access)?
                }
                (Transport::Mlx5 | Transport::Verbs, None) | (Transport::Tcp, _) => continue,
            };
            regions.push((*transport, region));
        }
        match undriven {
            Some(error) if regions.is_empty() => Err(error.into()),
            None if regions.is_empty() => Err(RegisterError::Unreachable { kind: described.kind }),
            _ => Ok(Registered {
                address: described.address,
                length: described.length,
                regions,
                _device: Some(memory),
            }),
        }
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
        let lanes = self.lanes();
        lanes.iter().filter(|(of, ..)| *of == transport).map(|(.., lane)| lane.clone()).collect()
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

/// Allocates message buffers and registers them with the device of one transport.
struct Messages {
    soft: soft::Device,
    nic: Option<nic::Device>,
}

impl MessageRegistrar for Messages {
    fn allocate(&self, bytes: usize) -> Result<Box<dyn MessageMemory>, SetupError> {
        Ok(Box::new(RegisteredArena::allocate(&self.soft, self.nic.as_ref(), bytes)?))
    }
}
