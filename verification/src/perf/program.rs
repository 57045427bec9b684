//! Runs one side of a row and reads its figure. Called by the command for every round.

use std::{io, path::PathBuf, thread, time::Duration};

use serde_json::Value;

use super::copy::CopyLoop;
use crate::{
    connectx::ConnectxError,
    install::InstallError,
    process::{Ended, Task},
    suite::Workspace,
};

/// How long one measurement may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a client is started before its server counts as not there.
const ATTEMPTS: u32 = 10;

/// How long a server has before the next attempt.
const PAUSE: Duration = Duration::from_millis(300);

/// Cores of a peer's server and client, as `pmd perf` takes them for itself.
const CORES: [&str; 2] = ["1", "0"];

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// The program is not installed.
    #[error("{program} is not on this machine: {hint}")]
    Missing {
        /// Its name.
        program: String,
        /// What to do.
        hint: String,
    },
    /// It ran and failed.
    #[error("{line}: {how}\n{output}")]
    Failed {
        /// Its command line.
        line: String,
        /// How it ended.
        how: String,
        /// What it wrote.
        output: String,
    },
    /// It does not say what was looked for.
    #[error("{line} says no {what}:\n{output}")]
    Silent {
        /// Its command line.
        line: String,
        /// What was looked for.
        what: String,
        /// What it wrote.
        output: String,
    },
    /// The system does not let it start.
    #[error("{line} does not start: {error}")]
    Start {
        /// Its command line.
        line: String,
        /// What the system said.
        error: io::Error,
    },
    /// The page cannot be written.
    #[error("{} cannot be written: {error}", file.display())]
    Report {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Peers cannot be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// There is no simulated device.
    #[error(transparent)]
    Connectx(#[from] ConnectxError),
}

impl ProgramError {
    /// Whether something is not on this machine, rather than wrong.
    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Install(_))
    }

    /// 3 for what is not on this machine, else 1.
    pub(super) const fn exit_code(&self) -> u8 {
        if self.is_missing() { 3 } else { 1 }
    }

    fn failed(line: String, ended: Ended) -> Self {
        Self::Failed { line, how: ended.describe(), output: ended.output }
    }
}

/// A command of this repository whose last line is an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Own {
    /// `pmd`, `kv` or `af`.
    pub(super) program: &'static str,
    /// Its arguments, with spaces between them; `--json` is added.
    pub(super) arguments: &'static str,
    /// Members of the object whose sum is the figure.
    pub(super) keys: &'static [&'static str],
    /// What the sum is multiplied with, to have it in the row's unit.
    pub(super) scale: f64,
}

impl Own {
    /// The command line, as one would type it.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.program, self.arguments)
    }

    /// Runs it and gives its figure.
    pub(super) fn figure(&self, workspace: &Workspace) -> Result<f64, ProgramError> {
        let object = self.object(workspace)?;
        let silent = |what: &str| ProgramError::Silent {
            line: self.line(),
            what: what.to_owned(),
            output: object.to_string(),
        };
        if object["verified"] != Value::Bool(true) {
            return Err(silent("\"verified\": true"));
        }
        let figures = self.keys.iter().map(|key| object[*key].as_f64().ok_or_else(|| silent(key)));
        Ok(figures.sum::<Result<f64, _>>()? * self.scale)
    }

    /// Runs it and gives its last line.
    pub(super) fn object(&self, workspace: &Workspace) -> Result<Value, ProgramError> {
        let program = workspace.target.join("release").join(self.program);
        let task = Task::new(program, &workspace.root).args(self.arguments.split_whitespace());
        let ended = finish(task.args(["--json"]))?;
        let last = ended.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| ProgramError::Silent {
            line: self.line(),
            what: "object on its last line".to_owned(),
            output: ended.output.clone(),
        })
    }
}

/// What ours is set beside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Peer {
    /// ucx_perftest: a test, bytes of a message, iterations, what UCX may use.
    Ucx { test: &'static str, size: u32, iterations: u32, transports: &'static str },
    /// iperf3 with one stream over loopback, GB/s.
    Iperf,
    /// A memcpy loop, microseconds of an iteration.
    CopyTime(CopyLoop),
    /// A memcpy loop, GB/s.
    CopyRate(CopyLoop),
    /// Another figure of a command of ours.
    Own(Own),
    /// A figure that is a goal by itself.
    Limit(f64),
}

impl Peer {
    /// Debian's package that has it.
    pub(super) const fn package(&self) -> Option<&'static str> {
        match self {
            Self::Ucx { .. } => Some("ucx-utils"),
            Self::Iperf => Some("iperf3"),
            Self::CopyTime(_) | Self::CopyRate(_) | Self::Own(_) | Self::Limit(_) => None,
        }
    }

    /// What it is, as a line.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Ucx { test, size, transports, .. } => {
                format!("UCX_TLS={transports} ucx_perftest -t {test} -s {size}")
            }
            Self::Iperf => "iperf3".to_owned(),
            Self::CopyTime(copy) | Self::CopyRate(copy) => {
                format!("memcpy of {} x {} bytes", copy.blocks, copy.block_bytes)
            }
            Self::Own(own) => format!("{} of {}", own.keys.join(" + "), own.line()),
            Self::Limit(limit) => format!("{limit}"),
        }
    }

    /// Runs it and gives its figure, in the row's unit.
    pub(super) fn figure(&self, workspace: &Workspace) -> Result<f64, ProgramError> {
        match *self {
            Self::Ucx { test, size, iterations, transports } => ucx(test, size, iterations, transports),
            Self::Iperf => iperf(),
            Self::CopyTime(copy) => Ok(copy.microseconds()),
            Self::CopyRate(copy) => Ok(copy.gigabytes()),
            Self::Own(own) => own.figure(workspace),
            Self::Limit(limit) => Ok(limit),
        }
    }
}

