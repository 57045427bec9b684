//! `af scheduler`, `af server` and `af worker` as a user starts them by hand, here on one host.

mod command_support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Output},
    sync::mpsc,
    thread,
    time::Duration,
};

use command_support::{af, complaint, last_line, start, until};

const LIMIT: Duration = Duration::from_secs(120);

const SIZES: [&str; 8] = ["--workers", "2", "--servers", "1", "--rows", "16", "--columns", "256"];

/// A process that is killed at the end of the test, if it has not ended.
struct Started(Option<Child>);

impl Started {
    fn new(arguments: &[&str]) -> Self {
        Self(Some(start(arguments)))
    }

    /// A scheduler, where it listens, and a wait until it says that everybody is there.
    fn scheduler() -> (Self, String, impl FnOnce()) {
        let arguments = ["scheduler", "--listen", "127.0.0.1:0", "--workers", "2", "--servers", "1"];
        let mut child = start(&arguments);
        let (sender, receiver) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let line = receiver.recv_timeout(LIMIT).expect("it says where it listens");
        let address = line.strip_prefix("listening on ").expect(&line).to_owned();
        let formed = move || assert_eq!(receiver.recv_timeout(LIMIT).unwrap(), "everybody is here");
        (Self(Some(child)), address, formed)
    }

    fn member(role: &str, scheduler: &str, rank: &str, more: &[&str]) -> Self {
        let place = [role, "--scheduler", scheduler, "--rank", rank];
        Self::new(&[&place, &SIZES[..], more].concat())
    }

    fn has_ended(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    fn end(mut self) -> Output {
        until("a process's end", || self.has_ended());
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    fn kill(&mut self) {
        self.0.as_mut().unwrap().kill().unwrap();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail only for one that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_demo_is_put_together_by_hand_and_everybody_goes_home() {
    let (scheduler, address, formed) = Started::scheduler();
    let tcp = ["--layers", "5", "--transport", "tcp", "--idle", "park"];
    let server = Started::member("server", &address, "0", &[&tcp[..], &["--listen", "127.0.0.1:0"]].concat());
    let table = Started::member("worker", &address, "1", &tcp);
    let json = Started::member("worker", &address, "0", &[&tcp[..], &["--json"]].concat()).end();
    assert_eq!(json.status.code(), Some(0), "{}", complaint(&json));
    let summary = last_line(&json);
    assert_eq!((&summary["verified"], &summary["transport"]), (&true.into(), &"tcp".into()));
    assert_eq!(summary["rows_of_workers"][0]["compared"].as_u64(), Some(5 * 3 * 16 * 256));
    let table = table.end();
    assert_eq!(table.status.code(), Some(0), "{}", complaint(&table));
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(text.lines().any(|line| line.starts_with("worker 1 ") && line.ends_with("yes")), "{text}");
    formed();
    for rest in [server, scheduler] {
        let ended = rest.end();
        assert_eq!(ended.status.code(), Some(0), "{}", complaint(&ended));
    }
}

/// So many layers take long.
#[test]
fn a_worker_that_is_killed_is_told_by_all_the_others() {
    let (scheduler, address, formed) = Started::scheduler();
    let long = ["--layers", "1000", "--transport", "shm", "--idle", "park"];
    let server = Started::member("server", &address, "0", &long);
    let mut killed = Started::member("worker", &address, "0", &long);
    let other = Started::member("worker", &address, "1", &long);
    formed();
    killed.kill();
    for (process, word) in [(scheduler, "worker 0"), (server, ""), (other, "")] {
        let ended = process.end();
        assert_eq!(ended.status.code(), Some(1), "{}", complaint(&ended));
        assert!(complaint(&ended).starts_with("af: ") && complaint(&ended).contains(word));
    }
}

#[test]
fn nobody_at_the_schedulers_address_is_wrong_and_told() {
    let output = af(&["worker", "--scheduler", "somewhere", "--rank", "0"]);
    assert_eq!(output.status.code(), Some(2), "{}", complaint(&output));
}
