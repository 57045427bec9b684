//! Streams, each a thread that runs what was put on it in order, and events. Called by `api`.
//!
//! Handles are numbers in a table, never addresses: one that was destroyed is an error.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    ptr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::error::{AclError, Code};

type Job = Box<dyn FnOnce() + Send>;

/// Something that counts up, and whoever waits for a number.
#[derive(Default)]
struct Counter {
    number: Mutex<u64>,
    changed: Condvar,
}

/// A thread that runs jobs in order.
#[derive(Clone)]
pub(crate) struct Stream {
    jobs: Sender<Job>,
    /// Jobs that were put on it.
    posted: Arc<Mutex<u64>>,
    /// Jobs that have run.
    done: Arc<Counter>,
}

/// A point on a stream, once it was recorded.
#[derive(Clone, Default)]
pub(crate) struct Event {
    /// Recordings asked for, and those that a stream has reached.
    recorded: Arc<Mutex<u64>>,
    reached: Arc<Counter>,
}

/// What handles stand for.
struct Handles {
    next: usize,
    streams: BTreeMap<usize, Stream>,
    events: BTreeMap<usize, Event>,
}

/// The handle of the default stream.
const DEFAULT: usize = 0;

static HANDLES: Mutex<Handles> =
    Mutex::new(Handles { next: 1, streams: BTreeMap::new(), events: BTreeMap::new() });

impl Counter {
    fn advance(&self) {
        *lock(&self.number) += 1;
        self.changed.notify_all();
    }

    fn has_reached(&self, wanted: u64) -> bool {
        *lock(&self.number) >= wanted
    }

    /// Whether the number came in time.
    fn wait(&self, wanted: u64, patience: Option<Duration>) -> bool {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut number = lock(&self.number);
        while *number < wanted {
            number = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(number).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => {
                    self.changed.wait_timeout(number, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

impl Stream {
    fn new() -> Self {
        let (jobs, queue) = channel::<Job>();
        let done = Arc::new(Counter::default());
        let counter = Arc::clone(&done);
        // Ends with the last handle of the stream, after what was put on it.
        thread::spawn(move || {
            for job in queue {
                job();
                counter.advance();
            }
        });
        Self { jobs, posted: Arc::default(), done }
    }

    /// Puts a job behind what is there.
    pub(crate) fn post(&self, job: Job) {
        let mut posted = lock(&self.posted);
        *posted += 1;
        // The thread ends only after the last sender.
        let _ = self.jobs.send(job);
    }

    /// Whether everything on it ran in time.
    pub(crate) fn synchronise(&self, patience: Option<Duration>) -> bool {
        let posted = *lock(&self.posted);
        self.done.wait(posted, patience)
    }

    pub(crate) fn is_idle(&self) -> bool {
        let posted = *lock(&self.posted);
        self.done.has_reached(posted)
    }
}

impl Event {
    pub(crate) fn record(&self, stream: &Stream) {
        let mut recorded = lock(&self.recorded);
        *recorded += 1;
        let reached = Arc::clone(&self.reached);
        stream.post(Box::new(move || reached.advance()));
    }

    /// Makes what comes later on `stream` wait for the last recording.
    pub(crate) fn delay(&self, stream: &Stream) {
        let (wanted, reached) = (*lock(&self.recorded), Arc::clone(&self.reached));
        stream.post(Box::new(move || {
            reached.wait(wanted, None);
        }));
    }

    /// Whether there was a recording and it was reached.
    pub(crate) fn is_complete(&self) -> bool {
        let recorded = *lock(&self.recorded);
        recorded > 0 && self.reached.has_reached(recorded)
    }

    pub(crate) fn synchronise(&self) {
        let recorded = *lock(&self.recorded);
        self.reached.wait(recorded, None);
    }
}

pub(crate) fn create_stream() -> *mut c_void {
    let mut handles = lock(&HANDLES);
    let handle = handles.number();
    handles.streams.insert(handle, Stream::new());
    ptr::without_provenance_mut(handle)
}

pub(crate) fn create_event() -> *mut c_void {
    let mut handles = lock(&HANDLES);
    let handle = handles.number();
    handles.events.insert(handle, Event::default());
    ptr::without_provenance_mut(handle)
}

/// The stream of a handle; NULL is the default one.
pub(crate) fn stream(handle: *mut c_void) -> Result<Stream, AclError> {
    let mut handles = lock(&HANDLES);
    if handle.addr() == DEFAULT {
        return Ok(handles.streams.entry(DEFAULT).or_insert_with(Stream::new).clone());
    }
    handles.streams.get(&handle.addr()).cloned().ok_or_else(|| unknown("stream", handle))
}

pub(crate) fn event(handle: *mut c_void) -> Result<Event, AclError> {
    lock(&HANDLES).events.get(&handle.addr()).cloned().ok_or_else(|| unknown("event", handle))
}

/// Every stream there is.
pub(crate) fn streams() -> Vec<Stream> {
    lock(&HANDLES).streams.values().cloned().collect()
}

pub(crate) fn destroy_stream(handle: *mut c_void) -> Result<(), AclError> {
    let removed = if handle.addr() == DEFAULT { None } else { lock(&HANDLES).streams.remove(&handle.addr()) };
    removed.ok_or_else(|| unknown("stream", handle))?.synchronise(None);
    Ok(())
}

pub(crate) fn destroy_event(handle: *mut c_void) -> Result<(), AclError> {
    lock(&HANDLES).events.remove(&handle.addr()).map(drop).ok_or_else(|| unknown("event", handle))
}

impl Handles {
    /// No number is used twice. Multiples of 16, as addresses would be.
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next * 16
    }
}

fn unknown(what: &str, handle: *mut c_void) -> AclError {
    AclError::new(Code::InvalidHandle, format!("there is no {what} {handle:p}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
