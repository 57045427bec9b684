// Every method of both C++ interfaces that the examples do not call, in one process: arguments arrive where they belong,
// results come back, and codes are the originals'. Run by the suite `capi`, with two free ports.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "hixl/hixl.h"
#include "llm_datadist/llm_datadist.h"

namespace {
constexpr int32_t kTimeoutMillis = 10000;

void Require(bool holds, const char *what, int line) {
  if (!holds) {
    std::fprintf(stderr, "line %d: %s does not hold; last error: %s\n", line, what, pmd_kv_last_error());
    std::exit(1);
  }
}

#define REQUIRE(condition) Require(condition, #condition, __LINE__)

void Strings() {
  const ge::AscendString text("abc");
  const ge::AscendString part("abcdef", 3);
  REQUIRE(text == part && !(text != part) && text <= part && text >= part && !(text < part) && !(text > part));
  REQUIRE(part.GetLength() == 3 && std::strcmp(part.GetString(), "abc") == 0 && part.Find("c") == 2);
  REQUIRE(ge::AscendString(nullptr) == ge::AscendString() && text.Hash() == part.Hash());
  std::unordered_map<ge::AscendString, int> numbers{{text, 1}};
  REQUIRE(numbers.count(part) == 1);
}

std::vector<int32_t> Numbers(const llm_datadist::Cache &cache, size_t tensor) {
  const auto *first = reinterpret_cast<const int32_t *>(cache.tensor_addrs[tensor]);
  return std::vector<int32_t>(first, first + 8);
}

void Caches() {
  using namespace llm_datadist;
  LlmDataDist engine(5, LlmRole::kMix);
  CacheDesc desc;
  desc.num_tensors = 2;
  desc.data_type = DT_INT32;
  desc.shape = {4, 2};
  Cache first;
  Cache second;
  REQUIRE(engine.AllocateCache(desc, first) == LLM_FAILED);  // not initialised
  REQUIRE(engine.Initialize({{OPTION_DEVICE_ID, "0"}}) == LLM_SUCCESS);
  REQUIRE(engine.AllocateCache(desc, first) == LLM_SUCCESS && engine.AllocateCache(desc, second) == LLM_SUCCESS);
  REQUIRE(first.cache_id > 0 && second.cache_id > 0 && first.cache_id != second.cache_id);
  REQUIRE(first.tensor_addrs.size() == 2 && first.cache_desc.shape == desc.shape);
  for (size_t tensor = 0; tensor < 2; ++tensor) {
    for (int32_t at = 0; at < 8; ++at) {
      reinterpret_cast<int32_t *>(first.tensor_addrs[tensor])[at] = 10 * static_cast<int32_t>(tensor + 1) + at;
      reinterpret_cast<int32_t *>(second.tensor_addrs[tensor])[at] = 0;
    }
  }
  // Row 1 to row 2, but for the first 4 bytes.
  REQUIRE(engine.CopyKvCache(first, second, 1, 2, 4, 4) == LLM_SUCCESS);
  REQUIRE((Numbers(second, 1) == std::vector<int32_t>{0, 0, 0, 0, 0, 23, 0, 0}));
  // Blocks 0 and 3 to blocks 1 and 0, and to 3 and 2.
  REQUIRE(engine.CopyKvBlocks(first, second, {0, 3}, {{1, 0}, {3, 2}}) == LLM_SUCCESS);
  REQUIRE((Numbers(second, 0) == std::vector<int32_t>{16, 17, 10, 11, 16, 17, 10, 11}));
  REQUIRE(engine.CopyKvBlocks(first, second, {4}, {{0}}) == LLM_PARAM_INVALID);
  REQUIRE(engine.DeallocateCache(second.cache_id) == LLM_SUCCESS);
  REQUIRE(engine.CopyKvCache(first, second) == LLM_KV_CACHE_NOT_EXIST);
  REQUIRE(std::strlen(pmd_kv_last_error()) > 0);

  const CacheIndex nowhere{9, 1, 0};
  REQUIRE(engine.PullKvCache(nowhere, first) == LLM_NOT_YET_LINK);
  REQUIRE(engine.PushKvBlocks(first, nowhere, {}, {}) == LLM_PARAM_INVALID);
  std::vector<Status> statuses;
  REQUIRE(engine.LinkLlmClusters({}, statuses) == LLM_PARAM_INVALID && statuses.empty());
  REQUIRE(engine.SetRole(LlmRole::kEnd) == LLM_PARAM_INVALID);
  engine.Finalize();
  REQUIRE(engine.DeallocateCache(first.cache_id) == LLM_FAILED);
}

// Asks until what a background thread does is done.
template <typename Condition>
void Until(Condition condition, int line) {
  for (int attempt = 0; attempt < kTimeoutMillis; ++attempt) {
    if (condition()) {
      return;
    }
    (void)usleep(1000);
  }
  Require(false, "something in the background", line);
}

void Transfers(const std::string &server_name) {
  using namespace hixl;
  Hixl server;
  Hixl client;
  std::vector<uint8_t> offered(4096, 7);
  std::vector<uint8_t> room(4096, 0);
  REQUIRE(client.Connect(server_name.c_str()) == FAILED);  // not initialised
  REQUIRE(server.Initialize(server_name.c_str(), {{OPTION_BUFFER_POOL, "0:0"}}) == SUCCESS);
  REQUIRE(client.Initialize("127.0.0.1", {}) == SUCCESS);
  MemHandle handles[2] = {nullptr, nullptr};
  MemDesc near{};
  near.addr = reinterpret_cast<uintptr_t>(room.data());
  near.len = room.size();
  MemDesc far{};
  far.addr = reinterpret_cast<uintptr_t>(offered.data());
  far.len = offered.size();
  REQUIRE(client.RegisterMem(near, MEM_HOST, handles[0]) == SUCCESS);
  REQUIRE(server.RegisterMem(far, MEM_HOST, handles[1]) == SUCCESS);

  REQUIRE(client.ConnectAsync(server_name.c_str(), kTimeoutMillis) == SUCCESS);
  AsyncConnectStatus link = AsyncConnectStatus::NOT_CONNECT;
  Until(
      [&] {
        return client.GetAsyncConnectStatus(server_name.c_str(), link) == SUCCESS &&
               link == AsyncConnectStatus::CONNECTED;
      },
      __LINE__);
  std::map<AscendString, AsyncConnectStatus> links;
  REQUIRE(client.GetAsyncConnectStatus(links) == SUCCESS && links.size() == 1);
  REQUIRE(links[server_name.c_str()] == AsyncConnectStatus::CONNECTED);

  TransferArgs args;
  args.user_data = &room;
  TransferReq requests[2] = {nullptr, nullptr};
  const std::vector<TransferOpDesc> whole = {{near.addr, far.addr, near.len}};
  REQUIRE(client.TransferAsync(server_name.c_str(), READ, whole, args, requests[0]) == SUCCESS);
  std::vector<TransferResult> results;
  Until(
      [&] {
        GetTransferStatusArgs query;
        query.skip_waiting = true;
        return client.GetTransferStatus(query, results) == SUCCESS && !results.empty();
      },
      __LINE__);
  REQUIRE(results.size() == 1 && results[0].req == requests[0] && results[0].user_data == &room);
  REQUIRE(results[0].status == TransferStatus::COMPLETED && room == offered);
  TransferStatus status = TransferStatus::WAITING;
  REQUIRE(client.GetTransferStatus(requests[0], status) == PARAM_INVALID);  // told once

  room.assign(room.size(), 9);
  REQUIRE(client.TransferAsync(server_name.c_str(), WRITE, whole, args, requests[1]) == SUCCESS);
  Until(
      [&] {
        return client.GetTransferStatus(requests[1], status) == SUCCESS && status != TransferStatus::WAITING;
      },
      __LINE__);
  REQUIRE(status == TransferStatus::COMPLETED && offered == room);

  REQUIRE(client.SendNotify(server_name.c_str(), {"name", "message"}, kTimeoutMillis) == SUCCESS);
  std::vector<NotifyDesc> notifies;
  REQUIRE(server.GetNotifies(notifies) == SUCCESS && notifies.size() == 1);
  REQUIRE(notifies[0].name == "name" && notifies[0].notify_msg == "message");
  REQUIRE(server.GetNotifies(notifies) == SUCCESS && notifies.empty());

  int32_t value = -1;
  REQUIRE(Hixl::GetCapability(CLIENT_SERVER_COMM, value) == SUCCESS && value == FEATURE_SUPPORTED);
  REQUIRE(Hixl::GetCapability(static_cast<FeatureType>(77), value) == SUCCESS && value == FEATURE_NOT_SUPPORTED);
  REQUIRE(client.Connect(server_name.c_str(), kTimeoutMillis) == ALREADY_CONNECTED);
  REQUIRE(client.DisconnectAsync(server_name.c_str(), kTimeoutMillis) == SUCCESS);
  Until(
      [&] {
        return client.GetAsyncConnectStatus(server_name.c_str(), link) == SUCCESS &&
               link == AsyncConnectStatus::NOT_CONNECT;
      },
      __LINE__);
  REQUIRE(client.TransferSync(server_name.c_str(), READ, whole, 100) == NOT_CONNECTED);
  REQUIRE(client.DeregisterMem(handles[0]) == SUCCESS && server.DeregisterMem(handles[1]) == SUCCESS);
  client.Finalize();
  server.Finalize();
  REQUIRE(client.DeregisterMem(handles[0]) == FAILED);
}
}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s IP:PORT\n", argv[0]);
    return 2;
  }
  Strings();
  Caches();
  Transfers(argv[1]);
  std::printf("every method does what it says\n");
  return 0;
}
