//! What is put into a stream, and each row of the table of states.

extern crate std;

use alloc::{vec, vec::Vec};
use std::sync::Mutex;

use super::*;
use crate::{
    accelerator::{CopyRange, Event},
    sync::AtomicU64,
};

#[derive(Debug, Default)]
struct Word(AtomicU64);

impl Flag for Word {
    fn address(&self) -> u64 {
        (&raw const self.0) as u64
    }

    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}

/// Writes down what is put into it: signal or wait, the flag's address, the value.
#[derive(Debug, Default)]
struct Listed(Mutex<Vec<(bool, u64, u64)>>);

impl Stream for Listed {
    fn native(&self) -> u64 {
        0
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn wait(&self, _: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        self.0.lock().unwrap().push((true, flag.address(), value));
        Ok(())
    }

    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        self.0.lock().unwrap().push((false, flag.address(), value));
        Ok(())
    }

    #[expect(unsafe_code, reason = "the trait's own")]
    unsafe fn copy(&self, _: &[CopyRange]) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }
}

fn toggle() -> (Toggle, Arc<Word>, Arc<Word>) {
    let (request, done) = (Arc::new(Word::default()), Arc::new(Word::default()));
    (Toggle::new(Arc::clone(&request) as Arc<dyn Flag>, Arc::clone(&done) as Arc<dyn Flag>), request, done)
}

#[test]
fn a_launch_clears_asks_and_waits() {
    let (toggle, request, done) = toggle();
    let stream = Listed::default();
    toggle.put(&stream).unwrap();
    let (request, done) = (request.address(), done.address());
    assert_eq!(*stream.0.lock().unwrap(), vec![(true, done, 0), (true, request, 1), (false, done, 1)]);
}

#[test]
fn a_launch_is_taken_once_and_answered() {
    let (toggle, request, done) = toggle();
    assert_eq!(toggle.take(), None);
    for _ in 0..3 {
        done.store(0);
        request.store(1);
        assert_eq!((toggle.take(), toggle.take()), (Some(Asked::Launch), None));
        assert_eq!((request.load(), done.load()), (0, 0));
        let mut seen = None;
        toggle.answer(|overlap| seen = Some((overlap, done.load())));
        assert_eq!((seen, done.load()), (Some((None, 0)), 1), "told before the stream goes on");
    }
}

#[test]
fn a_launch_that_asks_before_the_answer_shares_it() {
    let (toggle, request, done) = toggle();
    request.store(1);
    assert_eq!(toggle.take(), Some(Asked::Launch));
    request.store(1);
    let mut seen = None;
    toggle.answer(|overlap| seen = overlap);
    assert_eq!((seen, request.load(), done.load()), (Some(Asked::Overlap), 0, 1));
    assert_eq!(toggle.take(), None);
}

#[test]
fn a_launch_that_asked_during_the_answer_has_gone_on() {
    let (toggle, request, done) = toggle();
    done.store(1);
    request.store(1);
    assert_eq!(toggle.take(), Some(Asked::Overlap));
    assert_eq!((request.load(), done.load()), (0, 1));
}
