// Layer sync: the machine behind Barrier: who is there, who is called, what breaks a round.
#pragma once

#include "line.hpp"
#include "turn_marks.hpp"

#include <passel/detail/deadline.hpp>
#include <passel/detail/guardian.hpp>

#include <atomic>
#include <cstdint>

namespace passel::inline v0::detail {

/// Where a barrier has got to. What takes several stores to do has a phase of its own, so that
/// whoever comes after a death in the middle knows what to finish.
enum BarrierPhase : std::uint32_t {
  barrier_filling = 0,
  barrier_acting = 1,     ///< all are there; one of them runs the action
  barrier_releasing = 2,  ///< those in line are being released
  barrier_broken = 3,     ///< those in line, if any, are being told
  barrier_resetting = 4,  ///< the same, and then it fills again
};

/// What becomes of one who waits, in Waiter::permit; all but the first are reasons of a break.
enum class BarrierEnd : std::uint32_t {
  released = 0,
  aborted,      ///< by the process named
  reset,        ///< by the process named
  timeout,      ///< of the process named
  failed,       ///< the action failed in the process named
  unreachable,  ///< the action can be called in the process named only, which was not there
  died,         ///< the process named
  ended,        ///< the process named, in order, while one of its threads waited
};

/// Who calls the action.
enum BarrierAction : std::uint32_t {
  action_none = 0,
  action_anywhere = 1,  ///< the last who comes: every process can make it again from `task`
  action_at_home = 2,   ///< one of the process at `home`, which alone has it
};

/// The state in shared memory. Those who wait stand in the object's line, in the order of their
/// coming; their threads sleep on `word`, all of them on the same.
struct alignas(64) BarrierState {
  std::atomic<std::uint32_t> word;     ///< whether somebody sleeps (bit 0), changes (the rest)
  std::atomic<std::uint32_t> phase;    ///< BarrierPhase
  std::atomic<std::uint32_t> waiting;  ///< how many stand in line
  std::uint32_t parties;
  std::uint32_t runner;       ///< the waiter that runs the action, while it does
  std::uint32_t action;       ///< BarrierAction
  std::uint32_t home;         ///< place of the process that made it
  std::int32_t home_pid;      ///< the same
  std::uint32_t task_module;  ///< of the action, see TaskId
  std::uint64_t task_offset;
  std::int64_t timeout_ns;               ///< of wait() without one; negative: none
  std::atomic<std::uint64_t> broken_by;  ///< BarrierEnd and, in the upper half, the process
  TurnMarks arrived;
};
static_assert(sizeof(BarrierState) <= 128);

/// How an arrival goes on.
enum class BarrierAnswer {
  wait,    ///< until the waiter is granted: its end is written there
  act,     ///< this one runs the action, then says how it went
  later,   ///< a full round is not over yet: come again when the word changes
  broken,  ///< it is broken: see `broken_by`
};

/// Rules, driven with the line of the object locked. No clock, no system call: a step answers with
/// whether those who sleep on the word have to be woken.
class BarrierMachine {
 public:
  struct WakeAll {};
  using Action = WakeAll;
  /// Needs no memory: a step is taken where nothing may fail.
  class Actions {
   public:
    void push_back(WakeAll) noexcept { any_ = true; }
    [[nodiscard]] bool empty() const noexcept { return !any_; }

   private:
    bool any_ = false;
  };
  using Time = Deadline::Clock::time_point;

  BarrierMachine(SyncArena& arena, ObjectHeader& header) noexcept
      : arena_{arena},
        line_{arena, header},
        state_{*reinterpret_cast<BarrierState*>(SyncArena::state_of(header))} {}

  /// A party comes. Its waiter stands in line afterwards where `answer` is wait or act.
  struct Arrive {
    std::uint32_t waiter;
    BarrierAnswer* answer;
  };
  /// The runner has run the action; nothing happens when the round broke meanwhile.
  struct Acted {
    std::uint32_t waiter;
    std::int32_t pid;
    bool failed;
  };
  /// A party's time is up: breaks the round, unless all are there already.
  struct Expire {
    std::uint32_t waiter;
    std::int32_t pid;
  };
  struct Abort {
    std::int32_t pid;
  };
  struct Reset {
    std::int32_t pid;
  };
  /// A process that held the barrier is gone.
  struct Lost {
    std::uint32_t place;
    std::int32_t pid;
    bool orderly;
  };
  void step(const Arrive& event, Time now, Actions& actions);
  void step(const Acted& event, Time now, Actions& actions);
  void step(const Expire& event, Time now, Actions& actions);
  void step(const Abort& event, Time now, Actions& actions);
  void step(const Reset& event, Time now, Actions& actions);
  void step(const Lost& event, Time now, Actions& actions);

  /// Somebody died within a step: finishes what it had begun.
  void rebuild(Actions& actions);

  [[nodiscard]] BarrierState& state() const noexcept { return state_; }
  [[nodiscard]] BarrierPhase phase() const noexcept {
    return static_cast<BarrierPhase>(state_.phase.load(std::memory_order_acquire));
  }
  /// Whether a waiter has its end.
  [[nodiscard]] bool has_ended(std::uint32_t waiter) const noexcept {
    return arena_.waiter(waiter).state.load(std::memory_order_acquire) == waiter_granted;
  }
  /// A waiter's end or why the barrier is broken, and the process concerned.
  struct End {
    BarrierEnd what;
    std::int32_t pid;
  };
  [[nodiscard]] End end_of(std::uint32_t waiter) const noexcept;
  [[nodiscard]] End broken_by() const noexcept;
  [[nodiscard]] std::uint32_t index_of(std::uint32_t waiter) const noexcept {
    return static_cast<std::uint32_t>(arena_.waiter(waiter).grant);
  }

 private:
  [[nodiscard]] bool is_at_home(std::uint32_t waiter) const noexcept;
  void set_phase(BarrierPhase phase) noexcept;
  void complete(std::uint32_t last, BarrierAnswer& answer, Actions& actions);
  void end_all(End end, Actions& actions);
  void break_round(End end, Actions& actions);
  void change_word(Actions& actions);

  SyncArena& arena_;
  Line line_;
  BarrierState& state_;
};

}  // namespace passel::inline v0::detail
