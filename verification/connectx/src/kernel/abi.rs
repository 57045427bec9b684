//! Numbers of the kernel's interface: `rdma/ib_user_verbs.h`, `rdma/ib_user_ioctl_cmds.h`, `rdma/mlx5-abi.h`,
//! `rdma/mlx5_user_ioctl_cmds.h`. Names are the headers', without their prefixes.

/// `enum ib_uverbs_write_cmds`: what `write()` and `INVOKE_WRITE` carry.
pub(super) mod command {
    pub(crate) const GET_CONTEXT: u32 = 0;
    pub(crate) const QUERY_DEVICE: u32 = 1;
    pub(crate) const QUERY_PORT: u32 = 2;
    pub(crate) const ALLOC_PD: u32 = 3;
    pub(crate) const DEALLOC_PD: u32 = 4;
    pub(crate) const CREATE_AH: u32 = 5;
    pub(crate) const DESTROY_AH: u32 = 8;
    pub(crate) const REG_MR: u32 = 9;
    pub(crate) const REREG_MR: u32 = 11;
    pub(crate) const DEREG_MR: u32 = 13;
    pub(crate) const CREATE_COMP_CHANNEL: u32 = 17;
    pub(crate) const CREATE_CQ: u32 = 18;
    pub(crate) const DESTROY_CQ: u32 = 20;
    pub(crate) const CREATE_QP: u32 = 24;
    pub(crate) const QUERY_QP: u32 = 25;
    pub(crate) const MODIFY_QP: u32 = 26;
    pub(crate) const DESTROY_QP: u32 = 27;
    pub(crate) const CREATE_SRQ: u32 = 32;
    pub(crate) const MODIFY_SRQ: u32 = 33;
    pub(crate) const QUERY_SRQ: u32 = 34;
    pub(crate) const DESTROY_SRQ: u32 = 35;

    /// Set in the command's number where the extended header follows.
    pub(crate) const EXTENDED: u32 = 0x8000_0000;
    /// The number itself.
    pub(crate) const MASK: u32 = 0xff;

    /// Bytes of a legacy command's structure and of its answer, without what the driver adds to them. A structure
    /// whose command has an answer begins with the answer's address.
    pub(crate) const fn sizes(number: u32) -> Option<(usize, usize)> {
        Some(match number {
            GET_CONTEXT => (8, 8),
            QUERY_DEVICE => (8, 176),
            QUERY_PORT => (16, 40),
            ALLOC_PD => (8, 4),
            DEALLOC_PD => (4, 0),
            CREATE_AH => (56, 4),
            DESTROY_AH => (4, 0),
            REG_MR => (40, 12),
            REREG_MR => (48, 8),
            DEREG_MR => (4, 0),
            CREATE_COMP_CHANNEL => (8, 4),
            CREATE_CQ => (32, 8),
            DESTROY_CQ => (16, 8),
            CREATE_QP => (56, 32),
            QUERY_QP => (16, 128),
            MODIFY_QP => (112, 0),
            DESTROY_QP => (16, 4),
            CREATE_SRQ => (32, 16),
            MODIFY_SRQ => (16, 0),
            QUERY_SRQ => (16, 16),
            DESTROY_SRQ => (16, 4),
            _ => return None,
        })
    }
}

/// Objects and methods of `RDMA_VERBS_IOCTL`.
pub(super) mod method {
    /// `_IOWR(0x1b, 1, struct ib_uverbs_ioctl_hdr)`.
    pub(crate) const VERBS_IOCTL: u64 = 0xc018_1b01;

    pub(crate) const INVOKE_WRITE: (u16, u16) = (0, 0);
    pub(crate) const QUERY_PORT: (u16, u16) = (0, 2);
    pub(crate) const GET_CONTEXT: (u16, u16) = (0, 3);
    pub(crate) const MR_DESTROY: (u16, u16) = (7, 1);
    pub(crate) const REG_DMABUF_MR: (u16, u16) = (7, 4);
    pub(crate) const AH_DESTROY: (u16, u16) = (6, 0);
    pub(crate) const CQ_CREATE: (u16, u16) = (3, 0);
    pub(crate) const CQ_DESTROY: (u16, u16) = (3, 1);
    pub(crate) const QP_CREATE: (u16, u16) = (4, 0);
    pub(crate) const QP_DESTROY: (u16, u16) = (4, 1);
    pub(crate) const SRQ_CREATE: (u16, u16) = (5, 0);
    pub(crate) const SRQ_DESTROY: (u16, u16) = (5, 1);
    pub(crate) const ASYNC_EVENT_ALLOC: (u16, u16) = (16, 0);
    /// mlx5's own object.
    pub(crate) const UAR_ALLOC: (u16, u16) = (0x1008, 0x1000);
    /// mlx5's own object.
    pub(crate) const UAR_DESTROY: (u16, u16) = (0x1008, 0x1001);
}

