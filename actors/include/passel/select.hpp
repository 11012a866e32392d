// Layer actors: waiting for the first of several channel operations, Go's select.
#pragma once

#include <passel/channel.hpp>
#include <passel/detail/select_case.hpp>
#include <passel/result.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace passel::inline v0 {

namespace detail {

template <class F>
struct TimeoutCase {
  Result<Deadline> deadline;
  F handler;
};
template <class F>
struct OtherwiseCase {
  F handler;
};

template <class C>
inline constexpr bool is_timeout = false;
template <class F>
inline constexpr bool is_timeout<TimeoutCase<F>> = true;
template <class C>
inline constexpr bool is_otherwise = false;
template <class F>
inline constexpr bool is_otherwise<OtherwiseCase<F>> = true;
template <class C>
inline constexpr bool is_operation = std::is_base_of_v<SelectCase, C>;
template <class C>
concept SelectPart = is_operation<C> || is_timeout<C> || is_otherwise<C>;

}  // namespace detail

/// A case of `select`: receive from `receiver`. The handler takes a T; then a channel that is
/// closed and empty is left out of the select. A handler that takes a `Result<T>` is called for
/// that too, with the error closed. The receiver must stay where it is while the select runs.
template <class T, class F>
[[nodiscard]] auto on_recv(Receiver<T>& receiver, F handler) {
  return detail::RecvCase<T, F>{detail::ChannelAccess::core(receiver), std::move(handler)};
}

/// A case of `select`: send `item` to `sender`. `item` is moved from only when this case is chosen.
/// The handler takes nothing, and a closed channel is left out; or it takes a `Result<void>` and is
/// told of that too.
template <class T, class F>
[[nodiscard]] auto on_send(Sender<T>& sender, std::type_identity_t<T>&& item, F handler) {
  return detail::SendCase<T, F>{detail::ChannelAccess::core(sender), item, std::move(handler)};
}

/// A case of `select`: `after` has passed and nothing else has happened.
template <class Rep, class Period, class F>
[[nodiscard]] auto timeout(std::chrono::duration<Rep, Period> after, F handler) {
  return detail::TimeoutCase<F>{detail::checked_deadline(after), std::move(handler)};
}

/// A case of `select`: nothing else is ready now. A select with this case never waits.
template <class F>
[[nodiscard]] auto otherwise(F handler) {
  return detail::OtherwiseCase<F>{std::move(handler)};
}

/// Waits until the first of the cases happens, does that one alone, calls its handler and returns
/// its place among the arguments. Of several that are ready one is chosen at random.
///
///     passel::select(passel::on_recv(jobs, [&](Job job) { run(job); }),
///                    passel::on_recv(stop, [&](bool) { stopping = true; }),
///                    passel::timeout(50ms, [&] { tick(); })).unwrap();
///
/// Waits for ever unless there is a `timeout` or `otherwise` case. Errors: closed as soon as all
/// channels are closed (and empty) and no handler takes a Result; invalid_argument when a timeout
/// is negative. What a handler throws reaches the caller. The channels may be used by other threads
/// meanwhile, also in selects of their own.
///
/// Source of the semantics: Go's select statement, crossbeam's select!.
template <detail::SelectPart... Cases>
Result<std::size_t> select(Cases... cases) {
  static_assert(
      (std::size_t{0} + ... + (detail::is_timeout<Cases> || detail::is_otherwise<Cases>)) <= 1,
      "a select has one timeout or otherwise case at most");
  constexpr std::size_t operations = (std::size_t{0} + ... + detail::is_operation<Cases>);
  static_assert(operations > 0, "a select waits for one send or receive at least");
  std::array<detail::SelectCase*, operations> list{};
  std::array<std::size_t, operations> places{};
  detail::Deadline deadline = detail::Deadline::never();
  Result<void> checked;
  std::size_t place = 0;
  std::size_t count = 0;
  const auto collect = [&]<class C>(C& part) {
    if constexpr (detail::is_operation<C>) {
      list[count] = &part;
      places[count++] = place;
    } else if constexpr (detail::is_timeout<C>) {
      if (part.deadline)
        deadline = *part.deadline;
      else
        checked = part.deadline.error();
    } else {
      deadline = detail::Deadline::now_or_never();
    }
    ++place;
  };
  (collect(cases), ...);
  PASSEL_CHECK(checked);

  const detail::SelectOutcome outcome = detail::run_select(list, deadline);
  if (outcome.kind == detail::SelectOutcome::Kind::chosen) {
    list[outcome.index]->run(outcome.closed);
    return places[outcome.index];
  }
  if (outcome.kind == detail::SelectOutcome::Kind::all_closed) return detail::select_all_closed();
  place = 0;
  std::size_t chosen = 0;
  const auto finish = [&]<class C>(C& part) {
    if constexpr (!detail::is_operation<C>) {
      chosen = place;
      part.handler();
    }
    ++place;
  };
  (finish(cases), ...);
  return chosen;
}

/// A select over receivers whose number is known only when the program runs. Build it once and wait
/// as often as needed; one thread at a time. The receivers must outlive it and stay where they are.
///
///     passel::Select select;
///     for (auto& rx : inputs) select.on_recv(rx, [&](Event event) { handle(event); });
///     while (select.wait()) {
///     }   // ends when all inputs are closed and empty
class Select {
 public:
  Select() = default;

  /// Adds a receiver, with a handler as in the function `on_recv`. Returns its index.
  template <class T, class F>
  std::size_t on_recv(Receiver<T>& receiver, F handler) {
    using Case = detail::RecvCase<T, F>;
    cases_.push_back(
        std::make_unique<Case>(detail::ChannelAccess::core(receiver), std::move(handler)));
    list_.push_back(cases_.back().get());
    return list_.size() - 1;
  }
  [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }

  /// Waits until an item can be received, calls the handler of that receiver and returns its index.
  /// Error: closed when all channels are closed and empty and no handler takes a Result.
  Result<std::size_t> wait() {
    return finish(detail::run_select(list_, detail::Deadline::never()), detail::select_timeout);
  }
  /// Waits for `timeout` at most. Errors: timeout, closed, invalid_argument when it is negative.
  template <class Rep, class Period>
  Result<std::size_t> wait_for(std::chrono::duration<Rep, Period> timeout) {
    PASSEL_TRY(const detail::Deadline deadline, detail::checked_deadline(timeout));
    return finish(detail::run_select(list_, deadline), detail::select_timeout);
  }
  /// Never waits. Errors: empty when no channel is ready, closed.
  Result<std::size_t> try_wait() {
    return finish(detail::run_select(list_, detail::Deadline::now_or_never()),
                  detail::select_none_ready);
  }

 private:
  template <class NotReady>
  Result<std::size_t> finish(detail::SelectOutcome outcome, NotReady not_ready) {
    using Kind = detail::SelectOutcome::Kind;
    if (outcome.kind == Kind::all_closed) return detail::select_all_closed();
    if (outcome.kind == Kind::timed_out) return not_ready();
    list_[outcome.index]->run(outcome.closed);
    return outcome.index;
  }

  std::vector<std::unique_ptr<detail::SelectCase>> cases_;
  std::vector<detail::SelectCase*> list_;
};

}  // namespace passel::inline v0
