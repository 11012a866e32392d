// Threads, after CPython's test_threading.py: names of its cases stand where they were ported.
#include <passel/thread.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/blocked_thread.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::active_count;
using passel::current_thread;
using passel::enumerate_threads;
using passel::Errc;
using passel::main_thread;
using passel::Thread;
using passel::ThreadOf;
using passel::ThreadOptions;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

/// A door that starts closed.
class Gate {
 public:
  void open() {
    open_.store(true);
    open_.notify_all();
  }
  void pass() const { open_.wait(false); }

 private:
  std::atomic<bool> open_{false};
};

void work(int) {}
template <class T>
void work_on(T) {}
struct Spider {
  void crawl() const {}
};

TEST(Thread, RunsItsTargetOnceWithItsArguments) {
  // ThreadTests.test_args_argument, BaseThreadTests in general.
  std::atomic<int> sum{0};
  const Thread t{[&](int a, const std::string& b) { sum += a + std::stoi(b); }, 40, "2"};
  t.start().unwrap();
  t.join().unwrap();
  EXPECT_EQ(sum, 42);

  auto moved = std::make_unique<int>(7);  // what can only be moved comes as it is
  Thread::spawn([&](std::unique_ptr<int> it) { sum = *it; }, std::move(moved))
      .unwrap()
      .join()
      .unwrap();
  EXPECT_EQ(sum, 7);

  const Thread nothing;
  nothing.start().unwrap();
  nothing.join().unwrap();
  EXPECT_FALSE(nothing.is_alive());
}

TEST(Thread, SeveralAtOnce) {
  // ThreadTests.test_various_ops
  constexpr int tasks = 10;
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::vector<Thread> threads;
  for (int i = 0; i < tasks; ++i) {
    threads.emplace_back(ThreadOptions{.name = "<thread " + std::to_string(i) + ">"}, [&] {
      const int now = ++running;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      EXPECT_THAT(enumerate_threads(), Contains(current_thread()));
      --running;
    });
    EXPECT_FALSE(threads.back().ident().has_value());
    EXPECT_FALSE(threads.back().native_id().has_value());
    EXPECT_THAT(threads.back().to_string(), MatchesRegex("<Thread\\(<thread .>, initial\\)>"));
    threads.back().start().unwrap();
    EXPECT_TRUE(threads.back().ident().has_value());
  }
  std::set<int> native{passel::get_native_id()};
  for (const Thread& t : threads) {
    t.join().unwrap();
    EXPECT_FALSE(t.is_alive());
    EXPECT_NE(t.ident().value(), 0U);
    native.insert(t.native_id().value());
    EXPECT_THAT(t.to_string(), MatchesRegex("<Thread\\(<thread .>, stopped [0-9]+\\)>"));
  }
  EXPECT_EQ(running, 0);
  EXPECT_GE(most, 1);
  EXPECT_GE(native.size(), 2U);  // numbers of ended threads may be given again
}

TEST(Thread, NativeIdsDifferWhileTheyLive) {
  Gate gate;
  std::vector<Thread> threads;
  for (int i = 0; i < 5; ++i) threads.push_back(Thread::spawn([&] { gate.pass(); }).unwrap());
  std::set<int> native{main_thread().native_id().value()};
  for (const Thread& t : threads) native.insert(t.native_id().value());
  EXPECT_EQ(native.size(), 6U);
  gate.open();
  for (const Thread& t : threads) t.join().unwrap();
}

TEST(Thread, CanBeStartedOnce) {
  // ThreadingExceptionTests.test_start_thread_again
  const Thread t;
  t.start().unwrap();
  const auto again = t.start();
  ASSERT_TRUE(again.is_err());
  EXPECT_EQ(again.error().code(), Errc::invalid_state);
  EXPECT_EQ(again.error().what(), "threads can only be started once");
  t.join().unwrap();
  EXPECT_TRUE(t.start().is_err());
}

