// Scheduler, server and worker in the classes of StepMesh: a server answers with the sum of what was pushed. A joint
// process is a server and a worker.
//
//   g++ -std=c++17 sum.cpp $(pkg-config --cflags --libs pmd_af) -o sum
//   export DMLC_NUM_WORKER=1 DMLC_NUM_SERVER=1 DMLC_PS_ROOT_URI=127.0.0.1 DMLC_PS_ROOT_PORT=8123
//   DMLC_ROLE=scheduler ./sum & DMLC_ROLE=server ./sum & DMLC_ROLE=worker ./sum
#define PMD_AF_WITHOUT_TORCH

#include <cstdio>
#include <string>
#include <vector>

#include "ps/ps.h"

namespace {

constexpr int64_t kHidden = 7168;
constexpr int kPushes = 3;
constexpr int kMostRows = 8;
constexpr int kRounds = 2;

float *Floats(const ps::Tensor &tensor) { return tensor.data_ptr<float>(); }

// Answers are kept: they are read until the worker has them.
std::vector<ps::Tensor> answers;

void Sum(const ps::AFTensorMeta &request, ps::AFTensorServer *server) {
  PS_CHECK_EQ(request.pull_tensors.size(), 1U);
  const ps::Tensor &first = request.push_tensors.at(0).val;
  ps::Tensor sum = ps::Tensor::zeros(first.sizes(), first.scalar_type());
  for (const ps::KeyTensor &pushed : request.push_tensors) {
    for (int64_t at = 0; at < sum.numel(); ++at) {
      Floats(sum)[at] += Floats(pushed.val)[at];
    }
  }
  answers.push_back(sum);
  server->Response(request, {{request.pull_tensors[0].key, sum}});
}

// Serves until this process is finalised.
void Serve() {
  auto *server = new ps::AFTensorServer(0);
  server->SetRequestHandle(Sum);
  ps::RegisterExitCallback([server] { delete server; });
}

void RunServer() {
  ps::StartPS(0, ps::Node::SERVER, -1, true);
  Serve();
  ps::Finalize(0, ps::Node::SERVER, true);
}

// Pushes tensors of so many rows and compares every answer; the number of answers that were right.
int Push(ps::AFTensorWorker &worker, int rows, int servers) {
  const std::vector<int64_t> shape = {rows, kHidden};
  ps::KeyTensorBatch pushes;
  for (int push = 0; push < kPushes; ++push) {
    ps::Tensor tensor = ps::Tensor::zeros(shape, ps::kFloat);
    for (int64_t at = 0; at < tensor.numel(); ++at) {
      Floats(tensor)[at] = static_cast<float>(push + 1) * static_cast<float>(at % 1000);
    }
    pushes.push_back({static_cast<ps::Key>((rows << 16) + push), tensor});
  }
  ps::KeyTensorBatch pulls;
  for (int server = 0; server < servers; ++server) {
    pulls.push_back({static_cast<ps::Key>((rows << 16) + kPushes), ps::Tensor::zeros(shape, ps::kFloat)});
  }
  int right = 0;
  for (int round = 0; round < kRounds; ++round) {
    worker.Wait(worker.ZBatchPushPull(pushes, pulls));
    for (const ps::KeyTensor &pull : pulls) {
      bool same = true;
      for (int64_t at = 0; at < pull.val.numel(); ++at) {
        same = same && Floats(pull.val)[at] == 6.0F * static_cast<float>(at % 1000);
        Floats(pull.val)[at] = 0.0F;
      }
      right += same ? 1 : 0;
    }
  }
  return right;
}

int RunWorker(ps::Node::Role role) {
  ps::StartPS(0, role, -1, true);
  if (role == ps::Node::JOINT) {
    Serve();
  }
  const int servers = ps::NumServers();
  int right = 0;
  {
    ps::AFTensorWorker worker(0);
    for (int rows = 1; rows <= kMostRows; ++rows) {
      right += Push(worker, rows, servers);
    }
  }
  const int wanted = kMostRows * kRounds * servers;
  std::printf("worker %d: %d of %d sums are right\n", ps::MyRank(), right, wanted);
  ps::Finalize(0, role, true);
  return right == wanted ? 0 : 1;
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
    case ps::Node::JOINT:
      return RunWorker(ps::Node::JOINT);
    default:
      return RunWorker(ps::Node::WORKER);
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
