//! Devices that rails have to themselves: NICs, or software HCAs, beside the device that carries the routes.
//!
//! Memory is registered with each of them, and has a key of its own on each. Applications know one key of a region, that of the
//! device that carries the routes: work lists carry it, and peers are told it. Rails look up what the region is called on their
//! devices, those of this end in the [`KeyTable`], those of the peer by asking it when a transfer begins ([`rails`](super::rails)).
//! What was asked once is not kept: a device may give a key out again once its region is gone, and nothing else that an
//! application says to its peer is in order with the control connection.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem::discriminant,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use pmd_core::{
    accelerator::DeviceMemory,
    memory::{Access, LocalKey, MemoryKind, RegionSource, RemoteKey},
};
use serde::{Deserialize, Serialize};

use super::{
    EndpointConfig, EndpointError, RailPort, RegisterError,
    memory::{Described, RegisteredArena},
};
use crate::{
    backend::{SetupError, Transport},
    lane::{Lane, LaneConfig, MessageMemory, MessageRegistrar},
    mlx5::Mlx5Backend,
    nic::{self, LinkLayer, NicBackendOptions, StagedBackend},
    rail::{self, MOST_RAILS, RailSet},
    region::{Region, RegionPath},
    soft::{self, ProtectionDomain, SoftBackend, Tuning},
    topology::{Distance, MemoryPlace, Near, Topology},
    verbs::VerbsBackend,
};

/// A device of rails, open.
pub(super) struct Port {
    device: Opened,
    lane: OnceLock<Lane>,
}

enum Opened {
    Soft(soft::Device),
    Nic(nic::Device),
}

impl Port {
    fn open(wanted: &RailPort, config: &EndpointConfig) -> Result<Self, EndpointError> {
        let device = match wanted {
            RailPort::Soft(tcp) => {
                let soft = soft::DeviceConfig {
                    tcp: Some(*tcp),
                    process_memory: false,
                    security: config.security.clone(),
                    ..soft::DeviceConfig::default()
                };
                let failed = |source| EndpointError::RailSoft { listen: tcp.listen, source };
                Opened::Soft(soft::Device::open(soft).map_err(failed)?)
            }
            RailPort::Nic(options) => {
                Opened::Nic(nic::Device::open(options).map_err(EndpointError::RailNic)?)
            }
        };
        Ok(Self { device, lane: OnceLock::new() })
    }

    /// What its queue pairs are of.
    pub(super) fn transport(&self) -> Transport {
        match &self.device {
            Opened::Soft(_) => Transport::Tcp,
            Opened::Nic(nic) if nic.is_mlx5() => Transport::Mlx5,
            Opened::Nic(_) => Transport::Verbs,
        }
    }

    /// The address that its streams leave from, where it listens at one.
    pub(super) fn source(&self) -> Option<IpAddr> {
        let Opened::Soft(soft) = &self.device else { return None };
        let address = soft.config().tcp.map(|tcp| tcp.listen.ip());
        address.filter(|address| !address.is_unspecified())
    }

    /// Its name, if it is a NIC.
    fn nic(&self) -> Option<&str> {
        match &self.device {
            Opened::Soft(_) => None,
            Opened::Nic(nic) => Some(nic.name()),
        }
    }

    /// What a peer must know of it; `distance` is that of a NIC from the accelerators.
    fn terms(&self, distance: impl Fn(&str) -> Option<Distance>) -> PortTerms {
        match &self.device {
            Opened::Soft(_) => PortTerms { fabric: Fabric::Soft, distance: 0 },
            Opened::Nic(nic) => {
                let distance = distance(nic.name()).map_or(u32::MAX, |distance| distance as u32);
                let fabric = match nic.port().link_layer {
                    LinkLayer::Ethernet => Fabric::Ethernet,
                    LinkLayer::InfiniBand => Fabric::InfiniBand((nic.gid().gid.to_bits() >> 64) as u64),
                };
                PortTerms { fabric, distance }
            }
        }
    }

    /// Its lane, started at its first use; `number` among the rails' lanes.
    pub(super) fn lane(&self, number: usize, config: &EndpointConfig) -> Result<Lane, EndpointError> {
        if let Some(lane) = self.lane.get() {
            return Ok(lane.clone());
        }
        let started = self.start_lane(number, config)?;
        // Of two that were started at a time one goes again.
        Ok(self.lane.get_or_init(|| started).clone())
    }

