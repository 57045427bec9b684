//! The state table of queue pairs, and what `ibv_modify_qp` does.
//!
//! `kernel` parses the command into a [`ModifyQueuePair`]. The table is that of the InfiniBand specification 11.2.5.2
//! as Linux enforces it (`qp_state_table` in drivers/infiniband/core/verbs.c): for each service and transition the
//! attributes that must be given, and those that may be.

use bitflags::bitflags;

use super::{Device, turn::Turn};
use crate::{
    errno::Errno,
    state::{ConnectedPath, QueuePair, QueuePairKind, SendProgress, state},
};

bitflags! {
    /// `enum ibv_qp_attr_mask`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Attributes: u32 {
        /// `IBV_QP_STATE`
        const STATE = 1;
        /// `IBV_QP_CUR_STATE`
        const CURRENT_STATE = 1 << 1;
        /// `IBV_QP_EN_SQD_ASYNC_NOTIFY`
        const NOTIFY_DRAINED = 1 << 2;
        /// `IBV_QP_ACCESS_FLAGS`
        const ACCESS = 1 << 3;
        /// `IBV_QP_PKEY_INDEX`
        const PARTITION = 1 << 4;
        /// `IBV_QP_PORT`
        const PORT = 1 << 5;
        /// `IBV_QP_QKEY`
        const Q_KEY = 1 << 6;
        /// `IBV_QP_AV`: LID, GID, hop limit, traffic class, service level
        const ADDRESS = 1 << 7;
        /// `IBV_QP_PATH_MTU`
        const MTU = 1 << 8;
        /// `IBV_QP_TIMEOUT`
        const TIMEOUT = 1 << 9;
        /// `IBV_QP_RETRY_CNT`
        const RETRY_COUNT = 1 << 10;
        /// `IBV_QP_RNR_RETRY`
        const RNR_RETRY = 1 << 11;
        /// `IBV_QP_RQ_PSN`
        const RECEIVE_SEQUENCE = 1 << 12;
        /// `IBV_QP_MAX_QP_RD_ATOMIC`
        const MAXIMUM_READS = 1 << 13;
        /// `IBV_QP_ALT_PATH`, which is taken and not used
        const ALTERNATE_PATH = 1 << 14;
        /// `IBV_QP_MIN_RNR_TIMER`
        const MINIMUM_RNR_TIMER = 1 << 15;
        /// `IBV_QP_SQ_PSN`
        const SEND_SEQUENCE = 1 << 16;
        /// `IBV_QP_MAX_DEST_RD_ATOMIC`
        const MAXIMUM_SERVED_READS = 1 << 17;
        /// `IBV_QP_PATH_MIG_STATE`, which is taken and not used
        const MIGRATION = 1 << 18;
        /// `IBV_QP_CAP`
        const CAPABILITIES = 1 << 19;
        /// `IBV_QP_DEST_QPN`
        const REMOTE = 1 << 20;
    }
}

/// What `ibv_modify_qp` asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModifyQueuePair {
    /// Which of the attributes are given; only those are looked at.
    pub mask: Attributes,
    /// State to go to, one of [`state`].
    pub state: u8,
    /// State that the program believes the queue pair to be in.
    pub current_state: u8,
    /// `IBV_ACCESS_*` of what the peer may do.
    pub access: u32,
    /// An event is wanted when the send queue has drained.
    pub notify_drained: bool,
    /// All other attributes.
    pub path: ConnectedPath,
}

/// Attributes that a transition must have, and those that it may have besides.
type Needs = (Attributes, Attributes);

impl Device {
    /// Changes a queue pair of this process. To ERR flushes both queues, to RESET forgets everything posted, to RTS
    /// goes on with what was rung before.
    ///
    /// # Errors
    /// `EINVAL` for an unknown queue pair, a transition that the table does not have, an attribute that is missing,
    /// not allowed or out of range.
    pub fn modify_queue_pair(&self, number: u32, change: &ModifyQueuePair) -> Result<(), Errno> {
        self.turn(|turn| turn.modify(number, change))?;
        self.run(number);
        Ok(())
    }
}

