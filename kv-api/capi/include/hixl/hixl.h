// HIXL's public C++ interface over libpmd_kv: the class, its options and status codes under the same names and with
// the same values, so that programs written for it compile and run. Everything is in this header and hixl_types.h; link
// with -lpmd_kv.
//
// What a call that failed had to say is pmd_kv_last_error(), for this thread. Transport and device are chosen by the
// environment (PMD_TRANSPORT, ...).
#ifndef PMD_KV_HIXL_HIXL_H_
#define PMD_KV_HIXL_HIXL_H_

#include <map>
#include <vector>

#include "hixl/hixl_types.h"
#include "pmd_kv.h"

namespace hixl {
namespace detail {
// What a C function gave out as a list; released with this.
template <typename List, uint32_t (*Release)(List *)>
class Listed {
 public:
  Listed() = default;
  ~Listed() {
    if (list_ != nullptr) {
      (void)Release(list_);
    }
  }
  Listed(const Listed &) = delete;
  Listed &operator=(const Listed &) = delete;

  List *get() const { return list_; }
  List **place() { return &list_; }

 private:
  List *list_ = nullptr;
};

inline std::vector<pmd_hixl_op> Operations(const std::vector<TransferOpDesc> &descs) {
  std::vector<pmd_hixl_op> operations;
  operations.reserve(descs.size());
  for (const auto &desc : descs) {
    operations.push_back(pmd_hixl_op{desc.local_addr, desc.remote_addr, desc.len});
  }
  return operations;
}

inline std::vector<pmd_kv_option> Options(const std::map<AscendString, AscendString> &options) {
  std::vector<pmd_kv_option> list;
  list.reserve(options.size());
  for (const auto &option : options) {
    list.push_back(pmd_kv_option{option.first.GetString(), option.second.GetString()});
  }
  return list;
}
}  // namespace detail

// One end of the transfers of a process. Engines are named "ip:port" (a server, which listens there), or "ip" (a
// client); IPv6 as "[ip]:port". May be used from any thread.
class Hixl {
 public:
  Hixl() { (void)pmd_hixl_create(&handle_); }

  // Finalises.
  ~Hixl() { (void)pmd_hixl_destroy(handle_); }

  Hixl(const Hixl &) = delete;
  Hixl &operator=(const Hixl &) = delete;

  // To be called before anything else.
  Status Initialize(const AscendString &local_engine, const std::map<AscendString, AscendString> &options) {
    const auto list = detail::Options(options);
    return pmd_hixl_initialize(handle_, local_engine.GetString(), list.data(), list.size());
  }

  // Gives everything up: links, registered memory, transfers.
  void Finalize() { (void)pmd_hixl_finalize(handle_); }

  // The same memory again gives the same handle.
  Status RegisterMem(const MemDesc &mem, MemType type, MemHandle &mem_handle) {
    return pmd_hixl_register(handle_, mem.addr, mem.len, static_cast<int32_t>(type), &mem_handle);
  }

  Status DeregisterMem(MemHandle mem_handle) { return pmd_hixl_deregister(handle_, mem_handle); }

  Status Connect(const AscendString &remote_engine, int32_t timeout_in_millis = 1000) {
    return pmd_hixl_connect(handle_, remote_engine.GetString(), timeout_in_millis);
  }

  Status Disconnect(const AscendString &remote_engine, int32_t timeout_in_millis = 1000) {
    return pmd_hixl_disconnect(handle_, remote_engine.GetString(), timeout_in_millis);
  }

  // Returns at once; GetAsyncConnectStatus says how it goes.
  Status ConnectAsync(const AscendString &remote_engine, int32_t timeout_in_millis = 1000) {
    return pmd_hixl_connect_async(handle_, remote_engine.GetString(), timeout_in_millis);
  }

  Status DisconnectAsync(const AscendString &remote_engine, int32_t timeout_in_millis = 1000) {
    return pmd_hixl_disconnect_async(handle_, remote_engine.GetString(), timeout_in_millis);
  }

  Status GetAsyncConnectStatus(const AscendString &remote_engine, AsyncConnectStatus &status) {
    int32_t value = 0;
    const Status result = pmd_hixl_connect_status(handle_, remote_engine.GetString(), &value);
    if (result == SUCCESS) {
      status = static_cast<AsyncConnectStatus>(value);
    }
    return result;
  }

