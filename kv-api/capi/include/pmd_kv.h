/*
 * KV-cache transfer between prefill and decode over the poll-mode RDMA driver: the C interface.
 *
 * Every handle is opaque, and checked at every call: one that was released is PMD_KV_STATUS_INVALID_HANDLE, never
 * another object. Every function may be called from any thread. What went wrong in the last call of this thread that
 * failed is said by pmd_kv_last_error(). Text is UTF-8 and ends with a zero byte. Times are milliseconds.
 *
 * Written by cbindgen from kv-api/capi/src; do not edit.
 */

#ifndef PMD_KV_H
#define PMD_KV_H

#include <stddef.h>
#include <stdint.h>

// What a function of this library did. `pmd_kv_last_error()` says more.
typedef enum pmd_kv_status {
  // Done.
  PMD_KV_STATUS_OK = 0,
  // The transfer goes on.
  PMD_KV_STATUS_PENDING = 1,
  // A pointer is NULL that must not be.
  PMD_KV_STATUS_NULL_POINTER = 2,
  // There is no such object, or no more: it was released, or is of another kind.
  PMD_KV_STATUS_INVALID_HANDLE = 3,
  // An argument that cannot be: a range beyond its cache, text that is no address or not UTF-8, a size of zero.
  PMD_KV_STATUS_INVALID_ARGUMENT = 4,
  // The caller's memory is too small; the length that is needed was written.
  PMD_KV_STATUS_BUFFER_TOO_SMALL = 5,
  // It did not happen in the time given.
  PMD_KV_STATUS_TIMEOUT = 6,
  // The peer has nothing of that name.
  PMD_KV_STATUS_NOT_FOUND = 7,
  // The name is taken in this engine.
  PMD_KV_STATUS_NAME_TAKEN = 8,
  // The two caches differ in shape.
  PMD_KV_STATUS_MISMATCH = 9,
  // There is not enough memory, or it cannot be registered.
  PMD_KV_STATUS_MEMORY = 10,
  // The machine does not have what was asked for: the transport, the device, the address to listen on.
  PMD_KV_STATUS_UNAVAILABLE = 11,
  // Nobody answers at that address.
  PMD_KV_STATUS_CONNECT_FAILED = 12,
  // The peer is gone.
  PMD_KV_STATUS_PEER_DOWN = 13,
  // The transfer failed; a part of its bytes may have moved.
  PMD_KV_STATUS_FAILED = 14,
  // The transfer was cancelled and is quiet; a part of its bytes may have moved.
  PMD_KV_STATUS_CANCELLED = 15,
  // The transfer's deadline passed; it is quiet, and a part of its bytes may have moved.
  PMD_KV_STATUS_DEADLINE_EXCEEDED = 16,
  // A defect of this library, caught before it reached the caller.
  PMD_KV_STATUS_PANIC = 17,
} pmd_kv_status;

// A registered cache of this process.
typedef struct pmd_kv_cache pmd_kv_cache;

// One end of all cache transfers of a process.
typedef struct pmd_kv_engine pmd_kv_engine;

// An engine that this one is connected to.
typedef struct pmd_kv_peer pmd_kv_peer;

// A cache of a peer.
typedef struct pmd_kv_remote_cache pmd_kv_remote_cache;

// A transfer that was posted.
typedef struct pmd_kv_transfer pmd_kv_transfer;

// How an engine is made. What is zero or NULL is what the environment says (PMD_TRANSPORT, PMD_DEVICE, PMD_IDLE,
// PMD_QUEUE_PAIRS), or the default: write `pmd_kv_engine_options options = {0};` and then what you want.
typedef struct pmd_kv_engine_options {
  // Name told to peers.
  const char *name;
  // Address to listen on, "ip:port"; port 0 lets the system choose. NULL: the engine only connects.
  const char *listen;
  // "auto", "shm", "mlx5", "verbs", ...
  const char *transport;
  // Name of the NIC ("mlx5_0").
  const char *device;
  // What an idle lane does: "spin", "yield" or "park".
  const char *idle;
  // Queue pairs to each peer; both ends need the same number.
  uint32_t queue_pairs;
  // Longest notification in bytes.
  uint32_t message_bytes;
  // Longest wait for a peer's answer while connecting, in milliseconds.
  uint32_t patience_ms;
  // Silence after which a peer is down, in milliseconds.
  uint32_t down_after_ms;
} pmd_kv_engine_options;

// The shape of a cache: `layers` x `tensors_per_layer` tensors of `blocks` blocks of `block_bytes` bytes.
typedef struct pmd_kv_layout {
  // Transformer layers.
  uint32_t layers;
  // Tensors of one layer: 2 where K and V are apart, 1 where they are joined or latent.
  uint32_t tensors_per_layer;
  // Blocks of one tensor.
  uint32_t blocks;
  // Bytes of one block of one tensor.
  uint64_t block_bytes;
} pmd_kv_layout;

