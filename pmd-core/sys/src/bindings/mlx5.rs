// Generated from infiniband/mlx5dv.h (rdma-core 44.0) by `regenerate`: change that, not this file.

use libc::off_t;
use super::verbs::*;
pub use crate::control_segment::mlx5_wqe_ctrl_seg;

#[repr(C)]
#[derive(Default)]
pub struct __IncompleteArrayField<T>(::std::marker::PhantomData<T>, [T; 0]);
impl<T> __IncompleteArrayField<T> {
    #[inline]
    pub const fn new() -> Self {
        __IncompleteArrayField(::std::marker::PhantomData, [])
    }
    #[inline]
    pub fn as_ptr(&self) -> *const T {
        self as *const _ as *const T
    }
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self as *mut _ as *mut T
    }
    #[inline]
    pub unsafe fn as_slice(&self, len: usize) -> &[T] {
        ::std::slice::from_raw_parts(self.as_ptr(), len)
    }
    #[inline]
    pub unsafe fn as_mut_slice(&mut self, len: usize) -> &mut [T] {
        ::std::slice::from_raw_parts_mut(self.as_mut_ptr(), len)
    }
}
impl<T> ::std::fmt::Debug for __IncompleteArrayField<T> {
    fn fmt(&self, fmt: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
        fmt.write_str("__IncompleteArrayField")
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_tmh {
    pub opcode: u8,
    pub reserved: [u8; 3usize],
    pub app_ctx: __be32,
    pub tag: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of ibv_tmh"][::std::mem::size_of::<ibv_tmh>() - 16usize];
    ["Alignment of ibv_tmh"][::std::mem::align_of::<ibv_tmh>() - 8usize];
    [
        "Offset of field: ibv_tmh::opcode",
    ][::std::mem::offset_of!(ibv_tmh, opcode) - 0usize];
    [
        "Offset of field: ibv_tmh::reserved",
    ][::std::mem::offset_of!(ibv_tmh, reserved) - 1usize];
    [
        "Offset of field: ibv_tmh::app_ctx",
    ][::std::mem::offset_of!(ibv_tmh, app_ctx) - 4usize];
    ["Offset of field: ibv_tmh::tag"][::std::mem::offset_of!(ibv_tmh, tag) - 8usize];
};
impl Default for ibv_tmh {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5_IB_UAPI_DM_TYPE_MEMIC: mlx5_ib_uapi_dm_type = 0;
pub const MLX5_IB_UAPI_DM_TYPE_STEERING_SW_ICM: mlx5_ib_uapi_dm_type = 1;
pub const MLX5_IB_UAPI_DM_TYPE_HEADER_MODIFY_SW_ICM: mlx5_ib_uapi_dm_type = 2;
pub const MLX5_IB_UAPI_DM_TYPE_HEADER_MODIFY_PATTERN_SW_ICM: mlx5_ib_uapi_dm_type = 3;
pub type mlx5_ib_uapi_dm_type = ::std::os::raw::c_uint;
pub const MLX5_IB_UAPI_UAR_ALLOC_TYPE_BF: mlx5_ib_uapi_uar_alloc_type = 0;
pub const MLX5_IB_UAPI_UAR_ALLOC_TYPE_NC: mlx5_ib_uapi_uar_alloc_type = 1;
pub type mlx5_ib_uapi_uar_alloc_type = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5_ib_uapi_reg {
    pub value: __u32,
    pub mask: __u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5_ib_uapi_reg"][::std::mem::size_of::<mlx5_ib_uapi_reg>() - 8usize];
    [
        "Alignment of mlx5_ib_uapi_reg",
    ][::std::mem::align_of::<mlx5_ib_uapi_reg>() - 4usize];
    [
        "Offset of field: mlx5_ib_uapi_reg::value",
    ][::std::mem::offset_of!(mlx5_ib_uapi_reg, value) - 0usize];
    [
        "Offset of field: mlx5_ib_uapi_reg::mask",
    ][::std::mem::offset_of!(mlx5_ib_uapi_reg, mask) - 4usize];
};
impl Default for mlx5_ib_uapi_reg {
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
pub struct mlx5_ib_uapi_query_port {
    pub flags: __u64,
    pub vport: __u16,
    pub vport_vhca_id: __u16,
    pub esw_owner_vhca_id: __u16,
    pub rsvd0: __u16,
    pub vport_steering_icm_rx: __u64,
    pub vport_steering_icm_tx: __u64,
    pub reg_c0: mlx5_ib_uapi_reg,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_ib_uapi_query_port",
    ][::std::mem::size_of::<mlx5_ib_uapi_query_port>() - 40usize];
    [
        "Alignment of mlx5_ib_uapi_query_port",
    ][::std::mem::align_of::<mlx5_ib_uapi_query_port>() - 8usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::flags",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, flags) - 0usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::vport",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, vport) - 8usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::vport_vhca_id",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, vport_vhca_id) - 10usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::esw_owner_vhca_id",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, esw_owner_vhca_id) - 12usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::rsvd0",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, rsvd0) - 14usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::vport_steering_icm_rx",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, vport_steering_icm_rx) - 16usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::vport_steering_icm_tx",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, vport_steering_icm_tx) - 24usize];
    [
        "Offset of field: mlx5_ib_uapi_query_port::reg_c0",
    ][::std::mem::offset_of!(mlx5_ib_uapi_query_port, reg_c0) - 32usize];
};
impl Default for mlx5_ib_uapi_query_port {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5_RCV_DBR: ::std::os::raw::c_uint = 0;
pub const MLX5_SND_DBR: ::std::os::raw::c_uint = 1;
pub const MLX5DV_CONTEXT_MASK_CQE_COMPRESION: mlx5dv_context_comp_mask = 1;
pub const MLX5DV_CONTEXT_MASK_SWP: mlx5dv_context_comp_mask = 2;
pub const MLX5DV_CONTEXT_MASK_STRIDING_RQ: mlx5dv_context_comp_mask = 4;
pub const MLX5DV_CONTEXT_MASK_TUNNEL_OFFLOADS: mlx5dv_context_comp_mask = 8;
pub const MLX5DV_CONTEXT_MASK_DYN_BFREGS: mlx5dv_context_comp_mask = 16;
pub const MLX5DV_CONTEXT_MASK_CLOCK_INFO_UPDATE: mlx5dv_context_comp_mask = 32;
pub const MLX5DV_CONTEXT_MASK_FLOW_ACTION_FLAGS: mlx5dv_context_comp_mask = 64;
pub const MLX5DV_CONTEXT_MASK_DC_ODP_CAPS: mlx5dv_context_comp_mask = 128;
pub const MLX5DV_CONTEXT_MASK_HCA_CORE_CLOCK: mlx5dv_context_comp_mask = 256;
pub const MLX5DV_CONTEXT_MASK_NUM_LAG_PORTS: mlx5dv_context_comp_mask = 512;
pub const MLX5DV_CONTEXT_MASK_SIGNATURE_OFFLOAD: mlx5dv_context_comp_mask = 1024;
pub const MLX5DV_CONTEXT_MASK_DCI_STREAMS: mlx5dv_context_comp_mask = 2048;
pub const MLX5DV_CONTEXT_MASK_WR_MEMCPY_LENGTH: mlx5dv_context_comp_mask = 4096;
pub const MLX5DV_CONTEXT_MASK_CRYPTO_OFFLOAD: mlx5dv_context_comp_mask = 8192;
pub type mlx5dv_context_comp_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_cqe_comp_caps {
    pub max_num: u32,
    pub supported_format: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_cqe_comp_caps",
    ][::std::mem::size_of::<mlx5dv_cqe_comp_caps>() - 8usize];
    [
        "Alignment of mlx5dv_cqe_comp_caps",
    ][::std::mem::align_of::<mlx5dv_cqe_comp_caps>() - 4usize];
    [
        "Offset of field: mlx5dv_cqe_comp_caps::max_num",
    ][::std::mem::offset_of!(mlx5dv_cqe_comp_caps, max_num) - 0usize];
    [
        "Offset of field: mlx5dv_cqe_comp_caps::supported_format",
    ][::std::mem::offset_of!(mlx5dv_cqe_comp_caps, supported_format) - 4usize];
};
impl Default for mlx5dv_cqe_comp_caps {
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
pub struct mlx5dv_sw_parsing_caps {
    pub sw_parsing_offloads: u32,
    pub supported_qpts: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_sw_parsing_caps",
    ][::std::mem::size_of::<mlx5dv_sw_parsing_caps>() - 8usize];
    [
        "Alignment of mlx5dv_sw_parsing_caps",
    ][::std::mem::align_of::<mlx5dv_sw_parsing_caps>() - 4usize];
    [
        "Offset of field: mlx5dv_sw_parsing_caps::sw_parsing_offloads",
    ][::std::mem::offset_of!(mlx5dv_sw_parsing_caps, sw_parsing_offloads) - 0usize];
    [
        "Offset of field: mlx5dv_sw_parsing_caps::supported_qpts",
    ][::std::mem::offset_of!(mlx5dv_sw_parsing_caps, supported_qpts) - 4usize];
};
impl Default for mlx5dv_sw_parsing_caps {
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
pub struct mlx5dv_striding_rq_caps {
    pub min_single_stride_log_num_of_bytes: u32,
    pub max_single_stride_log_num_of_bytes: u32,
    pub min_single_wqe_log_num_of_strides: u32,
    pub max_single_wqe_log_num_of_strides: u32,
    pub supported_qpts: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_striding_rq_caps",
    ][::std::mem::size_of::<mlx5dv_striding_rq_caps>() - 20usize];
    [
        "Alignment of mlx5dv_striding_rq_caps",
    ][::std::mem::align_of::<mlx5dv_striding_rq_caps>() - 4usize];
    [
        "Offset of field: mlx5dv_striding_rq_caps::min_single_stride_log_num_of_bytes",
    ][::std::mem::offset_of!(mlx5dv_striding_rq_caps, min_single_stride_log_num_of_bytes)
        - 0usize];
    [
        "Offset of field: mlx5dv_striding_rq_caps::max_single_stride_log_num_of_bytes",
    ][::std::mem::offset_of!(mlx5dv_striding_rq_caps, max_single_stride_log_num_of_bytes)
        - 4usize];
    [
        "Offset of field: mlx5dv_striding_rq_caps::min_single_wqe_log_num_of_strides",
    ][::std::mem::offset_of!(mlx5dv_striding_rq_caps, min_single_wqe_log_num_of_strides)
        - 8usize];
    [
        "Offset of field: mlx5dv_striding_rq_caps::max_single_wqe_log_num_of_strides",
    ][::std::mem::offset_of!(mlx5dv_striding_rq_caps, max_single_wqe_log_num_of_strides)
        - 12usize];
    [
        "Offset of field: mlx5dv_striding_rq_caps::supported_qpts",
    ][::std::mem::offset_of!(mlx5dv_striding_rq_caps, supported_qpts) - 16usize];
};
impl Default for mlx5dv_striding_rq_caps {
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
pub struct mlx5dv_dci_streams_caps {
    pub max_log_num_concurent: u8,
    pub max_log_num_errored: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_dci_streams_caps",
    ][::std::mem::size_of::<mlx5dv_dci_streams_caps>() - 2usize];
    [
        "Alignment of mlx5dv_dci_streams_caps",
    ][::std::mem::align_of::<mlx5dv_dci_streams_caps>() - 1usize];
    [
        "Offset of field: mlx5dv_dci_streams_caps::max_log_num_concurent",
    ][::std::mem::offset_of!(mlx5dv_dci_streams_caps, max_log_num_concurent) - 0usize];
    [
        "Offset of field: mlx5dv_dci_streams_caps::max_log_num_errored",
    ][::std::mem::offset_of!(mlx5dv_dci_streams_caps, max_log_num_errored) - 1usize];
};
impl Default for mlx5dv_dci_streams_caps {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_SIG_TYPE_T10DIF: mlx5dv_sig_type = 0;
pub const MLX5DV_SIG_TYPE_CRC: mlx5dv_sig_type = 1;
pub type mlx5dv_sig_type = ::std::os::raw::c_uint;
pub const MLX5DV_SIG_T10DIF_CRC: mlx5dv_sig_t10dif_bg_type = 0;
pub const MLX5DV_SIG_T10DIF_CSUM: mlx5dv_sig_t10dif_bg_type = 1;
pub type mlx5dv_sig_t10dif_bg_type = ::std::os::raw::c_uint;
pub const MLX5DV_SIG_CRC_TYPE_CRC32: mlx5dv_sig_crc_type = 0;
pub const MLX5DV_SIG_CRC_TYPE_CRC32C: mlx5dv_sig_crc_type = 1;
pub const MLX5DV_SIG_CRC_TYPE_CRC64_XP10: mlx5dv_sig_crc_type = 2;
pub type mlx5dv_sig_crc_type = ::std::os::raw::c_uint;
pub const MLX5DV_BLOCK_SIZE_512: mlx5dv_block_size = 0;
pub const MLX5DV_BLOCK_SIZE_520: mlx5dv_block_size = 1;
pub const MLX5DV_BLOCK_SIZE_4048: mlx5dv_block_size = 2;
pub const MLX5DV_BLOCK_SIZE_4096: mlx5dv_block_size = 3;
pub const MLX5DV_BLOCK_SIZE_4160: mlx5dv_block_size = 4;
pub type mlx5dv_block_size = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_sig_caps {
    pub block_size: u64,
    pub block_prot: u32,
    pub t10dif_bg: u16,
    pub crc_type: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_sig_caps"][::std::mem::size_of::<mlx5dv_sig_caps>() - 16usize];
    ["Alignment of mlx5dv_sig_caps"][::std::mem::align_of::<mlx5dv_sig_caps>() - 8usize];
    [
        "Offset of field: mlx5dv_sig_caps::block_size",
    ][::std::mem::offset_of!(mlx5dv_sig_caps, block_size) - 0usize];
    [
        "Offset of field: mlx5dv_sig_caps::block_prot",
    ][::std::mem::offset_of!(mlx5dv_sig_caps, block_prot) - 8usize];
    [
        "Offset of field: mlx5dv_sig_caps::t10dif_bg",
    ][::std::mem::offset_of!(mlx5dv_sig_caps, t10dif_bg) - 12usize];
    [
        "Offset of field: mlx5dv_sig_caps::crc_type",
    ][::std::mem::offset_of!(mlx5dv_sig_caps, crc_type) - 14usize];
};
impl Default for mlx5dv_sig_caps {
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
pub struct mlx5dv_crypto_caps {
    pub failed_selftests: u16,
    pub crypto_engines: u8,
    pub wrapped_import_method: u8,
    pub log_max_num_deks: u8,
    pub flags: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_crypto_caps",
    ][::std::mem::size_of::<mlx5dv_crypto_caps>() - 12usize];
    [
        "Alignment of mlx5dv_crypto_caps",
    ][::std::mem::align_of::<mlx5dv_crypto_caps>() - 4usize];
    [
        "Offset of field: mlx5dv_crypto_caps::failed_selftests",
    ][::std::mem::offset_of!(mlx5dv_crypto_caps, failed_selftests) - 0usize];
    [
        "Offset of field: mlx5dv_crypto_caps::crypto_engines",
    ][::std::mem::offset_of!(mlx5dv_crypto_caps, crypto_engines) - 2usize];
    [
        "Offset of field: mlx5dv_crypto_caps::wrapped_import_method",
    ][::std::mem::offset_of!(mlx5dv_crypto_caps, wrapped_import_method) - 3usize];
    [
        "Offset of field: mlx5dv_crypto_caps::log_max_num_deks",
    ][::std::mem::offset_of!(mlx5dv_crypto_caps, log_max_num_deks) - 4usize];
    [
        "Offset of field: mlx5dv_crypto_caps::flags",
    ][::std::mem::offset_of!(mlx5dv_crypto_caps, flags) - 8usize];
};
impl Default for mlx5dv_crypto_caps {
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
pub struct mlx5dv_context {
    pub version: u8,
    pub flags: u64,
    pub comp_mask: u64,
    pub cqe_comp_caps: mlx5dv_cqe_comp_caps,
    pub sw_parsing_caps: mlx5dv_sw_parsing_caps,
    pub striding_rq_caps: mlx5dv_striding_rq_caps,
    pub tunnel_offloads_caps: u32,
    pub max_dynamic_bfregs: u32,
    pub max_clock_info_update_nsec: u64,
    pub flow_action_flags: u32,
    pub dc_odp_caps: u32,
    pub hca_core_clock: *mut ::std::os::raw::c_void,
    pub num_lag_ports: u8,
    pub sig_caps: mlx5dv_sig_caps,
    pub dci_streams_caps: mlx5dv_dci_streams_caps,
    pub max_wr_memcpy_length: usize,
    pub crypto_caps: mlx5dv_crypto_caps,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_context"][::std::mem::size_of::<mlx5dv_context>() - 152usize];
    ["Alignment of mlx5dv_context"][::std::mem::align_of::<mlx5dv_context>() - 8usize];
    [
        "Offset of field: mlx5dv_context::version",
    ][::std::mem::offset_of!(mlx5dv_context, version) - 0usize];
    [
        "Offset of field: mlx5dv_context::flags",
    ][::std::mem::offset_of!(mlx5dv_context, flags) - 8usize];
    [
        "Offset of field: mlx5dv_context::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_context, comp_mask) - 16usize];
    [
        "Offset of field: mlx5dv_context::cqe_comp_caps",
    ][::std::mem::offset_of!(mlx5dv_context, cqe_comp_caps) - 24usize];
    [
        "Offset of field: mlx5dv_context::sw_parsing_caps",
    ][::std::mem::offset_of!(mlx5dv_context, sw_parsing_caps) - 32usize];
    [
        "Offset of field: mlx5dv_context::striding_rq_caps",
    ][::std::mem::offset_of!(mlx5dv_context, striding_rq_caps) - 40usize];
    [
        "Offset of field: mlx5dv_context::tunnel_offloads_caps",
    ][::std::mem::offset_of!(mlx5dv_context, tunnel_offloads_caps) - 60usize];
    [
        "Offset of field: mlx5dv_context::max_dynamic_bfregs",
    ][::std::mem::offset_of!(mlx5dv_context, max_dynamic_bfregs) - 64usize];
    [
        "Offset of field: mlx5dv_context::max_clock_info_update_nsec",
    ][::std::mem::offset_of!(mlx5dv_context, max_clock_info_update_nsec) - 72usize];
    [
        "Offset of field: mlx5dv_context::flow_action_flags",
    ][::std::mem::offset_of!(mlx5dv_context, flow_action_flags) - 80usize];
    [
        "Offset of field: mlx5dv_context::dc_odp_caps",
    ][::std::mem::offset_of!(mlx5dv_context, dc_odp_caps) - 84usize];
    [
        "Offset of field: mlx5dv_context::hca_core_clock",
    ][::std::mem::offset_of!(mlx5dv_context, hca_core_clock) - 88usize];
    [
        "Offset of field: mlx5dv_context::num_lag_ports",
    ][::std::mem::offset_of!(mlx5dv_context, num_lag_ports) - 96usize];
    [
        "Offset of field: mlx5dv_context::sig_caps",
    ][::std::mem::offset_of!(mlx5dv_context, sig_caps) - 104usize];
    [
        "Offset of field: mlx5dv_context::dci_streams_caps",
    ][::std::mem::offset_of!(mlx5dv_context, dci_streams_caps) - 120usize];
    [
        "Offset of field: mlx5dv_context::max_wr_memcpy_length",
    ][::std::mem::offset_of!(mlx5dv_context, max_wr_memcpy_length) - 128usize];
    [
        "Offset of field: mlx5dv_context::crypto_caps",
    ][::std::mem::offset_of!(mlx5dv_context, crypto_caps) - 136usize];
};
impl Default for mlx5dv_context {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_CONTEXT_FLAGS_CQE_V1: mlx5dv_context_flags = 1;
pub const MLX5DV_CONTEXT_FLAGS_OBSOLETE: mlx5dv_context_flags = 2;
pub const MLX5DV_CONTEXT_FLAGS_MPW_ALLOWED: mlx5dv_context_flags = 4;
pub const MLX5DV_CONTEXT_FLAGS_ENHANCED_MPW: mlx5dv_context_flags = 8;
pub const MLX5DV_CONTEXT_FLAGS_CQE_128B_COMP: mlx5dv_context_flags = 16;
pub const MLX5DV_CONTEXT_FLAGS_CQE_128B_PAD: mlx5dv_context_flags = 32;
pub const MLX5DV_CONTEXT_FLAGS_PACKET_BASED_CREDIT_MODE: mlx5dv_context_flags = 64;
pub const MLX5DV_CONTEXT_FLAGS_REAL_TIME_TS: mlx5dv_context_flags = 128;
pub type mlx5dv_context_flags = ::std::os::raw::c_uint;
pub const MLX5DV_CQ_INIT_ATTR_MASK_COMPRESSED_CQE: mlx5dv_cq_init_attr_mask = 1;
pub const MLX5DV_CQ_INIT_ATTR_MASK_FLAGS: mlx5dv_cq_init_attr_mask = 2;
pub const MLX5DV_CQ_INIT_ATTR_MASK_CQE_SIZE: mlx5dv_cq_init_attr_mask = 4;
pub type mlx5dv_cq_init_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_cq_init_attr {
    pub comp_mask: u64,
    pub cqe_comp_res_format: u8,
    pub flags: u32,
    pub cqe_size: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_cq_init_attr",
    ][::std::mem::size_of::<mlx5dv_cq_init_attr>() - 24usize];
    [
        "Alignment of mlx5dv_cq_init_attr",
    ][::std::mem::align_of::<mlx5dv_cq_init_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_cq_init_attr::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_cq_init_attr, comp_mask) - 0usize];
    [
        "Offset of field: mlx5dv_cq_init_attr::cqe_comp_res_format",
    ][::std::mem::offset_of!(mlx5dv_cq_init_attr, cqe_comp_res_format) - 8usize];
    [
        "Offset of field: mlx5dv_cq_init_attr::flags",
    ][::std::mem::offset_of!(mlx5dv_cq_init_attr, flags) - 12usize];
    [
        "Offset of field: mlx5dv_cq_init_attr::cqe_size",
    ][::std::mem::offset_of!(mlx5dv_cq_init_attr, cqe_size) - 16usize];
};
impl Default for mlx5dv_cq_init_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_QP_CREATE_TUNNEL_OFFLOADS: mlx5dv_qp_create_flags = 1;
pub const MLX5DV_QP_CREATE_TIR_ALLOW_SELF_LOOPBACK_UC: mlx5dv_qp_create_flags = 2;
pub const MLX5DV_QP_CREATE_TIR_ALLOW_SELF_LOOPBACK_MC: mlx5dv_qp_create_flags = 4;
pub const MLX5DV_QP_CREATE_DISABLE_SCATTER_TO_CQE: mlx5dv_qp_create_flags = 8;
pub const MLX5DV_QP_CREATE_ALLOW_SCATTER_TO_CQE: mlx5dv_qp_create_flags = 16;
pub const MLX5DV_QP_CREATE_PACKET_BASED_CREDIT_MODE: mlx5dv_qp_create_flags = 32;
pub const MLX5DV_QP_CREATE_SIG_PIPELINING: mlx5dv_qp_create_flags = 64;
pub type mlx5dv_qp_create_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_mkey_init_attr {
    pub pd: *mut ibv_pd,
    pub create_flags: u32,
    pub max_entries: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_mkey_init_attr",
    ][::std::mem::size_of::<mlx5dv_mkey_init_attr>() - 16usize];
    [
        "Alignment of mlx5dv_mkey_init_attr",
    ][::std::mem::align_of::<mlx5dv_mkey_init_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_mkey_init_attr::pd",
    ][::std::mem::offset_of!(mlx5dv_mkey_init_attr, pd) - 0usize];
    [
        "Offset of field: mlx5dv_mkey_init_attr::create_flags",
    ][::std::mem::offset_of!(mlx5dv_mkey_init_attr, create_flags) - 8usize];
    [
        "Offset of field: mlx5dv_mkey_init_attr::max_entries",
    ][::std::mem::offset_of!(mlx5dv_mkey_init_attr, max_entries) - 12usize];
};
impl Default for mlx5dv_mkey_init_attr {
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
pub struct mlx5dv_mkey {
    pub lkey: u32,
    pub rkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_mkey"][::std::mem::size_of::<mlx5dv_mkey>() - 8usize];
    ["Alignment of mlx5dv_mkey"][::std::mem::align_of::<mlx5dv_mkey>() - 4usize];
    [
        "Offset of field: mlx5dv_mkey::lkey",
    ][::std::mem::offset_of!(mlx5dv_mkey, lkey) - 0usize];
    [
        "Offset of field: mlx5dv_mkey::rkey",
    ][::std::mem::offset_of!(mlx5dv_mkey, rkey) - 4usize];
};
impl Default for mlx5dv_mkey {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_QP_INIT_ATTR_MASK_QP_CREATE_FLAGS: mlx5dv_qp_init_attr_mask = 1;
pub const MLX5DV_QP_INIT_ATTR_MASK_DC: mlx5dv_qp_init_attr_mask = 2;
pub const MLX5DV_QP_INIT_ATTR_MASK_SEND_OPS_FLAGS: mlx5dv_qp_init_attr_mask = 4;
pub const MLX5DV_QP_INIT_ATTR_MASK_DCI_STREAMS: mlx5dv_qp_init_attr_mask = 8;
pub type mlx5dv_qp_init_attr_mask = ::std::os::raw::c_uint;
pub const MLX5DV_DCTYPE_DCT: mlx5dv_dc_type = 1;
pub const MLX5DV_DCTYPE_DCI: mlx5dv_dc_type = 2;
pub type mlx5dv_dc_type = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_dci_streams {
    pub log_num_concurent: u8,
    pub log_num_errored: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_dci_streams"][::std::mem::size_of::<mlx5dv_dci_streams>() - 2usize];
    [
        "Alignment of mlx5dv_dci_streams",
    ][::std::mem::align_of::<mlx5dv_dci_streams>() - 1usize];
    [
        "Offset of field: mlx5dv_dci_streams::log_num_concurent",
    ][::std::mem::offset_of!(mlx5dv_dci_streams, log_num_concurent) - 0usize];
    [
        "Offset of field: mlx5dv_dci_streams::log_num_errored",
    ][::std::mem::offset_of!(mlx5dv_dci_streams, log_num_errored) - 1usize];
};
impl Default for mlx5dv_dci_streams {
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
pub struct mlx5dv_dc_init_attr {
    pub dc_type: mlx5dv_dc_type,
    pub __bindgen_anon_1: mlx5dv_dc_init_attr__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union mlx5dv_dc_init_attr__bindgen_ty_1 {
    pub dct_access_key: u64,
    pub dci_streams: mlx5dv_dci_streams,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_dc_init_attr__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5dv_dc_init_attr__bindgen_ty_1>() - 8usize];
    [
        "Alignment of mlx5dv_dc_init_attr__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5dv_dc_init_attr__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: mlx5dv_dc_init_attr__bindgen_ty_1::dct_access_key",
    ][::std::mem::offset_of!(mlx5dv_dc_init_attr__bindgen_ty_1, dct_access_key)
        - 0usize];
    [
        "Offset of field: mlx5dv_dc_init_attr__bindgen_ty_1::dci_streams",
    ][::std::mem::offset_of!(mlx5dv_dc_init_attr__bindgen_ty_1, dci_streams) - 0usize];
};
impl Default for mlx5dv_dc_init_attr__bindgen_ty_1 {
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
        "Size of mlx5dv_dc_init_attr",
    ][::std::mem::size_of::<mlx5dv_dc_init_attr>() - 16usize];
    [
        "Alignment of mlx5dv_dc_init_attr",
    ][::std::mem::align_of::<mlx5dv_dc_init_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_dc_init_attr::dc_type",
    ][::std::mem::offset_of!(mlx5dv_dc_init_attr, dc_type) - 0usize];
};
impl Default for mlx5dv_dc_init_attr {
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
pub struct mlx5dv_qp_init_attr {
    pub comp_mask: u64,
    pub create_flags: u32,
    pub dc_init_attr: mlx5dv_dc_init_attr,
    pub send_ops_flags: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_qp_init_attr",
    ][::std::mem::size_of::<mlx5dv_qp_init_attr>() - 40usize];
    [
        "Alignment of mlx5dv_qp_init_attr",
    ][::std::mem::align_of::<mlx5dv_qp_init_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_qp_init_attr::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_qp_init_attr, comp_mask) - 0usize];
    [
        "Offset of field: mlx5dv_qp_init_attr::create_flags",
    ][::std::mem::offset_of!(mlx5dv_qp_init_attr, create_flags) - 8usize];
    [
        "Offset of field: mlx5dv_qp_init_attr::dc_init_attr",
    ][::std::mem::offset_of!(mlx5dv_qp_init_attr, dc_init_attr) - 16usize];
    [
        "Offset of field: mlx5dv_qp_init_attr::send_ops_flags",
    ][::std::mem::offset_of!(mlx5dv_qp_init_attr, send_ops_flags) - 32usize];
};
impl Default for mlx5dv_qp_init_attr {
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
pub struct mlx5dv_mr_interleaved {
    pub addr: u64,
    pub bytes_count: u32,
    pub bytes_skip: u32,
    pub lkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_mr_interleaved",
    ][::std::mem::size_of::<mlx5dv_mr_interleaved>() - 24usize];
    [
        "Alignment of mlx5dv_mr_interleaved",
    ][::std::mem::align_of::<mlx5dv_mr_interleaved>() - 8usize];
    [
        "Offset of field: mlx5dv_mr_interleaved::addr",
    ][::std::mem::offset_of!(mlx5dv_mr_interleaved, addr) - 0usize];
    [
        "Offset of field: mlx5dv_mr_interleaved::bytes_count",
    ][::std::mem::offset_of!(mlx5dv_mr_interleaved, bytes_count) - 8usize];
    [
        "Offset of field: mlx5dv_mr_interleaved::bytes_skip",
    ][::std::mem::offset_of!(mlx5dv_mr_interleaved, bytes_skip) - 12usize];
    [
        "Offset of field: mlx5dv_mr_interleaved::lkey",
    ][::std::mem::offset_of!(mlx5dv_mr_interleaved, lkey) - 16usize];
};
impl Default for mlx5dv_mr_interleaved {
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
pub struct mlx5dv_sig_t10dif {
    pub bg_type: mlx5dv_sig_t10dif_bg_type,
    pub bg: u16,
    pub app_tag: u16,
    pub ref_tag: u32,
    pub flags: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_sig_t10dif"][::std::mem::size_of::<mlx5dv_sig_t10dif>() - 16usize];
    [
        "Alignment of mlx5dv_sig_t10dif",
    ][::std::mem::align_of::<mlx5dv_sig_t10dif>() - 4usize];
    [
        "Offset of field: mlx5dv_sig_t10dif::bg_type",
    ][::std::mem::offset_of!(mlx5dv_sig_t10dif, bg_type) - 0usize];
    [
        "Offset of field: mlx5dv_sig_t10dif::bg",
    ][::std::mem::offset_of!(mlx5dv_sig_t10dif, bg) - 4usize];
    [
        "Offset of field: mlx5dv_sig_t10dif::app_tag",
    ][::std::mem::offset_of!(mlx5dv_sig_t10dif, app_tag) - 6usize];
    [
        "Offset of field: mlx5dv_sig_t10dif::ref_tag",
    ][::std::mem::offset_of!(mlx5dv_sig_t10dif, ref_tag) - 8usize];
    [
        "Offset of field: mlx5dv_sig_t10dif::flags",
    ][::std::mem::offset_of!(mlx5dv_sig_t10dif, flags) - 12usize];
};
impl Default for mlx5dv_sig_t10dif {
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
pub struct mlx5dv_sig_crc {
    pub type_: mlx5dv_sig_crc_type,
    pub seed: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_sig_crc"][::std::mem::size_of::<mlx5dv_sig_crc>() - 16usize];
    ["Alignment of mlx5dv_sig_crc"][::std::mem::align_of::<mlx5dv_sig_crc>() - 8usize];
    [
        "Offset of field: mlx5dv_sig_crc::type_",
    ][::std::mem::offset_of!(mlx5dv_sig_crc, type_) - 0usize];
    [
        "Offset of field: mlx5dv_sig_crc::seed",
    ][::std::mem::offset_of!(mlx5dv_sig_crc, seed) - 8usize];
};
impl Default for mlx5dv_sig_crc {
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
pub struct mlx5dv_sig_block_domain {
    pub sig_type: mlx5dv_sig_type,
    pub sig: mlx5dv_sig_block_domain__bindgen_ty_1,
    pub block_size: mlx5dv_block_size,
    pub comp_mask: u64,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union mlx5dv_sig_block_domain__bindgen_ty_1 {
    pub dif: *const mlx5dv_sig_t10dif,
    pub crc: *const mlx5dv_sig_crc,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_sig_block_domain__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5dv_sig_block_domain__bindgen_ty_1>() - 8usize];
    [
        "Alignment of mlx5dv_sig_block_domain__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5dv_sig_block_domain__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: mlx5dv_sig_block_domain__bindgen_ty_1::dif",
    ][::std::mem::offset_of!(mlx5dv_sig_block_domain__bindgen_ty_1, dif) - 0usize];
    [
        "Offset of field: mlx5dv_sig_block_domain__bindgen_ty_1::crc",
    ][::std::mem::offset_of!(mlx5dv_sig_block_domain__bindgen_ty_1, crc) - 0usize];
};
impl Default for mlx5dv_sig_block_domain__bindgen_ty_1 {
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
        "Size of mlx5dv_sig_block_domain",
    ][::std::mem::size_of::<mlx5dv_sig_block_domain>() - 32usize];
    [
        "Alignment of mlx5dv_sig_block_domain",
    ][::std::mem::align_of::<mlx5dv_sig_block_domain>() - 8usize];
    [
        "Offset of field: mlx5dv_sig_block_domain::sig_type",
    ][::std::mem::offset_of!(mlx5dv_sig_block_domain, sig_type) - 0usize];
    [
        "Offset of field: mlx5dv_sig_block_domain::sig",
    ][::std::mem::offset_of!(mlx5dv_sig_block_domain, sig) - 8usize];
    [
        "Offset of field: mlx5dv_sig_block_domain::block_size",
    ][::std::mem::offset_of!(mlx5dv_sig_block_domain, block_size) - 16usize];
    [
        "Offset of field: mlx5dv_sig_block_domain::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_sig_block_domain, comp_mask) - 24usize];
};
impl Default for mlx5dv_sig_block_domain {
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
pub struct mlx5dv_sig_block_attr {
    pub mem: *const mlx5dv_sig_block_domain,
    pub wire: *const mlx5dv_sig_block_domain,
    pub flags: u32,
    pub check_mask: u8,
    pub copy_mask: u8,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_sig_block_attr",
    ][::std::mem::size_of::<mlx5dv_sig_block_attr>() - 32usize];
    [
        "Alignment of mlx5dv_sig_block_attr",
    ][::std::mem::align_of::<mlx5dv_sig_block_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_sig_block_attr::mem",
    ][::std::mem::offset_of!(mlx5dv_sig_block_attr, mem) - 0usize];
    [
        "Offset of field: mlx5dv_sig_block_attr::wire",
    ][::std::mem::offset_of!(mlx5dv_sig_block_attr, wire) - 8usize];
    [
        "Offset of field: mlx5dv_sig_block_attr::flags",
    ][::std::mem::offset_of!(mlx5dv_sig_block_attr, flags) - 16usize];
    [
        "Offset of field: mlx5dv_sig_block_attr::check_mask",
    ][::std::mem::offset_of!(mlx5dv_sig_block_attr, check_mask) - 20usize];
    [
        "Offset of field: mlx5dv_sig_block_attr::copy_mask",
    ][::std::mem::offset_of!(mlx5dv_sig_block_attr, copy_mask) - 21usize];
    [
        "Offset of field: mlx5dv_sig_block_attr::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_sig_block_attr, comp_mask) - 24usize];
};
impl Default for mlx5dv_sig_block_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_CRYPTO_STANDARD_AES_XTS: mlx5dv_crypto_standard = 0;
pub type mlx5dv_crypto_standard = ::std::os::raw::c_uint;
pub const MLX5DV_SIGNATURE_CRYPTO_ORDER_SIGNATURE_AFTER_CRYPTO_ON_TX: mlx5dv_signature_crypto_order = 0;
pub const MLX5DV_SIGNATURE_CRYPTO_ORDER_SIGNATURE_BEFORE_CRYPTO_ON_TX: mlx5dv_signature_crypto_order = 1;
pub type mlx5dv_signature_crypto_order = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_crypto_attr {
    pub crypto_standard: mlx5dv_crypto_standard,
    pub encrypt_on_tx: bool,
    pub signature_crypto_order: mlx5dv_signature_crypto_order,
    pub data_unit_size: mlx5dv_block_size,
    pub initial_tweak: [::std::os::raw::c_char; 16usize],
    pub dek: *mut mlx5dv_dek,
    pub keytag: [::std::os::raw::c_char; 8usize],
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_crypto_attr",
    ][::std::mem::size_of::<mlx5dv_crypto_attr>() - 56usize];
    [
        "Alignment of mlx5dv_crypto_attr",
    ][::std::mem::align_of::<mlx5dv_crypto_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_crypto_attr::crypto_standard",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, crypto_standard) - 0usize];
    [
        "Offset of field: mlx5dv_crypto_attr::encrypt_on_tx",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, encrypt_on_tx) - 4usize];
    [
        "Offset of field: mlx5dv_crypto_attr::signature_crypto_order",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, signature_crypto_order) - 8usize];
    [
        "Offset of field: mlx5dv_crypto_attr::data_unit_size",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, data_unit_size) - 12usize];
    [
        "Offset of field: mlx5dv_crypto_attr::initial_tweak",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, initial_tweak) - 16usize];
    [
        "Offset of field: mlx5dv_crypto_attr::dek",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, dek) - 32usize];
    [
        "Offset of field: mlx5dv_crypto_attr::keytag",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, keytag) - 40usize];
    [
        "Offset of field: mlx5dv_crypto_attr::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_crypto_attr, comp_mask) - 48usize];
};
impl Default for mlx5dv_crypto_attr {
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
pub struct mlx5dv_mkey_conf_attr {
    pub conf_flags: u32,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_mkey_conf_attr",
    ][::std::mem::size_of::<mlx5dv_mkey_conf_attr>() - 16usize];
    [
        "Alignment of mlx5dv_mkey_conf_attr",
    ][::std::mem::align_of::<mlx5dv_mkey_conf_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_mkey_conf_attr::conf_flags",
    ][::std::mem::offset_of!(mlx5dv_mkey_conf_attr, conf_flags) - 0usize];
    [
        "Offset of field: mlx5dv_mkey_conf_attr::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_mkey_conf_attr, comp_mask) - 8usize];
};
impl Default for mlx5dv_mkey_conf_attr {
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
pub struct mlx5dv_qp_ex {
    pub comp_mask: u64,
    pub wr_set_dc_addr: ::std::option::Option<
        unsafe extern "C" fn(
            mqp: *mut mlx5dv_qp_ex,
            ah: *mut ibv_ah,
            remote_dctn: u32,
            remote_dc_key: u64,
        ),
    >,
    pub wr_mr_interleaved: ::std::option::Option<
        unsafe extern "C" fn(
            mqp: *mut mlx5dv_qp_ex,
            mkey: *mut mlx5dv_mkey,
            access_flags: u32,
            repeat_count: u32,
            num_interleaved: u16,
            data: *mut mlx5dv_mr_interleaved,
        ),
    >,
    pub wr_mr_list: ::std::option::Option<
        unsafe extern "C" fn(
            mqp: *mut mlx5dv_qp_ex,
            mkey: *mut mlx5dv_mkey,
            access_flags: u32,
            num_sges: u16,
            sge: *mut ibv_sge,
        ),
    >,
    pub wr_mkey_configure: ::std::option::Option<
        unsafe extern "C" fn(
            mqp: *mut mlx5dv_qp_ex,
            mkey: *mut mlx5dv_mkey,
            num_setters: u8,
            attr: *mut mlx5dv_mkey_conf_attr,
        ),
    >,
    pub wr_set_mkey_access_flags: ::std::option::Option<
        unsafe extern "C" fn(mqp: *mut mlx5dv_qp_ex, access_flags: u32),
    >,
    pub wr_set_mkey_layout_list: ::std::option::Option<
        unsafe extern "C" fn(mqp: *mut mlx5dv_qp_ex, num_sges: u16, sge: *const ibv_sge),
    >,
    pub wr_set_mkey_layout_interleaved: ::std::option::Option<
        unsafe extern "C" fn(
            mqp: *mut mlx5dv_qp_ex,
            repeat_count: u32,
            num_interleaved: u16,
            data: *const mlx5dv_mr_interleaved,
        ),
    >,
    pub wr_set_mkey_sig_block: ::std::option::Option<
        unsafe extern "C" fn(mqp: *mut mlx5dv_qp_ex, attr: *const mlx5dv_sig_block_attr),
    >,
    pub wr_raw_wqe: ::std::option::Option<
        unsafe extern "C" fn(mqp: *mut mlx5dv_qp_ex, wqe: *const ::std::os::raw::c_void),
    >,
    pub wr_set_dc_addr_stream: ::std::option::Option<
        unsafe extern "C" fn(
            mqp: *mut mlx5dv_qp_ex,
            ah: *mut ibv_ah,
            remote_dctn: u32,
            remote_dc_key: u64,
            stream_id: u16,
        ),
    >,
    pub wr_memcpy: ::std::option::Option<
        unsafe extern "C" fn(
            mqp: *mut mlx5dv_qp_ex,
            dest_lkey: u32,
            dest_addr: u64,
            src_lkey: u32,
            src_addr: u64,
            length: usize,
        ),
    >,
    pub wr_set_mkey_crypto: ::std::option::Option<
        unsafe extern "C" fn(mqp: *mut mlx5dv_qp_ex, attr: *const mlx5dv_crypto_attr),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_qp_ex"][::std::mem::size_of::<mlx5dv_qp_ex>() - 104usize];
    ["Alignment of mlx5dv_qp_ex"][::std::mem::align_of::<mlx5dv_qp_ex>() - 8usize];
    [
        "Offset of field: mlx5dv_qp_ex::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, comp_mask) - 0usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_set_dc_addr",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_set_dc_addr) - 8usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_mr_interleaved",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_mr_interleaved) - 16usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_mr_list",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_mr_list) - 24usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_mkey_configure",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_mkey_configure) - 32usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_set_mkey_access_flags",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_set_mkey_access_flags) - 40usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_set_mkey_layout_list",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_set_mkey_layout_list) - 48usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_set_mkey_layout_interleaved",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_set_mkey_layout_interleaved) - 56usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_set_mkey_sig_block",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_set_mkey_sig_block) - 64usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_raw_wqe",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_raw_wqe) - 72usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_set_dc_addr_stream",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_set_dc_addr_stream) - 80usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_memcpy",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_memcpy) - 88usize];
    [
        "Offset of field: mlx5dv_qp_ex::wr_set_mkey_crypto",
    ][::std::mem::offset_of!(mlx5dv_qp_ex, wr_set_mkey_crypto) - 96usize];
};
impl Default for mlx5dv_qp_ex {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_DEK_INIT_ATTR_CRYPTO_LOGIN: mlx5dv_dek_init_attr_mask = 1;
pub type mlx5dv_dek_init_attr_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug)]
pub struct mlx5dv_dek {
    _unused: [u8; 0],
}
pub const MLX5DV_QP_MASK_UAR_MMAP_OFFSET: mlx5dv_qp_comp_mask = 1;
pub const MLX5DV_QP_MASK_RAW_QP_HANDLES: mlx5dv_qp_comp_mask = 2;
pub const MLX5DV_QP_MASK_RAW_QP_TIR_ADDR: mlx5dv_qp_comp_mask = 4;
pub type mlx5dv_qp_comp_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_qp {
    pub dbrec: *mut __be32,
    pub sq: mlx5dv_qp__bindgen_ty_1,
    pub rq: mlx5dv_qp__bindgen_ty_2,
    pub bf: mlx5dv_qp__bindgen_ty_3,
    pub comp_mask: u64,
    pub uar_mmap_offset: off_t,
    pub tirn: u32,
    pub tisn: u32,
    pub rqn: u32,
    pub sqn: u32,
    pub tir_icm_addr: u64,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_qp__bindgen_ty_1 {
    pub buf: *mut ::std::os::raw::c_void,
    pub wqe_cnt: u32,
    pub stride: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_qp__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5dv_qp__bindgen_ty_1>() - 16usize];
    [
        "Alignment of mlx5dv_qp__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5dv_qp__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_1::buf",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_1, buf) - 0usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_1::wqe_cnt",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_1, wqe_cnt) - 8usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_1::stride",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_1, stride) - 12usize];
};
impl Default for mlx5dv_qp__bindgen_ty_1 {
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
pub struct mlx5dv_qp__bindgen_ty_2 {
    pub buf: *mut ::std::os::raw::c_void,
    pub wqe_cnt: u32,
    pub stride: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_qp__bindgen_ty_2",
    ][::std::mem::size_of::<mlx5dv_qp__bindgen_ty_2>() - 16usize];
    [
        "Alignment of mlx5dv_qp__bindgen_ty_2",
    ][::std::mem::align_of::<mlx5dv_qp__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_2::buf",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_2, buf) - 0usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_2::wqe_cnt",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_2, wqe_cnt) - 8usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_2::stride",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_2, stride) - 12usize];
};
impl Default for mlx5dv_qp__bindgen_ty_2 {
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
pub struct mlx5dv_qp__bindgen_ty_3 {
    pub reg: *mut ::std::os::raw::c_void,
    pub size: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_qp__bindgen_ty_3",
    ][::std::mem::size_of::<mlx5dv_qp__bindgen_ty_3>() - 16usize];
    [
        "Alignment of mlx5dv_qp__bindgen_ty_3",
    ][::std::mem::align_of::<mlx5dv_qp__bindgen_ty_3>() - 8usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_3::reg",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_3, reg) - 0usize];
    [
        "Offset of field: mlx5dv_qp__bindgen_ty_3::size",
    ][::std::mem::offset_of!(mlx5dv_qp__bindgen_ty_3, size) - 8usize];
};
impl Default for mlx5dv_qp__bindgen_ty_3 {
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
    ["Size of mlx5dv_qp"][::std::mem::size_of::<mlx5dv_qp>() - 96usize];
    ["Alignment of mlx5dv_qp"][::std::mem::align_of::<mlx5dv_qp>() - 8usize];
    [
        "Offset of field: mlx5dv_qp::dbrec",
    ][::std::mem::offset_of!(mlx5dv_qp, dbrec) - 0usize];
    ["Offset of field: mlx5dv_qp::sq"][::std::mem::offset_of!(mlx5dv_qp, sq) - 8usize];
    ["Offset of field: mlx5dv_qp::rq"][::std::mem::offset_of!(mlx5dv_qp, rq) - 24usize];
    ["Offset of field: mlx5dv_qp::bf"][::std::mem::offset_of!(mlx5dv_qp, bf) - 40usize];
    [
        "Offset of field: mlx5dv_qp::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_qp, comp_mask) - 56usize];
    [
        "Offset of field: mlx5dv_qp::uar_mmap_offset",
    ][::std::mem::offset_of!(mlx5dv_qp, uar_mmap_offset) - 64usize];
    [
        "Offset of field: mlx5dv_qp::tirn",
    ][::std::mem::offset_of!(mlx5dv_qp, tirn) - 72usize];
    [
        "Offset of field: mlx5dv_qp::tisn",
    ][::std::mem::offset_of!(mlx5dv_qp, tisn) - 76usize];
    [
        "Offset of field: mlx5dv_qp::rqn",
    ][::std::mem::offset_of!(mlx5dv_qp, rqn) - 80usize];
    [
        "Offset of field: mlx5dv_qp::sqn",
    ][::std::mem::offset_of!(mlx5dv_qp, sqn) - 84usize];
    [
        "Offset of field: mlx5dv_qp::tir_icm_addr",
    ][::std::mem::offset_of!(mlx5dv_qp, tir_icm_addr) - 88usize];
};
impl Default for mlx5dv_qp {
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
pub struct mlx5dv_cq {
    pub buf: *mut ::std::os::raw::c_void,
    pub dbrec: *mut __be32,
    pub cqe_cnt: u32,
    pub cqe_size: u32,
    pub cq_uar: *mut ::std::os::raw::c_void,
    pub cqn: u32,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_cq"][::std::mem::size_of::<mlx5dv_cq>() - 48usize];
    ["Alignment of mlx5dv_cq"][::std::mem::align_of::<mlx5dv_cq>() - 8usize];
    ["Offset of field: mlx5dv_cq::buf"][::std::mem::offset_of!(mlx5dv_cq, buf) - 0usize];
    [
        "Offset of field: mlx5dv_cq::dbrec",
    ][::std::mem::offset_of!(mlx5dv_cq, dbrec) - 8usize];
    [
        "Offset of field: mlx5dv_cq::cqe_cnt",
    ][::std::mem::offset_of!(mlx5dv_cq, cqe_cnt) - 16usize];
    [
        "Offset of field: mlx5dv_cq::cqe_size",
    ][::std::mem::offset_of!(mlx5dv_cq, cqe_size) - 20usize];
    [
        "Offset of field: mlx5dv_cq::cq_uar",
    ][::std::mem::offset_of!(mlx5dv_cq, cq_uar) - 24usize];
    [
        "Offset of field: mlx5dv_cq::cqn",
    ][::std::mem::offset_of!(mlx5dv_cq, cqn) - 32usize];
    [
        "Offset of field: mlx5dv_cq::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_cq, comp_mask) - 40usize];
};
impl Default for mlx5dv_cq {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_SRQ_MASK_SRQN: mlx5dv_srq_comp_mask = 1;
pub type mlx5dv_srq_comp_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_srq {
    pub buf: *mut ::std::os::raw::c_void,
    pub dbrec: *mut __be32,
    pub stride: u32,
    pub head: u32,
    pub tail: u32,
    pub comp_mask: u64,
    pub srqn: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_srq"][::std::mem::size_of::<mlx5dv_srq>() - 48usize];
    ["Alignment of mlx5dv_srq"][::std::mem::align_of::<mlx5dv_srq>() - 8usize];
    [
        "Offset of field: mlx5dv_srq::buf",
    ][::std::mem::offset_of!(mlx5dv_srq, buf) - 0usize];
    [
        "Offset of field: mlx5dv_srq::dbrec",
    ][::std::mem::offset_of!(mlx5dv_srq, dbrec) - 8usize];
    [
        "Offset of field: mlx5dv_srq::stride",
    ][::std::mem::offset_of!(mlx5dv_srq, stride) - 16usize];
    [
        "Offset of field: mlx5dv_srq::head",
    ][::std::mem::offset_of!(mlx5dv_srq, head) - 20usize];
    [
        "Offset of field: mlx5dv_srq::tail",
    ][::std::mem::offset_of!(mlx5dv_srq, tail) - 24usize];
    [
        "Offset of field: mlx5dv_srq::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_srq, comp_mask) - 32usize];
    [
        "Offset of field: mlx5dv_srq::srqn",
    ][::std::mem::offset_of!(mlx5dv_srq, srqn) - 40usize];
};
impl Default for mlx5dv_srq {
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
pub struct mlx5dv_rwq {
    pub buf: *mut ::std::os::raw::c_void,
    pub dbrec: *mut __be32,
    pub wqe_cnt: u32,
    pub stride: u32,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_rwq"][::std::mem::size_of::<mlx5dv_rwq>() - 32usize];
    ["Alignment of mlx5dv_rwq"][::std::mem::align_of::<mlx5dv_rwq>() - 8usize];
    [
        "Offset of field: mlx5dv_rwq::buf",
    ][::std::mem::offset_of!(mlx5dv_rwq, buf) - 0usize];
    [
        "Offset of field: mlx5dv_rwq::dbrec",
    ][::std::mem::offset_of!(mlx5dv_rwq, dbrec) - 8usize];
    [
        "Offset of field: mlx5dv_rwq::wqe_cnt",
    ][::std::mem::offset_of!(mlx5dv_rwq, wqe_cnt) - 16usize];
    [
        "Offset of field: mlx5dv_rwq::stride",
    ][::std::mem::offset_of!(mlx5dv_rwq, stride) - 20usize];
    [
        "Offset of field: mlx5dv_rwq::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_rwq, comp_mask) - 24usize];
};
impl Default for mlx5dv_rwq {
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
pub struct mlx5dv_alloc_dm_attr {
    pub type_: mlx5_ib_uapi_dm_type,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_alloc_dm_attr",
    ][::std::mem::size_of::<mlx5dv_alloc_dm_attr>() - 16usize];
    [
        "Alignment of mlx5dv_alloc_dm_attr",
    ][::std::mem::align_of::<mlx5dv_alloc_dm_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_alloc_dm_attr::type_",
    ][::std::mem::offset_of!(mlx5dv_alloc_dm_attr, type_) - 0usize];
    [
        "Offset of field: mlx5dv_alloc_dm_attr::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_alloc_dm_attr, comp_mask) - 8usize];
};
impl Default for mlx5dv_alloc_dm_attr {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_DM_MASK_REMOTE_VA: mlx5dv_dm_comp_mask = 1;
pub type mlx5dv_dm_comp_mask = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_dm {
    pub buf: *mut ::std::os::raw::c_void,
    pub length: u64,
    pub comp_mask: u64,
    pub remote_va: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_dm"][::std::mem::size_of::<mlx5dv_dm>() - 32usize];
    ["Alignment of mlx5dv_dm"][::std::mem::align_of::<mlx5dv_dm>() - 8usize];
    ["Offset of field: mlx5dv_dm::buf"][::std::mem::offset_of!(mlx5dv_dm, buf) - 0usize];
    [
        "Offset of field: mlx5dv_dm::length",
    ][::std::mem::offset_of!(mlx5dv_dm, length) - 8usize];
    [
        "Offset of field: mlx5dv_dm::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_dm, comp_mask) - 16usize];
    [
        "Offset of field: mlx5dv_dm::remote_va",
    ][::std::mem::offset_of!(mlx5dv_dm, remote_va) - 24usize];
};
impl Default for mlx5dv_dm {
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
pub struct mlx5dv_ah {
    pub av: *mut mlx5_wqe_av,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_ah"][::std::mem::size_of::<mlx5dv_ah>() - 16usize];
    ["Alignment of mlx5dv_ah"][::std::mem::align_of::<mlx5dv_ah>() - 8usize];
    ["Offset of field: mlx5dv_ah::av"][::std::mem::offset_of!(mlx5dv_ah, av) - 0usize];
    [
        "Offset of field: mlx5dv_ah::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_ah, comp_mask) - 8usize];
};
impl Default for mlx5dv_ah {
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
pub struct mlx5dv_pd {
    pub pdn: u32,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_pd"][::std::mem::size_of::<mlx5dv_pd>() - 16usize];
    ["Alignment of mlx5dv_pd"][::std::mem::align_of::<mlx5dv_pd>() - 8usize];
    ["Offset of field: mlx5dv_pd::pdn"][::std::mem::offset_of!(mlx5dv_pd, pdn) - 0usize];
    [
        "Offset of field: mlx5dv_pd::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_pd, comp_mask) - 8usize];
};
impl Default for mlx5dv_pd {
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
pub struct mlx5dv_obj {
    pub qp: mlx5dv_obj__bindgen_ty_1,
    pub cq: mlx5dv_obj__bindgen_ty_2,
    pub srq: mlx5dv_obj__bindgen_ty_3,
    pub rwq: mlx5dv_obj__bindgen_ty_4,
    pub dm: mlx5dv_obj__bindgen_ty_5,
    pub ah: mlx5dv_obj__bindgen_ty_6,
    pub pd: mlx5dv_obj__bindgen_ty_7,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct mlx5dv_obj__bindgen_ty_1 {
    pub in_: *mut ibv_qp,
    pub out: *mut mlx5dv_qp,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_obj__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5dv_obj__bindgen_ty_1>() - 16usize];
    [
        "Alignment of mlx5dv_obj__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5dv_obj__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_1::in_",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_1, in_) - 0usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_1::out",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_1, out) - 8usize];
};
impl Default for mlx5dv_obj__bindgen_ty_1 {
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
pub struct mlx5dv_obj__bindgen_ty_2 {
    pub in_: *mut ibv_cq,
    pub out: *mut mlx5dv_cq,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_obj__bindgen_ty_2",
    ][::std::mem::size_of::<mlx5dv_obj__bindgen_ty_2>() - 16usize];
    [
        "Alignment of mlx5dv_obj__bindgen_ty_2",
    ][::std::mem::align_of::<mlx5dv_obj__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_2::in_",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_2, in_) - 0usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_2::out",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_2, out) - 8usize];
};
impl Default for mlx5dv_obj__bindgen_ty_2 {
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
pub struct mlx5dv_obj__bindgen_ty_3 {
    pub in_: *mut ibv_srq,
    pub out: *mut mlx5dv_srq,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_obj__bindgen_ty_3",
    ][::std::mem::size_of::<mlx5dv_obj__bindgen_ty_3>() - 16usize];
    [
        "Alignment of mlx5dv_obj__bindgen_ty_3",
    ][::std::mem::align_of::<mlx5dv_obj__bindgen_ty_3>() - 8usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_3::in_",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_3, in_) - 0usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_3::out",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_3, out) - 8usize];
};
impl Default for mlx5dv_obj__bindgen_ty_3 {
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
pub struct mlx5dv_obj__bindgen_ty_4 {
    pub in_: *mut ibv_wq,
    pub out: *mut mlx5dv_rwq,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_obj__bindgen_ty_4",
    ][::std::mem::size_of::<mlx5dv_obj__bindgen_ty_4>() - 16usize];
    [
        "Alignment of mlx5dv_obj__bindgen_ty_4",
    ][::std::mem::align_of::<mlx5dv_obj__bindgen_ty_4>() - 8usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_4::in_",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_4, in_) - 0usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_4::out",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_4, out) - 8usize];
};
impl Default for mlx5dv_obj__bindgen_ty_4 {
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
pub struct mlx5dv_obj__bindgen_ty_5 {
    pub in_: *mut ibv_dm,
    pub out: *mut mlx5dv_dm,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_obj__bindgen_ty_5",
    ][::std::mem::size_of::<mlx5dv_obj__bindgen_ty_5>() - 16usize];
    [
        "Alignment of mlx5dv_obj__bindgen_ty_5",
    ][::std::mem::align_of::<mlx5dv_obj__bindgen_ty_5>() - 8usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_5::in_",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_5, in_) - 0usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_5::out",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_5, out) - 8usize];
};
impl Default for mlx5dv_obj__bindgen_ty_5 {
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
pub struct mlx5dv_obj__bindgen_ty_6 {
    pub in_: *mut ibv_ah,
    pub out: *mut mlx5dv_ah,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_obj__bindgen_ty_6",
    ][::std::mem::size_of::<mlx5dv_obj__bindgen_ty_6>() - 16usize];
    [
        "Alignment of mlx5dv_obj__bindgen_ty_6",
    ][::std::mem::align_of::<mlx5dv_obj__bindgen_ty_6>() - 8usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_6::in_",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_6, in_) - 0usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_6::out",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_6, out) - 8usize];
};
impl Default for mlx5dv_obj__bindgen_ty_6 {
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
pub struct mlx5dv_obj__bindgen_ty_7 {
    pub in_: *mut ibv_pd,
    pub out: *mut mlx5dv_pd,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_obj__bindgen_ty_7",
    ][::std::mem::size_of::<mlx5dv_obj__bindgen_ty_7>() - 16usize];
    [
        "Alignment of mlx5dv_obj__bindgen_ty_7",
    ][::std::mem::align_of::<mlx5dv_obj__bindgen_ty_7>() - 8usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_7::in_",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_7, in_) - 0usize];
    [
        "Offset of field: mlx5dv_obj__bindgen_ty_7::out",
    ][::std::mem::offset_of!(mlx5dv_obj__bindgen_ty_7, out) - 8usize];
};
impl Default for mlx5dv_obj__bindgen_ty_7 {
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
    ["Size of mlx5dv_obj"][::std::mem::size_of::<mlx5dv_obj>() - 112usize];
    ["Alignment of mlx5dv_obj"][::std::mem::align_of::<mlx5dv_obj>() - 8usize];
    ["Offset of field: mlx5dv_obj::qp"][::std::mem::offset_of!(mlx5dv_obj, qp) - 0usize];
    [
        "Offset of field: mlx5dv_obj::cq",
    ][::std::mem::offset_of!(mlx5dv_obj, cq) - 16usize];
    [
        "Offset of field: mlx5dv_obj::srq",
    ][::std::mem::offset_of!(mlx5dv_obj, srq) - 32usize];
    [
        "Offset of field: mlx5dv_obj::rwq",
    ][::std::mem::offset_of!(mlx5dv_obj, rwq) - 48usize];
    [
        "Offset of field: mlx5dv_obj::dm",
    ][::std::mem::offset_of!(mlx5dv_obj, dm) - 64usize];
    [
        "Offset of field: mlx5dv_obj::ah",
    ][::std::mem::offset_of!(mlx5dv_obj, ah) - 80usize];
    [
        "Offset of field: mlx5dv_obj::pd",
    ][::std::mem::offset_of!(mlx5dv_obj, pd) - 96usize];
};
impl Default for mlx5dv_obj {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_OBJ_QP: mlx5dv_obj_type = 1;
pub const MLX5DV_OBJ_CQ: mlx5dv_obj_type = 2;
pub const MLX5DV_OBJ_SRQ: mlx5dv_obj_type = 4;
pub const MLX5DV_OBJ_RWQ: mlx5dv_obj_type = 8;
pub const MLX5DV_OBJ_DM: mlx5dv_obj_type = 16;
pub const MLX5DV_OBJ_AH: mlx5dv_obj_type = 32;
pub const MLX5DV_OBJ_PD: mlx5dv_obj_type = 64;
pub type mlx5dv_obj_type = ::std::os::raw::c_uint;
pub const MLX5DV_WQ_INIT_ATTR_MASK_STRIDING_RQ: mlx5dv_wq_init_attr_mask = 1;
pub type mlx5dv_wq_init_attr_mask = ::std::os::raw::c_uint;
pub const MLX5_OPCODE_NOP: ::std::os::raw::c_uint = 0;
pub const MLX5_OPCODE_SEND_INVAL: ::std::os::raw::c_uint = 1;
pub const MLX5_OPCODE_RDMA_WRITE: ::std::os::raw::c_uint = 8;
pub const MLX5_OPCODE_RDMA_WRITE_IMM: ::std::os::raw::c_uint = 9;
pub const MLX5_OPCODE_SEND: ::std::os::raw::c_uint = 10;
pub const MLX5_OPCODE_SEND_IMM: ::std::os::raw::c_uint = 11;
pub const MLX5_OPCODE_TSO: ::std::os::raw::c_uint = 14;
pub const MLX5_OPCODE_RDMA_READ: ::std::os::raw::c_uint = 16;
pub const MLX5_OPCODE_ATOMIC_CS: ::std::os::raw::c_uint = 17;
pub const MLX5_OPCODE_ATOMIC_FA: ::std::os::raw::c_uint = 18;
pub const MLX5_OPCODE_ATOMIC_MASKED_CS: ::std::os::raw::c_uint = 20;
pub const MLX5_OPCODE_ATOMIC_MASKED_FA: ::std::os::raw::c_uint = 21;
pub const MLX5_OPCODE_FMR: ::std::os::raw::c_uint = 25;
pub const MLX5_OPCODE_LOCAL_INVAL: ::std::os::raw::c_uint = 27;
pub const MLX5_OPCODE_CONFIG_CMD: ::std::os::raw::c_uint = 31;
pub const MLX5_OPCODE_SET_PSV: ::std::os::raw::c_uint = 32;
pub const MLX5_OPCODE_UMR: ::std::os::raw::c_uint = 37;
pub const MLX5_OPCODE_TAG_MATCHING: ::std::os::raw::c_uint = 40;
pub const MLX5_OPCODE_FLOW_TBL_ACCESS: ::std::os::raw::c_uint = 44;
pub const MLX5_OPCODE_MMO: ::std::os::raw::c_uint = 47;
pub const MLX5_INLINE_SCATTER_32: ::std::os::raw::c_uint = 4;
pub const MLX5_INLINE_SCATTER_64: ::std::os::raw::c_uint = 8;
pub const MLX5_CQE_SYNDROME_LOCAL_LENGTH_ERR: ::std::os::raw::c_uint = 1;
pub const MLX5_CQE_SYNDROME_LOCAL_QP_OP_ERR: ::std::os::raw::c_uint = 2;
pub const MLX5_CQE_SYNDROME_LOCAL_PROT_ERR: ::std::os::raw::c_uint = 4;
pub const MLX5_CQE_SYNDROME_WR_FLUSH_ERR: ::std::os::raw::c_uint = 5;
pub const MLX5_CQE_SYNDROME_MW_BIND_ERR: ::std::os::raw::c_uint = 6;
pub const MLX5_CQE_SYNDROME_BAD_RESP_ERR: ::std::os::raw::c_uint = 16;
pub const MLX5_CQE_SYNDROME_LOCAL_ACCESS_ERR: ::std::os::raw::c_uint = 17;
pub const MLX5_CQE_SYNDROME_REMOTE_INVAL_REQ_ERR: ::std::os::raw::c_uint = 18;
pub const MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR: ::std::os::raw::c_uint = 19;
pub const MLX5_CQE_SYNDROME_REMOTE_OP_ERR: ::std::os::raw::c_uint = 20;
pub const MLX5_CQE_SYNDROME_TRANSPORT_RETRY_EXC_ERR: ::std::os::raw::c_uint = 21;
pub const MLX5_CQE_SYNDROME_RNR_RETRY_EXC_ERR: ::std::os::raw::c_uint = 22;
pub const MLX5_CQE_SYNDROME_REMOTE_ABORTED_ERR: ::std::os::raw::c_uint = 34;
pub const MLX5_CQE_VENDOR_SYNDROME_ODP_PFAULT: ::std::os::raw::c_uint = 147;
pub const MLX5_CQE_L2_OK: ::std::os::raw::c_uint = 1;
pub const MLX5_CQE_L3_OK: ::std::os::raw::c_uint = 2;
pub const MLX5_CQE_L4_OK: ::std::os::raw::c_uint = 4;
pub const MLX5_CQE_L3_HDR_TYPE_NONE: ::std::os::raw::c_uint = 0;
pub const MLX5_CQE_L3_HDR_TYPE_IPV6: ::std::os::raw::c_uint = 1;
pub const MLX5_CQE_L3_HDR_TYPE_IPV4: ::std::os::raw::c_uint = 2;
pub const MLX5_CQE_OWNER_MASK: ::std::os::raw::c_uint = 1;
pub const MLX5_CQE_REQ: ::std::os::raw::c_uint = 0;
pub const MLX5_CQE_RESP_WR_IMM: ::std::os::raw::c_uint = 1;
pub const MLX5_CQE_RESP_SEND: ::std::os::raw::c_uint = 2;
pub const MLX5_CQE_RESP_SEND_IMM: ::std::os::raw::c_uint = 3;
pub const MLX5_CQE_RESP_SEND_INV: ::std::os::raw::c_uint = 4;
pub const MLX5_CQE_RESIZE_CQ: ::std::os::raw::c_uint = 5;
pub const MLX5_CQE_NO_PACKET: ::std::os::raw::c_uint = 6;
pub const MLX5_CQE_SIG_ERR: ::std::os::raw::c_uint = 12;
pub const MLX5_CQE_REQ_ERR: ::std::os::raw::c_uint = 13;
pub const MLX5_CQE_RESP_ERR: ::std::os::raw::c_uint = 14;
pub const MLX5_CQE_INVALID: ::std::os::raw::c_uint = 15;
pub const MLX5_CQ_DOORBELL: ::std::os::raw::c_uint = 32;
pub const MLX5_CQ_DB_REQ_NOT_SOL: ::std::os::raw::c_uint = 16777216;
pub const MLX5_CQ_DB_REQ_NOT: ::std::os::raw::c_uint = 0;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5_err_cqe {
    pub rsvd0: [u8; 32usize],
    pub srqn: u32,
    pub rsvd1: [u8; 18usize],
    pub vendor_err_synd: u8,
    pub syndrome: u8,
    pub s_wqe_opcode_qpn: u32,
    pub wqe_counter: u16,
    pub signature: u8,
    pub op_own: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5_err_cqe"][::std::mem::size_of::<mlx5_err_cqe>() - 64usize];
    ["Alignment of mlx5_err_cqe"][::std::mem::align_of::<mlx5_err_cqe>() - 4usize];
    [
        "Offset of field: mlx5_err_cqe::rsvd0",
    ][::std::mem::offset_of!(mlx5_err_cqe, rsvd0) - 0usize];
    [
        "Offset of field: mlx5_err_cqe::srqn",
    ][::std::mem::offset_of!(mlx5_err_cqe, srqn) - 32usize];
    [
        "Offset of field: mlx5_err_cqe::rsvd1",
    ][::std::mem::offset_of!(mlx5_err_cqe, rsvd1) - 36usize];
    [
        "Offset of field: mlx5_err_cqe::vendor_err_synd",
    ][::std::mem::offset_of!(mlx5_err_cqe, vendor_err_synd) - 54usize];
    [
        "Offset of field: mlx5_err_cqe::syndrome",
    ][::std::mem::offset_of!(mlx5_err_cqe, syndrome) - 55usize];
    [
        "Offset of field: mlx5_err_cqe::s_wqe_opcode_qpn",
    ][::std::mem::offset_of!(mlx5_err_cqe, s_wqe_opcode_qpn) - 56usize];
    [
        "Offset of field: mlx5_err_cqe::wqe_counter",
    ][::std::mem::offset_of!(mlx5_err_cqe, wqe_counter) - 60usize];
    [
        "Offset of field: mlx5_err_cqe::signature",
    ][::std::mem::offset_of!(mlx5_err_cqe, signature) - 62usize];
    [
        "Offset of field: mlx5_err_cqe::op_own",
    ][::std::mem::offset_of!(mlx5_err_cqe, op_own) - 63usize];
};
impl Default for mlx5_err_cqe {
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
pub struct mlx5_tm_cqe {
    pub success: __be32,
    pub hw_phase_cnt: __be16,
    pub rsvd0: [u8; 12usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5_tm_cqe"][::std::mem::size_of::<mlx5_tm_cqe>() - 20usize];
    ["Alignment of mlx5_tm_cqe"][::std::mem::align_of::<mlx5_tm_cqe>() - 4usize];
    [
        "Offset of field: mlx5_tm_cqe::success",
    ][::std::mem::offset_of!(mlx5_tm_cqe, success) - 0usize];
    [
        "Offset of field: mlx5_tm_cqe::hw_phase_cnt",
    ][::std::mem::offset_of!(mlx5_tm_cqe, hw_phase_cnt) - 4usize];
    [
        "Offset of field: mlx5_tm_cqe::rsvd0",
    ][::std::mem::offset_of!(mlx5_tm_cqe, rsvd0) - 6usize];
};
impl Default for mlx5_tm_cqe {
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
pub struct mlx5_cqe64 {
    pub __bindgen_anon_1: mlx5_cqe64__bindgen_ty_1,
    pub srqn_uidx: __be32,
    pub imm_inval_pkey: __be32,
    pub app: u8,
    pub app_op: u8,
    pub app_info: __be16,
    pub byte_cnt: __be32,
    pub timestamp: __be64,
    pub sop_drop_qpn: __be32,
    pub wqe_counter: __be16,
    pub signature: u8,
    pub op_own: u8,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union mlx5_cqe64__bindgen_ty_1 {
    pub __bindgen_anon_1: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1,
    pub tm_cqe: mlx5_tm_cqe,
    pub tmh: ibv_tmh,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5_cqe64__bindgen_ty_1__bindgen_ty_1 {
    pub rsvd0: [u8; 2usize],
    pub wqe_id: __be16,
    pub rsvd4: [u8; 13usize],
    pub ml_path: u8,
    pub rsvd20: [u8; 4usize],
    pub slid: __be16,
    pub flags_rqpn: __be32,
    pub hds_ip_ext: u8,
    pub l4_hdr_type_etc: u8,
    pub vlan_info: __be16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_cqe64__bindgen_ty_1__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5_cqe64__bindgen_ty_1__bindgen_ty_1>() - 32usize];
    [
        "Alignment of mlx5_cqe64__bindgen_ty_1__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5_cqe64__bindgen_ty_1__bindgen_ty_1>() - 4usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::rsvd0",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, rsvd0) - 0usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::wqe_id",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, wqe_id) - 2usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::rsvd4",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, rsvd4) - 4usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::ml_path",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, ml_path) - 17usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::rsvd20",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, rsvd20) - 18usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::slid",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, slid) - 22usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::flags_rqpn",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, flags_rqpn)
        - 24usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::hds_ip_ext",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, hds_ip_ext)
        - 28usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::l4_hdr_type_etc",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, l4_hdr_type_etc)
        - 29usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1__bindgen_ty_1::vlan_info",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1__bindgen_ty_1, vlan_info)
        - 30usize];
};
impl Default for mlx5_cqe64__bindgen_ty_1__bindgen_ty_1 {
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
        "Size of mlx5_cqe64__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5_cqe64__bindgen_ty_1>() - 32usize];
    [
        "Alignment of mlx5_cqe64__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5_cqe64__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1::tm_cqe",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1, tm_cqe) - 0usize];
    [
        "Offset of field: mlx5_cqe64__bindgen_ty_1::tmh",
    ][::std::mem::offset_of!(mlx5_cqe64__bindgen_ty_1, tmh) - 0usize];
};
impl Default for mlx5_cqe64__bindgen_ty_1 {
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
    ["Size of mlx5_cqe64"][::std::mem::size_of::<mlx5_cqe64>() - 64usize];
    ["Alignment of mlx5_cqe64"][::std::mem::align_of::<mlx5_cqe64>() - 8usize];
    [
        "Offset of field: mlx5_cqe64::srqn_uidx",
    ][::std::mem::offset_of!(mlx5_cqe64, srqn_uidx) - 32usize];
    [
        "Offset of field: mlx5_cqe64::imm_inval_pkey",
    ][::std::mem::offset_of!(mlx5_cqe64, imm_inval_pkey) - 36usize];
    [
        "Offset of field: mlx5_cqe64::app",
    ][::std::mem::offset_of!(mlx5_cqe64, app) - 40usize];
    [
        "Offset of field: mlx5_cqe64::app_op",
    ][::std::mem::offset_of!(mlx5_cqe64, app_op) - 41usize];
    [
        "Offset of field: mlx5_cqe64::app_info",
    ][::std::mem::offset_of!(mlx5_cqe64, app_info) - 42usize];
    [
        "Offset of field: mlx5_cqe64::byte_cnt",
    ][::std::mem::offset_of!(mlx5_cqe64, byte_cnt) - 44usize];
    [
        "Offset of field: mlx5_cqe64::timestamp",
    ][::std::mem::offset_of!(mlx5_cqe64, timestamp) - 48usize];
    [
        "Offset of field: mlx5_cqe64::sop_drop_qpn",
    ][::std::mem::offset_of!(mlx5_cqe64, sop_drop_qpn) - 56usize];
    [
        "Offset of field: mlx5_cqe64::wqe_counter",
    ][::std::mem::offset_of!(mlx5_cqe64, wqe_counter) - 60usize];
    [
        "Offset of field: mlx5_cqe64::signature",
    ][::std::mem::offset_of!(mlx5_cqe64, signature) - 62usize];
    [
        "Offset of field: mlx5_cqe64::op_own",
    ][::std::mem::offset_of!(mlx5_cqe64, op_own) - 63usize];
};
impl Default for mlx5_cqe64 {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_CQE_RES_FORMAT_HASH: mlx5dv_cqe_comp_res_format = 1;
pub const MLX5DV_CQE_RES_FORMAT_CSUM: mlx5dv_cqe_comp_res_format = 2;
pub const MLX5DV_CQE_RES_FORMAT_CSUM_STRIDX: mlx5dv_cqe_comp_res_format = 4;
pub type mlx5dv_cqe_comp_res_format = ::std::os::raw::c_uint;
pub const MLX5_INVALID_LKEY: ::std::os::raw::c_uint = 256;
pub const MLX5_EXTENDED_UD_AV: ::std::os::raw::c_uint = 2147483648;
pub const MLX5_WQE_CTRL_CQ_UPDATE: ::std::os::raw::c_uint = 8;
pub const MLX5_WQE_CTRL_SOLICITED: ::std::os::raw::c_uint = 2;
pub const MLX5_WQE_CTRL_FENCE: ::std::os::raw::c_uint = 128;
pub const MLX5_WQE_CTRL_INITIATOR_SMALL_FENCE: ::std::os::raw::c_uint = 32;
pub const MLX5_SEND_WQE_BB: ::std::os::raw::c_uint = 64;
pub const MLX5_SEND_WQE_SHIFT: ::std::os::raw::c_uint = 6;
pub const MLX5_INLINE_SEG: ::std::os::raw::c_uint = 2147483648;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5_wqe_srq_next_seg {
    pub rsvd0: [u8; 2usize],
    pub next_wqe_index: __be16,
    pub signature: u8,
    pub rsvd1: [u8; 11usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_srq_next_seg",
    ][::std::mem::size_of::<mlx5_wqe_srq_next_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_srq_next_seg",
    ][::std::mem::align_of::<mlx5_wqe_srq_next_seg>() - 2usize];
    [
        "Offset of field: mlx5_wqe_srq_next_seg::rsvd0",
    ][::std::mem::offset_of!(mlx5_wqe_srq_next_seg, rsvd0) - 0usize];
    [
        "Offset of field: mlx5_wqe_srq_next_seg::next_wqe_index",
    ][::std::mem::offset_of!(mlx5_wqe_srq_next_seg, next_wqe_index) - 2usize];
    [
        "Offset of field: mlx5_wqe_srq_next_seg::signature",
    ][::std::mem::offset_of!(mlx5_wqe_srq_next_seg, signature) - 4usize];
    [
        "Offset of field: mlx5_wqe_srq_next_seg::rsvd1",
    ][::std::mem::offset_of!(mlx5_wqe_srq_next_seg, rsvd1) - 5usize];
};
impl Default for mlx5_wqe_srq_next_seg {
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
pub struct mlx5_wqe_data_seg {
    pub byte_count: __be32,
    pub lkey: __be32,
    pub addr: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5_wqe_data_seg"][::std::mem::size_of::<mlx5_wqe_data_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_data_seg",
    ][::std::mem::align_of::<mlx5_wqe_data_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_data_seg::byte_count",
    ][::std::mem::offset_of!(mlx5_wqe_data_seg, byte_count) - 0usize];
    [
        "Offset of field: mlx5_wqe_data_seg::lkey",
    ][::std::mem::offset_of!(mlx5_wqe_data_seg, lkey) - 4usize];
    [
        "Offset of field: mlx5_wqe_data_seg::addr",
    ][::std::mem::offset_of!(mlx5_wqe_data_seg, addr) - 8usize];
};
impl Default for mlx5_wqe_data_seg {
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
pub struct mlx5_mprq_wqe {
    pub nseg: mlx5_wqe_srq_next_seg,
    pub dseg: mlx5_wqe_data_seg,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5_mprq_wqe"][::std::mem::size_of::<mlx5_mprq_wqe>() - 32usize];
    ["Alignment of mlx5_mprq_wqe"][::std::mem::align_of::<mlx5_mprq_wqe>() - 8usize];
    [
        "Offset of field: mlx5_mprq_wqe::nseg",
    ][::std::mem::offset_of!(mlx5_mprq_wqe, nseg) - 0usize];
    [
        "Offset of field: mlx5_mprq_wqe::dseg",
    ][::std::mem::offset_of!(mlx5_mprq_wqe, dseg) - 16usize];
};
impl Default for mlx5_mprq_wqe {
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
pub struct mlx5_wqe_av {
    pub key: mlx5_wqe_av__bindgen_ty_1,
    pub dqp_dct: __be32,
    pub stat_rate_sl: u8,
    pub fl_mlid: u8,
    pub rlid: __be16,
    pub reserved0: [u8; 4usize],
    pub rmac: [u8; 6usize],
    pub tclass: u8,
    pub hop_limit: u8,
    pub grh_gid_fl: __be32,
    pub rgid: [u8; 16usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union mlx5_wqe_av__bindgen_ty_1 {
    pub qkey: mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1,
    pub dc_key: __be64,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1 {
    pub qkey: __be32,
    pub reserved: __be32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1>() - 8usize];
    [
        "Alignment of mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1>() - 4usize];
    [
        "Offset of field: mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1::qkey",
    ][::std::mem::offset_of!(mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1, qkey) - 0usize];
    [
        "Offset of field: mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1::reserved",
    ][::std::mem::offset_of!(mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1, reserved)
        - 4usize];
};
impl Default for mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1 {
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
        "Size of mlx5_wqe_av__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5_wqe_av__bindgen_ty_1>() - 8usize];
    [
        "Alignment of mlx5_wqe_av__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5_wqe_av__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: mlx5_wqe_av__bindgen_ty_1::qkey",
    ][::std::mem::offset_of!(mlx5_wqe_av__bindgen_ty_1, qkey) - 0usize];
    [
        "Offset of field: mlx5_wqe_av__bindgen_ty_1::dc_key",
    ][::std::mem::offset_of!(mlx5_wqe_av__bindgen_ty_1, dc_key) - 0usize];
};
impl Default for mlx5_wqe_av__bindgen_ty_1 {
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
    ["Size of mlx5_wqe_av"][::std::mem::size_of::<mlx5_wqe_av>() - 48usize];
    ["Alignment of mlx5_wqe_av"][::std::mem::align_of::<mlx5_wqe_av>() - 8usize];
    [
        "Offset of field: mlx5_wqe_av::key",
    ][::std::mem::offset_of!(mlx5_wqe_av, key) - 0usize];
    [
        "Offset of field: mlx5_wqe_av::dqp_dct",
    ][::std::mem::offset_of!(mlx5_wqe_av, dqp_dct) - 8usize];
    [
        "Offset of field: mlx5_wqe_av::stat_rate_sl",
    ][::std::mem::offset_of!(mlx5_wqe_av, stat_rate_sl) - 12usize];
    [
        "Offset of field: mlx5_wqe_av::fl_mlid",
    ][::std::mem::offset_of!(mlx5_wqe_av, fl_mlid) - 13usize];
    [
        "Offset of field: mlx5_wqe_av::rlid",
    ][::std::mem::offset_of!(mlx5_wqe_av, rlid) - 14usize];
    [
        "Offset of field: mlx5_wqe_av::reserved0",
    ][::std::mem::offset_of!(mlx5_wqe_av, reserved0) - 16usize];
    [
        "Offset of field: mlx5_wqe_av::rmac",
    ][::std::mem::offset_of!(mlx5_wqe_av, rmac) - 20usize];
    [
        "Offset of field: mlx5_wqe_av::tclass",
    ][::std::mem::offset_of!(mlx5_wqe_av, tclass) - 26usize];
    [
        "Offset of field: mlx5_wqe_av::hop_limit",
    ][::std::mem::offset_of!(mlx5_wqe_av, hop_limit) - 27usize];
    [
        "Offset of field: mlx5_wqe_av::grh_gid_fl",
    ][::std::mem::offset_of!(mlx5_wqe_av, grh_gid_fl) - 28usize];
    [
        "Offset of field: mlx5_wqe_av::rgid",
    ][::std::mem::offset_of!(mlx5_wqe_av, rgid) - 32usize];
};
impl Default for mlx5_wqe_av {
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
pub struct mlx5_wqe_datagram_seg {
    pub av: mlx5_wqe_av,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_datagram_seg",
    ][::std::mem::size_of::<mlx5_wqe_datagram_seg>() - 48usize];
    [
        "Alignment of mlx5_wqe_datagram_seg",
    ][::std::mem::align_of::<mlx5_wqe_datagram_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_datagram_seg::av",
    ][::std::mem::offset_of!(mlx5_wqe_datagram_seg, av) - 0usize];
};
impl Default for mlx5_wqe_datagram_seg {
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
pub struct mlx5_wqe_raddr_seg {
    pub raddr: __be64,
    pub rkey: __be32,
    pub reserved: __be32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_raddr_seg",
    ][::std::mem::size_of::<mlx5_wqe_raddr_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_raddr_seg",
    ][::std::mem::align_of::<mlx5_wqe_raddr_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_raddr_seg::raddr",
    ][::std::mem::offset_of!(mlx5_wqe_raddr_seg, raddr) - 0usize];
    [
        "Offset of field: mlx5_wqe_raddr_seg::rkey",
    ][::std::mem::offset_of!(mlx5_wqe_raddr_seg, rkey) - 8usize];
    [
        "Offset of field: mlx5_wqe_raddr_seg::reserved",
    ][::std::mem::offset_of!(mlx5_wqe_raddr_seg, reserved) - 12usize];
};
impl Default for mlx5_wqe_raddr_seg {
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
pub struct mlx5_wqe_atomic_seg {
    pub swap_add: __be64,
    pub compare: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_atomic_seg",
    ][::std::mem::size_of::<mlx5_wqe_atomic_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_atomic_seg",
    ][::std::mem::align_of::<mlx5_wqe_atomic_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_atomic_seg::swap_add",
    ][::std::mem::offset_of!(mlx5_wqe_atomic_seg, swap_add) - 0usize];
    [
        "Offset of field: mlx5_wqe_atomic_seg::compare",
    ][::std::mem::offset_of!(mlx5_wqe_atomic_seg, compare) - 8usize];
};
impl Default for mlx5_wqe_atomic_seg {
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
pub struct mlx5_wqe_inl_data_seg {
    pub byte_count: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_inl_data_seg",
    ][::std::mem::size_of::<mlx5_wqe_inl_data_seg>() - 4usize];
    [
        "Alignment of mlx5_wqe_inl_data_seg",
    ][::std::mem::align_of::<mlx5_wqe_inl_data_seg>() - 4usize];
    [
        "Offset of field: mlx5_wqe_inl_data_seg::byte_count",
    ][::std::mem::offset_of!(mlx5_wqe_inl_data_seg, byte_count) - 0usize];
};
impl Default for mlx5_wqe_inl_data_seg {
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
pub struct mlx5_wqe_eth_seg {
    pub rsvd0: __be32,
    pub cs_flags: u8,
    pub rsvd1: u8,
    pub mss: __be16,
    pub rsvd2: __be32,
    pub inline_hdr_sz: __be16,
    pub inline_hdr_start: [u8; 2usize],
    pub inline_hdr: [u8; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5_wqe_eth_seg"][::std::mem::size_of::<mlx5_wqe_eth_seg>() - 32usize];
    [
        "Alignment of mlx5_wqe_eth_seg",
    ][::std::mem::align_of::<mlx5_wqe_eth_seg>() - 4usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::rsvd0",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, rsvd0) - 0usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::cs_flags",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, cs_flags) - 4usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::rsvd1",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, rsvd1) - 5usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::mss",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, mss) - 6usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::rsvd2",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, rsvd2) - 8usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::inline_hdr_sz",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, inline_hdr_sz) - 12usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::inline_hdr_start",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, inline_hdr_start) - 14usize];
    [
        "Offset of field: mlx5_wqe_eth_seg::inline_hdr",
    ][::std::mem::offset_of!(mlx5_wqe_eth_seg, inline_hdr) - 16usize];
};
impl Default for mlx5_wqe_eth_seg {
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
pub struct mlx5_wqe_tm_seg {
    pub opcode: u8,
    pub flags: u8,
    pub index: __be16,
    pub rsvd0: [u8; 2usize],
    pub sw_cnt: __be16,
    pub rsvd1: [u8; 8usize],
    pub append_tag: __be64,
    pub append_mask: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5_wqe_tm_seg"][::std::mem::size_of::<mlx5_wqe_tm_seg>() - 32usize];
    ["Alignment of mlx5_wqe_tm_seg"][::std::mem::align_of::<mlx5_wqe_tm_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::opcode",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, opcode) - 0usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::flags",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, flags) - 1usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::index",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, index) - 2usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::rsvd0",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, rsvd0) - 4usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::sw_cnt",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, sw_cnt) - 6usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::rsvd1",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, rsvd1) - 8usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::append_tag",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, append_tag) - 16usize];
    [
        "Offset of field: mlx5_wqe_tm_seg::append_mask",
    ][::std::mem::offset_of!(mlx5_wqe_tm_seg, append_mask) - 24usize];
};
impl Default for mlx5_wqe_tm_seg {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5_WQE_UMR_CTRL_FLAG_INLINE: ::std::os::raw::c_uint = 128;
pub const MLX5_WQE_UMR_CTRL_FLAG_CHECK_FREE: ::std::os::raw::c_uint = 32;
pub const MLX5_WQE_UMR_CTRL_FLAG_TRNSLATION_OFFSET: ::std::os::raw::c_uint = 16;
pub const MLX5_WQE_UMR_CTRL_FLAG_CHECK_QPN: ::std::os::raw::c_uint = 8;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_LEN: ::std::os::raw::c_uint = 1;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_START_ADDR: ::std::os::raw::c_uint = 64;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_SIG_ERR: ::std::os::raw::c_uint = 512;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_BSF_ENABLE: ::std::os::raw::c_uint = 4096;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_MKEY: ::std::os::raw::c_uint = 8192;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_QPN: ::std::os::raw::c_uint = 16384;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_ACCESS_LOCAL_WRITE: ::std::os::raw::c_uint = 262144;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_ACCESS_REMOTE_READ: ::std::os::raw::c_uint = 524288;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_ACCESS_REMOTE_WRITE: ::std::os::raw::c_uint = 1048576;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_ACCESS_ATOMIC: ::std::os::raw::c_uint = 2097152;
pub const MLX5_WQE_UMR_CTRL_MKEY_MASK_FREE: ::std::os::raw::c_uint = 536870912;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5_wqe_umr_ctrl_seg {
    pub flags: u8,
    pub rsvd0: [u8; 3usize],
    pub klm_octowords: __be16,
    pub __bindgen_anon_1: mlx5_wqe_umr_ctrl_seg__bindgen_ty_1,
    pub mkey_mask: __be64,
    pub rsvd1: [u8; 32usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union mlx5_wqe_umr_ctrl_seg__bindgen_ty_1 {
    pub translation_offset: __be16,
    pub bsf_octowords: __be16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_umr_ctrl_seg__bindgen_ty_1",
    ][::std::mem::size_of::<mlx5_wqe_umr_ctrl_seg__bindgen_ty_1>() - 2usize];
    [
        "Alignment of mlx5_wqe_umr_ctrl_seg__bindgen_ty_1",
    ][::std::mem::align_of::<mlx5_wqe_umr_ctrl_seg__bindgen_ty_1>() - 2usize];
    [
        "Offset of field: mlx5_wqe_umr_ctrl_seg__bindgen_ty_1::translation_offset",
    ][::std::mem::offset_of!(mlx5_wqe_umr_ctrl_seg__bindgen_ty_1, translation_offset)
        - 0usize];
    [
        "Offset of field: mlx5_wqe_umr_ctrl_seg__bindgen_ty_1::bsf_octowords",
    ][::std::mem::offset_of!(mlx5_wqe_umr_ctrl_seg__bindgen_ty_1, bsf_octowords)
        - 0usize];
};
impl Default for mlx5_wqe_umr_ctrl_seg__bindgen_ty_1 {
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
        "Size of mlx5_wqe_umr_ctrl_seg",
    ][::std::mem::size_of::<mlx5_wqe_umr_ctrl_seg>() - 48usize];
    [
        "Alignment of mlx5_wqe_umr_ctrl_seg",
    ][::std::mem::align_of::<mlx5_wqe_umr_ctrl_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_umr_ctrl_seg::flags",
    ][::std::mem::offset_of!(mlx5_wqe_umr_ctrl_seg, flags) - 0usize];
    [
        "Offset of field: mlx5_wqe_umr_ctrl_seg::rsvd0",
    ][::std::mem::offset_of!(mlx5_wqe_umr_ctrl_seg, rsvd0) - 1usize];
    [
        "Offset of field: mlx5_wqe_umr_ctrl_seg::klm_octowords",
    ][::std::mem::offset_of!(mlx5_wqe_umr_ctrl_seg, klm_octowords) - 4usize];
    [
        "Offset of field: mlx5_wqe_umr_ctrl_seg::mkey_mask",
    ][::std::mem::offset_of!(mlx5_wqe_umr_ctrl_seg, mkey_mask) - 8usize];
    [
        "Offset of field: mlx5_wqe_umr_ctrl_seg::rsvd1",
    ][::std::mem::offset_of!(mlx5_wqe_umr_ctrl_seg, rsvd1) - 16usize];
};
impl Default for mlx5_wqe_umr_ctrl_seg {
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
pub struct mlx5_wqe_umr_klm_seg {
    pub byte_count: __be32,
    pub mkey: __be32,
    pub address: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_umr_klm_seg",
    ][::std::mem::size_of::<mlx5_wqe_umr_klm_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_umr_klm_seg",
    ][::std::mem::align_of::<mlx5_wqe_umr_klm_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_umr_klm_seg::byte_count",
    ][::std::mem::offset_of!(mlx5_wqe_umr_klm_seg, byte_count) - 0usize];
    [
        "Offset of field: mlx5_wqe_umr_klm_seg::mkey",
    ][::std::mem::offset_of!(mlx5_wqe_umr_klm_seg, mkey) - 4usize];
    [
        "Offset of field: mlx5_wqe_umr_klm_seg::address",
    ][::std::mem::offset_of!(mlx5_wqe_umr_klm_seg, address) - 8usize];
};
impl Default for mlx5_wqe_umr_klm_seg {
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
pub union mlx5_wqe_umr_inline_seg {
    pub klm: mlx5_wqe_umr_klm_seg,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_umr_inline_seg",
    ][::std::mem::size_of::<mlx5_wqe_umr_inline_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_umr_inline_seg",
    ][::std::mem::align_of::<mlx5_wqe_umr_inline_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_umr_inline_seg::klm",
    ][::std::mem::offset_of!(mlx5_wqe_umr_inline_seg, klm) - 0usize];
};
impl Default for mlx5_wqe_umr_inline_seg {
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
pub struct mlx5_wqe_umr_repeat_ent_seg {
    pub stride: __be16,
    pub byte_count: __be16,
    pub memkey: __be32,
    pub va: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_umr_repeat_ent_seg",
    ][::std::mem::size_of::<mlx5_wqe_umr_repeat_ent_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_umr_repeat_ent_seg",
    ][::std::mem::align_of::<mlx5_wqe_umr_repeat_ent_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_ent_seg::stride",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_ent_seg, stride) - 0usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_ent_seg::byte_count",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_ent_seg, byte_count) - 2usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_ent_seg::memkey",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_ent_seg, memkey) - 4usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_ent_seg::va",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_ent_seg, va) - 8usize];
};
impl Default for mlx5_wqe_umr_repeat_ent_seg {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
pub struct mlx5_wqe_umr_repeat_block_seg {
    pub byte_count: __be32,
    pub op: __be32,
    pub repeat_count: __be32,
    pub reserved: __be16,
    pub num_ent: __be16,
    pub entries: __IncompleteArrayField<mlx5_wqe_umr_repeat_ent_seg>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_umr_repeat_block_seg",
    ][::std::mem::size_of::<mlx5_wqe_umr_repeat_block_seg>() - 16usize];
    [
        "Alignment of mlx5_wqe_umr_repeat_block_seg",
    ][::std::mem::align_of::<mlx5_wqe_umr_repeat_block_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_block_seg::byte_count",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_block_seg, byte_count) - 0usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_block_seg::op",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_block_seg, op) - 4usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_block_seg::repeat_count",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_block_seg, repeat_count) - 8usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_block_seg::reserved",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_block_seg, reserved) - 12usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_block_seg::num_ent",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_block_seg, num_ent) - 14usize];
    [
        "Offset of field: mlx5_wqe_umr_repeat_block_seg::entries",
    ][::std::mem::offset_of!(mlx5_wqe_umr_repeat_block_seg, entries) - 16usize];
};
impl Default for mlx5_wqe_umr_repeat_block_seg {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5_WQE_MKEY_CONTEXT_FREE: ::std::os::raw::c_uint = 64;
pub const MLX5_WQE_MKEY_CONTEXT_ACCESS_FLAGS_ATOMIC: ::std::os::raw::c_uint = 64;
pub const MLX5_WQE_MKEY_CONTEXT_ACCESS_FLAGS_REMOTE_WRITE: ::std::os::raw::c_uint = 32;
pub const MLX5_WQE_MKEY_CONTEXT_ACCESS_FLAGS_REMOTE_READ: ::std::os::raw::c_uint = 16;
pub const MLX5_WQE_MKEY_CONTEXT_ACCESS_FLAGS_LOCAL_WRITE: ::std::os::raw::c_uint = 8;
pub const MLX5_WQE_MKEY_CONTEXT_ACCESS_FLAGS_LOCAL_READ: ::std::os::raw::c_uint = 4;
#[repr(C)]
pub struct mlx5_wqe_mkey_context_seg {
    pub free: u8,
    pub reserved1: u8,
    pub access_flags: u8,
    pub sf: u8,
    pub qpn_mkey: __be32,
    pub reserved2: __be32,
    pub flags_pd: __be32,
    pub start_addr: __be64,
    pub len: __be64,
    pub bsf_octword_size: __be32,
    pub reserved3: [__be32; 4usize],
    pub translations_octword_size: __be32,
    pub reserved4: [u8; 3usize],
    pub log_page_size: u8,
    pub reserved: __be32,
    pub inseg: __IncompleteArrayField<mlx5_wqe_umr_inline_seg>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5_wqe_mkey_context_seg",
    ][::std::mem::size_of::<mlx5_wqe_mkey_context_seg>() - 64usize];
    [
        "Alignment of mlx5_wqe_mkey_context_seg",
    ][::std::mem::align_of::<mlx5_wqe_mkey_context_seg>() - 8usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::free",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, free) - 0usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::reserved1",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, reserved1) - 1usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::access_flags",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, access_flags) - 2usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::sf",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, sf) - 3usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::qpn_mkey",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, qpn_mkey) - 4usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::reserved2",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, reserved2) - 8usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::flags_pd",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, flags_pd) - 12usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::start_addr",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, start_addr) - 16usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::len",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, len) - 24usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::bsf_octword_size",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, bsf_octword_size) - 32usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::reserved3",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, reserved3) - 36usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::translations_octword_size",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, translations_octword_size)
        - 52usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::reserved4",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, reserved4) - 56usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::log_page_size",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, log_page_size) - 59usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::reserved",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, reserved) - 60usize];
    [
        "Offset of field: mlx5_wqe_mkey_context_seg::inseg",
    ][::std::mem::offset_of!(mlx5_wqe_mkey_context_seg, inseg) - 64usize];
};
impl Default for mlx5_wqe_mkey_context_seg {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_CTX_ATTR_BUF_ALLOCATORS: mlx5dv_set_ctx_attr_type = 1;
pub type mlx5dv_set_ctx_attr_type = ::std::os::raw::c_uint;
pub const MLX5_MMAP_GET_REGULAR_PAGES_CMD: ::std::os::raw::c_uint = 0;
pub const MLX5_MMAP_GET_NC_PAGES_CMD: ::std::os::raw::c_uint = 3;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_clock_info {
    pub nsec: u64,
    pub last_cycles: u64,
    pub frac: u64,
    pub mult: u32,
    pub shift: u32,
    pub mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_clock_info"][::std::mem::size_of::<mlx5dv_clock_info>() - 40usize];
    [
        "Alignment of mlx5dv_clock_info",
    ][::std::mem::align_of::<mlx5dv_clock_info>() - 8usize];
    [
        "Offset of field: mlx5dv_clock_info::nsec",
    ][::std::mem::offset_of!(mlx5dv_clock_info, nsec) - 0usize];
    [
        "Offset of field: mlx5dv_clock_info::last_cycles",
    ][::std::mem::offset_of!(mlx5dv_clock_info, last_cycles) - 8usize];
    [
        "Offset of field: mlx5dv_clock_info::frac",
    ][::std::mem::offset_of!(mlx5dv_clock_info, frac) - 16usize];
    [
        "Offset of field: mlx5dv_clock_info::mult",
    ][::std::mem::offset_of!(mlx5dv_clock_info, mult) - 24usize];
    [
        "Offset of field: mlx5dv_clock_info::shift",
    ][::std::mem::offset_of!(mlx5dv_clock_info, shift) - 28usize];
    [
        "Offset of field: mlx5dv_clock_info::mask",
    ][::std::mem::offset_of!(mlx5dv_clock_info, mask) - 32usize];
};
impl Default for mlx5dv_clock_info {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const MLX5DV_CONTEXT_FLAGS_DEVX: mlx5dv_context_attr_flags = 1;
pub type mlx5dv_context_attr_flags = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct mlx5dv_context_attr {
    pub flags: u32,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of mlx5dv_context_attr",
    ][::std::mem::size_of::<mlx5dv_context_attr>() - 16usize];
    [
        "Alignment of mlx5dv_context_attr",
    ][::std::mem::align_of::<mlx5dv_context_attr>() - 8usize];
    [
        "Offset of field: mlx5dv_context_attr::flags",
    ][::std::mem::offset_of!(mlx5dv_context_attr, flags) - 0usize];
    [
        "Offset of field: mlx5dv_context_attr::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_context_attr, comp_mask) - 8usize];
};
impl Default for mlx5dv_context_attr {
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
pub struct mlx5dv_devx_uar {
    pub reg_addr: *mut ::std::os::raw::c_void,
    pub base_addr: *mut ::std::os::raw::c_void,
    pub page_id: u32,
    pub mmap_off: off_t,
    pub comp_mask: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of mlx5dv_devx_uar"][::std::mem::size_of::<mlx5dv_devx_uar>() - 40usize];
    ["Alignment of mlx5dv_devx_uar"][::std::mem::align_of::<mlx5dv_devx_uar>() - 8usize];
    [
        "Offset of field: mlx5dv_devx_uar::reg_addr",
    ][::std::mem::offset_of!(mlx5dv_devx_uar, reg_addr) - 0usize];
    [
        "Offset of field: mlx5dv_devx_uar::base_addr",
    ][::std::mem::offset_of!(mlx5dv_devx_uar, base_addr) - 8usize];
    [
        "Offset of field: mlx5dv_devx_uar::page_id",
    ][::std::mem::offset_of!(mlx5dv_devx_uar, page_id) - 16usize];
    [
        "Offset of field: mlx5dv_devx_uar::mmap_off",
    ][::std::mem::offset_of!(mlx5dv_devx_uar, mmap_off) - 24usize];
    [
        "Offset of field: mlx5dv_devx_uar::comp_mask",
    ][::std::mem::offset_of!(mlx5dv_devx_uar, comp_mask) - 32usize];
};
impl Default for mlx5dv_devx_uar {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub struct Mlx5 {
    __library: ::libloading::Library,
    pub mlx5dv_create_cq: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            cq_attr: *mut ibv_cq_init_attr_ex,
            mlx5_cq_attr: *mut mlx5dv_cq_init_attr,
        ) -> *mut ibv_cq_ex,
        ::libloading::Error,
    >,
    pub mlx5dv_create_mkey: Result<
        unsafe extern "C" fn(
            mkey_init_attr: *mut mlx5dv_mkey_init_attr,
        ) -> *mut mlx5dv_mkey,
        ::libloading::Error,
    >,
    pub mlx5dv_destroy_mkey: Result<
        unsafe extern "C" fn(mkey: *mut mlx5dv_mkey) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_create_qp: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            qp_attr: *mut ibv_qp_init_attr_ex,
            mlx5_qp_attr: *mut mlx5dv_qp_init_attr,
        ) -> *mut ibv_qp,
        ::libloading::Error,
    >,
    pub mlx5dv_qp_ex_from_ibv_qp_ex: Result<
        unsafe extern "C" fn(qp: *mut ibv_qp_ex) -> *mut mlx5dv_qp_ex,
        ::libloading::Error,
    >,
    pub mlx5dv_query_device: Result<
        unsafe extern "C" fn(
            ctx_in: *mut ibv_context,
            attrs_out: *mut mlx5dv_context,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_map_ah_to_qp: Result<
        unsafe extern "C" fn(ah: *mut ibv_ah, qp_num: u32) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_alloc_dm: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            dm_attr: *mut ibv_alloc_dm_attr,
            mlx5_dm_attr: *mut mlx5dv_alloc_dm_attr,
        ) -> *mut ibv_dm,
        ::libloading::Error,
    >,
    pub mlx5dv_dm_map_op_addr: Result<
        unsafe extern "C" fn(dm: *mut ibv_dm, op: u8) -> *mut ::std::os::raw::c_void,
        ::libloading::Error,
    >,
    pub mlx5dv_init_obj: Result<
        unsafe extern "C" fn(
            obj: *mut mlx5dv_obj,
            obj_type: u64,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_set_context_attr: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            type_: mlx5dv_set_ctx_attr_type,
            attr: *mut ::std::os::raw::c_void,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_get_clock_info: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            clock_info: *mut mlx5dv_clock_info,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_is_supported: Result<
        unsafe extern "C" fn(device: *mut ibv_device) -> bool,
        ::libloading::Error,
    >,
    pub mlx5dv_open_device: Result<
        unsafe extern "C" fn(
            device: *mut ibv_device,
            attr: *mut mlx5dv_context_attr,
        ) -> *mut ibv_context,
        ::libloading::Error,
    >,
    pub _mlx5dv_query_port: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            port_num: u32,
            info: *mut mlx5_ib_uapi_query_port,
            info_len: usize,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_devx_alloc_uar: Result<
        unsafe extern "C" fn(
            context: *mut ibv_context,
            flags: u32,
        ) -> *mut mlx5dv_devx_uar,
        ::libloading::Error,
    >,
    pub mlx5dv_devx_free_uar: Result<
        unsafe extern "C" fn(devx_uar: *mut mlx5dv_devx_uar),
        ::libloading::Error,
    >,
    pub mlx5dv_query_qp_lag_port: Result<
        unsafe extern "C" fn(
            qp: *mut ibv_qp,
            port_num: *mut u8,
            active_port_num: *mut u8,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_modify_qp_lag_port: Result<
        unsafe extern "C" fn(qp: *mut ibv_qp, port_num: u8) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_modify_qp_udp_sport: Result<
        unsafe extern "C" fn(qp: *mut ibv_qp, udp_sport: u16) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_reserved_qpn_alloc: Result<
        unsafe extern "C" fn(
            ctx: *mut ibv_context,
            qpn: *mut u32,
        ) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
    pub mlx5dv_reserved_qpn_dealloc: Result<
        unsafe extern "C" fn(ctx: *mut ibv_context, qpn: u32) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
}
impl Mlx5 {
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
        let mlx5dv_create_cq = __library.get(b"mlx5dv_create_cq\0").map(|sym| *sym);
        let mlx5dv_create_mkey = __library.get(b"mlx5dv_create_mkey\0").map(|sym| *sym);
        let mlx5dv_destroy_mkey = __library
            .get(b"mlx5dv_destroy_mkey\0")
            .map(|sym| *sym);
        let mlx5dv_create_qp = __library.get(b"mlx5dv_create_qp\0").map(|sym| *sym);
        let mlx5dv_qp_ex_from_ibv_qp_ex = __library
            .get(b"mlx5dv_qp_ex_from_ibv_qp_ex\0")
            .map(|sym| *sym);
        let mlx5dv_query_device = __library
            .get(b"mlx5dv_query_device\0")
            .map(|sym| *sym);
        let mlx5dv_map_ah_to_qp = __library
            .get(b"mlx5dv_map_ah_to_qp\0")
            .map(|sym| *sym);
        let mlx5dv_alloc_dm = __library.get(b"mlx5dv_alloc_dm\0").map(|sym| *sym);
        let mlx5dv_dm_map_op_addr = __library
            .get(b"mlx5dv_dm_map_op_addr\0")
            .map(|sym| *sym);
        let mlx5dv_init_obj = __library.get(b"mlx5dv_init_obj\0").map(|sym| *sym);
        let mlx5dv_set_context_attr = __library
            .get(b"mlx5dv_set_context_attr\0")
            .map(|sym| *sym);
        let mlx5dv_get_clock_info = __library
            .get(b"mlx5dv_get_clock_info\0")
            .map(|sym| *sym);
        let mlx5dv_is_supported = __library
            .get(b"mlx5dv_is_supported\0")
            .map(|sym| *sym);
        let mlx5dv_open_device = __library.get(b"mlx5dv_open_device\0").map(|sym| *sym);
        let _mlx5dv_query_port = __library.get(b"_mlx5dv_query_port\0").map(|sym| *sym);
        let mlx5dv_devx_alloc_uar = __library
            .get(b"mlx5dv_devx_alloc_uar\0")
            .map(|sym| *sym);
        let mlx5dv_devx_free_uar = __library
            .get(b"mlx5dv_devx_free_uar\0")
            .map(|sym| *sym);
        let mlx5dv_query_qp_lag_port = __library
            .get(b"mlx5dv_query_qp_lag_port\0")
            .map(|sym| *sym);
        let mlx5dv_modify_qp_lag_port = __library
            .get(b"mlx5dv_modify_qp_lag_port\0")
            .map(|sym| *sym);
        let mlx5dv_modify_qp_udp_sport = __library
            .get(b"mlx5dv_modify_qp_udp_sport\0")
            .map(|sym| *sym);
        let mlx5dv_reserved_qpn_alloc = __library
            .get(b"mlx5dv_reserved_qpn_alloc\0")
            .map(|sym| *sym);
        let mlx5dv_reserved_qpn_dealloc = __library
            .get(b"mlx5dv_reserved_qpn_dealloc\0")
            .map(|sym| *sym);
        Ok(Mlx5 {
            __library,
            mlx5dv_create_cq,
            mlx5dv_create_mkey,
            mlx5dv_destroy_mkey,
            mlx5dv_create_qp,
            mlx5dv_qp_ex_from_ibv_qp_ex,
            mlx5dv_query_device,
            mlx5dv_map_ah_to_qp,
            mlx5dv_alloc_dm,
            mlx5dv_dm_map_op_addr,
            mlx5dv_init_obj,
            mlx5dv_set_context_attr,
            mlx5dv_get_clock_info,
            mlx5dv_is_supported,
            mlx5dv_open_device,
            _mlx5dv_query_port,
            mlx5dv_devx_alloc_uar,
            mlx5dv_devx_free_uar,
            mlx5dv_query_qp_lag_port,
            mlx5dv_modify_qp_lag_port,
            mlx5dv_modify_qp_udp_sport,
            mlx5dv_reserved_qpn_alloc,
            mlx5dv_reserved_qpn_dealloc,
        })
    }
    pub unsafe fn mlx5dv_create_cq(
        &self,
        context: *mut ibv_context,
        cq_attr: *mut ibv_cq_init_attr_ex,
        mlx5_cq_attr: *mut mlx5dv_cq_init_attr,
    ) -> Result<*mut ibv_cq_ex, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_create_cq, "mlx5dv_create_cq")?;
        Ok(unsafe { function(context, cq_attr, mlx5_cq_attr) })
    }
    pub unsafe fn mlx5dv_create_mkey(
        &self,
        mkey_init_attr: *mut mlx5dv_mkey_init_attr,
    ) -> Result<*mut mlx5dv_mkey, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_create_mkey, "mlx5dv_create_mkey")?;
        Ok(unsafe { function(mkey_init_attr) })
    }
    pub unsafe fn mlx5dv_destroy_mkey(
        &self,
        mkey: *mut mlx5dv_mkey,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_destroy_mkey, "mlx5dv_destroy_mkey")?;
        Ok(unsafe { function(mkey) })
    }
    pub unsafe fn mlx5dv_create_qp(
        &self,
        context: *mut ibv_context,
        qp_attr: *mut ibv_qp_init_attr_ex,
        mlx5_qp_attr: *mut mlx5dv_qp_init_attr,
    ) -> Result<*mut ibv_qp, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_create_qp, "mlx5dv_create_qp")?;
        Ok(unsafe { function(context, qp_attr, mlx5_qp_attr) })
    }
    pub unsafe fn mlx5dv_qp_ex_from_ibv_qp_ex(
        &self,
        qp: *mut ibv_qp_ex,
    ) -> Result<*mut mlx5dv_qp_ex, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_qp_ex_from_ibv_qp_ex, "mlx5dv_qp_ex_from_ibv_qp_ex")?;
        Ok(unsafe { function(qp) })
    }
    pub unsafe fn mlx5dv_query_device(
        &self,
        ctx_in: *mut ibv_context,
        attrs_out: *mut mlx5dv_context,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_query_device, "mlx5dv_query_device")?;
        Ok(unsafe { function(ctx_in, attrs_out) })
    }
    pub unsafe fn mlx5dv_map_ah_to_qp(
        &self,
        ah: *mut ibv_ah,
        qp_num: u32,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_map_ah_to_qp, "mlx5dv_map_ah_to_qp")?;
        Ok(unsafe { function(ah, qp_num) })
    }
    pub unsafe fn mlx5dv_alloc_dm(
        &self,
        context: *mut ibv_context,
        dm_attr: *mut ibv_alloc_dm_attr,
        mlx5_dm_attr: *mut mlx5dv_alloc_dm_attr,
    ) -> Result<*mut ibv_dm, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_alloc_dm, "mlx5dv_alloc_dm")?;
        Ok(unsafe { function(context, dm_attr, mlx5_dm_attr) })
    }
    pub unsafe fn mlx5dv_dm_map_op_addr(
        &self,
        dm: *mut ibv_dm,
        op: u8,
    ) -> Result<*mut ::std::os::raw::c_void, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_dm_map_op_addr, "mlx5dv_dm_map_op_addr")?;
        Ok(unsafe { function(dm, op) })
    }
    pub unsafe fn mlx5dv_init_obj(
        &self,
        obj: *mut mlx5dv_obj,
        obj_type: u64,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_init_obj, "mlx5dv_init_obj")?;
        Ok(unsafe { function(obj, obj_type) })
    }
    pub unsafe fn mlx5dv_set_context_attr(
        &self,
        context: *mut ibv_context,
        type_: mlx5dv_set_ctx_attr_type,
        attr: *mut ::std::os::raw::c_void,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_set_context_attr, "mlx5dv_set_context_attr")?;
        Ok(unsafe { function(context, type_, attr) })
    }
    pub unsafe fn mlx5dv_get_clock_info(
        &self,
        context: *mut ibv_context,
        clock_info: *mut mlx5dv_clock_info,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_get_clock_info, "mlx5dv_get_clock_info")?;
        Ok(unsafe { function(context, clock_info) })
    }
    pub unsafe fn mlx5dv_is_supported(
        &self,
        device: *mut ibv_device,
    ) -> Result<bool, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_is_supported, "mlx5dv_is_supported")?;
        Ok(unsafe { function(device) })
    }
    pub unsafe fn mlx5dv_open_device(
        &self,
        device: *mut ibv_device,
        attr: *mut mlx5dv_context_attr,
    ) -> Result<*mut ibv_context, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_open_device, "mlx5dv_open_device")?;
        Ok(unsafe { function(device, attr) })
    }
    pub unsafe fn _mlx5dv_query_port(
        &self,
        context: *mut ibv_context,
        port_num: u32,
        info: *mut mlx5_ib_uapi_query_port,
        info_len: usize,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self._mlx5dv_query_port, "_mlx5dv_query_port")?;
        Ok(unsafe { function(context, port_num, info, info_len) })
    }
    pub unsafe fn mlx5dv_devx_alloc_uar(
        &self,
        context: *mut ibv_context,
        flags: u32,
    ) -> Result<*mut mlx5dv_devx_uar, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_devx_alloc_uar, "mlx5dv_devx_alloc_uar")?;
        Ok(unsafe { function(context, flags) })
    }
    pub unsafe fn mlx5dv_devx_free_uar(
        &self,
        devx_uar: *mut mlx5dv_devx_uar,
    ) -> Result<(), crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_devx_free_uar, "mlx5dv_devx_free_uar")?;
        Ok(unsafe { function(devx_uar) })
    }
    pub unsafe fn mlx5dv_query_qp_lag_port(
        &self,
        qp: *mut ibv_qp,
        port_num: *mut u8,
        active_port_num: *mut u8,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_query_qp_lag_port, "mlx5dv_query_qp_lag_port")?;
        Ok(unsafe { function(qp, port_num, active_port_num) })
    }
    pub unsafe fn mlx5dv_modify_qp_lag_port(
        &self,
        qp: *mut ibv_qp,
        port_num: u8,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_modify_qp_lag_port, "mlx5dv_modify_qp_lag_port")?;
        Ok(unsafe { function(qp, port_num) })
    }
    pub unsafe fn mlx5dv_modify_qp_udp_sport(
        &self,
        qp: *mut ibv_qp,
        udp_sport: u16,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_modify_qp_udp_sport, "mlx5dv_modify_qp_udp_sport")?;
        Ok(unsafe { function(qp, udp_sport) })
    }
    pub unsafe fn mlx5dv_reserved_qpn_alloc(
        &self,
        ctx: *mut ibv_context,
        qpn: *mut u32,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_reserved_qpn_alloc, "mlx5dv_reserved_qpn_alloc")?;
        Ok(unsafe { function(ctx, qpn) })
    }
    pub unsafe fn mlx5dv_reserved_qpn_dealloc(
        &self,
        ctx: *mut ibv_context,
        qpn: u32,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.mlx5dv_reserved_qpn_dealloc, "mlx5dv_reserved_qpn_dealloc")?;
        Ok(unsafe { function(ctx, qpn) })
    }
    pub fn missing(&self) -> Vec<&'static str> {
        let symbols = [
            ("mlx5dv_create_cq", self.mlx5dv_create_cq.is_ok()),
            ("mlx5dv_create_mkey", self.mlx5dv_create_mkey.is_ok()),
            ("mlx5dv_destroy_mkey", self.mlx5dv_destroy_mkey.is_ok()),
            ("mlx5dv_create_qp", self.mlx5dv_create_qp.is_ok()),
            ("mlx5dv_qp_ex_from_ibv_qp_ex", self.mlx5dv_qp_ex_from_ibv_qp_ex.is_ok()),
            ("mlx5dv_query_device", self.mlx5dv_query_device.is_ok()),
            ("mlx5dv_map_ah_to_qp", self.mlx5dv_map_ah_to_qp.is_ok()),
            ("mlx5dv_alloc_dm", self.mlx5dv_alloc_dm.is_ok()),
            ("mlx5dv_dm_map_op_addr", self.mlx5dv_dm_map_op_addr.is_ok()),
            ("mlx5dv_init_obj", self.mlx5dv_init_obj.is_ok()),
            ("mlx5dv_set_context_attr", self.mlx5dv_set_context_attr.is_ok()),
            ("mlx5dv_get_clock_info", self.mlx5dv_get_clock_info.is_ok()),
            ("mlx5dv_is_supported", self.mlx5dv_is_supported.is_ok()),
            ("mlx5dv_open_device", self.mlx5dv_open_device.is_ok()),
            ("_mlx5dv_query_port", self._mlx5dv_query_port.is_ok()),
            ("mlx5dv_devx_alloc_uar", self.mlx5dv_devx_alloc_uar.is_ok()),
            ("mlx5dv_devx_free_uar", self.mlx5dv_devx_free_uar.is_ok()),
            ("mlx5dv_query_qp_lag_port", self.mlx5dv_query_qp_lag_port.is_ok()),
            ("mlx5dv_modify_qp_lag_port", self.mlx5dv_modify_qp_lag_port.is_ok()),
            ("mlx5dv_modify_qp_udp_sport", self.mlx5dv_modify_qp_udp_sport.is_ok()),
            ("mlx5dv_reserved_qpn_alloc", self.mlx5dv_reserved_qpn_alloc.is_ok()),
            ("mlx5dv_reserved_qpn_dealloc", self.mlx5dv_reserved_qpn_dealloc.is_ok()),
        ];
        symbols
            .into_iter()
            .filter(|(_, present)| !present)
            .map(|(symbol, _)| symbol)
            .collect()
    }
}
