//! Opening a peer: what both sides of a connection do until its routes are connected, and when it ends.
//!
//! [`Endpoint::connect`](super::Endpoint::connect) comes here, and the control thread with what peers ask.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Choice, EndpointError, Inner, KnownPeer, MOST_QUEUE_PAIRS, MOST_ROUTES, Peer,
    choice::{self, Known, Terms},
    handshake::{self, FIRST_RESERVED_KIND, Heard, Opened, Opening, RESERVED},
    peer::Relay,
    rails,
};
use crate::{
    backend::{QueuePairAddress, Transport},
    control::{Connection, DownReason, Refusal, RequestError, Service},
    identity::LinkId,
    lane::{Route, RouteConfig, RouteError},
    outage::LAST_WORDS,
    transfer::RouteFault,
};

/// What the peer connects each route to.
fn addresses((first, others): &(Route, Vec<Route>)) -> Vec<Vec<QueuePairAddress>> {
    std::iter::once(first).chain(others).map(|route| route.addresses().to_vec()).collect()
}

/// A peer that listens at any address is reached at the one from which it is heard.
fn seen_from(connection: &Connection, mut routes: Vec<Vec<QueuePairAddress>>) -> Vec<Vec<QueuePairAddress>> {
    for address in routes.iter_mut().flatten() {
        *address = address.seen_from(connection.remote());
    }
    routes
}

/// The connecting side.
impl Inner {
    pub(super) fn open_peer(
        &self,
        connection: &Connection,
        patience: &dyn Fn() -> Duration,
    ) -> Result<Peer, EndpointError> {
        let terms = self.devices.terms();
        let answer = connection.request(RESERVED.terms, handshake::encode(&terms), patience())?;
        let theirs = handshake::decode::<Heard>(&answer)?;
        let host = &connection.identity().map_err(RequestError::Down)?.host;
        let found = self.devices.look(&terms, host, &theirs.terms);
        let ours = Heard { terms, found };
        let (carrier, not_taken) = choice::decide(ours.known(), theirs.known())?;
        let link = LinkId::random().map_err(EndpointError::identity)?;
        let choice = Choice::new(&ours.terms, (carrier, not_taken), link);
        let relay = Relay::new(Arc::clone(&self.service));
        let queue_pairs = vec![self.config.queue_pairs; self.config.lanes];
        let routes = self.open_routes(choice.transport, &relay, &queue_pairs)?;
        let opening = Opening { link, carrier, ours, yours: theirs.found, routes: addresses(&routes) };
        let answer = connection.request(RESERVED.open, handshake::encode(&opening), patience())?;
        let opened = handshake::decode::<Opened>(&answer)?;
        self.connect_routes(&routes, &seen_from(connection, opened.routes))?;
        let peer = Peer::new(connection.clone(), routes, choice)?;
        self.admit(&peer, &relay, true);
        connection.request(RESERVED.ready, Vec::new(), patience())?;
        self.open_rails(&peer, patience())?;
        Ok(peer)
    }

    /// Opens this end of routes, one for each number of queue pairs, on the lanes in turn. Their messages go to the
    /// service once the relay knows the peer.
    fn open_routes(
        &self,
        transport: Transport,
        relay: &Relay,
        queue_pairs: &[usize],
    ) -> Result<(Route, Vec<Route>), EndpointError> {
        let (routes, sum) = (queue_pairs.len(), queue_pairs.iter().sum());
        let out_of_range = EndpointError::Routes {
            routes,
            queue_pairs: sum,
            route_limit: MOST_ROUTES,
            queue_pair_limit: MOST_QUEUE_PAIRS,
        };
        if routes > MOST_ROUTES || sum > MOST_QUEUE_PAIRS {
            return Err(out_of_range);
        }
        let numbered = queue_pairs.iter().enumerate();
        let mut opened = numbered.map(|(number, queue_pairs)| {
            self.open_route(transport, number % self.config.lanes, relay, *queue_pairs)
        });
        let first = opened.next().ok_or(out_of_range)??;
        Ok((first, opened.collect::<Result<_, _>>()?))
    }

    fn open_route(
        &self,
        transport: Transport,
        lane: usize,
        relay: &Relay,
        queue_pairs: usize,
    ) -> Result<Route, EndpointError> {
        let lane = self.devices.lane(transport, lane, &self.config)?;
        Ok(lane.open_route(RouteConfig {
            queue_pairs,
            config: self.config.queue_pair,
            handler: Some(Box::new(relay.clone())),
            memory: Some(self.devices.message_registrar(transport)),
            message_receives: self.config.message_receives,
            message_bytes: self.config.message_bytes,
        })?)
    }

    fn connect_routes(
        &self,
        (first, others): &(Route, Vec<Route>),
        remote: &[Vec<QueuePairAddress>],
    ) -> Result<(), EndpointError> {
        let given = remote.len();
        if given != 1 + others.len() {
            return Err(RouteError::AddressCount { given, queue_pairs: 1 + others.len() }.into());
        }
        let mut pairs = std::iter::once(first).chain(others).zip(remote);
        Ok(pairs.try_for_each(|(route, addresses)| route.connect(addresses, &self.config.connect))?)
    }

    fn admit(&self, peer: &Peer, relay: &Relay, announced: bool) {
        self.seen().connected += 1;
        relay.introduce(peer);
        log_linked(peer);
        self.known().push(KnownPeer { peer: peer.clone(), announced });
        // The connection may have gone down before the peer was known here: then `down` found nobody to tell.
        if let Some(reason) = peer.down_reason() {
            self.forget(peer.connection(), &reason);
        }
    }

