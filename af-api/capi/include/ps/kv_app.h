// What StepMesh says of one tensor of a request.
#ifndef PMD_AF_PS_KV_APP_H_
#define PMD_AF_PS_KV_APP_H_

#include <cstdint>
#include <vector>

#include "ps/base.h"
#include "ps/internal/trace.h"
#include "ps/sarray.h"

namespace ps {

struct KVMeta {
  // A flag of a batch.
  int cmd = 0;
  bool push = false;
  int sender = 0;
  int timestamp = 0;
  int customer_id = 0;
  Key key = 0;
  uint64_t addr = 0;
  int val_len = 0;
  int option = 0;
  int is_tensor = 0;
  int dtype = 0;
  std::vector<int64_t> shape;
  Trace request_trace;
  Trace response_trace;
};

}  // namespace ps

#endif  // PMD_AF_PS_KV_APP_H_
