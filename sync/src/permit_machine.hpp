// Layer sync: the machine behind Lock, RLock and the semaphores: who has a permit, who is next.
#pragma once

#include "line.hpp"

#include <passel/detail/deadline.hpp>
#include <passel/detail/spin.hpp>

#include <atomic>
#include <cstdint>
#include <optional>

namespace passel::inline v0::detail {

/// What a permit machine's object is like; set once.
enum PermitTraits : std::uint32_t {
  permits_counted = 1,  ///< permits are only counted: the dead keep theirs
  permits_fair = 2,     ///< always handed to the first in line
  permits_bounded = 4,  ///< a release too many is an error
  permits_refuse = 8,   ///< whoever would close a circle of waiters gets an error
};

/// The state in shared memory. A permit is a word: token (growing with each grant), whether it was
/// handed over, whether its last holder died, and the place of the process that holds it. That word
/// is all there is to taking and giving back a permit nobody waits for: one atomic operation, after
/// which a process may die at any instruction and still be known as the holder. Where permits are
/// only counted `first` is their number, below how often one was handed over.
struct alignas(64) PermitState {
  std::atomic<std::uint64_t> first;
  std::atomic<std::uint32_t> waiting;  ///< how many stand in line
  std::atomic<std::uint32_t> thread;   ///< of a lock: the thread that holds it, when that is known
  CpuMark cpu;                         ///< where the last holder ran
  std::atomic<std::uint32_t> depth;    ///< of an RLock, beyond the first acquire
  std::uint32_t traits;
  std::uint32_t permits;               ///< words there are, `first` among them
  std::uint64_t limit;                 ///< the most permits that may be free
  std::atomic<std::int32_t> lost_pid;  ///< the holder that died last
  std::atomic<std::uint32_t> hint;     ///< a permit that was free
  std::uint32_t giving;                ///< several are being given back at once: all of them will
  /// Of a single permit: the first in line was called and is on the way, to be handed it from that
  /// moment on (nanoseconds of the monotonic clock). 0: whoever gives it back has to look.
  std::atomic<std::int64_t> called_until;
};
static_assert(sizeof(PermitState) == 64);

/// How large the state is; the words of further permits lie behind it.
[[nodiscard]] constexpr std::size_t permit_state_size(std::uint32_t permits) noexcept {
  return sizeof(PermitState) + (permits - 1) * sizeof(std::uint64_t);
}

inline constexpr unsigned place_bits = 10;
inline constexpr unsigned token_shift = place_bits + 3;
static_assert(sync_process_count < (1U << place_bits) - 1);

/// Set in Waiter::permit when what was handed over had been left by a dead holder.
inline constexpr std::uint32_t handed_abandoned = 1U << 31;

/// What somebody got.
struct Grant {
  std::uint64_t word = 0;
  std::uint32_t permit = 0;
  bool abandoned = false;  ///< the holder before died with it
  [[nodiscard]] std::uint64_t token() const noexcept { return word >> token_shift; }
};

/// What a waiter was granted.
[[nodiscard]] inline Grant grant_of(const Waiter& waiter) noexcept {
  return Grant{.word = waiter.grant,
               .permit = waiter.permit & ~handed_abandoned,
               .abandoned = (waiter.permit & handed_abandoned) != 0};
}

/// Rules, driven with the line of the object locked, apart from `take` and `give`, which need no
/// lock. No clock, no system call: steps answer with whom to wake.
class PermitMachine {
 public:
  using Action = Wake;
  using Actions = WakeList;
  using Time = Deadline::Clock::time_point;

  /// Overtaken for that long, the first in line gets the next permit in his hand.
  static constexpr std::int64_t longest_overtaken_ns = 500'000;

  PermitMachine(SyncArena& arena, ObjectHeader& header) noexcept
      : arena_{arena},
        line_{arena, header},
        state_{*reinterpret_cast<PermitState*>(SyncArena::state_of(header))} {}

  /// Sets up a new object: so many words, so many of them free.
  void init(std::uint32_t traits, std::uint32_t words, std::uint64_t value,
            std::uint64_t limit) noexcept;

  // Without the lock.

