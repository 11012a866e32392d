// Layer actors: Supervisor, which keeps actors, processes and other supervisors running.
#pragma once

#include <passel/actor.hpp>
#include <passel/supervisor_options.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// A child of a supervisor, whatever it is: how to start it, how to end it. The functions are
/// called one at a time by the supervisor's actor and must not block.
struct ChildSpec {
  std::string name;
  /// Starts one life. `exited(reason)` must be called exactly once when that life is over, by any
  /// thread; not when start returns an error.
  std::function<Result<void>(std::function<void(ExitReason)> exited)> start;
  /// Asks the present life to end in order.
  std::function<void()> stop;
  /// Ends it by force; called when `stop` did not help in time.
  std::function<void()> kill;
  /// There will be no further life. `reason` is why the supervisor let go of it. May be empty.
  std::function<void(const ExitReason& reason)> release = {};
  ChildOptions options = {};
};

/// What Supervisor::children tells of one child.
struct ChildStatus {
  std::string name;
  std::string state;  ///< "starting", "up", "stopping", "killing", "down", "late"
  unsigned restarts = 0;
};

/// Starts children in order, restarts those that end and must not, stops them in reverse order
/// (Erlang/OTP's supervisor).
///
///     auto sup = passel::Supervisor::start(
///         {.strategy = passel::Restart::one_for_one, .max_restarts = 3, .within = 5s}).unwrap();
///     auto fetcher = sup.spawn<Fetcher>("fetcher", client).unwrap();
///     fetcher.tell(Fetch{url}).unwrap();      // a throw in the handler: a new Fetcher, same
///     handle sup.stop_for(10s).unwrap();
///
/// When more than `max_restarts` happen within `within`, it stops all children and ends as
/// `failed`; monitor() and join() tell. A child that does not end when asked and then killed is
/// called late: it is named, and never waited for again.
///
/// Move-only; any thread may use the const members. Destroying it stops it, which takes at most the
/// children's shutdown times; stop_for gives that a limit. Never stop or destroy it from a handler
/// of one of its children.
class PASSEL_API Supervisor {
 public:
  /// Error invalid_state while the runtime is being shut down.
  [[nodiscard]] static Result<Supervisor> start(SupervisorOptions options = {});

  Supervisor(Supervisor&&) noexcept = default;
  Supervisor& operator=(Supervisor&& other) noexcept;
  ~Supervisor();

  /// An actor under supervision. Each life is `A(args...)` from copies of the arguments. The handle
  /// stays valid: messages sent while it is being restarted wait; the one whose handler threw is
  /// gone (its asker got task_failed). stop() on the handle is an orderly end, which a permanent
  /// child answers with a new life. Errors: task_failed when the first constructor throws, refused
  /// for a name that is taken, closed when the supervisor has ended.
  template <class A, class... Args>
  [[nodiscard]] Result<Actor<A>> spawn(std::string name, Args&&... args) const {
    return spawn_with<A>(ChildOptions{}, std::move(name), std::forward<Args>(args)...);
  }
  template <class A, class... Args>
  [[nodiscard]] Result<Actor<A>> spawn(ChildOptions options, std::string name,
                                       Args&&... args) const {
    return spawn_with<A>(options, std::move(name), std::forward<Args>(args)...);
  }
  /// A supervisor under supervision. `setup` adds its children in each life; its giving up is a
  /// failure of the child.
  Result<void> add_supervisor(SupervisorOptions supervisor,
                              std::function<Result<void>(Supervisor&)> setup,
                              ChildOptions options = {}) const;
  /// Any other child. Returns when its first life has started, or why it did not.
  Result<void> add(ChildSpec child) const;
  /// Stops a child and forgets it, without waiting for that. Error not_found.
  Result<void> remove(const std::string& name) const;

  [[nodiscard]] std::vector<ChildStatus> children() const;
  [[nodiscard]] const std::string& name() const noexcept { return cell_->name(); }
  [[nodiscard]] bool is_alive() const noexcept { return !cell_->has_ended(); }

