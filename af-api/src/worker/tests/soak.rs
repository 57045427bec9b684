//! Many push-pulls: nothing is lost and nothing grows. The long one is run by hand.

use super::support::*;
use crate::{server::Request, tensor::Tensor, worker::PushPull};

/// Kilobytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn soak(rounds: u64) -> (u64, u64) {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let answers: Vec<Tensor> = (0..4).map(|fill| theirs(&server, 4096, fill)).collect();
    let mut turn = 0;
    let answer = move |request: Request| {
        request.respond(&answers[turn % 4..=turn % 4]).unwrap();
        turn += 1;
    };
    let _serving = server.serve(answer).unwrap();
    let (push, pull) = (ours(&worker, 2048, 1), ours(&worker, 4096, 0));
    let request = PushPull::new().push(1, &push).pull(2, &pull);
    let mut early = 0;
    for round in 0..rounds {
        let handle = worker.push_pull(&request, soon()).unwrap();
        handle.wait(soon()).unwrap();
        if round % 64 == 0 {
            assert!(is_filled(&pull, (round % 4) as u8), "round {round}");
        }
        if round == rounds / 10 {
            early = resident();
        }
    }
    (early, resident())
}

#[test]
fn ten_thousand_push_pulls_leave_nothing_behind() {
    let (early, late) = soak(10_000);
    assert!(late <= early + 4096, "{early} kB after a tenth, {late} kB at the end");
}

#[test]
#[ignore = "minutes; run by hand"]
fn a_million_push_pulls_leave_nothing_behind() {
    let (early, late) = soak(1_000_000);
    println!("resident: {early} kB after 100,000, {late} kB after 1,000,000");
    assert!(late <= early + 4096);
}
