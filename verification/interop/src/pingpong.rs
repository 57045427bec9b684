//! `pmd pingpong` against Debian's ibv_rc_pingpong, each as client and as server, and against itself.
//!
//! Data is checked by `pmd` every turn, and by ibv_rc_pingpong's server at the end where it has `-c`.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::{
    harness::Harness,
    process::{Ended, Process, free_port, wait_for_listener},
};

/// Where things are.
#[derive(Clone, Debug)]
pub struct PingpongOptions {
    /// The built `pmd`.
    pub pmd: String,
    /// `mlx5` or `verbs`.
    pub transport: String,
    /// The device that `pmd` drives.
    pub device: String,
    /// The device at the other end.
    pub peer_device: String,
    /// GID index of the other end; `None` goes by LID.
    pub peer_gid_index: Option<u32>,
}

/// One game.
#[derive(Clone, Copy, Debug)]
struct Game {
    name: &'static str,
    size: u32,
    turns: u32,
    /// Options of both.
    both: &'static [&'static str],
    /// Further options of ibv_rc_pingpong.
    theirs: &'static [&'static str],
}

const GAMES: [Game; 8] = [
    Game { name: "defaults", size: 4096, turns: 300, both: &[], theirs: &[] },
    Game { name: "check", size: 4096, turns: 300, both: &["-c"], theirs: &[] },
    Game { name: "events", size: 4096, turns: 200, both: &["-e"], theirs: &[] },
    Game { name: "events_check", size: 16_384, turns: 100, both: &["-e", "-c"], theirs: &[] },
    Game { name: "tiny", size: 1, turns: 300, both: &["-c"], theirs: &[] },
    Game { name: "large", size: 1 << 20, turns: 10, both: &["-c"], theirs: &[] },
    Game { name: "few_receives", size: 100, turns: 300, both: &["-r", "4"], theirs: &[] },
    Game { name: "new_send", size: 5000, turns: 200, both: &["-c", "-m", "256"], theirs: &["-N"] },
];

/// Runs all games of a transport.
pub fn check(harness: &mut Harness, options: &PingpongOptions) {
    let transport = &options.transport;
    for game in GAMES {
        let name = |role: &str| format!("pingpong::{transport}::{role}_{}", game.name);
        harness.check(&name("client"), || our_client(options, &game));
        harness.check(&name("server"), || our_server(options, &game));
    }
    harness.check(&format!("pingpong::{transport}::against_itself"), || against_itself(options));
    harness.check(&format!("pingpong::{transport}::a_client_whose_server_dies"), || dying_server(options));
    harness.check(&format!("pingpong::{transport}::a_server_whose_client_dies"), || dying_client(options));
    harness.check(&format!("pingpong::{transport}::sizes_that_differ"), || sizes_that_differ(options));
}

fn our_client(options: &PingpongOptions, game: &Game) {
    let port = free_port();
    let theirs = debian(options, game, port, None);
    wait_for_listener(port);
    let ours = pmd(options, game, port, Some("127.0.0.1"));
    verified(ours.finish(), game);
    accepted(theirs.finish(), game);
}

fn our_server(options: &PingpongOptions, game: &Game) {
    let port = free_port();
    let ours = pmd(options, game, port, None);
    wait_for_listener(port);
    let theirs = debian(options, game, port, Some("127.0.0.1"));
    verified(ours.finish(), game);
    accepted(theirs.finish(), game);
}

fn against_itself(options: &PingpongOptions) {
    let game = Game { size: 10_000, ..GAMES[0] };
    let port = free_port();
    let server = pmd(options, &game, port, None);
    wait_for_listener(port);
    let client = pmd(options, &game, port, Some("127.0.0.1"));
    verified(client.finish(), &game);
    verified(server.finish(), &game);
}

/// More turns than are played before the other side is killed.
const ENDLESS: Game = Game { name: "endless", size: 64, turns: 100_000_000, both: &[], theirs: &[] };
/// Into the game, but not to its end.
const A_WHILE: Duration = Duration::from_millis(300);

/// Waits until our side has the other one's address, and lets them play a little.
fn play_a_while(ours: &mut Process) {
    while !ours.line().starts_with("remote address") {}
    thread::sleep(A_WHILE);
}

fn dying_server(options: &PingpongOptions) {
    let port = free_port();
    let mut theirs = debian(options, &ENDLESS, port, None);
    wait_for_listener(port);
    let mut ours = pmd(options, &ENDLESS, port, Some("127.0.0.1"));
    play_a_while(&mut ours);
    theirs.kill();
    gave_up(&ours.finish());
}

fn dying_client(options: &PingpongOptions) {
    let port = free_port();
    let mut ours = pmd(options, &ENDLESS, port, None);
    wait_for_listener(port);
    let mut theirs = debian(options, &ENDLESS, port, Some("127.0.0.1"));
    play_a_while(&mut ours);
    theirs.kill();
    gave_up(&ours.finish());
}

/// Our side says what is wrong.
fn sizes_that_differ(options: &PingpongOptions) {
    let port = free_port();
    let ours = pmd(options, &Game { size: 300, ..GAMES[0] }, port, None);
    wait_for_listener(port);
    let mut theirs = debian(options, &Game { size: 200, ..GAMES[0] }, port, Some("127.0.0.1"));
    let ended = ours.finish();
    theirs.kill();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.errors.contains("200 bytes and should have 300"), "{ended:?}");
}

/// Our side ended by itself, with an error that says that the peer is gone.
fn gave_up(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said =
        ended.errors.contains("the peer is stuck or gone") || ended.errors.contains("work request failed");
    assert!(said, "{ended:?}");
}

/// Our side played every turn and verified it.
fn verified(ended: Ended, game: &Game) {
    assert!(ended.status.success(), "{ended:?}");
    let last = ended.output.last().expect("a report");
    let report: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}"));
    assert_eq!(report["verified"], true, "{report}");
    assert_eq!((&report["iters"], &report["size"]), (&game.turns.into(), &game.size.into()), "{report}");
}

/// ibv_rc_pingpong played every turn, and found nothing wrong.
fn accepted(ended: Ended, game: &Game) {
    assert!(ended.status.success(), "{ended:?}");
    let text = ended.text();
    assert!(text.contains(&format!("{} iters in", game.turns)), "{ended:?}");
    assert!(!text.contains("invalid data"), "{ended:?}");
}

fn pmd(options: &PingpongOptions, game: &Game, port: u16, host: Option<&str>) -> Process {
    let (port, size, turns) = (port.to_string(), game.size.to_string(), game.turns.to_string());
    let mut arguments = vec!["pingpong", "--json", "--transport", &options.transport, "-d", &options.device];
    arguments.extend(["-p", &port, "-s", &size, "-n", &turns, "--patience", "5"]);
    arguments.extend(game.both);
    arguments.extend(host);
    Process::start(&options.pmd, &arguments)
}

fn debian(options: &PingpongOptions, game: &Game, port: u16, host: Option<&str>) -> Process {
    let (port, size, turns) = (port.to_string(), game.size.to_string(), game.turns.to_string());
    let gid = options.peer_gid_index.map(|index| index.to_string());
    let mut arguments = vec!["-d", &options.peer_device, "-p", &port, "-s", &size, "-n", &turns];
    arguments.extend(gid.iter().flat_map(|index| ["-g", index.as_str()]));
    arguments.extend(game.both);
    arguments.extend(game.theirs);
    arguments.extend(host);
    Process::start("ibv_rc_pingpong", &arguments)
}
