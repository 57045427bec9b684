//! Which of our NICs goes with which of theirs. Asked by the end that opens the rails of a bundle.
//!
//! What can be told of two ports beforehand need not be the truth: on a network of rails only, ports of one kind do not reach each
//! other, and nothing says so. So [`pairs`] are where [`Pairing`] begins, and it goes on by trying.

use super::MOST_RAILS;

/// Lives of a rail on a pair of ports after which the pair is given up for another, if none of them came up.
pub const DISCOVERY: u32 = 3;

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
fn pairs_where(ours: &[Port], theirs: &[Port], joins: &dyn Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let uses = [vec![0; ours.len()], vec![0; theirs.len()]];
    let mut draft = Draft { uses, joined: Vec::new(), joins };
    // Each of ours in the order of distance gets its best partner, then what is left over on the other side.
    for our in nearest_first(ours) {
        draft.join((0..theirs.len()).map(|their| (our, their)), |&(_, their)| theirs[their].distance);
    }
    for their in nearest_first(theirs) {
        if draft.uses[1][their] == 0 {
            draft.join((0..ours.len()).map(|our| (our, their)), |&(our, _)| ours[our].distance);
        }
    }
    draft.joined
}

fn nearest_first(ports: &[Port]) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..ports.len()).collect();
    numbers.sort_by_key(|number| ports[*number].distance);
    numbers
}

struct Draft<'a> {
    /// Rails of each port, ours and theirs.
    uses: [Vec<u32>; 2],
    joined: Vec<(usize, usize)>,
    joins: &'a dyn Fn(usize, usize) -> bool,
}

impl Draft<'_> {
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

/// Which pair of ports each rail is on, found by trying: the pairs of [`pairs`] at first, and for a rail that does not come up on
/// its pair in [`DISCOVERY`] lives the next one.
///
/// ```text
///           a life begins, 3 have not come up            another pair is free
///   tried ---------------------------------> resting --------------------------> tried, on that pair
///     | comes up
///     v
///   proven: the rail keeps its pair, and may be lost and opened again on it
/// ```
/// The next pair is of ports neither of which is on a rail that has come up, or else of one that is and one that is not; always
/// one that was given up least often. A port is tried in one new pair at a time. A rail that finds nothing else rests for that
/// life. So what comes up joins every port once where that is possible: among ports that are on no rail in the end are no two
/// that reach each other, and by then no pair was tried twice. Where nothing is left that was not tried, all is tried again:
/// cables are plugged in.
///
/// ```
/// use pmd_host::rail::{DISCOVERY, Pairing, Port, Reach};
///
/// let port = Port { distance: 0, fabric: None };
/// let mut pairing = Pairing::new(&[port; 2], &[port; 2], Reach::Any);
/// // Each reaches the other's equal only in a crossed order, and nobody said so.
/// for _ in 0..DISCOVERY {
///     assert_eq!((pairing.begin(0), pairing.begin(1)), (Some((0, 0)), Some((1, 1))));
/// }
/// assert_eq!(pairing.begin(0), None, "the other rail has not given up");
/// assert_eq!(pairing.begin(1), Some((0, 1)));
/// assert_eq!(pairing.begin(0), Some((1, 0)));
/// ```
#[derive(Clone, Debug)]
pub struct Pairing {
    /// By the number of the rail.
    rails: Vec<Trial>,
    /// Every pair that may reach each other, as far as is known.
    choices: Vec<Choice>,
}

/// The pair that a rail is on, or was on last.
#[derive(Clone, Copy, Debug)]
struct Trial {
    pair: (usize, usize),
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// So many lives have begun, and none has come up.
    Tried(u32),
    /// The pair was given up, and no other was free.
    Resting,
    /// A life came up.
    Proven,
}

#[derive(Clone, Copy, Debug)]
struct Choice {
    pair: (usize, usize),
    /// Of both ends together.
    distance: u64,
    /// Times that it was given up.
    given_up: u32,
}

impl Pairing {
    /// Begins with [`pairs`], at most [`MOST_RAILS`] of them.
    #[must_use]
    pub fn new(ours: &[Port], theirs: &[Port], reach: Reach) -> Self {
        let joins = |our: usize, their: usize| reach.joins((our, &ours[our]), (their, &theirs[their]));
        Self::where_joined(ours, theirs, MOST_RAILS, &joins)
    }