TEST(Thread, ThatTheSystemRefusesLeavesNoGhost) {
  // ThreadTests.test_limbo_cleanup
  const auto before = active_count();
  const auto old = passel::set_stack_size(std::size_t{1} << 60U).unwrap();
  std::atomic<int> ran{0};
  const Thread t{[&] { ++ran; }};
  const auto refused = t.start();
  passel::set_stack_size(old).unwrap();
  ASSERT_TRUE(refused.is_err());
  EXPECT_EQ(refused.error().code(), Errc::no_space);
  EXPECT_THAT(refused.error().what(), HasSubstr("can't start new thread " + t.name()));
  EXPECT_EQ(active_count(), before);
  EXPECT_THAT(enumerate_threads(), Not(Contains(t)));
  EXPECT_FALSE(t.is_alive());
  EXPECT_EQ(t.native_id(), std::nullopt);
  EXPECT_EQ(t.join().error().what(), "cannot join thread before it is started");
  // It is as it was.
  t.start().unwrap();
  t.join().unwrap();
  EXPECT_EQ(ran, 1);
}

struct Sum {
  int a = 0;
  int b = 0;
  int result = 0;
  std::string ran_in{};
  void run() {
    result = a + b;
    ran_in = current_thread().name();
  }
};

TEST(Thread, AnObjectWithRunTakesTheTargetsPlace) {
  // Python's subclass with its own run; ThreadTests.test_various_ops
  const ThreadOf<Sum> t{{.name = "adder"}, 40, 2};
  EXPECT_EQ(t.name(), "adder");
  t->run();  // in this thread
  EXPECT_EQ(t->ran_in, current_thread().name());
  EXPECT_EQ(t.join().error().what(), "cannot join thread before it is started");
  t->result = 0;
  t.start().unwrap();
  t.join().unwrap();
  EXPECT_EQ(t->result, 42);
  EXPECT_EQ((*t).ran_in, "adder");
  const ThreadOf<Sum> unnamed;
  EXPECT_THAT(unnamed.name(), MatchesRegex("Thread-[0-9]+"));
}

TEST(Thread, RunCallsTheTargetHere) {
  std::uint64_t ran_in = 0;
  const Thread t{[&] { ran_in = passel::get_ident(); }};
  t.run().unwrap();
  EXPECT_EQ(ran_in, passel::get_ident());
  EXPECT_EQ(t.run().error().code(), Errc::invalid_state);
  EXPECT_EQ(t.join().error().code(), Errc::invalid_state);
  const Thread thrower{[] { throw std::runtime_error{"here"}; }};
  EXPECT_THROW(static_cast<void>(thrower.run().is_ok()), std::runtime_error);
}

TEST(Thread, JoinForGivesUpInTime) {
  // ThreadTests.test_join_with_timeout
  Gate gate;
  const Thread t{[&] { gate.pass(); }};
  t.start().unwrap();
  for (const auto limit : {-1ms, 0ms, 10ms}) {
    const auto joined = t.join_for(limit);
    ASSERT_TRUE(joined.is_err());
    EXPECT_EQ(joined.error().code(), Errc::timeout);
    EXPECT_THAT(joined.error().what(), HasSubstr(t.name()));
    EXPECT_TRUE(t.is_alive());
  }
  gate.open();
  t.join_for(passel::timeout_max).unwrap();
  EXPECT_FALSE(t.is_alive());
  t.join_for(std::chrono::hours::max()).unwrap();
  t.join_for(-1s).unwrap();
  t.join().unwrap();
}

#ifndef __SANITIZE_THREAD__  // where the wait for this has no limit
TEST(Thread, JoinForDoesNotWaitForAThreadLocalForEver) {
  struct Stuck {
    Gate* gate;
    ~Stuck() { gate->pass(); }
  };
  Gate gate;
  const Thread t = Thread::spawn([&] { static thread_local const Stuck stuck{&gate}; }).unwrap();
  EXPECT_EQ(t.join_for(1ms).error().code(), Errc::timeout);
  gate.open();
  t.join().unwrap();
}
#endif

