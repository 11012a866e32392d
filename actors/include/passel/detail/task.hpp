// Layer actors: functions as tasks that another process of the same build can run, without macros
// and without a registry that users would have to fill.
#pragma once

#include <passel/codec.hpp>
#include <passel/detail/guardian.hpp>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// Decodes the arguments, calls the function, encodes its result. A throw comes back as task_failed
/// with a RemoteError.
using TaskFunction = Result<Encoded> (*)(std::span<const std::byte> args,
                                         std::span<const std::shared_ptr<Descriptor>> descriptors);

/// A link of the table that static initialisation builds, before main, of every task the program
/// could ever run. Only what stands in it can be asked for by offset.
struct PASSEL_API TaskNode {
  explicit TaskNode(TaskFunction run) noexcept;
  TaskFunction function;
  const TaskNode* next;
};

/// Names `function`, which stands in the table, for other copies of this build.
[[nodiscard]] PASSEL_API TaskId id_of_task(TaskFunction function);
/// The task of that name. Errors: not_found, when this image has no such task (a library loaded
/// later on, another build).
[[nodiscard]] PASSEL_API Result<TaskFunction> find_task(TaskId id);

/// The exception being handled, as an Error: task_failed with its demangled type and the texts of
/// nested exceptions. passel::Exception passes on the error it carries.
[[nodiscard]] PASSEL_API Error current_exception_as_error();

/// A function given as a template argument, as a stateless callable.
template <auto F>
struct FunctionTarget {
  template <class... A>
  requires std::invocable<decltype(F), A...>
  decltype(auto) operator()(A&&... args) const { return std::invoke(F, std::forward<A>(args)...); }
};

/// The types a task keeps its arguments in: by value, and owning what the parameter only looks at.
template <class P>
struct StoredArgument {
  using type = std::remove_cvref_t<P>;
};
template <>
struct StoredArgument<std::string_view> {
  using type = std::string;
};
template <>
struct StoredArgument<const char*> {
  using type = std::string;
};
template <class T, std::size_t N>
struct StoredArgument<std::span<T, N>> {
  using type = std::vector<std::remove_cv_t<T>>;
};
template <class P>
using stored_argument = typename StoredArgument<std::remove_cvref_t<std::decay_t<P>>>::type;

template <class Signature>
struct ParametersOf;
template <class R, class... P>
struct ParametersOf<R (*)(P...)> {
  using stored = std::tuple<stored_argument<P>...>;
};
template <class R, class... P>
struct ParametersOf<R (*)(P...) noexcept> : ParametersOf<R (*)(P...)> {};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...)> {
  using stored = std::tuple<stored_argument<P>...>;
  using stored_with_object = std::tuple<std::remove_cv_t<C>, stored_argument<P>...>;
};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...) const> : ParametersOf<R (C::*)(P...)> {};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...) noexcept> : ParametersOf<R (C::*)(P...)> {};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...) const noexcept> : ParametersOf<R (C::*)(P...)> {};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...)&> : ParametersOf<R (C::*)(P...)> {};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...) const&> : ParametersOf<R (C::*)(P...)> {};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...)& noexcept> : ParametersOf<R (C::*)(P...)> {};
template <class R, class C, class... P>
struct ParametersOf<R (C::*)(P...) const& noexcept> : ParametersOf<R (C::*)(P...)> {};

/// The stored argument types of `Target` when it is called with `A...`: those it declares, or, for
/// a generic lambda, those it is given.
template <class Target, class... A>
struct TaskArguments {
  using type = std::tuple<stored_argument<A>...>;
};
template <auto F, class... A>
struct TaskArguments<FunctionTarget<F>, A...> {
  using type = typename ParametersOf<std::remove_cv_t<decltype(F)>>::stored;
};
template <auto F, class... A>
requires std::is_member_function_pointer_v<decltype(F)>
struct TaskArguments<FunctionTarget<F>, A...> {
  using type = typename ParametersOf<std::remove_cv_t<decltype(F)>>::stored_with_object;
};
template <class Target, class... A>
requires requires { &Target::operator(); }
struct TaskArguments<Target, A...> {
  using type = typename ParametersOf<decltype(&Target::operator())>::stored;
};
template <class Target, class... A>
using task_arguments = typename TaskArguments<Target, A...>::type;

