// Layer sync: Barrier.
#include <passel/barrier.hpp>

#include <passel/detail/misuse.hpp>

#include "barrier_machine.hpp"

#include <limits>

namespace passel::inline v0 {
namespace {

using detail::BarrierAnswer;
using detail::BarrierEnd;
using detail::BarrierMachine;
using detail::Deadline;
using detail::SyncObject;

constexpr int most_parties = 4096;

BarrierMachine machine_of(const SyncObject& object) {
  return BarrierMachine{object.arena(), object.header()};
}

std::int32_t own_pid() { return detail::this_process().pid; }

void wake_all(const SyncObject& object) {
  detail::futex_wake(machine_of(object).state().word, std::numeric_limits<int>::max(),
                     object.scope());
}

/// One step of the machine, and `inside()` with the line still locked.
template <class Event, class F>
void step(const SyncObject& object, const Event& event, F inside) {
  // Only a stopped process can keep the line for long, and then nobody gets on.
  if (!object.arena().lock_line(object.header(), Deadline::never())) return;
  BarrierMachine::Actions actions;
  machine_of(object).step(event, Deadline::Clock::now(), actions);
  inside();
  object.header().line.unlock();
  if (!actions.empty()) wake_all(object);
}

template <class Event>
void step(const SyncObject& object, const Event& event) {
  step(object, event, [] {});
}

Error broken_error(const SyncObject& object, BarrierMachine::End end) {
  const std::string name = object.name().empty() ? "" : " '" + object.name() + "'";
  const std::string process = "process " + std::to_string(end.pid);
  const auto why = [&]() -> std::string {
    switch (end.what) {
      case BarrierEnd::aborted: return process + " aborted it";
      case BarrierEnd::reset: return process + " reset it";
      case BarrierEnd::timeout: return "the time was up for " + process;
      case BarrierEnd::failed: return "its action failed in " + process;
      case BarrierEnd::unreachable:
        return "its action can be called in " + process +
               " only, which was not there: use a function or a lambda without captures";
      case BarrierEnd::died: return process + " died";
      default: return process + " ended while it waited";
    }
  };
  return Error{Errc::broken, "Barrier" + name + " is broken: " + why()};
}

/// One party's wait, from its coming to its end.
class Party {
 public:
  Party(SyncObject& object, std::uint32_t waiter, Deadline deadline)
      : object_{object}, machine_{machine_of(object)}, waiter_{waiter}, deadline_{deadline} {}
  Party(const Party&) = delete;
  Party& operator=(const Party&) = delete;
  ~Party() { object_.arena().free_waiter(waiter_); }

  Result<int> wait() {
    for (;;) {
      switch (arrive()) {
        case BarrierAnswer::broken: return broken_error(object_, broken_by_);
        case BarrierAnswer::act: return act();
        case BarrierAnswer::wait: return sleep();
        case BarrierAnswer::later: break;
      }
      // Those who are in have to go on first.
      if (!detail::futex_wait(state().word, announce(seen_), deadline_, object_.scope())) {
        return Error{Errc::timeout, "Barrier" + described() +
                                        " has not finished the round before in the time given"};
      }
    }
  }

 private:
  [[nodiscard]] detail::BarrierState& state() const { return machine_.state(); }
  [[nodiscard]] std::string described() const {
    return object_.name().empty() ? "" : " '" + object_.name() + "'";
  }

  BarrierAnswer arrive() {
    BarrierAnswer answer = BarrierAnswer::later;
    step(object_, BarrierMachine::Arrive{waiter_, &answer}, [&] {
      broken_by_ = machine_.broken_by();
      seen_ = state().word.load(std::memory_order_relaxed);
      other_.publish(state().arrived.come(detail::this_thread()));
    });
    return answer;
  }

  /// The word to sleep on for one who saw `seen`.
  [[nodiscard]] std::uint32_t announce(std::uint32_t seen) const {
    std::uint32_t expected = seen & ~std::uint32_t{1};
    if (state().word.compare_exchange_strong(expected, expected | 1)) return expected | 1;
    return (seen & ~std::uint32_t{1}) | 1;
  }

  [[nodiscard]] bool is_called() const {
    return object_.arena().waiter(waiter_).state.load(std::memory_order_acquire) !=
           detail::waiter_waiting;
  }

  Result<int> sleep() {
    auto& spinner = object_.spinner();
    // Where there are fewer CPUs than parties the others need this one to come at all.
    const bool may_spin = state().parties <= detail::usable_cpus();
    if (!may_spin || !spinner.spin(other_, deadline_, [&] { return is_called(); })) {
      const auto begin = Deadline::Clock::now();
      while (!is_called()) {
        const std::uint32_t seen = state().word.load(std::memory_order_acquire);
        if (is_called()) break;
        const std::uint32_t word = announce(seen);
        if (detail::futex_wait(state().word, word, deadline_, object_.scope())) continue;
        step(object_, BarrierMachine::Expire{waiter_, own_pid()});
        deadline_ = Deadline::never();  // over, or all are there
      }
      spinner.waited(Deadline::Clock::now() - begin);
    }
    return machine_.has_ended(waiter_) ? end() : act();
  }

