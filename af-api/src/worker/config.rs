//! How a worker is made.

use std::{sync::Arc, time::Duration};

use pmd_core::accelerator::Accelerator;
use pmd_host::endpoint::EndpointConfig;

use crate::{gate::GateConfig, graph::ProxyConfig, trace::RecorderConfig, wire::NodeIdentity};

/// Longest message of this crate's endpoints unless they are configured otherwise: a header of some forty tensors, with
/// room for small ones.
pub const MESSAGE_BYTES: usize = 2048;

/// How a worker is made.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Who it is.
    pub identity: NodeIdentity,
    /// Its endpoint: transports, lanes, keep-alive. The message size should be the servers'.
    pub endpoint: EndpointConfig,
    /// Pushes of one key in flight to one server, where [`Worker::declare`](super::Worker::declare) did not say
    /// otherwise.
    pub depth: u16,
    /// Tensors of at most so many bytes travel inside the header, as far as the message has room. 0 for none.
    pub inline_bytes: u32,
    /// Requests in flight to one server.
    pub requests: u16,
    /// Longest wait for a server's answer over the control connection.
    pub patience: Duration,
    /// Whether requests are traced, and how many are kept.
    pub trace: RecorderConfig,
    /// How requests wait for their events.
    pub events: GateConfig,
    /// Whose memory tensors may lie in, beside the host's, and whose streams push-pulls take their turn in
    /// ([`Worker::push_pull_on`](super::Worker::push_pull_on)). The endpoint drives it within a host, unless its
    /// [`soft`](EndpointConfig::soft) part names accelerators itself; then `None` is the first of those.
    pub accelerator: Option<Arc<dyn Accelerator>>,
    /// How the worker waits for what captured streams ask.
    pub graphs: ProxyConfig,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let endpoint = EndpointConfig { message_bytes: MESSAGE_BYTES, ..EndpointConfig::default() };
        Self {
            identity: NodeIdentity::default(),
            endpoint,
            depth: 2,
            inline_bytes: 256,
            requests: 1024,
            patience: Duration::from_secs(10),
            trace: RecorderConfig::default(),
            events: GateConfig::default(),
            accelerator: None,
            graphs: ProxyConfig::default(),
        }
    }
}