TEST(Thread, NativeIdIsNotAwaitedOfOneThatCannotStart) {
  const auto old = passel::set_stack_size(std::size_t{1} << 60U).unwrap();
  for (int i = 0; i < 200; ++i) {
    const Thread t;
    std::thread asker{[&] { EXPECT_EQ(t.native_id(), std::nullopt); }};
    EXPECT_TRUE(t.start().is_err());
    asker.join();
  }
  passel::set_stack_size(old).unwrap();
}

TEST(Thread, ManyMayJoinAtOnce) {
  // ThreadTests.test_join_from_multiple_threads
  Gate gate;
  const Thread t{[&] { gate.pass(); }};
  t.start().unwrap();
  std::atomic<int> joined{0};
  {
    std::vector<std::unique_ptr<passel_test::BlockedThread>> joiners;
    for (int i = 0; i < 8; ++i) {
      joiners.push_back(std::make_unique<passel_test::BlockedThread>([&, i] {
        if (i % 2 == 0)
          t.join().unwrap();
        else
          t.join_for(1h).unwrap();
        EXPECT_FALSE(t.is_alive());
        ++joined;
      }));
    }
    for (const auto& joiner : joiners) joiner->wait_until_blocked();
    EXPECT_EQ(joined, 0);
    gate.open();
  }
  EXPECT_EQ(joined, 8);
}

TEST(Thread, CannotJoinItselfOrBeforeTheStart) {
  // ThreadingExceptionTests.test_joining_current_thread, test_joining_inactive_thread
  const Thread idle;
  EXPECT_EQ(idle.join().error().what(), "cannot join thread before it is started");
  EXPECT_EQ(idle.join_for(1s).error().code(), Errc::invalid_state);
  std::string error;
  Thread::spawn([&] { error = current_thread().join().error().what(); }).unwrap().join().unwrap();
  EXPECT_EQ(error, "cannot join current thread");
  EXPECT_EQ(main_thread().join().error().what(), "cannot join current thread");
}

TEST(Thread, ACircleOfJoinsIsAnErrorForTheLastOne) {
  constexpr std::size_t size = 3;
  std::vector<Thread> circle;
  std::atomic<int> deadlocks{0};
  Gate gate;
  for (std::size_t i = 0; i < size; ++i) {
    circle.emplace_back([&, i] {
      gate.pass();
      const auto joined = circle[(i + 1) % size].join();
      if (joined) return;
      EXPECT_EQ(joined.error().code(), Errc::deadlock);
      ++deadlocks;
    });
  }
  for (const Thread& t : circle) t.start().unwrap();
  gate.open();
  for (const Thread& t : circle) t.join().unwrap();
  EXPECT_EQ(deadlocks, 1);  // it lets the others end
}

TEST(Thread, AThreadMayStartAndJoinOthers) {
  // ThreadJoinOnShutdown.test_thread_from_thread
  std::atomic<int> done{0};
  Thread::spawn([&] {
    const auto inner = Thread::spawn([&] { ++done; }).unwrap();
    inner.join().unwrap();
    ++done;
  })
      .unwrap()
      .join()
      .unwrap();
  EXPECT_EQ(done, 2);
}

