// What key-values are on the wire, and their memory. A request is a push-pull with one server, as the Rust and the Python
// classes have it:
//
// | tensor  | direction | holds                                                                  |
// |---------|-----------|------------------------------------------------------------------------|
// | front   | pushed    | what is wanted, the keys, how many values each has (below)             |
// | values  | pushed    | the values of a push                                                   |
// | lengths | pulled    | how many values each key has, 32 bits each                             |
// | values  | pulled    | those values                                                           |
//
// The front: version 1; a byte of flags (1 pushes, 2 pulls, 4 with lengths); bytes of a value; 0; the command, 32 bits; the
// number of keys, 32 bits; 32 bits of 0; the keys, 64 bits each; the lengths, 32 bits each. All are little-endian.
#ifndef PMD_AF_PS_INTERNAL_KEY_VALUES_H_
#define PMD_AF_PS_INTERNAL_KEY_VALUES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "ps/internal/postoffice.h"

namespace ps {
namespace detail {

// Keys of push-pulls that are not the program's begin with "kv".
constexpr Key kFrontKey = 0x6b76000000000000U;
constexpr Key kValuesKey = kFrontKey + 1U;
constexpr Key kLengthsKey = kFrontKey + 2U;

// The code with which a server refuses what is no request of key-values of its type.
constexpr uint64_t kNotKeyValues = UINT64_MAX;

// Registered memory of one request, as a tensor of bytes.
class Bytes {
 public:
  explicit Bytes(std::size_t size) : shape_(static_cast<int64_t>(size)) {
    void *address = nullptr;
    const auto allocated = pmd_af_memory_allocate(Postoffice::NodeHandle(), std::max<std::size_t>(size, 1U), &memory_, &address);
    Require(allocated, "memory for key-values");
    data_ = static_cast<char *>(address);
  }
  Bytes(const void *from, std::size_t size) : Bytes(size) {
    if (size > 0) {
      std::memcpy(data_, from, size);
    }
  }
  ~Bytes() { (void)pmd_af_memory_release(memory_); }

  Bytes(const Bytes &) = delete;
  Bytes &operator=(const Bytes &) = delete;

  const char *data() const { return data_; }

  // Points into this.
  pmd_af_keyed_tensor Entry(Key key) const {
    pmd_af_keyed_tensor entry = {};
    entry.key = key;
    entry.memory = memory_;
    entry.tensor.data = data_;
    entry.tensor.device_type = 1;
    entry.tensor.dimensions = 1;
    entry.tensor.type_code = 1;
    entry.tensor.type_bits = 8;
    entry.tensor.type_lanes = 1;
    entry.tensor.shape = &shape_;
    return entry;
  }

 private:
  pmd_af_memory *memory_ = nullptr;
  char *data_ = nullptr;
  int64_t shape_;
};

// What is wanted of which keys.
struct Front {
  bool push = false;
  bool pull = false;
  std::size_t value_bytes = 0;
  int32_t command = 0;
  std::vector<Key> keys;
  bool with_lengths = false;
  std::vector<uint32_t> lengths;

  std::vector<char> Emit() const {
    std::vector<char> bytes = {1, static_cast<char>((push ? 1 : 0) | (pull ? 2 : 0) | (with_lengths ? 4 : 0)),
                               static_cast<char>(value_bytes), 0};
    Append(bytes, &command, sizeof(command));
    const auto count = static_cast<uint32_t>(keys.size());
    Append(bytes, &count, sizeof(count));
    bytes.resize(kFixed);
    Append(bytes, keys.data(), keys.size() * sizeof(Key));
    Append(bytes, lengths.data(), lengths.size() * sizeof(uint32_t));
    return bytes;
  }

  // False for what is no front.
  static bool Parse(const char *bytes, std::size_t size, Front &front) {
    if (size < kFixed || bytes[0] != 1) {
      return false;
    }
    uint32_t count = 0;
    std::memcpy(&front.command, bytes + 4, sizeof(front.command));
    std::memcpy(&count, bytes + 8, sizeof(count));
    front.push = (bytes[1] & 1) != 0;
    front.pull = (bytes[1] & 2) != 0;
    front.with_lengths = (bytes[1] & 4) != 0;
    front.value_bytes = static_cast<unsigned char>(bytes[2]);
    const std::size_t each = sizeof(Key) + (front.with_lengths ? sizeof(uint32_t) : 0U);
    if ((size - kFixed) / each != count || (size - kFixed) % each != 0) {
      return false;
    }
    front.keys.resize(count);
    front.lengths.resize(front.with_lengths ? count : 0U);
    Copy(front.keys.data(), bytes + kFixed, front.keys.size() * sizeof(Key));
    Copy(front.lengths.data(), bytes + kFixed + count * sizeof(Key), front.lengths.size() * sizeof(uint32_t));
    return true;
  }

 private:
  static constexpr std::size_t kFixed = 16;

  static void Append(std::vector<char> &bytes, const void *from, std::size_t size) {
    const auto *first = static_cast<const char *>(from);
    bytes.insert(bytes.end(), first, first + size);
  }

  static void Copy(void *to, const char *from, std::size_t size) {
    if (size > 0) {
      std::memcpy(to, from, size);
    }
  }
};

// Which server has a key, of so many: equal shares of all keys, the last one with what is left.
inline std::size_t ServerOf(Key key, std::size_t servers) {
  return std::min<std::size_t>(static_cast<std::size_t>(key / (kMaxKey / servers)), servers - 1U);
}

}  // namespace detail
}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_KEY_VALUES_H_
