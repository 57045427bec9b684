//! Streams: this crate's own and the application's. Called by `accelerator`.
#![allow(unsafe_code)] // calls the runtime

use core::any::Any;
use core::ptr;
use std::fmt;
use std::sync::Arc;

use hip_sys::hip::{self, hipMemcpyKind};
use pmd_core::accelerator::{
    AcceleratorError, AcceleratorKind, CopyDirection, CopyRange, Event, Flag, Stream, word_of_value,
};

use crate::accelerator::Shared;
use crate::event::{DESTROYED, RocmEvent};
use crate::flag::RocmFlag;
use crate::memory::pointer;
use crate::outstanding::Tracked;
use crate::runtime::meaning;

/// A `hipStream_t`.
pub(crate) struct RocmStream {
    shared: Arc<Shared>,
    tracked: Arc<Tracked>,
}

impl RocmStream {
    /// A new one, which does not wait for the default stream.
    pub(crate) fn open(shared: &Arc<Shared>) -> Result<Self, AcceleratorError> {
        shared.imports.reap(shared);
        let (hip, _current) = (shared.hip, shared.current()?);
        let mut native = ptr::null_mut();
        // SAFETY: writes one handle.
        let answer = unsafe { hip.hipStreamCreateWithFlags(&mut native, hip::hipStreamNonBlocking) };
        hip.check("hipStreamCreateWithFlags", answer)?;
        Ok(Self { shared: Arc::clone(shared), tracked: shared.outstanding.open(native, true) })
    }

    /// The application's.
    pub(crate) fn of(shared: &Arc<Shared>, native: u64) -> Result<Self, AcceleratorError> {
        let handle = pointer(native).cast();
        if native != 0 {
            let _current = shared.current()?;
            // SAFETY: the runtime looks the handle up in its list, and answers -1 where it is not there.
            match unsafe { shared.hip.hipGetStreamDeviceId(handle) } {
                Ok(..0) => return Err(unknown_stream(native)),
                Ok(device) if device != shared.device() => return Err(shared.foreign()),
                // A runtime without the function cannot tell.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Self { shared: Arc::clone(shared), tracked: shared.outstanding.open(handle, false) })
    }

    /// A stream that was destroyed has its own error.
    fn explain(&self, error: AcceleratorError) -> AcceleratorError {
        meaning(error, &DESTROYED, || unknown_stream(self.native()))
    }

    /// The flag as one of this accelerator.
    fn flag<'a>(&self, flag: &'a Arc<dyn Flag>) -> Result<&'a RocmFlag, AcceleratorError> {
        let any: &dyn Any = &**flag;
        any.downcast_ref::<RocmFlag>()
            .filter(|flag| flag.is_of(&self.shared))
            .ok_or_else(|| self.shared.foreign())
    }
}

impl Stream for RocmStream {
    fn native(&self) -> u64 {
        self.tracked.native().expose_provenance() as u64
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        let _current = self.shared.current()?;
        let event = RocmEvent::record(&self.shared, self.tracked.native());
        event.map(|event| Arc::new(event) as Arc<dyn Event>).map_err(|error| self.explain(error))
    }

