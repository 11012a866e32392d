// Layer pool: SerialExecutor, the interface of an executor without threads or processes.
#pragma once

#include <passel/detail/executor_face.hpp>
#include <passel/detail/future_task.hpp>

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

/// Runs every call at once, in the thread that submits it, so that futures are done when they are
/// returned: for debugging and for tests of code that is given an executor. Takes what a
/// ThreadPoolExecutor takes, with the same answers and errors.
///
///     passel::SerialExecutor executor;
///     EXPECT_EQ(executor.submit(fib, 10).get().unwrap(), 55);
///
/// A stream has all its items when it is returned, whatever its window.
///
/// One thread at a time; a task may submit, and that runs inside of it.
class SerialExecutor : public detail::ExecutorFace<SerialExecutor> {
 public:
  SerialExecutor() = default;

  /// No new tasks. There is nothing to wait for or to cancel.
  Result<void> shutdown(ShutdownOptions = {}) noexcept {
    *closed_ = true;
    return {};
  }
  [[nodiscard]] static constexpr unsigned max_workers() noexcept { return 1; }

 private:
  friend class detail::ExecutorFace<SerialExecutor>;
  friend class detail::StreamFace<SerialExecutor>;
  friend class detail::SubmitFace<SerialExecutor>;
  using Closed = std::shared_ptr<bool>;

  [[nodiscard]] static std::optional<Error> refusal(const Closed& closed) {
    if (!*closed) return std::nullopt;
    return Error{Errc::invalid_state, "cannot schedule new futures after shutdown"};
  }
  template <class F, class... A>
  [[nodiscard]] auto submit_call(detail::Deadline, const TaskOptions*, F&& function, A&&... args) {
    return submit_to(closed_, std::forward<F>(function), std::forward<A>(args)...);
  }
  template <class F, class... A>
  [[nodiscard]] static auto submit_to(const Closed& closed, F&& function, A&&... args) {
    using R = detail::answer_of<
        typename detail::call_of<std::decay_t<F>, std::decay_t<A>...>::type::returned>;
    using Submitted = Result<Future<R>>;
    if (auto why = refusal(closed)) return Submitted{*std::move(why)};
    auto* const task =
        detail::make_future_task(std::forward<F>(function), std::forward<A>(args)...);
    Future<R> future = task->future();
    task->run();
    return Submitted{std::move(future)};
  }
  template <class F, class... A>
  [[nodiscard]] auto stream_call(detail::Deadline, const StreamOptions& options, F&& function,
                                 A&&... args) {
    return detail::stream_at_once(refusal(closed_), options, std::forward<F>(function),
                                  std::forward<A>(args)...);
  }
  template <class F, class... Ranges>
  [[nodiscard]] auto map_call(F&& function, const ExecutorMapOptions& options, Ranges&&... ranges) {
    return detail::map_calls(
        [closed = closed_] { return refusal(closed); },
        [closed = closed_](auto&&... call) {
          return detail::future_of(submit_to(closed, std::forward<decltype(call)>(call)...));
        },
        std::forward<F>(function), options, std::forward<Ranges>(ranges)...);
  }

  Closed closed_ = std::make_shared<bool>(false);
};

}  // namespace passel::inline v0
