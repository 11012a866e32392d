// Layer transport: the session machine. No I/O, no clock, no thread: events go in, actions come
// out.
#pragma once

#include "session_messages.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

namespace passel::inline v0::detail {

/// Who ends a call whose time is up.
enum class CallDeadlines {
  kept,  ///< the session, at a Tick
  told,  ///< whoever made the call, by a Cancel; the peer is told the deadline all the same
};

struct SessionOptions {
  Hello hello;  ///< who we are
  /// Peers that name another build are turned away. Needed where tasks are named by their place in
  /// the program.
  bool same_build = false;
  /// Calls of a TaskId are accepted: only from one's own family of processes.
  bool accept_tasks = false;
  /// A ping goes out when nothing came for so long; zero: never. Not needed on sockets of one host,
  /// which notice death.
  std::chrono::milliseconds heartbeat{0};
  /// The peer counts as lost when nothing came for so long; zero: never.
  std::chrono::milliseconds silence{0};
  /// What the peer grants is ours on a lease: as long as it is known to have heard of us so lately
  /// that it cannot take us for lost. Pings go out to renew it. For a peer that says in its hello
  /// after which silence it does so; with any other one the lease lasts as long as the session.
  bool leased = false;
  CallDeadlines deadlines = CallDeadlines::kept;
  std::size_t max_open_calls = 100'000;  ///< in each direction; also of grants held at once
  std::size_t max_open_bytes = 0;        ///< of arguments of the peer's open calls; zero: any
};

/// What happens to a session.
namespace session_event {
struct Started {};  ///< the connection is there
struct Received {   ///< the peer says something
  SessionMessage message;
  SharedDescriptors descriptors;
};
struct Heard {};  ///< bytes came, of a message that is not complete yet
struct Slept {};  ///< the host was suspended: whatever time that took, nobody counted it
struct Call {     ///< somebody here asks; `id` comes from Session::next_call_id
  std::uint64_t id = 0;
  std::uint64_t target = 0;
  Method method;
  BytesView args;
  SharedDescriptors descriptors;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::uint64_t trace = 0;
};
struct Reply {  ///< the answer to a call of the peer is there
  std::uint64_t id = 0;
  Result<BytesView> result{BytesView{}};
  SharedDescriptors descriptors;
};
struct Unsent {  ///< a Send of this call could not be carried out; the session is none the worse
  std::uint64_t id = 0;
  Error error;
};
struct Cancel {  ///< whoever asked no longer waits
  std::uint64_t id = 0;
};
struct Grant {  ///< the peer may have it now
  GrantMessage grant;
};
struct Release {  ///< we give back what the peer granted
  ReleaseMessage release;
};
struct Notify {
  NotifyMessage notify;
  SharedDescriptors descriptors;
};
struct Credit {
  CreditMessage credit;
};
struct Tick {};  ///< time has passed; due at Session::next_wakeup
struct Leave {   ///< we end the session
  std::string reason;
};
struct Lost {  ///< the connection broke
  Error error;
};
}  // namespace session_event

using SessionEvent =
    std::variant<session_event::Started, session_event::Received, session_event::Heard,
                 session_event::Slept, session_event::Call, session_event::Reply,
                 session_event::Unsent, session_event::Cancel, session_event::Grant,
                 session_event::Release, session_event::Notify, session_event::Credit,
                 session_event::Tick, session_event::Leave, session_event::Lost>;

/// What the session wants done. Views are those of the event.
namespace session_action {
struct Send {
  SessionMessage message;
  SharedDescriptors descriptors;
  std::uint64_t target = 0;  ///< of the call that a result answers
};
struct Opened {  ///< the peer has said hello and suits us
  Hello peer;
};
struct Serve {  ///< the peer calls; answer with a Reply of the same id
  CallMessage call;
  SharedDescriptors descriptors;
  std::optional<std::chrono::steady_clock::time_point> deadline;
};
struct Abandon {  ///< nobody waits any more for the answer to this call; may come twice
  std::uint64_t id = 0;
  std::uint64_t target = 0;
};
struct Unwanted {  ///< the peer gave up a call whose answer is on its way to it
  std::uint64_t id = 0;
  std::uint64_t target = 0;  ///< of that call, as the peer says
};
struct Answer {  ///< the one and only end of a call from here
  std::uint64_t id = 0;
  Result<BytesView> result{BytesView{}};
  SharedDescriptors descriptors;
};
struct Granted {  ///< the peer granted us something
  GrantMessage grant;
};
struct GrantLost {  ///< what the peer had granted us is gone with the session
  ReleaseMessage grant;
};
struct Returned {  ///< what we had granted is back
  ReleaseMessage grant;
  bool abandoned = false;  ///< because the session ended, not by the holder's will
};
struct Notified {
  NotifyMessage notify;
  SharedDescriptors descriptors;
};
struct Credited {
  CreditMessage credit;
};
struct Closed {  ///< the last action of a session
  Error error;
};
}  // namespace session_action

using SessionAction =
    std::variant<session_action::Send, session_action::Opened, session_action::Serve,
                 session_action::Abandon, session_action::Unwanted, session_action::Answer,
                 session_action::Granted, session_action::GrantLost, session_action::Returned,
                 session_action::Notified, session_action::Credited, session_action::Closed>;

/// One end of a session: who the peer is, which calls are open in both directions, who holds what.
///
/// Rules it keeps: every call from here ends in exactly one Answer, with an error at the latest
/// when the session closes; everything granted to the peer comes back as Returned; a peer with
/// another protocol version, or another build where that matters, is turned away with both named; a
/// peer that breaks the rules of the protocol is disconnected.
///
/// | state  | left by                                              | calls from here          |
/// | ------ | ---------------------------------------------------- | ------------------------ |
/// | fresh  | Started                                              | end with invalid_state   |
/// | hello  | the peer's hello                                     | are sent behind ours     |
/// | open   | Leave, Lost, goodbye, silence, a breach of the rules | are sent                 |
/// | closed |                                                      | end with why it closed   |
class Session {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Actions = std::vector<SessionAction>;

