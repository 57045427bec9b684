//! Streams: a thread each, which runs what was put into it in order. Once an operation has failed, those behind it are
//! left out and later events carry its code.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{Event, Word, fault::Faults, lock};

/// How soon a stream that waits notices that its device was reset.
const LOOK: Duration = Duration::from_millis(2);

/// What a stream does in its turn; the code is how it failed.
type Work = Box<dyn FnOnce(&Shared) -> Result<(), i64> + Send>;

/// A stream. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Stream {
    handle: usize,
    device: u32,
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Queue {
    operations: VecDeque<Operation>,
    posted: u64,
    done: u64,
    failure: Option<i64>,
    /// Set when it was destroyed: the thread ends once it has done everything.
    closed: bool,
    /// Set when its device was reset: nothing more happens.
    aborted: Option<i64>,
}

enum Operation {
    Work(Work),
    Record(Event, u64),
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = lock(&self.queue);
        formatter.debug_struct("Shared").field("posted", &queue.posted).field("done", &queue.done).finish()
    }
}

impl Stream {
    pub(crate) fn start(handle: usize, device: u32, faults: Arc<Faults>) -> Self {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), faults });
        let run = Arc::clone(&shared);
        thread::spawn(move || run.run());
        Self { handle, device, shared }
    }

    /// Its number.
    #[must_use]
    pub const fn handle(&self) -> usize {
        self.handle
    }

    /// The device that it was made for.
    #[must_use]
    pub const fn device(&self) -> u32 {
        self.device
    }

    /// Puts work behind what is there; the code that it returns is how the stream fails.
    pub fn post(&self, work: impl FnOnce() -> Result<(), i64> + Send + 'static) {
        self.put(Operation::Work(Box::new(move |_| work())));
    }

    /// Records an event behind what is there.
    pub fn record(&self, event: &Event) {
        let recording = event.record();
        self.put(Operation::Record(event.clone(), recording));
    }

    /// Makes what comes later wait for an event's last recording; at once past one that was never recorded.
    pub fn wait_event(&self, event: &Event) {
        let (event, recording) = (event.clone(), event.recorded());
        self.put(Operation::Work(Box::new(move |shared| {
            shared.wait_until(|| event.reached(recording, LOOK)).and_then(|reached| reached)
        })));
    }

    /// Makes what comes later wait until a word fulfils a condition.
    pub fn wait_word(&self, word: Word, condition: impl Fn(u64) -> bool + Send + 'static) {
        self.put(Operation::Work(Box::new(move |shared| {
            shared.wait_until(|| {
                let holds = condition(word.load());
                if !holds {
                    thread::sleep(Duration::from_micros(20));
                }
                holds.then_some(())
            })
        })));
    }

    /// Writes a word in its turn.
    pub fn write_word(&self, word: Word, value: u64) {
        self.post(move || {
            word.store(value);
            Ok(())
        });
    }

    /// Whether everything in it is done.
    ///
    /// # Errors
    /// The code with which it failed, once nothing is left in it.
    pub fn query(&self) -> Result<bool, i64> {
        let queue = lock(&self.shared.queue);
        if queue.done < queue.posted {
            return Ok(false);
        }
        queue.failure.map_or(Ok(true), Err)
    }

    /// Waits for what is in it now; whether it was done in time.
    ///
    /// # Errors
    /// As [`Stream::query`].
    pub fn synchronise(&self, patience: Option<Duration>) -> Result<bool, i64> {
        let begun = Instant::now();
        let mut queue = lock(&self.shared.queue);
        let wanted = queue.posted;
        while queue.done < wanted {
            if patience.is_some_and(|patience| begun.elapsed() >= patience) {
                return Ok(false);
            }
            queue = match self.shared.changed.wait_timeout(queue, LOOK) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        queue.failure.map_or(Ok(true), Err)
    }

    /// Ends it once what is in it is done.
    pub(crate) fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
    }

    /// Ends it now; what has not been done fails with this code.
    pub(crate) fn abort(&self, code: i64) {
        let mut queue = lock(&self.shared.queue);
        queue.aborted = Some(code);
        queue.closed = true;
        drop(queue);
        self.shared.changed.notify_all();
    }

    fn put(&self, operation: Operation) {
        let mut queue = lock(&self.shared.queue);
        if let (Operation::Record(event, recording), Some(code)) = (&operation, queue.aborted) {
            return event.reach(*recording, Some(code));
        }
        queue.operations.push_back(operation);
        queue.posted += 1;
        drop(queue);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// The stream's thread.
    fn run(&self) {
        while let Some((operation, failure)) = self.next() {
            let (failed, recorded) = match operation {
                Operation::Record(event, recording) => (None, Some((event, recording))),
                Operation::Work(_) if failure.is_some() => (None, None),
                Operation::Work(work) => (self.faults.hit("stream").or_else(|| work(self).err()), None),
            };
            let mut queue = lock(&self.queue);
            queue.failure = queue.failure.or(failed);
            queue.done += 1;
            // Whoever sees the event sees the stream as far.
            if let Some((event, recording)) = recorded {
                event.reach(recording, failure);
            }
            drop(queue);
            self.changed.notify_all();
        }
    }

    /// The next operation, and how the stream has failed before; none once it has ended.
    fn next(&self) -> Option<(Operation, Option<i64>)> {
        let mut queue = lock(&self.queue);
        loop {
            queue.failure = queue.failure.or(queue.aborted);
            if let Some(operation) = queue.operations.pop_front() {
                return Some((operation, queue.failure));
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_until<T>(&self, mut look: impl FnMut() -> Option<T>) -> Result<T, i64> {
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if let Some(code) = lock(&self.queue).aborted {
                return Err(code);
            }
        }
    }
}
