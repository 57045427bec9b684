/*
 * Attention-FFN disaggregation over the poll-mode RDMA driver: the C interface.
 *
 * Every handle is opaque, and checked at every call: one that was released is PMD_AF_STATUS_INVALID_HANDLE, never
 * another object. Every function may be called from any thread. What went wrong in the last call of this thread that
 * failed is said by pmd_af_last_error(). Text is UTF-8 and ends with a zero byte. Times are milliseconds.
 *
 * Written by cbindgen from af-api/capi/src; do not edit.
 */

#ifndef PMD_AF_H
#define PMD_AF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The scheduler, as a set of roles.
#define PMD_AF_SCHEDULER 1

// All servers.
#define PMD_AF_SERVERS 2

// All workers.
#define PMD_AF_WORKERS 4

// Barriers: every instance of the roles enters.
#define PMD_AF_SCOPE_EVERYONE 0

// Barriers: one of each group enters, whichever comes first.
#define PMD_AF_SCOPE_GROUPS 1

// Barriers: the instances of this process's number enter.
#define PMD_AF_SCOPE_INSTANCE 2

// A member has come, or has come back with a new epoch.
#define PMD_AF_EVENT_JOINED 1

// A member is down.
#define PMD_AF_EVENT_DOWN 2

// A member has left in order.
#define PMD_AF_EVENT_LEFT 3

// The scheduler is gone; push-pulls go on.
#define PMD_AF_EVENT_SCHEDULER_LOST 4

// Events were dropped because nobody took them.
#define PMD_AF_EVENT_MISSED 5

// Batches: one request of every worker.
#define PMD_AF_GATHER_ALL 0

// Batches: the oldest request that there is.
#define PMD_AF_GATHER_ANY 1

// Batches: one request of each worker that has one, once so many have.
#define PMD_AF_GATHER_QUORUM 2

// A batch of its own.
#define PMD_AF_PART_SINGLE 0

// The first request of a batch: a server hands out the requests of a batch together. The batch is the thread's that
// began it: the others are submitted by the same thread.
#define PMD_AF_PART_START 1

// A request between the first and the last.
#define PMD_AF_PART_MIDDLE 2

// The last request of a batch.
#define PMD_AF_PART_END 3

// What a function of this library did. `pmd_af_last_error()` says more.
typedef enum pmd_af_status {
  // Done.
  PMD_AF_STATUS_OK = 0,
  // It goes on.
  PMD_AF_STATUS_PENDING = 1,
  // A pointer is NULL that must not be.
  PMD_AF_STATUS_NULL_POINTER = 2,
  // There is no such object, or no more: it was released, or is of another kind.
  PMD_AF_STATUS_INVALID_HANDLE = 3,
  // An argument that cannot be: a tensor with gaps, a shape that does not fit, a setting that there is not.
  PMD_AF_STATUS_INVALID_ARGUMENT = 4,
  // The caller's memory is too small; how much is needed was written.
  PMD_AF_STATUS_BUFFER_TOO_SMALL = 5,
  // It did not happen in the time given.
  PMD_AF_STATUS_TIMEOUT = 6,
  // There is nothing of that name or number.
  PMD_AF_STATUS_NOT_FOUND = 7,
  // The two sides differ: a response of another size or another number of tensors than was asked for.
  PMD_AF_STATUS_MISMATCH = 8,
  // A push is larger than the room that was declared for its key.
  PMD_AF_STATUS_CAPACITY = 9,
  // There is not enough memory, or it cannot be registered.
  PMD_AF_STATUS_MEMORY = 10,
  // The machine does not have what was asked for: the transport, the device, the address to listen on.
  PMD_AF_STATUS_UNAVAILABLE = 11,
  // Nobody answers at that address.
  PMD_AF_STATUS_CONNECT_FAILED = 12,
  // The peer, or the scheduler, is gone.
  PMD_AF_STATUS_PEER_DOWN = 13,
  // Not everybody has come; the last error names who is missing.
  PMD_AF_STATUS_MISSING = 14,
  // It failed; the last error says how.
  PMD_AF_STATUS_FAILED = 15,
  // It was cancelled, and is quiet.
  PMD_AF_STATUS_CANCELLED = 16,
  // The other side refused it.
  PMD_AF_STATUS_REFUSED = 17,
  // So much is under way already: wait for some of it.
  PMD_AF_STATUS_BUSY = 18,
  // A defect of this library, caught before it reached the caller.
  PMD_AF_STATUS_PANIC = 19,
} pmd_af_status;

