//! Every example of `kv-api` on every device: the table of both, and what runs a row of it.
//!
//! | language | shared memory | ConnectX, `mlx5` | ConnectX, `verbs` | soft-RoCE |
//! |---|---|---|---|---|
//! | Rust | `unit`: tests of `kv-api` | `connectx` | `connectx` | `softroce` |
//! | C, C++ | `capi` | `capi` | `capi` | `softroce` |
//! | Python | `python`: the package's tests | `python` | `python` | see [`Example::left_out`] |
//!
//! The suites of that name build the examples; the table's cells are [`list::EXAMPLES`] for each of [`Device`]. Examples
//! have no options for transports: they take theirs from the environment.
//!
//! ```text
//! list (calls, what they write) ─→ script (one for the shell) ─┬─→ run (here, some at once; a device simulated)
//!                                                              └─→ softroce (steps in the guest)
//! ```

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::accelerators::Runtime;
use crate::connectx::{Settings, Simulated};
use crate::count::Tally;
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

pub(crate) use list::{EXAMPLES, Example, Language};
pub(crate) use script::script;

mod list;
mod script;

/// How long an example may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How many examples run at once: each is two processes that mostly wait for each other.
const AT_ONCE: usize = 4;

/// Ports that an example may use, in a row.
pub(crate) const PORTS: u16 = 6;

/// Where ports are looked for, below those that the system gives away by itself.
const PORT_RANGE: std::ops::Range<u16> = 10_000..32_000;

/// What an example's transfers go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// The soft HCA, within this host.
    SharedMemory,
    /// The simulated ConnectX, with this driver's own queues.
    Mlx5,
    /// The simulated ConnectX, through libibverbs.
    Verbs,
    /// The first of the guest's soft-RoCE devices.
    SoftRoce,
}

impl Device {
    /// Those of a simulated ConnectX.
    pub(crate) const CONNECTX: [Self; 2] = [Self::Mlx5, Self::Verbs];

    /// What tells an example to use it, and no other.
    pub(crate) fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::SharedMemory => &[("PMD_TRANSPORT", "shm")],
            Self::Mlx5 => &[("PMD_TRANSPORT", "mlx5"), ("PMD_DEVICE", "mlx5_0")],
            Self::Verbs => &[("PMD_TRANSPORT", "verbs"), ("PMD_DEVICE", "mlx5_0")],
            Self::SoftRoce => &[("PMD_TRANSPORT", "verbs"), ("PMD_DEVICE", "rxe0")],
        }
    }

    /// What a report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "shared memory",
            Self::Mlx5 => "a simulated ConnectX, mlx5",
            Self::Verbs => "a simulated ConnectX, verbs",
            Self::SoftRoce => "soft-RoCE",
        }
    }
}

/// An example that has been built, with the words for the shell that run each of its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runnable {
    /// Which.
    pub(crate) example: &'static Example,
    /// A program, or an interpreter and its script.
    pub(crate) commands: Vec<String>,
}

impl Runnable {
    /// One whose processes are all the same program.
    pub(crate) fn new(example: &'static Example, command: &str) -> Self {
        Self { example, commands: vec![command.to_owned(); example.calls.len()] }
    }

    /// Whether it has memory on an accelerator.
    pub(crate) fn is_on_accelerator(&self) -> bool {
        self.example.language == Language::CppAscend
    }

    /// Its name among others, in one word.
    pub(crate) fn name(&self) -> String {
        format!("{:?}/{}", self.example.language, self.example.program).to_lowercase()
    }
}

/// Examples of some languages.
pub(crate) fn of(languages: &[Language]) -> impl Iterator<Item = &'static Example> {
    EXAMPLES.iter().filter(|example| languages.contains(&example.language))
}

/// What builds the examples in Rust, for the whole workspace as `unit` does: the libraries are then the same.
pub(crate) fn build_rust(workspace: &Workspace) -> Task {
    workspace.cargo().args(["build", "--workspace", "--examples"])
}

/// The examples in Rust, once they have been built.
pub(crate) fn rust(workspace: &Workspace) -> impl Iterator<Item = Runnable> {
    let folder = workspace.target.join("debug/examples");
    let command = move |example: &Example| format!("'{}'", folder.join(example.program).display());
    of(&[Language::Rust]).map(move |example| Runnable::new(example, &command(example)))
}

/// Runs examples on devices of this machine, each once, some at the same time.
pub(crate) fn run(
    workspace: &Workspace,
    journal: &mut Journal<'_>,
    devices: &[Device],
    runnables: &[Runnable],
    limit: Duration,
) -> Tally {
    let simulated = devices.iter().any(|device| Device::CONNECTX.contains(device));
    let simulated = simulated.then(|| Simulated::new(workspace, &Settings::default(), journal.watch()));
    let simulated = match simulated.transpose() {
        Ok(simulated) => simulated,
        Err(error) => return failed(journal, &error.to_string()),
    };
    let jobs = match jobs(workspace, devices, runnables, simulated.as_ref()) {
        Ok(jobs) => jobs,
        Err(error) => return failed(journal, &format!("no free ports: {error}")),
    };
    let mut tally = Tally::default();
    work_off(jobs, limit, |done| tally += judge(&done, journal));
    if let Some(simulated) = simulated {
        tally += inspect(&simulated, journal);
    }
    tally
}

