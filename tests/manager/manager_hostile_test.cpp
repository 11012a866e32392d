// Managers whose clients have a key, and want more than is theirs.
#include <passel/detail/io_loop.hpp>
#include <passel/detail/proxy_core.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/log.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process/executed_copy.hpp"
#include "support/seed.hpp"
#include "transport/raw_peer.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel::detail;
using passel::Address;
using passel::AuthKey;
using passel::Errc;
using passel::Error;
using passel::ManagerOptions;
using passel::ManagerRole;
using passel::Result;
using passel::SyncManager;
using passel::TcpAddress;
using passel::UnixAddress;
using passel::WireValue;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const AuthKey owners_key{"the key of those who may do everything"};
const AuthKey readers_key{"the key of those who may read only"};

/// A client that says what it likes, without a proxy that would keep it from that.
class Stranger {
 public:
  explicit Stranger(const Address& address, const AuthKey& key = owners_key)
      : link{SessionLink::connect(loop_, address, {.authkey = key}, Deadline::after(30s))} {}

  template <class... A>
  Result<SessionReply> call(std::uint64_t target, std::string_view method, const A&... args) {
    return (*link)->call({.target = target,
                          .method = method,
                          .args = encode_pack(args...).unwrap(),
                          .deadline = Deadline::never()});
  }
  /// Does not wait for the end of the call.
  template <class... A>
  std::uint64_t begin(std::uint64_t target, std::string_view method, const A&... args) {
    return (*link)->call_async({.target = target,
                                .method = method,
                                .args = encode_pack(args...).unwrap(),
                                .deadline = Deadline::never()},
                               [](const Result<SessionReply>&) {});
  }
  /// Takes one item of a queue, some time.
  void begin_get(std::uint64_t queue, std::function<void(bool)> told) {
    (*link)->call_async(
        {.target = queue,
         .method = "get",
         .args = encode_pack(true, false).unwrap(),
         .deadline = Deadline::never()},
        [told = std::move(told)](const Result<SessionReply>& reply) { told(reply.is_ok()); });
  }
  /// Reads nothing until then.
  void pause(std::shared_future<void> until) {
    loop_.post([until = std::move(until)] { until.wait(); });
  }
  /// The number of a new object.
  template <class... A>
  std::uint64_t make(const std::string& type, const A&... args) {
    using Created = std::pair<std::uint64_t, std::uint64_t>;
    return decode_reply<Created>(call(0, "create " + type, args...)).unwrap().first;
  }
  /// Holds an object that nobody has given to it.
  void grab(std::uint64_t object) {
    (*link)->notify(object, "hold", encode(std::uint64_t{77}).unwrap().bytes);
  }
  void drop(std::uint64_t object) { (*link)->notify(object, "drop", {}); }

 private:
  IoLoop loop_;

 public:
  Result<std::shared_ptr<SessionLink>> link;
};

std::string text_of(const Result<SessionReply>& reply) {
  return reply ? "ok" : reply.error().to_string();
}

class HostileClient : public testing::TestWithParam<Address> {
 protected:
  static SyncManager started(ManagerOptions options) {
    options.address = GetParam();
    options.authkey = owners_key;
    return SyncManager::started(std::move(options)).unwrap();
  }
};
INSTANTIATE_TEST_SUITE_P(Addresses, HostileClient,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& address) {
                           return address.param.index() == 0 ? "Unix" : "Tcp";
                         });

