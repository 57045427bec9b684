//! A progress bar for runs longer than a second, on a terminal only.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Runs shorter than this show nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Steps between which nothing is measured: [`Progress::steps`] of a run.
const STEPS: u64 = 50;

/// Progress of one run. Told between steps, never inside of what is measured.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    terminal: bool,
}

impl Progress {
    /// A run of `total` iterations, not shown yet.
    pub(super) fn new(total: u64, what: String) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now(), terminal: stderr().is_terminal() }
    }

    /// Splits `total` iterations into spans that follow each other.
    pub(super) fn steps(total: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
        let length = total.div_ceil(STEPS).max(1);
        (0..total).step_by(length as usize).map(move |start| start..(start + length).min(total))
    }

    /// `done` iterations are over.
    pub(super) fn reached(&self, done: u64) {
        if !self.terminal || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        }
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn steps_cover_every_iteration_once() {
        for total in [0, 1, 49, 50, 51, 12_345] {
            let mut next = 0;
            for step in Progress::steps(total) {
                assert!(step.start == next && step.end > step.start);
                next = step.end;
            }
            assert_eq!(next, total);
        }
    }
}
