//! A case as a test: on a thread of its own, under a deadline, its panic told.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
};

use libtest_mimic::{Completion, Failed, Trial};

use crate::{bench::Name, cases::Case, context::Context};

/// A case may take this many times the patience of one wait.
const WAITS: u32 = 5;

/// The test of a case on an accelerator.
pub(crate) fn make(case: Case, context: Context) -> Trial {
    let name = format!("{}::{}", context.name.text(), case.name);
    let thread_name = name.clone();
    Trial::ignorable_test(name, move || match case.stand_in {
        Some(why) if context.counts().is_err() => {
            Ok(Completion::ignored_with(format!("for stand-ins only: {why}")))
        }
        _ => run(thread_name, case, context),
    })
}

/// The test that there is no device, and that this is said in a line.
pub(crate) fn absent(name: Name) -> Trial {
    Trial::test(format!("{}::absent", name.text()), move || {
        let unavailable = match name.open(0) {
            Ok(accelerator) => return Err(format!("there is {:?}", accelerator.identity()).into()),
            Err(unavailable) => unavailable,
        };
        eprintln!("{}: {unavailable}", name.text());
        let told = !unavailable.is_empty() && !unavailable.contains('\n');
        if told { Ok(()) } else { Err(format!("not a line: {unavailable:?}").into()) }
    })
}

/// Runs a case. One that hangs keeps its thread, which ends with the process.
fn run(name: String, case: Case, context: Context) -> Result<Completion, Failed> {
    let limit = context.patience * WAITS;
    let (ended, end) = mpsc::channel();
    let body = move || {
        let result = catch_unwind(AssertUnwindSafe(|| (case.run)(&context)));
        let _ = ended.send(result.map_err(|panic| message(&*panic)));
    };
    thread::Builder::new().name(name).spawn(body).map_err(|error| format!("starting a thread: {error}"))?;
    match end.recv_timeout(limit) {
        Ok(Ok(Ok(()))) => Ok(Completion::Completed),
        Ok(Ok(Err(skip))) => Ok(Completion::ignored_with(skip.0)),
        Ok(Err(panic)) => Err(panic.into()),
        Err(RecvTimeoutError::Timeout) => Err(format!("hanging: no end within {limit:?}").into()),
        Err(RecvTimeoutError::Disconnected) => Err("the case's thread ended without a word".into()),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked without a message".to_owned())
}
