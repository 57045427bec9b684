//! What a world must not do.

use af_api::rendezvous::MemberId;
use thiserror::Error;

/// A promise of the design that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// Something did not come to its end.
    #[error("{phase}: not done after {seconds} s of simulated time ({left} left)")]
    Stuck {
        /// What was going on.
        phase: &'static str,
        /// How long was waited.
        seconds: u64,
        /// How much was still to come.
        left: u64,
    },
    /// The scheduler took a node's words for nonsense.
    #[error("the scheduler does not understand node {node}")]
    Misunderstood {
        /// Which node.
        node: u32,
    },
    /// A node was refused its place for another reason than a predecessor.
    #[error("node {node} was refused its place: {reason}")]
    Refused {
        /// Which node.
        node: u32,
        /// As the scheduler said.
        reason: String,
    },
    /// A node knows something else than the scheduler.
    #[error("{phase}: node {node} has {member} otherwise than the scheduler")]
    Disagreement {
        /// When.
        phase: &'static str,
        /// Which node.
        node: u32,
        /// About whom.
        member: MemberId,
    },
    /// Somebody was taken for dead who was not.
    #[error("{phase}: {count} times a living node was said to be down")]
    FalseAlarm {
        /// When.
        phase: &'static str,
        /// How often.
        count: u64,
    },
    /// A barrier ended otherwise than with everyone released.
    #[error("node {node} was not released from its barrier")]
    Barrier {
        /// Which node.
        node: u32,
    },
    /// Bytes arrived in memory whose owner had been told that the transfer is over.
    #[error("link {line}: a chunk landed after its transfer had ended")]
    Late {
        /// Which link.
        line: u32,
    },
    /// A transfer was reported done or told to the peer before all of it was there.
    #[error("link {line}: told before all was there")]
    Early {
        /// Which link.
        line: u32,
    },
    /// The peer was told another number of times than once.
    #[error("link {line}: told {times} times")]
    Told {
        /// Which link.
        line: u32,
        /// How often.
        times: u32,
    },
    /// A transfer failed although both ends lived.
    #[error("link {line}: a transfer failed although its peer lives")]
    Failed {
        /// Which link.
        line: u32,
    },
    /// Bytes moved that do not add up.
    #[error("link {line}: {found} bytes in place of {expected}")]
    Bytes {
        /// Which link.
        line: u32,
        /// What was reported.
        found: u64,
        /// What was asked for.
        expected: u64,
    },
    /// A message came where no receive was.
    #[error("link {line}: a message without a receive")]
    NoReceive {
        /// Which link.
        line: u32,
    },
    /// Credits were made or lost.
    #[error("link {line}: {found} credits for {receives} receives")]
    Credits {
        /// Which link.
        line: u32,
        /// Held and due together.
        found: u32,
        /// What there should be.
        receives: u32,
    },
    /// Rails did not come back.
    #[error("link {line}: rail {rail} is not up in the end")]
    RailDown {
        /// Which link.
        line: u32,
        /// Which rail.
        rail: u16,
    },
    /// The data path waited for the scheduler.
    #[error("no transfer ended while the scheduler was away")]
    WaitedForScheduler,
    /// What should not depend on the number of nodes does.
    #[error("{what}: {small} with {small_nodes} nodes, {large} with {large_nodes}")]
    NotFlat {
        /// What is measured.
        what: &'static str,
        /// Nodes of the smaller world.
        small_nodes: u32,
        /// What it was there.
        small: u64,
        /// Nodes of the larger world.
        large_nodes: u32,
        /// What it was there.
        large: u64,
    },
}
