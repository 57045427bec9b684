// What the two HIXL examples share: memory on a device, and checks.
#ifndef PMD_KV_EXAMPLES_ENGINE_H_
#define PMD_KV_EXAMPLES_ENGINE_H_

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "acl/acl.h"
#include "hixl/hixl.h"
#include "signal_socket.h"

constexpr int32_t kTimeoutMillis = 10000;

// Says what failed, and ends the process.
inline void Require(bool holds, const char *what) {
  if (!holds) {
    std::fprintf(stderr, "%s failed\n", what);
    std::exit(1);
  }
}

inline void RequireDone(hixl::Status status, const char *what) {
  if (status != hixl::SUCCESS) {
    std::fprintf(stderr, "%s: status %u: %s\n", what, status, pmd_kv_last_error());
    std::exit(1);
  }
}

inline void RequireAcl(aclError status, const char *what) {
  if (status != ACL_SUCCESS) {
    const char *message = aclGetRecentErrMsg();
    std::fprintf(stderr, "%s: ACL error %d: %s\n", what, status, message == nullptr ? "" : message);
    std::exit(1);
  }
}

// Zeroed memory of device 0.
class DeviceMemory {
 public:
  explicit DeviceMemory(size_t bytes) : bytes_(bytes) {
    RequireAcl(aclrtSetDevice(0), "aclrtSetDevice");
    RequireAcl(aclrtMalloc(&memory_, bytes, ACL_MEM_MALLOC_HUGE_ONLY), "aclrtMalloc");
    RequireAcl(aclrtMemset(memory_, bytes, 0, bytes), "aclrtMemset");
  }
  ~DeviceMemory() { RequireAcl(aclrtFree(memory_), "aclrtFree"); }
  DeviceMemory(const DeviceMemory &) = delete;
  DeviceMemory &operator=(const DeviceMemory &) = delete;

  uintptr_t address() const { return reinterpret_cast<uintptr_t>(memory_); }

  void Write(const void *from, size_t bytes) {
    RequireAcl(aclrtMemcpy(memory_, bytes_, from, bytes, ACL_MEMCPY_HOST_TO_DEVICE), "a copy to the device");
  }

  void Read(void *to, size_t bytes) const {
    RequireAcl(aclrtMemcpy(to, bytes, memory_, bytes, ACL_MEMCPY_DEVICE_TO_HOST), "a copy from the device");
  }

  hixl::MemHandle Register(hixl::Hixl &engine) const {
    hixl::MemDesc desc{};
    desc.addr = address();
    desc.len = bytes_;
    hixl::MemHandle handle = nullptr;
    RequireDone(engine.RegisterMem(desc, hixl::MEM_DEVICE, handle), "RegisterMem");
    return handle;
  }

 private:
  const size_t bytes_;
  void *memory_ = nullptr;
};

#endif  // PMD_KV_EXAMPLES_ENGINE_H_
