// Layer sync: what a thread runs, and how the templates reach the rest.
#pragma once

#include <passel/export.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

struct ThreadOptions;
class Thread;

namespace detail {

/// One thread as the library knows it; shared by its handles and, while it runs, the registry.
struct ThreadState;

/// What a thread runs: once, and destroyed when it has run.
struct PASSEL_API ThreadBody {
  ThreadBody() = default;
  ThreadBody(const ThreadBody&) = delete;
  ThreadBody& operator=(const ThreadBody&) = delete;
  virtual ~ThreadBody();
  virtual void run() = 0;
};

/// A callable with the arguments it will be given, both as copies of its own.
template <class F, class... A>
class CallBody final : public ThreadBody {
 public:
  template <class G, class... B>
  explicit CallBody(std::in_place_t, G&& target, B&&... args)
      : call_{std::forward<G>(target), std::forward<B>(args)...} {}
  void run() override {
    std::apply(
        [](F&& target, A&&... args) {
          static_cast<void>(std::invoke(std::move(target), std::move(args)...));
        },
        std::move(call_));
  }

 private:
  std::tuple<F, A...> call_;
};

template <class F, class... A>
[[nodiscard]] std::unique_ptr<ThreadBody> make_body(F&& target, A&&... args) {
  return std::make_unique<CallBody<std::decay_t<F>, std::decay_t<A>...>>(
      std::in_place, std::forward<F>(target), std::forward<A>(args)...);
}

/// Callable with copies of these arguments, as std::thread wants it; and no handle or options.
template <class F, class... A>
concept ThreadTarget = !std::same_as<std::remove_cvref_t<F>, ThreadOptions> &&
                       !std::derived_from<std::remove_cvref_t<F>, Thread> &&
                       std::invocable<std::decay_t<F>, std::decay_t<A>...>;

/// "work" for a function `ns::work` or `work<int>` (Python's __name__).
template <auto F>
[[nodiscard]] constexpr std::string_view function_name() noexcept {
  std::string_view text =
      __PRETTY_FUNCTION__;  // "... [with auto F = ns::work; ...]", "[F = &ns::work]"
  text.remove_prefix(text.find("F = ") + 4);
  text = text.substr(0, text.find_first_of(";]<"));
  while (!text.empty() && (text.front() == '&' || text.front() == '(' || text.front() == ' '))
    text.remove_prefix(1);
  while (text.ends_with(')')) text.remove_suffix(1);
  const std::size_t scope = text.rfind("::");
  return scope == text.npos ? text : text.substr(scope + 2);
}

}  // namespace detail
}  // namespace passel::inline v0
