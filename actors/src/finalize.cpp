// Layer actors: the registry of what a process still has to do before it ends.
#include <passel/finalize.hpp>

#include <passel/detail/future_core.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/log.hpp>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace passel::inline v0 {

using FinalizerKey = std::pair<int, std::uint64_t>;  // priority, then age

struct Finalizer::Entry {
  std::function<void()> callback;  // taken out by whoever takes the entry out of the registry
  FinalizerKey key;
  std::uint32_t generation;
  std::atomic<bool> active{true};
};

/// The registrations of one process. Made on first use and kept until the process has ended. A
/// forked child makes its own: the parent's callbacks are not its business, and the parent's lock
/// may be held by a thread that does not exist here.
struct FinalizerRegistry {
  using Entry = Finalizer::Entry;

  std::mutex mutex;
  std::map<FinalizerKey, std::shared_ptr<Entry>> entries;
  std::uint64_t next = 0;
  const std::uint32_t generation = detail::fork_generation();
  FinalizerRegistry* of_parent = nullptr;

  static FinalizerRegistry& current();

  /// Takes an entry out; empty when somebody else has.
  std::function<void()> take(Entry& entry) {
    const std::lock_guard lock{mutex};
    if (!entry.active.exchange(false, std::memory_order_acq_rel)) return {};
    entries.erase(entry.key);
    return std::exchange(entry.callback, nullptr);
  }

  /// Takes out the one whose turn it is, of those numbered below `end`.
  std::function<void()> take_next(std::optional<int> least, std::uint64_t end) {
    std::shared_ptr<Entry> entry;
    const std::lock_guard lock{mutex};
    for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
      if (least && it->first.first < *least) return {};
      if (it->first.second >= end) continue;
      entry = it->second;
      entries.erase(it->first);
      entry->active.store(false, std::memory_order_release);
      return std::exchange(entry->callback, nullptr);
    }
    return {};
  }

  std::size_t count(std::optional<int> least) {
    const std::lock_guard lock{mutex};
    const auto first = least ? entries.lower_bound({*least, 0}) : entries.begin();
    return static_cast<std::size_t>(std::distance(first, entries.end()));
  }
};

namespace {

constinit std::atomic<FinalizerRegistry*> present{nullptr};
constinit std::atomic<detail::ExitStep> exit_step{nullptr};

}  // namespace

FinalizerRegistry& FinalizerRegistry::current() {
  FinalizerRegistry* found = present.load(std::memory_order_acquire);
  while (found == nullptr || found->generation != detail::fork_generation()) {
    auto made = std::make_unique<FinalizerRegistry>();
    made->of_parent = found;
    if (present.compare_exchange_strong(found, made.get(), std::memory_order_acq_rel))
      return *made.release();
  }
  return *found;
}

Finalizer Finalizer::add(std::function<void()> callback, FinalizerOptions options) {
  if (!callback) return Finalizer{};
  FinalizerRegistry& registry = FinalizerRegistry::current();
  auto entry = std::make_shared<Entry>();
  entry->callback = std::move(callback);
  entry->generation = registry.generation;
  const std::lock_guard lock{registry.mutex};
  entry->key = {options.priority, registry.next++};
  registry.entries.emplace(entry->key, entry);
  return Finalizer{std::move(entry)};
}

bool Finalizer::run_now() const {
  if (!still_active()) return false;
  const std::function<void()> callback = FinalizerRegistry::current().take(*entry_);
  if (!callback) return false;
  callback();
  return true;
}

bool Finalizer::cancel() const {
  return still_active() && FinalizerRegistry::current().take(*entry_) != nullptr;
}

bool Finalizer::still_active() const noexcept {
  return entry_ && entry_->generation == detail::fork_generation() &&
         entry_->active.load(std::memory_order_acquire);
}

namespace detail {

void set_exit_step(ExitStep step) noexcept { exit_step.store(step, std::memory_order_release); }

std::vector<std::string> run_exit_step(Deadline deadline) {
  const ExitStep step = exit_step.load(std::memory_order_acquire);
  if (step == nullptr) return {};
  return step(deadline);
}

void run_finalizers(std::optional<int> least, Deadline deadline) noexcept {
  FinalizerRegistry& registry = FinalizerRegistry::current();
  std::uint64_t end = 0;
  {
    const std::lock_guard lock{registry.mutex};
    end = registry.next;
  }
  while (!deadline.passed()) {
    const std::function<void()> callback = registry.take_next(least, end);
    if (!callback) return;
    try {
      callback();
    } catch (...) {
      get_logger().error("a finalizer failed: " + current_exception_error().what());
    }
  }
  if (const std::size_t left = registry.count(least))
    get_logger().warning("the time for the end was up before " + std::to_string(left) +
                         " finalizers had run");
}

}  // namespace detail
}  // namespace passel::inline v0
