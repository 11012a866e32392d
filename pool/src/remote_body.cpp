// Layer pool: a worker of a pool that spans hosts: connection, tasks, results.
#include "remote_body.hpp"

#include <passel/base_manager.hpp>
#include <passel/detail/quiet_thread.hpp>
#include <passel/log.hpp>

#include <unistd.h>
#include <algorithm>
#include <string>

namespace passel::inline v0 {

using namespace detail;
using namespace std::chrono_literals;

namespace {

constexpr unsigned most_reports = 2;
constexpr unsigned most_asks = 2;
constexpr std::size_t report_bytes = std::size_t{8} << 20;  // in one message; a larger one alone
constexpr auto look_every = 100ms;
constexpr std::chrono::milliseconds first_pause = 100ms;
constexpr std::chrono::milliseconds longest_pause = 5s;

/// Whether the server may be there later.
bool is_absence(const Error& error) {
  switch (error.code()) {
    case Errc::not_found:
    case Errc::refused:
    case Errc::peer_lost:
    case Errc::timeout:
    case Errc::full: return true;
    default: return false;
  }
}

}  // namespace

RemoteWorker::Body::Body(const ExposedTasks& tasks, RemoteWorkerOptions options, Pool pool)
    : tasks_{tasks},
      options_{std::move(options)},
      name_{options_.name.empty() ? host_name() + "-" + std::to_string(::getpid()) : options_.name},
      pool_{std::move(pool)},
      handle_{PoolAccess::handle(pool_)} {}

RemoteWorker::Body::~Body() = default;

std::string RemoteWorker::Body::host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0) return "?";
  return name;
}

// --- joining ---

Result<void> RemoteWorker::Body::connect() {
  BaseManager manager{{.address = options_.address,
                       .authkey = options_.authkey,
                       .certificates = options_.certificates}};
  PASSEL_CHECK(manager.connect());
  PASSEL_TRY(const DynamicProxy found, manager.create(broker_type, options_.pool));
  WorkerHello hello;
  hello.name = name_;
  hello.host = host_name();
  hello.pid = ::getpid();
  hello.build = build_id();
  hello.processes = pool_.processes();
  for (const auto& entry : tasks_.entries()) hello.tasks.push_back(entry.sign);
  PASSEL_TRY(const auto number, found.call<BrokerWorker>("join", hello));
  std::uint64_t connection = 0;
  {
    const std::lock_guard lock{mutex_};
    connection = ++connection_;
    if (connection > 1) ++reconnects_;
    broker_ = found.core();
    number_ = number;
    connected_ = true;
    joined_ = true;
    loss_.reset();
    told_window_ = 0;
    reports_open_ = 0;
  }
  found.core()->call_async(
      "stay", encode_pack(number).unwrap(), Deadline::never(),
      [weak = weak_from_this(), connection](const Result<SessionReply>& reply) {
        const auto body = weak.lock();
        if (body && !reply) body->lose(connection, reply.error());
      });
  report(connection);
  for (unsigned i = 0; i < most_asks; ++i) ask(connection);
  return {};
}

Result<void> RemoteWorker::Body::begin() {
  PASSEL_CHECK(connect());
  return start_thread();
}

Result<void> RemoteWorker::Body::begin_patiently() {
  if (auto joined = connect(); !joined) {
    if (!is_absence(joined.error())) return joined;
    const std::string why = joined.error().to_string();
    get_logger().log(LogLevel::warning, [&] { return "worker waits for its server: " + why; });
    loss_ = std::move(joined).error();
  }
  return start_thread();
}

Result<void> RemoteWorker::Body::start_thread() {
  PASSEL_TRY(thread_, start_quiet_thread("passel.remote", [this] { work(); }));
  return {};
}

void RemoteWorker::Body::work() {
  std::unique_lock lock{mutex_};
  std::uint64_t seen = 0;
  while (!ended_) {
    changed_.wait_for(lock, look_every,
                      [this] { return ended_ || loss_ || (leaving_ && !said_goodbye_); });
    if (ended_) break;
    if (loss_) {
      abandon_tasks(lock);
      if (leaving_ || !reconnect(lock)) break;
      continue;
    }
    if (const auto refusal = handle_->refusal(); refusal && !leaving_) {
      end_ = refusal;
      leaving_ = true;
    }
    if (leaving_ && !said_goodbye_) {
      said_goodbye_ = true;
      lock.unlock();
      say_goodbye();
      lock.lock();
    }
    if (std::exchange(seen, done_) != done_ || backlog_.empty()) continue;
    // Something here takes long: what has not begun is for others.
    pace_.stalled();
    lock.unlock();
    give_back();
    lock.lock();
  }
  ended_ = true;
  changed_.notify_all();
}

