//! Options that the commands share.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use clap::{Args, ValueEnum, builder::PossibleValue};
use pmd_accelerators::DeviceName;
use pmd_host::{
    backend::Transport,
    endpoint::{Endpoint, EndpointConfig, TransportChoice},
    lane::{Idle, LaneConfig},
    metrics::{MetricsAddress, MetricsConfig},
    security::command::security,
    soft::DeviceConfig,
    topology::LanePinning,
};

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
    const fn choice(self) -> TransportChoice {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdleOption {
    /// Poll without a pause.
    Spin,
    /// Poll, and let other threads run in between.
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

/// What every process of a command takes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Common {
    /// What carries the bytes.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) transport: TransportOption,
    /// What a lane does when it has nothing to do; by default it yields where each worker and server has a core, and
    /// parks otherwise.
    #[arg(long, value_enum)]
    pub(crate) idle: Option<IdleOption>,
    /// Keep all tensors in the memory of a device: cuda:0, rocm:1, ascend:0; cpu for a device's manners without one;
    /// fake-cuda and so on where that runtime must be the tests' stand-in.
    #[arg(long)]
    pub(crate) device: Option<DeviceName>,
    /// Page-lock the driver's shared memory for the device: copies between the two then go without the processor.
    #[arg(long, requires = "device")]
    pub(crate) pin_arenas: bool,
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
    /// With the idle policy that suits so many processes, unless one was asked for.
    pub(crate) fn for_processes(self, count: u32) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let suitable = if count as usize <= cores { IdleOption::Yield } else { IdleOption::Park };
        Self { idle: Some(self.idle.unwrap_or(suitable)), ..self }
    }

    /// As arguments for a child process.
    pub(crate) fn arguments(self) -> Vec<String> {
        let name =
            |value: Option<PossibleValue>| value.map(|value| value.get_name().to_owned()).unwrap_or_default();
        let idle = self.idle.map(|idle| ["--idle".to_owned(), name(idle.to_possible_value())]);
        let transport = ["--transport".to_owned(), name(self.transport.to_possible_value())];
        let device = self.device.map(|device| ["--device".to_owned(), device.to_string()]);
        let pinning = ["--pinning".to_owned(), self.pinning.to_string()];
        let metrics = self.metrics.map(|address| ["--metrics".to_owned(), address.to_string()]);
        let optional = [idle, device, metrics].into_iter().flatten().flatten();
        let pins = self.pin_arenas.then(|| "--pin-arenas".to_owned());
        transport.into_iter().chain(optional).chain(pinning).chain(pins).collect()
    }

    /// The device's name, as summaries have it.
    pub(crate) fn device_name(self) -> Option<String> {
        self.device.map(|device| device.to_string())
    }

    /// Changes an endpoint's configuration to what was asked for.
    pub(crate) fn endpoint(
        self,
        name: &str,
        listen: Option<SocketAddr>,
        default: EndpointConfig,
    ) -> EndpointConfig {
        let idle = self.idle.map_or(default.lane.idle, IdleOption::idle);
        EndpointConfig {
            name: name.to_owned(),
            listen,
            transport: self.transport.choice(),
            lane: LaneConfig {
                name: name.to_owned(),
                idle,
                pinning: self.pinning,
                latencies: self.metrics.is_some(),
                ..default.lane
            },
            metrics: MetricsConfig { listen: self.metrics, ..default.metrics },
            security: security(),
            soft: DeviceConfig { pin_arenas: self.pin_arenas, ..default.soft },
            ..default
        }
    }
}

/// Says where metrics are served, if they are.
pub(crate) fn tell_metrics(endpoint: &Endpoint) {
    if let Some(address) = endpoint.metrics_address() {
        eprintln!("af: metrics of {} on http://{address}/metrics", endpoint.identity().name);
    }
}
