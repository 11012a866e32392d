// The server of a manager and what is hosted in it: whose calls wait for whom, and what survives
// objects that throw, wait for each other, or hold each other in long chains.
#include <passel/base_manager.hpp>
#include <passel/detail/io_loop.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/pipe.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/blocked_thread.hpp"

#include <sys/resource.h>
#include <unistd.h>
#include <atomic>
#include <fstream>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// NOLINTNEXTLINE(bugprone-macro-parentheses)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

namespace {

using namespace std::chrono_literals;
using passel::BaseManager;
using passel::DynamicProxy;
using passel::Errc;
using passel::Future;
using passel::ListProxy;
using passel::Proxy;
using passel::Result;
using passel::SyncManager;
using passel::WireValue;
using passel::detail::Deadline;
using passel::detail::encode_pack;
using passel::detail::Encoded;
using passel::detail::IoLoop;
using passel::detail::SessionLink;
using passel::detail::SessionReply;
using passel_test::BlockedThread;
using ::testing::HasSubstr;

/// What methods in this process wait at, until the test opens it.
struct Gate {
  std::latch inside;
  std::latch open{1};
};

/// An argument whose codec throws.
struct Even {
  int value = 0;
};

/// Waits in its method, and notices whether it is looked at meanwhile.
struct Waiter {
  int wait() {
    running = true;
    gate->inside.count_down();
    gate->open.wait();
    running = false;
    return 1;
  }
  int take(Even even) { return even.value; }
  [[nodiscard]] bool is_running() const { return running; }
  [[nodiscard]] std::string to_string() const {
    if (running) disturbed = true;
    return "Waiter";
  }
  std::atomic<bool> running{false};
  static inline std::atomic<bool> disturbed{false};
  static inline std::unique_ptr<Gate> gate{};
};

struct Opener {
  void open() { Waiter::gate->open.count_down(); }
};

/// Takes its time to be made, on a thread that may wait.
struct Late {
  Late() {
    Waiter::gate->inside.count_down();
    Waiter::gate->open.wait();
  }
  [[nodiscard]] int one() const { return 1; }
};

/// The same, and counts how many were begun.
struct Counted {
  Counted() {
    ++begun;
    Waiter::gate->open.wait();
  }
  [[nodiscard]] int one() const { return 1; }
  static inline std::atomic<int> begun{0};
};

/// One thing under two names, with different methods.
struct Diary {
  void write(const std::string& text) { lines.push_back(text); }
  [[nodiscard]] std::vector<std::string> read() const { return lines; }
  std::vector<std::string> lines;
};
Diary& the_diary() {
  static Diary diary;
  return diary;
}

Waiter& the_waiter() {
  static Waiter waiter;
  return waiter;
}

/// Keeps what it is given, which may name objects.
struct Keeper {
  void keep(WireValue value) { kept = std::move(value); }
  [[nodiscard]] WireValue show() const { return kept; }
  WireValue kept{};
};

/// It has no text.
struct Mute {
  [[nodiscard]] std::string to_string() const { throw std::runtime_error{"no words"}; }
  [[nodiscard]] int words() const& noexcept { return 3; }
  void listen() & {}
  void complain(std::uint64_t length) const { throw std::runtime_error{std::string(length, 'x')}; }
};

}  // namespace

template <>
struct passel::codec<Even> {
  static WireValue encode(const Even& even) { return WireValue{even.value}; }
  static Result<Even> decode(const WireValue& value) {
    const auto number = value.as_int64().value_or(1);
    if (number % 2 != 0) throw std::invalid_argument{"that is odd"};
    return Even{static_cast<int>(number)};
  }
};

