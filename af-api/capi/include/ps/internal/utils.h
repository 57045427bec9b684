// Small things that StepMesh's programs use: settings, logs, the time, threads.
#ifndef PMD_AF_PS_INTERNAL_UTILS_H_
#define PMD_AF_PS_INTERNAL_UTILS_H_

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>

#include "dmlc/logging.h"
#include "pmd_af.h"
#include "ps/internal/env.h"

namespace ps {

#ifndef DISALLOW_COPY_AND_ASSIGN
#define DISALLOW_COPY_AND_ASSIGN(TypeName) \
  TypeName(const TypeName &) = delete;     \
  void operator=(const TypeName &) = delete
#endif

// Monotonic; the clock of traces. The argument is there because programs give it: the time is always told.
inline uint64_t GetNanosecond(bool = true) {
  std::timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000U + static_cast<uint64_t>(now.tv_nsec);
}

inline void RenameThread(const std::string &name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

namespace detail {
// Throws what the last call of this thread had to say.
inline void Require(pmd_af_status status, const char *what) {
  if (status != PMD_AF_STATUS_OK) {
    throw dmlc::Error(std::string(what) + ": " + pmd_af_last_error());
  }
}
}  // namespace detail

}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_UTILS_H_