TEST_P(HostileClient, Fault56ARoleHasItsTypesAndTheirMethodsAndNothingElse) {
  auto manager =
      started({.roles = {{"readers", readers_key, {{"dict", {"get", "size"}}, {"Event", {}}}}}});
  const auto dict = manager.dict<std::string, int>({{"a", 1}}).unwrap();
  const auto list = manager.list<int>({1}).unwrap();
  Stranger reader{manager.address(), readers_key};
  ASSERT_TRUE(reader.link);
  const std::uint64_t shared = dict.core()->object();
  reader.grab(shared);
  reader.grab(list.core()->object());
  EXPECT_TRUE(reader.call(shared, "size"));
  EXPECT_TRUE(reader.call(shared, "#methods"));
  EXPECT_EQ(text_of(reader.call(shared, "set", "a", 2)),
            "refused: role 'readers' may not call 'set' of type 'dict'");
  EXPECT_EQ(reader.call(shared, "#copy").error(), Errc::refused);
  EXPECT_EQ(text_of(reader.call(list.core()->object(), "size")),
            "refused: role 'readers' may not use objects of type 'list'");
  EXPECT_EQ(reader.call(0, "create list", std::vector<int>{}).error(), Errc::refused);
  EXPECT_EQ(reader.call(0, "create dict", std::vector<int>{}).error(), Errc::refused);
  EXPECT_EQ(reader.call(0, "debug_info").error(), Errc::refused);
  EXPECT_THAT(decode_reply<std::vector<std::string>>(reader.call(0, "types")).unwrap(),
              ElementsAre("Event", "dict"));
  const std::uint64_t event = reader.make("Event");
  EXPECT_TRUE(reader.call(event, "set"));
  EXPECT_TRUE(reader.call(event, "is_set"));
  EXPECT_EQ(dict.at("a").unwrap(), 1);

  Stranger owner{manager.address()};
  owner.grab(shared);
  EXPECT_TRUE(owner.call(shared, "set", "a", 3));
  EXPECT_TRUE(owner.call(0, "debug_info"));
  EXPECT_EQ(Stranger(manager.address(), AuthKey{"of nobody at all, but long"}).link.error(),
            Errc::auth_failed);
  EXPECT_EQ(dict.at("a").unwrap(), 3);
}

TEST_P(HostileClient, AFormerKeyIsAsGoodAsTheNewOneAndNoRole) {
  const AuthKey former{"the key that some clients have still"};
  auto manager = started(
      {.former_authkeys = {former}, .roles = {{"readers", readers_key, {{"dict", {"get"}}}}}});
  Stranger late{manager.address(), former};
  ASSERT_TRUE(late.link);
  EXPECT_TRUE(late.call(0, "create list", std::vector<WireValue>{}));
  Stranger reader{manager.address(), readers_key};
  EXPECT_EQ(text_of(reader.call(0, "create list", std::vector<WireValue>{})),
            "refused: role 'readers' may not make objects of type 'list'");
}

TEST_P(HostileClient, AProcessHasOneKeyForAManager) {
  auto manager = started({.roles = {{"readers", readers_key, {{"dict", {"get"}}}}}});
  const auto list = manager.list<int>().unwrap();
  SyncManager reader{{.address = manager.address(), .authkey = readers_key}};
  const auto refused = reader.connect();
  EXPECT_EQ(refused.error(), Errc::invalid_state);
  EXPECT_THAT(refused.error().what(), HasSubstr("with another key"));
  EXPECT_TRUE(list.append(1));
  SyncManager same{{.address = manager.address(), .authkey = owners_key}};
  EXPECT_TRUE(same.connect());
}

TEST_P(HostileClient, Fault56ARoleKeepsNothingAliveThatItMayNotUse) {
  auto manager = started({.roles = {{"readers", readers_key, {{"dict", {"get"}}}}}});
  auto list = manager.list<int>({1}).unwrap();
  const auto objects = manager.number_of_objects().unwrap();
  Stranger reader{manager.address(), readers_key};
  reader.grab(list.core()->object());
  EXPECT_TRUE(reader.call(0, "types"));  // that has been heard by now
  list = {};
  EXPECT_EQ(manager.number_of_objects().unwrap(), objects - 1);
}

/// A proxy of that object that nobody has given to anybody.
WireValue forged(const Stranger& by, const passel::DynamicProxy& proxy) {
  const std::string life = std::to_string((*by.link)->epoch());
  return WireValue{passel::Handle{"Proxy", "\n" + life + "\n0\nunix\n0\n", proxy.core()->object(),
                                  nullptr, nullptr}};
}

