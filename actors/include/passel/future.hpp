// Layer actors: Future and Promise, the two ends of an answer that comes later.
#pragma once

#include <passel/detail/future_state.hpp>
#include <passel/detail/type_name.hpp>

#include <chrono>
#include <coroutine>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace passel::inline v0 {

template <class T>
class Promise;
namespace detail {
struct FutureAccess;
}

/// Called with failures that no caller waits for: an exception that left an `on_done` callback, for
/// example.
using BackgroundErrorHandler = void (*)(const Error& error) noexcept;
/// Sets the process-wide handler and returns the one before; nullptr (the default) means that such
/// failures are only logged, as errors.
PASSEL_API BackgroundErrorHandler
set_background_error_handler(BackgroundErrorHandler handler) noexcept;

/// What somebody waited for in vain. Carried by the Errc::timeout of a Future.
struct PASSEL_API LateAnswer : ErrorDetail {
  std::chrono::nanoseconds waited{0};
  std::string work;      ///< "fib (task 17)"; empty when nobody has said what it is
  bool running = false;  ///< it has begun
  ~LateAnswer() override;
};

/// An answer that comes later: of an actor, a task, a queue (Python's `concurrent.futures.Future`,
/// without its GC).
///
/// | state     | done | cancel()            | get()                                           |
/// | --------- | ---- | ------------------- | ----------------------------------------------- |
/// | pending   | no   | true, now cancelled | waits                                           |
/// | running   | no   | false               | waits                                           |
/// | cancelled | yes  | true                | Errc::cancelled                                 |
/// | finished  | yes  | false               | value or error, once; then Errc::invalid_state  |
///
///     passel::Future<int> answer = actor.ask(Question{});
///     if (auto n = answer.get_for(1s)) use(*n);
///     else if (n.error() == passel::Errc::timeout) answer.cancel();
///
/// A move-only handle, to be used by one thread at a time (cancel and the observers by any). When
/// whoever was to answer goes away without an answer, every waiter gets Errc::broken. Dropping a
/// future that nothing was attached to tells the answering side (a place in a line is given up); it
/// does not stop work that runs.
template <class T>
class [[nodiscard]] Future {
 public:
  using value_type = T;
  using promise_type = detail::FutureCoroutine<T>;

