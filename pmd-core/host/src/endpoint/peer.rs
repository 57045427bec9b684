//! A peer with an open route.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Choice, EndpointError,
    rails::{RailReport, Rails},
};
use crate::{
    backend::Transport,
    control::{Connection, DownReason, PeerIdentity, Refusal, RequestError},
    lane::{Message, MessageHandler, Route, RouteError, RouteId},
    metrics::Page,
    transfer::{RouteFault, SubmitError, Transfer, TransferOptions, WorkList},
};

/// Which transports an endpoint may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TransportChoice {
    /// The best one that reaches the peer: shared memory, a NIC, TCP.
    #[default]
    Auto,
    /// This one or none.
    Only(Transport),
}

/// What the application does with its peers. Requests and events come on the control thread, messages on a lane: answer
/// quickly, and never wait there for a request or a transfer of the same endpoint.
pub trait PeerService: Send + Sync {
    /// A peer has connected to this endpoint. Not called for peers that this endpoint connected to.
    fn connected(&self, peer: &Peer) {
        let _ = peer;
    }

    /// Answers a request of kind below 0xff00.
    ///
    /// # Errors
    /// A [`Refusal`] travels back to the asker.
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let _ = (peer, body);
        Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") })
    }

    /// Takes note of an event of kind below 0xff00.
    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        let _ = (peer, kind, body);
    }

    /// A message, or the notification of a transfer, has arrived over a route or a rail. May come before `connected`. Comes on the
    /// lane of that route or rail, so on several at a time where a peer has several of these.
    fn message(&self, peer: &Peer, message: Message<'_>) {
        let _ = (peer, message);
    }

    /// A route to the peer has failed and no message follows over it; the peer itself may live, and what rails carry goes on
    /// and is notified. Comes on a lane, before the route is quiet: [`Route::close`] waits for that, on another thread.
    fn route_down(&self, peer: &Peer, fault: RouteFault) {
        let _ = (peer, fault);
    }

    /// Writes what the application above counts behind what the endpoint tells. Comes on the thread that serves metrics;
    /// names of families are the application's own and begin with its name.
    fn metrics(&self, page: &mut Page) {
        let _ = page;
    }

    /// The peer is gone; its route has failed.
    fn down(&self, peer: &Peer, reason: &DownReason) {
        let _ = (peer, reason);
    }
}

/// A peer with an open route; clones are the same peer.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    connection: Connection,
    identity: PeerIdentity,
    first: Route,
    /// On the lanes after the first one's.
    others: Vec<Route>,
    choice: Choice,
    /// None once there are to be none.
    rails: OnceLock<Option<Arc<Rails>>>,
}

impl Peer {
    pub(super) fn new(
        connection: Connection,
        (first, others): (Route, Vec<Route>),
        choice: Choice,
    ) -> Result<Self, EndpointError> {
        let identity = connection.identity().map_err(RequestError::Down)?.clone();
        Ok(Self(Arc::new(Inner { connection, identity, first, others, choice, rails: OnceLock::new() })))
    }

