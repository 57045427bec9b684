//! What this engine has asked peers for, until they answer.
//!
//! A buffer whose asker has given up stays lent until the peer has answered: only then does nobody touch it. That of a
//! peer that is gone is given up.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Instant,
};

use pmd_host::{endpoint::Peer, transfer::TransferError};

use super::{
    pool::Lease,
    protocol::{ANSWER, ASK, Answer, Ask, CANCEL, Cancel, Piece, encode},
};
use crate::hixl::HixlError;

type Outcome = Result<(), HixlError>;

/// Questions without an answer.
#[derive(Default)]
pub(in crate::hixl) struct Calls(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    open: HashMap<u64, Call>,
}

struct Call {
    /// Number of the control connection.
    link: u64,
    waits: Waits,
}

enum Waits {
    Asker(SyncSender<Outcome>),
    /// Nobody, but the buffer must not be lent again yet.
    Buffer(Lease),
}

/// A question that was sent.
pub(super) struct Asked {
    number: u64,
    answer: Receiver<Outcome>,
}

impl Calls {
    /// Asks a peer.
    pub(super) fn ask(
        &self,
        peer: &Peer,
        write: bool,
        lease: &Lease,
        pieces: Vec<Piece>,
        deadline: Instant,
    ) -> Result<Asked, HixlError> {
        let (sender, answer) = sync_channel(1);
        let link = peer.connection().number();
        let number = {
            let mut table = self.table();
            table.last += 1;
            let number = table.last;
            table.open.insert(number, Call { link, waits: Waits::Asker(sender) });
            number
        };
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let patience_in_millis = u32::try_from(left).unwrap_or(u32::MAX);
        let ask = Ask { number, write, buffer: lease.address(), patience_in_millis, pieces };
        if peer.connection().event(ASK, encode(&ask)).is_err() {
            self.table().open.remove(&number);
            return Err(gone());
        }
        if peer.down_reason().is_some() {
            // The end of the link may have been told before the question was listed.
            self.down(link);
        }
        Ok(Asked { number, answer })
    }

    /// Waits for the answer. `None` when there is none in time: the question is still open then.
    pub(super) fn wait(&self, asked: &Asked, deadline: Instant) -> Option<Outcome> {
        let left = deadline.saturating_duration_since(Instant::now());
        match asked.answer.recv_timeout(left) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(gone())),
        }
    }

    /// Gives up. The buffer is lent until the peer has answered.
    pub(super) fn abandon(&self, peer: &Peer, asked: &Asked, lease: Lease) {
        let mut table = self.table();
        match table.open.get_mut(&asked.number) {
            Some(call) => call.waits = Waits::Buffer(lease),
            None => {
                drop(table);
                // It was answered, or the peer is gone and may still be writing.
                if !matches!(asked.answer.try_recv(), Ok(Ok(()) | Err(HixlError::Stage(_)))) {
                    lease.discard();
                }
                return;
            }
        }
        drop(table);
        // A peer that cannot be told is gone, which `down` takes note of.
        let _ = peer.connection().event(CANCEL, encode(&Cancel { number: asked.number }));
    }

    /// Takes an answer in. On the control thread.
    pub(super) fn answered(&self, link: u64, answer: Answer) {
        let mut table = self.table();
        let is_of_link = table.open.get(&answer.number).is_some_and(|call| call.link == link);
        let call = if is_of_link { table.open.remove(&answer.number) } else { None };
        drop(table);
        match call.map(|call| call.waits) {
            // The asker may have given up in between.
            Some(Waits::Asker(sender)) => drop(sender.try_send(answer.outcome.map_err(HixlError::Stage))),
            Some(Waits::Buffer(lease)) => drop(lease),
            None => {}
        }
    }

    /// A link is gone: nobody will answer.
    pub(in crate::hixl) fn down(&self, link: u64) {
        let mut table = self.table();
        let lost: Vec<u64> =
            table.open.iter().filter(|(_, call)| call.link == link).map(|(number, _)| *number).collect();
        for number in lost {
            match table.open.remove(&number).map(|call| call.waits) {
                Some(Waits::Asker(sender)) => drop(sender.try_send(Err(gone()))),
                Some(Waits::Buffer(lease)) => lease.orphan(),
                None => {}
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a question of a peer.
pub(super) fn answer(peer: &Peer, answer: &Answer) {
    // A peer that cannot be told is gone.
    let _ = peer.connection().event(ANSWER, encode(answer));
}

fn gone() -> HixlError {
    HixlError::Transfer(TransferError::PeerDown)
}
