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
    objects::{Kind, Object},
    registry::{Registry, Stopped},
};
use crate::{
    device::{Device, Event},
    state::AsynchronousKind,
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

/// Writes what the device raised for this process to the event files. An event file that its program has let run full
/// loses events, as one whose event queue overran.
pub fn deliver(device: &Device) {
    let Some(registry) = Registry::current() else { return };
    let _delivery = registry.stop_delivery();
    for event in device.take_events() {
        match event {
            Event::Completion { number, user_handle, channel } => {
                let channel = registry.channel(channel);
                if !channel.is_some_and(|channel| channel.put(&user_handle.to_ne_bytes())) {
                    registry.contexts().iter().for_each(|context| count_lost(context, number));
                }
            }
            Event::Asynchronous { kind, number, user_handle } => {
                let record = Answer::default().u64(&[user_handle]).u32(&[kind as u32, 0]).0;
                registry.contexts().iter().for_each(|context| put(context, kind, number, &record));
            }
        }
    }
}

/// The device counted it as reported, but nobody will acknowledge it.
fn count_lost(context: &Context, number: u32) {
    if let Some(object) = context.objects().numbered(Kind::CompletionQueue, number) {
        object.lost += 1;
    }
}

/// To the context that has the object; events of the port to all.
fn put(context: &Context, kind: AsynchronousKind, number: u32, record: &[u8]) {
    let Some(channel) = context.asynchronous() else { return };
    let Some(kind) = kind_of_object(kind) else {
        channel.put(record);
        return;
    };
    let mut objects = context.objects();
    let object = objects.numbered(kind, number);
    if let Some(object) = object.filter(|_| channel.put(record)) {
        object.events += 1;
    }
}

/// What an event is about; `None` for the port.
fn kind_of_object(kind: AsynchronousKind) -> Option<Kind> {
    use AsynchronousKind as Event;
    match kind {
        Event::CompletionQueueError => Some(Kind::CompletionQueue),
        Event::SharedReceiveLimit => Some(Kind::SharedReceiveQueue),
        Event::PortActive | Event::PortError => None,
        Event::QueuePairFatal
        | Event::QueuePairRequestError
        | Event::QueuePairAccessError
        | Event::SendQueueDrained
        | Event::LastReceiveReached => Some(Kind::QueuePair),
    }
}

/// An object is gone: takes back its asynchronous events that nobody read, and gives how many were read.
pub(super) fn settle(context: &Context, object: &Object, _delivery: &Stopped<'_>) -> u32 {
    let Some(channel) = context.asynchronous() else { return 0 };
    let unread = channel.take_back(|record| is_about(record, object.user_handle));
    object.events.saturating_sub(unread)
}

/// Whether an `ib_uverbs_async_event_desc` names this object. Events of the port have its number there, which is no
/// address.
fn is_about(record: &[u8], user_handle: u64) -> bool {
    Fields::new(record).u64() == Ok(user_handle)
}
