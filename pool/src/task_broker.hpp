// Layer pool: the broker of a pool that spans hosts, as an object in a manager's server.
#pragma once

#include <passel/detail/hosted_methods.hpp>
#include <passel/detail/remote_crew.hpp>

#include "broker_ledger.hpp"
#include "broker_messages.hpp"
#include "kept_answers.hpp"
#include "offered_tasks.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Gives the tasks of submitters to workers. Who calls "join" is a worker, and has gone when its
/// session ends; a task is gone when its submitter gives up the call. Everything on the I/O thread.
class TaskBroker final : public HostedBuiltin<TaskBroker>,
                         public std::enable_shared_from_this<TaskBroker> {
 public:
  static constexpr std::size_t max_tasks = 1'000'000;
  static constexpr std::size_t max_bytes = std::size_t{1} << 30;
  static constexpr std::size_t max_workers_of_session = 64;
  static constexpr std::size_t max_hello = std::size_t{1} << 20;     ///< bytes that one worker says
  static constexpr std::size_t max_hellos = std::size_t{256} << 20;  ///< ... and all, in all pools

  TaskBroker(std::weak_ptr<HostedSite> site, std::string name);
  ~TaskBroker() override;

  void meet(HostedCall&& call);
  void submit(HostedCall&& call);
  void join(HostedCall&& call);
  void stay(HostedCall&& call);
  void take(HostedCall&& call);
  void done(HostedCall&& call);
  void leave(HostedCall&& call);
  void quit(HostedCall&& call);
  [[nodiscard]] RemotePoolStats report() const;

  void abandoned(std::uint64_t session, std::uint64_t call) override;
  void session_ready(std::uint64_t session) override;
  void session_ended(std::uint64_t session) override;
  [[nodiscard]] std::string text() const override;
  [[nodiscard]] const void* identity() const noexcept override { return this; }
  static std::span<const HostedMethod<TaskBroker>> table();

  /// No new tasks; `emptied` is called when those that are there have come to their ends.
  void drain(std::function<void()> emptied);
  [[nodiscard]] std::size_t unsettled() const noexcept { return ledger_.unsettled(); }

 private:
  using CallKey = std::pair<std::uint64_t, std::uint64_t>;  // session, call
  struct Waiting {
    TaskOrder order;
    HostedReply reply;
    CallKey key;
  };
  struct Worker {
    WorkerHello hello;
    std::uint64_t session = 0;
    std::size_t hello_bytes = 0;
    bool is_offering = true;
    std::map<BrokerName, std::uint32_t> which;    // of the tasks in its hello
    std::pair<std::uint64_t, HostedReply> stays;  // a call that is open as long as it is here
    std::deque<std::pair<std::uint64_t, HostedReply>> takes;
    std::vector<BrokerTask> given;  // and not yet told
    std::vector<BrokerTask> stops;
    std::optional<HostedReply> leaving;
    std::uint64_t done = 0;
    bool waits_for_flush = false;
  };
  /// While one is there, the ends of calls and sessions wait: an answer for which a session has no
  /// room is its end, and nothing may go away under whoever gave it.
  class Turn {
   public:
    explicit Turn(TaskBroker& broker) : broker_{broker} { ++broker_.turns_; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      if (broker_.turns_ == 1) broker_.catch_up();
      --broker_.turns_;
    }

   private:
    TaskBroker& broker_;
  };
  struct Notice {
    std::uint64_t session = 0;
    std::optional<std::uint64_t> call;  // empty: all of it has ended
  };

  [[nodiscard]] Result<void> check_hello(const HostedCall& call, const WorkerHello& hello) const;
  [[nodiscard]] Result<void> check_order(const TaskOrder& order) const;
  [[nodiscard]] Worker* worker_of(const HostedCall& call, BrokerWorker number);
  void feed(const BrokerLedger::Event& event, const TaskOutcome* outcome = nullptr);
  void act(const BrokerLedger::Action& action, const TaskOutcome* outcome);
  void settle(BrokerTask task, Result<Encoded> answer);
  void tell_if_drained();
  void stop_offering(Worker& worker);
  void forget_worker(BrokerWorker number);
  void erase_worker(BrokerWorker number);
  void catch_up();
  void on(const Notice& notice);
  void end_call(std::uint64_t session, std::uint64_t call);
  void end_call_of_worker(std::uint64_t session, std::uint64_t call);
  void end_session(std::uint64_t session);
  void arm();
  void flush_later(BrokerWorker number, Worker& worker);
  void flush();
  void flush_to(Worker& worker);
  void finish_leaving(BrokerWorker number, Worker& worker);

  const std::weak_ptr<HostedSite> site_;
  const std::string name_;
  KeptAnswers answers_;
  BrokerLedger ledger_;
  std::map<BrokerTask, Waiting> tasks_;
  std::map<CallKey, BrokerTask> calls_;
  std::map<BrokerWorker, Worker> workers_;
  OfferedTasks offered_;
  std::deque<Notice> notices_;
  int turns_ = 0;
  std::vector<BrokerWorker> unflushed_;
  std::vector<std::function<void()>> drained_;
  std::optional<IoLoop::TimerKey> timer_;
  BrokerTask last_task_ = 0;
  BrokerWorker last_worker_ = 0;
  std::size_t bytes_ = 0;
  inline static std::size_t hello_bytes_ = 0;  // of all pools here: the I/O thread's
  std::uint64_t done_ = 0;
  std::uint64_t lost_ = 0;
  bool draining_ = false;
};

/// The broker of that name at the call's server: one for all clients. A HostedFactory.
[[nodiscard]] Result<std::shared_ptr<HostedObject>> make_task_broker(const HostedCall& call);

}  // namespace passel::inline v0::detail
