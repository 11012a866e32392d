// Queues in a manager's server. CPython's counterparts stand beside the cases.
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/blocked_thread.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"
#include "support/stopped_process.hpp"

#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Process;
using passel::QueueProxy;
using passel::SyncManager;
using passel::WireValue;
using passel_test::BlockedThread;
using passel_test::stop_all_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ManagerQueue : public ::testing::Test {
 protected:
  SyncManager manager = SyncManager::started().unwrap();
};

// CPython: TestSyncManagerTypes.test_queue
TEST_F(ManagerQueue, GivesItemsInTheOrderInWhichTheyCame) {
  const auto queue = manager.queue<std::string>().unwrap();
  EXPECT_TRUE(queue.empty().unwrap());
  queue.put("one").unwrap();
  queue.put("two").unwrap();
  EXPECT_EQ(queue.qsize().unwrap(), 2U);
  EXPECT_EQ(queue.get().unwrap(), "one");
  EXPECT_EQ(queue.try_get().unwrap(), "two");
  EXPECT_EQ(queue.try_get().error(), Errc::empty);
  EXPECT_EQ(queue.maxsize().unwrap(), 0U);
  EXPECT_FALSE(queue.full().unwrap());
  EXPECT_EQ(queue.text().unwrap(), "<queue of 0 items>");
}

TEST_F(ManagerQueue, EmptyAndFullAreErrorsOfTheirOwn) {
  const auto queue = manager.queue<int>(1).unwrap();
  EXPECT_EQ(queue.get_for(1ms).error(), Errc::empty);
  EXPECT_EQ(queue.get_for(0ms).error(), Errc::empty);
  EXPECT_EQ(queue.get_for(-1ms).error(), Errc::invalid_argument);
  queue.put(1).unwrap();
  EXPECT_TRUE(queue.full().unwrap());
  EXPECT_EQ(queue.try_put(2).error(), Errc::full);
  const auto late = queue.put_for(2, 1ms);
  EXPECT_EQ(late.error(), Errc::full);
  EXPECT_THAT(late.error().what(), HasSubstr("1 of 1"));
  EXPECT_EQ(queue.put_for(2, -1ms).error(), Errc::invalid_argument);
  EXPECT_EQ(queue.get().unwrap(), 1);
}

TEST_F(ManagerQueue, APutWaitsForRoomAndAGetForAnItem) {
  const auto queue = manager.queue<int>(1).unwrap();
  queue.put(1).unwrap();
  auto second = queue.put_async(2);
  EXPECT_FALSE(second.done());
  EXPECT_EQ(queue.get().unwrap(), 1);
  second.get().unwrap();
  EXPECT_EQ(queue.get().unwrap(), 2);
  auto third = queue.get_async();
  queue.put(3).unwrap();
  EXPECT_EQ(third.get().unwrap(), 3);
}

TEST_F(ManagerQueue, ALargeItemIsSentWhileAnotherThreadWaitsForIt) {
  const auto queue = manager.queue<std::string>().unwrap();
  const std::string large(std::size_t{4} << 20, 'x');
  for (int round = 0; round < 5; ++round) {
    // It reads the connection that the item has to go out by.
    BlockedThread getter{[&] { EXPECT_TRUE(queue.get().unwrap() == large); }};
    getter.wait_until_blocked();
    queue.put(large).unwrap();
  }
}

TEST_F(ManagerQueue, ThoseWhoWaitAreServedInTurn) {
  const auto queue = manager.queue<int>().unwrap();
  auto first = queue.get_async();
  auto second = queue.get_async();
  queue.put(1).unwrap();
  queue.put(2).unwrap();
  EXPECT_EQ(first.get().unwrap(), 1);
  EXPECT_EQ(second.get().unwrap(), 2);
}

