//! Path MTU: the smaller of both ports', or what the caller asked for.

use pmd_sys::verbs::{IBV_MTU_256, IBV_MTU_4096, ibv_mtu};

use crate::backend::SetupError;

/// Bytes of libibverbs' code; an unknown code counts as the smallest.
pub(super) fn bytes(code: ibv_mtu) -> u16 {
    if (IBV_MTU_256..=IBV_MTU_4096).contains(&code) { 128 << code } else { 256 }
}

/// libibverbs' code for a number of bytes, if there is one.
pub(super) fn code(bytes: u16) -> Option<ibv_mtu> {
    (IBV_MTU_256..=IBV_MTU_4096).find(|&code| self::bytes(code) == bytes)
}

/// The MTU of a path between two ports, in bytes.
///
/// # Errors
/// [`SetupError::Limit`] when `asked` is no MTU or above one of the ports', or the peer's is none.
pub(super) fn path(asked: Option<u16>, local: u16, remote: u16) -> Result<u16, SetupError> {
    if code(remote).is_none() {
        let (wanted, limit) = (u64::from(remote), 4096);
        return Err(SetupError::Limit { what: "peer's MTU (256, 512, 1024, 2048 or 4096)", wanted, limit });
    }
    let common = local.min(remote);
    match asked {
        None => Ok(common),
        Some(asked) if asked <= common && code(asked).is_some() => Ok(asked),
        Some(asked) => Err(SetupError::Limit {
            what: "path MTU (256, 512, 1024, 2048 or 4096)",
            wanted: asked.into(),
            limit: common.into(),
        }),
    }
}
