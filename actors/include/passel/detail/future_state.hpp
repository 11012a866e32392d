// Layer actors: the typed part of a future's shared state, and what can be attached to it.
#pragma once

#include <passel/detail/future_core.hpp>

#include <concepts>
#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

template <class T>
class Future;
template <class T>
class Promise;

namespace detail {

/// An error as a Result that lives for ever: what result() shows when there is no stored one.
template <class T, Error (*make)()>
const Result<T>& static_error() {
  // Not destroyed at exit: other threads may still look at it.
  static const Result<T>* const error = new Result<T>{make()};
  return *error;
}

/// The shared state of a future: one allocation with the value inside. Executors derive from it, so
/// that the work lies in the same block.
template <class T>
class FutureState : public FutureCore {
 public:
  FutureState() = default;

  /// Between begin_set and finish_set.
  void emplace(Result<T>&& result) { new (&storage_.result) Result<T>{std::move(result)}; }

  /// When done. Moves the value out for the first caller.
  [[nodiscard]] Result<T> move_out() {
    if (phase() != finished) return cancelled_future_error();
    if (!take()) return taken_future_error();
    return std::move(storage_.result);
  }
  /// When done.
  [[nodiscard]] const Result<T>& show() const {
    if (phase() != finished) return static_error<T, &cancelled_future_error>();
    if (is_taken()) return static_error<T, &taken_future_error>();
    return storage_.result;
  }

  [[nodiscard]] bool failed() const noexcept override {
    return phase() == finished && storage_.result.is_err();
  }

 protected:
  ~FutureState() override {
    if (phase() == finished) storage_.result.~Result<T>();
  }

 private:
  union Storage {
    Storage() {}
    ~Storage() {}
    Result<T> result;
  } storage_;
};

/// A counted reference to a state.
class CoreRef {
 public:
  explicit CoreRef(FutureCore* core) noexcept : core_{core} { core_->add_ref(); }
  CoreRef(CoreRef&& other) noexcept : core_{std::exchange(other.core_, nullptr)} {}
  CoreRef& operator=(CoreRef&&) = delete;
  ~CoreRef() {
    if (core_ != nullptr) core_->release();
  }
  FutureCore* operator->() const noexcept { return core_; }

 private:
  FutureCore* core_;
};

template <class F>
struct FutureHookOf final : FutureHook {
  FutureHookOf(FutureWish wish, F function) : FutureHook{wish}, function_{std::move(function)} {}
  void run() noexcept override { function_(); }
  F function_;
};

/// A callback of on_done.
template <class T, class F>
struct FutureCallback final : FutureWatcher {
  explicit FutureCallback(F function) : function_{std::move(function)} {}
  void done(FutureCore& core) noexcept override {
    try {
      if constexpr (std::invocable<F&, const Result<T>&>) {
        function_(static_cast<FutureState<T>&>(core).show());
      } else {
        static_assert(std::invocable<F&>, "on_done takes f(const Result<T>&) or f()");
        function_();
      }
    } catch (...) {
      report_background_error(current_exception_error());
    }
    delete this;
  }
  F function_;
};

template <class R>
struct flattened {
  using type = R;
};
template <class R>
struct flattened<Result<R>> {
  using type = R;
};
template <class R>
struct flattened<Future<R>> {
  using type = R;
};

template <class F, class T>
struct then_result {
  using type = std::invoke_result_t<F&, T&&>;
};
template <class F>
struct then_result<F, void> {
  using type = std::invoke_result_t<F&>;
};
template <class F, class T>
using then_value = typename flattened<std::remove_cv_t<typename then_result<F, T>::type>>::type;

/// The exception-safe call of `function(args...)` whose outcome, of whatever shape, answers
/// `promise`.
template <class U, class F, class... A>
void answer_with(Promise<U>& promise, F& function, A&&... args) noexcept {
  using R = std::remove_cv_t<std::invoke_result_t<F&, A&&...>>;
  try {
    if constexpr (std::is_same_v<R, Future<U>>) {
      Future<U> inner = function(std::forward<A>(args)...);
      std::move(inner).forward_to(std::move(promise));
    } else if constexpr (std::is_void_v<R>) {
      function(std::forward<A>(args)...);
      promise.set(Result<void>{});
    } else {
      promise.set(Result<U>{function(std::forward<A>(args)...)});
    }
  } catch (...) {
    promise.set(current_exception_error());
  }
}

/// The link between a future and the one that then() made of it.
template <class T, class U, class F>
struct ThenCallback final : FutureWatcher {
  ThenCallback(F function, Promise<U> promise)
      : function_{std::move(function)}, promise_{std::move(promise)} {}

  void done(FutureCore& core) noexcept override {
    auto& state = static_cast<FutureState<T>&>(core);
    if (state.phase() == FutureCore::cancelled) {
      promise_.cancel();
    } else if (promise_.set_running_or_notify_cancel()) {
      Result<T> result = state.move_out();
      if (result.is_err()) {
        promise_.set(result.error());
      } else if constexpr (std::is_void_v<T>) {
        answer_with(promise_, function_);
      } else {
        answer_with(promise_, function_, *std::move(result));
      }
    }
    delete this;
  }

  F function_;
  Promise<U> promise_;
};

/// Hands an answer on as it is.
template <class T>
struct ForwardCallback final : FutureWatcher {
  explicit ForwardCallback(Promise<T> promise) : promise_{std::move(promise)} {}
  void done(FutureCore& core) noexcept override {
    if (core.phase() != FutureCore::cancelled || !promise_.cancel()) {
      promise_.set(static_cast<FutureState<T>&>(core).move_out());
    }
    delete this;
  }
  Promise<T> promise_;
};

/// What `co_await future` waits with; its node lives in the coroutine's frame.
template <class T>
class FutureAwaiter final : FutureWatcher {
 public:
  explicit FutureAwaiter(FutureState<T>* state) noexcept : state_{state} {}
  ~FutureAwaiter() {
    if (state_ != nullptr) state_->release();
  }

  [[nodiscard]] bool await_ready() const noexcept { return state_ == nullptr || state_->is_done(); }
  void await_suspend(std::coroutine_handle<> waiting) noexcept {
    waiting_ = waiting;
    state_->watch(this, true);
  }
  [[nodiscard]] Result<T> await_resume() {
    if (state_ == nullptr) return no_future_error();
    return state_->move_out();
  }

 private:
  void done(FutureCore&) noexcept override { waiting_.resume(); }

  FutureState<T>* state_;
  std::coroutine_handle<> waiting_;
};

template <class T>
class FutureCoroutine;

}  // namespace detail
}  // namespace passel::inline v0
