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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Leaves a row without a key.
#define PMD_DATADIST_KEY_NONE 0

// A row, by the request that it was computed for.
#define PMD_DATADIST_KEY_REQUEST 1

// A row, by the prefix that it was computed for.
#define PMD_DATADIST_KEY_PREFIX 2

// The cache of blocks of a model.
#define PMD_DATADIST_KEY_BLOCKS 3

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
  // The name, or the tag of a stream, is taken in this engine.
  PMD_KV_STATUS_NAME_TAKEN = 8,
  // The two sides differ: caches in shape, or a message is longer than the receive that it met.
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
  // So much is under way already: wait for some of it.
  PMD_KV_STATUS_BUSY = 18,
} pmd_kv_status;

// One end of the transfers of a process: a cluster.
typedef struct pmd_datadist pmd_datadist;

// A task that runs.
typedef struct pmd_datadist_task pmd_datadist_task;

// A HIXL engine.
typedef struct pmd_hixl pmd_hixl;

// Links that were asked for asynchronously.
typedef struct pmd_hixl_links pmd_hixl_links;

// Notifications that were taken.
typedef struct pmd_hixl_notifies pmd_hixl_notifies;

// How transfers stand.
typedef struct pmd_hixl_results pmd_hixl_results;

// The layers of a stream, at the receiving side.
typedef struct pmd_kv_arrivals pmd_kv_arrivals;

// A registered cache of this process.
typedef struct pmd_kv_cache pmd_kv_cache;

// One end of all cache transfers of a process.
typedef struct pmd_kv_engine pmd_kv_engine;

// A peer's transfer, with a cache of this engine, that failed.
typedef struct pmd_kv_failure pmd_kv_failure;

// An engine that this one is connected to.
typedef struct pmd_kv_peer pmd_kv_peer;

// A cache of a peer.
typedef struct pmd_kv_remote_cache pmd_kv_remote_cache;

// A stream of layers, at the sending side.
typedef struct pmd_kv_stream pmd_kv_stream;

// A transfer that was posted.
typedef struct pmd_kv_transfer pmd_kv_transfer;

// A KVTrans engine.
typedef struct pmd_kvtrans pmd_kvtrans;

// A send or receive under way.
typedef struct pmd_kvtrans_operation pmd_kvtrans_operation;

// An option of LLM-DataDist or HIXL.
typedef struct pmd_kv_option {
  // Its name.
  const char *name;
  // Its value.
  const char *value;
} pmd_kv_option;

// Where a cluster listens (`IpInfo`).
typedef struct pmd_datadist_address {
  // IPv4 or IPv6, as text.
  const char *ip;
  // Its port.
  uint16_t port;
} pmd_datadist_address;

// A cluster to link with (`ClusterInfo`).
typedef struct pmd_datadist_cluster {
  // Number of the cluster.
  uint64_t remote_cluster_id;
  // 0 for prompt, 1 for decoder; a label.
  int32_t remote_role;
  // Addresses of this side; not needed.
  const struct pmd_datadist_address *local;
  // How many.
  size_t local_count;
  // Where the cluster listens: one.
  const struct pmd_datadist_address *remote;
  // How many.
  size_t remote_count;
} pmd_datadist_cluster;

// What a cache is found by, beside its number (`CacheKey`, `BlocksCacheKey` of the Python interface).
typedef struct pmd_datadist_key {
  // `PMD_DATADIST_KEY_NONE`, `_REQUEST`, `_PREFIX` or `_BLOCKS`.
  uint32_t kind;
  // The request or the prefix.
  uint64_t id;
  // The model.
  uint64_t model_id;
} pmd_datadist_key;

// The shape of a cache (`CacheDesc`). Write `pmd_datadist_cache_desc desc = {0};` and then what you want.
typedef struct pmd_datadist_cache_desc {
  // 0 for the host's memory, 1 for a device's: that of accelerators which PMD_ACCELERATORS names, or memory of this
  // process in its place.
  uint32_t placement;
  // Number of tensors.
  uint32_t num_tensors;
  // What they are made of: `ge::DataType` of `external/ge_common/api_error_codes.h`.
  int32_t data_type;
  // Dimensions of one tensor; the first counts batches, or blocks.
  const int64_t *shape;
  // How many.
  size_t shape_length;
  // What it is indexed by: 0 rows of a batch and blocks alike, 1 rows, 2 blocks.
  uint32_t kind;
  // Peers may not reach it.
  bool hidden;
  // What it is found by: one for each row, or one of blocks.
  const struct pmd_datadist_key *keys;
  // How many; 0 for none.
  size_t key_count;
} pmd_datadist_cache_desc;

// A cache of this process (`Cache`).
typedef struct pmd_datadist_cache {
  // Its number; -1 for memory that is only described.
  int64_t cache_id;
  // Its shape.
  struct pmd_datadist_cache_desc desc;
  // First byte of each tensor; not looked at for a cache with a number.
  const uint64_t *addresses;
  // How many.
  size_t address_count;
} pmd_datadist_cache;

// A block, and the block that it is copied to.
typedef struct pmd_datadist_block_pair {
  // Of the source.
  uint64_t source;
  // Of the destination.
  uint64_t destination;
} pmd_datadist_block_pair;

// A row of a cache of some cluster (`CacheIndex`), or the cache that has a key.
typedef struct pmd_datadist_cache_index {
  // The cluster.
  uint64_t cluster_id;
  // The cache's number there.
  int64_t cache_id;
  // Row of the batch.
  uint32_t batch_index;
  // In place of number and row; NULL: by these.
  const struct pmd_datadist_key *key;
} pmd_datadist_cache_index;

