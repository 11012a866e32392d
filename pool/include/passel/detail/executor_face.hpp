// Layer pool: the functions that every executor has.
#pragma once

#include <passel/detail/submit_face.hpp>
#include <passel/executor.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// submit, map and stream in the forms that all executors understand. `Self` has, besides what
/// SubmitFace needs, `map_call(function, options, ranges...)`.
template <class Self>
class ExecutorFace : public SubmitFace<Self> {
 public:
  /// The results of the function for every item of one range, or for the items of several taken
  /// side by side as far as the shortest goes, in the order of the input; see ExecutorResults. Does
  /// not wait, but for room where calls are bounded: everything is read and submitted now, whether
  /// or not it is iterated, unless `buffersize` says how much. A range given as an lvalue must then
  /// outlive the results. Errors: invalid_argument (buffersize or chunksize 0), invalid_state after
  /// shutdown. An exception of the range passes through.
  ///
  ///     for (auto& page : executor.map<fetch>(urls, {.timeout = 10s}).unwrap()) ...
  ///     auto sums = executor.map(std::plus{}, lefts, rights).unwrap();
  template <auto F, MapRange Range>
  [[nodiscard]] auto map(Range&& range, ExecutorMapOptions options = {}) {
    return self().map_call(FunctionTarget<F>{}, options, std::forward<Range>(range));
  }
  template <auto F, MapRange First, MapRange Second, MapRange... Rest>
  [[nodiscard]] auto map(First&& first, Second&& second, Rest&&... rest) {
    return map<F>(ExecutorMapOptions{}, std::forward<First>(first), std::forward<Second>(second),
                  std::forward<Rest>(rest)...);
  }
  template <auto F, MapRange... Ranges>
  [[nodiscard]] auto map(ExecutorMapOptions options, Ranges&&... ranges) {
    return self().map_call(FunctionTarget<F>{}, options, std::forward<Ranges>(ranges)...);
  }
  template <class F, MapRange Range>
  [[nodiscard]] auto map(F&& function, Range&& range, ExecutorMapOptions options = {}) {
    return self().map_call(std::forward<F>(function), options, std::forward<Range>(range));
  }
  template <class F, MapRange First, MapRange Second, MapRange... Rest>
  [[nodiscard]] auto map(F&& function, First&& first, Second&& second, Rest&&... rest) {
    return map(std::forward<F>(function), ExecutorMapOptions{}, std::forward<First>(first),
               std::forward<Second>(second), std::forward<Rest>(rest)...);
  }
  template <class F, MapRange... Ranges>
  [[nodiscard]] auto map(F&& function, ExecutorMapOptions options, Ranges&&... ranges) {
    return self().map_call(std::forward<F>(function), options, std::forward<Ranges>(ranges)...);
  }

 protected:
  ExecutorFace() = default;
  ExecutorFace(ExecutorFace&&) noexcept = default;
  ExecutorFace& operator=(ExecutorFace&&) noexcept = default;
  ~ExecutorFace() = default;

 private:
  [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }
};

/// What is wrong with the settings of a map.
[[nodiscard]] inline std::optional<Error> map_options_error(const ExecutorMapOptions& options) {
  if (options.buffersize == std::size_t{0}) {
    return Error{Errc::invalid_argument, "buffersize must be > 0, not 0"};
  }
  if (options.chunksize == 0) {
    return Error{Errc::invalid_argument, "chunksize must be >= 1, not 0"};
  }
  return std::nullopt;
}

/// How far ahead of its reader a map runs, until when, and in which order its results come.
struct MapPlan {
  static constexpr std::size_t everything = std::numeric_limits<std::size_t>::max();
  std::size_t ahead = everything;  ///< tasks
  Deadline deadline = Deadline::never();
  ResultOrder order = ResultOrder::input;
};
[[nodiscard]] inline MapPlan plan_of(const ExecutorMapOptions& options) {
  return {.ahead = options.buffersize.value_or(MapPlan::everything),
          .deadline = options.timeout ? Deadline::after(*options.timeout) : Deadline::never()};
}

/// The results of tasks that `submit(input)` makes, each of as many items as it takes. `refusal()`
/// says why no more can be submitted.
template <class R, class Refusal, class Submit, class... Ranges>
[[nodiscard]] ExecutorResults<R> results_of(MapPlan plan, Refusal refusal, Submit submit,
                                            Ranges&&... ranges) {
  const bool at_once = plan.ahead == MapPlan::everything;
  auto input = std::make_shared<ZippedInput<Ranges...>>(std::forward<Ranges>(ranges)...);
  auto source = [at_once, input = std::move(input), refusal = std::move(refusal),
                 submit = std::move(submit)]() mutable -> std::optional<PendingResult<R>> {
    const auto ended = [](Error why) {
      return PendingResult<R>{.one = Future<R>::of(std::move(why)), .many = {}, .last = true};
    };
    try {
      if (input->at_end()) return std::nullopt;
      if (auto why = refusal()) return ended(*std::move(why));
      return submit(*input);
    } catch (...) {
      if (at_once) throw;
      return ended(current_exception_as_error());
    }
  };
  return ExecutorResults<R>{std::move(source), plan.ahead, plan.deadline, plan.order};
}

/// A callable that many tasks call at the same time: small ones are copied, others shared.
template <class F>
class SharedCall {
 public:
  template <class G>
  explicit SharedCall(std::in_place_t, G&& function) : held_{make(std::forward<G>(function))} {}
  template <class... A>
  requires std::invocable<F&, A...> std::invoke_result_t<F&, A...>
  operator()(A&&... args) {
    if constexpr (small) {
      return std::invoke(held_, std::forward<A>(args)...);
    } else {
      return std::invoke(*held_, std::forward<A>(args)...);
    }
  }

 private:
  static constexpr bool small = std::is_trivially_copyable_v<F> && sizeof(F) <= 2 * sizeof(void*);
  using Held = std::conditional_t<small, F, std::shared_ptr<F>>;
  template <class G>
  static Held make(G&& function) {
    if constexpr (small) {
      return std::forward<G>(function);
    } else {
      return std::make_shared<F>(std::forward<G>(function));
    }
  }
  Held held_;
};

/// map for executors that take any callable, item by item: `submit(function, items...)` gives a
/// Future.
template <class Refusal, class Submit, class F, class... Ranges>
[[nodiscard]] auto map_calls(Refusal refusal, Submit submit, F&& function,
                             const ExecutorMapOptions& options, Ranges&&... ranges) {
  using Call = SharedCall<std::decay_t<F>>;
  using R = typename decltype(submit(
      std::declval<Call&>(), std::declval<std::decay_t<range_item<Ranges>>>()...))::value_type;
  using Answer = Result<ExecutorResults<R>>;
  if (auto wrong = map_options_error(options)) return Answer{*std::move(wrong)};
  if (auto why = refusal()) return Answer{*std::move(why)};
  auto submit_next = [submit = std::move(submit),
                      call = Call{std::in_place, std::forward<F>(function)}](auto& input) {
    return input.take([&]<class... Item>(Item&&... items) {
      return PendingResult<R>{.one = submit(call, std::forward<Item>(items)...), .many = {}};
    });
  };
  return Answer{results_of<R>(plan_of(options), std::move(refusal), std::move(submit_next),
                              std::forward<Ranges>(ranges)...)};
}

}  // namespace passel::inline v0::detail