  /// Empty: `valid()` is false and every wait returns Errc::invalid_state.
  Future() = default;
  Future(Future&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
  Future& operator=(Future&& other) noexcept {
    Future taken{std::move(other)};
    std::swap(state_, taken.state_);
    return *this;
  }
  ~Future() {
    if (state_ != nullptr) state_->drop_handle();
  }
  /// A future that is done already: `Future<int>::of(4)`, `Future<int>::of(Error{...})`.
  [[nodiscard]] static Future of(Result<T> result);

  /// Waits for the answer and moves it out; a second get is Errc::invalid_state. Errors: those of
  /// the answer, broken when the answering side went away, cancelled.
  [[nodiscard]] Result<T> get() { return get(detail::Deadline::never()); }
  /// The same, waiting at most `wait`: then Errc::timeout, which names what was waited for
  /// (LateAnswer), and the future stays usable (Python's `result(timeout)`).
  template <class Rep, class Period>
  [[nodiscard]] Result<T> get_for(std::chrono::duration<Rep, Period> wait) {
    if (state_ != nullptr && !state_->wait(detail::Deadline::after(wait), true))
      return state_->late_error(time_of(wait));
    return get();
  }
  /// The answer when it is there already, else Errc::timeout.
  [[nodiscard]] Result<T> try_get() { return get(detail::Deadline::now_or_never()); }
  [[nodiscard]] Result<T> get(detail::Deadline deadline);

  /// Waits and shows the answer without moving it; any number of times (Python's `result()`). The
  /// reference lives as long as this future, and until get() takes the value.
  [[nodiscard]] const Result<T>& result() const;
  /// Waits, and returns the error when there is one (Python's `exception()`); cancelled counts as
  /// one.
  [[nodiscard]] std::optional<Error> exception() const;
  /// The same, waiting at most `wait`: then Errc::timeout.
  template <class Rep, class Period>
  [[nodiscard]] Result<std::optional<Error>> exception_for(
      std::chrono::duration<Rep, Period> wait) const;

  void wait() const { static_cast<void>(wait(detail::Deadline::never())); }
  /// True when it is done, false when the time was up first.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> wait_at_most) const {
    return wait(detail::Deadline::after(wait_at_most));
  }
  bool wait(detail::Deadline deadline) const {
    return state_ == nullptr || state_->wait(deadline, false);
  }

  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }
  [[nodiscard]] bool done() const noexcept { return state_ != nullptr && state_->is_done(); }
  /// done(), under the name of Python's AsyncResult.
  [[nodiscard]] bool ready() const noexcept { return done(); }
  /// Whether it has a value and no error; once a value was taken it still had one. Error:
  /// invalid_state when it is not done. Python's `AsyncResult.successful`.
  [[nodiscard]] Result<bool> successful() const {
    if (!done()) return Error{Errc::invalid_state, "the result is not ready"};
    return !cancelled() && !state_->failed();
  }
  [[nodiscard]] bool running() const noexcept {
    return state_ != nullptr &&
           (state_->phase() == State::running || state_->phase() == State::setting);
  }
  [[nodiscard]] bool cancelled() const noexcept {
    return state_ != nullptr && state_->phase() == State::cancelled;
  }
  /// True when the work will never run: it was pending, or is cancelled already. False when it runs
  /// or is finished. Waiters and callbacks are told at once. Never waits.
  bool cancel() noexcept { return state_ != nullptr && state_->cancel(); }
  /// cancel(), or when it runs already asks the one who runs it to end early
  /// (Promise::stop_requested). Never waits.
  void request_stop() noexcept {
    if (state_ != nullptr) state_->request_stop();
  }

  /// "<Future state=pending>", running, cancelled, "<Future state=finished returned int>",
  /// "<Future state=finished raised task_failed>" (Python's repr). Never waits.
  [[nodiscard]] std::string to_string() const;

  /// Calls `f(const Result<T>&)` (or `f()`) once when done or cancelled, in the order of adding, on
  /// the thread that answers or cancels; at once on this thread when it is done already (Python's
  /// `add_done_callback`). An exception in `f` goes to the background error handler and later
  /// callbacks still run. `f` must not wait for this future's get().
  template <class F>
  void on_done(F f);

  /// The future of `f(value)`: `f` runs on the thread that answers, at once when the answer is
  /// there. `f` may return a value, nothing, a Result or a Future (both are flattened). An error
  /// skips `f` and arrives as it is; an exception in `f` is Errc::task_failed. Cancelling the new
  /// future cancels this one, if it still can be. This future is used up.
  ///
  ///     Future<std::size_t> size = page.ask(Fetch{url}).then([](std::string text) { return
  ///     text.size(); });
  ///
  /// Dropping the new future does not keep `f` from running.
  template <class F>
  auto then(F f) && -> Future<detail::then_value<F, T>>;

  /// `Result<T> answer = co_await std::move(future);` in any coroutine; it goes on on the thread
  /// that answers.
  auto operator co_await() && noexcept {
    return detail::FutureAwaiter<T>{std::exchange(state_, nullptr)};
  }
  auto operator co_await() & noexcept { return std::move(*this).operator co_await(); }

  /// Answers `promise` as this future is answered. This future is used up.
  void forward_to(Promise<T> promise) &&;

  /// The shared state, for waiting on several futures at once.
  [[nodiscard]] detail::FutureCore* core() const noexcept { return state_; }

 private:
  using State = detail::FutureState<T>;
  friend class Promise<T>;
  friend struct detail::FutureAccess;
  template <class>
  friend class Future;
  explicit Future(State* state) noexcept : state_{state} {}
  /// Of a time that has passed, and so fits.
  template <class Duration>
  [[nodiscard]] static std::chrono::nanoseconds time_of(Duration time) {
    return time > time.zero() ? std::chrono::ceil<std::chrono::nanoseconds>(time)
                              : std::chrono::nanoseconds::zero();
  }

  State* state_ = nullptr;
};

/// The answering end of a Future. Answer once by `set`; a promise that is destroyed unanswered
/// breaks its future.
///
///     passel::Promise<int> promise;
///     passel::Future<int> future = promise.future();
///     std::thread{[p = std::move(promise)]() mutable { p.set(42); }}.detach();
///
/// Move-only; one thread at a time. No call waits.
template <class T>
class Promise {
 public:
  Promise() : state_{new State} {}
  Promise(Promise&& other) noexcept
      : state_{std::exchange(other.state_, nullptr)}, given_{other.given_} {}
  Promise& operator=(Promise&& other) noexcept {
    Promise taken{std::move(other)};
    std::swap(state_, taken.state_);
    std::swap(given_, taken.given_);
    return *this;
  }
  ~Promise() {
    if (state_ == nullptr) return;
    if (!state_->is_done()) set(detail::broken_promise_error());
    state_->release();
  }

  /// The future. The first call gives it; later ones give an empty Future.
  [[nodiscard]] Future<T> future() {
    if (state_ == nullptr || std::exchange(given_, true)) return {};
    state_->add_ref();
    return Future<T>{state_};
  }

  /// Answers with a value or an error. False, and `result` not moved from, when it was cancelled or
  /// answered before.
  bool set(Result<T>&& result) {
    if (state_ == nullptr || !state_->begin_set()) return false;
    state_->emplace(std::move(result));
    state_->finish_set();
    return true;
  }
  bool set(const Result<T>& result) { return set(Result<T>{result}); }
  bool set() requires std::is_void_v<T> { return set(Result<void>{}); }

  /// Before the work starts: true when it shall run (now `running`), false when it was cancelled or
  /// has started before.
  bool set_running_or_notify_cancel() noexcept {
    return state_ != nullptr && state_->set_running();
  }
  [[nodiscard]] bool cancelled() const noexcept {
    return state_ != nullptr && state_->phase() == State::cancelled;
  }
  /// The asking side called request_stop() while this was running.
  [[nodiscard]] bool stop_requested() const noexcept {
    return state_ != nullptr && state_->stop_requested();
  }
  /// Cancels from this end; true when the future is cancelled now.
  bool cancel() noexcept { return state_ != nullptr && state_->cancel(); }

