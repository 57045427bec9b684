// ps-lite's key-values over libpmd_af: a worker pushes values under keys to the servers that have them, and pulls them; a
// server hands requests to a function.
//
// What differs: a pull needs to know how much there may be, from the size of the vector that it fills; what fails throws
// dmlc::Error from Wait; a server takes every request of its process, so that it has no AFTensorServer beside it.
#ifndef PMD_AF_PS_KV_APP_H_
#define PMD_AF_PS_KV_APP_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ps/base.h"
#include "ps/internal/key_values.h"
#include "ps/internal/trace.h"
#include "ps/sarray.h"

namespace ps {

// What StepMesh says of one tensor of a request, and ps-lite of a request of key-values.
struct KVMeta {
  // A flag of a batch, or the application's number.
  int cmd = 0;
  bool push = false;
  bool pull = false;
  int sender = 0;
  int timestamp = 0;
  int customer_id = 0;
  Key key = 0;
  uint64_t addr = 0;
  int val_len = 0;
  int option = 0;
  int is_tensor = 0;
  int dtype = 0;
  std::vector<int64_t> shape;
  Trace request_trace;
  Trace response_trace;
  // The library's request, of key-values.
  std::shared_ptr<pmd_af_incoming> incoming;
};

// Keys, which increase, with their values one after the other. Without `lens` all have the same number.
template <typename Val>
struct KVPairs {
  SArray<Key> keys;
  SArray<Val> vals;
  SArray<int> lens;
};

// Pushes and pulls key-values. May be used from any thread.
template <typename Val>
class KVWorker {
 public:
  // Called on a thread of the worker's when a request is done, whatever came of it, before Wait returns; requests are done
  // in their order. It may push and pull, and must not wait.
  using Callback = std::function<void()>;

  // The arguments are there because programs give them: a process has one worker.
  explicit KVWorker(int = 0, int = 0, int instance_idx = 0) : node_(Postoffice::NodeHandle()) {
    servers_ = static_cast<std::size_t>(Postoffice::GetWorker(instance_idx)->num_server_instances());
    thread_ = std::thread([this] { Complete(); });
  }

  // Cancels what is not done.
  ~KVWorker() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  KVWorker(const KVWorker &) = delete;
  KVWorker &operator=(const KVWorker &) = delete;

  // The values are copied: the caller may go on with its own at once.
  int Push(const std::vector<Key> &keys, const std::vector<Val> &vals, const std::vector<int> &lens = {}, int cmd = 0,
           const Callback &callback = nullptr) {
    return Ask(Question{keys.data(), keys.size(), vals.data(), vals.size(), &lens, cmd, true, 0}, nullptr, callback);
  }

  // Fills `vals`, which is as large as there may be values, the same number for each key; empty, it takes kMost of each.
  int Pull(const std::vector<Key> &keys, std::vector<Val> *vals, std::vector<int> *lens = nullptr, int cmd = 0,
           const Callback &callback = nullptr) {
    const std::vector<int> none;
    const Question question{keys.data(), keys.size(), nullptr, 0, &none, cmd, false, Most(keys.size(), vals->size())};
    return Ask(question, Filling(vals, lens), callback);
  }

  // Pushes, and pulls what the servers answer for the same keys.
  int PushPull(const std::vector<Key> &keys, const std::vector<Val> &vals, std::vector<Val> *outs,
               std::vector<int> *lens = nullptr, int cmd = 0, const Callback &callback = nullptr) {
    const std::vector<int> given = lens == nullptr ? std::vector<int>() : *lens;
    const Question question{keys.data(), keys.size(), vals.data(), vals.size(), &given,
                            cmd,         true,        Most(keys.size(), outs->size())};
    return Ask(question, Filling(outs, lens), callback);
  }

  int ZPush(const SArray<Key> &keys, const SArray<Val> &vals, const SArray<int> &lens = {}, int cmd = 0,
            const Callback &callback = nullptr) {
    const std::vector<int> each(lens.begin(), lens.end());
    return Ask(Question{keys.data(), keys.size(), vals.data(), vals.size(), &each, cmd, true, 0}, nullptr, callback);
  }

