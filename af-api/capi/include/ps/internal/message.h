// Nodes, and events of streams, as StepMesh's programs see them.
#ifndef PMD_AF_PS_INTERNAL_MESSAGE_H_
#define PMD_AF_PS_INTERNAL_MESSAGE_H_

#include <limits>
#include <string>

#include "ps/internal/backend.h"
#include "ps/internal/trace.h"

namespace ps {

struct Node {
  static constexpr int kEmpty = std::numeric_limits<int>::max();

  enum Role { SERVER, WORKER, SCHEDULER, JOINT };

  Role role = SERVER;
  // 1 for the scheduler, 8 + 2 x rank for a server, 9 + 2 x rank for a worker.
  int id = kEmpty;
  // Whether it came back after it was gone.
  bool is_recovery = false;
};

// An event of the backend's default stream.
class TensorEvent {
 public:
  TensorEvent() : event_(Backend::Get()->CreateEvent()) {}
  ~TensorEvent() { Backend::Get()->FreeEvent(event_); }

  TensorEvent(const TensorEvent &) = delete;
  TensorEvent &operator=(const TensorEvent &) = delete;

  void Record(void *stream = nullptr) { recorded_ = Backend::Get()->RecordEvent(event_, stream) == BACKEND_OK; }

  // Waits until what was recorded is done.
  void Sync() {
    if (recorded_ && Backend::Get()->SyncEvent(event_) != BACKEND_OK) {
      PS_LOG(WARNING) << "an event of the stream failed";
    }
    recorded_ = false;
  }

  void Release() { free_ = true; }

  // Whether the event was free, and is the caller's now.
  bool Occupy() {
    const bool was_free = free_;
    free_ = false;
    return was_free;
  }

 private:
  void *event_;
  bool recorded_ = false;
  bool free_ = true;
};

}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_MESSAGE_H_