  /// What errors call the work behind this: a wait that was too short names it.
  void describe(std::string work) {
    if (state_ != nullptr) state_->add_hook(new detail::FutureLabel{std::move(work)});
  }
  /// `hook()` runs once when cancel() has succeeded, on the cancelling thread, before waiters are
  /// told; at once when that has happened. It must not throw. It may come a moment after this
  /// promise was destroyed.
  template <class F>
  void on_cancel(F hook) {
    add_hook(detail::FutureWish::cancel, std::move(hook));
  }
  /// Runs once when the future was dropped before it was done and nothing was attached to it: give
  /// up the place.
  template <class F>
  void on_abandoned(F hook) {
    add_hook(detail::FutureWish::abandon, std::move(hook));
  }
  /// Runs once when request_stop() finds it running.
  template <class F>
  void on_stop(F hook) {
    add_hook(detail::FutureWish::stop, std::move(hook));
  }

 private:
  using State = detail::FutureState<T>;

  template <class F>
  void add_hook(detail::FutureWish wish, F hook) {
    if (state_ != nullptr) state_->add_hook(new detail::FutureHookOf<F>{wish, std::move(hook)});
  }

  State* state_;
  bool given_ = false;
};

namespace detail {
/// Futures of states that were made elsewhere.
struct FutureAccess {
  /// Takes over one reference.
  template <class T>
  [[nodiscard]] static Future<T> adopt(FutureState<T>* state) noexcept {
    return Future<T>{state};
  }
};
}  // namespace detail

template <class T>
Future<T> Future<T>::of(Result<T> result) {
  Promise<T> promise;
  Future future = promise.future();
  promise.set(std::move(result));
  return future;
}

template <class T>
Result<T> Future<T>::get(detail::Deadline deadline) {
  if (state_ == nullptr) return detail::no_future_error();
  const auto started = deadline.is_never() || deadline.is_try() || done()
                           ? detail::Deadline::Clock::time_point{}
                           : detail::Deadline::Clock::now();
  if (!state_->wait(deadline, true)) {
    return state_->late_error(deadline.is_try() ? deadline.left() : deadline.when() - started);
  }
  return state_->move_out();
}

template <class T>
const Result<T>& Future<T>::result() const {
  if (state_ == nullptr) return detail::static_error<T, &detail::no_future_error>();
  state_->wait(detail::Deadline::never(), false);
  return state_->show();
}

template <class T>
std::optional<Error> Future<T>::exception() const {
  const Result<T>& shown = result();
  return shown.is_ok() ? std::nullopt : std::optional<Error>{shown.error()};
}

template <class T>
template <class Rep, class Period>
Result<std::optional<Error>> Future<T>::exception_for(
    std::chrono::duration<Rep, Period> time) const {
  if (!wait_for(time)) return state_->late_error(time_of(time));
  return exception();
}

template <class T>
std::string Future<T>::to_string() const {
  if (state_ == nullptr) return "<Future empty>";
  switch (state_->phase()) {
    case State::pending: return "<Future state=pending>";
    case State::running:
    case State::setting: return "<Future state=running>";
    case State::cancelled: return "<Future state=cancelled>";
    case State::finished: break;
  }
  std::string text = "<Future state=finished ";
  if (state_->failed()) {
    text += state_->is_taken()
                ? "raised"
                : "raised " + std::string{passel::to_string(state_->show().error().code())};
  } else {
    text += "returned " + std::string{detail::compiler_type_name<T>()};
  }
  return text + ">";
}

template <class T>
template <class F>
void Future<T>::on_done(F f) {
  if (state_ != nullptr) state_->watch(new detail::FutureCallback<T, F>{std::move(f)}, true);
}

template <class T>
template <class F>
auto Future<T>::then(F f) && -> Future<detail::then_value<F, T>> {
  using U = detail::then_value<F, T>;
  if (state_ == nullptr) return Future<U>::of(detail::no_future_error());
  Promise<U> promise;
  Future<U> next = promise.future();
  State* const state = std::exchange(state_, nullptr);
  promise.on_cancel([held = detail::CoreRef{state}] { held->cancel(); });
  promise.on_stop([held = detail::CoreRef{state}] { held->request_stop(); });
  state->watch(new detail::ThenCallback<T, U, F>{std::move(f), std::move(promise)}, true);
  state->release();
  return next;
}

template <class T>
void Future<T>::forward_to(Promise<T> promise) && {
  if (state_ == nullptr) {
    promise.set(detail::no_future_error());
    return;
  }
  State* const state = std::exchange(state_, nullptr);
  promise.on_cancel([held = detail::CoreRef{state}] { held->cancel(); });
  promise.on_stop([held = detail::CoreRef{state}] { held->request_stop(); });
  state->watch(new detail::ForwardCallback<T>{std::move(promise)}, true);
  state->release();
}

}  // namespace passel::inline v0

#include <passel/detail/future_coroutine.hpp>
