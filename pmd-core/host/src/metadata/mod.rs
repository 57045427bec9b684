//! How processes find each other by name: a directory that all of them reach.
//!
//! # Place in the flow
//! Before the data path, and beside it. A process that listens publishes its address under a name; whoever looks for it
//! waits for the name; ranks are claimed one by one. Once peers are linked nothing here is asked any more: a directory that
//! is lost makes joins wait, and fails no transfer.
//!
//! | metadata travels | how |
//! |---|---|
//! | by a side channel of the caller's | it hands over addresses, or implements [`Metadata`] over what it has |
//! | by the built-in rendezvous | `af_api::rendezvous`: one scheduler, whose address everybody knows, or finds here |
//! | by etcd | `pmd_etcd::Etcd`, which is a [`Metadata`] |
//! | inside one process | [`InProcess`] |
//!
//! # Concepts
//! - **Entry**: a name with a value, both text. Names are paths (`kv/decode-3`); what they mean is between those who use
//!   them. Nobody publishes a name that somebody has: the first one wins, by one atomic step.
//! - **Publication**: an entry of this process, which is there while the value is held, and goes with the process, however
//!   that ends. Where the directory forgets it or is away for a while, it is put back; [`Publication::standing`] tells.
//! - **Watch**: everything below a prefix as it is, then every change. What was missed while the directory was away comes
//!   as changes when it is back.
//!
//! ```
//! use std::time::Duration;
//!
//! use pmd_host::metadata::{Change, InProcess, Metadata};
//!
//! let directory = InProcess::default();
//! let decode = directory.publish("kv/decode-0", "10.0.0.7:7700")?;
//! assert_eq!(directory.wait_for("kv/decode-0", Duration::from_secs(1))?, "10.0.0.7:7700");
//!
//! let mut watch = directory.watch("kv/")?;
//! assert!(matches!(watch.next(Duration::ZERO)?, Some(Change::Set(entry)) if entry.name == "kv/decode-0"));
//! drop(decode);
//! assert_eq!(watch.next(Duration::ZERO)?, Some(Change::Gone { name: "kv/decode-0".into() }));
//! # Ok::<(), pmd_host::metadata::MetadataError>(())
//! ```

mod in_process;

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fmt, thread,
    time::{Duration, Instant},
};

use thiserror::Error;

pub use in_process::InProcess;

/// Longest name in bytes.
pub const NAME_LIMIT: usize = 512;

/// Longest value in bytes.
pub const VALUE_LIMIT: usize = 64 << 10;

/// Pause between two attempts to publish a name that is taken.
const PAUSE: Duration = Duration::from_millis(50);

/// A directory of names. May be used from any thread; every call has a bound on its time, the implementation's.
pub trait Metadata: fmt::Debug + Send + Sync {
    /// Publishes a name that nobody has.
    ///
    /// # Errors
    /// [`MetadataError::Taken`], also by this process; [`MetadataError::Name`], [`MetadataError::Value`];
    /// [`MetadataError::Unreachable`], and the name may then be published until the process ends or somebody publishes it
    /// here with success and lets go of it.
    fn publish(&self, name: &str, value: &str) -> Result<Box<dyn Publication>, MetadataError>;

    /// What is published under a name.
    ///
    /// # Errors
    /// [`MetadataError::Name`], [`MetadataError::Unreachable`].
    fn find(&self, name: &str) -> Result<Option<String>, MetadataError>;

    /// Everything whose name begins so, by name.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`].
    fn list(&self, prefix: &str) -> Result<Vec<Entry>, MetadataError>;

    /// Watches everything whose name begins so.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`].
    fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, MetadataError>;

