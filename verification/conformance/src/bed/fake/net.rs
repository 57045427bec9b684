//! What all fake devices share: keys, and a mailbox for each queue pair.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::{
    memory::Access,
    wire::{RemoteSegment, Syndrome},
};
use pmd_host::backend::Waker;

/// The network and its lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Net(Arc<Mutex<State>>);

impl Net {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys, mailboxes, and the last numbers that were given out.
#[derive(Debug, Default)]
pub(super) struct State {
    grants: BTreeMap<u32, Grant>,
    pub(super) mailboxes: BTreeMap<u32, Mailbox>,
    keys: u32,
    numbers: u32,
    domains: u32,
}

/// A registered range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) access: Access,
    pub(super) domain: u32,
}

/// What waits for a queue pair.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) requests: VecDeque<Packet>,
    pub(super) answers: VecDeque<Answer>,
    waker: Waker,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Packet {
    /// Number of the queue pair that asks.
    pub(super) from: u32,
    /// Its count of requests.
    pub(super) sequence: u64,
    pub(super) request: Request,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Request {
    Send { bytes: Vec<u8>, immediate: Option<u32>, solicited: bool },
    Write { remote: RemoteSegment, bytes: Vec<u8>, immediate: Option<u32>, solicited: bool },
    Read { remote: RemoteSegment, length: u32 },
    Atomic { remote: RemoteSegment, compare: Option<u64>, value: u64 },
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) sequence: u64,
    pub(super) verdict: Verdict,
}

/// The peer's word.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Done; with the bytes that come back.
    Done(Vec<u8>),
    /// No receive is posted; the request waits at the peer.
    NotReady,
    Refused(Syndrome),
}

/// What a request wants of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) key: u32,
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) access: Access,
    pub(super) domain: u32,
}

impl State {
    /// A protection domain of its own.
    pub(super) fn domain(&mut self) -> u32 {
        self.domains += 1;
        self.domains
    }

    /// A queue pair number with its mailbox.
    pub(super) fn number(&mut self, waker: Waker) -> u32 {
        self.numbers += 1;
        let number = 0x00c0_0000 + self.numbers;
        let mailbox = Mailbox { requests: VecDeque::new(), answers: VecDeque::new(), waker };
        self.mailboxes.insert(number, mailbox);
        number
    }

    /// Gives out a key, never the same twice.
    pub(super) fn grant(&mut self, grant: Grant) -> u32 {
        self.keys += 1;
        let key = self.keys << 8 | 0x5a;
        self.grants.insert(key, grant);
        key
    }

    pub(super) fn revoke(&mut self, key: u32) {
        self.grants.remove(&key);
    }

    /// The memory wished for, if it may be had. Of no bytes nothing is asked.
    pub(super) fn reach(&self, wish: Wish) -> Option<*mut u8> {
        if wish.length == 0 {
            return Some(std::ptr::dangling_mut());
        }
        let grant = self.grants.get(&wish.key).filter(|grant| grant.domain == wish.domain)?;
        let offset = wish.address.checked_sub(grant.address)?;
        let inside = offset.checked_add(wish.length)? <= grant.length;
        let allowed = grant.access.contains(wish.access);
        (inside && allowed).then(|| std::ptr::with_exposed_provenance_mut(wish.address as usize))
    }

    /// Copies out of memory, if that is allowed.
    pub(super) fn load(&self, wish: Wish) -> Option<Vec<u8>> {
        let source = self.reach(wish)?;
        let mut bytes = vec![0; wish.length as usize];
        // SAFETY: registered memory; only cases that look for nothing but a change touch it meanwhile.
        unsafe { source.copy_to(bytes.as_mut_ptr(), bytes.len()) };
        Some(bytes)
    }

    /// Copies into memory, if that is allowed.
    pub(super) fn store(&self, wish: Wish, bytes: &[u8]) -> Option<()> {
        let target = self.reach(Wish { length: bytes.len() as u64, ..wish })?;
        // SAFETY: as in `load`.
        unsafe { target.copy_from(bytes.as_ptr(), bytes.len()) };
        Some(())
    }

    /// Puts a request into a mailbox; false when there is none.
    pub(super) fn ask(&mut self, to: u32, packet: Packet) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(&to) else { return false };
        mailbox.requests.push_back(packet);
        mailbox.waker.wake();
        true
    }

    /// Puts an answer into a mailbox.
    pub(super) fn answer(&mut self, to: u32, sequence: u64, verdict: Verdict) {
        if let Some(mailbox) = self.mailboxes.get_mut(&to) {
            mailbox.answers.push_back(Answer { sequence, verdict });
            mailbox.waker.wake();
        }
    }

    /// Whether anything waits for a queue pair.
    pub(super) fn has_mail(&self, number: u32) -> bool {
        let mailbox = self.mailboxes.get(&number);
        mailbox.is_some_and(|mailbox| !(mailbox.requests.is_empty() && mailbox.answers.is_empty()))
    }

    /// Wakes the engine of a queue pair.
    pub(super) fn wake(&self, number: u32) {
        if let Some(mailbox) = self.mailboxes.get(&number) {
            mailbox.waker.wake();
        }
    }

    /// Forgets what a queue pair has asked another and is not answered.
    pub(super) fn withdraw(&mut self, from: u32, to: u32) {
        if let Some(mailbox) = self.mailboxes.get_mut(&to) {
            mailbox.requests.retain(|packet| packet.from != from);
        }
    }

    /// Forgets what waits for a queue pair.
    pub(super) fn empty(&mut self, number: u32) {
        if let Some(mailbox) = self.mailboxes.get_mut(&number) {
            mailbox.requests.clear();
            mailbox.answers.clear();
        }
    }
}