impl Turn<'_> {
    fn modify(&mut self, number: u32, change: &ModifyQueuePair) -> Result<(), Errno> {
        let invalid = Errno(libc::EINVAL);
        let queue_pair = self.own_queue_pair(number).ok_or(invalid)?;
        let to = if change.mask.contains(Attributes::STATE) { change.state } else { queue_pair.state };
        let (required, optional) = needs(queue_pair.kind, queue_pair.state, to).ok_or(invalid)?;
        let allowed = required | optional | Attributes::STATE;
        if !change.mask.contains(required) || !allowed.contains(change.mask) || !is_in_range(change) {
            return Err(invalid);
        }
        if change.mask.contains(Attributes::CURRENT_STATE) && change.current_state != queue_pair.state {
            return Err(invalid);
        }
        self.update(number, |queue_pair| apply(queue_pair, change));
        match to {
            state::RESET => self.update(number, reset),
            state::ERR => self.enter_error(number),
            _ => self.update(number, |queue_pair| queue_pair.state = to),
        }
        Ok(())
    }
}

/// The table; `None` where there is no such transition.
fn needs(kind: QueuePairKind, from: u8, to: u8) -> Option<Needs> {
    use state::{ERR, INIT, RESET, RTR, RTS, SQD, SQE};
    let nothing = Attributes::empty();
    let identity = Attributes::PARTITION | Attributes::PORT | identity_key(kind);
    match (from, to) {
        (_, RESET) | (INIT | RTR | RTS | SQD | SQE | ERR, ERR) => Some((nothing, nothing)),
        (RESET, INIT) => Some((identity, nothing)),
        (INIT, INIT) => Some((nothing, identity)),
        (INIT, RTR) => Some(ready_to_receive(kind)),
        (RTR, RTS) => Some(ready_to_send(kind)),
        (RTS | SQD, RTS) => Some((nothing, running(kind))),
        (SQE, RTS) if kind != QueuePairKind::Reliable => {
            Some((nothing, Attributes::CURRENT_STATE | identity_key(kind)))
        }
        (RTS, SQD) => Some((nothing, Attributes::NOTIFY_DRAINED)),
        (SQD, SQD) => Some((nothing, drained(kind))),
        _ => None,
    }
}

/// A datagram queue pair has a Q_Key where a connected one has access rights.
fn identity_key(kind: QueuePairKind) -> Attributes {
    if kind == QueuePairKind::Datagram { Attributes::Q_KEY } else { Attributes::ACCESS }
}

fn ready_to_receive(kind: QueuePairKind) -> Needs {
    let connection =
        Attributes::ADDRESS | Attributes::MTU | Attributes::REMOTE | Attributes::RECEIVE_SEQUENCE;
    let changeable = Attributes::PARTITION | identity_key(kind);
    match kind {
        QueuePairKind::Datagram => (Attributes::empty(), changeable),
        QueuePairKind::Unreliable => (connection, changeable | Attributes::ALTERNATE_PATH),
        QueuePairKind::Reliable => (
            connection | Attributes::MAXIMUM_SERVED_READS | Attributes::MINIMUM_RNR_TIMER,
            changeable | Attributes::ALTERNATE_PATH,
        ),
    }
}

fn ready_to_send(kind: QueuePairKind) -> Needs {
    let required = match kind {
        QueuePairKind::Reliable => {
            Attributes::SEND_SEQUENCE
                | Attributes::TIMEOUT
                | Attributes::RETRY_COUNT
                | Attributes::RNR_RETRY
                | Attributes::MAXIMUM_READS
        }
        QueuePairKind::Unreliable | QueuePairKind::Datagram => Attributes::SEND_SEQUENCE,
    };
    (required, running(kind))
}

/// What can be changed while a queue pair sends.
fn running(kind: QueuePairKind) -> Attributes {
    let path = Attributes::ALTERNATE_PATH | Attributes::MIGRATION;
    let service = match kind {
        QueuePairKind::Reliable => path | Attributes::MINIMUM_RNR_TIMER,
        QueuePairKind::Unreliable => path,
        QueuePairKind::Datagram => Attributes::empty(),
    };
    Attributes::CURRENT_STATE | identity_key(kind) | service
}

