// How the two processes of an example wait for each other: single letters over a TCP connection.
#ifndef PMD_KV_EXAMPLES_SIGNAL_SOCKET_H_
#define PMD_KV_EXAMPLES_SIGNAL_SOCKET_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>

class SignalSocket {
 public:
  SignalSocket() = default;
  ~SignalSocket() {
    if (socket_ >= 0) {
      (void)close(socket_);
    }
  }
  SignalSocket(const SignalSocket &) = delete;
  SignalSocket &operator=(const SignalSocket &) = delete;

  // Waits for the other process on a port of this host.
  bool Accept(uint16_t port) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0) {
      return false;
    }
    const int yes = 1;
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    SetPatience(listener);
    const sockaddr_in address = Address(htonl(INADDR_ANY), port);
    if (bind(listener, reinterpret_cast<const sockaddr *>(&address), sizeof(address)) == 0 &&
        listen(listener, 1) == 0) {
      socket_ = accept(listener, nullptr, nullptr);
    }
    (void)close(listener);
    SetPatience(socket_);
    return socket_ >= 0;
  }

  // Connects to the other process, which may not be there yet.
  bool Connect(const char *ip, uint16_t port) {
    in_addr parsed = {};
    if (inet_pton(AF_INET, ip, &parsed) != 1) {
      return false;
    }
    const sockaddr_in address = Address(parsed.s_addr, port);
    for (int attempt = 0; attempt < kPatienceSeconds * 50; ++attempt) {
      socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
      if (connect(socket_, reinterpret_cast<const sockaddr *>(&address), sizeof(address)) == 0) {
        SetPatience(socket_);
        return true;
      }
      (void)close(socket_);
      socket_ = -1;
      (void)usleep(20000);
    }
    return false;
  }

  bool Send(char letter) { return SendBytes(&letter, 1); }

  // Waits for that letter; anything else, or none for half a minute, is false.
  bool Expect(char letter) {
    char found = 0;
    return ReceiveBytes(&found, 1) && found == letter;
  }

  bool SendBytes(const void *bytes, size_t length) {
    return send(socket_, bytes, length, MSG_NOSIGNAL) == static_cast<ssize_t>(length);
  }

  bool ReceiveBytes(void *bytes, size_t length) {
    return recv(socket_, bytes, length, MSG_WAITALL) == static_cast<ssize_t>(length);
  }

 private:
  static constexpr int kPatienceSeconds = 30;

  static sockaddr_in Address(in_addr_t ip, uint16_t port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = ip;
    return address;
  }

  static void SetPatience(int socket) {
    const timeval patience = {kPatienceSeconds, 0};
    (void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }

  int socket_ = -1;
};

#endif  // PMD_KV_EXAMPLES_SIGNAL_SOCKET_H_
