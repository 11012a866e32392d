// Layer sync: refuses what a former holder of a lock still wants to write.
#pragma once

#include <passel/export.hpp>
#include <passel/result.hpp>

#include <cstdint>
#include <functional>
#include <mutex>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

/// Stands before something that only the holder of a lock may change, where the lock itself cannot
/// stop a former holder: one that was paused while its lock went on to the next. Every grant of a
/// lock carries a token that is larger than all before it (Guard::token); the gate refuses a token
/// older than the newest it has seen.
///
///     passel::FenceGate gate;                                   // beside the file it protects
///     auto done = gate.write(guard.token(), [&] { file << line; });
///     if (done.is_err()) ...                                    // somebody newer has written
///
/// Belongs to the process that keeps what is protected. Safe from any thread.
class PASSEL_API FenceGate {
 public:
  /// Lets a token pass that is as new as the newest so far, and remembers it. Never waits, apart
  /// from a write() that is going on. Errors: refused, with both tokens.
  [[nodiscard]] Result<void> admit(std::uint64_t token);
  /// admit(token), then `f()`, with nobody between the two: an older write never comes behind a
  /// newer one. Other calls wait until `f` has returned; it must not use this gate. Returns what
  /// `f` returned. Errors: refused, and `f` is not called; those of `f` when it returns a Result.
  template <class F>
  auto write(std::uint64_t token, F&& f);
  /// The newest token that has passed; 0 before the first.
  [[nodiscard]] std::uint64_t newest() const;

 private:
  [[nodiscard]] Result<void> admit_locked(std::uint64_t token);

  mutable std::mutex mutex_;
  std::uint64_t newest_ = 0;
};

template <class F>
auto FenceGate::write(std::uint64_t token, F&& f) {
  using Returned = std::invoke_result_t<F>;
  if constexpr (detail::is_result<std::remove_cvref_t<Returned>>) {
    const std::lock_guard lock{mutex_};
    auto admitted = admit_locked(token);
    if (!admitted) return std::remove_cvref_t<Returned>{admitted.error()};
    return std::invoke(std::forward<F>(f));
  } else {
    return write(token, [&]() -> Result<std::remove_cvref_t<Returned>> {
      if constexpr (std::is_void_v<Returned>) {
        std::invoke(std::forward<F>(f));
        return {};
      } else {
        return std::invoke(std::forward<F>(f));
      }
    });
  }
}

}  // namespace passel::inline v0
