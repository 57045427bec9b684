//! Runs a command in the foreground: with this process's input and output, and with the signals that this process gets.
//!
//! Called by `connectx` and `accelerators` for the command that they are given.
#![allow(unsafe_code)] // a signal handler, which calls only kill

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Signals that end a command, which is then waited for, so that what was made for it is cleared away.
const FORWARDED: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// The command does not start.
#[derive(Debug, thiserror::Error)]
#[error("{program:?} does not start: {source}")]
pub(crate) struct StartError {
    /// What was to run.
    pub(crate) program: OsString,
    /// What the system said.
    pub(crate) source: io::Error,
}

impl StartError {
    /// 3 for what is not on this machine, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.source.kind() == io::ErrorKind::NotFound { 3 } else { 1 }
    }
}

/// What to run: what was asked for, or else a shell.
pub(crate) fn words(command: &[OsString]) -> Vec<OsString> {
    if !command.is_empty() {
        return command.to_vec();
    }
    vec![std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())]
}

/// The command, for the handler.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// A signal that came before there was a command.
static EARLY: AtomicI32 = AtomicI32::new(0);

/// Runs a command to its end and gives its exit code: 128 and the number of the signal that ended it.
///
/// # Errors
/// [`StartError`].
pub(crate) fn run(words: &[OsString], environment: &[(OsString, OsString)]) -> Result<u8, StartError> {
    let Some((program, arguments)) = words.split_first() else { return Ok(0) };
    let failed = |source| StartError { program: program.clone(), source };
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.iter().cloned());
    forward().map_err(|error| failed(error.into()))?;
    let mut child = command.spawn().map_err(failed)?;
    CHILD.store(child.id().cast_signed(), Ordering::SeqCst);
    send(EARLY.swap(0, Ordering::SeqCst));
    let status = child.wait();
    CHILD.store(0, Ordering::SeqCst);
    status.map(code).map_err(failed)
}

fn code(status: ExitStatus) -> u8 {
    let by_signal = status.signal().map(|signal| 128 + signal);
    status.code().or(by_signal).map_or(1, |code| code as u8)
}

fn forward() -> nix::Result<()> {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_RESTART;
    let action = SigAction::new(SigHandler::SigAction(pass_on), flags, SigSet::empty());
    for signal in FORWARDED {
        // SAFETY: the handler touches an atomic and calls a function that is safe in a signal handler.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// What the terminal sends, it sends to the command as well.
extern "C" fn pass_on(signal: libc::c_int, information: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler of this kind its information.
    let from_kernel = unsafe { (*information).si_code } == libc::SI_KERNEL;
    if CHILD.load(Ordering::SeqCst) == 0 {
        EARLY.store(signal, Ordering::SeqCst);
    } else if !from_kernel {
        send(signal);
    }
}

fn send(signal: libc::c_int) {
    let child = CHILD.load(Ordering::SeqCst);
    if child > 0 && signal != 0 {
        // SAFETY: takes plain numbers; the process is a child that has not been waited for.
        unsafe { libc::kill(child, signal) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<u8, StartError> {
        run(&["sh", "-c", script].map(OsString::from), &[("FOREGROUND_TEST".into(), "42".into())])
    }

    /// One test: there is one command at a time.
    #[test]
    fn the_exit_code_and_the_signals_are_the_commands() {
        assert!(matches!(shell("exit $FOREGROUND_TEST"), Ok(42)));
        assert!(matches!(shell("kill -KILL $$"), Ok(137)));
        // As a supervisor ends this process; the command may end it in its own way.
        let script = "trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.05; done";
        assert!(matches!(shell(script), Ok(7)));
        a_command_that_is_not_there_is_named();
    }

    fn a_command_that_is_not_there_is_named() {
        let error = run(&["no-such-command-here".into()], &[]).expect_err("not installed");
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("no-such-command-here"), "{error}");
    }
}
