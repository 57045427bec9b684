//! What a request of each kind does, before it is posted.

use pmd_core::{
    memory::{RemoteAddress, RemoteKey, Sge},
    provider::{CompletionKind, Operation, Payload},
    wire::Syndrome,
};

use super::{
    Kind,
    bench::World,
    expect::{self, Effect, Message},
    memory::{COUNTERS, SLOT, Use, WINDOW},
};

/// A request that is about to be posted.
pub(super) struct Draft {
    pub(super) kind: Kind,
    pub(super) length: usize,
    pub(super) remote: RemoteAddress,
    pub(super) effect: Effect,
    pub(super) compare: u64,
    pub(super) swap: u64,
    /// The peer's counters behind it.
    pub(super) counters: [u64; COUNTERS],
    pub(super) uses_window: bool,
}

impl Draft {
    /// It must fail, so it has bytes to fail with.
    fn refuse(&mut self, syndrome: Syndrome) {
        self.length = self.length.clamp(1, SLOT);
        self.effect = Effect::Refused(syndrome);
    }

    pub(super) fn is_atomic(&self) -> bool {
        matches!(self.kind, Kind::Swap | Kind::Miss | Kind::Add | Kind::Unaligned)
    }

    pub(super) fn operation<'a>(&self, local: Payload<'a>, list: &'a [Sge]) -> Operation<'a> {
        let Self { remote, compare, swap, .. } = *self;
        let immediate = swap as u32;
        match self.kind {
            Kind::Nop => Operation::Nop,
            Kind::Write | Kind::WriteWindow | Kind::WrongRemoteKey | Kind::WrongLocalKey => {
                Operation::Write { remote, local }
            }
            Kind::WriteImmediate => Operation::WriteImmediate { remote, local, immediate },
            Kind::Read | Kind::ReadWindow | Kind::Beyond => Operation::Read { remote, local: list },
            Kind::Send => Operation::Send { local, immediate: None },
            Kind::SendImmediate => Operation::Send { local, immediate: Some(immediate) },
            Kind::Swap | Kind::Miss => Operation::CompareSwap { remote, local: list[0], compare, swap },
            Kind::Add | Kind::Unaligned => Operation::FetchAdd { remote, local: list[0], add: swap },
        }
    }

    pub(super) fn message(&self, id: u64, bytes: Vec<u8>) -> Option<Message> {
        let immediate = self.swap as u32;
        let (immediate, payload) = match self.kind {
            Kind::Send => (None, expect::Payload::Bytes(bytes)),
            Kind::SendImmediate => (Some(immediate), expect::Payload::Bytes(bytes)),
            Kind::WriteImmediate => (Some(immediate), expect::Payload::Written(bytes.len())),
            _ => return None,
        };
        Some(Message { id, immediate, payload })
    }

    pub(super) fn completion(&self) -> CompletionKind {
        match self.kind {
            Kind::Nop => CompletionKind::Nop,
            Kind::Write | Kind::WriteImmediate | Kind::WriteWindow => CompletionKind::Write,
            Kind::WrongRemoteKey | Kind::WrongLocalKey => CompletionKind::Write,
            Kind::Read | Kind::ReadWindow | Kind::Beyond => CompletionKind::Read,
            Kind::Send | Kind::SendImmediate => CompletionKind::Send,
            Kind::Swap | Kind::Miss => CompletionKind::CompareSwap,
            Kind::Add | Kind::Unaligned => CompletionKind::FetchAdd,
        }
    }

    pub(super) fn returned(&self) -> u32 {
        match self.completion() {
            CompletionKind::Read | CompletionKind::CompareSwap | CompletionKind::FetchAdd => {
                self.length as u32
            }
            _ => 0,
        }
    }
}

impl World {
    /// Decides what a request of this kind does, and takes the slots for it.
    pub(super) fn draft(&mut self, side: usize, kind: Kind, size: usize, id: u64) -> Option<Draft> {
        let [first, second] = &mut self.sides;
        let (own, peer) = if side == 0 { (first, second) } else { (second, first) };
        let counter = id as usize % COUNTERS;
        let mut draft = Draft {
            kind,
            length: size,
            remote: RemoteAddress::default(),
            effect: Effect::Nothing,
            compare: 0,
            swap: id.wrapping_mul(0x0101_0101_0101),
            counters: own.counters,
            uses_window: false,
        };
        match kind {
            Kind::Nop => draft.length = 0,
            Kind::Send | Kind::SendImmediate => {}
            Kind::Write | Kind::WriteImmediate => {
                let slot = peer.memory.take(Use::Landing)?;
                draft.remote = peer.memory.slot_address(slot);
                draft.effect = Effect::Landed(slot, Vec::new());
            }
            Kind::Read => {
                let (slot, from) = (own.memory.take(Use::Result)?, id as usize * 29 % 4096);
                draft.remote = peer.memory.source_address(from);
                draft.effect = Effect::Returned(slot, peer.memory.source(from, size));
            }
            Kind::Swap | Kind::Miss | Kind::Add => {
                let slot = own.memory.take(Use::Result)?;
                draft.length = 8;
                draft.remote = peer.memory.counter_address(counter);
                let old = own.counters[counter];
                draft.effect = Effect::Returned(slot, old.to_ne_bytes().to_vec());
                draft.compare = if kind == Kind::Miss { !old } else { old };
                draft.counters[counter] = match kind {
                    Kind::Swap => draft.swap,
                    Kind::Miss => old,
                    _ => old.wrapping_add(draft.swap),
                };
            }
            Kind::WriteWindow | Kind::ReadWindow => {
                draft.length = size.min(WINDOW);
                draft.remote = peer.memory.window_address();
                draft.uses_window = true;
                if kind == Kind::ReadWindow {
                    draft.effect = Effect::ReturnedAny(own.memory.take(Use::Result)?);
                }
            }
            Kind::WrongRemoteKey => {
                let window = peer.memory.window_address();
                let guessed = RemoteAddress { key: RemoteKey(window.key.0 ^ 1 << 20), ..window };
                draft.remote = peer.memory.revoked.unwrap_or(guessed);
                draft.refuse(Syndrome::RemoteAccess);
            }
            Kind::Beyond => {
                draft.remote = peer.memory.end_address();
                draft.refuse(Syndrome::RemoteAccess);
            }
            Kind::WrongLocalKey => {
                draft.length = size.min(WINDOW);
                draft.remote = peer.memory.window_address();
                draft.uses_window = true;
                draft.refuse(Syndrome::LocalProtection);
            }
            Kind::Unaligned => {
                draft.remote = peer.memory.counter_address(counter);
                draft.remote.address += 4;
                draft.refuse(Syndrome::RemoteInvalidRequest);
                draft.length = 8;
            }
        }
        Some(draft)
    }
}
