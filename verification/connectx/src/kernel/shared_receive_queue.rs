//! Shared receive queues.

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
use crate::state::{Capacity, SharedReceiveQueue};

/// Bytes of `mlx5_ib_create_srq` up to `flags`, which every library sends.
const DRIVER_NEEDED: usize = 20;
/// `IBV_SRQT_BASIC`.
const BASIC: u64 = 0;
/// Bytes of the segment that names the next receive, and of a data segment.
const SEGMENT_BYTES: u32 = 16;
/// `IBV_SRQ_MAX_WR`.
const CHANGE_SIZE: u32 = 1;
/// `IBV_SRQ_LIMIT`.
const CHANGE_LIMIT: u32 = 2;

/// A shared receive queue to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Create {
    user_handle: u64,
    domain: u32,
    receives: u32,
    elements: u32,
    limit: u32,
    driver: Driver,
}

/// `mlx5_ib_create_srq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Driver {
    buffer: u64,
    record: u64,
    flags: u32,
}

impl Driver {
    fn parse(bytes: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::driver(bytes, DRIVER_NEEDED)?;
        Ok(Self { buffer: fields.u64()?, record: fields.u64()?, flags: fields.u32()? })
    }
}

/// `ib_uverbs_create_srq`.
pub(super) fn create_legacy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    let request = Create {
        user_handle: fields.u64()?,
        domain: fields.u32()?,
        receives: fields.u32()?,
        elements: fields.u32()?,
        limit: fields.u32()?,
        driver: Driver::parse(&call.driver)?,
    };
    let (handle, number) = create(context, &request)?;
    let core = Answer::default().u32(&[handle, request.receives, request.elements, number]);
    Ok(Reply { core, driver: Answer::default().u32(&[number, 0]) })
}

/// `UVERBS_METHOD_SRQ_CREATE`.
pub(super) fn create_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    if request.value(attribute::SRQ_TYPE)? != BASIC {
        return Err(CommandError::Unsupported("this type of shared receive queue"));
    }
    let wanted = Create {
        user_handle: request.value(attribute::SRQ_USER_HANDLE)?,
        domain: request.value32(attribute::SRQ_DOMAIN)?,
        receives: request.value32(attribute::SRQ_RECEIVES)?,
        elements: request.value32(attribute::SRQ_ELEMENTS)?,
        limit: request.value32(attribute::SRQ_LIMIT)?,
        driver: Driver::parse(&request.bytes(attribute::DRIVER_IN)?)?,
    };
    let (handle, number) = create(context, &wanted)?;
    request.room(attribute::SRQ_RESPONSE_RECEIVES).fill(&Answer::default().u32(&[wanted.receives]))?;
    request.room(attribute::SRQ_RESPONSE_ELEMENTS).fill(&Answer::default().u32(&[wanted.elements]))?;
    request.room(attribute::DRIVER_OUT).fill(&Answer::default().u32(&[number, 0]))?;
    request.name(attribute::SRQ_HANDLE, handle)
}

/// Gives its handle and number.
fn create(context: &Context, request: &Create) -> Result<(u32, u32), CommandError> {
    let (slots, shift) = shape(request)?;
    let owner = context.device().process;
    let mut objects = context.objects();
    let domain = objects.find(Kind::Domain, request.domain)?.number;
    let queue = context.device().lock().shared_receives.add(|index, tag| SharedReceiveQueue {
        number: number(index, tag),
        owner,
        domain,
        buffer: request.driver.buffer,
        record: request.driver.record,
        shift,
        slots,
        limit: request.limit,
        user_handle: request.user_handle,
        ..SharedReceiveQueue::default()
    });
    let number = queue.ok_or(CommandError::Full("shared receive queue"))?.number;
    let capacity = [request.receives, request.elements, 0, 0, 0];
    let object = Object { number, user_handle: request.user_handle, capacity, ..Object::default() };
    Ok((objects.add(Kind::SharedReceiveQueue, object), number))
}

