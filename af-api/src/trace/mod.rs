//! Where the time of a push-pull goes: stamps, figures and files.
//!
//! # Place in the flow
//! The worker notes five moments of each request to each server, the server four; each hands them to its recorder once,
//! when the request is complete. Nothing of it is on the data path's wire: a server keeps the stamps of its last requests,
//! and a worker fetches them over the control connection when somebody wants to see them.
//!
//! ```text
//!  worker   submitted .. event done .. posted                                arrived .. completed
//!                                         \                                  /
//!  server                                  received .. processed .. responded .. sent
//! ```
//! | span | from | to |
//! |---|---|---|
//! | [`Event`](Phase::Event) | submitted | event done |
//! | [`Post`](Phase::Post) | event done | posted |
//! | [`RoundTrip`](Phase::RoundTrip) | posted | arrived |
//! | [`Complete`](Phase::Complete) | arrived | completed |
//! | [`Total`](Phase::Total) | submitted | completed |
//! | [`Queue`](Phase::Queue) | received | processed |
//! | [`Compute`](Phase::Compute) | processed | responded |
//! | [`Respond`](Phase::Respond) | responded | sent |
//! | [`Server`](Phase::Server) | received | sent |
//! | [`Network`](Phase::Network) | round trip less server | |
//!
//! # Who calls what
//! ```
//! use af_api::trace::{Moment, Part, Phase, Recorder, RecorderConfig, ServerRecorder, ServerStamps, StampCell};
//!
//! // One at a worker, one at a server; both are on by default.
//! let worker = Recorder::new(RecorderConfig::default());
//! let server = ServerRecorder::new(RecorderConfig::default());
//! let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
//!
//! // The worker's code, as request 7 goes out; its header carries the number 42.
//! let cell = StampCell::default();
//! for moment in [Moment::Submitted, Moment::EventDone, Moment::Posted] {
//!     worker.note(&cell, moment);
//! }
//! // The server's code.
//! let mut stamps = ServerStamps { received: server.now(), processed: server.now(), ..ServerStamps::default() };
//! (stamps.responded, stamps.sent) = (server.now(), server.now());
//! server.complete(from, 42, stamps);
//! // The worker's again.
//! worker.note(&cell, Moment::Arrived);
//! worker.note(&cell, Moment::Completed);
//! let part = Part { peer: to, tag: 42, pushed: 1024, pulled: 2048, stamps: cell.load() };
//! worker.complete(7, [part].into_iter());
//!
//! // Later, on demand: the question and the answer are bytes for the control connection.
//! let query = worker.query(to, Some(7)).expect("the server's stamps are missing");
//! let answer = server.answer(from, &query).expect("a good query");
//! assert_eq!(worker.merge(to, &answer), Ok(1));
//! let numbers = worker.request(7)[0].numbers();
//! assert!(numbers.is_sorted(), "one machine, one clock");
//! assert_eq!(worker.peers()[0].phase(Phase::Network).count, 1);
//! ```
//!
//! # Figures
//! [`Recorder::peers`] and [`ServerRecorder::peers`] tell count, mean, p50, p90, p99 and maximum of each phase for each
//! peer since the start; [`Recorder::stragglers`] which server the others waited for; [`Recorder::request`] one
//! request's stamps at every server, of which [`RequestTrace::numbers`] are StepMesh's eight;
//! [`Recorder::write_chrome_trace`] a file to look at.
//!
//! # What it costs
//! On a virtual machine whose clock is the processor's counter a stamp takes 22 ns, and handing in a finished request 17 ns
//! for each server at the worker, 13 ns at the server (one thread, nobody else at the lock; the ignored test
//! `cost_of_a_stamp`, in release). So all nine stamps of a request with one server come to 0.23 us, of which a part is
//! in the round trip. Where two moments coincide, note one clock value twice.
//!
//! # Clocks
//! Stamps are nanoseconds of each machine's own monotonic clock. Durations never mix clocks; only the Chrome trace does,
//! by an estimated [`ClockOffset`] whose uncertainty it states.

mod chrome;
mod message;
mod offset;
mod peers;
mod recorder;
mod ring;
mod server;
mod stamps;
mod straggler;
#[cfg(test)]
mod tests;

pub use message::{MOST_TAGS, MessageError};
pub use offset::ClockOffset;
pub use peers::{PeerNumber, PeerReport};
pub use pmd_host::metrics::{Histogram, Summary};
pub use recorder::{Part, Recorder, RecorderConfig, RequestTrace};
pub use server::ServerRecorder;
pub use stamps::{Moment, Phase, ServerStamps, StampCell, WorkerStamps, now};
pub use straggler::StragglerReport;
