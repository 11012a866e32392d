// Layer transport: session messages to and from Cap'n Proto.
#include "session_messages.hpp"

#include <passel/detail/spare_buffers.hpp>

#include "overloaded.hpp"
#include "value_wire.hpp"

#include <array>
#include <cstring>
#include <limits>

namespace passel::inline v0::detail {
namespace {

capnp::Data::Reader data_of(BytesView bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
}
capnp::Text::Reader text_of(const std::string& text) { return {text.c_str(), text.size()}; }
std::string to_text(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
BytesView view_of(capnp::Data::Reader data) {
  return {reinterpret_cast<const std::byte*>(data.begin()), data.size()};
}

/// What is large is written as it is: Cap'n Proto would copy it once more.
bool lies_behind(BytesView bytes) {
  constexpr std::size_t least = std::size_t{4} << 10;
  return bytes.size() >= least && bytes.size() <= std::numeric_limits<std::uint32_t>::max();
}

/// The bytes that a message says lie behind it.
Result<BytesView> read_behind(BytesView rest, std::uint32_t size) {
  if (size <= rest.size()) return rest.first(size);
  return Error{Errc::malformed, "message with " + std::to_string(rest.size()) +
                                    " bytes behind it announced " + std::to_string(size)};
}

void write_hello(const Hello& hello, wire::Hello::Builder to) {
  to.setProtocol(hello.protocol);
  to.setBuild(data_of(hello.build));
  to.setName(text_of(hello.name));
  to.setRole(text_of(hello.role));
  to.setPid(hello.pid);
  to.setEpoch(hello.epoch);
  to.setSilence(static_cast<std::uint32_t>(hello.silence.count()));
}

void write_call(const CallMessage& call, wire::Call::Builder to) {
  to.setId(call.id);
  to.setTarget(call.target);
  if (const auto* name = std::get_if<std::string>(&call.method)) {
    to.getMethod().setName(text_of(*name));
  } else {
    auto task = to.getMethod().initTask();
    task.setModule(std::get<TaskId>(call.method).module);
    task.setOffset(std::get<TaskId>(call.method).offset);
  }
  if (lies_behind(call.args))
    to.setBehind(static_cast<std::uint32_t>(call.args.size()));
  else
    to.setArgs(data_of(call.args));
  to.setDeadlineUs(call.left ? std::max<std::int64_t>(call.left->count(), 0) : -1);
  to.setTrace(call.trace);
  to.setCpu(call.cpu);
}

Hello read_hello(wire::Hello::Reader from) {
  const BytesView build = view_of(from.getBuild());
  return {from.getProtocol(),
          {build.begin(), build.end()},
          to_text(from.getName()),
          to_text(from.getRole()),
          from.getPid(),
          from.getEpoch(),
          std::chrono::milliseconds{from.getSilence()}};
}

Result<SessionMessage> read_call(wire::Call::Reader from, BytesView rest) {
  CallMessage call;
  call.id = from.getId();
  call.target = from.getTarget();
  switch (from.getMethod().which()) {
    case wire::Call::Method::NAME: call.method = to_text(from.getMethod().getName()); break;
    case wire::Call::Method::TASK: {
      const auto task = from.getMethod().getTask();
      call.method = TaskId{task.getModule(), task.getOffset()};
      break;
    }
    default:
      return Error{Errc::malformed,
                   "call " + std::to_string(call.id) + " names its method in an unknown way"};
  }
  call.args = view_of(from.getArgs());
  if (from.getBehind() != 0) {
    PASSEL_TRY(call.args, read_behind(rest, from.getBehind()));
  }
  if (from.getDeadlineUs() >= 0) call.left = std::chrono::microseconds{from.getDeadlineUs()};
  call.trace = from.getTrace();
  call.cpu = from.getCpu();
  return SessionMessage{std::move(call)};
}

Result<SessionMessage> read_result(wire::CallResult::Reader from, BytesView rest) {
  switch (from.which()) {
    case wire::CallResult::VALUE:
      return SessionMessage{ResultMessage{from.getId(), view_of(from.getValue()), from.getCpu()}};
    case wire::CallResult::BEHIND: {
      PASSEL_TRY(const BytesView value, read_behind(rest, from.getBehind()));
      return SessionMessage{ResultMessage{from.getId(), value, from.getCpu()}};
    }
    case wire::CallResult::ERROR:
      return SessionMessage{
          ResultMessage{from.getId(), read_wire_error(from.getError()), from.getCpu()}};
  }
  return Error{Errc::malformed,
               "result " + std::to_string(from.getId()) + " is of an unknown kind"};
}

Result<SessionMessage> read_frame(wire::Frame::Reader from, BytesView rest) {
  switch (from.which()) {
    case wire::Frame::HELLO: return SessionMessage{read_hello(from.getHello())};
    case wire::Frame::CALL: return read_call(from.getCall(), rest);
    case wire::Frame::RESULT: return read_result(from.getResult(), rest);
    case wire::Frame::CANCEL: return SessionMessage{CancelMessage{from.getCancel()}};
    case wire::Frame::GIVE_UP:
      return SessionMessage{
          CancelMessage{from.getGiveUp().getCall(), from.getGiveUp().getTarget()}};
    case wire::Frame::RELEASE:
      return SessionMessage{
          ReleaseMessage{from.getRelease().getTarget(), from.getRelease().getToken()}};
    case wire::Frame::GRANT: {
      const auto grant = from.getGrant();
      return SessionMessage{
          GrantMessage{grant.getTarget(), grant.getToken(), grant.getAbandoned()}};
    }
    case wire::Frame::NOTIFY: {
      const auto notify = from.getNotify();
      return SessionMessage{NotifyMessage{notify.getTarget(), to_text(notify.getTopic()),
                                          view_of(notify.getValue())}};
    }
    case wire::Frame::CREDIT:
      return SessionMessage{
          CreditMessage{from.getCredit().getTarget(), from.getCredit().getAmount()}};
    case wire::Frame::PING: return SessionMessage{PingMessage{from.getPing()}};
    case wire::Frame::PONG: return SessionMessage{PongMessage{from.getPong()}};
    case wire::Frame::GOODBYE: return SessionMessage{GoodbyeMessage{to_text(from.getGoodbye())}};
  }
  return Error{Errc::malformed,
               "session message of unknown kind " + std::to_string(static_cast<int>(from.which()))};
}

void write_frame(const SessionMessage& message, wire::Frame::Builder to) {
  std::visit(
      Overloaded{[&](const Hello& hello) { write_hello(hello, to.initHello()); },
                 [&](const CallMessage& call) { write_call(call, to.initCall()); },
                 [&](const ResultMessage& answer) {
                   auto out = to.initResult();
                   out.setId(answer.id);
                   out.setCpu(answer.cpu);
                   if (answer.result && lies_behind(*answer.result)) {
                     out.setBehind(static_cast<std::uint32_t>(answer.result->size()));
                   } else if (answer.result) {
                     out.setValue(data_of(*answer.result));
                   } else {
                     write_wire_error(answer.result.error(), out.initError());
                   }
                 },
                 [&](const CancelMessage& cancel) {
                   auto out = to.initGiveUp();
                   out.setCall(cancel.id);
                   out.setTarget(cancel.target);
                 },
                 [&](const ReleaseMessage& release) {
                   auto out = to.initRelease();
                   out.setTarget(release.target);
                   out.setToken(release.token);
                 },
                 [&](const GrantMessage& grant) {
                   auto out = to.initGrant();
                   out.setTarget(grant.target);
                   out.setToken(grant.token);
                   out.setAbandoned(grant.abandoned);
                 },
                 [&](const NotifyMessage& notify) {
                   auto out = to.initNotify();
                   out.setTarget(notify.target);
                   out.setTopic(text_of(notify.topic));
                   out.setValue(data_of(notify.value));
                 },
                 [&](const CreditMessage& credit) {
                   auto out = to.initCredit();
                   out.setTarget(credit.target);
                   out.setAmount(credit.amount);
                 },
                 [&](const PingMessage& ping) { to.setPing(ping.number); },
                 [&](const PongMessage& pong) { to.setPong(pong.number); },
                 [&](const GoodbyeMessage& goodbye) { to.setGoodbye(text_of(goodbye.reason)); }},
      message);
}

/// What is to be written behind that message; empty for most.
BytesView behind(const SessionMessage& message) {
  BytesView bytes;
  if (const auto* call = std::get_if<CallMessage>(&message)) bytes = call->args;
  if (const auto* answer = std::get_if<ResultMessage>(&message); answer && answer->result)
    bytes = *answer->result;
  return lies_behind(bytes) ? bytes : BytesView{};
}

}  // namespace

void write_session_message(const SessionMessage& message, std::vector<std::byte>& out) {
  // Nearly everything fits in here.
  std::array<capnp::word, 256> scratch;
  std::memset(scratch.data(), 0, sizeof scratch);
  capnp::MallocMessageBuilder builder{kj::arrayPtr(scratch.data(), scratch.size())};
  write_frame(message, builder.initRoot<wire::Frame>());
  const BytesView large = behind(message);
  if (large.empty()) return append_message(builder, out);
  const std::size_t start = out.size();
  const std::size_t header = capnp::computeSerializedSizeInWords(builder) * sizeof(capnp::word);
  make_room(out, header + large.size() + sizeof(capnp::word));
  append_message(builder, out);
  out.insert(out.end(), large.begin(), large.end());
  out.resize(start + (out.size() - start + 7) / 8 * 8);
}

Result<SessionMessage> read_session_message(BytesView bytes) {
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::uint64_t) != 0) {
    return Error{Errc::invalid_argument, "a session message must lie aligned"};
  }
  return with_message(bytes, [bytes](capnp::FlatArrayMessageReader& message) {
    const auto* const end = reinterpret_cast<const std::byte*>(message.getEnd());
    return read_frame(message.getRoot<wire::Frame>(), {end, bytes.data() + bytes.size()});
  });
}

}  // namespace passel::inline v0::detail
