//! A completion queue of a NIC with its channel: creating, sleeping until an event, destroying.
#![allow(unsafe_code)] // calls libibverbs

use std::{
    os::fd::{AsFd, BorrowedFd},
    ptr::{NonNull, null_mut},
    sync::Arc,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use pmd_sys::verbs::*;

use super::{Device, EventSink, events::set_nonblocking, pointer, shared_receive::within};
use crate::backend::{SetupError, Waker};

/// A completion queue that can be slept on. Destroyed after all queue pairs that complete into it.
#[derive(Debug)]
pub(crate) struct CompletionQueue {
    queue: NonNull<ibv_cq>,
    sink: Arc<EventSink>,
    /// Dropped after the queue.
    channel: Channel,
}

// SAFETY: libibverbs' queue may be used by any thread, one at a time: the back end that owns this.
unsafe impl Send for CompletionQueue {}

/// What made a sleeper wake up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Awoken {
    /// Events of the completion queue, read and acknowledged.
    pub(crate) completion_events: u32,
}

impl CompletionQueue {
    /// Creates one of at least `entries`.
    ///
    /// # Errors
    /// [`SetupError::Limit`], or which call failed.
    pub(crate) fn create(device: &Device, entries: u32) -> Result<Self, SetupError> {
        within("completion queue entries", entries, device.limits().completions)?;
        let channel = Channel::create(device)?;
        // SAFETY: the context is open, and the channel belongs to it.
        let answer = unsafe {
            device.verbs().ibv_create_cq(
                device.context().as_ptr(),
                entries.max(1) as i32,
                null_mut(),
                channel.channel.as_ptr(),
                0,
            )
        };
        let queue = pointer("ibv_create_cq", answer)?;
        let sink = device.events().sink(queue.addr().get());
        Ok(Self { queue, sink, channel })
    }

    pub(crate) fn as_ptr(&self) -> *mut ibv_cq {
        self.queue.as_ptr()
    }

    /// Entries that it holds.
    pub(crate) fn capacity(&self) -> u32 {
        // SAFETY: the queue is live.
        u32::try_from(unsafe { self.queue.as_ref() }.cqe).unwrap_or(0)
    }

    /// Where this queue's asynchronous events are left.
    pub(crate) fn sink(&self) -> &EventSink {
        &self.sink
    }

    /// Sleeps until the armed queue has an event, the waker wakes, the device has something to say, or the time is
    /// up. Events are read and acknowledged, wake-ups consumed.
    pub(crate) fn sleep(&self, waker: &Waker, timeout: Duration) -> Awoken {
        let device = &self.channel.device;
        // SAFETY: both descriptors are open while the device and the channel live.
        let (channel, asynchronous) = unsafe {
            (
                BorrowedFd::borrow_raw(self.channel.descriptor()),
                BorrowedFd::borrow_raw(device.event_descriptor()),
            )
        };
        let descriptors = [channel, waker.0.as_fd(), asynchronous];
        let mut waited = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        // A signal, or a system without memory for this, ends the sleep early, which callers allow.
        let _ = ppoll(&mut waited, Some(TimeSpec::from_duration(timeout)), None);
        let readable = waited.map(|descriptor| descriptor.any().unwrap_or(false));
        if readable[1] {
            // Another thread of the same waker may have read it: nothing to do then.
            let _ = waker.0.read();
        }
        if readable[2] {
            device.read_events();
        }
        Awoken { completion_events: self.read_events() }
    }

    /// Reads and acknowledges the events that are there; never sleeps.
    fn read_events(&self) -> u32 {
        let verbs = self.channel.device.verbs();
        let (mut queue, mut context) = (null_mut(), null_mut());
        let mut events = 0;
        loop {
            // SAFETY: the channel is live and does not block.
            let answer =
                unsafe { verbs.ibv_get_cq_event(self.channel.channel.as_ptr(), &mut queue, &mut context) };
            if !matches!(answer, Ok(0)) {
                break;
            }
            events += 1;
        }
        if events != 0 {
            // SAFETY: the channel has no other queue, and as many events were read. Destroying waits for this.
            let _ = unsafe { verbs.ibv_ack_cq_events(self.queue.as_ptr(), events) };
        }
        events
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        self.read_events();
        // SAFETY: the queue is live, this is its only owner, and its queue pairs are gone. A failure leaks it.
        let _ = unsafe { self.channel.device.verbs().ibv_destroy_cq(self.queue.as_ptr()) };
    }
}

/// The channel on which one completion queue's events arrive.
#[derive(Debug)]
struct Channel {
    device: Device,
    channel: NonNull<ibv_comp_channel>,
}

impl Channel {
    fn create(device: &Device) -> Result<Self, SetupError> {
        // SAFETY: the context is open.
        let answer = unsafe { device.verbs().ibv_create_comp_channel(device.context().as_ptr()) };
        let channel = pointer("ibv_create_comp_channel", answer)?;
        let created = Self { device: device.clone(), channel };
        set_nonblocking(created.descriptor())
            .map_err(|source| SetupError::System { call: "fcntl", source })?;
        Ok(created)
    }

    fn descriptor(&self) -> i32 {
        // SAFETY: the channel is live.
        unsafe { self.channel.as_ref() }.fd
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: the channel is live, and its queue is gone. A failure leaks it.
        let _ = unsafe { self.device.verbs().ibv_destroy_comp_channel(self.channel.as_ptr()) };
    }
}