  /// Takes a free permit for the process at `place`.
  [[nodiscard]] std::optional<Grant> take(std::uint32_t place) noexcept {
    return state_.permits == 1 && !is_counted() ? take_from(0, place) : take_any(place);
  }
  /// Gives back what was granted. False when it is not held like that any more.
  [[nodiscard]] bool give(const Grant& grant) noexcept;
  /// Gives back any permit, one of the process at `place` if there is one. False when none is held,
  /// or the limit is reached; ask again with the lock where there are several.
  [[nodiscard]] bool give_any(std::uint32_t place) noexcept;
  /// Gives back `n` permits that are only counted, or none: false when that is beyond the limit.
  [[nodiscard]] bool give_counted(std::uint64_t n) noexcept;
  /// Whether the process at `place` holds any.
  [[nodiscard]] bool is_held_by(std::uint32_t place) const noexcept;
  /// True when somebody who is in line might have to be served after `give`.
  [[nodiscard]] bool is_awaited() const noexcept { return state_.waiting.load() != 0; }
  /// True when the one who is first in line was called and will come by itself: whoever gives the
  /// permit back need not do more. Empty while he has to be looked after.
  [[nodiscard]] std::optional<Time> called_until() const noexcept {
    const std::int64_t until = state_.called_until.load();
    if (until == 0) return std::nullopt;
    return Time{std::chrono::nanoseconds{until}};
  }
  /// A waiter that was called and found nothing: it waits again. False when it was granted one.
  [[nodiscard]] bool wait_again(Waiter& waiter) noexcept {
    std::uint32_t state = waiter_nudged;
    if (!waiter.state.compare_exchange_strong(state, waiter_waiting)) return false;
    state_.called_until.store(0);
    return true;
  }
  /// Then it looks once more: whoever frees one from here on sees it wait, or it sees it free.
  void call_itself(Waiter& waiter) const noexcept {
    std::uint32_t state = waiter_waiting;
    if (is_available()) waiter.state.compare_exchange_strong(state, waiter_nudged);
  }
  [[nodiscard]] bool is_fair() const noexcept { return (state_.traits & permits_fair) != 0; }
  [[nodiscard]] bool is_counted() const noexcept { return (state_.traits & permits_counted) != 0; }
  /// Several may be given back at once: what cannot be given back now may be marked for that, which
  /// may come to nothing. With the lock it is as it looks.
  [[nodiscard]] bool is_row() const noexcept { return state_.permits > 1; }
  /// Permits that are free.
  [[nodiscard]] std::uint64_t available() const noexcept;
  [[nodiscard]] bool is_available() const noexcept;
  /// Of a lock: the place of the process that holds it, nobody when it is free.
  [[nodiscard]] std::uint32_t holder() const noexcept {
    return place_of(state_.first.load(std::memory_order_acquire));
  }
  [[nodiscard]] PermitState& state() noexcept { return state_; }

  // With the lock.

  /// A waiter comes and stands in line. It is granted at once when something is free and it is its
  /// turn.
  struct Arrive {
    std::uint32_t waiter;
  };
  /// A holder that saw somebody in line gives its permit back, or hands it over. When it was no
  /// longer held like that, `given` says so.
  struct Release {
    Grant grant;
    bool* given;
  };
  /// The same for any permit, as give_any.
  struct ReleaseAny {
    std::uint32_t place;
    bool* given;
  };
  /// Several permits that are owned go back at once, those of the process at `place` first: `n` of
  /// them, or none.
  struct ReleaseMany {
    std::uint64_t n;
    std::uint32_t place;
    bool* given;
  };
  /// What was granted goes back unused: whoever gets it next learns what this one would have.
  struct Unused {
    Grant grant;
  };
  /// A permit was given back while somebody stands in line.
  struct Freed {};
  /// A waiter took a permit by itself and leaves the line. When it was granted another one
  /// meanwhile, that goes back.
  struct Took {
    std::uint32_t waiter;
  };
  /// A waiter gives up. Nothing happens when it was granted before: look at its state.
  struct Leave {
    std::uint32_t waiter;
  };
  /// A process is gone.
  struct Lost {
    std::uint32_t place;
    std::int32_t pid;
  };
  void step(const Arrive& event, Time now, Actions& actions);
  void step(const Release& event, Time now, Actions& actions);
  void step(const ReleaseAny& event, Time now, Actions& actions);
  void step(const ReleaseMany& event, Time now, Actions& actions);
  void step(const Unused& event, Time now, Actions& actions);
  void step(const Freed& event, Time now, Actions& actions);
  void step(const Took& event, Time now, Actions& actions);
  void step(const Leave& event, Time now, Actions& actions);
  void step(const Lost& event, Time now, Actions& actions);

  /// The line was being changed when somebody died: brings each waiter to one side of what was
  /// happening to it.
  void rebuild(Actions& actions);

