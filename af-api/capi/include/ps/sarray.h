// Arrays that share their memory: copies are the same array.
#ifndef PMD_AF_PS_SARRAY_H_
#define PMD_AF_PS_SARRAY_H_

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <vector>

#include "ps/internal/utils.h"
#include "ps/range.h"

namespace ps {

template <typename V>
class SArray {
 public:
  SArray() = default;
  explicit SArray(std::size_t size, V value = 0) { resize(size, value); }
  explicit SArray(const std::vector<V> &values) { CopyFrom(values.data(), values.size()); }
  SArray(const std::initializer_list<V> &values) { CopyFrom(values.begin(), values.size()); }

  // Memory of the caller's, who keeps it; or `new V[size]`, which goes with the last copy.
  SArray(V *data, std::size_t size, bool deletable = false) {
    if (deletable) {
      reset(data, size, [](V *memory) { delete[] memory; });
    } else {
      reset(data, size, [](V *) {});
    }
  }

  // The same memory with elements of another type.
  template <typename W>
  explicit SArray(const SArray<W> &other) {
    *this = other;
  }
  template <typename W>
  SArray &operator=(const SArray<W> &other) {
    const std::size_t bytes = other.size() * sizeof(W);
    PS_CHECK_EQ(bytes % sizeof(V), 0U) << bytes << " bytes are no whole number of elements";
    memory_ = std::shared_ptr<V>(other.memory(), reinterpret_cast<V *>(other.data()));
    size_ = capacity_ = bytes / sizeof(V);
    return *this;
  }

  template <typename Deleter>
  void reset(V *data, std::size_t size, Deleter deleter) {
    memory_ = std::shared_ptr<V>(data, deleter);
    size_ = capacity_ = size;
  }

  void CopyFrom(const V *data, std::size_t size) {
    resize(size);
    std::copy(data, data + size, this->data());
  }
  void CopyFrom(const SArray<V> &other) {
    if (this != &other) {
      CopyFrom(other.data(), other.size());
    }
  }

  void resize(std::size_t size, V value = 0) {
    const std::size_t before = size_;
    reserve(size);
    size_ = size;
    if (size > before) {
      std::fill(data() + before, data() + size, value);
    }
  }

  void reserve(std::size_t size) {
    if (size <= capacity_) {
      return;
    }
    std::shared_ptr<V> larger(new V[size](), [](V *memory) { delete[] memory; });
    std::copy(data(), data() + size_, larger.get());
    memory_ = larger;
    capacity_ = size;
  }

  void clear() {
    memory_.reset();
    size_ = capacity_ = 0;
  }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  V *data() const { return memory_.get(); }
  V *begin() { return data(); }
  const V *begin() const { return data(); }
  V *end() { return data() + size_; }
  const V *end() const { return data() + size_; }
  V &operator[](std::size_t at) { return data()[at]; }
  const V &operator[](std::size_t at) const { return data()[at]; }
  V front() const { return At(0); }
  V back() const { return At(size_ - 1); }

  void push_back(const V &value) {
    if (size_ == capacity_) {
      reserve(size_ * 2 + 4);
    }
    data()[size_++] = value;
  }
  void pop_back() { size_ -= size_ == 0 ? 0 : 1; }
  void append(const SArray<V> &other) {
    const std::size_t before = size_;
    resize(size_ + other.size());
    std::copy(other.begin(), other.end(), data() + before);
  }

  // The elements from `begin` to before `end`, in the same memory.
  SArray<V> segment(std::size_t begin, std::size_t end) const {
    PS_CHECK(begin <= end && end <= size_) << "elements " << begin << " to " << end << " of " << size_;
    SArray<V> part;
    part.memory_ = std::shared_ptr<V>(memory_, data() + begin);
    part.size_ = part.capacity_ = end - begin;
    return part;
  }

  const std::shared_ptr<V> &memory() const { return memory_; }

 private:
  V At(std::size_t at) const {
    PS_CHECK(!empty()) << "an empty array has no elements";
    return data()[at];
  }

  std::shared_ptr<V> memory_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace ps

#endif  // PMD_AF_PS_SARRAY_H_
