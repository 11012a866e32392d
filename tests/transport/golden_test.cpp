// Layer transport, tests: frames recorded with protocol version 1 still decode to what they meant.
//
// The files in golden/v1 were written once, by this test with PASSEL_WRITE_GOLDEN=1 in its
// environment, and stay as they are: a new version of the protocol gets a new folder. A message
// added to version 1 gets a file of its own.
#include <passel/codec.hpp>

#include "frame.hpp"
#include "session_messages.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace passel::detail;
using passel::Errc;
using passel::Error;
using passel::WireValue;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string path_of(const std::string& name) {
  return std::string{PASSEL_GOLDEN_DIR} + "/v1/" + name;
}

bool writing() {
  const char* wish = std::getenv("PASSEL_WRITE_GOLDEN");
  return wish != nullptr && std::string{wish} == "1";
}

// The recorded bytes; first written when the generator mode is on.
std::vector<std::byte> recorded(const std::string& name, const std::vector<std::byte>& now) {
  if (writing()) {
    std::ofstream out{path_of(name), std::ios::binary | std::ios::trunc};
    out.write(reinterpret_cast<const char*>(now.data()), static_cast<std::streamsize>(now.size()));
    EXPECT_TRUE(out.good()) << path_of(name);
  }
  std::ifstream in{path_of(name), std::ios::binary};
  const std::vector<char> bytes{std::istreambuf_iterator<char>{in}, {}};
  EXPECT_FALSE(bytes.empty()) << path_of(name);
  const auto* from = reinterpret_cast<const std::byte*>(bytes.data());
  return {from, from + bytes.size()};
}

std::string number(std::uint64_t value) { return std::to_string(value); }
std::string content(BytesView encoded) {
  const auto value = decode_value(encoded);
  return value ? value->to_string() : value.error().to_string();
}
std::string content(const Error& error) {
  std::string out = error.to_string();
  if (const auto* lost = error.detail<passel::WorkerLost>()) {
    out += " [" + std::to_string(lost->pid) + " " + std::to_string(lost->exit_code) + " " +
           std::to_string(lost->signal) + " " + lost->task + " " + std::to_string(lost->attempt) +
           "]";
  }
  if (const auto* remote = error.detail<passel::RemoteError>()) {
    out += " [" + remote->type_name + ": " + remote->what + "]";
  }
  return out;
}

std::string describe(const SessionMessage& message) {
  return std::visit(
      Overloaded{[](const Hello& m) {
                   std::string build;
                   for (const std::byte b : m.build)
                     build += number(std::to_integer<unsigned>(b)) + ".";
                   return "hello " + number(m.protocol) + " " + build + " " + m.name + " " +
                          m.role + " " + std::to_string(m.pid) + " " + number(m.epoch);
                 },
                 [](const CallMessage& m) {
                   const auto* name = std::get_if<std::string>(&m.method);
                   const std::string method =
                       name != nullptr ? *name
                                       : number(std::get<TaskId>(m.method).module) + "+" +
                                             number(std::get<TaskId>(m.method).offset);
                   return "call " + number(m.id) + " " + number(m.target) + " " + method + " " +
                          content(m.args) + " " +
                          (m.left ? std::to_string(m.left->count()) : "never") + " " +
                          number(m.trace);
                 },
                 [](const ResultMessage& m) {
                   return "result " + number(m.id) + " " +
                          (m.result ? content(*m.result) : content(m.result.error()));
                 },
                 [](const CancelMessage& m) {
                   return "cancel " + number(m.id) + (m.target != 0 ? " " + number(m.target) : "");
                 },
                 [](const ReleaseMessage& m) {
                   return "release " + number(m.target) + " " + number(m.token);
                 },
                 [](const GrantMessage& m) {
                   return "grant " + number(m.target) + " " + number(m.token) +
                          (m.abandoned ? " abandoned" : "");
                 },
                 [](const NotifyMessage& m) {
                   return "notify " + number(m.target) + " " + m.topic + " " + content(m.value);
                 },
                 [](const CreditMessage& m) {
                   return "credit " + number(m.target) + " " + number(m.amount);
                 },
                 [](const PingMessage& m) { return "ping " + number(m.number); },
                 [](const PongMessage& m) { return "pong " + number(m.number); },
                 [](const GoodbyeMessage& m) { return "goodbye " + m.reason; }},
      message);
}

