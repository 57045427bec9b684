//! Ends the running commands when the user or a supervisor ends this process.
//!
//! Commands run in process groups of their own, so the terminal's interrupt does not reach them: the handler ends
//! every registered group and then this process. `process` registers a group while its command runs.
#![allow(unsafe_code)] // a signal handler, which calls only kill and _exit

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;

/// Room for the process groups that run at one time; a handler can take no lock.
static GROUPS: [AtomicI32; 8] = [const { AtomicI32::new(0) }; 8];

/// Keeps a process group registered while it lives.
#[derive(Debug)]
pub(crate) struct Registered(Option<&'static AtomicI32>);

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(0, Ordering::SeqCst);
        }
    }
}

/// Registers a process group; with every slot taken it stays unregistered and is bounded by its time alone.
pub(crate) fn register(group: Pid) -> Registered {
    let take = |slot: &&AtomicI32| {
        slot.compare_exchange(0, group.as_raw(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    Registered(GROUPS.iter().find(take))
}

/// Installs the handler for interrupt, hang-up and termination.
///
/// # Errors
///
/// The system refuses the handler.
pub(crate) fn install() -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(end_all), SaFlags::empty(), SigSet::all());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler touches atomics and calls only functions that are safe in a signal handler.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

extern "C" fn end_all(signal: libc::c_int) {
    for slot in &GROUPS {
        let group = slot.load(Ordering::SeqCst);
        if group > 0 {
            // SAFETY: kill takes plain numbers, and the group is one that this process started.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
    // SAFETY: _exit ends the process without running anything else.
    unsafe { libc::_exit(128 + signal) };
}
