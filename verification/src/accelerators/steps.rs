//! The suite `accelerators`: cases and commands over each stand-in, over ordinary memory, and over HIP's own runtime, which
//! has no device.

use std::path::Path;

use super::Runtime;
use crate::count::Count;
use crate::process::Task;
use crate::suite::{Step, Workspace};

/// A command as a user runs it, on a stand-in's device: small, and each ends with 0 only if every byte was right.
struct Run {
    runtime: Runtime,
    program: &'static str,
    arguments: &'static [&'static str],
}

/// A run of `kv`.
const fn kv(runtime: Runtime, arguments: &'static [&'static str]) -> Run {
    Run { runtime, program: "kv", arguments }
}

/// A run of `af`.
const fn af(runtime: Runtime, arguments: &'static [&'static str]) -> Run {
    Run { runtime, program: "af", arguments }
}

/// The program that measures devices, so small that it shows only that it is right.
const fn bench(runtime: Runtime, arguments: &'static [&'static str]) -> Run {
    Run { runtime, program: "accelerators", arguments }
}

/// Cases that are the same whatever memory is made of.
const NOT_OF_MEMORY: &[&str] =
    &["::af::", "::kv::", "::blocks::", "::copies::", "::events::", "::flags::", "::streams::", "::faults::"];

/// Both ends on devices with each runtime; one end, and the benchmark, with one of them. Devices themselves with each.
const RUNS: &[Run] = &[
    kv(Runtime::Cuda, &["demo", "--device", "fake-cuda", "--tokens", "256", "--json"]),
    kv(Runtime::Rocm, &["demo", "--device", "fake-rocm", "--tokens", "256", "--json"]),
    kv(Runtime::Ascend, &["demo", "--device", "fake-ascend", "--tokens", "256", "--json"]),
    kv(
        Runtime::Cuda,
        &["demo", "--device", "fake-cuda:1", "--device-end", "prefill", "--tokens", "256", "--json"],
    ),
    kv(
        Runtime::Rocm,
        &["demo", "--device", "fake-rocm:1", "--device-end", "decode", "--tokens", "256", "--json"],
    ),
    kv(Runtime::Ascend, &["bench", "--op", "write", "--device", "fake-ascend", "--blocks", "64", "--json"]),
    af(
        Runtime::Cuda,
        &["demo", "--device", "fake-cuda", "--layers", "3", "--columns", "256", "--workers", "2", "--json"],
    ),
    af(
        Runtime::Rocm,
        &["demo", "--device", "fake-rocm", "--layers", "3", "--columns", "256", "--workers", "2", "--json"],
    ),
    af(
        Runtime::Ascend,
        &["demo", "--device", "fake-ascend", "--layers", "3", "--columns", "256", "--workers", "2", "--json"],
    ),
    af(
        Runtime::Cuda,
        &[
            "bench",
            "--device",
            "fake-cuda:1",
            "--iters",
            "20",
            "--verify",
            "all",
            "--push-bytes",
            "8",
            "--pull-bytes",
            "65536",
            "--warmup",
            "2",
            "--json",
        ],
    ),
    bench(Runtime::Cuda, &["bench", "--accelerator", "cuda", "--size", "small", "--iterations", "2"]),
    bench(Runtime::Cuda, &["bench", "--accelerator", "cuda-mapped", "--size", "small", "--iterations", "2"]),
    bench(Runtime::Rocm, &["bench", "--accelerator", "rocm", "--size", "small", "--iterations", "2"]),
    bench(Runtime::Ascend, &["bench", "--accelerator", "ascend", "--size", "small", "--iterations", "2"]),
];

/// Builds and installs the stand-ins, then runs everything.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let debug = workspace.target.join("debug");
    let build = ["build", "--workspace", "--lib", "--bin", "accelerators", "--bin", "kv", "--bin", "af"];
    let prepare = [workspace.cargo().args(build), install_all(workspace)];
    let prepare = prepare.map(|task| Step { task, count: Count::Nothing });
    let cases =
        |name: &str| Task::new(debug.join("accelerators"), &workspace.root).args(["--accelerator", name]);
    let over = |runtime: Runtime, task: Task| task.env("LD_LIBRARY_PATH", runtime.folder(workspace));
    let stand_ins = Runtime::ALL.into_iter().flat_map(|runtime| {
        let absent = cases(runtime.name()).args(["--absent"]).env("FAKE_DEVICE_COUNT", "0");
        [over(runtime, cases(runtime.name())), over(runtime, absent)]
    });
    let skipped = NOT_OF_MEMORY.iter().flat_map(|group| ["--skip", group]);
    let mapped = over(Runtime::Cuda, cases("cuda-mapped").args(skipped));
    let others = [mapped, cases("cpu"), cases("rocm").args(["--absent"])];
    let cases = stand_ins.chain(others).map(|task| Step { task, count: Count::TestResults });
    let runs = RUNS.iter().map(|run| {
        let task = Task::new(debug.join(run.program), &workspace.root).args(run.arguments.iter().copied());
        Step { task: over(run.runtime, task), count: Count::Command }
    });
    prepare.into_iter().chain(cases).chain(runs).chain(pinning(workspace)).collect()
}

/// Arenas are page-locked where a command is told so, and only there: where the runtime locks nothing, one fails and the other
/// does not.
fn pinning(workspace: &Workspace) -> impl Iterator<Item = Step> {
    let kv = "./kv bench --op read --device fake-cuda --in-host-memory --blocks 16 --iters 1 --json";
    let af = "./af demo --device fake-cuda --layers 1 --columns 64 --workers 1 --json";
    let debug = workspace.target.join("debug");
    let folder = Runtime::Cuda.folder(workspace);
    let lines = [kv, af].into_iter().flat_map(|line| [line.to_owned(), format!("! {line} --pin-arenas")]);
    let task = move |line: String| {
        let task = Task::new("sh", &debug).args(["-c".to_owned(), line]);
        // CUDA_ERROR_OUT_OF_MEMORY, every time.
        task.env("FAKE_DEVICE_FAULTS", "cuMemHostRegister@1+=2").env("LD_LIBRARY_PATH", &folder)
    };
    lines.map(task).map(|task| Step { task, count: Count::Command }).collect::<Vec<_>>().into_iter()
}

/// What builds and installs the stand-ins, for other suites.
pub(crate) fn stand_ins(workspace: &Workspace) -> [Task; 2] {
    [workspace.cargo().args(["build", "--workspace", "--lib"]), install_all(workspace)]
}

/// Links to what is about to be built.
pub(crate) fn install_all(workspace: &Workspace) -> Task {
    let debug = workspace.target.join("debug");
    let quoted = |path: &Path| format!("'{}'", path.display());
    let lines = Runtime::ALL.into_iter().flat_map(|runtime| {
        let (folder, built) = (runtime.folder(workspace), debug.join(runtime.built()));
        let make = format!("mkdir -p {}", quoted(&folder));
        let link = |name: &&str| format!("ln -sf {} {}", quoted(&built), quoted(&folder.join(name)));
        std::iter::once(make).chain(runtime.loaded().iter().map(link)).collect::<Vec<_>>()
    });
    Task::new("sh", &workspace.root).args(["-c".to_owned(), lines.collect::<Vec<_>>().join(" && ")])
}
