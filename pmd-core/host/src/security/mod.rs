//! Who may talk to this process, and who can read what is said: the pre-shared key, and the threat model.
//!
//! # In short
//! Give all processes the same key, [`Security::key`]: a file of 64 hexadecimal digits (`openssl rand -hex 32`, mode 600),
//! by `--key-file`, by `PMD_KEY_FILE`, or as bytes in the configuration. Then control connections, those of `af`'s
//! scheduler among them, are authenticated and encrypted, and so are the streams of the soft HCA over TCP. Without a key
//! nothing is authenticated: listen on a loopback address or on a network whose hosts all are trusted.
//!
//! **The key does not protect the bytes that a NIC moves, nor what processes of one host share.** See the table.
//!
//! # What the key does
//! | | without a key | with a key | with a key and [`Security::seal_data`] off |
//! |---|---|---|---|
//! | control connection | in the clear | authenticated, encrypted | authenticated, encrypted |
//! | data over TCP | in the clear | authenticated, encrypted | authenticated when it connects, then in the clear |
//! | data by a NIC (`mlx5`, `verbs`) | in the clear | **in the clear** | in the clear |
//! | data by shared memory | within the host | within the host | within the host |
//!
//! Both sides begin with a hello of fixed length in the clear, which says whether there is a key. If only one has a key,
//! both hear so ([`FrameError::OnlyOneKey`](crate::control::FrameError::OnlyOneKey)) and hang up; over TCP whoever
//! connects is answered with that or with "another key", and its route fails with a [`KeyMismatch`]. Else comes a
//! Noise handshake (`NNpsk0`, X25519, ChaCha20-Poly1305, BLAKE2s) over that hello. Nothing behind a hello is parsed
//! before it was verified. A side that is connected to counts the other one as a stranger until a record
//! of it has opened under the fresh keys, so a recorded handshake that is sent again gets nowhere. Records are
//! numbered: one that is changed, cut, left out, sent again, or sent back where it came from ends its
//! connection. Keys of long connections are renewed. Data is sealed where either side wants it: nobody can switch
//! that off for the other.
//!
//! # Who can do what
//! **Whoever has the key** is trusted with everything: it can connect to everybody, claim any name, read and write all
//! memory that is registered for remote access and whose remote key it was told, and stop service. The key says *one of
//! us*, not *who*. Between groups that do not trust each other there must be different keys. Where rails have devices of their
//! own ([`RailsConfig::ports`](crate::endpoint::RailsConfig::ports)), a peer that can name a region's remote key is told the
//! remote keys of the same bytes on those devices, with the same rights: that opens nothing which the first did not.
//!
//! **Somebody in the network without the key**, who can read, change, delay, drop and invent packets:
//! - can see who talks to whom, when and how much, the hellos (versions, and over TCP identities of devices, which are
//!   random, and numbers of queue pairs), and all data that a NIC moves;
//! - can cut connections (by a reset, or by dropping packets). Peers then are down, and what was in flight fails; it
//!   does not arrive changed. Of a READ or WRITE that fails, memory may hold a part, as it may whenever one fails;
//! - can occupy a bounded number of connections, see below;
//! - can connect two of ours with each other, and even one of ours with itself, and carry the sealed bytes in between. Such
//!   a relay changes nothing and reads nothing; a process that is led back to itself from another address
//!   notices ([`FrameError::Reflected`](crate::control::FrameError::Reflected));
//! - cannot read or change control traffic or sealed data, and cannot become a peer;
//! - with [`Security::seal_data`] off can read data, and change and add to it: in effect read and write
//!   all memory that is registered for remote access over such a connection. Use that on trusted networks only.
//!
//! **Somebody in the network, where there is no key**, can do all of this, and be a peer.
//!
//! **RDMA NICs.** InfiniBand and RoCE do not authenticate and do not encrypt. Whoever can put packets onto the
//! fabric and knows or guesses a queue pair's number, its packet number and a remote key (32 bits, chosen by the NIC or its
//! driver) can read and write registered memory. The control connection, which tells those numbers, is sealed by the key; the
//! fabric itself must be trusted: a network or VLAN of its own, InfiniBand partitions, or encryption by the
//! NIC (IPsec, MACsec) set up outside of this software.
//!
//! **Another user of the same host** cannot read shared memory, sockets or files of the soft HCA: all of its memory
//! is in anonymous files (memfd) that are handed over by descriptor, its sockets are abstract ones in which every connection is
//! asked for its user (`SO_PEERCRED`) before anything is read, and there is nothing under a path. `/proc/PID/fd` is
//! closed to others by the kernel. **Another process of the same user** may do as this one may: with
//! [`process_memory`](crate::soft::DeviceConfig::process_memory) it may also attach to it. A key changes nothing of
//! that, and is not asked for within a host's shared memory.
//!
//! **Remote keys** of the soft HCA have 16 random bits from the system's random source beside the number of their entry,
//! drawn anew for each registration: they find mistakes, such as the use of memory that was deregistered. They are
//! not passwords; what keeps strangers out is the pre-shared key. Identities of devices (128 bits), serial
//! numbers of connections (64) and the first packet numbers of NIC queue pairs are random too.
//!
//! # Strangers
//! A connection that has not proven that it knows the key, or without a key has not said who it is, is a stranger.
//! - Control: [`ControlConfig::anonymous_limit`](crate::control::ControlConfig::anonymous_limit) of them at a time (64),
//!   each for [`ControlConfig::hello_timeout`](crate::control::ControlConfig::hello_timeout) (3 s) at most and with some
//!   kilobytes of memory; for one more the oldest is hung up on, those first that have said nothing.
//! - TCP: 256 streams without a hello, 4096 that wait for the queue pair that they name, for 3 and 20 seconds;
//!   112 bytes and a handshake each.
//!
//! So ten thousand connections that say nothing cost bounded memory, and a peer that speaks at once gets through. Lengths
//! are checked before anything is allocated: memory grows with bytes that have arrived, a stranger's frame has
//! 4 KiB at most, a peer's 16 MiB, and no length from the network makes data buffers be allocated.
//!
//! # The key itself
//! It is read once, when an endpoint is configured. A file that others than its owner can read is refused. It
//! is not logged, `Debug` shows nothing of it, and this crate's copies are overwritten when they are dropped; those in the
//! Noise library live as long as its handshake and its connection and are freed as they are. To change the key, restart the
//! processes with the new one. There is no post-quantum key agreement: who records traffic today and has both the
//! pre-shared key and a quantum computer later can read it.

pub mod command;
mod key;
mod mismatch;
mod noise;
#[cfg(test)]
pub(crate) mod tests;

pub use key::{KEY_BYTES, KeyError, PreSharedKey};
pub use mismatch::KeyMismatch;
pub(crate) use noise::{Answering, Asking, Cipher, FIRST, NoiseFault, SECOND, TAG};

/// Whom an endpoint talks to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Security {
    /// What peers must know; `None` lets everybody in who reaches the ports.
    pub key: Option<PreSharedKey>,
    /// Encrypt data over TCP too, where there is a key. Without it streams are authenticated only when they connect. Data is
    /// encrypted where either side wants it.
    pub seal_data: bool,
}

impl Default for Security {
    /// No key.
    fn default() -> Self {
        Self { key: None, seal_data: true }
    }
}

impl Security {
    /// With this key, data encrypted.
    #[must_use]
    pub const fn with_key(key: PreSharedKey) -> Self {
        Self { key: Some(key), seal_data: true }
    }
}
