//! Connecting and going away again leaves no descriptor behind. Alone in its process, because it counts them.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use pmd_host::{
    control::DownReason,
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService},
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Downs(Mutex<mpsc::Sender<DownReason>>);

impl PeerService for Downs {
    fn down(&self, _: &Peer, reason: &DownReason) {
        let _ = self.0.lock().unwrap().send(reason.clone());
    }
}

fn open(listens: bool) -> (Endpoint, mpsc::Receiver<DownReason>) {
    let listen = listens.then(|| ([127, 0, 0, 1], 0).into());
    let (sender, receiver) = mpsc::channel();
    let config = EndpointConfig { listen, ..EndpointConfig::default() };
    (Endpoint::open(config, Arc::new(Downs(Mutex::new(sender)))).unwrap(), receiver)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until there are at most `limit` descriptors; how many there are then.
fn settled(limit: usize) -> usize {
    let deadline = Instant::now() + PATIENCE;
    while descriptors() > limit && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    descriptors()
}

#[test]
fn connections_leave_no_descriptors_behind() {
    let before_all = descriptors();
    let (server, downs) = open(true);
    let cycle = || {
        let (client, _downs) = open(false);
        client.connect(server.local_address().unwrap()).unwrap();
        drop(client);
        assert_eq!(downs.recv_timeout(PATIENCE), Ok(DownReason::Goodbye));
    };
    cycle(); // Starts the server's lane.
    std::thread::sleep(Duration::from_millis(300));
    let before = descriptors();
    (0..20).for_each(|_| cycle());
    assert_eq!(settled(before), before, "20 peers came and went");
    drop(server);
    assert_eq!(settled(before_all), before_all, "the endpoint is gone");
}
