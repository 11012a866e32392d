// Layer transport: the rules of a session.
#include "session.hpp"

#include "overloaded.hpp"

#include <algorithm>
#include <iterator>
#include <string>

namespace passel::inline v0::detail {
namespace {

/// Of those that are not answered; more are on their way only when the peer is about to be lost.
constexpr std::size_t most_pings = 64;

std::string hex(const std::vector<std::byte>& bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : bytes) {
    out += digits[std::to_integer<unsigned>(byte) >> 4];
    out += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return out.empty() ? "none" : out;
}

/// What calls end with when the session does. That a side has said goodbye is no `closed` of
/// theirs: it may be an object's own answer, of a queue that was shut down.
Error end_of_calls(const Error& end) {
  return end == Errc::closed ? Error{Errc::peer_lost, end.what()} : end;
}

}  // namespace

std::string Session::peer_text() const {
  std::string out = peer_.role.empty() ? "peer" : peer_.role;
  if (!peer_.name.empty()) out += " '" + peer_.name + "'";
  if (peer_.pid != 0) out += " (pid " + std::to_string(peer_.pid) + ")";
  return out;
}

void Session::step(SessionEvent event, Time now, Actions& actions) {
  std::visit([&](auto& one) { on(std::move(one), now, actions); }, event);
}

std::optional<Session::Time> Session::next_wakeup() const {
  if (!can_send()) return std::nullopt;
  std::optional<Time> next;
  const auto consider = [&next](Time time) { next = next ? std::min(*next, time) : time; };
  if (!deadlines_.empty()) consider(deadlines_.begin()->first);
  if (const auto ping = next_ping()) consider(*ping);
  if (silence_.count() > 0) consider(heard_ + silence_);
  return next;
}

std::optional<Session::Time> Session::next_ping() const {
  if (heartbeat_.count() == 0) return std::nullopt;
  if (lease_time_.count() == 0) {
    // Of a peer whose long message is still coming in: its own pings wait behind that, and it shall
    // hear that we live.
    if (pinged_ && heard_ <= *pinged_) return std::nullopt;
    return std::max(received_, pinged_.value_or(Time::min())) + heartbeat_;
  }
  return std::max(confirmed_, pinged_.value_or(Time::min())) + heartbeat_;
}

bool Session::holds(std::uint64_t lease, Time now) const noexcept {
  if (state_ != State::open || lease != lease_) return false;
  if (lease_time_.count() == 0) return true;
  return confirmed_ != Time::min() && now < confirmed_ + lease_time_;
}

void Session::confirm(Time sent, Time now) {
  if (lease_time_.count() == 0) return;
  // Too late for what was held: the peer may have taken us for lost in between.
  if (confirmed_ != Time::min() && now >= confirmed_ + lease_time_) ++lease_;
  confirmed_ = std::max(confirmed_, sent);
}

void Session::ponged(std::uint64_t number, Time now) {
  const auto later = std::find_if(unanswered_pings_.begin(), unanswered_pings_.end(),
                                  [number](const auto& ping) { return ping.first > number; });
  if (later == unanswered_pings_.begin()) return;
  const Time sent = std::prev(later)->second;
  unanswered_pings_.erase(unanswered_pings_.begin(), later);
  confirm(sent, now);
}

void Session::on(session_event::Started&&, Time now, Actions& actions) {
  if (state_ != State::fresh) return;
  state_ = State::hello;
  heard_ = received_ = now;
  heartbeat_ = options_.heartbeat;
  silence_ = options_.silence;
  actions.emplace_back(session_action::Send{options_.hello, {}});
}

void Session::on(session_event::Heard&&, Time now, Actions&) {
  if (can_send()) heard_ = now;
}

void Session::on(session_event::Slept&&, Time, Actions&) { ++lease_; }

void Session::on(session_event::Received&& received, Time now, Actions& actions) {
  if (!can_send()) return;
  heard_ = received_ = now;
  if (lease_time_.count() == 0) pinged_.reset();
  const bool first = state_ == State::hello;
  SharedDescriptors& descriptors = received.descriptors;
  if (first && !std::holds_alternative<Hello>(received.message) &&
      !std::holds_alternative<GoodbyeMessage>(received.message)) {
    return refuse({Errc::malformed, "the peer's first message is no hello"}, actions);
  }
  std::visit(
      Overloaded{
          [&](Hello& hello) {
            if (!first)
              return refuse({Errc::malformed, peer_text() + " says hello twice"}, actions);
            greeted(std::move(hello), now, actions);
          },
          [&](CallMessage& call) { called(std::move(call), std::move(descriptors), now, actions); },
          [&](ResultMessage& answer) {
            answered(std::move(answer), std::move(descriptors), now, actions);
          },
          [&](CancelMessage& cancel) {
            if (const auto found = served_.find(cancel.id); found != served_.end()) {
              actions.emplace_back(session_action::Abandon{cancel.id, found->second.target});
            } else if (cancel.id <= last_served_) {
              // Our result is on its way already, and nobody will take it.
              actions.emplace_back(session_action::Unwanted{cancel.id, cancel.target});
            }
          },
          [&](ReleaseMessage& release) {
            if (lent_.erase({release.target, release.token}) != 0) {
              actions.emplace_back(session_action::Returned{release, false});
            }
          },
          [&](GrantMessage& grant) { granted(grant, actions); },
          [&](NotifyMessage& notify) {
            actions.emplace_back(
                session_action::Notified{std::move(notify), std::move(descriptors)});
          },
          [&](CreditMessage& credit) { actions.emplace_back(session_action::Credited{credit}); },
          [&](PingMessage& ping) {
            actions.emplace_back(session_action::Send{PongMessage{ping.number}, {}});
          },
          [&](PongMessage& pong) { ponged(pong.number, now); },
          [&](GoodbyeMessage& goodbye) {
            close({Errc::closed, peer_text() + " said goodbye: " + goodbye.reason}, actions);
          }},
      received.message);
}

void Session::greeted(Hello&& hello, Time now, Actions& actions) {
  peer_ = std::move(hello);
  if (peer_.protocol != options_.hello.protocol) {
    return refuse({Errc::version_mismatch,
                   peer_text() + " speaks protocol " + std::to_string(peer_.protocol) +
                       ", this side speaks protocol " + std::to_string(options_.hello.protocol)},
                  actions);
  }
  if (options_.same_build && peer_.build != options_.hello.build) {
    return refuse({Errc::version_mismatch, peer_text() + " is of build " + hex(peer_.build) +
                                               ", this side of build " + hex(options_.hello.build)},
                  actions);
  }
  state_ = State::open;
  if (options_.leased && peer_.silence.count() > 0) {
    // Shorter than the peer's patience by more than two clocks can differ.
    // Whoever is taken for lost does not go on waiting.
    silence_ = silence_.count() == 0 ? peer_.silence : std::min(silence_, peer_.silence);
    lease_time_ = peer_.silence - peer_.silence / 8;
    const auto often = peer_.silence / 3;
    heartbeat_ = heartbeat_.count() == 0 ? often : std::min(heartbeat_, often);
    pinged_ = now;
  }
  actions.emplace_back(session_action::Opened{peer_});
}

void Session::called(CallMessage&& call, SharedDescriptors&& descriptors, Time now,
                     Actions& actions) {
  if (call.id <= last_served_) {
    return refuse({Errc::malformed, peer_text() + " uses call id " + std::to_string(call.id) +
                                        " after " + std::to_string(last_served_)},
                  actions);
  }
  last_served_ = call.id;
  if (std::holds_alternative<TaskId>(call.method) && !options_.accept_tasks) {
    Error error{Errc::refused,
                "tasks are named by offset within one family of processes only; call by name"};
    actions.emplace_back(session_action::Send{ResultMessage{call.id, std::move(error)}, {}});
    return;
  }
  if (served_.size() >= options_.max_open_calls) {
    Error error{Errc::full, "calls in work: " + std::to_string(served_.size()) + ", limit " +
                                std::to_string(options_.max_open_calls)};
    actions.emplace_back(session_action::Send{ResultMessage{call.id, std::move(error)}, {}});
    return;
  }
  const auto* const method = std::get_if<std::string>(&call.method);
  const std::size_t bytes = call.args.size() + (method != nullptr ? method->size() : 0);
  if (options_.max_open_bytes != 0 && bytes > options_.max_open_bytes - open_bytes_) {
    Error error{Errc::full, "bytes of calls in work: " + std::to_string(open_bytes_) + " and " +
                                std::to_string(bytes) + " more, limit " +
                                std::to_string(options_.max_open_bytes)};
    actions.emplace_back(session_action::Send{ResultMessage{call.id, std::move(error)}, {}});
    return;
  }
  open_bytes_ += bytes;
  served_.emplace(call.id, InWork{call.target, bytes});
  std::optional<Time> deadline;
  // A peer may send any number; one beyond the clock is none.
  if (call.left &&
      *call.left < std::chrono::duration_cast<std::chrono::microseconds>(Time::max() - now)) {
    deadline = now + *call.left;
  }
  actions.emplace_back(session_action::Serve{std::move(call), std::move(descriptors), deadline});
}

void Session::answered(ResultMessage&& answer, SharedDescriptors&& descriptors, Time now,
                       Actions& actions) {
  if (answer.id == 0 || answer.id > last_call_) {
    return refuse({Errc::malformed, peer_text() + " answers call " + std::to_string(answer.id) +
                                        ", the last one made was " + std::to_string(last_call_)},
                  actions);
  }
  // Not there any more: it was cancelled or its time was up, and its Answer has been given.
  const auto asked = asked_.find(answer.id);
  if (asked == asked_.end()) return;
  confirm(asked->second.sent, now);
  forget_call(answer.id);
  actions.emplace_back(
      session_action::Answer{answer.id, std::move(answer.result), std::move(descriptors)});
}

void Session::granted(const GrantMessage& grant, Actions& actions) {
  if (held_.size() >= options_.max_open_calls) {
    return refuse(
        {Errc::malformed, peer_text() + " grants more than " +
                              std::to_string(options_.max_open_calls) + " things at once"},
        actions);
  }
  if (!held_.insert({grant.target, grant.token}).second) {
    return refuse({Errc::malformed, peer_text() + " grants " + std::to_string(grant.target) +
                                        " with token " + std::to_string(grant.token) + " twice"},
                  actions);
  }
  actions.emplace_back(session_action::Granted{grant});
}

void Session::on(session_event::Call&& call, Time now, Actions& actions) {
  const auto fail = [&](Error error) {
    actions.emplace_back(session_action::Answer{call.id, std::move(error), {}});
  };
  if (state_ == State::fresh) return fail({Errc::invalid_state, "the session has not started"});
  if (state_ == State::closed) return fail(end_of_calls(*closed_));
  if (asked_.size() >= options_.max_open_calls) {
    return fail({Errc::full, "open calls: " + std::to_string(asked_.size()) + ", limit " +
                                 std::to_string(options_.max_open_calls)});
  }
  std::optional<std::chrono::microseconds> left;
  if (call.deadline) {
    if (*call.deadline <= now)
      return fail({Errc::timeout, "the call's time was up before it was sent"});
    left = std::chrono::ceil<std::chrono::microseconds>(*call.deadline - now);
    if (options_.deadlines == CallDeadlines::kept) deadlines_.insert({*call.deadline, call.id});
  }
  asked_.emplace(call.id, Asked{call.target, call.deadline, now});
  actions.emplace_back(session_action::Send{
      CallMessage{call.id, call.target, std::move(call.method), call.args, left, call.trace},
      std::move(call.descriptors)});
}

void Session::on(session_event::Reply&& reply, Time, Actions& actions) {
  const auto served = served_.find(reply.id);
  if (!can_send() || served == served_.end()) return;
  const InWork call = served->second;
  open_bytes_ -= call.bytes;
  served_.erase(served);
  actions.emplace_back(session_action::Send{ResultMessage{reply.id, std::move(reply.result)},
                                            std::move(reply.descriptors), call.target});
}

void Session::on(session_event::Unsent&& unsent, Time, Actions& actions) {
  if (!asked_.contains(unsent.id)) return;
  forget_call(unsent.id);
  actions.emplace_back(session_action::Answer{unsent.id, std::move(unsent.error), {}});
}

void Session::on(session_event::Cancel&& cancel, Time, Actions& actions) {
  const auto asked = asked_.find(cancel.id);
  if (asked == asked_.end()) return;
  actions.emplace_back(session_action::Send{CancelMessage{cancel.id, asked->second.target}, {}});
  forget_call(cancel.id);
  actions.emplace_back(
      session_action::Answer{cancel.id, Error{Errc::cancelled, "the call was cancelled"}, {}});
}

void Session::on(session_event::Grant&& grant, Time, Actions& actions) {
  const ReleaseMessage back{grant.grant.target, grant.grant.token};
  if (!can_send()) {
    // Nobody is there to hold it.
    actions.emplace_back(session_action::Returned{back, true});
    return;
  }
  lent_.insert({back.target, back.token});
  actions.emplace_back(session_action::Send{grant.grant, {}});
}

void Session::on(session_event::Release&& release, Time, Actions& actions) {
  if (!can_send() || held_.erase({release.release.target, release.release.token}) == 0) return;
  actions.emplace_back(session_action::Send{release.release, {}});
}

void Session::on(session_event::Notify&& notify, Time, Actions& actions) {
  if (can_send())
    actions.emplace_back(
        session_action::Send{std::move(notify.notify), std::move(notify.descriptors)});
}

void Session::on(session_event::Credit&& credit, Time, Actions& actions) {
  if (can_send()) actions.emplace_back(session_action::Send{credit.credit, {}});
}

void Session::on(session_event::Tick&&, Time now, Actions& actions) {
  if (!can_send()) return;
  if (silence_.count() > 0 && now >= heard_ + silence_) {
    // No goodbye: whoever still hears it shall know that it was lost, and did not leave.
    return close({Errc::peer_lost, peer_text() + " has said nothing for " +
                                       std::to_string(silence_.count()) + " ms"},
                 actions);
  }
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const std::uint64_t id = deadlines_.begin()->second;
    actions.emplace_back(session_action::Send{CancelMessage{id, asked_.at(id).target}, {}});
    forget_call(id);
    actions.emplace_back(
        session_action::Answer{id, Error{Errc::timeout, "the call was not answered in time"}, {}});
  }
  if (const auto due = next_ping(); due && now >= *due) {
    pinged_ = now;
    if (lease_time_.count() > 0) {
      unanswered_pings_.emplace_back(pings_ + 1, now);
      if (unanswered_pings_.size() > most_pings) unanswered_pings_.erase(unanswered_pings_.begin());
    }
    actions.emplace_back(session_action::Send{PingMessage{++pings_}, {}});
  }
}

