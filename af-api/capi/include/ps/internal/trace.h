// When the phases of a request, or of its response, were: nanoseconds of the monotonic clock, 0 for what did not happen.
#ifndef PMD_AF_PS_INTERNAL_TRACE_H_
#define PMD_AF_PS_INTERNAL_TRACE_H_

#include <cstdint>

namespace ps {

struct Trace {
  uint64_t pre_start = 0;
  // What was computed before is done.
  uint64_t start = 0;
  uint64_t postsend = 0;
  uint64_t postrecv = 0;
  uint64_t process = 0;
};

}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_TRACE_H_
