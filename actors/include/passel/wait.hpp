// Layer actors: waiting for several futures at once.
#pragma once

#include <passel/future.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// When `wait` returns (Python's `return_when`).
enum class WaitFor {
  first_completed,  ///< one is finished or cancelled
  first_exception,  ///< one has failed, or all are done; a cancelled one is no failure
  all_completed,
};

/// What `wait` found, as positions in the range it was given.
struct WaitResult {
  std::vector<std::size_t> done;
  std::vector<std::size_t> not_done;
};

namespace detail {

template <class R>
concept FutureRange = std::ranges::forward_range<R> &&
    requires(std::ranges::range_reference_t<R> future) {
  future.core();
};

template <FutureRange R>
WaitResult wait_until(R& futures, Deadline deadline, WaitFor what) {
  std::vector<FutureCore*> cores;
  // An empty Future has nothing to wait for and counts as done.
  for (auto& future : futures) {
    if (future.core() != nullptr) cores.push_back(future.core());
  }
  wait_for_many(cores, what == WaitFor::first_completed, what == WaitFor::first_exception,
                deadline);
  WaitResult result;
  std::size_t position = 0;
  for (auto& future : futures) {
    (future.core() == nullptr || future.done() ? result.done : result.not_done)
        .push_back(position++);
  }
  return result;
}

}  // namespace detail

/// Waits for some or all of several futures (Python's `concurrent.futures.wait`). The futures stay
/// as they are.
///
///     auto [done, not_done] = passel::wait(futures, passel::WaitFor::first_completed);
///     use(futures[done.front()].get());
template <detail::FutureRange R>
WaitResult wait(R&& futures, WaitFor what = WaitFor::all_completed) {
  return detail::wait_until(futures, detail::Deadline::never(), what);
}

/// The same, for at most `time`: then it returns what is done so far.
template <detail::FutureRange R, class Rep, class Period>
WaitResult wait_for(R&& futures, std::chrono::duration<Rep, Period> time,
                    WaitFor what = WaitFor::all_completed) {
  return detail::wait_until(futures, detail::Deadline::after(time), what);
}

/// Gives futures back in the order in which they are done (Python's `as_completed`). It owns them,
/// keeps nothing of those it has given back, and drops the others when it is destroyed. With a time
/// limit, counted from the call of as_completed, an iteration ends when it is up: `left()` is then
/// not 0, and next() says so. One thread at a time.
///
///     for (passel::Future<Page> page : passel::as_completed(std::move(pages))) use(page.get());
template <class T>
class AsCompleted {
 public:
  explicit AsCompleted(std::vector<Future<T>> futures,
                       detail::Deadline deadline = detail::Deadline::never())
      : futures_{std::move(futures)}, deadline_{deadline} {
    for (std::size_t i = 0; i < futures_.size(); ++i) {
      if (!futures_[i].valid()) {
        line_->add(i);
        continue;
      }
      futures_[i].core()->watch(new Watcher{line_, i}, false);
    }
    left_ = futures_.size();
  }

  /// The next one that is done; waits for it. Error closed when all have been given back, timeout.
  [[nodiscard]] Result<Future<T>> next() { return next(detail::Deadline::never()); }
  template <class Rep, class Period>
  [[nodiscard]] Result<Future<T>> next_for(std::chrono::duration<Rep, Period> time) {
    return next(detail::Deadline::after(time));
  }
  /// How many have not been given back yet.
  [[nodiscard]] std::size_t left() const noexcept { return left_; }

  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using iterator_concept = std::input_iterator_tag;
    using value_type = Future<T>;
    using difference_type = std::ptrdiff_t;
    using pointer = Future<T>*;
    using reference = Future<T>&&;

    reference operator*() const { return std::move(*present_); }
    iterator& operator++() {
      advance();
      return *this;
    }
    void operator++(int) { advance(); }
    friend bool operator==(const iterator& at, std::default_sentinel_t) noexcept {
      return at.source_ == nullptr;
    }

