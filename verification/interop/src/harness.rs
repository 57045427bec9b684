//! Runs named checks one after the other and says what became of them, in the words of Rust's test programs.
//!
//! Used by the commands of this package; the suites count tests by the last line.

use std::{
    any::Any,
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Checks that were run.
#[derive(Debug, Default)]
pub struct Harness {
    /// Only checks whose name contains one of these are run; all of them where there is none.
    only: Vec<String>,
    passed: usize,
    filtered: usize,
    failures: Vec<(String, String)>,
}

impl Harness {
    /// Runs checks whose name contains one of `only`, or every check.
    #[must_use]
    pub fn new(only: Vec<String>) -> Self {
        Self { only, ..Self::default() }
    }

    /// Runs a check; it fails by panicking.
    pub fn check(&mut self, name: &str, check: impl FnOnce()) {
        if !self.only.is_empty() && !self.only.iter().any(|part| name.contains(part.as_str())) {
            self.filtered += 1;
            return;
        }
        let before = panic::take_hook();
        panic::set_hook(Box::new(|panicked| {
            let place = panicked.location().map_or_else(String::new, ToString::to_string);
            PLACE.with(|kept| *kept.borrow_mut() = place);
        }));
        let result = panic::catch_unwind(AssertUnwindSafe(check));
        panic::set_hook(before);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        match result {
            Ok(()) => self.passed += 1,
            Err(payload) => self.failures.push((name.to_owned(), text(payload.as_ref()))),
        }
    }

    /// Repeats what failed, sums up, and gives the exit code: failure also where nothing was run.
    #[must_use]
    pub fn finish(self) -> ExitCode {
        for (name, text) in &self.failures {
            println!("\n---- {name} ----\n{text}");
        }
        let good = self.failures.is_empty() && self.passed != 0;
        println!(
            "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out",
            if good { "ok" } else { "FAILED" },
            self.passed,
            self.failures.len(),
            self.filtered
        );
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What a panic said, and where.
fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    PLACE.with(|place| format!("{}: {text}", place.borrow()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_kept_with_their_words() {
        let mut harness = Harness::default();
        harness.check("good", || ());
        harness.check("bad", || assert_eq!(1, 2, "numbers differ"));
        assert_eq!(harness.passed, 1);
        assert_eq!(harness.failures.len(), 1);
        assert!(harness.failures[0].1.contains("numbers differ"), "{:?}", harness.failures);
        assert_eq!(format!("{:?}", harness.finish()), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn only_what_was_asked_for_is_run() {
        let mut harness = Harness::new(vec!["one".into(), "two".into()]);
        for name in ["number one", "number two", "number three"] {
            harness.check(name, || ());
        }
        assert_eq!((harness.passed, harness.filtered), (2, 1));
    }

    #[test]
    fn nothing_run_is_a_failure() {
        let code = Harness::default().finish();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    }
}
