//! Layer-wise streaming: each layer moves as soon as it is computed, while later ones still are.
//!
//! ```text
//!  compute:  layer 0 --- layer 1 --- layer 2 ---      release(layer), or a LayerSynchronizer on a thread of its own
//!               |           |           |
//!  LayerStream  post -----  post -----  post          one transfer a layer, each with a notification
//!               v           v           v
//!  LayerArrivals  wait(0)     wait(1)     wait(2)     the receiving side goes on with each layer as it lands
//! ```
//! Sender and receiver agree on a tag. Several senders, such as the ranks of another tensor-parallel degree, may share
//! one: then a layer has landed when all of them have sent their part of it.

mod arrivals;
mod sender;
mod sent;

pub use arrivals::{Landing, LayerArrivals, LayerError};
pub use sender::{LayerStream, LayerSynchronizer, StreamError, StreamOptions};
pub use sent::Sent;

pub(super) use arrivals::Incoming;
pub(super) use sender::StreamEnd;
