//! Processes find each other through etcd.
//!
//! # Place in the flow
//! [`Etcd`] is a [`Metadata`] of `pmd-host`: `kv-api` and `af-api` take it, and the commands open it for
//! `--metadata etcd://host:2379`. It is used before peers are linked, and beside the data path: no lane and no transfer
//! ever waits for it.
//!
//! ```text
//!  Etcd::publish ---> one lease of this process <--- keeper: a thread, keeps it alive, puts back what is forgotten
//!  Etcd::watch   ---> one connection, read by whoever asks for changes
//!       |
//!       v  HTTP/1.1, JSON
//!  etcd's own gateway on its client port: /v3/kv, /v3/lease, /v3/watch
//! ```
//!
//! # What happens when
//! - **A process dies**, or its host: nobody keeps its lease alive, and [`Options::lease`] later (at least a second, etcd's
//!   own bound may be more) its entries go; watches hear [`Gone`](pmd_host::metadata::Change::Gone). A process that ends in
//!   order takes them away at once.
//! - **etcd is away**: what is published reads [`Standing::Away`](pmd_host::metadata::Standing::Away), calls fail within
//!   [`Options::patience`], watches say so and go on later. Links and transfers know nothing of it.
//! - **etcd is back** with its data: leases have their whole time again, and the keeper goes on. Back without its data, or
//!   later than the lease lived: the lease is granted anew and every entry put back, each by the same atomic step as at
//!   first, so that a name that somebody else has taken meanwhile stays theirs, and
//!   [`Taken`](pmd_host::metadata::Standing::Taken) tells.
//! - **Several members of etcd** may be named; a call goes to the one that answered last, then to the others.
//!
//! # Why not the crate `etcd-client`
//! It generates its messages when it is built, for which a `protoc` must be installed: this project builds from the
//! registry alone. It also brings tokio, tonic and hyper, for a handful of calls a minute. etcd serves the same calls as
//! JSON over HTTP/1.1 (its gateway, on the client port, on by default, of versions 3.4 and later by the paths used here).
//! Of HTTP that takes a request line, two headers and a body in chunks: `httparse` reads the heads, and what is left is one
//! small module, whose reads end at deadlines and go on later; a watch needs that, and blocking clients do not offer it.
//!
//! # Security
//! Neither TLS nor etcd's users are spoken: whoever reaches etcd can read and write every entry. Use a trusted network, or
//! a proxy on this host that speaks TLS to etcd. Answers are bounded ([`ANSWER_LIMIT`]).
//!
//! # Example
//! ```no_run
//! use std::time::Duration;
//!
//! use pmd_etcd::{Etcd, Options};
//! use pmd_host::metadata::Metadata;
//!
//! let etcd = Etcd::open("etcd://10.0.0.1:2379,10.0.0.2:2379".parse()?, Options::default())?;
//! let _here = etcd.publish("kv/decode-0", "10.0.0.7:7700")?;
//! let prefill = etcd.wait_for("kv/prefill-0", Duration::from_secs(60))?;
//! println!("connect to {prefill}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!

mod client;
mod http;
mod keeper;
mod url;
mod watch;

use std::{fmt, io, sync::Arc, time::Duration};

use pmd_host::metadata::{Entry, Metadata, MetadataError, Publication, Watch, check_name, check_value};

pub use client::CallError;
pub use http::{ANSWER_LIMIT, HttpError};
pub use url::{DEFAULT_PORT, DEFAULT_ROOT, EtcdUrl, Member, NotAUrl};

use self::{client::Client, keeper::Keeper, watch::Watching};

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long entries stay when nobody keeps them alive. In whole seconds, rounded up; etcd takes no less than its
    /// election time-out asks for, two seconds by default.
    pub lease: Duration,
    /// Longest time of a call, all members of etcd together.
    pub patience: Duration,
}

impl Default for Options {
    /// Ten seconds, and two.
    fn default() -> Self {
        Self { lease: Duration::from_secs(10), patience: Duration::from_secs(2) }
    }
}

/// A directory in etcd. Clones are handles to the same one, with one lease; the last of them, and of its publications, takes
/// the lease back.
#[derive(Clone)]
pub struct Etcd {
    keeper: Arc<Keeper>,
}

impl Etcd {
    /// Starts what keeps entries alive. etcd is not asked for anything yet, and need not be there.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn open(url: EtcdUrl, options: Options) -> io::Result<Self> {
        let client = Client::new(url, options.patience);
        Ok(Self { keeper: Arc::new(Keeper::start(client, options.lease)?) })
    }

    /// Where it looks.
    #[must_use]
    pub fn url(&self) -> &EtcdUrl {
        self.client().url()
    }

    fn client(&self) -> &Client {
        self.keeper.client()
    }

    fn unreachable(&self, source: CallError) -> MetadataError {
        unreachable(self.client(), source)
    }
}

fn unreachable(client: &Client, source: CallError) -> MetadataError {
    MetadataError::Unreachable { service: client.url().to_string(), source: Box::new(source) }
}

impl Metadata for Etcd {
    fn publish(&self, name: &str, value: &str) -> Result<Box<dyn Publication>, MetadataError> {
        check_name(name)?;
        check_value(value)?;
        Ok(Box::new(Keeper::publish(&self.keeper, name, value)?))
    }

    fn find(&self, name: &str) -> Result<Option<String>, MetadataError> {
        check_name(name)?;
        self.client().find(name).map_err(|error| self.unreachable(error))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Entry>, MetadataError> {
        let picture = self.client().list(prefix).map_err(|error| self.unreachable(error))?;
        Ok(picture.entries)
    }

    fn watch(&self, prefix: &str) -> Result<Box<dyn Watch>, MetadataError> {
        Ok(Box::new(Watching::new(self.client().clone(), prefix)))
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Etcd").field("url", self.url()).finish_non_exhaustive()
    }
}
