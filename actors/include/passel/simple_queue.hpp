// Layer actors: Python's queue.SimpleQueue, an unbounded queue between threads.
#pragma once

#include <passel/detail/buffered_channel.hpp>
#include <passel/detail/list_buffer.hpp>
#include <passel/detail/thread_queue.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

/// An unbounded first-in-first-out queue between threads without task counting and without an end.
/// `put` never waits and takes no lock, so it may be called from anywhere, also from the destructor
/// of an item that is just leaving the same queue. Shared by reference between threads of one
/// process; every function may be called by any of them at any time.
///
///     passel::SimpleQueue<std::string> log;
///     log.put("ready");
///     std::string line = log.get().unwrap();
///
/// T is any type whose move constructor does not throw.
/// Source of the semantics: Python's queue.SimpleQueue.
template <class T>
class SimpleQueue {
 public:
  using value_type = T;

  SimpleQueue() = default;
  SimpleQueue(const SimpleQueue&) = delete;
  SimpleQueue& operator=(const SimpleQueue&) = delete;
  ~SimpleQueue() = default;

  /// Adds an item. Never waits and never fails. (Python: put(item))
  void put(T&& item) { items_.send(item, detail::Deadline::now_or_never()); }
  /// Adds a copy of `item`.
  void put(const T& item) requires std::is_copy_constructible_v<T> { put(T{item}); }

  /// Takes the next item; waits while there is none. (Python: get())
  Result<T> get() { return take(detail::Deadline::never()); }
  /// Waits for `timeout` at most. Errors: empty when no item came in that time, invalid_argument
  /// when `timeout` is negative. (Python: get(timeout=t))
  template <class Rep, class Period>
  Result<T> get_for(std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return take(deadline);
  }
  /// Never waits. Error: empty. (Python: get_nowait())
  Result<T> try_get() { return take(detail::Deadline::now_or_never()); }

  /// Items in the queue: exact while nobody else works on it, otherwise a past value.
  [[nodiscard]] std::size_t qsize() const noexcept { return items_.len(); }
  [[nodiscard]] bool empty() const noexcept { return qsize() == 0; }

 private:
  Result<T> take(detail::Deadline deadline) {
    std::optional<T> item;
    if (items_.recv(item, deadline) == detail::ChannelStatus::done) return *std::move(item);
    return detail::queue_empty();
  }

  detail::BufferedChannel<T, detail::ListBuffer<T>> items_;
};

}  // namespace passel::inline v0
