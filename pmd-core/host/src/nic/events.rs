//! Asynchronous events: what a device says outside of completion queues.
//!
//! One descriptor serves a whole device, while each lane has a back end of its own. Whichever back end reads the
//! descriptor (when it parks, and every so many empty polls) hands each event to the back end it concerns, which sees
//! a flag in its next poll.
#![allow(unsafe_code)] // reads and acknowledges events through libibverbs

use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use pmd_core::sync::{AtomicBool, Ordering};
use pmd_sys::verbs::*;

use super::Device;

/// What happened to one back end, until it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    /// The completion queue overran or was destroyed by the device.
    pub(crate) completion_queue_failed: bool,
    /// The device itself failed: nothing of it works any more.
    pub(crate) device_failed: bool,
    /// A shared receive queue failed.
    pub(crate) shared_receive_failed: bool,
    /// Numbers of queue pairs that failed.
    pub(crate) queue_pairs: Vec<u32>,
}

/// Where one back end's events are left.
#[derive(Debug)]
pub(crate) struct EventSink {
    /// Address of the back end's completion queue, by which its queue pairs are known.
    completion_queue: usize,
    pending: AtomicBool,
    happened: Mutex<Happened>,
}

impl EventSink {
    /// Whether something happened; cheap.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Takes what happened.
    #[cold]
    pub(crate) fn take(&self) -> Happened {
        self.pending.store(false, Ordering::Release);
        std::mem::take(&mut lock(&self.happened))
    }

    fn note(&self, change: impl FnOnce(&mut Happened)) {
        change(&mut lock(&self.happened));
        self.pending.store(true, Ordering::Release);
    }
}

/// Reads a device's events and hands them out.
#[derive(Debug)]
pub(super) struct EventRouter {
    descriptor: RawFd,
    sinks: Mutex<Vec<Weak<EventSink>>>,
}

/// An event, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    CompletionQueue {
        queue: usize,
    },
    QueuePair {
        queue: usize,
        number: u32,
    },
    SharedReceive,
    Device,
    PortDown {
        port: u8,
    },
    PortActive {
        port: u8,
    },
    /// Nothing that a connection suffers from.
    Other,
}

impl EventRouter {
    /// For the event descriptor of an open context, which no longer blocks from here on.
    pub(super) fn new(descriptor: RawFd) -> io::Result<Self> {
        set_nonblocking(descriptor)?;
        Ok(Self { descriptor, sinks: Mutex::default() })
    }

    /// A sink for the back end whose completion queue is at this address.
    pub(super) fn sink(&self, completion_queue: usize) -> Arc<EventSink> {
        let sink = Arc::new(EventSink {
            completion_queue,
            pending: AtomicBool::new(false),
            happened: Mutex::default(),
        });
        let mut sinks = lock(&self.sinks);
        sinks.retain(|sink| sink.strong_count() != 0);
        sinks.push(Arc::downgrade(&sink));
        sink
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// Hands an event to whom it concerns.
    pub(super) fn route(&self, event: Event) {
        let sinks = lock(&self.sinks);
        for sink in sinks.iter().filter_map(Weak::upgrade) {
            match event {
                Event::CompletionQueue { queue } if queue == sink.completion_queue => {
                    sink.note(|happened| happened.completion_queue_failed = true);
                }
                Event::QueuePair { queue, number } if queue == sink.completion_queue => {
                    sink.note(|happened| {
                        if !happened.queue_pairs.contains(&number) {
                            happened.queue_pairs.push(number);
                        }
                    });
                }
                Event::SharedReceive => sink.note(|happened| happened.shared_receive_failed = true),
                Event::Device => sink.note(|happened| happened.device_failed = true),
                _ => {}
            }
        }
    }
}

impl Device {
    /// Reads all events that the device has, and hands them out.
    #[cold]
    pub(crate) fn read_events(&self) {
        let mut event = ibv_async_event::default();
        // SAFETY: the context is open; the descriptor does not block.
        while let Ok(0) = unsafe { self.verbs().ibv_get_async_event(self.context().as_ptr(), &mut event) } {
            // SAFETY: the object of an event lives at least until the event is acknowledged.
            let parsed = unsafe { parse(&event) };
            // SAFETY: the event was read, and its object is not looked at any more.
            let _ = unsafe { self.verbs().ibv_ack_async_event(&mut event) };
            match parsed {
                Event::PortDown { port } if port == self.port().number => self.set_port_active(false),
                Event::PortActive { port } if port == self.port().number => self.set_port_active(true),
                other => self.events().route(other),
            }
        }
    }

    /// Descriptor that is readable when there are events.
    pub(crate) fn event_descriptor(&self) -> RawFd {
        self.events().descriptor()
    }
}

/// Takes an event apart.
///
/// # Safety
/// The event was read and is not acknowledged yet.
pub(super) unsafe fn parse(event: &ibv_async_event) -> Event {
    // SAFETY: the type of the event says which member of the union is filled in, and that object lives.
    unsafe {
        match event.event_type {
            IBV_EVENT_CQ_ERR => Event::CompletionQueue { queue: event.element.cq.addr() },
            IBV_EVENT_QP_FATAL | IBV_EVENT_QP_REQ_ERR | IBV_EVENT_QP_ACCESS_ERR => {
                let queue_pair = &*event.element.qp;
                Event::QueuePair { queue: queue_pair.send_cq.addr(), number: queue_pair.qp_num }
            }
            IBV_EVENT_SRQ_ERR => Event::SharedReceive,
            IBV_EVENT_DEVICE_FATAL => Event::Device,
            IBV_EVENT_PORT_ERR => Event::PortDown { port: event.element.port_num as u8 },
            IBV_EVENT_PORT_ACTIVE => Event::PortActive { port: event.element.port_num as u8 },
            _ => Event::Other,
        }
    }
}

/// Makes reading a descriptor of libibverbs' return at once.
pub(super) fn set_nonblocking(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: libibverbs keeps the descriptor open while its object lives, which the caller holds.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
