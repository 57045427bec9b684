// What workers and servers need to hand tensors to the library: memory that stays registered for as long as it lives, and
// tensors as DLPack describes them.
#ifndef PMD_AF_PS_INTERNAL_EXCHANGE_H_
#define PMD_AF_PS_INTERNAL_EXCHANGE_H_

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "ps/internal/postoffice.h"

namespace ps {

struct KeyTensor {
  Key key = 0;
  Tensor val;
};

typedef std::vector<KeyTensor> KeyTensorBatch;

namespace detail {

// Registered memory, released with the last copy.
class Memory {
 public:
  Memory(void *address, std::size_t bytes, int32_t device) {
    Require(pmd_af_memory_register(Postoffice::NodeHandle(), address, bytes, device, &handle_), "registering memory");
  }
  ~Memory() { (void)pmd_af_memory_release(handle_); }

  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;

  const pmd_af_memory *handle() const { return handle_; }

 private:
  pmd_af_memory *handle_ = nullptr;
};

// The memory of tensors that were seen, registered once for as long as somebody holds it. What nobody holds any more is
// registered anew when it is seen again: it may be other memory.
class Memories {
 public:
  std::shared_ptr<Memory> Find(const Tensor &tensor) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = known_.find(Holder::Of(tensor));
    if (found != known_.end() && found->second.holder.Alive()) {
      return found->second.memory;
    }
    if (known_.size() >= next_sweep_) {
      Sweep();
    }
    known_.erase(Holder::Of(tensor));
    const std::size_t bytes = Holder::Bytes(tensor);
    auto memory = std::make_shared<Memory>(Holder::Begin(tensor), bytes == 0 ? 1 : bytes, DeviceOf(tensor));
    known_.emplace(Holder::Of(tensor), Known{Holder(tensor), memory});
    return memory;
  }

 private:
  struct Known {
    Holder holder;
    std::shared_ptr<Memory> memory;
  };

  static int32_t DeviceOf(const Tensor &tensor) {
#ifdef PMD_AF_WITH_TORCH
    return tensor.is_cuda() ? static_cast<int32_t>(tensor.get_device()) : -1;
#else
    return tensor.device();
#endif
  }

  void Sweep() {
    for (auto known = known_.begin(); known != known_.end();) {
      known = known->second.holder.Alive() ? std::next(known) : known_.erase(known);
    }
    next_sweep_ = 2 * known_.size() + 64;
  }

  std::mutex mutex_;
  std::map<void *, Known> known_;
  std::size_t next_sweep_ = 64;
};

// Tensors as the C functions take them. Points into itself and into the tensors, which it holds.
class Described {
 public:
  Described() = default;
  Described(const Described &) = delete;
  Described &operator=(const Described &) = delete;

  void Add(Key key, const Tensor &tensor, Memories &memories) {
    PS_CHECK(tensor.defined()) << "the tensor of key " << key << " is undefined";
#ifdef PMD_AF_WITH_TORCH
    PS_CHECK(tensor.is_contiguous()) << "the tensor of key " << key << " is not contiguous";
    const ElementType type = ElementTypeOf(tensor);
#else
    const ScalarType type = tensor.scalar_type();
#endif
    tensors_.push_back(tensor);
    memories_.push_back(memories.Find(tensor));
    shapes_.emplace_back(tensor.sizes().begin(), tensor.sizes().end());
    pmd_af_keyed_tensor entry = {};
    entry.key = key;
    entry.memory = memories_.back()->handle();
    entry.tensor.data = tensor.data_ptr();
#ifdef PMD_AF_WITH_TORCH
    entry.tensor.device_type = DeviceTypeOf(tensor);
    entry.tensor.device_id = tensor.is_cuda() ? static_cast<int32_t>(tensor.get_device()) : 0;
#else
    entry.tensor.device_type = tensor.device() < 0 ? 1 : 2;
    entry.tensor.device_id = tensor.device() < 0 ? 0 : tensor.device();
#endif
    entry.tensor.dimensions = static_cast<int32_t>(shapes_.back().size());
    entry.tensor.type_code = type.code;
    entry.tensor.type_bits = type.bits;
    entry.tensor.type_lanes = 1;
    entry.tensor.shape = shapes_.back().data();
    entries_.push_back(entry);
  }

  const pmd_af_keyed_tensor *data() const { return entries_.data(); }
  std::size_t size() const { return entries_.size(); }

 private:
  std::vector<Tensor> tensors_;
  std::vector<std::shared_ptr<Memory>> memories_;
  // A deque, so that shapes stay where they are.
  std::deque<std::vector<int64_t>> shapes_;
  std::vector<pmd_af_keyed_tensor> entries_;
};

// The tensor that the library describes, in its memory.
inline Tensor FromDescription(const pmd_af_tensor &tensor) {
  const std::vector<int64_t> sizes(tensor.shape, tensor.shape + tensor.dimensions);
#ifdef PMD_AF_WITH_TORCH
  for (const ElementType &known : ElementTypes()) {
    if (known.code == tensor.type_code && known.bits == tensor.type_bits) {
      const auto device = tensor.device_type == 2 ? at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(tensor.device_id))
                                                  : at::Device(at::kCPU);
      return at::from_blob(tensor.data, sizes, at::TensorOptions().dtype(known.type).device(device));
    }
  }
  throw dmlc::Error("a tensor of a type that torch does not have");
#else
  const int32_t device = tensor.device_type == 1 ? -1 : tensor.device_id;
  return Tensor::from_blob(tensor.data, sizes, ScalarType{tensor.type_code, tensor.type_bits}, device);
#endif
}

}  // namespace detail
}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_EXCHANGE_H_
