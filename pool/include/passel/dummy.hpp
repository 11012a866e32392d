// Layer pool: dummy, the names of processes for what threads do.
#pragma once

#include <passel/array.hpp>
#include <passel/barrier.hpp>
#include <passel/client.hpp>
#include <passel/condition.hpp>
#include <passel/connection.hpp>
#include <passel/event.hpp>
#include <passel/listener.hpp>
#include <passel/lock.hpp>
#include <passel/manager.hpp>
#include <passel/pipe.hpp>
#include <passel/queue.hpp>
#include <passel/rlock.hpp>
#include <passel/semaphore.hpp>
#include <passel/thread.hpp>
#include <passel/thread_pool.hpp>
#include <passel/value.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

/// The names of passel's processes over threads of this process (Python's multiprocessing.dummy): a
/// program that says `namespace mp = passel::dummy;` instead of `namespace mp = passel;` runs in
/// one process. What works between threads as well as between processes is the same in both.
namespace passel::inline v0::dummy {

using passel::Array;
using passel::Barrier;
using passel::BoundedSemaphore;
using passel::Client;
using passel::Condition;
using passel::Connection;
using passel::Event;
using passel::Listener;
using passel::Lock;
using passel::Pipe;
using passel::PipeDirection;
using passel::RLock;
using passel::Semaphore;
using passel::Value;

/// ThreadPool, under the name of Pool.
using Pool = ThreadPool;
using PoolOptions = ThreadPoolOptions;

/// A Queue between threads: any movable items, nothing is encoded.
template <class T>
class Queue : public passel::Queue<T> {
 public:
  explicit Queue(std::ptrdiff_t maxsize = 0)
      : passel::Queue<T>{QueueOptions{.maxsize = maxsize, .reach = Reach::threads}} {}
};
template <class T>
class JoinableQueue : public passel::JoinableQueue<T> {
 public:
  explicit JoinableQueue(std::ptrdiff_t maxsize = 0)
      : passel::JoinableQueue<T>{QueueOptions{.maxsize = maxsize, .reach = Reach::threads}} {}
};

/// A Manager whose server is this process: the same calls and proxies, which any thread may use.
/// Methods of its objects run on threads of this process; its pools have worker processes. It needs
/// a Runtime, and ends before that. The destructor shuts it down.
///
///     auto manager = passel::dummy::Manager::started().unwrap();
///     auto seen = manager.dict<std::string, int>().unwrap();
///
/// Move-only; one thread at a time, and what it gives out is for any. Python's
/// multiprocessing.dummy.Manager.
class Manager : public passel::Manager {
 public:
  explicit Manager(ManagerOptions options = {}) : passel::Manager{std::move(options)} {}
  /// Makes one and starts to serve. Errors: those of start.
  [[nodiscard]] static Result<Manager> started(ManagerOptions options = {}) {
    Manager manager{std::move(options)};
    PASSEL_CHECK(manager.start());
    return manager;
  }
  /// Serves from now on. Errors: those of get_server.
  Result<void> start() {
    PASSEL_TRY(ManagerServer server, get_server());
    server_ = std::move(server);
    return {};
  }
  /// Proxies fail from then on. The second time is nothing. Error: invalid_state
  /// when it was not started.
  Result<void> shutdown() {
    if (!server_) return Error{Errc::invalid_state, "the manager has not been started"};
    server_->stop();
    *server_ = ManagerServer{nullptr};
    return {};
  }

 private:
  std::optional<ManagerServer> server_;
};

using ProcessOptions = ThreadOptions;

class Process;
[[nodiscard]] std::vector<Process> active_children();

/// A thread with the interface of Process. It cannot be killed, and shares everything.
///
///     auto p = passel::dummy::Process::spawn<work>(queue).unwrap();
///     p.join().unwrap();                       // 0
///
/// Only the thread that made it may start it. Copies are the same thread; safe from any thread
/// otherwise. Python's multiprocessing.dummy.Process.
class Process {
 public:
  /// Not started yet.
  template <auto F, class... A>
  [[nodiscard]] static Process make(ProcessOptions options, A&&... args) {
    return Process{Thread::make<F>(std::move(options), std::forward<A>(args)...)};
  }
  template <class L, class... A>
  [[nodiscard]] static Process make(ProcessOptions options, L&& target, A&&... args) {
    return Process{Thread{std::move(options), std::forward<L>(target), std::forward<A>(args)...}};
  }
  /// Made and started. Errors: those of start.
  template <auto F, class... A>
  static Result<Process> spawn(A&&... args) {
    return started(make<F>({}, std::forward<A>(args)...));
  }
  template <class L, class... A>
  static Result<Process> spawn(L&& target, A&&... args) {
    return started(make({}, std::forward<L>(target), std::forward<A>(args)...));
  }

  /// Errors: invalid_state when another thread made it, and those of Thread::start.
  Result<void> start() {
    if (std::this_thread::get_id() != creator_) {
      return Error{Errc::invalid_state,
                   "a dummy process can only be started by the thread that made it"};
    }
    PASSEL_CHECK(thread_.start());
    auto& mine = children();
    // As often as the list doubles: those that have ended leave it.
    if (mine.size() == mine.capacity()) {
      forget_ended();
      mine.reserve(2 * mine.size() + 8);
    }
    mine.push_back(*this);
    return {};
  }
  /// Waits for its end, and returns 0. Errors: those of Thread::join.
  Result<int> join() const {
    PASSEL_CHECK(thread_.join());
    return 0;
  }
  /// The same, waiting at most `limit`: then timeout.
  template <class Rep, class Period>
  Result<int> join_for(std::chrono::duration<Rep, Period> limit) const {
    PASSEL_CHECK(thread_.join_for(limit));
    return 0;
  }
  [[nodiscard]] bool is_alive() const noexcept { return thread_.is_alive(); }
  /// 0 when it has ended, however; empty before.
  [[nodiscard]] std::optional<int> exitcode() const noexcept {
    return thread_.ident() && !is_alive() ? std::optional{0} : std::nullopt;
  }
  [[nodiscard]] std::string name() const { return thread_.name(); }
  [[nodiscard]] bool daemon() const noexcept { return thread_.daemon(); }

  friend bool operator==(const Process& a, const Process& b) noexcept {
    return a.thread_ == b.thread_;
  }

 private:
  friend std::vector<Process> active_children();
  explicit Process(Thread thread)
      : thread_{std::move(thread)}, creator_{std::this_thread::get_id()} {}
  static Result<Process> started(Process process) {
    PASSEL_CHECK(process.start());
    return process;
  }
  /// What the calling thread has started.
  static std::vector<Process>& children() {
    static thread_local std::vector<Process> mine;
    return mine;
  }
  static void forget_ended() {
    std::erase_if(children(), [](const Process& child) { return !child.is_alive(); });
  }

  Thread thread_;
  std::thread::id creator_;
};

/// The processes, that is threads, which the calling thread has started and which have not ended
/// (Python's multiprocessing.dummy.active_children).
inline std::vector<Process> active_children() {
  Process::forget_ended();
  return Process::children();
}

}  // namespace passel::inline v0::dummy
