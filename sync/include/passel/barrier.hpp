// Layer sync: Python's threading.Barrier and multiprocessing.Barrier.
#pragma once

#include <passel/detail/sync_handle.hpp>
#include <passel/detail/task.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

namespace detail {

/// Calls the action of a barrier; what it throws is an error.
template <class F>
Result<void> run_barrier_action(F& action) {
  try {
    if constexpr (is_result<std::remove_cvref_t<std::invoke_result_t<F&>>>) {
      const auto outcome = std::invoke(action);
      if (!outcome) return outcome.error();
    } else {
      static_cast<void>(std::invoke(action));
    }
    return {};
  } catch (...) {
    return current_exception_as_error();
  }
}

/// An action that every process of this build can make again out of its type.
template <class F>
struct BarrierTask {
  static Result<Encoded> run(std::span<const std::byte>,
                             std::span<const std::shared_ptr<Descriptor>>) {
    F action{};
    PASSEL_CHECK(run_barrier_action(action));
    return Encoded{};
  }
  static inline const TaskNode node{&run};
  [[nodiscard]] static TaskId id() { return id_of_task(node.function); }
};

}  // namespace detail

struct BarrierOptions {
  int parties = 1;  ///< how many have to come, from 1 to 4096
  /// The limit of a wait() that names none; empty: it waits for ever.
  std::optional<std::chrono::nanoseconds> timeout = {};
  Reach reach = Reach::host;  ///< threads: cheaper to make, but cannot go to another process
  std::string name = {};      ///< for errors and reports, at most 27 bytes
};

/// A point that a number of threads or processes of one host have to reach before any of them goes
/// on (Python's threading.Barrier and multiprocessing.Barrier).
///
///     passel::Barrier barrier{3};
///     auto a = passel::Process::spawn<work>(barrier);   // ... barrier.wait().unwrap();
///     auto b = passel::Process::spawn<work>(barrier);
///     barrier.wait().unwrap();                          // all three go on together
///
/// It may be used again at once: whoever comes next belongs to the next round, and all of the
/// last one are out of it. A Barrier is a handle: copies are the same barrier, a copy given to
/// another process as an argument too. All functions but close() and assignment may be called by
/// any thread at any time.
///
/// **An action** is called once in each round, by one who waits, when all are there and before any
/// goes on. A function given as template argument (`Barrier::create<report>({.parties = 3})`) or a
/// lambda without captures is called by the last who comes, in whichever process that is. Any
/// other callable stays in the process that made the barrier and is called by one who waits in
/// that process; a round in which nobody of it takes part breaks the barrier. When the action
/// throws or returns an error, whoever called it gets that from his wait, and the barrier is
/// broken.
///
/// **Broken**: a wait whose time is up, abort(), and a failed action break the barrier. All who
/// wait, and all who come later, get Errc::broken with the reason, until reset().
///
/// **When a process dies** that holds the barrier, it is broken at once, and the error says who:
/// "process 1234 died". A process that ends in order breaks it only when one of its threads waits.
/// One that has closed its handles has nothing to do with the barrier any more.
///
/// There is no asynchronous wait: the one who completes a round runs the action, and a future that
/// somebody drops would break the barrier for everybody else.
///
/// Source of the semantics: Python's threading.Barrier.
class PASSEL_API Barrier : public detail::SyncHandle<Barrier> {
 public:
  /// Throws passel::Exception where `create` has an error. (Python: Barrier(parties))
  explicit Barrier(int parties) : Barrier{BarrierOptions{.parties = parties}} {}
  explicit Barrier(const BarrierOptions& options) : Barrier{create(options).unwrap()} {}
  /// With an action. (Python: Barrier(parties, action))
  template <class F>
  requires std::is_invocable_v<F&> Barrier(int parties, F action)
      : Barrier{create(BarrierOptions{.parties = parties}, std::move(action)).unwrap()} {}
  /// Errors: invalid_argument when `parties` or the timeout is out of range or the name too long;
  /// no_space.
  [[nodiscard]] static Result<Barrier> create(const BarrierOptions& options);
  /// With an action: `action()` may return nothing, a value that is ignored, or a Result.
  template <class F>
  requires std::is_invocable_v<F&>
  [[nodiscard]] static Result<Barrier> create(const BarrierOptions& options, F action);
  /// The same with a function that every process can call.
  template <auto F>
  [[nodiscard]] static Result<Barrier> create(const BarrierOptions& options) {
    return create(options, detail::FunctionTarget<F>{});
  }

  /// Waits until all parties are there, for the barrier's own timeout at most; which one this was
  /// in the order of their coming, from 0 to parties - 1. Errors: broken, with the reason; those
  /// of the action when this one called it (task_failed when it threw); no_space when too many
  /// wait; timeout when all are there but the action takes so long that one more, who is early for
  /// the next round, could not even come in; invalid_state on a closed handle. (Python: wait(),
  /// BrokenBarrierError)
  [[nodiscard]] Result<int> wait() const;
  /// With a limit of its own; zero and less: only the last who is missing gets through. When the
  /// time is up the barrier is broken for all, unless all are there: the time that the action takes
  /// does not count. Errors: as wait. (Python: wait(timeout))
  template <class Rep, class Period>
  [[nodiscard]] Result<int> wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_until(detail::Deadline::after(timeout));
  }
  /// Breaks the barrier: all who wait and all who come get Errc::broken, until reset(). An action
  /// that runs is not stopped. (Python: abort())
  void abort() const;
  /// Makes a broken barrier whole, and an unbroken one empty: all who wait get Errc::broken.
  /// (Python: reset())
  void reset() const;

  [[nodiscard]] int parties() const noexcept;
  /// How many wait for the others; 0 when it is broken.
  [[nodiscard]] int n_waiting() const noexcept;
  [[nodiscard]] bool broken() const noexcept;

  /// `close()` gives up this handle; the barrier and other handles go on. Not while another thread
  /// uses this very handle. See also `closed()`, `reach()`, `name()` and `==`, which says whether
  /// both are handles of one barrier.
  using SyncHandle::close;
  /// "<Barrier 'name': waiters=1/3>", "<Barrier: broken>", "<closed Barrier>".
  [[nodiscard]] std::string to_string() const;

 private:
  friend struct detail::HandleCodec<Barrier>;
  static constexpr std::string_view kind = "Barrier";
  using LocalAction = std::function<Result<void>()>;
  explicit Barrier(std::shared_ptr<detail::SyncObject> object) noexcept
      : SyncHandle{std::move(object)} {}
  void set_task(detail::TaskId task) const;
  void set_local(LocalAction action) const;
  [[nodiscard]] Result<int> wait_until(detail::Deadline deadline) const;
};

template <class F>
requires std::is_invocable_v<F&> Result<Barrier> Barrier::create(const BarrierOptions& options,
                                                                 F action) {
  PASSEL_TRY(Barrier barrier, create(options));
  if constexpr (detail::StatelessCallable<F>) {
    barrier.set_task(detail::BarrierTask<F>::id());
  } else {
    // Shared because std::function wants to be copied; it never is.
    barrier.set_local([kept = std::make_shared<F>(std::move(action))] {
      return detail::run_barrier_action(*kept);
    });
  }
  return barrier;
}

/// A Barrier travels as a handle, to a process that is being started or called.
template <>
struct codec<Barrier> : detail::HandleCodec<Barrier> {};

}  // namespace passel::inline v0
