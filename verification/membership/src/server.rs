//! etcd on loopback, which a case may kill, start again, and rob of its data.

use std::{
    fs::File,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use pmd_etcd::{Etcd, EtcdUrl, Options};
use pmd_host::metadata::Metadata;
use tempfile::TempDir;

use crate::cases::{LEASE, PATIENCE};

/// One member of etcd, which is all of it. Killed when it is dropped.
pub(crate) struct Server {
    folder: TempDir,
    ports: [u16; 2],
    running: Option<Child>,
}

impl Server {
    /// Starts etcd, and waits until it answers.
    pub(crate) fn start() -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a port"));
        let ports = listeners.map(|listener| listener.local_addr().expect("its address").port());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self { folder, ports, running: None };
        server.start_again();
        server
    }

    pub(crate) fn url(&self) -> EtcdUrl {
        format!("etcd://127.0.0.1:{}/cases", self.ports[0]).parse().expect("a URL")
    }

    /// A directory in it, with the shortest lease.
    pub(crate) fn directory(&self) -> Etcd {
        let options = Options { lease: LEASE, ..Options::default() };
        Etcd::open(self.url(), options).expect("a thread")
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().expect("a child");
            running.wait().expect("a child");
        }
    }

    /// Takes its data away, as an administrator would who starts anew.
    pub(crate) fn empty(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.data()).expect("its data");
    }

    /// Starts it at the same ports, with the data that there is, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let asking = Etcd::open(self.url(), Options::default()).expect("a thread");
        loop {
            let mut running = self.running.take().unwrap_or_else(|| self.spawn());
            // Somebody else may have a port for a moment.
            self.running = running.try_wait().expect("a child").is_none().then_some(running);
            if self.running.is_some() && asking.find("nothing").is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "etcd does not answer: {}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn spawn(&self) -> Child {
        let [client, peer] = self.ports.map(|port| format!("http://127.0.0.1:{port}"));
        let log = File::create(self.log()).expect("a file");
        Command::new("etcd")
            .args(["--name", "one", "--log-level", "warn"])
            .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .arg("--data-dir")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd is installed")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