// Which layers move (`KvCacheExtParam`). Both ends are in a range; -1 and -1 for all.
typedef struct pmd_datadist_range {
  // First layer at the source.
  int32_t source_first;
  // Last layer at the source.
  int32_t source_last;
  // First layer at the destination.
  int32_t destination_first;
  // Last layer at the destination.
  int32_t destination_last;
  // Tensors of a layer, at least 1.
  uint8_t tensors_per_layer;
} pmd_datadist_range;

// A list of blocks.
typedef struct pmd_datadist_blocks {
  // Their numbers.
  const uint64_t *blocks;
  // How many.
  size_t count;
} pmd_datadist_blocks;

// Waits until a layer is computed, at most `timeout_ms`, or as long as it takes with a negative one; false gives the
// task up. Called once for each layer, on the task's thread. It must not throw.
typedef bool (*pmd_datadist_synchronizer)(void *context, uint32_t layer, int64_t timeout_ms);

// One destination of a task (`TransferConfig`, `TransferWithCacheKeyConfig`).
typedef struct pmd_datadist_destination {
  // The cluster, and its cache by number and row or by a key of blocks.
  struct pmd_datadist_cache_index to;
  // First byte of each tensor at that cluster, in place of a cache: two for each layer. NULL: to the cache.
  const uint64_t *addresses;
  // How many.
  size_t address_count;
  // First layer of the source.
  uint32_t source_first;
  // One past the last; 0 for all layers.
  uint32_t source_end;
  // First layer of the destination.
  uint32_t destination_first;
  // One past the last; 0 for the layers of the source.
  uint32_t destination_end;
  // Row of the source; 0 with blocks.
  uint32_t source_batch_index;
} pmd_datadist_destination;

// Blocks of a task (`TransferBlocks`): none for a row to a row; those of the destination for a contiguous source; both
// for blocks to blocks.
typedef struct pmd_datadist_task_blocks {
  // Blocks of the source.
  struct pmd_datadist_blocks source;
  // Blocks of the destination.
  struct pmd_datadist_blocks destination;
  // Bytes of a block of the destination; needed for a contiguous source, 0 otherwise.
  uint64_t destination_block_bytes;
} pmd_datadist_task_blocks;

// How an engine is made. What is zero or NULL is what the environment says (PMD_TRANSPORT, PMD_DEVICE, PMD_IDLE,
// PMD_QUEUE_PAIRS, PMD_ACCELERATORS, PMD_KEY_FILE, PMD_DATA_ENCRYPTION), or the default: write
// `pmd_kv_engine_options options = {0};` and then what you want.
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
  // Whose memory may be registered beside the host's: "cuda:0", "rocm:0,rocm:1", "ascend:0".
  const char *accelerators;
  // File of the pre-shared key that all processes must have (PMD_KEY_FILE).
  const char *key_file;
  // With a key, whether data over TCP is encrypted: "on" or "off" (PMD_DATA_ENCRYPTION).
  const char *data_encryption;
} pmd_kv_engine_options;

// How the tokens and heads of one block of one tensor lie.
typedef struct pmd_kv_token_format {
  // Tokens of a block.
  uint32_t tokens;
  // First head that this process holds.
  uint32_t first_head;
  // Heads that it holds.
  uint32_t heads;
  // Heads of the model; 1 of 1 is the latent vector of multi-head latent attention, which every rank holds.
  uint32_t total_heads;
  // Bytes of one head of one token.
  uint32_t head_bytes;
  // Whether heads change slowest in memory (`[head][token][dim]`); otherwise tokens do.
  bool heads_first;
  // Bytes from one token to the next; 0, as `head_stride` then is: without gaps.
  uint64_t token_stride;
  // Bytes from one head to the next.
  uint64_t head_stride;
} pmd_kv_token_format;

