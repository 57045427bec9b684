//! Asks the owner of mapped memory for its descriptors, and maps it here. Called when a handle of another process is opened.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::Arc,
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, connect, recvmsg, sendmsg, setsockopt, sockopt},
        time::TimeVal,
    },
};
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};

use super::{
    LARGEST, MappedRange, Name, Physical,
    post::{self, FOUND, GONE, HEAD, PIECES, REFUSED, REQUEST, System},
};
use crate::context::Context;

/// Seconds after which an owner that says nothing is given up: it is stopped.
const PATIENCE: i64 = 5;

const GONE_ERROR: AcceleratorError = AcceleratorError::Gone { kind: AcceleratorKind::Cuda };

impl MappedRange {
    /// Maps what another process shares. Waits for the owner's process, not for the device. Inside [`Context::enter`].
    pub(in super::super) fn open(context: &Arc<Context>, name: Name) -> Result<Self, AcceleratorError> {
        let socket = reach(name)?;
        let mut pieces: Vec<(Physical, u64)> = Vec::new();
        loop {
            let reply = ask(&socket, name.number, pieces.len())?;
            if reply.pieces.is_empty() {
                return Err(GONE_ERROR);
            }
            for (length, descriptor) in reply.pieces {
                pieces.push((Physical::import(context, &descriptor)?, length));
            }
            if pieces.len() >= reply.count {
                break;
            }
        }
        let total = pieces.iter().try_fold(0_u64, |total, (_, length)| total.checked_add(*length));
        total.filter(|total| (1..=LARGEST).contains(total)).ok_or(GONE_ERROR)?;
        Self::over(context, &pieces)
    }
}

/// A connection to the owner, if it is there and of this user.
fn reach(name: Name) -> Result<OwnedFd, AcceleratorError> {
    let failed = |call| move |error| System { call, error }.error();
    let socket = post::unconnected().map_err(failed("socket"))?;
    let patience = TimeVal::new(PATIENCE, 0);
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience).map_err(failed("setsockopt"))?;
    setsockopt(&socket, sockopt::SendTimeout, &patience).map_err(failed("setsockopt"))?;
    let address = post::address(&name.socket).map_err(failed("connect"))?;
    match connect(socket.as_raw_fd(), &address) {
        // Any user may take the name of a process that has ended.
        Ok(()) if post::is_own(&socket) => Ok(socket),
        Ok(()) | Err(Errno::ECONNREFUSED) => Err(GONE_ERROR),
        Err(error) => Err(failed("connect")(error)),
    }
}

/// Some pieces, and how many there are of all.
struct Reply {
    count: usize,
    pieces: Vec<(u64, OwnedFd)>,
}

fn ask(socket: &OwnedFd, number: u64, first: usize) -> Result<Reply, AcceleratorError> {
    let mut request = [0; REQUEST];
    request[..8].copy_from_slice(&number.to_le_bytes());
    request[8..].copy_from_slice(&(first as u32).to_le_bytes());
    match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&request)], &[], MsgFlags::MSG_NOSIGNAL, None) {
        Ok(_) => {}
        Err(Errno::EPIPE | Errno::ECONNRESET) => return Err(GONE_ERROR),
        Err(error) => return Err(System { call: "sendmsg", error }.error()),
    }
    let (frame, descriptors) = receive(socket)?;
    let head = frame.first_chunk::<HEAD>().ok_or(GONE_ERROR)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    match head[0] {
        FOUND => {}
        REFUSED => {
            let (function, code) = ("cuMemExportToShareableHandle", i64::from(word(1)));
            let name = "refused in the process that owns the memory".to_owned();
            return Err(AcceleratorError::Runtime { kind: AcceleratorKind::Cuda, function, code, name });
        }
        GONE.. => return Err(GONE_ERROR),
    }
    let (lengths, rest) = frame[HEAD..].as_chunks::<8>();
    if !rest.is_empty() || lengths.len() != descriptors.len() {
        return Err(GONE_ERROR);
    }
    let lengths = lengths.iter().map(|length| u64::from_le_bytes(*length));
    Ok(Reply { count: word(5) as usize, pieces: lengths.zip(descriptors).collect() })
}

/// One packet and what came with it.
fn receive(socket: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), AcceleratorError> {
    let mut frame = vec![0; HEAD + 8 * PIECES];
    let mut control = cmsg_space!([RawFd; PIECES]);
    let mut parts = [IoSliceMut::new(&mut frame)];
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Err(GONE_ERROR),
            Err(error) => return Err(System { call: "recvmsg", error }.error()),
        }
    };
    let mut descriptors = Vec::new();
    for part in message.cmsgs().map_err(|error| System { call: "recvmsg", error }.error())? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel made these descriptors for this call; nobody else knows them.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    let (length, cut) = (message.bytes, message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC));
    if cut {
        // This process has no descriptors left.
        return Err(System { call: "recvmsg", error: Errno::EMFILE }.error());
    }
    frame.truncate(length);
    Ok((frame, descriptors))
}