namespace {

/// A server in this process.
class HostedObjects : public ::testing::Test {
 protected:
  HostedObjects() {
    manager.register_type<Waiter, &Waiter::wait, &Waiter::take>("Waiter").unwrap();
    manager.register_type<Waiter, passel::factory<&the_waiter>, &Waiter::wait>("Slow").unwrap();
    manager
        .register_type<Waiter, passel::factory<&the_waiter>, passel::quick_methods,
                       &Waiter::is_running>("Quick")
        .unwrap();
    manager.register_type<Opener, &Opener::open>("Opener").unwrap();
    manager.register_type<Mute, &Mute::complain, &Mute::words, &Mute::listen>("Mute").unwrap();
    manager.register_type<Late, &Late::one>("Late").unwrap();
    manager.register_type<Counted, &Counted::one>("Counted").unwrap();
    manager.register_type<Diary, passel::factory<&the_diary>, &Diary::write>("Writer").unwrap();
    manager.register_type<Diary, passel::factory<&the_diary>, &Diary::read>("Reader").unwrap();
    manager.register_type<Keeper, &Keeper::keep, &Keeper::show>("Keeper").unwrap();
    server.emplace(manager.get_server().unwrap());
    set_gate(1);
  }
  static void set_gate(int waiters) { Waiter::gate.reset(new Gate{std::latch{waiters}}); }

  BaseManager manager;
  std::optional<passel::ManagerServer> server;
};

TEST_F(HostedObjects, AnAnswerIsNotHeldUpByWhoReadsForItself) {
  auto waiter = manager.create<Waiter>("Waiter").unwrap();
  const auto opener = manager.create<Opener>("Opener").unwrap();
  // It reads the connection while it waits, also what is for others.
  BlockedThread reader{[&] { EXPECT_EQ(waiter.call<&Waiter::wait>().unwrap(), 1); }};
  Waiter::gate->inside.wait();
  reader.wait_until_blocked();
  EXPECT_EQ(opener.call_async<std::string>("#text").get().unwrap().empty(), false);
  EXPECT_FALSE(reader.ended());
  opener.call_async<&Opener::open>().get().unwrap();
}

TEST_F(HostedObjects, LookingAtAnObjectWaitsForItsMethod) {
  auto waiter = manager.create<Waiter>("Waiter").unwrap();
  Future<int> waits = waiter.call_async<&Waiter::wait>();
  Waiter::gate->inside.wait();
  Future<std::string> text = waiter.call_async<std::string>("#text");
  Future<WireValue> copy = waiter.call_async<WireValue>("#copy");
  EXPECT_THAT(manager.debug_info().unwrap(), HasSubstr("Waiter refcount=1\n    (a method of it"));
  EXPECT_FALSE(text.done());
  EXPECT_FALSE(copy.done());
  EXPECT_FALSE(Waiter::disturbed);
  EXPECT_EQ(waiter.methods().unwrap().size(), 2U);
  Waiter::gate->open.count_down();
  EXPECT_EQ(waits.get().unwrap(), 1);
  EXPECT_EQ(text.get().unwrap(), "Waiter");
  EXPECT_EQ(copy.get().error(), Errc::unsupported);
  EXPECT_FALSE(Waiter::disturbed);
}

TEST_F(HostedObjects, TextsAndCodecsThatThrowAreErrorsOfTheCallAlone) {
  const DynamicProxy mute = manager.create("Mute").unwrap();
  const auto none = mute.text();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error(), Errc::task_failed);
  EXPECT_THAT(none.error().what(), HasSubstr("no words"));
  EXPECT_THAT(manager.debug_info().unwrap(), HasSubstr("no words"));
  const DynamicProxy waiter = manager.create("Waiter").unwrap();
  const auto odd = waiter.call<int>("take", 3);
  ASSERT_FALSE(odd);
  EXPECT_THAT(odd.error().what(), HasSubstr("that is odd"));
  EXPECT_EQ(waiter.call<int>("take", 4).unwrap(), 4);
  // The same here, in what reads the answer of a future.
  const auto here = mute.call_async<Even>("words").get();
  ASSERT_FALSE(here);
  EXPECT_THAT(here.error().what(), HasSubstr("that is odd"));
}

