//! `af demo`: a model's layers over attention and feed-forward processes.
//!
//! ```text
//!  demo-worker (each)          for every layer, for every stage            demo-server (each)
//!     | makes an activation [rows, columns]
//!     | pushes it to every server --------------------------> waits for all workers' of this layer and stage
//!     |                                                       computes each worker's result
//!     | <------------------ answers into the pulled tensors
//!     | computes the same results and compares every element
//! ```
//! With `--device` all tensors are in its memory: the push-pulls take their turn in a stream, and what is compared is copied
//! to the host first.
//!
//! As many push-pulls are in flight as there are stages: a worker waits for a stage's result of one layer when it is that
//! stage's turn in the next.

mod hosts;
mod model;
mod server;
mod worker;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use self::{
    hosts::{SchedulerArguments, ServerArguments, WorkerArguments, schedule, serve_alone, work_alone},
    server::run as serve,
    worker::run as work,
};
use crate::{
    Outcome,
    cluster::{Cluster, Directory, Place, Size},
    options::Common,
    report,
    statistics::Statistics,
};

/// `af demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Worker processes: attention nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Server processes: feed-forward nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    servers: u32,
    #[command(flatten)]
    shape: Shape,
    /// Print one JSON object as the last line instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    directory: Directory,
    #[command(flatten)]
    common: Common,
}

/// The model.
#[derive(Clone, Copy, Debug, Args)]
struct Shape {
    /// Layers.
    #[arg(long, default_value_t = 61, value_parser = clap::value_parser!(u32).range(1..=1000))]
    layers: u32,
    /// Parts of a batch that are on their way at the same time.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    stages: u32,
    /// Rows of an activation: tokens.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65536))]
    rows: u32,
    /// Columns of an activation: the hidden size.
    #[arg(long, default_value_t = 7168, value_parser = clap::value_parser!(u32).range(1..=16384))]
    columns: u32,
}

/// `af role demo-server` and `demo-worker`.
#[derive(Debug, Args)]
pub(crate) struct RoleArguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    common: Common,
}

impl Shape {
    const fn steps(&self) -> u32 {
        self.layers * self.stages
    }

    /// Values of an activation.
    const fn values(&self) -> usize {
        self.rows as usize * self.columns as usize
    }

    /// Of an activation, and of a result.
    const fn bytes(&self) -> u64 {
        self.values() as u64 * 2
    }

    /// As arguments for a child process.
    fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--layers", self.layers),
            ("--stages", self.stages),
            ("--rows", self.rows),
            ("--columns", self.columns),
        ];
        pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value.to_string()]).collect()
    }
}

/// A worker to its parent, once every result was right.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Report {
    transport: String,
    /// From submitting a push-pull to having its results, other stages' work between them included; microseconds.
    steps: Statistics,
    /// From the first push to the last result.
    seconds: f64,
    /// Values that were compared with the reference.
    compared: u64,
}

/// Key of a stage's tensor, by the convention of StepMesh's tests: the stage from bit 8 on, the worker's rank from 16 on, 24
/// for pulls.
fn key(stage: u32, worker: u32, pull: bool) -> u64 {
    u64::from(stage) << 8 | u64::from(worker) << 16 | u64::from(pull) << 24
}

/// Runs the whole demo.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { workers, servers, shape, json, ref directory, common } = *arguments;
    let common = common.for_processes(workers + servers);
    let child_arguments = [shape.arguments(), common.arguments()].concat();
    let size = Size { workers, servers };
    let mut cluster = Cluster::start(size, directory, "demo-server", "demo-worker", &child_arguments)?;
    let reports: Vec<Report> = cluster.reports()?;
    cluster.finish()?;
    if json {
        println!("{}", summary(size, &shape, common.device_name(), &reports));
    } else {
        println!("{}", text(size, &shape, 0, &reports));
    }
    Ok(())
}

/// Bytes that all workers together push and pull.
fn bytes(size: Size, shape: &Shape) -> u64 {
    2 * shape.bytes() * u64::from(shape.steps()) * u64::from(size.workers) * u64::from(size.servers)
}

fn seconds(reports: &[Report]) -> f64 {
    reports.iter().map(|report| report.seconds).fold(0.0, f64::max)
}

/// A row for each report; `first` is the rank of the first one's worker.
fn text(size: Size, shape: &Shape, first: u32, reports: &[Report]) -> String {
    let Shape { layers, stages, rows, columns } = shape;
    let cells = |(rank, report): (u32, &Report)| {
        let figures = [format!("worker {rank}"), shape.steps().to_string(), report.compared.to_string()];
        let rest = [format!("{:.2}", report.seconds), report.transport.clone(), "yes".to_owned()];
        figures.into_iter().chain(report.steps.cells()).chain(rest).collect()
    };
    let header = [
        "",
        "steps",
        "values",
        "mean us",
        "p50 us",
        "p90 us",
        "p99 us",
        "max us",
        "s",
        "transport",
        "verified",
    ];
    let table = report::table(&header, &(first..).zip(reports).map(cells).collect::<Vec<_>>());
    format!(
        "{layers} layers x {stages} stages, activations [{rows}, {columns}] bf16, {} workers x {} servers, {:.1} MB\n\n{table}",
        size.workers,
        size.servers,
        bytes(size, shape) as f64 / 1e6,
    )
}

fn summary(size: Size, shape: &Shape, device: Option<String>, reports: &[Report]) -> Value {
    let per_worker = |report: &Report| {
        json!({
            "seconds": report.seconds, "compared": report.compared, "transport": report.transport,
            "mean_us": report.steps.mean, "p50_us": report.steps.p50, "p99_us": report.steps.p99,
            "max_us": report.steps.max, "verified": true,
        })
    };
    let largest =
        |of: fn(&Statistics) -> f64| reports.iter().map(|report| of(&report.steps)).fold(0.0, f64::max);
    let bytes = bytes(size, shape);
    json!({
        "op": "demo", "transport": reports.first().map(|report| report.transport.clone()), "device": device,
        "workers": size.workers, "servers": size.servers, "layers": shape.layers, "stages": shape.stages,
        "rows": shape.rows, "columns": shape.columns, "size": shape.bytes(),
        "bytes": bytes, "iters": shape.steps(),
        // Of the worker that has the largest.
        "p50_us": largest(|steps| steps.p50), "p99_us": largest(|steps| steps.p99),
        "max_us": largest(|steps| steps.max), "gbps": bytes as f64 / seconds(reports).max(1e-9) / 1e9,
        // A worker that found a wrong value would have ended the command.
        "verified": !reports.is_empty(), "rows_of_workers": reports.iter().map(per_worker).collect::<Vec<_>>(),
    })
}
