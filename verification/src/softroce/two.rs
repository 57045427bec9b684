//! Boots two guests at once: each with one soft-RoCE device, joined by a cable, for `--two`; or apart. Called by
//! `softroce`.
//!
//! The cable is a socket of this machine. The guests tell each other that a server listens through files of a folder
//! that both see.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::errand::{Devices, Work, files};
use super::error::SoftroceError;
use super::image::Image;
use super::machine::{Boot, Card, Machine};
use super::transcript::is_told;

/// How long the first guest's emulator may take to make the socket.
const SOCKET: Duration = Duration::from_secs(20);

/// Boots both guests, each with its work, and waits for their ends.
pub(super) fn boot(
    image: &Image,
    works: [&Work; 2],
    limit: Duration,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<[Boot; 2], SoftroceError> {
    let scratch = tempfile::tempdir().map_err(SoftroceError::file(&std::env::temp_dir()))?;
    let (socket, shared) = (scratch.path().join("cable"), scratch.path().join("shared"));
    std::fs::create_dir(&shared).map_err(SoftroceError::file(&shared))?;
    let machine = |side: usize| Machine {
        image,
        errand: files(works[side], Devices::Single(side)),
        card: Some(Card { socket: socket.clone(), listens: side == 0, shared: shared.clone() }),
        limit,
    };
    at_once([machine(0), machine(1)], || wait_for(&socket), watch)
}

/// Boots two guests, the second after `between`, and waits for their ends.
pub(super) fn at_once(
    machines: [Machine<'_>; 2],
    between: impl FnOnce(),
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<[Boot; 2], SoftroceError> {
    let [first, second] = &machines;
    let (sender, lines) = channel();
    thread::scope(|scope| {
        let run = |machine, side: usize, sender: Sender<String>| {
            let boot = move |machine: &Machine<'_>| machine.boot(&mut |line| tell(&sender, side, line));
            scope.spawn(move || boot(machine))
        };
        let first = run(first, 0, sender.clone());
        between();
        let second = run(second, 1, sender);
        while let Ok(line) = lines.recv() {
            watch(Some(&line));
        }
        let end = |guest: thread::ScopedJoinHandle<'_, _>| {
            guest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let (first, second) = (end(first), end(second));
        Ok([first?, second?])
    })
}

/// Passes a line on, one for people with the guest's number; nobody misses it once the receiver is gone.
fn tell(lines: &Sender<String>, side: usize, line: Option<&str>) {
    if let Some(line) = line {
        let _ = lines.send(if is_told(line) { line.to_owned() } else { format!("{}| {line}", side + 1) });
    }
}

/// The second guest's emulator does not wait for the socket by itself.
fn wait_for(socket: &Path) {
    let deadline = Instant::now() + SOCKET;
    while !socket.exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
}
