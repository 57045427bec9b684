//! `counts`: instructions of the driver's paths against the committed baseline.
//!
//! ```text
//! cargo run --release -p counts -- check
//! cargo run --release -p counts -- bless
//! ```
//! Exit codes: 0 every count is as good as the baseline, 1 one is not, 2 wrong usage, 3 valgrind is not on this machine.

use std::{env, path::Path, process::ExitCode};

use counts::command::{self, CountError};

/// The committed baseline.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/BASELINE");

// Reading arguments by hand: what is linked into this program is optimised as a whole each time that it is built.
fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let counted = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => command::check(Path::new(BASELINE)),
        ["bless"] => command::bless(Path::new(BASELINE)).map(|()| true),
        [command::SUBJECTS] => return subjects(),
        _ => {
            eprintln!("counts: say `check` to compare with {BASELINE}, or `bless` to write it anew");
            return ExitCode::from(2);
        }
    };
    match counted {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::from(if matches!(error, CountError::NoValgrind) { 3 } else { 1 })
        }
    }
}

fn subjects() -> ExitCode {
    match command::work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}