   private:
    friend class AsCompleted;
    explicit iterator(AsCompleted* source) : source_{source} { advance(); }
    void advance() {
      auto got = source_->next();
      if (got.is_ok()) {
        present_ = std::make_shared<Future<T>>(*std::move(got));
      } else {
        source_ = nullptr;
      }
    }
    AsCompleted* source_;
    std::shared_ptr<Future<T>> present_;
  };
  iterator begin() { return iterator{this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  struct Watcher final : detail::FutureWatcher {
    Watcher(std::shared_ptr<detail::CompletionLine> line, std::size_t i)
        : line_{std::move(line)}, index_{i} {}
    void done(detail::FutureCore&) noexcept override {
      line_->add(index_);
      delete this;
    }
    std::shared_ptr<detail::CompletionLine> line_;
    std::size_t index_;
  };

  Result<Future<T>> next(detail::Deadline deadline) {
    if (left_ == 0) return Error{Errc::closed, "all futures have been given back"};
    const auto index = line_->take(deadline.when() < deadline_.when() ? deadline : deadline_);
    if (!index) {
      return Error{Errc::timeout, std::to_string(left_) + " (of " +
                                      std::to_string(futures_.size()) + ") futures unfinished"};
    }
    --left_;
    return std::move(futures_[*index]);
  }

  std::vector<Future<T>> futures_;
  detail::Deadline deadline_;
  std::shared_ptr<detail::CompletionLine> line_ = std::make_shared<detail::CompletionLine>();
  std::size_t left_ = 0;
};

template <class T>
[[nodiscard]] AsCompleted<T> as_completed(std::vector<Future<T>> futures) {
  return AsCompleted<T>{std::move(futures)};
}
template <class T, class Rep, class Period>
[[nodiscard]] AsCompleted<T> as_completed(std::vector<Future<T>> futures,
                                          std::chrono::duration<Rep, Period> timeout) {
  return AsCompleted<T>{std::move(futures), detail::Deadline::after(timeout)};
}

/// The future of all values, in the order of the futures; the first failure instead, when there is
/// one.
template <class T>
requires(!std::is_void_v<T>)
    [[nodiscard]] Future<std::vector<T>> when_all(std::vector<Future<T>> futures) {
  std::vector<T> values;
  values.reserve(futures.size());
  for (Future<T>& future : futures) {
    Result<T> value = co_await std::move(future);
    if (!value) co_return value.error();
    values.push_back(*std::move(value));
  }
  co_return values;
}
/// The same for futures without values.
inline Future<void> when_all(std::vector<Future<void>> futures) {
  for (Future<void>& future : futures) (co_await std::move(future)).unwrap();
}

/// What when_any found.
template <class T>
struct WhenAny {
  std::size_t index;               ///< which one was done first
  Result<T> result;                ///< its value or error
  std::vector<Future<T>> futures;  ///< all of them; the one at `index` is empty now
};

namespace detail {

/// Where several futures race.
template <class T>
class FirstOfMany {
 public:
  explicit FirstOfMany(std::vector<Future<T>> futures) : futures_{std::move(futures)} {}

  static Future<WhenAny<T>> start(const std::shared_ptr<FirstOfMany>& self) {
    auto future = self->promise_.future();
    self->promise_.on_cancel([weak = std::weak_ptr{self}] {
      if (const auto present = weak.lock()) present->cancel();
    });
    for (std::size_t i = 0; i < self->futures_.size(); ++i) {
      if (FutureCore* const core = self->futures_[i].core()) {
        core->watch(new Watcher{self, i}, true);
      } else {
        self->arrived(i, no_future_error());
      }
    }
    // Whoever came first waits for the last one to be in place, or the other way round.
    self->meet();
    return future;
  }

 private:
  struct Watcher final : FutureWatcher {
    Watcher(std::shared_ptr<FirstOfMany> r, std::size_t i) : race{std::move(r)}, index{i} {}
    void done(FutureCore& core) noexcept override {
      race->arrived(index, static_cast<FutureState<T>*>(&core));
      delete this;
    }
    std::shared_ptr<FirstOfMany> race;
    std::size_t index;
  };

  template <class Answer>
  void arrived(std::size_t index, Answer&& answer) {
    if (taken_.exchange(true, std::memory_order_acq_rel)) return;
    if constexpr (std::is_pointer_v<std::decay_t<Answer>>) {
      first_.emplace(index, answer->move_out());
    } else {
      first_.emplace(index, std::forward<Answer>(answer));
    }
    meet();
  }
  void meet() {
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    // Cancelled: cancel() may still look at the futures.
    if (!promise_.set_running_or_notify_cancel()) return;
    auto& [index, result] = *first_;
    futures_[index] = {};
    promise_.set(WhenAny<T>{index, std::move(result), std::move(futures_)});
  }
  void cancel() noexcept {
    for (Future<T>& future : futures_) future.cancel();
  }

  std::vector<Future<T>> futures_;
  Promise<WhenAny<T>> promise_;
  std::atomic<bool> taken_{false};
  std::atomic<int> missing_{2};
  std::optional<std::pair<std::size_t, Result<T>>> first_;
};

}  // namespace detail

/// The future of whichever is done first, with all the others. Cancelling it cancels them. No
/// futures at all are Errc::invalid_argument. Never waits.
///
///     auto first = passel::when_any(std::move(mirrors)).get().unwrap();
///     for (auto& other : first.futures) other.cancel();
///     use(first.result);
template <class T>
[[nodiscard]] Future<WhenAny<T>> when_any(std::vector<Future<T>> futures) {
  if (futures.empty()) {
    return Future<WhenAny<T>>::of(Error{Errc::invalid_argument, "when_any of no futures"});
  }
  return detail::FirstOfMany<T>::start(
      std::make_shared<detail::FirstOfMany<T>>(std::move(futures)));
}

}  // namespace passel::inline v0