// F-34: several items in one call.
TEST_F(ManagerQueue, SeveralItemsArePutAndTakenAtOnce) {
  const auto queue = manager.queue<int>(4).unwrap();
  EXPECT_EQ(queue.try_get_many(3).error(), Errc::empty);
  EXPECT_EQ(queue.get_many_for(3, 1ms).error(), Errc::empty);
  EXPECT_EQ(queue.get_many(0).error(), Errc::invalid_argument);
  queue.put_many({1, 2, 3}).unwrap();
  EXPECT_EQ(queue.try_put_many({4, 5}).error(), Errc::full);
  EXPECT_EQ(queue.qsize().unwrap(), 3U);
  EXPECT_THAT(queue.get_many(2).unwrap(), ElementsAre(1, 2));
  EXPECT_THAT(queue.get_many_for(7, 1h).unwrap(), ElementsAre(3));
  queue.put_many({}).unwrap();

  // More than there is room for, and somebody behind who is not to overtake them.
  auto many =
      queue.call_async<void>("put_many", passel::detail::to_values<int>({1, 2, 3, 4, 5, 6}), true);
  auto last = queue.put_async(7);
  EXPECT_EQ(queue.qsize().unwrap(), 4U);
  EXPECT_EQ(queue.try_put(8).error(), Errc::full);
  EXPECT_THAT(queue.get_many(9).unwrap(), ElementsAre(1, 2, 3, 4));
  many.get().unwrap();
  last.get().unwrap();
  EXPECT_THAT(queue.get_many(9).unwrap(), ElementsAre(5, 6, 7));
  EXPECT_EQ(queue.put_many_for({1, 2, 3, 4, 5, 6}, 1ms).error(), Errc::full);
  EXPECT_THAT(queue.try_get_many(9).unwrap(), ElementsAre(1, 2, 3, 4));
}

TEST_F(ManagerQueue, SeveralItemsThatReachedNobodyComeBackInTheirOrder) {
  const auto queue = manager.joinable_queue<int>().unwrap();
  queue.put_many({1, 2, 3}).unwrap();
  using Several = std::pair<std::uint64_t, std::vector<int>>;
  auto args = passel::detail::encode_pack(std::uint64_t{2}, true, true).unwrap();
  const auto reply =
      queue.core()->call("get_many", std::move(args), passel::detail::Deadline::never()).unwrap();
  const auto handed = passel::detail::decode<Several>(reply.bytes).unwrap();
  EXPECT_THAT(handed.second, ElementsAre(1, 2));
  queue.core()->tell("back", handed.first, reply.lease);
  EXPECT_THAT(queue.get_many(9).unwrap(), ElementsAre(1, 2, 3));
  for (int n = 0; n < 3; ++n) queue.task_done().unwrap();
  queue.join().unwrap();
}

TEST_F(ManagerQueue, SeveralLargeItemsAreTakenAsManyAtATimeAsTheirAnswerHolds) {
  const auto queue = manager.queue<std::string>().unwrap();
  const std::string large(std::size_t{9} << 20, 'x');
  for (int n = 0; n < 2; ++n) queue.put(large).unwrap();
  queue.put_many({large, "small"}).unwrap();
  std::size_t got = 0;
  while (got < 4) got += queue.get_many(100).unwrap().size();
  EXPECT_EQ(got, 4U);
}

// Fault 47.
TEST_F(ManagerQueue, WhatCouldNotBeGotIsNotPut) {
  // A put has less around an item than the answer of a get.
  constexpr std::size_t message = std::size_t{64} << 20;
  constexpr std::size_t largest = message - (std::size_t{128} << 10);
  const auto queue = manager.queue<std::string>().unwrap();
  EXPECT_EQ(queue.put(std::string(message - 1000, 'x')).error(), Errc::too_large);
  queue.put(std::string(largest, 'y')).unwrap();
  queue.put("next").unwrap();
  EXPECT_EQ(queue.get().unwrap().size(), largest);
  EXPECT_EQ(queue.get().unwrap(), "next");
}

TEST_F(ManagerQueue, AGetThatIsGivenUpTakesNothing) {
  const auto queue = manager.queue<int>().unwrap();
  auto cancelled = queue.get_async();
  EXPECT_TRUE(cancelled.cancel());
  { const auto dropped = queue.get_async(); }
  queue.put(1).unwrap();
  EXPECT_EQ(queue.get().unwrap(), 1);
}

TEST_F(ManagerQueue, AGetThatIsCancelledInTheInstantOfItsAnswerTakesItsItemOrLeavesIt) {
  std::mt19937_64 random{passel_test::seed()};
  const auto queue = manager.queue<unsigned>().unwrap();
  const unsigned rounds = passel_test::rounds(500);
  std::vector<unsigned> got;
  std::jthread producer{[&] {
    for (unsigned n = 0; n < rounds; ++n) queue.put(n).unwrap();
  }};
  for (unsigned n = 0; n < rounds; ++n) {
    auto item = queue.get_async();
    for (auto spins = random() % 4096; spins > 0; --spins)
      if (item.done()) break;
    if (!item.cancel()) got.push_back(item.get().unwrap());
  }
  producer.join();
  while (got.size() < rounds) got.push_back(queue.get().unwrap());
  // What went back lies where it was, but may have been passed meanwhile by a cancelled turn.
  std::sort(got.begin(), got.end());
  for (unsigned n = 0; n < rounds; ++n) ASSERT_EQ(got[n], n);
  EXPECT_TRUE(queue.empty().unwrap());
}

