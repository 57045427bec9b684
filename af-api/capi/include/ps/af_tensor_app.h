// StepMesh's classes for attention and feed-forward nodes over libpmd_af: the same names, so that programs written for
// them compile and run. Everything is in these headers; link with -lpmd_af.
//
// What differs: any worker reaches any server; many push-pulls of one key may be under way; keys are not bound to memory;
// a request that was not done in time throws, and goes on until it is waited for again or cancelled; what cannot be throws
// dmlc::Error and the process lives.
#ifndef PMD_AF_PS_AF_TENSOR_APP_H_
#define PMD_AF_PS_AF_TENSOR_APP_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ps/internal/exchange.h"
#include "ps/kv_app.h"

namespace ps {

// Parts of a batch.
enum {
  AF_FLAG_BATCH_START = 1,
  AF_FLAG_BATCH_MIDDLE = 2,
  AF_FLAG_BATCH_END = 3,
};

// What a push-pull is about.
struct AFTensorRequest {
  KeyTensorBatch push;
  KeyTensorBatch pull;
  std::vector<int> push_timestamps;
  std::vector<int> pull_timestamps;
  TensorEvent *event = nullptr;
};

// The attention side: pushes tensors to every server, and pulls results from each. May be used from any thread.
class AFTensorWorker {
 public:
  explicit AFTensorWorker(int instance_idx = 0) : node_(Postoffice::NodeHandle()), state_(std::make_shared<State>()) {
    PS_CHECK(Postoffice::GetWorker(instance_idx) != nullptr);
  }

  // Cancels what was not waited for.
  virtual ~AFTensorWorker() {
    for (auto &pending : state_->pending) {
      (void)pmd_af_request_cancel(pending.second.request);
      (void)pmd_af_request_release(pending.second.request);
    }
  }

  AFTensorWorker(const AFTensorWorker &) = delete;
  AFTensorWorker &operator=(const AFTensorWorker &) = delete;

  // Every push goes to every server. Pulls are server-major: as many for each. Tensors stay as they are until the request
  // has been waited for. With `need_event` the push waits for what the backend's stream is doing now.
  int ZBatchPushPull(KeyTensorBatch &push_tensors, KeyTensorBatch &pull_tensors, bool need_event = true) {
    PS_CHECK_GE(push_tensors.size() + pull_tensors.size(), 1U) << "nothing to push and nothing to pull";
    if (need_event) {
      TensorEvent event;
      event.Record();
      event.Sync();
    }
    return Submit(push_tensors, pull_tensors, nullptr);
  }

  // As ZBatchPushPull, in the turn of a stream of the process's first accelerator (PMD_ACCELERATORS): nothing is sent before
  // what the stream has been given is done, and what it is given afterwards finds what is pulled, or goes on without it where
  // the request fails: Wait tells. The call waits for neither. `stream` is the runtime's handle (cudaStream_t, hipStream_t,
  // aclrtStream); NULL is the default stream. StepMesh has no such method.
  int ZBatchPushPullOn(KeyTensorBatch &push_tensors, KeyTensorBatch &pull_tensors, void *stream) {
    PS_CHECK_GE(push_tensors.size() + pull_tensors.size(), 1U) << "nothing to push and nothing to pull";
    pmd_af_request_options options = {};
    options.in_stream = true;
    options.stream = reinterpret_cast<uintptr_t>(stream);
    return Submit(push_tensors, pull_tensors, &options);
  }

  // Throws dmlc::Error when the request failed, or is not done in time: then it goes on, and may be waited for again.
  void Wait(int timestamp, uint64_t timeout_ms = 10000) {
    Pending pending;
    {
      std::lock_guard<std::mutex> lock(state_->mutex);
      PS_CHECK(timestamp >= 0 && timestamp < state_->next) << "there is no request " << timestamp;
      const auto found = Find(timestamp);
      if (found == state_->pending.end()) {
        return;
      }
      pending = found->second;
    }
    const auto status = pmd_af_request_wait(pending.request, timeout_ms);
    const std::string why = status == PMD_AF_STATUS_OK ? "" : pmd_af_last_error();
    if (status != PMD_AF_STATUS_TIMEOUT && status != PMD_AF_STATUS_INVALID_HANDLE) {
      Forget(timestamp);
    }
    PS_CHECK(status == PMD_AF_STATUS_OK) << "request " << timestamp << ": " << why;
  }

