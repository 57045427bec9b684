//! Completion queues.

use super::{
    abi::attribute,
    command::{Call, Reply},
    context::Context,
    error::CommandError,
    events,
    ioctl::Request,
    memory::{Answer, Fields},
    objects::{Kind, Object},
    query,
};
use crate::state::{Capacity, CompletionQueue};

/// `IB_UVERBS_CQ_FLAGS_IGNORE_OVERRUN`.
const IGNORE_OVERRUN: u32 = 1 << 1;
/// No completion channel.
const NO_CHANNEL: i32 = -1;
/// Bytes of `mlx5_ib_create_cq` up to `cqe_size`, which every library sends.
const DRIVER_NEEDED: usize = 24;
/// Bytes of a CQE.
const ENTRY_BYTES: [u32; 2] = [64, 128];

/// A completion queue to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Create {
    user_handle: u64,
    /// The least number of the last entry: the library counts one less than there are.
    entries: u32,
    channel: i32,
    flags: u32,
    driver: Driver,
}

/// `mlx5_ib_create_cq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Driver {
    buffer: u64,
    record: u64,
    entry_bytes: u32,
    compressed: bool,
}

impl Driver {
    fn parse(bytes: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::driver(bytes, DRIVER_NEEDED)?;
        let (buffer, record, entry_bytes) = (fields.u64()?, fields.u64()?, fields.u32()?);
        Ok(Self { buffer, record, entry_bytes, compressed: fields.u8()? != 0 })
    }
}

/// `ib_uverbs_create_cq`.
pub(super) fn create_legacy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    let (user_handle, entries, _vector) = (fields.u64()?, fields.u32()?, fields.u32()?);
    let channel = fields.u32()?.cast_signed();
    let driver = Driver::parse(&call.driver)?;
    let made = create(context, Create { user_handle, entries, channel, flags: 0, driver })?;
    Ok(Reply { core: made.core(), driver: made.driver() })
}

/// `ib_uverbs_ex_create_cq`.
pub(super) fn create_extended(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    let (user_handle, entries, _vector) = (fields.u64()?, fields.u32()?, fields.u32()?);
    let (channel, _mask, flags) = (fields.u32()?.cast_signed(), fields.u32()?, fields.u32()?);
    let driver = Driver::parse(&call.driver)?;
    let made = create(context, Create { user_handle, entries, channel, flags, driver })?;
    let length = call.answer.length.min(16) as u32;
    Ok(Reply { core: made.core().u32(&[0, length]), driver: made.driver() })
}

/// `UVERBS_METHOD_CQ_CREATE`.
pub(super) fn create_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    let channel = request.optional32(attribute::CQ_CHANNEL).map_or(NO_CHANNEL, u32::cast_signed);
    let create_request = Create {
        user_handle: request.value(attribute::CQ_USER_HANDLE)?,
        entries: request.value32(attribute::CQ_ENTRIES)?,
        channel,
        flags: request.optional32(attribute::CQ_FLAGS).unwrap_or_default(),
        driver: Driver::parse(&request.bytes(attribute::DRIVER_IN)?)?,
    };
    let made = create(context, create_request)?;
    request.room(attribute::CQ_RESPONSE_ENTRIES).fill(&Answer::default().u32(&[made.entries]))?;
    request.room(attribute::DRIVER_OUT).fill(&made.driver())?;
    request.name(attribute::CQ_HANDLE, made.handle)
}

/// A completion queue as the library hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    handle: u32,
    entries: u32,
    number: u32,
}

impl Made {
    fn core(self) -> Answer {
        Answer::default().u32(&[self.handle, self.entries])
    }

    fn driver(self) -> Answer {
        Answer::default().u32(&[self.number, 0])
    }
}

fn create(context: &Context, request: Create) -> Result<Made, CommandError> {
    check(context, &request)?;
    let entries = (request.entries + 1).next_power_of_two();
    let owner = context.device().process;
    let mut objects = context.objects();
    let queue = context.device().lock().completion_queues.add(|index, tag| CompletionQueue {
        number: number(index, tag),
        owner,
        entry_bytes: request.driver.entry_bytes,
        entries,
        buffer: request.driver.buffer,
        record: request.driver.record,
        user_handle: request.user_handle,
        channel: request.channel,
        ..CompletionQueue::default()
    });
    let number = queue.ok_or(CommandError::Full("completion queue"))?.number;
    let object = Object { number, user_handle: request.user_handle, ..Object::default() };
    let handle = objects.add(Kind::CompletionQueue, object);
    Ok(Made { handle, entries: entries - 1, number })
}

fn check(context: &Context, request: &Create) -> Result<(), CommandError> {
    let invalid = |what, value: u32| Err(CommandError::Invalid { what, value: value.into() });
    if request.entries == 0 || request.entries > query::COMPLETIONS {
        return invalid("size of a completion queue", request.entries);
    }
    if !ENTRY_BYTES.contains(&request.driver.entry_bytes) {
        return invalid("size of a CQE", request.driver.entry_bytes);
    }
    if request.driver.compressed {
        return Err(CommandError::Unsupported("compression of CQEs"));
    }
    if request.flags & IGNORE_OVERRUN != 0 {
        return Err(CommandError::Unsupported("a completion queue that may overrun"));
    }
    if request.channel != NO_CHANNEL && context.registry().channel(request.channel).is_none() {
        return invalid("completion channel", request.channel.cast_unsigned());
    }
    Ok(())
}

/// Index and tag, in 24 bits.
fn number(index: u32, tag: u32) -> u32 {
    const TAGS: u32 = (1 << 24) / Capacity::COMPLETION_QUEUES as u32 - 1;
    (1 + tag % TAGS) * Capacity::COMPLETION_QUEUES as u32 + index
}

/// `ib_uverbs_destroy_cq`.
pub(super) fn destroy_legacy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    destroy(context, fields.u32()?).map(Reply::core)
}

/// `UVERBS_METHOD_CQ_DESTROY`.
pub(super) fn destroy_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    let answer = destroy(context, request.value32(attribute::DESTROY_HANDLE)?)?;
    request.room(attribute::DESTROY_RESPONSE).fill(&answer)
}

/// When this returns the device writes no more CQEs to it. Gives `comp_events_reported` and `async_events_reported`: as many as the program has read. Those that it has not
/// are taken back, because it will never acknowledge them.
fn destroy(context: &Context, handle: u32) -> Result<Answer, CommandError> {
    let delivery = context.registry().stop_delivery();
    let object = context.objects().find(Kind::CompletionQueue, handle)?;
    let queue = context.device().destroy_completion_queue(object.number)?;
    let object = context.objects().remove(Kind::CompletionQueue, handle)?;
    let channel = context.registry().channel(queue.channel);
    let unread =
        channel.map_or(0, |channel| channel.take_back(|record| record == object.user_handle.to_ne_bytes()));
    let completions = queue.events_reported.saturating_sub(unread + object.lost);
    Ok(Answer::default().u32(&[completions, events::settle(context, &object, &delivery)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_hold_their_index() {
        let tags = [0, 1, 8190, 8191, u32::MAX];
        assert!(tags.iter().all(|tag| number(5, *tag) < 1 << 24));
        assert!(tags.iter().all(|tag| number(5, *tag) as usize % Capacity::COMPLETION_QUEUES == 5));
        assert_ne!(number(5, 0), number(5, 1));
    }
}
