//! What an endpoint has done, as numbers: a snapshot of plain structs, Prometheus' text, and a small HTTP server for it.
//!
//! # Place in the flow
//! Lanes count in cells of their own (`lane::counters`), the control thread and registration in theirs; nobody waits for
//! who looks. [`Endpoint::metrics`](crate::endpoint::Endpoint::metrics) reads all of it; [`Metrics::write`] renders it;
//! an endpoint that was opened with [`MetricsConfig::listen`] answers `GET /metrics` with that, and with what the
//! application adds by [`PeerService::metrics`](crate::endpoint::PeerService::metrics): `kv-api`'s engine does. `pmd top`
//! and Prometheus ask.
//!
//! ```text
//!  lane cells --+
//!  route cells -+--> Endpoint::metrics --> Metrics --> Page (text) --> Server (HTTP) --> pmd top, Prometheus
//!  control, registrations ------+            ^
//!                           applications -----
//! ```
//! | module | holds |
//! |---|---|
//! | `snapshot` | [`Metrics`] and what is in it |
//! | `histogram` | [`Histogram`] of durations |
//! | `page` | [`Page`], the writer of Prometheus' text format, version 0.0.4 |
//! | `render` | the families of an endpoint |
//! | `server`, `request` | [`Server`], which answers `GET /metrics` |
//! | `address` | [`MetricsAddress`]: where it listens |
//!
//! # What it costs
//! A batch of work requests adds to some four cells of the lane and as many of the route when its doorbell has rung, a
//! transfer to three more when it has its outcome, plain loads and stores of lines that no other core writes. Nothing
//! is allocated or locked, and no clock is read, unless [`LaneConfig::latencies`](crate::lane::LaneConfig::latencies) asks
//! for durations: then each transfer costs two looks at the clock and five more cells twice. The server's thread
//! sleeps until somebody asks.
//!
//! # Families
//! Counters begin with 0 when the endpoint opens. What is told of lanes stays when peers go; what is told of a peer goes
//! with it. Labels of peers are `peer` (its name), `incarnation`, `connection` (number of the control connection, since a
//! peer may be connected twice) and `transport`.
//!
//! | family | unit | labels |
//! |---|---|---|
//! | `pmd_endpoint_info` | 1 | `name`, `incarnation` |
//! | `pmd_lane_transfers_total` | transfers | `transport`, `lane`, `result`: `done` or `failed` |
//! | `pmd_lane_transfer_bytes_total` | bytes of transfers that are done | `direction`: `read` or `write` |
//! | `pmd_lane_work_requests_total` | posted work requests | `operation` |
//! | `pmd_lane_failed_completions_total` | completions | `syndrome` |
//! | `pmd_lane_doorbells_total`, `pmd_lane_polls_total`, `pmd_lane_parks_total` | times | |
//! | `pmd_lane_messages_total` | messages, credits among them | `way`: `sent` or `received` |
//! | `pmd_lane_credit_waits_total` | notifications that had to wait | |
//! | `pmd_lane_active_transfers`, `pmd_lane_outstanding_work_requests` | queue depth now | |
//! | `pmd_lane_receiver_not_ready_total` | requests that had to wait for a receive: of this side's, a peer said so (`heard`), of peers' this side (`said`); of the soft HCA only | `way` |
//! | `pmd_lane_running` | 1, or 0 for one that ended | |
//! | `pmd_lane_transfer_duration_seconds` | seconds, a histogram | `direction` |
//! | `pmd_peer_...` | the same for each peer, without polls, parks, receiver_not_ready and running | as above |
//! | `pmd_peer_info` | 1 | `address`, `reason`: why this transport |
//! | `pmd_peer_refused_messages_total` | messages given back for want of a credit | |
//! | `pmd_peer_keep_alive_misses_total` | intervals without a word | |
//! | `pmd_rail_state` | 1 for the state that the rail is in ([`RailState`](crate::rail::RailState)), else 0 | `rail`, `state`, and those of peers |
//! | `pmd_rail_bytes_total`, `pmd_rail_chunks_total` | what this end's transfers moved over the rail | `rail`, and those of peers |
//! | `pmd_rail_lives_total` | times that it was opened | |
//! | `pmd_rail_rate_bytes_per_second` | as lately measured; none before the first chunk | |
//! | `pmd_peers`, `pmd_connected_peers_total` | peers | |
//! | `pmd_lost_peers_total` | peers | `reason` |
//! | `pmd_registrations_total`, `pmd_registered_regions` | registrations made, and there now | `transport`, `path` |
//! | `pmd_registered_bytes` | bytes registered now | `transport`, `path` |
//! | `pmd_failed_registrations_total` | registrations | |
//! | `pmd_registration_cache_events_total` | look-ups and removals | `event` |
mod address;
mod histogram;
mod page;
mod registrations;
mod render;
mod request;
mod server;
mod snapshot;
#[cfg(test)]
mod tests;

pub use address::{AddressError, DEFAULT_PORT, MetricsAddress, PORTS};
pub(crate) use histogram::HistogramCells;
pub use histogram::{Histogram, Summary};
pub use page::CONTENT_TYPE;
pub use page::{Family, Page, Value};
pub(crate) use registrations::{RegistrationBook, Tally};
pub use server::{MetricsConfig, Server, ServerError, ServerLimits};
pub use snapshot::{
    ControlMetrics, LaneMetrics, Latencies, LostPeers, Metrics, PeerMetrics, RegistrationMetrics,
};
