// Layer pool: the tasks of a map that are on their way, and the one reader of their results.
#pragma once

#include <passel/detail/alarm.hpp>
#include <passel/detail/executor_map.hpp>
#include <passel/detail/next_item.hpp>
#include <passel/future.hpp>
#include <passel/result.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace passel::inline v0::detail {

/// What is in here is the reader's, who needs no lock for it, until he asks for a result that is
/// not there (`ask`). From then on it is whoever's takes his question, with the lock held: a task
/// that is done, the time limit, or cancel. A question that is given up gives it back.
template <class R>
class ResultLine : public std::enable_shared_from_this<ResultLine<R>> {
 public:
  /// Submits the next task; empty when the input has ended.
  using Source = std::function<std::optional<PendingResult<R>>()>;

  ResultLine(Source source, Deadline deadline, ResultOrder order)
      : source_{std::move(source)}, deadline_{deadline} {
    if (order == ResultOrder::completion) arrived_.emplace();
  }
  ResultLine(const ResultLine&) = delete;
  ResultLine& operator=(const ResultLine&) = delete;
  ~ResultLine() = default;

  void submit(std::size_t ahead) {
    for (std::size_t i = 0; i < ahead && source_; ++i) submit_next();
  }

  /// The next result; empty when all have been taken.
  [[nodiscard]] std::optional<Result<R>> take(Deadline limit) {
    if (is_asked()) return Result<R>{NextAsker<R>::is_waiting()};
    if (find(limit)) return take_ready();
    if (deadline_.passed()) return Result<R>{give_up()};
    return Result<R>{late("the next result is not there in time")};
  }
  /// The same for one who goes on.
  [[nodiscard]] Future<NextItem<R>> ask() {
    using Next = Future<NextItem<R>>;
    if (is_asked()) return Next::of(NextAsker<R>::is_waiting());
    if (find(Deadline::now_or_never())) return Next::of(next_item(take_ready()));
    if (deadline_.passed()) return Next::of(give_up());
    if (!deadline_.is_never() && !alarm_.is_set()) {
      auto alarm = Alarm::set(deadline_, [weak = this->weak_from_this()] {
        if (const auto line = weak.lock()) line->expire();
      });
      if (!alarm) return Next::of(alarm.error());
      alarm_ = *std::move(alarm);
    }
    return arrived_ ? ask_for_any() : ask_for_front();
  }
  /// Cancels what has not started; no results follow. Never waits.
  void cancel() noexcept {
    std::unique_lock lock{mutex_};
    auto asker = asker_.take();
    const Source source = std::exchange(source_, nullptr);
    const auto ready = std::exchange(ready_, {});
    auto pending = give_up_pending();
    lock.unlock();
    alarm_ = Alarm{};
    for (auto& each : pending) each.cancel();
    if (asker) asker->set(Error{Errc::cancelled, "the results are gone"});
  }

 private:
  /// Whether somebody has asked and waits.
  [[nodiscard]] bool is_asked() const {
    if (!has_asked_) return false;
    const std::lock_guard lock{mutex_};
    return asker_.waits();
  }

  // --- of the reader, while he does not wait for an answer ---

  /// Waits for a result, or that there is none. False when the time was up.
  [[nodiscard]] bool find(Deadline limit) {
    // For what was answered while the reader was away.
    for (; owed_ != 0 && source_; --owed_) submit_next();
    owed_ = 0;
    if (!ready_.empty() || waiting_ == 0) return true;
    const auto until = limit.when() < deadline_.when() ? limit : deadline_;
    std::size_t which = 0;
    if (arrived_) {
      const auto done = arrived_->take(until);
      if (!done) return false;
      which = *done - taken_;
    } else if (!pending_.front().wait(until)) {
      return false;
    }
    const auto gone = collect(which);
    if (source_) submit_next();
    return true;
  }
  void submit_next() {
    std::optional<PendingResult<R>> next = source_();
    if (!next) {
      source_ = nullptr;
      return;
    }
    if (next->last) source_ = nullptr;
    const std::size_t number = taken_ + pending_.size();
    if (arrived_) {
      auto tell = [line = this->shared_from_this(), number] { line->arrived(number); };
      next->core()->watch(new DoneCall{std::move(tell)}, false);
    }
    pending_.push_back(*std::move(next));
    ++waiting_;
  }
  [[nodiscard]] Error late(const char* what) const {
    return Error{Errc::timeout, std::string{what} + ": " + std::to_string(waiting_) +
                                    " tasks whose results were not taken"};
  }
  [[nodiscard]] Error give_up() {
    Error error = late(time_is_up);
    cancel();
    return error;
  }

