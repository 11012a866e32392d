// Layer sync: the machine behind Condition: who waits to be notified, and whose turn it is.
#pragma once

#include "permit_machine.hpp"
#include "turn_marks.hpp"

namespace passel::inline v0::detail {

/// The state of a condition in shared memory.
struct alignas(64) ConditionState {
  std::uint32_t lock;                  ///< chunk of its lock, in the same arena
  std::uint32_t serial;                ///< of that object
  std::atomic<std::uint32_t> waiting;  ///< at least as many as stand in line
  TurnMarks turns;                     ///< who waited or notified last; with the lock held
};

/// Rules, with the line of the condition locked, and for Notify that of its lock, too. A waiter
/// that is notified goes from the one line to the other without being woken: the release of the
/// lock does that.
class ConditionMachine {
 public:
  using Action = Wake;
  using Actions = WakeList;
  using Time = PermitMachine::Time;

  ConditionMachine(SyncArena& arena, ObjectHeader& condition, ObjectHeader& lock) noexcept
      : arena_{arena},
        chunk_{arena.chunk_of(condition)},
        line_{arena, condition},
        state_{*reinterpret_cast<ConditionState*>(SyncArena::state_of(condition))},
        permits_{arena, lock} {}

  /// A waiter comes; it releases the lock afterwards.
  struct Arrive {
    std::uint32_t waiter;
  };
  /// That many are to go on, or all if they are fewer.
  struct Notify {
    std::size_t count;
  };
  /// A waiter gives up, unless it was notified before: then `was_waiting` says false.
  struct Leave {
    std::uint32_t waiter;
    bool* was_waiting;
  };
  /// A process is gone.
  struct Lost {
    std::uint32_t place;
  };
  void step(const Arrive& event, Time now, Actions& actions);
  void step(const Notify& event, Time now, Actions& actions);
  void step(const Leave& event, Time now, Actions& actions);
  void step(const Lost& event, Time now, Actions& actions);

  /// Somebody died while the line was being changed.
  void rebuild() noexcept;

  [[nodiscard]] std::size_t waiting() const noexcept { return line_.length(); }

 private:
  SyncArena& arena_;
  std::uint32_t chunk_;
  void leave_line(std::uint32_t number) noexcept;

  Line line_;
  ConditionState& state_;
  PermitMachine permits_;
};

}  // namespace passel::inline v0::detail