TEST(Thread, HasANameOfItsOwn) {
  // ThreadTests.test_name, test_old_threading_api
  EXPECT_EQ(Thread(ThreadOptions{.name = "myname"}).name(), "myname");
  const Thread first;
  const Thread second{ThreadOptions{.name = ""}, work, 1};
  EXPECT_THAT(first.name(), MatchesRegex("Thread-[0-9]+"));
  EXPECT_THAT(second.name(), MatchesRegex("Thread-[0-9]+"));
  EXPECT_NE(first.name(), second.name());
  EXPECT_THAT(Thread::make<work>({}, 1).name(), MatchesRegex("Thread-[0-9]+ \\(work\\)"));
  EXPECT_THAT(Thread::make<work_on<int>>({}, 1).name(),
              MatchesRegex("Thread-[0-9]+ \\(work_on\\)"));
  EXPECT_THAT(Thread::make<&Spider::crawl>({}, Spider{}).name(),
              MatchesRegex("Thread-[0-9]+ \\(crawl\\)"));
  EXPECT_EQ(Thread::make<work>({.name = "given"}, 1).name(), "given");
  const auto named = Thread::spawn<work>({.name = "worker"}, 1).unwrap();
  named.set_name("renamed");
  EXPECT_EQ(named.name(), "renamed");
  named.join().unwrap();
  Thread::spawn<work>(2).unwrap().join().unwrap();
  named.set_name("after the end");
  EXPECT_EQ(named.name(), "after the end");
}

/// What the kernel calls the calling thread.
std::string os_name() {
  char name[16] = "";
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return name;
}

TEST(Thread, TheSystemKnowsItsNameCutAtACharacter) {
  // Python 3.14: gh-59705
  const auto name_of = [](const char* given) {
    std::string seen;
    Thread::spawn({.name = given}, [&] { seen = os_name(); }).unwrap().join().unwrap();
    return seen;
  };
  EXPECT_EQ(name_of("worker"), "worker");
  EXPECT_EQ(name_of("fifteen letters"), "fifteen letters");
  EXPECT_EQ(name_of("sixteen letters!"), "sixteen letters");
  EXPECT_EQ(name_of("fourteen-bytes\u00e9"), "fourteen-bytes");
  EXPECT_EQ(name_of("thirteen-byte\u00e9"), "thirteen-byte\u00e9");
  EXPECT_EQ(name_of("thirteen-byte\u20ac"), "thirteen-byte");
}

TEST(Thread, IdentIsWhatGetIdentSaysInIt) {
  // ThreadTests.test_ident_of_no_threading_threads
  std::uint64_t seen = 0;
  int seen_native = 0;
  const auto t = Thread::spawn([&] {
                   seen = passel::get_ident();
                   seen_native = passel::get_native_id();
                   EXPECT_EQ(current_thread().ident(), seen);
                 }).unwrap();
  EXPECT_EQ(t.native_id(), (t.join().unwrap(), seen_native));
  EXPECT_EQ(t.ident(), seen);
  EXPECT_NE(seen, 0U);
  EXPECT_NE(seen, passel::get_ident());
  EXPECT_EQ(current_thread().ident(), passel::get_ident());
  EXPECT_EQ(current_thread().native_id(), passel::get_native_id());
  std::thread{[] { EXPECT_EQ(current_thread().ident(), passel::get_ident()); }}.join();
}

TEST(Thread, DaemonIsInheritedAndFixedByTheStart) {
  // ThreadTests.test_daemon_param, ThreadingExceptionTests.test_daemonize_active_thread
  EXPECT_FALSE(Thread{}.daemon());
  EXPECT_FALSE(Thread(ThreadOptions{.daemon = false}).daemon());
  EXPECT_TRUE(Thread(ThreadOptions{.daemon = true}).daemon());
  const Thread t{[] { EXPECT_TRUE(Thread{}.daemon()); }};
  t.set_daemon(true).unwrap();
  t.start().unwrap();
  const auto late = t.set_daemon(false);
  EXPECT_EQ(late.error().what(), "cannot set daemon status of active thread");
  EXPECT_TRUE(t.daemon());
  t.join().unwrap();
  EXPECT_EQ(t.set_daemon(false).error().code(), Errc::invalid_state);
  EXPECT_EQ(main_thread().set_daemon(true).error().code(), Errc::invalid_state);
}

