//! Key-values between processes: a worker here, servers that are this test's own binary started again.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use af_api::{
    server::{Server, ServerConfig},
    simple::{KvError, KvPairs, KvServer, KvWorker},
    wire::NodeIdentity,
    worker::{FailureCause, PushPullError, Worker, WorkerConfig},
};

/// No wait in these tests takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Holds the rank of a server's process.
const RANK: &str = "PMD_AF_TEST_SIMPLE_RANK";

/// A server's process; it ends with the test.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(rank: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "serve", "--nocapture"])
            .env(RANK, rank.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines.find_map(|line| {
            let line = line.unwrap();
            line.split_once("listens at ").map(|(_, address)| address.to_owned())
        });
        Self { child, address: found.expect("the server tells its address") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "started by the other tests, as a process"]
fn serve() {
    let Ok(rank) = std::env::var(RANK) else { return };
    let identity = NodeIdentity { rank: rank.parse().unwrap(), ..NodeIdentity::default() };
    let server = Server::open(ServerConfig { identity, ..ServerConfig::default() }).unwrap();
    let address = server.local_address().unwrap();
    let _serving = KvServer::sum::<f32>(server).unwrap();
    println!("\nlistens at {address}");
    // Until the test closes its end, or is gone.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn sums_are_kept_in_other_processes_and_one_that_is_killed_fails_its_keys_only() {
    let mut servers = [0, 1].map(Process::start);
    let worker = Worker::open(WorkerConfig::default()).unwrap();
    for (rank, server) in (0..).zip(&servers) {
        worker.connect(rank, server.address.parse().unwrap()).unwrap();
    }
    let worker = KvWorker::<f32>::new(worker, 2).unwrap();
    let (low, high) = (1, u64::MAX - 1);
    let values: Vec<f32> = (0..30_000).map(|n| n as f32).collect();
    let pairs = KvPairs::variable(vec![low, high], values, vec![10_000, 20_000]).unwrap();
    for _ in 0..3 {
        worker.wait(worker.push(&pairs, 0, None).unwrap(), PATIENCE).unwrap();
    }
    let pulled = worker.wait(worker.pull(&[low, high], 20_000, 0, None).unwrap(), PATIENCE).unwrap();
    assert_eq!(pulled.lengths, pairs.lengths);
    assert!(pulled.values.iter().zip(&pairs.values).all(|(sum, value)| *sum == 3.0 * value));

    servers[1].child.kill().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Until it is noticed a request is taken, and fails.
        let outcome = worker.pull(&[high], 1, 0, None).and_then(|pull| worker.wait(pull, PATIENCE));
        match outcome {
            Err(KvError::Post(PushPullError::ServerDown { server: 1, .. })) => break,
            Err(KvError::Failed(failure)) if matches!(failure.cause, FailureCause::Down(_)) => {}
            other => panic!("{other:?}"),
        }
        assert!(Instant::now() < deadline);
    }
    let pulled = worker.wait(worker.pull(&[low], 10_000, 0, None).unwrap(), PATIENCE).unwrap();
    assert_eq!(pulled.values[9999], 3.0 * 9999.0);
}
