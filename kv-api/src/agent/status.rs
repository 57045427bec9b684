//! Statuses with NIXL's names and numbers: what a plug-in returns, and what people compare with.

/// Status of a call or a request; the numbers are those of NIXL's `nixl_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
#[non_exhaustive]
pub enum Status {
    /// Posted and not done.
    InProgress = 1,
    /// Done.
    Success = 0,
    /// Never posted.
    NotPosted = -1,
    /// An argument that cannot be.
    InvalidParameter = -2,
    /// The transport said no.
    Backend = -3,
    /// An agent, a registration or a descriptor that is not known, or not any more.
    NotFound = -4,
    /// Bytes that do not parse, or that belong to something else.
    Mismatch = -5,
    /// What is there already forbids it.
    NotAllowed = -6,
    /// A request that is active is not posted again, nor released before it is quiet.
    RepostActive = -7,
    /// The driver itself broke.
    Unknown = -8,
    /// Not offered.
    NotSupported = -9,
    /// The remote agent is gone, or was restarted.
    RemoteDisconnect = -10,
    /// Stopped on request.
    Canceled = -11,
    /// Telemetry was not switched on.
    NoTelemetry = -12,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 14] = [
        Self::InProgress,
        Self::Success,
        Self::NotPosted,
        Self::InvalidParameter,
        Self::Backend,
        Self::NotFound,
        Self::Mismatch,
        Self::NotAllowed,
        Self::RepostActive,
        Self::Unknown,
        Self::NotSupported,
        Self::RemoteDisconnect,
        Self::Canceled,
        Self::NoTelemetry,
    ];

    /// NIXL's number.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// NIXL's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "NIXL_IN_PROG",
            Self::Success => "NIXL_SUCCESS",
            Self::NotPosted => "NIXL_ERR_NOT_POSTED",
            Self::InvalidParameter => "NIXL_ERR_INVALID_PARAM",
            Self::Backend => "NIXL_ERR_BACKEND",
            Self::NotFound => "NIXL_ERR_NOT_FOUND",
            Self::Mismatch => "NIXL_ERR_MISMATCH",
            Self::NotAllowed => "NIXL_ERR_NOT_ALLOWED",
            Self::RepostActive => "NIXL_ERR_REPOST_ACTIVE",
            Self::Unknown => "NIXL_ERR_UNKNOWN",
            Self::NotSupported => "NIXL_ERR_NOT_SUPPORTED",
            Self::RemoteDisconnect => "NIXL_ERR_REMOTE_DISCONNECT",
            Self::Canceled => "NIXL_ERR_CANCELED",
            Self::NoTelemetry => "NIXL_ERR_NO_TELEMETRY",
        }
    }
}
