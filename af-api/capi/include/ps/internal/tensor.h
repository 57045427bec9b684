// Tensors: at::Tensor where torch's headers are there, otherwise a small class of our own with the same methods for what
// push-pulls need. Define PMD_AF_WITHOUT_TORCH to have ours in any case.
#ifndef PMD_AF_PS_INTERNAL_TENSOR_H_
#define PMD_AF_PS_INTERNAL_TENSOR_H_

#if !defined(PMD_AF_WITHOUT_TORCH) && defined(__has_include)
#if __has_include(<ATen/ATen.h>)
#define PMD_AF_WITH_TORCH 1
#include <ATen/ATen.h>
#endif
#endif

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "ps/internal/utils.h"

namespace ps {

#ifdef PMD_AF_WITH_TORCH
using Tensor = at::Tensor;
#else
// What a tensor is made of: DLPack's kinds (0 signed, 1 unsigned, 2 floating point, 4 bfloat, 5 complex, 6 truth value) and
// bits.
struct ScalarType {
  uint8_t code = 1;
  uint8_t bits = 8;

  bool operator==(const ScalarType &other) const { return code == other.code && bits == other.bits; }
  bool operator!=(const ScalarType &other) const { return !(*this == other); }
};

constexpr ScalarType kByte{1, 8};
constexpr ScalarType kChar{0, 8};
constexpr ScalarType kShort{0, 16};
constexpr ScalarType kInt{0, 32};
constexpr ScalarType kLong{0, 64};
constexpr ScalarType kHalf{2, 16};
constexpr ScalarType kFloat{2, 32};
constexpr ScalarType kDouble{2, 64};
constexpr ScalarType kBFloat16{4, 16};
constexpr ScalarType kBool{6, 8};

// A tensor without gaps, in memory of the host or of a device. Copies are the same tensor.
class Tensor {
 public:
  // Undefined.
  Tensor() = default;

  // Memory of its own, zeroed.
  static Tensor zeros(const std::vector<int64_t> &sizes, ScalarType type) {
    Tensor tensor;
    tensor.type_ = type;
    tensor.sizes_ = sizes;
    const std::size_t bytes = tensor.nbytes() == 0 ? 1 : tensor.nbytes();
    void *memory = std::calloc(bytes, 1);
    if (memory == nullptr) {
      throw std::bad_alloc();
    }
    tensor.memory_ = std::shared_ptr<void>(memory, std::free);
    return tensor;
  }

  // Memory of the caller's, who keeps it for as long as a copy of the tensor lives: of the host, or of that device of the
  // process's first accelerator.
  static Tensor from_blob(void *memory, const std::vector<int64_t> &sizes, ScalarType type, int32_t device = -1) {
    Tensor tensor;
    tensor.device_ = device;
    tensor.type_ = type;
    tensor.sizes_ = sizes;
    tensor.memory_ = std::shared_ptr<void>(memory, [](void *) {});
    return tensor;
  }

  bool defined() const { return memory_ != nullptr; }
  void *data_ptr() const { return memory_.get(); }
  template <typename T>
  T *data_ptr() const {
    return static_cast<T *>(memory_.get());
  }
  int64_t dim() const { return static_cast<int64_t>(sizes_.size()); }
  int64_t size(int64_t dimension) const { return sizes_.at(static_cast<std::size_t>(dimension)); }
  const std::vector<int64_t> &sizes() const { return sizes_; }
  ScalarType scalar_type() const { return type_; }
  // Number of its device; negative: memory of the host.
  int32_t device() const { return device_; }
  std::size_t itemsize() const { return type_.bits / 8U; }
  std::size_t element_size() const { return itemsize(); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * itemsize(); }
  int64_t numel() const {
    int64_t product = 1;
    for (const int64_t size : sizes_) {
      product *= size;
    }
    return product;
  }

  // The memory, for as long as somebody holds it.
  std::weak_ptr<void> memory() const { return memory_; }

 private:
  ScalarType type_;
  int32_t device_ = -1;
  std::vector<int64_t> sizes_;
  std::shared_ptr<void> memory_;
};
#endif

namespace detail {

#ifdef PMD_AF_WITH_TORCH
struct ElementType {
  at::ScalarType type;
  uint8_t code;
  uint8_t bits;
};

inline const std::vector<ElementType> &ElementTypes() {
  static const std::vector<ElementType> types = {
      {at::kByte, 1, 8},      {at::kChar, 0, 8},           {at::kShort, 0, 16},
      {at::kInt, 0, 32},      {at::kLong, 0, 64},          {at::kHalf, 2, 16},
      {at::kFloat, 2, 32},    {at::kDouble, 2, 64},        {at::kBFloat16, 4, 16},
      {at::kBool, 6, 8},      {at::kComplexFloat, 5, 64},  {at::kComplexDouble, 5, 128},
#ifdef PMD_AF_WITH_FLOAT8
      {at::kFloat8_e4m3fn, 10, 8}, {at::kFloat8_e5m2, 12, 8},
#endif
  };
  return types;
}

inline ElementType ElementTypeOf(const Tensor &tensor) {
  for (const ElementType &known : ElementTypes()) {
    if (known.type == tensor.scalar_type()) {
      return known;
    }
  }
  throw dmlc::Error(std::string("tensors of ") + at::toString(tensor.scalar_type()) + " do not travel");
}

inline int32_t DeviceTypeOf(const Tensor &tensor) {
  if (tensor.is_cuda()) {
    return 2;
  }
  PS_CHECK(tensor.device().is_cpu()) << "tensors of the host and of CUDA devices travel, not of " << tensor.device();
  return 1;
}

// What holds the bytes, and whether it still does.
struct Holder {
  explicit Holder(const Tensor &tensor) : storage(tensor.storage().getWeakStorageImpl()) {}

  bool Alive() const { return !storage.expired(); }

  static void *Of(const Tensor &tensor) { return tensor.storage().unsafeGetStorageImpl(); }
  static void *Begin(const Tensor &tensor) { return const_cast<void *>(static_cast<const void *>(tensor.storage().data())); }
  static std::size_t Bytes(const Tensor &tensor) { return tensor.storage().nbytes(); }

  c10::weak_intrusive_ptr<c10::StorageImpl> storage;
};
#else
// What holds the bytes, and whether it still does.
struct Holder {
  explicit Holder(const Tensor &tensor) : memory(tensor.memory()) {}

  bool Alive() const { return !memory.expired(); }

  static void *Of(const Tensor &tensor) { return tensor.data_ptr(); }
  static void *Begin(const Tensor &tensor) { return tensor.data_ptr(); }
  static std::size_t Bytes(const Tensor &tensor) { return tensor.nbytes(); }

  std::weak_ptr<void> memory;
};
#endif

}  // namespace detail
}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_TENSOR_H_
