// Layer sync: SyncManager: a manager with the shared types of this layer.
#pragma once

#include <passel/base_manager.hpp>
#include <passel/container_proxies.hpp>
#include <passel/detail/hosted_action.hpp>
#include <passel/lock_proxies.hpp>
#include <passel/queue_proxy.hpp>
#include <passel/semaphore.hpp>
#include <passel/set_proxy.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {
namespace detail {

/// 'i' for int, as in Python's array module.
template <class T>
[[nodiscard]] consteval char code_of_type() noexcept {
  if (std::is_same_v<T, float>) return 'f';
  if (std::is_floating_point_v<T>) return 'd';
  const bool is_signed = std::is_signed_v<T>;
  if (sizeof(T) == 1) return is_signed ? 'b' : 'B';
  if (sizeof(T) == 2) return is_signed ? 'h' : 'H';
  if (sizeof(T) == 4) return is_signed ? 'i' : 'I';
  return is_signed ? 'l' : 'L';
}

}  // namespace detail

/// Beside the parties of a manager's barrier.
struct ManagerBarrierOptions {
  /// The limit of a wait() that names none; empty: it waits for ever.
  std::optional<std::chrono::nanoseconds> timeout{};
  std::string action{};  ///< see register_action; empty: none
};

/// A manager that hosts queues, lists, dictionaries, locks and their like (Python's
/// multiprocessing.managers.SyncManager, what multiprocessing.Manager() gives).
///
///     auto manager = passel::SyncManager::started().unwrap();
///     auto queue = manager.queue<int>(5).unwrap();
///     pool.apply<fill>(queue, 3).unwrap();                     // a queue that pool tasks can have
///
/// Everything else is as for BaseManager: own classes are registered beside the built-in types
/// before start(). What create and get_or_create take for the built-in ones: sync/README.md.
class PASSEL_API SyncManager : public BaseManager {
 public:
  explicit SyncManager(ManagerOptions options = {});
  /// Makes one and starts its server (Python: multiprocessing.Manager()). Errors: those of start.
  [[nodiscard]] static Result<SyncManager> started(ManagerOptions options = {});

  /// At most `maxsize` items; 0 or less: no limit. Errors: those of create. (Python: Queue)
  template <class T = WireValue>
  Result<QueueProxy<T>> queue(std::ptrdiff_t maxsize = 0) {
    return queue_of<T>("Queue", maxsize);
  }
  /// Items whose consumer dies before task_done() come back. (Python: JoinableQueue)
  template <class T = WireValue>
  Result<QueueProxy<T>> joinable_queue(std::ptrdiff_t maxsize = 0) {
    return queue_of<T>("JoinableQueue", maxsize);
  }
  /// The newest item first. (Python: LifoQueue)
  template <class T = WireValue>
  Result<QueueProxy<T>> lifo_queue(std::ptrdiff_t maxsize = 0) {
    return queue_of<T>("LifoQueue", maxsize);
  }
  /// The least item first, of equal ones the oldest; values of different kinds have an order, too.
  /// (Python: PriorityQueue)
  template <class T = WireValue>
  Result<QueueProxy<T>> priority_queue(std::ptrdiff_t maxsize = 0) {
    return queue_of<T>("PriorityQueue", maxsize);
  }

