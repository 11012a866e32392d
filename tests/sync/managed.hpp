// Test support: objects of a manager's server with the surface of those that lie in memory, so that
// the same body of work runs over both.
#pragma once

#include <passel/barrier.hpp>
#include <passel/condition.hpp>
#include <passel/event.hpp>
#include <passel/rlock.hpp>
#include <passel/semaphore.hpp>
#include <passel/sync_manager.hpp>

#include "placements.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace passel_test {

/// One for all tests of a program; its server ends with the Runtime.
inline passel::SyncManager& the_manager() {
  static auto* const manager = new passel::SyncManager{passel::SyncManager::started().unwrap()};
  return *manager;
}

struct ManagedLock : passel::LockProxy {
  using LockProxy::LockProxy;
  explicit ManagedLock(const passel::LockOptions&) : LockProxy{the_manager().lock().unwrap()} {}
  [[nodiscard]] bool locked() const { return LockProxy::locked().unwrap(); }
};

struct ManagedRLock : passel::RLockProxy {
  using RLockProxy::RLockProxy;
  explicit ManagedRLock(const passel::LockOptions&) : RLockProxy{the_manager().rlock().unwrap()} {}
  [[nodiscard]] bool locked() const { return RLockProxy::locked().unwrap(); }
  [[nodiscard]] bool is_owned() const { return RLockProxy::is_owned().unwrap(); }
  [[nodiscard]] std::uint32_t recursion_count() const {
    return RLockProxy::recursion_count().unwrap();
  }
};

struct ManagedSemaphore : passel::SemaphoreProxy {
  using SemaphoreProxy::SemaphoreProxy;
  explicit ManagedSemaphore(const passel::SemaphoreOptions& options)
      : SemaphoreProxy{the_manager().semaphore(options.value, options.ownership).unwrap()} {}
  [[nodiscard]] std::int64_t value() const { return SemaphoreProxy::value().unwrap(); }
};

struct ManagedBoundedSemaphore : ManagedSemaphore {
  explicit ManagedBoundedSemaphore(passel::DynamicProxy proxy)
      : ManagedSemaphore{std::move(proxy)} {}
  explicit ManagedBoundedSemaphore(const passel::BoundedSemaphoreOptions& options)
      : ManagedSemaphore{
            the_manager().bounded_semaphore(options.value, options.ownership).unwrap()} {}
};

struct ManagedEvent : passel::EventProxy {
  using EventProxy::EventProxy;
  explicit ManagedEvent(const passel::EventOptions&) : EventProxy{the_manager().event().unwrap()} {}
  [[nodiscard]] bool is_set() const { return EventProxy::is_set().unwrap(); }
  void set() const { EventProxy::set().unwrap(); }
  void clear() const { EventProxy::clear().unwrap(); }
  bool wait() const {
    EventProxy::wait().unwrap();
    return true;
  }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return EventProxy::wait_for(timeout).unwrap();
  }
  [[nodiscard]] std::string to_string() const { return text().unwrap(); }
};

struct ManagedCondition : passel::ConditionProxy {
  using ConditionProxy::ConditionProxy;
  explicit ManagedCondition(const passel::ConditionOptions&)
      : ConditionProxy{the_manager().condition().unwrap()} {}
  explicit ManagedCondition(const ManagedRLock& lock)
      : ConditionProxy{the_manager().condition(lock).unwrap()} {}
  [[nodiscard]] std::size_t waiting() const { return ConditionProxy::waiting().unwrap(); }
  [[nodiscard]] std::string to_string() const { return text().unwrap(); }
};

struct ManagedBarrier : passel::BarrierProxy {
  using BarrierProxy::BarrierProxy;
  explicit ManagedBarrier(const passel::BarrierOptions& options)
      : BarrierProxy{
            the_manager().barrier(options.parties, {.timeout = options.timeout}).unwrap()} {}
  [[nodiscard]] int parties() const { return BarrierProxy::parties().unwrap(); }
  [[nodiscard]] int n_waiting() const { return BarrierProxy::n_waiting().unwrap(); }
  [[nodiscard]] bool broken() const { return BarrierProxy::broken().unwrap(); }
  void abort() const { BarrierProxy::abort().unwrap(); }
  void reset() const { BarrierProxy::reset().unwrap(); }
  [[nodiscard]] std::string to_string() const { return text().unwrap(); }
};

/// Objects in a server, workers in threads of this process or in processes.
struct InManager {
  static constexpr const char* name = "Manager";
  static constexpr passel::Reach reach = passel::Reach::threads;
  static constexpr bool processes = false;
  static constexpr bool managed = true;
};
struct InManagerProcesses {
  static constexpr const char* name = "ManagerProcesses";
  static constexpr passel::Reach reach = passel::Reach::host;
  static constexpr bool processes = true;
  static constexpr bool managed = true;
};

using Everywhere =
    ::testing::Types<InThreads, InThreadsAtHost, InProcesses, InManager, InManagerProcesses>;

/// What is tested at a placement: `typename Objects<TypeParam>::Lock`.
template <class Placement>
struct Objects {
  using Lock = passel::Lock;
  using RLock = passel::RLock;
  using Semaphore = passel::Semaphore;
  using BoundedSemaphore = passel::BoundedSemaphore;
  using Event = passel::Event;
  using Condition = passel::Condition;
  using Barrier = passel::Barrier;
};
template <class Placement>
requires(Placement::managed) struct Objects<Placement> {
  using Lock = ManagedLock;
  using RLock = ManagedRLock;
  using Semaphore = ManagedSemaphore;
  using BoundedSemaphore = ManagedBoundedSemaphore;
  using Event = ManagedEvent;
  using Condition = ManagedCondition;
  using Barrier = ManagedBarrier;
};

template <class Placement>
using LockOf = typename Objects<Placement>::Lock;
template <class Placement>
using RLockOf = typename Objects<Placement>::RLock;
template <class Placement>
using SemaphoreOf = typename Objects<Placement>::Semaphore;
template <class Placement>
using EventOf = typename Objects<Placement>::Event;
template <class Placement>
using ConditionOf = typename Objects<Placement>::Condition;
template <class Placement>
using BarrierOf = typename Objects<Placement>::Barrier;

/// Turns of a test: each call of a hosted object wakes another process.
template <class Placement>
[[nodiscard]] constexpr int turns(int in_memory) {
  return Placement::managed ? in_memory / 10 : in_memory;
}

}  // namespace passel_test
