//! The span of a transfer, for whoever subscribes to `tracing`.
//!
//! Made where a transfer is submitted, so that its parent is the caller's span, and ended by the lane with the outcome; never
//! looked at while work requests are posted and polled. Nobody subscribed: submitting compares one word.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tracing::{Level, Span, field::Empty};

use super::{Outcome, TransferError, WorkList};

/// Carried by whoever completes the transfer.
#[derive(Debug)]
pub(crate) struct Trace(Option<Box<Span>>);

impl Trace {
    /// Begins the span of a transfer that goes `over` a route, or something else that carries it.
    #[inline]
    pub(crate) fn begin(work: &WorkList, over: &dyn fmt::Display) -> Self {
        Self(tracing::span_enabled!(Level::DEBUG).then(|| Self::span(work, over)))
    }

    #[cold]
    fn span(work: &WorkList, over: &dyn fmt::Display) -> Box<Span> {
        Box::new(tracing::debug_span!(
            "transfer",
            %over,
            direction = ?work.direction(),
            bytes = work.bytes(),
            entries = work.entries().len(),
            outcome = Empty,
            landed = Empty,
            error = Empty,
        ))
    }

    /// Ends it: `landed` entries, from the first, are known to be in place. A subscriber that panics changes nothing.
    #[inline]
    pub(crate) fn end(self, outcome: Result<Outcome, TransferError>, landed: u32) {
        if let Some(span) = self.0 {
            let _ = catch_unwind(AssertUnwindSafe(|| close(*span, outcome, landed)));
        }
    }
}

#[cold]
fn close(span: Span, outcome: Result<Outcome, TransferError>, landed: u32) {
    span.record("landed", landed);
    match outcome {
        Ok(_) => span.record("outcome", "done"),
        Err(TransferError::Cancelled) => span.record("outcome", "cancelled"),
        Err(error) => {
            span.record("error", tracing::field::display(error));
            span.record("outcome", "failed")
        }
    };
    // Closed before the outcome is given: who has that finds the span whole.
}
