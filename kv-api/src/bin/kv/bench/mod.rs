//! `kv bench`: one operation between two processes of this machine, measured iteration by iteration.
//!
//! ```text
//!  kv bench (this process)                        bench-peer
//!     | starts ------------------------------------> fills its blocks, listens
//!     | <- address
//!     | plan, post, wait: the API's operation -----> (nothing to do, but in two-sided APIs)
//!     | memcpy loop over the same blocks (--baseline)
//!     | <-- first and last iteration: clear, digest of the blocks after a write
//! ```
//! Block `i` of the source goes to block `p[i]` of the destination; `p` is a new random permutation in each iteration.
//! Only planning, posting and waiting are timed.

mod api;
mod baseline;
mod content;
mod measure;
mod output;
mod page;
mod peer;
mod protocol;
mod room;
mod samples;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kv_api::layout::{CacheLayout, LayoutError};

use self::{
    api::Api,
    measure::Bench,
    samples::{Sample, Summary},
};
pub(crate) use self::{peer::Arguments as PeerArguments, peer::run as peer};
use crate::{
    Outcome,
    child::RoleProcess,
    failure::Failure,
    memory::MemoryOption,
    options::{Common, Place},
};

/// How long the slowest step may take: filling and hashing tens of gigabytes.
const PATIENCE: Duration = Duration::from_secs(600);

/// `kv bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Which of the APIs carries the operation out.
    #[arg(long, value_enum, default_value_t)]
    api: Api,
    /// Which way the blocks go.
    #[arg(long, value_enum)]
    op: Operation,
    #[command(flatten)]
    shape: Shape,
    /// Iterations that count.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    iters: u32,
    /// Iterations before them that do not.
    #[arg(long, default_value_t = 2)]
    warmup: u32,
    /// Also copy the same blocks within this process, in turns with the transfers, and compare.
    #[arg(long, conflicts_with = "device")]
    baseline: bool,
    /// Which iterations are verified, block by block.
    #[arg(long, value_enum, default_value_t)]
    verify: Verify,
    /// Print one JSON object as the last line instead of a table.
    #[arg(long)]
    json: bool,
    /// Also write a page: these figures, the distribution of the iterations, and cost and bandwidth by the number of
    /// blocks, for which fewer blocks are moved as well.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Of both processes; --in-host-memory is this one's alone, so that one end is the host's.
    #[command(flatten)]
    place: Place,
}

/// `--op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Operation {
    /// Pull from the other process.
    Read,
    /// Push into the other process.
    Write,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
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

/// The cache on both sides: one tensor.
#[derive(Clone, Copy, Debug, Args)]
struct Shape {
    /// Blocks that are moved in each iteration.
    #[arg(long, default_value_t = 4096)]
    blocks: u32,
    /// Bytes of a block.
    #[arg(long, default_value_t = 16_384)]
    block_size: u64,
    /// Memory that both caches are in.
    #[arg(long, value_enum, default_value_t)]
    memory: MemoryOption,
}

impl Shape {
    fn layout(&self) -> Result<CacheLayout, LayoutError> {
        CacheLayout::new(1, 1, self.blocks, self.block_size)
    }

    const fn memory_name(&self) -> &'static str {
        match self.memory {
            MemoryOption::Heap => "heap",
            MemoryOption::Arena => "arena",
        }
    }

    /// As arguments for a child process.
    fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--blocks", self.blocks.to_string()),
            ("--block-size", self.block_size.to_string()),
            ("--memory", self.memory_name().to_owned()),
        ];
        pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }
}

/// What the iterations gave.
struct Measured {
    layout: CacheLayout,
    transport: &'static str,
    /// How this process's blocks are reached, where there is a device and the API tells.
    path: Option<&'static str>,
    samples: Vec<Sample>,
    summary: Summary,
    /// The first iteration (from 1) whose bytes were wrong.
    wrong: Option<u32>,
}

impl Measured {
    /// An error where bytes were wrong.
    fn verdict(&self, arguments: &Arguments) -> Outcome {
        match self.wrong {
            None => Ok(()),
            Some(iteration) => Err(Failure::Differs { operation: arguments.op.name(), iteration }),
        }
    }
}

/// Runs the whole benchmark.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let measured = measure(arguments)?;
    let report = output::Report { arguments, measured: &measured };
    println!("{}", if arguments.json { report.json().to_string() } else { report.table() });
    if let Some(file) = &arguments.report {
        let page = page::page(&report, page::sweep(arguments)?);
        page.write(file).map_err(|source| Failure::File { what: "report", path: file.clone(), source })?;
    }
    measured.verdict(arguments)
}

/// Connects, moves the blocks as often as asked for, and lets the other process go.
fn measure(arguments: &Arguments) -> Result<Measured, Failure> {
    let layout = arguments.shape.layout()?;
    let place = arguments.place;
    room::check(layout.total_bytes(), if arguments.baseline { 3 } else { 2 })?;
    let mut child_arguments = arguments.shape.arguments();
    child_arguments.extend(["--api".to_owned(), arguments.api.name()]);
    child_arguments.extend(["--op".to_owned(), arguments.op.name().to_owned()]);
    child_arguments.extend(arguments.common.arguments());
    child_arguments.extend(Place { in_host_memory: false, ..place }.arguments());
    let child = RoleProcess::start("bench-peer", &child_arguments)?;
    let mut bench = Bench::connect(arguments, child)?;
    let (samples, wrong) = iterate(&mut bench, arguments)?;
    let (transport, path) = (bench.transport(), bench.path().filter(|_| place.device.is_some()));
    bench.finish()?;
    let summary = Summary::of(&samples);
    Ok(Measured { layout, transport, path, samples, summary, wrong })
}

/// The samples, and the first iteration (from 1) whose bytes were wrong.
fn iterate(bench: &mut Bench, arguments: &Arguments) -> Result<(Vec<Sample>, Option<u32>), Failure> {
    let progress = Progress::new(u64::from(arguments.warmup) + u64::from(arguments.iters));
    for _ in 0..arguments.warmup {
        bench.iterate(false)?;
        progress.step();
    }
    // Grows between iterations: room for as many as were asked for may be more than there is.
    let mut samples = Vec::new();
    let mut wrong = None;
    for iteration in 1..=arguments.iters {
        let ends = iteration == 1 || iteration == arguments.iters;
        let (sample, right) = bench.iterate(ends || arguments.verify == Verify::All)?;
        samples.push(sample);
        wrong = wrong.or((!right).then_some(iteration));
        progress.step();
    }
    Ok((samples, wrong))
}

/// A bar on a terminal, for runs that take longer than a moment.
struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    fn new(steps: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::default_bar());
        Self { bar, begun: Instant::now() }
    }

    fn step(&self) {
        let due = self.begun.elapsed() > Duration::from_secs(1);
        if due && self.bar.is_hidden() && io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