    fn start_lane(&self, number: usize, config: &EndpointConfig) -> Result<Lane, EndpointError> {
        let name = format!("{}-rail-{number}", config.lane.name);
        // Behind those of the routes.
        let core = config.lane.core.map(|first| first + config.lanes + number);
        let lane = LaneConfig { name, core, ..config.lane.clone() };
        let options = NicBackendOptions::default();
        match &self.device {
            Opened::Soft(soft) => {
                let domain = ProtectionDomain::default();
                Ok(Lane::spawn(SoftBackend::over_tcp(soft, domain, Tuning::default())?, lane)?)
            }
            Opened::Nic(nic) => {
                let cores = match core {
                    Some(_) => Vec::new(),
                    None => lane.pinning.cores_here(Near::Nic(nic.name()), number),
                };
                if nic.is_mlx5() {
                    let backend = Mlx5Backend::new(nic.clone(), &options)?;
                    return Ok(Lane::spawn_on(StagedBackend::on(nic, backend), lane, &cores)?);
                }
                let backend = VerbsBackend::new(nic.clone(), &options)?;
                Ok(Lane::spawn_on(StagedBackend::on(nic, backend), lane, &cores)?)
            }
        }
    }

    /// Where the messages of its routes lie.
    pub(super) fn message_registrar(&self, arenas: &soft::Device) -> Arc<dyn MessageRegistrar> {
        match &self.device {
            Opened::Soft(soft) => Arc::new(Messages { soft: soft.clone(), nic: None }),
            Opened::Nic(nic) => Arc::new(Messages { soft: arenas.clone(), nic: Some(nic.clone()) }),
        }
    }

    /// Registers memory of the host, or nothing where it does not reach memory of this kind.
    fn register(
        &self,
        memory: &Described,
        kind: MemoryKind,
        access: Access,
    ) -> Result<Option<Region>, RegisterError> {
        match &self.device {
            Opened::Soft(_) if kind == MemoryKind::Device => Ok(None),
            Opened::Soft(soft) => {
                Ok(Some(soft.register_source(memory, access, ProtectionDomain::default())?))
            }
            Opened::Nic(nic) => Ok(Some(nic.register_source(memory, access)?)),
        }
    }

    /// Registers memory of an accelerator, or nothing where peers cannot be let into it here.
    fn register_device(
        &self,
        memory: &Arc<dyn DeviceMemory>,
        access: Access,
    ) -> Result<Option<Region>, RegisterError> {
        match &self.device {
            Opened::Soft(_) => Ok(None),
            Opened::Nic(nic) => match nic.register_device(Arc::clone(memory), access) {
                Err(nic::RegisterError::Unreachable { .. }) => Ok(None),
                registered => Ok(registered.map(Some)?),
            },
        }
    }
}

/// A device of rails, as peers are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PortTerms {
    /// What it is on.
    fabric: Fabric,
    /// How far it is from the accelerators of its host, in classes of [`Distance`].
    distance: u32,
}

/// Devices of one fabric reach each other, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Fabric {
    /// TCP.
    Soft,
    Ethernet,
    /// The subnet's prefix.
    InfiniBand(u64),
}

impl PortTerms {
    /// As [`pairs`](rail::pairs) takes it.
    const fn port(&self) -> rail::Port {
        let fabric = match self.fabric {
            // No subnet has one of these prefixes.
            Fabric::Soft => 0,
            Fabric::Ethernet => 1,
            Fabric::InfiniBand(prefix) => prefix,
        };
        rail::Port { distance: self.distance, fabric: Some(fabric) }
    }

    /// Which devices of the two ends are on a rail together, by their places, and in the order of rails, at most `most` of them:
    /// those that it begins with, and goes on from by trying. Those that are declared to reach each other are of one kind all the
    /// same.
    pub(super) fn together(ours: &[Self], theirs: &[Self], reach: rail::Reach, most: usize) -> rail::Pairing {
        let ports = |terms: &[Self]| terms.iter().map(Self::port).collect::<Vec<_>>();
        let (our_ports, their_ports) = (ports(ours), ports(theirs));
        let kind = |terms: &Self| discriminant(&terms.fabric);
        rail::Pairing::where_joined(&our_ports, &their_ports, most, &|our, their| {
            kind(&ours[our]) == kind(&theirs[their])
                && reach.joins((our, &our_ports[our]), (their, &their_ports[their]))
        })
    }
}

/// All devices of rails, in the order of the configuration, and what is registered with them.
pub(super) struct Ports {
    ports: Vec<Port>,
    terms: Vec<PortTerms>,
    /// Where NICs among them are.
    topology: Topology,
    keys: Arc<KeyTable>,
    /// Lanes of a transport that are the routes'.
    lanes: usize,
}