  // Stops a request. When this returns, nothing writes its tensors any more. StepMesh has no such method.
  void Cancel(int timestamp) {
    pmd_af_request *request = nullptr;
    {
      std::lock_guard<std::mutex> lock(state_->mutex);
      const auto found = Find(timestamp);
      if (found == state_->pending.end()) {
        return;
      }
      request = found->second.request;
    }
    (void)pmd_af_request_cancel(request);
    Forget(timestamp);
  }

  // The timestamps of a request: one for each push, and one for each pull of one server. To be asked before Wait.
  std::vector<int> GetAllHandlers(int timestamp) {
    std::lock_guard<std::mutex> lock(state_->mutex);
    std::vector<int> handlers = {timestamp};
    const auto found = state_->pending.find(timestamp);
    for (int next = 1; found != state_->pending.end() && next < found->second.count; ++next) {
      handlers.push_back(timestamp + next);
    }
    return handlers;
  }

  // When the phases of a request that was waited for, and of its response, were, at the server that answered last. Each
  // stamp is of the clock of the side that noted it; all are 0 for a request of too long ago.
  std::pair<Trace, Trace> FetchTrace(int timestamp) {
    uint64_t number = 0;
    {
      std::lock_guard<std::mutex> lock(state_->mutex);
      const auto known = state_->numbers.find(timestamp);
      if (known == state_->numbers.end()) {
        return std::make_pair(Trace(), Trace());
      }
      number = known->second;
    }
    const auto servers = static_cast<std::size_t>(Postoffice::GetWorker()->num_server_instances());
    std::vector<pmd_af_trace> traces(servers);
    std::size_t count = 0;
    detail::Require(pmd_af_fetch_traces(node_, number, 1000, traces.data(), servers, &count), "trace");
    pmd_af_trace last = {};
    for (std::size_t at = 0; at < count; ++at) {
      last = traces[at].response_received >= last.response_received ? traces[at] : last;
    }
    Trace request;
    request.start = last.request_start;
    request.postsend = last.request_sent;
    request.postrecv = last.request_received;
    request.process = last.request_processed;
    Trace response;
    response.start = last.response_start;
    response.postsend = last.response_sent;
    response.postrecv = last.response_received;
    response.process = last.response_processed;
    return std::make_pair(request, response);
  }

 private:
  // Requests whose traces can be asked for.
  static constexpr std::size_t kTraced = 1024;

  struct Pending {
    pmd_af_request *request = nullptr;
    int count = 0;
    std::shared_ptr<detail::Described> push;
    std::shared_ptr<detail::Described> pull;
  };

  struct State {
    std::mutex mutex;
    // By first timestamp.
    std::map<int, Pending> pending;
    // What traces are known by, of the last requests by their first timestamp.
    std::map<int, uint64_t> numbers;
    int next = 0;
    detail::Memories memories;
  };

  int Submit(KeyTensorBatch &push_tensors, KeyTensorBatch &pull_tensors, const pmd_af_request_options *options) {
    Pending pending;
    pending.push = std::make_shared<detail::Described>();
    pending.pull = std::make_shared<detail::Described>();
    Describe(push_tensors, *pending.push);
    Describe(pull_tensors, *pending.pull);
    const auto servers = static_cast<std::size_t>(Postoffice::GetWorker()->num_server_instances());
    const std::size_t timestamps = push_tensors.size() + pull_tensors.size() / std::max<std::size_t>(servers, 1U);
    const auto status = pmd_af_push_pull(node_, pending.push->data(), pending.push->size(), pending.pull->data(),
                                         pending.pull->size(), options, &pending.request);
    detail::Require(status, "push-pull");
    std::lock_guard<std::mutex> lock(state_->mutex);
    const int first = state_->next;
    uint64_t number = 0;
    if (pmd_af_request_number(pending.request, &number) == PMD_AF_STATUS_OK) {
      state_->numbers[first] = number;
    }
    if (state_->numbers.size() > kTraced) {
      state_->numbers.erase(state_->numbers.begin());
    }
    pending.count = static_cast<int>(std::max<std::size_t>(timestamps, 1U));
    state_->next += pending.count;
    state_->pending.emplace(first, std::move(pending));
    return first;
  }

