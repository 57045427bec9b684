//! Waiting for a layer at the sending side, for tasks.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pmd_host::transfer::Outcome;

use super::{LayerStream, StreamError};

/// Resolves when a layer has landed and its receiver was told, or never will be: of [`LayerStream::sent`].
#[derive(Debug)]
#[must_use = "nothing waits unless it is awaited"]
pub struct Sent<'a> {
    stream: &'a LayerStream,
    layer: u32,
}

impl<'a> Sent<'a> {
    pub(super) const fn new(stream: &'a LayerStream, layer: u32) -> Self {
        Self { stream, layer }
    }
}

impl Future for Sent<'_> {
    type Output = Result<Outcome, StreamError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.stream.look(self.layer, context.waker()).map_or(Poll::Pending, Poll::Ready)
    }
}