impl Ports {
    pub(super) fn open(config: &EndpointConfig) -> Result<Self, EndpointError> {
        let given = config.rails.ports.len();
        if given > MOST_RAILS {
            return Err(EndpointError::RailPortCount { given, limit: MOST_RAILS });
        }
        let ports = config.rails.ports.iter().map(|wanted| Port::open(wanted, config));
        let ports: Vec<Port> = ports.collect::<Result<_, _>>()?;
        let has_nic = ports.iter().any(|port| port.nic().is_some());
        let topology = if has_nic { Topology::of_host() } else { Topology::default() };
        let accelerator = config.soft.accelerators.place();
        let distance = |nic: &str| topology.nic_distance(accelerator?, nic);
        let terms = ports.iter().map(|port| port.terms(distance)).collect();
        Ok(Self { ports, terms, topology, keys: Arc::default(), lanes: config.lanes })
    }

    /// What peers must know of them.
    pub(super) fn terms(&self) -> &[PortTerms] {
        &self.terms
    }

    /// One of them, by its place in the configuration.
    pub(super) fn get(&self, port: usize) -> Result<&Port, EndpointError> {
        self.ports.get(port).ok_or(EndpointError::NoRailPort { port, ports: self.ports.len() })
    }

    pub(super) fn keys(&self) -> &KeyTable {
        &self.keys
    }

    /// Every lane that was started, with a number among those of its transport: behind all that routes can have, and the same
    /// for as long as the endpoint lives.
    pub(super) fn running(&self) -> Vec<(Transport, usize, Lane)> {
        let lane =
            |(number, port): (usize, &Port)| Some((port.transport(), number, port.lane.get()?.clone()));
        (self.lanes..).zip(&self.ports).filter_map(lane).collect()
    }

    /// Registers memory with all of them, under the keys that `regions` has of it.
    pub(super) fn register(
        &self,
        memory: &Described,
        kind: MemoryKind,
        access: Access,
        regions: &[(Transport, LocalKey, RemoteKey)],
    ) -> Result<OnPorts, RegisterError> {
        let registered = self.ports.iter().map(|port| port.register(memory, kind, access));
        let registered: Vec<_> = registered.collect::<Result<_, _>>()?;
        // What is registered has pages.
        let address = memory.description().address;
        let place = || if kind == MemoryKind::Device { None } else { MemoryPlace::of_page(address) };
        Ok(self.listed(registered, self.nearest(place), regions))
    }

    /// The same for memory of an accelerator.
    pub(super) fn register_device(
        &self,
        memory: &Arc<dyn DeviceMemory>,
        access: Access,
        regions: &[(Transport, LocalKey, RemoteKey)],
    ) -> Result<OnPorts, RegisterError> {
        let registered = self.ports.iter().map(|port| port.register_device(memory, access));
        let registered: Vec<_> = registered.collect::<Result<_, _>>()?;
        let place = || memory.accelerator().identity().pci.map(MemoryPlace::Device);
        Ok(self.listed(registered, self.nearest(place), regions))
    }

    /// The devices that are nearest to memory; all of them where that cannot be told.
    fn nearest(&self, place: impl FnOnce() -> Option<MemoryPlace>) -> Nearest {
        let nics: Vec<Option<&str>> = self.ports.iter().map(Port::nic).collect();
        let place = nics.iter().any(Option::is_some).then(place).flatten();
        Nearest::of(&place.map_or_else(Vec::new, |place| self.topology.nearest_to(place, &nics)))
    }

    /// What not every device reaches does not go over rails at all.
    fn listed(
        &self,
        registered: Vec<Option<Region>>,
        nearest: Nearest,
        regions: &[(Transport, LocalKey, RemoteKey)],
    ) -> OnPorts {
        let open = |region: &Region| region.path() != RegionPath::Staged;
        let on_all: Option<Vec<Region>> = registered.into_iter().collect();
        let on_all = on_all.filter(|regions| !regions.is_empty() && regions.iter().all(open));
        let Some(on_all) = on_all else { return OnPorts::default() };
        let keys = |region: &Region| PortKeys { local: region.local_key(), remote: region.remote_key() };
        let keys: Arc<[PortKeys]> = on_all.iter().map(keys).collect();
        let names = regions.iter().map(|(transport, local, remote)| Names {
            fabric: transport.is_fabric(),
            local: *local,
            remote: *remote,
        });
        let listing = self.keys.list(names.collect(), &keys, nearest);
        OnPorts { _listing: Some(listing), _regions: on_all }
    }
}

/// What a region has on the devices of rails. Its keys are forgotten before it is deregistered.
#[derive(Default)]
pub(super) struct OnPorts {
    _listing: Option<Listing>,
    _regions: Vec<Region>,
}

/// Keys of a region on one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortKeys {
    pub(super) local: LocalKey,
    pub(super) remote: RemoteKey,
}