  void Describe(const KeyTensorBatch &batch, detail::Described &described) {
    for (const KeyTensor &entry : batch) {
      described.Add(entry.key, entry.val, state_->memories);
    }
  }

  // The request that a timestamp belongs to. The mutex is held.
  std::map<int, Pending>::iterator Find(int timestamp) {
    auto next = state_->pending.upper_bound(timestamp);
    if (next == state_->pending.begin()) {
      return state_->pending.end();
    }
    --next;
    return timestamp < next->first + next->second.count ? next : state_->pending.end();
  }

  void Forget(int timestamp) {
    std::lock_guard<std::mutex> lock(state_->mutex);
    const auto found = Find(timestamp);
    if (found == state_->pending.end()) {
      return;
    }
    (void)pmd_af_request_release(found->second.request);
    state_->pending.erase(found);
  }

  pmd_af_node *node_;
  std::shared_ptr<State> state_;
};

// What a server knows of a request: who sent it, what was pushed, and what is to be pulled. Copies are the same request,
// whose pushed tensors stay where they are until it has been answered.
struct AFTensorMeta {
  int sender = 0;
  int sender_rank = 0;
  // A lone push or a lone pull.
  bool single = false;
  int last_timestamp = 0;
  std::vector<KVMeta> push_metas;
  std::vector<KeyTensor> push_tensors;
  std::vector<KVMeta> pull_metas;
  // Their keys; the tensors are undefined.
  std::vector<KeyTensor> pull_tensors;
  // The library's request.
  std::shared_ptr<pmd_af_incoming> incoming;

  void Add(const KVMeta &meta, const KeyTensor &tensor) {
    last_timestamp = meta.timestamp;
    (meta.push ? push_metas : pull_metas).push_back(meta);
    (meta.push ? push_tensors : pull_tensors).push_back(tensor);
  }
};

// The feed-forward side: hands requests to a handler, on a thread of its own, and takes their responses.
class AFTensorServer {
 public:
  using AFServerRequestHandle = std::function<void(const AFTensorMeta &req_meta, AFTensorServer *server)>;

  // `gpu` is there because programs give it: a process has one server.
  explicit AFTensorServer(int gpu) : node_(Postoffice::NodeHandle()) {
    PS_CHECK(Postoffice::GetServer(gpu) != nullptr);
    thread_ = std::thread([this] { Serve(); });
  }

  // Waits for the handler, if it runs.
  virtual ~AFTensorServer() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
    std::lock_guard<std::mutex> lock(mutex_);
    LetGo(10000);
    for (const auto &offered : offered_) {
      (void)pmd_af_take_back(node_, offered.first, offered.second, 1000);
    }
  }

  AFTensorServer(const AFTensorServer &) = delete;
  AFTensorServer &operator=(const AFTensorServer &) = delete;

  // What answers requests. One that comes before is kept. A handler that throws has refused the request: its worker sees a
  // failure, and the next request is handed out.
  void SetRequestHandle(const AFServerRequestHandle &request_handle) {
    PS_CHECK(request_handle) << "an empty request handle";
    {
      std::lock_guard<std::mutex> lock(mutex_);
      handler_ = request_handle;
    }
    changed_.notify_all();
  }

