// ps-lite's small requests over libpmd_af: an application asks nodes, and answers those that ask.
//
// What differs: an answer is given in the handler, not later; a request to somebody who is gone throws dmlc::Error.
#ifndef PMD_AF_PS_SIMPLE_APP_H_
#define PMD_AF_PS_SIMPLE_APP_H_

#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>

#include "ps/internal/postoffice.h"

namespace ps {

// A request, or the answer to one.
struct SimpleData {
  // The application's number and bytes.
  int head = 0;
  std::string body;
  // Identifier of who sent it.
  int sender = 0;
  // Number of the request at who asked.
  int timestamp = 0;
  int customer_id = 0;
};

// An application, known by its number to those of the same number at the other side.
class SimpleApp {
 public:
  using Handle = std::function<void(const SimpleData &received, SimpleApp *app)>;

  // The second number is there because programs give it.
  explicit SimpleApp(int app_id, int = 0) {
    const bool works = Postoffice::Get()->is_worker() != 0;
    const uint32_t role = works ? PMD_AF_WORKERS : PMD_AF_SERVERS;
    const auto opened = pmd_af_app_open(Postoffice::NodeHandle(), role, static_cast<uint32_t>(app_id), OnRequest,
                                        OnResponse, this, &app_);
    detail::Require(opened, "application");
  }

  // Waits for the handler, if one runs.
  virtual ~SimpleApp() { (void)pmd_af_app_close(app_); }

  SimpleApp(const SimpleApp &) = delete;
  SimpleApp &operator=(const SimpleApp &) = delete;

  // Asks a node, or all that are connected of kServerGroup or kWorkerGroup; a number for Wait.
  int Request(int head, const std::string &body, int receiver) {
    const bool group = receiver == kServerGroup || receiver == kWorkerGroup;
    const bool workers = group ? receiver == kWorkerGroup : receiver % 2 != 0;
    PS_CHECK(group || receiver >= 8) << "a request goes to workers, to servers, or to one of them";
    const int64_t rank = group ? -1 : Postoffice::IDtoRank(receiver);
    uint64_t timestamp = 0;
    const auto sent = pmd_af_app_request(app_, workers ? PMD_AF_WORKERS : PMD_AF_SERVERS, rank, head,
                                         reinterpret_cast<const uint8_t *>(body.data()), body.size(), &timestamp);
    detail::Require(sent, "request");
    return static_cast<int>(timestamp);
  }

  // Waits until everybody has answered and the handler of responses has returned. Throws dmlc::Error where somebody is gone,
  // or the time is over.
  void Wait(int timestamp, uint64_t timeout_ms = 10000) {
    detail::Require(pmd_af_app_wait(app_, static_cast<uint64_t>(timestamp), timeout_ms), "request");
  }

  // Answers the request that the handler was given, from the handler.
  void Response(const SimpleData &, const std::string &body = "") {
    PS_CHECK(reply_ != nullptr) << "answer in the handler of requests";
    detail::Require(pmd_af_reply_set(reply_, reinterpret_cast<const uint8_t *>(body.data()), body.size()), "response");
  }

  void set_request_handle(const Handle &handle) {
    std::lock_guard<std::mutex> lock(mutex_);
    on_request_ = handle;
  }
  void set_response_handle(const Handle &handle) {
    std::lock_guard<std::mutex> lock(mutex_);
    on_response_ = handle;
  }

 private:
  static void OnRequest(void *context, const pmd_af_app_message *request, pmd_af_reply *reply) {
    auto *app = static_cast<SimpleApp *>(context);
    app->reply_ = reply;
    app->Call(app->on_request_, *request);
    app->reply_ = nullptr;
  }

  static void OnResponse(void *context, const pmd_af_app_message *response) {
    auto *app = static_cast<SimpleApp *>(context);
    app->Call(app->on_response_, *response);
  }

  void Call(const Handle &known, const pmd_af_app_message &message) {
    Handle handle;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      handle = known;
    }
    const int rank = static_cast<int>(message.rank);
    SimpleData data;
    data.head = message.head;
    data.body.assign(reinterpret_cast<const char *>(message.body), message.length);
    data.sender = message.role == PMD_AF_WORKERS ? Postoffice::WorkerRankToID(rank) : Postoffice::ServerRankToID(rank);
    data.timestamp = static_cast<int>(message.timestamp);
    try {
      if (handle) {
        handle(data, this);
      }
    } catch (const std::exception &error) {
      PS_LOG(ERROR) << "a handler of an application threw: " << error.what();
    }
  }

  pmd_af_app *app_ = nullptr;
  // Of the request that is being handled, on the application's thread.
  pmd_af_reply *reply_ = nullptr;
  std::mutex mutex_;
  Handle on_request_;
  Handle on_response_;
};

}  // namespace ps

#endif  // PMD_AF_PS_SIMPLE_APP_H_
