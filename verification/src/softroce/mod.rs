//! Soft-RoCE: the driver and Debian's tools on two RDMA devices that Debian's kernel makes of ordinary links.
//!
//! Few kernels of machines without a NIC have soft-RoCE, so a guest with Debian's own boots under QEMU:
//!
//! ```text
//! image (kernel, first process; kept) --+
//! errand (scripts, plan or command) ----+-> machine (QEMU) -> transcript -> verdict -> suite, command
//! programs (built here, run there) -----+                      evidence (that faults happened)
//! ```
//! The guest sees this machine's files, read-only, under a layer in memory: what is installed and built here runs there
//! under the same name. `--host` takes this machine's kernel instead, `--two` joins two guests by a cable.
//!
//! Called by `main` for the command `softroce`, and by the suite of the same name.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use crate::count::Tally;
use crate::suite::{Journal, Workspace};

use display::Display;
use errand::{Devices, Work, files};
use error::SoftroceError;
use machine::{Boot, Machine};
use plan::Side;
use programs::Programs;
use transcript::Transcript;
use verdict::Verdict;

mod display;
mod errand;
mod error;
mod evidence;
mod host;
mod image;
mod machine;
mod plan;
mod programs;
mod transcript;
mod two;
mod verdict;

/// What the guest is made of, what runs in it, and what compiles that.
pub(crate) const PACKAGES: &[&str] = &[
    "g++",
    "gcc",
    "libc6-dev",
    "pkg-config",
    "qemu-system-x86",
    "xz-utils",
    "iproute2",
    "libibverbs1",
    "ibverbs-providers",
    "librdmacm1",
    "ibverbs-utils",
    "perftest",
];

/// How long a plan or a command may take when nobody says otherwise.
const LIMIT: Duration = Duration::from_secs(1800);

/// Runs on soft-RoCE devices, rxe0 and rxe1, in a guest: COMMAND, or all steps of the suite.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Makes the devices in this machine's kernel, for as long as the work takes.
    #[arg(long)]
    host: bool,
    /// Boots two guests with a device each, rxe0, and a cable between them. COMMAND runs in both: $ADDRESS is its own
    /// address, $PEER the other's.
    #[arg(long, conflicts_with = "host")]
    two: bool,
    /// Shows what the steps write.
    #[arg(long)]
    verbose: bool,
    /// A command and its arguments, run in the folder from which this is called.
    #[arg(last = true)]
    command: Vec<String>,
}

/// What came of it.
enum Done {
    Verdicts(Vec<Verdict>),
    Code(u8),
}

/// Does what the command line asks for. The exit code is COMMAND's; else 0 if every step passed, 1 if one failed,
/// 3 if something is not on this machine.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> ExitCode {
    let mut display = Display::new(options.verbose || !options.command.is_empty());
    let mut show = |line: Option<&str>| {
        line.into_iter().for_each(|line| display.hear(line, &mut |line| println!("{line}")))
    };
    match run(workspace, options, &mut show) {
        Ok(Done::Code(code)) => ExitCode::from(code),
        Ok(Done::Verdicts(verdicts)) => {
            verdicts.iter().for_each(|verdict| println!("{verdict}"));
            let Tally { passed, failed, .. } = verdict::tally(&verdicts);
            println!("{passed} passed, {failed} failed");
            if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if error.is_missing_here() { 3 } else { 1 })
        }
    }
}

/// The suite: all steps in two guests that know nothing of each other, and those between two guests.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    let mut tally = Tally::default();
    for place in [Place::Guest, Place::Two] {
        let mut watch = |line: Option<&str>| match line {
            Some(line) => journal.line(line),
            None => (journal.watch())(None),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match take_steps(workspace, place, left, &mut watch) {
            Ok(verdicts) => {
                verdicts.iter().for_each(|verdict| judge(verdict, journal));
                tally += verdict::tally(&verdicts);
            }
            Err(error) => journal.fail(error.to_string()),
        }
    }
    tally
}

