// Layer actors: one thing that a select can wait for.
#pragma once

#include <passel/detail/channel_core.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/detail/wait_list.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

namespace passel::inline v0::detail {

/// A send or a receive of a select. The select owns the waiter; the case knows its channel.
class PASSEL_API SelectCase {
 public:
  SelectCase() = default;
  SelectCase(SelectCase&&) noexcept = default;
  SelectCase& operator=(SelectCase&&) = delete;
  virtual ~SelectCase();

  /// One attempt that never waits.
  virtual ChannelStatus attempt() = 0;
  /// Stands in line; true when an attempt could succeed now.
  virtual bool watch(Waiter& waiter) = 0;
  virtual void unwatch(Waiter& waiter) = 0;
  /// The waiter was settled for this case: true when that was the whole operation.
  [[nodiscard]] virtual bool completed() const noexcept = 0;
  /// Whether the closed end is an event for this case, or makes it one that never comes.
  [[nodiscard]] virtual bool wants_closed() const noexcept = 0;
  /// Calls the handler with what the operation gave; `closed` when the end was found closed.
  virtual void run(bool closed) = 0;
};

/// What a select came to.
struct SelectOutcome {
  enum class Kind { chosen, timed_out, all_closed } kind;
  std::size_t index = 0;
  bool closed = false;
};

/// Waits until one of the cases has happened, which is then done, and done alone. Among several
/// that are ready the choice is random, so that none starves.
[[nodiscard]] PASSEL_API SelectOutcome run_select(std::span<SelectCase* const> cases,
                                                  Deadline deadline);

[[nodiscard]] PASSEL_API Error select_all_closed();
[[nodiscard]] PASSEL_API Error select_timeout();
[[nodiscard]] PASSEL_API Error select_none_ready();

template <class T, class F>
class RecvCase final : public SelectCase {
  static constexpr bool takes_result = std::invocable<F&, Result<T>>;
  static_assert(takes_result || std::invocable<F&, T>,
                "the handler of on_recv takes a T, or a Result<T> to be told of closing as well");

 public:
  RecvCase(ChannelCore<T>* core, F handler) : core_{core}, handler_{std::move(handler)} {}

  ChannelStatus attempt() override {
    return core_ == nullptr ? ChannelStatus::closed : core_->recv(item_, Deadline::now_or_never());
  }
  bool watch(Waiter& waiter) override {
    waiter.slot = &item_;
    return core_->watch_recv(waiter);
  }
  void unwatch(Waiter& waiter) override { core_->unwatch_recv(waiter); }
  [[nodiscard]] bool completed() const noexcept override { return core_->hands_over(); }
  [[nodiscard]] bool wants_closed() const noexcept override { return takes_result; }
  void run(bool closed) override {
    if constexpr (takes_result) {
      if (closed) {
        handler_(Result<T>{channel_closed()});
        return;
      }
    }
    std::optional<T> item = std::move(item_);
    item_.reset();
    if constexpr (takes_result) {
      handler_(Result<T>{*std::move(item)});
    } else {
      handler_(*std::move(item));
    }
  }

 private:
  ChannelCore<T>* core_;
  std::optional<T> item_;
  F handler_;
};

template <class T, class F>
class SendCase final : public SelectCase {
  static constexpr bool takes_result = std::invocable<F&, Result<void>>;
  static_assert(
      takes_result || std::invocable<F&>,
      "the handler of on_send takes nothing, or a Result<void> to be told of closing too");

 public:
  SendCase(ChannelCore<T>* core, T& item, F handler)
      : core_{core}, item_{&item}, handler_{std::move(handler)} {}

  ChannelStatus attempt() override {
    return core_ == nullptr ? ChannelStatus::closed : core_->send(*item_, Deadline::now_or_never());
  }
  bool watch(Waiter& waiter) override {
    waiter.slot = item_;
    return core_->watch_send(waiter);
  }
  void unwatch(Waiter& waiter) override { core_->unwatch_send(waiter); }
  [[nodiscard]] bool completed() const noexcept override { return core_->hands_over(); }
  [[nodiscard]] bool wants_closed() const noexcept override { return takes_result; }
  void run(bool closed) override {
    if constexpr (takes_result) {
      handler_(closed ? Result<void>{channel_closed()} : Result<void>{});
    } else {
      handler_();
    }
  }

 private:
  ChannelCore<T>* core_;
  T* item_;
  F handler_;
};

}  // namespace passel::inline v0::detail
