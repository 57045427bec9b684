// Caches and messages of a C program in memory of an NPU, by the native interface and KVTrans'. Run by the suite `capi` on
// the stand-in for ACL, which lets nobody but its streams touch the memory.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "acl/acl.h"
#include "pmd_kv.h"

namespace {
constexpr uint64_t kPatience = 30000;
constexpr uint32_t kBlocks = 8;
constexpr size_t kBlock = 4096;
constexpr size_t kTensor = kBlocks * kBlock;
const pmd_kv_layout kLayout = {1, 2, kBlocks, kBlock, nullptr};

using Bytes = std::vector<unsigned char>;

void Require(bool fact, const char *what) {
  if (!fact) {
    std::fprintf(stderr, "not so: %s (%s)\n", what, pmd_kv_last_error());
    std::exit(1);
  }
}

void Done(pmd_kv_status status, const char *what) { Require(status == PMD_KV_STATUS_OK, what); }

Bytes Pattern(unsigned seed) {
  Bytes bytes(kTensor);
  for (size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<unsigned char>(at / 64 + seed * 7 + at);
  return bytes;
}

// One tensor on the device.
struct Memory {
  void *address = nullptr;

  explicit Memory(const Bytes &bytes) {
    Require(aclrtMalloc(&address, bytes.size(), ACL_MEM_MALLOC_HUGE_FIRST) == ACL_SUCCESS, "memory on the device");
    const auto kind = ACL_MEMCPY_HOST_TO_DEVICE;
    Require(aclrtMemcpy(address, bytes.size(), bytes.data(), bytes.size(), kind) == ACL_SUCCESS, "a copy there");
  }
  Memory(const Memory &) = delete;
  ~Memory() { Require(aclrtFree(address) == ACL_SUCCESS, "freeing"); }

  Bytes Read() const {
    Bytes bytes(kTensor);
    const auto kind = ACL_MEMCPY_DEVICE_TO_HOST;
    Require(aclrtMemcpy(bytes.data(), kTensor, address, kTensor, kind) == ACL_SUCCESS, "a copy back");
    return bytes;
  }
};

pmd_kv_engine *Open(const char *listen, const char *accelerators) {
  pmd_kv_engine_options options = {};
  options.listen = listen;
  options.transport = "shm";
  options.accelerators = accelerators;
  pmd_kv_engine *engine = nullptr;
  Done(pmd_kv_engine_open(&options, &engine), "opening an engine");
  return engine;
}

pmd_kv_status Register(pmd_kv_engine *engine, void *first, void *second, pmd_kv_cache **cache) {
  const pmd_kv_tensor_run runs[] = {{first, 0, kBlock, 1}, {second, 0, kBlock, 1}};
  return pmd_kv_cache_register(engine, "cache", &kLayout, runs, 2, cache);
}

void Caches() {
  const Bytes keys = Pattern(1), values = Pattern(2), nothing(kTensor);
  Memory source[] = {Memory(keys), Memory(values)}, target[] = {Memory(nothing), Memory(nothing)};
  pmd_kv_engine *prefill = Open("127.0.0.1:0", "fake-ascend:0"), *decode = Open(nullptr, "fake-ascend:0");
  pmd_kv_cache *from = nullptr, *to = nullptr;
  Done(Register(prefill, source[0].address, source[1].address, &from), "registering");
  Done(Register(decode, target[0].address, target[1].address, &to), "registering");
  void *block = nullptr;
  Done(pmd_kv_cache_block(to, 1, 2, &block), "a block's address");
  Require(block == static_cast<char *>(target[1].address) + 2 * kBlock, "where the block is");

  char address[64];
  Done(pmd_kv_engine_address(prefill, address, sizeof address, nullptr), "the address");
  pmd_kv_peer *peer = nullptr;
  Done(pmd_kv_engine_connect(decode, address, &peer), "connecting");
  pmd_kv_remote_cache *remote = nullptr;
  Done(pmd_kv_remote_cache_open(decode, peer, "cache", kPatience, &remote), "looking up");
  const uint32_t there[] = {1, 4}, here[] = {6, 0};
  pmd_kv_selection selection = {};
  selection.source = there;
  selection.destination = here;
  selection.count = 2;
  pmd_kv_transfer *transfer = nullptr;
  Done(pmd_kv_pull(remote, to, &selection, nullptr, &transfer), "pulling");
  uint64_t bytes = 0;
  Done(pmd_kv_transfer_wait(transfer, kPatience, &bytes), "the pull");
  Require(bytes == 4 * kBlock, "its bytes");
  for (int tensor = 0; tensor < 2; ++tensor) {
    const Bytes found = target[tensor].Read(), &wanted = tensor == 0 ? keys : values;
    for (uint32_t number = 0; number < kBlocks; ++number) {
      const unsigned char *origin = number == 6 ? &wanted[1 * kBlock] : number == 0 ? &wanted[4 * kBlock] : &nothing[0];
      Require(std::memcmp(&found[number * kBlock], origin, kBlock) == 0, "every block");
    }
  }

  // What is not the device's alone is refused; an engine without accelerators refuses the device's.
  pmd_kv_cache *none = nullptr;
  Bytes host(kTensor);
  Require(Register(decode, target[0].address, host.data(), &none) == PMD_KV_STATUS_INVALID_ARGUMENT, "a mixed cache");
  pmd_kv_engine *plain = Open(nullptr, "");
  Require(Register(plain, target[0].address, target[1].address, &none) == PMD_KV_STATUS_MEMORY, "without a device");
  Done(pmd_kv_transfer_release(transfer), "releasing");
  Done(pmd_kv_remote_cache_release(remote), "releasing");
  Done(pmd_kv_cache_release(to), "releasing");
  Bytes other(kTensor);
  for (pmd_kv_engine *engine : {plain, decode}) {
    pmd_kv_cache *own = nullptr;
    Done(Register(engine, host.data(), other.data(), &own), "memory of the host, as ever");
    Done(pmd_kv_cache_release(own), "releasing it");
  }
  Done(pmd_kv_peer_release(peer), "releasing");
  Done(pmd_kv_cache_release(from), "releasing");
  for (pmd_kv_engine *engine : {plain, decode, prefill}) Done(pmd_kv_engine_close(engine), "closing");
}

void Messages() {
  const Bytes content = Pattern(3);
  Memory source(content), target((Bytes(kTensor)));
  pmd_kvtrans *sender = nullptr, *receiver = nullptr;
  Done(pmd_kvtrans_open("lo", 1, 1, 0, &sender), "opening");
  Done(pmd_kvtrans_open("lo", 1, 1, 0, &receiver), "opening");
  char address[64];
  Done(pmd_kvtrans_address(receiver, address, sizeof address, nullptr), "the address");
  uint64_t out = 0, back = 0;
  const auto port = static_cast<uint16_t>(std::atoi(std::strrchr(address, ':') + 1));
  Done(pmd_kvtrans_connect(sender, "127.0.0.1", port, &out), "connecting");
  Done(pmd_kvtrans_accept(receiver, kPatience, &back, nullptr, 0, nullptr), "accepting");
  pmd_kvtrans_via from = {}, to = {};
  Done(pmd_kvtrans_reg_kv(sender, out, source.address, kTensor, &from.number), "registering");
  Done(pmd_kvtrans_reg_kv(receiver, back, target.address, kTensor, &to.number), "registering");
  pmd_kvtrans_operation *receive = nullptr;
  Done(pmd_kvtrans_post_receive(receiver, to, nullptr, kTensor, kPatience, &receive), "receiving");
  Done(pmd_kvtrans_send_kv(sender, from, source.address, kTensor), "sending");
  uint64_t received = 0;
  Done(pmd_kvtrans_operation_wait(receive, kPatience, &received), "the receive");
  Require(received == kTensor && target.Read() == content, "what was sent");
  Done(pmd_kvtrans_operation_release(receive), "releasing");
  uint64_t number = 0;
  Require(pmd_kvtrans_reg_memory(receiver, target.address, size_t{1} << 30, &number) == PMD_KV_STATUS_INVALID_ARGUMENT, "beyond");
  Done(pmd_kvtrans_close(sender), "closing");
  Done(pmd_kvtrans_close(receiver), "closing");
}
}  // namespace

int main() {
  Require(aclInit(nullptr) == ACL_SUCCESS && aclrtSetDevice(0) == ACL_SUCCESS, "a device");
  Caches();
  Messages();
  std::puts("caches and messages are right");
  return 0;
}
