// A process's place in the cluster, as StepMesh's programs see it.
//
// What differs: starting ends with an error that names who is missing, a minute after nobody came (StepMesh's has no
// bound); a barrier fails when a member that it waits for is down; GetDeadNodes knows at once.
#ifndef PMD_AF_PS_INTERNAL_POSTOFFICE_H_
#define PMD_AF_PS_INTERNAL_POSTOFFICE_H_

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "ps/base.h"
#include "ps/internal/message.h"
#include "ps/range.h"

namespace ps {

class Postoffice {
 public:
  using Callback = std::function<void()>;

  // The scheduler's, else the server's, else the worker's of this process.
  static Postoffice *Get() {
    if (State().scheduler != nullptr) {
      return State().scheduler;
    }
    Postoffice *only = State().server != nullptr ? State().server : State().worker;
    PS_CHECK(only != nullptr) << "call ps::StartPS() first";
    return only;
  }

  // The scheduler's where this process is that. A process has one instance: any number is that one.
  static Postoffice *GetServer(int = 0) {
    return Of(State().scheduler != nullptr ? State().scheduler : State().server, "server");
  }
  static Postoffice *GetWorker(int = 0) { return Of(State().worker, "worker"); }
  static Postoffice *GetScheduler() { return State().scheduler; }

  Postoffice(const Postoffice &) = delete;
  Postoffice &operator=(const Postoffice &) = delete;

  // Waits until one of each group has called it; those of the worker's and the server's groups, or of one of them.
  void Barrier(int customer_id, int node_group) { DoBarrier(customer_id, node_group, false); }

  // As Barrier, or for every instance.
  void DoBarrier(int, int node_group, bool instance_barrier) {
    const auto nodes = GetNodeIDs(node_group).size();
    if (nodes <= (instance_barrier ? 1U : static_cast<std::size_t>(group_size_))) {
      return;
    }
    const auto scope = instance_barrier ? PMD_AF_SCOPE_EVERYONE : PMD_AF_SCOPE_GROUPS;
    const auto roles = static_cast<uint32_t>(node_group);
    const char *name = instance_barrier ? "ps.instances" : "ps.groups";
    if (is_scheduler_) {
      detail::Require(pmd_af_scheduler_barrier(State().scheduler_handle, name, roles, scope, kForever), "barrier");
    } else {
      const uint32_t entering = is_worker_ ? PMD_AF_WORKERS : PMD_AF_SERVERS;
      detail::Require(pmd_af_node_barrier(State().node, name, roles, scope, entering, kForever), "barrier");
    }
  }

  // The identifiers of a group's instances, or the node itself.
  const std::vector<int> &GetNodeIDs(int node_id) const {
    const auto found = node_ids_.find(node_id);
    PS_CHECK(found != node_ids_.cend()) << "there is no node " << node_id;
    return found->second;
  }

  // Equal parts of all keys, one for each server group.
  const std::vector<Range> &GetServerKeyRanges() const { return key_ranges_; }

  // Those that are down. The argument is there because programs give it.
  std::vector<int> GetDeadNodes(int = 60) const {
    std::vector<int> dead;
    for (const pmd_af_member &member : Members()) {
      if (!member.up) {
        const int rank = static_cast<int>(member.rank);
        dead.push_back(member.role == PMD_AF_SERVERS ? ServerRankToID(rank) : WorkerRankToID(rank));
      }
    }
    return dead;
  }

  // Called once this postoffice has been finalised.
  void RegisterExitCallback(const Callback &callback) { exit_ = callback; }

  int GroupWorkerRankToInstanceID(int rank, int instance) const {
    return WorkerRankToID(rank * group_size_ + instance);
  }
  int GroupServerRankToInstanceID(int rank, int instance) const {
    return ServerRankToID(rank * group_size_ + instance);
  }
  int InstanceIDtoGroupRank(int id) const { return IDtoRank(id) / group_size_; }
  static int WorkerRankToID(int rank) { return rank * 2 + 9; }
  static int ServerRankToID(int rank) { return rank * 2 + 8; }
  static int IDtoRank(int id) { return std::max((id - 8) / 2, 0); }

