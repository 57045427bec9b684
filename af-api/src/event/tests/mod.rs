//! Tests of events, with streams that are threads.

mod cpu;
mod gate;

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use super::cpu::KernelFault;

/// No wait in these tests takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// A kernel that runs until it is told how to end.
fn held_kernel()
-> (Sender<Result<(), KernelFault>>, impl FnOnce() -> Result<(), KernelFault> + Send + 'static) {
    let (end, ended): (_, Receiver<Result<(), KernelFault>>) = channel();
    (end, move || ended.recv_timeout(PATIENCE).unwrap_or(Err(KernelFault { code: -1 })))
}
