// Layer sync: the machine behind Event: one word that says whether it is set and who has to be
// woken.
#pragma once

#include "line.hpp"

#include <passel/detail/spin.hpp>

#include <atomic>
#include <cstdint>

namespace passel::inline v0::detail {

/// The state in shared memory. The word holds whether the event is set (bit 0), whether somebody
/// sleeps on it (bit 1; may say so when nobody does any more), and how often it was set. Setting it
/// and learning whether anybody has to be woken is one atomic operation, and whoever saw another
/// count has been set free, whatever became of bit 0 since.
struct alignas(64) EventState {
  std::atomic<std::uint32_t> word;
  std::atomic<std::uint32_t> futures;  ///< how many stand in line: waits without a thread
  CpuMark setter;                      ///< where it was set or cleared last
};
static_assert(sizeof(EventState) == 64);

/// A view; threads sleep on the word, futures stand in line.
class EventMachine {
 public:
  static constexpr std::uint32_t set_bit = 1;
  static constexpr std::uint32_t sleeper_bit = 2;
  static constexpr std::uint32_t one_set = 4;

  EventMachine(SyncArena& arena, ObjectHeader& header) noexcept
      : arena_{arena},
        line_{arena, header},
        state_{*reinterpret_cast<EventState*>(SyncArena::state_of(header))} {}

  // Without the lock.

  /// True when it was not set before and sleepers have to be woken.
  [[nodiscard]] bool set() noexcept;
  void clear() noexcept;
  /// Whether somebody who saw the word `seen`, unset, need not wait any more.
  [[nodiscard]] bool is_free(std::uint32_t seen) const noexcept {
    return is_set(word()) || word() / one_set != seen / one_set;
  }
  /// Announces a sleeper who saw `seen`; what the word is then, to be slept on unless it `is_free`.
  [[nodiscard]] std::uint32_t announce(std::uint32_t seen) noexcept;
  [[nodiscard]] static bool is_set(std::uint32_t word) noexcept { return (word & set_bit) != 0; }
  [[nodiscard]] std::uint32_t word() const noexcept {
    return state_.word.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool has_futures() const noexcept { return state_.futures.load() != 0; }
  [[nodiscard]] EventState& state() noexcept { return state_; }

  // With the lock.

  /// A future comes and stands in line; free at once when the event is set.
  void arrive(std::uint32_t number, WakeList& wakes);
  /// A future gives up. Nothing happens when it was set free before.
  void leave(std::uint32_t number);
  /// Sets free all futures that were there before the last set().
  void settle(WakeList& wakes);
  /// A process is gone.
  void lose(std::uint32_t place, WakeList& wakes);
  /// The line was being changed when somebody died.
  void rebuild(WakeList& wakes);

 private:
  SyncArena& arena_;
  Line line_;
  EventState& state_;
};

/// A future's waiter begins to wait for the event; free at once when it is set.
void stand_for_event(SyncObject& event, std::uint32_t number);
/// And gives up.
void leave_event(SyncObject& event, std::uint32_t number);
/// Sets free the futures that a set() has left to be told.
void settle_event(SyncObject& event);

}  // namespace passel::inline v0::detail
