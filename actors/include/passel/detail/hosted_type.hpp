// Layer actors: users' classes as hosted objects.
#pragma once

#include <passel/detail/hosted_methods.hpp>
#include <passel/expose.hpp>

#include <array>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

/// An object whose methods may block: its calls wait in a line of its own and run one at a time, on
/// a thread of the server's. Looking at it (its text, its copy) is such a call, too.
class PASSEL_API LinedObject : public HostedObject,
                               public std::enable_shared_from_this<LinedObject> {
 public:
  void handle(HostedCall&& call) final;
  void abandoned(std::uint64_t session, std::uint64_t call) final;
  [[nodiscard]] std::optional<std::string> text_at_once() const final;
  void share_line(HostedObject& other) final;

 protected:
  /// Whether there is such a method.
  [[nodiscard]] virtual bool exposes(std::string_view method) const = 0;
  /// Whether calls are made at once, on the I/O thread.
  [[nodiscard]] virtual bool is_quick() const noexcept = 0;
  virtual void run(HostedCall&& call) = 0;

 private:
  /// The calls that wait, and whether a thread is at work on them.
  struct PASSEL_API Line {
    struct Waiting {
      std::shared_ptr<LinedObject> object;
      HostedCall call;
    };
    using Key = std::pair<std::uint64_t, std::uint64_t>;  // session, call

    /// Of a thing under several names: a quick method must not pass by one that takes its time.
    bool is_shared = false;

    void drain();
    void refuse(const Error& error);

    std::mutex mutex;
    std::list<Waiting> calls;
    std::map<Key, std::list<Waiting>::iterator> places;
    bool running = false;
  };
  void serve(HostedCall&& call);

  std::shared_ptr<Line> line_ = std::make_shared<Line>();
};

template <class Spec>
inline constexpr bool is_maker = false;
template <class... A>
inline constexpr bool is_maker<ConstructedFrom<A...>> = true;
template <auto F>
inline constexpr bool is_maker<MadeBy<F>> = true;

/// What one exposed thing is: a name and how it is called. Empty for those that are no methods.
template <class T, auto Spec>
struct SpecOf {
  using Type = std::remove_cv_t<decltype(Spec)>;
  static constexpr bool is_method = std::is_member_function_pointer_v<Type> || NamedAs<Type>::is;
  static_assert(is_method || is_maker<Type> || std::is_same_v<Type, QuickMethods>,
                "passel: methods are exposed; a function whose first parameter is the object needs "
                "a name: passel::exposed<\"name\", &function>");
  static constexpr std::string_view name() {
    if constexpr (is_method) {
      static_assert(
          !NamedMethod<Spec>::name.empty(),
          "passel: the name of this method is not known: passel::exposed<\"name\", &T::m>");
      return NamedMethod<Spec>::name;
    } else {
      return {};
    }
  }
  static void run(const std::shared_ptr<T>& object, HostedCall&& call) {
    if constexpr (is_method) answer_call<NamedMethod<Spec>::function>(*object, std::move(call));
  }
};

/// Where objects with that specification are made.
template <auto... Spec>
inline constexpr MadeOn made_on = (std::is_same_v<std::remove_cv_t<decltype(Spec)>, QuickMethods> ||
                                   ...)
                                      ? MadeOn::io_thread
                                      : MadeOn::thread;

/// No two methods have one name.
template <class T, auto... Spec>
[[nodiscard]] consteval bool are_named_apart() {
  std::array<std::string_view, sizeof...(Spec) + 1> names{};
  std::size_t count = 0;
  [[maybe_unused]] const auto add = [&]<class S>(S) {
    if constexpr (S::is_method) names[count++] = S::name();
  };
  (add(SpecOf<T, Spec>{}), ...);
  std::sort(names.begin(), names.begin() + count);
  return std::adjacent_find(names.begin(), names.begin() + count) == names.begin() + count;
}

/// Text and copy of any class: what it prints, when it can be sent.
template <class T>
[[nodiscard]] std::string text_of(const T& object) {
  if constexpr (requires {
                  { object.to_string() } -> std::convertible_to<std::string>;
                }) {
    return object.to_string();
  } else if constexpr (Encodable<T>) {
    return to_value(object).to_string();
  } else {
    return "<" + std::string{compiler_type_name<T>()} + ">";
  }
}

/// A `T` that is hosted, and the methods of it that can be called.
template <class T, auto... Spec>
class UserObject final : public LinedObject {
  static_assert(are_named_apart<T, Spec...>(), "passel: two exposed methods have one name");

 public:
  UserObject(std::shared_ptr<T> object, bool shared)
      : object_{std::move(object)}, shared_{shared} {}

