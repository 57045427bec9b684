//! What a context has made, by handle; the kernel's "uobjects". The device knows objects by number, libraries by handle.

use std::{collections::BTreeMap, fmt};

use super::error::CommandError;

/// Kinds of objects, in the order in which closing a context destroys them: what needs others goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    QueuePair,
    SharedReceiveQueue,
    CompletionQueue,
    AddressHandle,
    MemoryRegion,
    RegisterPage,
    Domain,
}

impl Kind {
    /// In words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::QueuePair => "queue pair",
            Self::SharedReceiveQueue => "shared receive queue",
            Self::CompletionQueue => "completion queue",
            Self::AddressHandle => "address handle",
            Self::MemoryRegion => "memory region",
            Self::RegisterPage => "register page",
            Self::Domain => "protection domain",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    /// QPN, CQN, SRQN, key, domain or page.
    pub(super) number: u32,
    /// What the library calls it in events.
    pub(super) user_handle: u64,
    /// What the library asked for when it was made: of queue pairs the five fields of `ibv_qp_cap`, of shared receive
    /// queues receives and elements.
    pub(super) capacity: [u32; 5],
    /// Asynchronous events written for it so far.
    pub(super) events: u32,
    /// Of completion queues: completion events that did not fit into their channel.
    pub(super) lost: u32,
}

/// All objects of a context.
#[derive(Debug, Default)]
pub(super) struct Objects {
    entries: BTreeMap<(Kind, u32), Object>,
    last: u32,
}

impl Objects {
    /// Adds one and gives its handle.
    pub(super) fn add(&mut self, kind: Kind, object: Object) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.entries.contains_key(&(kind, self.last)) {
                self.entries.insert((kind, self.last), object);
                return self.last;
            }
        }
    }

    /// The object of this handle.
    pub(super) fn find(&self, kind: Kind, handle: u32) -> Result<Object, CommandError> {
        let object = self.entries.get(&(kind, handle)).copied();
        object.ok_or(CommandError::NoObject { kind: kind.name(), handle })
    }

    /// Takes it out.
    pub(super) fn remove(&mut self, kind: Kind, handle: u32) -> Result<Object, CommandError> {
        let object = self.entries.remove(&(kind, handle));
        object.ok_or(CommandError::NoObject { kind: kind.name(), handle })
    }

    /// The object of this number.
    pub(super) fn numbered(&mut self, kind: Kind, number: u32) -> Option<&mut Object> {
        let all = self.entries.range_mut((kind, 0)..=(kind, u32::MAX));
        all.map(|(_, object)| object).find(|object| object.number == number)
    }

    /// Takes out all, those that need others first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Kind, Object)> + use<> {
        std::mem::take(&mut self.entries).into_iter().map(|((kind, _), object)| (kind, object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_belong_to_a_kind() {
        let mut objects = Objects::default();
        let handle = objects.add(Kind::Domain, Object { number: 7, ..Object::default() });
        assert_eq!(objects.find(Kind::Domain, handle).map(|object| object.number), Ok(7));
        let wrong = CommandError::NoObject { kind: "queue pair", handle };
        assert_eq!(objects.find(Kind::QueuePair, handle), Err(wrong));
        assert!(objects.remove(Kind::Domain, handle).is_ok() && objects.find(Kind::Domain, handle).is_err());
    }

    #[test]
    fn what_needs_others_goes_first() {
        let mut objects = Objects::default();
        for kind in [Kind::Domain, Kind::CompletionQueue, Kind::QueuePair, Kind::MemoryRegion] {
            objects.add(kind, Object::default());
        }
        let order: Vec<Kind> = objects.drain().map(|(kind, _)| kind).collect();
        assert_eq!(order, [Kind::QueuePair, Kind::CompletionQueue, Kind::MemoryRegion, Kind::Domain]);
    }
}
