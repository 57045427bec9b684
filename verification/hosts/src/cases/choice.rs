//! Which transport two processes use that are hosts, users or only processes to each other.

use super::{Case, case};
use crate::{agent::Agent, network::Network, programs::Context};

pub(super) const CASES: &[Case] = &[
    case("choice::two_hosts_use_tcp_and_both_say_why_nothing_better", between_hosts),
    case("choice::what_does_not_separate_memory_leaves_it_shared", shared),
    case("choice::another_user_shares_no_memory", another_user),
    case("choice::another_user_that_is_called_the_same_is_found_out_at_its_socket", impostor),
];

/// The choice, without the link before it.
fn choice(linked: Result<String, String>) -> String {
    let linked = linked.expect("a link");
    linked.split_once(' ').expect("a link and a choice").1.to_owned()
}

fn between_hosts(_: &Context) {
    let network = Network::pair().expect("hosts");
    let (mut one, mut other) = (Agent::on(network.host(0)), Agent::on(network.host(1)));
    let address = one.listens(&format!("{}:0", network.host(0).address()), "auto");
    for wish in ["auto", "tcp"] {
        let chosen = choice(other.connects(&address, wish));
        let seen = one.says_of("connected");
        assert!(chosen.starts_with("tcp (not shm: "), "{chosen}");
        let (why, why_there) = if wish == "auto" {
            ("the peer is in another network namespace", "the peer is in another network namespace")
        } else {
            ("this end was told to use tcp", "the peer was told to use tcp")
        };
        assert!(chosen.contains(why) && seen.contains(why_there), "{chosen}; {seen}");
    }
    let refused = other.connects(&address, "shm").expect_err("no memory is shared between hosts");
    assert!(refused.contains("shm") && refused.contains("another network namespace"), "{refused}");
}

fn shared(_: &Context) {
    let mut one = Agent::apart(&[]);
    let address = one.listens("127.0.0.1:0", "auto");
    assert_eq!(choice(Agent::apart(&[]).connects(&address, "auto")), "shm");
    assert!(choice(Agent::apart(&[]).connects(&address, "tcp")).starts_with("tcp (not shm: this end"));
    for apart in [
        &["--pid", "--fork", "--kill-child", "--ipc", "--mount", "--uts"][..],
        &["--user", "--map-root-user"],
    ] {
        for wish in ["auto", "shm"] {
            assert_eq!(choice(Agent::apart(apart).connects(&address, wish)), "shm", "{apart:?}");
        }
    }
}

/// Without a map this process's user is nobody there, and is told so.
fn another_user(_: &Context) {
    let mut one = Agent::apart(&[]);
    let address = one.listens("127.0.0.1:0", "auto");
    let mut nobody = Agent::apart(&["--user"]);
    let chosen = choice(nobody.connects(&address, "auto"));
    assert!(chosen.starts_with("tcp (not shm: the peer runs as another user"), "{chosen}");
    let refused = nobody.connects(&address, "shm").expect_err("no memory is shared between users");
    assert!(refused.contains("another user"), "{refused}");
}

fn impostor(_: &Context) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut one = Agent::apart(&[]);
    let address = one.listens("127.0.0.1:0", "auto");
    let mut impostor = Agent::of_another_user(&["--user", "--map-root-user"], folder.path());
    let chosen = choice(impostor.connects(&address, "auto"));
    assert!(chosen.starts_with("tcp (not shm: the peer's socket is not reached"), "{chosen}");
    let refused = impostor.connects(&address, "shm").expect_err("no memory is shared between users");
    assert!(refused.contains("socket"), "{refused}");
}