  [[nodiscard]] static constexpr std::uint32_t place_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word & ((1U << place_bits) - 1));
  }
  /// Of permits that are only counted, by the word that counts them.
  [[nodiscard]] static constexpr std::uint64_t count_of(std::uint64_t word) noexcept {
    return word & count_mask;
  }

 private:
  static constexpr std::uint64_t place_mask = (std::uint64_t{1} << place_bits) - 1;
  static constexpr std::uint64_t abandoned_bit = std::uint64_t{1} << place_bits;
  /// Tells a grant that was handed over from one that its holder took: both may have the same token
  /// and place, and who died before it had handed over may have written down what another took.
  static constexpr std::uint64_t handed_bit = abandoned_bit << 1;
  /// One of several that are being given back: it is held, but nobody else can give it back.
  static constexpr std::uint64_t giving_bit = handed_bit << 1;
  static constexpr std::uint64_t one_token = std::uint64_t{1} << token_shift;
  /// A word that is no permit: a semaphore may grow into it.
  static constexpr std::uint64_t absent = place_mask;
  // Where permits are only counted: their number, and how often one was handed over.
  static constexpr std::uint64_t count_mask = 0xffff'ffff;
  static constexpr std::uint64_t one_handing = count_mask + 1;

  [[nodiscard]] static constexpr bool is_free(std::uint64_t word) noexcept {
    return (word & place_mask) == 0;
  }
  [[nodiscard]] static constexpr std::uint64_t freed(std::uint64_t word) noexcept {
    return word & ~(one_token - 1);
  }
  [[nodiscard]] static constexpr std::uint64_t granted_to(std::uint64_t word,
                                                          std::uint32_t place) noexcept {
    return (freed(word) + one_token) | place;
  }
  [[nodiscard]] static constexpr std::uint64_t handing_of(std::uint64_t word) noexcept {
    return (word & ~count_mask) | 1;
  }
  [[nodiscard]] std::atomic<std::uint64_t>& word(std::uint32_t permit) const noexcept {
    return permit == 0 ? state_.first
                       : reinterpret_cast<std::atomic<std::uint64_t>*>(&state_ + 1)[permit - 1];
  }
  [[nodiscard]] std::optional<Grant> take_from(std::uint32_t permit, std::uint32_t place) noexcept {
    auto& here = word(permit);
    std::uint64_t seen = here.load(std::memory_order_relaxed);
    while (place_of(seen) == nobody) {
      const std::uint64_t mine = granted_to(seen, place);
      if (here.compare_exchange_weak(seen, mine, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        return Grant{.word = mine, .permit = permit, .abandoned = (seen & abandoned_bit) != 0};
      }
    }
    return std::nullopt;
  }
  [[nodiscard]] std::optional<Grant> take_any(std::uint32_t place) noexcept;
  [[nodiscard]] bool give_from(std::uint32_t permit, std::uint32_t place) noexcept;
  /// Whether there is something to give back: held by the process at `place`, by anybody for
  /// nobody.
  [[nodiscard]] static constexpr bool is_held(std::uint64_t word, std::uint32_t place) noexcept {
    return !is_free(word) && word != absent && (word & giving_bit) == 0 &&
           (place == nobody || place_of(word) == place);
  }
  [[nodiscard]] std::uint64_t mark_giving(std::uint64_t n, std::uint32_t place) noexcept;
  void give_marked(Time now, Actions& actions);
  void unmark_giving() noexcept;
  /// Whether a permit was handed to a process that had not learnt of it when it died.
  [[nodiscard]] const Waiter* unseen_grant(std::uint64_t word, std::uint32_t place) const noexcept;
  [[nodiscard]] bool must_be_handed(const Waiter& waiter, Time now) const noexcept;
  void serve(Time now, Actions& actions);
  void serve_line(Time now, Actions& actions);
  [[nodiscard]] bool hand(std::uint32_t number, std::uint32_t permit, std::uint64_t from) noexcept;
  [[nodiscard]] bool hand_any(std::uint32_t number) noexcept;
  /// Of a semaphore that only counts: one that is free, or one that is just given back.
  [[nodiscard]] bool hand_counted(std::uint32_t number, bool is_given_back) noexcept;
  [[nodiscard]] bool hand_held(std::uint32_t number, std::uint32_t place) noexcept;
  void give_back_unused(const Grant& grant) noexcept;
  void granted(std::uint32_t number, Actions& actions);
  void leave_line(std::uint32_t number) noexcept;

  SyncArena& arena_;
  Line line_;
  PermitState& state_;
};

}  // namespace passel::inline v0::detail
