//! A case as a test: on a thread of its own, under a deadline, its panic told.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use libtest_mimic::{Failed, Trial};

use crate::{cases::Case, programs::Context};

/// A case may take this long, and as long as it soaks.
const LIMIT: Duration = Duration::from_secs(180);

/// The test of a case.
pub(crate) fn make(case: Case, context: Context) -> Trial {
    Trial::test(case.name, move || run(case, context))
}

/// Runs a case. One that hangs keeps its thread, which ends with the process.
fn run(case: Case, context: Context) -> Result<(), Failed> {
    let limit = LIMIT + context.soak.lasts;
    let (ended, end) = mpsc::channel();
    let body = move || {
        let result = catch_unwind(AssertUnwindSafe(|| (case.run)(&context)));
        let _ = ended.send(result.map_err(|panic| message(&*panic)));
    };
    let named = thread::Builder::new().name(case.name.into());
    let thread = named.spawn(body).map_err(|error| format!("starting a thread: {error}"))?;
    let result = match end.recv_timeout(limit) {
        Ok(result) => result.map_err(Failed::from),
        Err(RecvTimeoutError::Timeout) => return Err(format!("hanging: no end within {limit:?}").into()),
        Err(RecvTimeoutError::Disconnected) => Err("the case's thread ended without a word".into()),
    };
    // Its panic, if there was one, has been told.
    let _ = thread.join();
    result
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked without a message".to_owned())
}
