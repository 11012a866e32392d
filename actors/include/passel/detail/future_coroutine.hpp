// Layer actors: lets a coroutine return a Future.
#pragma once

#include <passel/future.hpp>

#include <coroutine>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

template <class T>
class FutureCoroutineBase {
 public:
  FutureCoroutineBase() { promise_.set_running_or_notify_cancel(); }
  Future<T> get_return_object() { return promise_.future(); }
  // Starts at once and frees its frame at its end, whether or not anybody still holds the future.
  std::suspend_never initial_suspend() const noexcept { return {}; }
  std::suspend_never final_suspend() const noexcept { return {}; }
  /// An error that was unwrapped is the answer's error.
  void unhandled_exception() noexcept {
    try {
      throw;
    } catch (const Exception& failed) {
      promise_.set(Result<T>{failed.error()});
    } catch (...) {
      promise_.set(current_exception_error());
    }
  }

 protected:
  Promise<T> promise_;
};

/// The promise type of a coroutine that returns Future<T>: `co_return value`, `co_return error` or
/// a throw.
template <class T>
class FutureCoroutine : public FutureCoroutineBase<T> {
 public:
  template <class U = T>
  requires std::is_convertible_v<U&&, T> || std::is_convertible_v<U&&, Result<T>>
  void return_value(U&& value) {
    if constexpr (std::is_convertible_v<U&&, Result<T>>) {
      this->promise_.set(Result<T>{std::forward<U>(value)});
    } else {
      this->promise_.set(Result<T>{T(std::forward<U>(value))});
    }
  }
};

template <>
class FutureCoroutine<void> : public FutureCoroutineBase<void> {
 public:
  void return_void() { promise_.set(Result<void>{}); }
};

}  // namespace passel::inline v0::detail