  int group_size() const { return group_size_; }
  int num_workers() const { return num_workers_; }
  int num_servers() const { return num_servers_; }
  int num_worker_instances() const { return num_workers_ * group_size_; }
  int num_server_instances() const { return num_servers_ * group_size_; }
  // Among all instances of the role.
  int my_rank() const { return rank_; }
  int preferred_rank() const { return rank_; }
  int is_worker() const { return is_worker_; }
  int is_server() const { return is_server_; }
  int is_scheduler() const { return is_scheduler_; }
  bool is_recovery() const { return epoch_ > 1U; }
  int verbose() const { return dmlc::detail::Verbosity(); }
  std::string role_str() const { return is_worker_ ? "worker" : (is_server_ ? "server" : "scheduler"); }

  // Of the classes that stand on it; not for programs.
  static pmd_af_node *NodeHandle() {
    PS_CHECK(State().node != nullptr) << "call ps::StartPS() first, as a worker or a server";
    return State().node;
  }

 private:
  friend void StartProcess(Node::Role role, int rank);
  friend void FinalizeProcess(bool do_barrier);

  // As long as the clock can say.
  static constexpr uint64_t kForever = UINT64_MAX;

  // What this process is.
  struct Process {
    Postoffice *scheduler = nullptr;
    Postoffice *server = nullptr;
    Postoffice *worker = nullptr;
    pmd_af_scheduler *scheduler_handle = nullptr;
    pmd_af_node *node = nullptr;
  };

  static Process &State() {
    static Process process;
    return process;
  }

  static Postoffice *Of(Postoffice *postoffice, const char *role) {
    PS_CHECK(postoffice != nullptr) << "this process is no " << role << ", or ps::StartPS() was not called";
    return postoffice;
  }

  Postoffice(Node::Role role, const pmd_af_shape &shape, const pmd_af_member &member)
      : is_worker_(role == Node::WORKER),
        is_server_(role == Node::SERVER),
        is_scheduler_(role == Node::SCHEDULER),
        num_workers_(static_cast<int>(shape.workers)),
        num_servers_(static_cast<int>(shape.servers)),
        group_size_(static_cast<int>(shape.group_size)),
        rank_(static_cast<int>(member.rank)),
        epoch_(member.epoch) {
    for (int group = 1; group <= (kScheduler | kServerGroup | kWorkerGroup); ++group) {
      AddGroup(group);
    }
    for (int server = 0; server < num_servers_; ++server) {
      const Key part = kMaxKey / static_cast<Key>(num_servers_);
      key_ranges_.emplace_back(part * static_cast<Key>(server), part * (static_cast<Key>(server) + 1U));
    }
  }

  // The identifiers of a group, and each of them as a group of its own.
  void AddGroup(int group) {
    std::vector<int> &ids = node_ids_[group];
    for (int rank = 0; (group & kWorkerGroup) != 0 && rank < num_worker_instances(); ++rank) {
      ids.push_back(WorkerRankToID(rank));
    }
    for (int rank = 0; (group & kServerGroup) != 0 && rank < num_server_instances(); ++rank) {
      ids.push_back(ServerRankToID(rank));
    }
    if ((group & kScheduler) != 0) {
      ids.push_back(kScheduler);
    }
    for (const int id : std::vector<int>(ids)) {
      if (id != kScheduler) {
        node_ids_[id] = {id};
      }
    }
  }

  std::vector<pmd_af_member> Members() const {
    std::vector<pmd_af_member> members(static_cast<std::size_t>(num_worker_instances() + num_server_instances()));
    std::size_t count = 0;
    const auto status =
        is_scheduler_
            ? pmd_af_scheduler_members(State().scheduler_handle, members.data(), members.size(), &count)
            : pmd_af_node_members(State().node, members.data(), members.size(), &count);
    detail::Require(status, "members");
    members.resize(count);
    return members;
  }

