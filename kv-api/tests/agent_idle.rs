//! Agents that have nothing to do, in a process of their own: their threads sleep.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kv_api::agent::{Agent, AgentConfig};

const PATIENCE: Duration = Duration::from_secs(30);

/// How often each progress thread of this process went to sleep.
fn sleeps() -> Vec<u64> {
    let tasks = fs::read_dir("/proc/self/task").expect("proc is mounted");
    let mut sleeps: Vec<u64> = tasks.filter_map(|task| sleeps_of(&task.expect("an entry").path())).collect();
    sleeps.sort_unstable();
    sleeps
}

fn sleeps_of(task: &Path) -> Option<u64> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
    let ours = status.starts_with("Name:\tpmd-progress");
    line.split_whitespace().nth(1).filter(|_| ours)?.parse().ok()
}

#[test]
fn progress_threads_sleep_once_everything_is_taken() {
    let deadline = Instant::now() + PATIENCE;
    let agent = |name| Agent::open(AgentConfig::new(name)).expect("an agent");
    let (here, there) = (agent("here"), agent("there"));
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    for size in [5, 100_000] {
        here.notify("there", &vec![1; size]).expect("sent");
        assert_eq!(there.wait_notifications(deadline)[0].bytes.len(), size);
    }
    // What nobody asks about is asked for once, a little later; from then on nothing happens.
    let mut before = sleeps();
    loop {
        thread::sleep(Duration::from_millis(500));
        let after = sleeps();
        assert_eq!(after.len(), 2);
        if after == before {
            break;
        }
        assert!(Instant::now() < deadline, "they wake again and again");
        before = after;
    }
}
