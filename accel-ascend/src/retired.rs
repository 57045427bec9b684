//! What was dropped while streams may still use it: memory, registrations, events, streams. Put here by every `Drop` of
//! this crate, freed by later calls, so that no drop waits for the device.
//!
//! ```text
//!  drop --> retire: an event (a fence) in each stream that is not idle --> kept until all of them are done --> dispose
//!                   no such stream ----------------------------------------------------------------------> dispose
//! ```
#![allow(unsafe_code)] // calls the runtime's C functions

use std::{
    ffi::c_void,
    ptr::{null_mut, without_provenance_mut},
    sync::{Arc, Mutex},
};

use acl_sys::acl;
use pmd_core::accelerator::AcceleratorError;

use crate::{
    call::check,
    device::{Device, lock},
    flag::Word,
    stream::Core,
};

/// Something to free.
#[derive(Debug)]
pub(crate) enum Thing {
    /// Of `aclrtMalloc`, with the key under which it was shared.
    Memory { base: usize, key: Option<Key> },
    /// Of `aclrtMallocHost`.
    Pinned { base: usize },
    /// Of `aclrtHostRegister`.
    Registration { base: usize },
    /// Of `aclrtIpcMemImportByKey`.
    Import(Key),
    /// An event that streams were told to wait for.
    Event(usize),
    /// A stream of this crate's.
    Stream(Arc<Core>),
    /// An application's stream, which nothing here frees, but which may still copy.
    Mark,
    /// A flag's word.
    Word(Word),
    /// Nothing: the fence itself goes back to the spare events.
    Spare,
}

/// An IPC key with its closing zero.
pub(crate) type Key = [u8; acl::ACL_RT_IPC_KEY_LENGTH as usize];

/// Of one device.
#[derive(Debug, Default)]
pub(crate) struct Retired(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Streams that are open here.
    streams: Vec<Arc<Core>>,
    waiting: Vec<Waiting>,
    /// Native events that no stream waits for.
    spare: Vec<usize>,
}

#[derive(Debug)]
struct Waiting {
    fences: Vec<Arc<Fence>>,
    thing: Thing,
}

/// A native event that was recorded and that nobody waits for.
#[derive(Debug)]
pub(crate) struct Fence(usize);

impl Device {
    /// Frees something as soon as no stream can still use it. The device's context is the thread's.
    pub(crate) fn retire(&self, thing: Thing) {
        let mut state = lock(&self.retired.0);
        let mut fences: Vec<_> = state.leaving().collect();
        for stream in state.streams.clone() {
            fences.extend(self.fence(&mut state, &stream));
        }
        state.waiting.push(Waiting { fences, thing });
        drop(state);
        self.sweep();
    }

    /// Frees what no stream uses any more. The device's context is the thread's.
    pub(crate) fn sweep(&self) {
        let mut state = lock(&self.retired.0);
        let mut ready = Vec::new();
        for mut entry in std::mem::take(&mut state.waiting) {
            for fence in std::mem::take(&mut entry.fences) {
                if !self.is_done(fence.0) {
                    entry.fences.push(fence);
                } else if let Some(fence) = Arc::into_inner(fence) {
                    state.spare.push(fence.0);
                }
            }
            if entry.fences.is_empty() {
                ready.push(entry.thing);
            } else {
                state.waiting.push(entry);
            }
        }
        drop(state);
        ready.into_iter().for_each(|thing| self.dispose(thing));
    }

    /// A native event, of the spare ones or new.
    pub(crate) fn take_event(&self) -> Result<usize, AcceleratorError> {
        self.sweep();
        let spare = lock(&self.retired.0).spare.pop();
        spare.map_or_else(|| self.create_event(), Ok)
    }

    /// Takes back an event that is done, or was never recorded, and that no stream was told to wait for.
    pub(crate) fn spare_event(&self, event: usize) {
        lock(&self.retired.0).spare.push(event);
    }

