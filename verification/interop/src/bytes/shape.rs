//! What the queues of both sides look like: libmlx5 chooses, ours are made the same.

/// Sizes and numbers of a queue pair with its queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Number of the queue pair.
    pub(super) queue_pair: u32,
    /// 64-byte slots of the send queue.
    pub(super) send_slots: u32,
    /// Work requests that libmlx5 takes before one completes.
    pub(super) send_requests: u32,
    /// Gather entries.
    pub(super) sges: u32,
    /// Inline bytes.
    pub(super) inline: u32,
    /// Bytes of a half of the BlueFlame register; 0 without.
    pub(super) blue_flame: u32,
    /// Slots of the receive queue, own or shared.
    pub(super) receives: u32,
    /// Log2 of their bytes.
    pub(super) receive_shift: u32,
    /// Scatter entries of a receive.
    pub(super) receive_sges: u32,
    /// Whether receives come from a shared queue.
    pub(super) is_shared: bool,
    /// Number of the completion queue.
    pub(super) completion_queue: u32,
    /// Its entries.
    pub(super) entries: u32,
    /// Bytes of an entry.
    pub(super) entry_bytes: u32,
    /// Whether payload may lie in completion entries.
    pub(super) scatter_to_completion: bool,
}
