// Accelerators as StepMesh's programs see them. Only the host's is here; programs may register others.
#ifndef PMD_AF_PS_INTERNAL_BACKEND_H_
#define PMD_AF_PS_INTERNAL_BACKEND_H_

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

#include "ps/internal/tensor.h"

namespace ps {

enum { BACKEND_OK = 0, BACKEND_FAILED = -1 };

class Backend {
 public:
  virtual ~Backend() = default;

  // The device of this thread.
  virtual int SetDevice(int device) = 0;
  virtual int GetDeviceId() = 0;
#ifdef PMD_AF_WITH_TORCH
  virtual at::Device GetDevice() = 0;
#endif
  // NULL where there is no memory.
  virtual void *Alloc(uint64_t size) = 0;
  virtual void Free(void *memory) = 0;
  virtual void *CreateEvent() = 0;
  virtual int FreeEvent(void *event) = 0;
  // `stream` NULL: the default stream.
  virtual int RecordEvent(void *event, void *stream) = 0;
  virtual int SyncEvent(void *event) = 0;

  // That of STEPMESH_BACKEND (or STEPMESH_BAKCEND, as it is spelled there), otherwise the host's.
  static Backend *Get();

  // The backend stays the program's, and has to stay.
  static void Register(const std::string &name, Backend *backend) {
    std::lock_guard<std::mutex> lock(Mutex());
    Known()[name] = backend;
  }

 private:
  static std::mutex &Mutex() {
    static std::mutex mutex;
    return mutex;
  }

  static std::map<std::string, Backend *> &Known() {
    static std::map<std::string, Backend *> known;
    return known;
  }
};

// The host's memory. Events are done when they are recorded.
class CpuBackend : public Backend {
 public:
  int SetDevice(int device) override {
    device_ = device;
    return BACKEND_OK;
  }
  int GetDeviceId() override { return device_; }
#ifdef PMD_AF_WITH_TORCH
  at::Device GetDevice() override { return at::Device(at::kCPU); }
#endif
  void *Alloc(uint64_t size) override { return std::malloc(size); }
  void Free(void *memory) override { std::free(memory); }
  void *CreateEvent() override { return nullptr; }
  int FreeEvent(void *) override { return BACKEND_OK; }
  int RecordEvent(void *, void *) override { return BACKEND_OK; }
  int SyncEvent(void *) override { return BACKEND_OK; }

 private:
  int device_ = -1;
};

inline Backend *Backend::Get() {
  static CpuBackend host;
  Environment *environment = Environment::Get();
  const char *name = environment->find("STEPMESH_BACKEND");
  name = name == nullptr ? environment->find("STEPMESH_BAKCEND") : name;
  std::lock_guard<std::mutex> lock(Mutex());
  const auto found = Known().find(name == nullptr ? "CPU" : name);
  if (found != Known().end()) {
    return found->second;
  }
  PS_CHECK(name == nullptr || std::string(name) == "CPU") << "no backend " << name << ": register it first";
  return &host;
}

}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_BACKEND_H_
