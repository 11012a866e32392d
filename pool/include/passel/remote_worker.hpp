// Layer pool: RemoteWorker, a program that runs the tasks of a pool that spans hosts.
#pragma once

#include <passel/authkey.hpp>
#include <passel/certificates.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/exposed_tasks.hpp>
#include <passel/listener.hpp>
#include <passel/pool.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace passel::inline v0 {

/// Settings of a RemoteWorker.
struct RemoteWorkerOptions {
  Address address = TcpAddress{};    ///< of a Manager, such as `passel serve`
  std::optional<AuthKey> authkey{};  ///< empty: this process's
  /// Over TCP, instead of the key: ManagerOptions::certificates. Read with each connection.
  std::optional<Certificates> certificates{};
  std::string pool{};       ///< which of the server's pools
  std::string name{};       ///< in reports and errors; empty: "HOST-PID"
  PoolOptions processes{};  ///< of the worker processes here: their number, memory, ...
  /// How long to try again when the server is gone, or with serve_tasks is not there yet; empty:
  /// for ever.
  std::optional<std::chrono::nanoseconds> reconnect_for{};

  /// What `passel worker` and service managers say in the environment: PASSEL_CONNECT
  /// (HOST:PORT, [V6]:PORT or the path of a socket), PASSEL_AUTHKEY_FILE (the path of a key file)
  /// or the certificates of RemoteExecutorOptions::from_environment, PASSEL_POOL, PASSEL_PROCESSES,
  /// PASSEL_WORKER_NAME. Errors: those of that function.
  [[nodiscard]] PASSEL_API static Result<RemoteWorkerOptions> from_environment();
};

/// A worker of a pool that spans hosts, at one moment.
struct RemoteWorkerStats {
  bool connected = false;
  std::uint64_t has = 0;         ///< tasks here: running, and waiting for a process
  std::uint64_t done = 0;        ///< tasks answered
  std::uint64_t reconnects = 0;  ///< how often it has joined again
};

/// Runs the tasks of a pool at a Manager in worker processes of this host.
///
///     int main(int argc, char** argv) {
///       passel::Runtime runtime{argc, argv};
///       const auto tasks = passel::ExposedTasks::of<&fetch, &count>();
///       auto worker = passel::RemoteWorker::join(tasks, {.address = server, .authkey = key,
///                                                        .processes = {.processes = 8}}).unwrap();
///       worker.wait().unwrap();
///     }
///
/// It takes as many tasks ahead as hide the way to the server, none when they take long. A process
/// of its own that dies costs one task, as in Pool, and is replaced. When the connection is lost,
/// what runs here is stopped, since others are doing it by then, and it joins again, with pauses
/// from 0.1 to 5 s. It ends for good when it is told to leave, when the server refuses it (its
/// certificate has run out, say), or when its own Pool has failed: what had not begun goes to
/// others.
///
/// Move-only; any thread. The destructor ends it at once: what it has goes to others, if its
/// attempts allow. It must be gone before the Runtime.
class PASSEL_API RemoteWorker {
 public:
  /// Starts the worker processes, connects and offers the tasks. Errors: those of Pool::start;
  /// not_found, refused, auth_failed, timeout; type_mismatch when another worker offers one of the
  /// tasks with other types, naming both and their builds; full (SECURITY.md has the limits);
  /// invalid_argument without tasks.
  [[nodiscard]] static Result<RemoteWorker> join(const ExposedTasks& tasks,
                                                 RemoteWorkerOptions options);
  RemoteWorker(RemoteWorker&&) noexcept;
  RemoteWorker& operator=(RemoteWorker&& other) noexcept;
  ~RemoteWorker();

  /// No new tasks; what has begun is finished, what has not goes back to the server and to others.
  /// Never waits: wait() tells when it is done. Idempotent.
  void leave();
  /// Waits until it has ended. Errors: why it had to, when nobody told it to leave.
  Result<void> wait() { return wait_until(detail::Deadline::never()); }
  /// The same, at most so long. Errors also: timeout.
  template <class Rep, class Period>
  Result<void> wait_for(std::chrono::duration<Rep, Period> limit) {
    return wait_until(detail::Deadline::after(limit));
  }

  [[nodiscard]] RemoteWorkerStats stats() const;
  [[nodiscard]] PoolStats processes() const;

  class Body;

 private:
  friend PASSEL_API Result<void> serve_tasks(const ExposedTasks&, RemoteWorkerOptions);
  [[nodiscard]] static Result<std::shared_ptr<Body>> prepared(const ExposedTasks& tasks,
                                                              RemoteWorkerOptions options);
  explicit RemoteWorker(std::shared_ptr<Body> body) noexcept;
  Result<void> wait_until(detail::Deadline deadline);

  std::shared_ptr<Body> body_;
};

/// What the main function of a worker program comes to: joins as the environment says (see
/// RemoteWorkerOptions::from_environment) and works until it is told to leave by whoever started
/// it, `passel worker`, or by SIGTERM, which is then blocked in all threads.
///
///     int main(int argc, char** argv) {
///       passel::Runtime runtime{argc, argv};
///       return passel::serve_tasks(passel::ExposedTasks::of<&fetch>()).is_ok() ? 0 : 1;
///     }
///
/// Hosts may start in any order: a server that cannot be reached yet is waited for
/// (RemoteWorkerOptions::reconnect_for), with a warning in the log.
///
/// To be called before the program has threads of its own. Errors: those of from_environment and
/// join, and why the worker had to end.
PASSEL_API Result<void> serve_tasks(const ExposedTasks& tasks);
/// The same with these options.
PASSEL_API Result<void> serve_tasks(const ExposedTasks& tasks, RemoteWorkerOptions options);

}  // namespace passel::inline v0
