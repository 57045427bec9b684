// LLM-DataDist's public C++ interface over libpmd_kv: classes, options and status codes under the same names and with
// the same values, so that programs written for it compile and run. Everything is in this header; link with -lpmd_kv.
//
// What differs: AllocateCache, DeallocateCache, CopyKvCache and CopyKvBlocks work (the original answers
// LLM_FEATURE_NOT_ENABLED), there is no limit on addresses, links or clusters per call, and caches that a peer
// registers after linking are found. What a call that failed had to say is
// pmd_kv_last_error(), for this thread. Transport and device are chosen by the environment (PMD_TRANSPORT, ...).
#ifndef PMD_KV_LLM_DATADIST_LLM_DATADIST_H_
#define PMD_KV_LLM_DATADIST_LLM_DATADIST_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "external/ge_common/api_error_codes.h"
#include "pmd_kv.h"

namespace llm_datadist {
using Status = ge::Status;
using AscendString = ge::AscendString;
using DataType = ge::DataType;

// Options of Initialize and SetRole.
constexpr const char OPTION_LISTEN_IP_INFO[] = "llm.ListenIpInfo";
constexpr const char OPTION_DEVICE_ID[] = "llm.DeviceId";
constexpr const char OPTION_SYNC_CACHE_WAIT_TIME[] = "llm.SyncKvCacheWaitTime";
constexpr const char OPTION_BUF_POOL_CFG[] = "llm.BufPoolCfg";
constexpr const char OPTION_ENABLE_SET_ROLE[] = "llm.EnableSwitchRole";
constexpr const char OPTION_LOCAL_COMM_RES[] = "llm.LocalCommRes";
constexpr const char OPTION_TRANSFER_BACKEND[] = "llm.TransferBackend";
constexpr const char OPTION_GLOBAL_RESOURCE_CONFIG[] = "llm.GlobalResourceConfig";

constexpr Status LLM_SUCCESS = 0x0U;
constexpr Status LLM_FAILED = 0xFFFFFFFFU;
constexpr Status LLM_WAIT_PROC_TIMEOUT = 0x5010B001U;
constexpr Status LLM_KV_CACHE_NOT_EXIST = 0x5010B002U;
constexpr Status LLM_PARAM_INVALID = 0x5010B005U;
constexpr Status LLM_NOT_YET_LINK = 0x5010B007U;
constexpr Status LLM_ALREADY_LINK = 0x5010B008U;
constexpr Status LLM_LINK_FAILED = 0x5010B009U;
constexpr Status LLM_UNLINK_FAILED = 0x5010B00AU;
constexpr Status LLM_NOTIFY_PROMPT_UNLINK_FAILED = 0x5010B00BU;
constexpr Status LLM_CLUSTER_NUM_EXCEED_LIMIT = 0x5010B00CU;
constexpr Status LLM_PROCESSING_LINK = 0x5010B00DU;
constexpr Status LLM_DEVICE_OUT_OF_MEMORY = 0x5010B00EU;
constexpr Status LLM_EXIST_LINK = 0x5010B018U;
constexpr Status LLM_FEATURE_NOT_ENABLED = 0x5010B019U;
constexpr Status LLM_TIMEOUT = 0x5010B01AU;
constexpr Status LLM_LINK_BUSY = 0x5010B01BU;
constexpr Status LLM_OUT_OF_MEMORY = 0x5010B01CU;

using ge::DT_BF16;
using ge::DT_BOOL;
using ge::DT_COMPLEX128;
using ge::DT_COMPLEX32;
using ge::DT_COMPLEX64;
using ge::DT_DOUBLE;
using ge::DT_DUAL;
using ge::DT_DUAL_SUB_INT8;
using ge::DT_DUAL_SUB_UINT8;
using ge::DT_FLOAT;
using ge::DT_FLOAT16;
using ge::DT_FLOAT4_E1M2;
using ge::DT_FLOAT4_E2M1;
using ge::DT_FLOAT6_E2M3;
using ge::DT_FLOAT6_E3M2;
using ge::DT_FLOAT8_E4M3FN;
using ge::DT_FLOAT8_E5M2;
using ge::DT_FLOAT8_E8M0;
using ge::DT_HIFLOAT8;
using ge::DT_INT16;
using ge::DT_INT2;
using ge::DT_INT32;
using ge::DT_INT4;
using ge::DT_INT64;
using ge::DT_INT8;
using ge::DT_QINT16;
using ge::DT_QINT32;
using ge::DT_QINT8;
using ge::DT_QUINT16;
using ge::DT_QUINT8;
using ge::DT_RESOURCE;
using ge::DT_STRING;
using ge::DT_STRING_REF;
using ge::DT_UINT1;
using ge::DT_UINT16;
using ge::DT_UINT2;
using ge::DT_UINT32;
using ge::DT_UINT64;
using ge::DT_UINT8;
using ge::DT_UNDEFINED;
using ge::DT_VARIANT;

// Fields named reserved are there because programs clear them; nothing reads them.

struct IpInfo {
  AscendString ip;
  uint16_t port = 0U;
  uint8_t reserved[128] = {};
};

struct ClusterInfo {
  uint64_t remote_cluster_id = 0U;
  int32_t remote_role_type = 0;
  std::vector<IpInfo> local_ip_infos;
  std::vector<IpInfo> remote_ip_infos;
  uint8_t reserved[128] = {};
};

enum class LlmRole : int32_t { kPrompt = 1, kDecoder = 2, kMix = 3, kEnd };

struct CacheIndex {
  uint64_t cluster_id;
  int64_t cache_id;
  uint32_t batch_index;
  uint8_t reserved[128] = {};
};

enum class CachePlacement : uint32_t {
  kHost = 0U,
  kDevice = 1U,
};

// The first dimension of the shape counts batches, or blocks.
struct CacheDesc {
  CachePlacement placement = CachePlacement::kDevice;
  uint32_t num_tensors = 0U;
  DataType data_type = DT_UNDEFINED;
  std::vector<int64_t> shape;
  uint8_t reserved[128] = {};
};

struct Cache {
  int64_t cache_id = -1;
  std::vector<uintptr_t> tensor_addrs;
  CacheDesc cache_desc;
  uint8_t reserved[128] = {};
};

// Layer ranges have both ends in them; -1 stands for all layers.
struct KvCacheExtParam {
  std::pair<int32_t, int32_t> src_layer_range = {-1, -1};
  std::pair<int32_t, int32_t> dst_layer_range = {-1, -1};
  uint8_t tensor_num_per_layer = 2U;
  uint8_t reserved[127] = {};
};

struct RegisterCfg {
  uint8_t reserved[128] = {};
};

namespace detail {
// Options as the C functions take them; they point into the map.
inline std::vector<pmd_kv_option> Options(const std::map<AscendString, AscendString> &options) {
  std::vector<pmd_kv_option> list;
  list.reserve(options.size());
  for (const auto &option : options) {
    list.push_back(pmd_kv_option{option.first.GetString(), option.second.GetString()});
  }
  return list;
}

// Clusters as the C functions take them; they point into the vectors here and into the clusters.
class Clusters {
 public:
  explicit Clusters(const std::vector<ClusterInfo> &clusters) {
    size_t addresses = 0U;
    for (const auto &cluster : clusters) {
      addresses += cluster.local_ip_infos.size() + cluster.remote_ip_infos.size();
    }
    addresses_.reserve(addresses);
    list_.reserve(clusters.size());
    for (const auto &cluster : clusters) {
      pmd_datadist_cluster entry = {};
      entry.remote_cluster_id = cluster.remote_cluster_id;
      entry.remote_role = cluster.remote_role_type;
      entry.local = Append(cluster.local_ip_infos);
      entry.local_count = cluster.local_ip_infos.size();
      entry.remote = Append(cluster.remote_ip_infos);
      entry.remote_count = cluster.remote_ip_infos.size();
      list_.push_back(entry);
    }
  }