    /// The same where something else tells which ports may reach each other, with at most so many rails.
    pub(crate) fn where_joined(
        ours: &[Port],
        theirs: &[Port],
        most: usize,
        joins: &dyn Fn(usize, usize) -> bool,
    ) -> Self {
        let first = pairs_where(ours, theirs, joins).into_iter().take(most.min(MOST_RAILS));
        let rails = first.map(|pair| Trial { pair, standing: Standing::Tried(0) }).collect();
        let all = (0..ours.len()).flat_map(|our| (0..theirs.len()).map(move |their| (our, their)));
        let joined = all.filter(|&(our, their)| joins(our, their));
        let choice = |pair: (usize, usize)| {
            let distance = u64::from(ours[pair.0].distance) + u64::from(theirs[pair.1].distance);
            Choice { pair, distance, given_up: 0 }
        };
        Self { rails, choices: joined.map(choice).collect() }
    }

    /// How many rails there are.
    #[must_use]
    pub fn rails(&self) -> usize {
        self.rails.len()
    }

    /// A life of a rail begins: the pair that it is opened on, ours and theirs. None: this one rests, and counts as lost. The life
    /// before has ended.
    pub fn begin(&mut self, rail: u16) -> Option<(usize, usize)> {
        let trial = self.rails.get_mut(usize::from(rail))?;
        let Trial { pair, standing } = *trial;
        match standing {
            Standing::Proven => return Some(pair),
            Standing::Tried(lives) if lives < DISCOVERY => {
                trial.standing = Standing::Tried(lives + 1);
                return Some(pair);
            }
            Standing::Tried(_) => {
                trial.standing = Standing::Resting;
                if let Some(choice) = self.choices.iter_mut().find(|choice| choice.pair == pair) {
                    choice.given_up = choice.given_up.saturating_add(1);
                }
            }
            Standing::Resting => {}
        }
        let pair = self.next()?;
        self.rails[usize::from(rail)] = Trial { pair, standing: Standing::Tried(1) };
        Some(pair)
    }

    /// The present life of a rail has come up.
    pub fn came_up(&mut self, rail: u16) {
        if let Some(trial) = self.rails.get_mut(usize::from(rail)).filter(|trial| trial.is_tried()) {
            trial.standing = Standing::Proven;
        }
    }

    /// The pair for a rail that has none, unless it must wait for what comes of other rails' pairs.
    fn next(&self) -> Option<(usize, usize)> {
        let on_trial = |choice: &&Choice| self.any(|trial| trial.is_tried() && trial.pair == choice.pair);
        let is_free = |choice: &&Choice| {
            !self.any(|trial| trial.standing != Standing::Resting && trial.pair == choice.pair)
        };
        let free: Vec<&Choice> = self.choices.iter().filter(is_free).collect();
        let best = free.iter().map(|choice| self.rank(choice)).min()?;
        // Nothing is tried again before all has been tried.
        if self.choices.iter().filter(on_trial).any(|choice| choice.given_up < best.1) {
            return None;
        }
        let open = free.into_iter().filter(|choice| self.rank(choice) == best && !self.waits(choice.pair));
        open.min_by_key(|choice| self.cost(choice)).map(|choice| choice.pair)
    }

    /// What is tried first: whether both ends are on rails that have come up, how often it was given up, and how many ends are.
    fn rank(&self, &Choice { pair: (our, their), given_up, .. }: &Choice) -> (bool, u32, u8) {
        let joined = u8::from(self.ours_joined(our)) + u8::from(self.theirs_joined(their));
        (joined == 2, given_up, joined)
    }

    /// Of equals, the one whose ends are used least, then the nearest, then that of equal numbers, then the first.
    fn cost(&self, &Choice { pair, distance, .. }: &Choice) -> (usize, u64, bool, (usize, usize)) {
        let uses = |trial: &&Trial| {
            trial.standing != Standing::Resting && (trial.pair.0 == pair.0 || trial.pair.1 == pair.1)
        };
        (self.rails.iter().filter(uses).count(), distance, pair.0 != pair.1, pair)
    }

    /// Whether one of the ends is being tried with another, and is not on a rail yet.
    fn waits(&self, (our, their): (usize, usize)) -> bool {
        let ours_waits = !self.ours_joined(our) && self.any(|trial| trial.is_tried() && trial.pair.0 == our);
        let theirs_waits =
            !self.theirs_joined(their) && self.any(|trial| trial.is_tried() && trial.pair.1 == their);
        ours_waits || theirs_waits
    }

    fn ours_joined(&self, our: usize) -> bool {
        self.any(|trial| trial.standing == Standing::Proven && trial.pair.0 == our)
    }

    fn theirs_joined(&self, their: usize) -> bool {
        self.any(|trial| trial.standing == Standing::Proven && trial.pair.1 == their)
    }

    fn any(&self, is: impl Fn(&Trial) -> bool) -> bool {
        self.rails.iter().any(is)
    }
}

impl Trial {
    const fn is_tried(&self) -> bool {
        matches!(self.standing, Standing::Tried(_))
    }
}