  int ZPull(const SArray<Key> &keys, SArray<Val> *vals, SArray<int> *lens = nullptr, int cmd = 0,
            const Callback &callback = nullptr) {
    const std::vector<int> none;
    const Question question{keys.data(), keys.size(), nullptr, 0, &none, cmd, false, Most(keys.size(), vals->size())};
    return Ask(question, Filling(vals, lens), callback);
  }

  // Throws dmlc::Error when the request failed, or is not done in time: then it goes on.
  void Wait(int timestamp, uint64_t timeout_ms = 10000) {
    std::unique_lock<std::mutex> lock(mutex_);
    PS_CHECK(timestamp >= 0 && timestamp < next_) << "there is no request " << timestamp;
    const bool done = changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return timestamp < done_; });
    PS_CHECK(done) << "request " << timestamp << " is not done after " << timeout_ms << " ms; it goes on";
    const auto failed = failed_.find(timestamp);
    PS_CHECK(failed == failed_.end()) << "request " << timestamp << ": " << failed->second;
  }

 private:
  // Values of each key that an empty vector takes.
  static constexpr std::size_t kMost = 1024;
  // Requests whose failure is remembered.
  static constexpr std::size_t kFailures = 4096;

  struct Question {
    const Key *keys;
    std::size_t count;
    const Val *vals;
    std::size_t values;
    const std::vector<int> *lens;
    int cmd;
    bool push;
    // Values of each key that are pulled; 0: none.
    std::size_t most;
  };

  // What goes to one server, and what it reads and writes.
  struct Part {
    pmd_af_request *request = nullptr;
    std::vector<std::unique_ptr<detail::Bytes>> pushed;
    std::unique_ptr<detail::Bytes> lengths;
    std::unique_ptr<detail::Bytes> values;
  };

  using Fill = std::function<void(const std::vector<Val> &, const std::vector<int> &)>;

  struct Operation {
    std::vector<Part> parts;
    Fill fill;
    Callback callback;
  };

  static std::size_t Most(std::size_t keys, std::size_t values) {
    return values == 0 || keys == 0 ? kMost : std::max<std::size_t>(values / keys, 1U);
  }

  // Puts what was pulled where the caller wants it.
  template <typename Values, typename Lengths>
  static Fill Filling(Values *vals, Lengths *lens) {
    return [vals, lens](const std::vector<Val> &values, const std::vector<int> &lengths) {
      *vals = Values(values);
      if (lens != nullptr) {
        *lens = Lengths(lengths);
      }
    };
  }

  int Ask(const Question &question, const Fill &fill, const Callback &callback) {
    Check(question);
    Operation operation;
    operation.fill = fill;
    operation.callback = callback;
    std::size_t at = 0;
    std::size_t value = 0;
    try {
      while (at < question.count) {
        const std::size_t server = detail::ServerOf(question.keys[at], servers_);
        std::size_t end = at;
        while (end < question.count && detail::ServerOf(question.keys[end], servers_) == server) {
          ++end;
        }
        value += Send(question, at, end, value, static_cast<uint32_t>(server), operation.parts);
        at = end;
      }
    } catch (...) {
      // Nobody has a number for those that were sent.
      for (Part &part : operation.parts) {
        (void)pmd_af_request_cancel(part.request);
        (void)pmd_af_request_release(part.request);
      }
      throw;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    operations_.push_back(std::move(operation));
    changed_.notify_all();
    return next_++;
  }

  static void Check(const Question &question) {
    for (std::size_t at = 1; at < question.count; ++at) {
      PS_CHECK_LT(question.keys[at - 1], question.keys[at]) << "keys increase";
    }
    std::size_t values = question.values;
    if (!question.lens->empty()) {
      PS_CHECK_EQ(question.lens->size(), question.count) << "as many lengths as keys";
      values = 0;
      for (const int length : *question.lens) {
        PS_CHECK_GE(length, 0) << "a key's number of values";
        values += static_cast<std::size_t>(length);
      }
    } else if (question.count > 0) {
      PS_CHECK_EQ(question.values % question.count, 0U) << "the same number of values for each key";
    }
    PS_CHECK(!question.push || values == question.values) << question.values << " values where " << values << " belong to the keys";
  }

  // Sends a server its keys; how many values went along.
  std::size_t Send(const Question &question, std::size_t begin, std::size_t end, std::size_t first, uint32_t server,
                   std::vector<Part> &parts) {
    const std::size_t keys = end - begin;
    detail::Front front;
    front.push = question.push;
    front.pull = question.most > 0;
    front.value_bytes = sizeof(Val);
    front.command = question.cmd;
    front.keys.assign(question.keys + begin, question.keys + end);
    std::size_t values = question.push ? question.values / question.count * keys : 0U;
    if (question.push && !question.lens->empty()) {
      front.with_lengths = true;
      front.lengths.assign(question.lens->begin() + static_cast<std::ptrdiff_t>(begin),
                           question.lens->begin() + static_cast<std::ptrdiff_t>(end));
      values = 0;
      for (const uint32_t length : front.lengths) {
        values += length;
      }
    }
    Part part;
    const std::vector<char> bytes = front.Emit();
    part.pushed.push_back(std::make_unique<detail::Bytes>(bytes.data(), bytes.size()));
    std::vector<pmd_af_keyed_tensor> pushes = {part.pushed[0]->Entry(detail::kFrontKey)};
    if (question.push) {
      part.pushed.push_back(std::make_unique<detail::Bytes>(question.vals + first, values * sizeof(Val)));
      pushes.push_back(part.pushed[1]->Entry(detail::kValuesKey));
    }
    std::vector<pmd_af_keyed_tensor> pulls;
    if (question.most > 0) {
      part.lengths = std::make_unique<detail::Bytes>(keys * sizeof(uint32_t));
      part.values = std::make_unique<detail::Bytes>(keys * question.most * sizeof(Val));
      pulls = {part.lengths->Entry(detail::kLengthsKey), part.values->Entry(detail::kValuesKey)};
    }
    pmd_af_request_options options = {};
    options.servers = &server;
    options.server_count = 1;
    options.up_to = true;
    const auto sent = pmd_af_push_pull(node_, pushes.data(), pushes.size(), pulls.data(), pulls.size(), &options, &part.request);
    detail::Require(sent, "key-values");
    parts.push_back(std::move(part));
    return values;
  }

  // The worker's thread.
  void Complete() {
    RenameThread("kv-worker");
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopped_ || !operations_.empty(); });
      if (operations_.empty()) {
        return;
      }
      Operation operation = std::move(operations_.front());
      operations_.pop_front();
      lock.unlock();
      std::string failed = Finish(operation);
      Call(operation.callback);
      lock.lock();
      if (!failed.empty()) {
        failed_[done_] = std::move(failed);
        if (failed_.size() > kFailures) {
          failed_.erase(failed_.begin());
        }
      }
      ++done_;
      changed_.notify_all();
    }
  }

  static void Call(const Callback &callback) {
    try {
      if (callback) {
        callback();
      }
    } catch (const std::exception &error) {
      PS_LOG(ERROR) << "a callback threw: " << error.what();
    }
  }

  // Waits for every part, and gives out what came; why it failed, if it did.
  std::string Finish(Operation &operation) {
    std::string failed;
    std::vector<Val> values;
    std::vector<int> lengths;
    for (Part &part : operation.parts) {
      auto status = pmd_af_request_wait(part.request, kLook);
      while (status == PMD_AF_STATUS_TIMEOUT) {
        status = Stopped() ? pmd_af_request_cancel(part.request) : pmd_af_request_wait(part.request, kLook);
      }
      if (status != PMD_AF_STATUS_OK) {
        failed = failed.empty() ? pmd_af_last_error() : failed;
      } else if (part.values != nullptr) {
        uint32_t came[2] = {0, 0};
        std::size_t count = 0;
        (void)pmd_af_request_lengths(part.request, came, 2, &count);
        const auto *lens = reinterpret_cast<const uint32_t *>(part.lengths->data());
        const auto *vals = reinterpret_cast<const Val *>(part.values->data());
        lengths.insert(lengths.end(), lens, lens + came[0] / sizeof(uint32_t));
        values.insert(values.end(), vals, vals + came[1] / sizeof(Val));
      }
      (void)pmd_af_request_release(part.request);
    }
    if (failed.empty() && operation.fill) {
      operation.fill(values, lengths);
    }
    return failed;
  }

  bool Stopped() {
    std::lock_guard<std::mutex> lock(mutex_);
    return stopped_;
  }

  // Milliseconds after which the thread looks whether it is to end.
  static constexpr uint64_t kLook = 50;

  pmd_af_node *node_;
  std::size_t servers_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Operation> operations_;
  std::map<int, std::string> failed_;
  // Requests so far, and how many of them are done.
  int next_ = 0;
  int done_ = 0;
  bool stopped_ = false;
  std::thread thread_;
};

