//! How an engine is opened.

use std::time::Duration;

use pmd_host::{
    endpoint::{EndpointConfig, MOST_QUEUE_PAIRS, MOST_ROUTES},
    transfer::WorkListLimits,
};

use super::{OpenError, wire};
use crate::environment::{self, EnvironmentError};

/// Where the engine of accelerator 0 listens, in the form of the interface that names peers by accelerator.
pub const GPU_PORT: u16 = 29_700;

/// Fewest bytes of a work request.
const LEAST_CHUNK: u32 = 4096;

/// How an engine is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, and which device to prefer:
    ///
    /// | value | listens on | NIC, where one is used |
    /// |---|---|---|
    /// | `""`, `"lo"` | 127.0.0.1 | the first that can be used |
    /// | `"*"` | every address | the first that can be used |
    /// | a network interface (`eth0`) | its address, IPv4 before IPv6 | the RDMA device behind it, if there is one |
    /// | an RDMA device (`mlx5_0`) | the address of its network interface | that device |
    /// | an IP address | that address | the first that can be used |
    ///
    /// [`EndpointConfig::nic`] goes before it. The control port does not authenticate: see the crate's notes on
    /// security before listening on more than loopback.
    pub if_name: String,
    /// Lanes, each a thread: a message is spread over all of them. 1 to 64. Of two connected engines, the one that
    /// connects decides for both how many routes and queue pairs there are.
    pub ncpus: u32,
    /// Queue pairs of each lane, to each peer; at most 1024 of all lanes.
    pub nconn_per_cpu: u32,
    /// TCP port to listen on; 0 lets the system choose.
    pub listen_port: u16,
    /// What peers are told of this engine when they accept it: the accelerator's number, where engines are named by it.
    pub label: u32,
    /// Bytes of a work request, 4096 to 2^31. A cancel takes effect between two of them.
    pub chunk_bytes: u32,
    /// Sends, and receives, of one connection that may be under way at one time. Both ends need the same number.
    pub in_flight: usize,
    /// How long sends and receives may take that are not told.
    pub patience: Duration,
    /// How long a peer that lives may take to answer a withdrawn receive before the connection is taken down.
    pub withdraw_patience: Duration,
    /// Everything else, with room for many short messages. Its `listen`, `lanes` and `queue_pairs` are replaced.
    pub endpoint: EndpointConfig,
}

impl Config {
    /// As upstream's `Engine(if_name, ncpus, nconn_per_cpu, listen_port)`.
    #[must_use]
    pub fn new(if_name: impl Into<String>, ncpus: u32, nconn_per_cpu: u32, listen_port: u16) -> Self {
        Self {
            if_name: if_name.into(),
            ncpus,
            nconn_per_cpu,
            listen_port,
            label: 0,
            chunk_bytes: 512 << 10,
            in_flight: 1024,
            patience: Duration::from_secs(60),
            withdraw_patience: Duration::from_secs(5),
            endpoint: roomy(EndpointConfig::default()),
        }
    }

    /// As upstream's `Endpoint(local_gpu_idx, num_cpus)`: listens on [`gpu_port`], on the interface that the
    /// environment names, and drives the accelerators that it names: without a number they have number `gpu`.
    ///
    /// # Errors
    /// [`EnvironmentError`] when a variable has a value that it cannot have.
    pub fn for_gpu(gpu: u8, ncpus: u32) -> Result<Self, EnvironmentError> {
        let if_name = environment::interface();
        let endpoint = roomy(environment::endpoint_config_on(gpu.into())?);
        Ok(Self { label: gpu.into(), endpoint, ..Self::new(if_name, ncpus, 1, gpu_port(gpu)) })
    }

    /// The same with transport, device, idle policy and accelerators from the [`environment`].
    ///
    /// # Errors
    /// [`EnvironmentError`] when a variable has a value that it cannot have.
    pub fn with_environment(self) -> Result<Self, EnvironmentError> {
        Ok(Self { endpoint: roomy(environment::endpoint_config()?), ..self })
    }

    pub(super) fn check(&self) -> Result<(), OpenError> {
        let (lanes, queue_pairs) = (self.ncpus as usize, self.ncpus as usize * self.nconn_per_cpu as usize);
        if !(1..=MOST_ROUTES).contains(&lanes) || !(1..=MOST_QUEUE_PAIRS).contains(&queue_pairs) {
            let Self { ncpus, nconn_per_cpu, .. } = *self;
            let (most_lanes, most_queue_pairs) = (MOST_ROUTES, MOST_QUEUE_PAIRS);
            return Err(OpenError::Lanes { ncpus, nconn_per_cpu, most_lanes, most_queue_pairs });
        }
        let (bytes, most) = (self.chunk_bytes, WorkListLimits::LARGEST_MESSAGE);
        if !(LEAST_CHUNK..=most).contains(&bytes) {
            return Err(OpenError::ChunkBytes { bytes, least: LEAST_CHUNK, most });
        }
        let (given, least) = (self.endpoint.message_bytes, wire::LONGEST);
        if given < least {
            return Err(OpenError::MessageBytes { given, least });
        }
        Ok(())
    }
}

/// With room for many short messages: every receive is one.
fn roomy(config: EndpointConfig) -> EndpointConfig {
    EndpointConfig { message_bytes: wire::LONGEST, message_receives: 512, ..config }
}

/// Where the engine of an accelerator listens: accelerator 0 on [`GPU_PORT`], the others on the ports after it.
#[must_use]
pub const fn gpu_port(gpu: u8) -> u16 {
    GPU_PORT + gpu as u16
}
