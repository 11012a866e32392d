// Layer actors: user actors and their handle.
#pragma once

#include <passel/detail/actor_body.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace passel::inline v0 {

class Supervisor;

/// How an actor is started.
struct ActorOptions {
  std::string name = "actor";  ///< for errors, logs and `stop` reports
};

/// The handle of an actor: any class with `on(Message)` overloads, whose handlers run one at a
/// time.
///
///     struct Counter {
///       void on(Add m) { total += m.n; }           // tell
///       int on(Total) const { return total; }      // ask
///       int total = 0;
///     };
///     auto counter = passel::spawn<Counter>().unwrap();
///     counter.tell(Add{2}).unwrap();
///     int n = counter.ask(Total{}).get().unwrap(); // 2
///
/// A handler may return nothing, a value, a Result, or a Future (the asker waits for it, the actor
/// does not). Messages of one sender arrive in the order they were sent. An idle actor handles a
/// message on the sender's thread, a busy one is served by whoever runs it: **a handler must not
/// block**, and a sender must not hold a lock that a handler takes.
///
/// An exception that leaves a handler ends the actor (`failed`); an asker also gets it, as
/// Errc::task_failed with a RemoteError. A supervised actor is made anew instead, its handles stay
/// valid and waiting messages are kept. Messages that an ended actor did not handle are dropped;
/// their askers get Errc::closed.
///
/// Copyable and counted: when the last handle is dropped, the actor ends after what was sent
/// before. Handles are for this process; any number of threads may use copies of one, and the const
/// members of the same one.
template <class A>
class Actor {
 public:
  /// Empty: every message is refused with Errc::closed.
  Actor() = default;

  /// Sends without waiting for the handler. Error closed when the actor has ended: then `message`
  /// is as it was.
  template <class M>
  Result<void> tell(M&& message) const {
    using Message = std::decay_t<M>;
    static_assert(detail::Handles<A, Message>, "the actor has no on() for this message");
    if (!cell_) return detail::actor_gone_error(nullptr);
    auto* const op = new detail::TellOp<A, Message>{std::forward<M>(message)};
    if (cell_->post(op)) [[likely]]
      return {};
    give_back<M>(message, op->message);
    delete op;
    return detail::actor_gone_error(cell_.get());
  }

  /// Sends, and returns the Future of the answer. Never waits. Errors in the future: closed when
  /// the actor has ended or ends before the message's turn, task_failed when the handler throws,
  /// whatever error the handler returns. A future cancelled before the message's turn keeps the
  /// handler from running.
  template <class M, class B = A>
  [[nodiscard]] auto ask(M&& message) const -> Future<detail::Answer<B, M>> {
    using Message = std::decay_t<M>;
    static_assert(detail::Handles<A, Message>, "the actor has no on() for this message");
    using R = detail::Answer<A, M>;
    if (!cell_) return Future<R>::of(detail::actor_gone_error(nullptr));
    auto* const op = new detail::AskOp<A, Message>{std::forward<M>(message)};
    Future<R> future = op->promise.future();
    if (cell_->post(op)) [[likely]]
      return future;
    give_back<M>(message, op->message);
    op->promise.set(detail::actor_gone_error(cell_.get()));
    delete op;
    return future;
  }

  /// Sends and waits for the answer: ask(message).get() without a Future, the fastest way. Errors
  /// as ask; deadlock when called from a handler of the same actor.
  template <class M, class B = A>
  auto call(M&& message) const -> Result<detail::Answer<B, M>> {
    using Message = std::decay_t<M>;
    static_assert(detail::Handles<A, Message>, "the actor has no on() for this message");
    if (!cell_) return detail::actor_gone_error(nullptr);
    if (cell_->runs_here()) return detail::self_call_error(*cell_);
    if constexpr (detail::is_future<detail::HandlerResult<A, M>>) {
      return ask(std::forward<M>(message)).get();
    } else if constexpr (std::is_lvalue_reference_v<M>) {
      Message copy{message};
      return call(std::move(copy));
    } else {
      detail::CallOp<A, Message> op{message};
      if (!cell_->post(&op)) return detail::actor_gone_error(cell_.get());
      if (op.slot.wait() != detail::ReplySlot::done) return detail::actor_gone_error(cell_.get());
      return *std::move(op.answer);
    }
  }

