// Layer pool: what stands behind a RemoteExecutor.
#pragma once

#include <passel/authkey.hpp>
#include <passel/certificates.hpp>
#include <passel/detail/call_places.hpp>
#include <passel/detail/exposed_answer.hpp>
#include <passel/detail/exposed_task.hpp>
#include <passel/detail/process_crew.hpp>
#include <passel/detail/proxy_core.hpp>
#include <passel/exposed_tasks.hpp>
#include <passel/future.hpp>
#include <passel/listener.hpp>
#include <passel/pool_options.hpp>
#include <passel/result.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// What becomes of a task that no worker offers while there are some that offer others. One that is
/// started anew offers nothing in between.
enum class UnknownTask {
  refused,  ///< not_found, naming the tasks that there are
  waits,    ///< for a worker that offers it
};

/// Settings of a RemoteExecutor.
struct RemoteExecutorOptions {
  Address address = TcpAddress{};    ///< of a Manager, such as `passel serve`
  std::optional<AuthKey> authkey{};  ///< empty: this process's
  /// Over TCP, instead of the key: ManagerOptions::certificates. Read with each connection.
  std::optional<Certificates> certificates{};
  ExposedTasks tasks{};  ///< what submit<f> and map<f> know by name
  std::string pool{};    ///< which of the server's pools
  UnknownTask unknown_task = UnknownTask::refused;
  TaskOptions task{};  ///< of calls that are given none, maps among them: `{.attempts = 3}`
  /// Calls that may be unanswered at a time; then submit waits, try_submit refuses.
  std::size_t max_pending = 10'000;

  /// What the environment says: PASSEL_CONNECT (HOST:PORT, [V6]:PORT or the path of a socket),
  /// PASSEL_AUTHKEY_FILE (the path of a key file) or PASSEL_CA_FILE, PASSEL_CERT_FILE and
  /// PASSEL_CERT_KEY_FILE (certificates), with PASSEL_PEER_NAME if need be, and PASSEL_POOL.
  /// Errors: not_found when PASSEL_CONNECT is not set, invalid_argument naming the variable that is
  /// wrong, missing or too much, those of AuthKey::load.
  [[nodiscard]] PASSEL_API static Result<RemoteExecutorOptions> from_environment();
};

/// What a pool that spans hosts looks like at one moment.
struct RemotePoolStats {
  struct Worker {
    std::string name;
    std::string host;
    std::int32_t pid = 0;
    std::uint32_t processes = 0;
    std::uint64_t has = 0;             ///< tasks that it was given and has not answered
    std::uint64_t done = 0;            ///< tasks that it has answered
    std::vector<std::string> tasks{};  ///< what it offers
  };
  std::vector<Worker> workers;
  std::vector<std::string> tasks;  ///< what can be asked for: "fetch(str, int) -> object"
  std::uint64_t waiting = 0;       ///< tasks without a worker
  std::uint64_t done = 0;          ///< tasks answered so far, chunks of a map counted as one
  std::uint64_t lost = 0;          ///< of those, with worker_lost
};

namespace detail {

struct TaskOrder;

/// The connection to a broker, and how many calls are open. Safe from any thread.
class PASSEL_API RemoteCrew : public std::enable_shared_from_this<RemoteCrew> {
 public:
  [[nodiscard]] static Result<std::shared_ptr<RemoteCrew>> connect(RemoteExecutorOptions options);
  explicit RemoteCrew(RemoteExecutorOptions options);
  RemoteCrew(const RemoteCrew&) = delete;
  RemoteCrew& operator=(const RemoteCrew&) = delete;
  ~RemoteCrew();

  [[nodiscard]] std::optional<Error> refusal() const;
  [[nodiscard]] Result<RemotePoolStats> stats();
  void close(bool cancel);
  [[nodiscard]] Result<void> join(Deadline deadline);

  /// The options of calls that are given none.
  [[nodiscard]] const TaskOptions& task() const noexcept { return options_.task; }
  /// The name of that task here. Errors: invalid_argument, naming those that there are.
  [[nodiscard]] Result<std::string_view> name_of(TaskId task, const std::string& called) const;

  /// A call's place among those that may be unanswered, waiting for it. Errors: full, timeout,
  /// invalid_state after close.
  using Place = std::shared_ptr<void>;
  [[nodiscard]] Result<Place> admit(Deadline deadline);

  /// A task whose answer is an R, or with `many` several of them. `deadline` is the caller's, for
  /// connecting anew where the connection is lost.
  template <class R>
  [[nodiscard]] Future<R> submit(Place place, std::string_view name, const TaskOptions& options,
                                 std::vector<std::byte> args, Deadline deadline) {
    return send<R>(std::move(place), name, options, std::move(args), deadline,
                   [](ChunkReader& in) { return read_exposed_answer<R>(in); });
  }
  template <class R>
  [[nodiscard]] Future<std::vector<Result<R>>> submit_many(Place place, std::string_view name,
                                                           std::vector<std::byte> args,
                                                           std::size_t count) {
    return send<std::vector<Result<R>>>(
        std::move(place), name, options_.task, std::move(args), Deadline::never(),
        [count](ChunkReader& in) {
          return Result<std::vector<Result<R>>>{read_exposed_answers<R>(in, count)};
        });
  }

 private:
  template <class R, class Read>
  [[nodiscard]] Future<R> send(Place place, std::string_view name, const TaskOptions& options,
                               std::vector<std::byte> args, Deadline deadline, Read read) {
    auto promise = std::make_shared<Promise<R>>();
    Future<R> future = promise->future();
    const auto pending = send_order(std::move(place), name, options, std::move(args), deadline,
                                    exposed_answer<R>(promise, std::move(read)));
    promise->on_cancel([pending] { pending.cancel(); });
    if (!future.done()) roll_->add(*future.core());
    return future;
  }
  ProxyCore::Pending send_order(Place place, std::string_view name, const TaskOptions& options,
                                std::vector<std::byte> args, Deadline deadline,
                                SessionLink::Answered answered);
  [[nodiscard]] Result<std::shared_ptr<ProxyCore>> broker(Deadline deadline);
  [[nodiscard]] Result<std::shared_ptr<ProxyCore>> connect_broker(Deadline deadline) const;
  void answered(const std::shared_ptr<ProxyCore>& by, const Result<SessionReply>& reply);

  const RemoteExecutorOptions options_;
  const std::uint32_t generation_;
  CallPlaces places_;
  CallPlaces untold_{0};  // calls whose future is not done: their place is free a moment earlier
  std::shared_ptr<FutureRoll> roll_ = std::make_shared<FutureRoll>();
  mutable std::mutex mutex_;
  std::condition_variable connected_;
  bool connecting_ = false;          // one thread does, for all
  std::uint64_t attempts_ = 0;       // at it that are over
  std::optional<Error> why_failed_;  // the last one did, and not for want of its caller's time
  std::shared_ptr<ProxyCore> broker_;
  bool broker_lost_ = false;
  bool closed_ = false;
};

}  // namespace detail
}  // namespace passel::inline v0