    /// Waits until a name is published. A directory that is not reached is waited for as well.
    ///
    /// # Errors
    /// [`MetadataError::Missing`]; [`MetadataError::Unreachable`] where the last attempt failed; [`MetadataError::Name`].
    fn wait_for(&self, name: &str, timeout: Duration) -> Result<String, MetadataError> {
        let deadline = Instant::now() + timeout;
        check_name(name)?;
        let mut watch = self.watch(name)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match watch.next(left) {
                Ok(Some(Change::Set(entry))) if entry.name == name => return Ok(entry.value),
                Ok(Some(_)) => {}
                Ok(None) => return Err(MetadataError::Missing { name: name.to_owned(), waited: timeout }),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => thread::sleep(PAUSE.min(left)),
            }
        }
    }

    /// Publishes a name, waiting for whoever has it to let go, or for the directory: for a successor of a process that has
    /// died, whose name goes a while later.
    ///
    /// # Errors
    /// As [`Metadata::publish`], when the time has passed.
    fn publish_within(
        &self,
        name: &str,
        value: &str,
        timeout: Duration,
    ) -> Result<Box<dyn Publication>, MetadataError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.publish(name, value) {
                Err(MetadataError::Taken { .. } | MetadataError::Unreachable { .. })
                    if Instant::now() + PAUSE < deadline =>
                {
                    thread::sleep(PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// Publishes the first of `prefix0`, `prefix1` and so on, below `count`, that nobody has: a rank that is this
    /// process's own.
    ///
    /// # Errors
    /// [`MetadataError::Full`]; else as [`Metadata::publish`].
    fn claim(&self, prefix: &str, count: u32, value: &str) -> Result<Claim, MetadataError> {
        for number in 0..count {
            match self.publish(&format!("{prefix}{number}"), value) {
                Ok(publication) => return Ok(Claim { number, publication }),
                Err(MetadataError::Taken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(MetadataError::Full { prefix: prefix.to_owned(), count })
    }
}

/// An entry of this process. Dropping it takes it away, soon.
pub trait Publication: fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Whether it is there, as far as this process knows. Waits for nothing.
    fn standing(&self) -> Standing;
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is there.
    Published,
    /// The directory is not reached, or has forgotten the entry, which will be put back.
    Away,
    /// The directory had forgotten the entry, and somebody else has the name now; it will be put back when they let go.
    Taken {
        /// Their value.
        value: String,
    },
}

/// Changes below a prefix. Holds what it needs; no thread waits for it.
pub trait Watch: fmt::Debug + Send {
    /// The next change, at first what is there already; `None` when there was none in time.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`]: the directory is away. The watch goes on where it was when called again.
    fn next(&mut self, timeout: Duration) -> Result<Option<Change>, MetadataError>;
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What happened to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is published, or has another value now.
    Set(Entry),
    /// It is not published any more.
    Gone {
        /// The whole name.
        name: String,
    },
}

/// A number that is this process's own while it is held.
#[derive(Debug)]
pub struct Claim {
    /// The number.
    pub number: u32,
    /// What keeps it.
    pub publication: Box<dyn Publication>,
}

/// What a watch has told, for implementations: turns whole pictures and single changes into what is new.
#[derive(Debug, Default)]
pub struct Told {
    known: BTreeMap<String, String>,
    changes: VecDeque<Change>,
}

impl Told {
    /// Everything as it is now: what was known and is not there is gone.
    pub fn picture(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let now: BTreeMap<String, String> =
            entries.into_iter().map(|entry| (entry.name, entry.value)).collect();
        let gone: Vec<String> = self.known.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        gone.into_iter().for_each(|name| self.gone(name));
        now.into_iter().for_each(|(name, value)| self.set(Entry { name, value }));
    }

    /// An entry is there.
    pub fn set(&mut self, entry: Entry) {
        let before = self.known.insert(entry.name.clone(), entry.value.clone());
        if before.as_ref() != Some(&entry.value) {
            self.changes.push_back(Change::Set(entry));
        }
    }

    /// An entry is not there.
    pub fn gone(&mut self, name: String) {
        if self.known.remove(&name).is_some() {
            self.changes.push_back(Change::Gone { name });
        }
    }

    /// The oldest change that was not taken.
    pub fn take(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }
}

/// Whether a name can be published.
///
/// # Errors
/// [`MetadataError::Name`].
pub fn check_name(name: &str) -> Result<(), MetadataError> {
    let possible = (1..=NAME_LIMIT).contains(&name.len()) && !name.chars().any(char::is_control);
    if possible { Ok(()) } else { Err(MetadataError::Name { name: name.to_owned() }) }
}

/// Whether a value can be published.
///
/// # Errors
/// [`MetadataError::Value`].
pub const fn check_value(value: &str) -> Result<(), MetadataError> {
    let length = value.len();
    if length <= VALUE_LIMIT { Ok(()) } else { Err(MetadataError::Value { length }) }
}

/// Why a directory did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// No name.
    #[error("{name:?} is no name: 1 to {NAME_LIMIT} bytes without control characters")]
    Name {
        /// What was given.
        name: String,
    },
    /// The value is too long.
    #[error("a value of {length} bytes, the limit is {VALUE_LIMIT}")]
    Value {
        /// Its length in bytes.
        length: usize,
    },
    /// Somebody has the name.
    #[error(
        "{name} is taken, by {value:?}: take another name, or end that process and wait until its entry goes"
    )]
    Taken {
        /// The name.
        name: String,
        /// What is published under it.
        value: String,
    },
    /// Every number is taken.
    #[error("all {count} numbers of {prefix} are taken")]
    Full {
        /// What stands before the numbers.
        prefix: String,
        /// How many there are.
        count: u32,
    },
    /// Nobody has published the name in time.
    #[error("nobody has published {name} within {waited:?}")]
    Missing {
        /// The name.
        name: String,
        /// Time waited.
        waited: Duration,
    },
    /// The directory did not answer, or not as one.
    #[error("the directory at {service} does not answer")]
    Unreachable {
        /// Where it should be.
        service: String,
        /// The implementation's reason.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests;