TEST_F(HostedObjects, AnErrorThatIsTooLongForAMessageIsCutShortAndTheSessionGoesOn) {
  const DynamicProxy mute = manager.create("Mute").unwrap();
  const auto failed = mute.call<void>("complain", std::uint64_t{70} << 20);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(), Errc::task_failed);
  const std::string what = failed.error().what();
  EXPECT_THAT(what, HasSubstr("xxx..."));
  EXPECT_LT(what.size(), 10'000U);
  EXPECT_EQ(mute.text().error(), Errc::task_failed);  // over the same connection
  EXPECT_EQ(mute.call<int>("words").unwrap(), 3);
  EXPECT_TRUE(mute.call<void>("listen"));
}

TEST_F(HostedObjects, MethodsThatWaitForAnotherOneNeverTakeAllThreads) {
  constexpr int many = 70;
  set_gate(many);
  std::vector<Proxy<Waiter>> waiters;
  std::vector<Future<int>> answers;
  for (int n = 0; n < many; ++n) {
    waiters.push_back(manager.create<Waiter>("Waiter").unwrap());
    answers.push_back(waiters.back().call_async<&Waiter::wait>());
  }
  auto opener = manager.create<Opener>("Opener").unwrap();
  opener.call<&Opener::open>().unwrap();
  for (auto& answer : answers) EXPECT_EQ(answer.get().unwrap(), 1);
}

TEST_F(HostedObjects, AConstructorThatWaitsHoldsUpNobody) {
  BlockedThread maker{[&] {
    auto late = manager.create<Late>("Late").unwrap();
    EXPECT_EQ(late.call<&Late::one>().unwrap(), 1);
  }};
  Waiter::gate->inside.wait();
  EXPECT_EQ(manager.number_of_objects().unwrap(), 0U);
  manager.create<Opener>("Opener").unwrap().call<&Opener::open>().unwrap();
}

/// A client that gives up what it has asked for.
class Impatient {
 public:
  explicit Impatient(const passel::Address& address)
      : link_{SessionLink::connect(loop_, address, {.authkey = passel::authkey()},
                                   Deadline::after(30s))
                  .unwrap()} {}
  std::uint64_t begin(std::string_view method, Encoded args) {
    return link_->call_async(
        {.target = 0, .method = method, .args = std::move(args), .deadline = Deadline::never()},
        [](const Result<SessionReply>&) {});
  }
  void give_up(std::uint64_t call) { link_->cancel(call); }
  Result<SessionReply> call(std::string_view method) {
    return link_->call({.target = 0,
                        .method = method,
                        .args = encode_pack().unwrap(),
                        .deadline = Deadline::never()});
  }

 private:
  IoLoop loop_;
  std::shared_ptr<SessionLink> link_;
};

// Fault 56.
TEST_F(HostedObjects, WhatNobodyWaitsForIsNotMade) {
  constexpr int at_once = 64;
  constexpr int more = 20;
  Impatient client{manager.address()};
  for (int n = 0; n < at_once; ++n) client.begin("create Counted", encode_pack().unwrap());
  while (Counted::begun < at_once) std::this_thread::yield();
  for (int n = 0; n < more; ++n)
    client.give_up(client.begin("create Counted", encode_pack().unwrap()));
  client.call("ping").unwrap();  // all that has been heard by now
  Waiter::gate->open.count_down();
  client.call("create Counted").unwrap();
  // One or the other may have been begun before it was given up.
  EXPECT_LT(Counted::begun, at_once + more + 1);
}

// Fault 56.
TEST_F(HostedObjects, TheArgumentsOfWhoWaitsForANameNoMoreAreLetGoOf) {
  BlockedThread maker{[&] { EXPECT_TRUE(manager.get_or_create("late", "Late").is_ok()); }};
  Waiter::gate->inside.wait();
  auto [mine, theirs] = passel::Pipe::create().unwrap();
  Impatient client{manager.address()};
  const auto call = client.begin("get_or_create late\nLate", encode_pack(theirs).unwrap());
  { const auto gone = std::move(theirs); }
  client.call("ping").unwrap();
  client.give_up(call);
  // The end of the line: the server has let go of the other one.
  EXPECT_EQ(mine.recv<int>().error(), Errc::closed);
  Waiter::gate->open.count_down();
  maker.join();
}

