// Layer actors: going through something that lives in a manager's server.
#pragma once

#include <passel/proxy.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

/// What a method that is `passel::iterated` gives: items that stay in the server until they are
/// asked for (Python's iterator proxies).
///
///     passel::IteratorProxy<std::string> lines =
///     book.call<passel::iterated<&Book::lines>>().unwrap(); for (passel::Result<std::string>& line
///     : lines) print(*line);
///
/// Copies go through the same items: each item is given out once. An item whose making threw is an
/// error (task_failed), and the next one can be asked for. Other errors: those of DynamicProxy's
/// calls. Any number of threads.
template <class T>
class IteratorProxy : public DynamicProxy {
 public:
  using value_type = T;
  using DynamicProxy::DynamicProxy;
  explicit IteratorProxy(DynamicProxy other) noexcept : DynamicProxy{std::move(other)} {}

  /// The next item; empty at the end. (Python: next(), StopIteration)
  [[nodiscard]] std::optional<Result<T>> next() const {
    return turned(call<std::optional<T>>("next"));
  }
  /// The same, waiting at most `limit`. Errors also: timeout; an item that comes later is lost.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Result<T>> next_for(std::chrono::duration<Rep, Period> limit) const {
    return turned(call_for<std::optional<T>>(limit, "next"));
  }
  /// Up to `count` items in one call; fewer at the end, before one whose making threw, and of those
  /// that take more than 16 MiB together. None: that was the end.
  [[nodiscard]] Result<std::vector<T>> next_some(std::size_t count) const {
    return call<std::vector<T>>("next_some", std::uint64_t{count});
  }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Result<T>;
    using difference_type = std::ptrdiff_t;
    using pointer = Result<T>*;
    using reference = Result<T>&;

    Iterator() = default;
    explicit Iterator(const IteratorProxy& source) : source_{&source}, current_{source.next()} {}
    Iterator& operator++() {
      // Behind an error there may be another one for ever.
      current_ = current_->is_err() ? std::nullopt : source_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] Result<T>& operator*() const { return *current_; }
    [[nodiscard]] Result<T>* operator->() const { return &*current_; }
    friend bool operator==(const Iterator& at, std::default_sentinel_t) noexcept {
      return !at.current_.has_value();
    }

   private:
    const IteratorProxy* source_ = nullptr;
    mutable std::optional<Result<T>> current_;
  };
  /// Item by item, until the end or the first error, which is the last one then.
  [[nodiscard]] Iterator begin() const { return Iterator{*this}; }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  static std::optional<Result<T>> turned(Result<std::optional<T>> item) {
    if (!item) return Result<T>{item.error()};
    if (!*item) return std::nullopt;
    return Result<T>{**std::move(item)};
  }
};

namespace detail {

/// What a range, or an object with `next()`, gives one by one.
template <class Source>
struct ItemOf {
  using type = std::ranges::range_value_t<Source>;
};
template <class Source>
requires requires(Source& source) { source.next().has_value(); }
struct ItemOf<Source> {
  using type = typename std::remove_cvref_t<decltype(std::declval<Source&>().next())>::value_type;
};

template <class>
struct ProxyResult {
  static constexpr bool is = false;
};
template <MethodName Type, auto F, auto... Exposed>
struct ProxyResult<HostedResult<Type, F, Exposed...>> {
  static constexpr bool is = true;
  using Method = NamedMethod<F>;
  using returned = Proxy<typename ObjectOf<returned_by<Method::function>>::type>;
};
template <auto F>
struct ProxyResult<IteratedResult<F>> {
  static constexpr bool is = true;
  using Method = NamedMethod<F>;
  using returned = IteratorProxy<typename ItemOf<returned_by<Method::function>>::type>;
};

template <auto Spec>
requires(ProxyResult<std::remove_cv_t<decltype(Spec)>>::is) struct CalledMethod<Spec> {
  using Given = ProxyResult<std::remove_cv_t<decltype(Spec)>>;
  static constexpr std::string_view name() { return Given::Method::name; }
  using arguments = method_arguments<Given::Method::function>;
  using returned = typename Given::returned;
};

}  // namespace detail

}  // namespace passel::inline v0
