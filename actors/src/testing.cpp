// Layer actors: the simulator.
#include <passel/testing.hpp>

#include <algorithm>
#include <cstdlib>
#include <functional>

namespace passel::inline v0 {

std::uint64_t SimulationRandom::next() noexcept {
  // splitmix64
  state_ += 0x9e3779b97f4a7c15U;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

bool SimulationRandom::chance(double p) noexcept {
  if (p <= 0) return false;
  return static_cast<double>(next() >> 11U) * 0x1.0p-53 < p;
}

std::string SimulationFailure::to_string() const {
  std::string text = "seed " + std::to_string(seed) + ", step " + std::to_string(step);
  if (killed_before_step) text += ", kill before step " + std::to_string(*killed_before_step);
  text += ": " + what + "\nreplay with PASSEL_SEED=" + std::to_string(seed) + "\n";
  for (const std::string& line : trace) text += "  " + line + "\n";
  return text;
}

Simulation::Simulation(SimulationOptions options)
    : options_{std::move(options)}, random_{options_.seed} {}

Simulation::Node Simulation::add_node(std::string name) {
  nodes_.push_back(NodeState{.name = std::move(name)});
  return nodes_.size() - 1;
}

std::string Simulation::stamp() const {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now_).count();
  return "[" + std::to_string(steps_) + " @" + std::to_string(us) + "us] ";
}

void Simulation::push(Time due, std::uint64_t tie, Node owner, std::string_view what,
                      std::function<void()> fire) {
  // Names are for the trace only: most runs keep none.
  events_.push_back(Event{std::max(due, now_), tie, next_id_++, owner,
                          options_.trace ? std::string{what} : std::string{}, std::move(fire)});
  std::push_heap(events_.begin(), events_.end(), std::greater<>{});
}

void Simulation::send(Node from, Node to, std::string_view what, std::function<void()> deliver) {
  LinkState& link = links_[{from, to}];
  const auto spread =
      static_cast<std::uint64_t>((link.options.max_delay - link.options.min_delay).count());
  const int copies =
      random_.chance(link.options.drop) ? 0 : (random_.chance(link.options.duplicate) ? 2 : 1);
  if (copies == 0) note([&] { return "lost: " + std::string{what}; });
  for (int copy = 0; copy < copies; ++copy) {
    Time due =
        now_ + link.options.min_delay + Time{static_cast<Time::rep>(random_.below(spread + 1))};
    std::uint64_t tie = random_.next();
    if (link.options.ordered) {
      if (due <= link.last_due) {
        due = link.last_due;
        tie = link.last_tie + 1;
      } else {
        tie >>= 1U;  // room for those that follow at the same moment
      }
      link.last_due = due;
      link.last_tie = tie;
    }
    push(due, tie, to, what, deliver);
  }
}

std::uint64_t Simulation::at(Time due, Node owner, std::string_view what,
                             std::function<void()> fire) {
  push(due, random_.next(), owner, what, std::move(fire));
  return next_id_ - 1;
}

void Simulation::kill(Node node) {
  if (!nodes_[node].alive) return;
  nodes_[node].alive = false;
  note([&] { return "killed: " + nodes_[node].name; });
  const auto hooks = std::move(nodes_[node].on_death);
  for (const auto& hook : hooks) hook();
}

void Simulation::invariant(std::string name, std::function<bool()> holds) {
  explain(std::move(name), [holds = std::move(holds)]() -> std::optional<std::string> {
    return holds() ? std::nullopt : std::optional<std::string>{"does not hold"};
  });
}

void Simulation::explain(std::string name, std::function<std::optional<std::string>()> broken) {
  invariants_.emplace_back(std::move(name), std::move(broken));
}

void Simulation::fail(std::string what) {
  if (failure_) return;
  failure_ = SimulationFailure{.seed = options_.seed,
                               .step = steps_,
                               .killed_before_step = options_.kill_before_step,
                               .what = std::move(what),
                               .trace = {}};
  note([&] { return "FAILED: " + failure_->what; });
  failure_->trace = trace_;
}

void Simulation::check() {
  for (const auto& [name, broken] : invariants_) {
    if (failure_) return;
    if (auto why = broken()) fail("invariant '" + name + "': " + *why);
  }
}

bool Simulation::step() {
  if (failure_) return false;
  if (options_.kill_before_step == steps_) {
    for (Node node = 0; node < nodes_.size(); ++node) {
      if (nodes_[node].name == options_.victim) kill(node);
    }
    check();
    if (failure_) return false;
  }
  while (!events_.empty()) {
    std::pop_heap(events_.begin(), events_.end(), std::greater<>{});
    const Event event = std::move(events_.back());
    events_.pop_back();
    if (const auto found = std::find(cancelled_.begin(), cancelled_.end(), event.id);
        found != cancelled_.end()) {
      cancelled_.erase(found);
      continue;
    }
    now_ = std::max(now_, event.due);
    if (event.owner != nobody && !nodes_[event.owner].alive) continue;
    if (++steps_ > options_.max_steps) {
      fail("still not over after " + std::to_string(options_.max_steps) + " steps");
      return false;
    }
    note([&] {
      return (event.owner == nobody ? std::string{"-"} : nodes_[event.owner].name) + ": " +
             event.what;
    });
    event.fire();
    check();
    return !failure_;
  }
  return false;
}

bool Simulation::run(std::optional<Time> until) {
  while (!failure_ && !(until && (events_.empty() || events_.front().due > *until))) {
    if (!step()) break;
  }
  if (until && !failure_) now_ = std::max(now_, *until);
  return !failure_;
}

std::optional<SimulationFailure> simulate(SimulateOptions options,
                                          const std::function<void(Simulation&)>& scenario) {
  const auto run_once = [&](std::uint64_t seed, bool trace) {
    Simulation simulation{{.seed = seed, .max_steps = options.max_steps, .trace = trace}};
    scenario(simulation);
    return simulation.failure();
  };
  if (const char* wanted = std::getenv("PASSEL_SEED")) {
    return run_once(std::strtoull(wanted, nullptr, 10), true);
  }
  for (std::uint64_t seed = options.first_seed; seed < options.first_seed + options.seeds; ++seed) {
    if (auto failure = run_once(seed, false)) {
      auto traced = run_once(seed, true);
      return traced ? traced : failure;
    }
  }
  return std::nullopt;
}

std::optional<SimulationFailure> kill_everywhere(std::uint64_t seed, const std::string& victim,
                                                 const std::function<void(Simulation&)>& scenario) {
  for (std::uint64_t point = 0;; ++point) {
    const auto run_once = [&](bool trace) {
      Simulation simulation{
          {.seed = seed, .kill_before_step = point, .victim = victim, .trace = trace}};
      scenario(simulation);
      return std::pair{simulation.failure(), simulation.steps()};
    };
    const auto [failure, steps] = run_once(false);
    if (failure) {
      auto traced = run_once(true).first;
      return traced ? traced : failure;
    }
    if (steps < point) return std::nullopt;
  }
}

}  // namespace passel::inline v0
