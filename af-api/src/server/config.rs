//! How a server is made.

use std::{sync::Arc, time::Duration};

use pmd_core::accelerator::Accelerator;
use pmd_host::endpoint::EndpointConfig;

use crate::{
    gate::GateConfig, graph::ProxyConfig, trace::RecorderConfig, wire::NodeIdentity, worker::MESSAGE_BYTES,
};

/// How a server is made.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Who it is.
    pub identity: NodeIdentity,
    /// Its endpoint; it listens for workers at [`listen`](EndpointConfig::listen). The message size should be the workers'.
    pub endpoint: EndpointConfig,
    /// Workers that a batch of all waits for. `None`: those that are connected at that moment, at least one.
    pub workers: Option<usize>,
    /// Answers of at most so many bytes in all travel inside the response, as far as the message has room. 0 for none.
    pub inline_bytes: u32,
    /// Most pushes of one key in flight from one worker, whatever it asks for.
    pub most_depth: u16,
    /// How long a response waits for room in the lane's ring.
    pub patience: Duration,
    /// Whether requests are traced, and of how many the stamps are kept for workers that ask.
    pub trace: RecorderConfig,
    /// How responses wait for their events.
    pub events: GateConfig,
    /// Whose memory tensors may lie in, beside the host's. The endpoint drives it within a host, unless its
    /// [`soft`](EndpointConfig::soft) part names accelerators itself; then `None` is the first of those.
    pub accelerator: Option<Arc<dyn Accelerator>>,
    /// Whether pushes arrive in memory of that accelerator, where the application offers no buffer for their key. Without it
    /// they arrive in memory of the host, and so do those of workers whom the NIC does not let into the device:
    /// [`Memory::kind`](crate::tensor::Memory::kind) of a pushed tensor's memory tells.
    pub device_areas: bool,
    /// How the server waits for what captured streams ask.
    pub graphs: ProxyConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let endpoint = EndpointConfig {
            message_bytes: MESSAGE_BYTES,
            listen: Some(([127, 0, 0, 1], 0).into()),
            ..EndpointConfig::default()
        };
        Self {
            identity: NodeIdentity::default(),
            endpoint,
            workers: None,
            inline_bytes: 256,
            most_depth: 256,
            patience: Duration::from_secs(10),
            trace: RecorderConfig::default(),
            events: GateConfig::default(),
            accelerator: None,
            device_areas: false,
            graphs: ProxyConfig::default(),
        }
    }
}
