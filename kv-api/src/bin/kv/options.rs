//! Options that the commands share.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use pmd_accelerators::DeviceName;
use pmd_core::accelerator::Accelerator;
use pmd_host::{
    backend::Transport,
    endpoint::{Endpoint, EndpointConfig, RailsConfig, TransportChoice},
    lane::{Idle, LaneConfig},
    metrics::{MetricsAddress, MetricsConfig},
    security::command::security,
    soft::Accelerators,
    topology::LanePinning,
};

use crate::failure::Failure;

/// How long a step between the processes may take before the command gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Any port of this host alone.
pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// `--transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TransportOption {
    /// Shared memory on one host, a NIC otherwise.
    #[default]
    Auto,
    /// Shared memory.
    Shm,
    /// ConnectX through mlx5dv.
    Mlx5,
    /// Any NIC through ibverbs.
    Verbs,
    /// TCP, on one host or between two.
    Tcp,
}

impl TransportOption {
    pub(crate) const fn choice(self) -> TransportChoice {
        match self {
            Self::Auto => TransportChoice::Auto,
            Self::Shm => TransportChoice::Only(Transport::SharedMemory),
            Self::Mlx5 => TransportChoice::Only(Transport::Mlx5),
            Self::Verbs => TransportChoice::Only(Transport::Verbs),
            Self::Tcp => TransportChoice::Only(Transport::Tcp),
        }
    }
}

/// `--idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum IdleOption {
    /// Poll without a pause.
    Spin,
    /// Poll, and let other threads run in between.
    #[default]
    Yield,
    /// Sleep until woken.
    Park,
}

impl IdleOption {
    const fn idle(self) -> Idle {
        match self {
            Self::Spin => Idle::Spin,
            Self::Yield => Idle::Yield,
            Self::Park => Idle::Park,
        }
    }
}

/// `--rails`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Rails {
    /// Addresses of this host (over TCP) or names of its NICs (mlx5_0,mlx5_1) for large transfers, with commas between them:
    /// rails on each, dropped when they break and taken back when they work again. The other end names its own, of the same
    /// kind; of addresses, whoever fetches says how many rails there are. NICs may be beside any transport. Small transfers,
    /// messages and the control connection stay on the address that is connected to.
    #[arg(long, value_name = "ADDRESS,ADDRESS or NIC,NIC")]
    rails: Option<RailsConfig>,
}

impl Rails {
    /// Gives them to an endpoint.
    pub(crate) fn apply(&self, config: &mut EndpointConfig) {
        config.rails = self.rails.clone().unwrap_or_default();
    }
}

/// Where a process keeps its cache.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Place {
    /// Keep caches in the memory of this device: cuda:0, rocm:1, ascend:0, or cpu for ordinary memory in a device's place.
    /// With fake- in front the runtime must be the stand-in of this project's tests.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceName>,
    /// Open the device to reach the peer's cache, and keep one's own in host memory.
    #[arg(long, requires = "device")]
    pub(crate) in_host_memory: bool,
    /// Page-lock the driver's shared memory for the device: copies between the two then go without the processor.
    #[arg(long, requires = "device")]
    pub(crate) pin_arenas: bool,
}

impl Place {
    /// As arguments for a child process.
    pub(crate) fn arguments(self) -> Vec<String> {
        let Some(device) = self.device else { return Vec::new() };
        let option = |is_set: bool, name: &str| is_set.then(|| name.to_owned());
        let options =
            [option(self.in_host_memory, "--in-host-memory"), option(self.pin_arenas, "--pin-arenas")];
        ["--device".to_owned(), device.to_string()].into_iter().chain(options.into_iter().flatten()).collect()
    }

    /// Opens the device, and gives it to the endpoint. What comes back is where the cache belongs: `None` for memory of
    /// the host.
    pub(crate) fn open(self, config: &mut EndpointConfig) -> Result<Option<Arc<dyn Accelerator>>, Failure> {
        let Some(device) = self.device else { return Ok(None) };
        let accelerator = pmd_accelerators::open(device)?;
        config.soft.accelerators = Accelerators::new(vec![Arc::clone(&accelerator)]);
        config.soft.pin_arenas = self.pin_arenas;
        Ok(Some(accelerator).filter(|_| !self.in_host_memory))
    }
}

/// What every process of a command takes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Common {
    /// What carries the bytes.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) transport: TransportOption,
    /// What a lane does when it has nothing to do.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) idle: IdleOption,
    /// Which cores lanes keep to: auto, off, local (those of the NUMA node of the NIC, or of the device where there is no NIC)
    /// or nearest (one each).
    #[arg(long, value_name = "WHERE", default_value_t)]
    pub(crate) pinning: LanePinning,
    /// Answer GET /metrics there, in Prometheus' format: a port of this host alone, or ADDRESS:PORT; each process takes the
    /// first free one of 32 ports. Durations of transfers are counted then.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<MetricsAddress>,
}

impl Common {
    /// As arguments for a child process.
    pub(crate) fn arguments(self) -> Vec<String> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        let metrics = self.metrics.map(|address| ["--metrics".to_owned(), address.to_string()]);
        let mut arguments = vec![
            "--transport".into(),
            name(self.transport.to_possible_value()),
            "--idle".into(),
            name(self.idle.to_possible_value()),
            "--pinning".into(),
            self.pinning.to_string(),
        ];
        arguments.extend(metrics.into_iter().flatten());
        arguments
    }

    /// Configuration of an endpoint called `name`, which listens if it has an address to listen on.
    pub(crate) fn endpoint(self, name: &str, listen: Option<SocketAddr>) -> EndpointConfig {
        EndpointConfig {
            name: name.to_owned(),
            listen,
            transport: self.transport.choice(),
            lane: LaneConfig {
                name: name.to_owned(),
                idle: self.idle.idle(),
                pinning: self.pinning,
                latencies: self.metrics.is_some(),
                ..LaneConfig::default()
            },
            metrics: MetricsConfig { listen: self.metrics, ..MetricsConfig::default() },
            security: security(),
            ..EndpointConfig::default()
        }
    }
}

/// Says where metrics are served, if they are.
pub(crate) fn tell_metrics(endpoint: &Endpoint) {
    if let Some(address) = endpoint.metrics_address() {
        eprintln!("kv: metrics on http://{address}/metrics");
    }
}
