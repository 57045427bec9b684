// What the three LLM-DataDist examples share: a prompt and a decoder cluster with one cache each.
//
// The cache has 4 tensors of 8 rows of 16 integers. A row is a block, and a batch. The sending side numbers the integers
// of every tensor from 0; the receiving side begins with zeros.
#ifndef PMD_KV_EXAMPLES_CLUSTER_H_
#define PMD_KV_EXAMPLES_CLUSTER_H_

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "llm_datadist/llm_datadist.h"
#include "signal_socket.h"

constexpr uint64_t kPromptId = 0;
constexpr uint64_t kDecoderId = 1;
constexpr uint32_t kTensors = 4;
constexpr int64_t kRows = 8;
constexpr int64_t kColumns = 16;
constexpr int32_t kTimeoutMillis = 10000;

// What the command line says: who this process is, and where the two meet.
struct Setting {
  bool is_prompt = false;
  std::string ip;
  uint16_t prompt_port = 26000;
  uint16_t decoder_port = 26001;
  uint16_t signal_port = 26002;
};

inline bool ParseSetting(int argc, char **argv, Setting &setting) {
  const bool named = argc > 1 && (std::strcmp(argv[1], "prompt") == 0 || std::strcmp(argv[1], "decoder") == 0);
  if (!named || (argc != 3 && argc != 6)) {
    std::fprintf(stderr, "usage: %s prompt|decoder IP [PROMPT_PORT DECODER_PORT SIGNAL_PORT]\n", argv[0]);
    return false;
  }
  setting.is_prompt = std::strcmp(argv[1], "prompt") == 0;
  setting.ip = argv[2];
  if (argc == 6) {
    setting.prompt_port = static_cast<uint16_t>(std::atoi(argv[3]));
    setting.decoder_port = static_cast<uint16_t>(std::atoi(argv[4]));
    setting.signal_port = static_cast<uint16_t>(std::atoi(argv[5]));
  }
  return true;
}

// Says what failed, and ends the process.
inline void Require(bool holds, const char *what) {
  if (!holds) {
    std::fprintf(stderr, "%s failed: %s\n", what, pmd_kv_last_error());
    std::exit(1);
  }
}

inline void RequireDone(llm_datadist::Status status, const char *what) {
  if (status != llm_datadist::LLM_SUCCESS) {
    std::fprintf(stderr, "%s: status %#x: %s\n", what, status, pmd_kv_last_error());
    std::exit(1);
  }
}

// One cluster's engine and its cache, in ordinary memory.
class Cluster {
 public:
  // `listen` 0: others do not link to this one.
  Cluster(const Setting &setting, uint64_t id, llm_datadist::LlmRole role, uint16_t listen)
      : setting_(setting), engine(id, role), tensors_(kTensors, std::vector<int32_t>(kRows * kColumns, 0)) {
    std::map<llm_datadist::AscendString, llm_datadist::AscendString> options;
    options[llm_datadist::OPTION_DEVICE_ID] = "0";
    if (listen != 0) {
      options[llm_datadist::OPTION_LISTEN_IP_INFO] = (setting.ip + ":" + std::to_string(listen)).c_str();
    }
    RequireDone(engine.Initialize(options), "Initialize");
  }

  // The sending side's content.
  void Number() {
    for (auto &tensor : tensors_) {
      std::iota(tensor.begin(), tensor.end(), 0);
    }
  }

  void Register() {
    llm_datadist::CacheDesc desc;
    desc.placement = llm_datadist::CachePlacement::kHost;
    desc.num_tensors = kTensors;
    desc.data_type = llm_datadist::DT_INT32;
    desc.shape = {kRows, kColumns};
    std::vector<uint64_t> addresses;
    for (auto &tensor : tensors_) {
      addresses.push_back(reinterpret_cast<uint64_t>(tensor.data()));
    }
    RequireDone(engine.RegisterKvCache(desc, addresses, {}, cache.cache_id), "RegisterKvCache");
  }

