//! pmd-host's handshake and sealing, which are private there and stay so: their source is compiled in once more.
//!
//! Called by `handshake`, whose channel looks for it here as it does in pmd-host. The file that a key comes from is no
//! part of it.

#[path = "../../../pmd-core/host/src/security/noise.rs"]
#[allow(dead_code, unreachable_pub, reason = "not all of pmd-host's source is used")]
mod noise;

pub(crate) use noise::{Answering, Asking, Cipher, FIRST, NoiseFault, SECOND, TAG};

/// Stands for pmd-host's, which shows its bytes to nobody.
#[derive(Clone, Debug)]
pub(crate) struct PreSharedKey(pub(crate) [u8; 32]);

impl PreSharedKey {
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
