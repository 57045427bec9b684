//! Creating queues through libmlx5, and the addresses it hands out for them (mlx5dv_init_obj(3)).
#![allow(unsafe_code)] // calls libmlx5

use std::ptr::NonNull;

use pmd_core::{
    provider::{CompletionQueueMemory, ReceiveQueueMemory, SendQueueMemory, SharedReceiveQueueMemory},
    queue::{QueuePairLimits, QueueProvider},
};
use pmd_sys::{Mlx5, mlx5::*, verbs::*};

use super::{Mlx5Hardware, domain::ThreadDomain};
use crate::{
    backend::{QueuePairConfig, SetupError},
    nic::{BackendError, CompletionQueue, Device, QueuePair, SharedReceiveQueue, pointer, status},
};

/// Bytes of a send-queue slot.
const SLOT: u32 = 64;
/// Bytes in front of the data segments of the longest common request: control, remote address, atomic.
const HEAD: u32 = 16 + 16 + 16;

/// A created queue pair with the addresses of its queues and its doorbell.
#[derive(Debug)]
pub(super) struct CreatedQueuePair {
    pub(super) control: QueuePair,
    pub(super) send: SendQueueMemory,
    /// `None` with a shared receive queue, or without receives.
    pub(super) receive: Option<ReceiveQueueMemory>,
    pub(super) limits: QueuePairLimits,
    pub(super) register: NonNull<u8>,
    /// Bytes of a half of the register; 0 without BlueFlame.
    pub(super) half: u32,
}

/// A provider over a completion queue that was just created.
///
/// # Errors
/// [`BackendError`] when libmlx5 refuses, or hands out what is no completion queue.
pub(super) fn provider(
    mlx5: &Mlx5,
    completion_queue: &CompletionQueue,
) -> Result<QueueProvider<Mlx5Hardware>, BackendError> {
    let mut out = mlx5dv_cq::default();
    let cq = mlx5dv_obj__bindgen_ty_2 { in_: completion_queue.as_ptr(), out: &mut out };
    let mut object = mlx5dv_obj { cq, ..Default::default() };
    // SAFETY: the queue is live and libmlx5's; `out` can be written.
    let answer = unsafe { mlx5.mlx5dv_init_obj(&mut object, MLX5DV_OBJ_CQ.into()) };
    status("mlx5dv_init_obj", answer)?;
    let uar = mapped(out.cq_uar.cast())?;
    let memory = CompletionQueueMemory {
        buffer: mapped(out.buf.cast())?,
        cqe_count: out.cqe_cnt,
        cqe_size: out.cqe_size,
        doorbell_record: mapped(out.dbrec.cast())?,
        number: out.cqn,
    };
    // SAFETY: the UAR page and the queue's memory are mapped until the queue is destroyed and the context closed,
    // after the provider; libmlx5 leaves a queue that it handed out alone.
    unsafe { Ok(QueueProvider::new(Mlx5Hardware::new(uar), memory)?) }
}

/// Creates a queue pair.
///
/// # Errors
/// [`SetupError::Limit`], or which call failed.
pub(super) fn queue_pair(
    mlx5: &Mlx5,
    device: &Device,
    domain: &ThreadDomain,
    completion_queue: &CompletionQueue,
    config: &QueuePairConfig,
    shared: Option<&SharedReceiveQueue>,
) -> Result<CreatedQueuePair, SetupError> {
    let control = create(mlx5, device, domain, completion_queue, config, shared)?;
    let mut out = mlx5dv_qp::default();
    let qp = mlx5dv_obj__bindgen_ty_1 { in_: control.as_ptr(), out: &mut out };
    let mut object = mlx5dv_obj { qp, ..Default::default() };
    // SAFETY: the queue pair is live and libmlx5's; `out` can be written.
    status("mlx5dv_init_obj", unsafe { mlx5.mlx5dv_init_obj(&mut object, MLX5DV_OBJ_QP.into()) })?;
    let record = mapped::<u32>(out.dbrec.cast())?;
    let receive = match shared {
        None if config.receives != 0 => Some(ReceiveQueueMemory {
            buffer: mapped(out.rq.buf.cast())?,
            wqe_count: out.rq.wqe_cnt,
            stride_shift: out.rq.stride.trailing_zeros(),
            doorbell_record: record,
        }),
        _ => None,
    };
    Ok(CreatedQueuePair {
        control,
        send: SendQueueMemory {
            buffer: mapped(out.sq.buf.cast())?,
            wqe_count: out.sq.wqe_cnt,
            // SAFETY: the record has two words, the second of which is the send queue's.
            doorbell_record: unsafe { record.add(1) },
        },
        receive,
        limits: QueuePairLimits {
            send_sges: config.sges,
            receive_sges: config.sges.max(1),
            inline: config.inline_bytes,
            message: device.port().max_message,
            scatter_to_completion: false,
        },
        register: mapped(out.bf.reg.cast())?,
        half: if domain.is_private() { out.bf.size } else { 0 },
    })
}