// Whoever waits reads for all; some wait, some look, some go away.
TEST_F(ManagerQueue, FuturesOfSeveralThreadsAreAllAnswered) {
  const auto seed = passel_test::seed();
  const auto dict = manager.dict<int, int>({{0, 0}}).unwrap();
  std::vector<std::jthread> threads;
  for (unsigned which = 0; which < 4; ++which) {
    threads.emplace_back([&, random = std::mt19937_64{seed + which}]() mutable {
      for (unsigned round = 0; round < passel_test::rounds(150); ++round) {
        std::vector<passel::Future<WireValue>> asked;
        for (auto left = random() % 40; left > 0; --left) asked.push_back(dict.call_async("at", 0));
        std::shuffle(asked.begin(), asked.end(), random);
        for (auto& one : asked) {
          switch (random() % 5) {
            case 0: one = {}; break;
            case 1:
              while (!one.done()) std::this_thread::yield();
              break;
            case 2: ASSERT_EQ(dict.at(0).unwrap(), 0); break;
            case 3: ASSERT_TRUE(one.wait_for(60s)); break;
            default: ASSERT_EQ(one.get().unwrap(), WireValue{0}); break;
          }
        }
      }
    });
  }
}

TEST_F(ManagerQueue, AWaitForAFutureThatIsTooShortSaysForWhat) {
  const auto queue = manager.queue<int>().unwrap();
  auto item = queue.get_async();
  const auto late = item.get_for(1ms);
  EXPECT_EQ(late.error(), Errc::timeout);
  EXPECT_THAT(late.error().what(), HasSubstr("'get' of <Proxy[Queue] object"));
  queue.put(3).unwrap();
  EXPECT_EQ(item.get().unwrap(), 3);
}

TEST_F(ManagerQueue, AnAnswerThatReachedNobodyGivesItsItemBack) {
  const auto queue = manager.queue<int>().unwrap();
  queue.put(1).unwrap();
  queue.put(2).unwrap();
  using Handed = std::tuple<std::uint64_t, std::uint64_t, int>;
  const auto get = [&queue] {
    auto args = passel::detail::encode_pack(true, true).unwrap();
    return queue.core()->call("get", std::move(args), passel::detail::Deadline::never()).unwrap();
  };
  const auto number = [](const passel::detail::SessionReply& reply) {
    return std::get<0>(passel::detail::decode<Handed>(reply.bytes).unwrap());
  };
  const auto handed = get();
  EXPECT_EQ(std::get<2>(passel::detail::decode<Handed>(handed.bytes).unwrap()), 1);
  queue.core()->tell("back", number(handed), handed.lease);
  EXPECT_EQ(queue.get().unwrap(), 1);
  const auto kept = get();
  queue.core()->tell("kept", number(kept), kept.lease);
  queue.core()->tell("back", number(kept), kept.lease);
  EXPECT_EQ(queue.try_get().error(), Errc::empty);
}

TEST_F(ManagerQueue, AStoppedServerLosesNoItem) {
  const auto queue = manager.queue<int>().unwrap();
  queue.put(7).unwrap();
  stop_all_of(*manager.pid());
  EXPECT_EQ(queue.get_for(1ms).error(), Errc::timeout);
  ::kill(*manager.pid(), SIGCONT);
  EXPECT_EQ(queue.get().unwrap(), 7);
}

TEST_F(ManagerQueue, APutThatWasGivenUpIsTakenBack) {
  const auto queue = manager.joinable_queue<int>().unwrap();
  queue.put(1).unwrap();
  stop_all_of(*manager.pid());
  EXPECT_EQ(queue.put_for(2, 1ms).error(), Errc::timeout);
  auto third = queue.put_async(3);
  EXPECT_TRUE(third.cancel());
  ::kill(*manager.pid(), SIGCONT);
  queue.put(4).unwrap();
  EXPECT_EQ(queue.qsize().unwrap(), 2U);
  EXPECT_EQ(queue.get().unwrap(), 1);
  EXPECT_EQ(queue.get().unwrap(), 4);
  queue.task_done().unwrap();
  queue.task_done().unwrap();
  queue.join().unwrap();
}

