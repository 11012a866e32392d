// Layer pool: threads that run work of a line, for everything that is an executor over threads.
#include <passel/detail/thread_crew.hpp>

#include <passel/detail/futex.hpp>
#include <passel/detail/shared_object.hpp>
#include <passel/detail/task.hpp>
#include <passel/executor.hpp>
#include <passel/log.hpp>

#include <pthread.h>
#include <algorithm>
#include <system_error>
#include <utility>

namespace passel::inline v0 {

ThrownError::~ThrownError() = default;

void rethrow(const Error& error) {
  const auto* const thrown = error.detail<ThrownError>();
  if (thrown != nullptr && thrown->exception) std::rethrow_exception(thrown->exception);
  throw Exception{error};
}

namespace detail {
namespace {

thread_local ThreadCrew* crew_of_thread = nullptr;

/// The kernel keeps 15 bytes of a name: the number at its end stays, what is before it is cut, not
/// inside of a character.
void name_this_thread(const std::string& name) {
  constexpr std::size_t most = 15;
  std::string text = name;
  if (const std::size_t tail = text.size() - text.rfind('_'); text.size() > most && tail < most) {
    std::size_t head = most - tail;
    while (head > 0 && (static_cast<unsigned char>(text[head]) & 0xC0U) == 0x80U) --head;
    text.erase(head, text.size() - tail - head);
  }
  ::pthread_setname_np(::pthread_self(), text.c_str());
}

}  // namespace

WorkItem::~WorkItem() = default;

std::string next_crew_name() {
  static std::atomic<unsigned> next{0};
  return "ThreadPoolExecutor-" + std::to_string(next.fetch_add(1, std::memory_order_relaxed));
}

Error thrown_error() noexcept {
  const Error error = current_exception_as_error();
  const auto* const plain = error.detail<RemoteError>();
  if (error.code() != Errc::task_failed || plain == nullptr) return error;
  auto detail = std::make_shared<ThrownError>();
  static_cast<RemoteError&>(*detail) = *plain;
  detail->exception = std::current_exception();
  return Error{error.code(), error.what(), std::move(detail)};
}

ThreadCrew::ThreadCrew(CrewOptions options)
    : options_{std::move(options)}, generation_{fork_generation()}, places_{options_.max_pending} {}

ThreadCrew::~ThreadCrew() = default;

unsigned ThreadCrew::allowed() const noexcept {
  return options_.threads + std::min(lent_, options_.spare);
}

void ThreadCrew::append(WorkItem& item) noexcept {
  (last_ == nullptr ? first_ : last_->next_) = &item;
  last_ = &item;
  ++queued_;
}

Result<CallPlace> ThreadCrew::admit(Deadline deadline) {
  CallPlace place;
  if (places_.are_bounded() && !refuses()) {
    if (crew_of_thread == this) {
      places_.enter_at_once();
    } else {
      PASSEL_CHECK(places_.enter(deadline));
    }
    place.reset(&places_);
  }
  if (refuses()) return *refusal();
  return place;
}

Result<void> ThreadCrew::submit(WorkItem& item) {
  Worker* woken = nullptr;
  {
    const std::lock_guard lock{mutex_};
    if (state_ != State::open) return *refusal_;
    append(item);
    std::optional<Error> trouble;
    woken = call_for_help(trouble);
    if (trouble && workers_.empty()) {
      static_cast<void>(take_line());
      return *std::move(trouble);
    }
  }
  wake(woken);
  return {};
}

void ThreadCrew::submit_all(const std::vector<WorkItem*>& items) {
  std::optional<Error> trouble;
  for (WorkItem* const item : items) {
    if (!trouble) {
      if (auto done = submit(*item); done.is_err()) trouble = done.error();
    }
    if (trouble) item->drop(*trouble);
  }
}

std::optional<Error> ThreadCrew::refusal() const {
  const std::lock_guard lock{mutex_};
  return state_ == State::open ? std::nullopt : refusal_;
}

ThreadCrew::Worker* ThreadCrew::call_for_help(std::optional<Error>& trouble) {
  Worker* woken = nullptr;
  // One at a time is woken; who comes and finds more than one task wakes the next.
  if (!idle_.empty() && !waking_) woken = take_idle();
  if (queued_ > coming_ + idle_.size() && workers_.size() < allowed()) trouble = start_thread();
  return woken;
}

std::optional<Error> ThreadCrew::start_thread() {
  Worker& worker = workers_.emplace_back();
  try {
    worker.name = options_.name + "_" + std::to_string(next_number_);
    worker.thread = std::thread{[self = shared_from_this(), &worker] { self->live(worker); }};
  } catch (const std::system_error& error) {
    workers_.pop_back();
    return Error{Errc::no_space, options_.name + " cannot start thread " +
                                     std::to_string(workers_.size() + 1) + " of " +
                                     std::to_string(allowed()) + ": " + error.what()};
  }
  if (orphaned_) worker.thread.detach();
  ++next_number_;
  ++coming_;
  return std::nullopt;
}

ThreadCrew::Worker* ThreadCrew::take_idle() noexcept {
  Worker* const worker = idle_.back();
  idle_.pop_back();
  ++coming_;
  waking_ = true;
  return worker;
}

void ThreadCrew::wake(Worker* worker) noexcept {
  if (worker == nullptr) return;
  worker->bell.store(1, std::memory_order_release);
  futex_wake(worker->bell, 1, FutexScope::process);
}

std::vector<ThreadCrew::Worker*> ThreadCrew::take_all_idle() {
  std::vector<Worker*> all;
  while (!idle_.empty()) all.push_back(take_idle());
  return all;
}

WorkItem* ThreadCrew::take_line() noexcept {
  last_ = nullptr;
  queued_ = 0;
  return std::exchange(first_, nullptr);
}

void ThreadCrew::drop_all(WorkItem* first, const Error& why) noexcept {
  while (first != nullptr) std::exchange(first, first->next_)->drop(why);
}

void ThreadCrew::close(const Error& why, Rest rest) {
  WorkItem* dropped = nullptr;
  std::vector<Worker*> woken;
  {
    const std::lock_guard lock{mutex_};
    if (state_ == State::open) {
      state_ = State::closed;
      refusal_ = why;
      refuses_.store(true, std::memory_order_release);
    }
    if (rest == Rest::cancel) dropped = take_line();
    woken = take_all_idle();
  }
  places_.close();
  for (Worker* const worker : woken) wake(worker);
  drop_all(dropped, Error{Errc::cancelled, options_.name + " was told to cancel what waits"});
}

void ThreadCrew::break_down(const Error& why) {
  WorkItem* dropped = nullptr;
  std::vector<Worker*> woken;
  {
    const std::lock_guard lock{mutex_};
    if (state_ != State::broken) refusal_ = why;
    state_ = State::broken;
    refuses_.store(true, std::memory_order_release);
    dropped = take_line();
    woken = take_all_idle();
  }
  places_.close();
  for (Worker* const worker : woken) wake(worker);
  drop_all(dropped, why);
}

Result<void> ThreadCrew::join(Deadline deadline) {
  if (crew_of_thread == this) {
    return Error{Errc::deadlock,
                 "cannot join current thread: a task of " + options_.name + " waits for its end"};
  }
  std::list<Worker> gone;
  {
    std::unique_lock lock{mutex_};
    const auto none_left = [this] { return workers_.empty(); };
    if (deadline.is_never()) {
      all_gone_.wait(lock, none_left);
    } else if (!all_gone_.wait_until(lock, deadline.when(), none_left)) {
      return Error{Errc::timeout, options_.name + " still has " + std::to_string(workers_.size()) +
                                      " threads, and " + std::to_string(queued_) +
                                      " tasks are waiting"};
    }
    gone.swap(retired_);
  }
  for (Worker& worker : gone) {
    if (worker.thread.joinable()) worker.thread.join();
  }
  return {};
}

void ThreadCrew::end(Rest rest) {
  if (generation_ != fork_generation()) {
    // The threads are the parent's, and its lock may be held by one that does not exist here.
    static_cast<void>(new std::shared_ptr<ThreadCrew>{shared_from_this()});
    return;
  }
  close(Error{Errc::invalid_state, "cannot schedule new futures after shutdown"},
        options_.daemon ? Rest::cancel : rest);
  if (crew_of_thread != this && !options_.daemon) {
    join(Deadline::never()).unwrap();
    return;
  }
  const std::lock_guard lock{mutex_};
  orphaned_ = true;
  for (auto* const list : {&workers_, &retired_}) {
    for (Worker& worker : *list) {
      if (worker.thread.joinable()) worker.thread.detach();
    }
  }
}

ThreadPoolStats ThreadCrew::stats() const {
  const std::lock_guard lock{mutex_};
  ThreadPoolStats stats{.threads = {}, .idle = idle_.size(), .queued = queued_};
  for (const Worker& worker : workers_) stats.threads.push_back(worker.name);
  return stats;
}

void ThreadCrew::live(Worker& me) noexcept {
  crew_of_thread = this;
  WaitObserver::exchange(this);
  name_this_thread(me.name);
  const bool usable = initialize();
  std::unique_lock lock{mutex_};
  --coming_;
  if (usable) {
    do {
      work(lock);
    } while (rest(me, lock));
  }
  // Joined by this thread, which holds no lock: destructors of their thread-local objects may run
  // still, and use the crew.
  std::list<Worker> earlier = retire(me);
  // One thread too many leaves before the line is empty.
  std::optional<Error> trouble;
  Worker* const next = queued_ != 0 ? call_for_help(trouble) : nullptr;
  lock.unlock();
  wake(next);
  for (Worker& worker : earlier) {
    if (worker.thread.joinable()) worker.thread.join();
  }
}

bool ThreadCrew::initialize() {
  if (!options_.initializer) return true;
  std::optional<Error> failure;
  try {
    options_.initializer();
    return true;
  } catch (...) {
    failure = current_exception_as_error();
  }
  Error why{
      Errc::broken,
      "A thread initializer failed, the thread pool is not usable anymore: " + failure->what(),
      failure->detail_pointer()};
  get_logger().error(options_.name + ": " + why.what());
  break_down(why);
  return false;
}

void ThreadCrew::work(std::unique_lock<std::mutex>& lock) {
  while (first_ != nullptr && workers_.size() <= allowed()) {
    WorkItem* const item = first_;
    first_ = item->next_;
    if (first_ == nullptr) last_ = nullptr;
    --queued_;
    Worker* const next = first_ != nullptr && !waking_ && !idle_.empty() ? take_idle() : nullptr;
    lock.unlock();
    wake(next);
    item->run();
    lock.lock();
  }
}

bool ThreadCrew::rest(Worker& me, std::unique_lock<std::mutex>& lock) {
  if (state_ != State::open || workers_.size() > allowed()) return false;
  me.bell.store(0, std::memory_order_relaxed);
  idle_.push_back(&me);
  lock.unlock();
  while (me.bell.load(std::memory_order_acquire) == 0) {
    futex_wait(me.bell, 0, Deadline::never(), FutexScope::process);
  }
  lock.lock();
  --coming_;
  waking_ = false;
  return true;
}

std::list<ThreadCrew::Worker> ThreadCrew::retire(Worker& me) {
  std::list<Worker> earlier;
  earlier.swap(retired_);
  const auto place = std::find_if(workers_.begin(), workers_.end(),
                                  [&me](const Worker& worker) { return &worker == &me; });
  retired_.splice(retired_.end(), workers_, place);
  if (workers_.empty()) all_gone_.notify_all();
  return earlier;
}

void ThreadCrew::before_wait() noexcept {
  std::optional<Error> trouble;
  Worker* woken = nullptr;
  {
    const std::lock_guard lock{mutex_};
    ++lent_;
    if (queued_ != 0) {
      woken = call_for_help(trouble);
      if (lent_ > options_.spare && workers_.size() >= allowed()) {
        trouble =
            Error{Errc::deadlock,
                  options_.name + ": " + std::to_string(lent_) + " tasks wait for futures, with " +
                      std::to_string(options_.spare) + " spare threads for what they may wait for"};
      }
    }
  }
  wake(woken);
  if (trouble) get_logger().warning(trouble->what());
}

void ThreadCrew::after_wait() noexcept {
  Worker* surplus = nullptr;
  {
    const std::lock_guard lock{mutex_};
    --lent_;
    if (workers_.size() > allowed() && !idle_.empty()) surplus = take_idle();
  }
  wake(surplus);
}

}  // namespace detail
}  // namespace passel::inline v0
