//! Creating libmlx5's queues and connecting the queue pair to itself.

use std::{ffi::CStr, ptr::NonNull};

use pmd_sys::{
    Mlx5, Verbs,
    inline::{ibv_alloc_parent_domain, ibv_alloc_td, ibv_create_qp_ex, ibv_query_port},
    mlx5::*,
    verbs::*,
};

use super::{Domains, Shape, Theirs};

/// Sizes asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::bytes) struct Wanted {
    pub(in crate::bytes) send_requests: u32,
    pub(in crate::bytes) sges: u32,
    pub(in crate::bytes) inline: u32,
    pub(in crate::bytes) receives: u32,
    pub(in crate::bytes) receive_sges: u32,
    pub(in crate::bytes) entries: u32,
    pub(in crate::bytes) entry_bytes: u32,
    pub(in crate::bytes) is_shared: bool,
    pub(in crate::bytes) scatter_to_completion: bool,
}

/// Every operation of ibv_wr_* that is compared.
const OPERATIONS: u32 = IBV_QP_EX_WITH_RDMA_WRITE
    | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM
    | IBV_QP_EX_WITH_SEND
    | IBV_QP_EX_WITH_SEND_WITH_IMM
    | IBV_QP_EX_WITH_SEND_WITH_INV
    | IBV_QP_EX_WITH_RDMA_READ
    | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP
    | IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD;

const PORT: u8 = 1;

impl Theirs {
    /// Creates everything; the queue pair is in RESET.
    pub(super) fn open(verbs: &'static Verbs, mlx5: &Mlx5, device: &str, wanted: Wanted) -> Self {
        let context = open_device(verbs, device);
        let domains = Domains::new(verbs, context);
        let completions = create_completions(mlx5, context, wanted);
        let shared = wanted.is_shared.then(|| create_shared(verbs, domains.protection, wanted));
        let (queue_pair, send_requests) =
            create_queue_pair(verbs, context, &domains, completions, shared, wanted);
        // SAFETY: the queue pair is live and was made for the extended calls.
        let extended = unsafe { verbs.ibv_qp_to_qp_ex(queue_pair.as_ptr()) }.expect("ibv_qp_to_qp_ex");
        let mut side = Self {
            verbs,
            context,
            domains,
            completions,
            shared,
            queue_pair,
            extended: live("ibv_qp_to_qp_ex", extended),
            qp: mlx5dv_qp::default(),
            cq: mlx5dv_cq::default(),
            srq: mlx5dv_srq::default(),
            shape: shape(wanted, send_requests),
            user_index: 0,
        };
        side.look(mlx5);
        side
    }

    /// Asks mlx5dv where everything is.
    fn look(&mut self, mlx5: &Mlx5) {
        let qp = mlx5dv_obj__bindgen_ty_1 { in_: self.queue_pair.as_ptr(), out: &mut self.qp };
        let cq = mlx5dv_obj__bindgen_ty_2 { in_: self.completions.as_ptr().cast(), out: &mut self.cq };
        let mut object = mlx5dv_obj { qp, cq, ..Default::default() };
        let mut kinds = MLX5DV_OBJ_QP | MLX5DV_OBJ_CQ;
        if let Some(shared) = self.shared {
            object.srq = mlx5dv_obj__bindgen_ty_3 { in_: shared.as_ptr(), out: &mut self.srq };
            kinds |= MLX5DV_OBJ_SRQ;
        }
        // SAFETY: the queues are live and libmlx5's; the answers can be written.
        let answer = unsafe { mlx5.mlx5dv_init_obj(&mut object, kinds.into()) };
        assert_eq!(answer.expect("mlx5dv_init_obj"), 0, "mlx5dv_init_obj");
        // SAFETY: the queue pair is live.
        self.shape.queue_pair = unsafe { self.queue_pair.as_ref() }.qp_num;
        self.shape.send_slots = self.qp.sq.wqe_cnt;
        self.shape.blue_flame = self.qp.bf.size;
        (self.shape.completion_queue, self.shape.entries) = (self.cq.cqn, self.cq.cqe_cnt);
        assert_eq!(self.shape.entry_bytes, self.cq.cqe_size, "bytes of a completion entry");
        let (receives, stride) = match self.shared {
            Some(_) => (self.srq.tail - self.srq.head + 1, self.srq.stride),
            None => (self.qp.rq.wqe_cnt, self.qp.rq.stride),
        };
        (self.shape.receives, self.shape.receive_shift) = (receives, stride.trailing_zeros());
    }