bool RemoteWorker::Body::reconnect(std::unique_lock<std::mutex>& lock) {
  const auto give_up =
      options_.reconnect_for ? Deadline::after(*options_.reconnect_for) : Deadline::never();
  Error why = *loss_;
  for (auto pause = first_pause;; pause = std::min(2 * pause, longest_pause)) {
    if (changed_.wait_for(lock, pause, [this] { return ended_ || leaving_; })) return false;
    lock.unlock();
    const auto joined = connect();
    lock.lock();
    if (joined) return true;
    why = joined.error();
    get_logger().log(LogLevel::info, [&] { return "worker cannot join: " + why.to_string(); });
    const bool is_final = why == Errc::auth_failed || why == Errc::type_mismatch;
    if (!is_final && !give_up.passed()) continue;
    end_ = why;
    return false;
  }
}

void RemoteWorker::Body::lose(std::uint64_t connection, const Error& why) {
  const std::lock_guard lock{mutex_};
  if (connection != connection_ || loss_ || ended_ || !connected_) return;
  get_logger().log(LogLevel::warning, [&] { return "worker lost its server: " + why.to_string(); });
  connected_ = false;
  loss_ = why;
  if (why == Errc::peer_lost) joined_ = false;  // the broker forgets whose session ends
  changed_.notify_all();
}

/// Its processes run nothing any more: what has not begun is for others.
void RemoteWorker::Body::retire(const Error& why) {
  {
    const std::lock_guard lock{mutex_};
    if (!leaving_ && !ended_) {
      end_ = why;
      leaving_ = true;
      changed_.notify_all();
    }
  }
  give_back();
}

/// What the broker has it down for goes to others, although the session may live on.
void RemoteWorker::Body::say_quit() {
  std::shared_ptr<ProxyCore> broker;
  BrokerWorker number = 0;
  {
    const std::lock_guard lock{mutex_};
    connected_ = false;
    if (!std::exchange(joined_, false)) return;
    broker = broker_;
    number = number_;
  }
  broker->call_async("quit", encode_pack(number).unwrap(), Deadline::never(), [](auto&&) {});
}

void RemoteWorker::Body::abandon_tasks(std::unique_lock<std::mutex>& lock) {
  backlog_.clear();
  outcomes_.clear();
  std::vector<std::pair<const PoolJob*, std::uint64_t>> jobs;
  for (auto& [key, running] : running_) {
    running.stop = true;
    if (running.submitted) jobs.emplace_back(running.job, running.serial);
  }
  lock.unlock();
  for (const auto& [job, serial] : jobs) handle_->stop(job, serial);
  say_quit();
  lock.lock();
}

// --- tasks ---

void RemoteWorker::Body::ask(std::uint64_t connection) {
  std::shared_ptr<ProxyCore> broker;
  BrokerWorker number = 0;
  {
    const std::lock_guard lock{mutex_};
    if (connection != connection_ || !connected_ || ended_) return;
    broker = broker_;
    number = number_;
  }
  broker->call_async("take", encode_pack(number).unwrap(), Deadline::never(),
                     [weak = weak_from_this(), connection](const Result<SessionReply>& reply) {
                       if (const auto body = weak.lock()) body->granted(connection, reply);
                     });
}

void RemoteWorker::Body::granted(std::uint64_t connection, const Result<SessionReply>& reply) {
  auto grant = decode_reply<TaskGrant>(reply);
  if (!grant) return lose(connection, grant.error());
  {
    const std::lock_guard lock{mutex_};
    if (connection != connection_ || !connected_) return;
    for (GivenTask& task : grant->tasks)
      if (task.which < tasks_.entries().size()) backlog_.push_back(std::move(task));
  }
  ask(connection);
  stop(connection, grant->stops);
  pump();
}

