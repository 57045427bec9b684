//! Events: from what the device raised for this process to the event files that its program reads.
//!
//! Called by the service thread of [`crate::uar`], which is woken when there is something.

use super::{
    abi::attribute,
    command::{Call, Reply},
    context::Context,
    error::CommandError,
    ioctl::Request,
    memory::{Answer, Fields},
    objects::Object,
};

/// Bytes of `ib_uverbs_comp_event_desc`.
pub(super) const COMPLETION_BYTES: usize = 8;
/// Bytes of `ib_uverbs_async_event_desc`.
pub(super) const ASYNCHRONOUS_BYTES: usize = 16;

/// `ib_uverbs_create_comp_channel`.
pub(super) fn create_channel(context: &Context, _call: &Call) -> Result<Reply, CommandError> {
    let reader = context.registry().add_channel(COMPLETION_BYTES)?.reader();
    Ok(Reply::core(Answer::default().u32(&[reader.cast_unsigned()])))
}

/// `UVERBS_METHOD_ASYNC_EVENT_ALLOC`.
pub(super) fn create_asynchronous(context: &Context, request: &Request) -> Result<(), CommandError> {
    let reader = context.make_asynchronous()?;
    request.name(attribute::ONLY, reader.cast_unsigned())
}

/// An object is gone: takes back its asynchronous events that nobody read, and gives how many were read.
pub(super) fn settle(context: &Context, object: &Object) -> u32 {
    let Some(channel) = context.asynchronous() else { return 0 };
    let unread = channel.take_back(|record| is_about(record, object.user_handle));
    object.events.saturating_sub(unread)
}

/// Whether an `ib_uverbs_async_event_desc` names this object. Events of the port have its number there, which is no
/// address.
fn is_about(record: &[u8], user_handle: u64) -> bool {
    Fields::new(record).u64() == Ok(user_handle)
}
