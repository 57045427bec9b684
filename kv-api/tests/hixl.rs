//! HIXL between processes: the two examples, a peer that is killed, one that is stopped, one that restarts.
#![allow(unsafe_code)] // hands out addresses

use std::{
    collections::BTreeMap,
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use kv_api::hixl::{
    Hixl, HixlError, MemDesc, MemType, NotifyDesc, OPTION_BUFFER_POOL, STAGE_FOR_VARIABLE, Status,
    TransferArgs, TransferOp, TransferOpDesc, TransferStatus,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longest that any step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An example that runs; killed at the end of the test.
struct Example(Child);

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_with(name, arguments, &[])
    }

    /// Cargo builds examples before it runs tests.
    fn start_with(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let own = env::current_exe().expect("this test's path");
        let path: PathBuf = own.ancestors().nth(2).expect("a target folder").join("examples").join(name);
        assert!(path.exists(), "{} is not there: run `cargo build -p kv-api --examples`", path.display());
        let mut command = Command::new(path);
        command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn();
        Self(child.expect("started"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().expect("a pid")), signal).expect("sent");
    }

    /// Stops it: when this returns, none of its threads runs.
    fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.0.id());
        within(|| {
            let mut tasks = fs::read_dir(&tasks).expect("it runs").flatten();
            tasks
                .all(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| is_stopped(&stat)))
                .then_some(())
        });
    }

    fn succeeds(mut self) {
        let status = within(|| self.0.try_wait().expect("asked"));
        assert!(status.success(), "{status}");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the kernel says of a thread: its state comes after its name, which is in brackets.
fn is_stopped(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Asks until there is an answer.
fn within<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "nothing happened within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Two names of servers.
fn names() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").to_string())
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("a path of letters").to_owned()
}

/// The example's server: an integer of value 1, staging on.
fn server(name: &str, folder: &Path) -> (Example, u64) {
    let file = path(folder, name);
    let example = Example::start("hixl_client_server_h2d", &["server", name, &file]);
    let address = within(|| fs::read_to_string(&file).ok()?.parse().ok());
    (example, address)
}

fn client(remote: &str, options: &[(&str, &str)]) -> Hixl {
    let options: BTreeMap<String, String> =
        options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let engine = Hixl::new();
    engine.initialize("127.0.0.1", &options).expect("initialised");
    engine.connect(remote, PATIENCE).expect("connected");
    engine
}

/// An integer of this process; transfers write it through its address.
fn value() -> (Box<[u8; 4]>, u64) {
    let mut value = Box::new([0_u8; 4]);
    let address = value.as_mut_ptr() as u64;
    (value, address)
}

fn read(
    engine: &Hixl,
    remote: &str,
    local_addr: u64,
    remote_addr: u64,
    timeout: Duration,
) -> Result<(), HixlError> {
    let piece = TransferOpDesc { local_addr, remote_addr, len: 4 };
    // SAFETY: the tests do not look at their memory while a transfer runs.
    unsafe { engine.transfer_sync(remote, TransferOp::Read, &[piece], timeout) }
}

#[test]
fn client_server_h2d() {
    let folder = tempfile::tempdir().expect("a folder");
    let [name, _] = names();
    let file = path(folder.path(), "address");
    let server = Example::start("hixl_client_server_h2d", &["server", &name, &file]);
    let client = Example::start("hixl_client_server_h2d", &["client", "127.0.0.1", &name, &file]);
    client.succeeds();
    server.succeeds();
}

#[test]
fn server_server_d2d() {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, other] = names();
    let shared = folder.path().to_str().expect("a path of letters");
    let examples = [[&one, &other], [&other, &one]]
        .map(|[local, remote]| Example::start("hixl_server_server_d2d", &[local, remote, shared]));
    examples.into_iter().for_each(Example::succeeds);
}

/// Registered memory is reached as ever, other memory for nobody.
#[test]
fn a_peer_that_stages_for_nobody_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let [name, _] = names();
    let file = path(folder.path(), &name);
    let variables = [(STAGE_FOR_VARIABLE, "none")];
    let _example = Example::start_with("hixl_client_server_h2d", &["server", &name, &file], &variables);
    let address: u64 = within(|| fs::read_to_string(&file).ok()?.parse().ok());
    let engine = client(&name, &[]);
    let (value, local) = value();
    read(&engine, &name, local, address, PATIENCE).expect("read");
    let error = read(&engine, &name, local, (address & !15) + 16, PATIENCE).expect_err("refused");
    assert_eq!(error.status(), Status::Unsupported, "{error}");
    engine.finalize();
    assert_eq!(*std::hint::black_box(value), 1_i32.to_ne_bytes());
}

