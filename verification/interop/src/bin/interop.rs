//! `interop`: all ping-pongs with ibv_rc_pingpong and all exchanges with the verbs peer, on a device of this machine.
//!
//! ```text
//! interop --device rxe0 --peer-device rxe1 --transport verbs --pmd ./pmd --peer ./peer [PART OF A NAME]...
//! ```
//! Answers like a test program. Exit codes: 0 all passed, 1 something failed or nothing was run, 2 wrong usage, 3 the
//! device is not there.

use std::{env, path::Path, process::ExitCode};

use clap::{Parser, ValueEnum};
use interoperation::{
    exchange,
    harness::Harness,
    peer::PeerOptions,
    pingpong::{self, PingpongOptions},
    side::gid_index,
};
use pmd_host::{
    mlx5::Mlx5Backend,
    nic::{Device, NicBackendOptions, NicOptions, OpenError},
    verbs::VerbsBackend,
};

/// Plays and exchanges data with software that is not ours.
#[derive(Debug, Parser)]
#[command(name = "interop")]
struct Command {
    /// The device that our driver drives.
    #[arg(long)]
    device: String,
    /// The device of the other side; by default the same.
    #[arg(long)]
    peer_device: Option<String>,
    /// Our back ends, one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Transport::Verbs])]
    transport: Vec<Transport>,
    /// The built `pmd`; by default the one beside this program.
    #[arg(long)]
    pmd: Option<String>,
    /// The compiled peer.c; without it there are ping-pongs only.
    #[arg(long)]
    peer: Option<String>,
    /// Run only checks whose name contains one of these.
    only: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    Mlx5,
    Verbs,
}

fn main() -> ExitCode {
    let command = Command::parse();
    let peer_device = command.peer_device.as_ref().unwrap_or(&command.device);
    match (open(&command.device), open(peer_device)) {
        (Ok(device), Ok(peer_device)) => run(&command, &device, &peer_device),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("interop: {error}");
            ExitCode::from(3)
        }
    }
}

fn run(command: &Command, device: &Device, peer_device: &Device) -> ExitCode {
    let mut harness = Harness::new(command.only.clone());
    let pmd = command.pmd.clone().unwrap_or_else(|| beside_this("pmd"));
    for transport in &command.transport {
        let name = if *transport == Transport::Mlx5 { "mlx5" } else { "verbs" };
        let games = PingpongOptions {
            pmd: pmd.clone(),
            transport: name.to_owned(),
            device: device.name().to_owned(),
            peer_device: peer_device.name().to_owned(),
            peer_gid_index: gid_index(peer_device),
        };
        pingpong::check(&mut harness, &games);
        if let Some(program) = &command.peer {
            exchange(&mut harness, *transport, name, device, &peer_options(program, peer_device));
        }
    }
    harness.finish()
}

fn exchange(harness: &mut Harness, transport: Transport, name: &str, device: &Device, peer: &PeerOptions) {
    let options = NicBackendOptions { completions: 1024 };
    match transport {
        Transport::Mlx5 => exchange::check(harness, name, device, peer, || {
            Mlx5Backend::new(device.clone(), &options).expect("the mlx5 back end")
        }),
        Transport::Verbs => exchange::check(harness, name, device, peer, || {
            VerbsBackend::new(device.clone(), &options).expect("the verbs back end")
        }),
    }
}

fn peer_options(program: &str, device: &Device) -> PeerOptions {
    PeerOptions {
        program: program.to_owned(),
        device: device.name().to_owned(),
        port: device.port().number,
        gid_index: gid_index(device),
    }
}

fn open(name: &str) -> Result<Device, OpenError> {
    Device::open(&NicOptions { device: Some(name.to_owned()), ..NicOptions::default() })
}

/// A program in the folder of this one.
fn beside_this(name: &str) -> String {
    let own = env::current_exe().unwrap_or_default();
    own.parent().unwrap_or(Path::new(".")).join(name).to_string_lossy().into_owned()
}
