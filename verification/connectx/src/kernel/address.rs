//! Address handles. The library needs the kernel for them only on RoCE: for the MAC address of a GID.

use super::{
    command::{Call, Reply},
    context::Context,
    error::CommandError,
    memory::{Answer, Fields},
    objects::{Kind, Object},
};
use crate::{config::Link, port};

/// Bytes of `mlx5_ib_create_ah_resp`.
const DRIVER_BYTES: usize = 16;

/// `ib_uverbs_create_ah`.
pub(super) fn create(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    let (_answer, user_handle, domain) = (fields.u64()?, fields.u64()?, fields.u32()?);
    fields.u32()?;
    let gid = fields.bytes::<16>()?;
    let mut objects = context.objects();
    objects.find(Kind::Domain, domain)?;
    if context.port().link == Link::Ethernet && gid == [0; 16] {
        return Err(CommandError::Invalid { what: "GID of an address on Ethernet", value: 0 });
    }
    let handle = objects.add(Kind::AddressHandle, Object { user_handle, ..Object::default() });
    // All processes are on this one port, so every address is the port's own.
    let driver = Answer::default().u32(&[DRIVER_BYTES as u32]).bytes(&port::MAC).pad(DRIVER_BYTES);
    Ok(Reply { core: Answer::default().u32(&[handle]), driver })
}

/// `ib_uverbs_destroy_ah`.
pub(super) fn destroy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    destroy_handle(context, Fields::new(&call.core).u32()?)?;
    Ok(Reply::default())
}

/// The same by `UVERBS_METHOD_AH_DESTROY`.
pub(super) fn destroy_handle(context: &Context, handle: u32) -> Result<(), CommandError> {
    context.objects().remove(Kind::AddressHandle, handle).map(drop)
}
