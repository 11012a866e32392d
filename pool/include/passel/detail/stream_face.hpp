// Layer pool: the functions of pools and executors that have a task stream its results.
#pragma once

#include <passel/detail/stream_job.hpp>

#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// stream in the forms that all pools and executors understand. `Self` has
/// `stream_call(options, function, args...)`.
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
    return self().stream_call({}, FunctionTarget<F>{}, std::forward<A>(args)...);
  }
  template <auto F, class... A>
  [[nodiscard]] auto stream(const StreamOptions& options, A&&... args) {
    return self().stream_call(options, FunctionTarget<F>{}, std::forward<A>(args)...);
  }
  /// The same for a callable object. Pools of processes take only those without captures.
  template <class F, class... A>
  requires(!std::is_same_v<std::decay_t<F>, StreamOptions>)
      [[nodiscard]] auto stream(F&& function, A&&... args) {
    return self().stream_call({}, std::forward<F>(function), std::forward<A>(args)...);
  }
  template <class F, class... A>
  requires std::is_class_v<std::decay_t<F>>
  [[nodiscard]] auto stream(const StreamOptions& options, F&& function, A&&... args) {
    return self().stream_call(options, std::forward<F>(function), std::forward<A>(args)...);
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
