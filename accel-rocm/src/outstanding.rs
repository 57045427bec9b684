//! What streams may still touch: memory is freed behind the copies of this crate's streams, and a flag's word stays as long
//! as a stream may read or write it. Called by `stream` when it is given work, by `memory` before it frees.
#![allow(unsafe_code)] // calls the runtime

use core::ffi::c_int;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hip_sys::hip::{hipErrorCapturedEvent, hipStream_t};

use crate::event::NativeEvent;
use crate::flag::Word;
use crate::runtime::{self, Hip};

/// How long an accelerator that goes looks whether its closed streams have done everything.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often.
const LOOK: Duration = Duration::from_micros(200);

/// The streams of one accelerator.
pub(crate) struct Outstanding {
    hip: Hip,
    device: c_int,
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    open: Vec<Arc<Tracked>>,
    /// What streams left behind that were closed with work in them.
    left: Vec<Left>,
}

/// A native stream, ours or the application's.
pub(crate) struct Tracked {
    hip: Hip,
    device: c_int,
    native: hipStream_t,
    /// Whether it is destroyed with the value.
    owned: bool,
    work: Mutex<Work>,
}

// SAFETY: the runtime's functions take streams from any thread.
unsafe impl Send for Tracked {}
// SAFETY: as above; they lock what they change.
unsafe impl Sync for Tracked {}

#[derive(Default)]
struct Work {
    /// Done when the copies are that were put into the stream last, and so all of them.
    last_copy: Option<Arc<NativeEvent>>,
    /// Set where that could not be recorded: only the stream itself tells then.
    unmarked: bool,
    words: Vec<(NativeEvent, Arc<Word>)>,
}

/// Work of a closed stream: copies, or a word that it still reads or writes.
struct Left {
    event: Arc<NativeEvent>,
    word: Option<Arc<Word>>,
}

impl Outstanding {
    pub(crate) fn new(hip: Hip, device: c_int) -> Self {
        Self { hip, device, lists: Mutex::default() }
    }

    /// Begins to watch a stream.
    pub(crate) fn open(&self, native: hipStream_t, owned: bool) -> Arc<Tracked> {
        let (hip, device) = (self.hip, self.device);
        let tracked = Arc::new(Tracked { hip, device, native, owned, work: Mutex::default() });
        self.lists().open.push(Arc::clone(&tracked));
        tracked
    }

    /// The stream gets no work any more. It is destroyed with the last user of the value.
    pub(crate) fn close(&self, tracked: &Arc<Tracked>) {
        // Before the lock is taken, for it may take long.
        if tracked.work().unmarked {
            tracked.wait_for_all();
        }
        let mut lists = self.lists();
        lists.left.retain(|left| !left.is_done());
        lists.left.extend(tracked.leave());
        lists.open.retain(|open| !Arc::ptr_eq(open, tracked));
    }

    /// Waits until the copies are done that were put into any of the streams.
    pub(crate) fn wait_for_copies(&self) {
        // Without the lock: whoever lets the copies go on may need it.
        let (open, left) = self.watched();
        for tracked in open {
            tracked.wait_for_copies();
        }
        for event in left {
            event.wait();
        }
    }

    /// What is done when the copies are that were put into any of the streams, and is not yet.
    pub(crate) fn copies(&self) -> Vec<Arc<NativeEvent>> {
        let (open, left) = self.watched();
        let copies = open.iter().filter_map(|tracked| tracked.last_copy()).chain(left);
        copies.filter(|event| matches!(event.is_done(), Ok(false))).collect()
    }

    /// Streams that are open, and copies in those that were closed.
    fn watched(&self) -> (Vec<Arc<Tracked>>, Vec<Arc<NativeEvent>>) {
        let lists = self.lists();
        let left = lists.left.iter().filter(|left| left.word.is_none());
        (lists.open.clone(), left.map(|left| Arc::clone(&left.event)).collect())
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let left = mem::take(&mut self.lists().left);
        for left in left.into_iter().filter(|left| left.word.is_some()) {
            while !left.is_done() && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
            if !left.is_done() {
                // A stream waits for a word that nobody may ever write: freeing it would wait for that.
                mem::forget(left);
            }
        }
    }
}

