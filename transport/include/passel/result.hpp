// Layer transport: the one way in which passel reports that something did not work.
#pragma once

#include <passel/export.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0 {

/// What went wrong, as a value that programs can branch on. Python's exceptions map to these:
/// Empty, Full, TimeoutError, CancelledError, BrokenBarrierError, EOFError (closed),
/// AuthenticationError (auth_failed), BrokenProcessPool (worker_lost, pool_failed), RemoteError
/// (task_failed), BufferTooShort and "message too long" (too_large), ValueError (invalid_argument),
/// RuntimeError on misuse (invalid_state).
enum class Errc {
  closed = 1,  ///< the other side, the queue or the handle is closed (Python: EOFError, ShutDown)
  timeout,     ///< the time was up (Python: TimeoutError)
  full,        ///< a bounded queue has no room (Python: queue.Full)
  empty,       ///< a queue has no item (Python: queue.Empty)
  cancelled,   ///< somebody cancelled it (Python: CancelledError)
  broken,   ///< a barrier, promise or pool is broken (Python: BrokenBarrierError, BrokenExecutor)
  refused,  ///< the peer, or a rule, refused the request
  auth_failed,       ///< the peer does not have the key (Python: AuthenticationError)
  version_mismatch,  ///< the peer was built from something else
  peer_lost,         ///< the process at the other end died or cannot be reached
  worker_lost,       ///< the process that ran the task died; see WorkerLost
  pool_failed,       ///< the pool gave up restarting its workers
  task_failed,       ///< the task threw; see RemoteError
  too_large,         ///< a message or result is over its limit (Python: BufferTooShort)
  type_mismatch,     ///< a value has another type than the receiver expects
  malformed,         ///< bytes that cannot be read as a message
  invalid_argument,  ///< the caller's argument is out of range (Python: ValueError)
  invalid_state,     ///< the call makes no sense now (Python: RuntimeError, AssertionError)
  not_found,         ///< no such name, address or object
  no_space,          ///< out of memory, shared memory or descriptors
  unsupported,       ///< not possible here, and the text says why
  abandoned,         ///< the previous holder died while holding it
  deadlock,          ///< waiting would close a cycle of waiters
  stale_object,      ///< the object belonged to an earlier life of its home
  system,            ///< a system call failed; the text names it and its errno
};

/// The enumerator's name, for messages and logs: `to_string(Errc::full) == "full"`.
[[nodiscard]] PASSEL_API std::string_view to_string(Errc code) noexcept;

/// Base of the structured facts that some errors carry beside their text (see WorkerLost,
/// RemoteError).
struct PASSEL_API ErrorDetail {
  ErrorDetail() = default;
  ErrorDetail(const ErrorDetail&) = default;
  ErrorDetail& operator=(const ErrorDetail&) = default;
  virtual ~ErrorDetail();
};

/// Why a worker process came to its end.
enum class LossCause : std::uint32_t {
  exited,         ///< it called exit, or returned from its main function
  crashed,        ///< a signal of its own making: SIGSEGV, SIGABRT, ...
  killed,         ///< somebody killed it
  out_of_memory,  ///< the kernel's memory limit, or that of its pool
  overtime,       ///< its pool ended it because a task was over its time
};
/// "out_of_memory", for messages and logs.
[[nodiscard]] PASSEL_API std::string_view to_string(LossCause cause) noexcept;

/// How a process that was running a task came to its end. Carried by Errc::worker_lost.
struct PASSEL_API WorkerLost : ErrorDetail {
  int pid = 0;
  int exit_code = 0;     ///< its exit code, when it exited by itself
  int signal = 0;        ///< the signal that killed it, 0 when it exited
  std::string task;      ///< the task it was running
  unsigned attempt = 1;  ///< which attempt of the task this was, from 1
  LossCause cause = LossCause::exited;
  std::uint64_t peak_rss = 0;           ///< most memory it ever had in use, bytes; 0: not known
  std::vector<std::string> last_lines;  ///< the end of what it wrote to stderr, where that is kept
  ~WorkerLost() override;
};

