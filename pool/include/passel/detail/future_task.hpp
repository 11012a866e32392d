// Layer pool: a call and its future in one block of memory.
#pragma once

#include <passel/detail/task_name.hpp>
#include <passel/detail/thread_crew.hpp>
#include <passel/future.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// What the future of a call holds: a Result or a Future that it returns is flattened.
template <class Returned>
using answer_of = std::decay_t<typename flattened<std::decay_t<Returned>>::type>;

/// Calls it, and has whatever comes of that as a Result.
template <class R, class F, class... A>
[[nodiscard]] Result<R> call_for_result(F& function, A&&... args) noexcept {
  using Returned = std::decay_t<std::invoke_result_t<F&, A&&...>>;
  try {
    if constexpr (std::is_void_v<Returned>) {
      std::invoke(function, std::forward<A>(args)...);
      return {};
    } else if constexpr (std::is_same_v<Returned, Future<R>>) {
      return std::invoke(function, std::forward<A>(args)...).get();
    } else {
      return Result<R>{std::invoke(function, std::forward<A>(args)...)};
    }
  } catch (...) {
    return thrown_error();
  }
}

/// A callable with its arguments, called once.
template <class F, class... A>
class BoundCall {
 public:
  using callee = F;
  using returned = std::invoke_result_t<F, A...>;
  template <class G, class... B>
  explicit BoundCall(std::in_place_t, G&& function, B&&... arguments)
      : function_(std::forward<G>(function)), arguments_(std::forward<B>(arguments)...) {}
  returned operator()() && { return std::apply(std::move(function_), std::move(arguments_)); }

 private:
  F function_;
  std::tuple<A...> arguments_;
};

/// The same for a callable that takes a std::stop_token before the arguments: request_stop() of the
/// future stops it.
template <class F, class... A>
class StoppableCall {
 public:
  using callee = F;
  using returned = std::invoke_result_t<F, std::stop_token, A...>;
  template <class G, class... B>
  explicit StoppableCall(std::in_place_t, G&& function, B&&... arguments)
      : function_(std::forward<G>(function)),
        arguments_(source_.get_token(), std::forward<B>(arguments)...) {}
  returned operator()() && { return std::apply(std::move(function_), std::move(arguments_)); }
  [[nodiscard]] const std::stop_source& source() const noexcept { return source_; }

 private:
  std::stop_source source_;
  F function_;
  std::tuple<std::stop_token, A...> arguments_;
};

// Asked for only when the plain call does not exist.
template <class F, class... A>
inline constexpr bool takes_stop_token =
    std::conjunction_v<std::negation<std::is_invocable<F, A...>>,
                       std::is_invocable<F, std::stop_token, A...>>;
template <class F, class... A>
using call_of =
    std::conditional_t<takes_stop_token<F, A...>, std::type_identity<StoppableCall<F, A...>>,
                       std::type_identity<BoundCall<F, A...>>>;

/// The shared state of a future together with the call that answers it. The call is destroyed
/// before the answer is shown, so that whoever gets the answer may rely on the arguments being
/// gone.
template <class Call>
class FutureTask final : public FutureState<answer_of<typename Call::returned>>, public WorkItem {
 public:
  using Returned = typename Call::returned;
  using Answer = answer_of<Returned>;

  template <class... A>
  explicit FutureTask(A&&... args) : call_{std::in_place, std::forward<A>(args)...} {}

  /// Before the task is handed over.
  void stop_with(const std::stop_source& source) {
    auto stop = [source]() mutable { source.request_stop(); };
    this->add_hook(new FutureHookOf<decltype(stop)>{FutureWish::stop, std::move(stop)});
  }
  /// It counts among the unanswered calls until it has run or is answered.
  void hold(CallPlace place) noexcept { place_ = std::move(place); }
  [[nodiscard]] const Call& call() const noexcept { return call_; }
  /// Once, before the task is handed over.
  [[nodiscard]] Future<Answer> future() noexcept {
    this->add_ref();
    return FutureAccess::adopt<Answer>(this);
  }

