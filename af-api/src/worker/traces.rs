//! What became of the time: the worker's recorder, and the stamps that servers have.

use std::{sync::Arc, time::Duration};

use pmd_host::control::RequestError;
use thiserror::Error;

use super::{Worker, connection::Connection};
use crate::{
    trace::{MessageError, Recorder, RequestTrace},
    wire::kind,
};

/// Why a server's stamps are not there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The server did not answer.
    #[error("server {server} did not tell its stamps: {error}")]
    Request {
        /// Its rank.
        server: u32,
        /// Why.
        error: RequestError,
    },
    /// It answered something else.
    #[error("server {server} told something else than its stamps: {error}")]
    Message {
        /// Its rank.
        server: u32,
        /// What is wrong with it.
        error: MessageError,
    },
}

impl Worker {
    /// Figures and traces of this worker's push-pulls; those of [`Handle::number`](super::Handle::number) are known there
    /// once they are done. Servers' stamps are missing until [`Worker::fetch_traces`].
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// Fetches the stamps that servers have of the push-pulls that are kept. Waits for each server's control thread.
    ///
    /// # Errors
    /// [`TraceError`] of the first server that did not tell; those of others have been taken.
    pub fn fetch_traces(&self, patience: Duration) -> Result<(), TraceError> {
        self.fetch(None, patience)
    }

    /// Fetches the stamps that servers have of one push-pull, and tells all of it: one trace for each of its servers
    /// (`fetch_trace`). Empty where the push-pull is not done yet, or too long ago.
    ///
    /// # Errors
    /// As [`Worker::fetch_traces`].
    pub fn fetch_trace(&self, number: u64, patience: Duration) -> Result<Vec<RequestTrace>, TraceError> {
        self.fetch(Some(number), patience)?;
        Ok(self.recorder().request(number))
    }

    fn fetch(&self, number: Option<u64>, patience: Duration) -> Result<(), TraceError> {
        let connections: Vec<Arc<Connection>> = self.0.shared.servers().by_rank.values().cloned().collect();
        let mut first = Ok(());
        for connection in connections {
            // Every server is asked, whatever became of the one before.
            let outcome = self.fetch_from(&connection, number, patience);
            first = first.and(outcome);
        }
        first
    }

    fn fetch_from(
        &self,
        connection: &Connection,
        number: Option<u64>,
        patience: Duration,
    ) -> Result<(), TraceError> {
        let server = connection.server.rank;
        let Some(query) = self.recorder().query(connection.trace, number) else { return Ok(()) };
        let answer = connection.peer.request(kind::TRACE, query, patience);
        let answer = answer.map_err(|error| TraceError::Request { server, error })?;
        let merged = self.recorder().merge(connection.trace, &answer);
        merged.map(drop).map_err(|error| TraceError::Message { server, error })
    }
}
