//! Making queue pairs.

use crate::{
    kernel::{
        abi::attribute,
        command::{Call, Reply},
        context::Context,
        error::CommandError,
        ioctl::Request,
        memory::{Answer, Fields},
        objects::{Kind, Object, Objects},
        query, register_page,
    },
    state::{Capacity, QueuePair, QueuePairKind},
};

/// Bytes of `mlx5_ib_create_qp` up to `flags`, which every library sends.
const DRIVER_NEEDED: usize = 32;
/// Bytes of `mlx5_ib_create_qp_resp`.
const DRIVER_BYTES: usize = 40;
/// `IB_UVERBS_QP_CREATE_SQ_SIG_ALL`, a flag with ioctls only.
const SIGNAL_ALL: u32 = 1 << 12;
/// log2 of the bytes of a receive WQE: from one segment to what `max_rq_desc_sz` says.
const RECEIVE_SHIFTS: std::ops::RangeInclusive<u32> = 4..=9;

/// `MLX5_QP_FLAG_*`.
mod flag {
    pub(super) const SIGNATURE: u32 = 1 << 0;
    pub(super) const SCATTER_CQE: u32 = 1 << 1;
    pub(super) const REGISTER_INDEX: u32 = 1 << 3;
    pub(super) const PAGE_INDEX: u32 = 1 << 10;
    /// `ALLOW_SCATTER_CQE` asks for nothing else than `SCATTER_CQE` does here.
    pub(super) const ALLOW_SCATTER_CQE: u32 = 1 << 8;
    pub(super) const KNOWN: u32 = SCATTER_CQE | REGISTER_INDEX | PAGE_INDEX | ALLOW_SCATTER_CQE;
}

/// A queue pair to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Create {
    user_handle: u64,
    domain: u32,
    send_completions: u32,
    receive_completions: u32,
    shared_receives: Option<u32>,
    capacity: [u32; 5],
    signal_all: bool,
    kind: QueuePairKind,
    driver: Driver,
}

/// `mlx5_ib_create_qp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Driver {
    buffer: u64,
    record: u64,
    send_slots: u32,
    receive_slots: u32,
    receive_shift: u32,
    flags: u32,
    user_index: u32,
    register: u32,
}

impl Driver {
    fn parse(bytes: &[u8]) -> Result<Self, CommandError> {
        let mut fields = Fields::driver(bytes, DRIVER_NEEDED)?;
        Ok(Self {
            buffer: fields.u64()?,
            record: fields.u64()?,
            send_slots: fields.u32()?,
            receive_slots: fields.u32()?,
            receive_shift: fields.u32()?,
            flags: fields.u32()?,
            user_index: fields.u32()?,
            register: fields.u32()?,
        })
    }

    /// The receive queue comes first in the buffer.
    fn send_buffer(&self) -> u64 {
        self.buffer.wrapping_add(u64::from(self.receive_slots) << self.receive_shift)
    }

    fn check(&self) -> Result<(), CommandError> {
        let invalid = |what, value: u32| Err(CommandError::Invalid { what, value: value.into() });
        if self.flags & flag::SIGNATURE != 0 {
            return Err(CommandError::Unsupported("signatures of WQEs"));
        }
        if self.flags & !flag::KNOWN != 0 {
            return Err(CommandError::Unsupported("a flag of mlx5_ib_create_qp"));
        }
        let fits = |slots: u32| slots == 0 || slots.is_power_of_two() && slots <= query::WORK_REQUESTS;
        if !fits(self.send_slots) {
            return invalid("size of a send queue", self.send_slots);
        }
        if !fits(self.receive_slots) {
            return invalid("size of a receive queue", self.receive_slots);
        }
        if self.receive_slots > 0 && !RECEIVE_SHIFTS.contains(&self.receive_shift) {
            return invalid("size of a receive", self.receive_shift);
        }
        Ok(())
    }
}

/// `ib_uverbs_create_qp`.
pub(crate) fn create_legacy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    let made = create(context, &parse(&mut fields, &call.driver)?)?;
    Ok(Reply { core: made.core(), driver: made.driver() })
}