  const pmd_datadist_cluster *data() const { return list_.data(); }
  size_t size() const { return list_.size(); }

 private:
  const pmd_datadist_address *Append(const std::vector<IpInfo> &addresses) {
    const size_t first = addresses_.size();
    for (const auto &address : addresses) {
      addresses_.push_back(pmd_datadist_address{address.ip.GetString(), address.port});
    }
    return addresses_.data() + first;
  }

  // Room for all of them is made first, so that nothing moves.
  std::vector<pmd_datadist_address> addresses_;
  std::vector<pmd_datadist_cluster> list_;
};

inline pmd_datadist_cache_desc Describe(const CacheDesc &desc) {
  pmd_datadist_cache_desc described = {};
  described.placement = static_cast<uint32_t>(desc.placement);
  described.num_tensors = desc.num_tensors;
  described.data_type = static_cast<int32_t>(desc.data_type);
  described.shape = desc.shape.data();
  described.shape_length = desc.shape.size();
  return described;
}

inline pmd_datadist_cache_index Index(const CacheIndex &index) {
  return pmd_datadist_cache_index{index.cluster_id, index.cache_id, index.batch_index, nullptr};
}

// Points into the list.
inline pmd_datadist_blocks Blocks(const std::vector<uint64_t> &blocks) {
  return pmd_datadist_blocks{blocks.data(), blocks.size()};
}

inline pmd_datadist_range Range(const KvCacheExtParam &param) {
  return pmd_datadist_range{param.src_layer_range.first, param.src_layer_range.second, param.dst_layer_range.first,
                            param.dst_layer_range.second, param.tensor_num_per_layer};
}
}  // namespace detail

// One end of the transfers of a process: a prompt or a decoder cluster. May be used from any thread.
class LlmDataDist {
 public:
  LlmDataDist(uint64_t cluster_id, LlmRole role) {
    (void)pmd_datadist_create(cluster_id, static_cast<int32_t>(role), &handle_);
  }

