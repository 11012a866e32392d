// Layer actors: threads that wait at the ends of channels.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/spin.hpp>
#include <passel/export.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace passel::inline v0::detail {

/// One blocked call, on the stack of the thread that made it. It waits at one channel end (send,
/// recv) or at several (select) and is settled exactly once: by whoever makes one of them ready, or
/// by the caller itself.
class PASSEL_API Parker {
 public:
  enum : std::uint32_t {
    waiting = 0,
    asleep,     ///< waiting, and a wake-up is needed
    claimed,    ///< somebody is moving an item to or from this call and settles it at once
    cancelled,  ///< by the caller: time is up, or it saw something to do
    closed,     ///< an end that it waits at was closed
    first_case  ///< settled by the end with the number `outcome - first_case`
  };

  Parker() = default;
  Parker(const Parker&) = delete;
  Parker& operator=(const Parker&) = delete;

  /// For the other side. What became of an attempt to settle somebody's call.
  enum class Claim { lost, got, got_asleep };
  /// Settles the call with `outcome`, unless another was quicker.
  Claim settle(std::uint32_t outcome) noexcept;
  /// Wakes the call's thread after `got_asleep`. The call may have ended meanwhile: only its
  /// address is used, and a wake-up too many does no harm.
  static void wake(const std::atomic<std::uint32_t>& state) noexcept;
  /// After `settle(claimed)`: the item has been moved.
  void finish(std::uint32_t outcome) noexcept { state_.store(outcome, std::memory_order_release); }

  /// For the caller. False when somebody has settled the call already.
  bool cancel() noexcept { return settle(cancelled) != Claim::lost; }
  [[nodiscard]] bool settled() const noexcept {
    return state_.load(std::memory_order_acquire) > asleep;
  }
  /// Sleeps until the call is settled; at the deadline cancels it. Returns the outcome.
  std::uint32_t wait(Deadline deadline) noexcept;

  [[nodiscard]] const std::atomic<std::uint32_t>& state() const noexcept { return state_; }

 private:
  std::atomic<std::uint32_t> state_{waiting};
};

/// The place of a blocked call in the line of one channel end.
struct Waiter {
  Parker* parker = nullptr;
  std::uint32_t outcome = Parker::first_case;
  /// Where an item is handed over without a buffer: a T* to send from, an optional<T>* to fill.
  void* slot = nullptr;
  Waiter* next = nullptr;
  Waiter* previous = nullptr;
  bool listed = false;
};

/// A line of waiters, first come first served. Its owner's lock guards it.
class PASSEL_API WaiterChain {
 public:
  void append(Waiter& waiter) noexcept;
  void unlink(Waiter& waiter) noexcept;
  [[nodiscard]] Waiter* front() const noexcept { return first_; }

 private:
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

/// The line of one end of a buffered channel. Being woken is a hint to try again: the call that is
/// settled may find that another thread was quicker, and comes back.
///
/// Nothing is missed because a waiter first enters the line and then looks at the buffer, and the
/// other side first changes the buffer and then looks at the line, all of it sequentially
/// consistent.
class PASSEL_API WaitList {
 public:
  void add(Waiter& waiter);
  void remove(Waiter& waiter);
  /// Wakes the waiter that has waited longest. A plain load when nobody waits.
  void notify_one() {
    if (occupied_.load(std::memory_order_seq_cst)) notify_waiting();
  }
  /// Settles all waiting calls with Parker::closed.
  void notify_closed();

 private:
  void notify_waiting();

  std::atomic<bool> occupied_{false};
  std::mutex mutex_;
  WaiterChain chain_;
};

}  // namespace passel::inline v0::detail