  [[nodiscard]] Future<NextItem<R>> ask_for_any() {
    std::unique_lock lock{mutex_};
    has_asked_ = true;
    auto future = asker_.ask();
    // Who came before there was somebody to tell.
    if (const auto done = arrived_->take(Deadline::now_or_never())) answer(lock, *done - taken_);
    return future;
  }
  [[nodiscard]] Future<NextItem<R>> ask_for_front() {
    std::unique_lock lock{mutex_};
    has_asked_ = true;
    auto future = asker_.ask();
    PendingResult<R>& front = pending_.front();
    if (front.done()) {
      answer(lock, 0);
    } else if (std::exchange(watched_, taken_) != taken_) {
      const CoreRef core{front.core()};
      auto tell = [line = this->shared_from_this()] { line->front_is_done(); };
      lock.unlock();  // it may be done by now: then that is told at once
      core->watch(new DoneCall{std::move(tell)}, false);
    }
    return future;
  }

  // --- of whoever takes the question, with the lock held ---

  void arrived(std::size_t number) {
    std::unique_lock lock{mutex_};
    if (asker_.waits()) return answer(lock, number - taken_);
    arrived_->add(number);
  }
  void front_is_done() {
    std::unique_lock lock{mutex_};
    if (asker_.waits() && pending_.front().done()) answer(lock, 0);
  }
  /// Lets go of the lock before anybody hears of it.
  void answer(std::unique_lock<std::mutex>& lock, std::size_t which) {
    auto asker = asker_.take();
    if (!asker) {  // given up just now
      if (arrived_) arrived_->add(taken_ + which);
      return;
    }
    const auto gone = collect(which);
    ++owed_;
    auto result = next_item(take_ready());
    lock.unlock();
    asker->set(std::move(result));
  }
  void expire() {
    std::unique_lock lock{mutex_};
    auto asker = asker_.take();
    if (!asker) return;  // the next question finds that it is late
    Error error = late(time_is_up);
    auto pending = give_up_pending();
    lock.unlock();
    for (auto& each : pending) each.cancel();
    asker->set(std::move(error));
  }

  // --- of either ---

  /// Takes the results of a task that is done. What is left of it may be users' objects, which
  /// are destroyed when nothing is locked.
  [[nodiscard]] PendingResult<R> collect(std::size_t which) {
    PendingResult<R> done = std::exchange(pending_[which], {});
    done.move_to(ready_);
    --waiting_;
    while (!pending_.empty() && !pending_.front().valid()) {
      pending_.pop_front();
      ++taken_;
    }
    return done;
  }
  [[nodiscard]] std::optional<Result<R>> take_ready() {
    if (ready_.empty()) return std::nullopt;
    std::optional<Result<R>> result{std::move(ready_.front())};
    ready_.pop_front();
    return result;
  }
  [[nodiscard]] std::deque<PendingResult<R>> give_up_pending() noexcept {
    waiting_ = 0;
    owed_ = 0;
    return std::exchange(pending_, {});
  }

  static constexpr const char* time_is_up = "map was given a time limit, and it was up";
  static constexpr auto nobody = static_cast<std::size_t>(-1);

  Source source_;
  const Deadline deadline_;
  Alarm alarm_;                            // at the deadline, once somebody has asked
  std::optional<CompletionLine> arrived_;  // only in the order of completion
  std::deque<PendingResult<R>> pending_;   // those taken out of order stay, empty
  std::size_t taken_ = 0;                  // number of the first one in pending_
  std::size_t waiting_ = 0;                // of pending_, not taken
  std::size_t owed_ = 0;                   // taken while the reader was away: as many may follow
  std::size_t watched_ = nobody;           // in the order of the input: number of the last one
  std::deque<Result<R>> ready_;
  bool has_asked_ = false;
  mutable std::mutex mutex_;
  NextAsker<R> asker_;
};

}  // namespace passel::inline v0::detail
