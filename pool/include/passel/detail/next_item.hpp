// Layer pool: readers of results who go on and are told of the next one.
#pragma once

#include <passel/future.hpp>
#include <passel/result.hpp>

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace passel::inline v0::detail {

/// What next_async answers: a result, or nothing at the end.
template <class R>
using NextItem = std::optional<std::conditional_t<std::is_void_v<R>, std::monostate, R>>;

template <class R>
[[nodiscard]] Result<NextItem<R>> next_item(std::optional<Result<R>>&& taken) {
  if (!taken) return NextItem<R>{};
  if (taken->is_err()) return taken->error();
  if constexpr (std::is_void_v<R>) {
    return NextItem<R>{std::in_place};
  } else {
    return NextItem<R>{std::in_place, **std::move(taken)};
  }
}

/// The one who has asked for the next item and has not been given it. The lock of what he reads
/// from is held at all calls.
template <class R>
class NextAsker {
 public:
  using Answer = Promise<NextItem<R>>;

  [[nodiscard]] bool waits() const noexcept { return asker_ && !asker_->cancelled(); }
  [[nodiscard]] Future<NextItem<R>> ask() {
    Answer answer;
    auto future = answer.future();
    // Who drops the future has given it up.
    answer.on_abandoned([core = future.core()] { core->cancel(); });
    asker_ = std::move(answer);
    return future;
  }
  /// Him, if he still wants it: from then on he cannot give it up.
  [[nodiscard]] std::optional<Answer> take() {
    std::optional<Answer> asker = std::exchange(asker_, std::nullopt);
    if (asker && !asker->set_running_or_notify_cancel()) return std::nullopt;
    return asker;
  }
  [[nodiscard]] static Error is_waiting() {
    return {Errc::invalid_state, "the result before this one is still waited for"};
  }

 private:
  std::optional<Answer> asker_;
};

}  // namespace passel::inline v0::detail
