//! Sends a buffer from one KVTrans engine to another. Without arguments both are in this process; in two:
//! ```text
//! kvtrans_send_recv receive [PORT]                 prints where it listens
//! kvtrans_send_recv send 127.0.0.1:PORT [BYTES]    waits until somebody listens there
//! ```
#![allow(unsafe_code)] // registers memory
use kv_api::kvtrans::{Config, Engine, Memory};
use std::{
    env,
    error::Error,
    io::Write,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Room of the receiver, and what is sent if nothing else is said.
const BYTES: usize = 64 << 20;

/// How long either waits for the other.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive"] => receive(open(0)?),
        ["receive", port] => receive(open(port.parse()?)?),
        ["send", address] => send(address.parse()?, BYTES),
        ["send", address, bytes] => send(address.parse()?, bytes.parse()?),
        [] => {
            let receiver = open(0)?;
            let address = receiver.listen_address().ok_or("the receiver does not listen")?;
            let receiving = thread::spawn(move || receive(receiver));
            send(address, BYTES)?;
            receiving.join().map_err(|_| "the receiver panicked")?
        }
        _ => Err("usage: kvtrans_send_recv [receive [PORT] | send ADDRESS [BYTES]]".into()),
    }
}

/// Two lanes of two queue pairs each, on loopback.
fn open(port: u16) -> Result<Engine> {
    let engine = Engine::open(Config::new("lo", 2, 2, port).with_environment()?)?;
    println!("listening on {}", engine.listen_address().ok_or("it does not listen")?);
    std::io::stdout().flush()?;
    Ok(engine)
}

fn pattern(index: usize) -> u8 {
    (index ^ (index >> 8) ^ (index >> 16)) as u8
}

fn receive(engine: Engine) -> Result<()> {
    let mut buffer = vec![0_u8; BYTES];
    let peer = engine.accept(PATIENCE)?;
    let memory = Memory::new(buffer.as_mut_ptr(), buffer.len()).host();
    // SAFETY: the buffer is not looked at before it is released, which is before it is freed.
    let kv = unsafe { engine.reg_kv(peer.connection, &memory) }?;
    let length = engine.recv_kv(kv, u64::MAX)? as usize;
    engine.dereg_kv(kv)?;
    let right = (0..length).all(|index| buffer[index] == pattern(index));
    println!(
        "received {length} bytes from {}, {}",
        peer.ip,
        if right { "as sent" } else { "other than sent" }
    );
    if right { Ok(()) } else { Err("what arrived differs from what was sent".into()) }
}

fn send(address: SocketAddr, bytes: usize) -> Result<()> {
    let buffer: Vec<u8> = (0..bytes).map(pattern).collect();
    let engine = open(0)?;
    let deadline = Instant::now() + PATIENCE;
    let connection = loop {
        match engine.connect(address.ip(), address.port()) {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            connected => break connected?,
        }
    };
    // SAFETY: the buffer is not changed, and outlives the engine's use of it: it is released below.
    let kv = unsafe { engine.reg_kv(connection, &Memory::from(&buffer[..]).host()) }?;
    // SAFETY: as above.
    unsafe { engine.send_kv(kv, Memory::from(&buffer[..])) }?;
    engine.dereg_kv(kv)?;
    println!("sent {bytes} bytes over {}", engine.transport(connection)?.name());
    Ok(())
}
