// Barrier, after CPython's lock_tests.py and _TestBarrier: names of its cases stand where they were
// ported.
#include <passel/barrier.hpp>
#include <passel/event.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "managed.hpp"
#include "placements.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::Barrier;
using passel::BarrierOptions;
using passel::Errc;
using passel::Event;
using passel::Process;
using passel::Queue;
using passel::Reach;
using passel::RemoteError;
using passel::Result;
using ::testing::HasSubstr;

constexpr int party_count = 5;

template <class Any>
void await_waiters(const Any& barrier, int count) {
  while (barrier.n_waiting() < count) std::this_thread::yield();
}

bool is_broken(const Result<int>& result) {
  return result.is_err() && result.error().code() == Errc::broken;
}

// ---- the same in threads and in processes -------------------------------------------------------

template <class Placement>
class BarrierAt : public ::testing::Test {
 protected:
  BarrierOf<Placement> five{{.parties = party_count, .reach = Placement::reach}};
  Queue<int> news{{.reach = Placement::reach}};
  Queue<int> more{{.reach = Placement::reach}};

  /// What `count` workers report, in the order of the numbers.
  [[nodiscard]] static std::vector<int> sorted(const Queue<int>& queue, int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(queue.get().unwrap());
    std::sort(all.begin(), all.end());
    return all;
  }
};
TYPED_TEST_SUITE(BarrierAt, Everywhere, PlacementNames);

template <class At>
void pass_often(const BarrierOf<At>& barrier, const Queue<int>& before, const Queue<int>& after,
                int passes) {
  const auto parties = static_cast<std::size_t>(barrier.parties());
  for (int i = 0; i < passes; ++i) {
    before.put(i).unwrap();
    require(after.qsize() == static_cast<std::size_t>(i) * parties, "somebody was early");
    barrier.wait().unwrap();
    after.put(i).unwrap();
    require(before.qsize() == static_cast<std::size_t>(i + 1) * parties, "somebody is missing");
    barrier.wait().unwrap();
  }
}

TYPED_TEST(BarrierAt, IsPassedInLockstep) {
  // BarrierTests.test_barrier, test_barrier_10
  Crew<TypeParam> crew;
  crew.template start_many<pass_often<TypeParam>>(party_count, this->five, this->news, this->more,
                                                  10);
  crew.join();
  EXPECT_EQ(this->more.qsize(), 50U);
  EXPECT_EQ(this->five.n_waiting(), 0);
  EXPECT_FALSE(this->five.broken());
}

template <class At>
void count_rounds(const BarrierOf<At>& barrier, const Queue<int>& news, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    if (barrier.wait().unwrap() == 0) news.put(i).unwrap();
  }
}

TYPED_TEST(BarrierAt, ThousandRounds) {
  // _TestBarrier.test_thousand: in each round there is exactly one with index 0.
  constexpr int rounds = turns<TypeParam>(1000);
  Crew<TypeParam> crew;
  crew.template start_many<count_rounds<TypeParam>>(party_count, this->five, this->news, rounds);
  crew.join();
  EXPECT_EQ(this->news.qsize(), std::size_t{rounds});
  for (int i = 0; i < rounds; ++i) ASSERT_EQ(this->news.get().unwrap(), i);
}

template <class At>
void report_index(const BarrierOf<At>& barrier, const Queue<int>& news) {
  news.put(barrier.wait().unwrap()).unwrap();
}

TYPED_TEST(BarrierAt, EachGetsAnIndexOfItsOwn) {
  // BarrierTests.test_wait_return
  Crew<TypeParam> crew;
  crew.template start_many<report_index<TypeParam>>(party_count, this->five, this->news);
  EXPECT_EQ(this->sorted(this->news, party_count), (std::vector{0, 1, 2, 3, 4}));
}

template <class At>
void abort_in_the_middle(const BarrierOf<At>& barrier, const Queue<int>& news) {
  if (barrier.wait().unwrap() == party_count / 2) {
    barrier.abort();
  } else {
    news.put(is_broken(barrier.wait()) ? 1 : 0).unwrap();
  }
}

