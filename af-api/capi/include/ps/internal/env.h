// Settings as StepMesh's programs read them: what was set in the program first, then the process's environment.
#ifndef PMD_AF_PS_INTERNAL_ENV_H_
#define PMD_AF_PS_INTERNAL_ENV_H_

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace ps {

class Environment {
 public:
  static Environment *Get() { return _GetSharedRef().get(); }

  static std::shared_ptr<Environment> _GetSharedRef() {
    static std::shared_ptr<Environment> only(new Environment());
    return only;
  }

  // Replaces what was set in the program.
  static Environment *Init(const std::unordered_map<std::string, std::string> &values) {
    Environment *environment = Get();
    std::lock_guard<std::mutex> lock(environment->mutex_);
    environment->values_ = std::map<std::string, std::string>(values.begin(), values.end());
    return environment;
  }

  // NULL where the variable is not set. Valid until the variable is set again.
  const char *find(const char *name) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = values_.find(name);
    return found == values_.end() ? std::getenv(name) : found->second.c_str();
  }

  // 0, and the variable's number in `value`; -1, and the other in `value`, where it is not set.
  int find(const char *name, int *value, int otherwise = -1) {
    const char *text = find(name);
    *value = text == nullptr ? otherwise : std::atoi(text);
    return text == nullptr ? -1 : 0;
  }

  std::string find(const char *name, std::string &otherwise) {
    const char *text = find(name);
    return text == nullptr ? otherwise : text;
  }

  void set(const char *name, const std::string &value) {
    std::lock_guard<std::mutex> lock(mutex_);
    values_[name] = value;
  }

  // What was set in the program.
  std::map<std::string, std::string> Overrides() {
    std::lock_guard<std::mutex> lock(mutex_);
    return values_;
  }

 private:
  Environment() = default;

  std::mutex mutex_;
  std::map<std::string, std::string> values_;
};

template <typename V>
inline V GetEnv(const char *name, V otherwise) {
  const char *text = Environment::Get()->find(name);
  return text == nullptr ? otherwise : V(text);
}

inline int GetEnv(const char *name, int otherwise) {
  int value = otherwise;
  Environment::Get()->find(name, &value, otherwise);
  return value;
}

}  // namespace ps

#endif  // PMD_AF_PS_INTERNAL_ENV_H_