  /// (Python: list(items))
  template <class T = WireValue>
  Result<ListProxy<T>> list(const std::vector<T>& items = {}) {
    return made<ListProxy<T>>(create("list", detail::to_values(items)));
  }
  /// Errors also: type_mismatch for a key that is unhashable. (Python: dict(items))
  template <class K = WireValue, class V = WireValue>
  Result<DictProxy<K, V>> dict(const std::vector<std::pair<K, V>>& items = {}) {
    return made<DictProxy<K, V>>(create("dict", detail::to_values(items)));
  }
  /// Errors also: type_mismatch for an item that is unhashable. (Python: set(items))
  template <class T = WireValue>
  Result<SetProxy<T>> set(const std::vector<T>& items = {}) {
    return made<SetProxy<T>>(create("set", WireValue::list(detail::to_values(items))));
  }
  /// (Python: Namespace())
  Result<NamespaceProxy> namespace_() { return made<NamespaceProxy>(create("Namespace")); }
  /// (Python: Value(typecode, value))
  template <class T>
  Result<ValueProxy<T>> value(const T& value) {
    return made<ValueProxy<T>>(create("Value", to_value(value)));
  }
  /// (Python: Array(typecode, items))
  template <class T>
  Result<ArrayProxy<T>> array(const std::vector<T>& items) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>,
                  "passel: an array holds numbers");
    return made<ArrayProxy<T>>(
        create("Array", std::string(1, detail::code_of_type<T>()), detail::to_values(items)));
  }

  /// (Python: Lock())
  Result<LockProxy> lock() { return made<LockProxy>(create("Lock")); }
  /// (Python: RLock())
  Result<RLockProxy> rlock() { return made<RLockProxy>(create("RLock")); }
  /// Errors also: invalid_argument for a negative value. With Ownership::owned permits of a process
  /// that ends come back. (Python: Semaphore(value))
  Result<SemaphoreProxy> semaphore(std::int64_t value = 1,
                                   Ownership ownership = Ownership::counted) {
    return made<SemaphoreProxy>(create("Semaphore", value, ownership == Ownership::owned));
  }
  /// Never above its first value; permits of a process that ends come back, unless they are only
  /// counted. (Python: BoundedSemaphore(value))
  Result<SemaphoreProxy> bounded_semaphore(std::int64_t value = 1,
                                           Ownership ownership = Ownership::owned) {
    return made<SemaphoreProxy>(create("BoundedSemaphore", value, ownership == Ownership::owned));
  }
  /// (Python: Event())
  Result<EventProxy> event() { return made<EventProxy>(create("Event")); }
  /// With an RLock of its own. (Python: Condition())
  Result<ConditionProxy> condition() { return made<ConditionProxy>(create("Condition")); }
  /// For a lock that is there: holding the condition is holding the lock. Errors also:
  /// type_mismatch when it is no lock of this manager. (Python: Condition(lock))
  Result<ConditionProxy> condition(const LockProxy& lock) {
    return made<ConditionProxy>(create("Condition", lock));
  }
  Result<ConditionProxy> condition(const RLockProxy& lock) {
    return made<ConditionProxy>(create("Condition", lock));
  }
  /// Errors also: invalid_argument when parties is less than one or the timeout negative; not_found
  /// when there is no such action. (Python: Barrier(parties, action, timeout))
  Result<BarrierProxy> barrier(std::int64_t parties, const ManagerBarrierOptions& options = {}) {
    std::optional<std::int64_t> timeout;
    if (options.timeout) timeout = options.timeout->count();
    return made<BarrierProxy>(create(barrier_type(options.action), parties, timeout));
  }
  /// Lets `barrier` have this action under a name: a function of the program that takes nothing and
  /// gives nothing or a Result. It runs in the server, on a thread of its own. Before start(), as
  /// register_type, with its errors.
  template <auto Action>
  Result<void> register_action(std::string_view name) {
    using Task = detail::HostedFactoryTask<&detail::make_barrier_with<Action>>;
    return add_type(barrier_type(name), {Task::id(), {&detail::make_barrier_with<Action>}});
  }

 private:
  template <class P>
  static Result<P> made(Result<DynamicProxy> proxy) {
    if (!proxy) return proxy.error();
    return P{*std::move(proxy)};
  }
  static std::string barrier_type(std::string_view action) {
    return action.empty() ? "Barrier" : "Barrier." + std::string{action};
  }
  template <class T>
  Result<QueueProxy<T>> queue_of(std::string_view type, std::ptrdiff_t maxsize) {
    return made<QueueProxy<T>>(create(type, std::int64_t{maxsize}));
  }
};

}  // namespace passel::inline v0