TEST_F(HostedObjects, AQuickMethodDoesNotPassByAnotherOneOfTheSameThing) {
  const auto slow = manager.create("Slow").unwrap();
  const auto quick = manager.create("Quick").unwrap();
  auto waits = slow.call_async<int>("wait");
  Waiter::gate->inside.wait();
  auto running = quick.call_async<bool>("is_running");
  manager.create("Mute").unwrap();  // that has been heard by now
  Waiter::gate->open.count_down();
  EXPECT_FALSE(running.get().unwrap());
  EXPECT_EQ(waits.get().unwrap(), 1);
}

TEST_F(HostedObjects, AServerMayBeClosedWhileWhatHasANameIsMade) {
  BlockedThread asker{[&] { EXPECT_TRUE(manager.get_or_create("late", "Late").is_err()); }};
  Waiter::gate->inside.wait();
  BlockedThread closer{[&] { server.reset(); }};
  asker.join();
  Waiter::gate->open.count_down();
  closer.join();
}

TEST_F(HostedObjects, OneThingUnderTwoNamesHasTheMethodsOfEach) {
  auto writer = manager.create<Diary>("Writer").unwrap();
  auto reader = manager.create<Diary>("Reader").unwrap();
  writer.call<&Diary::write>("today").unwrap();
  EXPECT_EQ(reader.call<&Diary::read>().unwrap().back(), "today");
  EXPECT_EQ(reader.call<void>("write", "never").error(), Errc::not_found);
  EXPECT_EQ(writer.call<WireValue>("read").error(), Errc::not_found);
}

TEST_F(HostedObjects, WhatAMethodKeepsLivesAsLongAsItsValue) {
  auto keeper = manager.create<Keeper>("Keeper").unwrap();
  {
    const auto opener = manager.create<Opener>("Opener").unwrap();
    keeper.call<void>("keep", passel::to_value(opener)).unwrap();
  }
  EXPECT_EQ(manager.number_of_objects().unwrap(), 2U);
  keeper.call<void>("keep", WireValue{}).unwrap();
  // Its method lets go of the old value when it has answered.
  while (manager.number_of_objects().unwrap() != 1) std::this_thread::yield();
}

/// Takes from its process, and gives back, what a new thread's stack needs.
struct Memory {
  void take() {
    ::getrlimit(RLIMIT_AS, &before);
    std::ifstream file{"/proc/self/statm"};
    rlim_t pages = 0;
    file >> pages;
    const rlim_t now = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
    const rlimit limit{now + (rlim_t{1} << 20), before.rlim_max};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  void give_back() { ::setrlimit(RLIMIT_AS, &before); }
  rlimit before{};
};

TEST(HostedThreads, ACallThatNoThreadCanBeStartedForIsAnError) {
  if (sanitized) GTEST_SKIP() << "a sanitizer needs address space of its own";
  BaseManager manager;
  manager.register_type<Memory, &Memory::take, &Memory::give_back, passel::quick_methods>("Memory")
      .unwrap();
  manager.register_type<Waiter, &Waiter::take>("Waiter").unwrap();
  manager.start().unwrap();
  auto memory = manager.create<Memory>("Memory").unwrap();
  memory.call<&Memory::take>().unwrap();
  EXPECT_EQ(manager.create("Waiter").error(), Errc::no_space);
  memory.call<&Memory::give_back>().unwrap();
  const DynamicProxy waiter = manager.create("Waiter").unwrap();
  EXPECT_EQ(waiter.call<int>("take", 2).unwrap(), 2);
}

// Fault 47.
TEST(HostedChains, AChainOfObjectsOfAnyLengthIsDisposedOf) {
  SyncManager manager = SyncManager::started().unwrap();
  {
    ListProxy<WireValue> head = manager.list<WireValue>().unwrap();
    for (int n = 0; n < 12'000; ++n) {
      auto next = manager.list<WireValue>().unwrap();
      next.append(passel::to_value(head)).unwrap();
      head = std::move(next);
    }
    EXPECT_EQ(manager.number_of_objects().unwrap(), 12'001U);
  }
  EXPECT_EQ(manager.number_of_objects().unwrap(), 0U);
}

}  // namespace
