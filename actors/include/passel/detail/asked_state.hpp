// Layer actors: futures that hosted objects answer.
#pragma once

#include <passel/detail/proxy_core.hpp>
#include <passel/future.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace passel::inline v0::detail {

/// What a future shares with the call that it is the answer of. Who waits for it reads the
/// connection himself, as a call that waits does; cancelling or dropping it gives the call up.
template <class R>
class AskedState : public FutureState<R> {
 public:
  explicit AskedState(std::shared_ptr<ProxyCore> core) noexcept : core_{std::move(core)} {}

  /// Once.
  [[nodiscard]] Future<R> ask(std::string_view method, Encoded args, Deadline deadline) {
    Future<R> future = FutureAccess::adopt<R>(this);
    method_ = method;
    this->add_ref();
    pending_ =
        core_->call_async(method, std::move(args), deadline, [this](Result<SessionReply> reply) {
          receive(std::move(reply));
          this->release();
        });
    return future;
  }

 protected:
  ~AskedState() override = default;

  /// Settles it, unless that is done already. On whichever thread reads the answer.
  virtual void receive(Result<SessionReply>&& reply) = 0;
  /// What came back. What a user's codec throws is the error.
  template <class V, class Reply>
  [[nodiscard]] static Result<V> read(Reply&& reply) {
    try {
      return decode_reply<V>(std::forward<Reply>(reply));
    } catch (...) {
      return current_exception_error();
    }
  }
  /// After begin_set.
  void settle(Result<R>&& result) {
    this->emplace(std::move(result));
    this->finish_set();
  }
  [[nodiscard]] const std::shared_ptr<ProxyCore>& core() const noexcept { return core_; }

 private:
  void fetch(Deadline deadline) noexcept override { pending_.fetch(deadline); }
  void given_up() noexcept override { pending_.cancel(); }
  [[nodiscard]] std::string work() const override {
    return "'" + method_ + "' of " + core_->name();
  }

  const std::shared_ptr<ProxyCore> core_;
  std::string method_;
  ProxyCore::Pending pending_;
};

/// Of a call whose answer is the value.
template <class R>
class ReplyState final : public AskedState<R> {
 public:
  using AskedState<R>::AskedState;

 private:
  ~ReplyState() override = default;
  void receive(Result<SessionReply>&& reply) override {
    auto result = this->template read<R>(std::move(reply));
    if (this->begin_set()) this->settle(std::move(result));
  }
};

/// Calls; the future is answered by whoever reads the answer. Cancelling or dropping it gives the
/// call up.
template <class R>
Future<R> call_object_async(const std::shared_ptr<ProxyCore>& core, std::string_view method,
                            Result<Encoded> args, Deadline deadline = Deadline::never()) {
  if (!core) return Future<R>::of(no_proxy_error());
  if (!args) return Future<R>::of(args.error());
  return (new ReplyState<R>{core})->ask(method, *std::move(args), deadline);
}

}  // namespace passel::inline v0::detail
