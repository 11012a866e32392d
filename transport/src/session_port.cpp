// Layer transport: a session over a frame socket.
#include "session_port.hpp"

#include <passel/detail/brief_text.hpp>

#include "overloaded.hpp"

#include <string_view>
#include <utility>

namespace passel::inline v0::detail {
namespace {

void tell_cpu(SessionMessage& message) {
  const auto cpu = static_cast<std::uint16_t>(current_cpu());
  if (auto* call = std::get_if<CallMessage>(&message)) call->cpu = cpu;
  if (auto* answer = std::get_if<ResultMessage>(&message)) answer->cpu = cpu;
}

/// 0: it does not say.
std::uint16_t told_cpu(const SessionMessage& message) {
  if (const auto* call = std::get_if<CallMessage>(&message)) return call->cpu;
  if (const auto* answer = std::get_if<ResultMessage>(&message)) return answer->cpu;
  return 0;
}

/// As much of the text of an error as fits into any frame.
constexpr std::size_t most_of_error = 4096;

bool is_long(const Error& error) {
  return std::string_view{error.what()}.size() > most_of_error + 3 ||
         error.detail_pointer() != nullptr;
}

}  // namespace

SessionHandler::~SessionHandler() = default;
void SessionHandler::opened(const Hello&) {}
void SessionHandler::serve(SessionPort& port, session_action::Serve&& call) {
  port.reply(call.call.id, Error{Errc::unsupported, "this end of the session serves no calls"},
             std::chrono::steady_clock::now());
}
void SessionHandler::abandoned(std::uint64_t, std::uint64_t) {}
void SessionHandler::unwanted(std::uint64_t, std::uint64_t) {}
void SessionHandler::granted(const GrantMessage&) {}
void SessionHandler::grant_lost(const ReleaseMessage&) {}
void SessionHandler::returned(const ReleaseMessage&, bool) {}
void SessionHandler::notified(session_action::Notified&&) {}
void SessionHandler::credited(const CreditMessage&) {}
void SessionHandler::closed(const Error&) {}

SessionPort::SessionPort(Descriptor socket, SessionOptions options, SessionHandler& handler,
                         FrameSocket::Limits limits)
    : session_{std::move(options)}, socket_{std::move(socket), limits}, handler_{handler} {}

void SessionPort::start(Time now) { step(session_event::Started{}, now); }

std::uint64_t SessionPort::call(std::uint64_t target, Method method, BytesView args, Time now,
                                SharedDescriptors descriptors, std::optional<Time> deadline,
                                std::uint64_t trace) {
  const std::uint64_t id = session_.next_call_id();
  step(session_event::Call{id, target, std::move(method), args, std::move(descriptors), deadline,
                           trace},
       now);
  return id;
}

void SessionPort::cancel(std::uint64_t call, Time now) { step(session_event::Cancel{call}, now); }

void SessionPort::reply(std::uint64_t call, Result<BytesView> result, Time now,
                        SharedDescriptors descriptors) {
  step(session_event::Reply{call, std::move(result), std::move(descriptors)}, now);
}

void SessionPort::grant(const GrantMessage& grant, Time now) {
  step(session_event::Grant{grant}, now);
}
void SessionPort::release(const ReleaseMessage& release, Time now) {
  step(session_event::Release{release}, now);
}
void SessionPort::notify(NotifyMessage message, Time now, SharedDescriptors descriptors) {
  step(session_event::Notify{std::move(message), std::move(descriptors)}, now);
}
void SessionPort::credit(const CreditMessage& credit, Time now) {
  step(session_event::Credit{credit}, now);
}
void SessionPort::leave(std::string reason, Time now) {
  step(session_event::Leave{std::move(reason)}, now);
}
void SessionPort::tick(Time now) { step(session_event::Tick{}, now); }

void SessionPort::readable(Time now) {
  if (session_.is_closed()) return;
  std::optional<Error> bad;
  const std::uint64_t before = socket_.received();
  const auto got = socket_.receive([&](ReceivedFrame&& frame) {
    if (bad || session_.is_closed()) return;
    auto message = read_session_message(frame.bytes);
    if (!message) {
      bad = message.error();
      return;
    }
    if (const auto cpu = tells_cpus_ ? told_cpu(*message) : 0; cpu != 0) peer_cpu_.publish(cpu);
    step(session_event::Received{*std::move(message), std::move(frame.descriptors)}, now);
  });
  if (socket_.received() != before) step(session_event::Heard{}, now);
  if (bad) {
    step(session_event::Lost{*std::move(bad)}, now);
  } else if (!got) {
    step(session_event::Lost{got.error()}, now);
  }
}

bool SessionPort::flush(Time now) {
  const auto done = socket_.flush();
  if (done) return *done;
  // What the peer still said before it went is worth more than the broken pipe.
  readable(now);
  step(session_event::Lost{done.error()}, now);
  return true;
}

void SessionPort::step(SessionEvent event, Time now) {
  Session::Actions actions;
  session_.step(std::move(event), now, actions);
  for (SessionAction& action : actions) perform(action, now);
}

void SessionPort::send(session_action::Send& send, Time now) {
  if (tells_cpus_) tell_cpu(send.message);
  write_session_message(send.message, socket_.open_frame());
  auto sent = socket_.close_frame(send.descriptors);
  if (sent) return;
  if (auto* call = std::get_if<CallMessage>(&send.message)) {
    step(session_event::Unsent{call->id, sent.error()}, now);
  } else if (auto* answer = std::get_if<ResultMessage>(&send.message)) {
    send_instead(*answer, send.target, sent.error(), now);
  } else {
    step(session_event::Lost{sent.error()}, now);
  }
}

/// What an answer became that could not be sent.
void SessionPort::send_instead(const ResultMessage& answer, std::uint64_t target, const Error& why,
                               Time now) {
  const bool had_value = answer.result.is_ok();
  if (!had_value && (why != Errc::too_large || !is_long(answer.result.error())))
    return step(session_event::Lost{why}, now);
  Error error = had_value ? why
                          : Error{answer.result.error().code(),
                                  cut_text(answer.result.error().what(), most_of_error)};
  session_action::Send instead{ResultMessage{answer.id, std::move(error)}, {}};
  this->send(instead, now);
  if (had_value) handler_.unwanted(answer.id, target);
}

void SessionPort::perform(SessionAction& action, Time now) {
  std::visit(
      Overloaded{
          [&](session_action::Send& one) { send(one, now); },
          [&](session_action::Opened& one) { handler_.opened(one.peer); },
          [&](session_action::Serve& one) { handler_.serve(*this, std::move(one)); },
          [&](session_action::Abandon& one) { handler_.abandoned(one.id, one.target); },
          [&](session_action::Unwanted& one) { handler_.unwanted(one.id, one.target); },
          [&](session_action::Answer& one) { handler_.answered(std::move(one)); },
          [&](session_action::Granted& one) { handler_.granted(one.grant); },
          [&](session_action::GrantLost& one) { handler_.grant_lost(one.grant); },
          [&](session_action::Returned& one) { handler_.returned(one.grant, one.abandoned); },
          [&](session_action::Notified& one) { handler_.notified(std::move(one)); },
          [&](session_action::Credited& one) { handler_.credited(one.credit); },
          [&](session_action::Closed& one) { handler_.closed(one.error); }},
      action);
}

}  // namespace passel::inline v0::detail