TEST(Thread, ActiveCountFollows) {
  EXPECT_EQ(active_count(), 1U);
  EXPECT_EQ(enumerate_threads(), std::vector<Thread>{main_thread()});
  Gate gate;
  const auto t = Thread::spawn([&] { gate.pass(); }).unwrap();
  EXPECT_EQ(active_count(), 2U);
  EXPECT_EQ(enumerate_threads(), (std::vector<Thread>{main_thread(), t}));
  gate.open();
  t.join().unwrap();
  EXPECT_EQ(active_count(), 1U);
}

TEST(Thread, IsNotEnumeratedAfterItsJoin) {
  // ThreadTests.test_enumerate_after_join
  for (int i = 0; i < 500; ++i) {
    const auto t = Thread::spawn([] {}).unwrap();
    t.join().unwrap();
    ASSERT_THAT(enumerate_threads(), Not(Contains(t)));
  }
}

TEST(Thread, CurrentIsTheOneThatRuns) {
  // ThreadTests.test_main_thread
  EXPECT_EQ(current_thread(), main_thread());
  EXPECT_EQ(main_thread().name(), "MainThread");
  EXPECT_TRUE(main_thread().is_alive());
  EXPECT_FALSE(main_thread().daemon());
  std::optional<Thread> seen;
  std::optional<Thread> main;
  const Thread t{[&] {
    seen = current_thread();
    main = main_thread();
  }};
  t.start().unwrap();
  t.join().unwrap();
  EXPECT_EQ(seen, t);
  EXPECT_EQ(main, current_thread());
}

TEST(Thread, ForeignThreadsGetAStandIn) {
  // ThreadTests.test_foreign_thread
  std::optional<Thread> dummy;
  std::thread{[&] {
    const auto before = active_count();
    dummy = current_thread();
    EXPECT_EQ(dummy, current_thread());
    EXPECT_EQ(active_count(), before + 1);
    EXPECT_TRUE(dummy->is_alive());
    EXPECT_TRUE(dummy->daemon());
    EXPECT_THAT(dummy->name(), MatchesRegex("Dummy-[0-9]+"));
    EXPECT_THAT(dummy->to_string(), HasSubstr("<_DummyThread(Dummy-"));
    EXPECT_EQ(dummy->join().error().what(), "cannot join a dummy thread");
    EXPECT_TRUE(dummy->set_daemon(false).is_err());
  }}.join();
  EXPECT_FALSE(dummy->is_alive());
  EXPECT_THAT(enumerate_threads(), Not(Contains(*dummy)));
  EXPECT_EQ(dummy->join().error().what(), "cannot join a dummy thread");
}

TEST(Thread, StackSizeIsForLaterThreads) {
  // ThreadTests.test_various_ops_small_stack, test_various_ops_large_stack
  EXPECT_EQ(passel::stack_size(), 0U);
  const auto refused = passel::set_stack_size(32767);
  ASSERT_TRUE(refused.is_err());
  EXPECT_EQ(refused.error().code(), Errc::invalid_argument);
  EXPECT_THAT(refused.error().what(), HasSubstr("32767"));
  std::size_t before = 0;
  for (const std::size_t size : {std::size_t{256} << 10U, std::size_t{1} << 20U}) {
    EXPECT_EQ(passel::set_stack_size(size).unwrap(), before);
    EXPECT_EQ(passel::stack_size(), size);
    before = size;
    std::size_t given = 0;
    Thread::spawn([&] {
      pthread_attr_t attributes;
      ::pthread_getattr_np(::pthread_self(), &attributes);
      ::pthread_attr_getstacksize(&attributes, &given);
      ::pthread_attr_destroy(&attributes);
    })
        .unwrap()
        .join()
        .unwrap();
    EXPECT_GE(given, size);  // the thread sanitizer adds to it
    EXPECT_LE(given, size + (std::size_t{1} << 20U));
  }
  EXPECT_EQ(passel::set_stack_size(40000).unwrap(), before);
  EXPECT_EQ(passel::set_stack_size(0).unwrap() % 4096, 0U);
  EXPECT_EQ(passel::stack_size(), 0U);
}