  // Finalises.
  ~LlmDataDist() { (void)pmd_datadist_destroy(handle_); }

  LlmDataDist(const LlmDataDist &) = delete;
  LlmDataDist &operator=(const LlmDataDist &) = delete;

  // To be called before anything else. With OPTION_LISTEN_IP_INFO others can link to this one.
  Status Initialize(const std::map<AscendString, AscendString> &options) {
    const auto list = detail::Options(options);
    return pmd_datadist_initialize(handle_, list.data(), list.size());
  }

  // Gives everything up: links, caches.
  void Finalize() { (void)pmd_datadist_finalize(handle_); }

  // LLM_EXIST_LINK while there is a link.
  Status SetRole(LlmRole role, const std::map<AscendString, AscendString> &options = {}) {
    const auto list = detail::Options(options);
    return pmd_datadist_set_role(handle_, static_cast<int32_t>(role), list.data(), list.size());
  }

  // `rets` has one status for each cluster afterwards.
  Status LinkLlmClusters(const std::vector<ClusterInfo> &clusters, std::vector<Status> &rets,
                         int32_t timeout_in_millis = 1000) {
    const detail::Clusters list(clusters);
    rets.assign(clusters.size(), LLM_FAILED);
    return pmd_datadist_link(handle_, list.data(), list.size(), rets.data(), timeout_in_millis);
  }

  // With `force_flag` only this side's end goes, without asking the other.
  Status UnlinkLlmClusters(const std::vector<ClusterInfo> &clusters, std::vector<Status> &rets,
                           int32_t timeout_in_millis = 1000, bool force_flag = false) {
    const detail::Clusters list(clusters);
    rets.assign(clusters.size(), LLM_FAILED);
    return pmd_datadist_unlink(handle_, list.data(), list.size(), rets.data(), timeout_in_millis, force_flag);
  }

  // Allocates memory that peers of this host can map, and registers it.
  Status AllocateCache(const CacheDesc &cache_desc, Cache &cache) {
    const auto desc = detail::Describe(cache_desc);
    std::vector<uint64_t> addresses(cache_desc.num_tensors);
    int64_t cache_id = -1;
    const Status status =
        pmd_datadist_allocate_cache(handle_, &desc, &cache_id, addresses.data(), addresses.size());
    if (status == LLM_SUCCESS) {
      cache.cache_id = cache_id;
      cache.tensor_addrs.assign(addresses.begin(), addresses.end());
      cache.cache_desc = cache_desc;
    }
    return status;
  }

  // LLM_SUCCESS too when there is no such cache.
  Status DeallocateCache(int64_t cache_id) { return pmd_datadist_deallocate_cache(handle_, cache_id); }

