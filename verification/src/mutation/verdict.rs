//! What became of a planted fault.

use crate::process::Ended;

/// How a fault ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A check failed, as it must.
    Caught {
        /// The check.
        check: String,
        /// What it said.
        says: String,
    },
    /// Every check passed: what was changed is not needed, or the checks do not look.
    Survived,
    /// A check neither failed nor ended.
    Hung {
        /// The check.
        check: String,
    },
    /// A check's process died without a word.
    Crashed {
        /// How it died.
        how: String,
    },
    /// It does not build, or could not be tried.
    Broken {
        /// Why.
        why: String,
    },
    /// The suite's time was over.
    NotTried,
}

impl Verdict {
    /// Whether the checks did what they are there for.
    pub(crate) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }

    /// One line for the table.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Caught { check, says } => format!("caught by {check}: {says}"),
            Self::Survived => "SURVIVED: no check fails".to_owned(),
            Self::Hung { check } => format!("HUNG in {check}"),
            Self::Crashed { how } => format!("CRASHED without a failed check: {how}"),
            Self::Broken { why } => format!("NOT TRIED: {why}"),
            Self::NotTried => "NOT TRIED: the suite's time was over".to_owned(),
        }
    }
}

/// Reads one check's end; none when it passed, so that the next one has its say.
pub(crate) fn read(check: &str, ended: &Ended) -> Option<Verdict> {
    if ended.succeeded() {
        return None;
    }
    let check = check.to_owned();
    // A check that fails may take its process down with it: loom's own drop checks panic during a panic.
    Some(match (panic_message(&ended.stderr), ended.status) {
        (Some(says), _) => Verdict::Caught { check, says },
        (None, None) => Verdict::Hung { check },
        (None, Some(status)) => Verdict::Crashed { how: status.to_string() },
    })
}

/// The first line of the first panic, from standard error: what the test runner says would come in between.
fn panic_message(stderr: &str) -> Option<String> {
    let mut lines =
        stderr.lines().skip_while(|line| !(line.contains("panicked at ") && line.starts_with("thread ")));
    lines.next()?;
    Some(lines.map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().chars().take(60).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;

    fn ended(status: Option<i32>, output: &str) -> Ended {
        Ended {
            status: status.map(ExitStatus::from_raw),
            stdout: String::new(),
            stderr: output.to_owned(),
            output: output.to_owned(),
            limit: Duration::from_secs(1),
            left_behind: Vec::new(),
        }
    }

    const PANIC: &str = "running 1 test\n\nthread 'a::model::b' (7) panicked at src/a.rs:1:2:\n\nCausality violation: \
        Concurrent read and write accesses.\nmore\n";

    fn caught() -> Verdict {
        let says = "Causality violation: Concurrent read and write accesses.".to_owned();
        Verdict::Caught { check: "m".to_owned(), says }
    }

    #[test]
    fn a_check_that_passes_gives_no_verdict() {
        assert_eq!(read("m", &ended(Some(0), "test result: ok. 1 passed")), None);
    }

    #[test]
    fn a_panic_is_caught_however_the_process_ends() {
        assert_eq!(read("m", &ended(Some(101 << 8), PANIC)), Some(caught()));
        assert_eq!(read("m", &ended(Some(6), PANIC)), Some(caught()));
        assert_eq!(read("m", &ended(None, PANIC)), Some(caught()));
    }

    #[test]
    fn silence_is_never_caught() {
        assert_eq!(read("m", &ended(None, "running 1 test")), Some(Verdict::Hung { check: "m".to_owned() }));
        let crashed = read("m", &ended(Some(11), "running 1 test"));
        assert!(matches!(crashed, Some(Verdict::Crashed { .. })), "{crashed:?}");
        assert!(!crashed.is_some_and(|verdict| verdict.is_caught()));
    }
}