void check(const std::string& name, const SessionMessage& message, const std::string& expected) {
  SCOPED_TRACE(name);
  std::vector<std::byte> payload;
  write_session_message(message, payload);
  std::vector<std::byte> frame;
  append_frame(frame, payload);
  const auto stored = recorded(name, frame);
  FrameReader reader;
  for (std::size_t at = 0; at < stored.size();) {
    const auto space = reader.space();
    const std::size_t part = std::min(space.size(), stored.size() - at);
    std::memcpy(space.data(), stored.data() + at, part);
    reader.received(part);
    at += part;
  }
  const auto found = reader.next().unwrap();
  ASSERT_TRUE(found);
  EXPECT_EQ(reader.pending(), 0U);
  const auto read = read_session_message(found->payload);
  ASSERT_TRUE(read.is_ok()) << read.error().to_string();
  EXPECT_EQ(describe(*read), expected);
  // What is written today means the same.
  EXPECT_EQ(describe(*read_session_message(payload)), expected);
}

TEST(Golden, SessionMessagesOfVersionOne) {
  const auto args = encode_value(WireValue::tuple({1, "two", 3.5})).unwrap().bytes;
  const auto value = encode_value(WireValue::list({42, nullptr, "hello"})).unwrap().bytes;
  auto lost = std::make_shared<passel::WorkerLost>();
  lost->pid = 4711;
  lost->exit_code = 3;
  lost->signal = 9;
  lost->task = "fib";
  lost->attempt = 2;
  auto remote = std::make_shared<passel::RemoteError>();
  remote->type_name = "std::runtime_error";
  remote->what = "boom";

  check("hello.frame", Hello{1, {std::byte{1}, std::byte{255}}, "crawler", "worker", 4711, 7},
        "hello 1 1.255. crawler worker 4711 7");
  check("call_name.frame",
        CallMessage{1, 5, std::string{"put"}, args, std::chrono::microseconds{1500}, 99},
        "call 1 5 put (1, 'two', 3.5) 1500 99");
  check("call_task.frame", CallMessage{2, 0, TaskId{0, 65536}, args, {}, 0},
        "call 2 0 0+65536 (1, 'two', 3.5) never 0");
  const auto large = encode(std::string(5001, 'x')).unwrap().bytes;
  const std::string shown = "'" + std::string(5001, 'x') + "'";
  check("call_behind.frame", CallMessage{3, 5, std::string{"put"}, large, {}, 0},
        "call 3 5 put " + shown + " never 0");
  check("result_behind.frame", ResultMessage{6, BytesView{large}}, "result 6 " + shown);
  check("result_value.frame", ResultMessage{1, BytesView{value}}, "result 1 [42, None, 'hello']");
  check("result_error.frame", ResultMessage{2, Error{Errc::full, "5 of 5"}},
        "result 2 full: 5 of 5");
  check("result_worker_lost.frame", ResultMessage{3, Error{Errc::worker_lost, "killed", lost}},
        "result 3 worker_lost: killed [4711 3 9 fib 2]");
  check("result_remote_error.frame", ResultMessage{4, Error{Errc::task_failed, "it threw", remote}},
        "result 4 task_failed: it threw [std::runtime_error: boom]");
  check("cancel.frame", CancelMessage{3}, "cancel 3");
  check("give_up.frame", CancelMessage{3, 5}, "cancel 3 5");
  check("release.frame", ReleaseMessage{5, 12}, "release 5 12");
  check("grant.frame", GrantMessage{5, 12, true}, "grant 5 12 abandoned");
  check("notify.frame", NotifyMessage{5, "closed", value}, "notify 5 closed [42, None, 'hello']");
  check("credit.frame", CreditMessage{5, 100}, "credit 5 100");
  check("ping.frame", PingMessage{8}, "ping 8");
  check("pong.frame", PongMessage{8}, "pong 8");
  check("goodbye.frame", GoodbyeMessage{"shutting down"}, "goodbye shutting down");
}

