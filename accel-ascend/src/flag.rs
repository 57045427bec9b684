//! Flags: words of the host that the device reaches.
//!
//! A page of words is registered at a time and stays so: words are used again and pages never go. Streams compare cyclically
//! (`ACL_VALUE_WAIT_GEQ`), so that the largest values are kept as 2^63 - 1: [`word_of_value`].
#![allow(unsafe_code)] // registers memory with the runtime and reads what the device writes

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ffi::c_void,
    ptr::{NonNull, null_mut},
    sync::Mutex,
};

use acl_sys::acl;
use pmd_core::{
    accelerator::{AcceleratorError, Flag, value_of_word, word_of_value},
    sync::{AtomicU64, Ordering},
};

use crate::{
    call::{KIND, check_optional},
    device::{Device, lock},
    retired::{Thing, handle},
};

/// What the runtime registers at least, and from where.
const PAGE: usize = 4096;
/// Bytes from one flag to the next: a cache line, so that flags do not slow each other.
const STRIDE: usize = 64;
/// What cannot be done where the runtime lacks something.
const WHAT: &str = "make a flag";

/// A flag as its users hold it.
#[derive(Debug)]
pub(crate) struct AscendFlag {
    device: &'static Device,
    word: Word,
}

/// A word that is zero, or a flag's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    host: NonNull<AtomicU64>,
    /// Where the device reaches it.
    mapped: usize,
}

// SAFETY: the word is an atomic on a page that is never freed.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

/// Words that are no flag's.
#[derive(Debug, Default)]
pub(crate) struct Words(Mutex<Vec<Word>>);

impl AscendFlag {
    pub(crate) fn new(device: &'static Device) -> Result<Self, AcceleratorError> {
        if device.acl.aclrtValueWait.is_err() || device.acl.aclrtValueWrite.is_err() {
            let why = "the installed CANN has no stream memory operations";
            return Err(AcceleratorError::Unsupported { kind: KIND, what: WHAT, why });
        }
        let _entered = device.enter()?;
        device.sweep();
        let flag = Self { device, word: device.words.take(device)? };
        flag.store(0);
        Ok(flag)
    }

    pub(crate) fn mapped(&self) -> *mut c_void {
        handle(self.word.mapped)
    }

    pub(crate) fn is_of(&self, device: &Device) -> bool {
        self.device.is(device)
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: a word of a page that is never freed.
        unsafe { self.word.host.as_ref() }
    }
}

impl Flag for AscendFlag {
    fn address(&self) -> u64 {
        self.word.host.addr().get() as u64
    }

    fn load(&self) -> u64 {
        value_of_word(self.word().load(Ordering::Acquire))
    }

    fn store(&self, value: u64) {
        self.word().store(word_of_value(value), Ordering::Release);
    }
}

impl Drop for AscendFlag {
    fn drop(&mut self) {
        // Streams may still write it or wait for it.
        if let Ok(_entered) = self.device.enter() {
            self.device.retire(Thing::Word(self.word));
        }
    }
}

impl Words {
    fn take(&self, device: &Device) -> Result<Word, AcceleratorError> {
        let mut words = lock(&self.0);
        if words.is_empty() {
            words.extend(page(device)?);
        }
        words.pop().ok_or(AcceleratorError::OutOfMemory { kind: KIND, wanted: PAGE as u64 })
    }

    /// Takes back a word that no stream uses.
    pub(crate) fn put(&self, word: Word) {
        lock(&self.0).push(word);
    }
}

/// The words of a new page. The device's context is the thread's.
fn page(device: &Device) -> Result<impl Iterator<Item = Word>, AcceleratorError> {
    let layout = Layout::new::<[u8; PAGE]>().align_to(PAGE).map_err(|_| out_of_memory())?;
    // SAFETY: the layout is not empty.
    let base = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(out_of_memory)?;
    let mut mapped: *mut c_void = null_mut();
    // SAFETY: a page that is never freed once it is registered, and a place for an address.
    let answer = unsafe {
        let (page, length) = (base.as_ptr().cast(), PAGE as u64);
        device.acl.aclrtHostRegister(page, length, acl::ACL_HOST_REGISTER_MAPPED, &mut mapped)
    };
    check_optional("aclrtHostRegister", WHAT, answer).inspect_err(|_| {
        // SAFETY: allocated above with this layout, and not registered.
        unsafe { dealloc(base.as_ptr(), layout) };
    })?;
    Ok((0..PAGE).step_by(STRIDE).map(move |offset| {
        // SAFETY: within the page, which is aligned.
        let host = unsafe { base.add(offset) }.cast();
        Word { host, mapped: mapped.addr() + offset }
    }))
}

fn out_of_memory() -> AcceleratorError {
    AcceleratorError::OutOfMemory { kind: KIND, wanted: PAGE as u64 }
}