// An application, at one process.
typedef struct pmd_af_app pmd_af_app;

// A push-pull that streams make by themselves.
typedef struct pmd_af_exchange pmd_af_exchange;

// A request of a worker.
typedef struct pmd_af_incoming pmd_af_incoming;

// Memory that tensors lie in, registered.
typedef struct pmd_af_memory pmd_af_memory;

// A process's place in a cluster, with its worker or its server.
typedef struct pmd_af_node pmd_af_node;

// What a request is answered with.
typedef struct pmd_af_reply pmd_af_reply;

// A push-pull that was sent.
typedef struct pmd_af_request pmd_af_request;

// An answer on its way.
typedef struct pmd_af_response pmd_af_response;

// What brings the processes of a cluster together.
typedef struct pmd_af_scheduler pmd_af_scheduler;

// Batches that streams take and answer by themselves.
typedef struct pmd_af_service pmd_af_service;

// A request, or the answer to one. Valid during the call that it is given to.
typedef struct pmd_af_app_message {
  // Role of who sent it: `PMD_AF_SERVERS` or `PMD_AF_WORKERS`.
  uint32_t role;
  // Its rank among all instances of the role.
  uint32_t rank;
  // Number of the request at who asked.
  uint64_t timestamp;
  // The application's number.
  int32_t head;
  // The application's bytes.
  const uint8_t *body;
  // How many.
  size_t length;
} pmd_af_app_message;

// Is given a request, and answers it with `pmd_af_reply_set`; without that there is no answer.
typedef void (*pmd_af_app_request_handler)(void *context,
                                           const struct pmd_af_app_message *request,
                                           struct pmd_af_reply *reply);

// Is given an answer.
typedef void (*pmd_af_app_response_handler)(void *context, const struct pmd_af_app_message *response);

// A tensor: exactly DLPack's `DLTensor`, so that a pointer to one is a pointer to the other.
typedef struct pmd_af_tensor {
  // First byte, before the offset.
  void *data;
  // DLPack's device: 1 the host, 3 the host's pinned memory, 2 CUDA, 10 ROCm, 12 Ascend. Of tensors that are given it is
  // not looked at: their memory says where they are.
  int32_t device_type;
  // Which of them.
  int32_t device_id;
  // Number of dimensions.
  int32_t dimensions;
  // DLPack's kind of element: 0 signed, 1 unsigned, 2 floating point, 4 bfloat, 5 complex, 6 truth value, 10 and 12
  // 8-bit floating points of 4 and 5 bits of exponent.
  uint8_t type_code;
  // Bits of an element.
  uint8_t type_bits;
  // Elements in one; 1.
  uint16_t type_lanes;
  // Elements in each dimension, the slowest first.
  const int64_t *shape;
  // Elements from one entry to the next in each dimension; NULL: without gaps. There may be no gaps.
  const int64_t *strides;
  // Bytes from `data` to the first element.
  uint64_t byte_offset;
} pmd_af_tensor;

// A tensor under a key.
typedef struct pmd_af_keyed_tensor {
  // What it is called on the wire.
  uint64_t key;
  // The memory that it lies in.
  const struct pmd_af_memory *memory;
  // The tensor.
  struct pmd_af_tensor tensor;
  // Bytes of the tensor; written by the library, not looked at.
  uint64_t bytes;
} pmd_af_keyed_tensor;

// What a captured batch takes from one worker, and what it is answered with.
typedef struct pmd_af_answering {
  // The worker's rank.
  uint32_t worker;
  // What it pushes, in its order: keys, and the buffers that were offered for them with a depth of 1.
  const struct pmd_af_keyed_tensor *pushes;
  // How many.
  size_t push_count;
  // What its pulls are answered with, in its order.
  const struct pmd_af_keyed_tensor *answers;
  // How many.
  size_t answer_count;
} pmd_af_answering;

// A variable that goes before the environment's.
typedef struct pmd_af_variable {
  // Its name: DMLC_NUM_WORKER, PMD_TRANSPORT, ...
  const char *name;
  // Its value.
  const char *value;
} pmd_af_variable;