/// `ib_uverbs_ex_create_qp`.
pub(crate) fn create_extended(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    let request = parse(&mut fields, &call.driver)?;
    let (mask, flags) = (fields.u32()?, fields.u32()?);
    if mask != 0 || flags != 0 {
        return Err(CommandError::Unsupported("a creation flag"));
    }
    let made = create(context, &request)?;
    let length = call.answer.length.min(40) as u32;
    Ok(Reply { core: made.core().u32(&[0, length]), driver: made.driver() })
}

/// What both structures have in common, from `user_handle` on.
fn parse(fields: &mut Fields<'_>, driver: &[u8]) -> Result<Create, CommandError> {
    let user_handle = fields.u64()?;
    let (domain, send_completions, receive_completions) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let shared_receives = fields.u32()?;
    let mut capacity = [0; 5];
    for value in &mut capacity {
        *value = fields.u32()?;
    }
    let (signal_all, service, is_shared) = (fields.u8()? != 0, fields.u8()?, fields.u8()? != 0);
    fields.u8()?;
    Ok(Create {
        user_handle,
        domain,
        send_completions,
        receive_completions,
        shared_receives: is_shared.then_some(shared_receives),
        capacity,
        signal_all,
        kind: kind(service.into())?,
        driver: Driver::parse(driver)?,
    })
}

/// `UVERBS_METHOD_QP_CREATE`.
pub(crate) fn create_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    let flags = request.optional32(attribute::QP_FLAGS).unwrap_or_default();
    if flags & !SIGNAL_ALL != 0 {
        return Err(CommandError::Unsupported("a creation flag"));
    }
    let capacity_bytes = request.bytes(attribute::QP_CAPACITY)?;
    let mut fields = Fields::new(&capacity_bytes);
    let mut capacity = [0; 5];
    for value in &mut capacity {
        *value = fields.u32()?;
    }
    let made = create(
        context,
        &Create {
            user_handle: request.value(attribute::QP_USER_HANDLE)?,
            domain: request.value32(attribute::QP_DOMAIN)?,
            send_completions: request.value32(attribute::QP_SEND_CQ)?,
            receive_completions: request.value32(attribute::QP_RECEIVE_CQ)?,
            shared_receives: request.optional32(attribute::QP_SHARED_RECEIVES),
            capacity,
            signal_all: flags & SIGNAL_ALL != 0,
            kind: kind(request.value(attribute::QP_TYPE)?)?,
            driver: Driver::parse(&request.bytes(attribute::DRIVER_IN)?)?,
        },
    )?;
    request.room(attribute::QP_RESPONSE_CAPACITY).fill(&Answer::default().u32(&made.capacity))?;
    request.room(attribute::QP_RESPONSE_NUMBER).fill(&Answer::default().u32(&[made.number]))?;
    request.room(attribute::DRIVER_OUT).fill(&made.driver())?;
    request.name(attribute::QP_HANDLE, made.handle)
}

/// `enum ib_uverbs_qp_type`.
fn kind(service: u64) -> Result<QueuePairKind, CommandError> {
    match service {
        2 => Ok(QueuePairKind::Reliable),
        3 => Ok(QueuePairKind::Unreliable),
        4 => Ok(QueuePairKind::Datagram),
        _ => Err(CommandError::Unsupported("this type of queue pair")),
    }
}

/// A queue pair as the library hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    handle: u32,
    number: u32,
    capacity: [u32; 5],
    register: u32,
}

impl Made {
    /// `ib_uverbs_create_qp_resp`.
    fn core(&self) -> Answer {
        Answer::default().u32(&[self.handle, self.number]).u32(&self.capacity).u32(&[0])
    }

    /// `mlx5_ib_create_qp_resp`.
    fn driver(&self) -> Answer {
        Answer::default().u32(&[self.register]).pad(DRIVER_BYTES)
    }
}

fn create(context: &Context, request: &Create) -> Result<Made, CommandError> {
    request.driver.check()?;
    let elements = request.capacity[2].max(request.capacity[3]);
    if elements > query::ELEMENTS {
        return Err(CommandError::Invalid { what: "elements of a work request", value: elements.into() });
    }
    let mut objects = context.objects();
    let queue_pair = describe(context, &objects, request)?;
    let added = context
        .device()
        .lock()
        .queue_pairs
        .add(|index, tag| QueuePair { number: number(index, tag), ..queue_pair });
    let added = added.ok_or(CommandError::Full("queue pair"))?;
    let handle = objects.add(
        Kind::QueuePair,
        Object {
            number: added.number,
            user_handle: request.user_handle,
            capacity: request.capacity,
            ..Object::default()
        },
    );
    Ok(Made { handle, number: added.number, capacity: request.capacity, register: added.register })
}

