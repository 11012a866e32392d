// Layer actors: the public face that the queues between threads have in common.
#pragma once

#include <passel/detail/drain_iterator.hpp>
#include <passel/detail/thread_queue.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

/// How a queue is shut down.
struct QueueShutdown {
  /// Destroy the items that are in the queue and count them as done, instead of leaving them to the
  /// getters.
  bool immediate = false;
};

namespace detail {

/// Base of LifoQueue and PriorityQueue: Python's queue.Queue over a ThreadQueue. The object is
/// shared by reference between threads of one process; every function may be called by any of them
/// at any time. Errors of a call leave the queue as it was; what T's move or the comparison throws
/// reaches the caller.
template <class T, class Order>
class BlockingQueue {
 public:
  using value_type = T;
  using iterator = DrainIterator<T, BlockingQueue>;

  BlockingQueue(const BlockingQueue&) = delete;
  BlockingQueue& operator=(const BlockingQueue&) = delete;

  /// Adds an item; waits while the queue is full. Error: closed when the queue is shut down, also
  /// while this call waits. A put that fails has not moved from `item`. (Python: put(item))
  Result<void> put(T&& item) { return queue_.put(item, Deadline::never()); }
  /// The same with a copy of `item`.
  Result<void> put(const T& item) requires std::is_copy_constructible_v<T> { return put(T{item}); }
  /// Waits for `timeout` at most. Errors: full when there was no room in that time, closed when the
  /// queue is shut down, invalid_argument when `timeout` is negative. (Python: put(item,
  /// timeout=t))
  template <class Rep, class Period>
  Result<void> put_for(T&& item, std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const Deadline deadline, checked_deadline(timeout));
    return queue_.put(item, deadline);
  }
  /// The same with a copy of `item`.
  template <class Rep, class Period>
  Result<void> put_for(const T& item, std::chrono::duration<Rep, Period> timeout) requires
      std::is_copy_constructible_v<T> {
    return put_for(T{item}, timeout);
  }
  /// Never waits. Errors: full, closed. (Python: put_nowait(item))
  Result<void> try_put(T&& item) { return queue_.put(item, Deadline::now_or_never()); }
  /// The same with a copy of `item`.
  Result<void> try_put(const T& item) requires std::is_copy_constructible_v<T> {
    return try_put(T{item});
  }

  /// Takes the next item; waits while the queue is empty. Error: closed when the queue is shut down
  /// and has no item left, also while this call waits. (Python: get())
  Result<T> get() { return queue_.get(Deadline::never()); }
  /// Waits for `timeout` at most. Errors: empty when no item came in that time, closed,
  /// invalid_argument when `timeout` is negative. (Python: get(timeout=t))
  template <class Rep, class Period>
  Result<T> get_for(std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const Deadline deadline, checked_deadline(timeout));
    return queue_.get(deadline);
  }
  /// Never waits. Errors: empty, closed. (Python: get_nowait())
  Result<T> try_get() { return queue_.get(Deadline::now_or_never()); }

  /// Says that an item which came by a get is finished. Error: invalid_argument when more were
  /// finished than put. (Python: task_done())
  Result<void> task_done() { return queue_.task_done(); }
  /// Waits until every item that was put is finished. (Python: join())
  Result<void> join() { return queue_.join(Deadline::never()); }
  /// Waits for `timeout` at most. Errors: timeout, invalid_argument when `timeout` is negative.
  template <class Rep, class Period>
  Result<void> join_for(std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const Deadline deadline, checked_deadline(timeout));
    return queue_.join(deadline);
  }

  /// Ends the queue: puts fail from now on, gets take what is left and then fail, and everybody who
  /// waits is told. May be repeated. (Python: shutdown(immediate))
  ///
  ///     queue.shutdown();
  ///     queue.shutdown({.immediate = true});   // and destroy what is left
  void shutdown(QueueShutdown options = {}) { queue_.shutdown(options.immediate); }
  [[nodiscard]] bool is_shutdown() const noexcept { return queue_.is_shutdown(); }

  /// Items in the queue: exact while nobody else works on it, otherwise a past value.
  [[nodiscard]] std::size_t qsize() const noexcept { return queue_.qsize(); }
  [[nodiscard]] bool empty() const noexcept { return queue_.empty(); }
  [[nodiscard]] bool full() const noexcept { return queue_.full(); }
  /// The limit, 0 for none.
  [[nodiscard]] std::size_t maxsize() const noexcept { return queue_.maxsize(); }
  /// Another limit from the next put on; 0 or less for none. Items above a lower limit stay.
  void set_maxsize(std::ptrdiff_t maxsize) { queue_.set_maxsize(maxsize); }

  /// `for (auto& item : queue)` gets items until the queue is shut down and has none left.
  [[nodiscard]] iterator begin() { return iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 protected:
  explicit BlockingQueue(std::ptrdiff_t maxsize, Order order = Order{})
      : queue_{maxsize, std::move(order)} {}
  ~BlockingQueue() = default;

 private:
  friend iterator;
  Result<T> next_item() { return get(); }

  ThreadQueue<T, Order> queue_;
};

}  // namespace detail
}  // namespace passel::inline v0