impl fmt::Debug for Outstanding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = self.lists();
        write!(formatter, "{} streams, {} closed", lists.open.len(), lists.left.len())
    }
}

impl Tracked {
    pub(crate) fn native(&self) -> hipStream_t {
        self.native
    }

    /// Copies were put into it. The caller has made the device current.
    ///
    /// Memory is freed behind this event and not behind the stream: what the application put behind the copies may wait
    /// for the very thread that frees.
    pub(crate) fn has_copied(&self) {
        let mut work = self.work();
        let used = work.last_copy.take().filter(|event| Arc::strong_count(event) == 1);
        let event = used.map_or_else(|| NativeEvent::new(self.hip, self.device).map(Arc::new), Ok);
        let recorded = event.and_then(|event| event.record(self.native).map(|()| event));
        work.unmarked = recorded.is_err();
        work.last_copy = recorded.ok();
    }

    /// Keeps a word until what is in the stream now is done. The caller has made the device current.
    pub(crate) fn keep(&self, word: &Arc<Word>) {
        let mut work = self.work();
        work.words.retain(|(event, kept)| Arc::ptr_eq(kept, word) || !is_done(event));
        let known = work.words.iter().find(|(_, kept)| Arc::ptr_eq(kept, word));
        let recorded = match known {
            Some((event, _)) => event.record(self.native),
            None => NativeEvent::new(self.hip, self.device).and_then(|event| {
                event.record(self.native)?;
                work.words.push((event, Arc::clone(word)));
                Ok(())
            }),
        };
        if recorded.is_err() {
            // When the stream is done with it cannot be known: eight bytes stay.
            mem::forget(Arc::clone(word));
        }
    }

    fn wait_for_copies(&self) {
        if let Some(event) = self.last_copy() {
            event.wait();
        }
    }

    /// What is done when its copies are.
    fn last_copy(&self) -> Option<Arc<NativeEvent>> {
        let (event, unmarked) = {
            let work = self.work();
            (work.last_copy.clone(), work.unmarked)
        };
        if unmarked {
            self.wait_for_all();
        }
        event
    }

    fn wait_for_all(&self) {
        let Ok(_current) = self.hip.on_device(self.device) else { return };
        // SAFETY: the stream is ours and open, or the application's: the runtime refuses one that was destroyed, and then
        // nothing is in it any more.
        let answer = unsafe { self.hip.hipStreamSynchronize(self.native) };
        let _ = self.hip.check("hipStreamSynchronize", answer);
        self.work().unmarked = false;
    }

    /// What is still in the stream.
    fn leave(&self) -> Vec<Left> {
        let mut work = self.work();
        let copies = work.last_copy.take().map(|event| Left { event, word: None });
        let words = mem::take(&mut work.words).into_iter();
        let words = words.map(|(event, word)| Left { event: Arc::new(event), word: Some(word) });
        copies.into_iter().chain(words).filter(|left| !left.is_done()).collect()
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let Ok(_current) = self.hip.on_device(self.device) else { return };
        // SAFETY: hipStreamCreateWithFlags gave it, and nobody has it any more. What is in it still happens.
        let answer = unsafe { self.hip.hipStreamDestroy(self.native) };
        // It leaves with the process at the latest: nobody could be told.
        let _ = self.hip.check("hipStreamDestroy", answer);
    }
}

impl Left {
    fn is_done(&self) -> bool {
        is_done(&self.event)
    }
}

/// Done, or failed, after which nothing more happens; never where the event went into a graph, which may be launched at any
/// time.
fn is_done(event: &NativeEvent) -> bool {
    let captured = |error| runtime::code(&error) == Some(hipErrorCapturedEvent);
    event.is_done().unwrap_or_else(|error| !captured(error))
}