// How a process takes part. What is left as `pmd_af_options_clear` makes it is what the environment says, with the
// names that StepMesh's users export (DMLC_*, STEPMESH_*, PS_*) and this driver's (PMD_TRANSPORT, ...).
typedef struct pmd_af_options {
  // Variables that go before the environment's. The other fields go before these.
  const struct pmd_af_variable *variables;
  // How many.
  size_t variable_count;
  // `PMD_AF_SCHEDULER`, `PMD_AF_SERVERS`, `PMD_AF_WORKERS`, or the last two together; 0: DMLC_ROLE.
  uint32_t roles;
  // Number among all instances of the role; negative: DMLC_NODE_RANK and others.
  int64_t rank;
  // Groups of workers; 0: DMLC_NUM_WORKER.
  uint32_t workers;
  // Groups of servers; 0: DMLC_NUM_SERVER.
  uint32_t servers;
  // Instances of a group; 0: DMLC_GROUP_SIZE.
  uint32_t group_size;
  // Name or address of the scheduler's host; NULL: DMLC_PS_ROOT_URI.
  const char *scheduler_host;
  // Port of the scheduler; for itself 0 lets the system choose. Negative: DMLC_PS_ROOT_PORT.
  int32_t scheduler_port;
  // Name or address that a server listens on for workers; NULL: DMLC_NODE_HOST, DMLC_INTERFACE.
  const char *listen_host;
  // "auto", "shm", "mlx5", "verbs"; NULL: PMD_TRANSPORT.
  const char *transport;
  // Name of the NIC ("mlx5_0"); NULL: PMD_DEVICE.
  const char *device;
  // What an idle lane does: "spin", "yield" or "park"; NULL: PMD_IDLE.
  const char *idle;
  // Name told to the others; for people.
  const char *name;
  // Longest time that a start takes; 0: PMD_START_TIMEOUT.
  uint64_t start_timeout_ms;
  // Whose memory tensors may lie in beside the host's: "cuda:0", "rocm:1", "ascend:0", with commas between several; NULL:
  // PMD_ACCELERATORS.
  const char *accelerators;
  // Whether what is pushed to a server arrives in memory of the first of them.
  bool device_areas;
  // File of the pre-shared key that all processes must have; NULL: PMD_KEY_FILE, or none.
  const char *key_file;
  // With a key, whether data over TCP is encrypted: "on" or "off"; NULL: PMD_DATA_ENCRYPTION.
  const char *data_encryption;
} pmd_af_options;

// How many nodes a cluster has.
typedef struct pmd_af_shape {
  // Groups of workers.
  uint32_t workers;
  // Groups of servers.
  uint32_t servers;
  // Instances of a group.
  uint32_t group_size;
} pmd_af_shape;

// A member of a cluster.
typedef struct pmd_af_member {
  // `PMD_AF_SERVERS` or `PMD_AF_WORKERS`.
  uint32_t role;
  // Number among all instances of the role.
  uint32_t rank;
  // Number in its group.
  uint32_t instance;
  // How often the place has been taken so far; 0 where it never was.
  uint64_t epoch;
  // Whether it lives.
  bool up;
} pmd_af_member;

// Something that has happened to the cluster.
typedef struct pmd_af_event {
  // `PMD_AF_EVENT_JOINED` and the others.
  uint32_t kind;
  // To whom; nobody for those without a member.
  struct pmd_af_member member;
  // Events that were dropped.
  uint64_t missed;
} pmd_af_event;

// What is known of a request.
typedef struct pmd_af_incoming_info {
  // Rank of the worker among all instances.
  uint32_t worker;
  // Instance of the worker in its group.
  uint32_t instance;
  // Number of the request at this server, in the order of arrival.
  uint64_t number;
  // The worker's number for it.
  uint32_t tag;
  // Tensors that were pushed.
  size_t pushes;
  // Tensors that are wanted back.
  size_t pulls;
  // Whether it is several requests that make one batch.
  bool batch;
  // Whether the worker gave it up: what it pushed may be written over, and an answer is refused.
  bool cancelled;
} pmd_af_incoming_info;

