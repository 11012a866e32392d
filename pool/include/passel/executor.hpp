// Layer pool: what all executors share: options, the results of map, exceptions as they were.
#pragma once

#include <passel/detail/executor_map.hpp>
#include <passel/detail/result_iterator.hpp>
#include <passel/detail/result_line.hpp>
#include <passel/export.hpp>
#include <passel/future.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// An exception that left a task in a thread of this process: besides its type and text the
/// exception itself. Carried by Errc::task_failed.
struct PASSEL_API ThrownError : RemoteError {
  std::exception_ptr exception{};
  ~ThrownError() override;
};

/// Throws the exception that `error` stands for: the one the task threw when it ran in a thread of
/// this process, passel::Exception otherwise (Python's `future.result()`, which raises it again).
///
///     if (auto page = future.get(); !page) passel::rethrow(page.error());
[[noreturn]] PASSEL_API void rethrow(const Error& error);

namespace detail {
/// Whether an object's scope is left by an exception.
class UnwindWatch {
 public:
  explicit UnwindWatch(bool wanted) noexcept : wanted_{wanted} {}
  [[nodiscard]] bool unwinding() const noexcept {
    return wanted_ && std::uncaught_exceptions() > before_;
  }

 private:
  bool wanted_;
  int before_ = std::uncaught_exceptions();
};
}  // namespace detail

/// How an executor ends (the arguments of Python's Executor.shutdown).
struct ShutdownOptions {
  bool wait = true;  ///< until all its work is done and its threads or processes have ended
  bool cancel_futures = false;  ///< what has not started is cancelled; what runs goes on
};

/// Settings of Executor::map.
struct ExecutorMapOptions {
  /// Until the next result must be there, counted from the call of map; empty: no limit.
  std::optional<std::chrono::nanoseconds> timeout{};
  std::size_t chunksize = 1;  ///< items in one task of a process pool; threads take them singly
  /// How many tasks may be submitted whose results have not been taken; the input is read no
  /// further. Empty: all of it is read and submitted at once.
  std::optional<std::size_t> buffersize{};
};

/// The results of an executor's map in the order of the input, or of a ThreadPool's imap and
/// imap_unordered; each is a Result of its own, and a task that failed does not end the others.
///
///     for (passel::Result<int>& n : executor.map(count_words, pages).unwrap()) ...
///
/// Move-only, one thread at a time; next() and iterating wait, next_async() does not. A result that
/// is not there in time (ExecutorMapOptions::timeout) is Errc::timeout, the last one, and cancels
/// the rest. Dropping it cancels what has not started (Python's rule for a generator that is
/// closed). With `buffersize` the input is read on the iterating thread; what the input throws is
/// then the last result. The iterator of Python's Executor.map; from 3.16 on it also goes on after
/// an error.
template <class R>
class ExecutorResults {
 public:
  using Source = typename detail::ResultLine<R>::Source;

  ExecutorResults(Source source, std::size_t ahead, detail::Deadline deadline,
                  detail::ResultOrder order)
      : line_{std::make_shared<detail::ResultLine<R>>(std::move(source), deadline, order)} {
    line_->submit(ahead);
  }
  ExecutorResults(ExecutorResults&&) noexcept = default;
  ExecutorResults& operator=(ExecutorResults&& other) noexcept {
    ExecutorResults taken{std::move(other)};
    std::swap(line_, taken.line_);
    std::swap(current_, taken.current_);
    return *this;
  }
  ~ExecutorResults() { cancel(); }

  /// The next result; empty when all have been taken.
  [[nodiscard]] std::optional<Result<R>> next() { return take(detail::Deadline::never()); }
  /// The same, waiting at most `wait`: then the result is Errc::timeout, and the iteration can go
  /// on.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Result<R>> next_for(std::chrono::duration<Rep, Period> wait) {
    return take(detail::Deadline::after(wait));
  }
  /// The same without waiting; Errc::timeout is then the result that is not there yet.
  [[nodiscard]] std::optional<Result<R>> try_next() {
    return take(detail::Deadline::now_or_never());
  }
  /// The next result as a future: nothing at the end, the error of a task as its error. Until it is
  /// done, next and a second next_async are invalid_state. One that is cancelled or dropped before
  /// leaves the result to the next call; cancelled by cancel(), and when this object goes. It reads
  /// the input, one item for each result that was taken. Its callbacks run where those of the
  /// tasks' futures do, at the end of ExecutorMapOptions::timeout on the I/O thread, so that such a
  /// map needs a Runtime: else invalid_state.
  ///
  ///     while (auto page = (co_await pages.next_async()).unwrap()) use(*page);
  [[nodiscard]] Future<detail::NextItem<R>> next_async() {
    if (line_) return line_->ask();
    return Future<detail::NextItem<R>>::of(detail::NextItem<R>{});
  }
  /// Cancels what has not started; no results follow. Never waits.
  void cancel() noexcept {
    if (line_) line_->cancel();
  }

  using Iterator = detail::ResultIterator<ExecutorResults, Result<R>>;
  /// Waits for the first result. Can be called once.
  [[nodiscard]] Iterator begin() { return Iterator{this}; }
  [[nodiscard]] Iterator end() noexcept { return {}; }

 private:
  friend Iterator;
  [[nodiscard]] std::optional<Result<R>> take(detail::Deadline limit) {
    if (!line_) return std::nullopt;
    return line_->take(limit);
  }

  std::shared_ptr<detail::ResultLine<R>> line_;
  std::optional<Result<R>> current_;
};

}  // namespace passel::inline v0