TEST_P(HostileClient, Fault56WhatARoleMayNotUseItCannotUseThroughAnotherObject) {
  auto manager = started(
      {.roles = {{"readers", readers_key, {{"Condition", {}}, {"set", {}}, {"list", {"size"}}}}}});
  const auto lock = manager.lock().unwrap();
  const auto guard = lock.acquire().unwrap();
  const auto list = manager.list<int>({1, 2}).unwrap();
  Stranger reader{manager.address(), readers_key};
  ASSERT_TRUE(reader.link);
  const WireValue forged_lock = forged(reader, lock);
  const WireValue forged_list = forged(reader, list);
  EXPECT_EQ(text_of(reader.call(0, "create Condition", forged_lock)),
            "refused: role 'readers' may not use objects of type 'Lock'");
  EXPECT_EQ(text_of(reader.call(0, "create set", forged_list)),
            "refused: role 'readers' may not call '#copy' of type 'list'");
  const std::uint64_t set = reader.make("set");
  EXPECT_EQ(reader.call(set, "update", forged_list).error(), Errc::refused);
  EXPECT_EQ(decode_reply<std::uint64_t>(reader.call(set, "size")).unwrap(), 0U);

  Stranger owner{manager.address()};
  EXPECT_TRUE(owner.call(0, "create Condition", forged_lock));
  EXPECT_TRUE(owner.call(0, "create set", forged_list));
}

TEST_P(HostileClient, Fault56ARoleKeepsNothingAliveByPuttingItIntoAnother) {
  auto manager = started({.roles = {{"readers", readers_key, {{"set", {}}}}}});
  auto list = manager.list<int>({1}).unwrap();
  const auto objects = manager.number_of_objects().unwrap();
  Stranger reader{manager.address(), readers_key};
  const std::uint64_t set = reader.make("set");
  EXPECT_TRUE(reader.call(set, "add", forged(reader, list)));
  list = {};
  EXPECT_EQ(manager.number_of_objects().unwrap(), objects);
}

TEST_P(HostileClient, Fault56ARoleFindsTheNamesOfItsTypesOnlyAndGivesNone) {
  auto manager = started({.roles = {{"readers", readers_key, {{"dict", {"get"}}, {"Event", {}}}}}});
  const auto dict = manager.dict<std::string, int>({{"a", 1}}).unwrap();
  manager.publish("settings", dict).unwrap();
  manager.publish("jobs", manager.list<int>().unwrap()).unwrap();
  Stranger reader{manager.address(), readers_key};
  ASSERT_TRUE(reader.link);
  using Names = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(decode_reply<Names>(reader.call(0, "names")).unwrap(), (Names{{"settings", "dict"}}));
  EXPECT_TRUE(reader.call(0, "named", "settings"));
  EXPECT_EQ(text_of(reader.call(0, "named", "jobs")),
            "refused: role 'readers' may not use objects of type 'list'");
  EXPECT_EQ(reader.call(0, "get_or_create jobs\nEvent").error(), Errc::refused);
  EXPECT_EQ(reader.call(0, "get_or_create more\nlist").error(), Errc::refused);
  EXPECT_EQ(reader.call(0, "get_or_create more\ndict").error(), Errc::refused);
  EXPECT_TRUE(reader.call(0, "get_or_create settings\ndict"));
  EXPECT_TRUE(reader.call(0, "get_or_create go\nEvent"));
  EXPECT_EQ(reader.call(0, "unpublish", "settings").error(), Errc::refused);
  EXPECT_EQ(reader.call(0, "publish", "mine", WireValue{}).error(), Errc::refused);
  EXPECT_EQ(manager.names().unwrap().size(), 3U);
}

TEST_P(HostileClient, Fault56ObjectsHaveALimitForEachSessionAndForAll) {
  auto manager = started({.limits = {.objects = 6, .objects_of_session = 4}});
  Stranger greedy{manager.address()};
  std::vector<std::uint64_t> made;
  for (int n = 0; n < 4; ++n) made.push_back(greedy.make("Event"));
  EXPECT_EQ(text_of(greedy.call(0, "create Event")), "full: objects made by this session: limit 4");
  EXPECT_EQ(text_of(greedy.call(0, "get_or_create one more\nEvent")),
            "full: objects made by this session: limit 4");
  // What it has is as good as before, and others have their share.
  EXPECT_TRUE(greedy.call(made.back(), "set"));
  Stranger other{manager.address()};
  other.make("Event");
  other.make("Event");
  EXPECT_EQ(text_of(other.call(0, "create Event")), "full: objects of the manager: limit 6");
  greedy.drop(made.back());
  EXPECT_TRUE(greedy.call(made.front(), "set"));  // the server has read so far
  other.make("Event");
}

