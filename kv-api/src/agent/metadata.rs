//! What one agent tells another: how it is reached, and what it has registered.
//!
//! No keys, and runs of registrations at one distance count as one, so that it stays small: 15,000 strided blocks are
//! well under 1 KiB.

use pmd_host::identity::DeviceId;
use serde::{Deserialize, Serialize};

use super::{
    AgentError, MemoryType,
    backend::ConnectionInfo,
    descriptors::{self, Descriptor, Run},
};

/// First bytes of metadata, and its version.
const MAGIC: [u8; 4] = *b"PMD3";

/// An agent's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
    pub(super) agent: String,
    /// Which life of the agent.
    pub(super) incarnation: DeviceId,
    /// Absent from partial metadata that was made without.
    pub(super) connection: Option<ConnectionInfo>,
    /// Whether these are all registrations: then what is not among them is no more.
    pub(super) complete: bool,
    sections: Vec<Section>,
}

/// Registrations of one kind of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Section {
    memory: MemoryType,
    runs: Vec<NumberedRun>,
}

/// Registrations with consecutive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NumberedRun {
    first: u64,
    run: Run,
}

/// One registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) memory: MemoryType,
    pub(super) descriptor: Descriptor,
}

impl Metadata {
    pub(super) fn new(
        info: &ConnectionInfo,
        with_connection: bool,
        complete: bool,
        mut registrations: Vec<Numbered>,
    ) -> Self {
        registrations.sort_unstable_by_key(|registration| (registration.memory as u8, registration.number));
        registrations.dedup_by_key(|registration| registration.number);
        let mut sections: Vec<Section> = Vec::new();
        for registration in &registrations {
            match sections.last_mut().filter(|section| section.memory == registration.memory) {
                Some(section) => section.add(registration),
                None => sections.push(Section::of(registration)),
            }
        }
        let connection = with_connection.then(|| info.clone());
        Self { agent: info.agent.clone(), incarnation: info.incarnation, connection, complete, sections }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Neither numbers nor strings can fail to encode.
        let body = postcard::to_allocvec(self).unwrap_or_default();
        [&MAGIC[..], &body].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, AgentError> {
        let malformed = || AgentError::Malformed { what: "metadata", length: bytes.len() };
        let body = bytes.strip_prefix(&MAGIC).ok_or_else(malformed)?;
        let metadata: Self = postcard::from_bytes(body).map_err(|_| malformed())?;
        metadata.is_sound().then_some(metadata).ok_or_else(malformed)
    }

    /// All registrations.
    pub(super) fn registrations(&self) -> impl Iterator<Item = Numbered> + '_ {
        let of_section = |section: &Section| {
            let memory = section.memory;
            section.runs.clone().into_iter().flat_map(move |NumberedRun { first, run }| {
                let numbered = move |(number, descriptor)| Numbered { number, memory, descriptor };
                (first..).zip(run.descriptors()).map(numbered)
            })
        };
        self.sections.iter().flat_map(of_section)
    }

    fn is_sound(&self) -> bool {
        let runs: Vec<Run> =
            self.sections.iter().flat_map(|section| &section.runs).map(|run| run.run).collect();
        let numbers = || self.sections.iter().flat_map(|section| &section.runs);
        let named = self.connection.as_ref().is_none_or(|info| info.agent == self.agent);
        let alive = self.connection.as_ref().is_none_or(|info| info.incarnation == self.incarnation);
        let counted = numbers().all(|run| run.first.checked_add(run.run.count).is_some());
        named && alive && counted && descriptors::check(&runs).is_some()
    }
}

impl Section {
    fn of(registration: &Numbered) -> Self {
        Self { memory: registration.memory, runs: vec![NumberedRun::of(registration)] }
    }

    fn add(&mut self, registration: &Numbered) {
        let continues = self.runs.last_mut().is_some_and(|last| {
            last.first + last.run.count == registration.number && last.run.extend(&registration.descriptor)
        });
        if !continues {
            self.runs.push(NumberedRun::of(registration));
        }
    }
}

impl NumberedRun {
    const fn of(registration: &Numbered) -> Self {
        Self { first: registration.number, run: Run::of(&registration.descriptor) }
    }
}
