//! The other process: holds the blocks that are read or written into, clears and hashes them when told.
#![allow(unsafe_code)] // borrows the blocks between transfers

use std::ptr::NonNull;

use clap::Args;

use super::{
    Operation, Shape,
    api::{Api, Server, Setup},
    content,
    protocol::{PeerSays, Task},
};
use crate::{
    Outcome, child,
    memory::Mirror,
    options::{Common, Place},
};

/// `kv role bench-peer`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(long, value_enum)]
    api: Api,
    #[arg(long, value_enum)]
    op: Operation,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    place: Place,
}

/// Runs the peer until its parent lets go.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { api, op, shape, common, place } = *arguments;
    let mut server = api.serve(&Setup { shape, operation: op, common, place })?;
    // SAFETY: no peer has been told the address yet.
    content::fill(unsafe { bytes(server.memory()) }, shape.block_size as usize);
    server.mirror().map_or(Ok(()), Mirror::upload)?;
    child::say(&PeerSays::Ready { address: server.address() });
    for task in child::orders::<Task>() {
        carry_out(&task?, &mut *server)?;
    }
    Ok(())
}

fn carry_out(task: &Task, server: &mut dyn Server) -> Outcome {
    match task {
        Task::Clear => {
            // SAFETY: the parent tells this between its transfers and waits for the answer before the next.
            unsafe { bytes(server.memory()) }.fill(content::NOTHING);
            server.mirror().map_or(Ok(()), Mirror::upload)?;
            child::say(&PeerSays::Done);
        }
        Task::Digest => {
            // SAFETY: as above.
            server.mirror().map_or(Ok(()), |mirror| unsafe { mirror.download(0, usize::MAX) })?;
            // SAFETY: as above.
            let digest = blake3::hash(unsafe { bytes(server.memory()) });
            child::say(&PeerSays::Digest(*digest.as_bytes()));
        }
        Task::Serve(destination) => {
            child::say(&PeerSays::Done);
            server.serve(destination)?;
            child::say(&PeerSays::Done);
        }
    }
    Ok(())
}

/// # Safety
/// No transfer touches the memory while the slice lives, and there is no other slice to it.
const unsafe fn bytes<'a>(mut memory: NonNull<[u8]>) -> &'a mut [u8] {
    // SAFETY: the server's memory is there as long as the server; the caller promises the rest.
    unsafe { memory.as_mut() }
}