  explicit Session(SessionOptions options) : options_{std::move(options)} {}

  /// Takes in one event and appends what is to be done. `now` never goes back.
  void step(SessionEvent event, Time now, Actions& actions);

  /// Call ids grow and are used once.
  [[nodiscard]] std::uint64_t next_call_id() noexcept { return ++last_call_; }
  /// When a Tick is due: the earliest deadline of an open call, or the heartbeat.
  [[nodiscard]] std::optional<Time> next_wakeup() const;

  [[nodiscard]] bool is_open() const noexcept { return state_ == State::open; }
  [[nodiscard]] bool is_closed() const noexcept { return state_ == State::closed; }
  /// Why it is closed; only when it is.
  [[nodiscard]] const Error& closed_by() const noexcept { return *closed_; }
  [[nodiscard]] const Hello& peer() const noexcept { return peer_; }
  /// When something came last.
  [[nodiscard]] Time heard() const noexcept { return heard_; }
  /// The number of the present lease: what was granted under another one is lost.
  [[nodiscard]] std::uint64_t lease() const noexcept { return lease_; }
  /// True while nobody else can have been given what was granted under that lease.
  [[nodiscard]] bool holds(std::uint64_t lease, Time now) const noexcept;
  [[nodiscard]] std::size_t open_calls() const noexcept { return asked_.size(); }
  [[nodiscard]] std::size_t calls_in_work() const noexcept { return served_.size(); }

 private:
  enum class State { fresh, hello, open, closed };
  using Holding = std::pair<std::uint64_t, std::uint64_t>;  // target, token

  void on(session_event::Started&&, Time now, Actions& actions);
  void on(session_event::Received&&, Time now, Actions& actions);
  void on(session_event::Heard&&, Time now, Actions& actions);
  void on(session_event::Slept&&, Time now, Actions& actions);
  void on(session_event::Call&&, Time now, Actions& actions);
  void on(session_event::Reply&&, Time now, Actions& actions);
  void on(session_event::Unsent&&, Time now, Actions& actions);
  void on(session_event::Cancel&&, Time now, Actions& actions);
  void on(session_event::Grant&&, Time now, Actions& actions);
  void on(session_event::Release&&, Time now, Actions& actions);
  void on(session_event::Notify&&, Time now, Actions& actions);
  void on(session_event::Credit&&, Time now, Actions& actions);
  void on(session_event::Tick&&, Time now, Actions& actions);
  void on(session_event::Leave&&, Time now, Actions& actions);
  void on(session_event::Lost&&, Time now, Actions& actions);

  void greeted(Hello&& hello, Time now, Actions& actions);
  void called(CallMessage&& call, SharedDescriptors&& descriptors, Time now, Actions& actions);
  void answered(ResultMessage&& answer, SharedDescriptors&& descriptors, Time now,
                Actions& actions);
  void ponged(std::uint64_t number, Time now);
  /// The peer has heard what was sent then.
  void confirm(Time sent, Time now);
  [[nodiscard]] std::optional<Time> next_ping() const;
  void granted(const GrantMessage& grant, Actions& actions);
  void forget_call(std::uint64_t id);
  void refuse(Error error, Actions& actions);
  void close(const Error& error, Actions& actions);
  [[nodiscard]] bool can_send() const noexcept {
    return state_ == State::hello || state_ == State::open;
  }
  [[nodiscard]] std::string peer_text() const;

  SessionOptions options_;
  State state_ = State::fresh;
  Hello peer_;
  std::optional<Error> closed_;
  std::uint64_t last_call_ = 0;
  std::uint64_t last_served_ = 0;
  struct Asked {
    std::uint64_t target = 0;
    std::optional<Time> deadline;
    Time sent;
  };
  std::map<std::uint64_t, Asked> asked_;
  std::set<std::pair<Time, std::uint64_t>> deadlines_;
  struct InWork {
    std::uint64_t target = 0;
    std::size_t bytes = 0;
  };
  std::map<std::uint64_t, InWork> served_;
  std::size_t open_bytes_ = 0;
  std::set<Holding> lent_;  // by us to the peer
  std::set<Holding> held_;  // by us, from the peer
  Time heard_{};
  Time received_{};  // the last complete message
  std::optional<Time> pinged_;
  std::uint64_t pings_ = 0;
  std::vector<std::pair<std::uint64_t, Time>> unanswered_pings_;  // of a leased session
  std::chrono::milliseconds heartbeat_{0};
  std::chrono::milliseconds silence_{0};
  std::chrono::milliseconds lease_time_{0};  // zero: for ever
  std::uint64_t lease_ = 0;
  Time confirmed_ = Time::min();  // when the last thing was sent that the peer has heard
};

}  // namespace passel::inline v0::detail
