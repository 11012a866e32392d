// Layer actors: the core of Python's queue.Queue for threads of one process.
#pragma once

#include <passel/detail/checked_deadline.hpp>
#include <passel/detail/queue_order.hpp>
#include <passel/detail/spin.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Errors of the queues between threads, in one place so that all of them say the same.
[[nodiscard]] PASSEL_API Error queue_full(std::size_t size, std::size_t limit);
[[nodiscard]] PASSEL_API Error queue_empty();
[[nodiscard]] PASSEL_API Error queue_shut_down();
[[nodiscard]] PASSEL_API Error task_done_too_often();
[[nodiscard]] PASSEL_API Error join_timeout(std::size_t unfinished);

/// Python's queue.Queue (3.13, with shutdown) for threads: any number of putters and getters,
/// bounded or not, task counting. `Order` decides which item goes out next.
///
/// Every function may be called from any thread at any time. Exceptions of T's move or of the
/// order's comparison reach the caller and leave the queue as if the call had not been made.
///
/// | state | put | get | join |
/// | --- | --- | --- | --- |
/// | open | waits while full | waits while empty | waits for unfinished tasks |
/// | shut down | closed | items that are left, then closed | waits for unfinished tasks |
/// | shut down at once | closed | closed | what was removed counts as done |
///
/// Source of the semantics: CPython 3.13, Lib/queue.py.
template <class T, class Order = FifoOrder<T>>
class ThreadQueue {
 public:
  /// `maxsize` items at most; 0 or less: as many as memory holds.
  explicit ThreadQueue(std::ptrdiff_t maxsize = 0, Order order = Order{})
      : order_{std::move(order)}, limit_{as_limit(maxsize)} {}
  ThreadQueue(const ThreadQueue&) = delete;
  ThreadQueue& operator=(const ThreadQueue&) = delete;
  ~ThreadQueue() = default;

  /// Moves `item` in. Waits while the queue is full. Errors: full when the deadline passes first,
  /// closed when the queue is or gets shut down. `item` is moved from only on success.
  Result<void> put(T& item, Deadline deadline) {
    std::unique_lock lock{mutex_};
    PASSEL_CHECK(wait_for_room(lock, deadline));
    push(item);
    lock.unlock();
    not_empty_.notify_one();
    return {};
  }

  /// Moves the items in, in order, as many at a time as there is room for. Errors as for put; `put`
  /// says how many are in.
  Result<void> put_many(std::span<T> items, std::size_t& put, Deadline deadline) {
    std::unique_lock lock{mutex_};
    for (put = 0; put < items.size();) {
      PASSEL_CHECK(wait_for_room(lock, deadline));
      for (; put < items.size() && size() < limit(); ++put) push(items[put]);
      // Before the next wait: they make the room.
      not_empty_.notify_all();
    }
    return {};
  }

  /// Moves all of them in, or none. Errors: full, closed; what a move throws leaves those before it
  /// in the queue, and `put` counts them.
  Result<void> try_put_many(std::span<T> items, std::size_t& put) {
    const std::unique_lock lock{mutex_};
    put = 0;
    if (shut_down_) return queue_shut_down();
    if (items.size() > limit() - std::min(size(), limit())) return queue_full(size(), limit());
    for (; put < items.size(); ++put) push(items[put]);
    not_empty_.notify_all();
    return {};
  }

  /// Moves the next item out. Waits while the queue is empty. Errors: empty when the deadline
  /// passes first, closed when the queue is shut down and has no item left.
  Result<T> get(Deadline deadline) {
    std::unique_lock lock{mutex_};
    PASSEL_CHECK(wait_for_item(lock, deadline));
    Result<T> item = take();
    lock.unlock();
    not_full_.notify_one();
    return item;
  }

  /// Moves up to `most` items out; waits while there is none. Errors as for get.
  Result<std::vector<T>> get_many(std::size_t most, Deadline deadline) {
    std::vector<T> items;
    if (most == 0) return items;
    std::unique_lock lock{mutex_};
    PASSEL_CHECK(wait_for_item(lock, deadline));
    items.reserve(std::min(most, size()));
    try {
      while (items.size() < most && size() != 0) {
        items.push_back(std::move_if_noexcept(order_.next()));
        forget_next();
      }
    } catch (...) {
      not_empty_.notify_one();  // the item stays: another getter that waits may have it
      if (items.empty()) throw;
    }
    lock.unlock();
    not_full_.notify_all();
    return items;
  }

  /// One item that came by `get` is finished. Error: invalid_argument when there was none open.
  Result<void> task_done() {
    std::unique_lock lock{mutex_};
    if (unfinished_ == 0) return task_done_too_often();
    if (--unfinished_ == 0) all_done_.notify_all();
    return {};
  }

  /// Waits until every item that was put has been reported by `task_done`. Error: timeout.
  Result<void> join(Deadline deadline) {
    std::unique_lock lock{mutex_};
    while (unfinished_ != 0) {
      if (!sleep(lock, all_done_, deadline) && unfinished_ != 0) return join_timeout(unfinished_);
    }
    return {};
  }

