// Keys and groups of nodes.
#ifndef PMD_AF_PS_BASE_H_
#define PMD_AF_PS_BASE_H_

#include <cstdint>
#include <limits>

#include "ps/internal/utils.h"

namespace ps {

using Key = uint64_t;
static const Key kMaxKey = std::numeric_limits<Key>::max();

// Groups of nodes; they add up to larger ones.
static const int kScheduler = 1;
static const int kServerGroup = 2;
static const int kWorkerGroup = 4;

}  // namespace ps

#endif  // PMD_AF_PS_BASE_H_