  Result<int> end() const {
    const BarrierMachine::End how = machine_.end_of(waiter_);
    if (how.what != BarrierEnd::released) return broken_error(object_, how);
    return static_cast<int>(machine_.index_of(waiter_));
  }

  Result<int> act() {
    Result<void> done = call_action();
    step(object_, BarrierMachine::Acted{waiter_, own_pid(), done.is_err()});
    if (done.is_err()) return done.error();
    return end();
  }

  Result<void> call_action() const {
    if (state().action == detail::action_at_home) {
      const auto kept = std::static_pointer_cast<std::function<Result<void>()>>(object_.kept());
      if (kept) return (*kept)();
      return Error{Errc::invalid_state, "the action of Barrier" + described() +
                                            " went with the handle that it was made with"};
    }
    PASSEL_TRY(auto* const task,
               detail::find_task({.module = state().task_module, .offset = state().task_offset}));
    PASSEL_CHECK(task({}, {}));
    return {};
  }

  SyncObject& object_;
  BarrierMachine machine_;
  std::uint32_t waiter_;
  Deadline deadline_;
  std::uint32_t seen_ = 0;
  BarrierMachine::End broken_by_{};
  detail::CpuMark other_;
};

}  // namespace

Result<Barrier> Barrier::create(const BarrierOptions& options) {
  if (options.parties < 1 || options.parties > most_parties) {
    return Error{Errc::invalid_argument, "parties must be > 0 and at most " +
                                             std::to_string(most_parties) + ", it is " +
                                             std::to_string(options.parties)};
  }
  if (options.timeout && options.timeout->count() < 0) {
    return Error{Errc::invalid_argument, "the timeout of a Barrier must not be negative, it is " +
                                             std::to_string(options.timeout->count()) + " ns"};
  }
  PASSEL_TRY(auto object,
             SyncObject::create(detail::SyncKind::barrier, sizeof(detail::BarrierState),
                                options.reach, options.name));
  auto& state = object->as<detail::BarrierState>();
  state.parties = static_cast<std::uint32_t>(options.parties);
  state.timeout_ns = options.timeout ? options.timeout->count() : -1;
  state.home = object->place();
  state.home_pid = own_pid();
  return Barrier{std::move(object)};
}

void Barrier::set_task(detail::TaskId task) const {
  auto& state = object_->as<detail::BarrierState>();
  state.task_module = task.module;
  state.task_offset = task.offset;
  state.action = detail::action_anywhere;
}

void Barrier::set_local(LocalAction action) const {
  object_->keep(std::make_shared<LocalAction>(std::move(action)));
  object_->as<detail::BarrierState>().action = detail::action_at_home;
}

Result<int> Barrier::wait() const {
  if (!object_) return detail::handle_is_closed("Barrier");
  const std::int64_t limit = object_->as<detail::BarrierState>().timeout_ns;
  return wait_until(limit < 0 ? Deadline::never()
                              : Deadline::after(std::chrono::nanoseconds{limit}));
}

Result<int> Barrier::wait_until(Deadline deadline) const {
  if (!object_) return detail::handle_is_closed("Barrier");
  const std::uint32_t place = object_->place();
  if (place == detail::nobody) return detail::too_many_processes();
  PASSEL_TRY(const std::uint32_t waiter,
             object_->arena().claim_waiter(place, detail::this_thread()));
  return Party{*object_, waiter, deadline}.wait();
}

void Barrier::abort() const {
  if (!object_) return;
  static_cast<void>(object_->place());  // known as a user before it may die within
  step(*object_, BarrierMachine::Abort{own_pid()});
}

void Barrier::reset() const {
  if (!object_) return;
  static_cast<void>(object_->place());
  step(*object_, BarrierMachine::Reset{own_pid()});
}

int Barrier::parties() const noexcept {
  return object_ ? static_cast<int>(object_->as<detail::BarrierState>().parties) : 0;
}

int Barrier::n_waiting() const noexcept {
  if (!object_) return 0;
  const auto machine = machine_of(*object_);
  const auto phase = machine.phase();
  if (phase != detail::barrier_filling && phase != detail::barrier_acting) return 0;
  return static_cast<int>(machine.state().waiting.load(std::memory_order_relaxed));
}

bool Barrier::broken() const noexcept {
  return object_ && machine_of(*object_).phase() == detail::barrier_broken;
}

std::string Barrier::to_string() const {
  if (!object_) return "<closed Barrier>";
  const std::string name = object_->name().empty() ? "" : " '" + object_->name() + "'";
  if (broken()) return "<Barrier" + name + ": broken>";
  return "<Barrier" + name + ": waiters=" + std::to_string(n_waiting()) + "/" +
         std::to_string(parties()) + ">";
}

}  // namespace passel::inline v0
