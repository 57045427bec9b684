//! The list of suites: what each proves, what it needs, and what it runs. Read by `main`.

use std::time::Duration;

use crate::accelerators;
use crate::capi;
use crate::connectx_suite;
use crate::count::{Count, Tally};
use crate::demo;
use crate::fuzz;
use crate::hosts;
use crate::mutants;
use crate::process::Task;
use crate::python;
use crate::sanitise;
use crate::simulate;
use crate::softroce;
use crate::style;
use crate::suite::{Journal, Lane, Step, Suite, Work, Workspace};
use crate::weaken;

/// rdma-core's libraries, which the driver loads at run time.
const VERBS: &[&str] = &["libibverbs1", "ibverbs-providers", "librdmacm1"];

/// What libmlx5 runs from on the simulated ConnectX.
const PROVIDERS: &[&str] = &["libibverbs1", "ibverbs-providers"];

/// Software that is not ours, to talk to: rdma-core's ping-pongs, and what compiles a verbs program.
const PEERS: &[&str] =
    &["gcc", "libc6-dev", "libibverbs-dev", "libibverbs1", "ibverbs-providers", "ibverbs-utils"];

/// HIP's runtime as Debian has it, which finds no device.
const HIP: &[&str] = &["libamdhip64-5"];

/// The directory through which processes find each other.
const ETCD: &[&str] = &["etcd-server"];

/// What counts instructions.
const COUNTER: &[&str] = &["valgrind"];

/// What finds functions of the standard library, and compiles what stands in their place.
const EDGES: &[&str] = &["binutils", "gcc"];

/// libFuzzer's compiler.
const FUZZER: &[&str] = &["g++"];

/// What builds the NIXL plugin, reads its symbols, and runs the wheel's agent.
const NIXL: &[&str] = &["binutils", "cmake", "g++", "make", "python3", "python3-venv"];

/// The headers of rdma-core and HIP, and the compiler library that reads them.
const HEADERS: &[&str] =
    &["libclang1-14", "libclang-common-14-dev", "libibverbs-dev", "librdmacm-dev", "libamdhip64-dev"];

/// All suites, in the order in which `all` runs them: the quickest answers first.
pub(crate) fn suites(workspace: &Workspace) -> Vec<Suite> {
    let mut suites = vec![
        commands("format", "rustfmt changes nothing", &[], 180, format(workspace)),
        own("style", "lengths, safety comments, leftovers, facades, the fixed top level", 120, check_style),
        commands("clippy", "no lint of any target warns", &[], 1200, clippy(workspace)),
        commands("unit", "unit, property and integration tests pass", &[], 2400, unit(workspace)),
        commands("docs", "documentation builds and its examples run", &[], 1200, docs(workspace)),
        // Early: `softroce` runs its programs, and takes long.
        Suite {
            packages: capi::PACKAGES,
            ..own(
                "capi",
                "programs in C and C++ compile without a warning, and move blocks between processes",
                1200,
                capi::check,
            )
        },
        Suite {
            packages: VERBS,
            ..own(
                "mutants",
                "each planted fault is caught by the check that is there for it",
                1800,
                mutants::check,
            )
        },
        commands(
            "bindings",
            "committed bindings are what the headers give",
            HEADERS,
            600,
            bindings(workspace),
        ),
        commands("verbs", "the bindings work with the installed libraries", VERBS, 600, verbs(workspace)),
        commands(
            "conformance",
            "every back end without a NIC passes the one suite of cases",
            &[],
            1200,
            conformance(workspace),
        ),
    ];
    suites.extend(beside(workspace));
    suites.extend(on_devices(workspace));
    suites.push(Suite {
        packages: python::PACKAGES,
        ..own(
            "python",
            "pip installs the Python packages, their tests pass, and their examples run as processes",
            1200,
            python::check,
        )
    });
    suites.extend(many_nodes(workspace));
    suites.push(commands(
        "nixl",
        "the plugin works in the agent of NIXL's wheel, between processes, and in no other release's",
        NIXL,
        1200,
        nixl(workspace),
    ));
    suites.push(commands(
        "counts",
        "posting, polling, planning and the soft HCA take no more instructions than they did, and no more for many blocks",
        COUNTER,
        600,
        counts(workspace),
    ));
    suites.push(own("demo", "a cache moves and a model runs, verified; nothing is left", 1200, demo::check));
    suites
}

