//! The responder: packets of the own mailbox, in order.

use pmd_core::{
    memory::Access,
    wire::{Cqe, ReceivePath, Received, RemoteSegment, ResponderCompletion, Syndrome},
};

use super::{
    net::{Packet, Request, Verdict, Wish},
    queue_pair::{Means, Phase, QueuePair, Source},
    queues::{Completions, Taken},
};

/// Why a request was not carried out.
enum Obstacle {
    NotReady,
    Refused(Syndrome),
}

impl QueuePair {
    /// Serves what waits in the mailbox. Returns whether something is left that could be served.
    pub(super) fn serve(&mut self, means: &mut Means<'_>) -> bool {
        for _ in 0..means.manner.pace {
            if self.phase == Phase::Reset {
                return false;
            }
            let Some(packet) = self.next_packet(means) else { return false };
            if self.phase == Phase::Failed {
                means.net.answer(packet.from, packet.sequence, Verdict::Refused(Syndrome::RetryExceeded));
                continue;
            }
            match self.execute(means, &packet.request) {
                Ok(bytes) => means.net.answer(packet.from, packet.sequence, Verdict::Done(bytes)),
                Err(Obstacle::NotReady) => {
                    means.net.answer(packet.from, packet.sequence, Verdict::NotReady);
                    self.put_back(means, packet);
                    return false;
                }
                Err(Obstacle::Refused(syndrome)) => {
                    means.net.answer(packet.from, packet.sequence, Verdict::Refused(syndrome));
                    self.fail(means);
                }
            }
        }
        means.net.mailboxes.get(&self.number).is_some_and(|mailbox| !mailbox.requests.is_empty())
    }

    /// The next request; those of strangers are dropped, as by sequence number.
    fn next_packet(&self, means: &mut Means<'_>) -> Option<Packet> {
        let requests = &mut means.net.mailboxes.get_mut(&self.number)?.requests;
        loop {
            let packet = requests.pop_front()?;
            if packet.from == self.peer {
                return Some(packet);
            }
        }
    }

    fn put_back(&self, means: &mut Means<'_>, packet: Packet) {
        if let Some(mailbox) = means.net.mailboxes.get_mut(&self.number) {
            mailbox.requests.push_front(packet);
        }
    }

    fn execute(&mut self, means: &mut Means<'_>, request: &Request) -> Result<Vec<u8>, Obstacle> {
        let refused = Obstacle::Refused(Syndrome::RemoteAccess);
        match request {
            Request::Send { bytes, immediate, solicited } => {
                let received = immediate.map_or(Received::Send, Received::SendImmediate);
                self.receive(means, received, bytes, *solicited)?;
                Ok(Vec::new())
            }
            Request::Write { remote, bytes, immediate, solicited } => {
                let wish = means.remote(remote, bytes.len() as u64, Access::REMOTE_WRITE);
                means.net.store(wish, bytes).ok_or(refused)?;
                if let Some(immediate) = immediate {
                    let (slot, _) = self.take(means).ok_or(Obstacle::NotReady)?;
                    let received = Received::WriteImmediate(*immediate);
                    self.responder(means.completions, received, slot, bytes.len() as u32, *solicited, &[]);
                }
                Ok(Vec::new())
            }
            Request::Read { remote, length } => {
                means.net.load(means.remote(remote, (*length).into(), Access::REMOTE_READ)).ok_or(refused)
            }
            Request::Atomic { remote, compare, value } => means.atomic(remote, *compare, *value),
        }
    }

    fn receive(
        &mut self,
        means: &mut Means<'_>,
        received: Received,
        bytes: &[u8],
        solicited: bool,
    ) -> Result<(), Obstacle> {
        let (slot, list) = self.take(means).ok_or(Obstacle::NotReady)?;
        let room: u64 = list.iter().map(|segment| u64::from(segment.length)).sum();
        if room < bytes.len() as u64 {
            self.responder_error(means.completions, slot, Syndrome::LocalLength);
            return Err(Obstacle::Refused(Syndrome::RemoteInvalidRequest));
        }
        let fits = (1..=means.completions.room()).contains(&bytes.len());
        let inside = means.manner.scatter_to_completion && fits;
        if !inside && means.spread(&list, bytes).is_none() {
            self.responder_error(means.completions, slot, Syndrome::LocalProtection);
            return Err(Obstacle::Refused(Syndrome::RemoteOperation));
        }
        let payload = if inside { bytes } else { &[] };
        self.responder(means.completions, received, slot, bytes.len() as u32, solicited, payload);
        Ok(())
    }

    fn take(&mut self, means: &mut Means<'_>) -> Option<Taken> {
        match &mut self.source {
            Source::Own(receives) => receives.take(),
            Source::Shared(index) => means.shared.get_mut(*index)?.take(),
        }
    }

    fn responder(
        &self,
        completions: &mut Completions,
        received: Received,
        slot: u16,
        byte_count: u32,
        solicited: bool,
        payload: &[u8],
    ) {
        let (scatter, preceding) = Completions::carry(payload);
        let completion = ResponderCompletion {
            received,
            queue_pair: self.number,
            path: ReceivePath::default(),
            shared_receive_queue: 0,
            byte_count,
            wqe_counter: slot,
            solicited,
            timestamp: 0,
            scatter,
        };
        completions.push(Cqe::Responder(completion), &preceding);
    }
}

impl Means<'_> {
    fn atomic(&self, remote: &RemoteSegment, compare: Option<u64>, value: u64) -> Result<Vec<u8>, Obstacle> {
        if !remote.address.is_multiple_of(8) {
            return Err(Obstacle::Refused(Syndrome::RemoteInvalidRequest));
        }
        let wish = self.remote(remote, 8, Access::REMOTE_ATOMIC);
        let bytes = self.net.load(wish).ok_or(Obstacle::Refused(Syndrome::RemoteAccess))?;
        let mut word = [0; 8];
        word.copy_from_slice(&bytes);
        let old = u64::from_ne_bytes(word);
        let new = match compare {
            Some(compare) if compare == old => value,
            Some(_) => old,
            None => old.wrapping_add(value),
        };
        self.net.store(wish, &new.to_ne_bytes()).ok_or(Obstacle::Refused(Syndrome::RemoteAccess))?;
        Ok(bytes)
    }

    const fn remote(&self, remote: &RemoteSegment, length: u64, access: Access) -> Wish {
        Wish { key: remote.rkey, address: remote.address, length, access, domain: self.domain }
    }
}
