//! The ports call what the provider filled in, with the arguments in order, and nothing where it filled in nothing.
//! Contexts and queues are made up here; no library is needed.

use std::cell::RefCell;
use std::ffi::c_int;
use std::mem::{offset_of, size_of};
use std::ptr::{self, null_mut};

use super::*;
use crate::loader::tests::table_without_functions;
use crate::mlx5::*;
use crate::verbs::*;

thread_local! {
    /// What the made-up provider was called with, in order.
    static CALLS: RefCell<Vec<(&'static str, Vec<u64>)>> = const { RefCell::new(Vec::new()) };
}

fn record(call: &'static str, arguments: &[u64]) {
    CALLS.with_borrow_mut(|calls| calls.push((call, arguments.to_vec())));
}

fn calls() -> Vec<(&'static str, Vec<u64>)> {
    CALLS.take()
}

unsafe extern "C" fn post_send(
    queue: *mut ibv_qp,
    list: *mut ibv_send_wr,
    bad: *mut *mut ibv_send_wr,
) -> c_int {
    record("post_send", &[queue.addr() as u64, list.addr() as u64, bad.addr() as u64]);
    7
}

unsafe extern "C" fn poll_cq(queue: *mut ibv_cq, capacity: c_int, completions: *mut ibv_wc) -> c_int {
    record("poll_cq", &[queue.addr() as u64, capacity as u64, completions.addr() as u64]);
    3
}

unsafe extern "C" fn req_notify_cq(queue: *mut ibv_cq, solicited: c_int) -> c_int {
    record("req_notify_cq", &[queue.addr() as u64, solicited as u64]);
    0
}

unsafe extern "C" fn query_port(
    _: *mut ibv_context,
    port: u8,
    out: *mut ibv_port_attr,
    size: usize,
) -> c_int {
    record("query_port", &[u64::from(port), size as u64]);
    // SAFETY: the caller passes a place for the attributes.
    unsafe { (*out).lid = 42 };
    0
}

unsafe extern "C" fn alloc_td(_: *mut ibv_context, attributes: *mut ibv_td_init_attr) -> *mut ibv_td {
    record("alloc_td", &[attributes.addr() as u64]);
    ptr::without_provenance_mut(0x1000)
}

unsafe extern "C" fn write_imm(_: *mut ibv_qp_ex, rkey: u32, address: u64, immediate: u32) {
    record("write_imm", &[rkey.into(), address, immediate.into()]);
}

unsafe extern "C" fn complete(_: *mut ibv_qp_ex) -> c_int {
    12
}

/// A provider of the bound release, its operations filled in by `fill`.
fn extended_context(fill: impl FnOnce(&mut verbs_context)) -> Box<verbs_context> {
    let mut extended = Box::new(verbs_context { sz: size_of::<verbs_context>(), ..Default::default() });
    extended.context.abi_compat = ptr::without_provenance_mut(usize::MAX);
    fill(&mut extended);
    extended
}

/// The address that C would hand out; it keeps the right to reach around the member.
fn context_of(extended: &mut verbs_context) -> *mut ibv_context {
    // SAFETY: only an address inside the struct is made.
    unsafe { ptr::from_mut(extended).byte_add(offset_of!(verbs_context, context)).cast() }
}

#[test]
fn posting_and_polling_reach_the_provider() {
    let mut context = ibv_context::default();
    context.ops.post_send = Some(post_send);
    context.ops.poll_cq = Some(poll_cq);
    context.ops.req_notify_cq = Some(req_notify_cq);
    let mut queue_pair = ibv_qp { context: &raw mut context, ..Default::default() };
    let mut queue = ibv_cq { context: &raw mut context, ..Default::default() };
    let (mut request, mut bad, mut completion) = (ibv_send_wr::default(), null_mut(), ibv_wc::default());
    let (qp, cq) = (&raw mut queue_pair, &raw mut queue);
    // SAFETY: everything lives on this stack.
    let answers = unsafe {
        (
            ibv_post_send(qp, &mut request, &mut bad),
            ibv_poll_cq(cq, 16, &mut completion),
            ibv_req_notify_cq(cq, true),
        )
    };
    assert_eq!(answers, (7, 3, 0));
    let address = |place: *const ()| place.addr() as u64;
    let expected = vec![
        (
            "post_send",
            vec![address(qp.cast()), address((&raw const request).cast()), address((&raw const bad).cast())],
        ),
        ("poll_cq", vec![address(cq.cast()), 16, address((&raw const completion).cast())]),
        ("req_notify_cq", vec![address(cq.cast()), 1]),
    ];
    assert_eq!(calls(), expected);
}

#[test]
fn an_operation_left_out_refuses_the_whole_list() {
    let mut context = ibv_context::default();
    let mut queue_pair = ibv_qp { context: &raw mut context, ..Default::default() };
    let mut queue = ibv_cq { context: &raw mut context, ..Default::default() };
    let (mut send, mut bad_send) = (ibv_send_wr::default(), null_mut());
    let (mut receive, mut bad_receive) = (ibv_recv_wr::default(), null_mut());
    // SAFETY: everything lives on this stack.
    unsafe {
        assert_eq!(ibv_post_send(&mut queue_pair, &mut send, &mut bad_send), libc::EOPNOTSUPP);
        assert_eq!(ibv_post_recv(&mut queue_pair, &mut receive, &mut bad_receive), libc::EOPNOTSUPP);
        assert_eq!(ibv_poll_cq(&mut queue, 1, &mut ibv_wc::default()), -libc::EOPNOTSUPP);
        assert_eq!(ibv_req_notify_cq(&mut queue, false), libc::EOPNOTSUPP);
    }
    assert!(ptr::eq(bad_send, &send) && ptr::eq(bad_receive, &receive));
    assert_eq!(calls(), vec![]);
}

#[test]
fn the_extended_context_is_found_by_its_mark() {
    let mut extended = extended_context(|_| ());
    let context = context_of(&mut extended);
    // SAFETY: the context is part of an extended one.
    unsafe {
        assert!(ptr::eq(verbs_get_ctx(context), &*extended));
        (*context).abi_compat = null_mut();
        assert!(verbs_get_ctx(context).is_null());
    }
}

#[test]
fn an_extended_operation_is_called() {
    let mut extended = extended_context(|context| context.alloc_td = Some(alloc_td));
    let mut attributes = ibv_td_init_attr::default();
    // SAFETY: the context is part of an extended one.
    let domain = unsafe { ibv_alloc_td(context_of(&mut extended), &mut attributes) };
    assert_eq!(domain.addr(), 0x1000);
    assert_eq!(calls(), vec![("alloc_td", vec![(&raw const attributes).addr() as u64])]);
}

#[test]
fn an_extended_operation_left_out_is_not_supported() {
    let mut extended = extended_context(|_| ());
    let context = context_of(&mut extended);
    let mut domain = ibv_td { context };
    // SAFETY: the context is part of an extended one.
    unsafe {
        assert!(ibv_alloc_td(context, &mut ibv_td_init_attr::default()).is_null());
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(ibv_dealloc_td(&mut domain), libc::EOPNOTSUPP);
    }
}

#[test]
fn members_that_an_older_provider_lacks_are_not_read() {
    let verbs = table_without_functions();
    let mut attributes = ibv_port_attr::default();
    let mut extended = extended_context(|context| context.query_port = Some(query_port));
    let context = context_of(&mut extended);
    // SAFETY: the context is part of an extended one; the table has no function to call.
    unsafe {
        assert_eq!(ibv_query_port(verbs, context, 1, &mut attributes), Ok(0));
        assert_eq!(attributes.lid, 42);
        assert_eq!(calls(), vec![("query_port", vec![1, size_of::<ibv_port_attr>() as u64])]);

        // query_port is the newest member, so a provider one pointer shorter has all but this one.
        extended.sz -= size_of::<usize>();
        let error = ibv_query_port(verbs, context_of(&mut extended), 1, &mut attributes).unwrap_err();
        assert!(error.to_string().contains("ibv_query_port"), "{error}");
    }
    assert_eq!(attributes.lid, 0, "the older function fills in a part: the rest is zero");
    assert_eq!(calls(), vec![]);
}

#[test]
fn optional_access_flags_need_the_newer_registration() {
    let verbs = table_without_functions();
    let name = |access| {
        // SAFETY: the table has no function to call.
        let error = unsafe { ibv_reg_mr(verbs, null_mut(), null_mut(), 0, access) }.unwrap_err();
        error.to_string()
    };
    assert!(name(IBV_ACCESS_REMOTE_READ).contains("ibv_reg_mr:"), "{}", name(1));
    assert!(name(IBV_ACCESS_RELAXED_ORDERING).contains("ibv_reg_mr_iova2:"));
    assert_eq!(ACCESS_OPTIONAL_RANGE & IBV_ACCESS_RELAXED_ORDERING, IBV_ACCESS_RELAXED_ORDERING);
}

#[test]
fn work_requests_are_forwarded_or_named_as_missing() {
    let mut queue_pair =
        ibv_qp_ex { wr_rdma_write_imm: Some(write_imm), wr_complete: Some(complete), ..Default::default() };
    // SAFETY: the queue pair lives on this stack.
    unsafe {
        assert_eq!(ibv_wr_rdma_write_imm(&mut queue_pair, 5, 6, 7), Ok(()));
        assert_eq!(ibv_wr_complete(&mut queue_pair), Ok(12));
        assert_eq!(ibv_wr_send(&mut queue_pair), Err(OperationMissing("wr_send")));
    }
    assert_eq!(calls(), vec![("write_imm", vec![5, 6, 7])]);
}

#[test]
fn windows_are_bound_only_where_they_may_be() {
    let mut domains = [ibv_pd::default(), ibv_pd::default()];
    let [own, other] = &mut domains;
    let mut context = ibv_context::default();
    let mut region = ibv_mr { pd: other, ..Default::default() };
    let mut window =
        ibv_mw { context: &raw mut context, pd: own, type_: IBV_MW_TYPE_1, ..Default::default() };
    let mut bind = ibv_mw_bind::default();
    bind.bind_info.length = 1;
    // SAFETY: everything lives on this stack; a refused bind does not touch the queue pair.
    unsafe {
        assert_eq!(ibv_bind_mw(null_mut(), &mut window, &mut bind), libc::EINVAL, "no region");
        bind.bind_info.mr = &raw mut region;
        assert_eq!(ibv_bind_mw(null_mut(), &mut window, &mut bind), libc::EPERM, "another domain");
        (*bind.bind_info.mr).pd = window.pd;
        assert_eq!(ibv_bind_mw(null_mut(), &mut window, &mut bind), libc::EOPNOTSUPP, "no operation");
        window.type_ = IBV_MW_TYPE_2;
        assert_eq!(ibv_bind_mw(null_mut(), &mut window, &mut bind), libc::EINVAL, "type 2");
    }
}

#[test]
fn keys_ports_and_types_are_computed_as_in_c() {
    assert_eq!(ibv_inc_rkey(0x1234_56ff), 0x1234_5600);
    assert_eq!(ibv_inc_rkey(u32::MAX), 0xffff_ff00);
    assert_eq!(ibv_flow_label_to_udp_sport(0), 0xc000);
    assert_eq!(ibv_flow_label_to_udp_sport(0xf_ffff), 0xc000 | (0x3fff ^ 0x3f));
    assert!(ibv_is_qpt_supported(1 << IBV_QPT_RC, IBV_QPT_RC));
    assert!(!ibv_is_qpt_supported(1 << IBV_QPT_RC, IBV_QPT_UD));
    assert!(!ibv_is_qpt_supported(u32::MAX, IBV_QPT_DRIVER), "beyond the mask");
}

#[test]
fn mlx5_segments_are_big_endian() {
    let mut control = mlx5_wqe_ctrl_seg::default();
    mlx5dv_set_ctrl_seg(&mut control, 0x0102, 0x08, 0, 0xab_cdef, 0x8a, 3, 0, 0x0102_0304_u32.to_be());
    // SAFETY: the struct is 16 bytes without padding.
    let bytes: [u8; 16] = unsafe { std::mem::transmute(control) };
    assert_eq!(bytes, [0, 1, 2, 8, 0xab, 0xcd, 0xef, 3, 0, 0, 0, 0x8a, 1, 2, 3, 4]);
    let mut data = mlx5_wqe_data_seg::default();
    mlx5dv_set_data_seg(&mut data, 0x1000, 0xca_fe01, 0x1122_3344_5566_7788);
    // SAFETY: the struct is 16 bytes without padding.
    let bytes: [u8; 16] = unsafe { std::mem::transmute(data) };
    assert_eq!(bytes, [0, 0, 0x10, 0, 0, 0xca, 0xfe, 1, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
}

#[test]
fn completion_bits_are_taken_apart() {
    let mut entry = mlx5_cqe64 { op_own: 0xd6, ..Default::default() };
    let parts = |entry: &mlx5_cqe64| {
        (
            mlx5dv_get_cqe_opcode(entry),
            mlx5dv_get_cqe_format(entry),
            mlx5dv_get_cqe_se(entry),
            mlx5dv_get_cqe_owner(entry),
        )
    };
    assert_eq!(parts(&entry), (13, 1, 1, 0));
    mlx5dv_set_cqe_owner(&mut entry, 3);
    assert_eq!(parts(&entry), (13, 1, 1, 1));
}

#[test]
fn device_times_before_and_after_the_last_update_are_converted() {
    let clock = mlx5dv_clock_info {
        nsec: 1_000_000,
        last_cycles: 100,
        frac: 0,
        mult: 4,
        shift: 1,
        mask: 0xffff_ffff,
    };
    assert_eq!(mlx5dv_ts_to_ns(&clock, 150), 1_000_100);
    assert_eq!(mlx5dv_ts_to_ns(&clock, 50), 999_900);
    assert_eq!(mlx5dv_ts_to_ns(&mlx5dv_clock_info { last_cycles: 0xffff_fff0, ..clock }, 0x10), 1_000_064);
}
