// Tests, a fuzz target: what two clients that were let in say to a manager with objects of all
// kinds.
#include <passel/detail/hosted_type.hpp>

#include "fuzz_input.hpp"
#include "fuzz_session.hpp"
#include "grown_value.hpp"

#include <array>
#include <chrono>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

using namespace passel::detail;
using namespace passel_fuzz;

namespace {

/// What the bytes of an input mean: one thing that a client says after the other.
class Script {
 public:
  Script(Reader& in, std::array<FuzzClient, 2>& clients) : in_{in}, clients_{clients} {}

  void run() {
    // More than that is not needed to get anywhere.
    for (int n = 0; n < 60 && !in_.done(); ++n) step(clients_[now_]);
  }

 private:
  void step(FuzzClient& client) {
    switch (const std::uint8_t what = in_.byte() % 16) {
      case 7:
      case 8: return note(client);
      case 9: return client.say(CancelMessage{in_.byte(), in_.byte()});
      case 10: return say_something_else(client);
      case 11: return client.say_frame(in_.bytes());
      case 12: return client.say_bytes(in_.bytes());
      case 13:
      case 14:
        // What was said so far has been heard before the other one speaks.
        client.wait_until_heard();
        now_ = 1 - now_;
        return;
      default: return call(client, what == 15 ? 0 : in_.byte() % 24);
    }
  }
  std::string word() {
    static constexpr std::string_view words[] = {
        "acquire",     "release",      "give_back",
        "get",         "put",          "put_many",
        "get_many",    "task_done",    "join",
        "append",      "extend",       "pop",
        "set",         "set_slice",    "slice",
        "sort",        "insert",       "index",
        "update",      "setdefault",   "popitem",
        "clear",       "wait",         "notify",
        "reset",       "abort",        "shutdown",
        "union",       "value",        "values",
        "items",       "remove",       "meet",
        "submit",      "take",         "done",
        "leave",       "stay",         "report",
        "#text",       "#copy",        "#methods",
        "types",       "publish",      "named",
        "names",       "create list",  "create Lock",
        "debug_info",  "create Notes", "add",
        "create dict", "unpublish",    "get_or_create n\nlist",
        "repeat",      "find",         "fail",
        "difference",  "issubset",     "create Condition"};
    const std::uint8_t which = in_.byte();
    return which < std::size(words) ? std::string{words[which]} : in_.text();
  }
  std::vector<std::byte> arguments() {
    if (in_.byte() % 8 == 7) return in_.bytes();
    const std::size_t count = in_.byte() % 5;
    PackWriter pack{count};
    GrownValue grown{in_};
    for (std::size_t n = 0; n < count; ++n) pack.add(proxy_or(grown.value())).unwrap();
    return std::move(pack).take().bytes;
  }
  /// A handle as the input has it names nothing; this one may.
  WireValue proxy_or(WireValue value) {
    const auto* const handle = value.handle();
    return handle == nullptr ? value : clients_[now_].proxy(handle->id % 24);
  }
  void call(FuzzClient& client, std::uint64_t target) {
    CallMessage call;
    call.target = target;
    call.method = word();
    const auto args = arguments();
    call.args = args;
    const std::uint8_t left = in_.byte();
    if (left % 4 == 0) call.left = std::chrono::microseconds{left};
    call.trace = left % 3;
    client.call(std::move(call));
  }
  void note(FuzzClient& client) {
    static constexpr std::string_view topics[] = {"hold", "lend", "drop", "kept", "back"};
    const std::uint64_t target = in_.byte() % 24;
    const std::uint8_t topic = in_.byte() % 8;
    const auto value = topic == 7 ? in_.bytes() : encode(in_.number()).unwrap().bytes;
    client.say(NotifyMessage{
        target, topic < std::size(topics) ? std::string{topics[topic]} : in_.text(), value});
  }
  void say_something_else(FuzzClient& client) {
    switch (in_.byte() % 8) {
      case 0: return client.say(Hello{});
      case 1: return client.say(ReleaseMessage{in_.byte(), in_.number()});
      case 2: return client.say(GrantMessage{in_.byte(), in_.number(), false});
      case 3: return client.say(CreditMessage{in_.byte(), in_.number()});
      case 4: return client.say(PingMessage{in_.number()});
      case 5: return client.say(PongMessage{in_.number()});
      case 6: return client.say(ResultMessage{in_.byte(), BytesView{}, 0});
      default: return client.say(GoodbyeMessage{in_.text()});
    }
  }

  Reader& in_;
  std::array<FuzzClient, 2>& clients_;
  std::size_t now_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  FuzzServer server;
  {
    std::array clients{FuzzClient{server}, FuzzClient{server}};
    clients[0].make_objects();
    clients[1].hold_objects();
    Reader in{data + 1, size - 1};
    if (data[0] % 4 == 3) {
      const auto rest = std::as_bytes(in.rest());
      clients[0].say_bytes({rest.begin(), rest.end()});
    } else {
      Script{in, clients}.run();
    }
    for (FuzzClient& client : clients) client.leave();
  }
  FuzzClient honest{server};
  demand("others are served", honest.is_served());
  return 0;
}