fn judge(verdict: &Verdict, journal: &mut Journal<'_>) {
    match verdict.outcome {
        Ok(_) => journal.line(verdict.to_string()),
        Err(_) => journal.fail(verdict.to_string()),
    }
}

fn run(
    workspace: &Workspace,
    options: &Options,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<Done, SoftroceError> {
    let place = match (options.host, options.two) {
        (true, _) => Place::Host,
        (_, true) => Place::Two,
        _ => Place::Guest,
    };
    if options.command.is_empty() {
        return take_steps(workspace, place, LIMIT, watch).map(Done::Verdicts);
    }
    let folder = std::env::current_dir().map_err(SoftroceError::file(".".as_ref()))?;
    let work = Work::Command { folder, words: options.command.clone() };
    let works = match place {
        Place::Two => vec![work.clone(), work],
        Place::Guest | Place::Host => vec![work],
    };
    let transcripts = place.run(workspace, &works, LIMIT, watch)?;
    // Of two exit codes the first that is not 0.
    let codes = transcripts.iter().map(|transcript| transcript.exit.unwrap_or(1));
    Ok(Done::Code(codes.fold(0, |code, next| if code == 0 { next } else { code })))
}

fn take_steps(
    workspace: &Workspace,
    place: Place,
    limit: Duration,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<Vec<Verdict>, SoftroceError> {
    let programs = Programs::build(workspace, watch)?;
    let plans = match place {
        Place::Two => [Side::Server, Side::Client].map(|side| plan::between_guests(&programs, side)).to_vec(),
        Place::Guest => plan::in_guests(&programs).to_vec(),
        Place::Host => vec![plan::on_a_pair(&programs)],
    };
    let works: Vec<Work> = plans.iter().cloned().map(Work::Plan).collect();
    let transcripts = place.run(workspace, &works, limit, watch)?;
    let verdicts = plans.iter().zip(&transcripts).map(|(plan, transcript)| verdict::judge(plan, transcript));
    Ok(match place {
        Place::Two => verdicts.reduce(verdict::join).unwrap_or_default(),
        Place::Guest | Place::Host => verdicts.flatten().collect(),
    })
}

/// Where the devices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Both in a guest; the steps are shared out between two such guests.
    Guest,
    /// One in each of two guests.
    Two,
    /// Both in this machine's kernel.
    Host,
}

impl Place {
    /// Does the works, as many as there are machines, and gives what was told of each.
    fn run(
        self,
        workspace: &Workspace,
        works: &[Work],
        limit: Duration,
        watch: &mut dyn FnMut(Option<&str>),
    ) -> Result<Vec<Transcript>, SoftroceError> {
        let limit = works.iter().map(Work::limit).fold(limit, Duration::min);
        if self == Self::Host {
            let host = |work| host::run(&files(work, Devices::Pair), limit, watch);
            return works.iter().map(host).collect();
        }
        let image = image::prepare(&workspace.target.join("softroce"), &mut |line| watch(Some(line)))?;
        let machine = |work| Machine { image: &image, errand: files(work, Devices::Pair), card: None, limit };
        let boots = match works {
            [first, second] if self == Self::Two => {
                two::boot(&image, [first, second], limit, watch)?.to_vec()
            }
            [first, second] => two::at_once([machine(first), machine(second)], || (), watch)?.to_vec(),
            works => works.iter().map(|work| machine(work).boot(watch)).collect::<Result<_, _>>()?,
        };
        boots.iter().map(told).collect()
    }
}

/// What a guest told, if it had devices.
fn told(boot: &Boot) -> Result<Transcript, SoftroceError> {
    let transcript = Transcript::read(&boot.output);
    if transcript.no_devices {
        return Err(SoftroceError::NoGuestDevices { tail: machine::tail(&boot.output) });
    }
    Ok(transcript)
}
