// Layer actors: calls of hosted objects by the name of a method: decoding, calling, answering.
#pragma once

#include <passel/detail/hosted_object.hpp>
#include <passel/expose.hpp>
#include <passel/future.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

template <class Tuple>
struct TailOf;
template <class First, class... Rest>
struct TailOf<std::tuple<First, Rest...>> {
  using type = std::tuple<Rest...>;
};

/// What the method `F` of a hosted object takes, as it is stored: a member function, or a function
/// whose first parameter is the object.
template <auto F>
struct MethodArguments {
  using type = typename TailOf<typename ParametersOf<std::remove_cv_t<decltype(F)>>::stored>::type;
};
template <auto F>
requires std::is_member_function_pointer_v<decltype(F)>
struct MethodArguments<F> {
  using type = typename ParametersOf<std::remove_cv_t<decltype(F)>>::stored;
};
template <auto F>
using method_arguments = typename MethodArguments<F>::type;

template <class T>
inline constexpr bool is_any_future = false;
template <class T>
inline constexpr bool is_any_future<Future<T>> = true;

template <class R>
struct MethodReturn {
  using type = R;
};
template <class R>
struct MethodReturn<Result<R>> : MethodReturn<R> {};
template <class R>
struct MethodReturn<Future<R>> : MethodReturn<R> {};

template <class F>
struct ReturnOf;
template <class R, class... P>
struct ReturnOf<R (*)(P...)> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class... P>
struct ReturnOf<R (*)(P...) noexcept> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...)> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...) const> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...) noexcept> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...) const noexcept> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...)&> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...) const&> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...)& noexcept> : MethodReturn<std::remove_cvref_t<R>> {};
template <class R, class C, class... P>
struct ReturnOf<R (C::*)(P...) const& noexcept> : MethodReturn<std::remove_cvref_t<R>> {};

/// What is hosted of what a method gives: the object itself, whoever owns it.
template <class R>
struct ObjectOf {
  using type = R;
};
template <class T>
struct ObjectOf<std::shared_ptr<T>> : ObjectOf<T> {};
template <class T, class D>
struct ObjectOf<std::unique_ptr<T, D>> : ObjectOf<T> {};
template <auto F>
using returned_by = typename ReturnOf<std::remove_cv_t<decltype(F)>>::type;

/// Moves stored arguments into the call; lends them to parameters that are references.
template <auto F, class Object, class... S>
decltype(auto) call_method(Object& object, std::tuple<S...>& args) {
  return std::apply(
      [&object](S&... one) -> decltype(auto) {
        if constexpr (std::is_invocable_v<decltype(F), Object&, S&&...>) {
          return std::invoke(F, object, std::move(one)...);
        } else {
          return std::invoke(F, object, one...);
        }
      },
      args);
}

/// Answers when the future is done.
template <class T>
void answer_when_done(Future<T> future, HostedReply reply) {
  future.on_done(
      [kept = std::move(reply)](const Result<T>& result) mutable { kept.value(result); });
}

/// Answers with what a method gave, in whatever shape.
template <class R>
void answer_with_outcome(HostedReply& reply, R&& outcome) {
  if constexpr (is_any_future<std::remove_cvref_t<R>>) {
    answer_when_done(std::move(outcome), std::move(reply));
  } else {
    reply.value(std::forward<R>(outcome));
  }
}

/// Decodes the arguments of `F`, calls it on `object`, and has `answer(reply, outcome)` answer;
/// what it throws, or a codec of its arguments does, is the answer, too.
template <auto F, class Object, class Answer>
void answer_call(Object& object, HostedCall&& call, Answer answer) {
  try {
    auto read = [&call]<class... S>(std::type_identity<std::tuple<S...>>) {
      return call.arguments<S...>();
    }(std::type_identity<method_arguments<F>>{});
    if (!read) return call.reply.set(read.error());
    using R = decltype(call_method<F>(object, *read));
    if constexpr (std::is_void_v<R>) {
      call_method<F>(object, *read);
      call.reply.value();
    } else {
      answer(call.reply, call_method<F>(object, *read));
    }
  } catch (...) {
    call.reply.set(current_exception_as_error());
  }
}
template <auto F, class Object>
void answer_call(Object& object, HostedCall&& call) {
  answer_call<F>(object, std::move(call), []<class R>(HostedReply& reply, R&& outcome) {
    answer_with_outcome(reply, std::forward<R>(outcome));
  });
}

/// One line of the table of a built-in object.
template <class Object>
struct HostedMethod {
  std::string_view name;
  void (*run)(Object& object, HostedCall&& call);
};

/// A method that answers by what it returns (nothing, a value, a Result, a Future), or, when its
/// one parameter is a HostedCall&&, by the call's reply, now or later.
template <auto F>
struct hosted_method {
  std::string_view name;

  template <class Object>
  constexpr operator HostedMethod<Object>() const {
    if constexpr (std::is_invocable_v<decltype(F), Object&, HostedCall&&>) {
      return {name,
              [](Object& object, HostedCall&& call) { std::invoke(F, object, std::move(call)); }};
    } else {
      return {name,
              [](Object& object, HostedCall&& call) { answer_call<F>(object, std::move(call)); }};
    }
  }
};

/// Base of the built-in objects: `Object` has a static function `table` that gives its methods.
///
///     class Cell final : public HostedBuiltin<Cell> {
///      public:
///       void set(WireValue value) { value_ = std::move(value); }
///       WireValue get() const { return value_; }
///       static std::span<const HostedMethod<Cell>> table() {
///         static constexpr HostedMethod<Cell> methods[] = {hosted_method<&Cell::get>{"get"},
///                                                          hosted_method<&Cell::set>{"set"}};
///         return methods;
///       }
///       ...
///     };
template <class Object>
class HostedBuiltin : public HostedObject {
 public:
  void handle(HostedCall&& call) final {
    for (const HostedMethod<Object>& method : Object::table())
      if (method.name == call.method)
        return method.run(static_cast<Object&>(*this), std::move(call));
    if (is_about_object(call.method)) return answer_about(*this, std::move(call));
    call.reply.set(no_such_method(call.method, *this));
  }
  [[nodiscard]] std::vector<std::string> methods() const final {
    std::vector<std::string> names;
    for (const HostedMethod<Object>& method : Object::table()) names.emplace_back(method.name);
    std::sort(names.begin(), names.end());
    return names;
  }
};

}  // namespace passel::inline v0::detail
