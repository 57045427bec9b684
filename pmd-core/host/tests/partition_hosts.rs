//! Two hosts whose cable is cut: shorter than the bound nothing is lost, longer than that whatever waits fails with the
//! reason, and the hosts link anew when the cable is mended; and a host that is killed and comes again.

mod hosts_support;

use hosts_support::{Hosts, Process, can_unshare};

/// Not a test: what the processes run.
#[test]
fn agent() {
    hosts_support::agent::run();
}

/// Links the second host to the first, with a bound in milliseconds; where the first listens, and the link.
fn link(hosts: &mut Hosts, bound: &str) -> (String, String) {
    let address = hosts.one.listens("10.9.0.1:0", &format!("auto {bound}"));
    let linked = hosts.other.connects(&address, &format!("auto {bound}")).expect("a link");
    let (link, choice) = linked.split_once(' ').expect("a link and a choice");
    assert!(choice.starts_with("tcp"), "{choice}");
    let there = hosts.one.says_of("connected");
    assert!(there.starts_with(link), "both ends know the link by one name: {there}");
    (address, link.to_owned())
}

/// Says a thing of the agent's that is linked.
fn asks(agent: &mut Process, order: &str) -> String {
    agent.order(order);
    agent.says()
}

#[test]
fn a_partition_shorter_than_the_bound_heals_and_nothing_is_lost() {
    if !can_unshare(&["--net"]) {
        return;
    }
    let mut hosts = Hosts::start();
    link(&mut hosts, "60000");
    hosts.cable(false);
    assert_eq!(asks(&mut hosts.other, "submit 8"), "submitted");
    assert_eq!(asks(&mut hosts.other, "ask"), "asking");
    hosts.cable(true);
    assert_eq!(asks(&mut hosts.other, "outcome"), "done 8");
    assert_eq!(asks(&mut hosts.other, "asked"), "answered");
    assert_eq!(asks(&mut hosts.other, "state"), "lives");
}

#[test]
fn a_partition_beyond_the_bound_is_told_by_its_name_and_the_hosts_link_anew() {
    if !can_unshare(&["--net"]) {
        return;
    }
    let mut hosts = Hosts::start();
    let (address, first) = link(&mut hosts, "3000");
    hosts.cable(false);
    assert_eq!(asks(&mut hosts.other, "submit 4"), "submitted");
    assert_eq!(asks(&mut hosts.other, "ask"), "asking");
    for process in [&hosts.one, &hosts.other] {
        let reason = process.says_of("down");
        assert!(reason.starts_with("Silent("), "{reason}");
    }
    let outcome = asks(&mut hosts.other, "outcome");
    assert!(outcome.starts_with("failed PeerSilent"), "{outcome}");
    let asked = asks(&mut hosts.other, "asked");
    assert!(asked.starts_with("Down(Silent("), "{asked}");
    hosts.cable(true);
    let again = asks(&mut hosts.other, &format!("relink {address}"));
    assert!(again.starts_with("linked ") && !again.contains(&first), "{again}");
    assert!(hosts.one.says_of("connected").starts_with(again.split(' ').nth(1).expect("a link")));
    assert_eq!(asks(&mut hosts.other, "submit 4"), "submitted");
    assert_eq!(asks(&mut hosts.other, "outcome"), "done 4");
}

#[test]
fn either_host_may_be_killed_and_come_again() {
    if !can_unshare(&["--net"]) {
        return;
    }
    let mut hosts = Hosts::start();
    let (address, first) = link(&mut hosts, "60000");
    // The one that connected: within the namespace that it leaves behind nothing else lives, so it comes as a guest.
    let guest = |of: u32| {
        let mut command = std::process::Command::new("nsenter");
        command.args(["--net", "--target", &of.to_string()]).arg(std::env::current_exe().expect("a test"));
        Process::run(command)
    };
    let mut again = guest(hosts.other.pid());
    let linked = again.connects(&address, "auto 60000").expect("a link");
    assert!(!linked.starts_with(&first), "{linked}");
    again.kill();
    assert_eq!(hosts.one.says_of("down"), "Closed");
    // The one that listens: a guest takes its place at the same address.
    let mut heir = guest(hosts.one.pid());
    hosts.one.order("leave");
    assert_eq!(hosts.one.says_of("left"), "");
    assert_eq!(hosts.other.says_of("down"), "Goodbye");
    assert_eq!(heir.listens(&address, "auto 60000"), address);
    let again = asks(&mut hosts.other, &format!("relink {address}"));
    assert!(again.starts_with("linked "), "{again}");
    assert_eq!(asks(&mut hosts.other, "submit 4"), "submitted");
    assert_eq!(asks(&mut hosts.other, "outcome"), "done 4");
}
