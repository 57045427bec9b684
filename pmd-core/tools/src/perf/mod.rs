//! `pmd perf`: the driver's speed, in perftest's vocabulary.
//!
//! ```text
//!  client (this process)                              server (this command again, or `--listen` elsewhere)
//!    Measure, a Task over any Backend  -- control plane: plan, endpoints, rounds --   Serve, the same
//!    latency | bandwidth               ==============  queue pair  ==============    latency | its memory
//!    statistics, report
//!
//!  cpu: post and poll need no second process
//! ```
//! The measuring code is generic over [`pmd_host::backend::Backend`]: every transport takes the same path, and no
//! lane is in between.

use std::net::SocketAddr;

use clap::{Args, error::ErrorKind};
use pmd_host::backend::Transport;
use thiserror::Error;

use crate::{
    Failure,
    outcome::{self, Outcome},
};

mod bandwidth;
mod child;
mod client;
mod cores;
mod cpu;
mod error;
pub(crate) mod fabric;
mod latency;
mod link;
mod peer;
pub(crate) mod plan;
mod progress;
mod report;
mod server;
mod side;

use client::Measure;
use cores::Cores;
pub(crate) use error::PerfError;
use fabric::Chosen;
use peer::{Peer, Waiting};
use plan::{Idle, MemoryChoice, Plan, Test};

/// Arguments of `pmd perf`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure.
    #[arg(value_enum, required_unless_present_any = ["listen", "child_of"])]
    test: Option<Test>,
    /// Bytes of a message; K, M and G are binary.
    #[arg(short, long, default_value = "8", value_parser = message_size, conflicts_with = "all_sizes")]
    size: u32,
    /// Every power of two from 2 bytes to 8 MiB.
    #[arg(short, long)]
    all_sizes: bool,
    /// Measured iterations; by default chosen by test and size.
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    iters: Option<u64>,
    /// What carries the bytes; `auto` takes a NIC, and shared memory where there is none.
    #[arg(long, value_enum, default_value_t = TransportChoice::Auto)]
    transport: TransportChoice,
    /// NIC by its name; by default the first that can be used.
    #[arg(long)]
    device: Option<String>,
    /// Where the bytes lie.
    #[arg(long, value_enum, default_value_t = MemoryChoice::Arena)]
    memory: MemoryChoice,
    /// Requests in flight (bandwidth).
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
    queue_depth: u32,
    /// Requests per doorbell and completion (bandwidth).
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Payloads up to this size are copied into the queue entry: by default 128 bytes on a NIC, which saves it a
    /// fetch over the bus, and none on the soft HCA, which has nothing to save.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=512))]
    inline: Option<u32>,
    /// Memory that a bandwidth test walks through; smaller than a message is one message, as with perftest.
    #[arg(long, default_value = "4K", value_parser = bytes)]
    footprint: u64,
    /// What to do while there is nothing to do: by default spin where there are two cores.
    #[arg(long, value_enum)]
    idle: Option<Idle>,
    /// Core of this process, then of the one that it starts: by default the first two allowed.
    #[arg(long, value_delimiter = ',', num_args = 1..=2)]
    cores: Vec<usize>,
    /// Be the server of one client in another shell; everything but --cores is the client's choice.
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["test", "connect"])]
    listen: Option<SocketAddr>,
    /// Measure with the server that listens here, rather than start one.
    #[arg(long, value_name = "ADDR:PORT")]
    connect: Option<SocketAddr>,
    /// Set by the process that starts this one.
    #[arg(long, hide = true, requires = "connect")]
    child_of: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TransportChoice {
    Auto,
    Shm,
    Mlx5,
    Verbs,
    Tcp,
}

/// Measures, or serves one that measures.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, PerfError> {
    match (arguments.child_of, arguments.connect, arguments.listen, arguments.test) {
        (Some(parent), Some(client), _, _) => {
            cores::pin(arguments.cores.first().copied())?;
            let served = server::serve(child::connect(parent, client)?, arguments.device.clone());
            // The parent has been told why, and tells the user.
            return Ok(served.map_or_else(|error| error.outcome(), |()| Outcome::Done));
        }
        (_, _, Some(address), _) => listen(address, arguments)?,
        (_, _, _, Some(test)) if test.is_cpu_cost() => return cpu::run(test, arguments),
        (_, remote, _, Some(test)) => measure(test, remote, arguments)?,
        _ => unnamed(),
    }
    Ok(Outcome::Done)
}