#[test]
fn a_peer_that_is_killed_is_noticed_and_its_successor_reached() {
    let folder = tempfile::tempdir().expect("a folder");
    let [name, _] = names();
    let (example, address) = server(&name, folder.path());
    let engine = client(&name, &[(OPTION_BUFFER_POOL, "1:1")]);
    let (value, local) = value();
    read(&engine, &name, local, address, PATIENCE).expect("read");
    example.signal(Signal::SIGKILL);
    drop(example);
    within(|| match read(&engine, &name, local, address, PATIENCE).expect_err("nobody is there").status() {
        Status::NotConnected => Some(()),
        // Before its end was heard of.
        early => {
            assert_eq!(early, Status::Failed);
            None
        }
    });
    let notification = NotifyDesc::new("a", "b");
    assert_eq!(
        engine.send_notify(&name, &notification, PATIENCE).expect_err("gone").status(),
        Status::NotConnected
    );
    fs::remove_file(folder.path().join(&name)).expect("removed");
    let (_example, address) = server(&name, folder.path());
    engine.connect(&name, PATIENCE).expect("connected to its successor");
    read(&engine, &name, local, address, PATIENCE).expect("read");
    engine.finalize();
    assert_eq!(*std::hint::black_box(value), 1_i32.to_ne_bytes());
}

/// A peer that is stopped does not answer: what needs its help is over in time, and nothing comes later.
#[test]
fn a_peer_that_is_stopped_is_a_time_out_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [name, _] = names();
    let (example, address) = server(&name, folder.path());
    let engine = client(&name, &[(OPTION_BUFFER_POOL, "1:1")]);
    let (value, local) = value();
    // Next to its integer nothing is registered, so the peer has to help.
    let beside = (address & !15) + 16;
    read(&engine, &name, local, beside, PATIENCE).expect("staged");
    example.stop();
    let short = Duration::from_millis(100);
    for _ in 0..3 {
        let error = read(&engine, &name, local, beside, short).expect_err("it is stopped");
        assert_eq!(error.status(), Status::Timeout, "{error}");
    }
    let notification = NotifyDesc::new("value", "seen");
    assert_eq!(
        engine.send_notify(&name, &notification, short).expect_err("stopped").status(),
        Status::Timeout
    );
    let piece = TransferOpDesc { local_addr: local, remote_addr: beside, len: 4 };
    let args = TransferArgs { user_data: 0, timeout_in_millis: 100 };
    // SAFETY: as in `read`.
    let req = unsafe { engine.transfer_async(&name, TransferOp::Read, &[piece], args) }.expect("begun");
    let end = within(|| {
        Some(engine.transfer_status(req).expect("known")).filter(|end| *end != TransferStatus::Waiting)
    });
    assert_eq!(end, TransferStatus::Timeout);
    example.signal(Signal::SIGCONT);
    // The one buffer comes back when the peer has answered.
    within(|| read(&engine, &name, local, beside, PATIENCE).ok());
    read(&engine, &name, local, address, PATIENCE).expect("read");
    engine.finalize();
    assert_eq!(*std::hint::black_box(value), 1_i32.to_ne_bytes());
}

#[test]
fn a_peer_that_is_killed_while_it_stages_fails_the_transfer_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let [name, other] = names();
    let (example, address) = server(&name, folder.path());
    let (_second, second_address) = server(&other, folder.path());
    let engine = client(&name, &[(OPTION_BUFFER_POOL, "1:1")]);
    engine.connect(&other, PATIENCE).expect("connected");
    let (value, local) = value();
    let beside = |address: u64| (address & !15) + 16;
    example.stop();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| read(&engine, &name, local, beside(address), PATIENCE));
        thread::sleep(Duration::from_millis(50));
        example.signal(Signal::SIGKILL);
        let error = waiting.join().expect("no panic").expect_err("it was killed");
        assert_eq!(error.status(), Status::NotConnected, "{error}");
    });
    // Its buffer serves others again.
    read(&engine, &other, local, beside(second_address), PATIENCE).expect("staged");
    engine.finalize();
    drop(std::hint::black_box(value));
}

/// Nothing grows: threads, descriptors, memory.
#[test]
fn a_soak_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let [name, _] = names();
    let (_example, address) = server(&name, folder.path());
    let engine = client(&name, &[(OPTION_BUFFER_POOL, "2:1")]);
    let (value, local) = value();
    let beside = (address & !15) + 16;
    let round = || {
        for _ in 0..200 {
            read(&engine, &name, local, address, PATIENCE).expect("read");
        }
        for _ in 0..20 {
            read(&engine, &name, local, beside, PATIENCE).expect("staged");
        }
        // SAFETY: as in `read`.
        let handle = unsafe { engine.register_mem(MemDesc { addr: local, len: 4 }, MemType::Host) };
        engine.deregister_mem(handle.expect("registered")).expect("deregistered");
        engine.disconnect(&name, PATIENCE).expect("disconnected");
        engine.connect(&name, PATIENCE).expect("connected");
    };
    (0..5).for_each(|_| round());
    let before = usage();
    (0..40).for_each(|_| round());
    // What the last link left may take a moment to go.
    within(|| (usage() <= before).then_some(()));
    engine.finalize();
    drop(std::hint::black_box(value));
}

/// Descriptors and mappings of this process.
fn usage() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").expect("listed").count();
    let mappings = fs::read_to_string("/proc/self/maps").expect("read");
    (descriptors, mappings.lines().filter(|line| line.contains("memfd")).count())
}
