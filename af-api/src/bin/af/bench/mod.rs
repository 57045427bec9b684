//! `af bench`: round trips between workers and servers on this machine, measured one by one.
//!
//! ```text
//!  bench-worker (each)                              bench-server (each)
//!     | push of --push-bytes -----------------------> takes the request, of whichever worker is first
//!     | <----------------------- answer of --pull-bytes from a buffer that is ready
//!     | two copies of the same bytes (--compare-memcpy)
//!     | first and last iteration: both sides fill what they send and check what they got
//! ```
//! A round trip is a push to every server and a pull from each; it ends when the worker knows that all have answered.

mod content;
mod output;
mod page;
mod protocol;
mod server;
mod worker;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::{output::Summary, protocol::Report};
pub(crate) use self::{server::run as serve, worker::run as work};
use crate::{
    Outcome,
    cluster::{Cluster, Directory, Place, Size},
    failure::Failure,
    options::Common,
};

/// Time for one stage of one layer, both ways, in microseconds: 50 ms for a token, 61 layers, 3 stages.
const BUDGET: f64 = 50_000.0 / 61.0 / 3.0;

/// `af bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    shape: Shape,
    /// Print one JSON object as the last line instead of a table.
    #[arg(long)]
    json: bool,
    /// Also write a page: these figures, the distribution of the round trips, and time and bandwidth by size, for which
    /// smaller tensors make round trips as well.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    #[command(flatten)]
    directory: Directory,
    #[command(flatten)]
    common: Common,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Args)]
struct Shape {
    /// Bytes pushed to each server: by default [64, 7168] brain floats.
    #[arg(long, default_value_t = 896 << 10)]
    push_bytes: u32,
    /// Bytes pulled from each server: by default [128, 7168] brain floats.
    #[arg(long, default_value_t = 1792 << 10)]
    pull_bytes: u32,
    /// Iterations that count.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    iters: u32,
    /// Iterations before them that do not.
    #[arg(long, default_value_t = 100)]
    warmup: u32,
    /// Which iterations are verified, byte by byte.
    #[arg(long, value_enum, default_value_t)]
    verify: Verify,
    /// Also copy the same bytes within the first worker's process, in turns with its round trips, and compare.
    #[arg(long)]
    compare_memcpy: bool,
}

/// `--verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
enum Verify {
    /// Every iteration.
    All,
    /// The first and the last.
    #[default]
    Ends,
}

/// `af role bench-server` and `bench-worker`.
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
    /// Iterations, those before the measured ones included.
    const fn rounds(&self) -> u32 {
        self.warmup.saturating_add(self.iters)
    }

    fn verifies(&self, round: u32) -> bool {
        self.verify == Verify::All || round == 0 || round + 1 == self.rounds()
    }

    /// Bytes of one round trip with so many servers.
    const fn bytes(&self, servers: u32) -> u64 {
        (self.push_bytes as u64 + self.pull_bytes as u64) * servers as u64
    }

    /// As arguments for a child process.
    fn arguments(&self) -> Vec<String> {
        let verify = if self.verify == Verify::All { "all" } else { "ends" };
        let pairs = [
            ("--push-bytes", self.push_bytes.to_string()),
            ("--pull-bytes", self.pull_bytes.to_string()),
            ("--iters", self.iters.to_string()),
            ("--warmup", self.warmup.to_string()),
            ("--verify", verify.to_owned()),
        ];
        let pairs = pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        pairs.chain(self.compare_memcpy.then(|| "--compare-memcpy".to_owned())).collect()
    }
}

/// Runs the whole benchmark.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let summary = measure(arguments, &arguments.shape)?;
    if arguments.json {
        println!("{}", summary.json());
    } else {
        println!("{}", summary.text());
    }
    if let Some(file) = &arguments.report {
        let page = page::page(arguments, &summary, page::sweep(arguments)?);
        page.write(file).map_err(|source| Failure::File { path: file.clone(), source })?;
    }
    Ok(())
}

/// Starts the processes, has them make all round trips, and sees them end well.
fn measure(arguments: &Arguments, shape: &Shape) -> Result<Summary, Failure> {
    let Arguments { size, directory, common, .. } = arguments;
    let common = common.for_processes(size.workers + size.servers);
    let child_arguments = [shape.arguments(), common.arguments()].concat();
    let mut cluster = Cluster::start(*size, directory, "bench-server", "bench-worker", &child_arguments)?;
    let reports: Vec<Report> = cluster.reports()?;
    cluster.finish()?;
    Ok(Summary::of(*size, shape, common.device_name(), &reports))
}