    /// From RESET to RTS, the peer being the queue pair itself.
    pub(super) fn connect(&mut self) {
        let access = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
        let init = ibv_qp_attr {
            qp_state: IBV_QPS_INIT,
            port_num: PORT,
            qp_access_flags: access,
            ..Default::default()
        };
        self.modify(init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
        let receive = ibv_qp_attr {
            qp_state: IBV_QPS_RTR,
            path_mtu: IBV_MTU_1024,
            dest_qp_num: self.shape.queue_pair,
            max_dest_rd_atomic: 1,
            min_rnr_timer: 12,
            ah_attr: ibv_ah_attr { dlid: self.lid(), port_num: PORT, ..Default::default() },
            ..Default::default()
        };
        let path = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
        self.modify(receive, IBV_QP_STATE | path | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
        let send = ibv_qp_attr {
            qp_state: IBV_QPS_RTS,
            timeout: 14,
            retry_cnt: 6,
            rnr_retry: 6,
            max_rd_atomic: 1,
            ..Default::default()
        };
        let retries = IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY;
        self.modify(send, IBV_QP_STATE | retries | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
    }

    fn modify(&mut self, mut attributes: ibv_qp_attr, mask: u32) {
        // SAFETY: the queue pair is live; the attributes name what the mask says.
        let answer =
            unsafe { self.verbs.ibv_modify_qp(self.queue_pair.as_ptr(), &mut attributes, mask as i32) };
        assert_eq!(answer.expect("ibv_modify_qp"), 0, "to state {}", attributes.qp_state);
    }

    /// The port's local identifier: packets go by it.
    fn lid(&self) -> u16 {
        let mut attributes = ibv_port_attr::default();
        // SAFETY: the context is open.
        let answer = unsafe { ibv_query_port(self.verbs, self.context.as_ptr(), PORT, &mut attributes) };
        assert_eq!(answer.expect("ibv_query_port"), 0, "ibv_query_port");
        assert_ne!(attributes.lid, 0, "bytes are compared on an InfiniBand port");
        attributes.lid
    }
}

impl Domains {
    /// A thread domain gives the queue pair a doorbell register of its own.
    fn new(verbs: &Verbs, context: NonNull<ibv_context>) -> Self {
        // SAFETY: the context is open; what is made is used here only.
        unsafe {
            let protection = verbs.ibv_alloc_pd(context.as_ptr()).expect("ibv_alloc_pd");
            let thread = ibv_alloc_td(context.as_ptr(), &mut ibv_td_init_attr::default());
            let mut attributes =
                ibv_parent_domain_init_attr { pd: protection, td: thread, ..Default::default() };
            let parent = ibv_alloc_parent_domain(context.as_ptr(), &mut attributes);
            Self {
                protection: live("ibv_alloc_pd", protection),
                thread: live("ibv_alloc_td", thread),
                parent: live("ibv_alloc_parent_domain", parent),
            }
        }
    }
}

fn open_device(verbs: &Verbs, name: &str) -> NonNull<ibv_context> {
    let mut count = 0;
    // SAFETY: the list has as many entries as it says, whose names end with a zero, until it is freed.
    unsafe {
        let list = verbs.ibv_get_device_list(&mut count).expect("ibv_get_device_list");
        let list = live("ibv_get_device_list", list);
        let named = |device: &*mut ibv_device| {
            let text = verbs.ibv_get_device_name(*device).expect("ibv_get_device_name");
            CStr::from_ptr(text).to_bytes() == name.as_bytes()
        };
        let mut devices = (0..count as usize).map(|index| *list.as_ptr().add(index));
        let device = devices.find(named).unwrap_or_else(|| panic!("no device {name}"));
        let context = verbs.ibv_open_device(device).expect("ibv_open_device");
        verbs.ibv_free_device_list(list.as_ptr()).expect("ibv_free_device_list");
        live("ibv_open_device", context)
    }
}

fn create_completions(mlx5: &Mlx5, context: NonNull<ibv_context>, wanted: Wanted) -> NonNull<ibv_cq_ex> {
    let mut attributes = ibv_cq_init_attr_ex {
        cqe: wanted.entries - 1,
        wc_flags: IBV_WC_STANDARD_FLAGS.into(),
        ..Default::default()
    };
    let mut direct = mlx5dv_cq_init_attr {
        comp_mask: MLX5DV_CQ_INIT_ATTR_MASK_CQE_SIZE.into(),
        cqe_size: wanted.entry_bytes as u16,
        ..Default::default()
    };
    // SAFETY: the context is open.
    let answer = unsafe { mlx5.mlx5dv_create_cq(context.as_ptr(), &mut attributes, &mut direct) };
    live("mlx5dv_create_cq", answer.expect("mlx5dv_create_cq"))
}

fn create_shared(verbs: &Verbs, domain: NonNull<ibv_pd>, wanted: Wanted) -> NonNull<ibv_srq> {
    let attr = ibv_srq_attr { max_wr: wanted.receives, max_sge: wanted.receive_sges, srq_limit: 0 };
    let mut attributes = ibv_srq_init_attr { attr, ..Default::default() };
    // SAFETY: the domain is live.
    let answer = unsafe { verbs.ibv_create_srq(domain.as_ptr(), &mut attributes) };
    live("ibv_create_srq", answer.expect("ibv_create_srq"))
}

/// The queue pair, and the requests that it takes.
fn create_queue_pair(
    verbs: &Verbs,
    context: NonNull<ibv_context>,
    domains: &Domains,
    completions: NonNull<ibv_cq_ex>,
    shared: Option<NonNull<ibv_srq>>,
    wanted: Wanted,
) -> (NonNull<ibv_qp>, u32) {
    let receives = if shared.is_some() { 0 } else { wanted.receives };
    let mut attributes = ibv_qp_init_attr_ex {
        send_cq: completions.as_ptr().cast(),
        recv_cq: completions.as_ptr().cast(),
        srq: shared.map_or(std::ptr::null_mut(), NonNull::as_ptr),
        cap: ibv_qp_cap {
            max_send_wr: wanted.send_requests,
            max_recv_wr: receives,
            max_send_sge: wanted.sges,
            max_recv_sge: if receives == 0 { 0 } else { wanted.receive_sges },
            max_inline_data: wanted.inline,
        },
        qp_type: IBV_QPT_RC,
        comp_mask: IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
        pd: domains.parent.as_ptr(),
        send_ops_flags: OPERATIONS.into(),
        ..Default::default()
    };
    // SAFETY: the context is open; what the attributes name is live.
    let answer = unsafe { ibv_create_qp_ex(verbs, context.as_ptr(), &mut attributes) };
    let queue_pair = live("ibv_create_qp_ex", answer.expect("ibv_create_qp"));
    (queue_pair, attributes.cap.max_send_wr)
}

/// What is known before libmlx5 has been asked.
fn shape(wanted: Wanted, send_requests: u32) -> Shape {
    Shape {
        queue_pair: 0,
        send_slots: 0,
        send_requests,
        sges: wanted.sges,
        inline: wanted.inline,
        blue_flame: 0,
        receives: 0,
        receive_shift: 0,
        receive_sges: wanted.receive_sges,
        is_shared: wanted.is_shared,
        completion_queue: 0,
        entries: 0,
        entry_bytes: wanted.entry_bytes,
        scatter_to_completion: wanted.scatter_to_completion,
    }
}

/// What a call made, or its name and the error number.
fn live<T>(call: &str, answer: *mut T) -> NonNull<T> {
    NonNull::new(answer).unwrap_or_else(|| panic!("{call}: {}", std::io::Error::last_os_error()))
}
