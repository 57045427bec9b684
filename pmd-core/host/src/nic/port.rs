//! A port of a NIC, as it was when the device was opened.
#![allow(unsafe_code)] // queries through libibverbs

use std::{fmt, io, ptr::NonNull};

use pmd_sys::{
    LoadError, Verbs,
    inline::{ibv_query_gid_table, ibv_query_port},
    verbs::*,
};

use super::{gid::GidEntry, mtu};

/// What a port's frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// InfiniBand: peers are addressed by LID, across subnets by GID.
    InfiniBand,
    /// Ethernet (RoCE): peers are addressed by GID.
    Ethernet,
}

/// State of a port (`ibv_port_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// No link.
    Down,
    /// Link, not configured by a subnet manager yet.
    Initializing,
    /// Configured, not activated yet.
    Armed,
    /// Usable.
    Active,
    /// Anything else, by rdma-core's number.
    Other(u32),
}

impl From<ibv_port_state> for PortState {
    fn from(state: ibv_port_state) -> Self {
        match state {
            IBV_PORT_DOWN => Self::Down,
            IBV_PORT_INIT => Self::Initializing,
            IBV_PORT_ARMED => Self::Armed,
            IBV_PORT_ACTIVE => Self::Active,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => formatter.write_str("down"),
            Self::Initializing => formatter.write_str("initializing"),
            Self::Armed => formatter.write_str("armed"),
            Self::Active => formatter.write_str("active"),
            Self::Other(state) => write!(formatter, "in state {state}"),
        }
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Number, from 1.
    pub number: u8,
    /// State when it was queried.
    pub state: PortState,
    /// What its frames are.
    pub link_layer: LinkLayer,
    /// Local identifier; 0 on Ethernet.
    pub lid: u16,
    /// Active MTU in bytes.
    pub mtu: u16,
    /// Longest message in bytes.
    pub max_message: u32,
    /// GID table without its empty entries.
    pub gids: Vec<GidEntry>,
}

/// Why a port could not be queried.
pub(super) enum QueryError {
    Library(LoadError),
    System { call: &'static str, source: io::Error },
}

impl From<LoadError> for QueryError {
    fn from(error: LoadError) -> Self {
        Self::Library(error)
    }
}

impl Port {
    /// Asks an open device.
    ///
    /// # Safety
    /// `context` is open.
    pub(super) unsafe fn query(
        verbs: &Verbs,
        context: NonNull<ibv_context>,
        number: u8,
    ) -> Result<Self, QueryError> {
        let mut attributes = ibv_port_attr::default();
        // SAFETY: the caller's promise.
        let failed = unsafe { ibv_query_port(verbs, context.as_ptr(), number, &mut attributes) }?;
        if failed != 0 {
            let source = io::Error::from_raw_os_error(failed.abs());
            return Err(QueryError::System { call: "ibv_query_port", source });
        }
        // SAFETY: the caller's promise.
        let gids = unsafe { gid_table(verbs, context, number) }?;
        Ok(Self {
            number,
            state: attributes.state.into(),
            link_layer: link_layer(&attributes),
            lid: attributes.lid,
            mtu: mtu::bytes(attributes.active_mtu),
            max_message: attributes.max_msg_sz,
            gids,
        })
    }
}

fn link_layer(attributes: &ibv_port_attr) -> LinkLayer {
    match u32::from(attributes.link_layer) {
        IBV_LINK_LAYER_ETHERNET => LinkLayer::Ethernet,
        // Unspecified means InfiniBand, as it was before RoCE.
        _ => LinkLayer::InfiniBand,
    }
}

/// The filled entries of a port's GID table.
///
/// # Safety
/// `context` is open.
unsafe fn gid_table(
    verbs: &Verbs,
    context: NonNull<ibv_context>,
    port: u8,
) -> Result<Vec<GidEntry>, QueryError> {
    // A port's table has at most 256 entries per link, ports are few.
    let mut entries = vec![ibv_gid_entry::default(); 1024];
    // SAFETY: the caller's promise; as many entries can be written as are announced.
    let count =
        unsafe { ibv_query_gid_table(verbs, context.as_ptr(), entries.as_mut_ptr(), entries.len(), 0) }?;
    let Ok(count) = usize::try_from(count) else {
        let source = io::Error::from_raw_os_error(count.unsigned_abs() as i32);
        return Err(QueryError::System { call: "ibv_query_gid_table", source });
    };
    let of_port = entries.iter().take(count).filter(|entry| entry.port_num == u32::from(port));
    Ok(of_port.filter_map(GidEntry::parse).collect())
}
