//! Lock-free rings and slots: how threads and processes hand work to each other without waiting.
//!
//! | module | from | to | memory |
//! |---|---|---|---|
//! | [`spsc`] | one thread | one thread | of the process |
//! | [`mpsc`] | application threads | their lane | of the process |
//! | [`slot`] | a lane | whoever holds the transfer's handle | of the process |
//! | [`attention`] | whoever sets a flag | the lane that looks at it | of the process |
//! | [`credits`] | a lane | another process's lane, by their messages | of the process |
//! | [`packet`] | one process | another that it need not trust | shared, lines of 64 bytes |
//! | [`parking`] | whoever publishes | a consumer that sleeps | of the process |
//! | [`side`] | one side of a connection | the engine at the other side | shared |
//! | [`toggle`] | a stream of an accelerator | the proxy that serves its graphs | that both reach |
//! | [`quiesce`] | the owner of a region | engines of other processes | shared |
//!
//! Called by `pmd-host`: lanes take submissions from `mpsc` and `spsc` and answer in a `slot`; the soft HCA
//! speaks `packet` as its wire, connects and closes by `side`, and proves with `quiesce` that a region is not touched any
//! more.
//!
//! Common to all: memory is allocated at construction only; a full ring is a normal return that gives the
//! value back; nothing waits. Each module names its states and the happens-before edges that it rests on, and
//! each has a loom model beside it (`model.rs`) that fails when any one of its orderings is weakened.

pub mod attention;
pub mod credits;
pub mod mpsc;
pub mod packet;
pub mod parking;
pub mod quiesce;
pub mod side;
pub mod slot;
pub mod spsc;
pub mod toggle;

/// The ring has no free slot: the value comes back, to be pushed again once the other end has taken some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full: push again once the other end has taken some")]
pub struct Full<T>(pub T);
