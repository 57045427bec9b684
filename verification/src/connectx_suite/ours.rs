//! This driver on the simulated device: the conformance suite over both NIC back ends, `kv demo`, `kv bench` of every
//! interface of `kv-api`, its examples in Rust, `af demo` and `af bench`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::plan::TRAP;
use super::{Failure, Run, on};
use crate::accelerators::Runtime;
use crate::connectx::Simulated;
use crate::count::{Count, Tally};
use crate::demo;
use crate::examples::{self, Device, Runnable};
use crate::process::Task;

/// A program of this workspace: its name, how it is built, and with which arguments it is run.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) build: &'static [&'static str],
    pub(super) arguments: Vec<&'static str>,
    pub(super) counts: Counts,
}

/// What its output tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// Tests, as libtest reports them.
    Tests,
    /// An object in the last line, with `"verified": true`.
    Verified,
}

const CONFORMANCE: &[&str] = &["build", "--workspace", "--bin", "conformance"];
pub(super) const KV: &[&str] = &["build", "--release", "-p", "kv-api", "--bin", "kv"];
pub(super) const AF: &[&str] = &["build", "--release", "-p", "af-api", "--bin", "af"];

fn programs() -> Vec<Program> {
    let conformance = |arguments: &[&'static str]| Program {
        name: "conformance",
        build: CONFORMANCE,
        arguments: arguments.to_vec(),
        counts: Counts::Tests,
    };
    let kv = |arguments: &[&'static str]| Program {
        name: "kv",
        build: KV,
        arguments: arguments.to_vec(),
        counts: Counts::Verified,
    };
    let af = |arguments: &'static str| Program {
        name: "af",
        build: AF,
        arguments: arguments.split(' ').collect(),
        counts: Counts::Verified,
    };
    let mut programs = vec![
        conformance(&["--bed", "mlx5", "--device", "mlx5_0"]),
        conformance(&["--bed", "verbs", "--device", "mlx5_0", "--effort", "quick"]),
        kv(&["demo", "--transport", "mlx5", "--tokens", "512", "--json"]),
        af("demo --transport mlx5 --layers 4 --rows 32 --json"),
        af("bench --transport mlx5 --workers 2 --servers 2 --iters 50 --warmup 5 --verify all --json"),
    ];
    programs.extend(demo::INTERFACES.map(|interface| {
        let common =
            ["--transport", "mlx5", "--blocks", "64", "--block-size", "4096", "--iters", "3", "--json"];
        kv(&[&["bench", "--api", interface, "--op", "read"], &common[..]].concat())
    }));
    programs
}

/// Runs all of them in TRAP, with the lint on.
pub(super) fn check(run: &mut Run<'_, '_>) {
    for program in &programs() {
        match build(run, program.name, program.build) {
            Some(path) => run.on_a_device(TRAP, |run, device| run_program(run, device, program, &path, None)),
            None => run.result(program.name, Err(Failure::Counters("it does not build".to_owned()))),
        }
    }
}

/// Every example in Rust, over both back ends.
pub(super) fn examples(run: &mut Run<'_, '_>) {
    let left = || run.deadline.saturating_duration_since(Instant::now());
    let build = examples::build_rust(run.workspace).limit(left());
    run.journal.line(format!("$ {}", build.line()));
    match build.run(run.journal.watch()) {
        Ok(ended) if ended.succeeded() => {
            let runnables: Vec<Runnable> = examples::rust(run.workspace).collect();
            run.tally += examples::run(run.workspace, run.journal, &Device::CONNECTX, &runnables, left());
        }
        Ok(ended) => {
            run.journal.output(&ended.output);
            run.result(
                "examples",
                Err(Failure::Counters(format!("they do not build: {}", ended.describe()))),
            );
        }
        Err(error) => run.result("examples", Err(error.into())),
    }
}

/// Runs a program on a device, with the stand-in of a runtime if there is one.
pub(super) fn run_program(
    run: &mut Run<'_, '_>,
    device: &Simulated,
    program: &Program,
    path: &Path,
    runtime: Option<Runtime>,
) {
    let left = run.deadline.saturating_duration_since(Instant::now());
    let task = Task::new(path, &run.workspace.root).args(program.arguments.iter().copied()).limit(left);
    let mut task = on(device, task);
    if let Some(runtime) = runtime {
        task = task.env("LD_LIBRARY_PATH", runtime.folder(run.workspace));
    }
    let name = format!("{} {}", program.name, program.arguments.join(" "));
    run.journal.line(format!("$ {name}"));
    let ended = match task.run(run.journal.watch()) {
        Ok(ended) => ended,
        Err(error) => return run.result(&name, Err(error.into())),
    };
    run.journal.output(&ended.output);
    let tally = match program.counts {
        Counts::Tests => Count::TestResults.of(&ended, &run.workspace.root),
        Counts::Verified => Tally::default(),
    };
    run.tally += tally;
    let outcome = if !ended.succeeded() {
        Err(Failure::Ended { side: program.name, how: ended.describe() })
    } else if program.counts == Counts::Tests && tally.passed == 0 {
        Err(Failure::Counters("no test ran".to_owned()))
    } else if program.counts == Counts::Verified && !is_verified(&ended.stdout) {
        Err(Failure::Counters("its last line is no object with \"verified\": true".to_owned()))
    } else {
        Ok(())
    };
    run.result(&name, outcome);
}

fn is_verified(output: &str) -> bool {
    answer(output)["verified"] == true
}

/// The object in the last line; none is null.
pub(super) fn answer(output: &str) -> Value {
    let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str(last).unwrap_or_default()
}

/// Builds a program, as other suites build it, and finds it among the artifacts that cargo reports.
pub(super) fn build(run: &mut Run<'_, '_>, name: &str, arguments: &[&'static str]) -> Option<PathBuf> {
    let left = run.deadline.saturating_duration_since(Instant::now());
    let task = run.workspace.cargo().args(arguments.iter().copied());
    let task = task.args(["--message-format=json-render-diagnostics"]).limit(left);
    run.journal.line(format!("$ {}", task.line()));
    let watch = run.journal.watch();
    // Cargo's messages for programs are not for people.
    let ended = task.run(&mut |line| watch(line.filter(|line| !line.starts_with('{')))).ok()?;
    run.journal.output(&ended.stderr);
    let messages = ended.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = messages.filter(|message| message["target"]["name"] == name);
    let path = found.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.filter(|_| ended.succeeded())
}
