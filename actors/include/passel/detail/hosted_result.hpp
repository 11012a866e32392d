// Layer actors: results of methods that stay in the server: objects, and things to go through.
#pragma once

#include <passel/detail/hosted_type.hpp>
#include <passel/iterator_proxy.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// Calls `answer(reply, value)` with what is in a Result or Future, now or later.
template <class R, class Answer>
void answer_with_content(HostedReply& reply, R&& outcome, const Answer& answer) {
  using Plain = std::remove_cvref_t<R>;
  if constexpr (is_result<Plain>) {
    if (!outcome) return reply.set(outcome.error());
    answer(reply, *std::forward<R>(outcome));
  } else if constexpr (is_any_future<Plain>) {
    outcome.on_done([kept = std::move(reply), answer](const auto& result) mutable {
      if (!result) return kept.set(result.error());
      answer(kept, typename std::remove_cvref_t<decltype(result)>::value_type{*result});
    });
  } else {
    answer(reply, std::forward<R>(outcome));
  }
}

/// Calls a method and has `answer(reply, value)` answer with what it gave.
template <auto F, class T, class Answer>
void answer_call_with_content(T& object, HostedCall&& call, const Answer& answer) {
  answer_call<F>(object, std::move(call), [&answer]<class R>(HostedReply& reply, R&& outcome) {
    answer_with_content(reply, std::forward<R>(outcome), answer);
  });
}

/// `T`, of what a method of `owner` gave, as an object that may be shared. Null for a null pointer.
template <class T, class R, class Owner>
MadeObject<T> object_in(R&& result, const std::shared_ptr<Owner>& owner) {
  if constexpr (std::is_lvalue_reference_v<R> && std::same_as<std::remove_cvref_t<R>, T>) {
    return {std::shared_ptr<T>{owner, &result}, true};
  } else {
    return *made_object<T>(std::forward<R>(result));
  }
}

/// Something to go through, item by item.
template <class Source>
class IteratedObject final : public LinedObject {
 public:
  explicit IteratedObject(Source source) : source_{std::move(source)} {}

  [[nodiscard]] std::vector<std::string> methods() const override { return {"next", "next_some"}; }
  [[nodiscard]] std::string text() const override { return "<iterator>"; }

 protected:
  [[nodiscard]] bool exposes(std::string_view method) const override {
    return method == "next" || method == "next_some";
  }
  // What lies in memory is not waited for.
  [[nodiscard]] bool is_quick() const noexcept override {
    return std::ranges::contiguous_range<Source>;
  }
  void run(HostedCall&& call) override {
    if (failed_) return call.reply.set(*std::exchange(failed_, std::nullopt));
    std::uint64_t wanted = 1;
    if (call.method != "next") {
      const auto args = call.arguments<std::uint64_t>();
      if (!args) return call.reply.set(args.error());
      wanted = std::get<0>(*args);
    }
    std::vector<Part> parts;
    try {
      take(parts, wanted);
    } catch (...) {
      failed_ = current_exception_as_error();
      if (parts.empty()) return call.reply.set(*std::exchange(failed_, std::nullopt));
    }
    if constexpr (std::is_same_v<Part, Item>) {
      if (call.method != "next") return call.reply.value(parts);
      call.reply.value(parts.empty() ? std::optional<Item>{}
                                     : std::optional<Item>{std::move(parts.front())});
    } else {
      const WireValue values = call.method != "next" ? WireValue::list(std::move(parts))
                               : parts.empty()       ? WireValue{}
                                                     : as_optional(std::move(parts.front()));
      // On this thread, unless it is for the server to see what they name.
      if constexpr (holds_wire<Item>) return call.reply.value(values);
      call.reply.set(encode_value(values));
    }
  }

 private:
  using Item = typename ItemOf<Source>::type;

