//! Stages memory of this process for peers that ask for it.
//!
//! One thread does it, in the order of the questions, so that a question that its asker has given up cannot be carried
//! out after a later one of the same asker.
#![allow(unsafe_code)] // looks into buffers that no transfer touches at the time

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_host::{backend::Transport, endpoint::Peer, transfer::Direction};

use super::{
    calls,
    copy::CopyError,
    pool::{BufferPool, Lease},
    protocol::{Answer, Ask, Cancel, PIECES, StageFault},
};
use crate::{
    fabric::{Descriptor, Fabric, FabricError, PostOptions},
    hixl::{HixlError, Status, options::StageFor},
};

/// Most questions that wait.
const LIMIT: usize = 1024;

/// The thread that answers questions.
pub(in crate::hixl) struct Server {
    questions: Arc<Questions>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Questions that wait. Filled on the control thread.
#[derive(Default)]
pub(in crate::hixl) struct Questions {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Question>,
    stopping: bool,
}

struct Question {
    peer: Peer,
    ask: Ask,
    deadline: Instant,
}

impl Server {
    pub(super) fn start(
        fabric: Fabric,
        pool: Arc<BufferPool>,
        questions: Arc<Questions>,
    ) -> Result<Self, HixlError> {
        let worker = Worker { fabric, pool, questions: Arc::clone(&questions) };
        let builder = thread::Builder::new().name("hixl-stage".into());
        let thread = builder.spawn(move || worker.work()).map_err(|source| HixlError::Thread { source })?;
        Ok(Self { questions, thread: Mutex::new(Some(thread)) })
    }

    /// Answers nothing more and waits for the thread.
    pub(in crate::hixl) fn stop(&self) {
        self.questions.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Questions {
    /// Takes a question in, or answers at once that it is not.
    pub(super) fn put(&self, peer: &Peer, ask: Ask, stage_for: StageFor, limit: u64) {
        let number = ask.number;
        if let Err(fault) = self.admit(peer, ask, stage_for, limit) {
            calls::answer(peer, &Answer { number, outcome: Err(fault) });
        }
    }

    fn admit(&self, peer: &Peer, ask: Ask, stage_for: StageFor, limit: u64) -> Result<(), StageFault> {
        let is_allowed = match stage_for {
            StageFor::Everybody => true,
            StageFor::Host => peer.transport() == Transport::SharedMemory,
            StageFor::Nobody => false,
        };
        if !is_allowed {
            return Err(StageFault::NotAllowed);
        }
        let bytes = ask.pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.length));
        let bytes = bytes.unwrap_or(u64::MAX);
        if bytes > limit || ask.pieces.len() > PIECES {
            return Err(StageFault::TooLarge { bytes, limit });
        }
        let deadline = Instant::now() + Duration::from_millis(ask.patience_in_millis.into());
        let mut state = self.state();
        if state.waiting.len() >= LIMIT || state.stopping {
            return Err(StageFault::Busy);
        }
        state.waiting.push_back(Question { peer: peer.clone(), ask, deadline });
        drop(state);
        self.came.notify_one();
        Ok(())
    }

    /// The asker does not wait any more. What has begun goes on.
    pub(super) fn cancel(&self, peer: &Peer, cancel: Cancel) {
        let is_it = |question: &Question| question.peer == *peer && question.ask.number == cancel.number;
        let mut state = self.state();
        let found = state.waiting.iter().position(is_it);
        let question = found.and_then(|index| state.waiting.remove(index));
        drop(state);
        if question.is_some() {
            calls::answer(peer, &Answer { number: cancel.number, outcome: Err(StageFault::Cancelled) });
        }
    }

    /// The peer is gone.
    pub(in crate::hixl) fn forget(&self, peer: &Peer) {
        self.state().waiting.retain(|question| question.peer != *peer);
    }

    fn next(&self) -> Option<Question> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(question) = state.waiting.pop_front() {
                return Some(question);
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        state.waiting.clear();
        drop(state);
        self.came.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker {
    fabric: Fabric,
    pool: Arc<BufferPool>,
    questions: Arc<Questions>,
}

impl Worker {
    fn work(&self) {
        while let Some(question) = self.questions.next() {
            let outcome = self.carry_out(&question).map_err(fault_of);
            calls::answer(&question.peer, &Answer { number: question.ask.number, outcome });
        }
    }

    fn carry_out(&self, question: &Question) -> Result<(), HixlError> {
        let Question { peer, ask, deadline } = question;
        let bytes = ask.pieces.iter().map(|piece| piece.length).sum();
        let mut lease = self.pool.lend(*deadline)?;
        if !ask.write {
            // SAFETY: the buffer was lent to this thread, and no transfer with it has begun.
            unsafe { lease.bytes(bytes) }.map_or(Ok(()), |buffer| buffer.gather(&ask.pieces))?;
        }
        let direction = if ask.write { Direction::Read } else { Direction::Write };
        self.transfer(peer, direction, &lease, ask.buffer, bytes, *deadline)?;
        if ask.write {
            // SAFETY: the transfer has ended, and with it everything that touches the buffer.
            unsafe { lease.bytes(bytes) }.map_or(Ok(()), |buffer| buffer.scatter(&ask.pieces))?;
        }
        Ok(())
    }

    /// Between this side's buffer and the asker's. Ends before the buffer can be lent again.
    fn transfer(
        &self,
        peer: &Peer,
        direction: Direction,
        lease: &Lease,
        remote: u64,
        length: u64,
        deadline: Instant,
    ) -> Result<(), HixlError> {
        let descriptor = Descriptor { local: lease.address(), remote, length };
        let patience = deadline.saturating_duration_since(Instant::now());
        let plan = self.fabric.plan(peer, direction, &[descriptor], patience)?;
        let transfer = plan.post(PostOptions { deadline: Some(deadline), ..PostOptions::default() })?;
        super::finish(transfer, deadline)
    }
}

fn fault_of(error: HixlError) -> StageFault {
    match (error.status(), error) {
        (_, HixlError::BadAddress { address }) => StageFault::BadAddress { address },
        (_, HixlError::CopyNotPermitted { .. }) => StageFault::CopyNotPermitted,
        (Status::Timeout, _) => StageFault::Timeout,
        (_, HixlError::Fabric(FabricError::Remote { .. })) => {
            StageFault::Failed { detail: "the asker's buffer is not registered".into() }
        }
        (_, error) => StageFault::Failed { detail: error.to_string() },
    }
}

impl From<CopyError> for HixlError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::BadAddress { address } => Self::BadAddress { address },
            CopyError::NotPermitted(errno) => Self::CopyNotPermitted { source: errno.into() },
            CopyError::Accelerator(error) => FabricError::Accelerator(error).into(),
        }
    }
}
