// StepMesh's headers over libpmd_af: starting and ending, and what a process is.
#ifndef PMD_AF_PS_PS_H_
#define PMD_AF_PS_PS_H_

#include <functional>
#include <string>

#include "ps/af_tensor_app.h"
#include "ps/base.h"
#include "ps/internal/backend.h"
#include "ps/internal/postoffice.h"
#include "ps/kv_app.h"
#include "ps/simple_app.h"

namespace ps {

inline int NumWorkers() { return Postoffice::Get()->num_workers(); }
inline int NumServers() { return Postoffice::Get()->num_servers(); }
inline bool IsServer() { return Postoffice::Get()->is_server() != 0; }
inline bool IsScheduler() { return Postoffice::Get()->is_scheduler() != 0; }

// The number of this process's group among those of its role.
inline int MyRank() { return Postoffice::Get()->my_rank() / Postoffice::Get()->group_size(); }

inline Node::Role GetRole(const std::string &role) {
  if (role == "worker") {
    return Node::WORKER;
  }
  if (role == "server") {
    return Node::SERVER;
  }
  if (role == "joint") {
    return Node::JOINT;
  }
  PS_CHECK(role == "scheduler") << "there is no role " << role << ": give worker, server, scheduler or joint";
  return Node::SCHEDULER;
}

// Takes this process's place in the cluster that the environment (or ps::Environment) describes, and waits until every
// place is taken. `rank` is among all instances of the role; -1: as the environment says. The first and the last two
// arguments are there because programs give them: whoever starts waits for the others in any case.
inline void StartPS(int, Node::Role role, int rank, bool, const char * = nullptr) {
  if (role != Node::SCHEDULER) {
    Backend::Get()->SetDevice(GetEnv("STEPMESH_GPU", 0));
  }
  StartProcess(role, rank);
}

// Gives the place back; with `do_barrier` when every node does. Then what RegisterExitCallback was given is called.
inline void Finalize(int, Node::Role, const bool do_barrier = true) { FinalizeProcess(do_barrier); }

inline void RegisterExitCallback(const std::function<void()> &callback) {
  Postoffice::Get()->RegisterExitCallback(callback);
}

inline int GetNodeRank() { return GetEnv("DMLC_NODE_RANK", -1); }
inline int GetGroupSize() { return GetEnv("DMLC_GROUP_SIZE", 1); }
inline int GetGpuId() { return GetEnv("STEPMESH_GPU", 0); }

}  // namespace ps

#endif  // PMD_AF_PS_PS_H_