  void Link(uint64_t id, uint16_t port) {
    std::vector<llm_datadist::Status> statuses;
    RequireDone(engine.LinkLlmClusters({Peer(id, port)}, statuses, kTimeoutMillis), "LinkLlmClusters");
    Require(statuses.size() == 1 && statuses[0] == llm_datadist::LLM_SUCCESS, "the link");
  }

  void Unlink(uint64_t id, uint16_t port) {
    std::vector<llm_datadist::Status> statuses;
    RequireDone(engine.UnlinkLlmClusters({Peer(id, port)}, statuses, kTimeoutMillis), "UnlinkLlmClusters");
  }

  // Rows 1 to 3 as blocks, then row 0 as a batch, from the other side's cache 1.
  void PullFirstRows(uint64_t from) {
    const llm_datadist::CacheIndex source{from, 1, 0};
    RequireDone(engine.PullKvBlocks(source, cache, {1, 2, 3}, {1, 2, 3}), "PullKvBlocks");
    RequireDone(engine.PullKvCache(source, cache, 0), "PullKvCache");
  }

  // Rows 5 to 7 as blocks, one tensor after the other, then row 4 of all tensors as a batch, to the other side's cache 1.
  void PushLastRows(uint64_t to) {
    llm_datadist::CacheIndex destination{to, 1, 0};
    for (int32_t tensor = 0; tensor < static_cast<int32_t>(kTensors); ++tensor) {
      llm_datadist::KvCacheExtParam one;
      one.src_layer_range = one.dst_layer_range = {tensor, tensor};
      one.tensor_num_per_layer = 1;
      RequireDone(engine.PushKvBlocks(cache, destination, {5, 6, 7}, {5, 6, 7}, one), "PushKvBlocks");
    }
    destination.batch_index = 4;
    llm_datadist::KvCacheExtParam all;
    all.src_layer_range = all.dst_layer_range = {0, 0};
    all.tensor_num_per_layer = kTensors;
    RequireDone(engine.PushKvCache(cache, destination, 4, -1, all), "PushKvCache");
  }

  // Rows `first` to `last` are the sender's and the others still zeros.
  void Check(int64_t first, int64_t last) const {
    for (uint32_t tensor = 0; tensor < kTensors; ++tensor) {
      for (int64_t index = 0; index < kRows * kColumns; ++index) {
        const int64_t row = index / kColumns;
        const int64_t wanted = row >= first && row <= last ? index : 0;
        const int32_t found = tensors_[tensor][static_cast<size_t>(index)];
        if (found != wanted) {
          std::fprintf(stderr, "tensor %u, element %ld is %d, not %ld\n", tensor, static_cast<long>(index), found,
                       static_cast<long>(wanted));
          std::exit(1);
        }
      }
    }
    std::printf("rows %ld to %ld of %u tensors are right\n", static_cast<long>(first), static_cast<long>(last),
                kTensors);
  }

  void Close() {
    RequireDone(engine.UnregisterKvCache(cache.cache_id), "UnregisterKvCache");
    engine.Finalize();
    std::printf("done\n");
  }

 private:
  llm_datadist::ClusterInfo Peer(uint64_t id, uint16_t port) const {
    llm_datadist::ClusterInfo peer;
    peer.remote_cluster_id = id;
    llm_datadist::IpInfo remote;
    remote.ip = setting_.ip.c_str();
    remote.port = port;
    peer.remote_ip_infos.push_back(remote);
    llm_datadist::IpInfo local;
    local.ip = setting_.ip.c_str();
    peer.local_ip_infos.push_back(local);
    return peer;
  }

  const Setting setting_;

 public:
  llm_datadist::LlmDataDist engine;
  llm_datadist::Cache cache;

 private:
  std::vector<std::vector<int32_t>> tensors_;
};

#endif  // PMD_KV_EXAMPLES_CLUSTER_H_
