// Layer pool: what all executors share: options, the results of map, exceptions as they were.
#pragma once

#include <passel/detail/executor_map.hpp>
#include <passel/detail/result_iterator.hpp>
#include <passel/export.hpp>
#include <passel/future.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
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
/// Move-only, one thread at a time; next() and iterating wait. A result that is not there in time
/// (ExecutorMapOptions::timeout) is Errc::timeout, the last one, and cancels the rest. Dropping it
/// cancels what has not started (Python's rule for a generator that is closed). With `buffersize`
/// the input is read on the iterating thread; what the input throws is then the last result.
/// The iterator of Python's Executor.map; from 3.16 on it also goes on after an error.
template <class R>
class ExecutorResults {
 public:
  /// Submits the next task; empty when the input has ended.
  using Source = std::function<std::optional<detail::PendingResult<R>>()>;

  ExecutorResults(Source source, std::size_t ahead, detail::Deadline deadline,
                  detail::ResultOrder order)
      : source_{std::move(source)},
        deadline_{deadline},
        line_{order == detail::ResultOrder::completion ? std::make_shared<detail::CompletionLine>()
                                                       : nullptr} {
    for (std::size_t i = 0; i < ahead && source_; ++i) submit_next();
  }
  ExecutorResults(ExecutorResults&&) noexcept = default;
  ExecutorResults& operator=(ExecutorResults&& other) noexcept {
    ExecutorResults taken{std::move(other)};
    std::swap(source_, taken.source_);
    std::swap(deadline_, taken.deadline_);
    std::swap(line_, taken.line_);
    std::swap(pending_, taken.pending_);
    std::swap(taken_, taken.taken_);
    std::swap(waiting_, taken.waiting_);
    std::swap(ready_, taken.ready_);
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
  /// Cancels what has not started; no results follow. Never waits.
  void cancel() noexcept {
    source_ = nullptr;
    for (auto& each : pending_) each.cancel();
    pending_.clear();
    ready_.clear();
    waiting_ = 0;
  }

  using Iterator = detail::ResultIterator<ExecutorResults, Result<R>>;
  /// Waits for the first result. Can be called once.
  [[nodiscard]] Iterator begin() { return Iterator{this}; }
  [[nodiscard]] Iterator end() noexcept { return {}; }

 private:
  friend Iterator;
  std::optional<Result<R>> take(detail::Deadline limit) {
    if (ready_.empty() && waiting_ != 0 && !fill(limit)) {
      if (!deadline_.passed()) return Result<R>{late("the next result is not there in time")};
      auto error = late("map was given a time limit, and it was up");
      cancel();
      return Result<R>{std::move(error)};
    }
    if (ready_.empty()) return std::nullopt;
    std::optional<Result<R>> result{std::move(ready_.front())};
    ready_.pop_front();
    return result;
  }
  [[nodiscard]] Error late(const char* what) const {
    return Error{Errc::timeout, std::string{what} + ": " + std::to_string(waiting_) +
                                    " tasks whose results were not taken"};
  }

  /// Waits for a task that is done, and takes its results. False when the time was up.
  bool fill(detail::Deadline limit) {
    const auto until = limit.when() < deadline_.when() ? limit : deadline_;
    std::size_t which = 0;
    if (line_) {
      const auto done = line_->take(until);
      if (!done) return false;
      which = *done - taken_;
    } else if (!pending_.front().wait(until)) {
      return false;
    }
    pending_[which].move_to(ready_);
    --waiting_;
    while (!pending_.empty() && !pending_.front().valid()) {
      pending_.pop_front();
      ++taken_;
    }
    if (source_) submit_next();
    return true;
  }
  void submit_next() {
    std::optional<detail::PendingResult<R>> next = source_();
    if (!next) {
      source_ = nullptr;
      return;
    }
    if (next->last) source_ = nullptr;
    if (line_) next->tell(line_, taken_ + pending_.size());
    pending_.push_back(*std::move(next));
    ++waiting_;
  }

  Source source_;
  detail::Deadline deadline_;
  std::shared_ptr<detail::CompletionLine> line_;  // only in the order of completion
  std::deque<detail::PendingResult<R>> pending_;  // those taken out of order stay, empty
  std::size_t taken_ = 0;                         // number of the first one in pending_
  std::size_t waiting_ = 0;                       // of pending_, not taken
  std::deque<Result<R>> ready_;
  std::optional<Result<R>> current_;
};

}  // namespace passel::inline v0
