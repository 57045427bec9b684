//! What is bound: one [`Plan`] per library, read by `command`.

use bindgen::callbacks::{DeriveTrait, ImplementsTrait, ParseCallbacks};
use bindgen::{Builder, Formatter, RustEdition, RustTarget};

/// Where Debian installs the headers.
pub(crate) const INCLUDE: &str = "/usr/include";
/// The packages that hold the headers.
pub(crate) const HEADER_PACKAGES: &str = "libibverbs-dev librdmacm-dev";
/// The packages that hold libclang and the headers that it needs itself.
pub(crate) const CLANG_PACKAGES: &str = "libclang1-14 libclang-common-14-dev";

/// One library: which header declares it and what of it is taken.
pub(crate) struct Plan {
    /// File under `src/bindings`.
    pub(crate) file: &'static str,
    /// Header under [`INCLUDE`].
    pub(crate) header: &'static str,
    /// Whose header it is.
    pub(crate) origin: &'static str,
    /// Name of the generated struct of function pointers.
    pub(crate) table: &'static str,
    /// Lines at the top of the file.
    pub(crate) imports: &'static [&'static str],
    functions: &'static str,
    types: &'static str,
    constants: &'static str,
    /// Headers whose items another file already has.
    elsewhere: &'static [&'static str],
}

/// Whose headers they are.
const RDMA_CORE: &str = "rdma-core 44.0";
/// Headers that the crate libc covers: their types differ between architectures.
const FROM_LIBC: &[&str] = &[".*/bits/.*", ".*/sys/.*", ".*/netinet/.*", ".*/linux/socket\\.h"];
/// Headers that `verbs.rs` covers.
const FROM_VERBS: &[&str] =
    &[".*/infiniband/verbs(_api)?\\.h", ".*/infiniband/ib_user_.*\\.h", ".*/linux/.*", ".*/asm-generic/.*"];
/// Packet steering, which no RDMA transfer uses: the structs keep their size and lose their inside.
const STEERING: &str = "ibv_flow_attr|ibv_flow_action_esp_attr";
const STEERING_DETAILS: &str = "ibv_flow_(spec.*|.*_filter|attr_type|flags|action_esp_mask)|ib_uverbs_flow.*";

/// Functions with an own inline port, or that only other C code calls.
const NOT_WANTED: &str =
    "ibv_(static_providers|.*flow.*|.*_ece|(at|de)tach_mcast|read_sysfs_file|resolve_eth.*)";

/// Every library bound, in order: later files build on earlier ones.
pub(crate) const PLANS: &[Plan] = &[
    Plan {
        file: "verbs.rs",
        header: "infiniband/verbs.h",
        origin: RDMA_CORE,
        table: "Verbs",
        imports: &["use libc::{pthread_cond_t, pthread_mutex_t, timespec};"],
        functions: "_?ibv_.*",
        types: "ibv_.*|verbs_context|_compat_ibv_port_attr|ib_uverbs_(access_flags|query_port_flags)",
        constants: "IBV_.*",
        elsewhere: &[],
    },
    Plan {
        file: "mlx5.rs",
        header: "infiniband/mlx5dv.h",
        origin: RDMA_CORE,
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
    },
    Plan {
        file: "rdmacm.rs",
        header: "rdma/rdma_cma.h",
        origin: RDMA_CORE,
        table: "RdmaCm",
        imports: &[
            "use libc::{sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};",
            "use super::verbs::*;",
        ],
        functions: "rdma_.*",
        types: "rdma_.*",
        constants: "RDMA_.*",
        elsewhere: FROM_VERBS,
    },
];

impl Plan {
    /// bindgen, set up for this library.
    pub(crate) fn builder(&self) -> Builder {
        let mut builder = Builder::default()
            .header(format!("{INCLUDE}/{}", self.header))
            // Fixed, so that the output is the same on every machine.
            .clang_args(["--target=x86_64-unknown-linux-gnu", "-I/usr/include/x86_64-linux-gnu"])
            .rust_target(RustTarget::stable(88, 0).expect("a version that bindgen knows"))
            .rust_edition(RustEdition::Edition2024)
            .formatter(Formatter::None)
            .dynamic_library_name(self.table)
            .dynamic_link_require_all(false)
            .layout_tests(true)
            .prepend_enum_name(false)
            .generate_comments(false)
            .derive_default(true)
            .size_t_is_usize(true)
            .disable_header_comment()
            .allowlist_function(self.functions)
            .allowlist_type(self.types)
            .allowlist_var(self.constants)
            .blocklist_function(NOT_WANTED)
            .opaque_type(STEERING)
            .blocklist_type(STEERING_DETAILS)
            // Packed and aligned at once, which bindgen gets wrong: written by hand. off_t is libc's.
            .blocklist_type("mlx5_wqe_ctrl_seg|off_t")
            .parse_callbacks(Box::new(ElsewhereIsPlain));
        for header in FROM_LIBC.iter().chain(self.elsewhere) {
            builder = builder.blocklist_file(header);
        }
        builder
    }
}

/// Types that come from another file or from libc are plain data: copying and printing them is fine.
#[derive(Debug)]
struct ElsewhereIsPlain;

impl ParseCallbacks for ElsewhereIsPlain {
    fn blocklisted_type_implements_trait(&self, _name: &str, wanted: DeriveTrait) -> Option<ImplementsTrait> {
        matches!(wanted, DeriveTrait::Copy).then_some(ImplementsTrait::Yes)
    }
}