/// Builds the commands of this repository for release.
pub(super) fn build(workspace: &Workspace) -> Result<(), ProgramError> {
    let packages = ["-p", "kv-api", "-p", "af-api", "-p", "pmd-tools"];
    let task = workspace.cargo().args(["build", "--release", "--bins"]).args(packages);
    finish(task.limit(Duration::from_secs(1200)))?;
    Ok(())
}

fn ucx(test: &str, size: u32, iterations: u32, transports: &str) -> Result<f64, ProgramError> {
    ucx_percentile(test, size, iterations, transports, 50.0)
}

/// As a row's figure, at another percentile of a latency than the median.
pub(super) fn ucx_percentile(
    test: &str,
    size: u32,
    iterations: u32,
    transports: &str,
    percentile: f64,
) -> Result<f64, ProgramError> {
    let program = "ucx_perftest";
    let port = free_port(program)?;
    let prepare = |core: &str| {
        let task = Task::new("taskset", "/").args(["-c", core, program, "-p", &port]);
        task.env("UCX_TLS", transports).env("UCX_WARN_UNUSED_ENV_VARS", "n")
    };
    let what = ["-t", test, "-s", &size.to_string(), "-n", &iterations.to_string()].map(str::to_owned);
    let what = what.into_iter().chain(["-R".to_owned(), percentile.to_string()]);
    let ended = with_server(program, prepare(CORES[0]), prepare(CORES[1]).args(["127.0.0.1"]).args(what))?;
    let figure = ucx_figure(&ended.output, test.ends_with("_bw"));
    figure.ok_or_else(|| ProgramError::Silent {
        line: format!("ucx_perftest -t {test}"),
        what: "line `Final:`".to_owned(),
        output: ended.output,
    })
}

/// Typical latency in microseconds, or bandwidth in GB/s, of the line `Final:`, whose columns are iterations, latency
/// (typical, average, overall), MB/s in units of 2^20 bytes (average, overall), messages/s.
pub(super) fn ucx_figure(output: &str, bandwidth: bool) -> Option<f64> {
    let line = output.lines().find_map(|line| line.trim_start().strip_prefix("Final:"))?;
    let columns: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    if bandwidth { columns.get(5).map(|rate| rate * 1_048_576.0 / 1e9) } else { columns.get(1).copied() }
}

fn iperf() -> Result<f64, ProgramError> {
    let program = "iperf3";
    let port = free_port(program)?;
    let server = Task::new(program, "/").args(["-s", "-1", "-p", &port, "-A", CORES[0]]);
    let client = Task::new(program, "/");
    let client = client.args(["-c", "127.0.0.1", "-p", &port, "-A", CORES[1], "-t", "3", "-J"]);
    let ended = with_server(program, server, client)?;
    iperf_figure(&ended.stdout).ok_or_else(|| ProgramError::Silent {
        line: program.to_owned(),
        what: "end.sum_received.bits_per_second".to_owned(),
        output: ended.output,
    })
}

/// GB/s that the receiver of iperf3's report has seen.
pub(super) fn iperf_figure(report: &str) -> Option<f64> {
    let report: Value = serde_json::from_str(report).ok()?;
    report["end"]["sum_received"]["bits_per_second"].as_f64().map(|bits| bits / 8e9)
}

/// Runs a client beside its server, again while the server is not there yet; both have ended when this returns.
fn with_server(program: &str, server: Task, client: Task) -> Result<Ended, ProgramError> {
    present(program)?;
    thread::scope(|scope| {
        // A server leaves with its one client; without one its time is over soon.
        let serving = scope.spawn(|| server.clone().limit(LIMIT / 2).run(&mut |_| ()));
        let mut attempts = 0;
        loop {
            thread::sleep(PAUSE);
            attempts += 1;
            let ended = finish(client.clone());
            if ended.is_ok() || attempts == ATTEMPTS || serving.is_finished() {
                return ended;
            }
        }
    })
}

/// Runs a command that has to succeed.
pub(super) fn finish(task: Task) -> Result<Ended, ProgramError> {
    let line = task.line();
    match task.run(&mut |_| ()) {
        Ok(ended) if ended.succeeded() => Ok(ended),
        Ok(ended) => Err(ProgramError::failed(line, ended)),
        Err(error) => Err(ProgramError::Start { line, error }),
    }
}

/// An error that names the package where a peer's program is not installed.
fn present(program: &str) -> Result<(), ProgramError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Ok(());
    }
    let hint = "`perf --install` brings it, as root".to_owned();
    Err(ProgramError::Missing { program: program.to_owned(), hint })
}

/// A port of loopback that nobody listens on.
fn free_port(program: &str) -> Result<String, ProgramError> {
    let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let failed = |error| ProgramError::Start { line: program.to_owned(), error };
    Ok(bound.map_err(failed)?.port().to_string())
}