/// Those about many processes that find each other.
fn many_nodes(workspace: &Workspace) -> [Suite; 2] {
    [
        commands(
            "membership",
            "processes find each other through etcd, and lose nothing when it is killed and started again",
            ETCD,
            600,
            membership(workspace),
        ),
        commands(
            "simulate",
            "hundreds of nodes find each other, link and move their bytes, whatever dies or is cut, in simulated time",
            &[],
            1200,
            simulated(workspace),
        ),
    ]
}

/// Those with a target folder of their own, which go beside the others. So does `softroce`, whose guest does the work.
fn beside(workspace: &Workspace) -> impl Iterator<Item = Suite> {
    let suites = [
        commands("no_std", "pmd-core links and works without std or libc", &[], 600, no_std(workspace)),
        commands("loom", "models of rings, queues and protocols hold always", &[], 1800, loom(workspace)),
        own("weaken", "every ordering and barrier is needed by a model", 1800, weaken::check),
        commands(
            "accelerators",
            "every accelerator passes the one suite of cases on a stand-in for its runtime, and the commands run on it",
            HIP,
            1200,
            accelerators::steps(workspace),
        ),
        Suite {
            packages: EDGES,
            ..own(
                "tsan",
                "rings and soft HCA have no data race that the thread sanitiser sees",
                1800,
                sanitise::threads,
            )
        },
        own(
            "asan",
            "rings and back ends touch no memory but theirs, and leak none",
            1800,
            sanitise::addresses,
        ),
        Suite {
            packages: FUZZER,
            ..own("fuzz", "parsers, planner and queues survive hostile input for a while", 1800, fuzz::check)
        },
        Suite {
            packages: hosts::PACKAGES,
            ..own(
                "hosts",
                "kv and af work between hosts, where packets are lost, links break and peers vanish",
                1200,
                hosts::check,
            )
        },
    ];
    let soak = own(
        "soak",
        "32 processes on eight hosts move caches and tensors for two minutes while hosts are cut off and packets lost",
        1200,
        hosts::soak,
    );
    // After `hosts`, which has built what it runs.
    let soak = Suite { packages: hosts::PACKAGES, ..soak }.lane(Lane::Background).after(&["hosts"]);
    suites.into_iter().map(|suite| suite.lane(Lane::Beside)).chain([soak])
}

/// Those that need a NIC: a simulated one, or soft-RoCE's.
fn on_devices(workspace: &Workspace) -> Vec<Suite> {
    vec![
        Suite {
            packages: connectx_suite::PACKAGES,
            ..own(
                "connectx",
                "Debian's tools and both NIC back ends work on a simulated ConnectX that checks them",
                1800,
                connectx_suite::check,
            )
        },
        commands("bytes", "queue entries equal libmlx5's, byte by byte", PROVIDERS, 600, bytes(workspace)),
        commands(
            "interop",
            "our driver exchanges data with ibv_rc_pingpong and with a verbs program in C",
            PEERS,
            800,
            interop(workspace),
        ),
        Suite {
            packages: softroce::PACKAGES,
            ..own(
                "softroce",
                "the verbs back end and Debian's tools work on soft-RoCE, with lost and harmed packets too",
                1800,
                softroce::check,
            )
        }
        .lane(Lane::Beside)
        .after(&["capi"]),
    ]
}