// How a push-pull is carried out. Write `pmd_af_request_options options = {0};` and then what you want.
typedef struct pmd_af_request_options {
  // Ranks of the servers that it goes to, in the order in which pulls are shared out. NULL: all.
  const uint32_t *servers;
  // How many.
  size_t server_count;
  // A number for the server's application.
  uint32_t tag;
  // `PMD_AF_PART_SINGLE` and the others.
  uint32_t part;
  // Servers may answer with less than the pulled tensors hold.
  bool up_to;
  // `PMD_AF_STATUS_BUSY` where too much is in flight, rather than a wait for room.
  bool at_once;
  // Longest wait for room; 0: ten seconds.
  uint64_t timeout_ms;
  // Whether it takes its turn in a stream of the process's first accelerator: it waits for what the stream has been given,
  // and what the stream is given afterwards waits for what is pulled; the call waits for neither. Where the request fails
  // the stream goes on.
  bool in_stream;
  // That stream: the runtime's handle (`cudaStream_t`, `hipStream_t`, `aclrtStream`); 0 is the default stream.
  uint64_t stream;
} pmd_af_request_options;

// When the phases of a request and of its response were at one server: nanoseconds of the clock of the side that noted
// them, 0 for what is not known.
typedef struct pmd_af_trace {
  // The request could go: what it waited for was done (worker).
  uint64_t request_start;
  // It was posted (worker).
  uint64_t request_sent;
  // It had arrived (server).
  uint64_t request_received;
  // The application was handed it (server).
  uint64_t request_processed;
  // The application answered (server).
  uint64_t response_start;
  // The response was posted (server).
  uint64_t response_sent;
  // It had arrived (worker).
  uint64_t response_received;
  // The request was done (worker).
  uint64_t response_processed;
} pmd_af_trace;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Opens the application of a number as a server (`PMD_AF_SERVERS`) or as a worker (`PMD_AF_WORKERS`) of the node. The
// other side must have opened the same number. The functions are called on a thread of the application's, one after the
// other; either may be NULL.
//
// # Safety
// `app` may be written. The functions may be called with `context`, from another thread, until `pmd_af_app_close` has
// returned.
enum pmd_af_status pmd_af_app_open(const struct pmd_af_node *node,
                                   uint32_t role,
                                   uint32_t number,
                                   pmd_af_app_request_handler on_request,
                                   pmd_af_app_response_handler on_response,
                                   void *context,
                                   struct pmd_af_app **app);

// Sends a request to a server or a worker of a rank, or to all that are connected where the rank is negative. Does not
// wait. `timestamp` is its number, for `pmd_af_app_wait`.
//
// # Safety
// `body` has its length; `timestamp` may be written.
enum pmd_af_status pmd_af_app_request(const struct pmd_af_app *app,
                                      uint32_t role,
                                      int64_t rank,
                                      int32_t head,
                                      const uint8_t *body,
                                      size_t length,
                                      uint64_t *timestamp);

// Answers a request, in the call that it was given to. The bytes are copied.
//
// # Safety
// `reply` is what the call was given; `body` has its length.
enum pmd_af_status pmd_af_reply_set(struct pmd_af_reply *reply, const uint8_t *body, size_t length);

// Waits until everybody has answered a request, and the answers have been given out.
enum pmd_af_status pmd_af_app_wait(const struct pmd_af_app *app, uint64_t timestamp, uint64_t timeout_ms);

// Closes an application at this process. When this returns its functions are not called any more, unless one of them calls
// it.
enum pmd_af_status pmd_af_app_close(struct pmd_af_app *app);

// What went wrong in the last call of this thread that failed; empty when none has. Valid until another call of this
// thread fails.
const char *pmd_af_last_error(void);

// Captures a push-pull: every push goes to every server; pulls are server-major, as many for each. Nothing is sent before a
// stream that `pmd_af_exchange_put` has put it into comes to it. A launch that is not done within `timeout_ms` is stopped
// and its stream goes on; 0: it waits for as long as its server is there. Release it with `pmd_af_exchange_release`.
//
// # Safety
// `pushes` and `pulls` have their counts, and their shapes their dimensions; the memory that they lie in stays what it is
// until the exchange is closed or released; `exchange` may be written.
enum pmd_af_status pmd_af_capture_exchange(const struct pmd_af_node *node,
                                           const struct pmd_af_keyed_tensor *pushes,
                                           size_t push_count,
                                           const struct pmd_af_keyed_tensor *pulls,
                                           size_t pull_count,
                                           uint64_t timeout_ms,
                                           struct pmd_af_exchange **exchange);

// Puts one push-pull into a stream of the process's first accelerator, by the runtime's handle: in a stream that is being
// captured it becomes a part of the graph and happens at each launch, in another one it happens once.
enum pmd_af_status pmd_af_exchange_put(const struct pmd_af_node *node,
                                       const struct pmd_af_exchange *exchange,
                                       uint64_t stream);

