// What LLM-DataDist's and HIXL's public headers take from CANN's: strings, status, data types.
//
// Declarations of our own under the public names and with the public values, so that programs which name them compile
// on machines without CANN. A program that also uses CANN's own headers puts CANN's include folder first: this path is
// theirs too, and whichever comes first is used.
#ifndef PMD_KV_EXTERNAL_GE_COMMON_API_ERROR_CODES_H_
#define PMD_KV_EXTERNAL_GE_COMMON_API_ERROR_CODES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
// Programs rely on these coming along.
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ge {
using Status = uint32_t;

// Text; what is put in is copied.
class AscendString {
 public:
  AscendString() = default;
  // NULL is the empty text.
  AscendString(const char *text) : text_(text == nullptr ? "" : text) {}
  AscendString(const char *text, size_t length) : text_(text == nullptr ? std::string() : std::string(text, length)) {}

  const char *GetString() const { return text_.c_str(); }
  size_t GetLength() const { return text_.size(); }
  size_t Find(const AscendString &wanted) const { return text_.find(wanted.text_); }
  size_t Hash() const { return std::hash<std::string>()(text_); }

  bool operator<(const AscendString &other) const { return text_ < other.text_; }
  bool operator>(const AscendString &other) const { return text_ > other.text_; }
  bool operator<=(const AscendString &other) const { return text_ <= other.text_; }
  bool operator>=(const AscendString &other) const { return text_ >= other.text_; }
  bool operator==(const AscendString &other) const { return text_ == other.text_; }
  bool operator!=(const AscendString &other) const { return text_ != other.text_; }

 private:
  std::string text_;
};

enum DataType {
  DT_FLOAT = 0,
  DT_FLOAT16 = 1,
  DT_INT8 = 2,
  DT_INT32 = 3,
  DT_UINT8 = 4,
  DT_INT16 = 6,
  DT_UINT16 = 7,
  DT_UINT32 = 8,
  DT_INT64 = 9,
  DT_UINT64 = 10,
  DT_DOUBLE = 11,
  DT_BOOL = 12,
  DT_STRING = 13,
  DT_DUAL_SUB_INT8 = 14,
  DT_DUAL_SUB_UINT8 = 15,
  DT_COMPLEX64 = 16,
  DT_COMPLEX128 = 17,
  DT_QINT8 = 18,
  DT_QINT16 = 19,
  DT_QINT32 = 20,
  DT_QUINT8 = 21,
  DT_QUINT16 = 22,
  DT_RESOURCE = 23,
  DT_STRING_REF = 24,
  DT_DUAL = 25,
  DT_VARIANT = 26,
  DT_BF16 = 27,
  DT_UNDEFINED = 28,
  DT_INT4 = 29,
  DT_UINT1 = 30,
  DT_INT2 = 31,
  DT_UINT2 = 32,
  DT_COMPLEX32 = 33,
  DT_HIFLOAT8 = 34,
  DT_FLOAT8_E5M2 = 35,
  DT_FLOAT8_E4M3FN = 36,
  DT_FLOAT8_E8M0 = 37,
  DT_FLOAT6_E3M2 = 38,
  DT_FLOAT6_E2M3 = 39,
  DT_FLOAT4_E2M1 = 40,
  DT_FLOAT4_E1M2 = 41,
  DT_MAX = 42
};
}  // namespace ge

template <>
struct std::hash<ge::AscendString> {
  size_t operator()(const ge::AscendString &text) const { return text.Hash(); }
};

#endif  // PMD_KV_EXTERNAL_GE_COMMON_API_ERROR_CODES_H_
