// Layer pool: where the items of a task that streams meet whoever reads them.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/next_item.hpp>
#include <passel/detail/observed_wait.hpp>
#include <passel/result.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace passel::inline v0::detail {

/// Items of one task on their way to one reader. A thread that writes waits for room here (`push`);
/// what comes from a worker process had its room before it was sent (`add`), and the reader tells
/// how far it has come. Shared by both sides.
template <class T>
class StreamCore {
 public:
  /// What the reader can do to the task.
  struct Reins {
    std::function<void()> stop{};                     ///< it should end
    std::function<void(std::uint32_t)> tell_taken{};  ///< so many items have been taken
  };

  explicit StreamCore(std::size_t window) : window_{window} {}
  StreamCore(const StreamCore&) = delete;
  StreamCore& operator=(const StreamCore&) = delete;

  void set_reins(Reins reins) { reins_ = std::move(reins); }

  // --- the task's side

  /// Waits for room. Errors, and then the value has not been moved from: full (the deadline is
  /// "try"), timeout, cancelled.
  template <class U>
  [[nodiscard]] Result<void> push(U&& value, Deadline deadline) {
    std::unique_lock lock{mutex_};
    const auto free = [this] { return unwanted_ || items_.size() < window_; };
    if (!free() && deadline.is_try())
      return Error{Errc::full, std::to_string(window_) + " items have not been taken yet"};
    if (!observed_wait(lock, room_, deadline, free))
      return Error{Errc::timeout,
                   "none of " + std::to_string(window_) + " items was taken in time"};
    if (unwanted_)
      return Error{Errc::cancelled, "the task was asked to end: nobody wants further items"};
    items_.emplace_back(T(std::forward<U>(value)));
    serve(lock);
    return {};
  }
  void add(Result<T> item) {
    std::unique_lock lock{mutex_};
    if (!unwanted_ || !abandoned_) items_.push_back(std::move(item));
    serve(lock);
  }
  /// No item follows. With the error of the task, if it has one.
  void finish(const Error* failure) {
    std::unique_lock lock{mutex_};
    if (std::exchange(ended_, true)) return;
    if (failure != nullptr) items_.emplace_back(*failure);
    serve(lock);
  }
  [[nodiscard]] bool is_unwanted() const {
    const std::lock_guard lock{mutex_};
    return unwanted_;
  }

  // --- the reader's side

  /// The next item or, last, the task's error; empty when there is no more. Errors: timeout,
  /// invalid_state while somebody waits by take_async.
  [[nodiscard]] std::optional<Result<T>> take(Deadline deadline) {
    std::unique_lock lock{mutex_};
    if (asker_.waits()) return Result<T>{NextAsker<T>::is_waiting()};
    if (!observed_wait(lock, news_, deadline, [this] { return is_there(); }))
      return Result<T>{Error{Errc::timeout, "no further item in time"}};
    return take_one(lock);
  }
  /// The same for one who goes on.
  [[nodiscard]] Future<NextItem<T>> take_async() {
    std::unique_lock lock{mutex_};
    if (asker_.waits()) return Future<NextItem<T>>::of(NextAsker<T>::is_waiting());
    if (!is_there()) return asker_.ask();
    return Future<NextItem<T>>::of(next_item(take_one(lock)));
  }
  /// Nobody wants what the task has not sent yet.
  void stop() {
    {
      const std::lock_guard lock{mutex_};
      if (std::exchange(unwanted_, true) || ended_) return;
    }
    room_.notify_all();
    if (reins_.stop) reins_.stop();
  }
  /// Nor what it has sent.
  void abandon() {
    stop();
    std::deque<Result<T>> unread;
    std::unique_lock lock{mutex_};
    abandoned_ = true;
    unread.swap(items_);
    auto asker = asker_.take();
    lock.unlock();
    if (asker) asker->set(Error{Errc::cancelled, "the stream is gone"});
  }

 private:
  [[nodiscard]] bool is_there() const noexcept { return ended_ || !items_.empty(); }
  /// What take gives, when it is there. Lets go of the lock.
  [[nodiscard]] std::optional<Result<T>> take_one(std::unique_lock<std::mutex>& lock) {
    if (items_.empty()) {
      lock.unlock();
      return std::nullopt;
    }
    std::optional<Result<T>> item{std::move(items_.front())};
    items_.pop_front();
    ++taken_;
    // Told in steps: each costs the task's process a look.
    const bool tell =
        reins_.tell_taken && !ended_ && taken_ - told_ >= std::max<std::size_t>(window_ / 2, 1);
    const std::uint32_t taken = taken_;
    if (tell) told_ = taken;
    lock.unlock();
    room_.notify_one();
    if (tell) reins_.tell_taken(taken);
    return item;
  }
  /// There is news, for whoever waits. Lets go of the lock.
  void serve(std::unique_lock<std::mutex>& lock) {
    if (auto asker = is_there() ? asker_.take() : std::nullopt) {
      asker->set(next_item(take_one(lock)));
    } else {
      lock.unlock();
      news_.notify_one();
    }
  }

  const std::size_t window_;
  Reins reins_;
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::condition_variable room_;
  std::deque<Result<T>> items_;
  NextAsker<T> asker_;
  std::uint32_t taken_ = 0;
  std::uint32_t told_ = 0;
  bool ended_ = false;
  bool unwanted_ = false;
  bool abandoned_ = false;
};

}  // namespace passel::inline v0::detail
