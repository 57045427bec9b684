//! The tables, and how entries are found, made and freed.

use super::objects::{
    Asynchronous, CompletionQueue, MemoryRegion, Process, ProcessIndex, QueuePair, SharedReceiveQueue,
};

/// Entries of each kind; also what `ibv_query_device` reports.
#[derive(Clone, Copy, Debug)]
pub struct Capacity;

impl Capacity {
    /// Processes that can have the device open.
    pub const PROCESSES: usize = 128;
    /// Memory regions.
    pub const REGIONS: usize = 16 * 1024;
    /// Completion queues.
    pub const COMPLETION_QUEUES: usize = 2048;
    /// Queue pairs.
    pub const QUEUE_PAIRS: usize = 4096;
    /// Shared receive queues.
    pub const SHARED_RECEIVES: usize = 256;
    /// Asynchronous events that wait for their processes.
    pub const EVENTS: usize = 1024;
}

/// An entry of a table: knows the number that drivers use for it.
pub trait Numbered: Copy {
    /// The number; 0 when the entry is free.
    fn number(&self) -> u32;
    /// The table index that such a number holds.
    fn index(number: u32) -> usize;
}

/// Entries, found by number; entry 0 is never used, so that 0 is no number.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Table<T, const N: usize> {
    entries: [T; N],
    /// Changes with every entry made; becomes part of its number.
    tag: u32,
    /// Entries from this one on were never used.
    used: u32,
}

impl<T: Numbered, const N: usize> Table<T, N> {
    /// The entry of this number, unless it was freed or given to another object since.
    #[must_use]
    pub fn find(&self, number: u32) -> Option<&T> {
        self.entries.get(T::index(number)).filter(|entry| number != 0 && entry.number() == number)
    }

    /// As [`Table::find`], to change it.
    pub fn find_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(T::index(number)).filter(|entry| number != 0 && entry.number() == number)
    }

    /// Puts an entry where one is free. `make` gets its index and a tag that differs from the last one there.
    /// `None` when the table is full.
    pub fn add(&mut self, make: impl FnOnce(u32, u32) -> T) -> Option<T> {
        let index = (1..N).find(|index| self.entries[*index].number() == 0)?;
        self.tag = self.tag.wrapping_add(1);
        self.used = self.used.max(index as u32 + 1);
        self.entries[index] = make(index as u32, self.tag);
        debug_assert_eq!(T::index(self.entries[index].number()), index);
        Some(self.entries[index])
    }

    /// Frees the entry of this number and gives what it was. `clear` makes the entry free (all zeros).
    pub fn remove(&mut self, number: u32) -> Option<T>
    where
        T: Default,
    {
        self.find_mut(number).map(std::mem::take)
    }

    /// All entries in use.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries[..self.used as usize].iter().filter(|entry| entry.number() != 0)
    }

    /// All entries in use, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries[..self.used as usize].iter_mut().filter(|entry| entry.number() != 0)
    }
}

impl Numbered for Process {
    /// A process is found by its index, whose entry is free without a pid.
    fn number(&self) -> u32 {
        if self.pid == 0 { 0 } else { u32::from(self.index) }
    }

    fn index(number: u32) -> usize {
        number as usize
    }
}

impl Numbered for MemoryRegion {
    fn number(&self) -> u32 {
        self.key
    }

    fn index(number: u32) -> usize {
        (number >> 8) as usize
    }
}

impl Numbered for CompletionQueue {
    fn number(&self) -> u32 {
        self.number
    }

    fn index(number: u32) -> usize {
        number as usize % Capacity::COMPLETION_QUEUES
    }
}

impl Numbered for QueuePair {
    fn number(&self) -> u32 {
        self.number
    }

    fn index(number: u32) -> usize {
        number as usize % Capacity::QUEUE_PAIRS
    }
}

impl Numbered for SharedReceiveQueue {
    fn number(&self) -> u32 {
        self.number
    }

    fn index(number: u32) -> usize {
        number as usize % Capacity::SHARED_RECEIVES
    }
}

/// What happened since the state file was made; the launcher and tests read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Send doorbells.
    pub doorbells: u64,
    /// Of them, with a WQE through BlueFlame.
    pub blue_flames: u64,
    /// WQEs executed.
    pub work_requests: u64,
    /// CQEs written.
    pub completions: u64,
    /// Completion events written to channels.
    pub events: u64,
    /// Rules broken by a driver.
    pub violations: u64,
    /// Faults injected.
    pub faults: u64,
}

/// Asynchronous events that their processes have not fetched yet, in order.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AsynchronousEvents {
    waiting: [Asynchronous; Capacity::EVENTS],
    count: u32,
}

impl AsynchronousEvents {
    /// Adds one. When all places are taken it is lost, as on hardware whose event queue overruns.
    pub fn push(&mut self, event: Asynchronous) {
        if let Some(place) = self.waiting.get_mut(self.count as usize) {
            *place = event;
            self.count += 1;
        }
    }

