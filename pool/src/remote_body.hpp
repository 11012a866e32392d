// Layer pool: what stands behind a RemoteWorker: tasks from a broker, run in a Pool of this host.
#pragma once

#include <passel/detail/pool_job.hpp>
#include <passel/proxy.hpp>
#include <passel/remote_worker.hpp>

#include "broker_ledger.hpp"
#include "broker_messages.hpp"
#include "chunk_job.hpp"
#include "task_pace.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// One thread joins, and joins again; everything else happens as answers and results come. A
/// connection has a number, so that what comes late from an earlier one is known.
class RemoteWorker::Body : public std::enable_shared_from_this<Body> {
 public:
  Body(const ExposedTasks& tasks, RemoteWorkerOptions options, Pool pool);
  ~Body();

  [[nodiscard]] Result<void> begin();
  /// The same; a server that cannot be reached is waited for, as one that was lost.
  [[nodiscard]] Result<void> begin_patiently();
  void leave();
  [[nodiscard]] Result<void> wait(detail::Deadline deadline);
  /// Ends the thread and the processes.
  void end();
  [[nodiscard]] RemoteWorkerStats stats() const;
  [[nodiscard]] PoolStats processes() const { return pool_.stats(); }

 private:
  using Key = std::pair<std::uint64_t, detail::BrokerTask>;  // connection, task
  struct Running {
    const detail::PoolJob* job = nullptr;
    std::uint64_t serial = 0;
    bool submitted = false;
    bool stop = false;
  };

  [[nodiscard]] Result<void> connect();
  [[nodiscard]] Result<void> start_thread();
  void work();
  [[nodiscard]] bool reconnect(std::unique_lock<std::mutex>& lock);
  void ask(std::uint64_t connection);
  void granted(std::uint64_t connection, const Result<detail::SessionReply>& reply);
  void stop(std::uint64_t connection, const std::vector<std::uint64_t>& tasks);
  void pump();
  void finished(const Key& key, detail::ChunkOutcome&& outcome);
  void report(std::uint64_t connection);
  void reported(std::uint64_t connection, const Result<detail::SessionReply>& reply);
  void lose(std::uint64_t connection, const Error& why);
  void retire(const Error& why);
  void say_quit();
  void abandon_tasks(std::unique_lock<std::mutex>& lock);
  void give_back();
  void say_goodbye();
  [[nodiscard]] std::uint32_t window() const;
  [[nodiscard]] static std::string host_name();

  const ExposedTasks tasks_;
  const RemoteWorkerOptions options_;
  const std::string name_;
  Pool pool_;
  const std::shared_ptr<detail::PoolHandle> handle_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<detail::ProxyCore> broker_;
  std::uint64_t connection_ = 0;
  detail::BrokerWorker number_ = 0;  // by which the broker knows this worker
  bool connected_ = false;
  bool joined_ = false;  // as far as the broker knows, also when it is no longer connected
  std::optional<Error> loss_;
  bool leaving_ = false;
  bool said_goodbye_ = false;
  bool ended_ = false;
  std::optional<Error> end_;  // why it had to end
  std::deque<detail::GivenTask> backlog_;
  std::map<Key, Running> running_;
  std::vector<detail::TaskOutcome> outcomes_;
  unsigned reports_open_ = 0;
  std::uint32_t told_window_ = 0;
  detail::TaskPace pace_;
  std::uint64_t done_ = 0;
  std::uint64_t reconnects_ = 0;
  std::thread thread_;
};

}  // namespace passel::inline v0
