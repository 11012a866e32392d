// Layer actors: the actor that drives the supervisor's machine.
#include <passel/detail/child.hpp>
#include <passel/supervisor.hpp>

#include "supervisor_machine.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>
#include <variant>

namespace passel::inline v0 {
namespace detail {
namespace {

using Machine = SupervisorMachine;

std::string_view to_string(Machine::State state) {
  switch (state) {
    case Machine::State::down: return "down";
    case Machine::State::starting: return "starting";
    case Machine::State::up: return "up";
    case Machine::State::stopping: return "stopping";
    case Machine::State::killing: return "killing";
    case Machine::State::late: return "late";
  }
  return "unknown";
}

class SupervisorBody final : public CellBody {
 public:
  explicit SupervisorBody(SupervisorOptions options)
      : name_{options.name}, machine_{std::move(options)} {}
  ~SupervisorBody() override {
    // Ended from outside, with the whole engine: the children are let go of without ceremony.
    for (auto& [id, child] : children_) release(child, ExitReason::Kind::killed);
  }

  void add(Cell& cell, ChildSpec spec, Promise<void> started) {
    if (machine_.stopping() || machine_.finished()) {
      refuse(std::move(spec), std::move(started),
             Error{Errc::closed, "supervisor '" + name_ + "' is stopping"});
      return;
    }
    const bool taken = std::any_of(children_.begin(), children_.end(), [&spec](const auto& entry) {
      return entry.second.spec.name == spec.name;
    });
    if (taken) {
      refuse(std::move(spec), std::move(started),
             Error{Errc::refused,
                   "supervisor '" + name_ + "' has a child named '" + spec.name + "' already"});
      return;
    }
    const Machine::ChildId id = next_id_++;
    Machine::Add event{id, spec.name, spec.options};
    children_.emplace(id, Entry{std::move(spec), std::move(started)});
    feed(cell, std::move(event));
  }

  Result<void> remove(Cell& cell, const std::string& name) {
    for (const auto& [id, child] : children_) {
      if (child.spec.name != name) continue;
      feed(cell, Machine::Remove{id});
      return {};
    }
    return Error{Errc::not_found, "supervisor '" + name_ + "' has no child named '" + name + "'"};
  }

  void stop(Cell& cell, std::optional<Machine::Time> until) { feed(cell, Machine::Stop{until}); }

  [[nodiscard]] std::vector<ChildStatus> status() const {
    std::vector<ChildStatus> all;
    for (const Machine::Child& child : machine_.children()) {
      all.push_back({child.name, std::string{to_string(child.state)}, child.restarts});
    }
    return all;
  }

 private:
  struct Entry {
    ChildSpec spec;
    Promise<void> started;
    std::optional<Error> last_error = {};
  };

  static void refuse(ChildSpec spec, Promise<void> started, Error error) {
    if (spec.release) spec.release(error);
    started.set(std::move(error));
  }

  static void release(Entry& child, const ExitReason& reason) {
    if (child.spec.release) child.spec.release(reason);
    if (child.last_error) {
      child.started.set(*child.last_error);
    } else {
      child.started.set(
          Error{Errc::closed, "child '" + child.spec.name + "' ended while it was started"});
    }
  }

  /// One event and what follows from it at once. Never nested: whatever a child does meanwhile
  /// arrives as a message.
  void feed(Cell& cell, Machine::Event event) {
    std::deque<Machine::Event> events;
    events.push_back(std::move(event));
    while (!events.empty()) {
      std::vector<Machine::Action> actions;
      machine_.step(events.front(), Machine::Clock::now(), actions);
      events.pop_front();
      for (const Machine::Action& action : actions) {
        std::visit([&](const auto& what) { act(cell, what, events); }, action);
      }
    }
  }

  void act(Cell& cell, const Machine::StartChild& what, std::deque<Machine::Event>& events) {
    Entry& child = children_.at(what.id);
    cell.add_handle();
    auto exited = [home = CellRef{&cell}, what](const ExitReason& reason) {
      home->post_or_cancel(make_op([what, reason](Cell* supervisor) {
        if (supervisor != nullptr)
          supervisor->body<SupervisorBody>().ended(*supervisor, what, reason);
      }));
    };
    Result<void> started;
    try {
      started = child.spec.start(std::move(exited));
    } catch (...) {
      started = current_exception_error();
    }
    if (started.is_ok()) {
      child.started.set();
      events.emplace_back(Machine::Started{what.id, what.life});
    } else {
      child.last_error = started.error();
      events.emplace_back(Machine::Ended{what.id, what.life, true});
    }
  }
  void act(Cell&, const Machine::StopChild& what, std::deque<Machine::Event>&) {
    call(children_.at(what.id).spec.stop);
  }
  void act(Cell&, const Machine::KillChild& what, std::deque<Machine::Event>&) {
    call(children_.at(what.id).spec.kill);
  }
  void act(Cell&, const Machine::ReleaseChild& what, std::deque<Machine::Event>&) {
    const auto found = children_.find(what.id);
    Entry child = std::move(found->second);
    children_.erase(found);
    release(child, child.last_error ? ExitReason{*child.last_error}
                                    : ExitReason{ExitReason::Kind::stopped});
  }
  void act(Cell& cell, const Machine::Arm& what, std::deque<Machine::Event>&) {
    cell.run_at(what.due, [timer = what.timer](Cell& supervisor) {
      supervisor.body<SupervisorBody>().feed(supervisor, Machine::TimeUp{timer});
    });
  }
  void act(Cell& cell, const Machine::Finished& what, std::deque<Machine::Event>&) {
    if (what.gave_up) {
      cell.end(Error{Errc::broken, "supervisor '" + name_ + "' gave up: " + *what.gave_up});
    } else {
      cell.end(ExitReason::Kind::stopped);
    }
  }

