// Layer actors: how a message of a user's type becomes an operation of a cell.
#pragma once

#include <passel/detail/cell.hpp>
#include <passel/future.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// The cell body around a user's object.
template <class A>
class ActorBody final : public CellBody {
 public:
  std::optional<A> object;
  /// Supervised actors: told of each end, after the object is gone. The last thing that on_exit
  /// does.
  std::function<void(const ExitReason&)> exited;

  void on_exit(const ExitReason& reason) noexcept override {
    object.reset();
    const auto told = exited;
    told(reason);
  }
};

template <class A, class M>
concept Handles = requires(A& actor, M message) {
  actor.on(std::move(message));
};

template <class A, class M>
using HandlerResult =
    std::remove_cv_t<decltype(std::declval<A&>().on(std::declval<std::decay_t<M>&&>()))>;
/// What an asker gets: the handler's return value, with a Result or Future around it taken off.
template <class A, class M>
using Answer = typename flattened<HandlerResult<A, M>>::type;

template <class R>
inline constexpr bool is_future = false;
template <class R>
inline constexpr bool is_future<Future<R>> = true;

[[nodiscard]] PASSEL_API Error actor_gone_error(const Cell* cell);
[[nodiscard]] PASSEL_API Error self_call_error(const Cell& cell);

/// The handler's outcome as a Result; an exception also ends the actor.
template <class A, class M>
Result<Answer<A, M>> handle(Cell& cell, M&& message) noexcept {
  using R = HandlerResult<A, M>;
  static_assert(!is_future<R>);
  A& actor = *cell.body<ActorBody<A>>().object;
  try {
    if constexpr (std::is_void_v<R>) {
      actor.on(std::move(message));
      return Result<void>{};
    } else {
      return actor.on(std::move(message));
    }
  } catch (...) {
    Error error = current_exception_error();
    cell.end(error);
    return error;
  }
}

template <class A, class M>
struct TellOp final : Op {
  explicit TellOp(M&& m) : message{std::move(m)} { run = &TellOp::work; }
  explicit TellOp(const M& m) : message{m} { run = &TellOp::work; }

  static void work(Op* op, Cell* cell) noexcept {
    const std::unique_ptr<TellOp> self{static_cast<TellOp*>(op)};
    if (cell == nullptr) return;
    try {
      // Nobody waits for the return value of a tell.
      static_cast<void>(cell->body<ActorBody<A>>().object->on(std::move(self->message)));
    } catch (...) {
      cell->end(current_exception_error());
    }
  }

  M message;
};

template <class A, class M>
struct AskOp final : Op {
  template <class N>
  explicit AskOp(N&& m) : message{std::forward<N>(m)} {
    run = &AskOp::work;
  }

  static void work(Op* op, Cell* cell) noexcept {
    const std::unique_ptr<AskOp> self{static_cast<AskOp*>(op)};
    if (cell == nullptr) {
      self->promise.set(actor_gone_error(nullptr));
    } else if (self->promise.set_running_or_notify_cancel()) {
      if constexpr (is_future<HandlerResult<A, M>>) {
        try {
          cell->body<ActorBody<A>>()
              .object->on(std::move(self->message))
              .forward_to(std::move(self->promise));
        } catch (...) {
          Error error = current_exception_error();
          cell->end(error);
          self->promise.set(std::move(error));
        }
      } else {
        self->promise.set(handle<A>(*cell, std::move(self->message)));
      }
    }
  }

  M message;
  Promise<Answer<A, M>> promise;
};

/// A message that its sender waits for, on the sender's stack.
template <class A, class M>
struct CallOp final : Op {
  explicit CallOp(M& m) : message{m} { run = &CallOp::work; }

  static void work(Op* op, Cell* cell) noexcept {
    auto* const self = static_cast<CallOp*>(op);
    if (cell != nullptr) self->answer.emplace(handle<A>(*cell, std::move(self->message)));
    self->slot.set(cell != nullptr ? ReplySlot::done : ReplySlot::gone);
  }

  M& message;
  std::optional<Result<Answer<A, M>>> answer;
  ReplySlot slot;
};

}  // namespace passel::inline v0::detail