TEST(Thread, SaysWhatStateItIsIn) {
  // ThreadTests.test_repr_stopped, test_repr_daemon
  Gate gate;
  const Thread t{{.name = "x", .daemon = true}, [&] { gate.pass(); }};
  EXPECT_EQ(t.to_string(), "<Thread(x, initial daemon)>");
  t.start().unwrap();
  EXPECT_THAT(t.to_string(), MatchesRegex("<Thread\\(x, started daemon [0-9]+\\)>"));
  gate.open();
  while (t.is_alive()) std::this_thread::yield();
  EXPECT_THAT(t.to_string(), MatchesRegex("<Thread\\(x, stopped daemon [0-9]+\\)>"));
  EXPECT_THAT(main_thread().to_string(),
              MatchesRegex("<_MainThread\\(MainThread, started [0-9]+\\)>"));
}

struct Noticed {
  std::shared_ptr<std::atomic<int>> destroyed;
  explicit Noticed(std::shared_ptr<std::atomic<int>> count) : destroyed{std::move(count)} {}
  Noticed(Noticed&& other) noexcept = default;
  Noticed(const Noticed&) = delete;
  Noticed& operator=(const Noticed&) = delete;
  Noticed& operator=(Noticed&&) = delete;
  ~Noticed() {
    if (destroyed) ++*destroyed;
  }
};

TEST(Thread, LetsGoOfItsArgumentsWhenTheTargetHasRun) {
  // ThreadTests.test_no_refcycle_through_target
  for (const bool throws : {false, true}) {
    const auto destroyed = std::make_shared<std::atomic<int>>(0);
    const Thread t{[throws](const Noticed& it) {
                     EXPECT_EQ(*it.destroyed, 0);
                     if (throws) throw passel::ThreadExit{};
                   },
                   Noticed{destroyed}};
    EXPECT_EQ(*destroyed, 0);
    t.start().unwrap();
    t.join().unwrap();
    EXPECT_EQ(*destroyed, 1);  // though the handle is still there
    EXPECT_EQ(destroyed.use_count(), 1);
  }
  const auto destroyed = std::make_shared<std::atomic<int>>(0);
  static_cast<void>(Thread{[](const Noticed&) {}, Noticed{destroyed}});  // never started
  EXPECT_EQ(*destroyed, 1);
}

TEST(Thread, HandlesMayBeDroppedBeforeTheEnd) {
  // ThreadTests.test_leak_without_join
  Gate gate;
  std::atomic<int> ended{0};
  Thread::spawn([&] {
    gate.pass();
    ++ended;
  }).unwrap();
  const Thread kept = enumerate_threads().back();  // it can be found again
  EXPECT_NE(kept, main_thread());
  gate.open();
  kept.join().unwrap();
  EXPECT_EQ(ended, 1);
  for (int i = 0; i < 200; ++i) Thread::spawn([] {}).unwrap();
  while (active_count() > 1) std::this_thread::yield();
}

TEST(Thread, MayBeLeftByPthreadExit) {
  const auto destroyed = std::make_shared<std::atomic<int>>(0);
  const auto t =
      Thread::spawn([](const Noticed&) { ::pthread_exit(nullptr); }, Noticed{destroyed}).unwrap();
  t.join().unwrap();
  EXPECT_FALSE(t.is_alive());
  EXPECT_EQ(*destroyed, 1);
}

TEST(Thread, IsWholeWhenItsThreadLocalsAreDestroyed) {
  struct AtEnd {
    std::optional<Thread>* seen;
    ~AtEnd() { *seen = current_thread(); }
  };
  std::optional<Thread> seen;
  const auto t = Thread::spawn([&] { static thread_local const AtEnd at_end{&seen}; }).unwrap();
  t.join().unwrap();
  EXPECT_EQ(seen, t);
  EXPECT_EQ(active_count(), 1U);
}

}  // namespace