/// A suite that is a check of this crate.
fn own(
    name: &'static str,
    proves: &'static str,
    seconds: u64,
    check: fn(&Workspace, &mut Journal<'_>, Duration) -> Tally,
) -> Suite {
    Suite {
        name,
        proves,
        packages: &[],
        limit: Duration::from_secs(seconds),
        work: Work::Own(check),
        lane: Lane::Shared,
        after: &[],
    }
}

/// A suite that is a list of commands.
fn commands(
    name: &'static str,
    proves: &'static str,
    packages: &'static [&'static str],
    seconds: u64,
    steps: Vec<Step>,
) -> Suite {
    Suite {
        name,
        proves,
        packages,
        limit: Duration::from_secs(seconds),
        work: Work::Commands(steps),
        lane: Lane::Shared,
        after: &[],
    }
}

fn format(workspace: &Workspace) -> Vec<Step> {
    let arguments = ["fmt", "--all", "--", "--check", "--verbose"];
    vec![Step { task: workspace.cargo().args(arguments), count: Count::FormattedFiles }]
}

fn clippy(workspace: &Workspace) -> Vec<Step> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--message-format=json-render-diagnostics"];
    let task = workspace.cargo().args(arguments).args(["--", "-D", "warnings"]);
    vec![Step { task, count: Count::CargoTargets }]
}

/// The dev profile keeps debug assertions and overflow checks. Tests run examples, which cargo does not build for tests
/// that are named by their kind. `--tests` is every target that has tests: those of libraries and programs too.
fn unit(workspace: &Workspace) -> Vec<Step> {
    let examples = workspace.cargo().args(["build", "--workspace", "--examples"]);
    let task = workspace.cargo().args(["test", "--workspace", "--tests", "--no-fail-fast"]);
    vec![Step { task: examples, count: Count::Nothing }, Step { task, count: Count::TestResults }]
}

fn docs(workspace: &Workspace) -> Vec<Step> {
    let arguments =
        ["doc", "--workspace", "--no-deps", "--keep-going", "--message-format=json-render-diagnostics"];
    let pages = workspace.cargo().args(arguments).env("RUSTDOCFLAGS", "-D warnings");
    let examples = workspace.cargo().args(["test", "--workspace", "--doc"]);
    vec![Step { task: pages, count: Count::CargoTargets }, Step { task: examples, count: Count::TestResults }]
}

/// The proof is a workspace of its own: its profile and its link arguments suit no other package.
fn no_std(workspace: &Workspace) -> Vec<Step> {
    let target = workspace.target.join("no-std");
    let build = Task::new("cargo", workspace.root.join("verification/no-std"))
        .args(["build", "--release"])
        .env("CARGO_TARGET_DIR", &target);
    let run = Task::new(target.join("release/no-std-proof"), &workspace.root).limit(Duration::from_secs(30));
    vec![Step { task: build, count: Count::Nothing }, Step { task: run, count: Count::OkLines }]
}

fn loom(workspace: &Workspace) -> Vec<Step> {
    let task = loom_cargo(workspace).args(["model", "--", "--test-threads=2"]);
    vec![Step { task, count: Count::TestResults }]
}