    /// Takes out, in order, those that `wanted` says.
    pub fn take(&mut self, wanted: impl Fn(&Asynchronous) -> bool) -> Vec<Asynchronous> {
        let waiting = self.waiting[..self.count as usize].to_vec();
        let (taken, left): (Vec<_>, Vec<_>) = waiting.into_iter().partition(wanted);
        self.waiting[..left.len()].copy_from_slice(&left);
        self.count = left.len() as u32;
        taken
    }
}

/// Everything the device knows.
#[derive(Debug)]
#[repr(C)]
pub struct Tables {
    /// Processes that have the device open.
    pub processes: Table<Process, { Capacity::PROCESSES }>,
    /// Memory regions by key.
    pub regions: Table<MemoryRegion, { Capacity::REGIONS }>,
    /// Completion queues by CQN.
    pub completion_queues: Table<CompletionQueue, { Capacity::COMPLETION_QUEUES }>,
    /// Queue pairs by QPN.
    pub queue_pairs: Table<QueuePair, { Capacity::QUEUE_PAIRS }>,
    /// Shared receive queues by SRQN.
    pub shared_receives: Table<SharedReceiveQueue, { Capacity::SHARED_RECEIVES }>,
    /// Events for asynchronous descriptors.
    pub asynchronous: AsynchronousEvents,
    /// Times that a completion queue without pending events got one, of all processes: their order.
    pub raised: u64,
    /// Protection domains ever made; the next one's number.
    pub domains: u32,
    /// A process died while it worked on the device.
    pub interrupted: bool,
    /// The port is down: nothing gets an answer.
    pub link_down: bool,
    /// What happened.
    pub counters: Counters,
}

impl Tables {
    /// A new entry for a process, after dead ones have been reaped; `None` when the table is full.
    pub fn add_process(&mut self, pid: u32) -> Option<ProcessIndex> {
        self.reap();
        let started = start_time(pid).unwrap_or_default();
        let make =
            |index: u32, _| Process { pid, index: index as ProcessIndex, started, ..Process::default() };
        self.processes.add(make).map(|process| process.index)
    }

    /// The pid of a process, or `None` when it is gone from the table.
    #[must_use]
    pub fn pid(&self, index: ProcessIndex) -> Option<u32> {
        self.processes.find(index.into()).map(|process| process.pid)
    }

    /// Frees a process and all its objects.
    pub fn remove_process(&mut self, index: ProcessIndex) {
        self.regions.iter_mut().filter(|object| object.owner == index).for_each(clear);
        self.completion_queues.iter_mut().filter(|object| object.owner == index).for_each(clear);
        self.queue_pairs.iter_mut().filter(|object| object.owner == index).for_each(clear);
        self.shared_receives.iter_mut().filter(|object| object.owner == index).for_each(clear);
        self.asynchronous.take(|event| event.owner == index);
        self.processes.remove(index.into());
    }

    /// Frees the objects of processes that ended without closing the device. Returns how many processes.
    pub fn reap(&mut self) -> usize {
        let gone = |process: &&Process| start_time(process.pid) != Some(process.started);
        let dead: Vec<ProcessIndex> =
            self.processes.iter().filter(gone).map(|process| process.index).collect();
        dead.iter().for_each(|index| self.remove_process(*index));
        dead.len()
    }
}

fn clear<T: Default>(object: &mut T) {
    *object = T::default();
}

/// Field 22 of `/proc/PID/stat`; `None` when there is no such process, or it is a zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let alive = fields.next().is_some_and(|state| state != "Z" && state != "X");
    fields.nth(18)?.parse().ok().filter(|_| alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Too large for a stack.
    fn tables() -> Box<Tables> {
        // A box of zeros, as a new state file is.
        bytes_of_zero()
    }

    #[expect(unsafe_code, reason = "all tables are plain integers, arrays and enums with a zero variant")]
    fn bytes_of_zero() -> Box<Tables> {
        // SAFETY: zeros are a valid `Tables`.
        unsafe { Box::<Tables>::new_zeroed().assume_init() }
    }

    #[test]
    fn a_number_that_was_given_to_another_object_finds_nothing() {
        let mut tables = tables();
        let make =
            |index: u32, tag: u32| MemoryRegion { key: index << 8 | tag & 0xff, ..MemoryRegion::default() };
        let first = tables.regions.add(make).expect("room");
        assert!(tables.regions.find(first.key).is_some());
        assert_eq!(tables.regions.remove(first.key).map(|region| region.key), Some(first.key));
        let second = tables.regions.add(make).expect("room");
        assert_eq!(second.key >> 8, first.key >> 8);
        assert!(tables.regions.find(first.key).is_none() && tables.regions.find(second.key).is_some());
    }

    #[test]
    fn objects_of_a_dead_process_are_reaped() {
        let mut tables = tables();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep starts");
        let index = tables.add_process(child.id()).expect("room");
        let make = |index_of: u32, _| CompletionQueue {
            number: index_of,
            owner: index,
            ..CompletionQueue::default()
        };
        let queue = tables.completion_queues.add(make).expect("room").number;
        assert_eq!(tables.reap(), 0);
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        assert_eq!(tables.reap(), 1);
        assert!(tables.completion_queues.find(queue).is_none() && tables.pid(index).is_none());
    }
}
