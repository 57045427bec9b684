//! Push-pulls in captured graphs: what a stream does by itself, as often as the graph is launched.
//!
//! # Place in the flow
//! An engine captures a layer's kernels once and launches the graph for each token; the processor is not asked in between.
//! So the exchange with the other side has to be in the graph too. [`Worker::capture`](crate::worker::Worker::capture) and
//! [`Server::capture`](crate::server::Server::capture) take tensors, keys and peers once, and give an object whose half of
//! the exchange is put into a stream that is being captured (or, stream by stream, launch by launch, into one that is not:
//! streams without graphs replay by hand). The other half is done by a thread of the library, the *proxy*: it sees what the
//! streams ask for, calls what an application would have called, and lets the streams go on.
//!
//! ```text
//!  worker's stream   kernels   ask ... go on   kernels     [put]
//!                               |        ^
//!  worker's proxy               push-pull, status
//!                               |        ^
//!  server's proxy               batch, status     response
//!                               |                    ^
//!  server's stream       ask ... go on    kernels   respond     [put_batch] [put_responses]
//! ```
//! Both halves, in streams of ordinary threads that stand in for a device's:
//! ```
//! use std::time::{Duration, Instant};
//!
//! use af_api::{
//!     graph::Answering,
//!     server::{Server, ServerConfig},
//!     tensor::{Layout, Tensor},
//!     worker::{PushPull, Worker, WorkerConfig},
//! };
//! use pmd_core::accelerator::Accelerator;
//! use pmd_host::accelerator::CpuAccelerator;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let soon = || Some(Instant::now() + Duration::from_secs(20));
//! let (device, layout) = (CpuAccelerator::default(), Layout::of_bytes(4096));
//! let server = Server::open(ServerConfig::default())?;
//! let worker = Worker::open(WorkerConfig::default())?;
//! worker.connect(0, server.local_address().expect("it listens"))?;
//!
//! // The server takes key 1 of worker 0 and answers with a tensor that kernels fill.
//! let pushed = Tensor::new(&server.allocate(4096)?, 0, layout)?;
//! let answer = Tensor::new(&server.allocate(4096)?, 0, layout)?;
//! server.offer(0, 1, &pushed, 1)?;
//! let answering = Answering::new(0).pushed(1, &pushed).answer(&answer);
//! let service = server.capture(&device, &[answering], None)?;
//!
//! let push = Tensor::new(&worker.allocate(4096)?, 0, layout)?;
//! let pull = Tensor::new(&worker.allocate(4096)?, 0, layout)?;
//! let request = PushPull::new().push(1, &push).pull(2, &pull);
//! let exchange = worker.capture(&device, &request, Some(Duration::from_secs(10)))?;
//!
//! // While a stream is captured the same calls become a part of its graph.
//! let (ours, theirs) = (device.open_stream()?, device.open_stream()?);
//! service.put_batch(&*theirs)?;
//! // Kernels that compute the answer go here.
//! service.put_responses(&*theirs)?;
//! exchange.put(&*ours)?;
//! exchange.launches().wait(1, soon())?;
//! service.launches().wait(1, soon())?;
//! # Ok(())
//! # }
//! ```
//! No kernel spins: streams write and wait by their memory operations ([`Stream::signal`], [`Stream::wait_value`]).
//!
//! # Protocol
//! A graph writes the same constants at each launch, so each ask and its answer are a toggle of two words:
//! [`pmd_core::ring::toggle`] has its states, its orderings and the model that proves that no launch waits for ever.
//!
//! | | the stream | the proxy |
//! |---|---|---|
//! | worker | `done` <- 0, `request` <- 1, waits for `done` 1 | takes the request, pushes and pulls, notes the status, `done` <- 1 |
//! | server | `arrived` <- 0, `ready` <- 1, waits for `arrived` 1, kernels, `respond` <- 1 | takes `ready`; once the batch is in its buffers, `arrived` <- 1; once `respond` is 1, takes it and answers each worker; notes the status |
//!
//! The server's proxy takes the next `ready` when the responses before have ended, so that kernels do not write over tensors
//! that are being read; it clears a `respond` that was left over before it lets the stream go on.
//!
//! Tensors may lie in memory of the accelerator. What a NIC has written there by itself is flushed
//! ([`Accelerator::flush_remote_writes`]) before a stream goes on with it.
//!
//! # Before the first launch
//! What a device does for the first time, opening a peer's memory say, may make its runtime wait for all streams, one of
//! which waits for that very exchange. So make the push-pull once before the two sides capture it
//! ([`Worker::push_pull`](crate::worker::Worker::push_pull)), as frameworks warm up what they capture.
//!
//! # Failures
//! A stream goes on whatever happens: where the push-pull failed or was not taken, the peer died, the worker or the server
//! was closed, or this object was. The pulled tensors are worth nothing then, and the application is told by
//! [`Launches`], which it asks once it has seen the launch end: each failure with the number of its launch.
//! Only a server whose worker has not come yet, or is merely slow, keeps its stream waiting; closing ends that too.
//!
//! # Launches that overlap
//! One exchange of an object is in flight at a time: its tensors are the same for all. Launches in one stream follow each
//! other, and CUDA lets launches of one executable graph follow each other in whatever streams. An object may be in several
//! graphs; where those overlap, a launch waits for the one before, or, if it asks while that is being served, shares its
//! answer and is noted as [`ExchangeCause::Overlap`] or [`ServiceCause::Overlap`]. None of them hangs. Two that ask at the
//! very same time are one to the proxy. Exchanges of different objects overlap freely.
//!
//! # End
//! [`CapturedExchange::close`] and [`CapturedService::close`] refuse while a launch is being served, or wait until a deadline.
//! Dropping the object gives up what is being served, waits until that is quiet, and lets its stream go on. Words that
//! streams were told of stay, and launches that come later are answered with [`ExchangeCause::Closed`], for as long as the
//! worker, the server or any of its captured objects lives. Destroy graphs before the last of these: a launch after that
//! waits for ever, as nobody is there to answer.
//!
//! [`Accelerator::flush_remote_writes`]: pmd_core::accelerator::Accelerator::flush_remote_writes
//! [put]: CapturedExchange::put
//! [put_batch]: CapturedService::put_batch
//! [put_responses]: CapturedService::put_responses
//! [`Stream::signal`]: pmd_core::accelerator::Stream::signal
//! [`Stream::wait_value`]: pmd_core::accelerator::Stream::wait_value

mod error;
mod exchange;
mod flush;
mod launches;
mod proxy;
mod service;
#[cfg(test)]
mod tests;

pub use error::{CaptureError, CloseError, ExchangeCause, ServiceCause};
pub use exchange::CapturedExchange;
pub use launches::{LaunchError, LaunchFailure, Launches};
pub(crate) use proxy::Proxy;
pub use proxy::ProxyConfig;
pub use service::{Answering, CapturedService};