    /// Who the peer is.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.0.identity
    }

    /// What carries the bytes to and from this peer. Chosen once, when it connected; [`Peer::choice`] tells why.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.choice.transport
    }

    /// The transport, why no better one carries the bytes, and the link that was made for it.
    #[must_use]
    pub fn choice(&self) -> &Choice {
        &self.0.choice
    }

    /// The queue pairs to this peer, on the first lane where there are several.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.0.first
    }

    /// The routes to this peer, one on each of the connecting side's lanes; the first is [`Peer::route`]. What moves on
    /// one of them is in no order with what moves on another.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Route> + Clone {
        (0..1 + self.0.others.len()).map(|index| match index {
            0 => &self.0.first,
            index => &self.0.others[index - 1],
        })
    }

    /// Carries out a transfer: over the rails to this peer where it is large ([`RailsConfig::from`](super::RailsConfig::from))
    /// and a rail is up, else on [`Peer::route`]; there, while the lane's ring is full, lets other threads run and tries again,
    /// until `deadline`. Its outcome, its notification and a cancel mean the same either way.
    ///
    /// # Errors
    /// As [`Route::submit_waiting`].
    pub fn submit(
        &self,
        work: &Arc<WorkList>,
        options: TransferOptions,
        deadline: Option<Instant>,
    ) -> Result<Transfer, SubmitError> {
        self.submit_beside(self.route(), work, options, deadline)
    }

    /// As [`Peer::submit`], for applications that use several routes: what does not go over rails goes over this one of
    /// [`Peer::routes`].
    ///
    /// # Errors
    /// As [`Route::submit_waiting`].
    pub fn submit_beside(
        &self,
        route: &Route,
        work: &Arc<WorkList>,
        options: TransferOptions,
        deadline: Option<Instant>,
    ) -> Result<Transfer, SubmitError> {
        match self.rails().filter(|rails| rails.take(work.bytes())) {
            Some(rails) => rails.submit_beside(route, work, options, deadline),
            None => route.submit_waiting(work, options, deadline),
        }
    }

    /// The rails to this peer that were ever opened, by number.
    #[must_use]
    pub fn rail_reports(&self) -> Vec<RailReport> {
        self.rails().map_or_else(Vec::new, |rails| rails.report())
    }

    /// The rails, once there are any.
    pub(super) fn rails(&self) -> Option<&Arc<Rails>> {
        self.0.rails.get().and_then(Option::as_ref)
    }

    /// The rails, made by `start` when there are none; an error once there are to be none.
    pub(super) fn rails_or(
        &self,
        start: impl FnOnce() -> Result<Arc<Rails>, EndpointError>,
    ) -> Result<&Arc<Rails>, EndpointError> {
        let kept = match self.0.rails.get() {
            Some(kept) => kept,
            None => {
                let started = start()?;
                self.0.rails.get_or_init(|| Some(started))
            }
        };
        kept.as_ref().ok_or(EndpointError::Route(RouteError::Failed(RouteFault::Closed)))
    }

    /// The control connection to this peer.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Asks the peer's [`PeerService`]. Kinds from 0xff00 are reserved.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn request(&self, kind: u16, body: Vec<u8>, patience: Duration) -> Result<Vec<u8>, RequestError> {
        self.0.connection.request(kind, body, patience)
    }

    /// Why the peer is down, or `None` while it lives.
    #[must_use]
    pub fn down_reason(&self) -> Option<DownReason> {
        self.0.connection.down_reason()
    }

    /// Says goodbye: the route closes on both sides.
    pub fn close(&self) {
        self.0.connection.close();
    }

    /// Says goodbye, and waits until this end is quiet: routes and rails are closed, so that the peer has no way any more to
    /// read or write this process's memory, and no rail is opened again. What is under way fails, some of it a moment later.
    /// A device that does not give a queue pair back is closed with its lane. Waits for lanes, so not to be called on one.
    pub fn quieten(&self) {
        self.close();
        // None will be made if there are none by now.
        let rails = self.0.rails.get_or_init(|| None).as_ref().map_or_else(Vec::new, |rails| rails.shut());
        let routes: Vec<Route> = self.routes().cloned().chain(rails).collect();
        routes.iter().for_each(|route| route.fail(RouteFault::Closed));
        for route in routes {
            if matches!(route.close(), Err(RouteError::Setup(_))) {
                route.lane().shutdown();
            }
        }
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Peer")
            .field("identity", &self.0.identity)
            .field("choice", &self.0.choice)
            .field("down", &self.down_reason())
            .finish_non_exhaustive()
    }
}

/// Hands the messages of a peer's routes to the service, once the peer behind them is known. The peer holds the routes,
/// so their handlers hold the peer weakly.
#[derive(Clone)]
pub(super) struct Relay {
    service: Arc<dyn PeerService>,
    peer: Arc<OnceLock<Weak<Inner>>>,
}

impl Relay {
    pub(super) fn new(service: Arc<dyn PeerService>) -> Self {
        Self { service, peer: Arc::default() }
    }

    pub(super) fn introduce(&self, peer: &Peer) {
        // Each relay serves one peer: this is the only call.
        let _ = self.peer.set(Arc::downgrade(&peer.0));
    }

    /// Tells the service of a message.
    pub(super) fn hand_on(&self, message: Message<'_>) {
        // A peer sends nothing before its opening was answered, and by then it is known here; one that does not keep to
        // that is not listened to.
        if let Some(inner) = self.peer.get().and_then(Weak::upgrade) {
            self.service.message(&Peer(inner), message);
        }
    }
}

impl MessageHandler for Relay {
    fn message(&mut self, _: RouteId, message: Message<'_>) {
        self.hand_on(message);
    }

    fn down(&mut self, _: RouteId, fault: RouteFault) {
        if let Some(inner) = self.peer.get().and_then(Weak::upgrade) {
            self.service.route_down(&Peer(inner), fault);
        }
    }
}
