//! What a driver must never do. `device` finds it, this module says it, loudly.
//!
//! A model that is too permissive proves nothing; each rule is something that hardware rejects, or silently does wrong
//! for. The sources are the ConnectX PRM ("Work Request Operation", "Completion Queue") and, for order, rdma-core's
//! `post_send_db`.

mod report;

use std::fmt;

#[cfg(test)]
pub(crate) use report::seen;
pub(crate) use report::{report, write};

/// A broken rule, with the values that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The WQE at the consumer index carries another index.
    #[error("WQE index {found} in the control segment at basic block {expected}")]
    WrongIndex {
        /// Index in the WQE.
        found: u16,
        /// Where it lies.
        expected: u16,
    },
    /// The WQE names another queue pair than the one whose queue it is in.
    #[error("QPN {found:#x} in a WQE of queue pair {expected:#x}")]
    WrongQueuePair {
        /// QPN in the WQE.
        found: u32,
        /// Whose queue it is.
        expected: u32,
    },
    /// The size does not fit to the segments, or is out of bounds.
    #[error("ds {units} is wrong for opcode {opcode:#04x}: {reason}")]
    WrongSize {
        /// ds: units of 16 bytes.
        units: u8,
        /// Opcode.
        opcode: u8,
        /// What does not fit.
        reason: &'static str,
    },
    /// An opcode that this service does not have.
    #[error("opcode {opcode:#04x} is not legal on a {service} queue pair")]
    IllegalOpcode {
        /// Opcode.
        opcode: u8,
        /// `RC`, `UC`, `UD`.
        service: &'static str,
    },
    /// Reserved bits are set.
    #[error("reserved field at byte {offset} of the WQE is not zero ({value:#x})")]
    ReservedSet {
        /// Offset in the WQE.
        offset: usize,
        /// What is there.
        value: u64,
    },
    /// The doorbell does not carry the first eight bytes of the last WQE's control segment.
    #[error("doorbell {found:#018x}, but the last WQE begins with {expected:#018x}")]
    WrongDoorbell {
        /// What was stored.
        found: u64,
        /// What the queue holds.
        expected: u64,
    },
    /// BlueFlame copied something else than the WQE.
    #[error("BlueFlame word {word} is {found:#018x}, in the queue {expected:#018x}")]
    WrongBlueFlame {
        /// Which 8-byte word.
        word: usize,
        /// What was stored.
        found: u64,
        /// What the queue holds.
        expected: u64,
    },
    /// A doorbell for work that the doorbell record does not tell of yet.
    #[error(
        "doorbell for index {rung}, but the doorbell record says {record}: the record must be written first"
    )]
    RecordBehindDoorbell {
        /// End of the WQE that the doorbell names.
        rung: u16,
        /// Doorbell record.
        record: u16,
    },
    /// The record moved by more than the queue has room for.
    #[error(
        "doorbell record {record} is more than {slots} basic blocks ahead of the consumer index {consumer}"
    )]
    SendQueueOverflow {
        /// Doorbell record.
        record: u16,
        /// Consumer index.
        consumer: u16,
        /// Size of the queue.
        slots: u32,
    },
    /// More receives than the queue has.
    #[error("receive record {record} is more than {slots} receives ahead of {consumer}")]
    ReceiveQueueOverflow {
        /// Doorbell record.
        record: u16,
        /// Consumer index.
        consumer: u16,
        /// Size of the queue.
        slots: u32,
    },
    /// A shared receive names a successor that is not there.
    #[error("shared receive {slot} names slot {next} as the next one, of {slots}")]
    WrongLink {
        /// Slot.
        slot: u16,
        /// What it names.
        next: u16,
        /// Size of the queue.
        slots: u32,
    },
    /// A CQE would overwrite one that is not consumed.
    #[error(
        "completion queue {number} overran: producer {producer}, consumer record {consumer}, {entries} entries"
    )]
    CompletionQueueOverrun {
        /// CQN.
        number: u32,
        /// CQEs written.
        producer: u32,
        /// Consumer index in the doorbell record.
        consumer: u32,
        /// Size.
        entries: u32,
    },
    /// The consumer index moved past what was written.
    #[error("completion queue {number}: consumer record {consumer} is past the producer {producer}")]
    ConsumerPastProducer {
        /// CQN.
        number: u32,
        /// CQEs written.
        producer: u32,
        /// Consumer index in the doorbell record.
        consumer: u32,
    },
    /// A gather entry without bytes, which hardware takes for 2 GiB.
    #[error("data segment {segment} has length 0, which hardware reads as 2 GiB: leave empty entries out")]
    ZeroLength {
        /// Which data segment.
        segment: usize,
    },
    /// The arm doorbell and the arm record differ.
    #[error(
        "arm doorbell {rung:#010x}, but the arm record says {record:#010x}: the record must be written first"
    )]
    WrongArmRecord {
        /// Sequence, command and consumer index in the doorbell.
        rung: u32,
        /// What the record holds.
        record: u32,
    },
    /// A doorbell for a queue pair that is not there, or not this process's.
    #[error("doorbell for QPN {number:#x}, which this process does not have")]
    UnknownQueuePair {
        /// QPN.
        number: u32,
    },
    /// An arm for a completion queue that is not there.
    #[error("arm of CQN {number:#x}, which this process does not have")]
    UnknownCompletionQueue {
        /// CQN.
        number: u32,
    },
    /// A store that is no doorbell: wrong width, wrong place.
    #[error("a store of {bytes} bytes at offset {offset:#x} of a UAR page is no doorbell")]
    StrayStore {
        /// Width.
        bytes: usize,
        /// Offset in the page.
        offset: usize,
    },
}

/// A broken rule and where.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// QPN or CQN.
    pub object: u32,
    /// Whether it is this process's: another process's mistake is told here, but is not this one's end.
    pub is_own: bool,
    /// The WQE or CQE, as `pmd dump` shows it; empty where there is none.
    pub dump: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "connectx: rule broken at {:#x}: {}", self.object, self.rule)?;
        if self.dump.is_empty() { Ok(()) } else { write!(out, "\n{}", self.dump) }
    }
}