TEST(Golden, ValuesOfVersionOne) {
  const WireValue all = WireValue::tuple(
      {nullptr, true, -5, ~std::uint64_t{0}, passel::BigInt{true, {0, 0, 0, 0, 0, 0, 0, 0, 1}}, 0.1,
       "text", WireValue::Bytes{std::byte{0}, std::byte{255}}, WireValue::list({1}),
       WireValue::set({2}), WireValue::map({{"k", 3}, {4, "v"}}),
       passel::NumberArray{passel::NumberType::i16,
                           {std::byte{1}, std::byte{0}, std::byte{254}, std::byte{255}}},
       passel::Handle{"Queue", "int", 7, nullptr, nullptr},
       passel::Foreign{"pickle", "decimal.Decimal", {std::byte{0x80}}}});
  const auto stored = recorded("value.bytes", encode_value(all).unwrap().bytes);
  const auto read = decode_value(stored);
  ASSERT_TRUE(read.is_ok()) << read.error().to_string();
  EXPECT_EQ(*read, all);
  EXPECT_EQ(read->to_string(),
            "(None, True, -5, 18446744073709551615, -18446744073709551616, 0.1, 'text', "
            "b'\\x00\\xff', [1], {2}, "
            "{'k': 3, 4: 'v'}, array('i16', [1, -2]), <Queue<int> handle 7>, "
            "<foreign decimal.Decimal, 1 bytes of pickle>)");

  EXPECT_EQ(*decode<int>(recorded("raw_int.bytes", encode(42).unwrap().bytes)), 42);
  EXPECT_EQ(
      *decode<std::string>(recorded("raw_text.bytes", encode(std::string{"raw"}).unwrap().bytes)),
      "raw");
  const std::vector<double> numbers{1.5, -2};
  EXPECT_EQ(
      *decode<std::vector<double>>(recorded("raw_numbers.bytes", encode(numbers).unwrap().bytes)),
      numbers);
  const auto pack = recorded(
      "pack.bytes", encode_pack(1, std::string{"two"}, WireValue::list({3})).unwrap().bytes);
  const auto arguments = decode_pack<int, std::string, WireValue>(pack).unwrap();
  EXPECT_EQ(arguments, (std::tuple{1, std::string{"two"}, WireValue::list({3})}));
  const auto error = recorded("error.bytes", encode_error(Error{Errc::timeout, "2 s"}).bytes);
  EXPECT_EQ(decode_error(error).to_string(), "timeout: 2 s");
}

TEST(Golden, ArgumentsThatAreNotAllThereAreMalformed) {
  const auto large = encode(std::string(5001, 'x')).unwrap().bytes;
  std::vector<std::byte> payload;
  write_session_message(CallMessage{3, 5, std::string{"put"}, large, {}, 0}, payload);
  const std::size_t words = payload.size() / 8;
  ASSERT_EQ(payload.size() % 8, 0U);
  for (std::size_t left = 1; left < words; left += 7) {
    const auto read = read_session_message(BytesView{payload}.first(8 * left));
    ASSERT_TRUE(read.is_err()) << left;
    EXPECT_EQ(read.error(), Errc::malformed) << left;
  }
}

TEST(Golden, DamagedFramesNeverCrash) {
  std::vector<std::byte> payload;
  const auto args = encode_value(WireValue::tuple({1, "two", 3.5})).unwrap().bytes;
  write_session_message(
      CallMessage{1, 5, std::string{"put"}, args, std::chrono::microseconds{1500}, 99}, payload);
  for (std::size_t size = 0; size < payload.size(); size += 8) {
    const std::vector<std::byte> part{payload.begin(),
                                      payload.begin() + static_cast<std::ptrdiff_t>(size)};
    EXPECT_TRUE(read_session_message(part).is_err()) << size;
  }
  for (std::size_t bit = 0; bit < payload.size() * 8; ++bit) {
    auto damaged = payload;
    damaged[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto read = read_session_message(damaged);
    static_cast<void>(read ? describe(*read) : read.error().to_string());
  }
}

}  // namespace
