// A client reads an integer of a server's device into its own host memory, changes it, and writes it back.
//
//   g++ -std=c++17 client_server_h2d.cpp $(pkg-config --cflags --libs pmd_kv) -lascendcl -o client_server_h2d
//   ./client_server_h2d server 127.0.0.1:16000 16001 &
//   ./client_server_h2d client 127.0.0.1:16000 16001
#include "engine.h"

namespace {
constexpr int32_t kBefore = 1;
constexpr int32_t kAfter = 2;

void RunServer(const char *name, uint16_t signal_port) {
  hixl::Hixl engine;
  RequireDone(engine.Initialize(name, {}), "Initialize");
  DeviceMemory memory(sizeof(int32_t));
  memory.Write(&kBefore, sizeof(kBefore));
  const hixl::MemHandle handle = memory.Register(engine);

  SignalSocket client;
  Require(client.Accept(signal_port), "waiting for the client");
  const uintptr_t address = memory.address();
  Require(client.SendBytes(&address, sizeof(address)), "telling the client the address");
  Require(client.Expect('d'), "waiting until the client is done");

  int32_t found = 0;
  memory.Read(&found, sizeof(found));
  Require(found == kAfter, "the client's write");
  std::printf("the device holds %d\n", found);
  RequireDone(engine.DeregisterMem(handle), "DeregisterMem");
  engine.Finalize();
}

void RunClient(const char *server, uint16_t signal_port) {
  hixl::Hixl engine;
  RequireDone(engine.Initialize("127.0.0.1", {}), "Initialize");
  int32_t value = 0;
  hixl::MemDesc desc{};
  desc.addr = reinterpret_cast<uintptr_t>(&value);
  desc.len = sizeof(value);
  hixl::MemHandle handle = nullptr;
  RequireDone(engine.RegisterMem(desc, hixl::MEM_HOST, handle), "RegisterMem");

  SignalSocket signals;
  Require(signals.Connect("127.0.0.1", signal_port), "reaching the server");
  uintptr_t remote = 0;
  Require(signals.ReceiveBytes(&remote, sizeof(remote)), "waiting for the address");
  RequireDone(engine.Connect(server, kTimeoutMillis), "Connect");

  const std::vector<hixl::TransferOpDesc> whole = {{desc.addr, remote, sizeof(value)}};
  RequireDone(engine.TransferSync(server, hixl::READ, whole, kTimeoutMillis), "TransferSync READ");
  Require(value == kBefore, "the read");
  std::printf("read %d\n", value);
  value = kAfter;
  RequireDone(engine.TransferSync(server, hixl::WRITE, whole, kTimeoutMillis), "TransferSync WRITE");

  RequireDone(engine.Disconnect(server, kTimeoutMillis), "Disconnect");
  RequireDone(engine.DeregisterMem(handle), "DeregisterMem");
  engine.Finalize();
  Require(signals.Send('d'), "telling the server");
}
}  // namespace

int main(int argc, char **argv) {
  const bool is_server = argc == 4 && std::strcmp(argv[1], "server") == 0;
  if (!is_server && !(argc == 4 && std::strcmp(argv[1], "client") == 0)) {
    std::fprintf(stderr, "usage: %s server|client SERVER_IP:PORT SIGNAL_PORT\n", argv[0]);
    return 2;
  }
  const auto signal_port = static_cast<uint16_t>(std::atoi(argv[3]));
  is_server ? RunServer(argv[2], signal_port) : RunClient(argv[2], signal_port);
  return 0;
}
