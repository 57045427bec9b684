//! The numbers that every call of LLM-DataDist ends with. Given to callers in other languages; in Rust an error is a
//! [`DataDistError`](super::DataDistError), which knows its status.

use std::fmt;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $upstream:literal;)*) => {
        /// How a call ended: names and numbers of `llm_datadist.h`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Status {
            $($(#[$doc])* $name = $code,)*
        }

        impl Status {
            /// Every status.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name that it has in `llm_datadist.h`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $upstream,)*
                }
            }
        }
    };
}

statuses! {
    /// Done.
    Success = 0, "LLM_SUCCESS";
    /// The peer did not answer in time.
    WaitProcessTimeout = 0x5010_B001, "LLM_WAIT_PROC_TIMEOUT";
    /// No such cache, here or at the peer.
    KvCacheNotExist = 0x5010_B002, "LLM_KV_CACHE_NOT_EXIST";
    /// An argument that cannot be.
    ParamInvalid = 0x5010_B005, "LLM_PARAM_INVALID";
    /// There is no link to the cluster, or no longer.
    NotYetLink = 0x5010_B007, "LLM_NOT_YET_LINK";
    /// There is a link to the cluster already.
    AlreadyLink = 0x5010_B008, "LLM_ALREADY_LINK";
    /// The link could not be made.
    LinkFailed = 0x5010_B009, "LLM_LINK_FAILED";
    /// The cluster could not be reached to take the link down.
    UnlinkFailed = 0x5010_B00A, "LLM_UNLINK_FAILED";
    /// The link is down on this side; the other could not be told.
    NotifyPromptUnlinkFailed = 0x5010_B00B, "LLM_NOTIFY_PROMPT_UNLINK_FAILED";
    /// More clusters in one call than the limit that was set.
    ClusterNumberExceedsLimit = 0x5010_B00C, "LLM_CLUSTER_NUM_EXCEED_LIMIT";
    /// The link is being made or taken down by another call.
    ProcessingLink = 0x5010_B00D, "LLM_PROCESSING_LINK";
    /// No space for a cache that is placed on the device.
    DeviceOutOfMemory = 0x5010_B00E, "LLM_DEVICE_OUT_OF_MEMORY";
    /// The role cannot change while there are links.
    ExistLink = 0x5010_B018, "LLM_EXIST_LINK";
    /// Turned off by an option.
    FeatureNotEnabled = 0x5010_B019, "LLM_FEATURE_NOT_ENABLED";
    /// The transfer was not done in time.
    Timeout = 0x5010_B01A, "LLM_TIMEOUT";
    /// More operations at once on one link than the limit that was set.
    LinkBusy = 0x5010_B01B, "LLM_LINK_BUSY";
    /// No space for a cache that is placed on the host.
    OutOfMemory = 0x5010_B01C, "LLM_OUT_OF_MEMORY";
    /// Anything else: not initialised, or the device or the system failed.
    Failed = 0xFFFF_FFFF, "LLM_FAILED";
}

impl Status {
    /// Its number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The status of a number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.code() == code)
    }

    /// Whether it is [`Status::Success`].
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
