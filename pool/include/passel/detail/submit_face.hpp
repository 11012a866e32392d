// Layer pool: the functions of pools and executors that have calls made.
#pragma once

#include <passel/detail/stream_face.hpp>
#include <passel/future.hpp>
#include <passel/pool_options.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

template <class N>
inline constexpr bool is_callbacks = false;
template <class C, class E>
inline constexpr bool is_callbacks<Callbacks<C, E>> = true;
/// What is called: nothing that belongs before it.
template <class F>
concept TaskCallable =
    !is_callbacks<std::remove_cvref_t<F>> && !std::is_same_v<TaskOptions, std::remove_cvref_t<F>>;

/// Whether calls of a pool or executor can be given TaskOptions: where tasks run in processes.
template <class Self>
inline constexpr bool takes_task_options = false;

/// A future of what was submitted, or of why it was not.
template <class T>
[[nodiscard]] Future<T> future_of(Result<Future<T>>&& submitted) {
  return submitted ? *std::move(submitted) : Future<T>::of(submitted.error());
}

/// submit in the forms that all pools and executors understand. `Self` has
/// `submit_call(deadline, options, function, args...)`, which gives a Result<Future<R>>; options
/// are a null pointer when there are none.
template <class Self>
class SubmitFace : public StreamFace<Self> {
 public:
  /// Has the function called with these arguments, and returns at once, unless `max_pending` calls
  /// are unanswered: then it waits for one of them, except in a callback or a task of the same pool
  /// or executor. What refuses the call is the future's error: invalid_state ("Pool not running",
  /// "cannot schedule new futures after shutdown"), an argument that cannot be encoded. Python's
  /// Executor.submit.
  ///
  ///     passel::Future<long> f = executor.submit<fib>(30);
  template <auto F, class... A>
  requires(!first_is<TaskOptions, A...>) [[nodiscard]] auto submit(A&&... args) {
    return future_of(call<F>(Deadline::never(), nullptr, std::forward<A>(args)...));
  }
  /// The same with TaskOptions, where tasks run in processes.
  template <auto F, class... A>
  requires takes_task_options<Self>
  [[nodiscard]] auto submit(const TaskOptions& options, A&&... args) {
    return future_of(call<F>(Deadline::never(), &options, std::forward<A>(args)...));
  }
  /// The same for a callable object. Pools of processes take only those without captures.
  template <TaskCallable L, class... A>
  [[nodiscard]] auto submit(L&& function, A&&... args) {
    return future_of(self().submit_call(Deadline::never(), nullptr, std::forward<L>(function),
                                        std::forward<A>(args)...));
  }
  template <TaskCallable L, class... A>
  requires takes_task_options<Self>
  [[nodiscard]] auto submit(const TaskOptions& options, L&& function, A&&... args) {
    return future_of(self().submit_call(Deadline::never(), &options, std::forward<L>(function),
                                        std::forward<A>(args)...));
  }

  /// submit without waiting for room: a Result of the future, full when `max_pending` calls are
  /// unanswered, and then no argument has been moved from.
  ///
  ///     if (auto f = pool.try_submit<fib>(30)) use(f->get()); else shed_load(f.error());
  template <auto F, class... A>
  requires(!first_is<TaskOptions, A...>) [[nodiscard]] auto try_submit(A&&... args) {
    return call<F>(Deadline::now_or_never(), nullptr, std::forward<A>(args)...);
  }
  template <auto F, class... A>
  requires takes_task_options<Self>
  [[nodiscard]] auto try_submit(const TaskOptions& options, A&&... args) {
    return call<F>(Deadline::now_or_never(), &options, std::forward<A>(args)...);
  }
  template <TaskCallable L, class... A>
  [[nodiscard]] auto try_submit(L&& function, A&&... args) {
    return self().submit_call(Deadline::now_or_never(), nullptr, std::forward<L>(function),
                              std::forward<A>(args)...);
  }
  template <TaskCallable L, class... A>
  requires takes_task_options<Self>
  [[nodiscard]] auto try_submit(const TaskOptions& options, L&& function, A&&... args) {
    return self().submit_call(Deadline::now_or_never(), &options, std::forward<L>(function),
                              std::forward<A>(args)...);
  }

  /// submit, waiting for room at most so long: then timeout, and no argument has been moved from.
  template <auto F, class Rep, class Period, class... A>
  requires(!first_is<TaskOptions, A...>)
      [[nodiscard]] auto submit_for(std::chrono::duration<Rep, Period> wait, A&&... args) {
    return call<F>(Deadline::after(wait), nullptr, std::forward<A>(args)...);
  }
  template <auto F, class Rep, class Period, class... A>
  requires takes_task_options<Self>
  [[nodiscard]] auto submit_for(std::chrono::duration<Rep, Period> wait, const TaskOptions& options,
                                A&&... args) {
    return call<F>(Deadline::after(wait), &options, std::forward<A>(args)...);
  }
  template <class Rep, class Period, TaskCallable L, class... A>
  [[nodiscard]] auto submit_for(std::chrono::duration<Rep, Period> wait, L&& function,
                                A&&... args) {
    return self().submit_call(Deadline::after(wait), nullptr, std::forward<L>(function),
                              std::forward<A>(args)...);
  }
  template <class Rep, class Period, TaskCallable L, class... A>
  requires takes_task_options<Self>
  [[nodiscard]] auto submit_for(std::chrono::duration<Rep, Period> wait, const TaskOptions& options,
                                L&& function, A&&... args) {
    return self().submit_call(Deadline::after(wait), &options, std::forward<L>(function),
                              std::forward<A>(args)...);
  }

 protected:
  SubmitFace() = default;
  SubmitFace(SubmitFace&&) noexcept = default;
  SubmitFace& operator=(SubmitFace&&) noexcept = default;
  ~SubmitFace() = default;

 private:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
  template <auto F, class... A>
  [[nodiscard]] auto call(Deadline deadline, const TaskOptions* options, A&&... args) {
    return self().submit_call(deadline, options, FunctionTarget<F>{}, std::forward<A>(args)...);
  }
};

}  // namespace passel::inline v0::detail
