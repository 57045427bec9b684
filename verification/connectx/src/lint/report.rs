//! Says what was broken, and ends the process where that is wanted.
#![allow(unsafe_code)] // writes by system call: the process may be inside a signal handler, with any lock held

use super::Violation;
use crate::config::OnViolation;

/// Writes each violation to standard error, then aborts where one is this process's, or goes on. Called with the device
/// given back.
pub(crate) fn report(then: OnViolation, violations: &[Violation]) {
    #[cfg(test)]
    if then == OnViolation::Report {
        return seen::note(violations);
    }
    for violation in violations {
        write(&format!("{violation}\n"));
    }
    if then == OnViolation::Abort && violations.iter().any(|violation| violation.is_own) {
        std::process::abort();
    }
}

/// To standard error, past the C library's interposed `write` and past Rust's lock of the stream.
pub(crate) fn write(text: &str) {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        // SAFETY: a slice, with its length.
        let written =
            unsafe { libc::syscall(libc::SYS_write, libc::STDERR_FILENO, left.as_ptr(), left.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => left = &left[written.min(left.len())..],
            _ => return,
        }
    }
}

/// In tests, what was reported on this thread.
#[cfg(test)]
pub(crate) mod seen {
    use std::cell::RefCell;

    use super::Violation;

    thread_local! {
        static SEEN: RefCell<Vec<Violation>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(violations: &[Violation]) {
        SEEN.with_borrow_mut(|seen| seen.extend_from_slice(violations));
    }

    /// Takes what was reported since the last call.
    pub(crate) fn take() -> Vec<Violation> {
        SEEN.take()
    }
}