void Session::on(session_event::Leave&& leave, Time, Actions& actions) {
  if (state_ == State::closed) return;
  if (can_send()) actions.emplace_back(session_action::Send{GoodbyeMessage{leave.reason}, {}});
  close({Errc::closed, "this side ended the session: " + leave.reason}, actions);
}

void Session::on(session_event::Lost&& lost, Time, Actions& actions) {
  if (state_ == State::closed) return;
  Error error = std::move(lost.error);
  // An end without a goodbye is no orderly end.
  if (error == Errc::closed) error = {Errc::peer_lost, peer_text() + " is gone: " + error.what()};
  close(error, actions);
}

void Session::forget_call(std::uint64_t id) {
  const auto found = asked_.find(id);
  if (found == asked_.end()) return;
  if (found->second.deadline) deadlines_.erase({*found->second.deadline, id});
  asked_.erase(found);
}

void Session::refuse(Error error, Actions& actions) {
  actions.emplace_back(session_action::Send{GoodbyeMessage{error.what()}, {}});
  close(error, actions);
}

void Session::close(const Error& error, Actions& actions) {
  state_ = State::closed;
  closed_ = error;
  for (const auto& [id, asked] : asked_)
    actions.emplace_back(session_action::Answer{id, end_of_calls(error), {}});
  for (const auto& [id, call] : served_)
    actions.emplace_back(session_action::Abandon{id, call.target});
  for (const auto& [target, token] : lent_) {
    actions.emplace_back(session_action::Returned{{target, token}, true});
  }
  for (const auto& [target, token] : held_)
    actions.emplace_back(session_action::GrantLost{{target, token}});
  asked_.clear();
  deadlines_.clear();
  served_.clear();
  lent_.clear();
  held_.clear();
  actions.emplace_back(session_action::Closed{error});
}

}  // namespace passel::inline v0::detail
