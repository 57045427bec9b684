//! Writes `src/bindings` from the installed rdma-core headers, or checks them: see the package `sys-generator`.

use std::process::ExitCode;

use sys_generator::Plan;

fn main() -> ExitCode {
    sys_generator::main(env!("CARGO_MANIFEST_DIR"), PLANS)
}

/// What all three have in common.
const RDMA_CORE: Plan = Plan {
    source: "rdma-core 44.0",
    packages: "libibverbs-dev librdmacm-dev",
    without_functions: NOT_WANTED,
    without_types: WITHOUT,
    opaque_types: STEERING,
    ..Plan::NOTHING
};

/// Every library bound, in order: later files build on earlier ones.
const PLANS: &[Plan] = &[
    Plan {
        file: "verbs.rs",
        header: "infiniband/verbs.h",
        table: "Verbs",
        imports: &["use libc::{pthread_cond_t, pthread_mutex_t, timespec};"],
        functions: "_?ibv_.*",
        types: "ibv_.*|verbs_context|_compat_ibv_port_attr|ib_uverbs_(access_flags|query_port_flags)",
        constants: "IBV_.*",
        ..RDMA_CORE
    },
    Plan {
        file: "mlx5.rs",
        header: "infiniband/mlx5dv.h",
        table: "Mlx5",
        imports: &[
            "use libc::off_t;",
            "use super::verbs::*;",
            "pub use crate::control_segment::mlx5_wqe_ctrl_seg;",
        ],
        functions: "_mlx5dv_query_port|mlx5dv_(is_supported|open_device|query_device|init_obj|set_context_attr\
            |get_clock_info|create_cq|create_qp|qp_ex_from_ibv_qp_ex|devx_(alloc|free)_uar|reserved_qpn_.*\
            |map_ah_to_qp|dm_map_op_addr|alloc_dm|create_mkey|destroy_mkey|query_qp_lag_port|modify_qp_lag_port\
            |modify_qp_udp_sport)",
        types: "mlx5_(wqe_.*|cqe64|err_cqe|tm_cqe|mprq_wqe)|mlx5_ib_uapi_uar_alloc_type\
            |mlx5dv_(obj|qp|cq|srq|rwq|dm|ah|pd|context|clock_info|port|devx_uar|qp_init_attr|cq_init_attr\
            |obj_type|qp_ex|context_attr|.*_comp_mask|qp_create_flags|context_(comp_mask|flags|attr_flags)\
            |.*_init_attr_mask|uar_alloc_type|set_ctx_attr_type|cqe_comp_res_format)",
        constants: "MLX5_(OPCODE|INLINE|CQE|CQ|INVALID|EXTENDED|WQE|SEND|RCV|SND|MMAP)_.*|MLX5DV_UAR_.*",
        elsewhere: FROM_VERBS,
        ..RDMA_CORE
    },
    Plan {
        file: "rdmacm.rs",
        header: "rdma/rdma_cma.h",
        table: "RdmaCm",
        imports: &[
            "use libc::{sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};",
            "use super::verbs::*;",
        ],
        functions: "rdma_.*",
        types: "rdma_.*",
        constants: "RDMA_.*",
        elsewhere: FROM_VERBS,
        ..RDMA_CORE
    },
];

/// Headers that `verbs.rs` covers.
const FROM_VERBS: &[&str] =
    &[".*/infiniband/verbs(_api)?\\.h", ".*/infiniband/ib_user_.*\\.h", ".*/linux/.*", ".*/asm-generic/.*"];
/// Packet steering, which no RDMA transfer uses: the structs keep their size and lose their inside.
const STEERING: &str = "ibv_flow_attr|ibv_flow_action_esp_attr";
/// Its details, and what is written by hand: packed and aligned at once, which bindgen gets wrong. off_t is libc's.
const WITHOUT: &str = "ibv_flow_(spec.*|.*_filter|attr_type|flags|action_esp_mask)|ib_uverbs_flow.*\
    |mlx5_wqe_ctrl_seg|off_t";

/// Functions with an own inline port, or that only other C code calls.
const NOT_WANTED: &str =
    "ibv_(static_providers|.*flow.*|.*_ece|(at|de)tach_mcast|read_sysfs_file|resolve_eth.*)";
