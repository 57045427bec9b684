//! One command, however it came, and who carries it out.
//!
//! `write()`, its extended form and the `INVOKE_WRITE` ioctl carry the same structures; [`super::write`] and
//! [`super::ioctl`] cut them into a [`Call`], [`execute`] hands it to its module, and what that replies goes back to the
//! two addresses of the call.

use super::{
    abi::command,
    address, completion_queue, context,
    context::Context,
    error::CommandError,
    events,
    memory::{Answer, UserBuffer},
    query, queue_pair, region, shared_receive_queue,
};

/// The parts of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// Number, with [`command::EXTENDED`].
    pub(super) number: u32,
    /// The command's structure. The legacy ones that have an answer begin with its address.
    pub(super) core: Vec<u8>,
    /// What the driver adds.
    pub(super) driver: Vec<u8>,
    /// Where the answer goes.
    pub(super) answer: UserBuffer,
    /// Where the driver's part of the answer goes.
    pub(super) driver_answer: UserBuffer,
}

/// The parts of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// The command's structure.
    pub(super) core: Answer,
    /// What the driver adds.
    pub(super) driver: Answer,
}

impl Reply {
    /// An answer to which the driver adds nothing.
    pub(super) fn core(core: Answer) -> Self {
        Self { core, driver: Answer::default() }
    }
}

/// Carries a command out and writes the answer.
pub(super) fn execute(context: &Context, call: &Call) -> Result<(), CommandError> {
    let handler = handler(call.number)?;
    if call.number != command::GET_CONTEXT && !context.is_allocated() {
        return Err(CommandError::NoContext);
    }
    let reply = handler(context, call)?;
    call.answer.fill(&reply.core)?;
    call.driver_answer.fill(&reply.driver)
}

type Handler = fn(&Context, &Call) -> Result<Reply, CommandError>;

fn handler(number: u32) -> Result<Handler, CommandError> {
    if number & command::EXTENDED == 0 { legacy(number) } else { extended(number) }
}

fn legacy(number: u32) -> Result<Handler, CommandError> {
    Ok(match number {
        command::GET_CONTEXT => context::allocate,
        command::QUERY_DEVICE => query::device,
        command::QUERY_PORT => query::port_legacy,
        command::ALLOC_PD => region::allocate_domain,
        command::DEALLOC_PD => region::free_domain,
        command::CREATE_AH => address::create,
        command::DESTROY_AH => address::destroy,
        command::REG_MR => region::register,
        command::REREG_MR => region::register_again,
        command::DEREG_MR => region::deregister,
        command::CREATE_COMP_CHANNEL => events::create_channel,
        command::CREATE_CQ => completion_queue::create_legacy,
        command::DESTROY_CQ => completion_queue::destroy_legacy,
        command::CREATE_QP => queue_pair::create_legacy,
        command::QUERY_QP => queue_pair::query,
        command::MODIFY_QP => queue_pair::modify,
        command::DESTROY_QP => queue_pair::destroy_legacy,
        command::CREATE_SRQ => shared_receive_queue::create_legacy,
        command::MODIFY_SRQ => shared_receive_queue::modify,
        command::QUERY_SRQ => shared_receive_queue::query,
        command::DESTROY_SRQ => shared_receive_queue::destroy_legacy,
        number => return Err(CommandError::UnknownCommand { number }),
    })
}

fn extended(number: u32) -> Result<Handler, CommandError> {
    Ok(match number & command::MASK {
        command::QUERY_DEVICE => query::device_extended,
        command::CREATE_CQ => completion_queue::create_extended,
        command::CREATE_QP => queue_pair::create_extended,
        command::MODIFY_QP => queue_pair::modify_extended,
        _ => return Err(CommandError::UnknownCommand { number }),
    })
}
