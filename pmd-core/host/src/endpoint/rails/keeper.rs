//! The thread that opens and closes rails, looks at the clock, and tells outcomes for threads that must not: all that a turn
//! must not wait for.

use std::{
    net::IpAddr,
    sync::{
        Arc, Weak,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use super::{
    Offer, Rails, RailsConfig,
    turn::{End, Event},
};
use crate::{
    backend::{ConnectOptions, QueuePairAddress, TcpAddress, Transport},
    endpoint::{
        EndpointConfig, EndpointError,
        devices::Devices,
        handshake::{self, RESERVED},
        ports::KeyTable,
    },
    lane::{LaneError, MINIMUM_RECEIVES, Message, MessageHandler, Route, RouteConfig, RouteError, RouteId},
    rail::{NOTICE_BYTES, RailId},
    transfer::RouteFault,
};

/// Longest sleep, should a clock stand.
const LONGEST: Duration = Duration::from_secs(1);

/// What the keeper is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Open(RailId),
    Close(RailId),
    /// Bring [`Event::Time`] at this time since the epoch.
    Timer(Duration),
    /// Tell outcomes.
    Tell(Vec<End>),
}

/// Opens routes on the endpoint's devices.
pub(super) struct Maker {
    devices: Arc<Devices>,
    transport: Transport,
    config: EndpointConfig,
}

impl Maker {
    pub(super) fn new(devices: &Arc<Devices>, transport: Transport, config: &EndpointConfig) -> Self {
        Self { devices: Arc::clone(devices), transport, config: config.clone() }
    }

    pub(super) const fn rails(&self) -> &RailsConfig {
        &self.config.rails
    }

    /// Whether the keys of work lists are a NIC's.
    pub(super) fn is_fabric(&self) -> bool {
        self.transport.is_fabric()
    }

    /// What regions are called on the devices of rails.
    pub(super) fn keys(&self) -> &KeyTable {
        self.devices.ports().keys()
    }

    /// Opens a route on one of the devices of rails, or on the device that carries the peer's route.
    fn open(
        &self,
        number: u16,
        port: Option<usize>,
        queue_pairs: usize,
        watch: Watch,
    ) -> Result<Route, EndpointError> {
        let (lane, memory) = match port {
            Some(port) => {
                let device = self.devices.ports().get(port)?;
                (device.lane(port, &self.config)?, self.devices.port_registrar(device))
            }
            None => {
                let lane = usize::from(number) % self.config.lanes;
                let lane = self.devices.lane(self.transport, lane, &self.config)?;
                (lane, self.devices.message_registrar(self.transport))
            }
        };
        Ok(lane.open_route(RouteConfig {
            queue_pairs,
            config: self.config.queue_pair,
            handler: Some(Box::new(watch)),
            memory: Some(memory),
            message_receives: MINIMUM_RECEIVES,
            message_bytes: self.config.message_bytes.saturating_add(NOTICE_BYTES),
        })?)
    }

    /// The address that the streams of a device of rails leave from.
    fn source(&self, port: usize) -> Option<IpAddr> {
        self.devices.ports().get(port).ok()?.source()
    }

    /// This host's address of a rail, or of the device that it is on.
    fn address(&self, number: u16, port: Option<usize>) -> Option<IpAddr> {
        let RailsConfig { addresses, ports, .. } = self.rails();
        let index = match port {
            Some(port) => port,
            None if ports.is_empty() => number.into(),
            // They are those of the devices, and the rail is on none of them.
            None => return None,
        };
        addresses.get(index % addresses.len().max(1)).copied()
    }

    /// What the peer is to reach this end of a rail at.
    fn addresses(&self, route: &Route, number: u16, port: Option<usize>) -> Vec<QueuePairAddress> {
        let address = self.address(number, port);
        let on_rail = |queue_pair: &QueuePairAddress| match (*queue_pair, address) {
            (QueuePairAddress::Tcp(TcpAddress { mut socket, device, queue_pair }), Some(address)) => {
                socket.set_ip(address);
                QueuePairAddress::Tcp(TcpAddress { socket, device, queue_pair })
            }
            (other, _) => other,
        };
        route.addresses().iter().map(on_rail).collect()
    }
}

/// Sees a rail's messages, and its route go down.
struct Watch {
    rails: Weak<Rails>,
    rail: RailId,
}

impl MessageHandler for Watch {
    fn message(&mut self, _: RouteId, message: Message<'_>) {
        if let Some(rails) = self.rails.upgrade() {
            rails.message(self.rail, message);
        }
    }

    fn down(&mut self, _: RouteId, _: RouteFault) {
        if let Some(rails) = self.rails.upgrade() {
            rails.happen(Event::Lost(self.rail));
        }
    }
}

/// Starts the thread; it ends when the rails are gone.
pub(super) fn start(rails: Weak<Rails>, jobs: Receiver<Job>) -> Result<(), EndpointError> {
    let run = move || run(&rails, &jobs);
    let spawned = thread::Builder::new().name("pmd-rails".to_owned()).spawn(run);
    Ok(spawned.map(drop).map_err(LaneError::Thread)?)
}

fn run(rails: &Weak<Rails>, jobs: &Receiver<Job>) {
    let mut timer: Option<Duration> = None;
    loop {
        let now = || rails.upgrade().map(|rails| rails.now());
        let left = timer.map(|at| now().map_or(Duration::ZERO, |now| at.saturating_sub(now)));
        let mut job = jobs.recv_timeout(left.map_or(LONGEST, |left| left.min(LONGEST)));
        if let Ok(Job::Tell(ends)) = job {
            ends.into_iter().for_each(End::tell);
            job = Err(RecvTimeoutError::Timeout);
        }
        let Some(rails) = rails.upgrade() else { return tell_rest(jobs) };
        match job {
            Ok(Job::Timer(at)) => timer = Some(at),
            Ok(Job::Open(rail)) => rails.open(rail),
            Ok(Job::Close(rail)) => rails.close(rail),
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(Job::Tell(_)) | Err(RecvTimeoutError::Timeout) => {}
        }
        if timer.is_some_and(|at| at <= rails.now()) {
            timer = None;
            rails.happen(Event::Time);
        }
    }
}

/// The rails are gone, and nobody but this thread knows of these outcomes.
fn tell_rest(jobs: &Receiver<Job>) {
    for job in jobs.try_iter() {
        if let Job::Tell(ends) = job {
            ends.into_iter().for_each(End::tell);
        }
    }
}

impl Rails {
    /// Opens a rail at both ends.
    fn open(&self, rail: RailId) {
        let opened = self.choose_place(rail.number) && self.open_both(rail).is_ok();
        self.happen(if opened { Event::Opened(rail) } else { Event::Lost(rail) });
    }

    fn open_both(&self, rail: RailId) -> Result<(), EndpointError> {
        let maker = &self.maker;
        let RailId { number, life } = rail;
        let port = self.devices_of(number).map(|(ours, _)| ours);
        let route = maker.open(number, port, maker.config.queue_pairs, self.watch(rail))?;
        self.keep(rail, &route)?;
        let place = self.places().get(usize::from(number)).copied().flatten();
        let offer = Offer { number, life, place, addresses: maker.addresses(&route, number, port) };
        let answer =
            self.connection.request(RESERVED.offer, handshake::encode(&offer), maker.config.patience)?;
        let theirs = handshake::decode::<Vec<QueuePairAddress>>(&answer)?;
        self.connect(&route, theirs, rail.number)
    }

    /// Opens this end of a rail whose other end has these addresses, and tells this one's.
    pub(super) fn open_ours(
        &self,
        rail: RailId,
        theirs: &[QueuePairAddress],
    ) -> Result<Vec<QueuePairAddress>, EndpointError> {
        let limit = self.maker.config.queue_pairs.max(MOST_QUEUE_PAIRS);
        if theirs.len() > limit {
            return Err(EndpointError::Routes {
                routes: 1,
                queue_pairs: theirs.len(),
                route_limit: 1,
                queue_pair_limit: limit,
            });
        }
        let port = self.devices_of(rail.number).map(|(ours, _)| ours);
        let route = self.maker.open(rail.number, port, theirs.len(), self.watch(rail))?;
        self.keep(rail, &route)?;
        self.connect(&route, theirs.to_vec(), rail.number)?;
        Ok(self.maker.addresses(&route, rail.number, port))
    }

    fn connect(
        &self,
        route: &Route,
        mut theirs: Vec<QueuePairAddress>,
        number: u16,
    ) -> Result<(), EndpointError> {
        for address in &mut theirs {
            *address = address.seen_from(self.connection.remote());
        }
        let connect = self.maker.config.connect;
        let port = self.devices_of(number).map(|(ours, _)| ours);
        let of_device = port.and_then(|port| self.maker.source(port));
        let source = of_device.or_else(|| self.maker.address(number, port)).or(connect.source);
        Ok(route.connect(&theirs, &ConnectOptions { source, ..connect })?)
    }

    /// Keeps a route that is not connected yet.
    fn keep(&self, rail: RailId, route: &Route) -> Result<(), RouteError> {
        let mut routes = self.routes();
        if routes.is_shut {
            return Err(RouteError::Failed(RouteFault::Closed));
        }
        if let Some(place) = routes.by_number.get_mut(usize::from(rail.number)) {
            *place = Some((rail, route.clone()));
        }
        Ok(())
    }

    fn watch(&self, rail: RailId) -> Watch {
        Watch { rails: self.this.clone(), rail }
    }

    /// Closes this end of a rail. When that returns everything on it has come back.
    fn close(&self, rail: RailId) {
        if let Some(route) = self.route(rail) {
            route.fail(RouteFault::Disconnected);
            // A queue pair that the device does not give back is drained all the same.
            let _ = route.close();
            self.routes().by_number[usize::from(rail.number)] = None;
        }
        self.happen(Event::Closed(rail));
    }
}

/// Queue pairs of a rail that a peer may ask for.
const MOST_QUEUE_PAIRS: usize = 16;
