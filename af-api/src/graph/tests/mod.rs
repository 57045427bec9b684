//! Captured exchanges and services: streams of the processor's stand-in that replay by hand, and a device played by the test.

mod device;
mod exchange;
mod launches;
mod replays;
mod service;

use std::sync::{Arc, Mutex};

use pmd_core::accelerator::{AcceleratorError, CopyRange, Event, Flag, Stream};
use pmd_host::accelerator::{CpuAccelerator, CpuOptions};

use crate::worker::tests::support::until;

fn cpu() -> CpuAccelerator {
    CpuAccelerator::new(CpuOptions::default())
}

/// A stream that does nothing by itself: the test learns the flags and plays the device.
#[derive(Debug, Default)]
struct Played(Mutex<Vec<Arc<dyn Flag>>>);

impl Stream for Played {
    fn native(&self) -> u64 {
        0
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn wait(&self, _: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn signal(&self, flag: &Arc<dyn Flag>, _: u64) -> Result<(), AcceleratorError> {
        self.0.lock().unwrap().push(Arc::clone(flag));
        Ok(())
    }

    fn wait_value(&self, _: &Arc<dyn Flag>, _: u64) -> Result<(), AcceleratorError> {
        Ok(())
    }

    #[expect(unsafe_code, reason = "the trait's own")]
    unsafe fn copy(&self, _: &[CopyRange]) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }
}

/// A device that launches what was put into its stream.
struct Device {
    done: Arc<dyn Flag>,
    request: Arc<dyn Flag>,
    respond: Option<Arc<dyn Flag>>,
}

impl Device {
    fn new(put: impl FnOnce(&Played)) -> Self {
        let stream = Played::default();
        put(&stream);
        let mut flags = stream.0.into_inner().unwrap().into_iter();
        let (done, request) = (flags.next().unwrap(), flags.next().unwrap());
        Self { done, request, respond: flags.next() }
    }

    fn ask(&self) {
        self.done.store(0);
        self.request.store(1);
    }

    fn goes_on(&self) {
        until("the stream goes on", || self.done.load() == 1);
    }

    fn launch(&self) {
        self.ask();
        self.goes_on();
    }

    fn respond(&self) {
        self.respond.as_ref().unwrap().store(1);
    }
}