TYPED_TEST(BarrierAt, AbortBreaksItForAll) {
  // BarrierTests.test_abort
  Crew<TypeParam> crew;
  crew.template start_many<abort_in_the_middle<TypeParam>>(party_count, this->five, this->news);
  EXPECT_EQ(this->sorted(this->news, party_count - 1), std::vector(party_count - 1, 1));
  crew.join();
  EXPECT_TRUE(this->five.broken());
  EXPECT_EQ(this->five.n_waiting(), 0);
  const auto late = this->five.wait();
  ASSERT_TRUE(is_broken(late));
  EXPECT_THAT(late.error().what(), HasSubstr("aborted it"));
  EXPECT_EQ(this->five.to_string(), "<Barrier: broken>");
}

template <class At>
void reset_in_the_middle(const BarrierOf<At>& barrier, const Queue<int>& news,
                         const Queue<int>& more) {
  if (barrier.wait().unwrap() == party_count / 2) {
    await_waiters(barrier, party_count - 1);
    barrier.reset();
  } else {
    news.put(is_broken(barrier.wait()) ? 1 : 0).unwrap();
  }
  more.put(barrier.wait().unwrap()).unwrap();
}

TYPED_TEST(BarrierAt, ResetFreesThoseWhoWait) {
  // BarrierTests.test_reset
  Crew<TypeParam> crew;
  crew.template start_many<reset_in_the_middle<TypeParam>>(party_count, this->five, this->news,
                                                           this->more);
  EXPECT_EQ(this->sorted(this->news, party_count - 1), std::vector(party_count - 1, 1));
  EXPECT_EQ(this->sorted(this->more, party_count), (std::vector{0, 1, 2, 3, 4}));
}

template <class At>
void abort_and_reset(const BarrierOf<At>& barrier, const BarrierOf<At>& other,
                     const Queue<int>& news, const Queue<int>& more) {
  abort_in_the_middle<At>(barrier, news);
  if (other.wait().unwrap() == party_count / 2) barrier.reset();
  other.wait().unwrap();
  more.put(barrier.wait().unwrap()).unwrap();
}