/// Creates a reliable queue pair without scatter to CQE.
fn create(
    mlx5: &Mlx5,
    device: &Device,
    domain: &ThreadDomain,
    completion_queue: &CompletionQueue,
    config: &QueuePairConfig,
    shared: Option<&SharedReceiveQueue>,
) -> Result<QueuePair, SetupError> {
    let receives = if shared.is_some() { 0 } else { config.receives };
    let mut attributes = ibv_qp_init_attr_ex {
        send_cq: completion_queue.as_ptr(),
        recv_cq: completion_queue.as_ptr(),
        srq: shared.map_or(std::ptr::null_mut(), SharedReceiveQueue::as_ptr),
        cap: ibv_qp_cap {
            max_send_wr: work_requests(config),
            max_recv_wr: receives,
            max_send_sge: config.sges.max(1),
            max_recv_sge: if receives == 0 { 0 } else { config.sges.max(1) },
            max_inline_data: config.inline_bytes,
        },
        qp_type: IBV_QPT_RC,
        comp_mask: IBV_QP_INIT_ATTR_PD,
        pd: domain.as_ptr(),
        ..Default::default()
    };
    let mut direct = mlx5dv_qp_init_attr {
        comp_mask: MLX5DV_QP_INIT_ATTR_MASK_QP_CREATE_FLAGS.into(),
        create_flags: MLX5DV_QP_CREATE_DISABLE_SCATTER_TO_CQE,
        ..Default::default()
    };
    // SAFETY: the context is open; what the attributes name is live.
    let answer = unsafe { mlx5.mlx5dv_create_qp(device.context().as_ptr(), &mut attributes, &mut direct) };
    let queue_pair = pointer("mlx5dv_create_qp", answer)?;
    // SAFETY: the queue pair was just created, in state RESET.
    unsafe { QueuePair::new(device.clone(), queue_pair) }
}

/// Work requests of the largest kind for which libmlx5 makes at least the slots wanted. It multiplies by its own
/// estimate of a request's slots, which is not below this one, and rounds up to a power of two.
pub(super) fn work_requests(config: &QueuePairConfig) -> u32 {
    let inline = (config.inline_bytes + 4).next_multiple_of(16);
    let largest = (HEAD + inline.max(config.sges * 16)).div_ceil(SLOT);
    config.send_slots.max(1).div_ceil(largest)
}

/// The addresses of a shared receive queue that was just created.
///
/// # Errors
/// What mlx5dv_init_obj says.
pub(super) fn shared_receive_memory(
    mlx5: &Mlx5,
    queue: &SharedReceiveQueue,
) -> Result<SharedReceiveQueueMemory, SetupError> {
    let mut out = mlx5dv_srq::default();
    let srq = mlx5dv_obj__bindgen_ty_3 { in_: queue.as_ptr(), out: &mut out };
    let mut object = mlx5dv_obj { srq, ..Default::default() };
    // SAFETY: the queue is live and libmlx5's; `out` can be written.
    status("mlx5dv_init_obj", unsafe { mlx5.mlx5dv_init_obj(&mut object, MLX5DV_OBJ_SRQ.into()) })?;
    Ok(SharedReceiveQueueMemory {
        buffer: mapped(out.buf.cast())?,
        // A fresh queue has all slots free, from the head to the tail.
        wqe_count: out.tail.wrapping_sub(out.head).wrapping_add(1),
        stride_shift: out.stride.trailing_zeros(),
        doorbell_record: mapped(out.dbrec.cast())?,
    })
}

/// An address that libmlx5 handed out.
fn mapped<T>(address: *mut T) -> Result<NonNull<T>, SetupError> {
    NonNull::new(address).ok_or_else(|| SetupError::System {
        call: "mlx5dv_init_obj",
        source: std::io::Error::from_raw_os_error(libc::EFAULT),
    })
}
