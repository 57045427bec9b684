//! Connections that come and go leave no descriptor and no thread. Alone in its process, which it counts.
#![allow(unsafe_code)] // registers memory of the test

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use kv_api::kvtrans::{Config, Engine, Memory};

const PATIENCE: Duration = Duration::from_secs(60);

/// Descriptors and threads of this process.
fn open() -> (usize, usize) {
    let count = |path| fs::read_dir(path).expect("the directory").count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

fn engine() -> Engine {
    Engine::open(Config::new("lo", 2, 2, 0)).expect("an engine")
}

/// Connects a new engine, moves a message both ways, and lets it go again.
fn visit(host: &Engine) {
    let (ours, theirs) = (vec![1_u8; 10_000], vec![2_u8; 10_000]);
    let guest = engine();
    let address = host.listen_address().expect("it listens");
    let out = guest.connect(address.ip(), address.port()).expect("connected");
    let back = host.accept(PATIENCE).expect("accepted").connection;
    // SAFETY: the buffers outlive the guest and the connection, and are not looked at.
    let from = unsafe { guest.reg_kv(out, &Memory::from(&theirs[..]).host()) }.expect("registered");
    // SAFETY: as above.
    let to = unsafe { host.reg_kv(back, &Memory::from(&ours[..]).host()) }.expect("registered");
    for (sender, source, receiver, target) in [(&guest, from, host, to), (host, to, &guest, from)] {
        let receive = receiver.post_receive(target, u64::MAX, None).expect("posted");
        // SAFETY: as above; this buffer is not registered, and lives until the send is done.
        unsafe { sender.send_kv(source, Memory::from(&vec![7_u8; 5000][..])) }.expect("sent");
        assert_eq!(receive.wait().expect("received"), 5000);
    }
    drop(guest);
    host.dereg_kv(to).expect("released");
    host.disconnect(back).expect("closed");
}

#[test]
fn visitors_leave_nothing_behind() {
    let host = engine();
    for _ in 0..3 {
        visit(&host);
    }
    let settled = open();
    for _ in 0..30 {
        visit(&host);
    }
    // What the control thread still has to clear away, it clears by itself.
    let deadline = Instant::now() + PATIENCE;
    while {
        let now = open();
        now.0 > settled.0 || now.1 > settled.1
    } {
        assert!(Instant::now() < deadline, "first {settled:?}, now {:?}", open());
        thread::sleep(Duration::from_millis(5));
    }
    let counts = host.counts();
    assert_eq!((counts.connections, counts.registrations), (0, 0));
}