    fn forget(&self, connection: &Connection, reason: &DownReason) -> Option<KnownPeer> {
        let mut peers = self.known();
        let index = peers.iter().position(|known| known.peer.connection() == connection)?;
        let known = peers.swap_remove(index);
        drop(peers);
        let fault = match reason {
            DownReason::Silent(silence) => RouteFault::PeerSilent { silence: *silence },
            _ => RouteFault::PeerDown,
        };
        // The last acknowledgements of a peer that leaves take other ways than its goodbye, and may come later.
        let stop = |route: &Route| match reason {
            DownReason::Goodbye => route.peer_left(LAST_WORDS),
            _ => route.fail(fault),
        };
        known.peer.routes().for_each(stop);
        if let Some(rails) = known.peer.rails() {
            rails.peer_down(reason);
        }
        Some(known)
    }

    fn find(&self, connection: &Connection) -> Result<Peer, Refusal> {
        let peers = self.known();
        let known = peers.iter().find(|known| known.peer.connection() == connection);
        known.map(|known| known.peer.clone()).ok_or_else(handshake::not_open)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Vec<KnownPeer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that is connected to.
impl Inner {
    /// Looks how the peer is reached that has these terms, and keeps nothing of it.
    fn hear_terms(&self, connection: &Connection, body: &[u8]) -> Result<Vec<u8>, EndpointError> {
        let theirs = handshake::decode::<Terms>(body)?;
        let host = &connection.identity().map_err(RequestError::Down)?.host;
        let terms = self.devices.terms();
        let found = self.devices.look(&terms, host, &theirs);
        Ok(handshake::encode(&Heard { terms, found }))
    }

    fn accept_peer(&self, connection: &Connection, body: &[u8]) -> Result<Vec<u8>, EndpointError> {
        if self.find(connection).is_ok() {
            return Err(EndpointError::AlreadyOpen);
        }
        let _span = tracing::info_span!("accept", remote = %connection.remote()).entered();
        let opening = handshake::decode::<Opening>(body)?;
        let terms = self.devices.terms();
        let here = Known { terms: &terms, found: &opening.yours };
        let (carrier, not_taken) = choice::decide(here, opening.ours.known())?;
        if carrier != opening.carrier {
            return Err(EndpointError::Disagreement);
        }
        let choice = Choice::new(&terms, (carrier, not_taken), opening.link);
        let relay = Relay::new(Arc::clone(&self.service));
        let queue_pairs: Vec<usize> = opening.routes.iter().map(Vec::len).collect();
        let routes = self.open_routes(choice.transport, &relay, &queue_pairs)?;
        self.connect_routes(&routes, &seen_from(connection, opening.routes))?;
        let opened = Opened { routes: addresses(&routes) };
        let peer = Peer::new(connection.clone(), routes, choice)?;
        self.admit(&peer, &relay, false);
        Ok(handshake::encode(&opened))
    }

    fn announce(&self, connection: &Connection) -> Result<Vec<u8>, Refusal> {
        let peer = self.find(connection)?;
        if let Some(known) = self.known().iter_mut().find(|known| known.peer.connection() == connection) {
            known.announced = true;
        }
        self.service.connected(&peer);
        Ok(Vec::new())
    }
}

impl Service for Inner {
    fn connected(&self, _: &Connection) {}

    fn request(&self, connection: &Connection, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        if kind < FIRST_RESERVED_KIND {
            return self.service.request(&self.find(connection)?, kind, body);
        }
        if kind == RESERVED.terms {
            self.hear_terms(connection, body).map_err(|error| handshake::refused(&error))
        } else if kind == RESERVED.open {
            self.accept_peer(connection, body).map_err(|error| handshake::refused(&error))
        } else if kind == RESERVED.ready {
            self.announce(connection)
        } else if kind == RESERVED.offer {
            self.rails_offered(&self.find(connection)?, body)
        } else if kind == RESERVED.ports {
            self.find(connection)?;
            Ok(handshake::encode(&self.devices.ports().terms()))
        } else {
            Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind:#x}") })
        }
    }

    fn event(&self, connection: &Connection, kind: u16, body: &[u8]) {
        let Ok(peer) = self.find(connection) else { return };
        if kind == RESERVED.word {
            peer.rails().into_iter().for_each(|rails| rails.heard(body));
        } else if kind == RESERVED.keys {
            peer.rails().into_iter().for_each(|rails| rails.keys_told(body));
        } else if kind == RESERVED.ask {
            // A connection that cannot take the answer is down.
            let answer = rails::answer(self.devices.ports().keys(), body);
            answer.into_iter().for_each(|answer| drop(connection.event(RESERVED.keys, answer)));
        } else {
            self.service.event(&peer, kind, body);
        }
    }

    fn down(&self, connection: &Connection, reason: &DownReason) {
        let Some(known) = self.forget(connection, reason) else { return };
        self.seen().lost.count(reason);
        log_down(&known.peer, reason);
        if known.announced {
            self.service.down(&known.peer, reason);
        }
    }
}

fn log_linked(peer: &Peer) {
    let (name, choice) = (&peer.identity().name, peer.choice());
    tracing::info!(peer = name, link = %choice.link, transport = choice.transport.name(), %choice, "linked");
}

/// An end on purpose is no news.
fn log_down(peer: &Peer, reason: &DownReason) {
    let (name, link) = (&peer.identity().name, peer.choice().link);
    match reason {
        DownReason::Goodbye | DownReason::Local => tracing::info!(peer = name, %link, %reason, "unlinked"),
        _ => tracing::warn!(peer = name, %link, %reason, "peer down"),
    }
}