// Hands the requests of workers to a function, on a thread of its own.
template <typename Val>
class KVServer {
 public:
  using ReqHandle = std::function<void(const KVMeta &meta, const KVPairs<Val> &pairs, KVServer *server)>;

  // The arguments are there because programs give them: a process has one server.
  explicit KVServer(int = 0, bool = false, int instance_idx = 0) : node_(Postoffice::NodeHandle()) {
    PS_CHECK(Postoffice::GetServer(instance_idx) != nullptr);
    thread_ = std::thread([this] { Serve(); });
  }

  // Waits for the function, if it runs.
  ~KVServer() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
    std::lock_guard<std::mutex> lock(mutex_);
    LetGo(10000);
  }

  KVServer(const KVServer &) = delete;
  KVServer &operator=(const KVServer &) = delete;

  // What answers requests; those that come before are kept. One that throws has refused its request.
  void set_request_handle(const ReqHandle &handle) {
    PS_CHECK(handle) << "an empty request handle";
    {
      std::lock_guard<std::mutex> lock(mutex_);
      handle_ = handle;
    }
    changed_.notify_all();
  }

  // Answers a request, with the pairs of its keys where it pulls. From any thread, once for each request.
  void Response(const KVMeta &meta, const KVPairs<Val> &pairs = KVPairs<Val>()) {
    PS_CHECK(meta.incoming != nullptr) << "a request that was not made by a server";
    Sent sent;
    std::vector<pmd_af_keyed_tensor> answers;
    if (meta.pull) {
      const std::vector<uint32_t> lengths = Lengths(pairs);
      sent.memory.push_back(std::make_unique<detail::Bytes>(lengths.data(), lengths.size() * sizeof(uint32_t)));
      sent.memory.push_back(std::make_unique<detail::Bytes>(pairs.vals.data(), pairs.vals.size() * sizeof(Val)));
      answers = {sent.memory[0]->Entry(detail::kLengthsKey), sent.memory[1]->Entry(detail::kValuesKey)};
    }
    const auto status = pmd_af_respond(meta.incoming.get(), answers.data(), answers.size(), &sent.response);
    detail::Require(status, "response");
    std::lock_guard<std::mutex> lock(mutex_);
    sent_.push_back(std::move(sent));
    LetGo(0);
  }

 private:
  // A response and the memory that it is read from.
  struct Sent {
    pmd_af_response *response = nullptr;
    std::vector<std::unique_ptr<detail::Bytes>> memory;
  };

  static std::vector<uint32_t> Lengths(const KVPairs<Val> &pairs) {
    if (!pairs.lens.empty()) {
      return std::vector<uint32_t>(pairs.lens.begin(), pairs.lens.end());
    }
    const std::size_t each = pairs.keys.empty() ? 0U : pairs.vals.size() / pairs.keys.size();
    return std::vector<uint32_t>(pairs.keys.size(), static_cast<uint32_t>(each));
  }

  // Lets go of responses that have ended, each after at most so long. The mutex is held.
  void LetGo(uint64_t timeout_ms) {
    while (!sent_.empty() && pmd_af_response_wait(sent_.front().response, timeout_ms) != PMD_AF_STATUS_TIMEOUT) {
      (void)pmd_af_response_release(sent_.front().response);
      sent_.pop_front();
    }
  }

  void Serve() {
    RenameThread("kv-server");
    while (true) {
      ReqHandle handle;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return stopped_ || handle_; });
        if (stopped_) {
          return;
        }
        handle = handle_;
        LetGo(0);
      }
      pmd_af_incoming *incoming = nullptr;
      std::size_t count = 0;
      const auto status = pmd_af_get_batch(node_, PMD_AF_GATHER_ANY, 0, kLook, &incoming, 1, &count);
      if (status == PMD_AF_STATUS_OK && count == 1) {
        Hand(std::shared_ptr<pmd_af_incoming>(incoming, [](pmd_af_incoming *last) { (void)pmd_af_incoming_release(last); }),
             handle);
      } else if (status != PMD_AF_STATUS_TIMEOUT && status != PMD_AF_STATUS_PEER_DOWN) {
        // The node has gone.
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(kLook), [this] { return stopped_; });
      }
    }
  }

  void Hand(const std::shared_ptr<pmd_af_incoming> &incoming, const ReqHandle &handle) {
    KVMeta meta;
    KVPairs<Val> pairs;
    meta.incoming = incoming;
    if (!Parse(incoming.get(), meta, pairs)) {
      (void)pmd_af_refuse(incoming.get(), detail::kNotKeyValues);
      return;
    }
    try {
      handle(meta, pairs, this);
    } catch (const std::exception &error) {
      PS_LOG(ERROR) << "a request handle threw: " << error.what();
      (void)pmd_af_refuse(incoming.get(), kHandleThrew);
    }
  }

  // Copies what a request says. False where that is no request of such values.
  static bool Parse(const pmd_af_incoming *incoming, KVMeta &meta, KVPairs<Val> &pairs) {
    pmd_af_incoming_info info = {};
    if (pmd_af_incoming_read(incoming, &info) != PMD_AF_STATUS_OK) {
      return false;
    }
    detail::Front front;
    bool found = false;
    for (std::size_t at = 0; at < info.pushes; ++at) {
      pmd_af_keyed_tensor pushed = {};
      detail::Require(pmd_af_incoming_push(incoming, at, &pushed), "key-values");
      const auto *bytes = static_cast<const char *>(pushed.tensor.data);
      if (pushed.key == detail::kFrontKey) {
        found = detail::Front::Parse(bytes, pushed.bytes, front);
      } else if (pushed.key == detail::kValuesKey && pushed.bytes % sizeof(Val) == 0) {
        pairs.vals.CopyFrom(reinterpret_cast<const Val *>(bytes), pushed.bytes / sizeof(Val));
      }
    }
    if (!found || front.value_bytes != sizeof(Val)) {
      return false;
    }
    pairs.keys.CopyFrom(front.keys.data(), front.keys.size());
    std::size_t values = 0;
    for (const uint32_t length : front.lengths) {
      pairs.lens.push_back(static_cast<int>(length));
      values += length;
    }
    meta.cmd = front.command;
    meta.push = front.push;
    meta.pull = front.pull;
    meta.sender = Postoffice::WorkerRankToID(static_cast<int>(info.worker));
    meta.timestamp = static_cast<int>(info.number);
    const bool even = !front.keys.empty() && pairs.vals.size() % front.keys.size() == 0;
    return !front.push || (front.with_lengths ? values == pairs.vals.size() : even);
  }

  static constexpr uint64_t kLook = 50;
  // What a worker is told whose request's handle threw.
  static constexpr uint64_t kHandleThrew = 1;

  pmd_af_node *node_;
  std::mutex mutex_;
  std::condition_variable changed_;
  ReqHandle handle_;
  std::deque<Sent> sent_;
  bool stopped_ = false;
  std::thread thread_;
};

// Adds up what is pushed under each key, value by value, and answers pulls with the sums.
template <typename Val>
struct KVServerDefaultHandle {
  void operator()(const KVMeta &meta, const KVPairs<Val> &pairs, KVServer<Val> *server) {
    KVPairs<Val> answer;
    std::size_t first = 0;
    for (std::size_t at = 0; at < pairs.keys.size(); ++at) {
      std::vector<Val> &sum = store[pairs.keys[at]];
      if (meta.push) {
        const std::size_t count = pairs.lens.empty() ? pairs.vals.size() / pairs.keys.size()
                                                     : static_cast<std::size_t>(pairs.lens[at]);
        sum.resize(std::max(sum.size(), count));
        for (std::size_t value = 0; value < count; ++value) {
          sum[value] = static_cast<Val>(sum[value] + pairs.vals[first + value]);
        }
        first += count;
      }
      if (meta.pull) {
        answer.keys.push_back(pairs.keys[at]);
        answer.vals.append(SArray<Val>(sum));
        answer.lens.push_back(static_cast<int>(sum.size()));
      }
    }
    server->Response(meta, answer);
  }

  std::unordered_map<Key, std::vector<Val>> store;
};

}  // namespace ps

#endif  // PMD_AF_PS_KV_APP_H_
