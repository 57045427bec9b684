// Tensors in memory of a CUDA device, pushed, pulled and answered with in the turn of streams: no thread waits for a stream
// before the end. Runs over the stand-in for the driver.
#define PMD_AF_WITHOUT_TORCH

#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <vector>

#include "ps/ps.h"

namespace {

constexpr ps::Key kKey = 7;
constexpr int64_t kNumbers = 20000;
constexpr std::size_t kBytes = kNumbers * sizeof(float);
constexpr int kRounds = 20;
constexpr int kBoth = ps::kServerGroup + ps::kWorkerGroup;

// What programs call of the CUDA driver.
class Device {
 public:
  Device() {
    Call<int(unsigned)>("cuInit", 0U);
    Call<int(void **, int)>("cuDevicePrimaryCtxRetain", &context_, 0);
    Enter();
    Call<int(void **, unsigned)>("cuStreamCreate", &stream_, 1U);
  }

  // Every thread that copies does so first.
  void Enter() { Call<int(void *)>("cuCtxPushCurrent_v2", context_); }

  void *stream() const { return stream_; }

  // Numbers on the device.
  ps::Tensor Numbers() {
    uint64_t address = 0;
    Call<int(uint64_t *, std::size_t)>("cuMemAlloc_v2", &address, kBytes);
    return ps::Tensor::from_blob(reinterpret_cast<void *>(address), {kNumbers}, ps::kFloat, 0);
  }

  // Page-locked numbers of the host.
  float *Pinned(std::size_t count) {
    void *memory = nullptr;
    Call<int(void **, std::size_t, unsigned)>("cuMemHostAlloc", &memory, count * sizeof(float), 0U);
    return static_cast<float *>(memory);
  }

  void Copy(void *to, const void *from) {
    const auto address = [](const void *pointer) { return reinterpret_cast<uint64_t>(pointer); };
    Call<int(uint64_t, uint64_t, std::size_t, void *)>("cuMemcpyAsync", address(to), address(from), kBytes, stream_);
  }

  void Finish() { Call<int(void *)>("cuStreamSynchronize", stream_); }

 private:
  template <typename Function, typename... Arguments>
  void Call(const char *name, Arguments... arguments) {
    auto *function = reinterpret_cast<Function *>(dlsym(driver_, name));
    PS_CHECK(function != nullptr) << name;
    const int code = function(arguments...);
    PS_CHECK_EQ(code, 0) << name;
  }

  void *driver_ = PS_CHECK_NOTNULL(dlopen("libcuda.so.1", RTLD_NOW));
  void *context_ = nullptr;
  void *stream_ = nullptr;
};

bool Throws(const std::function<void()> &call) {
  try {
    call();
  } catch (const dmlc::Error &) {
    return true;
  }
  return false;
}

float NumberOf(int round, int64_t at) { return static_cast<float>(round * 1000 + at % 997); }

void RunServer() {
  ps::StartPS(0, ps::Node::SERVER, 0, true);
  Device device;
  const ps::Tensor received = device.Numbers();
  const ps::Tensor answer = device.Numbers();
  auto *server = new ps::AFTensorServer(0);
  std::vector<int> ranks = {0};
  std::vector<ps::Key> keys = {kKey};
  server->RegisterRecvTensor(received, ranks, keys);
  // Counted before the answer goes: the worker's barrier, once it has them all, then follows every count.
  std::atomic<int> answered = 0;
  server->SetRequestHandle([&](const ps::AFTensorMeta &request, ps::AFTensorServer *of) {
    const ps::Tensor &pushed = request.push_tensors.at(0).val;
    PS_CHECK(pushed.device() == 0 && pushed.data_ptr() == received.data_ptr()) << "it is in the receive buffer";
    const ps::KeyTensor back{request.pull_tensors.at(0).key, answer};
    PS_CHECK(Throws([&] { of->ResponseOn(request, {back}, reinterpret_cast<void *>(0x99999)); })) << "no such stream";
    if (answered++ == 0) {
      device.Enter();
    }
    // The worker has had the answer before: it has asked again.
    device.Copy(answer.data_ptr(), pushed.data_ptr());
    of->ResponseOn(request, {back}, device.stream());
  });
  ps::Postoffice::GetServer(0)->Barrier(0, kBoth);
  ps::Postoffice::GetServer(0)->Barrier(0, kBoth);
  PS_CHECK_EQ(answered, kRounds);
  delete server;
  ps::Finalize(0, ps::Node::SERVER, true);
}

void RunWorker() {
  ps::StartPS(0, ps::Node::WORKER, 0, true);
  Device device;
  float *sent = device.Pinned(kRounds * kNumbers);
  float *found = device.Pinned(kRounds * kNumbers);
  for (int64_t at = 0; at < kRounds * kNumbers; ++at) {
    sent[at] = NumberOf(static_cast<int>(at / kNumbers), at % kNumbers);
    found[at] = -1;
  }
  {
    ps::AFTensorWorker worker(0);
    ps::KeyTensorBatch pushes = {{kKey, device.Numbers()}};
    ps::KeyTensorBatch pulls = {{kKey + 1, device.Numbers()}};
    ps::Postoffice::GetWorker(0)->Barrier(0, kBoth);
    void *nowhere = reinterpret_cast<void *>(0x99999);
    PS_CHECK(Throws([&] { worker.ZBatchPushPullOn(pushes, pulls, nowhere); })) << "no such stream";
    std::vector<int> requests;
    for (int round = 0; round < kRounds; ++round) {
      device.Copy(pushes[0].val.data_ptr(), sent + round * kNumbers);
      requests.push_back(worker.ZBatchPushPullOn(pushes, pulls, device.stream()));
      device.Copy(found + round * kNumbers, pulls[0].val.data_ptr());
    }
    device.Finish();
    for (int64_t at = 0; at < kRounds * kNumbers; ++at) {
      PS_CHECK_EQ(found[at], sent[at]) << "number " << at % kNumbers << " of round " << at / kNumbers;
    }
    for (const int request : requests) {
      worker.Wait(request);
    }
    ps::Postoffice::GetWorker(0)->Barrier(0, kBoth);
  }
  ps::Finalize(0, ps::Node::WORKER, true);
  std::printf("%d rounds were in the turn of streams\n", kRounds);
}

int Run() {
  switch (ps::GetRole(ps::GetEnv("DMLC_ROLE", "worker"))) {
    case ps::Node::SCHEDULER:
      ps::StartPS(0, ps::Node::SCHEDULER, -1, true);
      ps::Finalize(0, ps::Node::SCHEDULER, true);
      break;
    case ps::Node::SERVER:
      RunServer();
      break;
    default:
      RunWorker();
  }
  return 0;
}

}  // namespace

int main() {
  try {
    return Run();
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
