// Layer transport: the one I/O thread of a Runtime: descriptors, timers and posted calls.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/detail/spin.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

struct epoll_event;

namespace passel::inline v0::detail {

/// One epoll thread with all signals blocked. It starts with the first use and sleeps without a
/// timeout while nothing is due, so an idle loop wakes nobody. Handlers run one at a time on that
/// thread and must not block.
///
///     auto watch = loop.watch(socket, EPOLLIN, [&](std::uint32_t) { read_some(); });
///     auto timer = loop.at(Deadline::after(50ms), [&] { give_up(); });
///
/// All functions may be called from any thread, also from handlers. While the system has no thread
/// left for the loop, `watch` has the error no_space, and what else was asked for waits until a
/// later call could start it.
class PASSEL_API IoLoop {
  struct Entry;

 public:
  using Handler = std::function<void(std::uint32_t events)>;
  using TimerKey = std::pair<Deadline::Clock::time_point, std::uint64_t>;

  /// Interest in one descriptor. Once it is destroyed its handler is not running and never runs
  /// again; destroying it waits for a running handler, unless that handler itself does it.
  class PASSEL_API Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept
        : loop_{std::exchange(other.loop_, nullptr)}, entry_{std::move(other.entry_)} {}
    Watch& operator=(Watch&& other) noexcept {
      if (this != &other) {
        reset();
        loop_ = std::exchange(other.loop_, nullptr);
        entry_ = std::move(other.entry_);
      }
      return *this;
    }
    ~Watch() { reset(); }

    /// Changes the events waited for; 0 pauses the watch. A level that is still up is reported
    /// again after resuming.
    void set_events(std::uint32_t events) noexcept;
    void reset() noexcept;
    explicit operator bool() const noexcept { return entry_ != nullptr; }

   private:
    friend class IoLoop;
    Watch(IoLoop* loop, std::shared_ptr<Entry> entry) : loop_{loop}, entry_{std::move(entry)} {}
    IoLoop* loop_ = nullptr;
    std::shared_ptr<Entry> entry_;
  };

  IoLoop();
  /// Stops. Watches must be gone before.
  ~IoLoop();
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  /// Calls `handler` with the ready epoll events whenever `fd` has one of `events`. Errors:
  /// no_space, system.
  Result<Watch> watch(int fd, std::uint32_t events, Handler handler);
  /// Calls `fn` once, not before `when`. A deadline of never is not armed.
  TimerKey at(Deadline when, std::function<void()> fn);
  /// True when the timer was still to come: then it never runs.
  bool cancel(const TimerKey& timer);
  /// Calls `fn` on the loop's thread, in order of posting.
  void post(std::function<void()> fn);
  /// Calls `fn` on the loop's thread and waits until it has run; at once when this is that thread.
  /// False when it never will: the loop has been stopped, and its thread is gone.
  [[nodiscard]] bool call(const std::function<void()>& fn);
  /// Stops the thread, for good; waits for the handler that is running. What was to be called never
  /// is, nor what is asked for from then on: `watch` has the error invalid_state. Must not be
  /// called on the loop's thread.
  void stop() noexcept;
  [[nodiscard]] bool stopped() const noexcept;
  /// For handlers: somebody who runs on that CPU (see current_cpu) was answered just now and may
  /// ask again at once. The thread then looks for a moment longer before it sleeps, where that
  /// pays.
  void expect(std::uint32_t cpu) noexcept { expected_.publish(cpu); }
  [[nodiscard]] bool on_loop_thread() const noexcept;
  /// True once the thread was needed.
  [[nodiscard]] bool started() const noexcept;
  /// Runs `fn` while the thread stands still between two handlers, holding none of the library's
  /// locks: what a fork needs. Must not be called on the loop's thread.
  void while_parked(const std::function<void()>& fn);

 private:
  struct Entry {
    std::uint64_t id = 0;
    int fd = -1;
    Handler handler;
    std::atomic<bool> dead{false};
    std::recursive_mutex
        running;  // held while the handler runs; recursive so that a handler may drop its own watch
  };

  Result<void> ensure_thread();
  void run();
  void wake() noexcept;
  Deadline run_due();
  int wait(epoll_event* ready, Deadline next);
  void forget(const std::shared_ptr<Entry>& entry) noexcept;

  Descriptor epoll_;
  Descriptor wake_;
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<Entry>> entries_;
  std::map<TimerKey, std::function<void()>> timers_;
  std::vector<std::function<void()>> posted_;
  std::vector<std::function<void()>> batch_;  // being called; the loop's thread alone touches it
  std::uint64_t next_id_ = 1;
  bool stop_ = false;
  bool ended_ = false;  // nothing is called any more
  bool started_ = false;
  CpuMark expected_;  // whose next request is waited for; the loop's thread alone touches it
  Spinner spinner_;
  std::thread thread_;
};

}  // namespace passel::inline v0::detail
