// Layer pool: Manager, a server of shared objects, of pools, and of pools that span hosts.
#pragma once

#include <passel/export.hpp>
#include <passel/exposed_tasks.hpp>
#include <passel/pool_proxy.hpp>
#include <passel/sync_manager.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// Settings of a pool in a manager's server; see PoolOptions.
struct ManagedPoolOptions {
  std::optional<int> processes{};  ///< empty: as many as the server's host has CPUs for it
  std::optional<int> maxtasksperchild{};
  std::string name{};
};

namespace detail {

/// A task of this program as the server process is told of it when it is started: by offset, which
/// no connection ever carries.
struct ExposedPlan {
  TaskSign sign;
  std::uint32_t module = 0;
  std::uint64_t offset = 0;
};
[[nodiscard]] PASSEL_API std::vector<ExposedPlan> plan_of(const ExposedTasks& tasks);
/// The tasks that pools of the server in this process know. Throws Exception (not_found) when this
/// program does not have one of them.
PASSEL_API void expose_here(const std::vector<ExposedPlan>& tasks);

/// What runs in the server first: that, and a user's initializer.
template <auto Init, class Stored>
struct ExposeAndRun;
template <auto Init, class... S>
struct ExposeAndRun<Init, std::tuple<S...>> {
  static void run(const std::vector<ExposedPlan>& tasks, S... args) {
    expose_here(tasks);
    Init(std::move(args)...);
  }
};

}  // namespace detail

/// A SyncManager that has pools as well, and is the meeting place of workers and of those who have
/// tasks for them: RemoteWorker and RemoteExecutor connect to it, from any host. (What
/// `passel serve` runs; Python: multiprocessing.Manager())
///
///     passel::Manager manager;
///     manager.expose(passel::ExposedTasks::of<&square>()).unwrap();
///     manager.start().unwrap();
///     auto pool = manager.pool({.processes = 4}).unwrap();             // in the server
///     int nine = pool.apply<&square>(3).unwrap();
///
///     passel::Manager far{{.address = passel::TcpAddress{"10.0.0.1", 4711}, .authkey = key}};
///     auto server = far.get_server().unwrap();                         // for RemoteWorkers
///     server.serve_forever();
///
/// It has any number of pools that span hosts, by name; one is there when somebody asks for it.
/// Such a pool keeps its tasks in the memory of the server: when that ends, everybody's futures are
/// peer_lost.
class PASSEL_API Manager : public SyncManager {
 public:
  explicit Manager(ManagerOptions options = {});
  /// Makes one and starts its server. Errors: those of start.
  [[nodiscard]] static Result<Manager> started(ManagerOptions options = {});

  /// The tasks that pools in its server may be asked for, by name. Before start() or get_server();
  /// clients that only connect need none of it. Errors: invalid_argument for a second one of a
  /// name.
  Result<void> expose(const ExposedTasks& tasks);
  /// As BaseManager's, with the exposed tasks.
  Result<void> start();
  template <auto Init, class... A>
  Result<void> start_with(A&&... args) {
    using Stored = detail::task_arguments<detail::FunctionTarget<Init>, A...>;
    return BaseManager::start_with<&detail::ExposeAndRun<Init, Stored>::run>(
        detail::plan_of(tasks_), std::forward<A>(args)...);
  }
  Result<ManagerServer> get_server();

  /// A pool of worker processes in the server, of this host or of the one it is on. Errors: those
  /// of create, those of Pool::start, full (ManagerLimits::processes). (Python: SyncManager.Pool)
  [[nodiscard]] Result<PoolProxy> pool(ManagedPoolOptions options = {});

  /// The pools that span hosts of a server in this process take no more tasks (their futures are
  /// invalid_state); waits until those that are there have ended, at most so long: then false. For
  /// the end of a program that serves.
  template <class Rep, class Period>
  [[nodiscard]] static bool drain_for(std::chrono::duration<Rep, Period> limit) {
    return drain(detail::Deadline::after(limit));
  }

 private:
  static bool drain(detail::Deadline deadline);

  ExposedTasks tasks_;
};

}  // namespace passel::inline v0