/// An exception that left a function in another thread or process. Carried by Errc::task_failed.
struct PASSEL_API RemoteError : ErrorDetail {
  /// An exception that another one was thrown for (std::nested_exception).
  struct Cause {
    std::string type_name;
    std::string what;
    friend bool operator==(const Cause&, const Cause&) = default;
  };
  std::string
      type_name;     ///< the exception's type, demangled, "unknown" when it was no std::exception
  std::string what;  ///< its text, with the texts of nested exceptions behind it
  std::vector<Cause> causes;  ///< the nested exceptions, from the outermost to the first cause
  ~RemoteError() override;
};

/// Why an operation did not succeed: a code to branch on, a sentence for people and, for some
/// codes, structured detail.
class PASSEL_API Error {
 public:
  /// An error with a text that names the value and the limit concerned.
  Error(Errc code, std::string what) : code_{code}, what_{std::move(what)} {}
  /// The same with structured facts beside the text.
  Error(Errc code, std::string what, std::shared_ptr<const ErrorDetail> detail)
      : code_{code}, what_{std::move(what)}, detail_{std::move(detail)} {}

  [[nodiscard]] Errc code() const noexcept { return code_; }
  [[nodiscard]] const std::string& what() const noexcept { return what_; }

  /// The structured facts as `D`, or nullptr when this error carries none of that kind.
  ///
  ///     if (auto* lost = error.detail<passel::WorkerLost>()) log(lost->pid, lost->signal);
  template <std::derived_from<ErrorDetail> D>
  [[nodiscard]] const D* detail() const noexcept {
    return dynamic_cast<const D*>(detail_.get());
  }
  [[nodiscard]] const std::shared_ptr<const ErrorDetail>& detail_pointer() const noexcept {
    return detail_;
  }

  /// "full: queue holds 5 of 5 items"
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const Error& error, Errc code) noexcept { return error.code_ == code; }

 private:
  Errc code_;
  std::string what_;
  std::shared_ptr<const ErrorDetail> detail_;
};

/// What `Result::unwrap` throws: the bridge for callers who prefer exceptions. Nothing else in
/// passel throws on failure.
class PASSEL_API Exception : public std::runtime_error {
 public:
  explicit Exception(Error error);
  ~Exception() override;
  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

namespace detail {
[[noreturn]] PASSEL_API void throw_error(const Error& error);
[[noreturn]] PASSEL_API void throw_error(const Error& error, std::string_view why);
/// Misuse: reading the value of an error, or the error of a value. Says which and aborts, like a
/// failed assertion.
[[noreturn]] PASSEL_API void bad_result_access(const Error* error) noexcept;
/// Error for a failed system call: code by errno (ENOMEM, EMFILE: no_space), text "open(/x): No
/// such file or directory".
[[nodiscard]] PASSEL_API Error system_error(std::string_view call, int error_number);
}  // namespace detail

template <class T>
class Result;

namespace detail {
template <class R>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<Result<T>> = true;
}  // namespace detail

/// A value or an Error (Rust's `Result<T, Error>`). Must be looked at: it is `[[nodiscard]]`.
///
///     passel::Result<int> n = queue.get();
///     if (!n) return n.error();
///     use(*n);
///     int m = queue.get().unwrap();          // or throw passel::Exception
///     int k = queue.try_get().unwrap_or(0);
///
/// A plain value type: one thread at a time, no waiting, no allocation of its own.
template <class T>
class [[nodiscard]] Result {
  static_assert(!std::is_reference_v<T>, "Result<T&> is not supported; use a pointer");

 public:
  using value_type = T;

  Result(T held) : state_{std::in_place_index<0>, std::move(held)} {}
  Result(Error error) : state_{std::in_place_index<1>, std::move(error)} {}

  [[nodiscard]] bool is_ok() const noexcept { return state_.index() == 0; }
  [[nodiscard]] bool is_err() const noexcept { return !is_ok(); }
  explicit operator bool() const noexcept { return is_ok(); }

  /// The value. Calling it on an error is a bug and aborts with the error's text.
  T& operator*() & { return value(); }
  const T& operator*() const& { return const_cast<Result*>(this)->value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &const_cast<Result*>(this)->value(); }

  /// The error. Calling it on a value is a bug and aborts.
  [[nodiscard]] const Error& error() const {
    if (is_ok()) detail::bad_result_access(nullptr);
    return *std::get_if<1>(&state_);
  }