// Tells how many launches have ended, and the first failure that was not told yet: then it is that failure's status, and
// `failed` is the number of its launch, from 1 on. Ask once a launch has ended: a stream goes on whatever became of it.
//
// # Safety
// `ended` and `failed` are NULL or may be written.
enum pmd_af_status pmd_af_exchange_check(const struct pmd_af_exchange *exchange,
                                         uint64_t *ended,
                                         uint64_t *failed);

// Waits until so many launches have ended, and tells what became of the last of them.
enum pmd_af_status pmd_af_exchange_wait(const struct pmd_af_exchange *exchange,
                                        uint64_t launch,
                                        uint64_t timeout_ms);

// Serves no launch any more: those that come are failed, and go on. Waits for the one that is being served:
// `PMD_AF_STATUS_BUSY` where it has not ended in time.
enum pmd_af_status pmd_af_exchange_close(const struct pmd_af_exchange *exchange, uint64_t timeout_ms);

// Releases an exchange. Gives up the launch that is being served and waits until its tensors are quiet. Destroy graphs that
// it is in before the node is stopped.
enum pmd_af_status pmd_af_exchange_release(struct pmd_af_exchange *exchange);

// Captures a service: requests of these workers that push under exactly these keys are taken by streams and no longer by
// `pmd_af_get_batch`. A batch is one request of each worker. Where the stream does not respond within `timeout_ms`, the
// workers are refused; 0: it has as long as it takes. Release it with `pmd_af_service_release`.
//
// # Safety
// `workers` has its count, as have their tensors, whose memory stays what it is until the service is closed or released;
// `service` may be written.
enum pmd_af_status pmd_af_capture_service(const struct pmd_af_node *node,
                                          const struct pmd_af_answering *workers,
                                          size_t worker_count,
                                          uint64_t timeout_ms,
                                          struct pmd_af_service **service);

// Puts the wait for a batch into a stream: what comes behind finds what the workers pushed in the buffers.
enum pmd_af_status pmd_af_service_put_batch(const struct pmd_af_node *node,
                                            const struct pmd_af_service *service,
                                            uint64_t stream);

// Puts the responses into a stream, behind the batch and what computes the answers.
enum pmd_af_status pmd_af_service_put_responses(const struct pmd_af_node *node,
                                                const struct pmd_af_service *service,
                                                uint64_t stream);

// As `pmd_af_exchange_check`. A launch ends when its responses have.
//
// # Safety
// `ended` and `failed` are NULL or may be written.
enum pmd_af_status pmd_af_service_check(const struct pmd_af_service *service,
                                        uint64_t *ended,
                                        uint64_t *failed);

// As `pmd_af_exchange_wait`.
enum pmd_af_status pmd_af_service_wait(const struct pmd_af_service *service,
                                       uint64_t launch,
                                       uint64_t timeout_ms);

// As `pmd_af_exchange_close`; a stream that waits for a batch goes on.
enum pmd_af_status pmd_af_service_close(const struct pmd_af_service *service, uint64_t timeout_ms);

// Releases a service. The workers of the batch that is being served are refused.
enum pmd_af_status pmd_af_service_release(struct pmd_af_service *service);

// Allocates zeroed memory that peers of this host can map, the fastest kind, and registers it. Release it with
// `pmd_af_memory_release`.
//
// # Safety
// `memory` and `address` may be written.
enum pmd_af_status pmd_af_memory_allocate(const struct pmd_af_node *node,
                                          size_t bytes,
                                          struct pmd_af_memory **memory,
                                          void **address);

// Allocates memory of device `device` of the process's accelerators, of undefined content, and registers it. Release it with
// `pmd_af_memory_release`. `PMD_AF_STATUS_UNAVAILABLE` for a device that the process was not started with.
//
// # Safety
// `memory` and `address` may be written.
enum pmd_af_status pmd_af_memory_allocate_on(const struct pmd_af_node *node,
                                             size_t bytes,
                                             int32_t device,
                                             struct pmd_af_memory **memory,
                                             void **address);

// Registers memory of the program: of the host, or of device `device` of the process's accelerators; negative: the host's.
// Release it with `pmd_af_memory_release`. `PMD_AF_STATUS_UNAVAILABLE` for a device that the process was not started with,
// `PMD_AF_STATUS_MEMORY` for what is no memory of the device, was freed, or ends before the range does.
//
// # Safety
// The memory stays mapped until it is released and everything under way with it has ended, and is not touched while a
// request may; `memory` may be written.
enum pmd_af_status pmd_af_memory_register(const struct pmd_af_node *node,
                                          void *address,
                                          size_t bytes,
                                          int32_t device,
                                          struct pmd_af_memory **memory);

