// Layer sync: those who wait for a permit or an event without a thread of their own.
#pragma once

#include "permits.hpp"

#include <map>
#include <memory>
#include <mutex>

namespace passel::inline v0::detail {

/// The asynchronous waits of this process in one arena. While there are any, a thread sleeps on the
/// bell of this process's place, and answers whoever was granted something. Safe from any thread.
class AsyncWaits : public std::enable_shared_from_this<AsyncWaits> {
 public:
  explicit AsyncWaits(std::uint32_t place) noexcept : place_{place} {}

  /// Enters a wait for `object`; `done` is called once, unless it is cancelled. Errors go to
  /// `done`, and 0 comes back. With a `condition` it waits in that one's line first, to be
  /// notified.
  std::uint64_t add(const std::shared_ptr<SyncObject>& object, PermitCallback done,
                    std::shared_ptr<SyncObject> condition = nullptr);
  /// True when the wait was still there; a grant that it had got goes back.
  bool cancel(std::uint64_t number);

 private:
  struct Wait {
    std::shared_ptr<SyncObject> object;
    std::shared_ptr<SyncObject> condition;
    std::uint32_t waiter = nobody;
    PermitCallback done;
  };

  void run(const std::shared_ptr<SyncArena>& arena);
  /// `mutex_` is held.
  [[nodiscard]] std::map<std::uint64_t, Wait> take_granted();

  const std::uint32_t place_;
  std::mutex mutex_;
  std::map<std::uint64_t, Wait> waits_;
  std::uint64_t next_ = 1;
  bool runs_ = false;
};

}  // namespace passel::inline v0::detail
