// Layer pool: what stands behind a ProcessPoolExecutor.
#pragma once

#include <passel/detail/descriptor.hpp>
#include <passel/detail/executor_map.hpp>
#include <passel/export.hpp>
#include <passel/pool.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// The futures that are not done yet, for whoever wants to cancel all of them. Safe from any
/// thread; has to live in a shared_ptr.
class PASSEL_API FutureRoll : public std::enable_shared_from_this<FutureRoll> {
 public:
  FutureRoll() = default;
  FutureRoll(const FutureRoll&) = delete;
  FutureRoll& operator=(const FutureRoll&) = delete;
  ~FutureRoll();

  void add(FutureCore& future);
  void cancel_all();

 private:
  struct Entry;
  std::mutex mutex_;
  Entry* first_ = nullptr;
};

/// The pool, and the executor's own state around it.
class PASSEL_API ProcessCrew {
 public:
  explicit ProcessCrew(Pool pool);
  ProcessCrew(const ProcessCrew&) = delete;
  ProcessCrew& operator=(const ProcessCrew&) = delete;
  ~ProcessCrew();

  [[nodiscard]] std::optional<Error> refusal() const;
  void close(bool cancel);
  /// Ends the workers without regard for what they do; with a SIGKILL when `at_once`.
  void terminate(bool at_once);
  [[nodiscard]] Result<void> join(Deadline deadline);
  /// close and join, unless this is a forked copy of the owner.
  void end(bool cancel);

  template <class Target, class... A>
  [[nodiscard]] auto submit(Deadline deadline, const TaskOptions* options, A&&... args) {
    using Answer =
        decltype(pool.submit_call(deadline, options, Target{}, std::forward<A>(args)...));
    if (auto why = refusal()) return Answer{*std::move(why)};
    Answer future = pool.submit_call(deadline, options, Target{}, std::forward<A>(args)...);
    if (future && !future->done()) roll_->add(*future->core());
    return future;
  }
  template <class... A>
  [[nodiscard]] auto stream(A&&... args) {
    using Answer = decltype(pool.stream_call(std::forward<A>(args)...));
    if (auto why = refusal()) return Answer{*std::move(why)};
    return pool.stream_call(std::forward<A>(args)...);
  }

  Pool pool;

 private:
  [[nodiscard]] std::vector<Descriptor> open_workers() const;

  std::shared_ptr<FutureRoll> roll_ = std::make_shared<FutureRoll>();
  std::atomic<bool> closed_{false};
  const std::uint32_t generation_;
};

/// The task that runs `Target` for several items; each has an answer of its own.
template <class R, class Item, class Target>
struct ChunkCall {
  std::vector<Result<R>> operator()(std::vector<Item> items) const {
    std::vector<Result<R>> answers;
    answers.reserve(items.size());
    for (Item& item : items) answers.push_back(answer(item));
    return answers;
  }

 private:
  static Result<R> answer(Item& item) {
    using One = Task<Target, Item>;
    try {
      if constexpr (std::is_void_v<typename One::returned>) {
        One::call(item);
        return {};
      } else {
        return One::call(item);
      }
    } catch (...) {
      return current_exception_as_error();
    }
  }
};

}  // namespace passel::inline v0::detail
