//! What an endpoint tells of itself: [`Endpoint::metrics`], and the page that its server answers with.

use std::{
    net::SocketAddr,
    sync::{Arc, MutexGuard, PoisonError},
};

use super::{Endpoint, Inner, Peer};
use crate::{
    backend::Transport,
    identity::DeviceId,
    lane::{Counters, Lane, Route},
    metrics::{ControlMetrics, LaneMetrics, Latencies, Metrics, Page, PeerMetrics, Server, ServerError},
};

impl Endpoint {
    /// Everything that the endpoint counts, as of now. Takes the locks of registration, of the list of peers and of rails for
    /// a moment, and none of a lane.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.0.inner.metrics()
    }

    /// Where `GET /metrics` is answered, if it is: with the port that was free.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.0.metrics.as_ref().map(Server::local_address)
    }

    /// What `GET /metrics` is answered with: the endpoint's families and those of the application.
    #[must_use]
    pub fn metrics_page(&self) -> Page {
        self.0.inner.page()
    }
}

impl Inner {
    /// Starts the server, if one is asked for.
    pub(super) fn serve_metrics(self: &Arc<Self>) -> Result<Option<Server>, ServerError> {
        let Some(address) = self.config.metrics.listen else { return Ok(None) };
        let inner = Arc::clone(self);
        let page = move || inner.page().into_string();
        let server = Server::start(address, self.config.metrics.limits, page)?;
        tracing::info!(address = %server.local_address(), "metrics are served");
        Ok(Some(server))
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, ControlMetrics> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self) -> Page {
        let mut page = Page::default();
        self.metrics().write(&mut page);
        self.service.metrics(&mut page);
        page
    }

    fn metrics(&self) -> Metrics {
        let mut lanes: Vec<_> = self.devices.all_running().into_iter().map(lane_metrics).collect();
        lanes.sort_by_key(|lane| (lane.transport.name(), lane.number));
        let peers: Vec<Peer> = self.known().iter().map(|known| known.peer.clone()).collect();
        let (registrations, failed_registrations) = self.devices.book().read();
        Metrics {
            name: self.config.name.clone(),
            incarnation: hexadecimal(self.identity.incarnation),
            lanes,
            peers: peers.iter().map(peer_metrics).collect(),
            registrations,
            failed_registrations,
            cache: self.registrations.counters(),
            control: *self.seen(),
        }
    }
}

fn lane_metrics((transport, number, lane): (Transport, usize, Lane)) -> LaneMetrics {
    let (counters, latencies, retries, fault) =
        (lane.counters(), lane.latencies(), lane.retries(), lane.fault());
    LaneMetrics { transport, number, counters, latencies, retries, fault }
}

fn peer_metrics(peer: &Peer) -> PeerMetrics {
    let latencies = peer.routes().filter_map(Route::latencies);
    PeerMetrics {
        name: peer.identity().name.clone(),
        incarnation: hexadecimal(peer.identity().incarnation),
        connection: peer.connection().number(),
        address: peer.connection().remote(),
        transport: peer.transport(),
        reason: peer.choice().to_string(),
        routes: peer.routes().len(),
        counters: peer.routes().map(Route::counters).fold(Counters::default(), Counters::plus),
        refused_messages: peer.routes().map(Route::refused_for_credit).sum(),
        latencies: latencies.reduce(|mut sum: Latencies, of| {
            sum.merge(&of);
            sum
        }),
        rails: peer.rail_reports(),
        keep_alive_misses: peer.connection().keep_alive_misses(),
        fault: peer.routes().find_map(Route::fault),
    }
}

fn hexadecimal(identity: DeviceId) -> String {
    identity.0.iter().map(|byte| format!("{byte:02x}")).collect()
}
