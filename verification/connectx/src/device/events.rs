//! Events on their way to a process: the device raises them, the process's service thread fetches them and writes
//! them to the descriptors that verbs programs read (`kernel::events`).
#![allow(unsafe_code)] // wakes a futex in the shared tables

use pmd_core::sync::{AtomicU32, Ordering};

use super::{Device, turn::Turn};
use crate::state::{Asynchronous, AsynchronousKind, ProcessIndex};

/// Something a process must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An armed completion queue has an entry.
    Completion {
        /// CQN.
        number: u32,
        /// What the program calls the queue.
        user_handle: u64,
        /// Its completion channel's descriptor.
        channel: i32,
    },
    /// Something happened to an object or the port.
    Asynchronous {
        /// What, as `enum ibv_event_type` numbers it.
        kind: AsynchronousKind,
        /// QPN, CQN, SRQN or port number.
        number: u32,
        /// What the program calls the object; the port's number for a port.
        user_handle: u64,
    },
}

impl Device {
    /// Takes the events of this process: of completion queues, in the order in which they were raised, then the
    /// asynchronous ones. Completion events count as reported.
    pub fn take_events(&self) -> Vec<Event> {
        let mut tables = self.lock();
        let process = self.process;
        let own = tables.completion_queues.iter_mut().filter(|queue| queue.owner == process);
        let mut raised: Vec<_> = own.filter(|queue| queue.events_pending > 0).collect();
        // Programs with one channel for several queues rely on it: a send completes before its answer arrives.
        raised.sort_by_key(|queue| queue.raised);
        let mut events = Vec::new();
        for queue in raised {
            let (number, user_handle, channel) = (queue.number, queue.user_handle, queue.channel);
            let pending = std::mem::take(&mut queue.events_pending);
            queue.events_reported += pending;
            events.extend((0..pending).map(|_| Event::Completion { number, user_handle, channel }));
        }
        tables.counters.events += events.len() as u64;
        let asynchronous = tables.asynchronous.take(|event| event.owner == process);
        events.extend(asynchronous.iter().map(|event| {
            let Asynchronous { kind, number, user_handle, .. } = *event;
            Event::Asynchronous { kind, number, user_handle }
        }));
        events
    }
}

impl Turn<'_> {
    /// Notes an asynchronous event for a process, and wakes it.
    pub(super) fn raise(
        &mut self,
        owner: ProcessIndex,
        kind: AsynchronousKind,
        number: u32,
        user_handle: u64,
    ) {
        self.tables.asynchronous.push(Asynchronous { owner, kind, number, user_handle });
        self.wake(owner);
    }

    /// Notes an event of the port for every process.
    pub(super) fn raise_port(&mut self, kind: AsynchronousKind) {
        const PORT: u32 = 1;
        let processes: Vec<ProcessIndex> =
            self.tables.processes.iter().map(|process| process.index).collect();
        for process in processes {
            self.raise(process, kind, PORT, PORT.into());
        }
    }

    /// Wakes the service thread of a process.
    pub(super) fn wake(&mut self, process: ProcessIndex) {
        let Some(process) = self.tables.processes.find_mut(process.into()) else { return };
        let word = &raw mut process.wake;
        // SAFETY: an aligned word of the shared tables, which service threads reach as an atomic only.
        unsafe { AtomicU32::from_ptr(word) }.store(1, Ordering::Release);
        // SAFETY: as above; waking changes nothing but who runs.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) };
    }
}