  /// The value, or throws passel::Exception with the error.
  T unwrap() && {
    if (is_err()) detail::throw_error(error());
    return std::move(value());
  }
  /// The value, or throws passel::Exception whose text begins with `why`.
  T expect(std::string_view why) && {
    if (is_err()) detail::throw_error(error(), why);
    return std::move(value());
  }
  /// The value, or `other` when there is none.
  T unwrap_or(T other) && { return is_ok() ? std::move(value()) : std::move(other); }

  /// Applies `f` to the value; an error passes through. `Result<int>{4}.map(to_text)` is a
  /// `Result<std::string>`.
  template <class F>
  auto map(F&& f) && -> Result<std::invoke_result_t<F, T&&>> {
    if (is_err()) return std::move(*std::get_if<1>(&state_));
    if constexpr (std::is_void_v<std::invoke_result_t<F, T&&>>) {
      std::forward<F>(f)(std::move(value()));
      return {};
    } else {
      return std::forward<F>(f)(std::move(value()));
    }
  }
  /// Applies an `f` that itself returns a Result; an error passes through.
  template <class F>
  requires detail::is_result<std::invoke_result_t<F, T&&>>
  auto and_then(F&& f) && -> std::invoke_result_t<F, T&&> {
    if (is_err()) return std::move(*std::get_if<1>(&state_));
    return std::forward<F>(f)(std::move(value()));
  }
  /// Replaces the error by `f(error)`; a value passes through.
  template <class F>
  Result map_err(F&& f) && {
    if (is_ok()) return std::move(*this);
    return Error{std::forward<F>(f)(std::move(*std::get_if<1>(&state_)))};
  }

 private:
  T& value() {
    T* found = std::get_if<0>(&state_);
    if (found == nullptr) detail::bad_result_access(std::get_if<1>(&state_));
    return *found;
  }

  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_{std::make_unique<Error>(std::move(error))} {}
  Result(Result&&) noexcept = default;
  Result& operator=(Result&&) noexcept = default;
  Result(const Result& other)
      : error_{other.error_ ? std::make_unique<Error>(*other.error_) : nullptr} {}
  Result& operator=(const Result& other) { return *this = Result{other}; }
  ~Result() = default;

  [[nodiscard]] bool is_ok() const noexcept { return error_ == nullptr; }
  [[nodiscard]] bool is_err() const noexcept { return !is_ok(); }
  explicit operator bool() const noexcept { return is_ok(); }

  [[nodiscard]] const Error& error() const {
    if (is_ok()) detail::bad_result_access(nullptr);
    return *error_;
  }
  void unwrap() const {
    if (is_err()) detail::throw_error(*error_);
  }
  void expect(std::string_view why) const {
    if (is_err()) detail::throw_error(*error_, why);
  }
  template <class F>
  auto map(F&& f) && -> Result<std::invoke_result_t<F>> {
    if (is_err()) return *error_;
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      std::forward<F>(f)();
      return {};
    } else {
      return std::forward<F>(f)();
    }
  }
  template <class F>
  requires detail::is_result<std::invoke_result_t<F>>
  auto and_then(F&& f) && -> std::invoke_result_t<F> {
    if (is_err()) return *error_;
    return std::forward<F>(f)();
  }
  template <class F>
  Result map_err(F&& f) && {
    if (is_ok()) return {};
    return Error{std::forward<F>(f)(std::move(*error_))};
  }

 private:
  // On the heap: success is by far the commoner case and is one null pointer.
  std::unique_ptr<Error> error_;
};

}  // namespace passel::inline v0

#define PASSEL_DETAIL_CONCAT2(a, b) a##b
#define PASSEL_DETAIL_CONCAT(a, b) PASSEL_DETAIL_CONCAT2(a, b)
#define PASSEL_DETAIL_TRY(slot, declaration, expression) \
  auto slot = (expression);                              \
  if (slot.is_err()) return slot.error();                \
  declaration = *std::move(slot)
/// `PASSEL_TRY(auto pool, Pool::start());` declares `pool`, or returns the error to the caller
/// (Rust's `?`).
#define PASSEL_TRY(declaration, expression) \
  PASSEL_DETAIL_TRY(PASSEL_DETAIL_CONCAT(passel_try_, __LINE__), declaration, expression)
/// `PASSEL_CHECK(queue.put(1));` returns the error to the caller when there is one.
#define PASSEL_CHECK(expression) \
  if (auto passel_checked = (expression); passel_checked.is_err()) return passel_checked.error()
