//! HIXL between two servers with two buffers each: the one with the smaller name writes it into the other's first
//! buffer; the other checks that, and reads the name from the first one's second buffer.
//!
//! ```text
//! hixl_server_server_d2d 127.0.0.1:26020 127.0.0.1:26021 /tmp/addresses
//! hixl_server_server_d2d 127.0.0.1:26021 127.0.0.1:26020 /tmp/addresses
//! ```
//! Each leaves the addresses of its buffers in a file of its name in the folder.
#![allow(unsafe_code)] // hands out addresses
use std::{
    cell::UnsafeCell,
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kv_api::hixl::{Hixl, MemDesc, MemType, NotifyDesc, OPTION_BUFFER_POOL, TransferOp, TransferOpDesc};

type Outcome = Result<(), Box<dyn Error>>;

/// How long the other process may take for a step, on a machine that is busy as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a buffer: the longest name.
const ROOM: usize = 30;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [local, remote, folder] = &arguments[..] else {
        return Err("usage: LOCAL_ENGINE REMOTE_ENGINE FOLDER".into());
    };
    if local.len().max(remote.len()) > ROOM {
        return Err(format!("names have at most {ROOM} bytes").into());
    }
    let engine = Hixl::new();
    // Everything is registered: no staging.
    engine.initialize(local, &BTreeMap::from([(OPTION_BUFFER_POOL.to_owned(), "0:0".to_owned())]))?;
    let buffers = [Buffer::new(), Buffer::new()];
    for buffer in &buffers {
        let memory = MemDesc { addr: buffer.address(), len: ROOM as u64 };
        // SAFETY: the buffers outlive the engine's use of them, which `finalize` ends.
        unsafe { engine.register_mem(memory, MemType::Device)? };
    }
    publish(Path::new(folder), local, &buffers)?;
    let addresses = within("the other's addresses", || look_up(Path::new(folder), remote))?;
    engine.connect(remote, PATIENCE)?;
    if local < remote {
        write(&engine, local, remote, &buffers, addresses)?;
    } else {
        read(&engine, remote, &buffers, addresses)?;
    }
    engine.disconnect(remote, PATIENCE)?;
    engine.finalize();
    Ok(())
}

/// The side with the smaller name.
fn write(engine: &Hixl, local: &str, remote: &str, buffers: &[Buffer; 2], there: [u64; 2]) -> Outcome {
    buffers.iter().for_each(|buffer| buffer.set(local));
    let piece =
        TransferOpDesc { local_addr: buffers[0].address(), remote_addr: there[0], len: local.len() as u64 };
    // SAFETY: nobody looks at the buffer meanwhile.
    unsafe { engine.transfer_sync(remote, TransferOp::Write, &[piece], PATIENCE)? };
    println!("{local}: wrote its name");
    engine.send_notify(remote, &NotifyDesc::new("name", "written"), PATIENCE)?;
    heard(engine, "read")
}

/// The other side.
fn read(engine: &Hixl, remote: &str, buffers: &[Buffer; 2], there: [u64; 2]) -> Outcome {
    heard(engine, "written")?;
    buffers[0].check(remote)?;
    let piece =
        TransferOpDesc { local_addr: buffers[1].address(), remote_addr: there[1], len: remote.len() as u64 };
    // SAFETY: nobody looks at the buffer meanwhile.
    unsafe { engine.transfer_sync(remote, TransferOp::Read, &[piece], PATIENCE)? };
    buffers[1].check(remote)?;
    println!("found {remote} written and read");
    Ok(engine.send_notify(remote, &NotifyDesc::new("name", "read"), PATIENCE)?)
}

/// Waits for the other side's notification.
fn heard(engine: &Hixl, what: &str) -> Outcome {
    within("the other's notification", || {
        let notifications = engine.take_notifies().unwrap_or_default();
        notifications.contains(&NotifyDesc::new("name", what)).then_some(())
    })
}

fn publish(folder: &Path, local: &str, buffers: &[Buffer; 2]) -> Outcome {
    let unfinished = folder.join(format!("{local}.new"));
    fs::write(&unfinished, format!("{} {}", buffers[0].address(), buffers[1].address()))?;
    Ok(fs::rename(unfinished, folder.join(local))?)
}

fn look_up(folder: &Path, remote: &str) -> Option<[u64; 2]> {
    let text = fs::read_to_string(folder.join(remote)).ok()?;
    let (first, second) = text.split_once(' ')?;
    Some([first.parse().ok()?, second.parse().ok()?])
}

/// Bytes that transfers read and write.
struct Buffer(Box<UnsafeCell<[u8; ROOM]>>);

impl Buffer {
    fn new() -> Self {
        Self(Box::new(UnsafeCell::new([0; ROOM])))
    }

    fn address(&self) -> u64 {
        self.0.get() as u64
    }

    fn set(&self, name: &str) {
        // SAFETY: called only while no transfer runs.
        let bytes = unsafe { &mut *self.0.get() };
        bytes[..name.len()].copy_from_slice(name.as_bytes());
    }

    fn check(&self, name: &str) -> Outcome {
        // SAFETY: as above.
        let found = &unsafe { *self.0.get() }[..name.len()];
        if found == name.as_bytes() {
            return Ok(());
        }
        Err(format!("{:?} instead of {name}", String::from_utf8_lossy(found)).into())
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