  // One batch of every tensor. `size` bytes of each, or all with -1.
  Status PullKvCache(const CacheIndex &src_cache_index, const Cache &dst_cache, uint32_t batch_index = 0U,
                     int64_t size = -1, const KvCacheExtParam &ext_param = {}) {
    const auto source = detail::Index(src_cache_index);
    const auto range = detail::Range(ext_param);
    return pmd_datadist_pull_cache(handle_, &source, dst_cache.cache_id, batch_index, size, &range);
  }

  // Block src_blocks[i] to block dst_blocks[i] of every tensor.
  Status PullKvBlocks(const CacheIndex &src_cache_index, const Cache &dst_cache,
                      const std::vector<uint64_t> &src_blocks, const std::vector<uint64_t> &dst_blocks,
                      const KvCacheExtParam &ext_param = {}) {
    const auto source = detail::Index(src_cache_index);
    const auto range = detail::Range(ext_param);
    return pmd_datadist_pull_blocks(handle_, &source, dst_cache.cache_id, detail::Blocks(src_blocks),
                                    detail::Blocks(dst_blocks), &range);
  }

  // Within this process: `size` bytes at `offset` of one batch, or all with -1.
  Status CopyKvCache(const Cache &src_cache, const Cache &dst_cache, uint32_t src_batch_index = 0U,
                     uint32_t dst_batch_index = 0U, uint64_t offset = 0U, int64_t size = -1) {
    return pmd_datadist_copy_cache(handle_, src_cache.cache_id, dst_cache.cache_id, src_batch_index,
                                   dst_batch_index, offset, size);
  }

  // Within this process, to any number of lists of blocks.
  Status CopyKvBlocks(const Cache &src_cache, const Cache &dst_cache, const std::vector<uint64_t> &src_blocks,
                      const std::vector<std::vector<uint64_t>> &dst_blocks_list) {
    std::vector<pmd_datadist_blocks> lists;
    lists.reserve(dst_blocks_list.size());
    for (const auto &blocks : dst_blocks_list) {
      lists.push_back(detail::Blocks(blocks));
    }
    return pmd_datadist_copy_blocks(handle_, src_cache.cache_id, dst_cache.cache_id, detail::Blocks(src_blocks),
                                    lists.data(), lists.size());
  }

  // One batch of every tensor, layer by layer.
  Status PushKvCache(const Cache &src_cache, const CacheIndex &dst_cache_index, uint32_t src_batch_index = 0U,
                     int64_t size = -1, const KvCacheExtParam &ext_param = {}) {
    const auto destination = detail::Index(dst_cache_index);
    const auto range = detail::Range(ext_param);
    return pmd_datadist_push_cache(handle_, src_cache.cache_id, &destination, src_batch_index, size, &range);
  }

  // Block src_blocks[i] to block dst_blocks[i] of every tensor, layer by layer.
  Status PushKvBlocks(const Cache &src_cache, const CacheIndex &dst_cache_index,
                      const std::vector<uint64_t> &src_blocks, const std::vector<uint64_t> &dst_blocks,
                      const KvCacheExtParam &ext_param = {}) {
    const auto destination = detail::Index(dst_cache_index);
    const auto range = detail::Range(ext_param);
    return pmd_datadist_push_blocks(handle_, src_cache.cache_id, &destination, detail::Blocks(src_blocks),
                                    detail::Blocks(dst_blocks), &range);
  }

  // The caller's memory stays where it is until the cache is unregistered.
  Status RegisterKvCache(const CacheDesc &cache_desc, const std::vector<uint64_t> &addrs, const RegisterCfg &cfg,
                         int64_t &cache_id) {
    (void)cfg;
    const auto desc = detail::Describe(cache_desc);
    return pmd_datadist_register_cache(handle_, &desc, addrs.data(), addrs.size(), &cache_id);
  }

  Status UnregisterKvCache(int64_t cache_id) { return pmd_datadist_unregister_cache(handle_, cache_id); }

 private:
  pmd_datadist *handle_ = nullptr;
};
}  // namespace llm_datadist

#endif  // PMD_KV_LLM_DATADIST_LLM_DATADIST_H_
