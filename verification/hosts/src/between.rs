//! `hosts between -- COMMAND`: gives a command two hosts with a pair of veth devices between them.
//!
//! Called by `main`. The comparison with other transfer engines is such a command.

use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

use crate::{NOT_HERE, network::Network};

/// A command line that is none.
const USAGE: u8 = 2;

/// Runs the command with the hosts in its environment; the exit code is the command's.
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.skip_while(|word| word == "--").collect();
    let Some((program, arguments)) = words.split_first() else {
        eprintln!("hosts between: which command? hosts between -- COMMAND [ARGUMENT]...");
        return ExitCode::from(USAGE);
    };
    let network = match Network::pair() {
        Ok(network) => network,
        Err(error) => {
            eprintln!("hosts between: {error}");
            return ExitCode::from(NOT_HERE);
        }
    };
    let mut command = Command::new(program);
    for (index, host) in network.hosts().iter().enumerate() {
        command.env(format!("HOST_{index}"), host.namespace());
        command.env(format!("ADDRESS_{index}"), host.address().to_string());
    }
    match command.args(arguments).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("hosts between: {}: {error}", program.display());
            ExitCode::from(NOT_HERE)
        }
    }
}