  Status GetAsyncConnectStatus(std::map<AscendString, AsyncConnectStatus> &statuses) {
    detail::Listed<pmd_hixl_links, pmd_hixl_links_release> list;
    size_t count = 0U;
    Status result = pmd_hixl_connect_statuses(handle_, list.place(), &count);
    statuses.clear();
    for (size_t index = 0U; result == SUCCESS && index < count; ++index) {
      const char *name = nullptr;
      int32_t value = 0;
      result = pmd_hixl_link_at(list.get(), index, &name, &value);
      if (result == SUCCESS) {
        statuses[name] = static_cast<AsyncConnectStatus>(value);
      }
    }
    return result;
  }

  // Moves bytes between this process's memory and the remote engine's, and waits for it.
  Status TransferSync(const AscendString &remote_engine, TransferOp operation,
                      const std::vector<TransferOpDesc> &op_descs, int32_t timeout_in_millis = 1000) {
    const auto operations = detail::Operations(op_descs);
    return pmd_hixl_transfer_sync(handle_, remote_engine.GetString(), static_cast<int32_t>(operation),
                                  operations.data(), operations.size(), timeout_in_millis);
  }

  // Returns at once; GetTransferStatus says how it goes.
  Status TransferAsync(const AscendString &remote_engine, TransferOp operation,
                       const std::vector<TransferOpDesc> &op_descs, const TransferArgs &optional_args,
                       TransferReq &req) {
    const auto operations = detail::Operations(op_descs);
    return pmd_hixl_transfer_async(handle_, remote_engine.GetString(), static_cast<int32_t>(operation),
                                   operations.data(), operations.size(), optional_args.user_data, 0U, &req);
  }

  // A request that has ended is told once, and forgotten.
  Status GetTransferStatus(const TransferReq &req, TransferStatus &status) {
    int32_t value = static_cast<int32_t>(TransferStatus::FAILED);
    const Status result = pmd_hixl_transfer_status(handle_, req, &value);
    status = static_cast<TransferStatus>(value);
    return result;
  }

  // All requests, oldest first.
  Status GetTransferStatus(const GetTransferStatusArgs &args, std::vector<TransferResult> &results) {
    detail::Listed<pmd_hixl_results, pmd_hixl_results_release> list;
    size_t count = 0U;
    Status result =
        pmd_hixl_transfer_statuses(handle_, args.max_query_count, args.skip_waiting, list.place(), &count);
    results.clear();
    for (size_t index = 0U; result == SUCCESS && index < count; ++index) {
      pmd_hixl_result found = {};
      result = pmd_hixl_result_at(list.get(), index, &found);
      if (result == SUCCESS) {
        TransferResult entry;
        entry.req = found.request;
        entry.user_data = found.user_data;
        entry.status = static_cast<TransferStatus>(found.status);
        results.push_back(entry);
      }
    }
    return result;
  }

  // At most 1024 bytes of name and of message.
  Status SendNotify(const AscendString &remote_engine, const NotifyDesc &notify, int32_t timeout_in_millis = 1000) {
    return pmd_hixl_send_notify(handle_, remote_engine.GetString(),
                                reinterpret_cast<const uint8_t *>(notify.name.GetString()), notify.name.GetLength(),
                                reinterpret_cast<const uint8_t *>(notify.notify_msg.GetString()),
                                notify.notify_msg.GetLength(), timeout_in_millis);
  }

  // All that have come since the last call.
  Status GetNotifies(std::vector<NotifyDesc> &notifies) {
    detail::Listed<pmd_hixl_notifies, pmd_hixl_notifies_release> list;
    size_t count = 0U;
    Status result = pmd_hixl_take_notifies(handle_, list.place(), &count);
    notifies.clear();
    for (size_t index = 0U; result == SUCCESS && index < count; ++index) {
      pmd_hixl_notify found = {};
      result = pmd_hixl_notify_at(list.get(), index, &found);
      if (result == SUCCESS) {
        notifies.push_back(
            NotifyDesc{AscendString(reinterpret_cast<const char *>(found.name), found.name_length),
                       AscendString(reinterpret_cast<const char *>(found.message), found.message_length)});
      }
    }
    return result;
  }

  // 1 when this library can do it, 0 when not or when it does not know what that is.
  static Status GetCapability(FeatureType feature_type, int32_t &value) {
    return pmd_hixl_capability(static_cast<int32_t>(feature_type), &value);
  }

 private:
  pmd_hixl *handle_ = nullptr;
};
}  // namespace hixl

#endif  // PMD_KV_HIXL_HIXL_H_