/// Devices of rails at this end, by their places in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nearest(u64);

impl Nearest {
    /// No one is nearer than the others, as far as is known.
    pub(super) const ALL: Self = Self(u64::MAX);

    /// These, or all where there are none.
    fn of(ports: &[usize]) -> Self {
        let bit = |port: &usize| 1_u64.checked_shl(*port as u32).unwrap_or(0);
        match ports.iter().fold(0, |set, port| set | bit(port)) {
            0 => Self::ALL,
            set => Self(set),
        }
    }

    /// Of two regions of a transfer: where they are not in one place, no device is nearest to both.
    fn of_both(self, other: Self) -> Self {
        if self == other { self } else { Self::ALL }
    }

    /// The rails on these devices, where each of some rails is on one. All where all are: others may come.
    pub(super) fn rails(self, devices: impl IntoIterator<Item = (u16, usize)>) -> RailSet {
        if self == Self::ALL {
            return RailSet::ALL;
        }
        let is_near = |port: usize| port < MOST_RAILS && self.0 >> port & 1 == 1;
        let near = devices.into_iter().filter(|(_, port)| is_near(*port));
        RailSet::of(near.map(|(number, _)| number))
    }
}

/// Keys of a region on the device that carries routes. A soft HCA and a NIC may use the same numbers.
#[derive(Clone, Copy, Debug)]
struct Names {
    fabric: bool,
    local: LocalKey,
    remote: RemoteKey,
}

/// The keys of regions on the devices of rails, by those on the device that carries routes.
#[derive(Default)]
pub(super) struct KeyTable(Mutex<Keys>);

/// What is known of a region.
struct Listed {
    keys: Arc<[PortKeys]>,
    nearest: Nearest,
}

/// What is known of the regions of a transfer at this end.
#[derive(Debug)]
pub(super) struct OurKeys {
    pub(super) on_ports: BTreeMap<u32, Arc<[PortKeys]>>,
    /// Devices that are nearest to all of them.
    pub(super) nearest: Nearest,
}

#[derive(Default)]
struct Keys {
    by_local: BTreeMap<(bool, u32), Listed>,
    by_remote: BTreeMap<(bool, u32), Arc<[PortKeys]>>,
}

impl KeyTable {
    /// By the keys that this end uses itself; none where one of them is not known.
    pub(super) fn by_local(&self, fabric: bool, keys: impl IntoIterator<Item = LocalKey>) -> Option<OurKeys> {
        let (known, mut on_ports, mut nearest) = (self.keys(), BTreeMap::new(), None);
        for LocalKey(key) in keys {
            if let Entry::Vacant(place) = on_ports.entry(key) {
                let listed = known.by_local.get(&(fabric, key))?;
                place.insert(Arc::clone(&listed.keys));
                let one = listed.nearest;
                nearest = Some(nearest.map_or(one, |others: Nearest| others.of_both(one)));
            }
        }
        Some(OurKeys { on_ports, nearest: nearest.unwrap_or(Nearest::ALL) })
    }

    /// By keys that peers use, in their order; none where one of them is not known.
    pub(super) fn by_remote(&self, fabric: bool, keys: &[u32]) -> Option<Vec<Arc<[PortKeys]>>> {
        let known = self.keys();
        keys.iter().map(|key| known.by_remote.get(&(fabric, *key)).cloned()).collect()
    }

    fn list(self: &Arc<Self>, names: Vec<Names>, keys: &Arc<[PortKeys]>, nearest: Nearest) -> Listing {
        let mut known = self.keys();
        for name in &names {
            known.by_local.insert((name.fabric, name.local.0), Listed { keys: Arc::clone(keys), nearest });
            known.by_remote.insert((name.fabric, name.remote.0), Arc::clone(keys));
        }
        drop(known);
        Listing { table: Arc::clone(self), names }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a region's keys in the table. Gone before the region is deregistered: its device may give the keys out again then.
struct Listing {
    table: Arc<KeyTable>,
    names: Vec<Names>,
}

impl Drop for Listing {
    fn drop(&mut self) {
        let mut known = self.table.keys();
        for name in &self.names {
            known.by_local.remove(&(name.fabric, name.local.0));
            known.by_remote.remove(&(name.fabric, name.remote.0));
        }
    }
}

/// Allocates message buffers and registers them with one device.
pub(super) struct Messages {
    pub(super) soft: soft::Device,
    pub(super) nic: Option<nic::Device>,
}

impl MessageRegistrar for Messages {
    fn allocate(&self, bytes: usize) -> Result<Box<dyn MessageMemory>, SetupError> {
        Ok(Box::new(RegisteredArena::allocate(&self.soft, self.nic.as_ref(), bytes)?))
    }
}
