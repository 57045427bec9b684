//! Memory of accelerators over the simulated device: cases of the program `accelerators`, `kv` and `af`, on stand-ins for the
//! runtimes, where the device reaches their memory by dma-bufs, by its address, and not at all.

use std::path::Path;
use std::time::Instant;

use super::ours::{self, AF, Counts, KV, Program};
use super::plan::{Bench, DMA_BUF, PEER, TRAP};
use super::{Failure, Run, on, pair};
use crate::accelerators::{self, Runtime};
use crate::connectx::Simulated;
use crate::process::Task;

const ACCELERATORS: &[&str] = &["build", "--workspace", "--bin", "accelerators"];

/// A program on a device, with a stand-in.
struct On {
    bench: Bench,
    runtime: Runtime,
    program: Program,
}

fn programs() -> Vec<On> {
    let cases = |bench, runtime: Runtime, way: &'static str| {
        let arguments = vec!["--accelerator", runtime.name(), "--nic", way];
        let (build, counts) = (ACCELERATORS, Counts::Tests);
        On { bench, runtime, program: Program { name: "accelerators", build, arguments, counts } }
    };
    let verified = |bench, runtime, name, build, line: &'static str| {
        let arguments = line.split(' ').collect();
        On { bench, runtime, program: Program { name, build, arguments, counts: Counts::Verified } }
    };
    let kv = |bench, runtime, line| verified(bench, runtime, "kv", KV, line);
    let af = |bench, runtime, line| verified(bench, runtime, "af", AF, line);
    use Runtime::{Ascend, Cuda, Rocm};
    vec![
        cases(DMA_BUF, Cuda, "dma-buf"),
        cases(DMA_BUF, Rocm, "dma-buf"),
        kv(DMA_BUF, Cuda, "demo --device fake-cuda --transport mlx5 --tokens 64 --json"),
        kv(
            DMA_BUF,
            Cuda,
            "bench --api agent --op read --device fake-cuda --transport mlx5 --blocks 16 --iters 2 --json",
        ),
        af(
            DMA_BUF,
            Rocm,
            "demo --device fake-rocm --transport mlx5 --layers 2 --columns 256 --workers 2 --json",
        ),
        cases(PEER, Cuda, "peer"),
        cases(TRAP, Cuda, "staged"),
        cases(TRAP, Rocm, "staged"),
        cases(TRAP, Ascend, "staged"),
        af(
            TRAP,
            Ascend,
            "demo --device fake-ascend --transport mlx5 --layers 2 --columns 256 --workers 2 --json",
        ),
    ]
}

/// All of them.
pub(super) fn check(run: &mut Run<'_, '_>) {
    for task in accelerators::stand_ins(run.workspace) {
        match task.limit(left(run)).run(run.journal.watch()) {
            Ok(ended) if ended.succeeded() => {}
            Ok(ended) => {
                run.journal.output(&ended.output);
                return run.result("stand-ins", Err(Failure::Counters("they do not build".to_owned())));
            }
            Err(error) => return run.result("stand-ins", Err(error.into())),
        }
    }
    let programs = programs();
    for programs in programs.chunk_by(|one, next| one.bench == next.bench) {
        let paths: Vec<_> =
            programs.iter().map(|on| ours::build(run, on.program.name, on.program.build)).collect();
        run.on_a_device(programs[0].bench, |run, device| {
            for (On { runtime, program, .. }, path) in programs.iter().zip(&paths) {
                match path {
                    Some(path) => ours::run_program(run, device, program, path, Some(*runtime)),
                    None => run.result(program.name, Err(Failure::Counters("it does not build".to_owned()))),
                }
            }
        });
    }
    let Some(kv) = ours::build(run, "kv", KV) else { return };
    run.on_a_device(TRAP, |run, device| {
        let outcome = fetched(run, device, &kv);
        run.result("kv fetches into a device that the NIC does not reach", outcome);
        let outcome = kept_out(run, device, &kv);
        run.result("kv tells who fetches from one why that cannot be", outcome);
    });
}

fn left(run: &Run<'_, '_>) -> std::time::Duration {
    run.deadline.saturating_duration_since(Instant::now())
}

/// One side of `kv serve` and `kv fetch`.
fn side(run: &Run<'_, '_>, device: &Simulated, kv: &Path, words: &str) -> Task {
    let task = Task::new(kv, &run.workspace.root).args(words.split(' ')).limit(left(run));
    on(device, task).env("LD_LIBRARY_PATH", Runtime::Ascend.folder(run.workspace))
}

/// From memory of the host into that of a device.
fn fetched(run: &mut Run<'_, '_>, device: &Simulated, kv: &Path) -> Result<(), Failure> {
    let port = pair::free_port()?;
    let serve = format!("serve --listen 127.0.0.1:{port} --transport mlx5 --tokens 64 --once");
    let fetch = format!("fetch 127.0.0.1:{port} --transport mlx5 --device fake-ascend --json");
    let (server, client) = (side(run, device, kv, &serve), side(run, device, kv, &fetch));
    let ended = pair::run(server, &client, port, left(run))?;
    let client = ended.client.ok_or(Failure::NoServer)?;
    run.journal.output(&client.output);
    if !client.succeeded() || !ended.server.succeeded() {
        run.journal.output(&ended.server.output);
        return Err(Failure::Ended { side: "client", how: client.describe() });
    }
    let answer = ours::answer(&client.stdout);
    let rows = answer["rows"].as_array().map_or(0, Vec::len);
    // Three pulls; what would be pushed is said to be left out.
    let staged = answer["verified"] == true && answer["rows"][0]["decode_path"] == "staged" && rows == 3;
    if staged && client.output.contains("kv: no push") {
        return Ok(());
    }
    Err(Failure::Counters(format!("not verified, staged and without pushes: {answer}")))
}

/// From memory of a device, which nobody else reaches.
fn kept_out(run: &mut Run<'_, '_>, device: &Simulated, kv: &Path) -> Result<(), Failure> {
    let port = pair::free_port()?;
    let serve =
        format!("serve --listen 127.0.0.1:{port} --transport mlx5 --tokens 64 --device fake-ascend --once");
    let fetch = format!("fetch 127.0.0.1:{port} --transport mlx5 --json");
    let (server, client) = (side(run, device, kv, &serve), side(run, device, kv, &fetch));
    let ended = pair::run(server, &client, port, left(run))?;
    let client = ended.client.ok_or(Failure::NoServer)?;
    run.journal.output(&client.output);
    let told = client.output.contains("is not reached over mlx5") && client.output.contains("not by dma-buf");
    if told && client.status.and_then(|status| status.code()) == Some(1) {
        return Ok(());
    }
    Err(Failure::Ended { side: "client", how: client.describe() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_come_together_and_every_way_has_cases() {
        let programs = programs();
        let changes = programs.windows(2).filter(|pair| pair[0].bench != pair[1].bench).count();
        assert_eq!(changes, 2);
        for way in ["dma-buf", "peer", "staged"] {
            assert!(programs.iter().any(|on| on.program.arguments.contains(&way)), "{way}");
        }
    }
}
