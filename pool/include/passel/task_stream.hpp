// Layer pool: items that a running task sends, one by one: TaskOutput is its end, TaskStream that
// of whoever reads them.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/pool_chunk.hpp>
#include <passel/detail/pool_job.hpp>
#include <passel/detail/result_iterator.hpp>
#include <passel/detail/stream_core.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

namespace detail {
struct StreamAccess;
}

/// The end of a stream that the task writes to: the first parameter of a task that
/// `stream` runs, as a reference.
///
///     void primes(passel::TaskOutput<int>& out, int limit) {
///       for (int n = 2; n < limit; ++n)
///         if (is_prime(n) && !out.send(n)) return;   // nobody wants more
///     }
///
/// The reader is at most `window` items behind (StreamOptions): then `send` waits until it has
/// taken some. Once the reader has gone or has called `stop`, or the task is over its time, every
/// call is Errc::cancelled, and the task does best to return. An item that was sent arrives,
/// whatever becomes of the task and of its process. For the thread of the task, and only while it
/// runs.
template <class T>
class TaskOutput {
 public:
  TaskOutput(const TaskOutput&) = delete;
  TaskOutput& operator=(const TaskOutput&) = delete;

  /// Sends an item, waiting for room. Errors: cancelled; in a worker process also too_large
  /// (max_message), no_space, and that of a value that cannot be encoded. After an error the value
  /// has not been moved from.
  Result<void> send(const T& value) { return put(value, detail::Deadline::never()); }
  Result<void> send(T&& value) { return put(std::move(value), detail::Deadline::never()); }
  /// The same, waiting at most `wait`: then timeout.
  template <class U = T, class Rep, class Period>
  Result<void> send_for(U&& value, std::chrono::duration<Rep, Period> wait) {
    return put(std::forward<U>(value), detail::Deadline::after(wait));
  }
  /// The same without waiting: full when there is no room.
  template <class U = T>
  Result<void> try_send(U&& value) {
    return put(std::forward<U>(value), detail::Deadline::now_or_never());
  }

 private:
  friend struct detail::StreamAccess;
  explicit TaskOutput(detail::StreamCore<T>& core) : core_{&core} {}
  explicit TaskOutput(std::uint32_t window) : window_{window} {}

  template <class U>
  [[nodiscard]] Result<void> put(U&& value, detail::Deadline deadline) {
    if (core_ != nullptr) {
      if constexpr (std::is_constructible_v<T, U&&>)
        return core_->push(std::forward<U>(value), deadline);
    } else if constexpr (Encodable<T>) {
      try {
        detail::Encoded item;
        detail::ChunkWriter writer{item};
        PASSEL_CHECK(writer.template add<T>(value));
        return detail::stream_item(item, window_, deadline);
      } catch (...) {
        return detail::current_exception_as_error();
      }
    }
    return Error{Errc::unsupported, "a value of this type cannot be sent from here"};
  }

  detail::StreamCore<T>* core_ = nullptr;
  std::uint32_t window_ = 0;
};

/// What a running task sends by its TaskOutput, item by item, in order.
///
///     auto stream = pool.stream<primes>(1'000'000).unwrap();
///     for (passel::Result<int>& prime : stream) {
///       if (!prime) return report(prime.error());   // the last one, if it is an error
///       if (*prime > 100) break;
///     }
///
/// | what happens                     | the stream                                               |
/// | -------------------------------- | -------------------------------------------------------- |
/// | the task returns                 | ends behind its last item                                |
/// | it throws, or returns an error   | the items, then that error, then the end                 |
/// | its worker dies                  | the items that it has sent, then worker_lost, the end    |
/// | it is over its time              | the items, then timeout, then the end                    |
/// | the pool is terminated, or fails | the items, then cancelled or pool_failed, the end        |
/// | the reader is `window` behind    | the task waits in `send`, and lends its slot after 10 ms |
/// | this object goes, or `stop()`    | the task is asked to stop, as by Future::request_stop    |
///
/// A task with `attempts` is tried again only as long as none of its items has arrived, so that no
/// item comes twice. Move-only; one thread at a time.
template <class T>
class [[nodiscard]] TaskStream {
 public:
  TaskStream(TaskStream&&) noexcept = default;
  TaskStream& operator=(TaskStream&& other) noexcept {
    TaskStream taken{std::move(other)};
    std::swap(core_, taken.core_);
    std::swap(current_, taken.current_);
    return *this;
  }
  ~TaskStream() {
    if (core_) core_->abandon();
  }

  /// The next item, waiting for it; an error is the last one. Empty: there is no more.
  [[nodiscard]] std::optional<Result<T>> next() { return core_->take(detail::Deadline::never()); }
  /// The same, waiting at most `wait`: then Errc::timeout, and the stream goes on.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Result<T>> next_for(std::chrono::duration<Rep, Period> wait) {
    return core_->take(detail::Deadline::after(wait));
  }
  /// The same without waiting.
  [[nodiscard]] std::optional<Result<T>> try_next() {
    return core_->take(detail::Deadline::now_or_never());
  }
  /// The next item as a future; nothing at the end, an error of the task as its error. Until it is
  /// done, next and a second next_async are invalid_state. One that is cancelled or dropped before
  /// leaves the item to the next call; cancelled when this object goes. Its callbacks run where
  /// those of the pool do.
  ///
  ///     passel::Result<std::optional<int>> prime = co_await
  ///     stream.next_async();
  [[nodiscard]] Future<detail::NextItem<T>> next_async() { return core_->take_async(); }
  /// Asks the task to end. What it has sent can still be read. Never waits.
  void stop() { core_->stop(); }

  using Iterator = detail::ResultIterator<TaskStream, Result<T>>;
  /// Waits for the first item.
  [[nodiscard]] Iterator begin() { return Iterator{this}; }
  [[nodiscard]] Iterator end() noexcept { return {}; }

 private:
  friend Iterator;
  friend struct detail::StreamAccess;
  explicit TaskStream(std::shared_ptr<detail::StreamCore<T>> core) : core_{std::move(core)} {}

  std::shared_ptr<detail::StreamCore<T>> core_;
  std::optional<Result<T>> current_;
};

namespace detail {
/// Makes both ends.
struct StreamAccess {
  template <class T>
  static TaskOutput<T> output(StreamCore<T>& core) {
    return TaskOutput<T>{core};
  }
  template <class T>
  static TaskOutput<T> output(std::uint32_t window) {
    return TaskOutput<T>{window};
  }
  template <class T>
  static TaskStream<T> stream(std::shared_ptr<StreamCore<T>> core) {
    return TaskStream<T>{std::move(core)};
  }
};
}  // namespace detail

}  // namespace passel::inline v0
