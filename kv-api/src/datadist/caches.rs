//! The caches of this process: by number, and by the keys that peers look them up by.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use pmd_core::accelerator::Accelerator;

use super::{
    ArgumentError, BlocksCacheKey, CacheDesc, CacheKey, CachePlacement, DataDistError,
    pool::Piece,
    protocol::{Consumed, Description, Found, Wanted},
    shape::CacheShape,
    types::KeyName,
};
use crate::fabric::Segment;

/// How often to look whether a cache that goes is quiet. Transfers that hold it have a deadline.
const LOOK: Duration = Duration::from_micros(100);

/// What a cache of this process is found by, beside its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheKeys {
    /// Nothing.
    #[default]
    None,
    /// A key for each row; one of neither request nor prefix leaves its row without.
    Rows(Vec<CacheKey>),
    /// A cache of blocks.
    Blocks(BlocksCacheKey),
}

impl CacheKeys {
    /// The names, each with its row.
    fn names(&self, shape: &CacheShape) -> Result<Vec<(KeyName, u32)>, ArgumentError> {
        let names = match self {
            Self::None => Vec::new(),
            Self::Blocks(key) => vec![(KeyName::Blocks { model_id: key.model_id }, 0)],
            Self::Rows(keys) => {
                if keys.len() as u64 > shape.batches() {
                    return Err(ArgumentError::KeyCount { given: keys.len(), rows: shape.batches() });
                }
                let rows = keys.iter().zip(0..);
                rows.filter_map(|(key, row)| Some((key.name()?, row))).collect()
            }
        };
        let mut sorted: Vec<KeyName> = names.iter().map(|(name, _)| *name).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            Err(ArgumentError::KeyTwice)
        } else {
            Ok(names)
        }
    }
}

/// A cache of this process. Whoever moves its bytes holds it.
pub(super) struct LocalCache {
    pub(super) id: i64,
    pub(super) desc: CacheDesc,
    pub(super) shape: CacheShape,
    pub(super) addresses: Vec<u64>,
    /// Connections over which it was looked up, by number.
    known_to: Mutex<Vec<u64>>,
    /// What its memory is registered as. Before the piece, so that its keys end first.
    segments: Vec<Segment>,
    /// Memory that was allocated here.
    piece: Option<Piece>,
}

/// Memory of a cache that is about to be.
pub(super) struct Memory {
    pub(super) addresses: Vec<u64>,
    pub(super) segments: Vec<Segment>,
    pub(super) piece: Option<Piece>,
}

/// All caches. The first number is 1, as upstream's.
pub(super) struct Caches(Mutex<Table>);

struct Table {
    next: i64,
    by_id: HashMap<i64, Entry>,
    names: HashMap<KeyName, Named>,
}

struct Entry {
    cache: Arc<LocalCache>,
    /// Keys that it was given; some may lead elsewhere or nowhere by now.
    names: Vec<KeyName>,
    /// Its number was given back; it lives on for its keys.
    released: bool,
}

struct Named {
    cache_id: i64,
    row: u32,
    /// Tensors that were pulled by this name; empty for none.
    pulled: Vec<bool>,
}

