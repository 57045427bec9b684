//! Which server is the last, how often and by how much: a request with several servers is as slow as the last of them.

use super::{
    Part, PeerNumber, Summary,
    peers::{PeerState, Peers, Straggled},
};

/// A server among those that requests were sent to together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StragglerReport {
    /// The server.
    pub peer: PeerNumber,
    /// The name that it was added with.
    pub name: String,
    /// Requests that it shared with at least one other server.
    pub shared: u64,
    /// In how many of them its response was the last (`count`), and by how many nanoseconds after the one before: what
    /// the worker would have gained had this server been as fast as the next slowest.
    pub behind: Summary,
    /// The sum of those nanoseconds, about (mean times count).
    pub cost: u64,
}

/// Who came last in one request, and when the others were there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finish {
    arrived: u32,
    last: Option<PeerNumber>,
    last_at: u64,
    before_at: u64,
}

impl Finish {
    /// Of those parts whose response has arrived.
    pub(super) fn of(parts: impl Iterator<Item = Part>) -> Self {
        parts.filter(|part| part.stamps.arrived != 0).fold(Self::default(), |finish, part| {
            let (arrived, at) = (finish.arrived + 1, part.stamps.arrived);
            if at > finish.last_at {
                Self { arrived, last: Some(part.peer), last_at: at, before_at: finish.last_at }
            } else {
                Self { arrived, before_at: finish.before_at.max(at), ..finish }
            }
        })
    }

    /// Notes it at one of the peers.
    pub(super) fn note(&self, peer: PeerNumber, straggled: &mut Straggled) {
        if self.arrived < 2 {
            return;
        }
        straggled.shared += 1;
        if self.last == Some(peer) {
            straggled.behind.record(self.last_at - self.before_at);
        }
    }
}

/// The worst first.
pub(super) fn report(peers: &Peers) -> Vec<StragglerReport> {
    let of = |(peer, state): (PeerNumber, &PeerState)| {
        let behind = state.straggled.behind.summary();
        let cost = behind.mean.saturating_mul(behind.count);
        StragglerReport { peer, name: state.name.clone(), shared: state.straggled.shared, behind, cost }
    };
    let mut reports: Vec<_> = peers.iter().map(of).filter(|report| report.shared > 0).collect();
    reports.sort_by_key(|report| std::cmp::Reverse(report.cost));
    reports
}
