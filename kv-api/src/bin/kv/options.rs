//! Options that the commands share.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use clap::{Args, ValueEnum};
use pmd_host::{
    backend::Transport,
    endpoint::{EndpointConfig, TransportChoice},
    lane::{Idle, LaneConfig},
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
}

impl TransportOption {
    pub(crate) const fn choice(self) -> TransportChoice {
        match self {
            Self::Auto => TransportChoice::Auto,
            Self::Shm => TransportChoice::Only(Transport::SharedMemory),
            Self::Mlx5 => TransportChoice::Only(Transport::Mlx5),
            Self::Verbs => TransportChoice::Only(Transport::Verbs),
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

/// What every process of a command takes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Common {
    /// What carries the bytes.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) transport: TransportOption,
    /// What a lane does when it has nothing to do.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) idle: IdleOption,
}

impl Common {
    /// As arguments for a child process.
    pub(crate) fn arguments(self) -> Vec<String> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        vec![
            "--transport".into(),
            name(self.transport.to_possible_value()),
            "--idle".into(),
            name(self.idle.to_possible_value()),
        ]
    }

    /// Configuration of an endpoint called `name`, which listens if it has an address to listen on.
    pub(crate) fn endpoint(self, name: &str, listen: Option<SocketAddr>) -> EndpointConfig {
        EndpointConfig {
            name: name.to_owned(),
            listen,
            transport: self.transport.choice(),
            lane: LaneConfig { name: name.to_owned(), idle: self.idle.idle(), ..LaneConfig::default() },
            ..EndpointConfig::default()
        }
    }
}
