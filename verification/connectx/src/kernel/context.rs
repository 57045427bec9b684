//! A context: what one open of the device's descriptor owns. Made by `GET_CONTEXT`, destroyed by `close`.

use std::{
    ffi::c_int,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use super::{
    abi::attribute,
    channel::Channel,
    command::{Call, Reply},
    error::CommandError,
    events,
    ioctl::Request,
    memory::{Answer, Fields},
    objects::{Kind, Object, Objects},
    query, region,
    registry::Registry,
};
use crate::{device::Device, port::Port};

/// `MLX5_IB_ALLOC_UCTX_DEVX`.
const DEVX: u32 = 1;
/// `IB_UVERBS_CORE_SUPPORT_OPTIONAL_MR_ACCESS`.
const OPTIONAL_ACCESS: u64 = 1;
/// Bytes of `mlx5_ib_alloc_ucontext_resp`.
const DRIVER_BYTES: usize = 72;
/// Bytes that every library sends of `mlx5_ib_alloc_ucontext_req_v2`.
const DRIVER_NEEDED: usize = 16;
/// Registers beside the static ones that the library may map later.
const LATER_REGISTERS: u32 = 32;

/// One open device.
#[derive(Debug)]
pub(super) struct Context {
    registry: &'static Registry,
    port: Port,
    allocated: AtomicBool,
    /// Static registers that the library asked for.
    registers: AtomicU32,
    /// Queue pairs that got a static register so far.
    queue_pairs: AtomicU32,
    objects: Mutex<Objects>,
    asynchronous: Mutex<Option<Arc<Channel>>>,
}

impl Context {
    /// Nothing is allocated yet.
    pub(super) fn new(registry: &'static Registry) -> Self {
        Self {
            registry,
            port: Port::new(registry.device.config.link),
            allocated: AtomicBool::new(false),
            registers: AtomicU32::new(0),
            queue_pairs: AtomicU32::new(0),
            objects: Mutex::default(),
            asynchronous: Mutex::default(),
        }
    }

    /// The device below.
    pub(super) fn device(&self) -> &'static Device {
        self.registry.device
    }

    /// Everything that this process has open.
    pub(super) fn registry(&self) -> &'static Registry {
        self.registry
    }

    /// The only port.
    pub(super) fn port(&self) -> &Port {
        &self.port
    }

    /// Whether `GET_CONTEXT` succeeded.
    pub(super) fn is_allocated(&self) -> bool {
        self.allocated.load(Ordering::Acquire)
    }

    /// Whether UAR pages are objects; that needs ioctls, and is what today's kernels do.
    pub(super) fn has_dynamic_pages(&self) -> bool {
        let config = &self.device().config;
        config.dynamic_uars && config.ioctl
    }

    /// Static registers.
    pub(super) fn registers(&self) -> u32 {
        self.registers.load(Ordering::Relaxed)
    }

    /// Counts a queue pair that needs a static register; gives how many did before.
    pub(super) fn count_queue_pair(&self) -> u32 {
        self.queue_pairs.fetch_add(1, Ordering::Relaxed)
    }

    /// The objects of this context.
    pub(super) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The asynchronous event file, once there is one.
    pub(super) fn asynchronous(&self) -> Option<Arc<Channel>> {
        self.asynchronous.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the asynchronous event file and gives its descriptor.
    pub(super) fn make_asynchronous(&self) -> Result<c_int, CommandError> {
        let channel = self.registry.add_channel(events::ASYNCHRONOUS_BYTES)?;
        let reader = channel.reader();
        *self.asynchronous.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel);
        Ok(reader)
    }

    /// Destroys what is left; what somebody else destroyed already is as good.
    pub(super) fn close(&self) {
        let device = self.device();
        let objects: Vec<_> = self.objects().drain().collect();
        for (kind, Object { number, .. }) in objects {
            match kind {
                Kind::QueuePair => drop(device.destroy_queue_pair(number)),
                Kind::CompletionQueue => drop(device.destroy_completion_queue(number)),
                Kind::SharedReceiveQueue => drop(device.destroy_shared_receive_queue(number)),
                Kind::MemoryRegion => region::remove(self, number),
                Kind::AddressHandle | Kind::RegisterPage | Kind::Domain => {}
            }
        }
    }
}

/// `ib_uverbs_get_context`.
pub(super) fn allocate(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let driver = allocate_driver(context, &call.driver)?;
    let core = Answer::default().u32(&[context.make_asynchronous()?.cast_unsigned(), query::VECTORS]);
    Ok(Reply { core, driver })
}

/// `UVERBS_METHOD_GET_CONTEXT`; the asynchronous event file is asked for apart.
pub(super) fn allocate_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    let driver = allocate_driver(context, &request.bytes(attribute::DRIVER_IN)?)?;
    request.room(attribute::CONTEXT_VECTORS).fill(&Answer::default().u32(&[query::VECTORS]))?;
    request.room(attribute::CONTEXT_CORE_SUPPORT).fill(&Answer::default().u64(&[OPTIONAL_ACCESS]))?;
    request.room(attribute::DRIVER_OUT).fill(&driver)
}

/// `mlx5_ib_alloc_ucontext_req_v2` and its answer.
fn allocate_driver(context: &Context, bytes: &[u8]) -> Result<Answer, CommandError> {
    let mut fields = Fields::driver(bytes, DRIVER_NEEDED)?;
    let (registers, _low_latency, flags) = (fields.u32()?, fields.u32()?, fields.u32()?);
    if flags & DEVX != 0 {
        return Err(CommandError::Unsupported("DEVX"));
    }
    if context.allocated.swap(true, Ordering::AcqRel) {
        return Err(CommandError::NoContext);
    }
    let (registers, later) = if context.has_dynamic_pages() { (0, 0) } else { (registers, LATER_REGISTERS) };
    context.registers.store(registers, Ordering::Relaxed);
    Ok(driver_answer(registers, later))
}

/// `mlx5_ib_alloc_ucontext_resp`: no registers mean dynamic pages.
fn driver_answer(registers: u32, later: u32) -> Answer {
    Answer::default()
        // qp_tab_size, bf_reg_size, tot_bfregs, cache_line_size
        .u32(&[1 << 17, 512, registers, 64])
        // max_sq_desc_sz, max_rq_desc_sz
        .u16(&[1024, 512])
        // max_send_wqebb, max_recv_wr, max_srq_recv_wr
        .u32(&[query::WORK_REQUESTS, query::WORK_REQUESTS, query::SHARED_RECEIVES])
        // num_ports, flow_action_flags
        .u16(&[crate::port::PORTS.into(), 0])
        // comp_mask, response_length
        .u32(&[0, DRIVER_BYTES as u32])
        // cqe_version, cmds_supp_uhw: query device and create AH, eth_min_inline: none, clock_info_versions
        .u8(&[1, 3, 1, 0])
        // hca_core_clock_offset
        .pad(56)
        // log_uar_size, num_uars_per_page, num_dyn_bfregs, dump_fill_mkey
        .u32(&[12, 1, later, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_size_of_its_structure() {
        assert_eq!(driver_answer(16, 32).0.len(), DRIVER_BYTES);
    }
}
