// Layer sync: finding circles of threads that wait for each other's locks.
#include "wait_graph.hpp"

#include "permit_machine.hpp"

#include <passel/log.hpp>

#include <memory>
#include <mutex>
#include <new>

namespace passel::inline v0 {
namespace detail {
namespace {

struct Handler {
  std::mutex mutex;
  std::shared_ptr<const std::function<void(const DeadlockReport&)>> function;
};

Handler& handler() {
  static auto* const the_handler = new Handler;
  return *the_handler;
}

/// One step of the walk: a waiter, the lock it waits for, and the thread that holds that.
struct Edge {
  std::uint32_t waiter = 0;
  std::uint64_t ticket = 0;
  std::uint32_t lock = 0;
  std::uint64_t word = 0;
  std::uint32_t holder_thread = 0;
  friend bool operator==(const Edge&, const Edge&) = default;
};

bool is_lock(const ObjectHeader& header) {
  const auto kind = static_cast<SyncKind>(header.kind.load(std::memory_order_relaxed));
  return kind == SyncKind::lock || kind == SyncKind::rlock;
}

/// What the waiter waits for at present; empty when that is no lock, or nobody is known to hold it.
std::optional<Edge> edge_from(SyncArena& arena, std::uint32_t number) {
  const Waiter& waiter = arena.waiter(number);
  const std::uint32_t state = waiter.state.load();
  const std::uint32_t chunk = waiter.line.load();
  if (chunk == 0 || (state != waiter_waiting && state != waiter_nudged)) return std::nullopt;
  ObjectHeader& header = arena.object(chunk);
  if (!is_lock(header)) return std::nullopt;
  PermitMachine machine{arena, header};
  Edge edge{.waiter = number,
            .ticket = waiter.ticket,
            .lock = chunk,
            .word = machine.state().first.load(),
            .holder_thread = machine.state().thread.load()};
  if (PermitMachine::place_of(edge.word) == nobody || edge.holder_thread == 0) return std::nullopt;
  return edge;
}

std::uint32_t waiter_of(SyncArena& arena, std::uint32_t thread) {
  for (std::uint32_t w = 1; w <= arena.waiters(); ++w) {
    const Waiter& waiter = arena.waiter(w);
    if (waiter.thread == thread && waiter.owner.load() != nobody && waiter.line.load() != 0)
      return w;
  }
  return nobody;
}

/// The edges of the circle through `waiter`, if there is one now.
std::vector<Edge> walk(SyncArena& arena, std::uint32_t waiter) {
  std::vector<Edge> edges;
  const std::uint32_t start = arena.waiter(waiter).thread;
  std::uint32_t number = waiter;
  while (number != nobody && edges.size() <= sync_waiter_count) {
    const auto edge = edge_from(arena, number);
    if (!edge) return {};
    edges.push_back(*edge);
    if (edge->holder_thread == start) return edges;
    number = waiter_of(arena, edge->holder_thread);
    // A circle further on that we are not part of has been found by who closed it.
    for (const Edge& seen : edges) {
      if (seen.waiter == number) return {};
    }
  }
  return {};
}

std::string lock_name(SyncArena& arena, std::uint32_t chunk) {
  const char* name = arena.object(chunk).name.data();
  return *name != '\0' ? "'" + std::string{name} + "'" : "lock " + std::to_string(chunk);
}

/// Seen twice alike, with the tokens of the grants and the tickets of the waits: so all of it was
/// true at once.
std::vector<Edge> walk_twice(SyncArena& arena, std::uint32_t waiter) {
  std::vector<Edge> edges = walk(arena, waiter);
  if (!edges.empty() && walk(arena, waiter) != edges) edges.clear();
  return edges;
}

std::optional<DeadlockReport> describe(SyncArena& arena, const std::vector<Edge>& edges) {
  if (edges.empty()) return std::nullopt;
  DeadlockReport report;
  for (const Edge& edge : edges) {
    const std::uint32_t waits = arena.waiter(edge.waiter).owner.load();
    if (waits == nobody) return std::nullopt;
    report.waits.push_back(
        {.waiting_pid = arena.process(waits).pid.load(),
         .waiting_thread = static_cast<int>(arena.waiter(edge.waiter).thread),
         .lock = lock_name(arena, edge.lock),
         .holding_pid = arena.process(PermitMachine::place_of(edge.word)).pid.load(),
         .holding_thread = static_cast<int>(edge.holder_thread)});
  }
  return report;
}

}  // namespace

std::optional<DeadlockReport> find_circle(SyncObject& object, std::uint32_t waiter) {
  try {
    return describe(object.arena(), walk_twice(object.arena(), waiter));
  } catch (const std::bad_alloc&) {
    return std::nullopt;
  }
}

std::optional<DeadlockReport> find_untold_circle(SyncObject& object, std::uint32_t waiter) {
  SyncArena& arena = object.arena();
  try {
    const std::vector<Edge> edges = walk_twice(arena, waiter);
    auto report = describe(arena, edges);
    if (!report) return std::nullopt;
    bool is_new = false;
    for (const Edge& edge : edges) {
      is_new = arena.waiter(edge.waiter).told.exchange(1) == 0 || is_new;
    }
    if (!is_new) report.reset();
    return report;
  } catch (const std::bad_alloc&) {
    return std::nullopt;
  }
}

void report_circle(const DeadlockReport& report) {
  std::shared_ptr<const std::function<void(const DeadlockReport&)>> function;
  {
    const std::lock_guard lock{handler().mutex};
    function = handler().function;
  }
  if (function && *function) {
    (*function)(report);
  } else {
    get_logger().log(LogLevel::warning, [&] { return "deadlock: " + report.to_string(); });
  }
}

}  // namespace detail

std::string DeadlockReport::to_string() const {
  std::string text;
  for (const LockWait& wait : waits) {
    text += text.empty() ? "thread " + std::to_string(wait.waiting_thread) + " of process " +
                               std::to_string(wait.waiting_pid) + " waits for "
                         : ", which waits for ";
    text += wait.lock + ", held by thread " + std::to_string(wait.holding_thread) + " of process " +
            std::to_string(wait.holding_pid);
  }
  return text;
}

void on_deadlock(std::function<void(const DeadlockReport&)> function) {
  auto kept =
      std::make_shared<const std::function<void(const DeadlockReport&)>>(std::move(function));
  const std::lock_guard lock{detail::handler().mutex};
  detail::handler().function = std::move(kept);
}

}  // namespace passel::inline v0
