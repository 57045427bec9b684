//! Which of our NICs goes with which of theirs. Asked by the end that opens the rails of a bundle.

/// One end that rails can have: a NIC's port, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Hops from the memory or lane in question, as [`topology`](crate::topology) counts them; less is nearer.
    pub distance: u32,
    /// The fabric that it is on (a subnet prefix), where that is known.
    pub fabric: Option<u64>,
}

/// Which ports reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// Those on the same fabric; those of which no fabric is known reach any.
    #[default]
    SameFabric,
    /// Port *i* reaches port *i* only, as declared: a rail-only fabric.
    SameNumber,
    /// Any.
    Any,
}

impl Reach {
    /// Whether the one reaches the other.
    #[must_use]
    pub fn joins(self, (our_number, ours): (usize, &Port), (their_number, theirs): (usize, &Port)) -> bool {
        match (self, ours.fabric, theirs.fabric) {
            (Self::SameFabric, Some(ours), Some(theirs)) => ours == theirs,
            (Self::SameNumber, ..) => our_number == their_number,
            (Self::SameFabric | Self::Any, ..) => true,
        }
    }
}

/// The rails between two sets of ports: every port that reaches one of the other side is on a rail, the load is as even as
/// that allows, and no two rails have the same ends. The first rails are those of the nearest ports. The numbers are those of
/// the ports in their slices. With unequal counts the ports of the smaller side are on several rails.
///
/// ```
/// use pmd_host::rail::{Port, Reach, pairs};
///
/// let port = Port { distance: 0, fabric: None };
/// assert_eq!(pairs(&[port; 2], &[port; 4], Reach::Any), [(0, 0), (1, 1), (0, 2), (1, 3)]);
/// assert_eq!(pairs(&[port; 2], &[port; 4], Reach::SameNumber), [(0, 0), (1, 1)]);
/// ```
#[must_use]
pub fn pairs(ours: &[Port], theirs: &[Port], reach: Reach) -> Vec<(usize, usize)> {
    pairs_where(ours, theirs, &|our, their| reach.joins((our, &ours[our]), (their, &theirs[their])))
}

/// The same where something else tells which ports reach each other, by their numbers.
pub(crate) fn pairs_where(
    ours: &[Port],
    theirs: &[Port],
    joins: &dyn Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let uses = [vec![0; ours.len()], vec![0; theirs.len()]];
    let mut pairing = Pairing { uses, joined: Vec::new(), joins };
    // Each of ours in the order of distance gets its best partner, then what is left over on the other side.
    for our in nearest_first(ours) {
        pairing.join((0..theirs.len()).map(|their| (our, their)), |&(_, their)| theirs[their].distance);
    }
    for their in nearest_first(theirs) {
        if pairing.uses[1][their] == 0 {
            pairing.join((0..ours.len()).map(|our| (our, their)), |&(our, _)| ours[our].distance);
        }
    }
    pairing.joined
}

fn nearest_first(ports: &[Port]) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..ports.len()).collect();
    numbers.sort_by_key(|number| ports[*number].distance);
    numbers
}

struct Pairing<'a> {
    /// Rails of each port, ours and theirs.
    uses: [Vec<u32>; 2],
    joined: Vec<(usize, usize)>,
    joins: &'a dyn Fn(usize, usize) -> bool,
}

impl Pairing<'_> {
    /// Adds the candidate whose ends are used least; of equals the nearer one, then that of equal numbers, then the first.
    fn join(
        &mut self,
        candidates: impl Iterator<Item = (usize, usize)>,
        distance: impl Fn(&(usize, usize)) -> u32,
    ) {
        let cost = |pair: &(usize, usize)| {
            (self.uses[0][pair.0] + self.uses[1][pair.1], distance(pair), pair.0 != pair.1, *pair)
        };
        let best = candidates.filter(|&(our, their)| (self.joins)(our, their)).min_by_key(cost);
        if let Some((our, their)) = best {
            self.uses[0][our] += 1;
            self.uses[1][their] += 1;
            self.joined.push((our, their));
        }
    }
}
