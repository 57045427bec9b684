// Generated from infiniband/verbs.h (rdma-core 44.0) by `regenerate`: change that, not this file.

use libc::{pthread_cond_t, pthread_mutex_t, timespec};

#[derive(PartialEq, Eq, Copy, Clone, Debug, Hash)]
#[repr(C, align(8))]
pub struct __BindgenOpaqueArray8<T>(pub T);
impl<T: Copy + Default, const N: usize> Default for __BindgenOpaqueArray8<[T; N]> {
    fn default() -> Self {
        Self([<T as Default>::default(); N])
    }
}
pub const IBV_ACCESS_OPTIONAL_FIRST: u32 = 1048576;
pub const IBV_DEVICE_RAW_SCATTER_FCS: u64 = 17179869184;
pub const IBV_DEVICE_PCI_WRITE_END_PADDING: u64 = 68719476736;
pub type __u16 = ::std::os::raw::c_ushort;
pub type __u32 = ::std::os::raw::c_uint;
pub type __u64 = ::std::os::raw::c_ulonglong;
pub type __be16 = __u16;
pub type __be32 = __u32;
pub type __be64 = __u64;
pub const IB_UVERBS_ACCESS_LOCAL_WRITE: ib_uverbs_access_flags = 1;
pub const IB_UVERBS_ACCESS_REMOTE_WRITE: ib_uverbs_access_flags = 2;
pub const IB_UVERBS_ACCESS_REMOTE_READ: ib_uverbs_access_flags = 4;
pub const IB_UVERBS_ACCESS_REMOTE_ATOMIC: ib_uverbs_access_flags = 8;
pub const IB_UVERBS_ACCESS_MW_BIND: ib_uverbs_access_flags = 16;
pub const IB_UVERBS_ACCESS_ZERO_BASED: ib_uverbs_access_flags = 32;
pub const IB_UVERBS_ACCESS_ON_DEMAND: ib_uverbs_access_flags = 64;
pub const IB_UVERBS_ACCESS_HUGETLB: ib_uverbs_access_flags = 128;
pub const IB_UVERBS_ACCESS_RELAXED_ORDERING: ib_uverbs_access_flags = 1048576;
pub const IB_UVERBS_ACCESS_OPTIONAL_RANGE: ib_uverbs_access_flags = 1072693248;
pub type ib_uverbs_access_flags = ::std::os::raw::c_uint;
pub const IB_UVERBS_QPF_GRH_REQUIRED: ib_uverbs_query_port_flags = 1;
pub type ib_uverbs_query_port_flags = ::std::os::raw::c_uint;
pub const IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH: ib_uverbs_advise_mr_advice = 0;
pub const IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE: ib_uverbs_advise_mr_advice = 1;
pub const IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT: ib_uverbs_advise_mr_advice = 2;
pub type ib_uverbs_advise_mr_advice = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub union ibv_gid {
    pub raw: [u8; 16usize],
    pub global: ibv_gid__bindgen_ty_1,
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ibv_gid__bindgen_ty_1 {
    pub subnet_prefix: __be64,
    pub interface_id: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_gid__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_gid__bindgen_ty_1>() - 16usize];
    [
        "Alignment of ibv_gid__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_gid__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_gid__bindgen_ty_1::subnet_prefix",
    ][::std::mem::offset_of!(ibv_gid__bindgen_ty_1, subnet_prefix) - 0usize];
    [
        "Offset of field: ibv_gid__bindgen_ty_1::interface_id",
    ][::std::mem::offset_of!(ibv_gid__bindgen_ty_1, interface_id) - 8usize];
};
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_gid"][::std::mem::size_of::<ibv_gid>() - 16usize];
    ["Alignment of ibv_gid"][::std::mem::align_of::<ibv_gid>() - 8usize];
    ["Offset of field: ibv_gid::raw"][::std::mem::offset_of!(ibv_gid, raw) - 0usize];
    [
        "Offset of field: ibv_gid::global",
    ][::std::mem::offset_of!(ibv_gid, global) - 0usize];
};
impl Default for ibv_gid {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_GID_TYPE_IB: ibv_gid_type = 0;
pub const IBV_GID_TYPE_ROCE_V1: ibv_gid_type = 1;
pub const IBV_GID_TYPE_ROCE_V2: ibv_gid_type = 2;
pub type ibv_gid_type = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_gid_entry {
    pub gid: ibv_gid,
    pub gid_index: u32,
    pub port_num: u32,
    pub gid_type: u32,
    pub ndev_ifindex: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_gid_entry"][::std::mem::size_of::<ibv_gid_entry>() - 32usize];
    ["Alignment of ibv_gid_entry"][::std::mem::align_of::<ibv_gid_entry>() - 8usize];
    [
        "Offset of field: ibv_gid_entry::gid",
    ][::std::mem::offset_of!(ibv_gid_entry, gid) - 0usize];
    [
        "Offset of field: ibv_gid_entry::gid_index",
    ][::std::mem::offset_of!(ibv_gid_entry, gid_index) - 16usize];
    [
        "Offset of field: ibv_gid_entry::port_num",
    ][::std::mem::offset_of!(ibv_gid_entry, port_num) - 20usize];
    [
        "Offset of field: ibv_gid_entry::gid_type",
    ][::std::mem::offset_of!(ibv_gid_entry, gid_type) - 24usize];
    [
        "Offset of field: ibv_gid_entry::ndev_ifindex",
    ][::std::mem::offset_of!(ibv_gid_entry, ndev_ifindex) - 28usize];
};
impl Default for ibv_gid_entry {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_NODE_UNKNOWN: ibv_node_type = -1;
pub const IBV_NODE_CA: ibv_node_type = 1;
pub const IBV_NODE_SWITCH: ibv_node_type = 2;
pub const IBV_NODE_ROUTER: ibv_node_type = 3;
pub const IBV_NODE_RNIC: ibv_node_type = 4;
pub const IBV_NODE_USNIC: ibv_node_type = 5;
pub const IBV_NODE_USNIC_UDP: ibv_node_type = 6;
pub const IBV_NODE_UNSPECIFIED: ibv_node_type = 7;
pub type ibv_node_type = ::std::os::raw::c_int;
pub const IBV_TRANSPORT_UNKNOWN: ibv_transport_type = -1;
pub const IBV_TRANSPORT_IB: ibv_transport_type = 0;
pub const IBV_TRANSPORT_IWARP: ibv_transport_type = 1;
pub const IBV_TRANSPORT_USNIC: ibv_transport_type = 2;
pub const IBV_TRANSPORT_USNIC_UDP: ibv_transport_type = 3;
pub const IBV_TRANSPORT_UNSPECIFIED: ibv_transport_type = 4;
pub type ibv_transport_type = ::std::os::raw::c_int;
pub const IBV_DEVICE_RESIZE_MAX_WR: ibv_device_cap_flags = 1;
pub const IBV_DEVICE_BAD_PKEY_CNTR: ibv_device_cap_flags = 2;
pub const IBV_DEVICE_BAD_QKEY_CNTR: ibv_device_cap_flags = 4;
pub const IBV_DEVICE_RAW_MULTI: ibv_device_cap_flags = 8;
pub const IBV_DEVICE_AUTO_PATH_MIG: ibv_device_cap_flags = 16;
pub const IBV_DEVICE_CHANGE_PHY_PORT: ibv_device_cap_flags = 32;
pub const IBV_DEVICE_UD_AV_PORT_ENFORCE: ibv_device_cap_flags = 64;
pub const IBV_DEVICE_CURR_QP_STATE_MOD: ibv_device_cap_flags = 128;
pub const IBV_DEVICE_SHUTDOWN_PORT: ibv_device_cap_flags = 256;
pub const IBV_DEVICE_INIT_TYPE: ibv_device_cap_flags = 512;
pub const IBV_DEVICE_PORT_ACTIVE_EVENT: ibv_device_cap_flags = 1024;
pub const IBV_DEVICE_SYS_IMAGE_GUID: ibv_device_cap_flags = 2048;
pub const IBV_DEVICE_RC_RNR_NAK_GEN: ibv_device_cap_flags = 4096;
pub const IBV_DEVICE_SRQ_RESIZE: ibv_device_cap_flags = 8192;
pub const IBV_DEVICE_N_NOTIFY_CQ: ibv_device_cap_flags = 16384;
pub const IBV_DEVICE_MEM_WINDOW: ibv_device_cap_flags = 131072;
pub const IBV_DEVICE_UD_IP_CSUM: ibv_device_cap_flags = 262144;
pub const IBV_DEVICE_XRC: ibv_device_cap_flags = 1048576;
pub const IBV_DEVICE_MEM_MGT_EXTENSIONS: ibv_device_cap_flags = 2097152;
pub const IBV_DEVICE_MEM_WINDOW_TYPE_2A: ibv_device_cap_flags = 8388608;
pub const IBV_DEVICE_MEM_WINDOW_TYPE_2B: ibv_device_cap_flags = 16777216;
pub const IBV_DEVICE_RC_IP_CSUM: ibv_device_cap_flags = 33554432;
pub const IBV_DEVICE_RAW_IP_CSUM: ibv_device_cap_flags = 67108864;
pub const IBV_DEVICE_MANAGED_FLOW_STEERING: ibv_device_cap_flags = 536870912;
pub type ibv_device_cap_flags = ::std::os::raw::c_uint;
pub const IBV_FORK_DISABLED: ibv_fork_status = 0;
pub const IBV_FORK_ENABLED: ibv_fork_status = 1;
pub const IBV_FORK_UNNEEDED: ibv_fork_status = 2;
pub type ibv_fork_status = ::std::os::raw::c_uint;
pub const IBV_ATOMIC_NONE: ibv_atomic_cap = 0;
pub const IBV_ATOMIC_HCA: ibv_atomic_cap = 1;
pub const IBV_ATOMIC_GLOB: ibv_atomic_cap = 2;
pub type ibv_atomic_cap = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_alloc_dm_attr {
    pub length: usize,
    pub log_align_req: u32,
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_alloc_dm_attr"][::std::mem::size_of::<ibv_alloc_dm_attr>() - 16usize];
    [
        "Alignment of ibv_alloc_dm_attr",
    ][::std::mem::align_of::<ibv_alloc_dm_attr>() - 8usize];
    [
        "Offset of field: ibv_alloc_dm_attr::length",
    ][::std::mem::offset_of!(ibv_alloc_dm_attr, length) - 0usize];
    [
        "Offset of field: ibv_alloc_dm_attr::log_align_req",
    ][::std::mem::offset_of!(ibv_alloc_dm_attr, log_align_req) - 8usize];
    [
        "Offset of field: ibv_alloc_dm_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_alloc_dm_attr, comp_mask) - 12usize];
};
impl Default for ibv_alloc_dm_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_DM_MASK_HANDLE: ibv_dm_mask = 1;
pub type ibv_dm_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_dm {
    pub context: *mut ibv_context,
    pub memcpy_to_dm: ::std::option::Option<
        unsafe extern "C" fn(
            dm: *mut ibv_dm,
            dm_offset: u64,
            host_addr: *const ::std::os::raw::c_void,
            length: usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub memcpy_from_dm: ::std::option::Option<
        unsafe extern "C" fn(
            host_addr: *mut ::std::os::raw::c_void,
            dm: *mut ibv_dm,
            dm_offset: u64,
            length: usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub comp_mask: u32,
    pub handle: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_dm"][::std::mem::size_of::<ibv_dm>() - 32usize];
    ["Alignment of ibv_dm"][::std::mem::align_of::<ibv_dm>() - 8usize];
    [
        "Offset of field: ibv_dm::context",
    ][::std::mem::offset_of!(ibv_dm, context) - 0usize];
    [
        "Offset of field: ibv_dm::memcpy_to_dm",
    ][::std::mem::offset_of!(ibv_dm, memcpy_to_dm) - 8usize];
    [
        "Offset of field: ibv_dm::memcpy_from_dm",
    ][::std::mem::offset_of!(ibv_dm, memcpy_from_dm) - 16usize];
    [
        "Offset of field: ibv_dm::comp_mask",
    ][::std::mem::offset_of!(ibv_dm, comp_mask) - 24usize];
    [
        "Offset of field: ibv_dm::handle",
    ][::std::mem::offset_of!(ibv_dm, handle) - 28usize];
};
impl Default for ibv_dm {
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
pub struct ibv_device_attr {
    pub fw_ver: [::std::os::raw::c_char; 64usize],
    pub node_guid: __be64,
    pub sys_image_guid: __be64,
    pub max_mr_size: u64,
    pub page_size_cap: u64,
    pub vendor_id: u32,
    pub vendor_part_id: u32,
    pub hw_ver: u32,
    pub max_qp: ::std::os::raw::c_int,
    pub max_qp_wr: ::std::os::raw::c_int,
    pub device_cap_flags: ::std::os::raw::c_uint,
    pub max_sge: ::std::os::raw::c_int,
    pub max_sge_rd: ::std::os::raw::c_int,
    pub max_cq: ::std::os::raw::c_int,
    pub max_cqe: ::std::os::raw::c_int,
    pub max_mr: ::std::os::raw::c_int,
    pub max_pd: ::std::os::raw::c_int,
    pub max_qp_rd_atom: ::std::os::raw::c_int,
    pub max_ee_rd_atom: ::std::os::raw::c_int,
    pub max_res_rd_atom: ::std::os::raw::c_int,
    pub max_qp_init_rd_atom: ::std::os::raw::c_int,
    pub max_ee_init_rd_atom: ::std::os::raw::c_int,
    pub atomic_cap: ibv_atomic_cap,
    pub max_ee: ::std::os::raw::c_int,
    pub max_rdd: ::std::os::raw::c_int,
    pub max_mw: ::std::os::raw::c_int,
    pub max_raw_ipv6_qp: ::std::os::raw::c_int,
    pub max_raw_ethy_qp: ::std::os::raw::c_int,
    pub max_mcast_grp: ::std::os::raw::c_int,
    pub max_mcast_qp_attach: ::std::os::raw::c_int,
    pub max_total_mcast_qp_attach: ::std::os::raw::c_int,
    pub max_ah: ::std::os::raw::c_int,
    pub max_fmr: ::std::os::raw::c_int,
    pub max_map_per_fmr: ::std::os::raw::c_int,
    pub max_srq: ::std::os::raw::c_int,
    pub max_srq_wr: ::std::os::raw::c_int,
    pub max_srq_sge: ::std::os::raw::c_int,
    pub max_pkeys: u16,
    pub local_ca_ack_delay: u8,
    pub phys_port_cnt: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_device_attr"][::std::mem::size_of::<ibv_device_attr>() - 232usize];
    ["Alignment of ibv_device_attr"][::std::mem::align_of::<ibv_device_attr>() - 8usize];
    [
        "Offset of field: ibv_device_attr::fw_ver",
    ][::std::mem::offset_of!(ibv_device_attr, fw_ver) - 0usize];
    [
        "Offset of field: ibv_device_attr::node_guid",
    ][::std::mem::offset_of!(ibv_device_attr, node_guid) - 64usize];
    [
        "Offset of field: ibv_device_attr::sys_image_guid",
    ][::std::mem::offset_of!(ibv_device_attr, sys_image_guid) - 72usize];
    [
        "Offset of field: ibv_device_attr::max_mr_size",
    ][::std::mem::offset_of!(ibv_device_attr, max_mr_size) - 80usize];
    [
        "Offset of field: ibv_device_attr::page_size_cap",
    ][::std::mem::offset_of!(ibv_device_attr, page_size_cap) - 88usize];
    [
        "Offset of field: ibv_device_attr::vendor_id",
    ][::std::mem::offset_of!(ibv_device_attr, vendor_id) - 96usize];
    [
        "Offset of field: ibv_device_attr::vendor_part_id",
    ][::std::mem::offset_of!(ibv_device_attr, vendor_part_id) - 100usize];
    [
        "Offset of field: ibv_device_attr::hw_ver",
    ][::std::mem::offset_of!(ibv_device_attr, hw_ver) - 104usize];
    [
        "Offset of field: ibv_device_attr::max_qp",
    ][::std::mem::offset_of!(ibv_device_attr, max_qp) - 108usize];
    [
        "Offset of field: ibv_device_attr::max_qp_wr",
    ][::std::mem::offset_of!(ibv_device_attr, max_qp_wr) - 112usize];
    [
        "Offset of field: ibv_device_attr::device_cap_flags",
    ][::std::mem::offset_of!(ibv_device_attr, device_cap_flags) - 116usize];
    [
        "Offset of field: ibv_device_attr::max_sge",
    ][::std::mem::offset_of!(ibv_device_attr, max_sge) - 120usize];
    [
        "Offset of field: ibv_device_attr::max_sge_rd",
    ][::std::mem::offset_of!(ibv_device_attr, max_sge_rd) - 124usize];
    [
        "Offset of field: ibv_device_attr::max_cq",
    ][::std::mem::offset_of!(ibv_device_attr, max_cq) - 128usize];
    [
        "Offset of field: ibv_device_attr::max_cqe",
    ][::std::mem::offset_of!(ibv_device_attr, max_cqe) - 132usize];
    [
        "Offset of field: ibv_device_attr::max_mr",
    ][::std::mem::offset_of!(ibv_device_attr, max_mr) - 136usize];
    [
        "Offset of field: ibv_device_attr::max_pd",
    ][::std::mem::offset_of!(ibv_device_attr, max_pd) - 140usize];
    [
        "Offset of field: ibv_device_attr::max_qp_rd_atom",
    ][::std::mem::offset_of!(ibv_device_attr, max_qp_rd_atom) - 144usize];
    [
        "Offset of field: ibv_device_attr::max_ee_rd_atom",
    ][::std::mem::offset_of!(ibv_device_attr, max_ee_rd_atom) - 148usize];
    [
        "Offset of field: ibv_device_attr::max_res_rd_atom",
    ][::std::mem::offset_of!(ibv_device_attr, max_res_rd_atom) - 152usize];
    [
        "Offset of field: ibv_device_attr::max_qp_init_rd_atom",
    ][::std::mem::offset_of!(ibv_device_attr, max_qp_init_rd_atom) - 156usize];
    [
        "Offset of field: ibv_device_attr::max_ee_init_rd_atom",
    ][::std::mem::offset_of!(ibv_device_attr, max_ee_init_rd_atom) - 160usize];
    [
        "Offset of field: ibv_device_attr::atomic_cap",
    ][::std::mem::offset_of!(ibv_device_attr, atomic_cap) - 164usize];
    [
        "Offset of field: ibv_device_attr::max_ee",
    ][::std::mem::offset_of!(ibv_device_attr, max_ee) - 168usize];
    [
        "Offset of field: ibv_device_attr::max_rdd",
    ][::std::mem::offset_of!(ibv_device_attr, max_rdd) - 172usize];
    [
        "Offset of field: ibv_device_attr::max_mw",
    ][::std::mem::offset_of!(ibv_device_attr, max_mw) - 176usize];
    [
        "Offset of field: ibv_device_attr::max_raw_ipv6_qp",
    ][::std::mem::offset_of!(ibv_device_attr, max_raw_ipv6_qp) - 180usize];
    [
        "Offset of field: ibv_device_attr::max_raw_ethy_qp",
    ][::std::mem::offset_of!(ibv_device_attr, max_raw_ethy_qp) - 184usize];
    [
        "Offset of field: ibv_device_attr::max_mcast_grp",
    ][::std::mem::offset_of!(ibv_device_attr, max_mcast_grp) - 188usize];
    [
        "Offset of field: ibv_device_attr::max_mcast_qp_attach",
    ][::std::mem::offset_of!(ibv_device_attr, max_mcast_qp_attach) - 192usize];
    [
        "Offset of field: ibv_device_attr::max_total_mcast_qp_attach",
    ][::std::mem::offset_of!(ibv_device_attr, max_total_mcast_qp_attach) - 196usize];
    [
        "Offset of field: ibv_device_attr::max_ah",
    ][::std::mem::offset_of!(ibv_device_attr, max_ah) - 200usize];
    [
        "Offset of field: ibv_device_attr::max_fmr",
    ][::std::mem::offset_of!(ibv_device_attr, max_fmr) - 204usize];
    [
        "Offset of field: ibv_device_attr::max_map_per_fmr",
    ][::std::mem::offset_of!(ibv_device_attr, max_map_per_fmr) - 208usize];
    [
        "Offset of field: ibv_device_attr::max_srq",
    ][::std::mem::offset_of!(ibv_device_attr, max_srq) - 212usize];
    [
        "Offset of field: ibv_device_attr::max_srq_wr",
    ][::std::mem::offset_of!(ibv_device_attr, max_srq_wr) - 216usize];
    [
        "Offset of field: ibv_device_attr::max_srq_sge",
    ][::std::mem::offset_of!(ibv_device_attr, max_srq_sge) - 220usize];
    [
        "Offset of field: ibv_device_attr::max_pkeys",
    ][::std::mem::offset_of!(ibv_device_attr, max_pkeys) - 224usize];
    [
        "Offset of field: ibv_device_attr::local_ca_ack_delay",
    ][::std::mem::offset_of!(ibv_device_attr, local_ca_ack_delay) - 226usize];
    [
        "Offset of field: ibv_device_attr::phys_port_cnt",
    ][::std::mem::offset_of!(ibv_device_attr, phys_port_cnt) - 227usize];
};
impl Default for ibv_device_attr {
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
pub struct ibv_query_device_ex_input {
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_query_device_ex_input",
    ][::std::mem::size_of::<ibv_query_device_ex_input>() - 4usize];
    [
        "Alignment of ibv_query_device_ex_input",
    ][::std::mem::align_of::<ibv_query_device_ex_input>() - 4usize];
    [
        "Offset of field: ibv_query_device_ex_input::comp_mask",
    ][::std::mem::offset_of!(ibv_query_device_ex_input, comp_mask) - 0usize];
};
impl Default for ibv_query_device_ex_input {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_ODP_SUPPORT_SEND: ibv_odp_transport_cap_bits = 1;
pub const IBV_ODP_SUPPORT_RECV: ibv_odp_transport_cap_bits = 2;
pub const IBV_ODP_SUPPORT_WRITE: ibv_odp_transport_cap_bits = 4;
pub const IBV_ODP_SUPPORT_READ: ibv_odp_transport_cap_bits = 8;
pub const IBV_ODP_SUPPORT_ATOMIC: ibv_odp_transport_cap_bits = 16;
pub const IBV_ODP_SUPPORT_SRQ_RECV: ibv_odp_transport_cap_bits = 32;
pub type ibv_odp_transport_cap_bits = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_odp_caps {
    pub general_caps: u64,
    pub per_transport_caps: ibv_odp_caps__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_odp_caps__bindgen_ty_1 {
    pub rc_odp_caps: u32,
    pub uc_odp_caps: u32,
    pub ud_odp_caps: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_odp_caps__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_odp_caps__bindgen_ty_1>() - 12usize];
    [
        "Alignment of ibv_odp_caps__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_odp_caps__bindgen_ty_1>() - 4usize];
    [
        "Offset of field: ibv_odp_caps__bindgen_ty_1::rc_odp_caps",
    ][::std::mem::offset_of!(ibv_odp_caps__bindgen_ty_1, rc_odp_caps) - 0usize];
    [
        "Offset of field: ibv_odp_caps__bindgen_ty_1::uc_odp_caps",
    ][::std::mem::offset_of!(ibv_odp_caps__bindgen_ty_1, uc_odp_caps) - 4usize];
    [
        "Offset of field: ibv_odp_caps__bindgen_ty_1::ud_odp_caps",
    ][::std::mem::offset_of!(ibv_odp_caps__bindgen_ty_1, ud_odp_caps) - 8usize];
};
impl Default for ibv_odp_caps__bindgen_ty_1 {
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
    ["Size of ibv_odp_caps"][::std::mem::size_of::<ibv_odp_caps>() - 24usize];
    ["Alignment of ibv_odp_caps"][::std::mem::align_of::<ibv_odp_caps>() - 8usize];
    [
        "Offset of field: ibv_odp_caps::general_caps",
    ][::std::mem::offset_of!(ibv_odp_caps, general_caps) - 0usize];
    [
        "Offset of field: ibv_odp_caps::per_transport_caps",
    ][::std::mem::offset_of!(ibv_odp_caps, per_transport_caps) - 8usize];
};
impl Default for ibv_odp_caps {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_ODP_SUPPORT: ibv_odp_general_caps = 1;
pub const IBV_ODP_SUPPORT_IMPLICIT: ibv_odp_general_caps = 2;
pub type ibv_odp_general_caps = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_tso_caps {
    pub max_tso: u32,
    pub supported_qpts: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_tso_caps"][::std::mem::size_of::<ibv_tso_caps>() - 8usize];
    ["Alignment of ibv_tso_caps"][::std::mem::align_of::<ibv_tso_caps>() - 4usize];
    [
        "Offset of field: ibv_tso_caps::max_tso",
    ][::std::mem::offset_of!(ibv_tso_caps, max_tso) - 0usize];
    [
        "Offset of field: ibv_tso_caps::supported_qpts",
    ][::std::mem::offset_of!(ibv_tso_caps, supported_qpts) - 4usize];
};
impl Default for ibv_tso_caps {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_RX_HASH_FUNC_TOEPLITZ: ibv_rx_hash_function_flags = 1;
pub type ibv_rx_hash_function_flags = ::std::os::raw::c_uint;
pub const IBV_RX_HASH_SRC_IPV4: ibv_rx_hash_fields = 1;
pub const IBV_RX_HASH_DST_IPV4: ibv_rx_hash_fields = 2;
pub const IBV_RX_HASH_SRC_IPV6: ibv_rx_hash_fields = 4;
pub const IBV_RX_HASH_DST_IPV6: ibv_rx_hash_fields = 8;
pub const IBV_RX_HASH_SRC_PORT_TCP: ibv_rx_hash_fields = 16;
pub const IBV_RX_HASH_DST_PORT_TCP: ibv_rx_hash_fields = 32;
pub const IBV_RX_HASH_SRC_PORT_UDP: ibv_rx_hash_fields = 64;
pub const IBV_RX_HASH_DST_PORT_UDP: ibv_rx_hash_fields = 128;
pub const IBV_RX_HASH_IPSEC_SPI: ibv_rx_hash_fields = 256;
pub const IBV_RX_HASH_INNER: ibv_rx_hash_fields = 2147483648;
pub type ibv_rx_hash_fields = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_rss_caps {
    pub supported_qpts: u32,
    pub max_rwq_indirection_tables: u32,
    pub max_rwq_indirection_table_size: u32,
    pub rx_hash_fields_mask: u64,
    pub rx_hash_function: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_rss_caps"][::std::mem::size_of::<ibv_rss_caps>() - 32usize];
    ["Alignment of ibv_rss_caps"][::std::mem::align_of::<ibv_rss_caps>() - 8usize];
    [
        "Offset of field: ibv_rss_caps::supported_qpts",
    ][::std::mem::offset_of!(ibv_rss_caps, supported_qpts) - 0usize];
    [
        "Offset of field: ibv_rss_caps::max_rwq_indirection_tables",
    ][::std::mem::offset_of!(ibv_rss_caps, max_rwq_indirection_tables) - 4usize];
    [
        "Offset of field: ibv_rss_caps::max_rwq_indirection_table_size",
    ][::std::mem::offset_of!(ibv_rss_caps, max_rwq_indirection_table_size) - 8usize];
    [
        "Offset of field: ibv_rss_caps::rx_hash_fields_mask",
    ][::std::mem::offset_of!(ibv_rss_caps, rx_hash_fields_mask) - 16usize];
    [
        "Offset of field: ibv_rss_caps::rx_hash_function",
    ][::std::mem::offset_of!(ibv_rss_caps, rx_hash_function) - 24usize];
};
impl Default for ibv_rss_caps {
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
pub struct ibv_packet_pacing_caps {
    pub qp_rate_limit_min: u32,
    pub qp_rate_limit_max: u32,
    pub supported_qpts: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_packet_pacing_caps",
    ][::std::mem::size_of::<ibv_packet_pacing_caps>() - 12usize];
    [
        "Alignment of ibv_packet_pacing_caps",
    ][::std::mem::align_of::<ibv_packet_pacing_caps>() - 4usize];
    [
        "Offset of field: ibv_packet_pacing_caps::qp_rate_limit_min",
    ][::std::mem::offset_of!(ibv_packet_pacing_caps, qp_rate_limit_min) - 0usize];
    [
        "Offset of field: ibv_packet_pacing_caps::qp_rate_limit_max",
    ][::std::mem::offset_of!(ibv_packet_pacing_caps, qp_rate_limit_max) - 4usize];
    [
        "Offset of field: ibv_packet_pacing_caps::supported_qpts",
    ][::std::mem::offset_of!(ibv_packet_pacing_caps, supported_qpts) - 8usize];
};
impl Default for ibv_packet_pacing_caps {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_RAW_PACKET_CAP_CVLAN_STRIPPING: ibv_raw_packet_caps = 1;
pub const IBV_RAW_PACKET_CAP_SCATTER_FCS: ibv_raw_packet_caps = 2;
pub const IBV_RAW_PACKET_CAP_IP_CSUM: ibv_raw_packet_caps = 4;
pub const IBV_RAW_PACKET_CAP_DELAY_DROP: ibv_raw_packet_caps = 8;
pub type ibv_raw_packet_caps = ::std::os::raw::c_uint;
pub const IBV_TM_CAP_RC: ibv_tm_cap_flags = 1;
pub type ibv_tm_cap_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_tm_caps {
    pub max_rndv_hdr_size: u32,
    pub max_num_tags: u32,
    pub flags: u32,
    pub max_ops: u32,
    pub max_sge: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_tm_caps"][::std::mem::size_of::<ibv_tm_caps>() - 20usize];
    ["Alignment of ibv_tm_caps"][::std::mem::align_of::<ibv_tm_caps>() - 4usize];
    [
        "Offset of field: ibv_tm_caps::max_rndv_hdr_size",
    ][::std::mem::offset_of!(ibv_tm_caps, max_rndv_hdr_size) - 0usize];
    [
        "Offset of field: ibv_tm_caps::max_num_tags",
    ][::std::mem::offset_of!(ibv_tm_caps, max_num_tags) - 4usize];
    [
        "Offset of field: ibv_tm_caps::flags",
    ][::std::mem::offset_of!(ibv_tm_caps, flags) - 8usize];
    [
        "Offset of field: ibv_tm_caps::max_ops",
    ][::std::mem::offset_of!(ibv_tm_caps, max_ops) - 12usize];
    [
        "Offset of field: ibv_tm_caps::max_sge",
    ][::std::mem::offset_of!(ibv_tm_caps, max_sge) - 16usize];
};
impl Default for ibv_tm_caps {
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
pub struct ibv_cq_moderation_caps {
    pub max_cq_count: u16,
    pub max_cq_period: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_cq_moderation_caps",
    ][::std::mem::size_of::<ibv_cq_moderation_caps>() - 4usize];
    [
        "Alignment of ibv_cq_moderation_caps",
    ][::std::mem::align_of::<ibv_cq_moderation_caps>() - 2usize];
    [
        "Offset of field: ibv_cq_moderation_caps::max_cq_count",
    ][::std::mem::offset_of!(ibv_cq_moderation_caps, max_cq_count) - 0usize];
    [
        "Offset of field: ibv_cq_moderation_caps::max_cq_period",
    ][::std::mem::offset_of!(ibv_cq_moderation_caps, max_cq_period) - 2usize];
};
impl Default for ibv_cq_moderation_caps {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_PCI_ATOMIC_OPERATION_4_BYTE_SIZE_SUP: ibv_pci_atomic_op_size = 1;
pub const IBV_PCI_ATOMIC_OPERATION_8_BYTE_SIZE_SUP: ibv_pci_atomic_op_size = 2;
pub const IBV_PCI_ATOMIC_OPERATION_16_BYTE_SIZE_SUP: ibv_pci_atomic_op_size = 4;
pub type ibv_pci_atomic_op_size = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_pci_atomic_caps {
    pub fetch_add: u16,
    pub swap: u16,
    pub compare_swap: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_pci_atomic_caps",
    ][::std::mem::size_of::<ibv_pci_atomic_caps>() - 6usize];
    [
        "Alignment of ibv_pci_atomic_caps",
    ][::std::mem::align_of::<ibv_pci_atomic_caps>() - 2usize];
    [
        "Offset of field: ibv_pci_atomic_caps::fetch_add",
    ][::std::mem::offset_of!(ibv_pci_atomic_caps, fetch_add) - 0usize];
    [
        "Offset of field: ibv_pci_atomic_caps::swap",
    ][::std::mem::offset_of!(ibv_pci_atomic_caps, swap) - 2usize];
    [
        "Offset of field: ibv_pci_atomic_caps::compare_swap",
    ][::std::mem::offset_of!(ibv_pci_atomic_caps, compare_swap) - 4usize];
};
impl Default for ibv_pci_atomic_caps {
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
pub struct ibv_device_attr_ex {
    pub orig_attr: ibv_device_attr,
    pub comp_mask: u32,
    pub odp_caps: ibv_odp_caps,
    pub completion_timestamp_mask: u64,
    pub hca_core_clock: u64,
    pub device_cap_flags_ex: u64,
    pub tso_caps: ibv_tso_caps,
    pub rss_caps: ibv_rss_caps,
    pub max_wq_type_rq: u32,
    pub packet_pacing_caps: ibv_packet_pacing_caps,
    pub raw_packet_caps: u32,
    pub tm_caps: ibv_tm_caps,
    pub cq_mod_caps: ibv_cq_moderation_caps,
    pub max_dm_size: u64,
    pub pci_atomic_caps: ibv_pci_atomic_caps,
    pub xrc_odp_caps: u32,
    pub phys_port_cnt_ex: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_device_attr_ex",
    ][::std::mem::size_of::<ibv_device_attr_ex>() - 400usize];
    [
        "Alignment of ibv_device_attr_ex",
    ][::std::mem::align_of::<ibv_device_attr_ex>() - 8usize];
    [
        "Offset of field: ibv_device_attr_ex::orig_attr",
    ][::std::mem::offset_of!(ibv_device_attr_ex, orig_attr) - 0usize];
    [
        "Offset of field: ibv_device_attr_ex::comp_mask",
    ][::std::mem::offset_of!(ibv_device_attr_ex, comp_mask) - 232usize];
    [
        "Offset of field: ibv_device_attr_ex::odp_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, odp_caps) - 240usize];
    [
        "Offset of field: ibv_device_attr_ex::completion_timestamp_mask",
    ][::std::mem::offset_of!(ibv_device_attr_ex, completion_timestamp_mask) - 264usize];
    [
        "Offset of field: ibv_device_attr_ex::hca_core_clock",
    ][::std::mem::offset_of!(ibv_device_attr_ex, hca_core_clock) - 272usize];
    [
        "Offset of field: ibv_device_attr_ex::device_cap_flags_ex",
    ][::std::mem::offset_of!(ibv_device_attr_ex, device_cap_flags_ex) - 280usize];
    [
        "Offset of field: ibv_device_attr_ex::tso_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, tso_caps) - 288usize];
    [
        "Offset of field: ibv_device_attr_ex::rss_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, rss_caps) - 296usize];
    [
        "Offset of field: ibv_device_attr_ex::max_wq_type_rq",
    ][::std::mem::offset_of!(ibv_device_attr_ex, max_wq_type_rq) - 328usize];
    [
        "Offset of field: ibv_device_attr_ex::packet_pacing_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, packet_pacing_caps) - 332usize];
    [
        "Offset of field: ibv_device_attr_ex::raw_packet_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, raw_packet_caps) - 344usize];
    [
        "Offset of field: ibv_device_attr_ex::tm_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, tm_caps) - 348usize];
    [
        "Offset of field: ibv_device_attr_ex::cq_mod_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, cq_mod_caps) - 368usize];
    [
        "Offset of field: ibv_device_attr_ex::max_dm_size",
    ][::std::mem::offset_of!(ibv_device_attr_ex, max_dm_size) - 376usize];
    [
        "Offset of field: ibv_device_attr_ex::pci_atomic_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, pci_atomic_caps) - 384usize];
    [
        "Offset of field: ibv_device_attr_ex::xrc_odp_caps",
    ][::std::mem::offset_of!(ibv_device_attr_ex, xrc_odp_caps) - 392usize];
    [
        "Offset of field: ibv_device_attr_ex::phys_port_cnt_ex",
    ][::std::mem::offset_of!(ibv_device_attr_ex, phys_port_cnt_ex) - 396usize];
};
impl Default for ibv_device_attr_ex {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_MTU_256: ibv_mtu = 1;
pub const IBV_MTU_512: ibv_mtu = 2;
pub const IBV_MTU_1024: ibv_mtu = 3;
pub const IBV_MTU_2048: ibv_mtu = 4;
pub const IBV_MTU_4096: ibv_mtu = 5;
pub type ibv_mtu = ::std::os::raw::c_uint;
pub const IBV_PORT_NOP: ibv_port_state = 0;
pub const IBV_PORT_DOWN: ibv_port_state = 1;
pub const IBV_PORT_INIT: ibv_port_state = 2;
pub const IBV_PORT_ARMED: ibv_port_state = 3;
pub const IBV_PORT_ACTIVE: ibv_port_state = 4;
pub const IBV_PORT_ACTIVE_DEFER: ibv_port_state = 5;
pub type ibv_port_state = ::std::os::raw::c_uint;
pub const IBV_LINK_LAYER_UNSPECIFIED: ::std::os::raw::c_uint = 0;
pub const IBV_LINK_LAYER_INFINIBAND: ::std::os::raw::c_uint = 1;
pub const IBV_LINK_LAYER_ETHERNET: ::std::os::raw::c_uint = 2;
pub const IBV_PORT_SM: ibv_port_cap_flags = 2;
pub const IBV_PORT_NOTICE_SUP: ibv_port_cap_flags = 4;
pub const IBV_PORT_TRAP_SUP: ibv_port_cap_flags = 8;
pub const IBV_PORT_OPT_IPD_SUP: ibv_port_cap_flags = 16;
pub const IBV_PORT_AUTO_MIGR_SUP: ibv_port_cap_flags = 32;
pub const IBV_PORT_SL_MAP_SUP: ibv_port_cap_flags = 64;
pub const IBV_PORT_MKEY_NVRAM: ibv_port_cap_flags = 128;
pub const IBV_PORT_PKEY_NVRAM: ibv_port_cap_flags = 256;
pub const IBV_PORT_LED_INFO_SUP: ibv_port_cap_flags = 512;
pub const IBV_PORT_SYS_IMAGE_GUID_SUP: ibv_port_cap_flags = 2048;
pub const IBV_PORT_PKEY_SW_EXT_PORT_TRAP_SUP: ibv_port_cap_flags = 4096;
pub const IBV_PORT_EXTENDED_SPEEDS_SUP: ibv_port_cap_flags = 16384;
pub const IBV_PORT_CAP_MASK2_SUP: ibv_port_cap_flags = 32768;
pub const IBV_PORT_CM_SUP: ibv_port_cap_flags = 65536;
pub const IBV_PORT_SNMP_TUNNEL_SUP: ibv_port_cap_flags = 131072;
pub const IBV_PORT_REINIT_SUP: ibv_port_cap_flags = 262144;
pub const IBV_PORT_DEVICE_MGMT_SUP: ibv_port_cap_flags = 524288;
pub const IBV_PORT_VENDOR_CLASS_SUP: ibv_port_cap_flags = 1048576;
pub const IBV_PORT_DR_NOTICE_SUP: ibv_port_cap_flags = 2097152;
pub const IBV_PORT_CAP_MASK_NOTICE_SUP: ibv_port_cap_flags = 4194304;
pub const IBV_PORT_BOOT_MGMT_SUP: ibv_port_cap_flags = 8388608;
pub const IBV_PORT_LINK_LATENCY_SUP: ibv_port_cap_flags = 16777216;
pub const IBV_PORT_CLIENT_REG_SUP: ibv_port_cap_flags = 33554432;
pub const IBV_PORT_IP_BASED_GIDS: ibv_port_cap_flags = 67108864;
pub type ibv_port_cap_flags = ::std::os::raw::c_uint;
pub const IBV_PORT_SET_NODE_DESC_SUP: ibv_port_cap_flags2 = 1;
pub const IBV_PORT_INFO_EXT_SUP: ibv_port_cap_flags2 = 2;
pub const IBV_PORT_VIRT_SUP: ibv_port_cap_flags2 = 4;
pub const IBV_PORT_SWITCH_PORT_STATE_TABLE_SUP: ibv_port_cap_flags2 = 8;
pub const IBV_PORT_LINK_WIDTH_2X_SUP: ibv_port_cap_flags2 = 16;
pub const IBV_PORT_LINK_SPEED_HDR_SUP: ibv_port_cap_flags2 = 32;
pub const IBV_PORT_LINK_SPEED_NDR_SUP: ibv_port_cap_flags2 = 1024;
pub type ibv_port_cap_flags2 = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_port_attr {
    pub state: ibv_port_state,
    pub max_mtu: ibv_mtu,
    pub active_mtu: ibv_mtu,
    pub gid_tbl_len: ::std::os::raw::c_int,
    pub port_cap_flags: u32,
    pub max_msg_sz: u32,
    pub bad_pkey_cntr: u32,
    pub qkey_viol_cntr: u32,
    pub pkey_tbl_len: u16,
    pub lid: u16,
    pub sm_lid: u16,
    pub lmc: u8,
    pub max_vl_num: u8,
    pub sm_sl: u8,
    pub subnet_timeout: u8,
    pub init_type_reply: u8,
    pub active_width: u8,
    pub active_speed: u8,
    pub phys_state: u8,
    pub link_layer: u8,
    pub flags: u8,
    pub port_cap_flags2: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_port_attr"][::std::mem::size_of::<ibv_port_attr>() - 52usize];
    ["Alignment of ibv_port_attr"][::std::mem::align_of::<ibv_port_attr>() - 4usize];
    [
        "Offset of field: ibv_port_attr::state",
    ][::std::mem::offset_of!(ibv_port_attr, state) - 0usize];
    [
        "Offset of field: ibv_port_attr::max_mtu",
    ][::std::mem::offset_of!(ibv_port_attr, max_mtu) - 4usize];
    [
        "Offset of field: ibv_port_attr::active_mtu",
    ][::std::mem::offset_of!(ibv_port_attr, active_mtu) - 8usize];
    [
        "Offset of field: ibv_port_attr::gid_tbl_len",
    ][::std::mem::offset_of!(ibv_port_attr, gid_tbl_len) - 12usize];
    [
        "Offset of field: ibv_port_attr::port_cap_flags",
    ][::std::mem::offset_of!(ibv_port_attr, port_cap_flags) - 16usize];
    [
        "Offset of field: ibv_port_attr::max_msg_sz",
    ][::std::mem::offset_of!(ibv_port_attr, max_msg_sz) - 20usize];
    [
        "Offset of field: ibv_port_attr::bad_pkey_cntr",
    ][::std::mem::offset_of!(ibv_port_attr, bad_pkey_cntr) - 24usize];
    [
        "Offset of field: ibv_port_attr::qkey_viol_cntr",
    ][::std::mem::offset_of!(ibv_port_attr, qkey_viol_cntr) - 28usize];
    [
        "Offset of field: ibv_port_attr::pkey_tbl_len",
    ][::std::mem::offset_of!(ibv_port_attr, pkey_tbl_len) - 32usize];
    [
        "Offset of field: ibv_port_attr::lid",
    ][::std::mem::offset_of!(ibv_port_attr, lid) - 34usize];
    [
        "Offset of field: ibv_port_attr::sm_lid",
    ][::std::mem::offset_of!(ibv_port_attr, sm_lid) - 36usize];
    [
        "Offset of field: ibv_port_attr::lmc",
    ][::std::mem::offset_of!(ibv_port_attr, lmc) - 38usize];
    [
        "Offset of field: ibv_port_attr::max_vl_num",
    ][::std::mem::offset_of!(ibv_port_attr, max_vl_num) - 39usize];
    [
        "Offset of field: ibv_port_attr::sm_sl",
    ][::std::mem::offset_of!(ibv_port_attr, sm_sl) - 40usize];
    [
        "Offset of field: ibv_port_attr::subnet_timeout",
    ][::std::mem::offset_of!(ibv_port_attr, subnet_timeout) - 41usize];
    [
        "Offset of field: ibv_port_attr::init_type_reply",
    ][::std::mem::offset_of!(ibv_port_attr, init_type_reply) - 42usize];
    [
        "Offset of field: ibv_port_attr::active_width",
    ][::std::mem::offset_of!(ibv_port_attr, active_width) - 43usize];
    [
        "Offset of field: ibv_port_attr::active_speed",
    ][::std::mem::offset_of!(ibv_port_attr, active_speed) - 44usize];
    [
        "Offset of field: ibv_port_attr::phys_state",
    ][::std::mem::offset_of!(ibv_port_attr, phys_state) - 45usize];
    [
        "Offset of field: ibv_port_attr::link_layer",
    ][::std::mem::offset_of!(ibv_port_attr, link_layer) - 46usize];
    [
        "Offset of field: ibv_port_attr::flags",
    ][::std::mem::offset_of!(ibv_port_attr, flags) - 47usize];
    [
        "Offset of field: ibv_port_attr::port_cap_flags2",
    ][::std::mem::offset_of!(ibv_port_attr, port_cap_flags2) - 48usize];
};
impl Default for ibv_port_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_EVENT_CQ_ERR: ibv_event_type = 0;
pub const IBV_EVENT_QP_FATAL: ibv_event_type = 1;
pub const IBV_EVENT_QP_REQ_ERR: ibv_event_type = 2;
pub const IBV_EVENT_QP_ACCESS_ERR: ibv_event_type = 3;
pub const IBV_EVENT_COMM_EST: ibv_event_type = 4;
pub const IBV_EVENT_SQ_DRAINED: ibv_event_type = 5;
pub const IBV_EVENT_PATH_MIG: ibv_event_type = 6;
pub const IBV_EVENT_PATH_MIG_ERR: ibv_event_type = 7;
pub const IBV_EVENT_DEVICE_FATAL: ibv_event_type = 8;
pub const IBV_EVENT_PORT_ACTIVE: ibv_event_type = 9;
pub const IBV_EVENT_PORT_ERR: ibv_event_type = 10;
pub const IBV_EVENT_LID_CHANGE: ibv_event_type = 11;
pub const IBV_EVENT_PKEY_CHANGE: ibv_event_type = 12;
pub const IBV_EVENT_SM_CHANGE: ibv_event_type = 13;
pub const IBV_EVENT_SRQ_ERR: ibv_event_type = 14;
pub const IBV_EVENT_SRQ_LIMIT_REACHED: ibv_event_type = 15;
pub const IBV_EVENT_QP_LAST_WQE_REACHED: ibv_event_type = 16;
pub const IBV_EVENT_CLIENT_REREGISTER: ibv_event_type = 17;
pub const IBV_EVENT_GID_CHANGE: ibv_event_type = 18;
pub const IBV_EVENT_WQ_FATAL: ibv_event_type = 19;
pub type ibv_event_type = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_async_event {
    pub element: ibv_async_event__bindgen_ty_1,
    pub event_type: ibv_event_type,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union ibv_async_event__bindgen_ty_1 {
    pub cq: *mut ibv_cq,
    pub qp: *mut ibv_qp,
    pub srq: *mut ibv_srq,
    pub wq: *mut ibv_wq,
    pub port_num: ::std::os::raw::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_async_event__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_async_event__bindgen_ty_1>() - 8usize];
    [
        "Alignment of ibv_async_event__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_async_event__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::cq",
    ][::std::mem::offset_of!(ibv_async_event__bindgen_ty_1, cq) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::qp",
    ][::std::mem::offset_of!(ibv_async_event__bindgen_ty_1, qp) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::srq",
    ][::std::mem::offset_of!(ibv_async_event__bindgen_ty_1, srq) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::wq",
    ][::std::mem::offset_of!(ibv_async_event__bindgen_ty_1, wq) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::port_num",
    ][::std::mem::offset_of!(ibv_async_event__bindgen_ty_1, port_num) - 0usize];
};
impl Default for ibv_async_event__bindgen_ty_1 {
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
    ["Size of ibv_async_event"][::std::mem::size_of::<ibv_async_event>() - 16usize];
    ["Alignment of ibv_async_event"][::std::mem::align_of::<ibv_async_event>() - 8usize];
    [
        "Offset of field: ibv_async_event::element",
    ][::std::mem::offset_of!(ibv_async_event, element) - 0usize];
    [
        "Offset of field: ibv_async_event::event_type",
    ][::std::mem::offset_of!(ibv_async_event, event_type) - 8usize];
};
impl Default for ibv_async_event {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_WC_SUCCESS: ibv_wc_status = 0;
pub const IBV_WC_LOC_LEN_ERR: ibv_wc_status = 1;
pub const IBV_WC_LOC_QP_OP_ERR: ibv_wc_status = 2;
pub const IBV_WC_LOC_EEC_OP_ERR: ibv_wc_status = 3;
pub const IBV_WC_LOC_PROT_ERR: ibv_wc_status = 4;
pub const IBV_WC_WR_FLUSH_ERR: ibv_wc_status = 5;
pub const IBV_WC_MW_BIND_ERR: ibv_wc_status = 6;
pub const IBV_WC_BAD_RESP_ERR: ibv_wc_status = 7;
pub const IBV_WC_LOC_ACCESS_ERR: ibv_wc_status = 8;
pub const IBV_WC_REM_INV_REQ_ERR: ibv_wc_status = 9;
pub const IBV_WC_REM_ACCESS_ERR: ibv_wc_status = 10;
pub const IBV_WC_REM_OP_ERR: ibv_wc_status = 11;
pub const IBV_WC_RETRY_EXC_ERR: ibv_wc_status = 12;
pub const IBV_WC_RNR_RETRY_EXC_ERR: ibv_wc_status = 13;
pub const IBV_WC_LOC_RDD_VIOL_ERR: ibv_wc_status = 14;
pub const IBV_WC_REM_INV_RD_REQ_ERR: ibv_wc_status = 15;
pub const IBV_WC_REM_ABORT_ERR: ibv_wc_status = 16;
pub const IBV_WC_INV_EECN_ERR: ibv_wc_status = 17;
pub const IBV_WC_INV_EEC_STATE_ERR: ibv_wc_status = 18;
pub const IBV_WC_FATAL_ERR: ibv_wc_status = 19;
pub const IBV_WC_RESP_TIMEOUT_ERR: ibv_wc_status = 20;
pub const IBV_WC_GENERAL_ERR: ibv_wc_status = 21;
pub const IBV_WC_TM_ERR: ibv_wc_status = 22;
pub const IBV_WC_TM_RNDV_INCOMPLETE: ibv_wc_status = 23;
pub type ibv_wc_status = ::std::os::raw::c_uint;
pub const IBV_WC_SEND: ibv_wc_opcode = 0;
pub const IBV_WC_RDMA_WRITE: ibv_wc_opcode = 1;
pub const IBV_WC_RDMA_READ: ibv_wc_opcode = 2;
pub const IBV_WC_COMP_SWAP: ibv_wc_opcode = 3;
pub const IBV_WC_FETCH_ADD: ibv_wc_opcode = 4;
pub const IBV_WC_BIND_MW: ibv_wc_opcode = 5;
pub const IBV_WC_LOCAL_INV: ibv_wc_opcode = 6;
pub const IBV_WC_TSO: ibv_wc_opcode = 7;
pub const IBV_WC_ATOMIC_WRITE: ibv_wc_opcode = 9;
pub const IBV_WC_RECV: ibv_wc_opcode = 128;
pub const IBV_WC_RECV_RDMA_WITH_IMM: ibv_wc_opcode = 129;
pub const IBV_WC_TM_ADD: ibv_wc_opcode = 130;
pub const IBV_WC_TM_DEL: ibv_wc_opcode = 131;
pub const IBV_WC_TM_SYNC: ibv_wc_opcode = 132;
pub const IBV_WC_TM_RECV: ibv_wc_opcode = 133;
pub const IBV_WC_TM_NO_TAG: ibv_wc_opcode = 134;
pub const IBV_WC_DRIVER1: ibv_wc_opcode = 135;
pub const IBV_WC_DRIVER2: ibv_wc_opcode = 136;
pub const IBV_WC_DRIVER3: ibv_wc_opcode = 137;
pub type ibv_wc_opcode = ::std::os::raw::c_uint;
pub const IBV_WC_IP_CSUM_OK_SHIFT: ::std::os::raw::c_uint = 2;
pub const IBV_WC_EX_WITH_BYTE_LEN: ibv_create_cq_wc_flags = 1;
pub const IBV_WC_EX_WITH_IMM: ibv_create_cq_wc_flags = 2;
pub const IBV_WC_EX_WITH_QP_NUM: ibv_create_cq_wc_flags = 4;
pub const IBV_WC_EX_WITH_SRC_QP: ibv_create_cq_wc_flags = 8;
pub const IBV_WC_EX_WITH_SLID: ibv_create_cq_wc_flags = 16;
pub const IBV_WC_EX_WITH_SL: ibv_create_cq_wc_flags = 32;
pub const IBV_WC_EX_WITH_DLID_PATH_BITS: ibv_create_cq_wc_flags = 64;
pub const IBV_WC_EX_WITH_COMPLETION_TIMESTAMP: ibv_create_cq_wc_flags = 128;
pub const IBV_WC_EX_WITH_CVLAN: ibv_create_cq_wc_flags = 256;
pub const IBV_WC_EX_WITH_FLOW_TAG: ibv_create_cq_wc_flags = 512;
pub const IBV_WC_EX_WITH_TM_INFO: ibv_create_cq_wc_flags = 1024;
pub const IBV_WC_EX_WITH_COMPLETION_TIMESTAMP_WALLCLOCK: ibv_create_cq_wc_flags = 2048;
pub type ibv_create_cq_wc_flags = ::std::os::raw::c_uint;
pub const IBV_WC_STANDARD_FLAGS: ::std::os::raw::c_uint = 127;
pub const IBV_CREATE_CQ_SUP_WC_FLAGS: ::std::os::raw::c_uint = 4095;
pub const IBV_WC_GRH: ibv_wc_flags = 1;
pub const IBV_WC_WITH_IMM: ibv_wc_flags = 2;
pub const IBV_WC_IP_CSUM_OK: ibv_wc_flags = 4;
pub const IBV_WC_WITH_INV: ibv_wc_flags = 8;
pub const IBV_WC_TM_SYNC_REQ: ibv_wc_flags = 16;
pub const IBV_WC_TM_MATCH: ibv_wc_flags = 32;
pub const IBV_WC_TM_DATA_VALID: ibv_wc_flags = 64;
pub type ibv_wc_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_wc {
    pub wr_id: u64,
    pub status: ibv_wc_status,
    pub opcode: ibv_wc_opcode,
    pub vendor_err: u32,
    pub byte_len: u32,
    pub __bindgen_anon_1: ibv_wc__bindgen_ty_1,
    pub qp_num: u32,
    pub src_qp: u32,
    pub wc_flags: ::std::os::raw::c_uint,
    pub pkey_index: u16,
    pub slid: u16,
    pub sl: u8,
    pub dlid_path_bits: u8,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union ibv_wc__bindgen_ty_1 {
    pub imm_data: __be32,
    pub invalidated_rkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_wc__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_wc__bindgen_ty_1>() - 4usize];
    [
        "Alignment of ibv_wc__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_wc__bindgen_ty_1>() - 4usize];
    [
        "Offset of field: ibv_wc__bindgen_ty_1::imm_data",
    ][::std::mem::offset_of!(ibv_wc__bindgen_ty_1, imm_data) - 0usize];
    [
        "Offset of field: ibv_wc__bindgen_ty_1::invalidated_rkey",
    ][::std::mem::offset_of!(ibv_wc__bindgen_ty_1, invalidated_rkey) - 0usize];
};
impl Default for ibv_wc__bindgen_ty_1 {
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
    ["Size of ibv_wc"][::std::mem::size_of::<ibv_wc>() - 48usize];
    ["Alignment of ibv_wc"][::std::mem::align_of::<ibv_wc>() - 8usize];
    ["Offset of field: ibv_wc::wr_id"][::std::mem::offset_of!(ibv_wc, wr_id) - 0usize];
    ["Offset of field: ibv_wc::status"][::std::mem::offset_of!(ibv_wc, status) - 8usize];
    [
        "Offset of field: ibv_wc::opcode",
    ][::std::mem::offset_of!(ibv_wc, opcode) - 12usize];
    [
        "Offset of field: ibv_wc::vendor_err",
    ][::std::mem::offset_of!(ibv_wc, vendor_err) - 16usize];
    [
        "Offset of field: ibv_wc::byte_len",
    ][::std::mem::offset_of!(ibv_wc, byte_len) - 20usize];
    [
        "Offset of field: ibv_wc::qp_num",
    ][::std::mem::offset_of!(ibv_wc, qp_num) - 28usize];
    [
        "Offset of field: ibv_wc::src_qp",
    ][::std::mem::offset_of!(ibv_wc, src_qp) - 32usize];
    [
        "Offset of field: ibv_wc::wc_flags",
    ][::std::mem::offset_of!(ibv_wc, wc_flags) - 36usize];
    [
        "Offset of field: ibv_wc::pkey_index",
    ][::std::mem::offset_of!(ibv_wc, pkey_index) - 40usize];
    ["Offset of field: ibv_wc::slid"][::std::mem::offset_of!(ibv_wc, slid) - 42usize];
    ["Offset of field: ibv_wc::sl"][::std::mem::offset_of!(ibv_wc, sl) - 44usize];
    [
        "Offset of field: ibv_wc::dlid_path_bits",
    ][::std::mem::offset_of!(ibv_wc, dlid_path_bits) - 45usize];
};
impl Default for ibv_wc {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_ACCESS_LOCAL_WRITE: ibv_access_flags = 1;
pub const IBV_ACCESS_REMOTE_WRITE: ibv_access_flags = 2;
pub const IBV_ACCESS_REMOTE_READ: ibv_access_flags = 4;
pub const IBV_ACCESS_REMOTE_ATOMIC: ibv_access_flags = 8;
pub const IBV_ACCESS_MW_BIND: ibv_access_flags = 16;
pub const IBV_ACCESS_ZERO_BASED: ibv_access_flags = 32;
pub const IBV_ACCESS_ON_DEMAND: ibv_access_flags = 64;
pub const IBV_ACCESS_HUGETLB: ibv_access_flags = 128;
pub const IBV_ACCESS_RELAXED_ORDERING: ibv_access_flags = 1048576;
pub type ibv_access_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_mw_bind_info {
    pub mr: *mut ibv_mr,
    pub addr: u64,
    pub length: u64,
    pub mw_access_flags: ::std::os::raw::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_mw_bind_info"][::std::mem::size_of::<ibv_mw_bind_info>() - 32usize];
    [
        "Alignment of ibv_mw_bind_info",
    ][::std::mem::align_of::<ibv_mw_bind_info>() - 8usize];
    [
        "Offset of field: ibv_mw_bind_info::mr",
    ][::std::mem::offset_of!(ibv_mw_bind_info, mr) - 0usize];
    [
        "Offset of field: ibv_mw_bind_info::addr",
    ][::std::mem::offset_of!(ibv_mw_bind_info, addr) - 8usize];
    [
        "Offset of field: ibv_mw_bind_info::length",
    ][::std::mem::offset_of!(ibv_mw_bind_info, length) - 16usize];
    [
        "Offset of field: ibv_mw_bind_info::mw_access_flags",
    ][::std::mem::offset_of!(ibv_mw_bind_info, mw_access_flags) - 24usize];
};
impl Default for ibv_mw_bind_info {
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
pub struct ibv_pd {
    pub context: *mut ibv_context,
    pub handle: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_pd"][::std::mem::size_of::<ibv_pd>() - 16usize];
    ["Alignment of ibv_pd"][::std::mem::align_of::<ibv_pd>() - 8usize];
    [
        "Offset of field: ibv_pd::context",
    ][::std::mem::offset_of!(ibv_pd, context) - 0usize];
    ["Offset of field: ibv_pd::handle"][::std::mem::offset_of!(ibv_pd, handle) - 8usize];
};
impl Default for ibv_pd {
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
pub struct ibv_td_init_attr {
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_td_init_attr"][::std::mem::size_of::<ibv_td_init_attr>() - 4usize];
    [
        "Alignment of ibv_td_init_attr",
    ][::std::mem::align_of::<ibv_td_init_attr>() - 4usize];
    [
        "Offset of field: ibv_td_init_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_td_init_attr, comp_mask) - 0usize];
};
impl Default for ibv_td_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_td {
    pub context: *mut ibv_context,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_td"][::std::mem::size_of::<ibv_td>() - 8usize];
    ["Alignment of ibv_td"][::std::mem::align_of::<ibv_td>() - 8usize];
    [
        "Offset of field: ibv_td::context",
    ][::std::mem::offset_of!(ibv_td, context) - 0usize];
};
impl Default for ibv_td {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_XRCD_INIT_ATTR_FD: ibv_xrcd_init_attr_mask = 1;
pub const IBV_XRCD_INIT_ATTR_OFLAGS: ibv_xrcd_init_attr_mask = 2;
pub const IBV_XRCD_INIT_ATTR_RESERVED: ibv_xrcd_init_attr_mask = 4;
pub type ibv_xrcd_init_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_xrcd_init_attr {
    pub comp_mask: u32,
    pub fd: ::std::os::raw::c_int,
    pub oflags: ::std::os::raw::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_xrcd_init_attr",
    ][::std::mem::size_of::<ibv_xrcd_init_attr>() - 12usize];
    [
        "Alignment of ibv_xrcd_init_attr",
    ][::std::mem::align_of::<ibv_xrcd_init_attr>() - 4usize];
    [
        "Offset of field: ibv_xrcd_init_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_xrcd_init_attr, comp_mask) - 0usize];
    [
        "Offset of field: ibv_xrcd_init_attr::fd",
    ][::std::mem::offset_of!(ibv_xrcd_init_attr, fd) - 4usize];
    [
        "Offset of field: ibv_xrcd_init_attr::oflags",
    ][::std::mem::offset_of!(ibv_xrcd_init_attr, oflags) - 8usize];
};
impl Default for ibv_xrcd_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_xrcd {
    pub context: *mut ibv_context,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_xrcd"][::std::mem::size_of::<ibv_xrcd>() - 8usize];
    ["Alignment of ibv_xrcd"][::std::mem::align_of::<ibv_xrcd>() - 8usize];
    [
        "Offset of field: ibv_xrcd::context",
    ][::std::mem::offset_of!(ibv_xrcd, context) - 0usize];
};
impl Default for ibv_xrcd {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_REREG_MR_CHANGE_TRANSLATION: ibv_rereg_mr_flags = 1;
pub const IBV_REREG_MR_CHANGE_PD: ibv_rereg_mr_flags = 2;
pub const IBV_REREG_MR_CHANGE_ACCESS: ibv_rereg_mr_flags = 4;
pub const IBV_REREG_MR_FLAGS_SUPPORTED: ibv_rereg_mr_flags = 7;
pub type ibv_rereg_mr_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_mr {
    pub context: *mut ibv_context,
    pub pd: *mut ibv_pd,
    pub addr: *mut ::std::os::raw::c_void,
    pub length: usize,
    pub handle: u32,
    pub lkey: u32,
    pub rkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_mr"][::std::mem::size_of::<ibv_mr>() - 48usize];
    ["Alignment of ibv_mr"][::std::mem::align_of::<ibv_mr>() - 8usize];
    [
        "Offset of field: ibv_mr::context",
    ][::std::mem::offset_of!(ibv_mr, context) - 0usize];
    ["Offset of field: ibv_mr::pd"][::std::mem::offset_of!(ibv_mr, pd) - 8usize];
    ["Offset of field: ibv_mr::addr"][::std::mem::offset_of!(ibv_mr, addr) - 16usize];
    [
        "Offset of field: ibv_mr::length",
    ][::std::mem::offset_of!(ibv_mr, length) - 24usize];
    [
        "Offset of field: ibv_mr::handle",
    ][::std::mem::offset_of!(ibv_mr, handle) - 32usize];
    ["Offset of field: ibv_mr::lkey"][::std::mem::offset_of!(ibv_mr, lkey) - 36usize];
    ["Offset of field: ibv_mr::rkey"][::std::mem::offset_of!(ibv_mr, rkey) - 40usize];
};
impl Default for ibv_mr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_MW_TYPE_1: ibv_mw_type = 1;
pub const IBV_MW_TYPE_2: ibv_mw_type = 2;
pub type ibv_mw_type = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_mw {
    pub context: *mut ibv_context,
    pub pd: *mut ibv_pd,
    pub rkey: u32,
    pub handle: u32,
    pub type_: ibv_mw_type,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_mw"][::std::mem::size_of::<ibv_mw>() - 32usize];
    ["Alignment of ibv_mw"][::std::mem::align_of::<ibv_mw>() - 8usize];
    [
        "Offset of field: ibv_mw::context",
    ][::std::mem::offset_of!(ibv_mw, context) - 0usize];
    ["Offset of field: ibv_mw::pd"][::std::mem::offset_of!(ibv_mw, pd) - 8usize];
    ["Offset of field: ibv_mw::rkey"][::std::mem::offset_of!(ibv_mw, rkey) - 16usize];
    [
        "Offset of field: ibv_mw::handle",
    ][::std::mem::offset_of!(ibv_mw, handle) - 20usize];
    ["Offset of field: ibv_mw::type_"][::std::mem::offset_of!(ibv_mw, type_) - 24usize];
};
impl Default for ibv_mw {
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
pub struct ibv_global_route {
    pub dgid: ibv_gid,
    pub flow_label: u32,
    pub sgid_index: u8,
    pub hop_limit: u8,
    pub traffic_class: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_global_route"][::std::mem::size_of::<ibv_global_route>() - 24usize];
    [
        "Alignment of ibv_global_route",
    ][::std::mem::align_of::<ibv_global_route>() - 8usize];
    [
        "Offset of field: ibv_global_route::dgid",
    ][::std::mem::offset_of!(ibv_global_route, dgid) - 0usize];
    [
        "Offset of field: ibv_global_route::flow_label",
    ][::std::mem::offset_of!(ibv_global_route, flow_label) - 16usize];
    [
        "Offset of field: ibv_global_route::sgid_index",
    ][::std::mem::offset_of!(ibv_global_route, sgid_index) - 20usize];
    [
        "Offset of field: ibv_global_route::hop_limit",
    ][::std::mem::offset_of!(ibv_global_route, hop_limit) - 21usize];
    [
        "Offset of field: ibv_global_route::traffic_class",
    ][::std::mem::offset_of!(ibv_global_route, traffic_class) - 22usize];
};
impl Default for ibv_global_route {
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
pub struct ibv_grh {
    pub version_tclass_flow: __be32,
    pub paylen: __be16,
    pub next_hdr: u8,
    pub hop_limit: u8,
    pub sgid: ibv_gid,
    pub dgid: ibv_gid,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_grh"][::std::mem::size_of::<ibv_grh>() - 40usize];
    ["Alignment of ibv_grh"][::std::mem::align_of::<ibv_grh>() - 8usize];
    [
        "Offset of field: ibv_grh::version_tclass_flow",
    ][::std::mem::offset_of!(ibv_grh, version_tclass_flow) - 0usize];
    [
        "Offset of field: ibv_grh::paylen",
    ][::std::mem::offset_of!(ibv_grh, paylen) - 4usize];
    [
        "Offset of field: ibv_grh::next_hdr",
    ][::std::mem::offset_of!(ibv_grh, next_hdr) - 6usize];
    [
        "Offset of field: ibv_grh::hop_limit",
    ][::std::mem::offset_of!(ibv_grh, hop_limit) - 7usize];
    ["Offset of field: ibv_grh::sgid"][::std::mem::offset_of!(ibv_grh, sgid) - 8usize];
    ["Offset of field: ibv_grh::dgid"][::std::mem::offset_of!(ibv_grh, dgid) - 24usize];
};
impl Default for ibv_grh {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_RATE_MAX: ibv_rate = 0;
pub const IBV_RATE_2_5_GBPS: ibv_rate = 2;
pub const IBV_RATE_5_GBPS: ibv_rate = 5;
pub const IBV_RATE_10_GBPS: ibv_rate = 3;
pub const IBV_RATE_20_GBPS: ibv_rate = 6;
pub const IBV_RATE_30_GBPS: ibv_rate = 4;
pub const IBV_RATE_40_GBPS: ibv_rate = 7;
pub const IBV_RATE_60_GBPS: ibv_rate = 8;
pub const IBV_RATE_80_GBPS: ibv_rate = 9;
pub const IBV_RATE_120_GBPS: ibv_rate = 10;
pub const IBV_RATE_14_GBPS: ibv_rate = 11;
pub const IBV_RATE_56_GBPS: ibv_rate = 12;
pub const IBV_RATE_112_GBPS: ibv_rate = 13;
pub const IBV_RATE_168_GBPS: ibv_rate = 14;
pub const IBV_RATE_25_GBPS: ibv_rate = 15;
pub const IBV_RATE_100_GBPS: ibv_rate = 16;
pub const IBV_RATE_200_GBPS: ibv_rate = 17;
pub const IBV_RATE_300_GBPS: ibv_rate = 18;
pub const IBV_RATE_28_GBPS: ibv_rate = 19;
pub const IBV_RATE_50_GBPS: ibv_rate = 20;
pub const IBV_RATE_400_GBPS: ibv_rate = 21;
pub const IBV_RATE_600_GBPS: ibv_rate = 22;
pub const IBV_RATE_800_GBPS: ibv_rate = 23;
pub const IBV_RATE_1200_GBPS: ibv_rate = 24;
pub type ibv_rate = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_ah_attr {
    pub grh: ibv_global_route,
    pub dlid: u16,
    pub sl: u8,
    pub src_path_bits: u8,
    pub static_rate: u8,
    pub is_global: u8,
    pub port_num: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_ah_attr"][::std::mem::size_of::<ibv_ah_attr>() - 32usize];
    ["Alignment of ibv_ah_attr"][::std::mem::align_of::<ibv_ah_attr>() - 8usize];
    [
        "Offset of field: ibv_ah_attr::grh",
    ][::std::mem::offset_of!(ibv_ah_attr, grh) - 0usize];
    [
        "Offset of field: ibv_ah_attr::dlid",
    ][::std::mem::offset_of!(ibv_ah_attr, dlid) - 24usize];
    [
        "Offset of field: ibv_ah_attr::sl",
    ][::std::mem::offset_of!(ibv_ah_attr, sl) - 26usize];
    [
        "Offset of field: ibv_ah_attr::src_path_bits",
    ][::std::mem::offset_of!(ibv_ah_attr, src_path_bits) - 27usize];
    [
        "Offset of field: ibv_ah_attr::static_rate",
    ][::std::mem::offset_of!(ibv_ah_attr, static_rate) - 28usize];
    [
        "Offset of field: ibv_ah_attr::is_global",
    ][::std::mem::offset_of!(ibv_ah_attr, is_global) - 29usize];
    [
        "Offset of field: ibv_ah_attr::port_num",
    ][::std::mem::offset_of!(ibv_ah_attr, port_num) - 30usize];
};
impl Default for ibv_ah_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_SRQ_MAX_WR: ibv_srq_attr_mask = 1;
pub const IBV_SRQ_LIMIT: ibv_srq_attr_mask = 2;
pub type ibv_srq_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_srq_attr {
    pub max_wr: u32,
    pub max_sge: u32,
    pub srq_limit: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_srq_attr"][::std::mem::size_of::<ibv_srq_attr>() - 12usize];
    ["Alignment of ibv_srq_attr"][::std::mem::align_of::<ibv_srq_attr>() - 4usize];
    [
        "Offset of field: ibv_srq_attr::max_wr",
    ][::std::mem::offset_of!(ibv_srq_attr, max_wr) - 0usize];
    [
        "Offset of field: ibv_srq_attr::max_sge",
    ][::std::mem::offset_of!(ibv_srq_attr, max_sge) - 4usize];
    [
        "Offset of field: ibv_srq_attr::srq_limit",
    ][::std::mem::offset_of!(ibv_srq_attr, srq_limit) - 8usize];
};
impl Default for ibv_srq_attr {
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
pub struct ibv_srq_init_attr {
    pub srq_context: *mut ::std::os::raw::c_void,
    pub attr: ibv_srq_attr,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_srq_init_attr"][::std::mem::size_of::<ibv_srq_init_attr>() - 24usize];
    [
        "Alignment of ibv_srq_init_attr",
    ][::std::mem::align_of::<ibv_srq_init_attr>() - 8usize];
    [
        "Offset of field: ibv_srq_init_attr::srq_context",
    ][::std::mem::offset_of!(ibv_srq_init_attr, srq_context) - 0usize];
    [
        "Offset of field: ibv_srq_init_attr::attr",
    ][::std::mem::offset_of!(ibv_srq_init_attr, attr) - 8usize];
};
impl Default for ibv_srq_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_SRQT_BASIC: ibv_srq_type = 0;
pub const IBV_SRQT_XRC: ibv_srq_type = 1;
pub const IBV_SRQT_TM: ibv_srq_type = 2;
pub type ibv_srq_type = ::std::os::raw::c_uint;
pub const IBV_SRQ_INIT_ATTR_TYPE: ibv_srq_init_attr_mask = 1;
pub const IBV_SRQ_INIT_ATTR_PD: ibv_srq_init_attr_mask = 2;
pub const IBV_SRQ_INIT_ATTR_XRCD: ibv_srq_init_attr_mask = 4;
pub const IBV_SRQ_INIT_ATTR_CQ: ibv_srq_init_attr_mask = 8;
pub const IBV_SRQ_INIT_ATTR_TM: ibv_srq_init_attr_mask = 16;
pub const IBV_SRQ_INIT_ATTR_RESERVED: ibv_srq_init_attr_mask = 32;
pub type ibv_srq_init_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_tm_cap {
    pub max_num_tags: u32,
    pub max_ops: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_tm_cap"][::std::mem::size_of::<ibv_tm_cap>() - 8usize];
    ["Alignment of ibv_tm_cap"][::std::mem::align_of::<ibv_tm_cap>() - 4usize];
    [
        "Offset of field: ibv_tm_cap::max_num_tags",
    ][::std::mem::offset_of!(ibv_tm_cap, max_num_tags) - 0usize];
    [
        "Offset of field: ibv_tm_cap::max_ops",
    ][::std::mem::offset_of!(ibv_tm_cap, max_ops) - 4usize];
};
impl Default for ibv_tm_cap {
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
pub struct ibv_srq_init_attr_ex {
    pub srq_context: *mut ::std::os::raw::c_void,
    pub attr: ibv_srq_attr,
    pub comp_mask: u32,
    pub srq_type: ibv_srq_type,
    pub pd: *mut ibv_pd,
    pub xrcd: *mut ibv_xrcd,
    pub cq: *mut ibv_cq,
    pub tm_cap: ibv_tm_cap,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_srq_init_attr_ex",
    ][::std::mem::size_of::<ibv_srq_init_attr_ex>() - 64usize];
    [
        "Alignment of ibv_srq_init_attr_ex",
    ][::std::mem::align_of::<ibv_srq_init_attr_ex>() - 8usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::srq_context",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, srq_context) - 0usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::attr",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, attr) - 8usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::comp_mask",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, comp_mask) - 20usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::srq_type",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, srq_type) - 24usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::pd",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, pd) - 32usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::xrcd",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, xrcd) - 40usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::cq",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, cq) - 48usize];
    [
        "Offset of field: ibv_srq_init_attr_ex::tm_cap",
    ][::std::mem::offset_of!(ibv_srq_init_attr_ex, tm_cap) - 56usize];
};
impl Default for ibv_srq_init_attr_ex {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_WQT_RQ: ibv_wq_type = 0;
pub type ibv_wq_type = ::std::os::raw::c_uint;
pub const IBV_WQ_INIT_ATTR_FLAGS: ibv_wq_init_attr_mask = 1;
pub const IBV_WQ_INIT_ATTR_RESERVED: ibv_wq_init_attr_mask = 2;
pub type ibv_wq_init_attr_mask = ::std::os::raw::c_uint;
pub const IBV_WQ_FLAGS_CVLAN_STRIPPING: ibv_wq_flags = 1;
pub const IBV_WQ_FLAGS_SCATTER_FCS: ibv_wq_flags = 2;
pub const IBV_WQ_FLAGS_DELAY_DROP: ibv_wq_flags = 4;
pub const IBV_WQ_FLAGS_PCI_WRITE_END_PADDING: ibv_wq_flags = 8;
pub const IBV_WQ_FLAGS_RESERVED: ibv_wq_flags = 16;
pub type ibv_wq_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_wq_init_attr {
    pub wq_context: *mut ::std::os::raw::c_void,
    pub wq_type: ibv_wq_type,
    pub max_wr: u32,
    pub max_sge: u32,
    pub pd: *mut ibv_pd,
    pub cq: *mut ibv_cq,
    pub comp_mask: u32,
    pub create_flags: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_wq_init_attr"][::std::mem::size_of::<ibv_wq_init_attr>() - 48usize];
    [
        "Alignment of ibv_wq_init_attr",
    ][::std::mem::align_of::<ibv_wq_init_attr>() - 8usize];
    [
        "Offset of field: ibv_wq_init_attr::wq_context",
    ][::std::mem::offset_of!(ibv_wq_init_attr, wq_context) - 0usize];
    [
        "Offset of field: ibv_wq_init_attr::wq_type",
    ][::std::mem::offset_of!(ibv_wq_init_attr, wq_type) - 8usize];
    [
        "Offset of field: ibv_wq_init_attr::max_wr",
    ][::std::mem::offset_of!(ibv_wq_init_attr, max_wr) - 12usize];
    [
        "Offset of field: ibv_wq_init_attr::max_sge",
    ][::std::mem::offset_of!(ibv_wq_init_attr, max_sge) - 16usize];
    [
        "Offset of field: ibv_wq_init_attr::pd",
    ][::std::mem::offset_of!(ibv_wq_init_attr, pd) - 24usize];
    [
        "Offset of field: ibv_wq_init_attr::cq",
    ][::std::mem::offset_of!(ibv_wq_init_attr, cq) - 32usize];
    [
        "Offset of field: ibv_wq_init_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_wq_init_attr, comp_mask) - 40usize];
    [
        "Offset of field: ibv_wq_init_attr::create_flags",
    ][::std::mem::offset_of!(ibv_wq_init_attr, create_flags) - 44usize];
};
impl Default for ibv_wq_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_WQS_RESET: ibv_wq_state = 0;
pub const IBV_WQS_RDY: ibv_wq_state = 1;
pub const IBV_WQS_ERR: ibv_wq_state = 2;
pub const IBV_WQS_UNKNOWN: ibv_wq_state = 3;
pub type ibv_wq_state = ::std::os::raw::c_uint;
pub const IBV_WQ_ATTR_STATE: ibv_wq_attr_mask = 1;
pub const IBV_WQ_ATTR_CURR_STATE: ibv_wq_attr_mask = 2;
pub const IBV_WQ_ATTR_FLAGS: ibv_wq_attr_mask = 4;
pub const IBV_WQ_ATTR_RESERVED: ibv_wq_attr_mask = 8;
pub type ibv_wq_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_wq_attr {
    pub attr_mask: u32,
    pub wq_state: ibv_wq_state,
    pub curr_wq_state: ibv_wq_state,
    pub flags: u32,
    pub flags_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_wq_attr"][::std::mem::size_of::<ibv_wq_attr>() - 20usize];
    ["Alignment of ibv_wq_attr"][::std::mem::align_of::<ibv_wq_attr>() - 4usize];
    [
        "Offset of field: ibv_wq_attr::attr_mask",
    ][::std::mem::offset_of!(ibv_wq_attr, attr_mask) - 0usize];
    [
        "Offset of field: ibv_wq_attr::wq_state",
    ][::std::mem::offset_of!(ibv_wq_attr, wq_state) - 4usize];
    [
        "Offset of field: ibv_wq_attr::curr_wq_state",
    ][::std::mem::offset_of!(ibv_wq_attr, curr_wq_state) - 8usize];
    [
        "Offset of field: ibv_wq_attr::flags",
    ][::std::mem::offset_of!(ibv_wq_attr, flags) - 12usize];
    [
        "Offset of field: ibv_wq_attr::flags_mask",
    ][::std::mem::offset_of!(ibv_wq_attr, flags_mask) - 16usize];
};
impl Default for ibv_wq_attr {
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
pub struct ibv_rwq_ind_table {
    pub context: *mut ibv_context,
    pub ind_tbl_handle: ::std::os::raw::c_int,
    pub ind_tbl_num: ::std::os::raw::c_int,
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_rwq_ind_table"][::std::mem::size_of::<ibv_rwq_ind_table>() - 24usize];
    [
        "Alignment of ibv_rwq_ind_table",
    ][::std::mem::align_of::<ibv_rwq_ind_table>() - 8usize];
    [
        "Offset of field: ibv_rwq_ind_table::context",
    ][::std::mem::offset_of!(ibv_rwq_ind_table, context) - 0usize];
    [
        "Offset of field: ibv_rwq_ind_table::ind_tbl_handle",
    ][::std::mem::offset_of!(ibv_rwq_ind_table, ind_tbl_handle) - 8usize];
    [
        "Offset of field: ibv_rwq_ind_table::ind_tbl_num",
    ][::std::mem::offset_of!(ibv_rwq_ind_table, ind_tbl_num) - 12usize];
    [
        "Offset of field: ibv_rwq_ind_table::comp_mask",
    ][::std::mem::offset_of!(ibv_rwq_ind_table, comp_mask) - 16usize];
};
impl Default for ibv_rwq_ind_table {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_CREATE_IND_TABLE_RESERVED: ibv_ind_table_init_attr_mask = 1;
pub type ibv_ind_table_init_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_rwq_ind_table_init_attr {
    pub log_ind_tbl_size: u32,
    pub ind_tbl: *mut *mut ibv_wq,
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_rwq_ind_table_init_attr",
    ][::std::mem::size_of::<ibv_rwq_ind_table_init_attr>() - 24usize];
    [
        "Alignment of ibv_rwq_ind_table_init_attr",
    ][::std::mem::align_of::<ibv_rwq_ind_table_init_attr>() - 8usize];
    [
        "Offset of field: ibv_rwq_ind_table_init_attr::log_ind_tbl_size",
    ][::std::mem::offset_of!(ibv_rwq_ind_table_init_attr, log_ind_tbl_size) - 0usize];
    [
        "Offset of field: ibv_rwq_ind_table_init_attr::ind_tbl",
    ][::std::mem::offset_of!(ibv_rwq_ind_table_init_attr, ind_tbl) - 8usize];
    [
        "Offset of field: ibv_rwq_ind_table_init_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_rwq_ind_table_init_attr, comp_mask) - 16usize];
};
impl Default for ibv_rwq_ind_table_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_QPT_RC: ibv_qp_type = 2;
pub const IBV_QPT_UC: ibv_qp_type = 3;
pub const IBV_QPT_UD: ibv_qp_type = 4;
pub const IBV_QPT_RAW_PACKET: ibv_qp_type = 8;
pub const IBV_QPT_XRC_SEND: ibv_qp_type = 9;
pub const IBV_QPT_XRC_RECV: ibv_qp_type = 10;
pub const IBV_QPT_DRIVER: ibv_qp_type = 255;
pub type ibv_qp_type = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_qp_cap {
    pub max_send_wr: u32,
    pub max_recv_wr: u32,
    pub max_send_sge: u32,
    pub max_recv_sge: u32,
    pub max_inline_data: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_qp_cap"][::std::mem::size_of::<ibv_qp_cap>() - 20usize];
    ["Alignment of ibv_qp_cap"][::std::mem::align_of::<ibv_qp_cap>() - 4usize];
    [
        "Offset of field: ibv_qp_cap::max_send_wr",
    ][::std::mem::offset_of!(ibv_qp_cap, max_send_wr) - 0usize];
    [
        "Offset of field: ibv_qp_cap::max_recv_wr",
    ][::std::mem::offset_of!(ibv_qp_cap, max_recv_wr) - 4usize];
    [
        "Offset of field: ibv_qp_cap::max_send_sge",
    ][::std::mem::offset_of!(ibv_qp_cap, max_send_sge) - 8usize];
    [
        "Offset of field: ibv_qp_cap::max_recv_sge",
    ][::std::mem::offset_of!(ibv_qp_cap, max_recv_sge) - 12usize];
    [
        "Offset of field: ibv_qp_cap::max_inline_data",
    ][::std::mem::offset_of!(ibv_qp_cap, max_inline_data) - 16usize];
};
impl Default for ibv_qp_cap {
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
pub struct ibv_qp_init_attr {
    pub qp_context: *mut ::std::os::raw::c_void,
    pub send_cq: *mut ibv_cq,
    pub recv_cq: *mut ibv_cq,
    pub srq: *mut ibv_srq,
    pub cap: ibv_qp_cap,
    pub qp_type: ibv_qp_type,
    pub sq_sig_all: ::std::os::raw::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_qp_init_attr"][::std::mem::size_of::<ibv_qp_init_attr>() - 64usize];
    [
        "Alignment of ibv_qp_init_attr",
    ][::std::mem::align_of::<ibv_qp_init_attr>() - 8usize];
    [
        "Offset of field: ibv_qp_init_attr::qp_context",
    ][::std::mem::offset_of!(ibv_qp_init_attr, qp_context) - 0usize];
    [
        "Offset of field: ibv_qp_init_attr::send_cq",
    ][::std::mem::offset_of!(ibv_qp_init_attr, send_cq) - 8usize];
    [
        "Offset of field: ibv_qp_init_attr::recv_cq",
    ][::std::mem::offset_of!(ibv_qp_init_attr, recv_cq) - 16usize];
    [
        "Offset of field: ibv_qp_init_attr::srq",
    ][::std::mem::offset_of!(ibv_qp_init_attr, srq) - 24usize];
    [
        "Offset of field: ibv_qp_init_attr::cap",
    ][::std::mem::offset_of!(ibv_qp_init_attr, cap) - 32usize];
    [
        "Offset of field: ibv_qp_init_attr::qp_type",
    ][::std::mem::offset_of!(ibv_qp_init_attr, qp_type) - 52usize];
    [
        "Offset of field: ibv_qp_init_attr::sq_sig_all",
    ][::std::mem::offset_of!(ibv_qp_init_attr, sq_sig_all) - 56usize];
};
impl Default for ibv_qp_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_QP_INIT_ATTR_PD: ibv_qp_init_attr_mask = 1;
pub const IBV_QP_INIT_ATTR_XRCD: ibv_qp_init_attr_mask = 2;
pub const IBV_QP_INIT_ATTR_CREATE_FLAGS: ibv_qp_init_attr_mask = 4;
pub const IBV_QP_INIT_ATTR_MAX_TSO_HEADER: ibv_qp_init_attr_mask = 8;
pub const IBV_QP_INIT_ATTR_IND_TABLE: ibv_qp_init_attr_mask = 16;
pub const IBV_QP_INIT_ATTR_RX_HASH: ibv_qp_init_attr_mask = 32;
pub const IBV_QP_INIT_ATTR_SEND_OPS_FLAGS: ibv_qp_init_attr_mask = 64;
pub type ibv_qp_init_attr_mask = ::std::os::raw::c_uint;
pub const IBV_QP_CREATE_BLOCK_SELF_MCAST_LB: ibv_qp_create_flags = 2;
pub const IBV_QP_CREATE_SCATTER_FCS: ibv_qp_create_flags = 256;
pub const IBV_QP_CREATE_CVLAN_STRIPPING: ibv_qp_create_flags = 512;
pub const IBV_QP_CREATE_SOURCE_QPN: ibv_qp_create_flags = 1024;
pub const IBV_QP_CREATE_PCI_WRITE_END_PADDING: ibv_qp_create_flags = 2048;
pub type ibv_qp_create_flags = ::std::os::raw::c_uint;
pub const IBV_QP_EX_WITH_RDMA_WRITE: ibv_qp_create_send_ops_flags = 1;
pub const IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM: ibv_qp_create_send_ops_flags = 2;
pub const IBV_QP_EX_WITH_SEND: ibv_qp_create_send_ops_flags = 4;
pub const IBV_QP_EX_WITH_SEND_WITH_IMM: ibv_qp_create_send_ops_flags = 8;
pub const IBV_QP_EX_WITH_RDMA_READ: ibv_qp_create_send_ops_flags = 16;
pub const IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP: ibv_qp_create_send_ops_flags = 32;
pub const IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD: ibv_qp_create_send_ops_flags = 64;
pub const IBV_QP_EX_WITH_LOCAL_INV: ibv_qp_create_send_ops_flags = 128;
pub const IBV_QP_EX_WITH_BIND_MW: ibv_qp_create_send_ops_flags = 256;
pub const IBV_QP_EX_WITH_SEND_WITH_INV: ibv_qp_create_send_ops_flags = 512;
pub const IBV_QP_EX_WITH_TSO: ibv_qp_create_send_ops_flags = 1024;
pub const IBV_QP_EX_WITH_ATOMIC_WRITE: ibv_qp_create_send_ops_flags = 4096;
pub type ibv_qp_create_send_ops_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_rx_hash_conf {
    pub rx_hash_function: u8,
    pub rx_hash_key_len: u8,
    pub rx_hash_key: *mut u8,
    pub rx_hash_fields_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_rx_hash_conf"][::std::mem::size_of::<ibv_rx_hash_conf>() - 24usize];
    [
        "Alignment of ibv_rx_hash_conf",
    ][::std::mem::align_of::<ibv_rx_hash_conf>() - 8usize];
    [
        "Offset of field: ibv_rx_hash_conf::rx_hash_function",
    ][::std::mem::offset_of!(ibv_rx_hash_conf, rx_hash_function) - 0usize];
    [
        "Offset of field: ibv_rx_hash_conf::rx_hash_key_len",
    ][::std::mem::offset_of!(ibv_rx_hash_conf, rx_hash_key_len) - 1usize];
    [
        "Offset of field: ibv_rx_hash_conf::rx_hash_key",
    ][::std::mem::offset_of!(ibv_rx_hash_conf, rx_hash_key) - 8usize];
    [
        "Offset of field: ibv_rx_hash_conf::rx_hash_fields_mask",
    ][::std::mem::offset_of!(ibv_rx_hash_conf, rx_hash_fields_mask) - 16usize];
};
impl Default for ibv_rx_hash_conf {
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
pub struct ibv_qp_init_attr_ex {
    pub qp_context: *mut ::std::os::raw::c_void,
    pub send_cq: *mut ibv_cq,
    pub recv_cq: *mut ibv_cq,
    pub srq: *mut ibv_srq,
    pub cap: ibv_qp_cap,
    pub qp_type: ibv_qp_type,
    pub sq_sig_all: ::std::os::raw::c_int,
    pub comp_mask: u32,
    pub pd: *mut ibv_pd,
    pub xrcd: *mut ibv_xrcd,
    pub create_flags: u32,
    pub max_tso_header: u16,
    pub rwq_ind_tbl: *mut ibv_rwq_ind_table,
    pub rx_hash_conf: ibv_rx_hash_conf,
    pub source_qpn: u32,
    pub send_ops_flags: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_qp_init_attr_ex",
    ][::std::mem::size_of::<ibv_qp_init_attr_ex>() - 136usize];
    [
        "Alignment of ibv_qp_init_attr_ex",
    ][::std::mem::align_of::<ibv_qp_init_attr_ex>() - 8usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::qp_context",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, qp_context) - 0usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::send_cq",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, send_cq) - 8usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::recv_cq",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, recv_cq) - 16usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::srq",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, srq) - 24usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::cap",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, cap) - 32usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::qp_type",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, qp_type) - 52usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::sq_sig_all",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, sq_sig_all) - 56usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::comp_mask",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, comp_mask) - 60usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::pd",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, pd) - 64usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::xrcd",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, xrcd) - 72usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::create_flags",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, create_flags) - 80usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::max_tso_header",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, max_tso_header) - 84usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::rwq_ind_tbl",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, rwq_ind_tbl) - 88usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::rx_hash_conf",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, rx_hash_conf) - 96usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::source_qpn",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, source_qpn) - 120usize];
    [
        "Offset of field: ibv_qp_init_attr_ex::send_ops_flags",
    ][::std::mem::offset_of!(ibv_qp_init_attr_ex, send_ops_flags) - 128usize];
};
impl Default for ibv_qp_init_attr_ex {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_QP_OPEN_ATTR_NUM: ibv_qp_open_attr_mask = 1;
pub const IBV_QP_OPEN_ATTR_XRCD: ibv_qp_open_attr_mask = 2;
pub const IBV_QP_OPEN_ATTR_CONTEXT: ibv_qp_open_attr_mask = 4;
pub const IBV_QP_OPEN_ATTR_TYPE: ibv_qp_open_attr_mask = 8;
pub const IBV_QP_OPEN_ATTR_RESERVED: ibv_qp_open_attr_mask = 16;
pub type ibv_qp_open_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_qp_open_attr {
    pub comp_mask: u32,
    pub qp_num: u32,
    pub xrcd: *mut ibv_xrcd,
    pub qp_context: *mut ::std::os::raw::c_void,
    pub qp_type: ibv_qp_type,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_qp_open_attr"][::std::mem::size_of::<ibv_qp_open_attr>() - 32usize];
    [
        "Alignment of ibv_qp_open_attr",
    ][::std::mem::align_of::<ibv_qp_open_attr>() - 8usize];
    [
        "Offset of field: ibv_qp_open_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_qp_open_attr, comp_mask) - 0usize];
    [
        "Offset of field: ibv_qp_open_attr::qp_num",
    ][::std::mem::offset_of!(ibv_qp_open_attr, qp_num) - 4usize];
    [
        "Offset of field: ibv_qp_open_attr::xrcd",
    ][::std::mem::offset_of!(ibv_qp_open_attr, xrcd) - 8usize];
    [
        "Offset of field: ibv_qp_open_attr::qp_context",
    ][::std::mem::offset_of!(ibv_qp_open_attr, qp_context) - 16usize];
    [
        "Offset of field: ibv_qp_open_attr::qp_type",
    ][::std::mem::offset_of!(ibv_qp_open_attr, qp_type) - 24usize];
};
impl Default for ibv_qp_open_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_QP_STATE: ibv_qp_attr_mask = 1;
pub const IBV_QP_CUR_STATE: ibv_qp_attr_mask = 2;
pub const IBV_QP_EN_SQD_ASYNC_NOTIFY: ibv_qp_attr_mask = 4;
pub const IBV_QP_ACCESS_FLAGS: ibv_qp_attr_mask = 8;
pub const IBV_QP_PKEY_INDEX: ibv_qp_attr_mask = 16;
pub const IBV_QP_PORT: ibv_qp_attr_mask = 32;
pub const IBV_QP_QKEY: ibv_qp_attr_mask = 64;
pub const IBV_QP_AV: ibv_qp_attr_mask = 128;
pub const IBV_QP_PATH_MTU: ibv_qp_attr_mask = 256;
pub const IBV_QP_TIMEOUT: ibv_qp_attr_mask = 512;
pub const IBV_QP_RETRY_CNT: ibv_qp_attr_mask = 1024;
pub const IBV_QP_RNR_RETRY: ibv_qp_attr_mask = 2048;
pub const IBV_QP_RQ_PSN: ibv_qp_attr_mask = 4096;
pub const IBV_QP_MAX_QP_RD_ATOMIC: ibv_qp_attr_mask = 8192;
pub const IBV_QP_ALT_PATH: ibv_qp_attr_mask = 16384;
pub const IBV_QP_MIN_RNR_TIMER: ibv_qp_attr_mask = 32768;
pub const IBV_QP_SQ_PSN: ibv_qp_attr_mask = 65536;
pub const IBV_QP_MAX_DEST_RD_ATOMIC: ibv_qp_attr_mask = 131072;
pub const IBV_QP_PATH_MIG_STATE: ibv_qp_attr_mask = 262144;
pub const IBV_QP_CAP: ibv_qp_attr_mask = 524288;
pub const IBV_QP_DEST_QPN: ibv_qp_attr_mask = 1048576;
pub const IBV_QP_RATE_LIMIT: ibv_qp_attr_mask = 33554432;
pub type ibv_qp_attr_mask = ::std::os::raw::c_uint;
pub const IBV_QPS_RESET: ibv_qp_state = 0;
pub const IBV_QPS_INIT: ibv_qp_state = 1;
pub const IBV_QPS_RTR: ibv_qp_state = 2;
pub const IBV_QPS_RTS: ibv_qp_state = 3;
pub const IBV_QPS_SQD: ibv_qp_state = 4;
pub const IBV_QPS_SQE: ibv_qp_state = 5;
pub const IBV_QPS_ERR: ibv_qp_state = 6;
pub const IBV_QPS_UNKNOWN: ibv_qp_state = 7;
pub type ibv_qp_state = ::std::os::raw::c_uint;
pub const IBV_MIG_MIGRATED: ibv_mig_state = 0;
pub const IBV_MIG_REARM: ibv_mig_state = 1;
pub const IBV_MIG_ARMED: ibv_mig_state = 2;
pub type ibv_mig_state = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_qp_attr {
    pub qp_state: ibv_qp_state,
    pub cur_qp_state: ibv_qp_state,
    pub path_mtu: ibv_mtu,
    pub path_mig_state: ibv_mig_state,
    pub qkey: u32,
    pub rq_psn: u32,
    pub sq_psn: u32,
    pub dest_qp_num: u32,
    pub qp_access_flags: ::std::os::raw::c_uint,
    pub cap: ibv_qp_cap,
    pub ah_attr: ibv_ah_attr,
    pub alt_ah_attr: ibv_ah_attr,
    pub pkey_index: u16,
    pub alt_pkey_index: u16,
    pub en_sqd_async_notify: u8,
    pub sq_draining: u8,
    pub max_rd_atomic: u8,
    pub max_dest_rd_atomic: u8,
    pub min_rnr_timer: u8,
    pub port_num: u8,
    pub timeout: u8,
    pub retry_cnt: u8,
    pub rnr_retry: u8,
    pub alt_port_num: u8,
    pub alt_timeout: u8,
    pub rate_limit: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_qp_attr"][::std::mem::size_of::<ibv_qp_attr>() - 144usize];
    ["Alignment of ibv_qp_attr"][::std::mem::align_of::<ibv_qp_attr>() - 8usize];
    [
        "Offset of field: ibv_qp_attr::qp_state",
    ][::std::mem::offset_of!(ibv_qp_attr, qp_state) - 0usize];
    [
        "Offset of field: ibv_qp_attr::cur_qp_state",
    ][::std::mem::offset_of!(ibv_qp_attr, cur_qp_state) - 4usize];
    [
        "Offset of field: ibv_qp_attr::path_mtu",
    ][::std::mem::offset_of!(ibv_qp_attr, path_mtu) - 8usize];
    [
        "Offset of field: ibv_qp_attr::path_mig_state",
    ][::std::mem::offset_of!(ibv_qp_attr, path_mig_state) - 12usize];
    [
        "Offset of field: ibv_qp_attr::qkey",
    ][::std::mem::offset_of!(ibv_qp_attr, qkey) - 16usize];
    [
        "Offset of field: ibv_qp_attr::rq_psn",
    ][::std::mem::offset_of!(ibv_qp_attr, rq_psn) - 20usize];
    [
        "Offset of field: ibv_qp_attr::sq_psn",
    ][::std::mem::offset_of!(ibv_qp_attr, sq_psn) - 24usize];
    [
        "Offset of field: ibv_qp_attr::dest_qp_num",
    ][::std::mem::offset_of!(ibv_qp_attr, dest_qp_num) - 28usize];
    [
        "Offset of field: ibv_qp_attr::qp_access_flags",
    ][::std::mem::offset_of!(ibv_qp_attr, qp_access_flags) - 32usize];
    [
        "Offset of field: ibv_qp_attr::cap",
    ][::std::mem::offset_of!(ibv_qp_attr, cap) - 36usize];
    [
        "Offset of field: ibv_qp_attr::ah_attr",
    ][::std::mem::offset_of!(ibv_qp_attr, ah_attr) - 56usize];
    [
        "Offset of field: ibv_qp_attr::alt_ah_attr",
    ][::std::mem::offset_of!(ibv_qp_attr, alt_ah_attr) - 88usize];
    [
        "Offset of field: ibv_qp_attr::pkey_index",
    ][::std::mem::offset_of!(ibv_qp_attr, pkey_index) - 120usize];
    [
        "Offset of field: ibv_qp_attr::alt_pkey_index",
    ][::std::mem::offset_of!(ibv_qp_attr, alt_pkey_index) - 122usize];
    [
        "Offset of field: ibv_qp_attr::en_sqd_async_notify",
    ][::std::mem::offset_of!(ibv_qp_attr, en_sqd_async_notify) - 124usize];
    [
        "Offset of field: ibv_qp_attr::sq_draining",
    ][::std::mem::offset_of!(ibv_qp_attr, sq_draining) - 125usize];
    [
        "Offset of field: ibv_qp_attr::max_rd_atomic",
    ][::std::mem::offset_of!(ibv_qp_attr, max_rd_atomic) - 126usize];
    [
        "Offset of field: ibv_qp_attr::max_dest_rd_atomic",
    ][::std::mem::offset_of!(ibv_qp_attr, max_dest_rd_atomic) - 127usize];
    [
        "Offset of field: ibv_qp_attr::min_rnr_timer",
    ][::std::mem::offset_of!(ibv_qp_attr, min_rnr_timer) - 128usize];
    [
        "Offset of field: ibv_qp_attr::port_num",
    ][::std::mem::offset_of!(ibv_qp_attr, port_num) - 129usize];
    [
        "Offset of field: ibv_qp_attr::timeout",
    ][::std::mem::offset_of!(ibv_qp_attr, timeout) - 130usize];
    [
        "Offset of field: ibv_qp_attr::retry_cnt",
    ][::std::mem::offset_of!(ibv_qp_attr, retry_cnt) - 131usize];
    [
        "Offset of field: ibv_qp_attr::rnr_retry",
    ][::std::mem::offset_of!(ibv_qp_attr, rnr_retry) - 132usize];
    [
        "Offset of field: ibv_qp_attr::alt_port_num",
    ][::std::mem::offset_of!(ibv_qp_attr, alt_port_num) - 133usize];
    [
        "Offset of field: ibv_qp_attr::alt_timeout",
    ][::std::mem::offset_of!(ibv_qp_attr, alt_timeout) - 134usize];
    [
        "Offset of field: ibv_qp_attr::rate_limit",
    ][::std::mem::offset_of!(ibv_qp_attr, rate_limit) - 136usize];
};
impl Default for ibv_qp_attr {
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
pub struct ibv_qp_rate_limit_attr {
    pub rate_limit: u32,
    pub max_burst_sz: u32,
    pub typical_pkt_sz: u16,
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_qp_rate_limit_attr",
    ][::std::mem::size_of::<ibv_qp_rate_limit_attr>() - 16usize];
    [
        "Alignment of ibv_qp_rate_limit_attr",
    ][::std::mem::align_of::<ibv_qp_rate_limit_attr>() - 4usize];
    [
        "Offset of field: ibv_qp_rate_limit_attr::rate_limit",
    ][::std::mem::offset_of!(ibv_qp_rate_limit_attr, rate_limit) - 0usize];
    [
        "Offset of field: ibv_qp_rate_limit_attr::max_burst_sz",
    ][::std::mem::offset_of!(ibv_qp_rate_limit_attr, max_burst_sz) - 4usize];
    [
        "Offset of field: ibv_qp_rate_limit_attr::typical_pkt_sz",
    ][::std::mem::offset_of!(ibv_qp_rate_limit_attr, typical_pkt_sz) - 8usize];
    [
        "Offset of field: ibv_qp_rate_limit_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_qp_rate_limit_attr, comp_mask) - 12usize];
};
impl Default for ibv_qp_rate_limit_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_WR_RDMA_WRITE: ibv_wr_opcode = 0;
pub const IBV_WR_RDMA_WRITE_WITH_IMM: ibv_wr_opcode = 1;
pub const IBV_WR_SEND: ibv_wr_opcode = 2;
pub const IBV_WR_SEND_WITH_IMM: ibv_wr_opcode = 3;
pub const IBV_WR_RDMA_READ: ibv_wr_opcode = 4;
pub const IBV_WR_ATOMIC_CMP_AND_SWP: ibv_wr_opcode = 5;
pub const IBV_WR_ATOMIC_FETCH_AND_ADD: ibv_wr_opcode = 6;
pub const IBV_WR_LOCAL_INV: ibv_wr_opcode = 7;
pub const IBV_WR_BIND_MW: ibv_wr_opcode = 8;
pub const IBV_WR_SEND_WITH_INV: ibv_wr_opcode = 9;
pub const IBV_WR_TSO: ibv_wr_opcode = 10;
pub const IBV_WR_DRIVER1: ibv_wr_opcode = 11;
pub const IBV_WR_ATOMIC_WRITE: ibv_wr_opcode = 15;
pub type ibv_wr_opcode = ::std::os::raw::c_uint;
pub const IBV_SEND_FENCE: ibv_send_flags = 1;
pub const IBV_SEND_SIGNALED: ibv_send_flags = 2;
pub const IBV_SEND_SOLICITED: ibv_send_flags = 4;
pub const IBV_SEND_INLINE: ibv_send_flags = 8;
pub const IBV_SEND_IP_CSUM: ibv_send_flags = 16;
pub type ibv_send_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_data_buf {
    pub addr: *mut ::std::os::raw::c_void,
    pub length: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_data_buf"][::std::mem::size_of::<ibv_data_buf>() - 16usize];
    ["Alignment of ibv_data_buf"][::std::mem::align_of::<ibv_data_buf>() - 8usize];
    [
        "Offset of field: ibv_data_buf::addr",
    ][::std::mem::offset_of!(ibv_data_buf, addr) - 0usize];
    [
        "Offset of field: ibv_data_buf::length",
    ][::std::mem::offset_of!(ibv_data_buf, length) - 8usize];
};
impl Default for ibv_data_buf {
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
pub struct ibv_sge {
    pub addr: u64,
    pub length: u32,
    pub lkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_sge"][::std::mem::size_of::<ibv_sge>() - 16usize];
    ["Alignment of ibv_sge"][::std::mem::align_of::<ibv_sge>() - 8usize];
    ["Offset of field: ibv_sge::addr"][::std::mem::offset_of!(ibv_sge, addr) - 0usize];
    [
        "Offset of field: ibv_sge::length",
    ][::std::mem::offset_of!(ibv_sge, length) - 8usize];
    ["Offset of field: ibv_sge::lkey"][::std::mem::offset_of!(ibv_sge, lkey) - 12usize];
};
impl Default for ibv_sge {
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
pub struct ibv_send_wr {
    pub wr_id: u64,
    pub next: *mut ibv_send_wr,
    pub sg_list: *mut ibv_sge,
    pub num_sge: ::std::os::raw::c_int,
    pub opcode: ibv_wr_opcode,
    pub send_flags: ::std::os::raw::c_uint,
    pub __bindgen_anon_1: ibv_send_wr__bindgen_ty_1,
    pub wr: ibv_send_wr__bindgen_ty_2,
    pub qp_type: ibv_send_wr__bindgen_ty_3,
    pub __bindgen_anon_2: ibv_send_wr__bindgen_ty_4,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union ibv_send_wr__bindgen_ty_1 {
    pub imm_data: __be32,
    pub invalidate_rkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_send_wr__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_1>() - 4usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_1>() - 4usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_1::imm_data",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_1, imm_data) - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_1::invalidate_rkey",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_1, invalidate_rkey) - 0usize];
};
impl Default for ibv_send_wr__bindgen_ty_1 {
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
pub union ibv_send_wr__bindgen_ty_2 {
    pub rdma: ibv_send_wr__bindgen_ty_2__bindgen_ty_1,
    pub atomic: ibv_send_wr__bindgen_ty_2__bindgen_ty_2,
    pub ud: ibv_send_wr__bindgen_ty_2__bindgen_ty_3,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_send_wr__bindgen_ty_2__bindgen_ty_1 {
    pub remote_addr: u64,
    pub rkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_send_wr__bindgen_ty_2__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_2__bindgen_ty_1>() - 16usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_2__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_2__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_1::remote_addr",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_1, remote_addr)
        - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_1::rkey",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_1, rkey) - 8usize];
};
impl Default for ibv_send_wr__bindgen_ty_2__bindgen_ty_1 {
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
pub struct ibv_send_wr__bindgen_ty_2__bindgen_ty_2 {
    pub remote_addr: u64,
    pub compare_add: u64,
    pub swap: u64,
    pub rkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_send_wr__bindgen_ty_2__bindgen_ty_2",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_2__bindgen_ty_2>() - 32usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_2__bindgen_ty_2",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_2__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_2::remote_addr",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_2, remote_addr)
        - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_2::compare_add",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_2, compare_add)
        - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_2::swap",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_2, swap) - 16usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_2::rkey",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_2, rkey) - 24usize];
};
impl Default for ibv_send_wr__bindgen_ty_2__bindgen_ty_2 {
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
pub struct ibv_send_wr__bindgen_ty_2__bindgen_ty_3 {
    pub ah: *mut ibv_ah,
    pub remote_qpn: u32,
    pub remote_qkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_send_wr__bindgen_ty_2__bindgen_ty_3",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_2__bindgen_ty_3>() - 16usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_2__bindgen_ty_3",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_2__bindgen_ty_3>() - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_3::ah",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_3, ah) - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_3::remote_qpn",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_3, remote_qpn)
        - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2__bindgen_ty_3::remote_qkey",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2__bindgen_ty_3, remote_qkey)
        - 12usize];
};
impl Default for ibv_send_wr__bindgen_ty_2__bindgen_ty_3 {
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
    [
        "Size of ibv_send_wr__bindgen_ty_2",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_2>() - 32usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_2",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2::rdma",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2, rdma) - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2::atomic",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2, atomic) - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_2::ud",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_2, ud) - 0usize];
};
impl Default for ibv_send_wr__bindgen_ty_2 {
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
pub union ibv_send_wr__bindgen_ty_3 {
    pub xrc: ibv_send_wr__bindgen_ty_3__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_send_wr__bindgen_ty_3__bindgen_ty_1 {
    pub remote_srqn: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_send_wr__bindgen_ty_3__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_3__bindgen_ty_1>() - 4usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_3__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_3__bindgen_ty_1>() - 4usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_3__bindgen_ty_1::remote_srqn",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_3__bindgen_ty_1, remote_srqn)
        - 0usize];
};
impl Default for ibv_send_wr__bindgen_ty_3__bindgen_ty_1 {
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
    [
        "Size of ibv_send_wr__bindgen_ty_3",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_3>() - 4usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_3",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_3>() - 4usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_3::xrc",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_3, xrc) - 0usize];
};
impl Default for ibv_send_wr__bindgen_ty_3 {
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
pub union ibv_send_wr__bindgen_ty_4 {
    pub bind_mw: ibv_send_wr__bindgen_ty_4__bindgen_ty_1,
    pub tso: ibv_send_wr__bindgen_ty_4__bindgen_ty_2,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_send_wr__bindgen_ty_4__bindgen_ty_1 {
    pub mw: *mut ibv_mw,
    pub rkey: u32,
    pub bind_info: ibv_mw_bind_info,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_send_wr__bindgen_ty_4__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_4__bindgen_ty_1>() - 48usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_4__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_4__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4__bindgen_ty_1::mw",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4__bindgen_ty_1, mw) - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4__bindgen_ty_1::rkey",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4__bindgen_ty_1, rkey) - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4__bindgen_ty_1::bind_info",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4__bindgen_ty_1, bind_info)
        - 16usize];
};
impl Default for ibv_send_wr__bindgen_ty_4__bindgen_ty_1 {
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
pub struct ibv_send_wr__bindgen_ty_4__bindgen_ty_2 {
    pub hdr: *mut ::std::os::raw::c_void,
    pub hdr_sz: u16,
    pub mss: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_send_wr__bindgen_ty_4__bindgen_ty_2",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_4__bindgen_ty_2>() - 16usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_4__bindgen_ty_2",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_4__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4__bindgen_ty_2::hdr",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4__bindgen_ty_2, hdr) - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4__bindgen_ty_2::hdr_sz",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4__bindgen_ty_2, hdr_sz) - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4__bindgen_ty_2::mss",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4__bindgen_ty_2, mss) - 10usize];
};
impl Default for ibv_send_wr__bindgen_ty_4__bindgen_ty_2 {
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
    [
        "Size of ibv_send_wr__bindgen_ty_4",
    ][::std::mem::size_of::<ibv_send_wr__bindgen_ty_4>() - 48usize];
    [
        "Alignment of ibv_send_wr__bindgen_ty_4",
    ][::std::mem::align_of::<ibv_send_wr__bindgen_ty_4>() - 8usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4::bind_mw",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4, bind_mw) - 0usize];
    [
        "Offset of field: ibv_send_wr__bindgen_ty_4::tso",
    ][::std::mem::offset_of!(ibv_send_wr__bindgen_ty_4, tso) - 0usize];
};
impl Default for ibv_send_wr__bindgen_ty_4 {
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
    ["Size of ibv_send_wr"][::std::mem::size_of::<ibv_send_wr>() - 128usize];
    ["Alignment of ibv_send_wr"][::std::mem::align_of::<ibv_send_wr>() - 8usize];
    [
        "Offset of field: ibv_send_wr::wr_id",
    ][::std::mem::offset_of!(ibv_send_wr, wr_id) - 0usize];
    [
        "Offset of field: ibv_send_wr::next",
    ][::std::mem::offset_of!(ibv_send_wr, next) - 8usize];
    [
        "Offset of field: ibv_send_wr::sg_list",
    ][::std::mem::offset_of!(ibv_send_wr, sg_list) - 16usize];
    [
        "Offset of field: ibv_send_wr::num_sge",
    ][::std::mem::offset_of!(ibv_send_wr, num_sge) - 24usize];
    [
        "Offset of field: ibv_send_wr::opcode",
    ][::std::mem::offset_of!(ibv_send_wr, opcode) - 28usize];
    [
        "Offset of field: ibv_send_wr::send_flags",
    ][::std::mem::offset_of!(ibv_send_wr, send_flags) - 32usize];
    [
        "Offset of field: ibv_send_wr::wr",
    ][::std::mem::offset_of!(ibv_send_wr, wr) - 40usize];
    [
        "Offset of field: ibv_send_wr::qp_type",
    ][::std::mem::offset_of!(ibv_send_wr, qp_type) - 72usize];
};
impl Default for ibv_send_wr {
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
pub struct ibv_recv_wr {
    pub wr_id: u64,
    pub next: *mut ibv_recv_wr,
    pub sg_list: *mut ibv_sge,
    pub num_sge: ::std::os::raw::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_recv_wr"][::std::mem::size_of::<ibv_recv_wr>() - 32usize];
    ["Alignment of ibv_recv_wr"][::std::mem::align_of::<ibv_recv_wr>() - 8usize];
    [
        "Offset of field: ibv_recv_wr::wr_id",
    ][::std::mem::offset_of!(ibv_recv_wr, wr_id) - 0usize];
    [
        "Offset of field: ibv_recv_wr::next",
    ][::std::mem::offset_of!(ibv_recv_wr, next) - 8usize];
    [
        "Offset of field: ibv_recv_wr::sg_list",
    ][::std::mem::offset_of!(ibv_recv_wr, sg_list) - 16usize];
    [
        "Offset of field: ibv_recv_wr::num_sge",
    ][::std::mem::offset_of!(ibv_recv_wr, num_sge) - 24usize];
};
impl Default for ibv_recv_wr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_WR_TAG_ADD: ibv_ops_wr_opcode = 0;
pub const IBV_WR_TAG_DEL: ibv_ops_wr_opcode = 1;
pub const IBV_WR_TAG_SYNC: ibv_ops_wr_opcode = 2;
pub type ibv_ops_wr_opcode = ::std::os::raw::c_uint;
pub const IBV_OPS_SIGNALED: ibv_ops_flags = 1;
pub const IBV_OPS_TM_SYNC: ibv_ops_flags = 2;
pub type ibv_ops_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_ops_wr {
    pub wr_id: u64,
    pub next: *mut ibv_ops_wr,
    pub opcode: ibv_ops_wr_opcode,
    pub flags: ::std::os::raw::c_int,
    pub tm: ibv_ops_wr__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_ops_wr__bindgen_ty_1 {
    pub unexpected_cnt: u32,
    pub handle: u32,
    pub add: ibv_ops_wr__bindgen_ty_1__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_ops_wr__bindgen_ty_1__bindgen_ty_1 {
    pub recv_wr_id: u64,
    pub sg_list: *mut ibv_sge,
    pub num_sge: ::std::os::raw::c_int,
    pub tag: u64,
    pub mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_ops_wr__bindgen_ty_1__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_ops_wr__bindgen_ty_1__bindgen_ty_1>() - 40usize];
    [
        "Alignment of ibv_ops_wr__bindgen_ty_1__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_ops_wr__bindgen_ty_1__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1__bindgen_ty_1::recv_wr_id",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1__bindgen_ty_1, recv_wr_id)
        - 0usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1__bindgen_ty_1::sg_list",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1__bindgen_ty_1, sg_list) - 8usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1__bindgen_ty_1::num_sge",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1__bindgen_ty_1, num_sge) - 16usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1__bindgen_ty_1::tag",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1__bindgen_ty_1, tag) - 24usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1__bindgen_ty_1::mask",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1__bindgen_ty_1, mask) - 32usize];
};
impl Default for ibv_ops_wr__bindgen_ty_1__bindgen_ty_1 {
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
    [
        "Size of ibv_ops_wr__bindgen_ty_1",
    ][::std::mem::size_of::<ibv_ops_wr__bindgen_ty_1>() - 48usize];
    [
        "Alignment of ibv_ops_wr__bindgen_ty_1",
    ][::std::mem::align_of::<ibv_ops_wr__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1::unexpected_cnt",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1, unexpected_cnt) - 0usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1::handle",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1, handle) - 4usize];
    [
        "Offset of field: ibv_ops_wr__bindgen_ty_1::add",
    ][::std::mem::offset_of!(ibv_ops_wr__bindgen_ty_1, add) - 8usize];
};
impl Default for ibv_ops_wr__bindgen_ty_1 {
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
    ["Size of ibv_ops_wr"][::std::mem::size_of::<ibv_ops_wr>() - 72usize];
    ["Alignment of ibv_ops_wr"][::std::mem::align_of::<ibv_ops_wr>() - 8usize];
    [
        "Offset of field: ibv_ops_wr::wr_id",
    ][::std::mem::offset_of!(ibv_ops_wr, wr_id) - 0usize];
    [
        "Offset of field: ibv_ops_wr::next",
    ][::std::mem::offset_of!(ibv_ops_wr, next) - 8usize];
    [
        "Offset of field: ibv_ops_wr::opcode",
    ][::std::mem::offset_of!(ibv_ops_wr, opcode) - 16usize];
    [
        "Offset of field: ibv_ops_wr::flags",
    ][::std::mem::offset_of!(ibv_ops_wr, flags) - 20usize];
    [
        "Offset of field: ibv_ops_wr::tm",
    ][::std::mem::offset_of!(ibv_ops_wr, tm) - 24usize];
};
impl Default for ibv_ops_wr {
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
pub struct ibv_mw_bind {
    pub wr_id: u64,
    pub send_flags: ::std::os::raw::c_uint,
    pub bind_info: ibv_mw_bind_info,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_mw_bind"][::std::mem::size_of::<ibv_mw_bind>() - 48usize];
    ["Alignment of ibv_mw_bind"][::std::mem::align_of::<ibv_mw_bind>() - 8usize];
    [
        "Offset of field: ibv_mw_bind::wr_id",
    ][::std::mem::offset_of!(ibv_mw_bind, wr_id) - 0usize];
    [
        "Offset of field: ibv_mw_bind::send_flags",
    ][::std::mem::offset_of!(ibv_mw_bind, send_flags) - 8usize];
    [
        "Offset of field: ibv_mw_bind::bind_info",
    ][::std::mem::offset_of!(ibv_mw_bind, bind_info) - 16usize];
};
impl Default for ibv_mw_bind {
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
pub struct ibv_srq {
    pub context: *mut ibv_context,
    pub srq_context: *mut ::std::os::raw::c_void,
    pub pd: *mut ibv_pd,
    pub handle: u32,
    pub mutex: pthread_mutex_t,
    pub cond: pthread_cond_t,
    pub events_completed: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_srq"][::std::mem::size_of::<ibv_srq>() - 128usize];
    ["Alignment of ibv_srq"][::std::mem::align_of::<ibv_srq>() - 8usize];
    [
        "Offset of field: ibv_srq::context",
    ][::std::mem::offset_of!(ibv_srq, context) - 0usize];
    [
        "Offset of field: ibv_srq::srq_context",
    ][::std::mem::offset_of!(ibv_srq, srq_context) - 8usize];
    ["Offset of field: ibv_srq::pd"][::std::mem::offset_of!(ibv_srq, pd) - 16usize];
    [
        "Offset of field: ibv_srq::handle",
    ][::std::mem::offset_of!(ibv_srq, handle) - 24usize];
    [
        "Offset of field: ibv_srq::mutex",
    ][::std::mem::offset_of!(ibv_srq, mutex) - 32usize];
    ["Offset of field: ibv_srq::cond"][::std::mem::offset_of!(ibv_srq, cond) - 72usize];
    [
        "Offset of field: ibv_srq::events_completed",
    ][::std::mem::offset_of!(ibv_srq, events_completed) - 120usize];
};
impl Default for ibv_srq {
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
pub struct ibv_wq {
    pub context: *mut ibv_context,
    pub wq_context: *mut ::std::os::raw::c_void,
    pub pd: *mut ibv_pd,
    pub cq: *mut ibv_cq,
    pub wq_num: u32,
    pub handle: u32,
    pub state: ibv_wq_state,
    pub wq_type: ibv_wq_type,
    pub post_recv: ::std::option::Option<
        unsafe extern "C" fn(
            current: *mut ibv_wq,
            recv_wr: *mut ibv_recv_wr,
            bad_recv_wr: *mut *mut ibv_recv_wr,
        ) -> ::std::os::raw::c_int,
    >,
    pub mutex: pthread_mutex_t,
    pub cond: pthread_cond_t,
    pub events_completed: u32,
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_wq"][::std::mem::size_of::<ibv_wq>() - 152usize];
    ["Alignment of ibv_wq"][::std::mem::align_of::<ibv_wq>() - 8usize];
    [
        "Offset of field: ibv_wq::context",
    ][::std::mem::offset_of!(ibv_wq, context) - 0usize];
    [
        "Offset of field: ibv_wq::wq_context",
    ][::std::mem::offset_of!(ibv_wq, wq_context) - 8usize];
    ["Offset of field: ibv_wq::pd"][::std::mem::offset_of!(ibv_wq, pd) - 16usize];
    ["Offset of field: ibv_wq::cq"][::std::mem::offset_of!(ibv_wq, cq) - 24usize];
    [
        "Offset of field: ibv_wq::wq_num",
    ][::std::mem::offset_of!(ibv_wq, wq_num) - 32usize];
    [
        "Offset of field: ibv_wq::handle",
    ][::std::mem::offset_of!(ibv_wq, handle) - 36usize];
    ["Offset of field: ibv_wq::state"][::std::mem::offset_of!(ibv_wq, state) - 40usize];
    [
        "Offset of field: ibv_wq::wq_type",
    ][::std::mem::offset_of!(ibv_wq, wq_type) - 44usize];
    [
        "Offset of field: ibv_wq::post_recv",
    ][::std::mem::offset_of!(ibv_wq, post_recv) - 48usize];
    ["Offset of field: ibv_wq::mutex"][::std::mem::offset_of!(ibv_wq, mutex) - 56usize];
    ["Offset of field: ibv_wq::cond"][::std::mem::offset_of!(ibv_wq, cond) - 96usize];
    [
        "Offset of field: ibv_wq::events_completed",
    ][::std::mem::offset_of!(ibv_wq, events_completed) - 144usize];
    [
        "Offset of field: ibv_wq::comp_mask",
    ][::std::mem::offset_of!(ibv_wq, comp_mask) - 148usize];
};
impl Default for ibv_wq {
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
pub struct ibv_qp {
    pub context: *mut ibv_context,
    pub qp_context: *mut ::std::os::raw::c_void,
    pub pd: *mut ibv_pd,
    pub send_cq: *mut ibv_cq,
    pub recv_cq: *mut ibv_cq,
    pub srq: *mut ibv_srq,
    pub handle: u32,
    pub qp_num: u32,
    pub state: ibv_qp_state,
    pub qp_type: ibv_qp_type,
    pub mutex: pthread_mutex_t,
    pub cond: pthread_cond_t,
    pub events_completed: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_qp"][::std::mem::size_of::<ibv_qp>() - 160usize];
    ["Alignment of ibv_qp"][::std::mem::align_of::<ibv_qp>() - 8usize];
    [
        "Offset of field: ibv_qp::context",
    ][::std::mem::offset_of!(ibv_qp, context) - 0usize];
    [
        "Offset of field: ibv_qp::qp_context",
    ][::std::mem::offset_of!(ibv_qp, qp_context) - 8usize];
    ["Offset of field: ibv_qp::pd"][::std::mem::offset_of!(ibv_qp, pd) - 16usize];
    [
        "Offset of field: ibv_qp::send_cq",
    ][::std::mem::offset_of!(ibv_qp, send_cq) - 24usize];
    [
        "Offset of field: ibv_qp::recv_cq",
    ][::std::mem::offset_of!(ibv_qp, recv_cq) - 32usize];
    ["Offset of field: ibv_qp::srq"][::std::mem::offset_of!(ibv_qp, srq) - 40usize];
    [
        "Offset of field: ibv_qp::handle",
    ][::std::mem::offset_of!(ibv_qp, handle) - 48usize];
    [
        "Offset of field: ibv_qp::qp_num",
    ][::std::mem::offset_of!(ibv_qp, qp_num) - 52usize];
    ["Offset of field: ibv_qp::state"][::std::mem::offset_of!(ibv_qp, state) - 56usize];
    [
        "Offset of field: ibv_qp::qp_type",
    ][::std::mem::offset_of!(ibv_qp, qp_type) - 60usize];
    ["Offset of field: ibv_qp::mutex"][::std::mem::offset_of!(ibv_qp, mutex) - 64usize];
    ["Offset of field: ibv_qp::cond"][::std::mem::offset_of!(ibv_qp, cond) - 104usize];
    [
        "Offset of field: ibv_qp::events_completed",
    ][::std::mem::offset_of!(ibv_qp, events_completed) - 152usize];
};
impl Default for ibv_qp {
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
pub struct ibv_qp_ex {
    pub qp_base: ibv_qp,
    pub comp_mask: u64,
    pub wr_id: u64,
    pub wr_flags: ::std::os::raw::c_uint,
    pub wr_atomic_cmp_swp: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            rkey: u32,
            remote_addr: u64,
            compare: u64,
            swap: u64,
        ),
    >,
    pub wr_atomic_fetch_add: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, rkey: u32, remote_addr: u64, add: u64),
    >,
    pub wr_bind_mw: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            mw: *mut ibv_mw,
            rkey: u32,
            bind_info: *const ibv_mw_bind_info,
        ),
    >,
    pub wr_local_inv: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, invalidate_rkey: u32),
    >,
    pub wr_rdma_read: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, rkey: u32, remote_addr: u64),
    >,
    pub wr_rdma_write: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, rkey: u32, remote_addr: u64),
    >,
    pub wr_rdma_write_imm: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            rkey: u32,
            remote_addr: u64,
            imm_data: __be32,
        ),
    >,
    pub wr_send: ::std::option::Option<unsafe extern "C" fn(qp: *mut ibv_qp_ex)>,
    pub wr_send_imm: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, imm_data: __be32),
    >,
    pub wr_send_inv: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, invalidate_rkey: u32),
    >,
    pub wr_send_tso: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            hdr: *mut ::std::os::raw::c_void,
            hdr_sz: u16,
            mss: u16,
        ),
    >,
    pub wr_set_ud_addr: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            ah: *mut ibv_ah,
            remote_qpn: u32,
            remote_qkey: u32,
        ),
    >,
    pub wr_set_xrc_srqn: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, remote_srqn: u32),
    >,
    pub wr_set_inline_data: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            addr: *mut ::std::os::raw::c_void,
            length: usize,
        ),
    >,
    pub wr_set_inline_data_list: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            num_buf: usize,
            buf_list: *const ibv_data_buf,
        ),
    >,
    pub wr_set_sge: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, lkey: u32, addr: u64, length: u32),
    >,
    pub wr_set_sge_list: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex, num_sge: usize, sg_list: *const ibv_sge),
    >,
    pub wr_start: ::std::option::Option<unsafe extern "C" fn(qp: *mut ibv_qp_ex)>,
    pub wr_complete: ::std::option::Option<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex) -> ::std::os::raw::c_int,
    >,
    pub wr_abort: ::std::option::Option<unsafe extern "C" fn(qp: *mut ibv_qp_ex)>,
    pub wr_atomic_write: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp_ex,
            rkey: u32,
            remote_addr: u64,
            atomic_wr: *const ::std::os::raw::c_void,
        ),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_qp_ex"][::std::mem::size_of::<ibv_qp_ex>() - 352usize];
    ["Alignment of ibv_qp_ex"][::std::mem::align_of::<ibv_qp_ex>() - 8usize];
    [
        "Offset of field: ibv_qp_ex::qp_base",
    ][::std::mem::offset_of!(ibv_qp_ex, qp_base) - 0usize];
    [
        "Offset of field: ibv_qp_ex::comp_mask",
    ][::std::mem::offset_of!(ibv_qp_ex, comp_mask) - 160usize];
    [
        "Offset of field: ibv_qp_ex::wr_id",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_id) - 168usize];
    [
        "Offset of field: ibv_qp_ex::wr_flags",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_flags) - 176usize];
    [
        "Offset of field: ibv_qp_ex::wr_atomic_cmp_swp",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_atomic_cmp_swp) - 184usize];
    [
        "Offset of field: ibv_qp_ex::wr_atomic_fetch_add",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_atomic_fetch_add) - 192usize];
    [
        "Offset of field: ibv_qp_ex::wr_bind_mw",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_bind_mw) - 200usize];
    [
        "Offset of field: ibv_qp_ex::wr_local_inv",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_local_inv) - 208usize];
    [
        "Offset of field: ibv_qp_ex::wr_rdma_read",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_rdma_read) - 216usize];
    [
        "Offset of field: ibv_qp_ex::wr_rdma_write",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_rdma_write) - 224usize];
    [
        "Offset of field: ibv_qp_ex::wr_rdma_write_imm",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_rdma_write_imm) - 232usize];
    [
        "Offset of field: ibv_qp_ex::wr_send",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_send) - 240usize];
    [
        "Offset of field: ibv_qp_ex::wr_send_imm",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_send_imm) - 248usize];
    [
        "Offset of field: ibv_qp_ex::wr_send_inv",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_send_inv) - 256usize];
    [
        "Offset of field: ibv_qp_ex::wr_send_tso",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_send_tso) - 264usize];
    [
        "Offset of field: ibv_qp_ex::wr_set_ud_addr",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_set_ud_addr) - 272usize];
    [
        "Offset of field: ibv_qp_ex::wr_set_xrc_srqn",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_set_xrc_srqn) - 280usize];
    [
        "Offset of field: ibv_qp_ex::wr_set_inline_data",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_set_inline_data) - 288usize];
    [
        "Offset of field: ibv_qp_ex::wr_set_inline_data_list",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_set_inline_data_list) - 296usize];
    [
        "Offset of field: ibv_qp_ex::wr_set_sge",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_set_sge) - 304usize];
    [
        "Offset of field: ibv_qp_ex::wr_set_sge_list",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_set_sge_list) - 312usize];
    [
        "Offset of field: ibv_qp_ex::wr_start",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_start) - 320usize];
    [
        "Offset of field: ibv_qp_ex::wr_complete",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_complete) - 328usize];
    [
        "Offset of field: ibv_qp_ex::wr_abort",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_abort) - 336usize];
    [
        "Offset of field: ibv_qp_ex::wr_atomic_write",
    ][::std::mem::offset_of!(ibv_qp_ex, wr_atomic_write) - 344usize];
};
impl Default for ibv_qp_ex {
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
pub struct ibv_ece {
    pub vendor_id: u32,
    pub options: u32,
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_ece"][::std::mem::size_of::<ibv_ece>() - 12usize];
    ["Alignment of ibv_ece"][::std::mem::align_of::<ibv_ece>() - 4usize];
    [
        "Offset of field: ibv_ece::vendor_id",
    ][::std::mem::offset_of!(ibv_ece, vendor_id) - 0usize];
    [
        "Offset of field: ibv_ece::options",
    ][::std::mem::offset_of!(ibv_ece, options) - 4usize];
    [
        "Offset of field: ibv_ece::comp_mask",
    ][::std::mem::offset_of!(ibv_ece, comp_mask) - 8usize];
};
impl Default for ibv_ece {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_comp_channel {
    pub context: *mut ibv_context,
    pub fd: ::std::os::raw::c_int,
    pub refcnt: ::std::os::raw::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_comp_channel"][::std::mem::size_of::<ibv_comp_channel>() - 16usize];
    [
        "Alignment of ibv_comp_channel",
    ][::std::mem::align_of::<ibv_comp_channel>() - 8usize];
    [
        "Offset of field: ibv_comp_channel::context",
    ][::std::mem::offset_of!(ibv_comp_channel, context) - 0usize];
    [
        "Offset of field: ibv_comp_channel::fd",
    ][::std::mem::offset_of!(ibv_comp_channel, fd) - 8usize];
    [
        "Offset of field: ibv_comp_channel::refcnt",
    ][::std::mem::offset_of!(ibv_comp_channel, refcnt) - 12usize];
};
impl Default for ibv_comp_channel {
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
pub struct ibv_cq {
    pub context: *mut ibv_context,
    pub channel: *mut ibv_comp_channel,
    pub cq_context: *mut ::std::os::raw::c_void,
    pub handle: u32,
    pub cqe: ::std::os::raw::c_int,
    pub mutex: pthread_mutex_t,
    pub cond: pthread_cond_t,
    pub comp_events_completed: u32,
    pub async_events_completed: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_cq"][::std::mem::size_of::<ibv_cq>() - 128usize];
    ["Alignment of ibv_cq"][::std::mem::align_of::<ibv_cq>() - 8usize];
    [
        "Offset of field: ibv_cq::context",
    ][::std::mem::offset_of!(ibv_cq, context) - 0usize];
    [
        "Offset of field: ibv_cq::channel",
    ][::std::mem::offset_of!(ibv_cq, channel) - 8usize];
    [
        "Offset of field: ibv_cq::cq_context",
    ][::std::mem::offset_of!(ibv_cq, cq_context) - 16usize];
    [
        "Offset of field: ibv_cq::handle",
    ][::std::mem::offset_of!(ibv_cq, handle) - 24usize];
    ["Offset of field: ibv_cq::cqe"][::std::mem::offset_of!(ibv_cq, cqe) - 28usize];
    ["Offset of field: ibv_cq::mutex"][::std::mem::offset_of!(ibv_cq, mutex) - 32usize];
    ["Offset of field: ibv_cq::cond"][::std::mem::offset_of!(ibv_cq, cond) - 72usize];
    [
        "Offset of field: ibv_cq::comp_events_completed",
    ][::std::mem::offset_of!(ibv_cq, comp_events_completed) - 120usize];
    [
        "Offset of field: ibv_cq::async_events_completed",
    ][::std::mem::offset_of!(ibv_cq, async_events_completed) - 124usize];
};
impl Default for ibv_cq {
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
pub struct ibv_poll_cq_attr {
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_poll_cq_attr"][::std::mem::size_of::<ibv_poll_cq_attr>() - 4usize];
    [
        "Alignment of ibv_poll_cq_attr",
    ][::std::mem::align_of::<ibv_poll_cq_attr>() - 4usize];
    [
        "Offset of field: ibv_poll_cq_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_poll_cq_attr, comp_mask) - 0usize];
};
impl Default for ibv_poll_cq_attr {
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
pub struct ibv_wc_tm_info {
    pub tag: u64,
    pub priv_: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_wc_tm_info"][::std::mem::size_of::<ibv_wc_tm_info>() - 16usize];
    ["Alignment of ibv_wc_tm_info"][::std::mem::align_of::<ibv_wc_tm_info>() - 8usize];
    [
        "Offset of field: ibv_wc_tm_info::tag",
    ][::std::mem::offset_of!(ibv_wc_tm_info, tag) - 0usize];
    [
        "Offset of field: ibv_wc_tm_info::priv_",
    ][::std::mem::offset_of!(ibv_wc_tm_info, priv_) - 8usize];
};
impl Default for ibv_wc_tm_info {
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
pub struct ibv_cq_ex {
    pub context: *mut ibv_context,
    pub channel: *mut ibv_comp_channel,
    pub cq_context: *mut ::std::os::raw::c_void,
    pub handle: u32,
    pub cqe: ::std::os::raw::c_int,
    pub mutex: pthread_mutex_t,
    pub cond: pthread_cond_t,
    pub comp_events_completed: u32,
    pub async_events_completed: u32,
    pub comp_mask: u32,
    pub status: ibv_wc_status,
    pub wr_id: u64,
    pub start_poll: ::std::option::Option<
        unsafe extern "C" fn(
            current: *mut ibv_cq_ex,
            attr: *mut ibv_poll_cq_attr,
        ) -> ::std::os::raw::c_int,
    >,
    pub next_poll: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> ::std::os::raw::c_int,
    >,
    pub end_poll: ::std::option::Option<unsafe extern "C" fn(current: *mut ibv_cq_ex)>,
    pub read_opcode: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> ibv_wc_opcode,
    >,
    pub read_vendor_err: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u32,
    >,
    pub read_byte_len: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u32,
    >,
    pub read_imm_data: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> __be32,
    >,
    pub read_qp_num: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u32,
    >,
    pub read_src_qp: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u32,
    >,
    pub read_wc_flags: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> ::std::os::raw::c_uint,
    >,
    pub read_slid: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u32,
    >,
    pub read_sl: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u8,
    >,
    pub read_dlid_path_bits: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u8,
    >,
    pub read_completion_ts: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u64,
    >,
    pub read_cvlan: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u16,
    >,
    pub read_flow_tag: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u32,
    >,
    pub read_tm_info: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex, tm_info: *mut ibv_wc_tm_info),
    >,
    pub read_completion_wallclock_ns: ::std::option::Option<
        unsafe extern "C" fn(current: *mut ibv_cq_ex) -> u64,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_cq_ex"][::std::mem::size_of::<ibv_cq_ex>() - 288usize];
    ["Alignment of ibv_cq_ex"][::std::mem::align_of::<ibv_cq_ex>() - 8usize];
    [
        "Offset of field: ibv_cq_ex::context",
    ][::std::mem::offset_of!(ibv_cq_ex, context) - 0usize];
    [
        "Offset of field: ibv_cq_ex::channel",
    ][::std::mem::offset_of!(ibv_cq_ex, channel) - 8usize];
    [
        "Offset of field: ibv_cq_ex::cq_context",
    ][::std::mem::offset_of!(ibv_cq_ex, cq_context) - 16usize];
    [
        "Offset of field: ibv_cq_ex::handle",
    ][::std::mem::offset_of!(ibv_cq_ex, handle) - 24usize];
    [
        "Offset of field: ibv_cq_ex::cqe",
    ][::std::mem::offset_of!(ibv_cq_ex, cqe) - 28usize];
    [
        "Offset of field: ibv_cq_ex::mutex",
    ][::std::mem::offset_of!(ibv_cq_ex, mutex) - 32usize];
    [
        "Offset of field: ibv_cq_ex::cond",
    ][::std::mem::offset_of!(ibv_cq_ex, cond) - 72usize];
    [
        "Offset of field: ibv_cq_ex::comp_events_completed",
    ][::std::mem::offset_of!(ibv_cq_ex, comp_events_completed) - 120usize];
    [
        "Offset of field: ibv_cq_ex::async_events_completed",
    ][::std::mem::offset_of!(ibv_cq_ex, async_events_completed) - 124usize];
    [
        "Offset of field: ibv_cq_ex::comp_mask",
    ][::std::mem::offset_of!(ibv_cq_ex, comp_mask) - 128usize];
    [
        "Offset of field: ibv_cq_ex::status",
    ][::std::mem::offset_of!(ibv_cq_ex, status) - 132usize];
    [
        "Offset of field: ibv_cq_ex::wr_id",
    ][::std::mem::offset_of!(ibv_cq_ex, wr_id) - 136usize];
    [
        "Offset of field: ibv_cq_ex::start_poll",
    ][::std::mem::offset_of!(ibv_cq_ex, start_poll) - 144usize];
    [
        "Offset of field: ibv_cq_ex::next_poll",
    ][::std::mem::offset_of!(ibv_cq_ex, next_poll) - 152usize];
    [
        "Offset of field: ibv_cq_ex::end_poll",
    ][::std::mem::offset_of!(ibv_cq_ex, end_poll) - 160usize];
    [
        "Offset of field: ibv_cq_ex::read_opcode",
    ][::std::mem::offset_of!(ibv_cq_ex, read_opcode) - 168usize];
    [
        "Offset of field: ibv_cq_ex::read_vendor_err",
    ][::std::mem::offset_of!(ibv_cq_ex, read_vendor_err) - 176usize];
    [
        "Offset of field: ibv_cq_ex::read_byte_len",
    ][::std::mem::offset_of!(ibv_cq_ex, read_byte_len) - 184usize];
    [
        "Offset of field: ibv_cq_ex::read_imm_data",
    ][::std::mem::offset_of!(ibv_cq_ex, read_imm_data) - 192usize];
    [
        "Offset of field: ibv_cq_ex::read_qp_num",
    ][::std::mem::offset_of!(ibv_cq_ex, read_qp_num) - 200usize];
    [
        "Offset of field: ibv_cq_ex::read_src_qp",
    ][::std::mem::offset_of!(ibv_cq_ex, read_src_qp) - 208usize];
    [
        "Offset of field: ibv_cq_ex::read_wc_flags",
    ][::std::mem::offset_of!(ibv_cq_ex, read_wc_flags) - 216usize];
    [
        "Offset of field: ibv_cq_ex::read_slid",
    ][::std::mem::offset_of!(ibv_cq_ex, read_slid) - 224usize];
    [
        "Offset of field: ibv_cq_ex::read_sl",
    ][::std::mem::offset_of!(ibv_cq_ex, read_sl) - 232usize];
    [
        "Offset of field: ibv_cq_ex::read_dlid_path_bits",
    ][::std::mem::offset_of!(ibv_cq_ex, read_dlid_path_bits) - 240usize];
    [
        "Offset of field: ibv_cq_ex::read_completion_ts",
    ][::std::mem::offset_of!(ibv_cq_ex, read_completion_ts) - 248usize];
    [
        "Offset of field: ibv_cq_ex::read_cvlan",
    ][::std::mem::offset_of!(ibv_cq_ex, read_cvlan) - 256usize];
    [
        "Offset of field: ibv_cq_ex::read_flow_tag",
    ][::std::mem::offset_of!(ibv_cq_ex, read_flow_tag) - 264usize];
    [
        "Offset of field: ibv_cq_ex::read_tm_info",
    ][::std::mem::offset_of!(ibv_cq_ex, read_tm_info) - 272usize];
    [
        "Offset of field: ibv_cq_ex::read_completion_wallclock_ns",
    ][::std::mem::offset_of!(ibv_cq_ex, read_completion_wallclock_ns) - 280usize];
};
impl Default for ibv_cq_ex {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_CQ_ATTR_MODERATE: ibv_cq_attr_mask = 1;
pub const IBV_CQ_ATTR_RESERVED: ibv_cq_attr_mask = 2;
pub type ibv_cq_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_moderate_cq {
    pub cq_count: u16,
    pub cq_period: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_moderate_cq"][::std::mem::size_of::<ibv_moderate_cq>() - 4usize];
    ["Alignment of ibv_moderate_cq"][::std::mem::align_of::<ibv_moderate_cq>() - 2usize];
    [
        "Offset of field: ibv_moderate_cq::cq_count",
    ][::std::mem::offset_of!(ibv_moderate_cq, cq_count) - 0usize];
    [
        "Offset of field: ibv_moderate_cq::cq_period",
    ][::std::mem::offset_of!(ibv_moderate_cq, cq_period) - 2usize];
};
impl Default for ibv_moderate_cq {
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
pub struct ibv_modify_cq_attr {
    pub attr_mask: u32,
    pub moderate: ibv_moderate_cq,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_modify_cq_attr"][::std::mem::size_of::<ibv_modify_cq_attr>() - 8usize];
    [
        "Alignment of ibv_modify_cq_attr",
    ][::std::mem::align_of::<ibv_modify_cq_attr>() - 4usize];
    [
        "Offset of field: ibv_modify_cq_attr::attr_mask",
    ][::std::mem::offset_of!(ibv_modify_cq_attr, attr_mask) - 0usize];
    [
        "Offset of field: ibv_modify_cq_attr::moderate",
    ][::std::mem::offset_of!(ibv_modify_cq_attr, moderate) - 4usize];
};
impl Default for ibv_modify_cq_attr {
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
pub struct ibv_ah {
    pub context: *mut ibv_context,
    pub pd: *mut ibv_pd,
    pub handle: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_ah"][::std::mem::size_of::<ibv_ah>() - 24usize];
    ["Alignment of ibv_ah"][::std::mem::align_of::<ibv_ah>() - 8usize];
    [
        "Offset of field: ibv_ah::context",
    ][::std::mem::offset_of!(ibv_ah, context) - 0usize];
    ["Offset of field: ibv_ah::pd"][::std::mem::offset_of!(ibv_ah, pd) - 8usize];
    [
        "Offset of field: ibv_ah::handle",
    ][::std::mem::offset_of!(ibv_ah, handle) - 16usize];
};
impl Default for ibv_ah {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[repr(align(4))]
#[derive(Debug, Default, Copy, Clone)]
pub struct ibv_flow_attr {
    pub _bindgen_opaque_blob: [u32; 5usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_flow_attr"][::std::mem::size_of::<ibv_flow_attr>() - 20usize];
    ["Alignment of ibv_flow_attr"][::std::mem::align_of::<ibv_flow_attr>() - 4usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_flow {
    pub comp_mask: u32,
    pub context: *mut ibv_context,
    pub handle: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_flow"][::std::mem::size_of::<ibv_flow>() - 24usize];
    ["Alignment of ibv_flow"][::std::mem::align_of::<ibv_flow>() - 8usize];
    [
        "Offset of field: ibv_flow::comp_mask",
    ][::std::mem::offset_of!(ibv_flow, comp_mask) - 0usize];
    [
        "Offset of field: ibv_flow::context",
    ][::std::mem::offset_of!(ibv_flow, context) - 8usize];
    [
        "Offset of field: ibv_flow::handle",
    ][::std::mem::offset_of!(ibv_flow, handle) - 16usize];
};
impl Default for ibv_flow {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_flow_action {
    pub context: *mut ibv_context,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_flow_action"][::std::mem::size_of::<ibv_flow_action>() - 8usize];
    ["Alignment of ibv_flow_action"][::std::mem::align_of::<ibv_flow_action>() - 8usize];
    [
        "Offset of field: ibv_flow_action::context",
    ][::std::mem::offset_of!(ibv_flow_action, context) - 0usize];
};
impl Default for ibv_flow_action {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct ibv_flow_action_esp_attr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 56usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_flow_action_esp_attr",
    ][::std::mem::size_of::<ibv_flow_action_esp_attr>() - 56usize];
    [
        "Alignment of ibv_flow_action_esp_attr",
    ][::std::mem::align_of::<ibv_flow_action_esp_attr>() - 8usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct _ibv_device_ops {
    pub _dummy1: ::std::option::Option<
        unsafe extern "C" fn(
            device: *mut ibv_device,
            cmd_fd: ::std::os::raw::c_int,
        ) -> *mut ibv_context,
    >,
    pub _dummy2: ::std::option::Option<unsafe extern "C" fn(context: *mut ibv_context)>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of _ibv_device_ops"][::std::mem::size_of::<_ibv_device_ops>() - 16usize];
    ["Alignment of _ibv_device_ops"][::std::mem::align_of::<_ibv_device_ops>() - 8usize];
    [
        "Offset of field: _ibv_device_ops::_dummy1",
    ][::std::mem::offset_of!(_ibv_device_ops, _dummy1) - 0usize];
    [
        "Offset of field: _ibv_device_ops::_dummy2",
    ][::std::mem::offset_of!(_ibv_device_ops, _dummy2) - 8usize];
};
pub const IBV_SYSFS_NAME_MAX: ::std::os::raw::c_uint = 64;
pub const IBV_SYSFS_PATH_MAX: ::std::os::raw::c_uint = 256;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_device {
    pub _ops: _ibv_device_ops,
    pub node_type: ibv_node_type,
    pub transport_type: ibv_transport_type,
    pub name: [::std::os::raw::c_char; 64usize],
    pub dev_name: [::std::os::raw::c_char; 64usize],
    pub dev_path: [::std::os::raw::c_char; 256usize],
    pub ibdev_path: [::std::os::raw::c_char; 256usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_device"][::std::mem::size_of::<ibv_device>() - 664usize];
    ["Alignment of ibv_device"][::std::mem::align_of::<ibv_device>() - 8usize];
    [
        "Offset of field: ibv_device::_ops",
    ][::std::mem::offset_of!(ibv_device, _ops) - 0usize];
    [
        "Offset of field: ibv_device::node_type",
    ][::std::mem::offset_of!(ibv_device, node_type) - 16usize];
    [
        "Offset of field: ibv_device::transport_type",
    ][::std::mem::offset_of!(ibv_device, transport_type) - 20usize];
    [
        "Offset of field: ibv_device::name",
    ][::std::mem::offset_of!(ibv_device, name) - 24usize];
    [
        "Offset of field: ibv_device::dev_name",
    ][::std::mem::offset_of!(ibv_device, dev_name) - 88usize];
    [
        "Offset of field: ibv_device::dev_path",
    ][::std::mem::offset_of!(ibv_device, dev_path) - 152usize];
    [
        "Offset of field: ibv_device::ibdev_path",
    ][::std::mem::offset_of!(ibv_device, ibdev_path) - 408usize];
};
impl Default for ibv_device {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug)]
pub struct _compat_ibv_port_attr {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ibv_context_ops {
    pub _compat_query_device: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            device_attr: *mut ibv_device_attr,
        ) -> ::std::os::raw::c_int,
    >,
    pub _compat_query_port: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u8,
            port_attr: *mut _compat_ibv_port_attr,
        ) -> ::std::os::raw::c_int,
    >,
    pub _compat_alloc_pd: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_dealloc_pd: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_reg_mr: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_rereg_mr: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_dereg_mr: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub alloc_mw: ::std::option::Option<
        unsafe extern "C" fn(pd: *mut ibv_pd, type_: ibv_mw_type) -> *mut ibv_mw,
    >,
    pub bind_mw: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            mw: *mut ibv_mw,
            mw_bind: *mut ibv_mw_bind,
        ) -> ::std::os::raw::c_int,
    >,
    pub dealloc_mw: ::std::option::Option<
        unsafe extern "C" fn(mw: *mut ibv_mw) -> ::std::os::raw::c_int,
    >,
    pub _compat_create_cq: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub poll_cq: ::std::option::Option<
        unsafe extern "C" fn(
            cq: *mut ibv_cq,
            num_entries: ::std::os::raw::c_int,
            wc: *mut ibv_wc,
        ) -> ::std::os::raw::c_int,
    >,
    pub req_notify_cq: ::std::option::Option<
        unsafe extern "C" fn(
            cq: *mut ibv_cq,
            solicited_only: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
    >,
    pub _compat_cq_event: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_resize_cq: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_destroy_cq: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_create_srq: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_modify_srq: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_query_srq: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_destroy_srq: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub post_srq_recv: ::std::option::Option<
        unsafe extern "C" fn(
            srq: *mut ibv_srq,
            recv_wr: *mut ibv_recv_wr,
            bad_recv_wr: *mut *mut ibv_recv_wr,
        ) -> ::std::os::raw::c_int,
    >,
    pub _compat_create_qp: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_query_qp: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_modify_qp: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_destroy_qp: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub post_send: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            wr: *mut ibv_send_wr,
            bad_wr: *mut *mut ibv_send_wr,
        ) -> ::std::os::raw::c_int,
    >,
    pub post_recv: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            wr: *mut ibv_recv_wr,
            bad_wr: *mut *mut ibv_recv_wr,
        ) -> ::std::os::raw::c_int,
    >,
    pub _compat_create_ah: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_destroy_ah: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_attach_mcast: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_detach_mcast: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
    pub _compat_async_event: ::std::option::Option<
        unsafe extern "C" fn() -> *mut ::std::os::raw::c_void,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_context_ops"][::std::mem::size_of::<ibv_context_ops>() - 256usize];
    ["Alignment of ibv_context_ops"][::std::mem::align_of::<ibv_context_ops>() - 8usize];
    [
        "Offset of field: ibv_context_ops::_compat_query_device",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_query_device) - 0usize];
    [
        "Offset of field: ibv_context_ops::_compat_query_port",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_query_port) - 8usize];
    [
        "Offset of field: ibv_context_ops::_compat_alloc_pd",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_alloc_pd) - 16usize];
    [
        "Offset of field: ibv_context_ops::_compat_dealloc_pd",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_dealloc_pd) - 24usize];
    [
        "Offset of field: ibv_context_ops::_compat_reg_mr",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_reg_mr) - 32usize];
    [
        "Offset of field: ibv_context_ops::_compat_rereg_mr",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_rereg_mr) - 40usize];
    [
        "Offset of field: ibv_context_ops::_compat_dereg_mr",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_dereg_mr) - 48usize];
    [
        "Offset of field: ibv_context_ops::alloc_mw",
    ][::std::mem::offset_of!(ibv_context_ops, alloc_mw) - 56usize];
    [
        "Offset of field: ibv_context_ops::bind_mw",
    ][::std::mem::offset_of!(ibv_context_ops, bind_mw) - 64usize];
    [
        "Offset of field: ibv_context_ops::dealloc_mw",
    ][::std::mem::offset_of!(ibv_context_ops, dealloc_mw) - 72usize];
    [
        "Offset of field: ibv_context_ops::_compat_create_cq",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_create_cq) - 80usize];
    [
        "Offset of field: ibv_context_ops::poll_cq",
    ][::std::mem::offset_of!(ibv_context_ops, poll_cq) - 88usize];
    [
        "Offset of field: ibv_context_ops::req_notify_cq",
    ][::std::mem::offset_of!(ibv_context_ops, req_notify_cq) - 96usize];
    [
        "Offset of field: ibv_context_ops::_compat_cq_event",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_cq_event) - 104usize];
    [
        "Offset of field: ibv_context_ops::_compat_resize_cq",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_resize_cq) - 112usize];
    [
        "Offset of field: ibv_context_ops::_compat_destroy_cq",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_destroy_cq) - 120usize];
    [
        "Offset of field: ibv_context_ops::_compat_create_srq",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_create_srq) - 128usize];
    [
        "Offset of field: ibv_context_ops::_compat_modify_srq",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_modify_srq) - 136usize];
    [
        "Offset of field: ibv_context_ops::_compat_query_srq",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_query_srq) - 144usize];
    [
        "Offset of field: ibv_context_ops::_compat_destroy_srq",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_destroy_srq) - 152usize];
    [
        "Offset of field: ibv_context_ops::post_srq_recv",
    ][::std::mem::offset_of!(ibv_context_ops, post_srq_recv) - 160usize];
    [
        "Offset of field: ibv_context_ops::_compat_create_qp",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_create_qp) - 168usize];
    [
        "Offset of field: ibv_context_ops::_compat_query_qp",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_query_qp) - 176usize];
    [
        "Offset of field: ibv_context_ops::_compat_modify_qp",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_modify_qp) - 184usize];
    [
        "Offset of field: ibv_context_ops::_compat_destroy_qp",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_destroy_qp) - 192usize];
    [
        "Offset of field: ibv_context_ops::post_send",
    ][::std::mem::offset_of!(ibv_context_ops, post_send) - 200usize];
    [
        "Offset of field: ibv_context_ops::post_recv",
    ][::std::mem::offset_of!(ibv_context_ops, post_recv) - 208usize];
    [
        "Offset of field: ibv_context_ops::_compat_create_ah",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_create_ah) - 216usize];
    [
        "Offset of field: ibv_context_ops::_compat_destroy_ah",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_destroy_ah) - 224usize];
    [
        "Offset of field: ibv_context_ops::_compat_attach_mcast",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_attach_mcast) - 232usize];
    [
        "Offset of field: ibv_context_ops::_compat_detach_mcast",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_detach_mcast) - 240usize];
    [
        "Offset of field: ibv_context_ops::_compat_async_event",
    ][::std::mem::offset_of!(ibv_context_ops, _compat_async_event) - 248usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_context {
    pub device: *mut ibv_device,
    pub ops: ibv_context_ops,
    pub cmd_fd: ::std::os::raw::c_int,
    pub async_fd: ::std::os::raw::c_int,
    pub num_comp_vectors: ::std::os::raw::c_int,
    pub mutex: pthread_mutex_t,
    pub abi_compat: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_context"][::std::mem::size_of::<ibv_context>() - 328usize];
    ["Alignment of ibv_context"][::std::mem::align_of::<ibv_context>() - 8usize];
    [
        "Offset of field: ibv_context::device",
    ][::std::mem::offset_of!(ibv_context, device) - 0usize];
    [
        "Offset of field: ibv_context::ops",
    ][::std::mem::offset_of!(ibv_context, ops) - 8usize];
    [
        "Offset of field: ibv_context::cmd_fd",
    ][::std::mem::offset_of!(ibv_context, cmd_fd) - 264usize];
    [
        "Offset of field: ibv_context::async_fd",
    ][::std::mem::offset_of!(ibv_context, async_fd) - 268usize];
    [
        "Offset of field: ibv_context::num_comp_vectors",
    ][::std::mem::offset_of!(ibv_context, num_comp_vectors) - 272usize];
    [
        "Offset of field: ibv_context::mutex",
    ][::std::mem::offset_of!(ibv_context, mutex) - 280usize];
    [
        "Offset of field: ibv_context::abi_compat",
    ][::std::mem::offset_of!(ibv_context, abi_compat) - 320usize];
};
impl Default for ibv_context {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_CQ_INIT_ATTR_MASK_FLAGS: ibv_cq_init_attr_mask = 1;
pub const IBV_CQ_INIT_ATTR_MASK_PD: ibv_cq_init_attr_mask = 2;
pub type ibv_cq_init_attr_mask = ::std::os::raw::c_uint;
pub const IBV_CREATE_CQ_ATTR_SINGLE_THREADED: ibv_create_cq_attr_flags = 1;
pub const IBV_CREATE_CQ_ATTR_IGNORE_OVERRUN: ibv_create_cq_attr_flags = 2;
pub type ibv_create_cq_attr_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_cq_init_attr_ex {
    pub cqe: u32,
    pub cq_context: *mut ::std::os::raw::c_void,
    pub channel: *mut ibv_comp_channel,
    pub comp_vector: u32,
    pub wc_flags: u64,
    pub comp_mask: u32,
    pub flags: u32,
    pub parent_domain: *mut ibv_pd,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_cq_init_attr_ex",
    ][::std::mem::size_of::<ibv_cq_init_attr_ex>() - 56usize];
    [
        "Alignment of ibv_cq_init_attr_ex",
    ][::std::mem::align_of::<ibv_cq_init_attr_ex>() - 8usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::cqe",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, cqe) - 0usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::cq_context",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, cq_context) - 8usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::channel",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, channel) - 16usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::comp_vector",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, comp_vector) - 24usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::wc_flags",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, wc_flags) - 32usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::comp_mask",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, comp_mask) - 40usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::flags",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, flags) - 44usize];
    [
        "Offset of field: ibv_cq_init_attr_ex::parent_domain",
    ][::std::mem::offset_of!(ibv_cq_init_attr_ex, parent_domain) - 48usize];
};
impl Default for ibv_cq_init_attr_ex {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS: ibv_parent_domain_init_attr_mask = 1;
pub const IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT: ibv_parent_domain_init_attr_mask = 2;
pub type ibv_parent_domain_init_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_parent_domain_init_attr {
    pub pd: *mut ibv_pd,
    pub td: *mut ibv_td,
    pub comp_mask: u32,
    pub alloc: ::std::option::Option<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            pd_context: *mut ::std::os::raw::c_void,
            size: usize,
            alignment: usize,
            resource_type: u64,
        ) -> *mut ::std::os::raw::c_void,
    >,
    pub free: ::std::option::Option<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            pd_context: *mut ::std::os::raw::c_void,
            ptr: *mut ::std::os::raw::c_void,
            resource_type: u64,
        ),
    >,
    pub pd_context: *mut ::std::os::raw::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_parent_domain_init_attr",
    ][::std::mem::size_of::<ibv_parent_domain_init_attr>() - 48usize];
    [
        "Alignment of ibv_parent_domain_init_attr",
    ][::std::mem::align_of::<ibv_parent_domain_init_attr>() - 8usize];
    [
        "Offset of field: ibv_parent_domain_init_attr::pd",
    ][::std::mem::offset_of!(ibv_parent_domain_init_attr, pd) - 0usize];
    [
        "Offset of field: ibv_parent_domain_init_attr::td",
    ][::std::mem::offset_of!(ibv_parent_domain_init_attr, td) - 8usize];
    [
        "Offset of field: ibv_parent_domain_init_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_parent_domain_init_attr, comp_mask) - 16usize];
    [
        "Offset of field: ibv_parent_domain_init_attr::alloc",
    ][::std::mem::offset_of!(ibv_parent_domain_init_attr, alloc) - 24usize];
    [
        "Offset of field: ibv_parent_domain_init_attr::free",
    ][::std::mem::offset_of!(ibv_parent_domain_init_attr, free) - 32usize];
    [
        "Offset of field: ibv_parent_domain_init_attr::pd_context",
    ][::std::mem::offset_of!(ibv_parent_domain_init_attr, pd_context) - 40usize];
};
impl Default for ibv_parent_domain_init_attr {
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
pub struct ibv_counters_init_attr {
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_counters_init_attr",
    ][::std::mem::size_of::<ibv_counters_init_attr>() - 4usize];
    [
        "Alignment of ibv_counters_init_attr",
    ][::std::mem::align_of::<ibv_counters_init_attr>() - 4usize];
    [
        "Offset of field: ibv_counters_init_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_counters_init_attr, comp_mask) - 0usize];
};
impl Default for ibv_counters_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_counters {
    pub context: *mut ibv_context,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_counters"][::std::mem::size_of::<ibv_counters>() - 8usize];
    ["Alignment of ibv_counters"][::std::mem::align_of::<ibv_counters>() - 8usize];
    [
        "Offset of field: ibv_counters::context",
    ][::std::mem::offset_of!(ibv_counters, context) - 0usize];
};
impl Default for ibv_counters {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_COUNTER_PACKETS: ibv_counter_description = 0;
pub const IBV_COUNTER_BYTES: ibv_counter_description = 1;
pub type ibv_counter_description = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_counter_attach_attr {
    pub counter_desc: ibv_counter_description,
    pub index: u32,
    pub comp_mask: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of ibv_counter_attach_attr",
    ][::std::mem::size_of::<ibv_counter_attach_attr>() - 12usize];
    [
        "Alignment of ibv_counter_attach_attr",
    ][::std::mem::align_of::<ibv_counter_attach_attr>() - 4usize];
    [
        "Offset of field: ibv_counter_attach_attr::counter_desc",
    ][::std::mem::offset_of!(ibv_counter_attach_attr, counter_desc) - 0usize];
    [
        "Offset of field: ibv_counter_attach_attr::index",
    ][::std::mem::offset_of!(ibv_counter_attach_attr, index) - 4usize];
    [
        "Offset of field: ibv_counter_attach_attr::comp_mask",
    ][::std::mem::offset_of!(ibv_counter_attach_attr, comp_mask) - 8usize];
};
impl Default for ibv_counter_attach_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_READ_COUNTERS_ATTR_PREFER_CACHED: ibv_read_counters_flags = 1;
pub type ibv_read_counters_flags = ::std::os::raw::c_uint;
pub const IBV_VALUES_MASK_RAW_CLOCK: ibv_values_mask = 1;
pub const IBV_VALUES_MASK_RESERVED: ibv_values_mask = 2;
pub type ibv_values_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_values_ex {
    pub comp_mask: u32,
    pub raw_clock: timespec,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_values_ex"][::std::mem::size_of::<ibv_values_ex>() - 24usize];
    ["Alignment of ibv_values_ex"][::std::mem::align_of::<ibv_values_ex>() - 8usize];
    [
        "Offset of field: ibv_values_ex::comp_mask",
    ][::std::mem::offset_of!(ibv_values_ex, comp_mask) - 0usize];
    [
        "Offset of field: ibv_values_ex::raw_clock",
    ][::std::mem::offset_of!(ibv_values_ex, raw_clock) - 8usize];
};
impl Default for ibv_values_ex {
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
pub struct verbs_context {
    pub query_port: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u8,
            port_attr: *mut ibv_port_attr,
            port_attr_len: usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub advise_mr: ::std::option::Option<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            advice: ib_uverbs_advise_mr_advice,
            flags: u32,
            sg_list: *mut ibv_sge,
            num_sges: u32,
        ) -> ::std::os::raw::c_int,
    >,
    pub alloc_null_mr: ::std::option::Option<
        unsafe extern "C" fn(pd: *mut ibv_pd) -> *mut ibv_mr,
    >,
    pub read_counters: ::std::option::Option<
        unsafe extern "C" fn(
            counters: *mut ibv_counters,
            counters_value: *mut u64,
            ncounters: u32,
            flags: u32,
        ) -> ::std::os::raw::c_int,
    >,
    pub attach_counters_point_flow: ::std::option::Option<
        unsafe extern "C" fn(
            counters: *mut ibv_counters,
            attr: *mut ibv_counter_attach_attr,
            flow: *mut ibv_flow,
        ) -> ::std::os::raw::c_int,
    >,
    pub create_counters: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            init_attr: *mut ibv_counters_init_attr,
        ) -> *mut ibv_counters,
    >,
    pub destroy_counters: ::std::option::Option<
        unsafe extern "C" fn(counters: *mut ibv_counters) -> ::std::os::raw::c_int,
    >,
    pub reg_dm_mr: ::std::option::Option<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            dm: *mut ibv_dm,
            dm_offset: u64,
            length: usize,
            access: ::std::os::raw::c_uint,
        ) -> *mut ibv_mr,
    >,
    pub alloc_dm: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            attr: *mut ibv_alloc_dm_attr,
        ) -> *mut ibv_dm,
    >,
    pub free_dm: ::std::option::Option<
        unsafe extern "C" fn(dm: *mut ibv_dm) -> ::std::os::raw::c_int,
    >,
    pub modify_flow_action_esp: ::std::option::Option<
        unsafe extern "C" fn(
            action: *mut ibv_flow_action,
            attr: *mut ibv_flow_action_esp_attr,
        ) -> ::std::os::raw::c_int,
    >,
    pub destroy_flow_action: ::std::option::Option<
        unsafe extern "C" fn(action: *mut ibv_flow_action) -> ::std::os::raw::c_int,
    >,
    pub create_flow_action_esp: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            attr: *mut ibv_flow_action_esp_attr,
        ) -> *mut ibv_flow_action,
    >,
    pub modify_qp_rate_limit: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            attr: *mut ibv_qp_rate_limit_attr,
        ) -> ::std::os::raw::c_int,
    >,
    pub alloc_parent_domain: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            attr: *mut ibv_parent_domain_init_attr,
        ) -> *mut ibv_pd,
    >,
    pub dealloc_td: ::std::option::Option<
        unsafe extern "C" fn(td: *mut ibv_td) -> ::std::os::raw::c_int,
    >,
    pub alloc_td: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            init_attr: *mut ibv_td_init_attr,
        ) -> *mut ibv_td,
    >,
    pub modify_cq: ::std::option::Option<
        unsafe extern "C" fn(
            cq: *mut ibv_cq,
            attr: *mut ibv_modify_cq_attr,
        ) -> ::std::os::raw::c_int,
    >,
    pub post_srq_ops: ::std::option::Option<
        unsafe extern "C" fn(
            srq: *mut ibv_srq,
            op: *mut ibv_ops_wr,
            bad_op: *mut *mut ibv_ops_wr,
        ) -> ::std::os::raw::c_int,
    >,
    pub destroy_rwq_ind_table: ::std::option::Option<
        unsafe extern "C" fn(
            rwq_ind_table: *mut ibv_rwq_ind_table,
        ) -> ::std::os::raw::c_int,
    >,
    pub create_rwq_ind_table: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            init_attr: *mut ibv_rwq_ind_table_init_attr,
        ) -> *mut ibv_rwq_ind_table,
    >,
    pub destroy_wq: ::std::option::Option<
        unsafe extern "C" fn(wq: *mut ibv_wq) -> ::std::os::raw::c_int,
    >,
    pub modify_wq: ::std::option::Option<
        unsafe extern "C" fn(
            wq: *mut ibv_wq,
            wq_attr: *mut ibv_wq_attr,
        ) -> ::std::os::raw::c_int,
    >,
    pub create_wq: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            wq_init_attr: *mut ibv_wq_init_attr,
        ) -> *mut ibv_wq,
    >,
    pub query_rt_values: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            values: *mut ibv_values_ex,
        ) -> ::std::os::raw::c_int,
    >,
    pub create_cq_ex: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            init_attr: *mut ibv_cq_init_attr_ex,
        ) -> *mut ibv_cq_ex,
    >,
    pub priv_: *mut verbs_ex_private,
    pub query_device_ex: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            input: *const ibv_query_device_ex_input,
            attr: *mut ibv_device_attr_ex,
            attr_size: usize,
        ) -> ::std::os::raw::c_int,
    >,
    pub ibv_destroy_flow: ::std::option::Option<
        unsafe extern "C" fn(flow: *mut ibv_flow) -> ::std::os::raw::c_int,
    >,
    pub ABI_placeholder2: ::std::option::Option<unsafe extern "C" fn()>,
    pub ibv_create_flow: ::std::option::Option<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            flow_attr: *mut ibv_flow_attr,
        ) -> *mut ibv_flow,
    >,
    pub ABI_placeholder1: ::std::option::Option<unsafe extern "C" fn()>,
    pub open_qp: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            attr: *mut ibv_qp_open_attr,
        ) -> *mut ibv_qp,
    >,
    pub create_qp_ex: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            qp_init_attr_ex: *mut ibv_qp_init_attr_ex,
        ) -> *mut ibv_qp,
    >,
    pub get_srq_num: ::std::option::Option<
        unsafe extern "C" fn(
            srq: *mut ibv_srq,
            srq_num: *mut u32,
        ) -> ::std::os::raw::c_int,
    >,
    pub create_srq_ex: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            srq_init_attr_ex: *mut ibv_srq_init_attr_ex,
        ) -> *mut ibv_srq,
    >,
    pub open_xrcd: ::std::option::Option<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            xrcd_init_attr: *mut ibv_xrcd_init_attr,
        ) -> *mut ibv_xrcd,
    >,
    pub close_xrcd: ::std::option::Option<
        unsafe extern "C" fn(xrcd: *mut ibv_xrcd) -> ::std::os::raw::c_int,
    >,
    pub _ABI_placeholder3: u64,
    pub sz: usize,
    pub context: ibv_context,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of verbs_context"][::std::mem::size_of::<verbs_context>() - 648usize];
    ["Alignment of verbs_context"][::std::mem::align_of::<verbs_context>() - 8usize];
    [
        "Offset of field: verbs_context::query_port",
    ][::std::mem::offset_of!(verbs_context, query_port) - 0usize];
    [
        "Offset of field: verbs_context::advise_mr",
    ][::std::mem::offset_of!(verbs_context, advise_mr) - 8usize];
    [
        "Offset of field: verbs_context::alloc_null_mr",
    ][::std::mem::offset_of!(verbs_context, alloc_null_mr) - 16usize];
    [
        "Offset of field: verbs_context::read_counters",
    ][::std::mem::offset_of!(verbs_context, read_counters) - 24usize];
    [
        "Offset of field: verbs_context::attach_counters_point_flow",
    ][::std::mem::offset_of!(verbs_context, attach_counters_point_flow) - 32usize];
    [
        "Offset of field: verbs_context::create_counters",
    ][::std::mem::offset_of!(verbs_context, create_counters) - 40usize];
    [
        "Offset of field: verbs_context::destroy_counters",
    ][::std::mem::offset_of!(verbs_context, destroy_counters) - 48usize];
    [
        "Offset of field: verbs_context::reg_dm_mr",
    ][::std::mem::offset_of!(verbs_context, reg_dm_mr) - 56usize];
    [
        "Offset of field: verbs_context::alloc_dm",
    ][::std::mem::offset_of!(verbs_context, alloc_dm) - 64usize];
    [
        "Offset of field: verbs_context::free_dm",
    ][::std::mem::offset_of!(verbs_context, free_dm) - 72usize];
    [
        "Offset of field: verbs_context::modify_flow_action_esp",
    ][::std::mem::offset_of!(verbs_context, modify_flow_action_esp) - 80usize];
    [
        "Offset of field: verbs_context::destroy_flow_action",
    ][::std::mem::offset_of!(verbs_context, destroy_flow_action) - 88usize];
    [
        "Offset of field: verbs_context::create_flow_action_esp",
    ][::std::mem::offset_of!(verbs_context, create_flow_action_esp) - 96usize];
    [
        "Offset of field: verbs_context::modify_qp_rate_limit",
    ][::std::mem::offset_of!(verbs_context, modify_qp_rate_limit) - 104usize];
    [
        "Offset of field: verbs_context::alloc_parent_domain",
    ][::std::mem::offset_of!(verbs_context, alloc_parent_domain) - 112usize];
    [
        "Offset of field: verbs_context::dealloc_td",
    ][::std::mem::offset_of!(verbs_context, dealloc_td) - 120usize];
    [
        "Offset of field: verbs_context::alloc_td",
    ][::std::mem::offset_of!(verbs_context, alloc_td) - 128usize];
    [
        "Offset of field: verbs_context::modify_cq",
    ][::std::mem::offset_of!(verbs_context, modify_cq) - 136usize];
    [
        "Offset of field: verbs_context::post_srq_ops",
    ][::std::mem::offset_of!(verbs_context, post_srq_ops) - 144usize];
    [
        "Offset of field: verbs_context::destroy_rwq_ind_table",
    ][::std::mem::offset_of!(verbs_context, destroy_rwq_ind_table) - 152usize];
    [
        "Offset of field: verbs_context::create_rwq_ind_table",
    ][::std::mem::offset_of!(verbs_context, create_rwq_ind_table) - 160usize];
    [
        "Offset of field: verbs_context::destroy_wq",
    ][::std::mem::offset_of!(verbs_context, destroy_wq) - 168usize];
    [
        "Offset of field: verbs_context::modify_wq",
    ][::std::mem::offset_of!(verbs_context, modify_wq) - 176usize];
    [
        "Offset of field: verbs_context::create_wq",
    ][::std::mem::offset_of!(verbs_context, create_wq) - 184usize];
    [
        "Offset of field: verbs_context::query_rt_values",
    ][::std::mem::offset_of!(verbs_context, query_rt_values) - 192usize];
    [
        "Offset of field: verbs_context::create_cq_ex",
    ][::std::mem::offset_of!(verbs_context, create_cq_ex) - 200usize];
    [
        "Offset of field: verbs_context::priv_",
    ][::std::mem::offset_of!(verbs_context, priv_) - 208usize];
    [
        "Offset of field: verbs_context::query_device_ex",
    ][::std::mem::offset_of!(verbs_context, query_device_ex) - 216usize];
    [
        "Offset of field: verbs_context::ibv_destroy_flow",
    ][::std::mem::offset_of!(verbs_context, ibv_destroy_flow) - 224usize];
    [
        "Offset of field: verbs_context::ABI_placeholder2",
    ][::std::mem::offset_of!(verbs_context, ABI_placeholder2) - 232usize];
    [
        "Offset of field: verbs_context::ibv_create_flow",
    ][::std::mem::offset_of!(verbs_context, ibv_create_flow) - 240usize];
    [
        "Offset of field: verbs_context::ABI_placeholder1",
    ][::std::mem::offset_of!(verbs_context, ABI_placeholder1) - 248usize];
    [
        "Offset of field: verbs_context::open_qp",
    ][::std::mem::offset_of!(verbs_context, open_qp) - 256usize];
    [
        "Offset of field: verbs_context::create_qp_ex",
    ][::std::mem::offset_of!(verbs_context, create_qp_ex) - 264usize];
    [
        "Offset of field: verbs_context::get_srq_num",
    ][::std::mem::offset_of!(verbs_context, get_srq_num) - 272usize];
    [
        "Offset of field: verbs_context::create_srq_ex",
    ][::std::mem::offset_of!(verbs_context, create_srq_ex) - 280usize];
    [
        "Offset of field: verbs_context::open_xrcd",
    ][::std::mem::offset_of!(verbs_context, open_xrcd) - 288usize];
    [
        "Offset of field: verbs_context::close_xrcd",
    ][::std::mem::offset_of!(verbs_context, close_xrcd) - 296usize];
    [
        "Offset of field: verbs_context::_ABI_placeholder3",
    ][::std::mem::offset_of!(verbs_context, _ABI_placeholder3) - 304usize];
    [
        "Offset of field: verbs_context::sz",
    ][::std::mem::offset_of!(verbs_context, sz) - 312usize];
    [
        "Offset of field: verbs_context::context",
    ][::std::mem::offset_of!(verbs_context, context) - 320usize];
};
impl Default for verbs_context {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_REREG_MR_ERR_INPUT: ibv_rereg_mr_err_code = -1;
pub const IBV_REREG_MR_ERR_DONT_FORK_NEW: ibv_rereg_mr_err_code = -2;
pub const IBV_REREG_MR_ERR_DO_FORK_OLD: ibv_rereg_mr_err_code = -3;
pub const IBV_REREG_MR_ERR_CMD: ibv_rereg_mr_err_code = -4;
pub const IBV_REREG_MR_ERR_CMD_AND_DO_FORK_NEW: ibv_rereg_mr_err_code = -5;
pub type ibv_rereg_mr_err_code = ::std::os::raw::c_int;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct verbs_ex_private {
    pub _address: u8,
}
pub struct Verbs {
    __library: ::libloading::Library,
    pub ibv_wc_status_str: Result<
        unsafe extern "C" fn(status: ibv_wc_status) -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
    pub ibv_rate_to_mult: Result<
        unsafe extern "C" fn(rate: ibv_rate) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_rate_to_mbps: Result<
        unsafe extern "C" fn(rate: ibv_rate) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_qp_to_qp_ex: Result<
        unsafe extern "C" fn(qp: *mut ibv_qp) -> *mut ibv_qp_ex,
        ::libloading::Error,
    >,
    pub ibv_get_device_list: Result<
        unsafe extern "C" fn(
            num_devices: *mut ::std::os::raw::c_int,
        ) -> *mut *mut ibv_device,
        ::libloading::Error,
    >,
    pub ibv_free_device_list: Result<
        unsafe extern "C" fn(list: *mut *mut ibv_device),
        ::libloading::Error,
    >,
    pub ibv_get_device_name: Result<
        unsafe extern "C" fn(device: *mut ibv_device) -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
    pub ibv_get_device_index: Result<
        unsafe extern "C" fn(device: *mut ibv_device) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_get_device_guid: Result<
        unsafe extern "C" fn(device: *mut ibv_device) -> __be64,
        ::libloading::Error,
    >,
    pub ibv_open_device: Result<
        unsafe extern "C" fn(device: *mut ibv_device) -> *mut ibv_context,
        ::libloading::Error,
    >,
    pub ibv_close_device: Result<
        unsafe extern "C" fn(context: *mut ibv_context) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_import_device: Result<
        unsafe extern "C" fn(cmd_fd: ::std::os::raw::c_int) -> *mut ibv_context,
        ::libloading::Error,
    >,
    pub ibv_import_pd: Result<
        unsafe extern "C" fn(context: *mut ibv_context, pd_handle: u32) -> *mut ibv_pd,
        ::libloading::Error,
    >,
    pub ibv_unimport_pd: Result<
        unsafe extern "C" fn(pd: *mut ibv_pd),
        ::libloading::Error,
    >,
    pub ibv_import_mr: Result<
        unsafe extern "C" fn(pd: *mut ibv_pd, mr_handle: u32) -> *mut ibv_mr,
        ::libloading::Error,
    >,
    pub ibv_unimport_mr: Result<
        unsafe extern "C" fn(mr: *mut ibv_mr),
        ::libloading::Error,
    >,
    pub ibv_import_dm: Result<
        unsafe extern "C" fn(context: *mut ibv_context, dm_handle: u32) -> *mut ibv_dm,
        ::libloading::Error,
    >,
    pub ibv_unimport_dm: Result<
        unsafe extern "C" fn(dm: *mut ibv_dm),
        ::libloading::Error,
    >,
    pub ibv_get_async_event: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            event: *mut ibv_async_event,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_ack_async_event: Result<
        unsafe extern "C" fn(event: *mut ibv_async_event),
        ::libloading::Error,
    >,
    pub ibv_query_device: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            device_attr: *mut ibv_device_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_query_port: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u8,
            port_attr: *mut _compat_ibv_port_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_query_gid: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u8,
            index: ::std::os::raw::c_int,
            gid: *mut ibv_gid,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub _ibv_query_gid_ex: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u32,
            gid_index: u32,
            entry: *mut ibv_gid_entry,
            flags: u32,
            entry_size: usize,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub _ibv_query_gid_table: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            entries: *mut ibv_gid_entry,
            max_entries: usize,
            flags: u32,
            entry_size: usize,
        ) -> isize,
        ::libloading::Error,
    >,
    pub ibv_query_pkey: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u8,
            index: ::std::os::raw::c_int,
            pkey: *mut __be16,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_get_pkey_index: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u8,
            pkey: __be16,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_alloc_pd: Result<
        unsafe extern "C" fn(context: *mut ibv_context) -> *mut ibv_pd,
        ::libloading::Error,
    >,
    pub ibv_dealloc_pd: Result<
        unsafe extern "C" fn(pd: *mut ibv_pd) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_reg_mr_iova2: Result<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            addr: *mut ::std::os::raw::c_void,
            length: usize,
            iova: u64,
            access: ::std::os::raw::c_uint,
        ) -> *mut ibv_mr,
        ::libloading::Error,
    >,
    pub ibv_reg_mr: Result<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            addr: *mut ::std::os::raw::c_void,
            length: usize,
            access: ::std::os::raw::c_int,
        ) -> *mut ibv_mr,
        ::libloading::Error,
    >,
    pub ibv_reg_mr_iova: Result<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            addr: *mut ::std::os::raw::c_void,
            length: usize,
            iova: u64,
            access: ::std::os::raw::c_int,
        ) -> *mut ibv_mr,
        ::libloading::Error,
    >,
    pub ibv_reg_dmabuf_mr: Result<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            offset: u64,
            length: usize,
            iova: u64,
            fd: ::std::os::raw::c_int,
            access: ::std::os::raw::c_int,
        ) -> *mut ibv_mr,
        ::libloading::Error,
    >,
    pub ibv_rereg_mr: Result<
        unsafe extern "C" fn(
            mr: *mut ibv_mr,
            flags: ::std::os::raw::c_int,
            pd: *mut ibv_pd,
            addr: *mut ::std::os::raw::c_void,
            length: usize,
            access: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_dereg_mr: Result<
        unsafe extern "C" fn(mr: *mut ibv_mr) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_create_comp_channel: Result<
        unsafe extern "C" fn(context: *mut ibv_context) -> *mut ibv_comp_channel,
        ::libloading::Error,
    >,
    pub ibv_destroy_comp_channel: Result<
        unsafe extern "C" fn(channel: *mut ibv_comp_channel) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_create_cq: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            cqe: ::std::os::raw::c_int,
            cq_context: *mut ::std::os::raw::c_void,
            channel: *mut ibv_comp_channel,
            comp_vector: ::std::os::raw::c_int,
        ) -> *mut ibv_cq,
        ::libloading::Error,
    >,
    pub ibv_resize_cq: Result<
        unsafe extern "C" fn(
            cq: *mut ibv_cq,
            cqe: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_destroy_cq: Result<
        unsafe extern "C" fn(cq: *mut ibv_cq) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_get_cq_event: Result<
        unsafe extern "C" fn(
            channel: *mut ibv_comp_channel,
            cq: *mut *mut ibv_cq,
            cq_context: *mut *mut ::std::os::raw::c_void,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_ack_cq_events: Result<
        unsafe extern "C" fn(cq: *mut ibv_cq, nevents: ::std::os::raw::c_uint),
        ::libloading::Error,
    >,
    pub ibv_create_srq: Result<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            srq_init_attr: *mut ibv_srq_init_attr,
        ) -> *mut ibv_srq,
        ::libloading::Error,
    >,
    pub ibv_modify_srq: Result<
        unsafe extern "C" fn(
            srq: *mut ibv_srq,
            srq_attr: *mut ibv_srq_attr,
            srq_attr_mask: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_query_srq: Result<
        unsafe extern "C" fn(
            srq: *mut ibv_srq,
            srq_attr: *mut ibv_srq_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_destroy_srq: Result<
        unsafe extern "C" fn(srq: *mut ibv_srq) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_create_qp: Result<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            qp_init_attr: *mut ibv_qp_init_attr,
        ) -> *mut ibv_qp,
        ::libloading::Error,
    >,
    pub ibv_modify_qp: Result<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            attr: *mut ibv_qp_attr,
            attr_mask: ::std::os::raw::c_int,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_query_qp_data_in_order: Result<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            op: ibv_wr_opcode,
            flags: u32,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_query_qp: Result<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            attr: *mut ibv_qp_attr,
            attr_mask: ::std::os::raw::c_int,
            init_attr: *mut ibv_qp_init_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_destroy_qp: Result<
        unsafe extern "C" fn(qp: *mut ibv_qp) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_create_ah: Result<
        unsafe extern "C" fn(pd: *mut ibv_pd, attr: *mut ibv_ah_attr) -> *mut ibv_ah,
        ::libloading::Error,
    >,
    pub ibv_init_ah_from_wc: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u8,
            wc: *mut ibv_wc,
            grh: *mut ibv_grh,
            ah_attr: *mut ibv_ah_attr,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_create_ah_from_wc: Result<
        unsafe extern "C" fn(
            pd: *mut ibv_pd,
            wc: *mut ibv_wc,
            grh: *mut ibv_grh,
            port_num: u8,
        ) -> *mut ibv_ah,
        ::libloading::Error,
    >,
    pub ibv_destroy_ah: Result<
        unsafe extern "C" fn(ah: *mut ibv_ah) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_fork_init: Result<
        unsafe extern "C" fn() -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub ibv_is_fork_initialized: Result<
        unsafe extern "C" fn() -> ibv_fork_status,
        ::libloading::Error,
    >,
    pub ibv_node_type_str: Result<
        unsafe extern "C" fn(node_type: ibv_node_type) -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
    pub ibv_port_state_str: Result<
        unsafe extern "C" fn(
            port_state: ibv_port_state,
        ) -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
    pub ibv_event_type_str: Result<
        unsafe extern "C" fn(event: ibv_event_type) -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
}
impl Verbs {
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
        let ibv_wc_status_str = __library.get(b"ibv_wc_status_str\0").map(|sym| *sym);
        let ibv_rate_to_mult = __library.get(b"ibv_rate_to_mult\0").map(|sym| *sym);
        let ibv_rate_to_mbps = __library.get(b"ibv_rate_to_mbps\0").map(|sym| *sym);
        let ibv_qp_to_qp_ex = __library.get(b"ibv_qp_to_qp_ex\0").map(|sym| *sym);
        let ibv_get_device_list = __library
            .get(b"ibv_get_device_list\0")
            .map(|sym| *sym);
        let ibv_free_device_list = __library
            .get(b"ibv_free_device_list\0")
            .map(|sym| *sym);
        let ibv_get_device_name = __library
            .get(b"ibv_get_device_name\0")
            .map(|sym| *sym);
        let ibv_get_device_index = __library
            .get(b"ibv_get_device_index\0")
            .map(|sym| *sym);
        let ibv_get_device_guid = __library
            .get(b"ibv_get_device_guid\0")
            .map(|sym| *sym);
        let ibv_open_device = __library.get(b"ibv_open_device\0").map(|sym| *sym);
        let ibv_close_device = __library.get(b"ibv_close_device\0").map(|sym| *sym);
        let ibv_import_device = __library.get(b"ibv_import_device\0").map(|sym| *sym);
        let ibv_import_pd = __library.get(b"ibv_import_pd\0").map(|sym| *sym);
        let ibv_unimport_pd = __library.get(b"ibv_unimport_pd\0").map(|sym| *sym);
        let ibv_import_mr = __library.get(b"ibv_import_mr\0").map(|sym| *sym);
        let ibv_unimport_mr = __library.get(b"ibv_unimport_mr\0").map(|sym| *sym);
        let ibv_import_dm = __library.get(b"ibv_import_dm\0").map(|sym| *sym);
        let ibv_unimport_dm = __library.get(b"ibv_unimport_dm\0").map(|sym| *sym);
        let ibv_get_async_event = __library
            .get(b"ibv_get_async_event\0")
            .map(|sym| *sym);
        let ibv_ack_async_event = __library
            .get(b"ibv_ack_async_event\0")
            .map(|sym| *sym);
        let ibv_query_device = __library.get(b"ibv_query_device\0").map(|sym| *sym);
        let ibv_query_port = __library.get(b"ibv_query_port\0").map(|sym| *sym);
        let ibv_query_gid = __library.get(b"ibv_query_gid\0").map(|sym| *sym);
        let _ibv_query_gid_ex = __library.get(b"_ibv_query_gid_ex\0").map(|sym| *sym);
        let _ibv_query_gid_table = __library
            .get(b"_ibv_query_gid_table\0")
            .map(|sym| *sym);
        let ibv_query_pkey = __library.get(b"ibv_query_pkey\0").map(|sym| *sym);
        let ibv_get_pkey_index = __library.get(b"ibv_get_pkey_index\0").map(|sym| *sym);
        let ibv_alloc_pd = __library.get(b"ibv_alloc_pd\0").map(|sym| *sym);
        let ibv_dealloc_pd = __library.get(b"ibv_dealloc_pd\0").map(|sym| *sym);
        let ibv_reg_mr_iova2 = __library.get(b"ibv_reg_mr_iova2\0").map(|sym| *sym);
        let ibv_reg_mr = __library.get(b"ibv_reg_mr\0").map(|sym| *sym);
        let ibv_reg_mr_iova = __library.get(b"ibv_reg_mr_iova\0").map(|sym| *sym);
        let ibv_reg_dmabuf_mr = __library.get(b"ibv_reg_dmabuf_mr\0").map(|sym| *sym);
        let ibv_rereg_mr = __library.get(b"ibv_rereg_mr\0").map(|sym| *sym);
        let ibv_dereg_mr = __library.get(b"ibv_dereg_mr\0").map(|sym| *sym);
        let ibv_create_comp_channel = __library
            .get(b"ibv_create_comp_channel\0")
            .map(|sym| *sym);
        let ibv_destroy_comp_channel = __library
            .get(b"ibv_destroy_comp_channel\0")
            .map(|sym| *sym);
        let ibv_create_cq = __library.get(b"ibv_create_cq\0").map(|sym| *sym);
        let ibv_resize_cq = __library.get(b"ibv_resize_cq\0").map(|sym| *sym);
        let ibv_destroy_cq = __library.get(b"ibv_destroy_cq\0").map(|sym| *sym);
        let ibv_get_cq_event = __library.get(b"ibv_get_cq_event\0").map(|sym| *sym);
        let ibv_ack_cq_events = __library.get(b"ibv_ack_cq_events\0").map(|sym| *sym);
        let ibv_create_srq = __library.get(b"ibv_create_srq\0").map(|sym| *sym);
        let ibv_modify_srq = __library.get(b"ibv_modify_srq\0").map(|sym| *sym);
        let ibv_query_srq = __library.get(b"ibv_query_srq\0").map(|sym| *sym);
        let ibv_destroy_srq = __library.get(b"ibv_destroy_srq\0").map(|sym| *sym);
        let ibv_create_qp = __library.get(b"ibv_create_qp\0").map(|sym| *sym);
        let ibv_modify_qp = __library.get(b"ibv_modify_qp\0").map(|sym| *sym);
        let ibv_query_qp_data_in_order = __library
            .get(b"ibv_query_qp_data_in_order\0")
            .map(|sym| *sym);
        let ibv_query_qp = __library.get(b"ibv_query_qp\0").map(|sym| *sym);
        let ibv_destroy_qp = __library.get(b"ibv_destroy_qp\0").map(|sym| *sym);
        let ibv_create_ah = __library.get(b"ibv_create_ah\0").map(|sym| *sym);
        let ibv_init_ah_from_wc = __library
            .get(b"ibv_init_ah_from_wc\0")
            .map(|sym| *sym);
        let ibv_create_ah_from_wc = __library
            .get(b"ibv_create_ah_from_wc\0")
            .map(|sym| *sym);
        let ibv_destroy_ah = __library.get(b"ibv_destroy_ah\0").map(|sym| *sym);
        let ibv_fork_init = __library.get(b"ibv_fork_init\0").map(|sym| *sym);
        let ibv_is_fork_initialized = __library
            .get(b"ibv_is_fork_initialized\0")
            .map(|sym| *sym);
        let ibv_node_type_str = __library.get(b"ibv_node_type_str\0").map(|sym| *sym);
        let ibv_port_state_str = __library.get(b"ibv_port_state_str\0").map(|sym| *sym);
        let ibv_event_type_str = __library.get(b"ibv_event_type_str\0").map(|sym| *sym);
        Ok(Verbs {
            __library,
            ibv_wc_status_str,
            ibv_rate_to_mult,
            ibv_rate_to_mbps,
            ibv_qp_to_qp_ex,
            ibv_get_device_list,
            ibv_free_device_list,
            ibv_get_device_name,
            ibv_get_device_index,
            ibv_get_device_guid,
            ibv_open_device,
            ibv_close_device,
            ibv_import_device,
            ibv_import_pd,
            ibv_unimport_pd,
            ibv_import_mr,
            ibv_unimport_mr,
            ibv_import_dm,
            ibv_unimport_dm,
            ibv_get_async_event,
            ibv_ack_async_event,
            ibv_query_device,
            ibv_query_port,
            ibv_query_gid,
            _ibv_query_gid_ex,
            _ibv_query_gid_table,
            ibv_query_pkey,
            ibv_get_pkey_index,
            ibv_alloc_pd,
            ibv_dealloc_pd,
            ibv_reg_mr_iova2,
            ibv_reg_mr,
            ibv_reg_mr_iova,
            ibv_reg_dmabuf_mr,
            ibv_rereg_mr,
            ibv_dereg_mr,
            ibv_create_comp_channel,
            ibv_destroy_comp_channel,
            ibv_create_cq,
            ibv_resize_cq,
            ibv_destroy_cq,
            ibv_get_cq_event,
            ibv_ack_cq_events,
            ibv_create_srq,
            ibv_modify_srq,
            ibv_query_srq,
            ibv_destroy_srq,
            ibv_create_qp,
            ibv_modify_qp,
            ibv_query_qp_data_in_order,
            ibv_query_qp,
            ibv_destroy_qp,
            ibv_create_ah,
            ibv_init_ah_from_wc,
            ibv_create_ah_from_wc,
            ibv_destroy_ah,
            ibv_fork_init,
            ibv_is_fork_initialized,
            ibv_node_type_str,
            ibv_port_state_str,
            ibv_event_type_str,
        })
    }
    pub unsafe fn ibv_wc_status_str(
        &self,
        status: ibv_wc_status,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_wc_status_str, "ibv_wc_status_str")?;
        Ok(unsafe { function(status) })
    }
    pub unsafe fn ibv_rate_to_mult(
        &self,
        rate: ibv_rate,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_rate_to_mult, "ibv_rate_to_mult")?;
        Ok(unsafe { function(rate) })
    }
    pub unsafe fn ibv_rate_to_mbps(
        &self,
        rate: ibv_rate,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_rate_to_mbps, "ibv_rate_to_mbps")?;
        Ok(unsafe { function(rate) })
    }
    pub unsafe fn ibv_qp_to_qp_ex(
        &self,
        qp: *mut ibv_qp,
    ) -> Result<*mut ibv_qp_ex, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_qp_to_qp_ex, "ibv_qp_to_qp_ex")?;
        Ok(unsafe { function(qp) })
    }
    pub unsafe fn ibv_get_device_list(
        &self,
        num_devices: *mut ::std::os::raw::c_int,
    ) -> Result<*mut *mut ibv_device, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_get_device_list, "ibv_get_device_list")?;
        Ok(unsafe { function(num_devices) })
    }
    pub unsafe fn ibv_free_device_list(
        &self,
        list: *mut *mut ibv_device,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_free_device_list, "ibv_free_device_list")?;
        Ok(unsafe { function(list) })
    }
    pub unsafe fn ibv_get_device_name(
        &self,
        device: *mut ibv_device,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_get_device_name, "ibv_get_device_name")?;
        Ok(unsafe { function(device) })
    }
    pub unsafe fn ibv_get_device_index(
        &self,
        device: *mut ibv_device,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_get_device_index, "ibv_get_device_index")?;
        Ok(unsafe { function(device) })
    }
    pub unsafe fn ibv_get_device_guid(
        &self,
        device: *mut ibv_device,
    ) -> Result<__be64, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_get_device_guid, "ibv_get_device_guid")?;
        Ok(unsafe { function(device) })
    }
    pub unsafe fn ibv_open_device(
        &self,
        device: *mut ibv_device,
    ) -> Result<*mut ibv_context, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_open_device, "ibv_open_device")?;
        Ok(unsafe { function(device) })
    }
    pub unsafe fn ibv_close_device(
        &self,
        context: *mut ibv_context,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_close_device, "ibv_close_device")?;
        Ok(unsafe { function(context) })
    }
    pub unsafe fn ibv_import_device(
        &self,
        cmd_fd: ::std::os::raw::c_int,
    ) -> Result<*mut ibv_context, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_import_device, "ibv_import_device")?;
        Ok(unsafe { function(cmd_fd) })
    }
    pub unsafe fn ibv_import_pd(
        &self,
        context: *mut ibv_context,
        pd_handle: u32,
    ) -> Result<*mut ibv_pd, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_import_pd, "ibv_import_pd")?;
        Ok(unsafe { function(context, pd_handle) })
    }
    pub unsafe fn ibv_unimport_pd(
        &self,
        pd: *mut ibv_pd,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_unimport_pd, "ibv_unimport_pd")?;
        Ok(unsafe { function(pd) })
    }
    pub unsafe fn ibv_import_mr(
        &self,
        pd: *mut ibv_pd,
        mr_handle: u32,
    ) -> Result<*mut ibv_mr, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_import_mr, "ibv_import_mr")?;
        Ok(unsafe { function(pd, mr_handle) })
    }
    pub unsafe fn ibv_unimport_mr(
        &self,
        mr: *mut ibv_mr,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_unimport_mr, "ibv_unimport_mr")?;
        Ok(unsafe { function(mr) })
    }
    pub unsafe fn ibv_import_dm(
        &self,
        context: *mut ibv_context,
        dm_handle: u32,
    ) -> Result<*mut ibv_dm, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_import_dm, "ibv_import_dm")?;
        Ok(unsafe { function(context, dm_handle) })
    }
    pub unsafe fn ibv_unimport_dm(
        &self,
        dm: *mut ibv_dm,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_unimport_dm, "ibv_unimport_dm")?;
        Ok(unsafe { function(dm) })
    }
    pub unsafe fn ibv_get_async_event(
        &self,
        context: *mut ibv_context,
        event: *mut ibv_async_event,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_get_async_event, "ibv_get_async_event")?;
        Ok(unsafe { function(context, event) })
    }
    pub unsafe fn ibv_ack_async_event(
        &self,
        event: *mut ibv_async_event,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_ack_async_event, "ibv_ack_async_event")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn ibv_query_device(
        &self,
        context: *mut ibv_context,
        device_attr: *mut ibv_device_attr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_query_device, "ibv_query_device")?;
        Ok(unsafe { function(context, device_attr) })
    }
    pub unsafe fn ibv_query_port(
        &self,
        context: *mut ibv_context,
        port_num: u8,
        port_attr: *mut _compat_ibv_port_attr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_query_port, "ibv_query_port")?;
        Ok(unsafe { function(context, port_num, port_attr) })
    }
    pub unsafe fn ibv_query_gid(
        &self,
        context: *mut ibv_context,
        port_num: u8,
        index: ::std::os::raw::c_int,
        gid: *mut ibv_gid,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_query_gid, "ibv_query_gid")?;
        Ok(unsafe { function(context, port_num, index, gid) })
    }
    pub unsafe fn _ibv_query_gid_ex(
        &self,
        context: *mut ibv_context,
        port_num: u32,
        gid_index: u32,
        entry: *mut ibv_gid_entry,
        flags: u32,
        entry_size: usize,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self._ibv_query_gid_ex, "_ibv_query_gid_ex")?;
        Ok(unsafe { function(context, port_num, gid_index, entry, flags, entry_size) })
    }
    pub unsafe fn _ibv_query_gid_table(
        &self,
        context: *mut ibv_context,
        entries: *mut ibv_gid_entry,
        max_entries: usize,
        flags: u32,
        entry_size: usize,
    ) -> Result<isize, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self._ibv_query_gid_table, "_ibv_query_gid_table")?;
        Ok(unsafe { function(context, entries, max_entries, flags, entry_size) })
    }
    pub unsafe fn ibv_query_pkey(
        &self,
        context: *mut ibv_context,
        port_num: u8,
        index: ::std::os::raw::c_int,
        pkey: *mut __be16,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_query_pkey, "ibv_query_pkey")?;
        Ok(unsafe { function(context, port_num, index, pkey) })
    }
    pub unsafe fn ibv_get_pkey_index(
        &self,
        context: *mut ibv_context,
        port_num: u8,
        pkey: __be16,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_get_pkey_index, "ibv_get_pkey_index")?;
        Ok(unsafe { function(context, port_num, pkey) })
    }
    pub unsafe fn ibv_alloc_pd(
        &self,
        context: *mut ibv_context,
    ) -> Result<*mut ibv_pd, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_alloc_pd, "ibv_alloc_pd")?;
        Ok(unsafe { function(context) })
    }
    pub unsafe fn ibv_dealloc_pd(
        &self,
        pd: *mut ibv_pd,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_dealloc_pd, "ibv_dealloc_pd")?;
        Ok(unsafe { function(pd) })
    }
    pub unsafe fn ibv_reg_mr_iova2(
        &self,
        pd: *mut ibv_pd,
        addr: *mut ::std::os::raw::c_void,
        length: usize,
        iova: u64,
        access: ::std::os::raw::c_uint,
    ) -> Result<*mut ibv_mr, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_reg_mr_iova2, "ibv_reg_mr_iova2")?;
        Ok(unsafe { function(pd, addr, length, iova, access) })
    }
    pub unsafe fn ibv_reg_mr(
        &self,
        pd: *mut ibv_pd,
        addr: *mut ::std::os::raw::c_void,
        length: usize,
        access: ::std::os::raw::c_int,
    ) -> Result<*mut ibv_mr, crate::LoadError> {
        let function = crate::loader::symbol::<Self, _>(&self.ibv_reg_mr, "ibv_reg_mr")?;
        Ok(unsafe { function(pd, addr, length, access) })
    }
    pub unsafe fn ibv_reg_mr_iova(
        &self,
        pd: *mut ibv_pd,
        addr: *mut ::std::os::raw::c_void,
        length: usize,
        iova: u64,
        access: ::std::os::raw::c_int,
    ) -> Result<*mut ibv_mr, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_reg_mr_iova, "ibv_reg_mr_iova")?;
        Ok(unsafe { function(pd, addr, length, iova, access) })
    }
    pub unsafe fn ibv_reg_dmabuf_mr(
        &self,
        pd: *mut ibv_pd,
        offset: u64,
        length: usize,
        iova: u64,
        fd: ::std::os::raw::c_int,
        access: ::std::os::raw::c_int,
    ) -> Result<*mut ibv_mr, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_reg_dmabuf_mr, "ibv_reg_dmabuf_mr")?;
        Ok(unsafe { function(pd, offset, length, iova, fd, access) })
    }
    pub unsafe fn ibv_rereg_mr(
        &self,
        mr: *mut ibv_mr,
        flags: ::std::os::raw::c_int,
        pd: *mut ibv_pd,
        addr: *mut ::std::os::raw::c_void,
        length: usize,
        access: ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_rereg_mr, "ibv_rereg_mr")?;
        Ok(unsafe { function(mr, flags, pd, addr, length, access) })
    }
    pub unsafe fn ibv_dereg_mr(
        &self,
        mr: *mut ibv_mr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_dereg_mr, "ibv_dereg_mr")?;
        Ok(unsafe { function(mr) })
    }
    pub unsafe fn ibv_create_comp_channel(
        &self,
        context: *mut ibv_context,
    ) -> Result<*mut ibv_comp_channel, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_create_comp_channel, "ibv_create_comp_channel")?;
        Ok(unsafe { function(context) })
    }
    pub unsafe fn ibv_destroy_comp_channel(
        &self,
        channel: *mut ibv_comp_channel,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_destroy_comp_channel, "ibv_destroy_comp_channel")?;
        Ok(unsafe { function(channel) })
    }
    pub unsafe fn ibv_create_cq(
        &self,
        context: *mut ibv_context,
        cqe: ::std::os::raw::c_int,
        cq_context: *mut ::std::os::raw::c_void,
        channel: *mut ibv_comp_channel,
        comp_vector: ::std::os::raw::c_int,
    ) -> Result<*mut ibv_cq, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_create_cq, "ibv_create_cq")?;
        Ok(unsafe { function(context, cqe, cq_context, channel, comp_vector) })
    }
    pub unsafe fn ibv_resize_cq(
        &self,
        cq: *mut ibv_cq,
        cqe: ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_resize_cq, "ibv_resize_cq")?;
        Ok(unsafe { function(cq, cqe) })
    }
    pub unsafe fn ibv_destroy_cq(
        &self,
        cq: *mut ibv_cq,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_destroy_cq, "ibv_destroy_cq")?;
        Ok(unsafe { function(cq) })
    }
    pub unsafe fn ibv_get_cq_event(
        &self,
        channel: *mut ibv_comp_channel,
        cq: *mut *mut ibv_cq,
        cq_context: *mut *mut ::std::os::raw::c_void,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_get_cq_event, "ibv_get_cq_event")?;
        Ok(unsafe { function(channel, cq, cq_context) })
    }
    pub unsafe fn ibv_ack_cq_events(
        &self,
        cq: *mut ibv_cq,
        nevents: ::std::os::raw::c_uint,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_ack_cq_events, "ibv_ack_cq_events")?;
        Ok(unsafe { function(cq, nevents) })
    }
    pub unsafe fn ibv_create_srq(
        &self,
        pd: *mut ibv_pd,
        srq_init_attr: *mut ibv_srq_init_attr,
    ) -> Result<*mut ibv_srq, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_create_srq, "ibv_create_srq")?;
        Ok(unsafe { function(pd, srq_init_attr) })
    }
    pub unsafe fn ibv_modify_srq(
        &self,
        srq: *mut ibv_srq,
        srq_attr: *mut ibv_srq_attr,
        srq_attr_mask: ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_modify_srq, "ibv_modify_srq")?;
        Ok(unsafe { function(srq, srq_attr, srq_attr_mask) })
    }
    pub unsafe fn ibv_query_srq(
        &self,
        srq: *mut ibv_srq,
        srq_attr: *mut ibv_srq_attr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_query_srq, "ibv_query_srq")?;
        Ok(unsafe { function(srq, srq_attr) })
    }
    pub unsafe fn ibv_destroy_srq(
        &self,
        srq: *mut ibv_srq,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_destroy_srq, "ibv_destroy_srq")?;
        Ok(unsafe { function(srq) })
    }
    pub unsafe fn ibv_create_qp(
        &self,
        pd: *mut ibv_pd,
        qp_init_attr: *mut ibv_qp_init_attr,
    ) -> Result<*mut ibv_qp, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_create_qp, "ibv_create_qp")?;
        Ok(unsafe { function(pd, qp_init_attr) })
    }
    pub unsafe fn ibv_modify_qp(
        &self,
        qp: *mut ibv_qp,
        attr: *mut ibv_qp_attr,
        attr_mask: ::std::os::raw::c_int,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_modify_qp, "ibv_modify_qp")?;
        Ok(unsafe { function(qp, attr, attr_mask) })
    }
    pub unsafe fn ibv_query_qp_data_in_order(
        &self,
        qp: *mut ibv_qp,
        op: ibv_wr_opcode,
        flags: u32,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_query_qp_data_in_order, "ibv_query_qp_data_in_order")?;
        Ok(unsafe { function(qp, op, flags) })
    }
    pub unsafe fn ibv_query_qp(
        &self,
        qp: *mut ibv_qp,
        attr: *mut ibv_qp_attr,
        attr_mask: ::std::os::raw::c_int,
        init_attr: *mut ibv_qp_init_attr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_query_qp, "ibv_query_qp")?;
        Ok(unsafe { function(qp, attr, attr_mask, init_attr) })
    }
    pub unsafe fn ibv_destroy_qp(
        &self,
        qp: *mut ibv_qp,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_destroy_qp, "ibv_destroy_qp")?;
        Ok(unsafe { function(qp) })
    }
    pub unsafe fn ibv_create_ah(
        &self,
        pd: *mut ibv_pd,
        attr: *mut ibv_ah_attr,
    ) -> Result<*mut ibv_ah, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_create_ah, "ibv_create_ah")?;
        Ok(unsafe { function(pd, attr) })
    }
    pub unsafe fn ibv_init_ah_from_wc(
        &self,
        context: *mut ibv_context,
        port_num: u8,
        wc: *mut ibv_wc,
        grh: *mut ibv_grh,
        ah_attr: *mut ibv_ah_attr,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_init_ah_from_wc, "ibv_init_ah_from_wc")?;
        Ok(unsafe { function(context, port_num, wc, grh, ah_attr) })
    }
    pub unsafe fn ibv_create_ah_from_wc(
        &self,
        pd: *mut ibv_pd,
        wc: *mut ibv_wc,
        grh: *mut ibv_grh,
        port_num: u8,
    ) -> Result<*mut ibv_ah, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_create_ah_from_wc, "ibv_create_ah_from_wc")?;
        Ok(unsafe { function(pd, wc, grh, port_num) })
    }
    pub unsafe fn ibv_destroy_ah(
        &self,
        ah: *mut ibv_ah,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_destroy_ah, "ibv_destroy_ah")?;
        Ok(unsafe { function(ah) })
    }
    pub unsafe fn ibv_fork_init(
        &self,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_fork_init, "ibv_fork_init")?;
        Ok(unsafe { function() })
    }
    pub unsafe fn ibv_is_fork_initialized(
        &self,
    ) -> Result<ibv_fork_status, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_is_fork_initialized, "ibv_is_fork_initialized")?;
        Ok(unsafe { function() })
    }
    pub unsafe fn ibv_node_type_str(
        &self,
        node_type: ibv_node_type,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_node_type_str, "ibv_node_type_str")?;
        Ok(unsafe { function(node_type) })
    }
    pub unsafe fn ibv_port_state_str(
        &self,
        port_state: ibv_port_state,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_port_state_str, "ibv_port_state_str")?;
        Ok(unsafe { function(port_state) })
    }
    pub unsafe fn ibv_event_type_str(
        &self,
        event: ibv_event_type,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.ibv_event_type_str, "ibv_event_type_str")?;
        Ok(unsafe { function(event) })
    }
    pub fn missing(&self) -> Vec<&'static str> {
        let symbols = [
            ("ibv_wc_status_str", self.ibv_wc_status_str.is_ok()),
            ("ibv_rate_to_mult", self.ibv_rate_to_mult.is_ok()),
            ("ibv_rate_to_mbps", self.ibv_rate_to_mbps.is_ok()),
            ("ibv_qp_to_qp_ex", self.ibv_qp_to_qp_ex.is_ok()),
            ("ibv_get_device_list", self.ibv_get_device_list.is_ok()),
            ("ibv_free_device_list", self.ibv_free_device_list.is_ok()),
            ("ibv_get_device_name", self.ibv_get_device_name.is_ok()),
            ("ibv_get_device_index", self.ibv_get_device_index.is_ok()),
            ("ibv_get_device_guid", self.ibv_get_device_guid.is_ok()),
            ("ibv_open_device", self.ibv_open_device.is_ok()),
            ("ibv_close_device", self.ibv_close_device.is_ok()),
            ("ibv_import_device", self.ibv_import_device.is_ok()),
            ("ibv_import_pd", self.ibv_import_pd.is_ok()),
            ("ibv_unimport_pd", self.ibv_unimport_pd.is_ok()),
            ("ibv_import_mr", self.ibv_import_mr.is_ok()),
            ("ibv_unimport_mr", self.ibv_unimport_mr.is_ok()),
            ("ibv_import_dm", self.ibv_import_dm.is_ok()),
            ("ibv_unimport_dm", self.ibv_unimport_dm.is_ok()),
            ("ibv_get_async_event", self.ibv_get_async_event.is_ok()),
            ("ibv_ack_async_event", self.ibv_ack_async_event.is_ok()),
            ("ibv_query_device", self.ibv_query_device.is_ok()),
            ("ibv_query_port", self.ibv_query_port.is_ok()),
            ("ibv_query_gid", self.ibv_query_gid.is_ok()),
            ("_ibv_query_gid_ex", self._ibv_query_gid_ex.is_ok()),
            ("_ibv_query_gid_table", self._ibv_query_gid_table.is_ok()),
            ("ibv_query_pkey", self.ibv_query_pkey.is_ok()),
            ("ibv_get_pkey_index", self.ibv_get_pkey_index.is_ok()),
            ("ibv_alloc_pd", self.ibv_alloc_pd.is_ok()),
            ("ibv_dealloc_pd", self.ibv_dealloc_pd.is_ok()),
            ("ibv_reg_mr_iova2", self.ibv_reg_mr_iova2.is_ok()),
            ("ibv_reg_mr", self.ibv_reg_mr.is_ok()),
            ("ibv_reg_mr_iova", self.ibv_reg_mr_iova.is_ok()),
            ("ibv_reg_dmabuf_mr", self.ibv_reg_dmabuf_mr.is_ok()),
            ("ibv_rereg_mr", self.ibv_rereg_mr.is_ok()),
            ("ibv_dereg_mr", self.ibv_dereg_mr.is_ok()),
            ("ibv_create_comp_channel", self.ibv_create_comp_channel.is_ok()),
            ("ibv_destroy_comp_channel", self.ibv_destroy_comp_channel.is_ok()),
            ("ibv_create_cq", self.ibv_create_cq.is_ok()),
            ("ibv_resize_cq", self.ibv_resize_cq.is_ok()),
            ("ibv_destroy_cq", self.ibv_destroy_cq.is_ok()),
            ("ibv_get_cq_event", self.ibv_get_cq_event.is_ok()),
            ("ibv_ack_cq_events", self.ibv_ack_cq_events.is_ok()),
            ("ibv_create_srq", self.ibv_create_srq.is_ok()),
            ("ibv_modify_srq", self.ibv_modify_srq.is_ok()),
            ("ibv_query_srq", self.ibv_query_srq.is_ok()),
            ("ibv_destroy_srq", self.ibv_destroy_srq.is_ok()),
            ("ibv_create_qp", self.ibv_create_qp.is_ok()),
            ("ibv_modify_qp", self.ibv_modify_qp.is_ok()),
            ("ibv_query_qp_data_in_order", self.ibv_query_qp_data_in_order.is_ok()),
            ("ibv_query_qp", self.ibv_query_qp.is_ok()),
            ("ibv_destroy_qp", self.ibv_destroy_qp.is_ok()),
            ("ibv_create_ah", self.ibv_create_ah.is_ok()),
            ("ibv_init_ah_from_wc", self.ibv_init_ah_from_wc.is_ok()),
            ("ibv_create_ah_from_wc", self.ibv_create_ah_from_wc.is_ok()),
            ("ibv_destroy_ah", self.ibv_destroy_ah.is_ok()),
            ("ibv_fork_init", self.ibv_fork_init.is_ok()),
            ("ibv_is_fork_initialized", self.ibv_is_fork_initialized.is_ok()),
            ("ibv_node_type_str", self.ibv_node_type_str.is_ok()),
            ("ibv_port_state_str", self.ibv_port_state_str.is_ok()),
            ("ibv_event_type_str", self.ibv_event_type_str.is_ok()),
        ];
        symbols
            .into_iter()
            .filter(|(_, present)| !present)
            .map(|(symbol, _)| symbol)
            .collect()
    }
}
