// Scheduler, servers and workers in the classes of ps-lite: workers push values under keys, servers keep their sums, and
// tell in an application how often they were asked.
//
//   g++ -std=c++17 key_values.cpp $(pkg-config --cflags --libs pmd_af) -o key_values
//   export DMLC_NUM_WORKER=1 DMLC_NUM_SERVER=1 DMLC_PS_ROOT_URI=127.0.0.1 DMLC_PS_ROOT_PORT=8123
//   DMLC_ROLE=scheduler ./key_values & DMLC_ROLE=server ./key_values & DMLC_ROLE=worker ./key_values
#define PMD_AF_WITHOUT_TORCH

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "ps/ps.h"

namespace {

constexpr int kKeys = 64;
constexpr int kRounds = 5;
// A command that no server knows.
constexpr int kUnknown = 13;
// The application, and what it is asked.
constexpr int kApp = 3;
constexpr int kHowOften = 1;
constexpr int kSilence = 2;

using Worker = ps::KVWorker<float>;
using Server = ps::KVServer<float>;

// Pushes that this server has had.
std::atomic<int> pushes{0};

// Whether a call throws an error whose text has these words.
template <typename Call>
bool Throws(Call call, const std::string &words) {
  try {
    call();
  } catch (const dmlc::Error &error) {
    return std::string(error.what()).find(words) != std::string::npos;
  }
  return false;
}

void RunServer() {
  ps::StartPS(0, ps::Node::SERVER, -1, true);
  auto *server = new Server(0);
  auto *app = new ps::SimpleApp(kApp);
  app->set_request_handle([](const ps::SimpleData &asked, ps::SimpleApp *at) {
    if (asked.head == kHowOften) {
      at->Response(asked, asked.body + std::to_string(pushes.load()));
    }
  });
  PS_CHECK(Throws([app] { app->Response(ps::SimpleData()); }, "in the handler"));
  auto sums = std::make_shared<ps::KVServerDefaultHandle<float>>();
  server->set_request_handle([sums](const ps::KVMeta &meta, const ps::KVPairs<float> &pairs, Server *asked) {
    pushes += meta.push ? 1 : 0;
    PS_CHECK(meta.cmd != kUnknown) << "an unknown command";
    (*sums)(meta, pairs, asked);
  });
  ps::RegisterExitCallback([server, app] {
    delete app;
    delete server;
  });
  ps::Finalize(0, ps::Node::SERVER, true);
}

// Asks every server how often it was pushed to, and one of them what it does not answer.
void Ask() {
  ps::SimpleApp app(kApp);
  std::vector<std::string> answers;
  app.set_response_handle([&answers](const ps::SimpleData &answer, ps::SimpleApp *) { answers.push_back(answer.body); });
  app.Wait(app.Request(kHowOften, "pushed ", ps::kServerGroup));
  const std::string wanted = "pushed " + std::to_string(kRounds * ps::NumWorkers());
  PS_CHECK(answers == std::vector<std::string>(static_cast<std::size_t>(ps::NumServers()), wanted)) << wanted;
  app.Wait(app.Request(kHowOften, "", ps::Postoffice::ServerRankToID(0)));
  const int unanswered = app.Request(kSilence, "", ps::Postoffice::ServerRankToID(0));
  PS_CHECK(Throws([&] { app.Wait(unanswered, 20); }, "not done"));
  PS_CHECK(Throws([&] { app.Request(kHowOften, "", ps::Postoffice::ServerRankToID(77)); }, "request"));
  PS_CHECK(Throws([&] { app.Request(kHowOften, "", ps::kScheduler); }, "to workers, to servers"));
}

// Keys of every server; key `at` has `at % 5` values.
std::vector<ps::Key> Keys() {
  std::vector<ps::Key> keys;
  for (int at = 0; at < kKeys; ++at) {
    keys.push_back(static_cast<ps::Key>(at) * (ps::kMaxKey / kKeys));
  }
  return keys;
}

// Pushes the values of every worker alike and compares the sums; how many keys were right.
int Exchange(Worker &worker) {
  const std::vector<ps::Key> keys = Keys();
  std::vector<float> values;
  std::vector<int> lengths;
  for (int at = 0; at < kKeys; ++at) {
    lengths.push_back(at % 5);
    values.insert(values.end(), static_cast<std::size_t>(at % 5), static_cast<float>(at));
  }
  std::atomic<int> called{0};
  for (int round = 0; round < kRounds; ++round) {
    worker.Wait(worker.Push(keys, values, lengths, 0, [&called] { ++called; }));
    PS_CHECK_EQ(called.load(), round + 1) << "callbacks";
  }
  ps::Postoffice::GetWorker(0)->Barrier(0, ps::kWorkerGroup);
  std::vector<float> sums;
  std::vector<int> came;
  worker.Wait(worker.Pull(keys, &sums, &came));
  PS_CHECK(came == lengths) << "values of each key";
  const float times = static_cast<float>(kRounds * ps::NumWorkers());
  int right = 0;
  std::size_t first = 0;
  for (int at = 0; at < kKeys; ++at) {
    bool same = true;
    for (int value = 0; value < lengths[static_cast<std::size_t>(at)]; ++value) {
      same = same && sums.at(first++) == times * static_cast<float>(at);
    }
    right += same ? 1 : 0;
  }
  return right;
}

void CheckRefusals(Worker &worker) {
  std::vector<float> values(2);
  PS_CHECK(Throws([&] { worker.Push({2, 1}, values); }, "keys increase"));
  PS_CHECK(Throws([&] { worker.Push({1, 2, 3}, values); }, "for each key"));
  PS_CHECK(Throws([&] { worker.Push({1, 2}, values, {1, 2}); }, "belong to the keys"));
  const int refused = worker.Pull({1}, &values, nullptr, kUnknown);
  PS_CHECK(Throws([&] { worker.Wait(refused); }, "code: 1"));
  PS_CHECK(Throws([&] { worker.Wait(refused + 1); }, "no request"));
  // Without a copy of the caller's, and nothing is kept under that key.
  ps::SArray<float> pulled;
  ps::SArray<int> lengths;
  worker.Wait(worker.ZPull(ps::SArray<ps::Key>({3}), &pulled, &lengths));
  PS_CHECK(pulled.empty() && lengths.size() == 1 && lengths[0] == 0);
}

int RunWorker() {
  ps::StartPS(0, ps::Node::WORKER, -1, true);
  int right = 0;
  {
    Worker worker(0, 0);
    right = Exchange(worker);
    Ask();
    CheckRefusals(worker);
  }
  std::printf("worker %d: %d of %d keys are right\n", ps::MyRank(), right, kKeys);
  ps::Finalize(0, ps::Node::WORKER, true);
  return right == kKeys ? 0 : 1;
}

int Run() {
  switch (ps::GetRole(ps::GetEnv("DMLC_ROLE", "worker"))) {
    case ps::Node::SCHEDULER:
      ps::StartPS(0, ps::Node::SCHEDULER, -1, true);
      ps::Finalize(0, ps::Node::SCHEDULER, true);
      return 0;
    case ps::Node::SERVER:
      RunServer();
      return 0;
    default:
      return RunWorker();
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