TEST_P(HostileClient, Fault56WhoWaitsInLinesHasALimit) {
  auto manager = started({.limits = {.calls_of_session = 8}});
  Stranger greedy{manager.address()};
  Stranger other{manager.address()};
  const std::uint64_t event = greedy.make("Event");
  other.grab(event);
  std::vector<std::uint64_t> waiting;
  for (int n = 0; n < 8; ++n) waiting.push_back(greedy.begin(event, "wait"));
  EXPECT_EQ(text_of(greedy.call(event, "is_set")), "full: calls in work: 8, limit 8");
  EXPECT_TRUE(other.call(event, "is_set"));
  (*greedy.link)->cancel(waiting.front());
  EXPECT_TRUE(greedy.call(event, "is_set"));
}

TEST_P(HostileClient, Fault56WhatProducersAtAFullQueueHaveInHandHasALimit) {
  auto manager = started({.limits = {.call_bytes_of_session = 4 << 20}});
  Stranger greedy{manager.address()};
  const std::uint64_t queue = greedy.make("Queue", std::int64_t{1});
  const std::string item(1 << 20, 'x');
  EXPECT_TRUE(greedy.call(queue, "put", item, true));
  for (int n = 0; n < 3; ++n) greedy.begin(queue, "put", item, true);
  const auto refused = greedy.call(queue, "put", item, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Errc::full);
  EXPECT_THAT(refused.error().what(), HasSubstr("limit 4194304"));
  EXPECT_TRUE(greedy.call(queue, "get", true, false));
  EXPECT_TRUE(greedy.call(queue, "qsize"));
}

TEST_P(HostileClient, Fault56WhoDoesNotReadHasHisItemsLaterAndKeepsThemFromNobody) {
  constexpr int items = 120;
  const std::string mebibyte(std::size_t{1} << 20, 'm');
  auto manager = started({});
  const auto queue = manager.queue<std::string>().unwrap();
  Stranger slow{manager.address()};
  slow.grab(queue.core()->object());
  std::atomic<int> got = 0;
  std::atomic<int> failed = 0;
  std::promise<void> reads;
  for (int n = 0; n < items; ++n)
    slow.begin_get(queue.core()->object(), [&](bool ok) { ++(ok ? got : failed); });
  EXPECT_TRUE(slow.call(queue.core()->object(), "qsize"));  // they wait there by now
  slow.pause(reads.get_future().share());
  for (int n = 0; n < items; ++n) queue.put(mebibyte).unwrap();
  // What the slow one has no room for goes to others.
  int mine = 0;
  while (queue.try_get()) ++mine;
  EXPECT_GT(mine, items / 2);
  reads.set_value();
  for (; mine < items && got + mine < items; std::this_thread::sleep_for(1ms)) {
  }
  for (int n = mine; n > 0; --n) queue.put(mebibyte).unwrap();
  while (got < items) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(failed, 0);
  EXPECT_TRUE(queue.empty().unwrap());
}

TEST_P(HostileClient, Fault56ItemsInTheHandsOfASessionHaveALimit) {
  auto manager = started({.limits = {.items_of_session = 20}});
  for (const std::string type : {"Queue", "JoinableQueue"}) {
    Stranger greedy{manager.address()};
    const std::uint64_t queue = greedy.make(type, std::int64_t{10});
    const auto put = [&] { return greedy.call(queue, "put", 1, false); };
    // It says of none that it has it, or has done with it.
    const auto get = [&](Stranger& who) { return who.call(queue, "get", true, true); };
    std::uint64_t first = 0;
    for (int n = 0; n < 20; ++n) {
      EXPECT_TRUE(put());
      const auto got = decode_reply<WireValue>(get(greedy)).unwrap();
      if (n == 0) first = *got.items()->front().as_uint64();
    }
    for (int n = 0; n < 10; ++n) EXPECT_TRUE(put());
    EXPECT_THAT(text_of(get(greedy)),
                AllOf(HasSubstr("full: this process has 20 items"), HasSubstr("limit 20 items")));
    EXPECT_EQ(put().error(), Errc::full);
    Stranger other{manager.address()};
    other.grab(queue);
    EXPECT_TRUE(get(other));
    (*greedy.link)->notify(queue, "kept", encode(first).unwrap().bytes);
    EXPECT_EQ(get(greedy).is_ok(), type == "Queue");
    if (type != "Queue") {
      EXPECT_TRUE(greedy.call(queue, "task_done"));
      EXPECT_TRUE(get(greedy));
    }
    EXPECT_EQ(get(greedy).error(), Errc::full);
  }
}

