//! The decision table, row by row, and that both ends always come to the same.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::backend::Transport::{Mlx5, SharedMemory, Tcp, Verbs};

const AUTO: TransportChoice = TransportChoice::Auto;

const fn only(transport: Transport) -> TransportChoice {
    TransportChoice::Only(transport)
}

fn nic(mlx5: bool) -> Option<FabricTerms> {
    let gid = "::ffff:10.0.0.1".parse().expect("an address");
    Some(FabricTerms { mlx5, ethernet: true, gid, routable: true, mtu: 4096, path_mtu: None, active: true })
}

/// An end, as a test describes it.
#[derive(Clone, Debug)]
struct Facts {
    terms: Terms,
    found: Findings,
}

impl Facts {
    fn new(wish: TransportChoice, fabric: Option<FabricTerms>) -> Self {
        Self { terms: Terms { wish, device: DeviceId([1; 16]), fabric }, found: Findings::default() }
    }

    fn separated(mut self, separation: Separation) -> Self {
        self.found.separation = Some(separation);
        self
    }

    fn blocked(mut self, obstacle: FabricObstacle) -> Self {
        self.found.fabric = Some(obstacle);
        self
    }

    fn known(&self) -> Known<'_> {
        Known { terms: &self.terms, found: &self.found }
    }
}

fn choose(ours: &Facts, theirs: &Facts) -> Result<Choice, ChoiceError> {
    let link = LinkId::random().expect("random bits");
    decide(ours.known(), theirs.known()).map(|chosen| Choice::new(&ours.terms, chosen, link))
}

/// What is chosen, and what is against the better ones.
fn row(ours: &Facts, theirs: &Facts) -> (Transport, Vec<(Transport, Obstacle)>) {
    let choice = choose(ours, theirs).expect("a transport");
    (choice.transport, choice.not_taken.iter().map(|not| (not.transport, not.obstacle)).collect())
}

#[test]
fn on_one_host_memory_is_shared_and_nothing_is_better() {
    for nics in [None, nic(true)] {
        assert_eq!(row(&Facts::new(AUTO, nics.clone()), &Facts::new(AUTO, nics)), (SharedMemory, Vec::new()));
    }
}

#[test]
fn whatever_either_end_finds_to_separate_them_rules_shared_memory_out() {
    let separations = [Separation::Host, Separation::NetworkNamespace, Separation::User, Separation::Socket];
    for separation in separations {
        let (plain, separated) = (Facts::new(AUTO, None), Facts::new(AUTO, None).separated(separation));
        for (ours, theirs) in [(&plain, &separated), (&separated, &plain)] {
            let not_shared = (SharedMemory, Obstacle::Separated { separation });
            let not_nic = (Verbs, Obstacle::NoNic { end: End::Here });
            assert_eq!(row(ours, theirs), (Tcp, vec![not_shared, not_nic]));
        }
    }
}

#[test]
fn between_hosts_nics_are_used_each_by_its_own_driver() {
    let ours = Facts::new(AUTO, nic(true)).separated(Separation::Host);
    let theirs = Facts::new(AUTO, nic(false)).separated(Separation::Host);
    let not_shared = (SharedMemory, Obstacle::Separated { separation: Separation::Host });
    assert_eq!(row(&ours, &theirs), (Mlx5, vec![not_shared]));
    assert_eq!(row(&theirs, &ours), (Verbs, vec![not_shared]));
}

#[test]
fn a_nic_that_one_end_lacks_or_does_not_reach_gives_way_to_tcp() {
    let not_shared = (SharedMemory, Obstacle::Separated { separation: Separation::Host });
    let with = Facts::new(AUTO, nic(true)).separated(Separation::Host);
    let without = Facts::new(AUTO, None);
    let lacking = |end, transport| (Tcp, vec![not_shared, (transport, Obstacle::NoNic { end })]);
    assert_eq!(row(&with, &without), lacking(End::There, Mlx5));
    assert_eq!(row(&without, &with), lacking(End::Here, Verbs));
    let obstacles = [
        FabricObstacle::PortDown,
        FabricObstacle::OtherLinkLayer,
        FabricObstacle::OtherGidKind,
        FabricObstacle::OtherSubnet,
        FabricObstacle::Mtu { wanted: 4096, active: 1024 },
        FabricObstacle::NoRoute,
        FabricObstacle::Unproven,
    ];
    for obstacle in obstacles {
        let (open, blocked) = (Facts::new(AUTO, nic(true)), with.clone().blocked(obstacle));
        let fabric = |end| (Tcp, vec![not_shared, (Mlx5, Obstacle::Fabric { end, obstacle })]);
        assert_eq!(row(&open, &blocked), fabric(End::There));
        assert_eq!(row(&blocked, &open), fabric(End::Here));
    }
}

#[test]
fn a_wish_of_either_end_is_met_and_told() {
    let auto = Facts::new(AUTO, nic(true));
    for wish in [Mlx5, Verbs, Tcp] {
        let wishing = Facts::new(only(wish), nic(wish == Mlx5));
        let by = |end| Obstacle::OtherWish { end, wish };
        let better = if wish == Tcp { vec![SharedMemory, Mlx5] } else { vec![SharedMemory] };
        let (transport, not_taken) = row(&auto, &wishing);
        assert_eq!(Carrier::of(transport), Carrier::of(wish));
        assert_eq!(not_taken, better.iter().map(|better| (*better, by(End::There))).collect::<Vec<_>>());
        let (transport, not_taken) = row(&wishing, &auto);
        assert_eq!(transport, wish);
        assert!(not_taken.iter().all(|(_, obstacle)| *obstacle == by(End::Here)), "{not_taken:?}");
    }
    let shared = Facts::new(only(SharedMemory), None);
    assert_eq!(row(&shared, &auto), (SharedMemory, Vec::new()));
    assert_eq!(row(&auto, &shared), (SharedMemory, Vec::new()));
}