impl Caches {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table { next: 1, by_id: HashMap::new(), names: HashMap::new() }))
    }

    /// Adds a cache under a number of its own.
    pub(super) fn insert(
        &self,
        desc: CacheDesc,
        keys: &CacheKeys,
        memory: Memory,
    ) -> Result<Arc<LocalCache>, DataDistError> {
        let shape = CacheShape::of(&desc)?;
        let names = keys.names(&shape)?;
        let mut table = self.lock();
        if let Some(taken) = names.iter().find_map(|(name, _)| table.names.get(name)) {
            return Err(ArgumentError::KeyTaken { cache_id: taken.cache_id }.into());
        }
        let id = table.next;
        table.next += 1;
        let Memory { addresses, segments, piece } = memory;
        let cache =
            Arc::new(LocalCache { id, desc, shape, addresses, known_to: Mutex::default(), segments, piece });
        let keys = names.iter().map(|(name, _)| *name).collect();
        table.by_id.insert(id, Entry { cache: Arc::clone(&cache), names: keys, released: false });
        let named = |(name, row)| (name, Named { cache_id: id, row, pulled: Vec::new() });
        table.names.extend(names.into_iter().map(named));
        Ok(cache)
    }

    pub(super) fn find(&self, cache_id: i64) -> Result<Arc<LocalCache>, DataDistError> {
        let table = self.lock();
        let entry = table.by_id.get(&cache_id).ok_or(DataDistError::NoSuchCache { cache_id })?;
        Ok(Arc::clone(&entry.cache))
    }

    /// What a peer that looks for a cache is told. From then on it is told when the cache goes.
    pub(super) fn look_up(&self, wanted: &Wanted, connection: u64) -> Option<Found> {
        let table = self.lock();
        let (cache_id, batch_index) = match wanted {
            Wanted::Id(cache_id) => (*cache_id, 0),
            Wanted::Name(name) => table.names.get(name).map(|named| (named.cache_id, named.row))?,
        };
        let cache = Arc::clone(&table.by_id.get(&cache_id)?.cache);
        // Before the table is free: a cache that is not in it any more has no new readers.
        cache.make_known(connection);
        drop(table);
        Some(Found { cache_id, batch_index, description: cache.describe() })
    }

    /// Takes a cache out, whatever holds it, with its keys.
    pub(super) fn remove(&self, cache_id: i64) -> Option<Arc<LocalCache>> {
        self.lock().remove(cache_id)
    }

    /// Gives a cache's number back. It goes now, or with its last key; that of a registered cache never does by this.
    pub(super) fn release(&self, cache_id: i64) -> Option<Arc<LocalCache>> {
        let mut table = self.lock();
        let entry = table.by_id.get_mut(&cache_id).filter(|entry| entry.cache.piece.is_some())?;
        entry.released = true;
        table.remove_if_unused(cache_id)
    }

    /// Takes a key away; gives the cache back if it goes with it.
    pub(super) fn remove_key(&self, name: &KeyName) -> Option<Arc<LocalCache>> {
        let mut table = self.lock();
        let cache_id = table.names.remove(name)?.cache_id;
        table.remove_if_unused(cache_id)
    }

    /// Tensors of a row were pulled by its key. A key of a cache that was allocated here ends with its last tensor.
    pub(super) fn consume(&self, consumed: &Consumed) -> Option<Arc<LocalCache>> {
        let Consumed { name, first_tensor, tensors } = consumed;
        let mut table = self.lock();
        let cache_id = table.names.get(name)?.cache_id;
        let cache = &table.by_id.get(&cache_id)?.cache;
        let (count, is_owned) = (cache.addresses.len(), cache.piece.is_some());
        if matches!(name, KeyName::Blocks { .. }) || !is_owned {
            return None;
        }
        let pulled = &mut table.names.get_mut(name)?.pulled;
        pulled.resize(count, false);
        let first = usize::try_from(*first_tensor).ok()?;
        let last = first.checked_add(usize::try_from(*tensors).ok()?)?;
        pulled.get_mut(first..last)?.fill(true);
        if !pulled.iter().all(|pulled| *pulled) {
            return None;
        }
        table.names.remove(name);
        table.remove_if_unused(cache_id)
    }

    /// Numbers of all caches.
    pub(super) fn ids(&self) -> Vec<i64> {
        self.lock().by_id.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, cache_id: i64) -> Option<Arc<LocalCache>> {
        let entry = self.by_id.remove(&cache_id)?;
        for name in entry.names {
            if self.leads_to(&name, cache_id) {
                self.names.remove(&name);
            }
        }
        Some(entry.cache)
    }

    fn remove_if_unused(&mut self, cache_id: i64) -> Option<Arc<LocalCache>> {
        let entry = self.by_id.get(&cache_id).filter(|entry| entry.released)?;
        let holds = |name: &KeyName| !matches!(name, KeyName::Blocks { .. }) && self.leads_to(name, cache_id);
        if entry.names.iter().any(holds) { None } else { self.remove(cache_id) }
    }

    fn leads_to(&self, name: &KeyName, cache_id: i64) -> bool {
        self.names.get(name).is_some_and(|named| named.cache_id == cache_id)
    }
}

impl LocalCache {
    fn describe(&self) -> Description {
        Description {
            shape: self.shape,
            placement: self.desc.placement,
            accessible: self.desc.remote_accessible,
            addresses: self.addresses.clone(),
        }
    }

    fn make_known(&self, connection: u64) {
        let mut known_to = self.known_to();
        if !known_to.contains(&connection) {
            known_to.push(connection);
        }
    }

    /// Whether it was looked up over a connection.
    pub(super) fn is_known_to(&self, connection: u64) -> bool {
        self.known_to().contains(&connection)
    }

    fn known_to(&self) -> MutexGuard<'_, Vec<u64>> {
        self.known_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose memory it is in, where that is an accelerator's.
    pub(super) fn accelerator(&self) -> Option<Arc<dyn Accelerator>> {
        Some(self.segments.first()?.device()?.accelerator())
    }

    pub(super) const fn placement(&self) -> CachePlacement {
        self.desc.placement
    }
}

/// Waits until nothing moves bytes of a cache that was taken out, and ends its keys: when this returns neither this
/// process nor a peer reaches its memory through it.
pub(super) fn settle(mut cache: Arc<LocalCache>) {
    let cache = loop {
        match Arc::try_unwrap(cache) {
            Ok(cache) => break cache,
            Err(held) => cache = held,
        }
        thread::sleep(LOOK);
    };
    // The lane lets go of a transfer's segments just after it has told the outcome.
    while cache.segments.iter().any(Segment::is_shared) {
        thread::sleep(LOOK);
    }
}
