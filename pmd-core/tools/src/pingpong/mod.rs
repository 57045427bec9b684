//! `pmd pingpong`: our driver at one end, ibv_rc_pingpong of rdma-core (or this command) at the other.
//!
//! ```text
//!  this process                                        ibv_rc_pingpong, anywhere
//!    exchange   --------- TCP: LID:QPN:PSN:GID ---------   client or server
//!    game       ===== queue pair: SENDs, checked ======    ibv_post_send, ibv_poll_cq
//!      | any back end of a NIC: mlx5 writes the queue entries itself, verbs goes through libibverbs
//! ```
//! That the two understand each other shows that addresses, connection attributes and every byte of a SEND are what
//! other software expects. Options are those of ibv_rc_pingpong.
#![allow(unsafe_code)] // registers memory

use std::{thread, time::Duration};

use clap::Args;
use pmd_core::memory::Access;
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig},
    mlx5::Mlx5Backend,
    nic::{Device, GidChoice, LinkLayer, NicBackendOptions, NicOptions},
    verbs::VerbsBackend,
};
use pmd_sys::Mlx5;
use thiserror::Error;

use crate::{
    memory::{Memory, Owner},
    outcome::{self, Outcome},
};

mod address;
mod content;
mod error;
mod exchange;
mod game;
mod report;

use address::Address;
pub(crate) use error::PingpongError;
use exchange::Exchange;
use game::{Game, Rules, Side};
use report::Report;

/// How long a client keeps its queue pair after its last message: the server may repeat its own until it hears that
/// it came, and a queue pair that is gone says nothing.
const LINGER: Duration = Duration::from_millis(200);

/// Arguments of `pmd pingpong`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server to connect to; without it, be the server.
    host: Option<String>,
    /// TCP port over which addresses are exchanged.
    #[arg(short, long, default_value_t = 18515)]
    port: u16,
    /// NIC by its name; by default the first that can be used.
    #[arg(short, long, visible_alias = "ib-dev")]
    device: Option<String>,
    /// Port of the NIC; by default the first active one.
    #[arg(short = 'i', long, value_parser = clap::value_parser!(u8).range(1..))]
    ib_port: Option<u8>,
    /// Bytes of a message.
    #[arg(short, long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    size: u32,
    /// Path MTU: 256, 512, 1024, 2048 or 4096; the same on both sides.
    #[arg(short, long, default_value = "1024", value_parser = mtu)]
    mtu: u16,
    /// Receives to keep posted.
    #[arg(short, long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    rx_depth: u32,
    /// Exchanges.
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    iters: u64,
    /// Service level.
    #[arg(short = 'l', long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=15))]
    sl: u8,
    /// Sleep until there is an event, rather than poll.
    #[arg(short, long)]
    events: bool,
    /// Index of the port's GID; by default the best one on Ethernet, and none on InfiniBand.
    #[arg(short, long)]
    gid_idx: Option<u32>,
    /// As ibv_rc_pingpong's: accepted, but every message is checked without it as well.
    #[arg(short, long)]
    chk: bool,
    /// Which back end drives the NIC; `auto` takes mlx5 where it can.
    #[arg(long, value_enum, default_value_t = TransportChoice::Auto)]
    transport: TransportChoice,
    /// Longest wait for the peer, in seconds. A server waits for its client for ever.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TransportChoice {
    Auto,
    Mlx5,
    Verbs,
}

/// Plays to the end with one peer.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, PingpongError> {
    let gid = arguments.gid_idx.map_or(GidChoice::Auto, GidChoice::Index);
    let device =
        Device::open(&NicOptions { device: arguments.device.clone(), port: arguments.ib_port, gid })?;
    let limit = device.port().max_message;
    if arguments.size > limit {
        let device = device.name().to_owned();
        return Err(PingpongError::Size { device, size: arguments.size, limit });
    }
    let drives_mlx5 = match arguments.transport {
        TransportChoice::Mlx5 => true,
        TransportChoice::Verbs => false,
        TransportChoice::Auto => device.is_mlx5() && Mlx5::load().is_ok(),
    };
    let options = NicBackendOptions::default();
    let report = if drives_mlx5 {
        play(Mlx5Backend::new(device.clone(), &options)?, &device, arguments)
    } else {
        play(VerbsBackend::new(device.clone(), &options)?, &device, arguments)
    }?;
    if arguments.json {
        outcome::print_json(&report);
    } else {
        outcome::print(&report.text());
    }
    Ok(Outcome::Done)
}

