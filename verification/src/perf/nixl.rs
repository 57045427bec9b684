//! The rows that need NIXL's wheels: the plugin beside UCX, iteration by iteration in turns in one agent.
//!
//! Called by the command. The comparison is kv-api/nixl/tests/compare.py, which checks every byte and reads both figures at
//! once; its folder is the one that the `nixl` suite leaves.

use std::time::Duration;

use serde_json::Value;

use super::{
    program::{ProgramError, finish},
    rows::Goal,
    table::Measured,
};
use crate::{process::Task, suite::Workspace};

/// For `--only`.
pub(super) const NAME: &str = "nixl";

/// Blocks and bytes of a block, and how many times faster ours should be.
const CASES: [(u64, u64, f64); 2] = [(4096, 16 << 10, 4.0), (16384, 4 << 10, 8.0)];

/// Rows of both operations of both cases; one row with the reason where there are no figures.
pub(super) fn measure(workspace: &Workspace, install: bool) -> Vec<Measured> {
    println!("{NAME}: kv-api/nixl/tests/compare.py");
    match compare(workspace, install) {
        Ok(object) => rows(&object),
        Err(error) => vec![Measured::without(NAME, "blocks in NumPy's memory, NIXL over UCX", error)],
    }
}

fn compare(workspace: &Workspace, install: bool) -> Result<Value, ProgramError> {
    let folder = workspace.target.join("nixl");
    if !install && !folder.join("venv").exists() {
        let hint = "`perf --install` brings it".to_owned();
        return Err(ProgramError::Missing { program: "NIXL".to_owned(), hint });
    }
    let script = workspace.root.join("kv-api/nixl/tests/compare.py");
    let task = Task::new("python3", &workspace.root).args([script, folder]);
    let ended = finish(task.limit(Duration::from_secs(600)))?;
    let last = ended.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| ProgramError::Silent {
        line: NAME.to_owned(),
        what: "object on its last line".to_owned(),
        output: ended.output,
    })
}

/// The comparison's medians, as rows; a case that it does not hold is a row that says so.
pub(super) fn rows(object: &Value) -> Vec<Measured> {
    let cases = object["cases"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let find = |(blocks, block_bytes, goal): (u64, u64, f64)| {
        let case = cases.iter().find(|case| case["blocks"] == blocks && case["block_size"] == block_bytes);
        ["write", "read"].map(|operation| row(case, operation, blocks, block_bytes, goal))
    };
    CASES.into_iter().flat_map(find).collect()
}

fn row(case: Option<&Value>, operation: &str, blocks: u64, block_bytes: u64, goal: f64) -> Measured {
    let what = format!("{blocks} x {} KiB {operation}, NumPy, NIXL over UCX", block_bytes >> 10);
    let name = format!("{NAME}-{operation}-{}k", block_bytes >> 10);
    let figure = |backend: &str| {
        let case = case.filter(|case| case["verified"] == Value::Bool(true))?;
        case[operation][backend]["p50_us"].as_f64()
    };
    match (figure("PMD"), figure("UCX")) {
        (Some(ours), Some(peer)) => {
            Measured { name, what, unit: "us", ours, peer, goal: Some(Goal::AtMost(1.0 / goal)), error: None }
        }
        _ => {
            let silent =
                ProgramError::Silent { line: NAME.to_owned(), what: what.clone(), output: String::new() };
            Measured::without(&name, &what, silent)
        }
    }
}
