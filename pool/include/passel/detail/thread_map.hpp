// Layer pool: a map whose items are shared out among threads.
#pragma once

#include <passel/detail/future_task.hpp>
#include <passel/pool.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// Calls with one item, or with the parts of a tuple.
template <class F, bool star>
struct ItemCall {
  F function;
  template <class Item>
  decltype(auto) operator()(Item&& item) {
    if constexpr (star) {
      return std::apply(function, std::forward<Item>(item));
    } else {
      return std::invoke(function, std::forward<Item>(item));
    }
  }
};

/// All items of a map in one place, results too; threads take chunks. The answer comes with the
/// last chunk: all results in the order of the input, or the error of the first item that has one.
/// It deletes itself then.
template <class Call, class Item, class Notice>
class ThreadMap {
 public:
  using R = answer_of<std::invoke_result_t<Call&, Item>>;
  using Answer = typename MapResult<R>::type;

  ThreadMap(Call call, std::vector<Item> items, Notice notice,
            std::function<void(PoolProgress)> progress)
      : call_{std::move(call)},
        items_{std::move(items)},
        notice_{std::move(notice)},
        progress_{std::move(progress)} {
    if constexpr (!std::is_void_v<R>) results_.resize(items_.size());
  }
  ThreadMap(const ThreadMap&) = delete;
  ThreadMap& operator=(const ThreadMap&) = delete;

  [[nodiscard]] Future<Answer> future() { return promise_.future(); }
  void hold(CallPlace place) noexcept { place_ = std::move(place); }
  /// Takes this over.
  void submit_to(ThreadCrew& crew, std::size_t chunk_size) {
    if (items_.empty()) return finish();
    const std::size_t count = (items_.size() + chunk_size - 1) / chunk_size;
    left_.store(count, std::memory_order_relaxed);
    chunks_ = std::make_unique<Chunk[]>(count);
    std::vector<WorkItem*> all;
    all.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      chunks_[i].map = this;
      chunks_[i].first = i * chunk_size;
      chunks_[i].last = std::min(items_.size(), (i + 1) * chunk_size);
      all.push_back(&chunks_[i]);
    }
    crew.submit_all(all);
  }

 private:
  struct Chunk final : WorkItem {
    void run() noexcept override { map->run(*this); }
    void drop(const Error& why) noexcept override { map->drop(*this, why); }
    ThreadMap* map = nullptr;
    std::size_t first = 0;
    std::size_t last = 0;
  };
  // Threads write results side by side, which the bits of a vector<bool> do not allow.
  static constexpr bool direct =
      std::is_void_v<R> || (std::is_default_constructible_v<R> && !std::is_same_v<R, bool>);
  using Slot =
      std::conditional_t<std::is_void_v<R>, char, std::conditional_t<direct, R, std::optional<R>>>;

  void run(Chunk& chunk) noexcept {
    // The first chunk to come makes it running; a cancelled map runs no further.
    if (!promise_.set_running_or_notify_cancel() && promise_.cancelled()) return leave();
    for (std::size_t i = chunk.first; i < chunk.last; ++i) {
      Result<R> result = call_for_result<R>(call_, std::move(items_[i]));
      if (result.is_err()) {
        note(i, result.error());
      } else if constexpr (!std::is_void_v<R>) {
        results_[i] = *std::move(result);
      }
      if (progress_) tell_progress();
    }
    leave();
  }
  void drop(Chunk& chunk, const Error& why) noexcept {
    note(chunk.first, why);
    leave();
  }
  void note(std::size_t item, const Error& error) noexcept {
    const std::lock_guard lock{mutex_};
    if (error_ && error_item_ <= item) return;
    error_ = error;
    error_item_ = item;
  }
  void tell_progress() noexcept {
    const std::lock_guard lock{mutex_};
    try {
      progress_({.done = ++done_, .total = items_.size()});
    } catch (...) {
      report_background_error(current_exception_error());
    }
  }
  void leave() noexcept {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) finish();
  }
  void finish() noexcept {
    Result<Answer> all = answer();
    if constexpr (!std::is_same_v<Notice, NoCallback>) {
      if (!promise_.cancelled()) notice_(std::as_const(all));
    }
    // Whoever gets the answer may rely on the callable and the items being gone.
    Promise<Answer> promise = std::move(promise_);
    delete this;
    if (all.is_err() && all.error() == Errc::cancelled && promise.cancel()) return;
    promise.set(std::move(all));
  }
  [[nodiscard]] Result<Answer> answer() {
    if (error_) return *error_;
    if constexpr (std::is_void_v<R>) {
      return {};
    } else if constexpr (direct) {
      return std::move(results_);
    } else {
      std::vector<R> all;
      all.reserve(results_.size());
      for (auto& result : results_) {
        if (!result) break;  // cancelled: nobody will look
        all.push_back(*std::move(result));
      }
      return all;
    }
  }

  Call call_;
  std::vector<Item> items_;
  [[no_unique_address]] Notice notice_;
  std::function<void(PoolProgress)> progress_;
  Promise<Answer> promise_;
  CallPlace place_;
  std::vector<Slot> results_;
  std::unique_ptr<Chunk[]> chunks_;
  std::atomic<std::size_t> left_{0};
  std::mutex mutex_;
  std::optional<Error> error_;
  std::size_t error_item_ = 0;
  std::size_t done_ = 0;
};

/// A range as a vector, moved out of a container that is given away.
template <class Range>
[[nodiscard]] auto items_of(Range&& range) {
  using Item = std::decay_t<range_item<Range>>;
  std::vector<Item> items;
  if constexpr (requires { std::size(range); }) {
    items.reserve(static_cast<std::size_t>(std::size(range)));
  }
  for (ZippedInput<Range> input{std::forward<Range>(range)}; !input.at_end();) {
    input.take([&items]<class T>(T&& item) {
      items.push_back(std::forward<T>(item));
      return 0;
    });
  }
  return items;
}

}  // namespace passel::inline v0::detail
