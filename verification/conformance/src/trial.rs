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