  // Answers a request: each pull with the tensor that has its key. From any thread, once for each request. The tensors are
  // held until their bytes have gone; the program leaves them as they are until then.
  void Response(const AFTensorMeta &meta, KeyTensorBatch tensors = {}, bool need_event = true) {
    PS_CHECK(meta.incoming != nullptr) << "a request that was not made by a server";
    if (need_event) {
      TensorEvent event;
      event.Record();
      event.Sync();
    }
    auto answer = Answer(meta, tensors);
    pmd_af_response *response = nullptr;
    const auto status = pmd_af_respond(meta.incoming.get(), answer->data(), answer->size(), &response);
    detail::Require(status, "response");
    std::lock_guard<std::mutex> lock(mutex_);
    responses_.push_back(Sent{response, std::move(answer)});
    LetGo(0);
  }

  // As Response, behind what a stream of the process's first accelerator has been given: the kernels that compute the tensors.
  // Returns at once. The program keeps the tensors as they are until the worker has them; where the stream fails, the worker's
  // request does. StepMesh has no such method.
  void ResponseOn(const AFTensorMeta &meta, KeyTensorBatch tensors, void *stream) {
    PS_CHECK(meta.incoming != nullptr) << "a request that was not made by a server";
    const auto answer = Answer(meta, tensors);
    const auto status = pmd_af_respond_on(node_, meta.incoming.get(), answer->data(), answer->size(),
                                          reinterpret_cast<uintptr_t>(stream));
    detail::Require(status, "response");
  }

  // Gives workers the tensor's memory to push into: equal chunks, one for each pair of rank and key.
  void RegisterRecvTensor(const Tensor &tensor, std::vector<int> &worker_ranks, std::vector<Key> &keys) {
    PS_CHECK_EQ(worker_ranks.size(), keys.size()) << "as many ranks as keys";
    std::vector<uint32_t> ranks;
    for (const int rank : worker_ranks) {
      PS_CHECK_GE(rank, 0) << "a worker's rank";
      ranks.push_back(static_cast<uint32_t>(rank));
    }
    auto described = std::make_unique<detail::Described>();
    described->Add(0, tensor, memories_);
    detail::Require(pmd_af_offer(node_, described->data(), ranks.data(), keys.data(), keys.size()), "receive buffer");
    std::lock_guard<std::mutex> lock(mutex_);
    buffers_.push_back(std::move(described));
    for (std::size_t at = 0; at < keys.size(); ++at) {
      offered_.emplace_back(ranks[at], keys[at]);
    }
  }

 private:
  // A response and the tensors that it reads.
  struct Sent {
    pmd_af_response *response;
    std::unique_ptr<detail::Described> tensors;
  };

  // A tensor for each pull.
  std::unique_ptr<detail::Described> Answer(const AFTensorMeta &meta, const KeyTensorBatch &tensors) {
    auto answer = std::make_unique<detail::Described>();
    for (const KeyTensor &wanted : meta.pull_tensors) {
      answer->Add(wanted.key, Pick(tensors, wanted.key).val, memories_);
    }
    return answer;
  }

  // The tensor of a key; where there is one only, that, whatever its key.
  static const KeyTensor &Pick(const KeyTensorBatch &tensors, Key key) {
    const auto is_it = [key](const KeyTensor &tensor) { return tensor.key == key; };
    const auto same = std::find_if(tensors.begin(), tensors.end(), is_it);
    if (same != tensors.end()) {
      return *same;
    }
    PS_CHECK_EQ(tensors.size(), 1U) << "no tensor for key " << key << " in the response";
    return tensors[0];
  }

  // Lets go of responses that have ended, each after at most so long. The mutex is held.
  void LetGo(uint64_t timeout_ms) {
    while (!responses_.empty()) {
      pmd_af_response *oldest = responses_.front().response;
      if (pmd_af_response_wait(oldest, timeout_ms) == PMD_AF_STATUS_TIMEOUT) {
        return;
      }
      (void)pmd_af_response_release(oldest);
      responses_.pop_front();
    }
  }