// The shape of a cache: `layers` x `tensors_per_layer` tensors of `blocks` blocks of `block_bytes` bytes.
typedef struct pmd_kv_layout {
  // Transformer layers.
  uint32_t layers;
  // Tensors of one layer: 2 where K and V are apart, 1 where they are joined or latent.
  uint32_t tensors_per_layer;
  // Blocks of one tensor.
  uint32_t blocks;
  // Bytes of one block of one tensor. Not looked at where there is a format, which says it.
  uint64_t block_bytes;
  // What is in a block; NULL: bytes. Caches with formats exchange tokens although their block sizes, tensor-parallel
  // degrees or orders of dimensions differ.
  const struct pmd_kv_token_format *format;
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

// What is known of a failed transfer. Texts are the failure's, until it is released.
typedef struct pmd_kv_failure_info {
  // Number of the transfer at the peer.
  uint64_t transfer;
  // Whether the peer pushed into this engine's cache, or pulled from it.
  bool is_push;
  // Name of the cache of this engine.
  const char *cache;
  // Why it failed.
  const char *reason;
  // The same in more words.
  const char *detail;
} pmd_kv_failure_info;

// Blocks `first_block` to before `end_block` of the layers `first_layer` to before `end_layer`.
typedef struct pmd_kv_extent {
  // First layer.
  uint32_t first_layer;
  // One past the last.
  uint32_t end_layer;
  // First block.
  uint32_t first_block;
  // One past the last.
  uint32_t end_block;
} pmd_kv_extent;

// Block numbers at one distance.
typedef struct pmd_kv_block_run {
  // First number.
  uint32_t first;
  // From one to the next.
  uint32_t step;
  // How many.
  uint32_t count;
} pmd_kv_block_run;

// Which run goes to which; both have as many blocks.
typedef struct pmd_kv_block_runs {
  // Where the bytes come from.
  struct pmd_kv_block_run source;
  // Where they go.
  struct pmd_kv_block_run destination;
} pmd_kv_block_runs;

// A sequence's tokens on one side.
typedef struct pmd_kv_token_span {
  // The sequence's blocks, in the order of its tokens. On the receiving side none twice.
  const uint32_t *blocks;
  // How many blocks.
  size_t count;
  // First token that moves, counted from the beginning of the first block.
  uint64_t first;
} pmd_kv_token_span;

// Which tokens go where.
typedef struct pmd_kv_tokens {
  // Where the tokens come from.
  struct pmd_kv_token_span source;
  // Where they go.
  struct pmd_kv_token_span destination;
  // How many.
  uint64_t count;
} pmd_kv_tokens;

// Which part of a cache moves: layers, and blocks or tokens of every tensor of them. Blocks are said in one way of
// three: two tables, two runs, or spans of tokens; where all are NULL, every block goes to the block of the same number.
// Write `pmd_kv_selection selection = {0};` and then what you want.
typedef struct pmd_kv_selection {
  // First layer, at the sending side.
  uint32_t first_layer;
  // One past the last layer; 0 for all from the first on.
  uint32_t end_layer;
  // What is added to a layer's number at the sending side to give its number at the receiving side.
  int32_t layer_shift;
  // Blocks where the bytes come from; may repeat. Block `source[i]` goes to block `destination[i]`.
  const uint32_t *source;
  // Blocks where they go, none twice. NULL exactly where `source` is.
  const uint32_t *destination;
  // Entries of both.
  size_t count;
  // Two tables of equal steps, in place of `source` and `destination`.
  const struct pmd_kv_block_runs *runs;
  // Tokens, whatever blocks each side cuts them into. Both caches say what is in a block.
  const struct pmd_kv_tokens *tokens;
} pmd_kv_selection;

// How a stream is sent.
typedef struct pmd_kv_stream_options {
  // By which the receiver knows it.
  uint64_t tag;
  // From now, by when each layer has to be there; 0: never.
  uint64_t deadline_ms;
  // Seven turns of eight among the transfers to the same peer; otherwise all take turns.
  bool high_priority;
} pmd_kv_stream_options;

// Returns once a layer has been computed: true to send it, false to end the stream. Called for each layer in turn, on a
// thread of the stream's own. It must not throw.
typedef bool (*pmd_kv_synchronizer)(void *context, uint32_t layer);

// How a transfer is carried out.
typedef struct pmd_kv_post_options {
  // Bytes that the peer gets as a notification once all of the transfer is in place. NULL: none.
  const uint8_t *notification;
  // How many they are.
  size_t notification_bytes;
  // The transfer is given up when it is not done by then; 0: never.
  uint64_t deadline_ms;
  // Seven turns of eight among the transfers to the same peer; otherwise all take turns.
  bool high_priority;
} pmd_kv_post_options;

// How one transfer stands (`TransferResult`).
typedef struct pmd_hixl_result {
  // Which one.
  void *request;
  // What its caller gave.
  const void *user_data;
  // A `TransferStatus` of `hixl/hixl_types.h`.
  int32_t status;
} pmd_hixl_result;

// A notification (`NotifyDesc`). The bytes are the list's, until it is released.
typedef struct pmd_hixl_notify {
  // What it is about.
  const uint8_t *name;
  // Bytes of the name.
  size_t name_length;
  // What it says.
  const uint8_t *message;
  // Bytes of the message.
  size_t message_length;
} pmd_hixl_notify;

// One contiguous piece of a transfer (`TransferOpDesc`).
typedef struct pmd_hixl_op {
  // First byte in this process.
  uint64_t local_address;
  // First byte in the remote engine's.
  uint64_t remote_address;
  // Bytes.
  uint64_t length;
} pmd_hixl_op;

// What an operation uses: with `connection` 0 the kv of that number, otherwise registered memory on that connection.
typedef struct pmd_kvtrans_via {
  // A connection, or 0.
  uint64_t connection;
  // A kv, or memory.
  uint64_t number;
} pmd_kvtrans_via;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What went wrong in the last call of this thread that failed; empty when none has. Valid until another call of this
// thread fails.
const char *pmd_kv_last_error(void);

// Makes an object for cluster `cluster_id`; `role` is 1 for prompt, 2 for decoder, 3 for both. It is to be initialised.
// Destroy it with `pmd_datadist_destroy`.
//
// # Safety
// `cluster` may be written.
uint32_t pmd_datadist_create(uint64_t cluster_id,
                             int32_t role,
                             struct pmd_datadist **cluster);

// Finalises an object, and forgets it.
uint32_t pmd_datadist_destroy(struct pmd_datadist *cluster);

// `Initialize`.
//
// # Safety
// The texts of `count` options end with a zero byte.
uint32_t pmd_datadist_initialize(const struct pmd_datadist *cluster,
                                 const struct pmd_kv_option *options,
                                 size_t count);

// `Finalize`: when it returns, nothing touches the program's memory any more.
uint32_t pmd_datadist_finalize(const struct pmd_datadist *cluster);

// `SetRole`.
//
// # Safety
// The texts of `count` options end with a zero byte.
uint32_t pmd_datadist_set_role(const struct pmd_datadist *cluster,
                               int32_t role,
                               const struct pmd_kv_option *options,
                               size_t count);

// `LinkLlmClusters`. `statuses` has one code for each cluster afterwards, if the call as a whole could be.
//
// # Safety
// `clusters` has its count, and its arrays theirs; `statuses` has room for `count` codes.
uint32_t pmd_datadist_link(const struct pmd_datadist *cluster,
                           const struct pmd_datadist_cluster *clusters,
                           size_t count,
                           uint32_t *statuses,
                           int32_t timeout_ms);

// `UnlinkLlmClusters`. As `pmd_datadist_link`; with `force` only this side's end goes.
//
// # Safety
// As `pmd_datadist_link`.
uint32_t pmd_datadist_unlink(const struct pmd_datadist *cluster,
                             const struct pmd_datadist_cluster *clusters,
                             size_t count,
                             uint32_t *statuses,
                             int32_t timeout_ms,
                             bool force);

// Whether the link to a cluster is up: 0, or `LLM_NOT_YET_LINK`.
uint32_t pmd_datadist_check_link(const struct pmd_datadist *cluster, uint64_t remote_cluster_id);

// `RegisterKvCache`: `addresses` has one for each tensor.
//
// # Safety
// The tensors' memory stays mapped until the cache is unregistered, and is not touched while a transfer may; `desc` and
// `addresses` have their counts; `cache_id` may be written.
uint32_t pmd_datadist_register_cache(const struct pmd_datadist *cluster,
                                     const struct pmd_datadist_cache_desc *desc,
                                     const uint64_t *addresses,
                                     size_t count,
                                     int64_t *cache_id);

// `UnregisterKvCache`: when it returns, nothing touches the memory any more.
uint32_t pmd_datadist_unregister_cache(const struct pmd_datadist *cluster, int64_t cache_id);

// `AllocateCache`: in memory that peers of this host can map. `addresses` has room for `count`, one for each tensor.
//
// # Safety
// `desc` has its counts; `cache_id` may be written, and `addresses` for `count` numbers.
uint32_t pmd_datadist_allocate_cache(const struct pmd_datadist *cluster,
                                     const struct pmd_datadist_cache_desc *desc,
                                     int64_t *cache_id,
                                     uint64_t *addresses,
                                     size_t count);

// `DeallocateCache`.
uint32_t pmd_datadist_deallocate_cache(const struct pmd_datadist *cluster, int64_t cache_id);

// Takes a key of a row away: peers do not find the cache by it any more. A key that is not there is no error.
//
// # Safety
// `key` points to a key.
uint32_t pmd_datadist_remove_cache_key(const struct pmd_datadist *cluster,
                                       const struct pmd_datadist_key *key);

// `swap_blocks`: copies blocks between a cache on the host and one on the device, each pair's source to its destination.
//
// # Safety
// The caches' arrays and the pairs have their counts; the tensors of a cache with number -1 are mapped, and nothing else
// uses the blocks that are copied.
uint32_t pmd_datadist_swap_blocks(const struct pmd_datadist *cluster,
                                  const struct pmd_datadist_cache *source,
                                  const struct pmd_datadist_cache *destination,
                                  const struct pmd_datadist_block_pair *pairs,
                                  size_t count);

// `PullKvCache`: `size` bytes of one row of every tensor, or all with -1. `range` NULL: all layers.
//
// # Safety
// `source` points to an index; `range` is NULL or points to a range.
uint32_t pmd_datadist_pull_cache(const struct pmd_datadist *cluster,
                                 const struct pmd_datadist_cache_index *source,
                                 int64_t destination,
                                 uint32_t batch_index,
                                 int64_t size,
                                 const struct pmd_datadist_range *range);

// `PullKvBlocks`: block `source_blocks.blocks[i]` to block `destination_blocks.blocks[i]` of every tensor. Without
// source blocks the source is contiguous.
//
// # Safety
// As `pmd_datadist_pull_cache`; the lists have their counts.
uint32_t pmd_datadist_pull_blocks(const struct pmd_datadist *cluster,
                                  const struct pmd_datadist_cache_index *source,
                                  int64_t destination,
                                  struct pmd_datadist_blocks source_blocks,
                                  struct pmd_datadist_blocks destination_blocks,
                                  const struct pmd_datadist_range *range);

// `PushKvCache`: one row of every tensor; `size` is -1. `range` NULL: all layers.
//
// # Safety
// `destination` points to an index; `range` is NULL or points to a range.
uint32_t pmd_datadist_push_cache(const struct pmd_datadist *cluster,
                                 int64_t source,
                                 const struct pmd_datadist_cache_index *destination,
                                 uint32_t batch_index,
                                 int64_t size,
                                 const struct pmd_datadist_range *range);

// `PushKvBlocks`.
//
// # Safety
// As `pmd_datadist_push_cache`; the lists have their counts.
uint32_t pmd_datadist_push_blocks(const struct pmd_datadist *cluster,
                                  int64_t source,
                                  const struct pmd_datadist_cache_index *destination,
                                  struct pmd_datadist_blocks source_blocks,
                                  struct pmd_datadist_blocks destination_blocks,
                                  const struct pmd_datadist_range *range);

// `CopyKvCache`: within this process, `size` bytes at `offset` of one row, or all with -1.
uint32_t pmd_datadist_copy_cache(const struct pmd_datadist *cluster,
                                 int64_t source,
                                 int64_t destination,
                                 uint32_t source_batch_index,
                                 uint32_t destination_batch_index,
                                 uint64_t offset,
                                 int64_t size);

// `CopyKvBlocks`: within this process, to each of `count` lists of blocks.
//
// # Safety
// The lists have their counts.
uint32_t pmd_datadist_copy_blocks(const struct pmd_datadist *cluster,
                                  int64_t source,
                                  int64_t destination,
                                  struct pmd_datadist_blocks source_blocks,
                                  const struct pmd_datadist_blocks *destination_lists,
                                  size_t count);

// `transfer_cache_async`: sends layers of a cache to clusters while they are computed; before each layer the
// synchronizer is asked once. A layer is two tensors. `task_blocks` NULL: rows. Release the task with
// `pmd_datadist_task_release`.
//
// # Safety
// `synchronizer` may be called with `context` on another thread until the task is done. The destinations' arrays and the
// lists have their counts; `task` may be written.
uint32_t pmd_datadist_transfer_async(const struct pmd_datadist *cluster,
                                     int64_t source,
                                     pmd_datadist_synchronizer synchronizer,
                                     void *context,
                                     const struct pmd_datadist_destination *destinations,
                                     size_t count,
                                     const struct pmd_datadist_task_blocks *task_blocks,
                                     struct pmd_datadist_task **task);

// Writes whether every destination of a task has its outcome.
//
// # Safety
// `done` may be written.
uint32_t pmd_datadist_task_is_done(const struct pmd_datadist_task *task, bool *done);

// `synchronize`: waits until every destination has its outcome: the first failure, or 0. `LLM_TIMEOUT` when that takes
// longer than `timeout_ms`, and the task goes on; negative: as long as it takes.
uint32_t pmd_datadist_task_wait(const struct pmd_datadist_task *task,
                                int64_t timeout_ms);

// `get_results`: as `pmd_datadist_task_wait`, the outcome of each destination. `count` is how many there are.
//
// # Safety
// `statuses` has room for `capacity` codes; `count` may be written.
uint32_t pmd_datadist_task_results(const struct pmd_datadist_task *task,
                                   int64_t timeout_ms,
                                   uint32_t *statuses,
                                   size_t capacity,
                                   size_t *count);

// Releases a task's handle. The task goes on.
uint32_t pmd_datadist_task_release(struct pmd_datadist_task *task);

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
// and every transfer with it are released, and is not touched while a transfer may. It is the host's, or all of it is that
// of accelerators which the engine was opened with: their runtimes are asked whose an address is.
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

// Writes the shape of a peer's cache; `pmd_kv_remote_cache_format` what is in its blocks.
//
// # Safety
// `layout` may be written.
enum pmd_kv_status pmd_kv_remote_cache_layout(const struct pmd_kv_remote_cache *remote,
                                              struct pmd_kv_layout *layout);

// Writes what is in a block of a peer's cache; `PMD_KV_STATUS_NOT_FOUND` where the peer does not say.
//
// # Safety
// `format` may be written.
enum pmd_kv_status pmd_kv_remote_cache_format(const struct pmd_kv_remote_cache *remote,
                                              struct pmd_kv_token_format *format);

// Releases what was looked up.
enum pmd_kv_status pmd_kv_remote_cache_release(struct pmd_kv_remote_cache *remote);

// Waits for the next transfer of a peer, with a cache of this engine, that failed. Release it with
// `pmd_kv_failure_release`. `peer` may be NULL; it gets a new handle.
//
// # Safety
// `failure` may be written; `peer` is NULL or may be.
enum pmd_kv_status pmd_kv_engine_wait_failure(const struct pmd_kv_engine *engine,
                                              uint64_t timeout_ms,
                                              struct pmd_kv_failure **failure,
                                              struct pmd_kv_peer **peer);

// Writes what is known of a failed transfer.
//
// # Safety
// `info` may be written.
enum pmd_kv_status pmd_kv_failure_read(const struct pmd_kv_failure *failure,
                                       struct pmd_kv_failure_info *info);

// Writes the blocks of this engine's cache that are not proven to have moved: not valid after a push, not read after a
// pull. `count` is how many extents there are; with `PMD_KV_STATUS_BUFFER_TOO_SMALL` none was written.
//
// # Safety
// `extents` has room for `capacity` of them; `count` may be written.
enum pmd_kv_status pmd_kv_failure_blocks(const struct pmd_kv_failure *failure,
                                         struct pmd_kv_extent *extents,
                                         size_t capacity,
                                         size_t *count);

// Releases a failure.
enum pmd_kv_status pmd_kv_failure_release(struct pmd_kv_failure *failure);

// Writes what a transfer of so many bytes and work requests to this cache's peer will take, in nanoseconds, and whether
// that was measured on this link; otherwise it is a guess.
//
// # Safety
// `nanoseconds` may be written; `measured` is NULL or may be.
enum pmd_kv_status pmd_kv_remote_cache_estimate(const struct pmd_kv_remote_cache *remote,
                                                uint64_t bytes,
                                                uint64_t work_requests,
                                                uint64_t *nanoseconds,
                                                bool *measured);

// Writes the engine's counters in Prometheus' text format, and their length without the zero byte at their end.
//
// # Safety
// `room` has room for `capacity` bytes; `length` is NULL or may be written.
enum pmd_kv_status pmd_kv_engine_metrics(const struct pmd_kv_engine *engine,
                                         char *room,
                                         size_t capacity,
                                         size_t *length);

// Plans pushing the selected part of a cache into a peer's, layer by layer, each when it is released. `selection` NULL:
// everything; `options` NULL: tag 0. Release the stream with `pmd_kv_stream_close`.
//
// # Safety
// `selection` and `options` are NULL or point to such structures, whose arrays have their counts; `stream` may be
// written.
enum pmd_kv_status pmd_kv_stream_open(const struct pmd_kv_remote_cache *remote,
                                      const struct pmd_kv_cache *cache,
                                      const struct pmd_kv_selection *selection,
                                      const struct pmd_kv_stream_options *options,
                                      struct pmd_kv_stream **stream);

// Sends a layer, by its number at the sending side: its bytes are computed. In any order, from any thread, once for each
// layer. Does not wait for the transfer.
enum pmd_kv_status pmd_kv_stream_release(const struct pmd_kv_stream *stream,
                                         uint32_t layer);

// Releases each layer, in order, when `synchronizer` says so. Returns at once: a thread asks it, and does not keep the
// stream. `context` is handed to it.
//
// # Safety
// `synchronizer` may be called with `context` on another thread until the stream's layers have all been released or one
// was refused, or the stream is closed.
enum pmd_kv_status pmd_kv_stream_drive(const struct pmd_kv_stream *stream,
                                       pmd_kv_synchronizer synchronizer,
                                       void *context);

// Waits until a layer has landed and its receiver was told.
//
// # Safety
// `bytes` is NULL or may be written: the bytes that moved.
enum pmd_kv_status pmd_kv_stream_wait_layer(const struct pmd_kv_stream *stream,
                                            uint32_t layer,
                                            uint64_t timeout_ms,
                                            uint64_t *bytes);

// Waits until every layer has landed.
//
// # Safety
// As `pmd_kv_stream_wait_layer`.
enum pmd_kv_status pmd_kv_stream_wait(const struct pmd_kv_stream *stream,
                                      uint64_t timeout_ms,
                                      uint64_t *bytes);

// Ends a stream: no layer is sent any more, what is in flight is cancelled, and the receiver is told which layers will
// not come. When this returns nothing writes the receiver's memory on the stream's behalf.
enum pmd_kv_status pmd_kv_stream_cancel(const struct pmd_kv_stream *stream);

// Releases a stream's handle: the receiver is told of layers that were not released. What is in flight goes on.
enum pmd_kv_status pmd_kv_stream_close(struct pmd_kv_stream *stream);

// Expects the layers of a stream: of all of `peers`, each of which sends its part of every layer under this tag. Layers
// that have landed before are not lost. Release it with `pmd_kv_arrivals_close`.
//
// # Safety
// `peers` points to `count` peers; `arrivals` may be written.
enum pmd_kv_status pmd_kv_expect_layers(const struct pmd_kv_engine *engine,
                                        uint64_t tag,
                                        const struct pmd_kv_peer *const *peers,
                                        size_t count,
                                        struct pmd_kv_arrivals **arrivals);

// Waits until every sender's part of a layer, by its number at the receiving side, has landed.
// `PMD_KV_STATUS_FAILED` when a sender's transfer failed, `PMD_KV_STATUS_PEER_DOWN` when a sender is.
enum pmd_kv_status pmd_kv_arrivals_wait(const struct pmd_kv_arrivals *arrivals,
                                        uint32_t layer,
                                        uint64_t timeout_ms);

// Writes the blocks of a layer that a failed sender did not bring and that are not valid: none while it may still land.
// `count` is how many extents there are; with `PMD_KV_STATUS_BUFFER_TOO_SMALL` none was written.
//
// # Safety
// `extents` has room for `capacity` of them; `count` may be written.
enum pmd_kv_status pmd_kv_arrivals_lost(const struct pmd_kv_arrivals *arrivals,
                                        uint32_t layer,
                                        struct pmd_kv_extent *extents,
                                        size_t capacity,
                                        size_t *count);

// Expects no layers of the tag any more, which is free then.
enum pmd_kv_status pmd_kv_arrivals_close(struct pmd_kv_arrivals *arrivals);

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

// Writes the blocks of the local cache that are not proven to have moved: none after a success, all while the transfer is
// in flight, and after a failure those that are not valid (pull) or may not have left (push). `count` is how many
// extents there are; with `PMD_KV_STATUS_BUFFER_TOO_SMALL` none was written.
//
// # Safety
// `extents` has room for `capacity` of them; `count` may be written.
enum pmd_kv_status pmd_kv_transfer_unproven(const struct pmd_kv_transfer *transfer,
                                            struct pmd_kv_extent *extents,
                                            size_t capacity,
                                            size_t *count);

// Releases a transfer's handle. The transfer itself goes on: cancel it first if it is not to.
enum pmd_kv_status pmd_kv_transfer_release(struct pmd_kv_transfer *transfer);

// Makes an engine, which is to be initialised. Destroy it with `pmd_hixl_destroy`.
//
// # Safety
// `engine` may be written.
uint32_t pmd_hixl_create(struct pmd_hixl **engine);

// Finalises an engine, and forgets it.
uint32_t pmd_hixl_destroy(struct pmd_hixl *engine);

// `Initialize`: `local_engine` is "ip:port" for a server, "ip" for a client.
//
// # Safety
// `local_engine` and the texts of `count` options end with a zero byte.
uint32_t pmd_hixl_initialize(const struct pmd_hixl *engine,
                             const char *local_engine,
                             const struct pmd_kv_option *options,
                             size_t count);

// `Finalize`: when it returns, nothing touches the program's memory any more.
uint32_t pmd_hixl_finalize(const struct pmd_hixl *engine);

// `RegisterMem`: `kind` is 0 for a device's memory, 1 for the host's. Where PMD_ACCELERATORS names accelerators a
// device's memory is theirs; where it names none, memory of this process stands for it.
//
// # Safety
// The memory stays mapped until it is deregistered, and is not touched while a transfer may; `handle` may be written.
uint32_t pmd_hixl_register(const struct pmd_hixl *engine,
                           uint64_t address,
                           uint64_t length,
                           int32_t kind,
                           void **handle);

// `DeregisterMem`: when it returns, nothing touches the memory any more.
uint32_t pmd_hixl_deregister(const struct pmd_hixl *engine, void *handle);

// `Connect`.
//
// # Safety
// `remote` ends with a zero byte.
uint32_t pmd_hixl_connect(const struct pmd_hixl *engine, const char *remote, int32_t timeout_ms);

// `Disconnect`.
//
// # Safety
// `remote` ends with a zero byte.
uint32_t pmd_hixl_disconnect(const struct pmd_hixl *engine, const char *remote, int32_t timeout_ms);

// `ConnectAsync`.
//
// # Safety
// `remote` ends with a zero byte.
uint32_t pmd_hixl_connect_async(const struct pmd_hixl *engine, const char *remote, int32_t timeout_ms);

// `DisconnectAsync`.
//
// # Safety
// `remote` ends with a zero byte.
uint32_t pmd_hixl_disconnect_async(const struct pmd_hixl *engine, const char *remote, int32_t timeout_ms);

// `GetAsyncConnectStatus` of one engine: an `AsyncConnectStatus` of `hixl/hixl_types.h`.
//
// # Safety
// `remote` ends with a zero byte; `status` may be written.
uint32_t pmd_hixl_connect_status(const struct pmd_hixl *engine, const char *remote, int32_t *status);

// `SendNotify`: waits until the peer has it.
//
// # Safety
// `remote` ends with a zero byte; `name` and `message` have their lengths.
uint32_t pmd_hixl_send_notify(const struct pmd_hixl *engine,
                              const char *remote,
                              const uint8_t *name,
                              size_t name_length,
                              const uint8_t *message,
                              size_t message_length,
                              int32_t timeout_ms);

// `GetCapability`: 1 when the feature is there, 0 when not.
//
// # Safety
// `value` may be written.
uint32_t pmd_hixl_capability(int32_t feature, int32_t *value);

// `GetAsyncConnectStatus` of all engines. Release the list with `pmd_hixl_links_release`.
//
// # Safety
// `list` and `count` may be written.
uint32_t pmd_hixl_connect_statuses(const struct pmd_hixl *engine,
                                   struct pmd_hixl_links **list,
                                   size_t *count);

// A link of a list: the engine's name, which is the list's until it is released, and an `AsyncConnectStatus`.
//
// # Safety
// `name` and `status` may be written.
uint32_t pmd_hixl_link_at(const struct pmd_hixl_links *list,
                          size_t index,
                          const char **name,
                          int32_t *status);

// Releases a list of links.
uint32_t pmd_hixl_links_release(struct pmd_hixl_links *list);

// `GetTransferStatus` of all transfers, oldest first, at most `most`; `skip_waiting` leaves those in flight out. The
// end of each is told once. Release the list with `pmd_hixl_results_release`.
//
// # Safety
// `list` and `count` may be written.
uint32_t pmd_hixl_transfer_statuses(const struct pmd_hixl *engine,
                                    uint32_t most,
                                    bool skip_waiting,
                                    struct pmd_hixl_results **list,
                                    size_t *count);

// A result of a list.
//
// # Safety
// `result` may be written.
uint32_t pmd_hixl_result_at(const struct pmd_hixl_results *list,
                            size_t index,
                            struct pmd_hixl_result *result);

// Releases a list of results.
uint32_t pmd_hixl_results_release(struct pmd_hixl_results *list);

// `GetNotifies`: takes what peers have sent, oldest first. Release the list with `pmd_hixl_notifies_release`.
//
// # Safety
// `list` and `count` may be written.
uint32_t pmd_hixl_take_notifies(const struct pmd_hixl *engine,
                                struct pmd_hixl_notifies **list,
                                size_t *count);

// A notification of a list.
//
// # Safety
// `notify` may be written.
uint32_t pmd_hixl_notify_at(const struct pmd_hixl_notifies *list,
                            size_t index,
                            struct pmd_hixl_notify *notify);

// Releases a list of notifications.
uint32_t pmd_hixl_notifies_release(struct pmd_hixl_notifies *list);

// `TransferSync`: `operation` is 0 to read, 1 to write. When it returns, nothing writes the local memory any more.
//
// # Safety
// `remote` ends with a zero byte; `operations` has its count; the local memory may be read or written.
uint32_t pmd_hixl_transfer_sync(const struct pmd_hixl *engine,
                                const char *remote,
                                int32_t operation,
                                const struct pmd_hixl_op *operations,
                                size_t count,
                                int32_t timeout_ms);

// `TransferAsync`: begins a transfer; `user_data` is handed back by `pmd_hixl_transfer_statuses`. It is given up, and its
// status is a time-out, when it has not ended after `timeout_ms`; 0: never.
//
// # Safety
// As `pmd_hixl_transfer_sync`, until the transfer has ended; `request` may be written.
uint32_t pmd_hixl_transfer_async(const struct pmd_hixl *engine,
                                 const char *remote,
                                 int32_t operation,
                                 const struct pmd_hixl_op *operations,
                                 size_t count,
                                 const void *user_data,
                                 uint32_t timeout_ms,
                                 void **request);

// `GetTransferStatus`: a `TransferStatus` of `hixl/hixl_types.h`. The end of a transfer is told once.
//
// # Safety
// `status` may be written.
uint32_t pmd_hixl_transfer_status(const struct pmd_hixl *engine, void *request, int32_t *status);

// Opens an engine: `ncpus` lanes of `nconn_per_cpu` queue pairs to each peer. `interface` is a network interface, an
// RDMA device, an IP address, "lo" or "*"; port 0 lets the system choose. Close it with `pmd_kvtrans_close`.
//
// # Safety
// `interface` ends with a zero byte; `engine` may be written.
enum pmd_kv_status pmd_kvtrans_open(const char *interface,
                                    uint32_t ncpus,
                                    uint32_t nconn_per_cpu,
                                    uint16_t listen_port,
                                    struct pmd_kvtrans **engine);

// Closes an engine: what is under way fails, and when this returns nothing touches registered memory any more.
enum pmd_kv_status pmd_kvtrans_close(struct pmd_kvtrans *engine);

// Writes where peers connect to, as "ip:port", and its length without the zero byte at its end.
//
// # Safety
// `room` has room for `capacity` bytes; `length` is NULL or may be written.
enum pmd_kv_status pmd_kvtrans_address(const struct pmd_kvtrans *engine,
                                       char *room,
                                       size_t capacity,
                                       size_t *length);

// Connects to the engine that listens at `ip` and `port`. Connections count from 1.
//
// # Safety
// `ip` ends with a zero byte; `connection` may be written.
enum pmd_kv_status pmd_kvtrans_connect(const struct pmd_kvtrans *engine,
                                       const char *ip,
                                       uint16_t port,
                                       uint64_t *connection);

// Waits for a peer to connect. `port` is the one that it listens on itself.
//
// # Safety
// `connection` may be written; `port` is NULL or may be; `ip` has room for `capacity` bytes, 46 for any address.
enum pmd_kv_status pmd_kvtrans_accept(const struct pmd_kvtrans *engine,
                                      uint64_t timeout_ms,
                                      uint64_t *connection,
                                      char *ip,
                                      size_t capacity,
                                      uint16_t *port);

// Closes a connection: what is under way on it fails, and is quiet when this returns.
enum pmd_kv_status pmd_kvtrans_disconnect(const struct pmd_kvtrans *engine, uint64_t connection);

// Registers memory for one connection, as a kv; kvs count from 1. It is the host's, or that of an accelerator which
// PMD_ACCELERATORS names ("cuda:0"): the runtimes are asked whose an address is.
//
// # Safety
// The memory stays mapped until it is released, and is not touched while an operation may; `kv` may be written.
enum pmd_kv_status pmd_kvtrans_reg_kv(const struct pmd_kvtrans *engine,
                                      uint64_t connection,
                                      void *memory,
                                      size_t length,
                                      uint64_t *kv);

// Registers memory for every connection.
//
// # Safety
// As `pmd_kvtrans_reg_kv`; `number` may be written.
enum pmd_kv_status pmd_kvtrans_reg_memory(const struct pmd_kvtrans *engine,
                                          void *memory,
                                          size_t length,
                                          uint64_t *number);

// Releases a kv: cancels what is under way with it, and waits until nothing touches the memory any more.
enum pmd_kv_status pmd_kvtrans_dereg_kv(const struct pmd_kvtrans *engine, uint64_t kv);

// Releases memory that was registered for every connection. As `pmd_kvtrans_dereg_kv`.
enum pmd_kv_status pmd_kvtrans_dereg_memory(const struct pmd_kvtrans *engine, uint64_t number);

// Sends `length` bytes to the peer's next receive, and waits until they are there. Memory that is not part of the
// registration is registered for the send alone.
//
// # Safety
// The memory is mapped, and not written until this returns.
enum pmd_kv_status pmd_kvtrans_send_kv(const struct pmd_kvtrans *engine,
                                       struct pmd_kvtrans_via via,
                                       const void *memory,
                                       size_t length);

// Receives the peer's next send into `length` bytes at `memory`, or, with NULL, into at most `length` bytes of the
// registered memory, and waits for it. Writes how many bytes it had.
//
// # Safety
// The memory is mapped, and not touched until this returns; `received` is NULL or may be written.
enum pmd_kv_status pmd_kvtrans_recv_kv(const struct pmd_kvtrans *engine,
                                       struct pmd_kvtrans_via via,
                                       void *memory,
                                       size_t length,
                                       uint64_t *received);

// Begins a send. Release the operation with `pmd_kvtrans_operation_release`. `timeout_ms` 0: a minute.
//
// # Safety
// The memory stays mapped, and is not written, until the operation has ended; `operation` may be written.
enum pmd_kv_status pmd_kvtrans_post_send(const struct pmd_kvtrans *engine,
                                         struct pmd_kvtrans_via via,
                                         const void *memory,
                                         size_t length,
                                         uint64_t timeout_ms,
                                         struct pmd_kvtrans_operation **operation);

// Begins a receive, as `pmd_kvtrans_recv_kv`. `timeout_ms` 0: a minute.
//
// # Safety
// The memory stays mapped, and is not touched, until the operation has ended; `operation` may be written.
enum pmd_kv_status pmd_kvtrans_post_receive(const struct pmd_kvtrans *engine,
                                            struct pmd_kvtrans_via via,
                                            void *memory,
                                            size_t length,
                                            uint64_t timeout_ms,
                                            struct pmd_kvtrans_operation **operation);

// Waits for an operation's outcome, 0 to look only. After `PMD_KV_STATUS_TIMEOUT` it goes on. Writes the bytes that a
// receive had.
//
// # Safety
// `received` is NULL or may be written.
enum pmd_kv_status pmd_kvtrans_operation_wait(const struct pmd_kvtrans_operation *operation,
                                              uint64_t timeout_ms,
                                              uint64_t *received);

// Stops an operation, and waits until nothing touches its memory any more. `PMD_KV_STATUS_CANCELLED`, or
// `PMD_KV_STATUS_OK` when it was done before.
enum pmd_kv_status pmd_kvtrans_operation_cancel(const struct pmd_kvtrans_operation *operation);

// Releases an operation's handle. A send goes on until its deadline; a receive is withdrawn as far as no send has met it.
enum pmd_kv_status pmd_kvtrans_operation_release(struct pmd_kvtrans_operation *operation);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PMD_KV_H */