  /// Asks it to end when what was sent before has been handled. Does not wait. Idempotent.
  void stop() const {
    if (cell_) cell_->stop();
  }
  /// Ends it before its next message; what waits is dropped, askers get Errc::closed. A running
  /// handler is not interrupted.
  void kill() const {
    if (cell_) cell_->kill();
  }
  /// stop() and wait at most that long. Error timeout with the actor's name; it still ends later.
  template <class Rep, class Period>
  Result<void> stop_for(std::chrono::duration<Rep, Period> wait) const {
    stop();
    return join_for(wait).map([](const ExitReason&) {});
  }
  /// Waits until the actor has ended, and says why. Never call it from a handler.
  ExitReason join() const { return join(detail::Deadline::never()).unwrap_or({}); }
  template <class Rep, class Period>
  Result<ExitReason> join_for(std::chrono::duration<Rep, Period> wait) const {
    return join(detail::Deadline::after(wait));
  }

  /// Calls `f(const ExitReason&)` once when the actor has ended, on the thread that ended it; at
  /// once when it has. `f` must not throw and not block. A supervised actor that is restarted has
  /// not ended.
  template <class F>
  void monitor(F f) const {
    if (cell_) cell_->monitor(std::move(f));
  }

  [[nodiscard]] bool is_alive() const noexcept { return cell_ && !cell_->has_ended(); }
  [[nodiscard]] const std::string& name() const noexcept {
    static const auto* const none = new std::string;
    return cell_ ? cell_->name() : *none;
  }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(cell_); }
  friend bool operator==(const Actor&, const Actor&) = default;

  /// The actor whose handler the calling thread is in, when it is an `A`; else an empty handle.
  [[nodiscard]] static Actor current() {
    detail::Cell* const cell = detail::Cell::current();
    if (cell == nullptr || !cell->holds<detail::ActorBody<A>>() || !cell->try_add_handle())
      return {};
    return Actor{detail::CellRef{cell}};
  }

 private:
  friend class Supervisor;
  template <class B, class... Args>
  friend Result<Actor<B>> spawn_actor(ActorOptions options, Args&&... args);
  explicit Actor(detail::CellRef cell) noexcept : cell_{std::move(cell)} {}

  Result<ExitReason> join(detail::Deadline deadline) const {
    if (!cell_) return ExitReason{};
    if (cell_->wait_ended(deadline)) return cell_->exit_reason();
    return Error{Errc::timeout, "actor '" + cell_->name() + "' did not end in time"};
  }

  template <class M, class Message>
  static void give_back([[maybe_unused]] std::remove_reference_t<M>& argument,
                        [[maybe_unused]] Message& message) {
    if constexpr (!std::is_lvalue_reference_v<M> && !std::is_const_v<std::remove_reference_t<M>>) {
      std::destroy_at(&argument);
      std::construct_at(&argument, std::move(message));
    }
  }

  detail::CellRef cell_;
};

/// See spawn.
template <class A, class... Args>
[[nodiscard]] Result<Actor<A>> spawn_actor(ActorOptions options, Args&&... args) {
  auto body = std::make_unique<detail::ActorBody<A>>();
  try {
    body->object.emplace(std::forward<Args>(args)...);
  } catch (...) {
    return detail::current_exception_error();
  }
  auto cell = detail::make_cell(std::move(body), {.name = std::move(options.name)});
  if (!cell) return cell.error();
  return Actor<A>{*std::move(cell)};
}

/// Makes an `A` from the arguments on this thread, and the actor around it. Errors: task_failed
/// when the constructor throws, invalid_state while the runtime is being shut down.
///
///     auto fetcher = passel::spawn<Fetcher>(client).unwrap();
///     auto named = passel::spawn<Fetcher>(passel::ActorOptions{.name = "fetcher"},
///     client).unwrap();
template <class A, class... Args>
[[nodiscard]] Result<Actor<A>> spawn(Args&&... args) {
  return spawn_actor<A>(ActorOptions{}, std::forward<Args>(args)...);
}
template <class A, class... Args>
[[nodiscard]] Result<Actor<A>> spawn(ActorOptions options, Args&&... args) {
  return spawn_actor<A>(std::move(options), std::forward<Args>(args)...);
}

}  // namespace passel::inline v0
