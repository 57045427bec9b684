//! Completion status of verbs (`ibv_wc_status`) as the syndrome that a ConnectX would give, and back.
//!
//! Statuses that no mlx5 syndrome stands for keep their number, with the top bit set, in
//! [`Syndrome::Unknown`].

use pmd_core::wire::Syndrome;
use pmd_sys::verbs::*;

/// Marks a number of `ibv_wc_status` among unknown syndromes; the PRM lists none so high.
const STATUS: u8 = 0x80;

/// Statuses and syndromes that mean the same (rdma-core `mlx5_handle_error_cqe`).
const PAIRS: [(ibv_wc_status, Syndrome); 13] = [
    (IBV_WC_LOC_LEN_ERR, Syndrome::LocalLength),
    (IBV_WC_LOC_QP_OP_ERR, Syndrome::LocalQueuePairOperation),
    (IBV_WC_LOC_PROT_ERR, Syndrome::LocalProtection),
    (IBV_WC_WR_FLUSH_ERR, Syndrome::Flushed),
    (IBV_WC_MW_BIND_ERR, Syndrome::MemoryWindowBind),
    (IBV_WC_BAD_RESP_ERR, Syndrome::BadResponse),
    (IBV_WC_LOC_ACCESS_ERR, Syndrome::LocalAccess),
    (IBV_WC_REM_INV_REQ_ERR, Syndrome::RemoteInvalidRequest),
    (IBV_WC_REM_ACCESS_ERR, Syndrome::RemoteAccess),
    (IBV_WC_REM_OP_ERR, Syndrome::RemoteOperation),
    (IBV_WC_RETRY_EXC_ERR, Syndrome::RetryExceeded),
    (IBV_WC_RNR_RETRY_EXC_ERR, Syndrome::ReceiverNotReadyExceeded),
    (IBV_WC_REM_ABORT_ERR, Syndrome::RemoteAborted),
];

/// The syndrome of a failed completion.
#[must_use]
pub fn syndrome_of(status: ibv_wc_status) -> Syndrome {
    let known = PAIRS.iter().find(|(known, _)| *known == status);
    known.map_or(Syndrome::Unknown(STATUS | status as u8), |(_, syndrome)| *syndrome)
}

/// The status that [`syndrome_of`] made a syndrome of; a general error where it made none of it.
#[must_use]
pub fn status_of(syndrome: Syndrome) -> ibv_wc_status {
    match (syndrome, PAIRS.iter().find(|(_, known)| *known == syndrome)) {
        (_, Some((status, _))) => *status,
        (Syndrome::Unknown(byte), None) if byte & STATUS != 0 => ibv_wc_status::from(byte & !STATUS),
        _ => IBV_WC_GENERAL_ERR,
    }
}
