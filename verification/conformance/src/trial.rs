//! A case as a test: on a thread of its own, under a deadline, its panic told.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
};

use conformance::{cases::Case, context::Context};
use libtest_mimic::{Completion, Failed, Trial};

/// A case may take this many times the patience of one wait.
const WAITS: u32 = 5;

/// The test of a case on a bed.
pub(crate) fn make(case: Case, context: Context) -> Trial {
    let name = format!("{}::{}", context.bed.name(), case.name);
    let lacking = case.needs.iter().find_map(|ability| Some((ability, context.bed.lacks(*ability)?)));
    if let Some((ability, reason)) = lacking {
        let reason = format!("no {ability}: {reason}");
        return Trial::ignorable_test(name, move || Ok(Completion::ignored_with(reason)));
    }
    let thread_name = name.clone();
    Trial::test(name, move || run(thread_name, case, context))
}

/// Runs a case. One that hangs keeps its thread, which ends with the process.
fn run(name: String, case: Case, context: Context) -> Result<(), Failed> {
    let limit = context.patience * WAITS;
    let (ended, end) = mpsc::channel();
    let body = move || {
        let result = catch_unwind(AssertUnwindSafe(|| (case.run)(&context)));
        let _ = ended.send(result.map_err(|panic| message(&*panic)));
    };
    thread::Builder::new().name(name).spawn(body).map_err(|error| format!("starting a thread: {error}"))?;
    match end.recv_timeout(limit) {
        Ok(result) => result.map_err(Failed::from),
        Err(RecvTimeoutError::Timeout) => Err(format!("hanging: no end within {limit:?}").into()),
        Err(RecvTimeoutError::Disconnected) => Err("the case's thread ended without a word".into()),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use conformance::{
        bed::{
            Ability,
            fake::{FakeBed, Manner},
        },
        context::Effort,
    };
    use libtest_mimic::{Arguments, Conclusion};

    use super::*;

    fn conclude(needs: &'static [Ability], body: fn(&Context)) -> Conclusion {
        let context = Context {
            bed: Arc::new(FakeBed::new("fake", Manner::BRISK)),
            effort: Effort::Quick,
            seed: 1,
            seeds: 1,
            patience: Duration::from_millis(20),
        };
        let trial = make(Case { name: "test::case", needs, run: body }, context);
        // Who counts this program's results must not count these.
        let logfile = Some("/dev/null".to_owned());
        libtest_mimic::run(&Arguments { logfile, ..Arguments::default() }, vec![trial])
    }

    #[test]
    fn a_case_that_hangs_is_a_failure() {
        let conclusion = conclude(&[], |_| {
            loop {
                thread::park();
            }
        });
        assert_eq!((conclusion.num_failed, conclusion.has_failed()), (1, true));
    }

    #[test]
    fn a_case_that_panics_is_a_failure() {
        assert_eq!(conclude(&[], |_| panic!("as planned")).num_failed, 1);
        assert_eq!(conclude(&[], |_| ()).num_passed, 1);
    }

    #[test]
    fn a_stated_limit_ignores_the_case() {
        let conclusion = conclude(&[Ability::Processes], |_| panic!("not to be run"));
        assert_eq!((conclusion.num_ignored, conclusion.num_failed), (1, 0));
    }
}
