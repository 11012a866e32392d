// Layer sync: where the values of a ThreadLocal are kept, and when they go.
#include <passel/thread_local.hpp>

#include "thread_registry.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <unordered_map>

namespace passel::inline v0::detail {

/// Values by their threads. Guarded by the threads' registry, so that a forked child finds it in
/// order.
struct LocalValues::Shared {
  std::uint64_t id = 0;
  std::map<const void*, std::shared_ptr<void>> of_threads;
};

namespace {

std::atomic<std::uint64_t> next_id{1};

constinit thread_local bool locals_are_gone = false;

/// What the calling thread has. Values are reached without a lock: only this thread and the end of
/// the ThreadLocal change them.
struct ThreadLocals {
  struct Entry {
    std::weak_ptr<LocalValues::Shared> owner;
    void* value = nullptr;
  };
  std::unordered_map<std::uint64_t, Entry> entries;
  std::size_t prune_at = 16;

  ThreadLocals() = default;
  ThreadLocals(const ThreadLocals&) = delete;
  ThreadLocals& operator=(const ThreadLocals&) = delete;
  ~ThreadLocals() {
    // A destructor may use another ThreadLocal, and so make new values.
    while (!entries.empty()) {
      const auto first = entries.begin();
      const std::shared_ptr<LocalValues::Shared> owner = first->second.owner.lock();
      entries.erase(first);
      if (owner) static_cast<void>(take(*owner));
    }
    locals_are_gone = true;
  }

  /// Puts a value in its place, nothing takes it out; the old one is to be destroyed by the caller.
  std::shared_ptr<void> exchange(LocalValues::Shared& owner, std::shared_ptr<void> value) {
    const std::lock_guard lock{ThreadRegistry::get().mutex};
    std::shared_ptr<void>& place = owner.of_threads[this];
    place.swap(value);
    return value;
  }
  std::shared_ptr<void> take(LocalValues::Shared& owner) {
    std::shared_ptr<void> value;
    const std::lock_guard lock{ThreadRegistry::get().mutex};
    if (const auto found = owner.of_threads.find(this); found != owner.of_threads.end()) {
      value = std::move(found->second);
      owner.of_threads.erase(found);
    }
    return value;
  }
  /// Forgets entries of ThreadLocals that are gone.
  void prune() {
    if (entries.size() < prune_at) return;
    std::erase_if(entries, [](const auto& entry) { return entry.second.owner.expired(); });
    prune_at = 16 + 2 * entries.size();
  }
};

ThreadLocals& locals() {
  thread_local ThreadLocals table;
  return table;
}

}  // namespace

LocalValues::LocalValues() : shared_{std::make_shared<Shared>()} {
  shared_->id = next_id.fetch_add(1, std::memory_order_relaxed);
}

LocalValues::~LocalValues() {
  std::map<const void*, std::shared_ptr<void>> values;
  const std::lock_guard lock{ThreadRegistry::get().mutex};
  values.swap(shared_->of_threads);
}

void* LocalValues::find() const noexcept {
  if (locals_are_gone) return nullptr;
  const auto& entries = locals().entries;
  const auto found = entries.find(shared_->id);
  return found == entries.end() ? nullptr : found->second.value;
}

void LocalValues::set(std::shared_ptr<void> value) const {
  // In the last destructors of a thread: the value lives as long as the ThreadLocal.
  if (locals_are_gone) {
    const std::lock_guard lock{ThreadRegistry::get().mutex};
    shared_->of_threads[value.get()] = value;
    return;
  }
  ThreadLocals& mine = locals();
  mine.prune();
  mine.entries[shared_->id] = {shared_, value.get()};
  static_cast<void>(mine.exchange(*shared_, std::move(value)));
}

void LocalValues::reset() const {
  if (locals_are_gone) return;
  ThreadLocals& mine = locals();
  mine.entries.erase(shared_->id);
  static_cast<void>(mine.take(*shared_));
}

}  // namespace passel::inline v0::detail