TYPED_TEST(BarrierAt, ResetMendsABrokenOne) {
  // BarrierTests.test_abort_and_reset
  const BarrierOf<TypeParam> other{{.parties = party_count, .reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start_many<abort_and_reset<TypeParam>>(party_count, this->five, other, this->news,
                                                       this->more);
  EXPECT_EQ(this->sorted(this->news, party_count - 1), std::vector(party_count - 1, 1));
  EXPECT_EQ(this->sorted(this->more, party_count), (std::vector{0, 1, 2, 3, 4}));
}

template <class At>
void wait_in_vain(const BarrierOf<At>& barrier, const Queue<int>& news) {
  // One comes when the time of the others is up.
  if (barrier.wait().unwrap() == party_count / 2) {
    while (!barrier.broken()) std::this_thread::yield();
  }
  news.put(is_broken(barrier.wait_for(20ms)) ? 1 : 0).unwrap();
}

TYPED_TEST(BarrierAt, TimeoutBreaksItForAll) {
  // BarrierTests.test_timeout
  Crew<TypeParam> crew;
  crew.template start_many<wait_in_vain<TypeParam>>(party_count, this->five, this->news);
  EXPECT_EQ(this->sorted(this->news, party_count), std::vector(party_count, 1));
  EXPECT_TRUE(this->five.broken());
}

template <class At>
void wait_plainly(const BarrierOf<At>& barrier, const Queue<int>& news) {
  news.put(is_broken(barrier.wait()) ? 1 : 0).unwrap();
}

TYPED_TEST(BarrierAt, DefaultTimeoutIsThatOfWait) {
  // BarrierTests.test_default_timeout
  const BarrierOf<TypeParam> barrier{{.parties = 2, .timeout = 20ms, .reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start<wait_plainly<TypeParam>>(barrier, this->news);
  EXPECT_EQ(this->news.get().unwrap(), 1);
  const auto late = barrier.wait();
  ASSERT_TRUE(is_broken(late));
  EXPECT_THAT(late.error().what(), HasSubstr("the time was up for "));
}

TYPED_TEST(BarrierAt, TellsHowManyWait) {
  // BarrierTests.test_repr
  const BarrierOf<TypeParam> barrier{{.parties = 3, .reach = TypeParam::reach}};
  EXPECT_EQ(barrier.to_string(), "<Barrier: waiters=0/3>");
  Crew<TypeParam> crew;
  crew.template start_many<report_index<TypeParam>>(2, barrier, this->news);
  await_waiters(barrier, 2);
  EXPECT_EQ(barrier.to_string(), "<Barrier: waiters=2/3>");
  EXPECT_EQ(barrier.wait().unwrap(), 2);
  EXPECT_EQ(barrier.to_string(), "<Barrier: waiters=0/3>");
}

template <class At>
void pass_until_broken(const BarrierOf<At>& barrier, const Queue<int>& news) {
  for (;;) {
    const auto index = barrier.wait();
    if (is_broken(index)) return;
    if (*index == 0) news.put(0).unwrap();
  }
}

TYPED_TEST(BarrierAt, MoreCallersThanPartiesTakeTurns) {
  const BarrierOf<TypeParam> barrier{{.parties = 2, .reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start_many<pass_until_broken<TypeParam>>(3, barrier, this->news);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(this->news.get().unwrap(), 0);
  barrier.abort();
}

// ---- the action ---------------------------------------------------------------------------------

template <class Placement>
class BarrierActionAt : public BarrierAt<Placement> {};
TYPED_TEST_SUITE(BarrierActionAt, Placements, PlacementNames);

void wait_and_look(const Barrier& barrier, const Event& acted, const Queue<int>& news, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    barrier.wait().unwrap();
    require(acted.is_set(), "the action comes before anybody goes on");
  }
  news.put(::getpid()).unwrap();
}

TYPED_TEST(BarrierActionAt, ActionIsCalledOnceInEachRound) {
  // BarrierTests.test_action; whoever completes the round, it runs in the process that made it.
  int calls = 0;
  const Event acted{{.reach = TypeParam::reach}};
  const BarrierOptions options{.parties = party_count, .reach = TypeParam::reach};
  const Barrier barrier = Barrier::create(options, [&] {
                            ++calls;
                            acted.set();
                          }).unwrap();
  Crew<TypeParam> crew;
  crew.template start_many<wait_and_look>(party_count - 1, barrier, acted, this->news, 20);
  for (int round = 0; round < 20; ++round) {
    barrier.wait().unwrap();
    EXPECT_EQ(calls, round + 1);
  }
}

void wait_with_failing_action(const Barrier& barrier, const Queue<int>& news) {
  const auto end = barrier.wait();
  require(end.is_err(), "the action did not fail");
  if (end.error().code() == Errc::broken) {
    require(end.error().what().find("its action failed in process") != std::string::npos, "why");
    news.put(0).unwrap();
  } else {
    const auto* remote = end.error().template detail<RemoteError>();
    require(remote != nullptr && remote->what == "no paint", "another error");
    news.put(1).unwrap();
  }
}

TYPED_TEST(BarrierActionAt, ActionThatThrowsBreaksIt) {
  // Its caller gets the exception, the others a broken barrier. The action travels here.
  const BarrierOptions options{.parties = 3, .reach = TypeParam::reach};
  const Barrier barrier =
      Barrier::create(options, [] { throw std::runtime_error{"no paint"}; }).unwrap();
  Crew<TypeParam> crew;
  crew.template start_many<wait_with_failing_action>(3, barrier, this->news);
  EXPECT_EQ(this->sorted(this->news, 3), (std::vector{0, 0, 1}));
  EXPECT_TRUE(barrier.broken());
}

// ---- the action and the handle ------------------------------------------------------------------

int tick_count = 0;
void tick() { ++tick_count; }

void report_ticks(const Barrier& barrier, const Queue<int>& news) {
  barrier.wait().unwrap();
  news.put(tick_count).unwrap();
}

TEST(Barrier, FunctionAsActionRunsWhereTheLastOneIs) {
  const Barrier barrier = Barrier::create<tick>({.parties = 2}).unwrap();
  const Queue<int> news;
  auto first = std::jthread{[&] { barrier.wait().unwrap(); }};
  await_waiters(barrier, 1);
  auto last = Process::spawn<report_ticks>(barrier, news).unwrap();
  EXPECT_EQ(news.get().unwrap(), 1);
  EXPECT_EQ(tick_count, 0);
}

TEST(Barrier, ActionOfAProcessThatDoesNotTakePartBreaksIt) {
  int calls = 0;
  const Barrier barrier = Barrier::create({.parties = 2}, [&] { ++calls; }).unwrap();
  Crew<InProcesses> crew;
  const Queue<int> news;
  crew.start_many<wait_plainly<InProcesses>>(2, barrier, news);
  EXPECT_EQ(news.get().unwrap() + news.get().unwrap(), 2);
  EXPECT_THAT(barrier.wait().error().what(),
              HasSubstr("can be called in process " + std::to_string(::getpid()) + " only"));
  EXPECT_EQ(calls, 0);
}

TEST(Barrier, ActionMayReturnAnError) {
  const Barrier barrier =
      Barrier::create({.parties = 1, .reach = Reach::threads}, []() -> Result<void> {
        return passel::Error{Errc::full, "disk"};
      }).unwrap();
  EXPECT_EQ(barrier.wait().error().code(), Errc::full);
  EXPECT_TRUE(barrier.broken());
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
}

TEST(Barrier, TimeIsNotUpWhileTheActionRuns) {
  std::chrono::milliseconds limit{50};
  const Barrier barrier = Barrier::create({.parties = 2, .reach = Reach::threads}, [&] {
                            std::this_thread::sleep_for(limit);
                          }).unwrap();
  for (;; limit *= 2) {
    Result<int> first = -1;
    auto waiter = std::jthread{[&] { first = barrier.wait_for(limit); }};
    while (barrier.n_waiting() == 0 && !barrier.broken()) std::this_thread::yield();
    const auto second = barrier.wait();
    waiter.join();
    if (second.is_ok()) {
      ASSERT_TRUE(first.is_ok()) << first.error().to_string();
      EXPECT_EQ(*first, 0);
      return;
    }
    barrier.reset();  // a busy machine: its time was up before this one came
  }
}

TEST(Barrier, AbortWhileTheActionRuns) {
  Event begun{{.reach = Reach::threads}};
  Event go{{.reach = Reach::threads}};
  const Barrier barrier = Barrier::create({.parties = 1, .reach = Reach::threads}, [&] {
                            begun.set();
                            go.wait();
                          }).unwrap();
  auto runner = std::jthread{[&] { EXPECT_TRUE(is_broken(barrier.wait())); }};
  begun.wait();
  EXPECT_EQ(barrier.wait_for(1ms).error().code(), Errc::timeout);  // early for the next round
  barrier.abort();
  EXPECT_TRUE(is_broken(barrier.wait()));
  go.set();
}

TEST(Barrier, ConstructorChecksItsArguments) {
  // BarrierTests.test_constructor
  EXPECT_EQ(Barrier::create({.parties = 0}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(Barrier::create({.parties = -1}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(Barrier::create({.parties = 4097}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(Barrier::create({.timeout = -1ns}).error().code(), Errc::invalid_argument);
  EXPECT_THROW(Barrier{0}, passel::Exception);
  EXPECT_EQ(Barrier{7}.parties(), 7);
  EXPECT_EQ(Barrier{BarrierOptions{.name = "b"}}.to_string(), "<Barrier 'b': waiters=0/1>");
}

TEST(Barrier, OfOnePartyNeverWaits) {
  // BarrierTests.test_single_thread
  const Barrier barrier{1};
  EXPECT_EQ(barrier.wait().unwrap(), 0);
  EXPECT_EQ(barrier.wait_for(0s).unwrap(), 0);
}

TEST(Barrier, HandlesOfOneBarrier) {
  int calls = 0;
  Barrier barrier{1, [&] { ++calls; }};
  const Barrier copy = barrier;
  EXPECT_TRUE(copy == barrier);
  EXPECT_FALSE(copy == Barrier{1});
  barrier.close();
  EXPECT_EQ(barrier.wait().error().code(), Errc::invalid_state);
  EXPECT_EQ(barrier.to_string(), "<closed Barrier>");
  EXPECT_EQ(barrier.parties(), 0);
  barrier.abort();
  EXPECT_EQ(copy.wait().unwrap(), 0);
  EXPECT_EQ(calls, 1);
}

}  // namespace
