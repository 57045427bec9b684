//! `af scheduler`, `af server` and `af worker`: the demo's processes, started by hand on several hosts.
//!
//! ```text
//!  host A: af scheduler --listen A:7800 --workers 2 --servers 1
//!  host B: af server --scheduler A:7800 --listen B:0 --workers 2 --rank 0
//!  host C: af worker --scheduler A:7800 --workers 2 --rank 0         (and D, with --rank 1)
//! ```
//! All of them take the same `--workers`, `--servers` and sizes. A server goes when no worker is left, the scheduler when
//! nobody is.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use af_api::{
    config::{Config, ProcessRole},
    rendezvous::Scheduler,
};
use clap::Args;
use pmd_host::security::command::security;

use super::{RoleArguments, server, summary, text, worker};
use crate::{
    Outcome,
    cluster::{Directory, Size, fail_if_down},
    options::{LOOPBACK, PATIENCE},
};

/// `af scheduler`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SchedulerArguments {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    directory: Directory,
    /// Address and port to listen on. Whoever reaches it can take a place: use a trusted network, or --key-file.
    #[arg(long, default_value = "127.0.0.1:7800", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

/// `af server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Address and port that workers connect to. Whoever reaches it can push: use a trusted network, or --key-file.
    #[arg(long, default_value_t = LOOPBACK, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    #[command(flatten)]
    role: RoleArguments,
}

/// `af worker`.
#[derive(Debug, Args)]
pub(crate) struct WorkerArguments {
    /// Print one JSON object as the last line instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    role: RoleArguments,
}

/// Runs the scheduler until everybody has come and gone. A member that went down is a failure.
pub(crate) fn schedule(arguments: &SchedulerArguments) -> Outcome {
    let SchedulerArguments { size: Size { workers, servers }, ref directory, listen } = *arguments;
    let mut config = Config::new(ProcessRole::Scheduler, workers, servers, listen);
    config.endpoint.security = security();
    let scheduler = Scheduler::start(&directory.configure(config)?)?;
    say(&format!("listening on {}", scheduler.local_address()));
    while scheduler.wait_formed(PATIENCE).is_err() {}
    say("everybody is here");
    while !scheduler.wait_finished(PATIENCE) {}
    fail_if_down(&scheduler.members())
}

/// Says a line for which whoever starts the command may wait.
fn say(line: &str) {
    // Nobody may be reading.
    let _ = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush());
}

/// Runs a server: all layers, then it stays until no worker is left.
pub(crate) fn serve_alone(arguments: &ServerArguments) -> Outcome {
    server::serve(&arguments.role, arguments.listen)?.leave_after_workers()
}

/// Runs a worker: all layers, then it tells what it saw.
pub(crate) fn work_alone(arguments: &WorkerArguments) -> Outcome {
    let RoleArguments { place, shape, common } = &arguments.role;
    let (report, member) = worker::work(&arguments.role)?;
    member.leave()?;
    let size = Size { workers: 1, ..place.size };
    if arguments.json {
        println!("{}", summary(size, shape, common.device_name(), &[report]));
    } else {
        println!("{}", text(size, shape, place.rank, &[report]));
    }
    Ok(())
}
