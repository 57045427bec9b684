//! What goes wrong around the device must end cleanly: a peer that is killed, a completion queue that nobody empties,
//! a program that handles the device's signal, forks, or never opens the device.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::expect::Expect;
use super::plan::{LENIENT, STEP, TRAP};
use super::{Failure, Run, on, ours, pair};
use crate::connectx::Simulated;
use crate::count::Count;
use crate::process::Task;

/// Longest for each step.
const LIMIT: Duration = Duration::from_secs(60);
/// Work requests after which a transfer counts as running.
const RUNNING: u64 = 100;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// All of them.
pub(super) fn check(run: &mut Run<'_, '_>) {
    run.on_a_device(STEP, |run, device| {
        let outcome = killed_peer(run, device);
        run.result("a killed peer fails the transfer to it", outcome);
        let outcome = ping_pong(run, device);
        run.result("the device goes on after a peer was killed", outcome);
    });
    odd_programs(run);
    let outcome = without_the_device(run);
    run.result("a program that opens no device is not touched", outcome);
}

/// A program that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The client of a transfer whose server is killed must fail by itself: its retries are over in half a second.
fn killed_peer(run: &mut Run<'_, '_>, device: &Simulated) -> Result<(), Failure> {
    let port = pair::free_port()?.to_string();
    let command = ["ib_write_bw", "-F", "-D", "50", "-p", &port];
    let mut server = Command::new(command[0]);
    server.args(&command[1..]).envs(device.environment()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Running(server.spawn()?);
    let client = run.task(device, &command.join(" "), &["localhost"]).limit(LIMIT);
    let parsed = port.parse().unwrap_or_default();
    wait_for("the server does not listen", || pair::is_listening(parsed))?;
    let client = thread::spawn(move || client.run(&mut |_| {}));
    let before = RUNNING;
    let running = wait_for("no transfer runs", || {
        device.counters().is_ok_and(|counters| counters.work_requests > before) || client.is_finished()
    });
    drop(server);
    let ended =
        client.join().unwrap_or_else(|_| Err(std::io::Error::other("the client's thread panicked")))?;
    running?;
    let failed_by_itself = ended.status.is_some_and(|status| status.code().is_some_and(|code| code != 0));
    let told = Expect::Lines(&["Failed status 12"]).check(&ended.output);
    if failed_by_itself && told.is_ok() {
        return Ok(());
    }
    ended.output.lines().for_each(|line| run.journal.line(line));
    told.map_err(|what| Failure::Output { side: "client", what })?;
    Err(Failure::Ended { side: "client", how: ended.describe() })
}

fn ping_pong(run: &mut Run<'_, '_>, device: &Simulated) -> Result<(), Failure> {
    let port = pair::free_port()?;
    let side = |more: &[&str]| {
        run.task(device, "ibv_rc_pingpong -c -n 100", &[&["-p", port.to_string().as_str()], more].concat())
    };
    let ended = pair::run(side(&[]), &side(&["localhost"]), port, LIMIT)?;
    match ended.client {
        Some(client) if client.succeeded() && ended.server.succeeded() => Ok(()),
        Some(client) => Err(Failure::Ended { side: "client", how: client.describe() }),
        None => Err(Failure::NoServer),
    }
}

/// `connectx`'s own programs: one overruns a completion queue on purpose, and checks the events that tell of it; others
/// handle SIGSEGV themselves, and fork while they have the device open.
fn odd_programs(run: &mut Run<'_, '_>) {
    let Some(path) =
        ours::build(run, "preloaded", &["test", "--no-run", "--workspace", "--test", "preloaded"])
    else {
        return run
            .result("programs that do what they should not", Err(Failure::Counters("no build".to_owned())));
    };
    for bench in [TRAP, STEP] {
        run.on_a_device(bench, |run, device| odd_program(run, device, &path, &["signals", "forks"]));
    }
    let device = Simulated::new(run.workspace, &LENIENT.settings(), run.journal.watch());
    let outcome = device.map_err(|error| Failure::Counters(error.to_string())).and_then(|device| {
        odd_program(run, &device, &path, &["overruns"]);
        match device.counters().map_err(|error| Failure::Counters(error.to_string()))?.violations {
            0 => Err(Failure::Counters("the lint did not see it".to_owned())),
            _ => Ok(()),
        }
    });
    run.result("the lint tells of a completion queue that nobody empties", outcome);
}

/// Runs the tests of these names.
fn odd_program(run: &mut Run<'_, '_>, device: &Simulated, path: &Path, tests: &[&'static str]) {
    let task = Task::new(path, &run.workspace.root).args(["--ignored", "--test-threads=1"]).limit(LIMIT);
    let task = task.args(tests.iter().copied());
    let task = on(device, task);
    let name = format!("programs that end cleanly: {}", tests.join(", "));
    let ended = match task.run(run.journal.watch()) {
        Ok(ended) => ended,
        Err(error) => return run.result(&name, Err(error.into())),
    };
    run.journal.output(&ended.output);
    let tally = Count::TestResults.of(&ended, &run.workspace.root);
    let outcome = match tally.passed {
        passed if ended.succeeded() && passed == tests.len() => Ok(()),
        _ => Err(Failure::Ended { side: "program", how: ended.describe() }),
    };
    run.tally += tally;
    run.result(&name, outcome);
}

/// Preloaded into programs that know nothing of RDMA: same output, same exit code, no state.
fn without_the_device(run: &mut Run<'_, '_>) -> Result<(), Failure> {
    let counters = |error: crate::connectx::ConnectxError| Failure::Counters(error.to_string());
    let device = Simulated::new(run.workspace, &STEP.settings(), run.journal.watch()).map_err(counters)?;
    let script = "kill -0 $$ && ls /proc/self/fd >/dev/null && echo done && exit 7";
    let task = Task::new("sh", &run.workspace.root).args(["-c", script]).limit(LIMIT);
    let task = on(&device, task);
    let ended = task.run(run.journal.watch())?;
    let is_as_without = ended.output == "done\n" && ended.status.and_then(|status| status.code()) == Some(7);
    if !is_as_without {
        ended.output.lines().for_each(|line| run.journal.line(line));
        return Err(Failure::Ended { side: "program", how: ended.describe() });
    }
    let touched = device.counters().map_err(counters)? != connectx::state::Counters::default();
    if touched { Err(Failure::Counters("the device was opened".to_owned())) } else { Ok(()) }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        if Instant::now() >= deadline {
            return Err(Failure::Counters(what.to_owned()));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
