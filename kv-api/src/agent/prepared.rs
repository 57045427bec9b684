//! Prepared lists: descriptors whose registrations were found once, to make requests of by index.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::{
    AgentError, Descriptor, DescriptorList, MemoryType, Side,
    backend::{LocalDescriptor, Pairs, Registration, RemoteDescriptor, RemoteRegistration},
    registry::Registry,
};

/// Descriptors whose registrations are known. NIXL's `nixlDlistH`. Made by
/// [`Agent::prepare_local`](super::Agent::prepare_local) and [`Agent::prepare_remote`](super::Agent::prepare_remote).
#[derive(Clone, Debug)]
pub struct PreparedList {
    slots: Slots,
    pub(super) registrations: Registrations,
}

/// Whose memory a list is in.
#[derive(Clone, Debug)]
pub(super) enum Registrations {
    Local(Vec<Registration>),
    Remote { agent: String, registrations: Vec<RemoteRegistration> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    address: u64,
    length: u64,
    /// Place in the list's registrations.
    registration: u32,
}

/// The descriptors of a list. A request asks for them in any order, and what has to be fetched from all over the memory
/// costs more than what can be worked out.
#[derive(Clone, Debug)]
enum Slots {
    /// Blocks at one distance, as the tensors of a cache have them.
    Runs(Runs),
    /// Any others.
    Each(Vec<Slot>),
}

/// Runs of equally many blocks, but for the last, of one size at one distance.
#[derive(Clone, Debug)]
struct Runs {
    count: usize,
    /// Blocks of a run, and what a number is multiplied by to be divided by them.
    each: u32,
    reciprocal: u64,
    length: u64,
    stride: u64,
    /// First block and registration of each run.
    firsts: Vec<(u64, u32)>,
}

/// Shorter runs are not worth being told apart.
const SHORTEST_RUN: usize = 16;

impl Slots {
    fn new(slots: Vec<Slot>) -> Self {
        match Runs::of(&slots) {
            Some(runs) => Self::Runs(runs),
            None => Self::Each(slots),
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::Runs(runs) => runs.count,
            Self::Each(slots) => slots.len(),
        }
    }

    /// A descriptor, by an index that was checked.
    #[inline(always)]
    fn at(&self, index: u32) -> Slot {
        match self {
            Self::Runs(runs) => runs.at(index),
            Self::Each(slots) => slots[index as usize],
        }
    }
}

impl Runs {
    /// `None` where the list is not made of runs.
    fn of(slots: &[Slot]) -> Option<Self> {
        let (first, second) = (slots.first()?, slots.get(1)?);
        let (length, stride) = (first.length, second.address.wrapping_sub(first.address));
        let follows = |pair: &[Slot]| {
            let [one, next] = pair else { return true };
            next.length == length
                && next.registration == one.registration
                && next.address.wrapping_sub(one.address) == stride
        };
        let end = slots.windows(2).position(|pair| !follows(pair));
        let each = end.map_or(slots.len(), |last| last + 1);
        let is_run = |run: &[Slot]| run[0].length == length && run.windows(2).all(follows);
        if each < SHORTEST_RUN || !slots.chunks(each).all(is_run) {
            return None;
        }
        let firsts = slots.chunks(each).map(|run| (run[0].address, run[0].registration)).collect();
        let each = u32::try_from(each).ok()?;
        let reciprocal = u64::MAX / u64::from(each) + 1;
        Some(Self { count: slots.len(), each, reciprocal, length, stride, firsts })
    }

    #[inline(always)]
    fn at(&self, index: u32) -> Slot {
        // Exact for numbers of 32 bits (Lemire, Kaser, Kurz: Faster remainder by direct computation); a division would
        // cost as much as all the rest.
        let run = ((u128::from(self.reciprocal) * u128::from(index)) >> 64) as u32;
        let (first, registration) = self.firsts[run as usize];
        let within = u64::from(index - run * self.each).wrapping_mul(self.stride);
        Slot { address: first.wrapping_add(within), length: self.length, registration }
    }
}

impl PreparedList {
    pub(super) fn local(
        registry: &Registry<Registration>,
        list: &DescriptorList,
    ) -> Result<Self, AgentError> {
        let (slots, registrations) = find(registry, list, Side::Local)?;
        Ok(Self { slots: Slots::new(slots), registrations: Registrations::Local(registrations) })
    }

    pub(super) fn remote(
        registry: &Registry<RemoteRegistration>,
        agent: &str,
        list: &DescriptorList,
    ) -> Result<Self, AgentError> {
        let (slots, registrations) = find(registry, list, Side::Remote)?;
        let agent = agent.to_owned();
        Ok(Self { slots: Slots::new(slots), registrations: Registrations::Remote { agent, registrations } })
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
        self.len() == 0
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

/// Pairs of a local and a remote list, by indices that were checked, of which there are as many for both.
pub(super) struct IndexedPairs<'a> {
    pub(super) local: (&'a PreparedList, &'a [Registration], &'a [u32]),
    pub(super) remote: (&'a PreparedList, &'a [RemoteRegistration], &'a [u32]),
}

/// Inlined wherever they are called: for a hundred thousand pairs the calls would cost as much as what they do.
impl<'a> Pairs<'a> for IndexedPairs<'a> {
    fn count(&self) -> usize {
        self.local.2.len()
    }

    #[inline(always)]
    fn pair(&self, index: usize) -> (LocalDescriptor<'a>, RemoteDescriptor<'a>) {
        let (list, registrations, indices) = self.local;
        let Slot { address, length, registration } = list.slots.at(indices[index]);
        let near = LocalDescriptor { address, length, registration: &registrations[registration as usize] };
        let (list, registrations, indices) = self.remote;
        let Slot { address, length, registration } = list.slots.at(indices[index]);
        (near, RemoteDescriptor { address, length, registration: &registrations[registration as usize] })
    }

    #[inline(always)]
    fn place(&self, index: usize) -> (u64, u64) {
        let (list, _, indices) = self.remote;
        let Slot { address, length, .. } = list.slots.at(indices[index]);
        (address, length)
    }
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
