// Layer sync: locks, semaphores, events, conditions and barriers that live in a manager's server.
#pragma once

#include <passel/detail/hosted_action.hpp>
#include <passel/detail/hosted_line.hpp>
#include <passel/detail/hosted_methods.hpp>
#include <passel/wire_value.hpp>

#include <chrono>
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
  std::uint64_t token = 0;  ///< by which its guard knows it, also after a wait for a condition
  bool kept = false;        ///< the session has said so, or cannot give it up
};

/// What is put down by who waits for a condition, and taken up again.
struct HostedHold {
  std::uint64_t count = 1;  ///< how often an RLock was taken
  std::uint64_t token = 0;  ///< of the HostedHolder
};

/// What somebody in the line of a lock waits for.
struct HostedWish {
  bool receipt = false;  ///< the caller says when it has the answer
  HostedHold hold{};
  std::optional<bool> answer{};  ///< of a condition's wait; else it is a grant
};

/// What a condition needs of its lock.
class HostedMutex {
 public:
  HostedMutex() = default;
  HostedMutex(const HostedMutex&) = delete;
  HostedMutex& operator=(const HostedMutex&) = delete;
  virtual ~HostedMutex() = default;

  virtual void acquire(HostedCall&& call) = 0;
  [[nodiscard]] virtual Result<void> release_by(const HostedCaller& caller) = 0;
  [[nodiscard]] virtual bool locked() const = 0;
  /// The fencing token of the newest grant.
  [[nodiscard]] virtual std::uint64_t token() const = 0;
  /// What the caller has of it; nothing for a stranger.
  [[nodiscard]] virtual std::optional<HostedHold> hold_of(const HostedCaller& caller) const = 0;
  /// Lets go of it altogether.
  virtual void put_down(const HostedCaller& caller) = 0;
  /// Answers with `answer` when the caller has it again, however long that takes.
  virtual void take_again(HostedCall&& call, const HostedHold& hold, bool answer) = 0;
  /// Of permits: there is one of them.
  [[nodiscard]] virtual bool is_exclusive() const = 0;
  /// Takes the call out of the line; true when it was there.
  virtual bool forget(std::uint64_t session, std::uint64_t call) = 0;
};

/// What kinds of locks have in common: the line of those who want it, and fencing tokens.
class HostedLockLine : public HostedMutex {
 public:
  void acquire(HostedCall&& call) override;
  void take_again(HostedCall&& call, const HostedHold& hold, bool answer) override;
  [[nodiscard]] std::uint64_t token() const override { return last_token_; }
  bool forget(std::uint64_t session, std::uint64_t call) override {
    return line_.remove(session, call);
  }
  /// How many wait for it.
  [[nodiscard]] std::uint64_t waiting() const { return line_.size(); }

 protected:
  /// There is one for whoever is next.
  [[nodiscard]] virtual bool is_free() const = 0;
  /// Who has it may take it again.
  [[nodiscard]] virtual bool is_reentered_by(const HostedCaller&) const { return false; }
  /// Gives it to the caller, and answers.
  virtual void grant(HostedCall& call, const HostedWish& wish) = 0;
  void serve_waiting();
  void answer_grant(HostedCall& call, const HostedWish& wish);

  std::uint64_t last_token_ = 0;
  bool abandoned_ = false;  // whoever had it last died with it

 private:
  HostedLine<HostedWish> line_;
};

struct HostedPermitsOptions {
  std::string kind = "Lock";
  std::int64_t value = 1;
  bool bounded = true;  ///< no more are given back than were taken
  bool owned = true;    ///< what a session has goes back when it ends; else only what it never saw
};

/// Lock, Semaphore and BoundedSemaphore: permits that anybody may give back. Those that a session
/// owns go back as abandoned when it ends; what is only counted is gone once it has arrived.
class HostedPermits final : public HostedBuiltin<HostedPermits>, public HostedLockLine {
 public:
  explicit HostedPermits(HostedPermitsOptions options) : options_{std::move(options)} {}

  void release(HostedCall&& call);
  /// Gives back this grant and no other.
  [[nodiscard]] Result<void> give_back(std::uint64_t token);
  [[nodiscard]] std::int64_t value() const { return free(); }
  [[nodiscard]] bool locked() const override { return free() == 0; }
  [[nodiscard]] Result<void> release_by(const HostedCaller& caller) override;
  [[nodiscard]] std::optional<HostedHold> hold_of(const HostedCaller& caller) const override;
  void put_down(const HostedCaller& caller) override;
  [[nodiscard]] bool is_exclusive() const override { return options_.kind == "Lock"; }

  static std::span<const HostedMethod<HostedPermits>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override { forget(session, call); }
  void kept(std::uint64_t session, std::uint64_t call) override;
  void discarded(std::uint64_t session, std::uint64_t call) override;
  void session_ended(std::uint64_t session) override;

 private:
  [[nodiscard]] std::int64_t free() const {
    return options_.value - gone_ - static_cast<std::int64_t>(held_.size());
  }
  [[nodiscard]] bool is_free() const override { return free() > 0; }
  void grant(HostedCall& call, const HostedWish& wish) override;
  void has_arrived(std::vector<HostedHolder>::iterator holder);
  [[nodiscard]] Result<void> release_some(const HostedCaller& caller, std::int64_t n);

