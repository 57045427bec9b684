//! Workers and servers in one process: the whole way of a push-pull.

mod areas;
mod batches;
mod busy;
mod cancel;
mod counts;
mod credits;
mod deferred;
pub(crate) mod device;
mod device_faults;
mod events;
mod exchange;
mod fake;
mod faults;
mod shares;
mod soak;
pub(crate) mod support;
mod traces;
