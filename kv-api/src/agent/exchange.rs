//! Metadata from agent to agent, over their control connections: NIXL's peer listener.
//!
//! The listener is the agent's control port itself. Asking and sending happen on a thread of their own, as in NIXL; an
//! [`Exchange`] tells how it went. A metadata server (etcd) is not offered.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
    thread::{self, JoinHandle},
};

use pmd_host::{control::Refusal, endpoint::Peer};

use super::{Agent, AgentError, Inner, backend::Service};

/// Request: all metadata of the agent that is asked.
const FETCH: u16 = 0x4e01;

/// Request: loads the metadata in the body.
const SEND: u16 = 0x4e02;

/// Request: forgets the agent that asks.
const INVALIDATE: u16 = 0x4e03;

/// Refusal code: the agent is closing.
const CLOSING: u16 = 1;

/// Refusal code: what the agent's own call would have returned as an error.
const REFUSED: u16 = 2;

/// An exchange under way. Dropping it lets it go on.
#[derive(Debug)]
pub struct Exchange(JoinHandle<Result<(), AgentError>>);

impl Exchange {
    /// Whether it has ended, well or not.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end; bounded by the agent's patience.
    ///
    /// # Errors
    /// [`AgentError`]: the other agent is not reached, refused, or sent what does not parse.
    pub fn wait(self) -> Result<(), AgentError> {
        self.0.join().unwrap_or(Err(AgentError::Canceled))
    }

    fn start(
        agent: &Agent,
        address: SocketAddr,
        work: impl FnOnce(&Agent, &Peer) -> Result<(), AgentError> + Send + 'static,
    ) -> Result<Self, AgentError> {
        let agent = agent.clone();
        let run = move || {
            let peer = agent.backend().messenger().connect(address)?;
            let done = work(&agent, &peer);
            agent.backend().adopt(&peer);
            done
        };
        let thread = thread::Builder::new().name("pmd-exchange".to_owned()).spawn(run);
        thread.map(Self).map_err(|source| AgentError::Thread { source })
    }
}

impl Agent {
    /// Asks the agent that listens at `address` for all its metadata and loads it. Returns at once.
    ///
    /// # Errors
    /// [`AgentError::Thread`]. The [`Exchange`] fails with [`AgentError::WrongAgent`] when another agent listens there.
    pub fn fetch_remote_metadata(&self, agent: &str, address: SocketAddr) -> Result<Exchange, AgentError> {
        let wanted = agent.to_owned();
        Exchange::start(self, address, move |agent, peer| {
            let owner = &peer.identity().name;
            if *owner != wanted {
                return Err(AgentError::WrongAgent { owner: owner.clone(), agent: wanted });
            }
            let metadata = ask(agent, peer, FETCH, Vec::new())?;
            agent.load_remote_metadata(&metadata).map(drop)
        })
    }

    /// Sends all metadata of this agent to the one that listens at `address`, which loads it. Returns at once.
    ///
    /// # Errors
    /// [`AgentError::Thread`].
    pub fn send_local_metadata(&self, address: SocketAddr) -> Result<Exchange, AgentError> {
        self.send(address, SEND, self.local_metadata())
    }

    /// As [`Agent::send_local_metadata`], with a part of it, as [`Agent::local_partial_metadata`] makes.
    ///
    /// # Errors
    /// [`AgentError::Thread`].
    pub fn send_metadata(&self, metadata: Vec<u8>, address: SocketAddr) -> Result<Exchange, AgentError> {
        self.send(address, SEND, metadata)
    }

    /// Tells the agent that listens at `address` to forget this one. Returns at once.
    ///
    /// # Errors
    /// [`AgentError::Thread`].
    pub fn invalidate_local_metadata(&self, address: SocketAddr) -> Result<Exchange, AgentError> {
        self.send(address, INVALIDATE, Vec::new())
    }

    fn send(&self, address: SocketAddr, kind: u16, body: Vec<u8>) -> Result<Exchange, AgentError> {
        Exchange::start(self, address, move |agent, peer| ask(agent, peer, kind, body).map(drop))
    }
}

fn ask(agent: &Agent, peer: &Peer, kind: u16, body: Vec<u8>) -> Result<Vec<u8>, AgentError> {
    let answer = peer.request(kind, body, agent.backend().patience());
    answer.map_err(|error| crate::fabric::FabricError::Request(error).into())
}

/// Answers other agents' exchanges.
#[derive(Default)]
pub(super) struct Listener(pub(super) OnceLock<Weak<Inner>>);

impl Service for Listener {
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let closing = || Refusal { code: CLOSING, detail: "the agent is closing".to_owned() };
        let agent = Agent(self.0.get().and_then(Weak::upgrade).ok_or_else(closing)?);
        let answer = answer(&agent, peer, kind, body);
        if let Some(last) = Arc::into_inner(agent.0) {
            // It joins the control thread, which this is.
            thread::spawn(move || drop(last));
        }
        answer
    }
}

fn answer(agent: &Agent, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let done = match kind {
        FETCH => return Ok(agent.local_metadata()),
        SEND => agent.load_remote_metadata(body).map(drop),
        INVALIDATE => agent.invalidate_remote_metadata(&peer.identity().name),
        kind => {
            let detail = format!("no request of kind {kind:#x}");
            return Err(Refusal { code: Refusal::UNKNOWN_KIND, detail });
        }
    };
    done.map(|()| Vec::new()).map_err(|error| refused(&error))
}

fn refused(error: &AgentError) -> Refusal {
    Refusal { code: REFUSED, detail: error.to_string() }
}

/// The agent behind a listener: the listener must not keep it.
pub(super) fn introduce(listener: &Listener, agent: &Arc<Inner>) {
    // Each listener serves one agent: this is the only call.
    let _ = listener.0.set(Arc::downgrade(agent));
}
