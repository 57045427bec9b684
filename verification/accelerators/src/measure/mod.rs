//! `accelerators bench`: how fast blocks move between two processes of a device, and between the host and it.
//!
//! ```text
//! accelerators bench --accelerator cuda                        # the table, on the driver that the loader finds
//! accelerators bench --accelerator cuda --json --iterations 50
//! accelerators bench --accelerator cuda --size small           # some kilobytes, for stand-ins
//! ```
//! # Place in the flow
//! On a machine with a device it is carried there as one file and makes the figures that the accelerators' documentation
//! shows. The verification suite `accelerators` runs it with `--size small` over each stand-in, so that it stays right.
//!
//! This process has the source, another one of this program the target, which is opened here by its handle; where the
//! runtime shares none, both are here, and the table says so. Before a way is measured it is done once, and the process
//! that has the target looks at every byte: each way has bytes of its own, so that what an earlier one left is not taken
//! for right.
//!
//! | way | is |
//! |---|---|
//! | `blocks` | [`Stream::copy_blocks`]: one launch on CUDA |
//! | `ranges` | [`Stream::copy`]: a range for each block |
//! | `call a block` | the runtime's own asynchronous copy, called for each block |
//! | `batch call` | `cuMemcpyBatchAsync`, called once |
//! | `plain` | one copy of as many bytes in one piece: what the device can do |
//!
//! Times are of the host's clock, from the first call until the event behind the copies is done; `post` is until the calls
//! have returned. GB/s are 10^9 bytes copied a second: the memory moves twice as many. Exit codes: 0 done and right, 1 a copy
//! failed or was wrong, 2 wrong usage, 3 the device is not there.
//!
//! [`Stream::copy`]: pmd_core::accelerator::Stream::copy
//! [`Stream::copy_blocks`]: pmd_core::accelerator::Stream::copy_blocks

mod baseline;
mod content;
mod report;
mod rows;
mod target;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

pub(crate) use self::target::play;
use self::{report::Report, rows::Bench};
use crate::{NOT_HERE, bench::Name, context::Context};

/// Measures copies of blocks.
#[derive(Debug, Parser)]
#[command(name = "accelerators bench")]
pub(crate) struct Options {
    /// What to measure.
    #[arg(long, value_enum)]
    accelerator: Name,
    /// Which device of the runtime.
    #[arg(long, default_value_t = 0)]
    device: u32,
    /// How much is copied.
    #[arg(long, value_enum, default_value_t = Size::Full)]
    size: Size,
    /// How often each way is timed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// Seconds after which something hangs.
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// One object in place of the table.
    #[arg(long)]
    json: bool,
}

/// How much is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// 4096 x 16 KiB, 16384 x 4 KiB, 61 x 1 MiB, 4 GiB. Needs 8 GiB of the device.
    Full,
    /// As many kinds, of some kilobytes.
    Small,
}

/// Blocks that are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) blocks: u32,
    pub(crate) block_bytes: u64,
}

impl Workload {
    pub(crate) const fn bytes(self) -> u64 {
        self.blocks as u64 * self.block_bytes
    }
}

impl Size {
    const fn workloads(self) -> [Workload; 4] {
        const fn of(blocks: u32, block_bytes: u64) -> Workload {
            Workload { blocks, block_bytes }
        }
        match self {
            Self::Full => [of(4096, 16 << 10), of(16384, 4 << 10), of(61, 1 << 20), of(1, 4 << 30)],
            Self::Small => [of(64, 1 << 10), of(200, 256), of(5, 4 << 10), of(1, 64 << 10)],
        }
    }
}

/// Runs the command with these arguments.
pub(crate) fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let options = Options::parse_from(arguments);
    let accelerator = match options.accelerator.open(options.device) {
        Ok(accelerator) => accelerator,
        Err(unavailable) => {
            eprintln!("{unavailable}");
            return ExitCode::from(NOT_HERE);
        }
    };
    let patience = Duration::from_secs(options.patience);
    let context = Context { name: options.accelerator, accelerator, patience, nic: None };
    let mut report = Report::new(&context, options.iterations);
    for workload in options.size.workloads() {
        match Bench::new(&context, workload, options.iterations) {
            Ok(bench) => bench.run(&mut report),
            Err(error) => report.fail(workload, &error),
        }
    }
    report.print(options.json)
}
