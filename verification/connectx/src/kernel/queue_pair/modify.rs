//! Changing queue pairs: from `ib_uverbs_modify_qp` to what the device understands.

use crate::{
    device::{Attributes, ModifyQueuePair},
    kernel::{
        command::{Call, Reply},
        context::Context,
        error::CommandError,
        memory::{Answer, Fields},
        objects::Kind,
    },
    port,
    state::ConnectedPath,
};

/// `ib_uverbs_modify_qp`.
pub(crate) fn modify(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let (handle, change) = parse(&mut Fields::new(&call.core))?;
    apply(context, handle, &change)?;
    Ok(Reply::default())
}

/// `ib_uverbs_ex_modify_qp`: the same, and a rate limit, which this device does not have.
pub(crate) fn modify_extended(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    modify(context, call)?;
    Ok(Reply::core(Answer::default().u32(&[0, call.answer.length.min(8) as u32])))
}

fn apply(context: &Context, handle: u32, change: &ModifyQueuePair) -> Result<(), CommandError> {
    let number = context.objects().find(Kind::QueuePair, handle)?.number;
    check_address(context, change)?;
    Ok(context.device().modify_queue_pair(number, change)?)
}

/// The port and the entries of its tables that the attributes name have to exist.
fn check_address(context: &Context, change: &ModifyQueuePair) -> Result<(), CommandError> {
    let invalid = |what, value: u64| Err(CommandError::Invalid { what, value });
    let (mask, path) = (change.mask, &change.path);
    if mask.contains(Attributes::PORT) && (path.port == 0 || path.port > port::PORTS) {
        return invalid("port", path.port.into());
    }
    if mask.contains(Attributes::PARTITION)
        && usize::from(path.partition) >= context.port().partition_keys.len()
    {
        return invalid("partition", path.partition.into());
    }
    let global = path.gid != [0; 16];
    if mask.contains(Attributes::ADDRESS) && global {
        let source = context.port().gids.get(usize::from(path.gid_index));
        if source.is_none_or(|gid| gid.raw == [0; 16]) {
            return invalid("GID index", path.gid_index.into());
        }
    }
    Ok(())
}

/// Gives the handle and the change.
fn parse(fields: &mut Fields<'_>) -> Result<(u32, ModifyQueuePair), CommandError> {
    let mut path = ConnectedPath::default();
    destination(fields, &mut path)?;
    let _alternate = fields.bytes::<32>()?;
    let (handle, mask) = (fields.u32()?, fields.u32()?);
    let mask = Attributes::from_bits(mask).ok_or(CommandError::Unsupported("an attribute of queue pairs"))?;
    path.q_key = fields.u32()?;
    path.receive_sequence = fields.u32()?;
    path.send_sequence = fields.u32()?;
    path.remote = fields.u32()?;
    let access = fields.u32()?;
    path.partition = fields.u16()?;
    let _alternate_partition = fields.u16()?;
    let (state, current_state) = (fields.u8()?, fields.u8()?);
    path.mtu = fields.u8()?;
    let _migration = fields.u8()?;
    let notify_drained = fields.u8()? != 0;
    path.maximum_reads = fields.u8()?;
    path.maximum_served_reads = fields.u8()?;
    path.minimum_rnr_timer = fields.u8()?;
    path.port = fields.u8()?;
    path.timeout = fields.u8()?;
    path.retry_count = fields.u8()?;
    path.rnr_retry = fields.u8()?;
    Ok((handle, ModifyQueuePair { mask, state, current_state, access, notify_drained, path }))
}

/// `ib_uverbs_qp_dest`.
fn destination(fields: &mut Fields<'_>, path: &mut ConnectedPath) -> Result<(), CommandError> {
    path.gid = fields.bytes()?;
    let _flow_label = fields.u32()?;
    path.lid = fields.u16()?;
    fields.u16()?;
    path.gid_index = fields.u8()?;
    path.hop_limit = fields.u8()?;
    path.traffic_class = fields.u8()?;
    path.service_level = fields.u8()?;
    let (_source_path, _static_rate) = (fields.u8()?, fields.u8()?);
    if fields.u8()? == 0 {
        path.gid = [0; 16];
    }
    let _port = fields.u8()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::state;

    /// RTR with a LID, as libibverbs writes it.
    fn request() -> Vec<u8> {
        Answer::default()
            .bytes(&[0xfe; 16])
            .u32(&[0])
            .u16(&[7, 0])
            .u8(&[3, 64, 0, 1, 0, 0, 1, 1])
            .pad(64)
            .u32(&[9, 1 << 20 | 1 | 1 << 7, 0x11, 21, 22, 0xabc, 7])
            .u16(&[0, 0])
            .u8(&[state::RTR, 0, 5, 0, 1, 16, 15, 12, 1, 14, 6, 7, 0, 0])
            .pad(112)
            .0
    }

    #[test]
    fn attributes_are_found_where_the_header_has_them() {
        let (handle, change) = parse(&mut Fields::new(&request())).expect("whole");
        assert_eq!(handle, 9);
        assert_eq!(change.mask, Attributes::STATE | Attributes::REMOTE | Attributes::ADDRESS);
        assert_eq!((change.state, change.access, change.notify_drained), (state::RTR, 7, true));
        let path = change.path;
        assert_eq!((path.remote, path.lid, path.gid, path.gid_index), (0xabc, 7, [0xfe; 16], 3));
        assert_eq!((path.receive_sequence, path.send_sequence, path.q_key), (21, 22, 0x11));
        assert_eq!((path.mtu, path.maximum_reads, path.maximum_served_reads), (5, 16, 15));
        assert_eq!((path.minimum_rnr_timer, path.timeout), (12, 14));
        assert_eq!((path.retry_count, path.rnr_retry), (6, 7));
    }

    #[test]
    fn every_prefix_is_an_error() {
        let request = request();
        let needed = 108;
        assert!((0..needed).all(|length| parse(&mut Fields::new(&request[..length])).is_err()));
    }

    #[test]
    fn attributes_that_no_header_knows_are_refused() {
        let mut request = request();
        request[68..72].copy_from_slice(&u32::MAX.to_ne_bytes());
        let error = parse(&mut Fields::new(&request)).map(|(handle, _)| handle).map_err(CommandError::errno);
        assert_eq!(error.map_err(|errno| errno.0), Err(libc::EOPNOTSUPP));
    }
}
