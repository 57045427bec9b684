//! The other process: holds the cache that is read from or written into, clears and hashes it when asked.
#![allow(unsafe_code)] // borrows the cache between transfers

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use clap::Args;
use kv_api::engine::{Application, Engine};
use pmd_host::{control::Refusal, endpoint::Peer};

use super::{
    Shape, content,
    protocol::{Ask, PEER_CACHE, PeerSays, Progress, Task, encode},
};
use crate::{Outcome, child, memory::OwnedCache, options::Common};

/// `kv role bench-peer`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    common: Common,
}

/// What the main thread is to do.
enum Job {
    Task(Task),
    Stop,
}

/// Answers on the control thread, which must not be kept: tasks are the main thread's.
struct Desk {
    jobs: Mutex<mpsc::Sender<Job>>,
    progress: Arc<Mutex<Progress>>,
}

impl Application for Desk {
    fn request(&self, _: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let refuse = |detail: &str| Refusal { code: 1, detail: detail.into() };
        match postcard::from_bytes(body).map_err(|_| refuse("not a request of the benchmark"))? {
            Ask::Progress => Ok(encode(&*self.progress.lock().unwrap_or_else(PoisonError::into_inner))),
            Ask::Begin(task) => {
                set(&self.progress, Progress::Busy);
                let taken = self.jobs.lock().is_ok_and(|jobs| jobs.send(Job::Task(task)).is_ok());
                if taken { Ok(Vec::new()) } else { Err(refuse("the benchmark's peer is ending")) }
            }
        }
    }
}

/// Runs the peer until its parent lets go.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let (jobs, todo) = mpsc::channel();
    let stop = jobs.clone();
    child::watch_lifeline(move || {
        // Fails only when the main thread has ended already.
        let _ = stop.send(Job::Stop);
    });
    let progress = Arc::new(Mutex::new(Progress::Cleared));
    let desk = Desk { jobs: Mutex::new(jobs), progress: Arc::clone(&progress) };
    let engine = Engine::open_with(arguments.common.endpoint("bench-peer", true), Some(Box::new(desk)))?;
    let shape = &arguments.shape;
    let mut owned = OwnedCache::new(&engine, PEER_CACHE, shape.layout()?, shape.memory)?;
    // SAFETY: no peer has been told the address yet.
    content::fill(unsafe { owned.bytes_mut() }, shape.block_size as usize);
    if let Some(address) = engine.local_address() {
        child::say(&PeerSays { address });
    }
    for job in todo {
        match job {
            Job::Task(task) => set(&progress, carry_out(task, &mut owned)),
            Job::Stop => break,
        }
    }
    Ok(())
}

fn carry_out(task: Task, owned: &mut OwnedCache) -> Progress {
    match task {
        Task::Clear => {
            // SAFETY: the other side asks between its transfers and waits for the answer before the next.
            unsafe { owned.bytes_mut() }.fill(content::NOTHING);
            Progress::Cleared
        }
        // SAFETY: as above.
        Task::Digest => Progress::Digest(*blake3::hash(unsafe { owned.bytes() }).as_bytes()),
    }
}

fn set(progress: &Mutex<Progress>, to: Progress) {
    *progress.lock().unwrap_or_else(PoisonError::into_inner) = to;
}