  void Serve() {
    RenameThread("af-server");
    while (true) {
      AFServerRequestHandle handler;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return stopped_ || handler_; });
        if (stopped_) {
          return;
        }
        handler = handler_;
      }
      pmd_af_incoming *incoming = nullptr;
      std::size_t count = 0;
      const auto status = pmd_af_get_batch(node_, PMD_AF_GATHER_ANY, 0, 50, &incoming, 1, &count);
      if (status == PMD_AF_STATUS_OK && count == 1) {
        Hand(incoming, handler);
      } else if (status != PMD_AF_STATUS_PEER_DOWN) {
        // Nothing came, or the node has gone. That a worker has is told once: what others send is still to be served.
        std::unique_lock<std::mutex> lock(mutex_);
        LetGo(0);
        changed_.wait_for(lock, std::chrono::milliseconds(status == PMD_AF_STATUS_TIMEOUT ? 0 : 50),
                          [this] { return stopped_; });
      }
    }
  }

  void Hand(pmd_af_incoming *incoming, const AFServerRequestHandle &handler) {
    const std::shared_ptr<pmd_af_incoming> held(incoming, [](pmd_af_incoming *last) { (void)pmd_af_incoming_release(last); });
    try {
      handler(Describe(held), this);
    } catch (const std::exception &error) {
      PS_LOG(ERROR) << "a request handler threw: " << error.what();
      (void)pmd_af_refuse(incoming, kHandlerThrew);
    } catch (...) {
      PS_LOG(ERROR) << "a request handler threw something that is no std::exception";
      (void)pmd_af_refuse(incoming, kHandlerThrew);
    }
  }

  static AFTensorMeta Describe(const std::shared_ptr<pmd_af_incoming> &incoming) {
    pmd_af_incoming_info info = {};
    detail::Require(pmd_af_incoming_read(incoming.get(), &info), "a request");
    AFTensorMeta meta;
    meta.incoming = incoming;
    meta.sender_rank = static_cast<int>(info.worker);
    meta.sender = Postoffice::WorkerRankToID(meta.sender_rank);
    meta.single = info.pushes + info.pulls == 1;
    for (std::size_t at = 0; at < info.pushes + info.pulls; ++at) {
      const bool push = at < info.pushes;
      pmd_af_keyed_tensor entry = {};
      const auto status = push ? pmd_af_incoming_push(incoming.get(), at, &entry)
                               : pmd_af_incoming_pull(incoming.get(), at - info.pushes, &entry);
      detail::Require(status, "a tensor of a request");
      KVMeta about;
      about.push = push;
      about.cmd = Flag(at, info.pushes + info.pulls);
      about.sender = meta.sender;
      about.timestamp = static_cast<int>(info.number) + static_cast<int>(at);
      about.key = entry.key;
      about.is_tensor = 1;
      about.addr = reinterpret_cast<uint64_t>(entry.tensor.data);
      about.val_len = static_cast<int>(entry.bytes);
      KeyTensor tensor;
      tensor.key = entry.key;
      if (push) {
        about.shape.assign(entry.tensor.shape, entry.tensor.shape + entry.tensor.dimensions);
        tensor.val = detail::FromDescription(entry.tensor);
      }
      meta.Add(about, tensor);
    }
    return meta;
  }

  static int Flag(std::size_t at, std::size_t count) {
    if (count == 1) {
      return 0;
    }
    return at == 0 ? AF_FLAG_BATCH_START : (at + 1 == count ? AF_FLAG_BATCH_END : AF_FLAG_BATCH_MIDDLE);
  }

  // What a worker is told whose request's handler threw.
  static constexpr uint64_t kHandlerThrew = 1;

  pmd_af_node *node_;
  detail::Memories memories_;
  std::mutex mutex_;
  std::condition_variable changed_;
  AFServerRequestHandle handler_;
  std::deque<Sent> responses_;
  std::vector<std::unique_ptr<detail::Described>> buffers_;
  std::vector<std::pair<uint32_t, Key>> offered_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace ps

#endif  // PMD_AF_PS_AF_TENSOR_APP_H_