TEST_P(HostileClient, Fault56BytesOfItemsInTheHandsOfASessionHaveALimit) {
  auto manager = started({.limits = {.item_bytes_of_session = 1 << 20}});
  Stranger greedy{manager.address()};
  const std::uint64_t queue = greedy.make("Queue", std::int64_t{0});
  for (int n = 0; n < 3; ++n)
    EXPECT_TRUE(greedy.call(queue, "put", std::string(600'000, 'x'), true));
  for (int n = 0; n < 2; ++n) EXPECT_TRUE(greedy.call(queue, "get", true, true));
  EXPECT_THAT(text_of(greedy.call(queue, "get", true, true)), HasSubstr("1048576 bytes"));
}

TEST_P(HostileClient, Fault47OneCallTakesNoMoreThanAnAnswerHolds) {
  auto manager = started({});
  Stranger greedy{manager.address()};
  const std::vector<std::byte> blob(std::size_t{4} << 20, std::byte{0});
  const std::uint64_t dict = greedy.make("dict", std::vector<WireValue>{});
  const std::uint64_t list = greedy.make("list", std::vector<WireValue>{blob});
  EXPECT_TRUE(greedy.call(dict, "set", "a", blob));
  for (int n = 0; n < 8; ++n) EXPECT_TRUE(greedy.call(list, "append", blob));
  const long before = passel_test::peak_memory(*manager.pid());

  const auto many = greedy.call(dict, "get_many", std::vector<WireValue>(1000, "a"));
  EXPECT_EQ(text_of(many),
            "too_large: the values of 17 of 1000 keys take 71303168 bytes, limit of an answer "
            "67108864");
  EXPECT_TRUE(greedy.call(dict, "get_many", std::vector<WireValue>(15, "a")));
  EXPECT_EQ(greedy.call(list, "repeat", std::int64_t{1000}).error(), Errc::too_large);
  // Four letters for each byte.
  EXPECT_EQ(greedy.call(list, "#text").error(), Errc::too_large);
  EXPECT_THAT(decode_reply<std::string>(greedy.call(0, "debug_info")).unwrap(),
              HasSubstr("list refcount=1\n    [b'\\x00\\x00"));
  EXPECT_LT(passel_test::peak_memory(*manager.pid()), before + (1 << 20));
  EXPECT_TRUE(greedy.call(list, "size"));
}

TEST_P(HostileClient, Fault56SessionsHaveALimit) {
  auto manager = started({.limits = {.sessions = 3}});
  Stranger first{manager.address()};
  Stranger second{manager.address()};
  const std::uint64_t event = first.make("Event");
  {
    Stranger third{manager.address()};
    ASSERT_TRUE(third.link);
    EXPECT_EQ(Stranger{manager.address()}.link.error(), Errc::full);
    EXPECT_TRUE(first.call(event, "is_set"));
  }
  // Its place is free when the server has read its goodbye.
  while (!Stranger{manager.address()}.link) EXPECT_TRUE(first.call(event, "is_set"));
}

TEST(HostileClients, Fault56OneHostHasALimitOverTcp) {
  auto manager =
      SyncManager::started(
          {.address = TcpAddress{}, .authkey = owners_key, .limits = {.sessions_of_host = 2}})
          .unwrap();
  const Stranger first{manager.address()};
  const Stranger second{manager.address()};
  EXPECT_TRUE(second.link);
  EXPECT_EQ(Stranger{manager.address()}.link.error(), Errc::full);
}

TEST(HostileClients, Fault56SilentStrangersKeepNobodyOut) {
  for (const bool all : {true, false}) {
    passel::ManagerLimits limits;
    (all ? limits.sessions : limits.sessions_of_host) = 2;
    auto manager =
        SyncManager::started({.address = TcpAddress{}, .authkey = owners_key, .limits = limits})
            .unwrap();
    std::vector<passel_test::RawPeer> silent;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(silent.emplace_back(manager.address()).connect());
    const Stranger first{manager.address()};
    EXPECT_TRUE(first.link);
    const Stranger second{manager.address()};
    EXPECT_TRUE(second.link);
    EXPECT_EQ(Stranger{manager.address()}.link.error(), Errc::full);
  }
}

// Its stderr is a pipe that is not read, and takes some hundred lines.
TEST(DISABLED_ExecutedCopy, ManagerWithALog) {
  passel::log_to_stderr(passel::LogLevel::debug);
  auto manager = SyncManager::started({.authkey = owners_key}).unwrap();
  const auto counter = manager.value<int>(0).unwrap();
  for (int n = 0; n < 1500; ++n) {
    ASSERT_TRUE(Stranger{manager.address()}.link);  // whose end is a line in the log
    counter.set(n).unwrap();
  }
  EXPECT_EQ(counter.get().unwrap(), 1499);
}

TEST(HostileClients, Fault55AServerWhoseLogNobodyReadsServesAllTheSame) {
  const auto run =
      passel_test::run_copy("ManagerWithALog", {}, passel_test::ReadErrors::at_the_end);
  EXPECT_EQ(run.exitcode, 0);
  EXPECT_GT(run.errors.size(), 60'000U);  // it was full
}

/// Calls and notes as they come out of a broken or hostile program.
class Noise {
 public:
  explicit Noise(std::uint64_t seed) : random_{seed} {}

  std::vector<std::byte> bytes() {
    auto good = encode_pack(WireValue::list({1, "two", 3.0, nullptr}), true, std::int64_t{-1}, "x")
                    .unwrap()
                    .bytes;
    switch (random_() % 4) {
      case 0: return good;
      case 1: good.resize(random_() % good.size()); return good;
      case 2:
        for (int n = 0; n < 8; ++n) good[random_() % good.size()] = std::byte(random_());
        return good;
      default: {
        std::vector<std::byte> junk(random_() % 200);
        for (auto& one : junk) one = std::byte(random_());
        return junk;
      }
    }
  }
  std::string_view word() {
    static constexpr std::string_view words[] = {
        "acquire",   "release",     "give_back",   "get",      "put",
        "task_done", "join",        "append",      "pop",      "set",
        "clear",     "wait",        "notify",      "reset",    "abort",
        "slice",     "#text",       "#copy",       "#methods", "types",
        "create ",   "create list", "create Lock", "hold",     "lend",
        "drop",      "kept",        "back",        "",         "\n"};
    return words[random_() % std::size(words)];
  }
  std::uint64_t object() { return random_() % 8 == 0 ? random_() : random_() % 14; }
  std::uint64_t operator()() { return random_(); }

 private:
  std::mt19937_64 random_;
};

TEST_P(HostileClient, Fault47WhateverAKeyHolderSaysIsAnsweredAndOthersAreServed) {
  auto manager = started({.limits = {.objects_of_session = 200, .calls_of_session = 200}});
  const auto counter = manager.value<int>(0).unwrap();
  Noise noise{passel_test::seed()};
  const unsigned rounds = passel_test::rounds(8);
  for (unsigned round = 0; round < rounds; ++round) {
    Stranger hostile{manager.address()};
    const std::vector<std::uint64_t> objects{hostile.make("Lock"),
                                             hostile.make("RLock"),
                                             hostile.make("Condition"),
                                             hostile.make("Semaphore", std::int64_t{1}),
                                             hostile.make("Event"),
                                             hostile.make("Barrier", std::int64_t{2}),
                                             hostile.make("JoinableQueue", std::int64_t{3}),
                                             hostile.make("list", std::vector<WireValue>{1, 2}),
                                             hostile.make("dict", std::vector<WireValue>{})};
    for (int n = 0; n < 500; ++n) {
      const std::uint64_t target =
          noise() % 3 == 0 ? noise.object() : objects[noise() % objects.size()];
      if (noise() % 4 == 0) {
        (*hostile.link)->notify(target, noise.word(), noise.bytes());
        continue;
      }
      Encoded args;
      args.bytes = noise.bytes();
      const std::uint64_t call = (*hostile.link)
                                     ->call_async({.target = target,
                                                   .method = noise.word(),
                                                   .args = std::move(args),
                                                   .deadline = Deadline::after(50ms)},
                                                  [](const Result<SessionReply>&) {});
      if (noise() % 8 == 0) (*hostile.link)->cancel(call);
    }
    counter.set(static_cast<int>(round)).unwrap();
    EXPECT_EQ(counter.get().unwrap(), static_cast<int>(round));
    EXPECT_TRUE((*hostile.link)->is_open());
  }
}

}  // namespace