/// Plays over an open back end.
fn play<B: Backend>(mut backend: B, device: &Device, arguments: &Arguments) -> Result<Report, PingpongError> {
    let rules = arguments.rules();
    let transport = backend.transport();
    let config = QueuePairConfig {
        send_slots: 16,
        receives: rules.receives,
        sges: 1,
        inline_bytes: game::INLINE,
        shared_receive: None,
    };
    let queue_pair = backend.create_queue_pair(&config)?;
    let QueuePairAddress::Fabric(mine) = backend.address(queue_pair)? else {
        return Err(PingpongError::NoFabric(transport));
    };
    let is_ethernet = device.port().link_layer == LinkLayer::Ethernet;
    let local = Address::of(&mine, is_ethernet || arguments.gid_idx.is_some());
    outcome::print(&format!("local address:  {local}\n"));
    let memory = memory(device, rules.memory())?;
    let begin = |remote: Address| {
        outcome::print(&format!("remote address: {remote}\n"));
        if is_ethernet && remote.gid.is_unspecified() {
            return Err(PingpongError::NoRemoteGid);
        }
        let remote = QueuePairAddress::Fabric(remote.fabric(arguments.mtu));
        backend.connect(queue_pair, &remote, &arguments.options())?;
        Game::new(rules, backend, queue_pair, memory)
    };
    let mut game = match &arguments.host {
        Some(host) => join(host, arguments, &local, begin)?,
        None => serve(arguments, &local, begin)?,
    };
    let played = game.play()?;
    if rules.side == Side::Client {
        thread::sleep(LINGER);
    }
    Ok(Report::new(transport, device.name(), &rules, played))
}

/// The client's exchange. Its receives are posted before it acknowledges: nothing can come earlier.
fn join<G>(
    host: &str,
    arguments: &Arguments,
    local: &Address,
    begin: impl FnOnce(Address) -> Result<G, PingpongError>,
) -> Result<G, PingpongError> {
    let mut exchange = Exchange::connect(host, arguments.port, arguments.patience())?;
    exchange.tell(local)?;
    let game = begin(exchange.hear()?)?;
    exchange.finish()?;
    Ok(game)
}

/// The server's exchange. Its receives are posted before it tells its address.
fn serve<G>(
    arguments: &Arguments,
    local: &Address,
    begin: impl FnOnce(Address) -> Result<G, PingpongError>,
) -> Result<G, PingpongError> {
    let listener = exchange::listen(arguments.port)?;
    outcome::print(&format!("waiting for ibv_rc_pingpong on port {}\n", arguments.port));
    let mut exchange = Exchange::accept(&listener, arguments.patience())?;
    drop(listener);
    let game = begin(exchange.hear()?)?;
    exchange.tell(local)?;
    exchange.finished()?;
    Ok(game)
}

/// Registered memory of this side. Peers of a ping-pong write only into what is posted.
fn memory(device: &Device, length: u64) -> Result<Memory, PingpongError> {
    let mut owner = Owner::heap(length);
    let address = owner.base().addr() as u64;
    // SAFETY: `Memory` keeps the owner for as long as the region and reaches its bytes by pointer only.
    let region = unsafe { device.register(address, length, Access::LOCAL_WRITE) }?;
    Ok(Memory::new(region, owner))
}

impl Arguments {
    fn rules(&self) -> Rules {
        Rules {
            side: if self.host.is_some() { Side::Client } else { Side::Server },
            size: self.size,
            turns: self.iters,
            receives: self.rx_depth,
            events: self.events,
            patience: self.patience(),
        }
    }

    fn options(&self) -> ConnectOptions {
        ConnectOptions { mtu: Some(self.mtu), service_level: self.sl, ..ConnectOptions::default() }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// A path MTU that InfiniBand has.
fn mtu(text: &str) -> Result<u16, WrongMtu> {
    match text.parse() {
        Ok(bytes @ (256 | 512 | 1024 | 2048 | 4096)) => Ok(bytes),
        _ => Err(WrongMtu),
    }
}

/// A number of bytes that is no path MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a path MTU is 256, 512, 1024, 2048 or 4096")]
struct WrongMtu;
