// Layer sync: locks, semaphores, events, conditions and barriers that live in a manager's server.
#pragma once

#include <passel/detail/hosted_line.hpp>
#include <passel/detail/hosted_methods.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// What a grant of a hosted lock answers: the number of the call, the fencing token, and whether
/// the holder before died with it.
using HostedGrant = std::tuple<std::uint64_t, std::uint64_t, bool>;

/// Somebody has it.
struct HostedHolder {
  HostedCaller caller;
  std::uint64_t call = 0;
  std::uint64_t token = 0;
  bool kept = false;  ///< the session has said so, or cannot give it up
};

struct HostedPermitsOptions {
  std::string kind = "Lock";
  std::int64_t value = 1;
  bool bounded = true;  ///< no more are given back than were taken
};

/// Lock, Semaphore and BoundedSemaphore: permits that anybody may give back. Those of a session
/// that ends go back as abandoned.
class HostedPermits final : public HostedBuiltin<HostedPermits> {
 public:
  explicit HostedPermits(HostedPermitsOptions options) : options_{std::move(options)} {}

  void acquire(HostedCall&& call);
  void release(HostedCall&& call);
  /// Gives back this grant and no other.
  [[nodiscard]] Result<void> give_back(std::uint64_t token);
  [[nodiscard]] std::int64_t value() const { return free(); }
  [[nodiscard]] bool locked() const { return free() == 0; }

  static std::span<const HostedMethod<HostedPermits>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override;
  void kept(std::uint64_t session, std::uint64_t call) override;
  void discarded(std::uint64_t session, std::uint64_t call) override;
  void session_ended(std::uint64_t session) override;

 private:
  enum class Receipt : bool { none, expected };

  [[nodiscard]] std::int64_t free() const {
    return options_.value - static_cast<std::int64_t>(held_.size());
  }
  void grant(HostedCall& call, Receipt receipt);
  void serve_waiting();
  [[nodiscard]] Result<void> release_some(const HostedCaller& caller, std::int64_t n);

  HostedPermitsOptions options_;
  std::vector<HostedHolder> held_;  // oldest first
  HostedLine<Receipt> line_;
  std::uint64_t last_token_ = 0;
  bool abandoned_ = false;
};

/// A lock that one thread of one session holds, any number of times.
class HostedRLock final : public HostedBuiltin<HostedRLock> {
 public:
  void acquire(HostedCall&& call);
  void release(HostedCall&& call) { call.reply.value(release_by(call.caller)); }
  [[nodiscard]] bool locked() const { return owner_.has_value(); }

  /// For conditions: the lock as its owner holds it.
  struct State {
    std::uint64_t count = 0;
  };
  [[nodiscard]] bool owned_by(const HostedCaller& caller) const {
    return owner_ && *owner_ == caller;
  }
  [[nodiscard]] Result<void> release_by(const HostedCaller& caller);
  [[nodiscard]] State state() const { return {count_}; }
  /// Lets go of it altogether.
  void let_go();
  /// Answers with `answer` when the caller has it again, however long that takes.
  void take_again(HostedCall&& call, State state, bool answer);

  static std::span<const HostedMethod<HostedRLock>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override;
  void kept(std::uint64_t session, std::uint64_t call) override;
  void discarded(std::uint64_t session, std::uint64_t call) override;
  void session_ended(std::uint64_t session) override;

 private:
  struct Wish {
    bool receipt = false;
    State state{1};
    std::optional<bool> answer{};  ///< of a condition; else a grant
  };
  void serve_waiting();
  void grant(HostedCall& call, const Wish& wish);

  std::optional<HostedCaller> owner_;
  std::uint64_t count_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> unsure_;  // session, call: not kept yet
  HostedLine<Wish> line_;
  std::uint64_t last_token_ = 0;
  bool abandoned_ = false;
};

/// Python's Event.
class HostedEvent final : public HostedBuiltin<HostedEvent> {
 public:
  void set();
  void clear() { set_ = false; }
  [[nodiscard]] bool is_set() const { return set_; }
  void wait(HostedCall&& call);

  static std::span<const HostedMethod<HostedEvent>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override {
    line_.remove(session, call);
  }

 private:
  bool set_ = false;
  HostedLine<std::monostate> line_;
};

/// Python's Condition, over an RLock of its own.
class HostedCondition final : public HostedBuiltin<HostedCondition> {
 public:
  HostedCondition();
  void acquire(HostedCall&& call) { lock_.acquire(std::move(call)); }
  void release(HostedCall&& call) { lock_.release(std::move(call)); }
  void wait(HostedCall&& call);
  void notify(HostedCall&& call);
  [[nodiscard]] bool locked() const { return lock_.locked(); }
  [[nodiscard]] std::uint64_t waiting() const { return line_.size(); }

  static std::span<const HostedMethod<HostedCondition>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override;
  void kept(std::uint64_t session, std::uint64_t call) override { lock_.kept(session, call); }
  void discarded(std::uint64_t session, std::uint64_t call) override {
    lock_.discarded(session, call);
  }
  void session_ended(std::uint64_t session) override { lock_.session_ended(session); }

 private:
  HostedRLock lock_;
  HostedLine<HostedRLock::State> line_;
};

/// Python's Barrier without an action.
class HostedBarrier final : public HostedBuiltin<HostedBarrier> {
 public:
  explicit HostedBarrier(std::uint64_t parties);
  void wait(HostedCall&& call);
  void abort() { break_it("it was aborted"); }
  void reset();
  [[nodiscard]] std::uint64_t parties() const { return parties_; }
  [[nodiscard]] std::uint64_t n_waiting() const { return line_.size(); }
  [[nodiscard]] bool broken() const { return why_.has_value(); }

  static std::span<const HostedMethod<HostedBarrier>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override;

 private:
  void break_it(std::string why);
  void end_all(const std::string& why);

  std::uint64_t parties_;
  HostedLine<std::monostate> line_;
  std::optional<std::string> why_;  // it is broken
};

Result<std::shared_ptr<HostedObject>> make_hosted_lock(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_semaphore(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_bounded_semaphore(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_rlock(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_event(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_condition(const HostedCall& call);
Result<std::shared_ptr<HostedObject>> make_hosted_barrier(const HostedCall& call);

}  // namespace passel::inline v0::detail