// Tensors that follow each other at one distance in memory.
typedef struct pmd_kv_tensor_run {
  // Block 0 of the run's first tensor.
  void *first;
  // Bytes from one tensor to the next.
  uint64_t tensor_stride;
  // Bytes from one block to the next within a tensor; at least the block's size.
  uint64_t block_stride;
  // Tensors in the run.
  uint32_t count;
} pmd_kv_tensor_run;

// Which part of a cache moves: block `source[i]` of the sending side goes to block `destination[i]` of the receiving
// side, in every tensor of the layers.
typedef struct pmd_kv_selection {
  // First layer, at the sending side.
  uint32_t first_layer;
  // One past the last layer; 0 for all from the first on.
  uint32_t end_layer;
  // What is added to a layer's number at the sending side to give its number at the receiving side.
  int32_t layer_shift;
  // Blocks where the bytes come from; may repeat. NULL: every block to the block of the same number.
  const uint32_t *source;
  // Blocks where they go, none twice. NULL exactly where `source` is.
  const uint32_t *destination;
  // Entries of both.
  size_t count;
} pmd_kv_selection;

// How a transfer is carried out.
typedef struct pmd_kv_post_options {
  // Bytes that the peer gets as a notification once all of the transfer is in place. NULL: none.
  const uint8_t *notification;
  // How many they are.
  size_t notification_bytes;
  // The transfer is given up when it is not done by then; 0: never.
  uint64_t deadline_ms;
} pmd_kv_post_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What went wrong in the last call of this thread that failed; empty when none has. Valid until another call of this
// thread fails.
const char *pmd_kv_last_error(void);

// Opens an engine. `options` may be NULL. Close it with `pmd_kv_engine_close`.
//
// # Safety
// `options` is NULL or points to options whose texts end with a zero byte; `engine` may be written.
enum pmd_kv_status pmd_kv_engine_open(const struct pmd_kv_engine_options *options,
                                      struct pmd_kv_engine **engine);

// Closes an engine: says goodbye to its peers, and fails what is in flight to them. Its caches, and transfers that
// have handles, are released on their own.
enum pmd_kv_status pmd_kv_engine_close(struct pmd_kv_engine *engine);

// Writes the address that peers connect to, as "ip:port", and its length without the zero byte at its end.
// `PMD_KV_STATUS_NOT_FOUND` when the engine does not listen.
//
// # Safety
// `room` has room for `capacity` bytes; `length` is NULL or may be written.
enum pmd_kv_status pmd_kv_engine_address(const struct pmd_kv_engine *engine,
                                         char *room,
                                         size_t capacity,
                                         size_t *length);

// Connects to the engine that listens at `address` (`ip:port`, `[ip]:port`). Release the peer with
// `pmd_kv_peer_release`.
//
// # Safety
// `address` ends with a zero byte; `peer` may be written.
enum pmd_kv_status pmd_kv_engine_connect(const struct pmd_kv_engine *engine,
                                         const char *address,
                                         struct pmd_kv_peer **peer);

// Waits for the next peer that has connected to this engine.
//
// # Safety
// `peer` may be written.
enum pmd_kv_status pmd_kv_engine_accept(const struct pmd_kv_engine *engine,
                                        uint64_t timeout_ms,
                                        struct pmd_kv_peer **peer);

// Waits for the next peer that goes down. The peer's handle is a new one, and `pmd_kv_peer_check` says why it is down.
//
// # Safety
// `peer` may be written.
enum pmd_kv_status pmd_kv_engine_wait_down(const struct pmd_kv_engine *engine,
                                           uint64_t timeout_ms,
                                           struct pmd_kv_peer **peer);

// Waits for the next notification, which a peer's transfer raised after its last byte, and copies it. When it is longer
// than `capacity`, `PMD_KV_STATUS_BUFFER_TOO_SMALL`, the length that is needed, and it stays the next one.
//
// # Safety
// `room` has room for `capacity` bytes; `length` and `peer` are NULL or may be written.
enum pmd_kv_status pmd_kv_engine_wait_notification(const struct pmd_kv_engine *engine,
                                                   uint64_t timeout_ms,
                                                   uint8_t *room,
                                                   size_t capacity,
                                                   size_t *length,
                                                   struct pmd_kv_peer **peer);

// Releases a peer's handle. The connection stays until the engine is closed or the peer is.
enum pmd_kv_status pmd_kv_peer_release(struct pmd_kv_peer *peer);

// Says goodbye to a peer: both sides see it go down, and transfers with it fail. The handle is still to be released.
enum pmd_kv_status pmd_kv_peer_close(const struct pmd_kv_peer *peer);

// `PMD_KV_STATUS_OK` while the peer lives, otherwise `PMD_KV_STATUS_PEER_DOWN`, and the reason as the last error.
enum pmd_kv_status pmd_kv_peer_check(const struct pmd_kv_peer *peer);

// Writes what carries the bytes to and from this peer ("shm", "mlx5", "verbs", ...), and its length without the zero
// byte at its end.
//
// # Safety
// `room` has room for `capacity` bytes; `length` is NULL or may be written.
enum pmd_kv_status pmd_kv_peer_transport(const struct pmd_kv_peer *peer,
                                         char *room,
                                         size_t capacity,
                                         size_t *length);

