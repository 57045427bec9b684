//! Prepared lists: descriptors whose registrations were found once, to make requests of by index.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::{
    AgentError, Descriptor, DescriptorList, MemoryType, Side,
    backend::{LocalDescriptor, Pairs, Registration, RemoteDescriptor, RemoteRegistration},
    registry::Registry,
};
use crate::fabric::order::{LONG, Numbers};

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
    /// Of each run.
    firsts: Vec<First>,
    /// Whether the runs are apart and ascend, and their blocks are short enough to be worth an order: then ranks are known.
    ranked: bool,
}

/// First block of a run.
#[derive(Clone, Copy, Debug)]
struct First {
    address: u64,
    registration: u32,
    /// Blocks of the list that are at lower addresses, where that says anything.
    rank: u32,
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
            Self::Runs(runs) => runs.line().at(index),
            Self::Each(slots) => slots[index as usize],
        }
    }

    /// The descriptors of a request with these numbers, by its indices.
    fn look_up(&self, indices: &[u32], numbers: &Numbers<'_>, into: &mut Vec<Slot>) {
        match self {
            Self::Runs(runs) => {
                let line = runs.line();
                look_up(|index| line.at(index), indices, numbers, into);
            }
            Self::Each(slots) => look_up(|index| slots[index as usize], indices, numbers, into),
        }
    }
}

#[inline(always)]
fn look_up(at: impl Fn(u32) -> Slot, indices: &[u32], numbers: &Numbers<'_>, into: &mut Vec<Slot>) {
    into.clear();
    match numbers {
        Numbers::Range(range) => into.extend(indices[range.clone()].iter().map(|index| at(*index))),
        Numbers::Listed(listed) => into.extend(listed.iter().map(|number| at(indices[*number as usize]))),
    }
}

/// Where [`Pairs::each`] puts what it looks up, kept from one call to the next.
#[derive(Debug, Default)]
pub struct Scratch {
    near: Vec<Slot>,
    far: Vec<Slot>,
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
        let (firsts, apart) = firsts(slots, each);
        let each = u32::try_from(each).ok()?;
        let reciprocal = u64::MAX / u64::from(each) + 1;
        let ranked = apart && length <= LONG;
        Some(Self { count: slots.len(), each, reciprocal, length, stride, firsts, ranked })
    }

    fn line(&self) -> Line<'_> {
        let Self { each, reciprocal, length, stride, ref firsts, .. } = *self;
        Line { each, reciprocal, length, stride, firsts }
    }
}

/// [`Runs`] as a loop has them in registers.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    each: u32,
    reciprocal: u64,
    length: u64,
    stride: u64,
    firsts: &'a [First],
}

impl Line<'_> {
    #[inline(always)]
    fn at(self, index: u32) -> Slot {
        let (First { address, registration, .. }, within) = self.run(index);
        let distance = u64::from(within).wrapping_mul(self.stride);
        Slot { address: address.wrapping_add(distance), length: self.length, registration }
    }

    /// The run of an index, and its place in the run.
    #[inline(always)]
    fn run(self, index: u32) -> (First, u32) {
        // Exact for numbers of 32 bits (Lemire, Kaser, Kurz: Faster remainder by direct computation); a division would
        // cost as much as all the rest.
        let run = ((u128::from(self.reciprocal) * u128::from(index)) >> 64) as u32;
        (self.firsts[run as usize], index - run * self.each)
    }
}

/// Ranks of a request's remote descriptors: how many of the list are at lower addresses. The same only for the same one.
#[derive(Clone, Copy, Debug)]
pub struct Ranks<'a> {
    line: Line<'a>,
    indices: &'a [u32],
    below: usize,
}

impl Ranks<'_> {
    /// Of the descriptor with this number in the request.
    #[inline(always)]
    pub(super) fn of(self, number: usize) -> u32 {
        let (First { rank, .. }, within) = self.line.run(self.indices[number]);
        rank + within
    }

    /// What all ranks are below.
    pub(super) const fn below(self) -> usize {
        self.below
    }
}

/// The first blocks of runs of `each`, and whether the runs ascend and are apart, so that ranks say where blocks are.
fn firsts(slots: &[Slot], each: usize) -> (Vec<First>, bool) {
    let mut firsts: Vec<First> = slots
        .chunks(each)
        .map(|run| First { address: run[0].address, registration: run[0].registration, rank: 0 })
        .collect();
    let mut runs: Vec<(usize, &[Slot])> = slots.chunks(each).enumerate().collect();
    runs.sort_unstable_by_key(|(_, run)| run[0].address);
    let (mut rank, mut apart, mut last) = (0, true, None);
    for (number, run) in runs {
        apart &= run.is_sorted_by(|one, next| one.address < next.address) && last < Some(run[0].address);
        firsts[number].rank = rank;
        rank += run.len() as u32;
        last = run.last().map(|slot| slot.address);
    }
    (firsts, apart)
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

    #[inline]
    fn each(
        &self,
        numbers: &Numbers<'_>,
        scratch: &mut Scratch,
        mut visit: impl FnMut(usize, &LocalDescriptor<'a>, &RemoteDescriptor<'a>) -> Result<(), AgentError>,
    ) -> Result<(), AgentError> {
        let (local, here, local_indices) = self.local;
        let (remote, there, remote_indices) = self.remote;
        // One loop for each side, which keeps its list in registers, and one for what is made of both.
        let Scratch { near, far } = scratch;
        local.slots.look_up(local_indices, numbers, near);
        remote.slots.look_up(remote_indices, numbers, far);
        near.iter().zip(far).enumerate().try_for_each(|(position, (near, far))| {
            let Slot { address, length, registration } = *near;
            let near = LocalDescriptor { address, length, registration: &here[registration as usize] };
            let Slot { address, length, registration } = *far;
            let far = RemoteDescriptor { address, length, registration: &there[registration as usize] };
            visit(position, &near, &far)
        })
    }

    fn ranks(&self) -> Option<Ranks<'_>> {
        let (list, _, indices) = self.remote;
        match &list.slots {
            Slots::Runs(runs) if runs.ranked => Some(Ranks { line: runs.line(), indices, below: runs.count }),
            _ => None,
        }
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
