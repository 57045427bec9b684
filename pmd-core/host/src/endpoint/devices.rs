//! The devices of an endpoint, and the lane of each transport that is in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pmd_core::memory::{Access, RegionDescription};

use super::{
    EndpointConfig, EndpointError, RegisterError, Registered, TransportChoice, memory::ArenaMessages,
};
use crate::{
    backend::{SetupError, Transport},
    identity::HostId,
    lane::{Lane, MessageMemory, MessageRegistrar},
    soft::{self, AllocateError, Arena, ArenaOptions, ProtectionDomain, SoftBackend, Tuning},
};

/// Every device that the endpoint may use, open.
pub(super) struct Devices {
    /// Also the allocator of arenas, so there is always one.
    soft: soft::Device,
    /// Transports that may be used.
    transports: Vec<Transport>,
    lanes: Mutex<Vec<(Transport, Lane)>>,
}

impl Devices {
    pub(super) fn open(config: &EndpointConfig) -> Result<Self, EndpointError> {
        let transports = match config.transport {
            TransportChoice::Auto | TransportChoice::Only(Transport::SharedMemory) => {
                vec![Transport::SharedMemory]
            }
            TransportChoice::Only(transport) => {
                return Err(EndpointError::TransportMissing {
                    transport,
                    reason: "this endpoint drives shared memory only".into(),
                });
            }
        };
        let soft = soft::Device::open(config.soft.clone())?;
        Ok(Self { soft, transports, lanes: Mutex::default() })
    }

    pub(super) fn transports(&self) -> Vec<Transport> {
        self.transports.clone()
    }

    /// The transport to a peer on `host` that has `theirs`: shared memory where it can work, else a NIC.
    pub(super) fn choose(
        &self,
        choice: TransportChoice,
        host: &HostId,
        theirs: &[Transport],
    ) -> Result<Transport, EndpointError> {
        let ours: Vec<Transport> = match choice {
            TransportChoice::Auto => self.transports.clone(),
            TransportChoice::Only(only) => {
                self.transports.iter().copied().filter(|mine| *mine == only).collect()
            }
        };
        let separation = self.soft.host().separation(host);
        let usable = |transport: &&Transport| {
            theirs.contains(transport) && (**transport != Transport::SharedMemory || separation.is_none())
        };
        match ours.iter().find(usable) {
            Some(transport) => Ok(*transport),
            None => Err(EndpointError::NoCommonTransport { ours, theirs: theirs.to_vec(), separation }),
        }
    }

    pub(super) fn allocate(&self, bytes: usize, options: ArenaOptions) -> Result<Arena, AllocateError> {
        self.soft.allocate(bytes, options)
    }

    pub(super) fn register(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        let mut regions = Vec::with_capacity(self.transports.len());
        for transport in &self.transports {
            let region = match transport {
                // SAFETY: the endpoint's callers promise what `RegionSource` promises of the described memory.
                #[expect(unsafe_code, reason = "passes on the caller's promise")]
                Transport::SharedMemory => unsafe {
                    self.soft.register(memory.address, memory.length, access, ProtectionDomain::default())?
                },
                Transport::Mlx5 | Transport::Verbs => continue,
            };
            regions.push((*transport, region));
        }
        Ok(Registered { address: memory.address, length: memory.length, regions })
    }

    /// The lane of a transport, started at its first use.
    pub(super) fn lane(&self, transport: Transport, config: &EndpointConfig) -> Result<Lane, EndpointError> {
        let mut lanes = self.lanes();
        if let Some((_, lane)) = lanes.iter().find(|(of, _)| *of == transport) {
            return Ok(lane.clone());
        }
        let lane = self.start_lane(transport, config)?;
        lanes.push((transport, lane.clone()));
        Ok(lane)
    }

    pub(super) fn running(&self, transport: Transport) -> Option<Lane> {
        self.lanes().iter().find(|(of, _)| *of == transport).map(|(_, lane)| lane.clone())
    }

    /// Where the messages of a transport's routes lie.
    pub(super) fn message_registrar(
        &self,
        transport: Transport,
    ) -> Result<Arc<dyn MessageRegistrar>, EndpointError> {
        match transport {
            Transport::SharedMemory => Ok(Arc::new(SoftMessages(self.soft.clone()))),
            Transport::Mlx5 | Transport::Verbs => Err(missing(transport)),
        }
    }

    fn start_lane(&self, transport: Transport, config: &EndpointConfig) -> Result<Lane, EndpointError> {
        let lane = crate::lane::LaneConfig {
            name: format!("{}-{}", config.lane.name, transport.name()),
            ..config.lane.clone()
        };
        match transport {
            Transport::SharedMemory => {
                let backend = SoftBackend::new(&self.soft, ProtectionDomain::default(), Tuning::default())?;
                Ok(Lane::spawn(backend, lane)?)
            }
            Transport::Mlx5 | Transport::Verbs => Err(missing(transport)),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<(Transport, Lane)>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(transport: Transport) -> EndpointError {
    EndpointError::TransportMissing { transport, reason: "no such device is open".into() }
}

struct SoftMessages(soft::Device);

impl MessageRegistrar for SoftMessages {
    fn allocate(&self, bytes: usize) -> Result<Box<dyn MessageMemory>, SetupError> {
        Ok(Box::new(ArenaMessages::allocate(&self.0, bytes)?))
    }
}