fn describe(context: &Context, objects: &Objects, request: &Create) -> Result<QueuePair, CommandError> {
    let driver = &request.driver;
    let numbered = |kind, handle| objects.find(kind, handle).map(|object| object.number);
    let shared = request.shared_receives.map(|handle| numbered(Kind::SharedReceiveQueue, handle));
    let scatter = driver.flags & flag::SCATTER_CQE != 0 && context.device().config.scatter_to_cqe;
    Ok(QueuePair {
        owner: context.device().process,
        kind: request.kind,
        signal_all: request.signal_all,
        scatter_to_cqe: scatter,
        domain: numbered(Kind::Domain, request.domain)?,
        user_index: driver.user_index,
        user_handle: request.user_handle,
        send_completions: numbered(Kind::CompletionQueue, request.send_completions)?,
        receive_completions: numbered(Kind::CompletionQueue, request.receive_completions)?,
        shared_receives: shared.transpose()?.unwrap_or_default(),
        receive_buffer: driver.buffer,
        receive_slots: driver.receive_slots,
        receive_shift: driver.receive_shift,
        send_buffer: driver.send_buffer(),
        send_slots: driver.send_slots,
        record: driver.record,
        register: register(context, driver),
        ..QueuePair::default()
    })
}

/// The library names the register where it allocated it; else the kernel does.
fn register(context: &Context, driver: &Driver) -> u32 {
    if driver.flags & (flag::REGISTER_INDEX | flag::PAGE_INDEX) != 0 {
        return driver.register;
    }
    register_page::next_register(context.count_queue_pair(), context.registers())
}

/// Index and tag, in 24 bits; 0 and 1 are the management queue pairs', which the tag keeps free.
fn number(index: u32, tag: u32) -> u32 {
    const TAGS: u32 = (1 << 24) / Capacity::QUEUE_PAIRS as u32 - 1;
    (1 + tag % TAGS) * Capacity::QUEUE_PAIRS as u32 + index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(send_slots: u32, receive_slots: u32, receive_shift: u32, flags: u32) -> Driver {
        let fields = Answer::default().u64(&[0x10_0000, 0x2000]);
        let bytes = fields.u32(&[send_slots, receive_slots, receive_shift, flags]).0;
        Driver::parse(&bytes).expect("what every library sends")
    }

    #[test]
    fn the_send_queue_follows_the_receive_queue() {
        assert_eq!(driver(64, 16, 6, 0).send_buffer(), 0x10_0000 + (16 << 6));
    }

    #[test]
    fn queues_have_sizes_that_rings_can_have() {
        assert!(driver(64, 16, 6, flag::SCATTER_CQE).check().is_ok());
        assert!(driver(64, 0, 0, 0).check().is_ok());
        for wrong in
            [driver(63, 16, 6, 0), driver(64, 15, 6, 0), driver(64, 16, 60, 0), driver(1 << 20, 0, 0, 0)]
        {
            assert_eq!(wrong.check().map_err(|error| error.errno().0), Err(libc::EINVAL));
        }
        for wrong in [flag::SIGNATURE, 1 << 4] {
            assert_eq!(
                driver(64, 16, 6, wrong).check().map_err(|error| error.errno().0),
                Err(libc::EOPNOTSUPP)
            );
        }
    }

    #[test]
    fn a_short_driver_request_is_an_error() {
        assert_eq!(
            Driver::parse(&[0; 31]),
            Err(CommandError::Truncated { wanted: DRIVER_NEEDED, found: 31 })
        );
    }

    #[test]
    fn numbers_hold_their_index_and_are_never_special() {
        for tag in [0, 1, 4094, 4095, u32::MAX] {
            let number = number(1, tag);
            assert!(number > 1 && number < 1 << 24 && number as usize % Capacity::QUEUE_PAIRS == 1);
        }
    }
}