// Allocates and registers a cache, zeroed, in memory that peers of this host can map: the fastest kind. Peers look it
// up by its name. Release it with `pmd_kv_cache_release`.
//
// # Safety
// `name` ends with a zero byte; `layout` points to a layout; `cache` may be written.
enum pmd_kv_status pmd_kv_cache_allocate(const struct pmd_kv_engine *engine,
                                         const char *name,
                                         const struct pmd_kv_layout *layout,
                                         struct pmd_kv_cache **cache);

// Registers a cache in memory of the caller; `runs` say where its tensors lie. The memory stays mapped until the cache
// and every transfer with it are released, and is not touched while a transfer may.
//
// # Safety
// `name` ends with a zero byte; `layout` points to a layout and `runs` to `count` runs; what the runs name is mapped
// memory of this process, and stays so; `cache` may be written.
enum pmd_kv_status pmd_kv_cache_register(const struct pmd_kv_engine *engine,
                                         const char *name,
                                         const struct pmd_kv_layout *layout,
                                         const struct pmd_kv_tensor_run *runs,
                                         size_t count,
                                         struct pmd_kv_cache **cache);

// Writes the address of a block of a tensor (layer x tensors per layer + tensor).
//
// # Safety
// `address` may be written.
enum pmd_kv_status pmd_kv_cache_block(const struct pmd_kv_cache *cache,
                                      uint32_t tensor,
                                      uint32_t block,
                                      void **address);

// Releases a cache. Once no transfer with it is left no peer reaches its memory any more, and its name is free.
enum pmd_kv_status pmd_kv_cache_release(struct pmd_kv_cache *cache);

// Looks up a peer's cache by name. Release it with `pmd_kv_remote_cache_release`.
//
// # Safety
// `name` ends with a zero byte; `remote` may be written.
enum pmd_kv_status pmd_kv_remote_cache_open(const struct pmd_kv_engine *engine,
                                            const struct pmd_kv_peer *peer,
                                            const char *name,
                                            uint64_t timeout_ms,
                                            struct pmd_kv_remote_cache **remote);

// Writes the shape of a peer's cache.
//
// # Safety
// `layout` may be written.
enum pmd_kv_status pmd_kv_remote_cache_layout(const struct pmd_kv_remote_cache *remote,
                                              struct pmd_kv_layout *layout);

// Releases what was looked up.
enum pmd_kv_status pmd_kv_remote_cache_release(struct pmd_kv_remote_cache *remote);

// Moves the selected blocks of a peer's cache into one of ours. `selection` NULL: everything; `options` NULL: no
// notification, no deadline. Release the transfer with `pmd_kv_transfer_release`.
//
// # Safety
// `selection` and `options` are NULL or point to such structures, whose arrays have their counts; `transfer` may be
// written.
enum pmd_kv_status pmd_kv_pull(const struct pmd_kv_remote_cache *remote,
                               const struct pmd_kv_cache *cache,
                               const struct pmd_kv_selection *selection,
                               const struct pmd_kv_post_options *options,
                               struct pmd_kv_transfer **transfer);

// Moves the selected blocks of one of our caches into a peer's. As `pmd_kv_pull`.
//
// # Safety
// As `pmd_kv_pull`.
enum pmd_kv_status pmd_kv_push(const struct pmd_kv_remote_cache *remote,
                               const struct pmd_kv_cache *cache,
                               const struct pmd_kv_selection *selection,
                               const struct pmd_kv_post_options *options,
                               struct pmd_kv_transfer **transfer);

// Looks at a transfer and returns at once: `PMD_KV_STATUS_PENDING`, or its outcome. Once it has one, nothing of it is
// outstanding any more, whatever the outcome is.
//
// # Safety
// `bytes` is NULL or may be written; the bytes that moved are written when all have.
enum pmd_kv_status pmd_kv_transfer_poll(const struct pmd_kv_transfer *transfer,
                                        uint64_t *bytes);

// Waits for a transfer's outcome. After `PMD_KV_STATUS_TIMEOUT` it goes on. Any number of threads may wait for one.
//
// # Safety
// As `pmd_kv_transfer_poll`.
enum pmd_kv_status pmd_kv_transfer_wait(const struct pmd_kv_transfer *transfer,
                                        uint64_t timeout_ms,
                                        uint64_t *bytes);

// Stops a transfer and waits until it is quiet: when this returns, nothing will write the caller's memory on its
// behalf. `PMD_KV_STATUS_CANCELLED`, or `PMD_KV_STATUS_OK` when it was done before.
enum pmd_kv_status pmd_kv_transfer_cancel(const struct pmd_kv_transfer *transfer);

// Releases a transfer's handle. The transfer itself goes on: cancel it first if it is not to.
enum pmd_kv_status pmd_kv_transfer_release(struct pmd_kv_transfer *transfer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PMD_KV_H */
