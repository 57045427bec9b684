// Checks and logs as StepMesh's programs write them. A check that does not hold throws dmlc::Error; logs go to the
// standard error stream, those of severity INFO from PS_VERBOSE=1 on.
#ifndef PMD_AF_DMLC_LOGGING_H_
#define PMD_AF_DMLC_LOGGING_H_

#include <ctime>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "ps/internal/env.h"

namespace dmlc {

// What went wrong, in a check of the program's or in this library.
struct Error : public std::runtime_error {
  explicit Error(const std::string &what) : std::runtime_error(what) {}
};

inline void InitLogging(const char *) {}

namespace detail {

inline int Verbosity() {
  static const int verbosity = ps::GetEnv("PS_VERBOSE", 0);
  return verbosity;
}

// "[12:00:00] worker 0 file.cc:7: ", as a line begins.
inline std::string Heading(const char *file, int line) {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  char clock[16] = "";
  std::strftime(clock, sizeof(clock), "%H:%M:%S", &local);
  const char *role = ps::Environment::Get()->find("DMLC_ROLE");
  const char *device = ps::Environment::Get()->find("STEPMESH_GPU");
  std::ostringstream heading;
  heading << '[' << clock << "] " << (role == nullptr ? "-" : role) << ' ' << (device == nullptr ? "-" : device)
          << ' ' << file << ':' << line << ": ";
  return heading.str();
}

// One line of the log, written when it is whole.
class Line {
 public:
  Line(const char *file, int line) { text_ << Heading(file, line); }

  ~Line() {
    text_ << '\n';
    std::cerr << text_.str();
  }

  Line(const Line &) = delete;
  Line &operator=(const Line &) = delete;

  std::ostream &stream() { return text_; }

 private:
  std::ostringstream text_;
};

// The text of a check that does not hold; throws when it is whole.
class Failure {
 public:
  Failure(const char *file, int line) { text_ << file << ':' << line << ": "; }

  ~Failure() noexcept(false) { throw Error(text_.str()); }

  Failure(const Failure &) = delete;
  Failure &operator=(const Failure &) = delete;

  std::ostream &stream() { return text_; }

 private:
  std::ostringstream text_;
};

// Makes both sides of ?: void; binds less tightly than << and more than ?:.
struct Voidify {
  void operator&(std::ostream &) {}
};

template <typename T>
inline T NotNull(T pointer, const char *expression, const char *file, int line) {
  if (pointer == nullptr) {
    Failure(file, line).stream() << "Check notnull: " << expression;
  }
  return pointer;
}

}  // namespace detail
}  // namespace dmlc

#define PS_CHECK(holds) \
  (holds) ? (void)0     \
          : dmlc::detail::Voidify() & dmlc::detail::Failure(__FILE__, __LINE__).stream() << "Check failed: " #holds " "
#define PS_CHECK_LT(x, y) PS_CHECK((x) < (y))
#define PS_CHECK_GT(x, y) PS_CHECK((x) > (y))
#define PS_CHECK_LE(x, y) PS_CHECK((x) <= (y))
#define PS_CHECK_GE(x, y) PS_CHECK((x) >= (y))
#define PS_CHECK_EQ(x, y) PS_CHECK((x) == (y))
#define PS_CHECK_NE(x, y) PS_CHECK((x) != (y))
#define PS_CHECK_NOTNULL(x) dmlc::detail::NotNull((x), #x, __FILE__, __LINE__)

#define PS_VLOG(level)                             \
  !((level) <= dmlc::detail::Verbosity()) ? (void)0 \
                                          : dmlc::detail::Voidify() & dmlc::detail::Line(__FILE__, __LINE__).stream()

#define PS_LOG_FATAL dmlc::detail::Failure(__FILE__, __LINE__).stream()
#define PS_LOG_ERROR PS_VLOG(0)
#define PS_LOG_WARNING PS_VLOG(0)
#define PS_LOG_INFO PS_VLOG(1)
#define PS_LOG_TRACE PS_VLOG(2)
#define PS_LOG_ALL PS_VLOG(3)
#define PS_LOG(severity) PS_LOG_##severity
#define LL PS_LOG(ERROR)

#endif  // PMD_AF_DMLC_LOGGING_H_
