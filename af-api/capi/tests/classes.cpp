// Calls what the examples of the classes do not: exceptions in handlers, requests that fail, cancel, receive buffers, the
// questions that a Postoffice answers, and the small classes.
#define PMD_AF_WITHOUT_TORCH

#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "ps/ps.h"

namespace {

constexpr ps::Key kEcho = 1;
constexpr ps::Key kThrow = 2;
constexpr ps::Key kThrowNumber = 3;
constexpr ps::Key kShort = 4;
constexpr ps::Key kSilent = 5;
constexpr ps::Key kOffered = 6;
constexpr int64_t kNumbers = 1000;
constexpr int kBoth = ps::kServerGroup + ps::kWorkerGroup;

ps::Tensor Numbers(float value, int64_t count = kNumbers) {
  ps::Tensor tensor = ps::Tensor::zeros({count}, ps::kFloat);
  std::fill_n(tensor.data_ptr<float>(), count, value);
  return tensor;
}

bool All(const ps::Tensor &tensor, float value) {
  const float *first = tensor.data_ptr<float>();
  return std::all_of(first, first + tensor.numel(), [value](float number) { return number == value; });
}

// Whether a call throws an error whose text has these words.
template <typename Call>
bool Throws(Call call, const std::string &words) {
  try {
    call();
  } catch (const dmlc::Error &error) {
    if (std::string(error.what()).find(words) != std::string::npos) {
      return true;
    }
    std::fprintf(stderr, "not %s: %s\n", words.c_str(), error.what());
  }
  return false;
}

std::vector<ps::AFTensorMeta> silent;
std::vector<ps::Tensor> answers;
ps::Tensor offered;
std::atomic<bool> offered_was_used{false};

void Handle(const ps::AFTensorMeta &request, ps::AFTensorServer *server) {
  const ps::Key key = request.push_tensors.at(0).key;
  PS_CHECK_EQ(request.push_metas.at(0).key, key);
  PS_CHECK_EQ(request.sender, 9);
  if (key == kThrow) {
    throw std::runtime_error("as the test wants it");
  }
  if (key == kThrowNumber) {
    throw 7;
  }
  if (key == kSilent) {
    silent.push_back(request);
    return;
  }
  if (key == kOffered) {
    const char *first = offered.data_ptr<char>();
    const char *pushed = request.push_tensors[0].val.data_ptr<char>();
    offered_was_used = pushed >= first && pushed < first + offered.nbytes();
  }
  const int64_t numbers = key == kShort ? 1 : kNumbers;
  answers.push_back(Numbers(request.push_tensors[0].val.data_ptr<float>()[0], numbers));
  const ps::KeyTensor answer{request.pull_tensors.at(0).key, answers.back()};
  if (key == kShort) {
    PS_CHECK(Throws([&] { server->Response(request, {answer}); }, "4 bytes"));
    return;
  }
  PS_CHECK(Throws([&] { server->Response(request, {{77, answers.back()}, {78, answers.back()}}); }, "no tensor for key"));
  server->Response(request, {answer});
  PS_CHECK(Throws([&] { server->Response(request, {answer}); }, "answered before"));
}

void RunServer() {
  ps::StartPS(0, ps::Node::SERVER, 0, true);
  auto *server = new ps::AFTensorServer(0);
  offered = ps::Tensor::zeros({2 * kNumbers}, ps::kFloat);
  std::vector<int> ranks = {0, 0};
  std::vector<ps::Key> keys = {kOffered, kOffered + 1};
  server->RegisterRecvTensor(offered, ranks, keys);
  ranks.pop_back();
  PS_CHECK(Throws([&] { server->RegisterRecvTensor(offered, ranks, keys); }, "as many ranks as keys"));
  server->SetRequestHandle(Handle);
  ps::Postoffice::GetServer(0)->Barrier(0, kBoth);
  ps::Postoffice::GetServer(0)->Barrier(0, kBoth);
  PS_CHECK(offered_was_used) << "the receive buffer";
  PS_CHECK(ps::IsServer() && !ps::IsScheduler() && ps::MyRank() == 0);
  bool called = false;
  ps::RegisterExitCallback([server, &called] {
    silent.clear();
    delete server;
    called = true;
  });
  ps::Finalize(0, ps::Node::SERVER, true);
  PS_CHECK(called) << "the exit callback";
}

void CheckPostoffice() {
  ps::Postoffice *postoffice = ps::Postoffice::GetWorker(0);
  PS_CHECK(postoffice == ps::Postoffice::Get() && ps::Postoffice::GetScheduler() == nullptr);
  PS_CHECK(postoffice->is_worker() && !postoffice->is_server() && postoffice->role_str() == "worker");
  PS_CHECK(ps::NumWorkers() == 1 && ps::NumServers() == 1 && postoffice->group_size() == 1);
  PS_CHECK(postoffice->GetNodeIDs(kBoth) == (std::vector<int>{9, 8}) && postoffice->GetNodeIDs(9).size() == 1);
  PS_CHECK(Throws([&] { postoffice->GetNodeIDs(99); }, "no node 99"));
  PS_CHECK(postoffice->GetServerKeyRanges().size() == 1 && postoffice->GetServerKeyRanges()[0].begin() == 0);
  PS_CHECK(postoffice->GetDeadNodes().empty() && !postoffice->is_recovery());
  PS_CHECK(ps::Postoffice::IDtoRank(9) == 0 && ps::Postoffice::IDtoRank(10) == 1);
  PS_CHECK(Throws([] { ps::Postoffice::GetServer(0); }, "no server"));
  PS_CHECK(Throws([] { ps::StartPS(0, ps::Node::WORKER, 0, true); }, "called before"));
  PS_CHECK(Throws([] { ps::GetRole("cook"); }, "no role cook"));
}

void CheckRequests(ps::AFTensorWorker &worker) {
  ps::KeyTensorBatch pulls = {{50, Numbers(0)}};
  const auto ask = [&](ps::Key key, float value) {
    ps::KeyTensorBatch pushes = {{key, Numbers(value)}};
    return worker.ZBatchPushPull(pushes, pulls);
  };
  const int echo = ask(kEcho, 3);
  PS_CHECK(worker.GetAllHandlers(echo) == (std::vector<int>{echo, echo + 1}));
  worker.Wait(echo + 1);
  worker.Wait(echo);
  PS_CHECK(All(pulls[0].val, 3)) << "the echo";
  const std::pair<ps::Trace, ps::Trace> trace = worker.FetchTrace(echo);
  PS_CHECK(trace.first.postsend > 0 && trace.second.postrecv >= trace.first.postsend) << "the worker's stamps";
  PS_CHECK(trace.first.postrecv > 0 && trace.second.start >= trace.first.postrecv) << "the server's stamps";
  PS_CHECK_EQ(worker.FetchTrace(echo + 7).first.start, 0U);
  PS_CHECK(Throws([&] { worker.Wait(echo + 7); }, "no request"));
  for (const ps::Key key : {kThrow, kThrowNumber}) {
    const int thrown = ask(key, 4);
    PS_CHECK(Throws([&] { worker.Wait(thrown); }, "code: 1"));
  }
  const int mismatch = ask(kShort, 5);
  PS_CHECK(Throws([&] { worker.Wait(mismatch); }, "gave no data"));
  const int late = ask(kSilent, 6);
  PS_CHECK(Throws([&] { worker.Wait(late, 20); }, "goes on"));
  worker.Cancel(late);
  PS_CHECK(All(pulls[0].val, 3)) << "nothing was written";
  worker.Wait(ask(kOffered, 8));
  PS_CHECK(All(pulls[0].val, 8)) << "by the offered buffer";
  ps::KeyTensorBatch none;
  PS_CHECK(Throws([&] { worker.ZBatchPushPull(none, none); }, "nothing to push"));
  ps::KeyTensorBatch undefined = {{1, ps::Tensor()}};
  PS_CHECK(Throws([&] { worker.ZBatchPushPull(undefined, none); }, "undefined"));
}

void RunWorker() {
  ps::Environment::Get()->set("DMLC_NODE_RANK", "0");
  ps::StartPS(0, ps::Node::WORKER, -1, true);
  CheckPostoffice();
  {
    ps::AFTensorWorker worker = ps::AFTensorWorker(0);
    ps::Postoffice::GetWorker(0)->Barrier(0, kBoth);
    CheckRequests(worker);
    ps::Postoffice::GetWorker(0)->Barrier(0, kBoth);
  }
  ps::Finalize(0, ps::Node::WORKER, true);
  PS_CHECK(Throws([] { ps::Postoffice::Get(); }, "StartPS"));
}

void CheckSmallClasses() {
  ps::SArray<int> array({1, 2, 3});
  array.push_back(4);
  const ps::SArray<int> same = array;
  PS_CHECK(same.segment(1, 3).front() == 2 && same.back() == 4 && same.data() == array.data());
  PS_CHECK(ps::SArray<char>(array).size() == 16 && Throws([&] { same.segment(2, 9); }, "of 4"));
  array.append(ps::SArray<int>(std::vector<int>{5}));
  PS_CHECK(array.size() == 5 && array[4] == 5);
  ps::Environment::Get()->set("PMD_AF_TEST", "12");
  PS_CHECK(ps::GetEnv("PMD_AF_TEST", 0) == 12 && ps::GetEnv("PMD_AF_NO_TEST", 5) == 5);
  PS_CHECK(std::string(PS_CHECK_NOTNULL(ps::Environment::Get()->find("PMD_AF_TEST"))) == "12");
  PS_CHECK(Throws([] { PS_CHECK_NOTNULL(ps::Environment::Get()->find("PMD_AF_NO_TEST")); }, "notnull"));
  PS_CHECK(Throws([] { PS_LOG(FATAL) << "seven"; }, "seven"));
  PS_VLOG(9) << "nobody reads this";
  ps::Backend *backend = ps::Backend::Get();
  PS_CHECK(backend->SetDevice(3) == ps::BACKEND_OK && backend->GetDeviceId() == 3);
  void *memory = backend->Alloc(8);
  backend->Free(memory);
  ps::TensorEvent event;
  PS_CHECK(event.Occupy() && !event.Occupy());
  event.Record();
  event.Sync();
  event.Release();
  PS_CHECK(event.Occupy() && ps::GetNanosecond() > 0);
}

int Run() {
  CheckSmallClasses();
  switch (ps::GetRole(ps::GetEnv("DMLC_ROLE", "worker"))) {
    case ps::Node::SCHEDULER:
      ps::StartPS(0, ps::Node::SCHEDULER, -1, true);
      PS_CHECK(ps::Postoffice::GetScheduler() == ps::Postoffice::Get() && ps::IsScheduler());
      ps::Finalize(0, ps::Node::SCHEDULER, true);
      return 0;
    case ps::Node::SERVER:
      RunServer();
      return 0;
    default:
      RunWorker();
      std::printf("every method does what it says\n");
      return 0;
  }
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
