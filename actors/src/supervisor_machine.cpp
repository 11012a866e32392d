// Layer actors: the rules of a supervisor.
#include "supervisor_machine.hpp"

#include <algorithm>
#include <utility>

namespace passel::inline v0::detail {

void SupervisorMachine::step(const Event& event, Time now, std::vector<Action>& actions) {
  if (finished_) return;
  now_ = now;
  actions_ = &actions;
  std::visit([this](const auto& what) { on(what); }, event);
  reconcile();
  actions_ = nullptr;
}

SupervisorMachine::Child* SupervisorMachine::find(ChildId id) noexcept {
  const auto found = std::find_if(children_.begin(), children_.end(),
                                  [id](const Child& child) { return child.id == id; });
  return found == children_.end() ? nullptr : &*found;
}

std::uint64_t SupervisorMachine::arm(Time due) {
  actions_->push_back(Arm{next_timer_, due});
  return next_timer_++;
}

void SupervisorMachine::on(const Add& event) {
  if (find(event.id) != nullptr) return;
  Child child;
  child.id = event.id;
  child.name = event.name;
  child.options = event.options;
  child.wanted = !stopping_;
  children_.push_back(std::move(child));
}

void SupervisorMachine::on(const Remove& event) {
  if (Child* const child = find(event.id)) child->wanted = false;
}

void SupervisorMachine::on(const Started& event) {
  Child* const child = find(event.id);
  if (child != nullptr && child->life == event.life && child->state == State::starting) {
    child->state = State::up;
  }
}

void SupervisorMachine::on(const Ended& event) {
  Child* const child = find(event.id);
  if (child == nullptr || child->life != event.life) return;
  if (child->state == State::down) return;
  went_down(*child, event.failed);
}

void SupervisorMachine::went_down(Child& child, bool failed) {
  const State before = std::exchange(child.state, State::down);
  child.timer = 0;
  if (before == State::late) {
    // It ended after all, when nobody waited for it any more.
    std::erase(late_, child.name);
    return;
  }
  if (before == State::stopping || before == State::killing) return;
  if (!child.wanted || child.cycling) return;
  const bool first_start_failed = before == State::starting && child.life == 1;
  const bool again = child.options.restart == RestartPolicy::permanent ||
                     (child.options.restart == RestartPolicy::transient && failed);
  if (first_start_failed || !again) {
    child.wanted = false;
    return;
  }
  if (may_restart(child)) begin_round(child);
}

bool SupervisorMachine::may_restart(const Child& cause) {
  restarts_.push_back(now_);
  while (!restarts_.empty() && now_ - restarts_.front() > options_.within) restarts_.pop_front();
  if (restarts_.size() <= options_.max_restarts) return true;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(options_.within).count();
  give_up("child '" + cause.name + "' ended once too often: more than " +
          std::to_string(options_.max_restarts) + " restarts within " + std::to_string(ms) + " ms");
  return false;
}

void SupervisorMachine::begin_round(const Child& cause) {
  if (options_.strategy == Restart::one_for_one) return;
  bool concerned = options_.strategy == Restart::one_for_all;
  for (Child& child : children_) {
    concerned = concerned || child.id == cause.id;
    if (!concerned || !child.wanted || child.id == cause.id) continue;
    if (child.state == State::down || child.state == State::late) continue;
    child.cycling = true;
    // A temporary child that is stopped for another's sake does not come back.
    if (child.options.restart == RestartPolicy::temporary) child.wanted = false;
  }
}

void SupervisorMachine::give_up(std::string why) {
  if (!gave_up_) gave_up_ = std::move(why);
  stopping_ = true;
  want_nothing();
}

void SupervisorMachine::want_nothing() {
  for (Child& child : children_) child.wanted = false;
}

void SupervisorMachine::on(const Stop& event) {
  const bool earlier = event.until && (!stop_until_ || *event.until < *stop_until_);
  if (earlier) {
    stop_until_ = event.until;
    stop_timer_ = arm(*event.until);
  }
  stopping_ = true;
  want_nothing();
}

void SupervisorMachine::on(const TimeUp& event) {
  if (event.timer == stop_timer_ && stopping_) {
    for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
      if (child->state == State::starting || child->state == State::up ||
          child->state == State::stopping) {
        kill(*child);
      }
    }
    return;
  }
  for (Child& child : children_) {
    if (child.timer != event.timer) continue;
    if (child.state == State::stopping) {
      kill(child);
    } else if (child.state == State::killing) {
      child.state = State::late;
      child.timer = 0;
      late_.push_back(child.name);
      if (!stopping_) give_up("child '" + child.name + "' does not end");
    }
    return;
  }
}

void SupervisorMachine::kill(Child& child) {
  child.state = State::killing;
  child.timer = arm(now_ + options_.kill_grace);
  actions_->push_back(KillChild{child.id, child.life});
}

void SupervisorMachine::reconcile() {
  stop_next();
  if (!round_open()) start_next();
  release_unwanted();
  if (!stopping_ || finished_) return;
  const bool over = std::all_of(children_.begin(), children_.end(),
                                [](const Child& child) { return child.state == State::late; });
  if (over) {
    finished_ = true;
    actions_->push_back(Finished{gave_up_, late_});
  }
}

/// Stops the last of those that must go down, unless one is on its way already.
void SupervisorMachine::stop_next() {
  const bool going_down = std::any_of(children_.begin(), children_.end(), [](const Child& child) {
    return child.state == State::stopping || child.state == State::killing;
  });
  if (going_down) return;
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    if (child->wanted && !child->cycling) continue;
    if (child->state != State::starting && child->state != State::up) continue;
    child->state = State::stopping;
    child->timer = arm(now_ + child->options.shutdown);
    actions_->push_back(StopChild{child->id, child->life});
    return;
  }
}

/// True while a child of the present round is not down yet; afterwards the round is over.
bool SupervisorMachine::round_open() {
  const bool open = std::any_of(children_.begin(), children_.end(), [](const Child& child) {
    return child.cycling && child.state != State::down;
  });
  if (!open) {
    for (Child& child : children_) child.cycling = false;
  }
  return open;
}

void SupervisorMachine::start_next() {
  for (Child& child : children_) {
    if (!child.wanted) continue;
    if (child.state == State::starting) return;
    if (child.state != State::down) continue;
    if (child.life > 0) ++child.restarts;
    ++child.life;
    child.state = State::starting;
    actions_->push_back(StartChild{child.id, child.life});
    return;
  }
}

void SupervisorMachine::release_unwanted() {
  std::erase_if(children_, [this](const Child& child) {
    if (child.wanted || child.state != State::down) return false;
    actions_->push_back(ReleaseChild{child.id});
    return true;
  });
}

}  // namespace passel::inline v0::detail