  bool is_worker_;
  bool is_server_;
  bool is_scheduler_;
  int num_workers_;
  int num_servers_;
  int group_size_;
  int rank_;
  uint64_t epoch_;
  std::map<int, std::vector<int>> node_ids_;
  std::vector<Range> key_ranges_;
  Callback exit_;
};

// Of ps/ps.h: takes the place that the environment says, of one or two roles.
inline void StartProcess(Node::Role role, int rank) {
  Postoffice::Process &process = Postoffice::State();
  PS_CHECK(process.node == nullptr && process.scheduler_handle == nullptr) << "ps::StartPS() was called before";
  const std::map<std::string, std::string> overrides = Environment::Get()->Overrides();
  std::vector<pmd_af_variable> variables;
  for (const auto &variable : overrides) {
    variables.push_back(pmd_af_variable{variable.first.c_str(), variable.second.c_str()});
  }
  pmd_af_options options = {};
  pmd_af_options_clear(&options);
  options.variables = variables.data();
  options.variable_count = variables.size();
  options.rank = rank;
  pmd_af_shape shape = {};
  pmd_af_member member = {};
  if (role == Node::SCHEDULER) {
    options.roles = PMD_AF_SCHEDULER;
    detail::Require(pmd_af_scheduler_start(&options, &process.scheduler_handle), "starting the scheduler");
    detail::Require(pmd_af_scheduler_shape(process.scheduler_handle, &shape), "the cluster's shape");
    process.scheduler = new Postoffice(role, shape, member);
    return;
  }
  const bool serves = role != Node::WORKER;
  const bool works = role != Node::SERVER;
  options.roles = (serves ? PMD_AF_SERVERS : 0U) | (works ? PMD_AF_WORKERS : 0U);
  detail::Require(pmd_af_node_start(&options, &process.node), "starting the node");
  detail::Require(pmd_af_node_shape(process.node, &shape), "the cluster's shape");
  if (serves) {
    detail::Require(pmd_af_node_self(process.node, PMD_AF_SERVERS, &member), "the server's place");
    process.server = new Postoffice(Node::SERVER, shape, member);
  }
  if (works) {
    detail::Require(pmd_af_node_self(process.node, PMD_AF_WORKERS, &member), "the worker's place");
    process.worker = new Postoffice(Node::WORKER, shape, member);
  }
}

// Of ps/ps.h: gives the place back, and calls what was registered for that.
inline void FinalizeProcess(bool do_barrier) {
  Postoffice::Process &process = Postoffice::State();
  Postoffice *all[] = {process.scheduler, process.server, process.worker};
  std::string failed;
  if (do_barrier && process.scheduler_handle != nullptr) {
    // Whoever is gone is not waited for.
    (void)pmd_af_scheduler_wait_finished(process.scheduler_handle, Postoffice::kForever);
  } else if (do_barrier && process.node != nullptr) {
    const auto status = pmd_af_node_barrier(process.node, "ps.finalize", PMD_AF_SERVERS | PMD_AF_WORKERS,
                                            PMD_AF_SCOPE_EVERYONE, 0U, Postoffice::kForever);
    failed = status == PMD_AF_STATUS_OK ? "" : pmd_af_last_error();
  }
  for (Postoffice *postoffice : all) {
    if (postoffice != nullptr && postoffice->exit_) {
      postoffice->exit_();
    }
  }
  if (process.node != nullptr) {
    (void)pmd_af_node_leave(process.node, 10000U);
  }
  if (process.scheduler_handle != nullptr) {
    (void)pmd_af_scheduler_close(process.scheduler_handle);
  }
  for (Postoffice *postoffice : all) {
    delete postoffice;
  }
  process = Postoffice::Process();
  if (!failed.empty()) {
    PS_LOG(WARNING) << "finalised without the others: " << failed;
  }
}

}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_POSTOFFICE_H_
