//! Addresses of a connection manager's identifier.

use libc::sockaddr;

use crate::rdmacm::rdma_cm_id;

/// The local address of an identifier (`rdma_get_local_addr`).
///
/// # Safety
/// `identifier` is live.
pub unsafe fn rdma_get_local_addr(identifier: *mut rdma_cm_id) -> *mut sockaddr {
    // SAFETY: the caller's promise; only an address is taken.
    unsafe { (&raw mut (*identifier).route.addr.__bindgen_anon_1).cast() }
}

/// The peer's address of an identifier (`rdma_get_peer_addr`).
///
/// # Safety
/// `identifier` is live.
pub unsafe fn rdma_get_peer_addr(identifier: *mut rdma_cm_id) -> *mut sockaddr {
    // SAFETY: the caller's promise; only an address is taken.
    unsafe { (&raw mut (*identifier).route.addr.__bindgen_anon_2).cast() }
}