  HostedPermitsOptions options_;
  std::int64_t gone_ = 0;           // counted only: taken, and not given back
  std::vector<HostedHolder> held_;  // oldest first
};

/// A lock that one thread of one session holds, any number of times.
class HostedRLock final : public HostedBuiltin<HostedRLock>, public HostedLockLine {
 public:
  void release(HostedCall&& call) { call.reply.value(release_by(call.caller)); }
  void is_owned(HostedCall&& call) { call.reply.value(owned_by(call.caller)); }
  /// How often the caller has it.
  void recursion_count(HostedCall&& call) {
    call.reply.value(owned_by(call.caller) ? count_ : std::uint64_t{0});
  }
  [[nodiscard]] bool locked() const override { return owner_.has_value(); }
  [[nodiscard]] Result<void> release_by(const HostedCaller& caller) override;
  [[nodiscard]] std::optional<HostedHold> hold_of(const HostedCaller& caller) const override;
  void put_down(const HostedCaller&) override { let_go(); }
  [[nodiscard]] bool is_exclusive() const override { return true; }

  static std::span<const HostedMethod<HostedRLock>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override { forget(session, call); }
  void kept(std::uint64_t session, std::uint64_t call) override;
  void discarded(std::uint64_t session, std::uint64_t call) override;
  void session_ended(std::uint64_t session) override;

 private:
  [[nodiscard]] bool owned_by(const HostedCaller& caller) const {
    return owner_ && *owner_ == caller;
  }
  [[nodiscard]] bool is_free() const override { return !owner_; }
  [[nodiscard]] bool is_reentered_by(const HostedCaller& caller) const override {
    return owned_by(caller);
  }
  void grant(HostedCall& call, const HostedWish& wish) override;
  void let_go();

  std::optional<HostedCaller> owner_;
  std::uint64_t count_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> unsure_;  // session, call: not kept yet
};

/// Python's Event.
class HostedEvent final : public HostedBuiltin<HostedEvent> {
 public:
  void set();
  void clear() { set_ = false; }
  [[nodiscard]] bool is_set() const { return set_; }
  void wait(HostedCall&& call);
  [[nodiscard]] std::uint64_t waiting() const { return line_.size(); }

  static std::span<const HostedMethod<HostedEvent>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override {
    line_.remove(session, call);
  }

 private:
  bool set_ = false;
  HostedLine<std::monostate> line_;
};

/// Python's Condition, over an RLock of its own or a lock that is given.
class HostedCondition final : public HostedBuiltin<HostedCondition> {
 public:
  /// `name` holds a lock that others know, too; none: nobody else has it.
  HostedCondition(std::shared_ptr<HostedObject> lock, WireValue name);
  void acquire(HostedCall&& call) { mutex_->acquire(std::move(call)); }
  void release(HostedCall&& call);
  void wait(HostedCall&& call);
  void notify(HostedCall&& call);
  [[nodiscard]] bool locked() const { return mutex_->locked(); }
  [[nodiscard]] std::uint64_t token() const { return mutex_->token(); }
  [[nodiscard]] std::uint64_t waiting() const { return line_.size(); }

  static std::span<const HostedMethod<HostedCondition>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override;
  // Calls of the lock that were made of the condition, too.
  void kept(std::uint64_t session, std::uint64_t call) override { lock_->kept(session, call); }
  void discarded(std::uint64_t session, std::uint64_t call) override {
    lock_->discarded(session, call);
  }
  void session_ended(std::uint64_t session) override;

 private:
  struct Notified {
    HostedCaller caller;
    std::uint64_t call = 0;
  };
  void notify_next();
  void goes_on(const HostedCaller& caller);

  std::vector<Notified> notified_;  // who has not been heard of since
  std::shared_ptr<HostedObject> lock_;
  HostedMutex* mutex_;  // the same one
  WireValue name_;
  HostedLine<HostedHold> line_;
};

struct HostedBarrierOptions {
  std::uint64_t parties = 1;
  std::optional<std::chrono::nanoseconds> timeout{};  ///< of a wait that names none
  HostedAction action = nullptr;
};

/// Python's Barrier. Its action runs on a thread of the server, while the parties wait.
class HostedBarrier final : public HostedBuiltin<HostedBarrier>,
                            public std::enable_shared_from_this<HostedBarrier> {
 public:
  explicit HostedBarrier(HostedBarrierOptions options);
  void wait(HostedCall&& call);
  void abort() { break_it("somebody aborted it"); }
  void reset();
  [[nodiscard]] std::uint64_t parties() const { return options_.parties; }
  [[nodiscard]] std::uint64_t n_waiting() const { return line_.size() + there_.size(); }
  [[nodiscard]] bool broken() const { return why_.has_value(); }

  static std::span<const HostedMethod<HostedBarrier>> table();
  [[nodiscard]] std::string text() const override;
  void abandoned(std::uint64_t session, std::uint64_t call) override;

 private:
  void act();
  void acted(std::uint64_t round, const Result<void>& outcome);
  void release_all();
  void break_it(std::string why);
  void end_all(const std::string& why);

  HostedBarrierOptions options_;
  HostedLine<std::monostate> line_;   // parties of this round
  HostedLine<std::monostate> early_;  // those who come while the action runs
  std::vector<HostedCall> there_;     // all of them, in the order of their coming: the action runs
  bool acting_ = false;
  std::uint64_t round_ = 0;         // goes up when those who wait are sent away
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