  void run() noexcept override {
    if (this->set_running()) {
      answer();
    } else {
      std::destroy_at(&call_);
      place_.reset();
    }
    this->release();
  }
  void drop(const Error& why) noexcept override {
    std::destroy_at(&call_);
    place_.reset();
    if (why == Errc::cancelled) {
      this->cancel();
    } else if (this->begin_set()) {
      this->emplace(Result<Answer>{why});
      this->finish_set();
    }
    this->release();
  }

 private:
  ~FutureTask() override {}

  [[nodiscard]] std::string work() const override { return task_name<typename Call::callee>(); }

  /// The call has been made. Whoever sees its answer finds room for another one.
  struct Spent {
    FutureTask& task;
    ~Spent() {
      std::destroy_at(&task.call_);
      task.place_.reset();
    }
  };
  void answer() noexcept {
    std::optional<Error> thrown;
    try {
      if constexpr (std::is_same_v<std::remove_cv_t<Returned>, Future<Answer>>) {
        forward(produce());
      } else {
        set(produce());
      }
      return;
    } catch (...) {
      thrown = thrown_error();
    }
    // Outside of the handler, which has let go of the exception.
    set(Result<Answer>{*std::move(thrown)});
  }
  auto produce() {
    const Spent spent{*this};
    if constexpr (std::is_same_v<std::remove_cv_t<Returned>, Future<Answer>>) {
      return std::move(call_)();
    } else if constexpr (std::is_void_v<Returned>) {
      std::move(call_)();
      return Result<void>{};
    } else {
      return Result<Answer>{std::move(call_)()};
    }
  }
  void set(Result<Answer>&& result) noexcept {
    if (!this->begin_set()) return;
    this->emplace(std::move(result));
    this->finish_set();
  }
  /// The task's own future is answered as that one is.
  void forward(Future<Answer> inner) {
    if (!inner.valid()) return set(no_future_error());
    struct Link final : FutureWatcher {
      Link(FutureTask& task) : outer{&task} { outer->add_ref(); }
      void done(FutureCore& core) noexcept override {
        outer->set(static_cast<FutureState<Answer>&>(core).move_out());
        outer->release();
        delete this;
      }
      FutureTask* outer;
    };
    inner.core()->watch(new Link{*this}, true);
  }

  CallPlace place_;
  union {
    Call call_;
  };
};

/// The task of calling `function(args...)` with copies of them, or what they were moved into.
template <class F, class... A>
[[nodiscard]] auto* make_future_task(F&& function, A&&... args) {
  using Call = typename call_of<std::decay_t<F>, std::decay_t<A>...>::type;
  auto* const task = new FutureTask<Call>(std::forward<F>(function), std::forward<A>(args)...);
  if constexpr (takes_stop_token<std::decay_t<F>, std::decay_t<A>...>) {
    task->stop_with(task->call().source());
  }
  return task;
}

/// Has the crew make that call, which has its place. What refuses it then is the future's error.
template <class F, class... A>
[[nodiscard]] auto submit_admitted(ThreadCrew& crew, CallPlace place, F&& function, A&&... args) {
  auto* const task = make_future_task(std::forward<F>(function), std::forward<A>(args)...);
  auto future = task->future();
  task->hold(std::move(place));
  if (const auto taken = crew.submit(*task); taken.is_err()) task->drop(taken.error());
  return future;
}

/// The same for one that has none yet. Errors, and then nothing has been moved from: why the crew
/// takes no calls, full or timeout by the deadline.
template <class F, class... A>
[[nodiscard]] auto submit_task(ThreadCrew& crew, Deadline deadline, F&& function, A&&... args)
    -> Result<
        Future<answer_of<typename call_of<std::decay_t<F>, std::decay_t<A>...>::type::returned>>> {
  PASSEL_TRY(CallPlace place, crew.admit(deadline));
  return submit_admitted(crew, std::move(place), std::forward<F>(function),
                         std::forward<A>(args)...);
}

}  // namespace passel::inline v0::detail
