//! HIXL between a server with an integer in device memory and a client with one in host memory: the client reads 1 from
//! the server, and writes 2 into it.
//!
//! ```text
//! hixl_client_server_h2d server 127.0.0.1:26010 /tmp/address
//! hixl_client_server_h2d client 127.0.0.1 127.0.0.1:26010 /tmp/address
//! ```
//! The server leaves its memory's address in the file. Device memory is what this process can address: ordinary memory,
//! where there is no device.
#![allow(unsafe_code)] // hands out addresses
use std::{
    cell::UnsafeCell,
    collections::BTreeMap,
    env,
    error::Error,
    fs, thread,
    time::{Duration, Instant},
};

use kv_api::hixl::{Hixl, MemDesc, MemType, NotifyDesc, TransferOp, TransferOpDesc};

type Outcome = Result<(), Box<dyn Error>>;

/// How long the other process may take for a step, on a machine that is busy as well.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["server", local, file] => server(local, file),
        ["client", local, remote, file] => client(local, remote, file),
        _ => Err("usage: server LOCAL_ENGINE FILE, or client LOCAL_ENGINE REMOTE_ENGINE FILE".into()),
    }
}

fn server(local: &str, file: &str) -> Outcome {
    let engine = Hixl::new();
    engine.initialize(local, &BTreeMap::new())?;
    let value = Value::new(1);
    // SAFETY: the value outlives the engine's use of it, which `finalize` ends.
    let handle = unsafe { engine.register_mem(value.describe(), MemType::Device)? };
    fs::write(format!("{file}.new"), value.address().to_string())?;
    fs::rename(format!("{file}.new"), file)?;
    println!("server: registered 1 at {:#x}", value.address());
    within("the client's notification", || {
        let notifications = engine.take_notifies().unwrap_or_default();
        notifications.contains(&NotifyDesc::new("value", "written")).then_some(())
    })?;
    engine.deregister_mem(handle)?;
    engine.finalize();
    println!("server: the value is {}", value.get());
    if value.get() == 2 { Ok(()) } else { Err("the value should be 2".into()) }
}

fn client(local: &str, remote: &str, file: &str) -> Outcome {
    let engine = Hixl::new();
    engine.initialize(local, &BTreeMap::new())?;
    let value = Value::new(0);
    // SAFETY: as for the server.
    let handle = unsafe { engine.register_mem(value.describe(), MemType::Host)? };
    let remote_addr = within("the server's address", || fs::read_to_string(file).ok()?.parse().ok())?;
    engine.connect(remote, PATIENCE)?;
    let whole = TransferOpDesc { local_addr: value.address(), remote_addr, len: 4 };
    // SAFETY: nobody looks at the value meanwhile.
    unsafe { engine.transfer_sync(remote, TransferOp::Read, &[whole], PATIENCE)? };
    println!("client: read {}", value.get());
    if value.get() != 1 {
        return Err("the value should be 1".into());
    }
    value.set(2);
    // SAFETY: as above.
    unsafe { engine.transfer_sync(remote, TransferOp::Write, &[whole], PATIENCE)? };
    engine.send_notify(remote, &NotifyDesc::new("value", "written"), PATIENCE)?;
    println!("client: wrote 2");
    engine.disconnect(remote, PATIENCE)?;
    engine.deregister_mem(handle)?;
    engine.finalize();
    Ok(())
}

/// An integer that transfers read and write.
struct Value(Box<UnsafeCell<i32>>);

impl Value {
    fn new(value: i32) -> Self {
        Self(Box::new(UnsafeCell::new(value)))
    }

    fn address(&self) -> u64 {
        self.0.get() as u64
    }

    fn describe(&self) -> MemDesc {
        MemDesc { addr: self.address(), len: 4 }
    }

    fn get(&self) -> i32 {
        // SAFETY: called only while no transfer runs.
        unsafe { *self.0.get() }
    }

    fn set(&self, value: i32) {
        // SAFETY: as above.
        unsafe { *self.0.get() = value }
    }
}

/// Asks until there is an answer.
fn within<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T, Box<dyn Error>> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err(format!("{what} did not come within {PATIENCE:?}").into())
}
