//! A queue pair that is connected to itself.

use std::{
    mem, ptr,
    time::{Duration, Instant},
};

use pmd_sys::{LoadError, inline, verbs::*};

/// Longest that an event is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What ibv_create_cq is asked for: a queue of four entries.
const ENTRIES: i32 = 3;

/// The queue pair, with everything that it needs.
pub(super) struct Bench {
    verbs: &'static Verbs,
    context: *mut ibv_context,
    domain: *mut ibv_pd,
    region: *mut ibv_mr,
    queue: *mut ibv_cq,
    queue_pair: *mut ibv_qp,
    memory: Box<[u8; 64]>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let verbs = Verbs::load().expect("libibverbs is installed");
        let mut memory = Box::new([0; 64]);
        let access = (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE) as i32;
        // SAFETY: each call gets what the calls before it made; the region's memory lives in this value.
        unsafe {
            let devices = made(verbs.ibv_get_device_list(ptr::null_mut()));
            assert!(!(*devices).is_null(), "run it on the simulated device");
            let context = made(verbs.ibv_open_device(*devices));
            assert!(verbs.ibv_free_device_list(devices).is_ok());
            let domain = made(verbs.ibv_alloc_pd(context));
            let region = made(verbs.ibv_reg_mr(domain, memory.as_mut_ptr().cast(), memory.len(), access));
            let queue = made(verbs.ibv_create_cq(context, ENTRIES, ptr::null_mut(), ptr::null_mut(), 0));
            let mut wanted = ibv_qp_init_attr {
                send_cq: queue,
                recv_cq: queue,
                qp_type: IBV_QPT_RC,
                sq_sig_all: 1,
                ..Default::default()
            };
            (wanted.cap.max_send_wr, wanted.cap.max_send_sge) = (16, 1);
            (wanted.cap.max_recv_wr, wanted.cap.max_recv_sge) = (1, 1);
            let queue_pair = made(verbs.ibv_create_qp(domain, &raw mut wanted));
            let bench = Self { verbs, context, domain, region, queue, queue_pair, memory };
            bench.connect();
            bench
        }
    }

    fn modify(&self, attributes: &mut ibv_qp_attr, mask: u32) {
        // SAFETY: a live queue pair, and attributes that say what the mask tells.
        let answer = unsafe { self.verbs.ibv_modify_qp(self.queue_pair, attributes, mask as i32) };
        assert_eq!(answer, Ok(0), "to state {}", attributes.qp_state);
    }

    fn connect(&self) {
        let mut port = ibv_port_attr::default();
        // SAFETY: a live context; a live queue pair.
        let number = unsafe {
            assert_eq!(inline::ibv_query_port(self.verbs, self.context, 1, &raw mut port), Ok(0));
            (*self.queue_pair).qp_num
        };
        let access = IBV_ACCESS_REMOTE_WRITE;
        let mut attributes = ibv_qp_attr {
            qp_state: IBV_QPS_INIT,
            port_num: 1,
            qp_access_flags: access,
            ..Default::default()
        };
        self.modify(&mut attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
        attributes.qp_state = IBV_QPS_RTR;
        (attributes.path_mtu, attributes.dest_qp_num, attributes.max_dest_rd_atomic) =
            (IBV_MTU_1024, number, 1);
        (attributes.ah_attr.dlid, attributes.ah_attr.port_num) = (port.lid, 1);
        let path = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
        self.modify(&mut attributes, IBV_QP_STATE | path | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
        attributes.qp_state = IBV_QPS_RTS;
        (attributes.timeout, attributes.retry_cnt, attributes.rnr_retry, attributes.max_rd_atomic) =
            (14, 7, 7, 1);
        let retries = IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN;
        self.modify(&mut attributes, IBV_QP_STATE | retries | IBV_QP_MAX_QP_RD_ATOMIC);
    }

    /// Writes eight bytes of the memory over the next eight.
    pub(super) fn write(&self, id: u64) {
        let address = self.memory.as_ptr() as u64;
        // SAFETY: a live region.
        let (local, remote) = unsafe { ((*self.region).lkey, (*self.region).rkey) };
        let mut piece = ibv_sge { addr: address, length: 8, lkey: local };
        // SAFETY: zeros are a valid request; the two fields of the union are set together.
        let mut request: ibv_send_wr = unsafe { mem::zeroed() };
        (request.wr_id, request.opcode, request.num_sge) = (id, IBV_WR_RDMA_WRITE, 1);
        request.sg_list = &raw mut piece;
        request.wr.rdma.remote_addr = address + 8;
        request.wr.rdma.rkey = remote;
        let mut refused = ptr::null_mut();
        // SAFETY: a live queue pair; the request and its piece outlive the call.
        let answer = unsafe { inline::ibv_post_send(self.queue_pair, &raw mut request, &raw mut refused) };
        assert_eq!(answer, 0, "write {id}");
    }

    /// The next asynchronous event, acknowledged.
    pub(super) fn event(&self) -> ibv_event_type {
        // SAFETY: a live context; the event is filled in before it is read, and acknowledged once.
        unsafe {
            let mut poll = libc::pollfd { fd: (*self.context).async_fd, events: libc::POLLIN, revents: 0 };
            let ready = libc::poll(&raw mut poll, 1, PATIENCE.as_millis() as i32);
            assert_eq!(ready, 1, "no asynchronous event");
            let mut event: ibv_async_event = mem::zeroed();
            assert_eq!(self.verbs.ibv_get_async_event(self.context, &raw mut event), Ok(0));
            assert!(self.verbs.ibv_ack_async_event(&raw mut event).is_ok());
            event.event_type
        }
    }

    pub(super) fn poll(&self) -> Option<(u64, ibv_wc_status)> {
        let mut completion = ibv_wc::default();
        // SAFETY: a live queue, and room for one completion.
        let polled = unsafe { inline::ibv_poll_cq(self.queue, 1, &raw mut completion) };
        assert!(polled >= 0);
        (polled == 1).then_some((completion.wr_id, completion.status))
    }

    /// The next completions, which must be good ones.
    pub(super) fn complete(&self, count: usize) -> Vec<u64> {
        let deadline = Instant::now() + PATIENCE;
        let mut ids = Vec::new();
        while ids.len() < count && Instant::now() < deadline {
            ids.extend(self.poll().map(|(id, status)| {
                assert_eq!(status, IBV_WC_SUCCESS, "request {id}");
                id
            }));
        }
        ids
    }

    /// Everything can be destroyed, in order.
    pub(super) fn destroy(self) {
        // SAFETY: each is live, and nothing that needs it is left.
        let answers = unsafe {
            [
                self.verbs.ibv_destroy_qp(self.queue_pair),
                self.verbs.ibv_destroy_cq(self.queue),
                self.verbs.ibv_dereg_mr(self.region),
                self.verbs.ibv_dealloc_pd(self.domain),
                self.verbs.ibv_close_device(self.context),
            ]
        };
        assert_eq!(answers, [const { Ok(0) }; 5]);
    }
}

/// An object, of which libibverbs gives null where it cannot make it.
fn made<T>(object: Result<*mut T, LoadError>) -> *mut T {
    object.ok().filter(|object| !object.is_null()).expect("libibverbs makes it")
}
