//! Flags: words of pinned memory that the host and streams read and write. Made by [`CudaAccelerator`].
//!
//! Streams compare cyclically: a word fulfils a wait while it is less than 2^63 ahead of the value
//! (`CU_STREAM_WAIT_VALUE_GEQ`). So that the largest value, which stands for failure, releases every waiter, values from
//! 2^63 - 1 on are kept as 2^63 - 1, and that is read as the largest value.
//!
//! A flag's word is used again once the streams that were told of it have passed it; never where one of them was captured,
//! for the graph may be launched at any time.
//!
//! [`CudaAccelerator`]: crate::CudaAccelerator
#![allow(unsafe_code)] // shares words with a device

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use pmd_core::{
    accelerator::{AcceleratorError, Flag, value_of_word, word_of_value},
    sync::{AtomicBool, AtomicU64, Ordering},
};

use crate::{
    context::{Context, lock},
    driver::{Driver, Handle},
    memory::pinned,
};

/// From one word to the next: a line of the processor's cache each.
const STRIDE: u64 = 64;

/// Bytes that are pinned at a time.
const PAGE: u64 = 4096;

/// Words and the pinned memory that they are in.
#[derive(Debug, Default)]
pub(crate) struct FlagPool {
    pages: Vec<u64>,
    free: Vec<u64>,
    /// Words of dropped flags, and the events behind what streams were told of them.
    retired: Vec<(u64, Vec<Handle>)>,
    /// Events of flags that are in graphs.
    kept: Vec<Handle>,
}

impl FlagPool {
    /// Inside [`Context::enter`].
    fn take(&mut self, context: &Context) -> Result<u64, AcceleratorError> {
        self.reap(context);
        if self.free.is_empty() {
            let page = pinned(context, PAGE)?;
            self.pages.push(page);
            self.free.extend((0..PAGE / STRIDE).map(|word| page + word * STRIDE));
        }
        let none = AcceleratorError::OutOfMemory { kind: context.identity.kind, wanted: PAGE };
        self.free.pop().ok_or(none)
    }

    fn reap(&mut self, context: &Context) {
        let free = &mut self.free;
        self.retired.retain_mut(|(word, events)| {
            while let Some(event) = events.pop_if(|event| context.is_over(*event)) {
                context.return_event(event);
            }
            if events.is_empty() {
                free.push(*word);
            }
            !events.is_empty()
        });
    }

    /// Frees everything; the context's streams are gone. Inside [`Context::enter`].
    pub(crate) fn close(&mut self, driver: &Driver) {
        let retired = self.retired.drain(..).flat_map(|(_, events)| events);
        for event in retired.chain(self.kept.drain(..)) {
            // SAFETY: an event that no one holds any more.
            unsafe { (driver.event_destroy)(event) };
        }
        for page in self.pages.drain(..) {
            // SAFETY: pinned by `take`; no flag is left. The driver waits for what touches it.
            unsafe { (driver.host_free)(page) };
        }
    }
}

/// A word of pinned memory.
#[derive(Debug)]
pub(crate) struct CudaFlag {
    context: Arc<Context>,
    address: u64,
    /// For each stream that was told of it an event behind that.
    uses: Mutex<HashMap<Handle, Handle>>,
    /// A graph was told of it, which may be launched at any time.
    captured: AtomicBool,
}

impl CudaFlag {
    /// Inside [`Context::enter`].
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, AcceleratorError> {
        let address = lock(&context.flags).take(context)?;
        let flag = Self {
            context: Arc::clone(context),
            address,
            uses: Mutex::default(),
            captured: AtomicBool::new(false),
        };
        flag.word().store(0, Ordering::Release);
        Ok(flag)
    }

    /// Whether a stream of this context may be told of it.
    pub(crate) fn belongs_to(&self, context: &Context) -> bool {
        self.context.handle() == context.handle()
    }

    /// Notes what a stream was told. Inside [`Context::enter`].
    pub(crate) fn note_use(&self, stream: Handle) -> Result<(), AcceleratorError> {
        if self.context.is_capturing(stream) {
            self.captured.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let event = self.context.record(stream)?;
        if let Some(before) = lock(&self.uses).insert(stream, event) {
            self.context.return_event(before);
        }
        Ok(())
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: aligned, pinned for as long as the context lives, and only ever used as an atomic.
        unsafe { &*(self.address as *const AtomicU64) }
    }
}

impl Flag for CudaFlag {
    fn address(&self) -> u64 {
        self.address
    }

    fn load(&self) -> u64 {
        value_of_word(self.word().load(Ordering::Acquire))
    }

    fn store(&self, value: u64) {
        self.word().store(word_of_value(value), Ordering::Release);
    }
}

impl Drop for CudaFlag {
    fn drop(&mut self) {
        let events: Vec<Handle> = lock(&self.uses).drain().map(|(_, event)| event).collect();
        let mut pool = lock(&self.context.flags);
        if self.captured.load(Ordering::Relaxed) {
            pool.kept.extend(events);
        } else if events.is_empty() {
            pool.free.push(self.address);
        } else {
            pool.retired.push((self.address, events));
        }
    }
}
