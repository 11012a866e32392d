// Layer pool: the functions of pools and executors that have a task stream its results.
#pragma once

#include <passel/detail/stream_job.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// stream in the forms that all pools and executors understand. `Self` has
/// `stream_call(deadline, options, function, args...)`.
template <class Self>
class StreamFace {
 public:
  /// Has a task run whose results come one by one while it runs: a function that writes to its
  /// first parameter, a TaskOutput<T>&. See TaskStream for what becomes of it. Never waits, unless
  /// `max_pending` calls are unanswered. Errors: those of a submission, as with imap;
  /// invalid_argument (a window of 0, or over 128).
  ///
  ///     void lines_of(passel::TaskOutput<std::string>& out, std::string path);
  ///     for (auto& line : pool.stream<lines_of>("big.log").unwrap()) ...
  ///     for (auto& line : pool.stream<lines_of>({.window = 8}, "big.log").unwrap()) ...
  template <auto F, class... A>
  requires(!first_is<StreamOptions, A...>) [[nodiscard]] auto stream(A&&... args) {
    return stream<F>(StreamOptions{}, std::forward<A>(args)...);
  }
  template <auto F, class... A>
  [[nodiscard]] auto stream(const StreamOptions& options, A&&... args) {
    return self().stream_call(Deadline::never(), options, FunctionTarget<F>{},
                              std::forward<A>(args)...);
  }
  /// The same for a callable object. Pools of processes take only those without captures.
  template <class F, class... A>
  requires(!std::is_same_v<std::decay_t<F>, StreamOptions>)
      [[nodiscard]] auto stream(F&& function, A&&... args) {
    return stream(StreamOptions{}, std::forward<F>(function), std::forward<A>(args)...);
  }
  template <class F, class... A>
  requires std::is_class_v<std::decay_t<F>>
  [[nodiscard]] auto stream(const StreamOptions& options, F&& function, A&&... args) {
    return self().stream_call(Deadline::never(), options, std::forward<F>(function),
                              std::forward<A>(args)...);
  }

  /// stream without waiting for room: full when `max_pending` calls are unanswered, and then no
  /// argument has been moved from.
  template <auto F, class... A>
  requires(!first_is<StreamOptions, A...>) [[nodiscard]] auto try_stream(A&&... args) {
    return try_stream<F>(StreamOptions{}, std::forward<A>(args)...);
  }
  template <auto F, class... A>
  [[nodiscard]] auto try_stream(const StreamOptions& options, A&&... args) {
    return try_stream(options, FunctionTarget<F>{}, std::forward<A>(args)...);
  }
  template <class F, class... A>
  requires(!std::is_same_v<std::decay_t<F>, StreamOptions>)
      [[nodiscard]] auto try_stream(F&& function, A&&... args) {
    return try_stream(StreamOptions{}, std::forward<F>(function), std::forward<A>(args)...);
  }
  template <class F, class... A>
  requires std::is_class_v<std::decay_t<F>>
  [[nodiscard]] auto try_stream(const StreamOptions& options, F&& function, A&&... args) {
    return self().stream_call(Deadline::now_or_never(), options, std::forward<F>(function),
                              std::forward<A>(args)...);
  }

  /// stream, waiting for room at most so long: then timeout.
  template <auto F, class Rep, class Period, class... A>
  requires(!first_is<StreamOptions, A...>)
      [[nodiscard]] auto stream_for(std::chrono::duration<Rep, Period> wait, A&&... args) {
    return stream_for<F>(wait, StreamOptions{}, std::forward<A>(args)...);
  }
  template <auto F, class Rep, class Period, class... A>
  [[nodiscard]] auto stream_for(std::chrono::duration<Rep, Period> wait,
                                const StreamOptions& options, A&&... args) {
    return stream_for(wait, options, FunctionTarget<F>{}, std::forward<A>(args)...);
  }
  template <class Rep, class Period, class F, class... A>
  requires(!std::is_same_v<std::decay_t<F>, StreamOptions>)
      [[nodiscard]] auto stream_for(std::chrono::duration<Rep, Period> wait, F&& function,
                                    A&&... args) {
    return stream_for(wait, StreamOptions{}, std::forward<F>(function), std::forward<A>(args)...);
  }
  template <class Rep, class Period, class F, class... A>
  requires std::is_class_v<std::decay_t<F>>
  [[nodiscard]] auto stream_for(std::chrono::duration<Rep, Period> wait,
                                const StreamOptions& options, F&& function, A&&... args) {
    return self().stream_call(Deadline::after(wait), options, std::forward<F>(function),
                              std::forward<A>(args)...);
  }

 protected:
  StreamFace() = default;
  StreamFace(StreamFace&&) noexcept = default;
  StreamFace& operator=(StreamFace&&) noexcept = default;
  ~StreamFace() = default;

 private:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

}  // namespace passel::inline v0::detail