// Releases memory. What is under way with it goes on, and keeps it registered until it has ended.
enum pmd_af_status pmd_af_memory_release(struct pmd_af_memory *memory);

// Takes a place in the cluster and waits until every place is taken; a worker is connected to every server then. Leave
// with `pmd_af_node_leave`. `PMD_AF_STATUS_MISSING` when somebody has not come in time: the last error names them.
//
// # Safety
// `options` is NULL or points to options whose texts end with a zero byte; `node` may be written.
enum pmd_af_status pmd_af_node_start(const struct pmd_af_options *options,
                                     struct pmd_af_node **node);

// Connects a worker to those servers that have come, or come again, since. One that cannot be reached is an error, and
// the others are connected all the same.
enum pmd_af_status pmd_af_node_connect(const struct pmd_af_node *node);

// Writes how many nodes there are.
//
// # Safety
// `shape` may be written.
enum pmd_af_status pmd_af_node_shape(const struct pmd_af_node *node, struct pmd_af_shape *shape);

// Writes the place of this process as `PMD_AF_SERVERS` or as `PMD_AF_WORKERS`; `PMD_AF_STATUS_NOT_FOUND` where it is not
// that.
//
// # Safety
// `member` may be written.
enum pmd_af_status pmd_af_node_self(const struct pmd_af_node *node,
                                    uint32_t role,
                                    struct pmd_af_member *member);

// Writes everybody who has ever come, servers first, by rank. `count` is how many they are.
//
// # Safety
// `members` has room for `capacity` of them; `count` may be written.
enum pmd_af_status pmd_af_node_members(const struct pmd_af_node *node,
                                       struct pmd_af_member *members,
                                       size_t capacity,
                                       size_t *count);

// Enters a barrier and waits until everyone has who is expected: the instances of `roles` (`PMD_AF_SCHEDULER` and the
// others, added), in `scope`. `entering` is the one role that a process of two enters for; 0: all that are expected.
// `PMD_AF_STATUS_MISSING` when somebody has not come in time, `PMD_AF_STATUS_PEER_DOWN` when somebody never will.
//
// # Safety
// `name` ends with a zero byte.
enum pmd_af_status pmd_af_node_barrier(const struct pmd_af_node *node,
                                       const char *name,
                                       uint32_t roles,
                                       uint32_t scope,
                                       uint32_t entering,
                                       uint64_t timeout_ms);

// Waits for the next thing that happens to the cluster.
//
// # Safety
// `event` may be written.
enum pmd_af_status pmd_af_node_wait_event(const struct pmd_af_node *node,
                                          uint64_t timeout_ms,
                                          struct pmd_af_event *event);

// Leaves in order, and releases the handle: the others hear that this process has left. What is under way fails. Waits
// for the scheduler to confirm it; whatever comes of that, the node has left.
enum pmd_af_status pmd_af_node_leave(struct pmd_af_node *node,
                                     uint64_t timeout_ms);

// Starts the scheduler: it listens where the options say. Close it with `pmd_af_scheduler_close`.
//
// # Safety
// `options` is NULL or points to options whose texts end with a zero byte; `scheduler` may be written.
enum pmd_af_status pmd_af_scheduler_start(const struct pmd_af_options *options,
                                          struct pmd_af_scheduler **scheduler);

// Writes the address that nodes are told, as "ip:port", and its length without the zero byte at its end.
//
// # Safety
// `room` has room for `capacity` bytes; `length` is NULL or may be written.
enum pmd_af_status pmd_af_scheduler_address(const struct pmd_af_scheduler *scheduler,
                                            char *room,
                                            size_t capacity,
                                            size_t *length);

// Writes how many nodes there are.
//
// # Safety
// `shape` may be written.
enum pmd_af_status pmd_af_scheduler_shape(const struct pmd_af_scheduler *scheduler,
                                          struct pmd_af_shape *shape);

// Writes everybody who has ever come, servers first, by rank. `count` is how many they are.
//
// # Safety
// `members` has room for `capacity` of them; `count` may be written.
enum pmd_af_status pmd_af_scheduler_members(const struct pmd_af_scheduler *scheduler,
                                            struct pmd_af_member *members,
                                            size_t capacity,
                                            size_t *count);