  [[nodiscard]] std::vector<std::string> methods() const override {
    std::vector<std::string> names;
    [[maybe_unused]] const auto add = [&names]<class S>(S) {
      if constexpr (S::is_method) names.emplace_back(S::name());
    };
    (add(SpecOf<T, Spec>{}), ...);
    std::sort(names.begin(), names.end());
    return names;
  }
  [[nodiscard]] std::string text() const override { return text_of(*object_); }
  [[nodiscard]] Result<WireValue> copy() const override {
    if constexpr (Encodable<T>) return to_value(*object_);
    return HostedObject::copy();
  }
  [[nodiscard]] const void* identity() const noexcept override {
    return shared_ ? object_.get() : nullptr;
  }

 protected:
  [[nodiscard]] bool exposes([[maybe_unused]] std::string_view method) const override {
    return ((SpecOf<T, Spec>::is_method && SpecOf<T, Spec>::name() == method) || ...);
  }
  [[nodiscard]] bool is_quick() const noexcept override {
    return made_on<Spec...> == MadeOn::io_thread;
  }
  void run(HostedCall&& call) override {
    static_cast<void>(((SpecOf<T, Spec>::is_method && SpecOf<T, Spec>::name() == call.method &&
                        (SpecOf<T, Spec>::run(object_, std::move(call)), true)) ||
                       ...));
  }

 private:
  std::shared_ptr<T> object_;
  bool shared_;
};

template <class T>
struct MadeObject {
  std::shared_ptr<T> object;
  bool shared = false;
};

template <class T, class R>
Result<MadeObject<T>> made_object(R&& made) {
  using M = std::remove_cvref_t<R>;
  if constexpr (is_result<M>) {
    if (!made) return made.error();
    return made_object<T>(*std::forward<R>(made));
  } else if constexpr (std::is_same_v<M, std::shared_ptr<T>>) {
    return MadeObject<T>{std::forward<R>(made), true};
  } else if constexpr (std::is_same_v<M, std::unique_ptr<T>>) {
    return MadeObject<T>{std::shared_ptr<T>{std::move(made)}, false};
  } else if constexpr (std::is_lvalue_reference_v<R>) {
    return MadeObject<T>{std::shared_ptr<T>{std::shared_ptr<void>{}, &made}, true};
  } else {
    return MadeObject<T>{std::make_shared<T>(std::forward<R>(made)), false};
  }
}

template <class T, class... A>
Result<MadeObject<T>> make_hosted(ConstructedFrom<A...>, const HostedCall& call) {
  auto args = call.arguments<stored_argument<A>...>();
  if (!args) return args.error();
  return std::apply(
      [](auto&... one) {
        return MadeObject<T>{std::make_shared<T>(std::move(one)...), false};
      },
      *args);
}

template <class T, auto F>
Result<MadeObject<T>> make_hosted(MadeBy<F>, const HostedCall& call) {
  using Stored = typename ParametersOf<std::remove_cv_t<decltype(F)>>::stored;
  auto args = [&call]<class... S>(std::type_identity<std::tuple<S...>>) {
    return call.arguments<S...>();
  }(std::type_identity<Stored>{});
  if (!args) return args.error();
  return std::apply(
      [](auto&... one) -> Result<MadeObject<T>> {
        if constexpr (std::is_invocable_v<decltype(F), decltype(std::move(one))...>) {
          return made_object<T, std::invoke_result_t<decltype(F), decltype(std::move(one))...>>(
              F(std::move(one)...));
        } else {
          return made_object<T, std::invoke_result_t<decltype(F), decltype(one)...>>(F(one...));
        }
      },
      *args);
}

/// The factory of a registered class.
template <class T, auto... Spec>
Result<std::shared_ptr<HostedObject>> make_user_object(const HostedCall& call) {
  constexpr std::size_t makers =
      (std::size_t{0} + ... + std::size_t{is_maker<std::remove_cv_t<decltype(Spec)>>});
  static_assert(makers <= 1, "passel: one constructor or one factory makes the objects of a type");
  try {
    Result<MadeObject<T>> made = Error{Errc::unsupported, "nothing makes objects of this type"};
    if constexpr (makers == 0) {
      static_assert(std::is_default_constructible_v<T>,
                    "passel: say how objects of this class are made: passel::constructor<...> or "
                    "passel::factory<...>");
      made = make_hosted<T>(ConstructedFrom<>{}, call);
    } else {
      const auto try_one = [&]<class S>(S spec) {
        if constexpr (is_maker<S>) made = make_hosted<T>(spec, call);
      };
      (try_one(Spec), ...);
    }
    if (!made) return made.error();
    return std::shared_ptr<HostedObject>{
        std::make_shared<UserObject<T, Spec...>>(std::move(made->object), made->shared)};
  } catch (...) {
    return current_exception_as_error();
  }
}

}  // namespace passel::inline v0::detail
