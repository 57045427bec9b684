//! What keeps this process's entries in etcd: one lease, one thread.
//!
//! The thread asks three times in a lease's time. Whoever publishes does so on the own thread; `turn` lets one at a time
//! change what etcd holds, `kept` is what this process knows, and is never locked while etcd is asked.

use std::{
    collections::BTreeMap,
    fmt, io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_host::metadata::{MetadataError, Publication, Standing};

use crate::{
    client::{CallError, Client, Creation},
    unreachable,
};

/// Longest pause between two attempts while etcd is away.
const PAUSE: Duration = Duration::from_millis(250);

/// Keeps entries, until it is dropped.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    client: Client,
    /// In seconds.
    lease: u64,
    /// Held by whoever changes what etcd holds, with the number of the lease.
    turn: Mutex<Option<i64>>,
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<String, Held>,
    /// Names to take away.
    dropped: Vec<String>,
    /// Whether something has to be put back.
    away: bool,
    ended: bool,
}

struct Held {
    value: String,
    standing: Standing,
}

impl Keeper {
    /// Starts the thread. Nothing is asked before something is published.
    pub(crate) fn start(client: Client, lease: Duration) -> io::Result<Self> {
        let lease = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);
        let shared = Arc::new(Shared {
            client,
            lease: lease.max(1),
            turn: Mutex::default(),
            kept: Mutex::default(),
            changed: Condvar::new(),
        });
        let keeping = Arc::clone(&shared);
        let thread = thread::Builder::new().name("etcd".to_owned()).spawn(move || keeping.keep())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Publishes an entry, which holds the keeper.
    pub(crate) fn publish(keeper: &Arc<Self>, name: &str, value: &str) -> Result<KeptEntry, MetadataError> {
        keeper.shared.publish(name, value)?;
        Ok(KeptEntry { name: name.to_owned(), keeper: Arc::clone(keeper) })
    }
}

/// One entry of this process.
pub(crate) struct KeptEntry {
    name: String,
    keeper: Arc<Keeper>,
}

impl Publication for KeptEntry {
    fn name(&self) -> &str {
        &self.name
    }

    fn standing(&self) -> Standing {
        let kept = self.keeper.shared.lock();
        kept.entries.get(&self.name).map_or(Standing::Away, |held| held.standing.clone())
    }
}

impl Drop for KeptEntry {
    fn drop(&mut self) {
        let mut kept = self.keeper.shared.lock();
        kept.entries.remove(&self.name);
        kept.dropped.push(self.name.clone());
        drop(kept);
        self.keeper.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, name: &str, value: &str) -> Result<(), MetadataError> {
        let mut lease = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = self.lock().entries.get(name) {
            return Err(MetadataError::Taken { name: name.to_owned(), value: held.value.clone() });
        }
        match self.create(&mut lease, name, value) {
            Err(error) => {
                // It may have been made all the same.
                self.lock().dropped.push(name.to_owned());
                Err(unreachable(&self.client, error))
            }
            Ok(Creation::Taken { value }) => Err(MetadataError::Taken { name: name.to_owned(), value }),
            Ok(Creation::Created) => {
                let held = Held { value: value.to_owned(), standing: Standing::Published };
                self.lock().entries.insert(name.to_owned(), held);
                self.changed.notify_all();
                Ok(())
            }
        }
    }

    fn create(&self, lease: &mut Option<i64>, name: &str, value: &str) -> Result<Creation, CallError> {
        // A name that was let go of here must not be taken for one that is held.
        self.take_away(*lease)?;
        if let Some(number) = *lease {
            match self.client.create(name, value, number) {
                // The lease has ended unnoticed.
                Err(_) if !self.client.keep_alive(number)? => *lease = None,
                answer => return answer,
            }
        }
        let number = *lease.insert(self.client.grant(self.lease)?);
        self.client.create(name, value, number)
    }

    /// Takes away what was let go of. What fails is told again.
    fn take_away(&self, lease: Option<i64>) -> Result<(), CallError> {
        let dropped = mem::take(&mut self.lock().dropped);
        let Some(lease) = lease else { return Ok(()) };
        for (at, name) in dropped.iter().enumerate() {
            if let Err(error) = self.client.remove(name, lease) {
                self.lock().dropped.extend_from_slice(&dropped[at..]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The thread.
    fn keep(&self) {
        let interval = Duration::from_secs(self.lease) / 3;
        let (mut next, mut is_well) = (Instant::now() + interval, true);
        while self.wait(next, is_well) {
            let mut lease = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = self.round(&mut lease);
            drop(lease);
            if kept.is_err() {
                self.is_away();
            }
            is_well = kept.is_ok() && !self.lock().away;
            next = Instant::now() + if is_well { interval } else { PAUSE.min(interval) };
        }
        let lease = *self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = lease {
            // Where etcd does not hear of it, the lease runs out.
            let _ = self.client.revoke(lease);
        }
    }

    /// Waits for the time, or where all is well for something to take away; whether to go on.
    fn wait(&self, next: Instant, is_well: bool) -> bool {
        let mut kept = self.lock();
        loop {
            let left = next.saturating_duration_since(Instant::now());
            let is_due = left.is_zero() || (is_well && !kept.dropped.is_empty());
            if kept.ended || is_due {
                return !kept.ended;
            }
            kept = self.changed.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Keeps the lease alive, or has it granted anew, and puts back what is not there.
    fn round(&self, lease: &mut Option<i64>) -> Result<(), CallError> {
        let Some(number) = *lease else { return self.take_away(None).and_then(|()| self.restore(lease)) };
        self.take_away(Some(number))?;
        if !self.client.keep_alive(number)? {
            *lease = None;
            self.is_away();
        }
        if self.lock().away { self.restore(lease) } else { Ok(()) }
    }

    fn restore(&self, lease: &mut Option<i64>) -> Result<(), CallError> {
        let entries: Vec<(String, String)> = {
            let kept = self.lock();
            kept.entries.iter().map(|(name, held)| (name.clone(), held.value.clone())).collect()
        };
        let mut is_whole = true;
        for (name, value) in entries {
            let standing = match self.create(lease, &name, &value)? {
                Creation::Created => Standing::Published,
                Creation::Taken { value } => Standing::Taken { value },
            };
            is_whole &= standing == Standing::Published;
            if let Some(held) = self.lock().entries.get_mut(&name) {
                held.standing = standing;
            }
        }
        self.lock().away = !is_whole;
        Ok(())
    }

    /// Nothing is known of what etcd holds.
    fn is_away(&self) {
        let mut kept = self.lock();
        kept.away = !kept.entries.is_empty();
        kept.entries.values_mut().for_each(|held| held.standing = Standing::Away);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and ends within the client's patience.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for KeptEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeptEntry")
            .field("name", &self.name)
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}