void take_for_ever(const QueueProxy<int>& queue) {
  for (;;) queue.get().unwrap();
}

TEST_F(ManagerQueue, AnItemOnItsWayToOneWhoDiesComesBack) {
  const auto queue = manager.queue<int>().unwrap();
  const auto before = passel_test::ProcessCensus::take();
  auto taker = Process::spawn<take_for_ever>(queue).unwrap();
  while (queue.call<int>("waiting").unwrap() == 0) std::this_thread::yield();
  stop_all_of(*taker.pid());
  queue.put(7).unwrap();
  EXPECT_EQ(queue.qsize().unwrap(), 0U);
  taker.kill().unwrap();
  EXPECT_EQ(queue.get().unwrap(), 7);
  taker.join().unwrap();
  taker.close().unwrap();
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST_F(ManagerQueue, AnItemOfAnotherTypeStaysInTheQueue) {
  const auto texts = manager.queue<std::string>().unwrap();
  const QueueProxy<int> numbers{texts};
  texts.put("one").unwrap();
  EXPECT_EQ(numbers.get().error(), Errc::type_mismatch);
  EXPECT_EQ(numbers.get_async().get().error(), Errc::type_mismatch);
  EXPECT_EQ(texts.get_delivered().unwrap().count, 1U);
  EXPECT_TRUE(texts.empty().unwrap());
}

// CPython: TestSyncManagerTypes.test_joinable_queue
TEST_F(ManagerQueue, JoinWaitsForEveryTask) {
  const auto queue = manager.joinable_queue<int>().unwrap();
  queue.join().unwrap();
  queue.put(1).unwrap();
  queue.put(2).unwrap();
  EXPECT_EQ(queue.join_for(1ms).error(), Errc::timeout);
  auto joined = queue.call_async<void>("join");
  queue.get().unwrap();
  queue.task_done().unwrap();
  queue.get().unwrap();
  EXPECT_FALSE(joined.done());
  queue.task_done().unwrap();
  joined.get().unwrap();
  const auto more = queue.task_done();
  EXPECT_EQ(more.error(), Errc::invalid_argument);
  EXPECT_THAT(more.error().what(), HasSubstr("called too many times"));
}

TEST_F(ManagerQueue, LifoGivesTheNewestPriorityTheLeast) {
  const auto lifo = manager.lifo_queue<int>().unwrap();
  const auto least = manager.priority_queue<std::pair<int, std::string>>().unwrap();
  for (const int n : {2, 1, 3}) {
    lifo.put(n).unwrap();
    least.put({n, "task " + std::to_string(n)}).unwrap();
  }
  for (const int n : {3, 1, 2}) EXPECT_EQ(lifo.get().unwrap(), n);
  for (const int n : {1, 2, 3}) EXPECT_EQ(least.get().unwrap().first, n);
}

TEST_F(ManagerQueue, ShutdownEndsTheWaitingAndKeepsWhatIsIn) {
  const auto queue = manager.queue<int>().unwrap();
  auto waiting = queue.get_async();
  queue.shutdown().unwrap();
  EXPECT_EQ(waiting.get().error(), Errc::closed);
  EXPECT_EQ(queue.put(1).error(), Errc::closed);
  EXPECT_TRUE(queue.is_shutdown().unwrap());

  const auto filled = manager.queue<int>(1).unwrap();
  filled.put(1).unwrap();
  auto blocked = filled.put_async(2);
  filled.shutdown().unwrap();
  EXPECT_EQ(blocked.get().error(), Errc::closed);
  EXPECT_EQ(filled.get().unwrap(), 1);
  EXPECT_EQ(filled.get().error(), Errc::closed);
}

// `closed` is the queue's own word, by which consumers know that there is nothing more.
TEST_F(ManagerQueue, TheEndOfTheServerIsNoShutdownOfItsQueues) {
  const auto queue = manager.queue<int>().unwrap();
  auto waiting = queue.get_async();
  BlockedThread consumer{[&] { EXPECT_EQ(queue.get().error(), Errc::peer_lost); }};
  consumer.wait_until_blocked();
  manager.shutdown().unwrap();
  EXPECT_EQ(waiting.get().error(), Errc::peer_lost);
  EXPECT_EQ(queue.put(1).error(), Errc::peer_lost);
}

TEST_F(ManagerQueue, AnImmediateShutdownFinishesWhatIsIn) {
  const auto queue = manager.joinable_queue<int>().unwrap();
  queue.put(1).unwrap();
  auto joined = queue.call_async<void>("join");
  queue.shutdown({.immediate = true}).unwrap();
  joined.get().unwrap();
  EXPECT_EQ(queue.get().error(), Errc::closed);
}

TEST_F(ManagerQueue, HoldsValuesOfAnyKind) {
  const auto queue = manager.queue().unwrap();
  const auto value = WireValue::list({1, nullptr, "text", 2.5, true});
  queue.put(value).unwrap();
  EXPECT_EQ(queue.get().unwrap(), value);
}

int square_into(const QueueProxy<int>& out, int n) {
  out.put(n * n).unwrap();
  return n;
}

void take_one_and_tell(const QueueProxy<int>& jobs, const passel::Queue<int>& told) {
  told.put(jobs.get().unwrap()).unwrap();
  for (;;) ::pause();
}

void wait_for_one(const QueueProxy<int>& jobs, const passel::Queue<int>& told) {
  auto item = jobs.get_async();
  told.put(0).unwrap();
  std::ignore = item.get();
}

// Fault: a consumer that dies with an item in its hands.
TEST_F(ManagerQueue, ItemsOfAKilledConsumerComeBackToAJoinableQueue) {
  // The connection to the server and the means to start processes stay.
  const auto warm = manager.queue<int>().unwrap();
  Process::spawn<square_into>(warm, 1).unwrap().join().unwrap();
  const auto before = passel_test::ProcessCensus::take();
  {
    const auto jobs = manager.joinable_queue<int>().unwrap();
    const passel::Queue<int> told;
    jobs.put(1).unwrap();
    jobs.put(2).unwrap();
    auto child = Process::spawn<take_one_and_tell>(jobs, told).unwrap();
    EXPECT_EQ(told.get().unwrap(), 1);
    child.kill().unwrap();
    child.join().unwrap();
    // Whether it comes back before 2 is taken or behind it is the server's time, not ours.
    const auto first = jobs.get_delivered().unwrap();
    const auto second = jobs.get_delivered().unwrap();
    EXPECT_EQ(first.item + second.item, 3);
    EXPECT_EQ(first.item == 1 ? first.count : second.count, 2U);
    jobs.task_done().unwrap();
    jobs.task_done().unwrap();
    jobs.join().unwrap();
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

TEST_F(ManagerQueue, AConsumerKilledInTheLineIsForgotten) {
  const auto jobs = manager.queue<int>().unwrap();
  const passel::Queue<int> told;
  auto child = Process::spawn<wait_for_one>(jobs, told).unwrap();
  told.get().unwrap();
  child.kill().unwrap();
  child.join().unwrap();
  // It holds no proxy any more when the server has noticed.
  while (jobs.call<std::uint64_t>("waiting").unwrap() != 0) std::this_thread::yield();
  jobs.put(1).unwrap();
  EXPECT_EQ(jobs.get().unwrap(), 1);
}

TEST_F(ManagerQueue, AKilledServerEndsEveryGet) {
  const auto queue = manager.queue<int>().unwrap();
  auto waiting = queue.get_async();
  ::kill(*manager.pid(), SIGKILL);
  EXPECT_EQ(waiting.get().error(), Errc::peer_lost);
  EXPECT_EQ(queue.put(1).error(), Errc::peer_lost);
}

// CPython: TestSyncManagerTypes.test_queue, the use in pools
TEST_F(ManagerQueue, GoesToTasksOfAPool) {
  auto pool = passel::Pool::start({.processes = 2}).unwrap();
  const auto out = manager.queue<int>().unwrap();
  std::vector<passel::Future<int>> tasks;
  for (const int n : {1, 2, 3}) tasks.push_back(pool.submit<square_into>(out, n));
  int sum = 0;
  for (int n = 0; n < 3; ++n) sum += out.get().unwrap();
  EXPECT_EQ(sum, 14);
  for (auto& task : tasks) task.get().unwrap();
  pool.close();
  pool.join().unwrap();
}

}  // namespace