/// What can be changed while nothing is being sent.
fn drained(kind: QueuePairKind) -> Attributes {
    let path = Attributes::ADDRESS | Attributes::ALTERNATE_PATH | Attributes::MIGRATION;
    let service = match kind {
        QueuePairKind::Reliable => {
            path | Attributes::PORT
                | Attributes::TIMEOUT
                | Attributes::RETRY_COUNT
                | Attributes::RNR_RETRY
                | Attributes::MAXIMUM_READS
                | Attributes::MAXIMUM_SERVED_READS
                | Attributes::MINIMUM_RNR_TIMER
        }
        QueuePairKind::Unreliable => path,
        QueuePairKind::Datagram => Attributes::empty(),
    };
    Attributes::PARTITION | identity_key(kind) | service
}

/// Whether every attribute that is given can be.
fn is_in_range(change: &ModifyQueuePair) -> bool {
    const NUMBERS: u32 = 1 << 24;
    let path = &change.path;
    let checks = [
        (Attributes::PORT, path.port == 1),
        (Attributes::MTU, (1..=5).contains(&path.mtu)),
        (Attributes::TIMEOUT, path.timeout < 32),
        (Attributes::RETRY_COUNT, path.retry_count < 8),
        (Attributes::RNR_RETRY, path.rnr_retry < 8),
        (Attributes::MINIMUM_RNR_TIMER, path.minimum_rnr_timer < 32),
        (Attributes::REMOTE, path.remote < NUMBERS),
        (Attributes::SEND_SEQUENCE, path.send_sequence < NUMBERS),
        (Attributes::RECEIVE_SEQUENCE, path.receive_sequence < NUMBERS),
    ];
    checks.into_iter().all(|(attribute, good)| good || !change.mask.contains(attribute))
}

/// Takes over the attributes that are given.
fn apply(queue_pair: &mut QueuePair, change: &ModifyQueuePair) {
    let ModifyQueuePair { mask, path: from, .. } = change;
    let path = &mut queue_pair.path;
    set(&mut queue_pair.access, change.access, mask.contains(Attributes::ACCESS));
    set(&mut queue_pair.notify_drained, change.notify_drained, mask.contains(Attributes::NOTIFY_DRAINED));
    set(&mut path.partition, from.partition, mask.contains(Attributes::PARTITION));
    set(&mut path.port, from.port, mask.contains(Attributes::PORT));
    set(&mut path.q_key, from.q_key, mask.contains(Attributes::Q_KEY));
    set(&mut path.mtu, from.mtu, mask.contains(Attributes::MTU));
    set(&mut path.timeout, from.timeout, mask.contains(Attributes::TIMEOUT));
    set(&mut path.retry_count, from.retry_count, mask.contains(Attributes::RETRY_COUNT));
    set(&mut path.rnr_retry, from.rnr_retry, mask.contains(Attributes::RNR_RETRY));
    set(&mut path.receive_sequence, from.receive_sequence, mask.contains(Attributes::RECEIVE_SEQUENCE));
    set(&mut path.maximum_reads, from.maximum_reads, mask.contains(Attributes::MAXIMUM_READS));
    set(&mut path.minimum_rnr_timer, from.minimum_rnr_timer, mask.contains(Attributes::MINIMUM_RNR_TIMER));
    set(&mut path.send_sequence, from.send_sequence, mask.contains(Attributes::SEND_SEQUENCE));
    let served = mask.contains(Attributes::MAXIMUM_SERVED_READS);
    set(&mut path.maximum_served_reads, from.maximum_served_reads, served);
    set(&mut path.remote, from.remote, mask.contains(Attributes::REMOTE));
    if mask.contains(Attributes::ADDRESS) {
        apply_address(path, from);
    }
}

fn apply_address(path: &mut ConnectedPath, from: &ConnectedPath) {
    path.lid = from.lid;
    path.gid = from.gid;
    path.gid_index = from.gid_index;
    path.hop_limit = from.hop_limit;
    path.traffic_class = from.traffic_class;
    path.service_level = from.service_level;
}

fn set<T>(to: &mut T, from: T, is_given: bool) {
    if is_given {
        *to = from;
    }
}

/// As after creation: the driver zeroes the doorbell records itself.
fn reset(queue_pair: &mut QueuePair) {
    queue_pair.state = state::RESET;
    queue_pair.send = SendProgress::default();
    queue_pair.receive_consumer = 0;
    queue_pair.notify_drained = false;
    queue_pair.path = ConnectedPath::default();
}
