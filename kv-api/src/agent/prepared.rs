//! Prepared lists: descriptors whose registrations were found once, to make requests of by index.

use std::collections::HashMap;

use super::{
    AgentError, Descriptor, DescriptorList, MemoryType, Side,
    backend::{LocalDescriptor, Registration, RemoteDescriptor, RemoteRegistration},
    registry::Registry,
};

/// Descriptors whose registrations are known. NIXL's `nixlDlistH`. Made by
/// [`Agent::prepare_local`](super::Agent::prepare_local) and [`Agent::prepare_remote`](super::Agent::prepare_remote).
#[derive(Clone, Debug)]
pub struct PreparedList {
    slots: Vec<Slot>,
    pub(super) registrations: Registrations,
}

/// Whose memory a list is in.
#[derive(Clone, Debug)]
pub(super) enum Registrations {
    Local(Vec<Registration>),
    Remote { agent: String, registrations: Vec<RemoteRegistration> },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    address: u64,
    length: u64,
    /// Place in the list's registrations.
    registration: u32,
}

impl PreparedList {
    pub(super) fn local(
        registry: &Registry<Registration>,
        list: &DescriptorList,
    ) -> Result<Self, AgentError> {
        let (slots, registrations) = find(registry, list, Side::Local)?;
        Ok(Self { slots, registrations: Registrations::Local(registrations) })
    }

    pub(super) fn remote(
        registry: &Registry<RemoteRegistration>,
        agent: &str,
        list: &DescriptorList,
    ) -> Result<Self, AgentError> {
        let (slots, registrations) = find(registry, list, Side::Remote)?;
        let agent = agent.to_owned();
        Ok(Self { slots, registrations: Registrations::Remote { agent, registrations } })
    }

    /// Whose memory it is in.
    #[must_use]
    pub const fn side(&self) -> Side {
        match self.registrations {
            Registrations::Local(_) => Side::Local,
            Registrations::Remote { .. } => Side::Remote,
        }
    }

    /// Descriptors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// That all indices are within the list.
    pub(super) fn check(&self, indices: &[u32]) -> Result<(), AgentError> {
        let length = self.slots.len();
        // Without a way out of it the loop takes many indices at once.
        let largest = indices.iter().fold(0, |largest, index| largest.max(*index));
        if (largest as usize) < length {
            return Ok(());
        }
        let beyond = indices.iter().position(|index| *index as usize >= length);
        let error = |position| AgentError::IndexOutOfRange { position, index: indices[position], length };
        beyond.map_or(Ok(()), |position| Err(error(position)))
    }
}

/// Pairs of a local and a remote list, by indices that were checked.
pub(super) fn pairs<'a>(
    (local, here): (&'a PreparedList, &'a [Registration]),
    local_indices: &'a [u32],
    (remote, there): (&'a PreparedList, &'a [RemoteRegistration]),
    remote_indices: &'a [u32],
) -> impl ExactSizeIterator<Item = (LocalDescriptor<'a>, RemoteDescriptor<'a>)> + Clone + 'a {
    local_indices.iter().zip(remote_indices).map(move |(near, far)| {
        let Slot { address, length, registration } = local.slots[*near as usize];
        let near = LocalDescriptor { address, length, registration: &here[registration as usize] };
        let Slot { address, length, registration } = remote.slots[*far as usize];
        (near, RemoteDescriptor { address, length, registration: &there[registration as usize] })
    })
}

/// The registrations of all descriptors of a list, each once.
fn find<T: Clone>(
    registry: &Registry<T>,
    list: &DescriptorList,
    side: Side,
) -> Result<(Vec<Slot>, Vec<T>), AgentError> {
    let mut finder =
        Finder { registry, memory: list.memory, places: HashMap::new(), found: Vec::new(), last: None };
    let mut slots = Vec::with_capacity(list.descriptors.len());
    for (index, descriptor) in list.descriptors.iter().enumerate() {
        let Descriptor { address, length, .. } = *descriptor;
        let missing = || AgentError::NotRegistered { side, index, address, length };
        let registration = finder.place(descriptor).ok_or_else(missing)?;
        slots.push(Slot { address, length, registration });
    }
    Ok((slots, finder.found))
}

struct Finder<'a, T> {
    registry: &'a Registry<T>,
    memory: MemoryType,
    /// By the number of the registration.
    places: HashMap<u64, u32>,
    found: Vec<T>,
    /// First address, end, device and place of the last one: neighbours are in the same one more often than not.
    last: Option<(u64, u64, u64, u32)>,
}

impl<T: Clone> Finder<'_, T> {
    fn place(&mut self, descriptor: &Descriptor) -> Option<u32> {
        let Descriptor { address, length, device } = *descriptor;
        let end = address.checked_add(length)?;
        if let Some((first, last, of, place)) = self.last
            && (first <= address && end <= last && of == device)
        {
            return Some(place);
        }
        let (first, last, number, value) = self.registry.covering(self.memory, descriptor)?;
        let next = self.found.len() as u32;
        let place = *self.places.entry(number).or_insert(next);
        if place == next {
            self.found.push(value.clone());
        }
        self.last = Some((first, last, device, place));
        Some(place)
    }
}
