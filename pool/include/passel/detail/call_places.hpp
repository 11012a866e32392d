// Layer pool: how many calls may be unanswered at a time, and who waits until one is answered.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>

namespace passel::inline v0::detail {

/// Counts the calls of one pool or executor (`max_pending`). A task that waits for a place lends
/// its own, as for a future. Safe from any thread.
class PASSEL_API CallPlaces {
 public:
  /// 0: any number.
  explicit CallPlaces(std::size_t most) noexcept : most_{most} {}

  [[nodiscard]] bool are_bounded() const noexcept { return most_ != 0; }
  /// One call more, when there is a place, or nobody need wait any longer. Errors, and then it does
  /// not count: full (the deadline is "try"), timeout.
  [[nodiscard]] Result<void> enter(Deadline deadline);
  /// The same for a thread that must not wait for a place: others wait for it.
  void enter_at_once();
  void leave() noexcept;
  /// No more calls: whoever waits for a place gets it.
  void close();
  /// Waits until no call is left, and says how many are.
  [[nodiscard]] std::size_t drain(Deadline deadline);

 private:
  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t taken_ = 0;
  bool closed_ = false;
};

struct LeavePlace {
  void operator()(CallPlaces* places) const noexcept { places->leave(); }
};
/// One call that counts until this goes; nothing where any number may be unanswered.
using CallPlace = std::unique_ptr<CallPlaces, LeavePlace>;

}  // namespace passel::inline v0::detail