fn measure(test: Test, remote: Option<SocketAddr>, arguments: &Arguments) -> Result<(), PerfError> {
    let chosen = Chosen::new(arguments.transport, arguments.device.clone())?;
    let plan = arguments.plan(test, chosen.transport);
    let (peer, server) = match remote {
        Some(remote) => {
            cores::pin(arguments.cores.first().copied())?;
            (Waiting::start("pmd perf client".into(), None)?.connect(remote)?, None)
        }
        None => {
            let cores = Cores::choose(&arguments.cores);
            let (peer, server) = child::start(cores.peer, arguments.device.as_ref())?;
            cores::pin(cores.own)?;
            (peer, Some(server))
        }
    };
    let measurements = chosen.run(Measure { peer, plan })?;
    drop(server);
    match measurements.as_slice() {
        [only] if arguments.json => outcome::print_json(only),
        results if arguments.json => {
            outcome::print_json(&report::Sizes { op: test.name(), verified: true, results });
        }
        results => outcome::print(&report::table(results)),
    }
    Ok(())
}

fn listen(address: SocketAddr, arguments: &Arguments) -> Result<(), PerfError> {
    let mut waiting = Waiting::start("pmd perf server".into(), Some(address))?;
    let address = waiting.address().unwrap_or(address);
    outcome::print(&format!("listening on {address}: pmd perf TEST --connect {address}\n"));
    cores::pin(arguments.cores.first().copied())?;
    let peer: Peer = loop {
        waiting = match waiting.accept(peer::PATIENCE, |_| true)? {
            Ok(peer) => break peer,
            Err(waiting) => waiting,
        };
    };
    server::serve(peer, arguments.device.clone())
}

impl Arguments {
    fn plan(&self, test: Test, transport: Transport) -> Plan {
        let two = cores::allowed().len() > 1;
        Plan {
            test,
            sizes: if self.all_sizes { plan::all_sizes() } else { vec![self.size] },
            iterations: self.iters,
            memory: self.memory,
            idle: self.idle.unwrap_or(if two { Idle::Spin } else { Idle::Yield }),
            queue_depth: self.queue_depth,
            batch: self.batch.min(self.queue_depth),
            inline_bytes: self.inline_bytes(transport),
            footprint: self.footprint,
        }
    }

    /// Longest payload that is copied into the queue entry.
    fn inline_bytes(&self, transport: Transport) -> u32 {
        let by_default = if transport == Transport::SharedMemory { 0 } else { 128 };
        self.inline.unwrap_or(by_default)
    }
}

/// Clap asks for a test wherever one is needed; ends the process as clap does.
fn unnamed() {
    clap::Error::raw(ErrorKind::MissingRequiredArgument, "a TEST is needed: see pmd perf --help\n").exit()
}

fn message_size(text: &str) -> Result<u32, WrongSize> {
    let size = bytes(text)?;
    u32::try_from(size).ok().filter(|size| *size <= 1 << 30).ok_or(WrongSize::TooLong { size })
}

/// A number of bytes, at least one; `K`, `M`, `G` (also `KiB`, ..) multiply by powers of 1024.
fn bytes(text: &str) -> Result<u64, WrongSize> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(WrongSize::Unit),
    };
    let number: u64 = digits.parse().map_err(|_| WrongSize::Number)?;
    number.checked_mul(1 << shift).filter(|size| *size > 0 && *size <= 1 << 40).ok_or(WrongSize::Number)
}

/// A size that the command line does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum WrongSize {
    #[error("write a size as a number from 1, with K, M or G behind it if you like: 4096, 64K, 1MiB")]
    Number,
    #[error("a size ends in nothing, K, M or G")]
    Unit,
    #[error("a message of {size} bytes: the longest is 1 GiB")]
    TooLong { size: u64 },
}

#[cfg(test)]
mod tests;
