//! ps-lite's simple API: key-values, small requests, and questions about the cluster.
//!
//! # Place in the flow
//! A layer of convenience over [`worker`](crate::worker), [`server`](crate::server) and
//! [`rendezvous`](crate::rendezvous), for programs that were written for ps-lite, and for coordination beside the data
//! path.
//!
//! | ps-lite | here |
//! |---|---|
//! | `Postoffice` | [`Postoffice`] |
//! | `SimpleApp` | [`SimpleApp`] |
//! | `KVWorker`, `KVServer` | [`KvWorker`], [`KvServer`] |
//!
//! # Example
//! A server that adds up what is pushed, and a worker; here in one process.
//! ```
//! use std::time::Duration;
//!
//! use af_api::server::{Server, ServerConfig};
//! use af_api::simple::{KvPairs, KvServer, KvWorker};
//! use af_api::worker::{Worker, WorkerConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::open(ServerConfig::default())?;
//! let worker = Worker::open(WorkerConfig::default())?;
//! worker.connect(0, server.local_address().ok_or("the server does not listen")?)?;
//! let _serving = KvServer::sum::<f32>(server)?;
//!
//! let worker = KvWorker::<f32>::new(worker, 1)?;
//! let pairs = KvPairs::variable(vec![3, 8], vec![0.5, 1.5, 2.5], vec![1, 2])?;
//! for _ in 0..2 {
//!     let pushed = worker.push(&pairs, 0, None)?;
//!     worker.wait(pushed, Duration::from_secs(10))?;
//! }
//! let pulled = worker.pull(&[3, 8], 2, 0, None)?;
//! assert_eq!(worker.wait(pulled, Duration::from_secs(10))?.values, [1.0, 3.0, 5.0]);
//! # Ok(())
//! # }
//! ```

mod app;
mod error;
mod kv;
mod message;
mod postoffice;
mod ranges;
#[cfg(test)]
mod tests;
mod tracker;
mod value;

pub use app::{AppError, AppHandler, AppMessage, BODY_LIMIT, Link, LinkDown, SimpleApp, Target};
pub(crate) use app::{Apps, WeakLink};
pub use error::KvError;
pub use kv::{KvAnswer, KvCallback, KvOutcome, KvRequest, KvServer, KvWorker, NOT_KEY_VALUES};
pub use message::FrontError;
pub use postoffice::{Postoffice, member_of};
pub use tracker::{RESULTS_KEPT, Timestamp, TrackError};
pub use value::{KvPairs, Value};