void RemoteWorker::Body::stop(std::uint64_t connection, const std::vector<std::uint64_t>& tasks) {
  std::vector<std::pair<const PoolJob*, std::uint64_t>> jobs;
  {
    const std::lock_guard lock{mutex_};
    for (const std::uint64_t task : tasks) {
      const auto waiting = std::find_if(backlog_.begin(), backlog_.end(),
                                        [task](const auto& one) { return one.task == task; });
      if (waiting != backlog_.end()) {
        backlog_.erase(waiting);
        outcomes_.push_back({.task = task,
                             .how = static_cast<std::uint8_t>(BrokerLedger::Ending::returned),
                             .is_error = false,
                             .bytes = {}});
      }
      const auto running = running_.find({connection, task});
      if (running == running_.end()) continue;
      running->second.stop = true;
      if (running->second.submitted) jobs.emplace_back(running->second.job, running->second.serial);
    }
  }
  for (const auto& [job, serial] : jobs) handle_->stop(job, serial);
  report(connection);
}

void RemoteWorker::Body::pump() {
  if (const auto why = handle_->refusal()) return retire(*why);
  const std::size_t room = std::max<std::size_t>(handle_->appetite(), pool_.processes());
  std::vector<std::pair<Key, std::unique_ptr<ChunkJob>>> jobs;
  {
    const std::lock_guard lock{mutex_};
    while (running_.size() < room && !backlog_.empty()) {
      GivenTask given = std::move(backlog_.front());
      backlog_.pop_front();
      const Key key{connection_, given.task};
      const TaskId task = tasks_.entries()[given.which].task;
      auto job =
          std::make_unique<ChunkJob>(task, std::move(given.label), std::move(given.args),
                                     ChunkJob::Limits{std::chrono::nanoseconds{given.limit_ns},
                                                      std::chrono::nanoseconds{given.grace_ns}},
                                     [weak = weak_from_this(), key](ChunkOutcome&& outcome) {
                                       if (const auto body = weak.lock())
                                         body->finished(key, std::move(outcome));
                                     });
      running_[key] = {.job = job.get(), .serial = job->serial()};
      jobs.emplace_back(key, std::move(job));
    }
  }
  for (auto& [key, job] : jobs) {
    const PoolJob* const which = job.get();
    const std::uint64_t serial = job->serial();
    handle_->submit(std::move(job));
    bool is_unwanted = false;
    {
      const std::lock_guard lock{mutex_};
      const auto running = running_.find(key);
      if (running == running_.end()) continue;
      running->second.submitted = true;
      is_unwanted = running->second.stop;
    }
    if (is_unwanted) handle_->stop(which, serial);
  }
}

void RemoteWorker::Body::finished(const Key& key, ChunkOutcome&& outcome) {
  if (outcome.bytes.size() > most_payload)
    outcome.error = over_payload("an answer", outcome.bytes.size());
  TaskOutcome told;
  told.task = key.second;
  auto how = outcome.holds_error ? BrokerLedger::Ending::failed : BrokerLedger::Ending::answered;
  if (const auto& error = outcome.error) {
    told.is_error = true;
    told.bytes = encode_error(*error).bytes;
    const bool is_lost = *error == Errc::worker_lost || *error == Errc::pool_failed;
    how = is_lost ? BrokerLedger::Ending::lost : BrokerLedger::Ending::answered;
  } else {
    told.bytes = std::move(outcome.bytes);
  }
  told.how = static_cast<std::uint8_t>(how);
  {
    const std::lock_guard lock{mutex_};
    running_.erase(key);
    if (key.first == connection_ && connected_) {
      outcomes_.push_back(std::move(told));
      ++done_;
      pace_.ended(1, std::chrono::steady_clock::now());
    }
  }
  pump();
  report(key.first);
}

void RemoteWorker::Body::give_back() {
  std::uint64_t connection = 0;
  {
    const std::lock_guard lock{mutex_};
    connection = connection_;
    for (const GivenTask& task : std::exchange(backlog_, {}))
      outcomes_.push_back({.task = task.task,
                           .how = static_cast<std::uint8_t>(BrokerLedger::Ending::returned),
                           .is_error = false,
                           .bytes = {}});
  }
  report(connection);
}

