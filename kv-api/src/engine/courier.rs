//! A thread for what takes longer than a lane may be kept: finding out which blocks a failed transfer leaves invalid.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

type Errand = Box<dyn FnOnce() + Send>;

/// Runs errands one after the other, on a thread that is started with the first and ends with the courier.
#[derive(Default)]
pub(super) struct Courier {
    errands: Mutex<Option<mpsc::Sender<Errand>>>,
}

impl Courier {
    pub(super) fn send(&self, errand: impl FnOnce() + Send + 'static) {
        let mut sender = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        let mut errand: Errand = Box::new(errand);
        if let Some(known) = sender.as_ref() {
            match known.send(errand) {
                Ok(()) => return,
                Err(mpsc::SendError(returned)) => errand = returned,
            }
        }
        let (new, errands) = mpsc::channel::<Errand>();
        let run = move || {
            for errand in errands {
                let _ = catch_unwind(AssertUnwindSafe(errand));
            }
        };
        match thread::Builder::new().name("pmd-kv-courier".into()).spawn(run) {
            Ok(_) => {
                // The thread that was started above takes it.
                let _ = new.send(errand);
                *sender = Some(new);
            }
            // Without a thread it is done here: late for the caller, but not lost.
            Err(_) => {
                let _ = catch_unwind(AssertUnwindSafe(errand));
            }
        }
    }
}
