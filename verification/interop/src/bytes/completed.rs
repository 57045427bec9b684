//! A completion of ours beside one of libmlx5's: which fields mean the same.
//!
//! | ours | ibv_wc | compared |
//! |---|---|---|
//! | `id`, `queue_pair` | `wr_id`, `qp_num` | always |
//! | `result` | `status`, `opcode` | status always; libmlx5 tells no opcode of a failed request |
//! | `CompletionError::vendor` | `vendor_err` | failed requests |
//! | `byte_length` | `byte_len` | receives, reads, atomics: libmlx5 leaves the field of others alone |
//! | `immediate` | `imm_data` with `IBV_WC_WITH_IMM` | receives: libmlx5 sets the flag at the sender too |
//!
//! Source queue pair, LID, service level and the invalidated key are not offered by our driver.

use pmd_core::{
    provider::{Completion, CompletionKind},
    wire::Syndrome,
};
use pmd_sys::verbs::*;

use super::theirs::Completed;

/// Compares; the name of the first field that differs.
pub(super) fn compare(ours: &Completion, theirs: &Completed) -> Result<(), &'static str> {
    same("wr_id", ours.id, theirs.id)?;
    same("qp_num", ours.queue_pair.0, theirs.queue_pair)?;
    let kind = match ours.result {
        Err(error) => {
            same("status", status(error.syndrome), theirs.status)?;
            same("vendor_err", u32::from(error.vendor), theirs.vendor)?;
            return same("byte_len", 0, ours.byte_length);
        }
        Ok(kind) => kind,
    };
    same("status", IBV_WC_SUCCESS, theirs.status)?;
    same("opcode", opcode(kind), Some(theirs.opcode))?;
    let is_receive = matches!(kind, CompletionKind::Receive | CompletionKind::ReceiveWriteImmediate);
    let returns =
        matches!(kind, CompletionKind::Read | CompletionKind::CompareSwap | CompletionKind::FetchAdd);
    if is_receive || returns {
        same("byte_len", ours.byte_length, theirs.length)?;
    }
    if is_receive {
        let has_immediate = theirs.flags & IBV_WC_WITH_IMM != 0;
        same("imm_data", ours.immediate, has_immediate.then(|| u32::from_be(theirs.immediate)))?;
    }
    Ok(())
}

fn same<T: PartialEq>(field: &'static str, ours: T, theirs: T) -> Result<(), &'static str> {
    if ours == theirs { Ok(()) } else { Err(field) }
}

/// `enum ibv_wc_status` of a syndrome, as the InfiniBand specification pairs them.
pub(super) fn status(syndrome: Syndrome) -> ibv_wc_status {
    match syndrome {
        Syndrome::LocalLength => IBV_WC_LOC_LEN_ERR,
        Syndrome::LocalQueuePairOperation => IBV_WC_LOC_QP_OP_ERR,
        Syndrome::LocalProtection => IBV_WC_LOC_PROT_ERR,
        Syndrome::Flushed => IBV_WC_WR_FLUSH_ERR,
        Syndrome::MemoryWindowBind => IBV_WC_MW_BIND_ERR,
        Syndrome::BadResponse => IBV_WC_BAD_RESP_ERR,
        Syndrome::LocalAccess => IBV_WC_LOC_ACCESS_ERR,
        Syndrome::RemoteInvalidRequest => IBV_WC_REM_INV_REQ_ERR,
        Syndrome::RemoteAccess => IBV_WC_REM_ACCESS_ERR,
        Syndrome::RemoteOperation => IBV_WC_REM_OP_ERR,
        Syndrome::RetryExceeded => IBV_WC_RETRY_EXC_ERR,
        Syndrome::ReceiverNotReadyExceeded => IBV_WC_RNR_RETRY_EXC_ERR,
        Syndrome::RemoteAborted => IBV_WC_REM_ABORT_ERR,
        Syndrome::Unknown(_) => IBV_WC_GENERAL_ERR,
    }
}

fn opcode(kind: CompletionKind) -> Option<ibv_wc_opcode> {
    Some(match kind {
        CompletionKind::Send => IBV_WC_SEND,
        CompletionKind::Write => IBV_WC_RDMA_WRITE,
        CompletionKind::Read => IBV_WC_RDMA_READ,
        CompletionKind::CompareSwap => IBV_WC_COMP_SWAP,
        CompletionKind::FetchAdd => IBV_WC_FETCH_ADD,
        CompletionKind::Receive => IBV_WC_RECV,
        CompletionKind::ReceiveWriteImmediate => IBV_WC_RECV_RDMA_WITH_IMM,
        _ => return None,
    })
}
