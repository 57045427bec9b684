//! What was done that a device would not have forgiven. Written by the tables, read by tests and by whoever looks at the
//! exit status of a process.
#![allow(unsafe_code)] // atexit and _exit

use std::{
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    sync::{Mutex, Once},
};

use crate::lock;

/// The status with which a process exits after misuse.
pub const STATUS: i32 = 70;

/// Lines of misuse.
#[derive(Debug, Default)]
pub struct Report {
    lines: Mutex<Vec<String>>,
    file: Option<PathBuf>,
    fail_at_exit: bool,
}

impl Report {
    /// One that appends its lines to a file, and that may fail the process when it exits.
    #[must_use]
    pub fn new(file: Option<PathBuf>, fail_at_exit: bool) -> Self {
        Self { lines: Mutex::default(), file, fail_at_exit }
    }

    /// Adds a line.
    pub fn misuse(&self, line: &str) {
        lock(&self.lines).push(line.to_owned());
        eprintln!("fake-device: misuse: {line}");
        if let Some(file) = &self.file {
            let opened = OpenOptions::new().create(true).append(true).open(file);
            if let Err(error) = opened.and_then(|mut file| writeln!(file, "{line}")) {
                eprintln!("fake-device: {}: {error}", file.display());
            }
        }
        if self.fail_at_exit {
            fail_at_exit();
        }
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }
}

fn fail_at_exit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler may be called at any time and calls nothing that needs the process intact.
        let _ = unsafe { libc::atexit(exit) };
    });
}

extern "C" fn exit() {
    // SAFETY: ends the process.
    unsafe { libc::_exit(STATUS) }
}
