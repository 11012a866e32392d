// Layer pool: Manager, a server of shared objects and of pools that span hosts.
#pragma once

#include <passel/export.hpp>
#include <passel/sync_manager.hpp>

#include <chrono>

namespace passel::inline v0 {

/// A SyncManager that is also the meeting place of workers and of those who have tasks for them:
/// RemoteWorker and RemoteExecutor connect to it, from any host. (What `passel serve` runs; Python:
/// multiprocessing.Manager())
///
///     passel::Manager manager{{.address = passel::TcpAddress{"10.0.0.1", 4711}, .authkey = key}};
///     auto server = manager.get_server().unwrap();
///     server.serve_forever();
///
/// It has any number of pools, by name; one is there when somebody asks for it. A pool keeps its
/// tasks in the memory of the server: when that ends, everybody's futures are peer_lost.
class PASSEL_API Manager : public SyncManager {
 public:
  explicit Manager(ManagerOptions options = {});
  /// Makes one and starts its server. Errors: those of start.
  [[nodiscard]] static Result<Manager> started(ManagerOptions options = {});

  /// The pools of a server in this process take no more tasks (their futures are invalid_state);
  /// waits until those that are there have ended, at most so long: then false. For the end of a
  /// program that serves.
  template <class Rep, class Period>
  [[nodiscard]] static bool drain_for(std::chrono::duration<Rep, Period> limit) {
    return drain(detail::Deadline::after(limit));
  }

 private:
  static bool drain(detail::Deadline deadline);
};

}  // namespace passel::inline v0