    fn wait(&self, event: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        let any: &dyn Any = &**event;
        let ours = any.downcast_ref::<RocmEvent>().filter(|event| event.is_of(&self.shared));
        let native = ours.and_then(RocmEvent::native);
        let native = native.ok_or_else(|| self.shared.foreign())?;
        let _current = self.shared.current()?;
        native.hold(self.tracked.native()).map_err(|error| self.explain(error))
    }

    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        let (word, value) = (self.flag(flag)?.word(), word_of_value(value));
        let (hip, _current) = (self.shared.hip, self.shared.current()?);
        // SAFETY: the word stays allocated until the stream has written it.
        let answer =
            unsafe { hip.hipStreamWriteValue64(self.tracked.native(), pointer(word.address()), value, 0) };
        self.tracked.keep(word);
        hip.check("hipStreamWriteValue64", answer).map_err(|error| self.explain(error))
    }

    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        let (word, value) = (self.flag(flag)?.word(), word_of_value(value));
        let (hip, _current) = (self.shared.hip, self.shared.current()?);
        let (native, address) = (self.tracked.native(), pointer(word.address()));
        // SAFETY: the word stays allocated until the stream has seen the value.
        let answer =
            unsafe { hip.hipStreamWaitValue64(native, address, value, hip::hipStreamWaitValueGte, u64::MAX) };
        self.tracked.keep(word);
        hip.check("hipStreamWaitValue64", answer).map_err(|error| self.explain(error))
    }

    unsafe fn copy(&self, copies: &[CopyRange]) -> Result<(), AcceleratorError> {
        let mut runs = Runs(copies).peekable();
        if runs.peek().is_none() {
            return Ok(());
        }
        let (hip, _current) = (self.shared.hip, self.shared.current()?);
        let copied = runs.try_for_each(|CopyRange { from, to, length, direction }| {
            // SAFETY: the caller promises that both ranges are allocated where the direction says, and stay so.
            let answer = unsafe {
                hip.hipMemcpyAsync(
                    pointer(to),
                    pointer(from),
                    length as usize,
                    kind(direction),
                    self.tracked.native(),
                )
            };
            hip.check("hipMemcpyAsync", answer).map_err(|error| self.explain(error))
        });
        self.tracked.has_copied();
        copied
    }
}

impl Drop for RocmStream {
    fn drop(&mut self) {
        self.shared.outstanding.close(&self.tracked);
    }
}

impl fmt::Debug for RocmStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RocmStream({:#x})", self.native())
    }
}

/// Ranges, with neighbours made one: each copy costs the runtime some microseconds. Empty ones are left out.
struct Runs<'a>(&'a [CopyRange]);

impl Iterator for Runs<'_> {
    type Item = CopyRange;

    fn next(&mut self) -> Option<CopyRange> {
        let first = self.0.iter().position(|copy| copy.length > 0)?;
        let mut run = self.0[first];
        let mut taken = first + 1;
        while let Some(next) = self.0.get(taken).filter(|next| next.length == 0 || follows(&run, next)) {
            run.length += next.length;
            taken += 1;
        }
        self.0 = &self.0[taken..];
        Some(run)
    }
}

/// Whether a range begins, on both sides, where the other ends.
fn follows(run: &CopyRange, next: &CopyRange) -> bool {
    let ends = |begin: u64| begin.checked_add(run.length);
    next.direction == run.direction
        && ends(run.from) == Some(next.from)
        && ends(run.to) == Some(next.to)
        && run.length.checked_add(next.length).is_some()
}

const fn kind(direction: CopyDirection) -> hipMemcpyKind {
    match direction {
        CopyDirection::HostToDevice => hip::hipMemcpyHostToDevice,
        CopyDirection::DeviceToHost => hip::hipMemcpyDeviceToHost,
        CopyDirection::DeviceToDevice => hip::hipMemcpyDeviceToDevice,
        CopyDirection::HostToHost => hip::hipMemcpyHostToHost,
    }
}

const fn unknown_stream(native: u64) -> AcceleratorError {
    AcceleratorError::UnknownStream { kind: AcceleratorKind::Rocm, native }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64, length: u64) -> CopyRange {
        CopyRange { from, to, length, direction: CopyDirection::DeviceToDevice }
    }

    #[test]
    fn neighbours_on_both_sides_become_one() {
        let copies = [
            range(0, 0, 0),
            range(0x1000, 0x9000, 16),
            range(0x1010, 0x9010, 16),
            range(7, 7, 0),
            range(0x1020, 0x9020, 32),
            range(0x1040, 0x8000, 16),
            range(0x2000, 0x8010, 16),
            CopyRange { direction: CopyDirection::HostToDevice, ..range(0x2010, 0x8020, 16) },
            range(u64::MAX - 15, 0x100, 16),
            range(0, 0x110, 16),
        ];
        let runs: Vec<CopyRange> = Runs(&copies).collect();
        assert_eq!(runs[0], range(0x1000, 0x9000, 64));
        assert_eq!(runs[1..], [copies[5], copies[6], copies[7], copies[8], copies[9]]);
    }

    #[test]
    fn empty_ranges_are_nothing() {
        assert_eq!(Runs(&[range(1, 2, 0), range(3, 4, 0)]).next(), None);
        assert_eq!(Runs(&[]).next(), None);
    }
}