  /// Begins to stop all children, the last one first. Does not wait.
  void stop() const;
  /// The same, waits, and is over by then: children that have not stopped shortly before are
  /// killed. Errors: timeout naming those that are still there; deadlock where it waited for
  /// itself, in what the supervisor calls: then it only begins.
  template <class Rep, class Period>
  Result<void> stop_for(std::chrono::duration<Rep, Period> wait) const {
    return stop(detail::Deadline::after(wait));
  }
  /// Waits until it has ended: stopped, or failed because it gave up.
  ExitReason join() const {
    cell_->wait_ended(detail::Deadline::never());
    return cell_->exit_reason();
  }
  /// Calls `f(const ExitReason&)` once when it has ended; at once when it has.
  template <class F>
  void monitor(F f) const {
    cell_->monitor(std::move(f));
  }

 private:
  explicit Supervisor(detail::CellRef cell) noexcept : cell_{std::move(cell)} {}
  Result<void> stop(detail::Deadline deadline) const;

  template <class A, class... Args>
  Result<Actor<A>> spawn_with(ChildOptions options, std::string name, Args&&... args) const;

  detail::CellRef cell_;
};

namespace detail {

/// Who may resume a supervised cell: its supervisor while it is suspended, nobody while it runs,
/// itself when the supervisor has let go of it meanwhile.
class PASSEL_API SupervisedCell {
 public:
  explicit SupervisedCell(CellRef cell) noexcept : cell_{std::move(cell)} {}

  [[nodiscard]] Cell& cell() const noexcept { return *cell_; }
  void begin_life() noexcept { state_.store(running, std::memory_order_release); }
  /// From the body's on_exit. False when nobody supervises it any more: then it has been ended.
  [[nodiscard]] bool suspended_now() noexcept;
  void release(const ExitReason& reason) noexcept;

 private:
  enum State : int { running, suspended, orphaned };
  CellRef cell_;
  std::atomic<State> state_{suspended};
};

/// A cell with a body that has no object yet, suspended.
template <class A>
[[nodiscard]] Result<CellRef> make_suspended_cell(const std::string& name) {
  auto body = std::make_unique<ActorBody<A>>();
  body->exited = [](const ExitReason&) {};
  auto made = make_cell(std::move(body), {.name = name});
  if (made.is_ok()) {
    call_in(**made, [](Cell& cell) {
      cell.supervise(true);
      cell.end(ExitReason::Kind::normal);
    });
  }
  return made;
}

/// One life: a new object, made by the supervisor while the cell is suspended.
template <class A, class Tuple>
Result<void> start_life(const std::shared_ptr<SupervisedCell>& child, const Tuple& args, bool first,
                        std::function<void(ExitReason)> exited) {
  Cell& cell = child->cell();
  auto& body = cell.template body<ActorBody<A>>();
  try {
    std::apply([&body](const auto&... each) { body.object.emplace(each...); }, args);
  } catch (...) {
    return current_exception_error();
  }
  body.exited = [link = std::weak_ptr{child}, told = std::move(exited)](const ExitReason& reason) {
    const auto supervised = link.lock();
    if (supervised && supervised->suspended_now()) told(reason);
  };
  child->begin_life();
  first ? cell.resume(nullptr) : cell.resume_elsewhere();
  return {};
}

}  // namespace detail

template <class A, class... Args>
Result<Actor<A>> Supervisor::spawn_with(ChildOptions options, std::string name,
                                        Args&&... args) const {
  static_assert((std::is_copy_constructible_v<std::decay_t<Args>> && ...),
                "a restart makes the actor from copies of these arguments");
  PASSEL_TRY(const detail::CellRef cell, detail::make_suspended_cell<A>(name));
  auto child = std::make_shared<detail::SupervisedCell>(cell);
  std::tuple<std::decay_t<Args>...> copies{std::forward<Args>(args)...};
  ChildSpec spec;
  spec.name = std::move(name);
  spec.options = options;
  spec.start = [child, copies = std::move(copies),
                first = true](std::function<void(ExitReason)> exited) mutable {
    return detail::start_life<A>(child, copies, std::exchange(first, false), std::move(exited));
  };
  spec.stop = [child] { child->cell().suspend(); };
  spec.kill = [child] { child->cell().kill(); };
  spec.release = [child](const ExitReason& reason) { child->release(reason); };
  PASSEL_CHECK(add(std::move(spec)));
  return Actor<A>{cell};
}

}  // namespace passel::inline v0
