//! What became of a weakened ordering.

use crate::process::Ended;

/// How a mutant ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A model failed, as it must.
    Caught {
        /// The model.
        model: String,
        /// What it said.
        says: String,
    },
    /// Every model passed: the ordering is not needed, or the models do not look.
    Survived,
    /// A model neither failed nor ended.
    Hung {
        /// The model.
        model: String,
    },
    /// A model's process died without a word from loom.
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
    /// Whether the models did what they are there for.
    pub(super) fn is_caught(&self) -> bool {
        matches!(self, Self::Caught { .. })
    }

    /// One line for the table.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Caught { model, says } => format!("caught by {model}: {says}"),
            Self::Survived => "SURVIVED: no model fails without it".to_owned(),
            Self::Hung { model } => format!("HUNG in {model}"),
            Self::Crashed { how } => format!("CRASHED without a failed model: {how}"),
            Self::Broken { why } => format!("NOT BUILT: {why}"),
            Self::NotTried => "NOT TRIED: the suite's time was over".to_owned(),
        }
    }
}

/// Reads one model's end; none when the model passed, so that the next one has its say.
pub(super) fn read(model: &str, ended: &Ended) -> Option<Verdict> {
    if ended.succeeded() {
        return None;
    }
    let model = model.to_owned();
    // A model that fails may take its process down with it: loom's own drop checks panic during a panic.
    Some(match (panic_message(&ended.stderr), ended.status) {
        (Some(says), _) => Verdict::Caught { model, says },
        (None, None) => Verdict::Hung { model },
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
        Verdict::Caught { model: "m".to_owned(), says }
    }

    #[test]
    fn a_model_that_passes_gives_no_verdict() {
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
        assert_eq!(read("m", &ended(None, "running 1 test")), Some(Verdict::Hung { model: "m".to_owned() }));
        let crashed = read("m", &ended(Some(11), "running 1 test"));
        assert!(matches!(crashed, Some(Verdict::Crashed { .. })), "{crashed:?}");
        assert!(!crashed.is_some_and(|verdict| verdict.is_caught()));
    }
}
