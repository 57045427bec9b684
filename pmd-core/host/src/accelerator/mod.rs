//! The accelerator without a device, and waiting for accelerators with a deadline.
//!
//! # Place in the flow
//! [`CpuAccelerator`] implements `pmd_core::accelerator` over ordinary memory: its memory lies in memory files that other
//! processes open, its streams are threads that work in order. Tests of everything that takes device memory use it, and
//! engines on machines without an accelerator. [`wait_for`] and [`wait_for_value`] are for whoever waits on an ordinary
//! thread, whatever the accelerator is; lanes never wait.
//!
//! Memory of a device is not the processor's to touch. With [`CpuOptions::shielded`] it is so here too: the address that
//! everybody is told has no access rights, and streams copy through a second mapping that nobody else knows. Whoever
//! touches such memory directly ends with SIGSEGV, as the fault of the program that it is on a real device.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use pmd_core::accelerator::{Accelerator, CopyDirection, CopyRange, Stream};
//! use pmd_host::accelerator::{CpuAccelerator, CpuOptions, wait_for};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let accelerator = CpuAccelerator::new(CpuOptions { shielded: true, ..CpuOptions::default() });
//! let memory = accelerator.allocate(4096)?;
//! let stream = accelerator.open_stream()?;
//!
//! let (from, mut back) = ([7_u8; 16], [0_u8; 16]);
//! let device = memory.description().address;
//! let into = CopyRange { from: from.as_ptr() as u64, to: device, length: 16, direction: CopyDirection::HostToDevice };
//! let out = CopyRange { from: device, to: back.as_mut_ptr() as u64, length: 16, direction: CopyDirection::DeviceToHost };
//! // SAFETY: both arrays live until the event behind the copies is done.
//! unsafe { stream.copy(&[into, out])? };
//! let copied = stream.record()?;
//! assert!(wait_for(&*copied, Some(Instant::now() + Duration::from_secs(10)))?);
//! assert_eq!(back, from);
//! # Ok(())
//! # }
//! ```

mod controls;
mod cpu;
mod event;
mod memory;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use controls::CpuCounters;
pub use cpu::{CpuAccelerator, CpuOptions, Hold};
use pmd_core::accelerator::{AcceleratorError, Event, Flag};
pub use stream::{CpuStream, KernelFault};

/// Waits until an event is done. `false` at the deadline; `None` waits for as long as it takes.
///
/// # Errors
/// What [`Event::query`] says: the work in front of the event failed, or the event cannot be done any more.
pub fn wait_for(event: &dyn Event, deadline: Option<Instant>) -> Result<bool, AcceleratorError> {
    ask_until(deadline, || event.query())
}

/// Waits until a flag has at least `value`. `false` at the deadline; `None` waits for as long as it takes.
#[must_use]
pub fn wait_for_value(flag: &dyn Flag, value: u64, deadline: Option<Instant>) -> bool {
    // Looking at a flag does not fail.
    ask_until(deadline, || Ok(flag.load() >= value)).unwrap_or(false)
}

/// Asks again and again, yielding for a while and then pausing in between.
fn ask_until(
    deadline: Option<Instant>,
    mut done: impl FnMut() -> Result<bool, AcceleratorError>,
) -> Result<bool, AcceleratorError> {
    const BUSY: Duration = Duration::from_micros(200);
    const PAUSE: Duration = Duration::from_micros(50);
    let begun = Instant::now();
    while !done()? {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(false);
        }
        if now - begun < BUSY { thread::yield_now() } else { thread::sleep(PAUSE) }
    }
    Ok(true)
}