/// Receives, and log2 of their bytes; both as the library computes them (`mlx5_alloc_srq_buf`).
fn shape(request: &Create) -> Result<(u32, u32), CommandError> {
    let invalid = |what, value: u32| Err(CommandError::Invalid { what, value: value.into() });
    if request.driver.flags != 0 {
        return Err(CommandError::Unsupported("signatures of WQEs"));
    }
    if request.receives == 0 || request.receives > query::SHARED_RECEIVES {
        return invalid("size of a shared receive queue", request.receives);
    }
    if request.elements > query::SHARED_ELEMENTS {
        return invalid("elements of a receive", request.elements);
    }
    if request.limit > request.receives {
        return invalid("limit of a shared receive queue", request.limit);
    }
    let bytes = (SEGMENT_BYTES * (1 + request.elements.max(1))).next_power_of_two();
    Ok(((request.receives + 1).next_power_of_two(), bytes.trailing_zeros()))
}

/// `ib_uverbs_modify_srq`.
pub(super) fn modify(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    let (handle, mask, _receives, limit) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    let object = context.objects().find(Kind::SharedReceiveQueue, handle)?;
    if mask & CHANGE_SIZE != 0 {
        return Err(CommandError::Unsupported("another size of a shared receive queue"));
    }
    if mask & CHANGE_LIMIT != 0 {
        if limit > object.capacity[0] {
            return Err(CommandError::Invalid {
                what: "limit of a shared receive queue",
                value: limit.into(),
            });
        }
        context.device().set_shared_receive_limit(object.number, limit)?;
    }
    Ok(Reply::default())
}

/// `ib_uverbs_query_srq`.
pub(super) fn query(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    let object = context.objects().find(Kind::SharedReceiveQueue, fields.u32()?)?;
    let limit = context.device().lock().shared_receives.find(object.number).map_or(0, |queue| queue.limit);
    let [receives, elements, ..] = object.capacity;
    Ok(Reply::core(Answer::default().u32(&[receives, elements, limit, 0])))
}

/// `ib_uverbs_destroy_srq`.
pub(super) fn destroy_legacy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    destroy(context, fields.u32()?).map(Reply::core)
}

/// `UVERBS_METHOD_SRQ_DESTROY`.
pub(super) fn destroy_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    let answer = destroy(context, request.value32(attribute::DESTROY_HANDLE)?)?;
    request.room(attribute::DESTROY_RESPONSE).fill(&answer)
}

/// Gives `events_reported`. When this returns the device takes no more receives from it.
fn destroy(context: &Context, handle: u32) -> Result<Answer, CommandError> {
    let delivery = context.registry().stop_delivery();
    let object = context.objects().find(Kind::SharedReceiveQueue, handle)?;
    context.device().destroy_shared_receive_queue(object.number)?;
    let object = context.objects().remove(Kind::SharedReceiveQueue, handle)?;
    Ok(Answer::default().u32(&[events::settle(context, &object, &delivery)]))
}

/// Index and tag, in 24 bits.
fn number(index: u32, tag: u32) -> u32 {
    const TAGS: u32 = (1 << 24) / Capacity::SHARED_RECEIVES as u32 - 1;
    (1 + tag % TAGS) * Capacity::SHARED_RECEIVES as u32 + index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(receives: u32, elements: u32, limit: u32) -> Create {
        let driver = Driver { buffer: 0, record: 0, flags: 0 };
        Create { user_handle: 0, domain: 0, receives, elements, limit, driver }
    }

    #[test]
    fn shapes_are_the_librarys() {
        assert_eq!(shape(&create(511, 1, 0)), Ok((512, 5)));
        assert_eq!(shape(&create(512, 3, 0)), Ok((1024, 6)));
        assert_eq!(shape(&create(1, 0, 1)), Ok((2, 5)));
    }

    #[test]
    fn sizes_and_limits_have_bounds() {
        for wrong in [create(0, 1, 0), create(1 << 15, 1, 0), create(16, 32, 0), create(16, 1, 17)] {
            assert_eq!(shape(&wrong).map_err(|error| error.errno().0), Err(libc::EINVAL));
        }
    }

    #[test]
    fn numbers_hold_their_index() {
        assert!([0, 65534, 65535, u32::MAX].iter().all(|tag| number(3, *tag) < 1 << 24));
        assert!(
            [0, 65534, u32::MAX].iter().all(|tag| number(3, *tag) as usize % Capacity::SHARED_RECEIVES == 3)
        );
    }
}
