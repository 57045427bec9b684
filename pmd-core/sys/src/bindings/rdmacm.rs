// Generated from rdma/rdma_cma.h (rdma-core 44.0) by `regenerate`: change that, not this file.

use libc::{sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};
use super::verbs::*;

pub const RDMA_IB_IP_PS_MASK: i32 = -65536;
pub const RDMA_IB_IP_PORT_MASK: u32 = 65535;
pub const RDMA_IB_IP_PS_TCP: u32 = 17170432;
pub const RDMA_IB_IP_PS_UDP: u32 = 17891328;
pub const RDMA_IB_PS_IB: u32 = 20905984;
pub const RDMA_UDP_QKEY: u32 = 19088743;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_sa_path_rec {
    pub dgid: ibv_gid,
    pub sgid: ibv_gid,
    pub dlid: __be16,
    pub slid: __be16,
    pub raw_traffic: ::std::os::raw::c_int,
    pub flow_label: __be32,
    pub hop_limit: u8,
    pub traffic_class: u8,
    pub reversible: ::std::os::raw::c_int,
    pub numb_path: u8,
    pub pkey: __be16,
    pub sl: u8,
    pub mtu_selector: u8,
    pub mtu: u8,
    pub rate_selector: u8,
    pub rate: u8,
    pub packet_life_time_selector: u8,
    pub packet_life_time: u8,
    pub preference: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_sa_path_rec"][::std::mem::size_of::<ibv_sa_path_rec>() - 64usize];
    ["Alignment of ibv_sa_path_rec"][::std::mem::align_of::<ibv_sa_path_rec>() - 8usize];
    [
        "Offset of field: ibv_sa_path_rec::dgid",
    ][::std::mem::offset_of!(ibv_sa_path_rec, dgid) - 0usize];
    [
        "Offset of field: ibv_sa_path_rec::sgid",
    ][::std::mem::offset_of!(ibv_sa_path_rec, sgid) - 16usize];
    [
        "Offset of field: ibv_sa_path_rec::dlid",
    ][::std::mem::offset_of!(ibv_sa_path_rec, dlid) - 32usize];
    [
        "Offset of field: ibv_sa_path_rec::slid",
    ][::std::mem::offset_of!(ibv_sa_path_rec, slid) - 34usize];
    [
        "Offset of field: ibv_sa_path_rec::raw_traffic",
    ][::std::mem::offset_of!(ibv_sa_path_rec, raw_traffic) - 36usize];
    [
        "Offset of field: ibv_sa_path_rec::flow_label",
    ][::std::mem::offset_of!(ibv_sa_path_rec, flow_label) - 40usize];
    [
        "Offset of field: ibv_sa_path_rec::hop_limit",
    ][::std::mem::offset_of!(ibv_sa_path_rec, hop_limit) - 44usize];
    [
        "Offset of field: ibv_sa_path_rec::traffic_class",
    ][::std::mem::offset_of!(ibv_sa_path_rec, traffic_class) - 45usize];
    [
        "Offset of field: ibv_sa_path_rec::reversible",
    ][::std::mem::offset_of!(ibv_sa_path_rec, reversible) - 48usize];
    [
        "Offset of field: ibv_sa_path_rec::numb_path",
    ][::std::mem::offset_of!(ibv_sa_path_rec, numb_path) - 52usize];
    [
        "Offset of field: ibv_sa_path_rec::pkey",
    ][::std::mem::offset_of!(ibv_sa_path_rec, pkey) - 54usize];
    [
        "Offset of field: ibv_sa_path_rec::sl",
    ][::std::mem::offset_of!(ibv_sa_path_rec, sl) - 56usize];
    [
        "Offset of field: ibv_sa_path_rec::mtu_selector",
    ][::std::mem::offset_of!(ibv_sa_path_rec, mtu_selector) - 57usize];
    [
        "Offset of field: ibv_sa_path_rec::mtu",
    ][::std::mem::offset_of!(ibv_sa_path_rec, mtu) - 58usize];
    [
        "Offset of field: ibv_sa_path_rec::rate_selector",
    ][::std::mem::offset_of!(ibv_sa_path_rec, rate_selector) - 59usize];
    [
        "Offset of field: ibv_sa_path_rec::rate",
    ][::std::mem::offset_of!(ibv_sa_path_rec, rate) - 60usize];
    [
        "Offset of field: ibv_sa_path_rec::packet_life_time_selector",
    ][::std::mem::offset_of!(ibv_sa_path_rec, packet_life_time_selector) - 61usize];
    [
        "Offset of field: ibv_sa_path_rec::packet_life_time",
    ][::std::mem::offset_of!(ibv_sa_path_rec, packet_life_time) - 62usize];
    [
        "Offset of field: ibv_sa_path_rec::preference",
    ][::std::mem::offset_of!(ibv_sa_path_rec, preference) - 63usize];
};
impl Default for ibv_sa_path_rec {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const RDMA_CM_EVENT_ADDR_RESOLVED: rdma_cm_event_type = 0;
pub const RDMA_CM_EVENT_ADDR_ERROR: rdma_cm_event_type = 1;
pub const RDMA_CM_EVENT_ROUTE_RESOLVED: rdma_cm_event_type = 2;
pub const RDMA_CM_EVENT_ROUTE_ERROR: rdma_cm_event_type = 3;
pub const RDMA_CM_EVENT_CONNECT_REQUEST: rdma_cm_event_type = 4;
pub const RDMA_CM_EVENT_CONNECT_RESPONSE: rdma_cm_event_type = 5;
pub const RDMA_CM_EVENT_CONNECT_ERROR: rdma_cm_event_type = 6;
pub const RDMA_CM_EVENT_UNREACHABLE: rdma_cm_event_type = 7;
pub const RDMA_CM_EVENT_REJECTED: rdma_cm_event_type = 8;
pub const RDMA_CM_EVENT_ESTABLISHED: rdma_cm_event_type = 9;
pub const RDMA_CM_EVENT_DISCONNECTED: rdma_cm_event_type = 10;
pub const RDMA_CM_EVENT_DEVICE_REMOVAL: rdma_cm_event_type = 11;
pub const RDMA_CM_EVENT_MULTICAST_JOIN: rdma_cm_event_type = 12;
pub const RDMA_CM_EVENT_MULTICAST_ERROR: rdma_cm_event_type = 13;
pub const RDMA_CM_EVENT_ADDR_CHANGE: rdma_cm_event_type = 14;
pub const RDMA_CM_EVENT_TIMEWAIT_EXIT: rdma_cm_event_type = 15;
pub type rdma_cm_event_type = ::std::os::raw::c_uint;
pub const RDMA_PS_IPOIB: rdma_port_space = 2;
pub const RDMA_PS_TCP: rdma_port_space = 262;
pub const RDMA_PS_UDP: rdma_port_space = 273;
pub const RDMA_PS_IB: rdma_port_space = 319;
pub type rdma_port_space = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_ib_addr {
    pub sgid: ibv_gid,
    pub dgid: ibv_gid,
    pub pkey: __be16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_ib_addr"][::std::mem::size_of::<rdma_ib_addr>() - 40usize];
    ["Alignment of rdma_ib_addr"][::std::mem::align_of::<rdma_ib_addr>() - 8usize];
    [
        "Offset of field: rdma_ib_addr::sgid",
    ][::std::mem::offset_of!(rdma_ib_addr, sgid) - 0usize];
    [
        "Offset of field: rdma_ib_addr::dgid",
    ][::std::mem::offset_of!(rdma_ib_addr, dgid) - 16usize];
    [
        "Offset of field: rdma_ib_addr::pkey",
    ][::std::mem::offset_of!(rdma_ib_addr, pkey) - 32usize];
};
impl Default for rdma_ib_addr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_addr {
    pub __bindgen_anon_1: rdma_addr__bindgen_ty_1,
    pub __bindgen_anon_2: rdma_addr__bindgen_ty_2,
    pub addr: rdma_addr__bindgen_ty_3,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union rdma_addr__bindgen_ty_1 {
    pub src_addr: sockaddr,
    pub src_sin: sockaddr_in,
    pub src_sin6: sockaddr_in6,
    pub src_storage: sockaddr_storage,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of rdma_addr__bindgen_ty_1",
    ][::std::mem::size_of::<rdma_addr__bindgen_ty_1>() - 128usize];
    [
        "Alignment of rdma_addr__bindgen_ty_1",
    ][::std::mem::align_of::<rdma_addr__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_1::src_addr",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_1, src_addr) - 0usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_1::src_sin",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_1, src_sin) - 0usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_1::src_sin6",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_1, src_sin6) - 0usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_1::src_storage",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_1, src_storage) - 0usize];
};
impl Default for rdma_addr__bindgen_ty_1 {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union rdma_addr__bindgen_ty_2 {
    pub dst_addr: sockaddr,
    pub dst_sin: sockaddr_in,
    pub dst_sin6: sockaddr_in6,
    pub dst_storage: sockaddr_storage,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of rdma_addr__bindgen_ty_2",
    ][::std::mem::size_of::<rdma_addr__bindgen_ty_2>() - 128usize];
    [
        "Alignment of rdma_addr__bindgen_ty_2",
    ][::std::mem::align_of::<rdma_addr__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_2::dst_addr",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_2, dst_addr) - 0usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_2::dst_sin",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_2, dst_sin) - 0usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_2::dst_sin6",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_2, dst_sin6) - 0usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_2::dst_storage",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_2, dst_storage) - 0usize];
};
impl Default for rdma_addr__bindgen_ty_2 {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union rdma_addr__bindgen_ty_3 {
    pub ibaddr: rdma_ib_addr,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of rdma_addr__bindgen_ty_3",
    ][::std::mem::size_of::<rdma_addr__bindgen_ty_3>() - 40usize];
    [
        "Alignment of rdma_addr__bindgen_ty_3",
    ][::std::mem::align_of::<rdma_addr__bindgen_ty_3>() - 8usize];
    [
        "Offset of field: rdma_addr__bindgen_ty_3::ibaddr",
    ][::std::mem::offset_of!(rdma_addr__bindgen_ty_3, ibaddr) - 0usize];
};
impl Default for rdma_addr__bindgen_ty_3 {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_addr"][::std::mem::size_of::<rdma_addr>() - 296usize];
    ["Alignment of rdma_addr"][::std::mem::align_of::<rdma_addr>() - 8usize];
    [
        "Offset of field: rdma_addr::addr",
    ][::std::mem::offset_of!(rdma_addr, addr) - 256usize];
};
impl Default for rdma_addr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_route {
    pub addr: rdma_addr,
    pub path_rec: *mut ibv_sa_path_rec,
    pub num_paths: ::std::os::raw::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_route"][::std::mem::size_of::<rdma_route>() - 312usize];
    ["Alignment of rdma_route"][::std::mem::align_of::<rdma_route>() - 8usize];
    [
        "Offset of field: rdma_route::addr",
    ][::std::mem::offset_of!(rdma_route, addr) - 0usize];
    [
        "Offset of field: rdma_route::path_rec",
    ][::std::mem::offset_of!(rdma_route, path_rec) - 296usize];
    [
        "Offset of field: rdma_route::num_paths",
    ][::std::mem::offset_of!(rdma_route, num_paths) - 304usize];
};
impl Default for rdma_route {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct rdma_event_channel {
    pub fd: ::std::os::raw::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_event_channel"][::std::mem::size_of::<rdma_event_channel>() - 4usize];
    [
        "Alignment of rdma_event_channel",
    ][::std::mem::align_of::<rdma_event_channel>() - 4usize];
    [
        "Offset of field: rdma_event_channel::fd",
    ][::std::mem::offset_of!(rdma_event_channel, fd) - 0usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_cm_id {
    pub verbs: *mut ibv_context,
    pub channel: *mut rdma_event_channel,
    pub context: *mut ::std::os::raw::c_void,
    pub qp: *mut ibv_qp,
    pub route: rdma_route,
    pub ps: rdma_port_space,
    pub port_num: u8,
    pub event: *mut rdma_cm_event,
    pub send_cq_channel: *mut ibv_comp_channel,
    pub send_cq: *mut ibv_cq,
    pub recv_cq_channel: *mut ibv_comp_channel,
    pub recv_cq: *mut ibv_cq,
    pub srq: *mut ibv_srq,
    pub pd: *mut ibv_pd,
    pub qp_type: ibv_qp_type,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_cm_id"][::std::mem::size_of::<rdma_cm_id>() - 416usize];
    ["Alignment of rdma_cm_id"][::std::mem::align_of::<rdma_cm_id>() - 8usize];
    [
        "Offset of field: rdma_cm_id::verbs",
    ][::std::mem::offset_of!(rdma_cm_id, verbs) - 0usize];
    [
        "Offset of field: rdma_cm_id::channel",
    ][::std::mem::offset_of!(rdma_cm_id, channel) - 8usize];
    [
        "Offset of field: rdma_cm_id::context",
    ][::std::mem::offset_of!(rdma_cm_id, context) - 16usize];
    [
        "Offset of field: rdma_cm_id::qp",
    ][::std::mem::offset_of!(rdma_cm_id, qp) - 24usize];
    [
        "Offset of field: rdma_cm_id::route",
    ][::std::mem::offset_of!(rdma_cm_id, route) - 32usize];
    [
        "Offset of field: rdma_cm_id::ps",
    ][::std::mem::offset_of!(rdma_cm_id, ps) - 344usize];
    [
        "Offset of field: rdma_cm_id::port_num",
    ][::std::mem::offset_of!(rdma_cm_id, port_num) - 348usize];
    [
        "Offset of field: rdma_cm_id::event",
    ][::std::mem::offset_of!(rdma_cm_id, event) - 352usize];
    [
        "Offset of field: rdma_cm_id::send_cq_channel",
    ][::std::mem::offset_of!(rdma_cm_id, send_cq_channel) - 360usize];
    [
        "Offset of field: rdma_cm_id::send_cq",
    ][::std::mem::offset_of!(rdma_cm_id, send_cq) - 368usize];
    [
        "Offset of field: rdma_cm_id::recv_cq_channel",
    ][::std::mem::offset_of!(rdma_cm_id, recv_cq_channel) - 376usize];
    [
        "Offset of field: rdma_cm_id::recv_cq",
    ][::std::mem::offset_of!(rdma_cm_id, recv_cq) - 384usize];
    [
        "Offset of field: rdma_cm_id::srq",
    ][::std::mem::offset_of!(rdma_cm_id, srq) - 392usize];
    [
        "Offset of field: rdma_cm_id::pd",
    ][::std::mem::offset_of!(rdma_cm_id, pd) - 400usize];
    [
        "Offset of field: rdma_cm_id::qp_type",
    ][::std::mem::offset_of!(rdma_cm_id, qp_type) - 408usize];
};
impl Default for rdma_cm_id {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const RDMA_MAX_RESP_RES: ::std::os::raw::c_uint = 255;
pub const RDMA_MAX_INIT_DEPTH: ::std::os::raw::c_uint = 255;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_conn_param {
    pub private_data: *const ::std::os::raw::c_void,
    pub private_data_len: u8,
    pub responder_resources: u8,
    pub initiator_depth: u8,
    pub flow_control: u8,
    pub retry_count: u8,
    pub rnr_retry_count: u8,
    pub srq: u8,
    pub qp_num: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_conn_param"][::std::mem::size_of::<rdma_conn_param>() - 24usize];
    ["Alignment of rdma_conn_param"][::std::mem::align_of::<rdma_conn_param>() - 8usize];
    [
        "Offset of field: rdma_conn_param::private_data",
    ][::std::mem::offset_of!(rdma_conn_param, private_data) - 0usize];
    [
        "Offset of field: rdma_conn_param::private_data_len",
    ][::std::mem::offset_of!(rdma_conn_param, private_data_len) - 8usize];
    [
        "Offset of field: rdma_conn_param::responder_resources",
    ][::std::mem::offset_of!(rdma_conn_param, responder_resources) - 9usize];
    [
        "Offset of field: rdma_conn_param::initiator_depth",
    ][::std::mem::offset_of!(rdma_conn_param, initiator_depth) - 10usize];
    [
        "Offset of field: rdma_conn_param::flow_control",
    ][::std::mem::offset_of!(rdma_conn_param, flow_control) - 11usize];
    [
        "Offset of field: rdma_conn_param::retry_count",
    ][::std::mem::offset_of!(rdma_conn_param, retry_count) - 12usize];
    [
        "Offset of field: rdma_conn_param::rnr_retry_count",
    ][::std::mem::offset_of!(rdma_conn_param, rnr_retry_count) - 13usize];
    [
        "Offset of field: rdma_conn_param::srq",
    ][::std::mem::offset_of!(rdma_conn_param, srq) - 14usize];
    [
        "Offset of field: rdma_conn_param::qp_num",
    ][::std::mem::offset_of!(rdma_conn_param, qp_num) - 16usize];
};
impl Default for rdma_conn_param {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_ud_param {
    pub private_data: *const ::std::os::raw::c_void,
    pub private_data_len: u8,
    pub ah_attr: ibv_ah_attr,
    pub qp_num: u32,
    pub qkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_ud_param"][::std::mem::size_of::<rdma_ud_param>() - 56usize];
    ["Alignment of rdma_ud_param"][::std::mem::align_of::<rdma_ud_param>() - 8usize];
    [
        "Offset of field: rdma_ud_param::private_data",
    ][::std::mem::offset_of!(rdma_ud_param, private_data) - 0usize];
    [
        "Offset of field: rdma_ud_param::private_data_len",
    ][::std::mem::offset_of!(rdma_ud_param, private_data_len) - 8usize];
    [
        "Offset of field: rdma_ud_param::ah_attr",
    ][::std::mem::offset_of!(rdma_ud_param, ah_attr) - 16usize];
    [
        "Offset of field: rdma_ud_param::qp_num",
    ][::std::mem::offset_of!(rdma_ud_param, qp_num) - 48usize];
    [
        "Offset of field: rdma_ud_param::qkey",
    ][::std::mem::offset_of!(rdma_ud_param, qkey) - 52usize];
};
impl Default for rdma_ud_param {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_cm_event {
    pub id: *mut rdma_cm_id,
    pub listen_id: *mut rdma_cm_id,
    pub event: rdma_cm_event_type,
    pub status: ::std::os::raw::c_int,
    pub param: rdma_cm_event__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union rdma_cm_event__bindgen_ty_1 {
    pub conn: rdma_conn_param,
    pub ud: rdma_ud_param,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of rdma_cm_event__bindgen_ty_1",
    ][::std::mem::size_of::<rdma_cm_event__bindgen_ty_1>() - 56usize];
    [
        "Alignment of rdma_cm_event__bindgen_ty_1",
    ][::std::mem::align_of::<rdma_cm_event__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: rdma_cm_event__bindgen_ty_1::conn",
    ][::std::mem::offset_of!(rdma_cm_event__bindgen_ty_1, conn) - 0usize];
    [
        "Offset of field: rdma_cm_event__bindgen_ty_1::ud",
    ][::std::mem::offset_of!(rdma_cm_event__bindgen_ty_1, ud) - 0usize];
};
impl Default for rdma_cm_event__bindgen_ty_1 {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_cm_event"][::std::mem::size_of::<rdma_cm_event>() - 80usize];
    ["Alignment of rdma_cm_event"][::std::mem::align_of::<rdma_cm_event>() - 8usize];
    [
        "Offset of field: rdma_cm_event::id",
    ][::std::mem::offset_of!(rdma_cm_event, id) - 0usize];
    [
        "Offset of field: rdma_cm_event::listen_id",
    ][::std::mem::offset_of!(rdma_cm_event, listen_id) - 8usize];
    [
        "Offset of field: rdma_cm_event::event",
    ][::std::mem::offset_of!(rdma_cm_event, event) - 16usize];
    [
        "Offset of field: rdma_cm_event::status",
    ][::std::mem::offset_of!(rdma_cm_event, status) - 20usize];
    [
        "Offset of field: rdma_cm_event::param",
    ][::std::mem::offset_of!(rdma_cm_event, param) - 24usize];
};
impl Default for rdma_cm_event {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_addrinfo {
    pub ai_flags: ::std::os::raw::c_int,
    pub ai_family: ::std::os::raw::c_int,
    pub ai_qp_type: ::std::os::raw::c_int,
    pub ai_port_space: ::std::os::raw::c_int,
    pub ai_src_len: socklen_t,
    pub ai_dst_len: socklen_t,
    pub ai_src_addr: *mut sockaddr,
    pub ai_dst_addr: *mut sockaddr,
    pub ai_src_canonname: *mut ::std::os::raw::c_char,
    pub ai_dst_canonname: *mut ::std::os::raw::c_char,
    pub ai_route_len: usize,
    pub ai_route: *mut ::std::os::raw::c_void,
    pub ai_connect_len: usize,
    pub ai_connect: *mut ::std::os::raw::c_void,
    pub ai_next: *mut rdma_addrinfo,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of rdma_addrinfo"][::std::mem::size_of::<rdma_addrinfo>() - 96usize];
    ["Alignment of rdma_addrinfo"][::std::mem::align_of::<rdma_addrinfo>() - 8usize];
    [
        "Offset of field: rdma_addrinfo::ai_flags",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_flags) - 0usize];
    [
        "Offset of field: rdma_addrinfo::ai_family",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_family) - 4usize];
    [
        "Offset of field: rdma_addrinfo::ai_qp_type",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_qp_type) - 8usize];
    [
        "Offset of field: rdma_addrinfo::ai_port_space",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_port_space) - 12usize];
    [
        "Offset of field: rdma_addrinfo::ai_src_len",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_src_len) - 16usize];
    [
        "Offset of field: rdma_addrinfo::ai_dst_len",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_dst_len) - 20usize];
    [
        "Offset of field: rdma_addrinfo::ai_src_addr",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_src_addr) - 24usize];
    [
        "Offset of field: rdma_addrinfo::ai_dst_addr",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_dst_addr) - 32usize];
    [
        "Offset of field: rdma_addrinfo::ai_src_canonname",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_src_canonname) - 40usize];
    [
        "Offset of field: rdma_addrinfo::ai_dst_canonname",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_dst_canonname) - 48usize];
    [
        "Offset of field: rdma_addrinfo::ai_route_len",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_route_len) - 56usize];
    [
        "Offset of field: rdma_addrinfo::ai_route",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_route) - 64usize];
    [
        "Offset of field: rdma_addrinfo::ai_connect_len",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_connect_len) - 72usize];
    [
        "Offset of field: rdma_addrinfo::ai_connect",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_connect) - 80usize];
    [
        "Offset of field: rdma_addrinfo::ai_next",
    ][::std::mem::offset_of!(rdma_addrinfo, ai_next) - 88usize];
};
impl Default for rdma_addrinfo {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const RDMA_CM_JOIN_MC_ATTR_ADDRESS: rdma_cm_join_mc_attr_mask = 1;
pub const RDMA_CM_JOIN_MC_ATTR_JOIN_FLAGS: rdma_cm_join_mc_attr_mask = 2;
pub const RDMA_CM_JOIN_MC_ATTR_RESERVED: rdma_cm_join_mc_attr_mask = 4;
pub type rdma_cm_join_mc_attr_mask = ::std::os::raw::c_uint;
pub const RDMA_MC_JOIN_FLAG_FULLMEMBER: rdma_cm_mc_join_flags = 0;
pub const RDMA_MC_JOIN_FLAG_SENDONLY_FULLMEMBER: rdma_cm_mc_join_flags = 1;
pub const RDMA_MC_JOIN_FLAG_RESERVED: rdma_cm_mc_join_flags = 2;
pub type rdma_cm_mc_join_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct rdma_cm_join_mc_attr_ex {
    pub comp_mask: u32,
    pub join_flags: u32,
    pub addr: *mut sockaddr,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of rdma_cm_join_mc_attr_ex",
    ][::std::mem::size_of::<rdma_cm_join_mc_attr_ex>() - 16usize];
    [
        "Alignment of rdma_cm_join_mc_attr_ex",
    ][::std::mem::align_of::<rdma_cm_join_mc_attr_ex>() - 8usize];
    [
        "Offset of field: rdma_cm_join_mc_attr_ex::comp_mask",
    ][::std::mem::offset_of!(rdma_cm_join_mc_attr_ex, comp_mask) - 0usize];
    [
        "Offset of field: rdma_cm_join_mc_attr_ex::join_flags",
    ][::std::mem::offset_of!(rdma_cm_join_mc_attr_ex, join_flags) - 4usize];
    [
        "Offset of field: rdma_cm_join_mc_attr_ex::addr",
    ][::std::mem::offset_of!(rdma_cm_join_mc_attr_ex, addr) - 8usize];
};
impl Default for rdma_cm_join_mc_attr_ex {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const RDMA_OPTION_ID: ::std::os::raw::c_uint = 0;
pub const RDMA_OPTION_IB: ::std::os::raw::c_uint = 1;
pub const RDMA_OPTION_ID_TOS: ::std::os::raw::c_uint = 0;
pub const RDMA_OPTION_ID_REUSEADDR: ::std::os::raw::c_uint = 1;
pub const RDMA_OPTION_ID_AFONLY: ::std::os::raw::c_uint = 2;
pub const RDMA_OPTION_ID_ACK_TIMEOUT: ::std::os::raw::c_uint = 3;
pub const RDMA_OPTION_IB_PATH: ::std::os::raw::c_uint = 1;
pub struct RdmaCm {
    __library: ::libloading::Library,
    pub rdma_create_event_channel: Result<
        unsafe extern "C" fn() -> *mut rdma_event_channel,
        ::libloading::Error,
    >,
    pub rdma_destroy_event_channel: Result<
        unsafe extern "C" fn(channel: *mut rdma_event_channel),
        ::libloading::Error,
    >,
    pub rdma_create_id: Result<
        unsafe extern "C" fn(
            channel: *mut rdma_event_channel,
            id: *mut *mut rdma_cm_id,
            context: *mut ::std::os::raw::c_void,
            ps: rdma_port_space,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_create_ep: Result<
        unsafe extern "C" fn(
            id: *mut *mut rdma_cm_id,
            res: *mut rdma_addrinfo,
            pd: *mut ibv_pd,
            qp_init_attr: *mut ibv_qp_init_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_destroy_ep: Result<
        unsafe extern "C" fn(id: *mut rdma_cm_id),
        ::libloading::Error,
    >,
    pub rdma_destroy_id: Result<
        unsafe extern "C" fn(id: *mut rdma_cm_id) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_bind_addr: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            addr: *mut sockaddr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_resolve_addr: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            src_addr: *mut sockaddr,
            dst_addr: *mut sockaddr,
            timeout_ms: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_resolve_route: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            timeout_ms: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_create_qp: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            pd: *mut ibv_pd,
            qp_init_attr: *mut ibv_qp_init_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_create_qp_ex: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            qp_init_attr: *mut ibv_qp_init_attr_ex,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_destroy_qp: Result<
        unsafe extern "C" fn(id: *mut rdma_cm_id),
        ::libloading::Error,
    >,
    pub rdma_connect: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            conn_param: *mut rdma_conn_param,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_establish: Result<
        unsafe extern "C" fn(id: *mut rdma_cm_id) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_listen: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            backlog: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_get_request: Result<
        unsafe extern "C" fn(
            listen: *mut rdma_cm_id,
            id: *mut *mut rdma_cm_id,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_accept: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            conn_param: *mut rdma_conn_param,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_reject: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            private_data: *const ::std::os::raw::c_void,
            private_data_len: u8,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_reject_ece: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            private_data: *const ::std::os::raw::c_void,
            private_data_len: u8,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_notify: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            event: ibv_event_type,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_disconnect: Result<
        unsafe extern "C" fn(id: *mut rdma_cm_id) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_join_multicast: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            addr: *mut sockaddr,
            context: *mut ::std::os::raw::c_void,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_leave_multicast: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            addr: *mut sockaddr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_join_multicast_ex: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            mc_join_attr: *mut rdma_cm_join_mc_attr_ex,
            context: *mut ::std::os::raw::c_void,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_get_cm_event: Result<
        unsafe extern "C" fn(
            channel: *mut rdma_event_channel,
            event: *mut *mut rdma_cm_event,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_ack_cm_event: Result<
        unsafe extern "C" fn(event: *mut rdma_cm_event) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_get_src_port: Result<
        unsafe extern "C" fn(id: *mut rdma_cm_id) -> __be16,
        ::libloading::Error,
    >,
    pub rdma_get_dst_port: Result<
        unsafe extern "C" fn(id: *mut rdma_cm_id) -> __be16,
        ::libloading::Error,
    >,
    pub rdma_get_devices: Result<
        unsafe extern "C" fn(
            num_devices: *mut ::std::os::raw::c_int,
        ) -> *mut *mut ibv_context,
        ::libloading::Error,
    >,
    pub rdma_free_devices: Result<
        unsafe extern "C" fn(list: *mut *mut ibv_context),
        ::libloading::Error,
    >,
    pub rdma_event_str: Result<
        unsafe extern "C" fn(event: rdma_cm_event_type) -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
    pub rdma_set_option: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            level: ::std::os::raw::c_int,
            optname: ::std::os::raw::c_int,
            optval: *mut ::std::os::raw::c_void,
            optlen: usize,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_migrate_id: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            channel: *mut rdma_event_channel,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_getaddrinfo: Result<
        unsafe extern "C" fn(
            node: *const ::std::os::raw::c_char,
            service: *const ::std::os::raw::c_char,
            hints: *const rdma_addrinfo,
            res: *mut *mut rdma_addrinfo,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_freeaddrinfo: Result<
        unsafe extern "C" fn(res: *mut rdma_addrinfo),
        ::libloading::Error,
    >,
    pub rdma_init_qp_attr: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            qp_attr: *mut ibv_qp_attr,
            qp_attr_mask: *mut ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_set_local_ece: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            ece: *mut ibv_ece,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub rdma_get_remote_ece: Result<
        unsafe extern "C" fn(
            id: *mut rdma_cm_id,
            ece: *mut ibv_ece,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
}
impl RdmaCm {
    pub unsafe fn new<P>(path: P) -> Result<Self, ::libloading::Error>
    where
        P: AsRef<::std::ffi::OsStr>,
    {
        let path = path.as_ref();
        let library = ::libloading::Library::new(path)?;
        Self::from_library(library)
    }
    pub unsafe fn from_library<L>(library: L) -> Result<Self, ::libloading::Error>
    where
        L: Into<::libloading::Library>,
    {
        let __library = library.into();
        let rdma_create_event_channel = __library
            .get(b"rdma_create_event_channel\0")
            .map(|sym| *sym);
        let rdma_destroy_event_channel = __library
            .get(b"rdma_destroy_event_channel\0")
            .map(|sym| *sym);
        let rdma_create_id = __library.get(b"rdma_create_id\0").map(|sym| *sym);
        let rdma_create_ep = __library.get(b"rdma_create_ep\0").map(|sym| *sym);
        let rdma_destroy_ep = __library.get(b"rdma_destroy_ep\0").map(|sym| *sym);
        let rdma_destroy_id = __library.get(b"rdma_destroy_id\0").map(|sym| *sym);
        let rdma_bind_addr = __library.get(b"rdma_bind_addr\0").map(|sym| *sym);
        let rdma_resolve_addr = __library.get(b"rdma_resolve_addr\0").map(|sym| *sym);
        let rdma_resolve_route = __library.get(b"rdma_resolve_route\0").map(|sym| *sym);
        let rdma_create_qp = __library.get(b"rdma_create_qp\0").map(|sym| *sym);
        let rdma_create_qp_ex = __library.get(b"rdma_create_qp_ex\0").map(|sym| *sym);
        let rdma_destroy_qp = __library.get(b"rdma_destroy_qp\0").map(|sym| *sym);
        let rdma_connect = __library.get(b"rdma_connect\0").map(|sym| *sym);
        let rdma_establish = __library.get(b"rdma_establish\0").map(|sym| *sym);
        let rdma_listen = __library.get(b"rdma_listen\0").map(|sym| *sym);
        let rdma_get_request = __library.get(b"rdma_get_request\0").map(|sym| *sym);
        let rdma_accept = __library.get(b"rdma_accept\0").map(|sym| *sym);
        let rdma_reject = __library.get(b"rdma_reject\0").map(|sym| *sym);
        let rdma_reject_ece = __library.get(b"rdma_reject_ece\0").map(|sym| *sym);
        let rdma_notify = __library.get(b"rdma_notify\0").map(|sym| *sym);
        let rdma_disconnect = __library.get(b"rdma_disconnect\0").map(|sym| *sym);
        let rdma_join_multicast = __library
            .get(b"rdma_join_multicast\0")
            .map(|sym| *sym);
        let rdma_leave_multicast = __library
            .get(b"rdma_leave_multicast\0")
            .map(|sym| *sym);
        let rdma_join_multicast_ex = __library
            .get(b"rdma_join_multicast_ex\0")
            .map(|sym| *sym);
        let rdma_get_cm_event = __library.get(b"rdma_get_cm_event\0").map(|sym| *sym);
        let rdma_ack_cm_event = __library.get(b"rdma_ack_cm_event\0").map(|sym| *sym);
        let rdma_get_src_port = __library.get(b"rdma_get_src_port\0").map(|sym| *sym);
        let rdma_get_dst_port = __library.get(b"rdma_get_dst_port\0").map(|sym| *sym);
        let rdma_get_devices = __library.get(b"rdma_get_devices\0").map(|sym| *sym);
        let rdma_free_devices = __library.get(b"rdma_free_devices\0").map(|sym| *sym);
        let rdma_event_str = __library.get(b"rdma_event_str\0").map(|sym| *sym);
        let rdma_set_option = __library.get(b"rdma_set_option\0").map(|sym| *sym);
        let rdma_migrate_id = __library.get(b"rdma_migrate_id\0").map(|sym| *sym);
        let rdma_getaddrinfo = __library.get(b"rdma_getaddrinfo\0").map(|sym| *sym);
        let rdma_freeaddrinfo = __library.get(b"rdma_freeaddrinfo\0").map(|sym| *sym);
        let rdma_init_qp_attr = __library.get(b"rdma_init_qp_attr\0").map(|sym| *sym);
        let rdma_set_local_ece = __library.get(b"rdma_set_local_ece\0").map(|sym| *sym);
        let rdma_get_remote_ece = __library
            .get(b"rdma_get_remote_ece\0")
            .map(|sym| *sym);
        Ok(RdmaCm {
            __library,
            rdma_create_event_channel,
            rdma_destroy_event_channel,
            rdma_create_id,
            rdma_create_ep,
            rdma_destroy_ep,
            rdma_destroy_id,
            rdma_bind_addr,
            rdma_resolve_addr,
            rdma_resolve_route,
            rdma_create_qp,
            rdma_create_qp_ex,
            rdma_destroy_qp,
            rdma_connect,
            rdma_establish,
            rdma_listen,
            rdma_get_request,
            rdma_accept,
            rdma_reject,
            rdma_reject_ece,
            rdma_notify,
            rdma_disconnect,
            rdma_join_multicast,
            rdma_leave_multicast,
            rdma_join_multicast_ex,
            rdma_get_cm_event,
            rdma_ack_cm_event,
            rdma_get_src_port,
            rdma_get_dst_port,
            rdma_get_devices,
            rdma_free_devices,
            rdma_event_str,
            rdma_set_option,
            rdma_migrate_id,
            rdma_getaddrinfo,
            rdma_freeaddrinfo,
            rdma_init_qp_attr,
            rdma_set_local_ece,
            rdma_get_remote_ece,
        })
    }
    pub unsafe fn rdma_create_event_channel(
        &self,
    ) -> Result<*mut rdma_event_channel, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_create_event_channel, "rdma_create_event_channel")?;
        Ok(unsafe { function() })
    }
    pub unsafe fn rdma_destroy_event_channel(
        &self,
        channel: *mut rdma_event_channel,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_destroy_event_channel, "rdma_destroy_event_channel")?;
        Ok(unsafe { function(channel) })
    }
    pub unsafe fn rdma_create_id(
        &self,
        channel: *mut rdma_event_channel,
        id: *mut *mut rdma_cm_id,
        context: *mut ::std::os::raw::c_void,
        ps: rdma_port_space,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_create_id, "rdma_create_id")?;
        Ok(unsafe { function(channel, id, context, ps) })
    }
    pub unsafe fn rdma_create_ep(
        &self,
        id: *mut *mut rdma_cm_id,
        res: *mut rdma_addrinfo,
        pd: *mut ibv_pd,
        qp_init_attr: *mut ibv_qp_init_attr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_create_ep, "rdma_create_ep")?;
        Ok(unsafe { function(id, res, pd, qp_init_attr) })
    }
    pub unsafe fn rdma_destroy_ep(
        &self,
        id: *mut rdma_cm_id,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_destroy_ep, "rdma_destroy_ep")?;
        Ok(unsafe { function(id) })
    }
    pub unsafe fn rdma_destroy_id(
        &self,
        id: *mut rdma_cm_id,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_destroy_id, "rdma_destroy_id")?;
        Ok(unsafe { function(id) })
    }
    pub unsafe fn rdma_bind_addr(
        &self,
        id: *mut rdma_cm_id,
        addr: *mut sockaddr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_bind_addr, "rdma_bind_addr")?;
        Ok(unsafe { function(id, addr) })
    }
    pub unsafe fn rdma_resolve_addr(
        &self,
        id: *mut rdma_cm_id,
        src_addr: *mut sockaddr,
        dst_addr: *mut sockaddr,
        timeout_ms: ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_resolve_addr, "rdma_resolve_addr")?;
        Ok(unsafe { function(id, src_addr, dst_addr, timeout_ms) })
    }
    pub unsafe fn rdma_resolve_route(
        &self,
        id: *mut rdma_cm_id,
        timeout_ms: ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_resolve_route, "rdma_resolve_route")?;
        Ok(unsafe { function(id, timeout_ms) })
    }
    pub unsafe fn rdma_create_qp(
        &self,
        id: *mut rdma_cm_id,
        pd: *mut ibv_pd,
        qp_init_attr: *mut ibv_qp_init_attr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_create_qp, "rdma_create_qp")?;
        Ok(unsafe { function(id, pd, qp_init_attr) })
    }
    pub unsafe fn rdma_create_qp_ex(
        &self,
        id: *mut rdma_cm_id,
        qp_init_attr: *mut ibv_qp_init_attr_ex,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_create_qp_ex, "rdma_create_qp_ex")?;
        Ok(unsafe { function(id, qp_init_attr) })
    }
    pub unsafe fn rdma_destroy_qp(
        &self,
        id: *mut rdma_cm_id,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_destroy_qp, "rdma_destroy_qp")?;
        Ok(unsafe { function(id) })
    }
    pub unsafe fn rdma_connect(
        &self,
        id: *mut rdma_cm_id,
        conn_param: *mut rdma_conn_param,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_connect, "rdma_connect")?;
        Ok(unsafe { function(id, conn_param) })
    }
    pub unsafe fn rdma_establish(
        &self,
        id: *mut rdma_cm_id,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_establish, "rdma_establish")?;
        Ok(unsafe { function(id) })
    }
    pub unsafe fn rdma_listen(
        &self,
        id: *mut rdma_cm_id,
        backlog: ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_listen, "rdma_listen")?;
        Ok(unsafe { function(id, backlog) })
    }
    pub unsafe fn rdma_get_request(
        &self,
        listen: *mut rdma_cm_id,
        id: *mut *mut rdma_cm_id,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_get_request, "rdma_get_request")?;
        Ok(unsafe { function(listen, id) })
    }
    pub unsafe fn rdma_accept(
        &self,
        id: *mut rdma_cm_id,
        conn_param: *mut rdma_conn_param,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_accept, "rdma_accept")?;
        Ok(unsafe { function(id, conn_param) })
    }
    pub unsafe fn rdma_reject(
        &self,
        id: *mut rdma_cm_id,
        private_data: *const ::std::os::raw::c_void,
        private_data_len: u8,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_reject, "rdma_reject")?;
        Ok(unsafe { function(id, private_data, private_data_len) })
    }
    pub unsafe fn rdma_reject_ece(
        &self,
        id: *mut rdma_cm_id,
        private_data: *const ::std::os::raw::c_void,
        private_data_len: u8,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_reject_ece, "rdma_reject_ece")?;
        Ok(unsafe { function(id, private_data, private_data_len) })
    }
    pub unsafe fn rdma_notify(
        &self,
        id: *mut rdma_cm_id,
        event: ibv_event_type,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_notify, "rdma_notify")?;
        Ok(unsafe { function(id, event) })
    }
    pub unsafe fn rdma_disconnect(
        &self,
        id: *mut rdma_cm_id,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_disconnect, "rdma_disconnect")?;
        Ok(unsafe { function(id) })
    }
    pub unsafe fn rdma_join_multicast(
        &self,
        id: *mut rdma_cm_id,
        addr: *mut sockaddr,
        context: *mut ::std::os::raw::c_void,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_join_multicast, "rdma_join_multicast")?;
        Ok(unsafe { function(id, addr, context) })
    }
    pub unsafe fn rdma_leave_multicast(
        &self,
        id: *mut rdma_cm_id,
        addr: *mut sockaddr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_leave_multicast, "rdma_leave_multicast")?;
        Ok(unsafe { function(id, addr) })
    }
    pub unsafe fn rdma_join_multicast_ex(
        &self,
        id: *mut rdma_cm_id,
        mc_join_attr: *mut rdma_cm_join_mc_attr_ex,
        context: *mut ::std::os::raw::c_void,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_join_multicast_ex, "rdma_join_multicast_ex")?;
        Ok(unsafe { function(id, mc_join_attr, context) })
    }
    pub unsafe fn rdma_get_cm_event(
        &self,
        channel: *mut rdma_event_channel,
        event: *mut *mut rdma_cm_event,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_get_cm_event, "rdma_get_cm_event")?;
        Ok(unsafe { function(channel, event) })
    }
    pub unsafe fn rdma_ack_cm_event(
        &self,
        event: *mut rdma_cm_event,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_ack_cm_event, "rdma_ack_cm_event")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn rdma_get_src_port(
        &self,
        id: *mut rdma_cm_id,
    ) -> Result<__be16, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_get_src_port, "rdma_get_src_port")?;
        Ok(unsafe { function(id) })
    }
    pub unsafe fn rdma_get_dst_port(
        &self,
        id: *mut rdma_cm_id,
    ) -> Result<__be16, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_get_dst_port, "rdma_get_dst_port")?;
        Ok(unsafe { function(id) })
    }
    pub unsafe fn rdma_get_devices(
        &self,
        num_devices: *mut ::std::os::raw::c_int,
    ) -> Result<*mut *mut ibv_context, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_get_devices, "rdma_get_devices")?;
        Ok(unsafe { function(num_devices) })
    }
    pub unsafe fn rdma_free_devices(
        &self,
        list: *mut *mut ibv_context,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_free_devices, "rdma_free_devices")?;
        Ok(unsafe { function(list) })
    }
    pub unsafe fn rdma_event_str(
        &self,
        event: rdma_cm_event_type,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_event_str, "rdma_event_str")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn rdma_set_option(
        &self,
        id: *mut rdma_cm_id,
        level: ::std::os::raw::c_int,
        optname: ::std::os::raw::c_int,
        optval: *mut ::std::os::raw::c_void,
        optlen: usize,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_set_option, "rdma_set_option")?;
        Ok(unsafe { function(id, level, optname, optval, optlen) })
    }
    pub unsafe fn rdma_migrate_id(
        &self,
        id: *mut rdma_cm_id,
        channel: *mut rdma_event_channel,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_migrate_id, "rdma_migrate_id")?;
        Ok(unsafe { function(id, channel) })
    }
    pub unsafe fn rdma_getaddrinfo(
        &self,
        node: *const ::std::os::raw::c_char,
        service: *const ::std::os::raw::c_char,
        hints: *const rdma_addrinfo,
        res: *mut *mut rdma_addrinfo,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_getaddrinfo, "rdma_getaddrinfo")?;
        Ok(unsafe { function(node, service, hints, res) })
    }
    pub unsafe fn rdma_freeaddrinfo(
        &self,
        res: *mut rdma_addrinfo,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_freeaddrinfo, "rdma_freeaddrinfo")?;
        Ok(unsafe { function(res) })
    }
    pub unsafe fn rdma_init_qp_attr(
        &self,
        id: *mut rdma_cm_id,
        qp_attr: *mut ibv_qp_attr,
        qp_attr_mask: *mut ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_init_qp_attr, "rdma_init_qp_attr")?;
        Ok(unsafe { function(id, qp_attr, qp_attr_mask) })
    }
    pub unsafe fn rdma_set_local_ece(
        &self,
        id: *mut rdma_cm_id,
        ece: *mut ibv_ece,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_set_local_ece, "rdma_set_local_ece")?;
        Ok(unsafe { function(id, ece) })
    }
    pub unsafe fn rdma_get_remote_ece(
        &self,
        id: *mut rdma_cm_id,
        ece: *mut ibv_ece,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.rdma_get_remote_ece, "rdma_get_remote_ece")?;
        Ok(unsafe { function(id, ece) })
    }
    pub fn missing(&self) -> Vec<&'static str> {
        let symbols = [
            ("rdma_create_event_channel", self.rdma_create_event_channel.is_ok()),
            ("rdma_destroy_event_channel", self.rdma_destroy_event_channel.is_ok()),
            ("rdma_create_id", self.rdma_create_id.is_ok()),
            ("rdma_create_ep", self.rdma_create_ep.is_ok()),
            ("rdma_destroy_ep", self.rdma_destroy_ep.is_ok()),
            ("rdma_destroy_id", self.rdma_destroy_id.is_ok()),
            ("rdma_bind_addr", self.rdma_bind_addr.is_ok()),
            ("rdma_resolve_addr", self.rdma_resolve_addr.is_ok()),
            ("rdma_resolve_route", self.rdma_resolve_route.is_ok()),
            ("rdma_create_qp", self.rdma_create_qp.is_ok()),
            ("rdma_create_qp_ex", self.rdma_create_qp_ex.is_ok()),
            ("rdma_destroy_qp", self.rdma_destroy_qp.is_ok()),
            ("rdma_connect", self.rdma_connect.is_ok()),
            ("rdma_establish", self.rdma_establish.is_ok()),
            ("rdma_listen", self.rdma_listen.is_ok()),
            ("rdma_get_request", self.rdma_get_request.is_ok()),
            ("rdma_accept", self.rdma_accept.is_ok()),
            ("rdma_reject", self.rdma_reject.is_ok()),
            ("rdma_reject_ece", self.rdma_reject_ece.is_ok()),
            ("rdma_notify", self.rdma_notify.is_ok()),
            ("rdma_disconnect", self.rdma_disconnect.is_ok()),
            ("rdma_join_multicast", self.rdma_join_multicast.is_ok()),
            ("rdma_leave_multicast", self.rdma_leave_multicast.is_ok()),
            ("rdma_join_multicast_ex", self.rdma_join_multicast_ex.is_ok()),
            ("rdma_get_cm_event", self.rdma_get_cm_event.is_ok()),
            ("rdma_ack_cm_event", self.rdma_ack_cm_event.is_ok()),
            ("rdma_get_src_port", self.rdma_get_src_port.is_ok()),
            ("rdma_get_dst_port", self.rdma_get_dst_port.is_ok()),
            ("rdma_get_devices", self.rdma_get_devices.is_ok()),
            ("rdma_free_devices", self.rdma_free_devices.is_ok()),
            ("rdma_event_str", self.rdma_event_str.is_ok()),
            ("rdma_set_option", self.rdma_set_option.is_ok()),
            ("rdma_migrate_id", self.rdma_migrate_id.is_ok()),
            ("rdma_getaddrinfo", self.rdma_getaddrinfo.is_ok()),
            ("rdma_freeaddrinfo", self.rdma_freeaddrinfo.is_ok()),
            ("rdma_init_qp_attr", self.rdma_init_qp_attr.is_ok()),
            ("rdma_set_local_ece", self.rdma_set_local_ece.is_ok()),
            ("rdma_get_remote_ece", self.rdma_get_remote_ece.is_ok()),
        ];
        symbols
            .into_iter()
            .filter(|(_, present)| !present)
            .map(|(symbol, _)| symbol)
            .collect()
    }
}