    /// Takes back an event that no stream was told to wait for, once it is done.
    pub(crate) fn spare_event_later(&self, event: usize) {
        let waiting = Waiting { fences: vec![Arc::new(Fence(event))], thing: Thing::Spare };
        lock(&self.retired.0).waiting.push(waiting);
    }

    /// From now on things that are retired wait for this stream too.
    pub(crate) fn add_stream(&self, stream: &Arc<Core>) {
        lock(&self.retired.0).streams.push(Arc::clone(stream));
    }

    /// The stream's value here was dropped: what is in it still happens.
    pub(crate) fn remove_stream(&self, stream: &Arc<Core>, thing: Thing) {
        let mut state = lock(&self.retired.0);
        state.streams.retain(|open| !Arc::ptr_eq(open, stream));
        let fences = self.fence(&mut state, stream).into_iter().collect();
        state.waiting.push(Waiting { fences, thing });
        drop(state);
        self.sweep();
    }

    /// An event behind all that is in a stream; none if it is idle or takes nothing any more.
    fn fence(&self, state: &mut State, stream: &Core) -> Option<Arc<Fence>> {
        if stream.is_idle(self) {
            return None;
        }
        if let Some(fence) = stream.last_fence() {
            return Some(fence);
        }
        let posted = stream.posted();
        let event = state.spare.pop().or_else(|| self.create_event().ok())?;
        // SAFETY: both are open.
        let recorded = unsafe { self.acl.aclrtRecordEvent(handle(event), stream.handle()) };
        if recorded == Ok(acl::ACL_SUCCESS) {
            let fence = Arc::new(Fence(event));
            stream.keep_fence(posted, &fence);
            return Some(fence);
        }
        state.spare.push(event);
        None
    }

    fn create_event(&self) -> Result<usize, AcceleratorError> {
        let mut event: *mut c_void = null_mut();
        // SAFETY: a place for a handle.
        check("aclrtCreateEvent", unsafe { self.acl.aclrtCreateEvent(&mut event) })?;
        Ok(event.addr())
    }

    /// Whether an event is done, or never will be.
    fn is_done(&self, event: usize) -> bool {
        let mut status = acl::ACL_EVENT_RECORDED_STATUS_NOT_READY;
        // SAFETY: an event that is open, and a place for its state.
        let answer = unsafe { self.acl.aclrtQueryEventStatus(handle(event), &mut status) };
        answer != Ok(acl::ACL_SUCCESS) || status == acl::ACL_EVENT_RECORDED_STATUS_COMPLETE
    }

    /// Nobody can be told of a failure here: the thing is lost then.
    fn dispose(&self, thing: Thing) {
        // SAFETY: each was given by the function's counterpart, is given back once, and no stream uses it any more.
        let _ = unsafe {
            match thing {
                Thing::Memory { base, key } => {
                    if let Some(key) = key {
                        let _ = self.acl.aclrtIpcMemClose(key.as_ptr().cast());
                    }
                    self.acl.aclrtFree(handle(base))
                }
                Thing::Pinned { base } => self.acl.aclrtFreeHost(handle(base)),
                Thing::Registration { base } => self.acl.aclrtHostUnregister(handle(base)),
                Thing::Event(event) => self.acl.aclrtDestroyEvent(handle(event)),
                Thing::Stream(stream) => {
                    stream.close();
                    self.acl.aclrtDestroyStream(stream.handle())
                }
                Thing::Import(key) => {
                    self.imports.close(self, &key);
                    return;
                }
                Thing::Word(word) => {
                    self.words.put(word);
                    return;
                }
                Thing::Mark | Thing::Spare => return,
            }
        };
    }
}

impl State {
    /// Fences of streams that were dropped and may still copy.
    fn leaving(&self) -> impl Iterator<Item = Arc<Fence>> {
        let leaving = |entry: &&Waiting| matches!(entry.thing, Thing::Stream(_) | Thing::Mark);
        self.waiting.iter().filter(leaving).flat_map(|entry| entry.fences.iter().cloned())
    }
}

/// A handle or address as the runtime takes it.
pub(crate) fn handle(number: usize) -> *mut c_void {
    without_provenance_mut(number)
}