/// A callable that consists of its type alone, so that another process can make it again out of
/// nothing.
template <class L>
concept StatelessCallable =
    std::is_class_v<L> && std::is_empty_v<L> && std::is_default_constructible_v<L>;

/// What a task hands back: a function that returns Result<T> gives T or that error.
template <class R>
struct TaskResult {
  using type = std::remove_cvref_t<R>;
};
template <class T>
struct TaskResult<Result<T>> {
  using type = T;
};

template <class Target, class Stored>
struct Task;

template <class Target, class... Stored>
struct Task<Target, std::tuple<Stored...>> {
  static_assert((Encodable<Stored> && ...),
                "passel: an argument of this task cannot travel to another process: specialise "
                "passel::codec for its "
                "type, or make it an aggregate of types that can");

  /// Moves a stored argument into the call; lends it to a parameter that is a reference or a C
  /// string.
  template <class T>
  static decltype(auto) pass(T& stored) {
    if constexpr (std::is_invocable_v<Target, Stored&&...>)
      return std::move(stored);
    else if constexpr (std::is_same_v<T, std::string> && !std::is_invocable_v<Target, Stored&...>)
      return stored.c_str();
    else
      return (stored);
  }
  static decltype(auto) call(std::tuple<Stored...>& args) {
    return std::apply([](Stored&... stored) -> decltype(auto) { return Target{}(pass(stored)...); },
                      args);
  }
  using returned = decltype(call(std::declval<std::tuple<Stored...>&>()));
  using result = typename TaskResult<std::remove_cvref_t<returned>>::type;

  static Result<Encoded> run(std::span<const std::byte> bytes,
                             std::span<const std::shared_ptr<Descriptor>> descriptors) {
    auto args = decode_pack<Stored...>(bytes, descriptors);
    if (!args) return args.error();
    return run_with(*args);
  }

  /// The part of `run` behind decoding, for executors that decode many argument lists at once.
  static Result<Encoded> run_with(std::tuple<Stored...>& args) {
    try {
      if constexpr (std::is_void_v<returned>) {
        call(args);
        return Encoded{};
      } else if constexpr (is_result<std::remove_cvref_t<returned>>) {
        auto outcome = call(args);
        if (!outcome) return outcome.error();
        if constexpr (std::is_void_v<result>)
          return Encoded{};
        else
          return encode(*outcome);
      } else {
        static_assert(Encodable<result>,
                      "passel: the result of this task cannot travel to another process: "
                      "specialise passel::codec "
                      "for its type, or make it an aggregate of types that can");
        return encode<result>(call(args));
      }
    } catch (...) {
      return current_exception_as_error();
    }
  }

  // Initialised before main in every image that could send or run the task: mentioning it in id()
  // instantiates it.
  static inline const TaskNode node{&run};

  [[nodiscard]] static TaskId id() { return id_of_task(node.function); }
};

/// The task that runs `Target` when it is called with `A...`.
template <class Target, class... A>
using task_for = Task<Target, task_arguments<Target, A...>>;

/// Encodes what `Target` is to be called with: every argument converted to the type that is stored.
template <class Stored, class... A>
Result<Encoded> encode_arguments(A&&... args) {
  static_assert(std::tuple_size_v<Stored> == sizeof...(A),
                "passel: this task is given another number of arguments than it takes");
  if constexpr (std::tuple_size_v<Stored> == sizeof...(A)) {
    return [&]<class... S>(std::type_identity<std::tuple<S...>>) {
      static_assert((std::is_convertible_v<A&&, S> && ...),
                    "passel: an argument cannot be converted to the type that the task takes");
      // What has the right type already is only looked at, the rest is converted once.
      const std::tuple<
          std::conditional_t<std::is_same_v<std::remove_cvref_t<A>, S>, const S&, S>...>
          slots{std::forward<A>(args)...};
      return std::apply([](const S&... stored) { return encode_pack<S...>(stored...); }, slots);
    }(std::type_identity<Stored>{});
  } else {
    return Encoded{};
  }
}

}  // namespace passel::inline v0::detail
