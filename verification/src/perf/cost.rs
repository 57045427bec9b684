//! The rows of posting and polling: our queue pair beside libmlx5's, in instructions and in time.
//!
//! Called by the command. The comparison is the command `cost` of the package `interop`, with libmlx5 on the simulated
//! ConnectX; it needs valgrind, which counts.

use std::time::Duration;

use serde_json::Value;

use super::{
    program::{ProgramError, finish},
    rows::Goal,
    table::Measured,
};
use crate::{
    connectx::{Settings, Simulated},
    install,
    process::Task,
    suite::Workspace,
};

/// For `--only`.
pub(super) const NAME: &str = "cost";

/// What it needs of Debian.
const PACKAGES: [&str; 3] = ["valgrind", "ibverbs-providers", "libibverbs1"];

/// What is written, as the command names it and as a reader does.
const SIZES: [(&str, &str); 2] = [("8", "8 B inline"), ("4k", "4 KiB")];

/// Requests for one doorbell and one poll.
const BATCHES: [u32; 2] = [1, 32];

/// What ours stands beside, for names of rows, and as the command names it.
const PEERS: [(&str, &str); 2] = [("post", "ibv_post_send"), ("wr", "ibv_wr")];

/// What is measured: the object's member, the unit.
const UNITS: [(&str, &str); 2] = [("instructions", "instr"), ("ns", "ns")];

/// Of ours divided by libmlx5's.
const GOAL: Goal = Goal::AtMost(0.5);

/// All rows; one row with the reason where there are no figures.
pub(super) fn measure(workspace: &Workspace, install: bool) -> Vec<Measured> {
    println!("{NAME}: posting and polling, libmlx5 on the simulated ConnectX");
    match compare(workspace, install) {
        Ok(object) => rows(&object),
        Err(error) => vec![Measured::without(NAME, "a WRITE posted and polled, libmlx5", error)],
    }
}

fn compare(workspace: &Workspace, install: bool) -> Result<Value, ProgramError> {
    let missing = install::missing_of(PACKAGES.into());
    if !missing.is_empty() {
        if !install {
            let program = missing.into_iter().collect::<Vec<_>>().join(", ");
            return Err(ProgramError::Missing {
                program,
                hint: "`perf --install` brings it, as root".to_owned(),
            });
        }
        install::install(&missing)?;
    }
    let build = workspace.cargo().args(["build", "--release", "-p", "interop", "--bin", NAME]);
    finish(build.limit(Duration::from_secs(1200)))?;
    let simulated = Simulated::new(workspace, &Settings::default(), &mut |_| ())?;
    let program = workspace.target.join("release").join(NAME);
    let task = Task::new(program, &workspace.root).args(["--device", "mlx5_0"]);
    let set = |task: Task, (name, value)| task.env(name, value);
    let ended = finish(simulated.environment().into_iter().fold(task, set))?;
    let last = ended.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| ProgramError::Silent {
        line: NAME.to_owned(),
        what: "object on its last line".to_owned(),
        output: ended.output,
    })
}

/// Post and poll together, of every size and batch, beside both of libmlx5's ways; a figure that the object does not hold
/// is a row that says so.
pub(super) fn rows(object: &Value) -> Vec<Measured> {
    let mut rows = Vec::new();
    for (member, unit) in UNITS {
        for size in SIZES {
            for batch in BATCHES {
                rows.extend(PEERS.map(|peer| row(&object[member], unit, size, batch, peer)));
            }
        }
    }
    rows
}

fn row(
    figures: &Value,
    unit: &'static str,
    (size, size_name): (&str, &str),
    batch: u32,
    (short, peer): (&str, &str),
) -> Measured {
    let name = format!("{NAME}-{size}-{batch}-{short}-{unit}");
    let what = format!("{size_name} WRITE, post + poll by {batch}, {peer}");
    let sum = |poster: &str| {
        let part = |part: &str| figures[format!("{size}-{batch}-{poster}-{part}")].as_f64();
        Some(part("post")? + part("poll")?)
    };
    match (sum("ours"), sum(peer)) {
        (Some(ours), Some(peer)) => Measured { name, what, unit, ours, peer, goal: Some(GOAL), error: None },
        _ => {
            let silent = ProgramError::Silent {
                line: NAME.to_owned(),
                what: what.clone(),
                output: figures.to_string(),
            };
            Measured::without(&name, &what, silent)
        }
    }
}