/// Attributes of those methods.
pub(super) mod attribute {
    /// What the driver adds to a request.
    pub(crate) const DRIVER_IN: u16 = 0x1000;
    /// What the driver adds to an answer.
    pub(crate) const DRIVER_OUT: u16 = 0x1001;

    pub(crate) const CORE_IN: u16 = 0;
    pub(crate) const CORE_OUT: u16 = 1;
    pub(crate) const WRITE_CMD: u16 = 2;

    pub(crate) const QUERY_PORT_NUMBER: u16 = 0;
    pub(crate) const QUERY_PORT_RESPONSE: u16 = 1;

    pub(crate) const CONTEXT_VECTORS: u16 = 0;
    pub(crate) const CONTEXT_CORE_SUPPORT: u16 = 1;

    /// The only attribute of the `DESTROY` methods of regions, address handles and asynchronous event files.
    pub(crate) const ONLY: u16 = 0;

    pub(crate) const DMABUF_HANDLE: u16 = 0;
    pub(crate) const DMABUF_DOMAIN: u16 = 1;
    pub(crate) const DMABUF_OFFSET: u16 = 2;
    pub(crate) const DMABUF_LENGTH: u16 = 3;
    pub(crate) const DMABUF_VIRTUAL_START: u16 = 4;
    pub(crate) const DMABUF_DESCRIPTOR: u16 = 5;
    pub(crate) const DMABUF_ACCESS: u16 = 6;
    pub(crate) const DMABUF_RESPONSE_LOCAL_KEY: u16 = 7;
    pub(crate) const DMABUF_RESPONSE_REMOTE_KEY: u16 = 8;

    pub(crate) const CQ_HANDLE: u16 = 0;
    pub(crate) const CQ_ENTRIES: u16 = 1;
    pub(crate) const CQ_USER_HANDLE: u16 = 2;
    pub(crate) const CQ_CHANNEL: u16 = 3;
    pub(crate) const CQ_FLAGS: u16 = 5;
    pub(crate) const CQ_RESPONSE_ENTRIES: u16 = 6;

    pub(crate) const QP_HANDLE: u16 = 0;
    pub(crate) const QP_DOMAIN: u16 = 2;
    pub(crate) const QP_SHARED_RECEIVES: u16 = 3;
    pub(crate) const QP_SEND_CQ: u16 = 4;
    pub(crate) const QP_RECEIVE_CQ: u16 = 5;
    pub(crate) const QP_USER_HANDLE: u16 = 7;
    pub(crate) const QP_CAPACITY: u16 = 8;
    pub(crate) const QP_TYPE: u16 = 9;
    pub(crate) const QP_FLAGS: u16 = 10;
    pub(crate) const QP_RESPONSE_CAPACITY: u16 = 13;
    pub(crate) const QP_RESPONSE_NUMBER: u16 = 14;

    pub(crate) const SRQ_HANDLE: u16 = 0;
    pub(crate) const SRQ_DOMAIN: u16 = 1;
    pub(crate) const SRQ_USER_HANDLE: u16 = 4;
    pub(crate) const SRQ_RECEIVES: u16 = 5;
    pub(crate) const SRQ_ELEMENTS: u16 = 6;
    pub(crate) const SRQ_LIMIT: u16 = 7;
    pub(crate) const SRQ_TYPE: u16 = 9;
    pub(crate) const SRQ_RESPONSE_RECEIVES: u16 = 11;
    pub(crate) const SRQ_RESPONSE_ELEMENTS: u16 = 12;

    /// Of the `DESTROY` methods of CQs, QPs and SRQs.
    pub(crate) const DESTROY_HANDLE: u16 = 0;
    /// As above.
    pub(crate) const DESTROY_RESPONSE: u16 = 1;

    pub(crate) const UAR_HANDLE: u16 = 0x1000;
    pub(crate) const UAR_TYPE: u16 = 0x1001;
    pub(crate) const UAR_OFFSET: u16 = 0x1002;
    pub(crate) const UAR_LENGTH: u16 = 0x1003;
    pub(crate) const UAR_PAGE: u16 = 0x1004;
}

/// Bits of `ibv_access_flags` that this device knows of.
pub(super) mod access {
    pub(crate) const LOCAL_WRITE: u32 = 1 << 0;
    pub(crate) const REMOTE_WRITE: u32 = 1 << 1;
    pub(crate) const REMOTE_ATOMIC: u32 = 1 << 3;
    pub(crate) const ZERO_BASED: u32 = 1 << 5;
    pub(crate) const ON_DEMAND: u32 = 1 << 6;
}
