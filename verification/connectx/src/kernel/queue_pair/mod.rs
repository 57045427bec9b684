//! Queue pairs: made and destroyed here, moved between states and executed by [`crate::device`].

mod create;
mod modify;

use super::{
    abi::attribute,
    command::{Call, Reply},
    context::Context,
    error::CommandError,
    events,
    ioctl::Request,
    memory::{Answer, Fields},
    objects::Kind,
};
use crate::state::{QueuePair, state};

pub(super) use create::{create_by_ioctl, create_extended, create_legacy};
pub(super) use modify::{modify, modify_extended};

/// Bytes of `ib_uverbs_query_qp_resp`.
const QUERY_BYTES: usize = 128;
/// Bytes of `ib_uverbs_qp_dest`.
const DESTINATION_BYTES: usize = 32;

/// `ib_uverbs_query_qp`.
pub(super) fn query(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    let handle = fields.u32()?;
    let object = context.objects().find(Kind::QueuePair, handle)?;
    let tables = context.device().lock();
    let queue_pair = tables.queue_pairs.find(object.number);
    let queue_pair = queue_pair.ok_or(CommandError::NoObject { kind: Kind::QueuePair.name(), handle })?;
    Ok(Reply::core(query_answer(queue_pair, object.capacity)))
}

fn query_answer(queue_pair: &QueuePair, capacity: [u32; 5]) -> Answer {
    let path = &queue_pair.path;
    let global = u8::from(path.gid != [0; 16]);
    let draining = u8::from(queue_pair.state == state::SQD);
    Answer::default()
        .bytes(&path.gid)
        .u32(&[0])
        .u16(&[path.lid, 0])
        .u8(&[
            path.gid_index,
            path.hop_limit,
            path.traffic_class,
            path.service_level,
            0,
            0,
            global,
            path.port,
        ])
        .pad(2 * DESTINATION_BYTES)
        .u32(&capacity)
        .u32(&[path.q_key, path.receive_sequence, path.send_sequence, path.remote, queue_pair.access])
        .u16(&[path.partition, 0])
        .u8(&[queue_pair.state, queue_pair.state, path.mtu, 0, draining])
        .u8(&[path.maximum_reads, path.maximum_served_reads, path.minimum_rnr_timer, path.port])
        .u8(&[path.timeout, path.retry_count, path.rnr_retry, 0, 0, queue_pair.signal_all.into()])
        .pad(QUERY_BYTES)
}

/// `ib_uverbs_destroy_qp`.
pub(super) fn destroy_legacy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    destroy(context, fields.u32()?).map(Reply::core)
}

/// `UVERBS_METHOD_QP_DESTROY`.
pub(super) fn destroy_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    let answer = destroy(context, request.value32(attribute::DESTROY_HANDLE)?)?;
    request.room(attribute::DESTROY_RESPONSE).fill(&answer)
}

/// Gives `events_reported`. When this returns the device executes nothing more of it.
fn destroy(context: &Context, handle: u32) -> Result<Answer, CommandError> {
    let delivery = context.registry().stop_delivery();
    let object = context.objects().find(Kind::QueuePair, handle)?;
    context.device().destroy_queue_pair(object.number)?;
    let object = context.objects().remove(Kind::QueuePair, handle)?;
    Ok(Answer::default().u32(&[events::settle(context, &object, &delivery)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_its_fields_where_the_header_has_them() {
        let queue_pair = QueuePair { state: state::RTS, signal_all: true, ..QueuePair::default() };
        let bytes = query_answer(&queue_pair, [1, 2, 3, 4, 5]).0;
        assert_eq!(bytes.len(), QUERY_BYTES);
        // Offsets of max_send_wr, qp_state and sq_sig_all.
        assert_eq!((bytes[64], bytes[108], bytes[122]), (1, state::RTS, 1));
    }
}
