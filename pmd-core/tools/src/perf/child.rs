//! The second process of a test on one host: this command again, as the server. It never outlives the first.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::getppid,
};

use super::{
    error::PerfError,
    peer::{PATIENCE, Peer, Waiting},
};

/// How long a server that was told goodbye may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The server's process; killed and waited for when dropped, if it has not ended by itself.
#[derive(Debug)]
pub(super) struct Server(Child);

/// Starts the server on `core`, with the NIC called `device`, and waits until it has connected.
pub(super) fn start(core: Option<usize>, device: Option<&String>) -> Result<(Peer, Server), PerfError> {
    let mut waiting = Waiting::start("pmd perf client".into(), Some((Ipv4Addr::LOCALHOST, 0).into()))?;
    let address = waiting.address().ok_or(PerfError::OutOfTurn)?;
    let mut server = spawn(address, core, device)?;
    let name = server_name(server.0.id());
    let deadline = Instant::now() + PATIENCE;
    loop {
        waiting = match waiting.accept(Duration::from_millis(50), |identity| identity.name == name)? {
            Ok(peer) => return Ok((peer, server)),
            Err(waiting) => waiting,
        };
        if let Some(status) = server.0.try_wait().map_err(PerfError::Spawn)? {
            return Err(PerfError::Ended { address, status });
        }
        if Instant::now() > deadline {
            return Err(PerfError::Silent(PATIENCE));
        }
    }
}

fn spawn(address: SocketAddr, core: Option<usize>, device: Option<&String>) -> Result<Server, PerfError> {
    let program = env::current_exe().map_err(PerfError::Spawn)?;
    let mut command = Command::new(program);
    command.args(["perf", "--connect", &address.to_string(), "--child-of", &std::process::id().to_string()]);
    if let Some(core) = core {
        command.args(["--cores", &core.to_string()]);
    }
    if let Some(device) = device {
        command.args(["--device", device]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map(Server).map_err(PerfError::Spawn)
}

/// Name under which the server with this process id introduces itself.
fn server_name(process: u32) -> String {
    format!("pmd perf server {process}")
}

/// The server's part: ends with `parent`, and connects to it.
pub(super) fn connect(parent: u32, client: SocketAddr) -> Result<Peer, PerfError> {
    let stopped = |error: nix::Error| PerfError::Spawn(error.into());
    set_pdeathsig(Signal::SIGKILL).map_err(stopped)?;
    // The parent may have ended before the line above: then nothing would end this process.
    if getppid().as_raw().cast_unsigned() != parent {
        return Err(stopped(nix::Error::ESRCH));
    }
    Waiting::start(server_name(std::process::id()), None)?.connect(client)
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        // It may have ended in between; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
