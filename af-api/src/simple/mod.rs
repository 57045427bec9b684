//! ps-lite's simple API: key-values, small requests, and questions about the cluster.
//!
//! # Place in the flow
//! A layer of convenience over [`rendezvous`](crate::rendezvous), for programs that were written for ps-lite, and for
//! coordination beside the data path.
//!
//! | ps-lite | here |
//! |---|---|
//! | `Postoffice` | [`Postoffice`] |
//! | `SimpleApp` | [`SimpleApp`] |
//! | `KVWorker`, `KVServer` | [`KvWorker`], [`KvServer`] |

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
pub use error::KvError;
pub use kv::{KvAnswer, KvCallback, KvOutcome, KvRequest, KvServer, KvWorker, NOT_KEY_VALUES};
pub use message::FrontError;
pub use postoffice::{Postoffice, member_of};
pub use tracker::{RESULTS_KEPT, Timestamp, TrackError};
pub use value::{KvPairs, Value};
