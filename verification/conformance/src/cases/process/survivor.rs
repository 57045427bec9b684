//! The side that lives: an endpoint that many peers come and go at.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pmd_host::{
    control::DownReason,
    endpoint::{Endpoint, Peer, PeerService},
    lane::Message,
};

use super::{
    child::{Child, Inbox},
    memory::{BLOCK, ROUNDS, Shared},
};
use crate::{
    bed::Place,
    context::{Context, pattern},
};

/// An endpoint, what it was told, and the inbox that the newest peer pushes into.
pub(super) struct Survivor {
    context: Context,
    endpoint: Endpoint,
    told: Arc<Told>,
    /// Transfers that were done, of all streams.
    pub(super) done: AtomicU64,
}

/// What the application is told.
#[derive(Default)]
struct Told {
    inbox: Mutex<Option<Arc<Shared>>>,
    /// Rounds that notifications told of, and whether their block was whole then.
    pushed: Mutex<Vec<(u64, bool)>>,
    downs: AtomicU64,
}

impl PeerService for Told {
    fn message(&self, _: &Peer, message: Message<'_>) {
        let mut word = [0; 8];
        word.copy_from_slice(message.bytes);
        let round = u64::from_le_bytes(word);
        let inbox = lock(&self.inbox).clone().expect("an inbox");
        let whole = inbox.read(round as usize * BLOCK, BLOCK) == pattern(round, BLOCK);
        lock(&self.pushed).push((round, whole));
    }

    fn down(&self, _: &Peer, _: &DownReason) {
        self.downs.fetch_add(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Survivor {
    pub(super) fn open(context: &Context) -> Self {
        let told = Arc::new(Told::default());
        let config = super::child::config(&*context.bed, Place::Left, context.patience);
        let endpoint = Endpoint::open(config, Arc::clone(&told) as Arc<dyn PeerService>);
        let endpoint = endpoint.unwrap_or_else(|error| panic!("opening an endpoint: {error}"));
        Self { context: context.clone(), endpoint, told, done: AtomicU64::new(0) }
    }

    pub(super) fn connect(&self, child: &Child) -> Peer {
        self.endpoint.connect(child.address).unwrap_or_else(|error| panic!("connecting to a child: {error}"))
    }

    pub(super) fn memory(&self, length: usize) -> Shared {
        Shared::new(&self.endpoint, self.context.bed.maps_memory(), length)
    }

    /// A fresh inbox for the next peer.
    pub(super) fn expect_pushes(&self) {
        let inbox = Arc::new(self.memory(ROUNDS as usize * BLOCK));
        *lock(&self.told.inbox) = Some(inbox);
        lock(&self.told.pushed).clear();
    }

    pub(super) fn inbox(&self) -> Arc<Shared> {
        lock(&self.told.inbox).clone().expect("an inbox")
    }

    pub(super) fn inbox_for_peer(&self) -> Inbox {
        let inbox = self.inbox();
        let transport = self.endpoint.transports()[0];
        Inbox { address: inbox.address(), key: inbox.remote_key(transport) }
    }

    pub(super) fn pushed(&self) -> Vec<(u64, bool)> {
        lock(&self.told.pushed).clone()
    }

    /// Peers that were told to be down.
    pub(super) fn downs(&self) -> u64 {
        self.told.downs.load(Ordering::Relaxed)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(Instant::now() + self.context.patience)
    }

    /// Waits until `ready`.
    pub(super) fn until(&self, what: &str, ready: impl Fn() -> bool) {
        let deadline = Instant::now() + self.context.patience;
        while !ready() {
            assert!(Instant::now() < deadline, "hanging: {what}");
            thread::sleep(Duration::from_micros(200));
        }
    }
}
