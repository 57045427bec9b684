// Two servers with two buffers on a device each. The one whose name is smaller writes its name into the other's first
// buffer; the other checks it, and reads the first one's second buffer.
//
//   g++ -std=c++17 server_server_d2d.cpp $(pkg-config --cflags --libs pmd_kv) -lascendcl -o server_server_d2d
//   ./server_server_d2d 127.0.0.1:16000 127.0.0.1:16001 16002 &
//   ./server_server_d2d 127.0.0.1:16001 127.0.0.1:16000 16002
#include "engine.h"

namespace {
constexpr size_t kBytes = 30;

// What a server tells the other: where its buffers are.
struct Addresses {
  uintptr_t first;
  uintptr_t second;
};

// What a server's second buffer holds: its name, from the right.
std::string Reversed(const std::string &name) { return std::string(name.rbegin(), name.rend()); }

std::string Text(const DeviceMemory &memory) {
  char text[kBytes] = {};
  memory.Read(text, kBytes);
  return std::string(text, strnlen(text, kBytes));
}

Addresses Exchange(SignalSocket &signals, const Addresses &ours) {
  Addresses theirs = {};
  Require(signals.SendBytes(&ours, sizeof(ours)), "telling the addresses");
  Require(signals.ReceiveBytes(&theirs, sizeof(theirs)), "waiting for the addresses");
  return theirs;
}

void Run(const std::string &name, const std::string &other, uint16_t signal_port) {
  const bool writes = name < other;
  hixl::Hixl engine;
  RequireDone(engine.Initialize(name.c_str(), {}), "Initialize");
  DeviceMemory first(kBytes);
  DeviceMemory second(kBytes);
  const std::string content = writes ? name : Reversed(name);
  first.Write(writes ? content.c_str() : "", writes ? content.size() : 0);
  second.Write(Reversed(name).c_str(), name.size());
  const hixl::MemHandle handles[] = {first.Register(engine), second.Register(engine)};

  SignalSocket signals;
  Require(writes ? signals.Accept(signal_port) : signals.Connect("127.0.0.1", signal_port), "meeting the other");
  const Addresses theirs = Exchange(signals, {first.address(), second.address()});
  RequireDone(engine.Connect(other.c_str(), kTimeoutMillis), "Connect");
  if (writes) {
    const std::vector<hixl::TransferOpDesc> whole = {{first.address(), theirs.first, kBytes}};
    RequireDone(engine.TransferSync(other.c_str(), hixl::WRITE, whole, kTimeoutMillis), "TransferSync WRITE");
    RequireDone(engine.SendNotify(other.c_str(), {"written", name.c_str()}, kTimeoutMillis), "SendNotify");
    Require(signals.Expect('d'), "waiting until the other is done");
  } else {
    std::vector<hixl::NotifyDesc> notifies;
    for (int attempt = 0; notifies.empty() && attempt < kTimeoutMillis; ++attempt) {
      RequireDone(engine.GetNotifies(notifies), "GetNotifies");
      (void)usleep(1000);
    }
    Require(notifies.size() == 1 && notifies[0].notify_msg == other.c_str(), "the notification");
    Require(Text(first) == other, "the other's write");
    const std::vector<hixl::TransferOpDesc> whole = {{second.address(), theirs.second, kBytes}};
    RequireDone(engine.TransferSync(other.c_str(), hixl::READ, whole, kTimeoutMillis), "TransferSync READ");
    Require(Text(second) == Reversed(other), "the read");
    std::printf("%s wrote its name, and its second buffer reads %s\n", other.c_str(), Text(second).c_str());
    Require(signals.Send('d'), "telling the other");
  }
  RequireDone(engine.Disconnect(other.c_str(), kTimeoutMillis), "Disconnect");
  for (const hixl::MemHandle handle : handles) {
    RequireDone(engine.DeregisterMem(handle), "DeregisterMem");
  }
  engine.Finalize();
}
}  // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s OWN_IP:PORT OTHER_IP:PORT SIGNAL_PORT\n", argv[0]);
    return 2;
  }
  Run(argv[1], argv[2], static_cast<uint16_t>(std::atoi(argv[3])));
  return 0;
}
