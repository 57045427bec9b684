//! Two hosts whose cable is cut: shorter than the bound nothing is lost, longer than that whatever waits fails with the
//! reason, and the hosts link anew when the cable is mended; and a host that is killed or leaves, and comes again.

use super::{Case, case};
use crate::{agent::Agent, network::Network, programs::Context};

pub(super) const CASES: &[Case] = &[
    case("partition::shorter_than_the_bound_it_heals_and_nothing_is_lost", heals),
    case("partition::beyond_the_bound_it_is_told_by_its_name_and_the_hosts_link_anew", beyond_the_bound),
    case("partition::a_host_that_is_killed_or_leaves_may_come_again", comes_again),
];

/// Two linked agents.
struct Linked {
    network: Network,
    one: Agent,
    other: Agent,
    /// Where the one listens.
    address: String,
    /// What the other is to wish for.
    wish: String,
    /// The name of their link.
    link: String,
}

impl Linked {
    /// With a bound in milliseconds.
    fn start(bound: u32) -> Self {
        let network = Network::pair().expect("hosts");
        let (mut one, mut other) = (Agent::on(network.host(0)), Agent::on(network.host(1)));
        let wish = format!("auto {bound}");
        let address = one.listens(&format!("{}:0", network.host(0).address()), &wish);
        let linked = other.connects(&address, &wish).expect("a link");
        let (link, choice) = linked.split_once(' ').expect("a link and a choice");
        assert!(choice.starts_with("tcp"), "{choice}");
        let there = one.says_of("connected");
        assert!(there.starts_with(link), "both ends know the link by one name: {there}");
        let link = link.to_owned();
        Self { network, one, other, address, wish, link }
    }

    /// Cuts the cable, or mends it.
    fn cable(&self, works: bool) {
        self.network.host(1).set_link(works).expect("the link is taken down or up");
    }

    /// Bytes arrive.
    fn moves(&mut self) {
        assert_eq!(self.other.asks("submit 4"), "submitted");
        assert_eq!(self.other.asks("outcome"), "done 4");
    }
}

fn heals(_: &Context) {
    let mut hosts = Linked::start(60_000);
    hosts.cable(false);
    assert_eq!(hosts.other.asks("submit 8"), "submitted");
    assert_eq!(hosts.other.asks("ask"), "asking");
    hosts.cable(true);
    assert_eq!(hosts.other.asks("outcome"), "done 8");
    assert_eq!(hosts.other.asks("asked"), "answered");
    assert_eq!(hosts.other.asks("state"), "lives");
}

fn beyond_the_bound(_: &Context) {
    let mut hosts = Linked::start(3_000);
    hosts.cable(false);
    assert_eq!(hosts.other.asks("submit 4"), "submitted");
    assert_eq!(hosts.other.asks("ask"), "asking");
    for agent in [&mut hosts.one, &mut hosts.other] {
        let reason = agent.says_of("down");
        assert!(reason.starts_with("Silent("), "{reason}");
    }
    let outcome = hosts.other.asks("outcome");
    assert!(outcome.starts_with("failed PeerSilent"), "{outcome}");
    let asked = hosts.other.asks("asked");
    assert!(asked.starts_with("Down(Silent("), "{asked}");
    hosts.cable(true);
    let again = hosts.other.asks(&format!("relink {}", hosts.address));
    assert!(again.starts_with("linked ") && !again.contains(&hosts.link), "{again}");
    assert!(hosts.one.says_of("connected").starts_with(again.split(' ').nth(1).expect("a link")));
    hosts.moves();
}

fn comes_again(_: &Context) {
    let mut hosts = Linked::start(60_000);
    // The one that connected.
    std::mem::replace(&mut hosts.other, Agent::on(hosts.network.host(1))).kill();
    assert_eq!(hosts.one.says_of("down"), "Closed");
    let linked = hosts.other.connects(&hosts.address, &hosts.wish).expect("a link");
    assert!(!linked.starts_with(&hosts.link), "{linked}");
    // The one that listens: another takes its place at the same address.
    let mut heir = Agent::on(hosts.network.host(0));
    hosts.one.order("leave");
    assert_eq!(hosts.one.says_of("left"), "");
    assert_eq!(hosts.other.says_of("down"), "Goodbye");
    assert_eq!(heir.listens(&hosts.address, &hosts.wish), hosts.address);
    let again = hosts.other.asks(&format!("relink {}", hosts.address));
    assert!(again.starts_with("linked "), "{again}");
    hosts.moves();
}
