//! A server that is killed while graphs push to it.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
    time::Duration,
};

use crate::{graphs::*, support::*};

/// A server in a process of its own, which tells its address and answers until it is killed.
#[test]
#[ignore = "started by the case below"]
fn a_server() {
    let server = server();
    let answers = Answers::new(&server, 1);
    println!("\nlistens at {}", server.local_address().unwrap());
    for _ in 0..10_000 {
        answers.launch();
    }
    thread::sleep(Duration::from_secs(60));
}

case!(a_killed_server_fails_launches_and_hangs_no_stream, [], {
    let mut command = command("af_api::killed::a_server");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut addresses =
        lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("listens at ")?.parse().ok());
    let worker = worker(addresses.next().expect("the server's address"));
    let pushing = Pushing::new(&worker, 1);
    let mut found = vec![vec![0; BYTES as usize]; 300];
    let sent: Vec<Vec<u8>> = (0..found.len()).map(content).collect();
    for (from, to) in sent.iter().zip(&mut found) {
        pushing.launch(from, to);
    }
    let launches = pushing.exchange.launches();
    wait_until("some are served", || launches.ended() >= 20);
    child.kill().unwrap();
    child.wait().unwrap();
    // As many as are left, and as many again.
    for (from, to) in sent.iter().zip(&mut found).take(100) {
        pushing.launch(from, to);
    }
    finish(&pushing.side.stream);
    assert_eq!(launches.ended(), 400);
    assert!(launches.failed() >= 100);
    // From the first on all fail; of so many the last ones are kept.
    let served = (launches.ended() - launches.failed()) as usize;
    assert!(served >= 20 && launches.wait(served as u64 + 1, None).is_err());
    let told = launches.check().unwrap_err();
    assert!(told.launch as usize > served, "{told}");
    let wrong = (100..served.min(300)).find(|round| found[*round] != exchanged(&sent[*round]));
    assert_eq!(wrong, None, "of {served} that were served");
    drop((pushing, worker));
    assert_nothing_left();
});
