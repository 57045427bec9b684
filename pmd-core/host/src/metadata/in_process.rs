//! A directory inside one process: for tests, for programs that are all of their cluster, and as the model of others.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Change, Entry, Metadata, MetadataError, Publication, Standing, Told, Watch, check_name, check_value,
};

/// A directory inside one process. Clones are handles to the same one.
#[derive(Clone, Default)]
pub struct InProcess {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    entries: Mutex<BTreeMap<String, String>>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metadata for InProcess {
    fn publish(&self, name: &str, value: &str) -> Result<Box<dyn Publication>, MetadataError> {
        check_name(name)?;
        check_value(value)?;
        let mut entries = self.shared.lock();
        if let Some(value) = entries.get(name) {
            return Err(MetadataError::Taken { name: name.to_owned(), value: value.clone() });
        }
        entries.insert(name.to_owned(), value.to_owned());
        drop(entries);
        self.shared.changed.notify_all();
        Ok(Box::new(Held { name: name.to_owned(), shared: Arc::clone(&self.shared) }))
    }

    fn find(&self, name: &str) -> Result<Option<String>, MetadataError> {
        check_name(name)?;
        Ok(self.shared.lock().get(name).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, MetadataError> {
        Ok(below(&self.shared.lock(), prefix))
    }

    fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, MetadataError> {
        let (prefix, shared) = (prefix.to_owned(), Arc::clone(&self.shared));
        Ok(Box::new(Watching { prefix, shared, told: Told::default() }))
    }
}

fn below(entries: &BTreeMap<String, String>, prefix: &str) -> Vec<Entry> {
    let found = entries.iter().filter(|(name, _)| name.starts_with(prefix));
    found.map(|(name, value)| Entry { name: name.clone(), value: value.clone() }).collect()
}

struct Held {
    name: String,
    shared: Arc<Shared>,
}

impl Publication for Held {
    fn name(&self) -> &str {
        &self.name
    }

    fn standing(&self) -> Standing {
        Standing::Published
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.name);
        self.shared.changed.notify_all();
    }
}

struct Watching {
    prefix: String,
    shared: Arc<Shared>,
    told: Told,
}

impl Watch for Watching {
    fn next(&mut self, timeout: Duration) -> Result<Option<Change>, MetadataError> {
        let deadline = Instant::now() + timeout;
        let mut entries = self.shared.lock();
        loop {
            self.told.picture(below(&entries, &self.prefix));
            let change = self.told.take();
            let left = deadline.saturating_duration_since(Instant::now());
            if change.is_some() || left.is_zero() {
                return Ok(change);
            }
            let waited = self.shared.changed.wait_timeout(entries, left);
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Held").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watching").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
