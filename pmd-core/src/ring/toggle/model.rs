//! Loom models: streams that ask, and the host that answers.
//!
//! A stream's write is behind a barrier for the whole system, as its memory operations are; what it waits for it reads with
//! acquire. The words of accelerators are written with release and read with acquire by the host.
#![allow(unsafe_code)] // tensors that both sides reach

use loom::thread;

use super::*;
use crate::sync::{AtomicU64, UnsafeCell, spin_hint};

/// A word as accelerators have them.
#[derive(Debug)]
struct Word(AtomicU64);

impl Word {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(0)))
    }

    /// As the device writes it.
    fn write(&self, value: u64) {
        fence(Ordering::SeqCst);
        self.0.store(value, Ordering::Release);
    }
}

impl Flag for Word {
    fn address(&self) -> u64 {
        0
    }

    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}

/// Both ends of a toggle, and what goes through it.
struct Ends {
    request: Arc<Word>,
    done: Arc<Word>,
    pushed: UnsafeCell<u32>,
    pulled: UnsafeCell<u32>,
}

// SAFETY: loom checks that accesses of the cells do not overlap.
unsafe impl Sync for Ends {}
// SAFETY: as above.
unsafe impl Send for Ends {}

impl Ends {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            request: Word::new(),
            done: Word::new(),
            pushed: UnsafeCell::new(0),
            pulled: UnsafeCell::new(0),
        })
    }

    fn toggle(&self) -> Toggle {
        let flag = |word: &Arc<Word>| Arc::clone(word) as Arc<dyn Flag>;
        Toggle::new(flag(&self.request), flag(&self.done))
    }

    /// A launch up to its wait, as the stream does what `Toggle::put` has put into it.
    fn ask(&self) {
        self.done.write(0);
        self.request.write(1);
    }

    fn launch(&self) {
        self.ask();
        while self.done.load() < 1 {
            spin_hint();
        }
    }
}

/// The host finds what the launch pushed, the stream what the host pulled, at each of several launches.
#[test]
fn each_launch_has_its_own_answer() {
    loom::model(|| {
        let ends = Ends::new();
        let device = Arc::clone(&ends);
        let stream = thread::spawn(move || {
            for launch in 1..=2 {
                device.pushed.with_mut(|pushed| write(pushed, launch));
                device.launch();
                assert_eq!(device.pulled.with(read), 10 * launch, "an answer of another launch");
            }
        });
        let toggle = ends.toggle();
        for launch in 1..=2 {
            while toggle.take().map(|asked| assert_eq!(asked, Asked::Launch)).is_none() {
                spin_hint();
            }
            let pushed = ends.pushed.with(read);
            assert_eq!(pushed, launch);
            ends.pulled.with_mut(|pulled| write(pulled, 10 * pushed));
            toggle.answer(|overlap| assert_eq!(overlap, None));
        }
        assert_eq!(toggle.take(), None);
        stream.join().unwrap();
    });
}

/// However two launches overlap, the last word is that they go on.
#[test]
fn launches_that_overlap_do_not_wait_for_ever() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let ends = Ends::new();
        let streams = [(); 2].map(|()| {
            let device = Arc::clone(&ends);
            thread::spawn(move || device.ask())
        });
        let served = serve(&ends, streams);
        assert!((1..=2).contains(&served), "{served} of two launches were noticed");
    });
}

/// The same where one has gone on with an answer before the host sees that it asks.
#[test]
fn a_launch_behind_one_that_has_gone_on_does_not_wait_for_ever() {
    loom::model(|| {
        let ends = Ends::new();
        ends.done.write(1);
        let (gone, next) = (Arc::clone(&ends), Arc::clone(&ends));
        let streams = [thread::spawn(move || gone.request.write(1)), thread::spawn(move || next.ask())];
        serve(&ends, streams);
    });
}

/// Looks while the streams ask and afterwards; how many launches were noticed. Whoever waits then goes on.
fn serve(ends: &Ends, streams: [thread::JoinHandle<()>; 2]) -> usize {
    let (toggle, mut noticed) = (ends.toggle(), 0);
    let mut look = || match toggle.take() {
        Some(Asked::Launch) => {
            toggle.answer(|overlap| noticed += 1 + usize::from(overlap.is_some()));
            true
        }
        Some(Asked::Overlap) => {
            noticed += 1;
            true
        }
        None => false,
    };
    for _ in 0..2 {
        look();
    }
    streams.into_iter().for_each(|stream| stream.join().unwrap());
    while look() {}
    assert_eq!(ends.done.load(), 1, "a launch waits for ever");
    noticed
}

fn read(cell: *const u32) -> u32 {
    // SAFETY: inside of the span that loom checks.
    unsafe { cell.read() }
}

fn write(cell: *mut u32, value: u32) {
    // SAFETY: inside of the span that loom checks.
    unsafe { cell.write(value) };
}
