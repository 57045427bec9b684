//! Who and where one is: ps-lite's `Postoffice`, on top of a [`Node`].

use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::ranges;
use crate::rendezvous::{Barrier, BarrierError, MemberId, MemberState, Node, Role, Roles};

type ExitCallback = Box<dyn FnOnce() + Send>;

/// Questions about the cluster, by the numbers that ps-lite gives its nodes.
///
/// | node | number |
/// |---|---|
/// | scheduler | 1 |
/// | server of rank r | 8 + 2r |
/// | worker of rank r | 9 + 2r |
pub struct Postoffice {
    node: Arc<Node>,
    at_exit: Mutex<Vec<ExitCallback>>,
}

impl Postoffice {
    /// The postoffice of a process that has joined its cluster.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self { node, at_exit: Mutex::default() }
    }

    /// The node that it asks.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Workers that the cluster is declared to have, every instance counted (`NumWorkers`).
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.count(Role::Worker)
    }

    /// Servers that the cluster is declared to have, every instance counted (`NumServers`).
    #[must_use]
    pub fn servers(&self) -> u32 {
        self.count(Role::Server)
    }

    fn count(&self, role: Role) -> u32 {
        self.node.config().shape.instances(role)
    }

    /// This process's rank in a role (`MyRank`), if it has the role (`IsWorker`, `IsServer`).
    #[must_use]
    pub fn rank(&self, role: Role) -> Option<u32> {
        self.node.ids().iter().find(|member| member.role == role).map(|member| member.rank)
    }

    /// The numbers of all nodes of some roles, in order (`GetNodeIDs`): those that are declared, whether they have come
    /// or not.
    #[must_use]
    pub fn node_ids(&self, roles: Roles) -> Vec<u64> {
        let scheduler = roles.contains(Roles::SCHEDULER).then_some(MemberId::SCHEDULER);
        let places = self.node.config().shape.places().filter(|place| roles.contains(place.role.as_roles()));
        let mut ids: Vec<u64> = scheduler.into_iter().chain(places).map(MemberId::ps_lite_id).collect();
        ids.sort_unstable();
        ids
    }

    /// Which keys each server has, by rank (`GetServerKeyRanges`). Together all keys, in equal shares.
    #[must_use]
    pub fn server_key_ranges(&self) -> Vec<RangeInclusive<u64>> {
        ranges::of_servers(self.servers())
    }

    /// The numbers of those that are down (`GetDeadNodes`). Who left in order is not among them.
    #[must_use]
    pub fn dead_nodes(&self) -> Vec<u64> {
        let members = self.node.members();
        let down = members.iter().filter(|member| matches!(member.state, MemberState::Down(_)));
        let mut ids: Vec<u64> = down.map(|member| member.id.ps_lite_id()).collect();
        ids.sort_unstable();
        ids
    }

    /// Waits until every node of some roles has called it (`Barrier`).
    ///
    /// # Errors
    /// [`BarrierError`].
    pub fn barrier(&self, roles: Roles, timeout: Duration) -> Result<(), BarrierError> {
        self.node.barrier(&Barrier::new("ps-lite", roles), timeout)
    }

    /// Calls something when the process finalises (`RegisterExitCallback`), in the order of registration.
    pub fn at_exit(&self, callback: impl FnOnce() + Send + 'static) {
        self.at_exit.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(callback));
    }

    /// Waits for all workers and servers where `barrier` says for how long, then runs the exit callbacks, whatever became of
    /// the barrier (`Finalize`). The node leaves when its last handle goes.
    ///
    /// # Errors
    /// [`BarrierError`].
    pub fn finalize(self, barrier: Option<Duration>) -> Result<(), BarrierError> {
        let together = Barrier::new("ps-lite finalize", Roles::WORKER | Roles::SERVER);
        let outcome = barrier.map_or(Ok(()), |timeout| self.node.barrier(&together, timeout));
        let callbacks = self.at_exit.into_inner().unwrap_or_else(PoisonError::into_inner);
        callbacks.into_iter().for_each(|callback| callback());
        outcome
    }
}

impl fmt::Debug for Postoffice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Postoffice").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The member of a ps-lite number: 1, or 8 and more.
#[must_use]
pub const fn member_of(id: u64) -> Option<MemberId> {
    match id {
        1 => Some(MemberId::SCHEDULER),
        8.. if (id - 8) / 2 > u32::MAX as u64 => None,
        8.. => {
            let rank = ((id - 8) / 2) as u32;
            Some(if id.is_multiple_of(2) { MemberId::server(rank) } else { MemberId::worker(rank) })
        }
        _ => None,
    }
}
