//! The command that runs the conformance suite on a device.
//!
//! ```text
//! conformance --bed fake --bed soft
//! conformance --bed verbs --device rxe0 --peer-device rxe1 --effort quick
//! conformance --bed mlx5 --device mlx5_0 data --list
//! ```
//! The output is that of libtest. Exit codes: 0 everything that the beds can do passed, 101 a case failed or hung,
//! 2 wrong usage, 3 a device is not there.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, ValueEnum};
use conformance::{
    bed::{
        Bed, BedError, Driver, NicBed, Path, SoftBed,
        fake::{FakeBed, Manner},
    },
    cases,
    context::{Context, Effort},
};
use libtest_mimic::Arguments;

mod trial;

/// Something that was asked for is not on this machine.
const NOT_HERE: u8 = 3;

/// Runs the conformance suite.
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Options {
    /// What to run on; several may be given.
    #[arg(long = "bed", value_enum, required = true)]
    beds: Vec<BedName>,
    /// RDMA device for beds verbs and mlx5.
    #[arg(long)]
    device: Option<String>,
    /// RDMA device of the other side; the same one if not given.
    #[arg(long)]
    peer_device: Option<String>,
    /// How often a NIC sends a lost packet again, from 0 to 7.
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=7))]
    retry_count: Option<u8>,
    /// How much of each case to run.
    #[arg(long, value_enum, default_value = "full")]
    effort: Effort,
    /// First seed of what is drawn by chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds of the cases that try many: 100 with full effort, 10 with little.
    #[arg(long)]
    seeds: Option<u64>,
    /// Seconds that a case may wait for one thing; after five times as long it is taken to hang.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    #[command(flatten)]
    arguments: Arguments,
}

/// Names of beds on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BedName {
    /// A device in this process, fast and slow.
    Fake,
    /// The soft HCA over shared memory, on all of its paths.
    Soft,
    /// A NIC through libibverbs.
    Verbs,
    /// A ConnectX whose queue entries this driver writes.
    Mlx5,
}

fn main() -> ExitCode {
    if cases::process::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let beds = match open(&options) {
        Ok(beds) => beds,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(NOT_HERE);
        }
    };
    let mut trials = Vec::new();
    for bed in beds {
        let context = Context {
            bed,
            effort: options.effort,
            seed: options.seed,
            seeds: options.seeds.unwrap_or(if options.effort == Effort::Full { 100 } else { 10 }),
            patience: Duration::from_secs(options.patience),
        };
        trials.extend(cases::all().into_iter().map(|case| trial::make(case, context.clone())));
    }
    let mut arguments = options.arguments;
    // Cases poll in a loop: together they would only take the cores from each other.
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn open(options: &Options) -> Result<Vec<Arc<dyn Bed>>, BedError> {
    let mut beds: Vec<Arc<dyn Bed>> = Vec::new();
    for name in &options.beds {
        match name {
            BedName::Fake => {
                beds.push(Arc::new(FakeBed::new("fake", Manner::BRISK)));
                beds.push(Arc::new(FakeBed::new("fake-slow", Manner::SLOW)));
            }
            BedName::Soft => {
                beds.extend(Path::ALL.map(|path| Arc::new(SoftBed(path)) as Arc<dyn Bed>));
            }
            BedName::Verbs => beds.push(Arc::new(nic(options, Driver::Verbs, "verbs")?)),
            BedName::Mlx5 => beds.push(Arc::new(nic(options, Driver::Mlx5, "mlx5")?)),
        }
    }
    Ok(beds)
}

fn nic(options: &Options, driver: Driver, bed: &'static str) -> Result<NicBed, BedError> {
    let device = options.device.as_deref().ok_or(BedError::NoDevice { bed })?;
    let bed = NicBed::open(driver, device, options.peer_device.as_deref())?;
    Ok(bed.with_retry_count(options.retry_count))
}
