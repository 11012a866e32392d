// Layer pool: how ranges become the calls of a map, and calls its results.
#pragma once

#include <passel/detail/task.hpp>
#include <passel/future.hpp>

#include <concepts>
#include <cstddef>
#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0::detail {

enum class ResultOrder { input, completion };

/// One task of a map: the future of one result, or of several.
template <class R>
struct PendingResult {
  Future<R> one{};
  Future<std::vector<Result<R>>> many{};
  std::size_t count = 1;  ///< how many results `many` stands for
  bool last = false;      ///< nothing follows

  [[nodiscard]] bool valid() const noexcept { return one.valid() || many.valid(); }
  [[nodiscard]] FutureCore* core() const noexcept {
    return many.valid() ? many.core() : one.core();
  }
  [[nodiscard]] bool done() const noexcept { return core()->is_done(); }
  [[nodiscard]] bool wait(Deadline deadline) const {
    return many.valid() ? many.wait(deadline) : one.wait(deadline);
  }
  void cancel() noexcept {
    one.cancel();
    many.cancel();
  }
  /// When it is done; once. Nobody else reads these futures, so that there is no need to wait, as
  /// get() does, until all who watch have been told: they may be who calls this.
  void move_to(std::deque<Result<R>>& results) const {
    if (one.valid()) {
      results.push_back(static_cast<FutureState<R>*>(one.core())->move_out());
      return;
    }
    auto all = static_cast<FutureState<std::vector<Result<R>>>*>(many.core())->move_out();
    if (!all) {
      results.insert(results.end(), count, Result<R>{all.error()});
      return;
    }
    for (Result<R>& each : *all) results.push_back(std::move(each));
  }
};

/// Calls `call()` when the future that it watches is done.
template <class F>
struct DoneCall final : FutureWatcher {
  explicit DoneCall(F f) : call{std::move(f)} {}
  void done(FutureCore&) noexcept override {
    call();
    delete this;
  }
  F call;
};

/// Several ranges read side by side, as far as the shortest goes (Python's zip). Rvalues are kept,
/// lvalues used in place; items of a container that is kept are moved out of it.
template <class... Ranges>
class ZippedInput {
 public:
  explicit ZippedInput(Ranges&&... ranges)
      : kept_{std::forward<Ranges>(ranges)...},
        at_{std::apply([](auto&... each) { return std::tuple{std::begin(each)...}; }, kept_)} {}
  ZippedInput(const ZippedInput&) = delete;
  ZippedInput& operator=(const ZippedInput&) = delete;
  ~ZippedInput() = default;

  [[nodiscard]] bool at_end() { return at_end(std::index_sequence_for<Ranges...>{}); }
  /// Calls `use(item...)` with the present items and goes on to the next.
  template <class Use>
  auto take(Use&& use) {
    return take(use, std::index_sequence_for<Ranges...>{});
  }

 private:
  template <class Range>
  using Kept =
      std::conditional_t<std::is_lvalue_reference_v<Range>, Range, std::remove_cvref_t<Range>>;
  template <std::size_t I>
  using Given = std::tuple_element_t<I, std::tuple<Ranges...>>;

  template <std::size_t... I>
  bool at_end(std::index_sequence<I...>) {
    return ((std::get<I>(at_) == std::end(std::get<I>(kept_))) || ...);
  }
  template <class Use, std::size_t... I>
  auto take(Use& use, std::index_sequence<I...>) {
    auto made = use(item<I>()...);
    static_cast<void>((++std::get<I>(at_), ...));
    return made;
  }
  template <std::size_t I>
  decltype(auto) item() {
    using Item = decltype(*std::get<I>(at_));
    constexpr bool owned =
        !std::is_lvalue_reference_v<Given<I>> &&
        !std::derived_from<std::remove_cvref_t<Given<I>>, std::ranges::view_base> &&
        std::is_lvalue_reference_v<Item>;
    if constexpr (owned) {
      return std::move(*std::get<I>(at_));
    } else {
      return *std::get<I>(at_);
    }
  }

  std::tuple<Kept<Ranges>...> kept_;
  std::tuple<decltype(std::begin(std::declval<std::remove_reference_t<Kept<Ranges>>&>()))...> at_;
};

template <class Range>
using range_item = decltype(*std::begin(std::declval<std::remove_reference_t<Range>&>()));

template <class T>
concept MapRange = requires(std::remove_reference_t<T>& range) {
  std::begin(range);
  std::end(range);
};

}  // namespace passel::inline v0::detail
