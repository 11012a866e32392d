// Layer sync: refuses what a former holder of a lock still wants to write.
#include <passel/fence_gate.hpp>

#include <string>

namespace passel::inline v0 {

Result<void> FenceGate::admit_locked(std::uint64_t token) {
  if (token < newest_) {
    return Error{Errc::refused, "token " + std::to_string(token) + " is older than " +
                                    std::to_string(newest_) + ", which was seen before"};
  }
  newest_ = token;
  return {};
}

Result<void> FenceGate::admit(std::uint64_t token) {
  const std::lock_guard lock{mutex_};
  return admit_locked(token);
}

std::uint64_t FenceGate::newest() const {
  const std::lock_guard lock{mutex_};
  return newest_;
}

}  // namespace passel::inline v0