// Enters a barrier of the scheduler and others. As `pmd_af_node_barrier`.
//
// # Safety
// `name` ends with a zero byte.
enum pmd_af_status pmd_af_scheduler_barrier(const struct pmd_af_scheduler *scheduler,
                                            const char *name,
                                            uint32_t roles,
                                            uint32_t scope,
                                            uint64_t timeout_ms);

// Waits until every place has been taken once and nobody is up any more.
enum pmd_af_status pmd_af_scheduler_wait_finished(const struct pmd_af_scheduler *scheduler,
                                                  uint64_t timeout_ms);

// Ends the scheduler. Nodes see it go.
enum pmd_af_status pmd_af_scheduler_close(struct pmd_af_scheduler *scheduler);

// Writes options that say nothing: everything is as the environment says.
//
// # Safety
// `options` may be written.
enum pmd_af_status pmd_af_options_clear(struct pmd_af_options *options);

// Waits for a batch of requests: `PMD_AF_GATHER_ALL`, `_ANY` or `_QUORUM` of so many, in the order of the workers' ranks.
// `count` is how many they are. There has to be room for a request of each worker, or one for any; with
// `PMD_AF_STATUS_BUFFER_TOO_SMALL` `count` is how many there has to be room for. `PMD_AF_STATUS_PEER_DOWN` tells once
// of each worker that goes down; requests of others wait on. Release each with `pmd_af_incoming_release`.
//
// # Safety
// `requests` has room for `capacity` handles; `count` may be written.
enum pmd_af_status pmd_af_get_batch(const struct pmd_af_node *node,
                                    uint32_t gather,
                                    size_t quorum,
                                    uint64_t timeout_ms,
                                    struct pmd_af_incoming **requests,
                                    size_t capacity,
                                    size_t *count);

// Writes what is known of a request.
//
// # Safety
// `info` may be written.
enum pmd_af_status pmd_af_incoming_read(const struct pmd_af_incoming *incoming,
                                        struct pmd_af_incoming_info *info);

// Writes a tensor that was pushed. Its bytes stay as they are until the request has been answered or released, unless
// the worker gives it up; the description until it is released. A tensor without a byte has data NULL.
//
// # Safety
// `tensor` may be written.
enum pmd_af_status pmd_af_incoming_push(const struct pmd_af_incoming *incoming,
                                        size_t index,
                                        struct pmd_af_keyed_tensor *tensor);

// Writes key and bytes of a tensor that is wanted back; it has neither data nor a shape.
//
// # Safety
// `tensor` may be written.
enum pmd_af_status pmd_af_incoming_pull(const struct pmd_af_incoming *incoming,
                                        size_t index,
                                        struct pmd_af_keyed_tensor *tensor);

// Answers a request with a tensor for each pull, in their order, straight into the worker's tensors. The tensors are left
// alone until the response has ended: wait for that, then release it with `pmd_af_response_release`. `response` may be
// NULL. A request is answered once. `PMD_AF_STATUS_MISMATCH` for tensors of other sizes or another number: the worker's
// request fails then.
//
// # Safety
// `tensors` has its count, and their shapes their dimensions; the memory that they lie in stays what it is until the
// response has ended; `response` is NULL or may be written.
enum pmd_af_status pmd_af_respond(const struct pmd_af_incoming *incoming,
                                  const struct pmd_af_keyed_tensor *tensors,
                                  size_t count,
                                  struct pmd_af_response **response);

// As `pmd_af_respond`, behind what a stream of the process's first accelerator has been given so far: the kernels that
// compute the tensors. `stream` is the runtime's handle (`cudaStream_t`, `hipStream_t`, `aclrtStream`); 0 is the default
// stream. Returns at once; if the stream fails the worker's request does. Leave the tensors alone until the worker has its
// answer.
//
// # Safety
// As `pmd_af_respond`.
enum pmd_af_status pmd_af_respond_on(const struct pmd_af_node *node,
                                     const struct pmd_af_incoming *incoming,
                                     const struct pmd_af_keyed_tensor *tensors,
                                     size_t count,
                                     uint64_t stream);

// Answers that there is no data, with a code of the application's: the worker's request fails.
enum pmd_af_status pmd_af_refuse(const struct pmd_af_incoming *incoming, uint64_t code);