  /// An item on its way: what has bytes of its own as it is, else as the value that travels, so
  /// that a codec that throws is the error of that item.
  using Part = std::conditional_t<is_raw<Item> || is_raw<std::vector<Item>>, Item, WireValue>;

  void take(std::vector<Part>& parts, std::uint64_t wanted) {
    std::size_t bytes = 0;
    while (parts.size() < wanted && (next_ || make_next())) {
      bytes += sizeof(Part) + size_of(*next_);  // also of items that are empty
      if (!parts.empty() && bytes > most_batch_bytes) return;
      parts.push_back(*std::exchange(next_, std::nullopt));
    }
  }
  static std::size_t size_of(const Part& part) {
    if constexpr (std::is_same_v<Part, WireValue>) {
      return least_encoded_size(part);
    } else {
      return raw_size(part);
    }
  }
  /// What codec<std::optional<Item>> makes of an item that is there.
  static WireValue as_optional(WireValue part) {
    if constexpr (may_be_none<Item>) return WireValue::tuple({std::move(part)});
    return part;
  }

  /// Makes the next one. False at the end.
  bool make_next() {
    if constexpr (requires { source_.next().has_value(); }) {
      auto item = source_.next();
      if (!item) return false;
      make_part(*std::move(item));
    } else {
      if (ended_) return false;
      if (at_)
        ++*at_;
      else
        at_.emplace(std::ranges::begin(source_));
      ended_ = *at_ == std::ranges::end(source_);
      if (ended_) return false;
      make_part(Item(**at_));
    }
    return true;
  }
  void make_part(Item item) {
    if constexpr (std::is_same_v<Part, Item>) {
      next_.emplace(std::move(item));
    } else {
      next_.emplace(to_value(item));
    }
  }

  template <class S>
  struct PlaceIn {
    using type = std::monostate;
  };
  template <std::ranges::range S>
  struct PlaceIn<S> {
    using type = std::ranges::iterator_t<S>;
  };

  Source source_;
  std::optional<typename PlaceIn<Source>::type> at_;
  bool ended_ = false;
  std::optional<Part> next_{};   // made, and not given yet
  std::optional<Error> failed_;  // behind the items that were given
};

template <class>
struct ResultHost;
template <MethodName Type, auto F, auto... Exposed>
struct ResultHost<HostedResult<Type, F, Exposed...>> {
  using Object = typename ObjectOf<returned_by<NamedMethod<F>::function>>::type;

  template <class T>
  static void run(const std::shared_ptr<T>& owner, HostedCall&& call) {
    answer_call_with_content<NamedMethod<F>::function>(
        *owner, std::move(call), [owner]<class V>(HostedReply& reply, V&& result) {
          auto made = object_in<Object, V>(std::forward<V>(result), owner);
          if (made.object == nullptr) return reply.value(WireValue{});
          reply.object(std::string{Type.view()}, std::make_shared<UserObject<Object, Exposed...>>(
                                                     std::move(made.object), made.shared));
        });
  }
};
template <auto F>
struct ResultHost<IteratedResult<F>> {
  template <class T>
  static void run(const std::shared_ptr<T>& owner, HostedCall&& call) {
    answer_call_with_content<NamedMethod<F>::function>(
        *owner, std::move(call), []<class V>(HostedReply& reply, V&& result) {
          using Source = std::remove_cvref_t<V>;
          reply.object("Iterator",
                       std::make_shared<IteratedObject<Source>>(std::forward<V>(result)));
        });
  }
};

template <class T, auto Spec>
requires(ProxyResult<std::remove_cv_t<decltype(Spec)>>::is) struct SpecOf<T, Spec> {
  using Given = std::remove_cv_t<decltype(Spec)>;
  static constexpr bool is_method = true;
  static constexpr std::string_view name() { return ProxyResult<Given>::Method::name; }
  static void run(const std::shared_ptr<T>& object, HostedCall&& call) {
    ResultHost<Given>::run(object, std::move(call));
  }
};

}  // namespace passel::inline v0::detail