/// An example on a device.
struct Job {
    name: String,
    task: Task,
}

/// How it went.
struct Done {
    name: String,
    ended: io::Result<Ended>,
    time: Duration,
}

fn jobs(
    workspace: &Workspace,
    devices: &[Device],
    runnables: &[Runnable],
    simulated: Option<&Simulated>,
) -> io::Result<VecDeque<Job>> {
    let pairs = devices.iter().flat_map(|device| runnables.iter().map(move |one| (*device, one)));
    let pairs: Vec<_> = pairs.filter(|(device, one)| one.example.left_out(*device).is_none()).collect();
    let first = free_ports(pairs.len() as u16 * PORTS)?;
    let ports = (first..).step_by(PORTS.into());
    let job = |((device, runnable), port): ((Device, &Runnable), u16)| {
        let script = script(runnable, device, port);
        let task = Task::new("sh", &workspace.root).args(["-eu", "-c", &script]);
        let task = match device {
            Device::SharedMemory if runnable.is_on_accelerator() => {
                task.env("LD_LIBRARY_PATH", Runtime::Ascend.folder(workspace))
            }
            _ => task,
        };
        let simulated = simulated.filter(|_| Device::CONNECTX.contains(&device));
        let variables = simulated.map(Simulated::environment).unwrap_or_default();
        let task = variables.into_iter().fold(task, |task, (name, value)| task.env(name, value));
        Job { name: format!("{} on {}", runnable.name(), device.name()), task }
    };
    Ok(pairs.into_iter().zip(ports).map(job).collect())
}

/// Takes jobs from the front until there are none, or no time.
fn work_off(jobs: VecDeque<Job>, limit: Duration, mut hear: impl FnMut(Done)) {
    let deadline = Instant::now() + limit;
    let (jobs, (sender, done)) = (Mutex::new(jobs), channel());
    let next = || jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for sender in std::iter::repeat_n(sender, AT_ONCE) {
            scope.spawn(move || {
                while let Some(Job { name, task }) = next() {
                    let start = Instant::now();
                    let left = deadline.saturating_duration_since(start);
                    let ended = task.limit(LIMIT.min(left)).run(&mut |_| {});
                    // Whoever hears it does so until all senders are gone.
                    let _ = sender.send(Done { name, ended, time: start.elapsed() });
                }
            });
        }
        done.iter().for_each(&mut hear);
    });
}

fn judge(done: &Done, journal: &mut Journal<'_>) -> Tally {
    let how = match &done.ended {
        Ok(ended) if ended.succeeded() && ended.left_behind.is_empty() => {
            journal.line(format!("ok      {} [{:.1} s]", done.name, done.time.as_secs_f64()));
            return Tally { passed: 1, ..Tally::default() };
        }
        Ok(ended) => {
            journal.output(&ended.output);
            format!("{}, left running: [{}]", ended.describe(), ended.left_behind.join(", "))
        }
        Err(error) => format!("does not start: {error}"),
    };
    failed(journal, &format!("{}: {how}", done.name))
}

/// Whether the device was used as hardware would have it.
pub(crate) fn inspect(simulated: &Simulated, journal: &mut Journal<'_>) -> Tally {
    match simulated.counters() {
        Ok(counters) if counters.violations == 0 && counters.work_requests > 0 => {
            Tally { passed: 1, ..Tally::default() }
        }
        Ok(counters) => failed(
            journal,
            &format!("{} work requests and {} broken rules", counters.work_requests, counters.violations),
        ),
        Err(error) => failed(journal, &error.to_string()),
    }
}

fn failed(journal: &mut Journal<'_>, problem: &str) -> Tally {
    journal.fail(format!("FAILED  {problem}"));
    Tally { failed: 1, ..Tally::default() }
}

/// The first of some ports in a row that nobody listens on. Another run of the same suite begins elsewhere.
pub(crate) fn free_ports(count: u16) -> io::Result<u16> {
    let span = PORT_RANGE.end - PORT_RANGE.start - count;
    let offset = (std::process::id().wrapping_mul(997) % u32::from(span)) as u16;
    let mut error = io::Error::from(io::ErrorKind::AddrInUse);
    let mut first = PORT_RANGE.start + offset;
    for _ in 0..span {
        let listen = |port| TcpListener::bind(("127.0.0.1", port));
        match (first..first + count).map(listen).collect::<Result<Vec<_>, _>>() {
            Ok(_) => return Ok(first),
            Err(refused) => error = refused,
        }
        first = if first + count < PORT_RANGE.end { first + 1 } else { PORT_RANGE.start };
    }
    Err(error)
}

#[cfg(test)]
mod tests;