// Releases a request. One that was not answered is refused, so that no worker waits for ever.
enum pmd_af_status pmd_af_incoming_release(struct pmd_af_incoming *incoming);

// Waits until a response has ended: then its tensors are not read any more, whatever came of it.
enum pmd_af_status pmd_af_response_wait(const struct pmd_af_response *response, uint64_t timeout_ms);

// Releases a response's handle. The response goes on.
enum pmd_af_status pmd_af_response_release(struct pmd_af_response *response);

// Gives workers the tensor's memory to push into: even chunks, one for each pair of a worker's rank and a key. It stays
// theirs until `pmd_af_take_back`.
//
// # Safety
// `buffer` points to a tensor, whose shape has its dimensions and whose memory stays what it is until it has been taken
// back; `workers` and `keys` have their count.
enum pmd_af_status pmd_af_offer(const struct pmd_af_node *node,
                                const struct pmd_af_keyed_tensor *buffer,
                                const uint32_t *workers,
                                const uint64_t *keys,
                                size_t count);

// Takes a buffer back: when this is done the worker writes there no more.
enum pmd_af_status pmd_af_take_back(const struct pmd_af_node *node,
                                    uint32_t worker,
                                    uint64_t key,
                                    uint64_t timeout_ms);

// Pushes tensors to servers, and pulls their answers: every push goes to every server; pulls are server-major, as many for
// each. `options` NULL: all servers. The tensors are left alone until the request has ended. Release it with
// `pmd_af_request_release`.
//
// # Safety
// `pushes` and `pulls` have their counts, and their shapes their dimensions; the memory that they lie in stays what it is
// until the request has ended; `options` is NULL or points to options; `request` may be written.
enum pmd_af_status pmd_af_push_pull(const struct pmd_af_node *node,
                                    const struct pmd_af_keyed_tensor *pushes,
                                    size_t push_count,
                                    const struct pmd_af_keyed_tensor *pulls,
                                    size_t pull_count,
                                    const struct pmd_af_request_options *options,
                                    struct pmd_af_request **request);

// Agrees beforehand on room for a key at a server: pushes of at most `capacity` bytes, `depth` in flight. Larger ones are
// `PMD_AF_STATUS_CAPACITY` from now on.
enum pmd_af_status pmd_af_declare(const struct pmd_af_node *node,
                                  uint32_t server,
                                  uint64_t key,
                                  uint64_t capacity,
                                  uint16_t depth);

// Looks at a request and returns at once: `PMD_AF_STATUS_PENDING`, or what came of it. Once it has ended nothing reads
// or writes its tensors any more, whatever came of it.
enum pmd_af_status pmd_af_request_poll(const struct pmd_af_request *request);

// Waits for a request. After `PMD_AF_STATUS_TIMEOUT` it goes on.
enum pmd_af_status pmd_af_request_wait(const struct pmd_af_request *request, uint64_t timeout_ms);

// Writes how many bytes came for each pull, once the request has been done. `count` is how many there are.
//
// # Safety
// `lengths` has room for `capacity` numbers; `count` may be written.
enum pmd_af_status pmd_af_request_lengths(const struct pmd_af_request *request,
                                          uint32_t *lengths,
                                          size_t capacity,
                                          size_t *count);

// Stops a request at every server and waits until it is quiet: when this returns, none of its tensors is read or written
// any more. `PMD_AF_STATUS_CANCELLED`, or `PMD_AF_STATUS_OK` when it was done before.
enum pmd_af_status pmd_af_request_cancel(const struct pmd_af_request *request);

// Releases a request's handle. The request itself goes on: cancel it first if it is not to.
enum pmd_af_status pmd_af_request_release(struct pmd_af_request *request);

// Writes the number by which `pmd_af_fetch_traces` knows a request, also once it has been released.
//
// # Safety
// `number` may be written.
enum pmd_af_status pmd_af_request_number(const struct pmd_af_request *request, uint64_t *number);

// Fetches the stamps that servers have of a request that is done, and writes one trace for each server. `count` is how
// many there are: none where the request is not done, or too long ago.
//
// # Safety
// `traces` has room for `capacity` of them; `count` may be written.
enum pmd_af_status pmd_af_fetch_traces(const struct pmd_af_node *node,
                                       uint64_t number,
                                       uint64_t timeout_ms,
                                       struct pmd_af_trace *traces,
                                       size_t capacity,
                                       size_t *count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PMD_AF_H */
