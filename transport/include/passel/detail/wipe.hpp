// Layer transport: bytes that nobody shall find in freed memory.
#pragma once

#include <string.h>

#include <cstddef>
#include <span>
#include <vector>

namespace passel::inline v0::detail {

/// Overwrites a secret that is needed no more; the compiler does not leave it out.
inline void wipe(std::span<std::byte> secret) noexcept {
  if (!secret.empty()) ::explicit_bzero(secret.data(), secret.size());
}

/// Does so at the end of a scope.
class WipedAtEnd {
 public:
  explicit WipedAtEnd(std::vector<std::byte>& secret) noexcept : secret_{secret} {}
  WipedAtEnd(const WipedAtEnd&) = delete;
  WipedAtEnd& operator=(const WipedAtEnd&) = delete;
  ~WipedAtEnd() { wipe(secret_); }

 private:
  std::vector<std::byte>& secret_;
};

}  // namespace passel::inline v0::detail
