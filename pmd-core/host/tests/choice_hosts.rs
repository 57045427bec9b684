//! Which transport two processes use that are hosts, users or only processes to each other.

mod hosts_support;

use std::{
    env, fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use hosts_support::{Hosts, Process, can_unshare};

/// Not a test: what the processes run.
#[test]
fn agent() {
    hosts_support::agent::run();
}

/// The choice, without the link before it.
fn choice(linked: Result<String, String>) -> String {
    let linked = linked.expect("a link");
    linked.split_once(' ').expect("a link and a choice").1.to_owned()
}

#[test]
fn two_hosts_use_tcp_and_both_say_why_nothing_better() {
    if !can_unshare(&["--net"]) {
        return;
    }
    let Hosts { mut one, mut other } = Hosts::start();
    let address = one.listens("10.9.0.1:0", "auto");
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

#[test]
fn what_does_not_separate_memory_leaves_it_shared() {
    let mut one = Process::start(&[]);
    let address = one.listens("127.0.0.1:0", "auto");
    assert_eq!(choice(Process::start(&[]).connects(&address, "auto")), "shm");
    assert!(choice(Process::start(&[]).connects(&address, "tcp")).starts_with("tcp (not shm: this end"));
    for apart in [
        &["--pid", "--fork", "--kill-child", "--ipc", "--mount", "--uts"][..],
        &["--user", "--map-root-user"],
    ] {
        if can_unshare(apart) {
            for wish in ["auto", "shm"] {
                assert_eq!(choice(Process::start(apart).connects(&address, wish)), "shm", "{apart:?}");
            }
        }
    }
}

#[test]
fn another_user_shares_no_memory() {
    // Without a map this process's user is nobody there, and is told so.
    if !can_unshare(&["--user"]) {
        return;
    }
    let mut one = Process::start(&[]);
    let address = one.listens("127.0.0.1:0", "auto");
    let mut nobody = Process::start(&["--user"]);
    let chosen = choice(nobody.connects(&address, "auto"));
    assert!(chosen.starts_with("tcp (not shm: the peer runs as another user"), "{chosen}");
    let refused = nobody.connects(&address, "shm").expect_err("no memory is shared between users");
    assert!(refused.contains("another user"), "{refused}");
}

#[test]
fn another_user_that_is_called_the_same_is_found_out_at_its_socket() {
    let apart = ["--user", "--map-root-user"];
    if !nix::unistd::geteuid().is_root() || !can_unshare(&apart) {
        return;
    }
    // User 1 may not reach the build's folder.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let executable = folder.path().join("agent");
    fs::copy(env::current_exe().unwrap(), &executable).unwrap();
    let mut one = Process::start(&[]);
    let address = one.listens("127.0.0.1:0", "auto");
    let mut command = Command::new("unshare");
    command.uid(1).gid(1).current_dir("/").args(apart).arg("--").arg(executable);
    let mut impostor = Process::run(command);
    let chosen = choice(impostor.connects(&address, "auto"));
    assert!(chosen.starts_with("tcp (not shm: the peer's socket is not reached"), "{chosen}");
    let refused = impostor.connects(&address, "shm").expect_err("no memory is shared between users");
    assert!(refused.contains("socket"), "{refused}");
}
