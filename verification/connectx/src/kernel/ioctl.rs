//! Commands by `RDMA_VERBS_IOCTL`: `ib_uverbs_ioctl_hdr` and attributes (`rdma/rdma_user_ioctl_cmds.h`).
//!
//! Most commands come as `INVOKE_WRITE`, which carries the structures of `write()`. A method that this kernel does not
//! have is `EPROTONOSUPPORT`, upon which the library takes `INVOKE_WRITE`.

use super::{
    abi::{attribute, method},
    command::{self, Call},
    completion_queue, context,
    context::Context,
    error::CommandError,
    events,
    memory::{Answer, Fields, UserBuffer},
    query, queue_pair, region, register_page, shared_receive_queue,
};

/// Bytes of `ib_uverbs_ioctl_hdr`.
const HEADER: usize = 24;
/// Bytes of `ib_uverbs_attr`.
const ATTRIBUTE: usize = 16;
/// Where its data lies in an attribute.
const DATA: usize = 8;
/// Data of at most so many bytes lies in the attribute itself.
const INLINE: usize = 8;

/// A request: which method, and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Object and method.
    method: (u16, u16),
    attributes: Vec<Attribute>,
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attribute {
    id: u16,
    length: u16,
    /// A value, a handle, a descriptor, or an address.
    data: u64,
    /// Where `data` lies in the caller's memory.
    data_at: u64,
}

/// Reads a request from the address that `ioctl` was given.
pub(super) fn parse(address: u64) -> Result<Request, CommandError> {
    let header = UserBuffer { address, length: HEADER }.read()?;
    let mut fields = Fields::new(&header);
    let length = usize::from(fields.u16()?);
    let method = (fields.u16()?, fields.u16()?);
    let count = usize::from(fields.u16()?);
    let whole = HEADER + count * ATTRIBUTE;
    if length != whole {
        return Err(CommandError::WrongLength { announced: length, written: whole });
    }
    let first = address + HEADER as u64;
    let bytes = UserBuffer { address: first, length: count * ATTRIBUTE }.read()?;
    let read = |(index, bytes): (usize, &[u8])| -> Result<Attribute, CommandError> {
        let mut fields = Fields::new(bytes);
        let (id, length) = (fields.u16()?, fields.u16()?);
        fields.u32()?;
        Ok(Attribute { id, length, data: fields.u64()?, data_at: first + (index * ATTRIBUTE + DATA) as u64 })
    };
    let attributes = bytes.chunks_exact(ATTRIBUTE).enumerate().map(read).collect::<Result<_, _>>()?;
    Ok(Request { method, attributes })
}

impl Request {
    fn find(&self, id: u16) -> Option<Attribute> {
        self.attributes.iter().copied().find(|attribute| attribute.id == id)
    }

    fn needed(&self, id: u16) -> Result<Attribute, CommandError> {
        self.find(id).ok_or(CommandError::MissingAttribute(id))
    }

    /// A number, a handle or a constant.
    pub(super) fn value(&self, id: u16) -> Result<u64, CommandError> {
        self.needed(id).map(|attribute| attribute.data)
    }

    /// As [`Request::value`], of 32 bits.
    pub(super) fn value32(&self, id: u16) -> Result<u32, CommandError> {
        self.value(id).map(|value| value as u32)
    }

    /// As [`Request::value32`], where the attribute may be missing.
    pub(super) fn optional32(&self, id: u16) -> Option<u32> {
        self.find(id).map(|attribute| attribute.data as u32)
    }

    /// The bytes that an attribute brings; none where it is missing.
    pub(super) fn bytes(&self, id: u16) -> Result<Vec<u8>, CommandError> {
        let Some(attribute) = self.find(id) else { return Ok(Vec::new()) };
        let length = usize::from(attribute.length);
        if length <= INLINE {
            return Ok(attribute.data.to_ne_bytes()[..length].to_vec());
        }
        UserBuffer { address: attribute.data, length }.read()
    }

    /// Where an attribute wants its answer; nowhere where it is missing.
    pub(super) fn room(&self, id: u16) -> UserBuffer {
        self.find(id).map_or_else(UserBuffer::default, |attribute| UserBuffer {
            address: attribute.data,
            length: attribute.length.into(),
        })
    }

    /// Puts the handle or descriptor of a new object into its attribute.
    pub(super) fn name(&self, id: u16, handle: u32) -> Result<(), CommandError> {
        let address = self.needed(id)?.data_at;
        UserBuffer { address, length: INLINE }.fill(&Answer::default().u64(&[handle.into()]))
    }
}

/// Carries a request out.
pub(super) fn execute(context: &Context, request: &Request) -> Result<(), CommandError> {
    let (object, method) = request.method;
    match request.method {
        method::INVOKE_WRITE => command::execute(context, &invoked(request)?),
        method::GET_CONTEXT => context::allocate_by_ioctl(context, request),
        _ if !context.is_allocated() => Err(CommandError::NoContext),
        method::QUERY_PORT => query::port_by_ioctl(context, request),
        method::ASYNC_EVENT_ALLOC => events::create_asynchronous(context, request),
        method::REG_DMABUF_MR => region::register_dma_buf(context, request),
        method::MR_DESTROY => region::deregister_handle(context, request.value32(attribute::ONLY)?),
        method::AH_DESTROY => super::address::destroy_handle(context, request.value32(attribute::ONLY)?),
        method::CQ_CREATE => completion_queue::create_by_ioctl(context, request),
        method::CQ_DESTROY => completion_queue::destroy_by_ioctl(context, request),
        method::QP_CREATE => queue_pair::create_by_ioctl(context, request),
        method::QP_DESTROY => queue_pair::destroy_by_ioctl(context, request),
        method::SRQ_CREATE => shared_receive_queue::create_by_ioctl(context, request),
        method::SRQ_DESTROY => shared_receive_queue::destroy_by_ioctl(context, request),
        method::UAR_ALLOC => register_page::allocate(context, request),
        method::UAR_DESTROY => register_page::free(context, request.value32(attribute::UAR_HANDLE)?),
        _ => Err(CommandError::UnknownMethod { object, method }),
    }
}

/// The command that `INVOKE_WRITE` carries.
fn invoked(request: &Request) -> Result<Call, CommandError> {
    Ok(Call {
        number: request.value32(attribute::WRITE_CMD)?,
        core: request.bytes(attribute::CORE_IN)?,
        driver: request.bytes(attribute::DRIVER_IN)?,
        answer: request.room(attribute::CORE_OUT),
        driver_answer: request.room(attribute::DRIVER_OUT),
    })
}
