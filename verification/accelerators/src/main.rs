//! The command that runs the suite of all accelerators on some of them.
//!
//! ```text
//! accelerators --accelerator ascend                 # the runtime that the loader finds, or a stand-in for it
//! accelerators --accelerator ascend copies --list
//! accelerators --accelerator rocm --absent          # passes where the runtime says cleanly that it has no device
//! accelerators --accelerator cuda --nic dma-buf     # over this machine's NIC, that of the suite `connectx` for one
//! accelerators bench --accelerator cuda             # how fast it is: see `measure`
//! ```
//! # Place in the flow
//! The verification suite `accelerators` runs it over each stand-in (`LD_LIBRARY_PATH` decides which library is found);
//! on a machine with a device it runs as it is, one file that needs nothing beside it. What only a stand-in can show
//! (faults on demand, counts of what is alive) is then told as ignored, with the reason.
//!
//! The output is that of libtest. Exit codes: 0 everything passed, 101 a case failed or hung, 2 wrong usage, 3 a device
//! is not there; 70 a stand-in saw misuse.

mod bench;
mod cases;
mod child;
mod context;
mod fake;
mod measure;
mod selected;
mod trial;
mod way;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use libtest_mimic::Arguments;

use crate::{bench::Name, context::Context, way::Way};

/// Something that was asked for is not on this machine.
const NOT_HERE: u8 = 3;

/// Runs the suite.
#[derive(Debug, Parser)]
#[command(name = "accelerators")]
struct Options {
    /// What to run on; several may be given.
    #[arg(long = "accelerator", value_enum, required = true)]
    accelerators: Vec<Name>,
    /// Instead of the cases: opening must fail, and say in one line that there is no device or no runtime.
    #[arg(long)]
    absent: bool,
    /// Instead of the other cases those of memory over this machine's NIC, which must reach it in this way.
    #[arg(long, value_name = "WAY", value_enum)]
    nic: Option<Way>,
    /// Seconds that a case may wait for one thing; after five times as long it is taken to hang.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    if let Some(code) = child::run_if_asked() {
        return code;
    }
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == "bench") {
        return measure::main(std::iter::once("accelerators bench".into()).chain(arguments));
    }
    let options = Options::parse();
    let mut trials = Vec::new();
    for name in options.accelerators {
        if options.absent {
            trials.push(trial::absent(name));
            continue;
        }
        let accelerator = match name.open(0) {
            Ok(accelerator) => accelerator,
            Err(unavailable) => {
                eprintln!("{unavailable}");
                return ExitCode::from(NOT_HERE);
            }
        };
        let patience = Duration::from_secs(options.patience);
        let context = Context { name, accelerator, patience, nic: options.nic };
        trials.extend(cases::all(options.nic).map(|case| trial::make(case, context.clone())));
    }
    let mut arguments = options.arguments;
    // Cases count what is alive in the whole process.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}