// --- telling the broker ---

std::uint32_t RemoteWorker::Body::window() const {
  if (leaving_) return 0;
  return pool_.processes() + pace_.ahead();
}

void RemoteWorker::Body::report(std::uint64_t connection) {
  std::shared_ptr<ProxyCore> broker;
  Result<Encoded> args = Encoded{};
  {
    const std::lock_guard lock{mutex_};
    if (connection != connection_ || !connected_ || reports_open_ >= most_reports) return;
    const std::uint32_t wanted = window();
    // A window that shrinks or grows a little can wait for the next result.
    const bool is_news = told_window_ == 0 ? wanted != 0 : wanted == 0;
    if (outcomes_.empty() && !is_news) return;
    std::vector<TaskOutcome> told;
    std::size_t bytes = 0;
    while (told.size() < outcomes_.size()) {
      bytes += outcomes_[told.size()].bytes.size();
      if (bytes > report_bytes && !told.empty()) break;
      told.push_back(std::move(outcomes_[told.size()]));
    }
    outcomes_.erase(outcomes_.begin(),
                    outcomes_.begin() + static_cast<std::ptrdiff_t>(told.size()));
    told_window_ = wanted;
    args = encode_pack(number_, wanted, told);
    ++reports_open_;
    broker = broker_;
  }
  if (!args) return lose(connection, args.error());
  broker->call_async("done", *std::move(args), Deadline::never(),
                     [weak = weak_from_this(), connection,
                      sent = std::chrono::steady_clock::now()](const Result<SessionReply>& reply) {
                       const auto body = weak.lock();
                       if (!body) return;
                       {
                         const std::lock_guard lock{body->mutex_};
                         body->pace_.answered(std::chrono::steady_clock::now() - sent);
                       }
                       body->reported(connection, reply);
                     });
}

void RemoteWorker::Body::reported(std::uint64_t connection, const Result<SessionReply>& reply) {
  if (!reply) return lose(connection, reply.error());
  {
    const std::lock_guard lock{mutex_};
    if (connection != connection_) return;
    --reports_open_;
  }
  report(connection);
}

// --- the end ---

void RemoteWorker::Body::leave() {
  const std::lock_guard lock{mutex_};
  leaving_ = true;
  changed_.notify_all();
}

void RemoteWorker::Body::say_goodbye() {
  give_back();
  std::shared_ptr<ProxyCore> broker;
  std::uint64_t connection = 0;
  BrokerWorker number = 0;
  {
    const std::lock_guard lock{mutex_};
    broker = broker_;
    connection = connection_;
    number = number_;
  }
  broker->call_async("leave", encode_pack(number).unwrap(), Deadline::never(),
                     [weak = weak_from_this(), connection](const Result<SessionReply>& reply) {
                       const auto body = weak.lock();
                       if (!body) return;
                       if (!reply) return body->lose(connection, reply.error());
                       const std::lock_guard lock{body->mutex_};
                       body->joined_ = body->connected_ = false;
                       body->ended_ = true;
                       body->changed_.notify_all();
                     });
}

Result<void> RemoteWorker::Body::wait(Deadline deadline) {
  std::unique_lock lock{mutex_};
  const auto has_ended = [this] { return ended_; };
  if (deadline.is_never()) {
    changed_.wait(lock, has_ended);
  } else if (!changed_.wait_until(lock, deadline.when(), has_ended)) {
    return Error{Errc::timeout, "worker '" + name_ + "' has " +
                                    std::to_string(running_.size() + backlog_.size()) + " tasks"};
  }
  if (end_) return *end_;
  return {};
}

void RemoteWorker::Body::end() {
  {
    const std::lock_guard lock{mutex_};
    ended_ = true;
    changed_.notify_all();
  }
  say_quit();
  if (thread_.joinable()) thread_.join();
  say_quit();  // it may have joined meanwhile
  // Here, since the last one to hold this may be a thread of the pool.
  handle_->end();
}

RemoteWorkerStats RemoteWorker::Body::stats() const {
  const std::lock_guard lock{mutex_};
  return {.connected = connected_,
          .has = backlog_.size() + running_.size(),
          .done = done_,
          .reconnects = reconnects_};
}

}  // namespace passel::inline v0
