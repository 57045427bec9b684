//! Words that streams and the host wait for. Called by `accelerator` and `stream`.
#![allow(unsafe_code)] // calls the runtime, reads and writes a word that the device does too

use core::ptr::NonNull;
use std::fmt;
use std::sync::Arc;

use core::ffi::c_int;

use hip_sys::hip;
use pmd_core::accelerator::{AcceleratorError, Flag, value_of_word, word_of_value};
use pmd_core::sync::{AtomicU64, Ordering};

use crate::accelerator::Shared;
use crate::memory::{allocate, pointer};
use crate::runtime::{Hip, unsupported};

/// A word and the accelerator that it is of.
pub(crate) struct RocmFlag {
    shared: Arc<Shared>,
    word: Arc<Word>,
}

/// Signal memory, which is what the runtime lets streams wait for. Streams that it was given to keep it allocated.
pub(crate) struct Word {
    hip: Hip,
    device: c_int,
    value: NonNull<AtomicU64>,
}

// SAFETY: the word is only touched as an atomic, and freed by the last owner.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

impl RocmFlag {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, AcceleratorError> {
        can_wait(shared)?;
        let bytes = size_of::<u64>() as u64;
        let address = allocate(shared, bytes, "hipExtMallocWithFlags", |hip, address, size| {
            // SAFETY: writes one pointer.
            unsafe { hip.hipExtMallocWithFlags(address, size, hip::hipMallocSignalMemory) }
        })?;
        let value = NonNull::new(pointer(address).cast::<AtomicU64>());
        let Some(value) = value.filter(|value| value.is_aligned()) else {
            return Err(unsupported(WAIT, "the runtime's signal memory is not a word of the host"));
        };
        // SAFETY: eight bytes that the host maps too, and nobody else knows them yet.
        unsafe { value.write(AtomicU64::new(0)) };
        let word = Word { hip: shared.hip, device: shared.device(), value };
        Ok(Self { shared: Arc::clone(shared), word: Arc::new(word) })
    }

    pub(crate) fn word(&self) -> &Arc<Word> {
        &self.word
    }

    /// Whether the flag is of this accelerator, or of another value for the same device.
    pub(crate) fn is_of(&self, shared: &Shared) -> bool {
        self.shared.identity == shared.identity
    }
}

impl Flag for RocmFlag {
    fn address(&self) -> u64 {
        self.word.address()
    }

    fn load(&self) -> u64 {
        value_of_word(self.word.value().load(Ordering::Acquire))
    }

    fn store(&self, value: u64) {
        self.word.value().store(word_of_value(value), Ordering::Release);
    }
}

impl fmt::Debug for RocmFlag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RocmFlag").field("value", &self.load()).finish_non_exhaustive()
    }
}

impl Word {
    pub(crate) fn address(&self) -> u64 {
        self.value.as_ptr().expose_provenance() as u64
    }

    fn value(&self) -> &AtomicU64 {
        // SAFETY: allocated for as long as the value lives, aligned, and touched as an atomic only.
        unsafe { self.value.as_ref() }
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        let Ok(_current) = self.hip.on_device(self.device) else { return };
        // SAFETY: hipExtMallocWithFlags gave it, and no stream has it any more.
        let answer = unsafe { self.hip.hipFree(self.value.as_ptr().cast()) };
        // Eight bytes that stay until the process ends: nobody could be told.
        let _ = self.hip.check("hipFree", answer);
    }
}

const WAIT: &str = "wait for a value in a stream";

/// Whether runtime and device have what [`pmd_core::accelerator::Stream::wait_value`] needs.
fn can_wait(shared: &Shared) -> Result<(), AcceleratorError> {
    let hip = shared.hip;
    let functions = [
        hip.hipStreamWaitValue64.is_ok(),
        hip.hipStreamWriteValue64.is_ok(),
        hip.hipExtMallocWithFlags.is_ok(),
    ];
    if functions.contains(&false) {
        return Err(unsupported(WAIT, "the installed runtime has no hipStreamWaitValue64: ROCm 5 has it"));
    }
    let (mut able, attribute) = (0, hip::hipDeviceAttributeCanUseStreamWaitValue);
    // SAFETY: writes one int for this attribute.
    let answer = unsafe { hip.hipDeviceGetAttribute(&mut able, attribute, shared.device()) };
    match hip.check("hipDeviceGetAttribute", answer) {
        Ok(()) if able != 0 => Ok(()),
        _ => Err(unsupported(WAIT, "the device says so (hipDeviceAttributeCanUseStreamWaitValue)")),
    }
}