/// `cargo test` of pmd-core's library under loom.
///
/// The profile is set here, and link-time optimisation is off, so that the `loom` suite and every mutant of
/// `weaken` share what is built of loom itself.
pub(crate) fn loom_cargo(workspace: &Workspace) -> Task {
    workspace
        .cargo()
        .args(["test", "-p", "pmd-core", "--release", "--lib"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace.target.join("loom"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
}

/// The packages whose bindings of a C library are generated and committed.
const BINDINGS: [&str; 3] = ["pmd-sys", "hip-sys", "acl-sys"];

fn bindings(workspace: &Workspace) -> Vec<Step> {
    let check = |package| {
        let arguments =
            ["run", "-p", package, "--features", "regenerate", "--bin", "regenerate", "--", "--check"];
        Step { task: workspace.cargo().args(arguments), count: Count::Command }
    };
    BINDINGS.map(check).into()
}

/// The tests that need rdma-core's libraries and no device.
fn verbs(workspace: &Workspace) -> Vec<Step> {
    let arguments = ["test", "-p", "pmd-sys", "--lib", "--bins", "--tests", "--", "--ignored"];
    vec![Step { task: workspace.cargo().args(arguments), count: Count::TestResults }]
}

/// The fake device and the soft HCA; suites with a NIC run the same command on theirs. Of the soft HCA that drives an
/// accelerator only what is about that: without device memory it does what the others do. Over TCP all but the case that
/// kills dozens of processes, which is slow; streams that end are tested in pmd-host.
fn conformance(workspace: &Workspace) -> Vec<Step> {
    const KILLED: &str = "soft-tcp::process::killed_peers_fail_what_is_outstanding_and_nothing_else";
    let build = workspace.cargo().args(["build", "--workspace", "--bin", "conformance"]);
    let program = workspace.target.join("debug/conformance");
    let run = |arguments: &[&str]| {
        let task = Task::new(&program, &workspace.root).args(arguments.iter().copied());
        Step { task, count: Count::TestResults }
    };
    let all = run(&["--bed", "fake", "--bed", "soft", "--skip", "soft-device::", "--skip", KILLED]);
    let devices = run(&["--bed", "soft", "soft-device::devices::"]);
    vec![Step { task: build, count: Count::Nothing }, all, devices]
}

/// libmlx5 itself, unmodified, on the simulated ConnectX.
fn bytes(workspace: &Workspace) -> Vec<Step> {
    let build = workspace.cargo().args(["build", "--workspace", "--bin", "bytes"]);
    let program = workspace.target.join("debug/bytes");
    let run = on_connectx(workspace, &[]).args([program]).args(["--device", "mlx5_0"]);
    vec![Step { task: build, count: Count::Nothing }, Step { task: run, count: Count::TestResults }]
}

/// Over both back ends of NICs, on an InfiniBand port, then over RoCE, where addresses are others.
fn interop(workspace: &Workspace) -> Vec<Step> {
    let build = workspace.cargo().args(["build", "--workspace"]);
    let build = build.args(["--bin", "interop", "--bin", "pmd"]);
    let peer = workspace.target.join("debug/interop-peer");
    let compile = Task::new("cc", &workspace.root)
        .args([
            "-O2",
            "-Wall",
            "-Wextra",
            "-Wno-sign-compare",
            "-Werror",
            "verification/interop/peer.c",
            "-o",
        ])
        .args([&peer])
        .args(["-libverbs"]);
    let run = |settings: &[&str], transports: &str| {
        on_connectx(workspace, settings)
            .args([workspace.target.join("debug/interop")])
            .args(["--device", "mlx5_0", "--transport", transports, "--peer"])
            .args([&peer])
    };
    let infiniband = run(&[], "mlx5,verbs");
    let ethernet = run(&["--link", "roce"], "mlx5,verbs").args(["check", "exchange"]);
    let build = [build, compile].map(|task| Step { task, count: Count::Nothing });
    let run = [infiniband, ethernet].map(|task| Step { task, count: Count::TestResults });
    build.into_iter().chain(run).collect()
}

/// The cases wait for leases more than they compute: more of them at a time than there are cores.
fn membership(workspace: &Workspace) -> Vec<Step> {
    let programs = ["--bin", "membership", "--bin", "kv", "--bin", "af"];
    let build = workspace.cargo().args(["build", "--workspace"]).args(programs);
    let program = workspace.target.join("debug/membership");
    let run = Task::new(program, &workspace.root).args(["--test-threads", "4"]);
    vec![Step { task: build, count: Count::Nothing }, Step { task: run, count: Count::TestResults }]
}

/// Its worlds are one `ok` line each; small ones are among its tests.
fn simulated(workspace: &Workspace) -> Vec<Step> {
    let build = workspace.cargo().args(["build", "--workspace", "--bin", "simulate"]);
    let run = simulate::suite_task(workspace);
    vec![Step { task: build, count: Count::Nothing }, Step { task: run, count: Count::OkLines }]
}

/// The plugin with the library that other suites have built: built by itself, its dependencies would have other features
/// than in the workspace, and be built again. The wheels stay below the target folder.
fn nixl(workspace: &Workspace) -> Vec<Step> {
    let build = workspace.cargo().args(["build", "--workspace", "--lib"]);
    let tests = Task::new("python3", &workspace.root)
        .args(["kv-api/nixl/tests/run.py".into(), workspace.target.join("nixl")])
        .env("PMD_BUILT", workspace.target.join("debug"));
    vec![Step { task: build, count: Count::Nothing }, Step { task: tests, count: Count::OkLines }]
}

/// The library crates are those of the commands `kv` and `af`, which other suites build for release: with these packages
/// chosen, they have the same features.
fn counts(workspace: &Workspace) -> Vec<Step> {
    let packages = ["-p", "kv-api", "-p", "af-api", "-p", "counts"];
    let build = workspace.cargo().args(["build", "--release"]).args(packages).args(["--bin", "counts"]);
    let program = workspace.target.join("release/counts");
    let check = Task::new(program, &workspace.root).args(["check"]);
    vec![Step { task: build, count: Count::Nothing }, Step { task: check, count: Count::OkLines }]
}

/// This command again, to run a program on the simulated ConnectX.
pub(crate) fn on_connectx(workspace: &Workspace, settings: &[&str]) -> Task {
    let this = std::env::current_exe().unwrap_or_else(|_| "verification".into());
    Task::new(this, &workspace.root).args(["connectx"]).args(settings.iter().copied()).args(["--"])
}

fn check_style(workspace: &Workspace, journal: &mut Journal<'_>, _limit: Duration) -> Tally {
    match style::check(&workspace.root) {
        Ok(findings) => {
            findings.violations.iter().for_each(|violation| journal.line(violation.to_string()));
            if !findings.violations.is_empty() {
                journal.fail(format!("{} rules are broken", findings.violations.len()));
            }
            Tally { passed: findings.files, failed: findings.violations.len(), ignored: 0 }
        }
        Err(error) => {
            journal.fail(format!("the workspace cannot be read: {error}"));
            Tally::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn suites_have_names_of_their_own_and_fit_in_the_time() {
        let suites = suites(&Workspace { root: "/w".into(), target: "/w/target".into(), incremental: true });
        let names: BTreeSet<&str> = suites.iter().map(|suite| suite.name).collect();
        assert_eq!(names.len(), suites.len());
        assert!(suites.iter().all(|suite| !suite.proves.is_empty() && !suite.limit.is_zero()));
    }

    #[test]
    fn suites_wait_for_none_but_earlier_ones() {
        let suites = suites(&Workspace { root: "/w".into(), target: "/w/target".into(), incremental: true });
        for (place, suite) in suites.iter().enumerate() {
            let is_earlier = |name| suites[..place].iter().any(|earlier| earlier.name == name);
            assert!(suite.after.iter().all(|name| is_earlier(*name)), "{}", suite.name);
        }
    }

    #[test]
    fn programs_in_c_are_not_removed_while_the_guest_takes_them() {
        let suites = suites(&Workspace { root: "/w".into(), target: "/w/target".into(), incremental: true });
        let softroce = suites.iter().find(|suite| suite.name == "softroce").expect("there is one");
        assert!(softroce.lane == Lane::Shared || softroce.after.contains(&"capi"));
    }

    #[test]
    fn this_workspace_keeps_its_own_rules() {
        let root = Workspace::of_this_command().root.join("verification");
        let sources = crate::source::rust_files(&root).expect("the sources can be read");
        let checked = sources.iter().map(|path| {
            let name = path.strip_prefix(&root).expect("a path below the folder").to_string_lossy();
            style::check_source(&name, &std::fs::read_to_string(path).expect("a source"))
        });
        assert_eq!(checked.flatten().collect::<Vec<_>>(), []);
        assert!(sources.len() > 10);
    }
}