  static void call(const std::function<void()>& function) noexcept {
    try {
      if (function) function();
    } catch (...) {
      report_background_error(current_exception_error());
    }
  }

  void ended(Cell& cell, const Machine::StartChild& what, const ExitReason& reason) {
    const auto found = children_.find(what.id);
    if (found != children_.end()) {
      found->second.last_error =
          reason.error() != nullptr ? std::optional<Error>{*reason.error()} : std::nullopt;
    }
    feed(cell, Machine::Ended{what.id, what.life, !reason.is_orderly()});
  }

  std::string name_;
  Machine machine_;
  std::map<Machine::ChildId, Entry> children_;
  Machine::ChildId next_id_ = 0;
};

}  // namespace

bool SupervisedCell::suspended_now() noexcept {
  State expected = running;
  if (state_.compare_exchange_strong(expected, suspended, std::memory_order_acq_rel)) return true;
  cell_->resume(make_op([](Cell* cell) {
    if (cell != nullptr) cell->end_for_good(ExitReason::Kind::killed);
  }));
  return false;
}

void SupervisedCell::release(const ExitReason& reason) noexcept {
  if (state_.exchange(orphaned, std::memory_order_acq_rel) == suspended) {
    cell_->resume(make_op([reason](Cell* cell) {
      if (cell != nullptr) cell->end_for_good(reason);
    }));
  } else {
    cell_->abolish();
  }
}

}  // namespace detail

using detail::call_in;
using detail::Cell;
using detail::SupervisorBody;

namespace {

/// In a callback of the supervisor, or on the thread that learns of the ends of processes.
bool waits_for_itself(const Cell& cell) noexcept {
  return cell.runs_here() || detail::on_io_thread();
}

}  // namespace

Result<Supervisor> Supervisor::start(SupervisorOptions options) {
  const std::string name = options.name;
  PASSEL_TRY(auto cell, detail::make_cell(std::make_unique<SupervisorBody>(std::move(options)),
                                          {.name = name}));
  return Supervisor{std::move(cell)};
}

Supervisor& Supervisor::operator=(Supervisor&& other) noexcept {
  Supervisor taken{std::move(other)};
  std::swap(cell_, taken.cell_);
  return *this;
}

Supervisor::~Supervisor() {
  if (!cell_) return;
  stop();
  // It ends by itself when its last owner is one of its own callbacks.
  if (!waits_for_itself(*cell_)) cell_->wait_ended(detail::Deadline::never());
}

Result<void> Supervisor::add(ChildSpec child) const {
  Promise<void> promise;
  Future<void> started = promise.future();
  const auto release = child.release;
  const bool arrived = call_in(*cell_, [&](Cell& cell) {
    cell.body<SupervisorBody>().add(cell, std::move(child), std::move(promise));
  });
  if (arrived) return started.get();
  Error error = detail::actor_gone_error(cell_.get());
  if (release) release(error);
  return error;
}

Result<void> Supervisor::remove(const std::string& name) const {
  Result<void> result = detail::actor_gone_error(cell_.get());
  call_in(*cell_, [&](Cell& cell) { result = cell.body<SupervisorBody>().remove(cell, name); });
  return result;
}

std::vector<ChildStatus> Supervisor::children() const {
  std::vector<ChildStatus> all;
  call_in(*cell_, [&all](Cell& cell) { all = cell.body<SupervisorBody>().status(); });
  return all;
}

void Supervisor::stop() const {
  cell_->post_or_cancel(detail::make_op([](Cell* cell) {
    if (cell != nullptr) cell->body<SupervisorBody>().stop(*cell, std::nullopt);
  }));
}

Result<void> Supervisor::stop(detail::Deadline deadline) const {
  if (waits_for_itself(*cell_)) {
    stop();
    return Error{Errc::deadlock, "a callback waits for the end of supervisor '" + name() +
                                     "', which cannot end before it returns"};
  }
  if (deadline.is_never()) {
    stop();
  } else {
    // Leaves some of the time for those that must be killed.
    const auto until = deadline.when() - deadline.left() / 4;
    cell_->post_or_cancel(detail::make_op([until](Cell* cell) {
      if (cell != nullptr) cell->body<SupervisorBody>().stop(*cell, until);
    }));
  }
  if (cell_->wait_ended(deadline)) return {};
  std::string names;
  for (const ChildStatus& child : children()) names += (names.empty() ? "" : ", ") + child.name;
  if (cell_->has_ended()) return {};
  return Error{Errc::timeout, "supervisor '" + name() + "' still waits for " + names};
}

Result<void> Supervisor::add_supervisor(SupervisorOptions supervisor,
                                        std::function<Result<void>(Supervisor&)> setup,
                                        ChildOptions options) const {
  auto present = std::make_shared<std::optional<Supervisor>>();
  ChildSpec child;
  child.name = supervisor.name;
  child.options = options;
  child.start = [present, supervisor,
                 setup = std::move(setup)](std::function<void(ExitReason)> exited) -> Result<void> {
    PASSEL_TRY(auto started, Supervisor::start(supervisor));
    if (auto ready = setup(started); ready.is_err()) {
      started.cell_->abolish();  // at once: nobody waits here for children to stop in order
      return ready.error();
    }
    started.monitor(std::move(exited));
    present->emplace(std::move(started));
    return {};
  };
  child.stop = [present] { (*present)->stop(); };
  child.kill = [present] { (*present)->cell_->abolish(); };
  return add(std::move(child));
}

}  // namespace passel::inline v0