#[test]
fn a_wish_that_cannot_be_met_is_an_error_at_both_ends() {
    let separation = Separation::User;
    let (shared, auto) = (Facts::new(only(SharedMemory), None), Facts::new(AUTO, None).separated(separation));
    let unmet =
        |end| ChoiceError::Unmet { wish: SharedMemory, end, obstacle: Obstacle::Separated { separation } };
    assert_eq!(choose(&shared, &auto), Err(unmet(End::Here)));
    assert_eq!(choose(&auto, &shared), Err(unmet(End::There)));
    assert!(unmet(End::Here).to_string().contains("another user"), "{}", unmet(End::Here));

    let verbs = Facts::new(only(Verbs), nic(false));
    let no_nic = |end| Obstacle::NoNic { end };
    let missing = choose(&verbs, &Facts::new(AUTO, None));
    assert_eq!(
        missing,
        Err(ChoiceError::Unmet { wish: Verbs, end: End::Here, obstacle: no_nic(End::There) })
    );
    let closed = Facts::new(AUTO, nic(true)).blocked(FabricObstacle::NoRoute);
    let obstacle = Obstacle::Fabric { end: End::There, obstacle: FabricObstacle::NoRoute };
    let missing = choose(&verbs, &closed);
    assert_eq!(missing, Err(ChoiceError::Unmet { wish: Verbs, end: End::Here, obstacle }));
}

#[test]
fn who_wishes_for_a_nic_answers_for_what_cannot_be_seen() {
    let unproven = |wish| Facts::new(wish, nic(true)).blocked(FabricObstacle::Unproven);
    let other = Facts::new(AUTO, nic(true)).separated(Separation::Host);
    assert_eq!(row(&unproven(AUTO), &other).0, Tcp);
    assert_eq!(row(&unproven(only(Mlx5)), &other).0, Mlx5);
    assert_eq!(row(&other, &unproven(only(Mlx5))).0, Mlx5);
}

#[test]
fn different_wishes_are_an_error_that_names_both() {
    for (ours, theirs) in [(SharedMemory, Tcp), (Tcp, Verbs), (Mlx5, SharedMemory)] {
        let error = choose(&Facts::new(only(ours), nic(true)), &Facts::new(only(theirs), nic(true)));
        assert_eq!(error, Err(ChoiceError::WishesDiffer { ours, theirs }));
        let text = error.expect_err("different wishes").to_string();
        assert!(text.contains(ours.name()) && text.contains(theirs.name()), "{text}");
    }
    // Two drivers of NICs are one wish.
    let mixed = row(&Facts::new(only(Mlx5), nic(true)), &Facts::new(only(Verbs), nic(false)));
    assert_eq!(mixed.0, Mlx5);
}

#[test]
fn a_choice_says_what_and_why() {
    let ours = Facts::new(AUTO, None).separated(Separation::NetworkNamespace);
    let choice = choose(&ours, &Facts::new(AUTO, None)).expect("a transport");
    assert_eq!(
        choice.to_string(),
        "tcp (not shm: the peer is in another network namespace; not verbs: this end has no NIC that can be used: \
         `pmd info` there tells why)"
    );
    assert_eq!(
        choice.not_taken.iter().map(|not| not.obstacle.name()).collect::<Vec<_>>(),
        ["separated", "no-nic"]
    );
    let same = choose(&Facts::new(AUTO, None), &Facts::new(AUTO, None)).expect("a transport");
    assert_eq!(same.to_string(), "shm");
    let wish = Obstacle::OtherWish { end: End::There, wish: Tcp };
    assert_eq!((wish.name(), wish.to_string().as_str()), ("wish", "the peer was told to use tcp"));
    let fabric = Obstacle::Fabric { end: End::Here, obstacle: FabricObstacle::NoRoute };
    assert_eq!(fabric.name(), "fabric");
}

fn facts() -> impl Strategy<Value = Facts> {
    let wishes = select(vec![AUTO, AUTO, AUTO, only(SharedMemory), only(Mlx5), only(Verbs), only(Tcp)]);
    let separations = select(vec![None, Some(Separation::Host), Some(Separation::Socket)]);
    let obstacles = select(vec![None, Some(FabricObstacle::NoRoute), Some(FabricObstacle::Unproven)]);
    let fabrics = select(vec![None, nic(true), nic(false)]);
    (wishes, fabrics, separations, obstacles).prop_map(|(wish, fabric, separation, obstacle)| {
        let mut facts = Facts::new(wish, fabric);
        facts.found = Findings { separation, fabric: obstacle };
        facts
    })
}

proptest! {
    #[test]
    fn both_ends_come_to_the_same(ours in facts(), theirs in facts()) {
        let (here, there) = (decide(ours.known(), theirs.known()), decide(theirs.known(), ours.known()));
        match (here, there) {
            (Ok((here, not_here)), Ok((there, not_there))) => {
                prop_assert_eq!(here, there);
                prop_assert_eq!(not_here.len(), not_there.len());
                prop_assert!(ours.terms.allow(here) && theirs.terms.allow(here), "no wish is passed over");
            }
            (here, there) => prop_assert!(here.is_err() && there.is_err()),
        }
    }
}