  /// No put succeeds any more and all waiting putters and getters are told. With `immediate` the
  /// items that are in the queue are destroyed and count as done. May be called again, also to go
  /// on from plain to immediate.
  void shutdown(bool immediate = false) {
    typename Order::Storage dropped;  // destroyed after the lock: destructors may use this queue
    const std::unique_lock lock{mutex_};
    shut_down_ = true;
    closed_.store(true, std::memory_order_relaxed);
    if (immediate) {
      unfinished_ -= std::min(unfinished_, order_.size());
      order_.drain(dropped);
      publish_size();
      if (unfinished_ == 0) all_done_.notify_all();
    }
    not_empty_.notify_all();
    not_full_.notify_all();
  }

  [[nodiscard]] bool is_shutdown() const noexcept {
    return closed_.load(std::memory_order_relaxed);
  }
  /// Exact while nobody else works on the queue.
  [[nodiscard]] std::size_t qsize() const noexcept { return size(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] bool full() const noexcept { return size() >= limit(); }
  /// The limit as it was given; 0 for none.
  [[nodiscard]] std::size_t maxsize() const noexcept { return limit() == no_limit ? 0 : limit(); }
  [[nodiscard]] std::size_t unfinished_tasks() const {
    const std::unique_lock lock{mutex_};
    return unfinished_;
  }

  /// A new limit from the next put on; items above a lower one stay.
  void set_maxsize(std::ptrdiff_t maxsize) {
    const std::unique_lock lock{mutex_};
    limit_.store(as_limit(maxsize), std::memory_order_relaxed);
    not_full_.notify_all();
  }

 private:
  static constexpr std::size_t no_limit = static_cast<std::size_t>(-1);

  static std::size_t as_limit(std::ptrdiff_t maxsize) noexcept {
    return maxsize <= 0 ? no_limit : static_cast<std::size_t>(maxsize);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t limit() const noexcept {
    return limit_.load(std::memory_order_relaxed);
  }
  void publish_size() noexcept { size_.store(order_.size(), std::memory_order_relaxed); }

  Result<void> wait_for_room(std::unique_lock<std::mutex>& lock, Deadline deadline) {
    while (!shut_down_ && size() >= limit_) {
      if (!wait(lock, not_full_, putters_spin_, getter_cpu_, deadline,
                [this] { return size() < limit(); })) {
        if (shut_down_ || size() < limit_) break;
        return queue_full(size(), limit_);
      }
    }
    if (shut_down_) return queue_shut_down();
    return {};
  }

  Result<void> wait_for_item(std::unique_lock<std::mutex>& lock, Deadline deadline) {
    while (size() == 0) {
      if (shut_down_) return queue_shut_down();
      if (!wait(lock, not_empty_, getters_spin_, putter_cpu_, deadline,
                [this] { return size() != 0; })) {
        if (size() != 0) break;
        return shut_down_ ? queue_shut_down() : queue_empty();
      }
    }
    return {};
  }

  void push(T& item) {
    try {
      order_.push(item);
    } catch (...) {
      not_full_.notify_one();   // this thread may have used up the wake-up of another putter
      not_empty_.notify_all();  // of a batch some may be in
      throw;
    }
    ++unfinished_;
    publish_size();
    putter_cpu_.publish();
  }

  void forget_next() {
    order_.pop();
    publish_size();
    getter_cpu_.publish();
  }

  Result<T> take() {
    try {
      // Copied when the move could throw half-way, so that the item stays whole in the queue.
      Result<T> item{std::move_if_noexcept(order_.next())};
      forget_next();
      return item;
    } catch (...) {
      not_empty_.notify_one();  // the item stays: another getter that waits may have it
      throw;
    }
  }

  /// Looks for a while without the lock when the peer runs on another CPU, then sleeps. False when
  /// the deadline has passed; the caller looks at the state again in any case.
  template <class Ready>
  bool wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, Spinner& spinner,
            const CpuMark& peer, Deadline deadline, Ready ready) {
    if (deadline.is_try()) return false;
    lock.unlock();
    const bool seen = spinner.spin(peer, deadline, [&] { return ready() || is_shutdown(); });
    lock.lock();
    if (seen || ready() || shut_down_) return true;
    const auto begin = Deadline::Clock::now();
    const bool in_time = sleep(lock, changed, deadline);
    spinner.waited(Deadline::Clock::now() - begin);
    return in_time;
  }

  static bool sleep(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                    Deadline deadline) {
    if (deadline.is_try()) return false;
    if (!deadline.is_never()) {
      return changed.wait_until(lock, deadline.when()) == std::cv_status::no_timeout;
    }
    changed.wait(lock);
    return true;
  }

  mutable std::mutex mutex_;
  // glibc's notify is a plain load when nobody waits, so that no count of sleepers is kept here.
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::condition_variable all_done_;
  Order order_;
  std::size_t unfinished_ = 0;
  CpuMark putter_cpu_;
  CpuMark getter_cpu_;
  Spinner putters_spin_;
  Spinner getters_spin_;
  bool shut_down_ = false;
  // Copies for those who look without the lock.
  std::atomic<std::size_t> size_{0};
  std::atomic<std::size_t> limit_;
  std::atomic<bool> closed_{false};
};

}  // namespace passel::inline v0::detail
