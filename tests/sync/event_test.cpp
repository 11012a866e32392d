// Event, after CPython's lock_tests.py and _TestEvent: names of its cases stand where they were
// ported.
#include <passel/event.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gtest/gtest.h>

#include "event_machine.hpp"
#include "managed.hpp"
#include "placements.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::Errc;
using passel::Event;
using passel::Process;
using passel::Queue;
using passel::Reach;

// ---- the same in threads and in processes -------------------------------------------------------

template <class Placement>
class EventAt : public ::testing::Test {
 protected:
  /// Returns when that many wait: a server knows, others are seen asleep.
  void await_waiters(Crew<Placement>& crew, [[maybe_unused]] std::size_t count) {
    if constexpr (Placement::managed) {
      while (flag.waiting().unwrap() != count) std::this_thread::yield();
    } else {
      crew.wait_until_blocked();
    }
  }

  EventOf<Placement> flag{{.reach = Placement::reach}};
  Queue<bool> news{{.reach = Placement::reach}};
};
TYPED_TEST_SUITE(EventAt, Everywhere, PlacementNames);

template <class At>
void wait_twice(const EventOf<At>& event, const Queue<bool>& news) {
  news.put(event.is_set()).unwrap();
  news.put(event.wait()).unwrap();
  news.put(event.wait()).unwrap();
}

template <class At>
void wait_once(const EventOf<At>& event, const Queue<bool>& news) {
  news.put(event.is_set()).unwrap();
  news.put(event.wait()).unwrap();
}

template <class At>
void wait_briefly(const EventOf<At>& event, const Queue<bool>& news) {
  news.put(event.wait_for(0s)).unwrap();
  news.put(event.wait_for(-1s)).unwrap();
  news.put(event.wait_for(10ms)).unwrap();
}

template <class At>
void set_it(const EventOf<At>& event) {
  event.set();
}

void expect_news(const Queue<bool>& news, int count, bool what) {
  for (int i = 0; i < count; ++i) EXPECT_EQ(news.get().unwrap(), what);
}

TYPED_TEST(EventAt, IsSetTellsTheFlag) {
  // EventTests.test_is_set, _TestEvent.test_repr
  auto& event = this->flag;
  EXPECT_FALSE(event.is_set());
  EXPECT_EQ(event.to_string(), "<Event: unset>");
  for (int twice = 0; twice < 2; ++twice) {
    event.set();
    EXPECT_TRUE(event.is_set());
    EXPECT_TRUE(event.wait());
  }
  EXPECT_EQ(event.to_string(), "<Event: set>");
  for (int twice = 0; twice < 2; ++twice) {
    event.clear();
    EXPECT_FALSE(event.is_set());
    EXPECT_FALSE(event.wait_for(0s));
  }
}

TYPED_TEST(EventAt, AllWaitersAreNotified) {
  // EventTests.test_notify
  for (int round = 0; round < 2; ++round) {
    Crew<TypeParam> crew;
    crew.template start_many<wait_twice<TypeParam>>(5, this->flag, this->news);
    expect_news(this->news, 5, false);
    this->await_waiters(crew, 5);
    EXPECT_EQ(this->news.qsize(), 0U);
    this->flag.set();
    expect_news(this->news, 10, true);
    crew.join();
    this->flag.set();
    this->flag.clear();
  }
}

TYPED_TEST(EventAt, FalseOnlyWhenTheTimeIsUp) {
  // EventTests.test_timeout
  Crew<TypeParam> crew;
  crew.template start_many<wait_briefly<TypeParam>>(5, this->flag, this->news);
  expect_news(this->news, 15, false);
  this->flag.set();
  crew.template start_many<wait_briefly<TypeParam>>(5, this->flag, this->news);
  expect_news(this->news, 15, true);
}

TYPED_TEST(EventAt, SetAndClearAtOnceWakesAllWhoWaited) {
  // EventTests.test_set_and_clear
  for (int round = 0; round < 20; ++round) {
    Crew<TypeParam> crew;
    crew.template start_many<wait_once<TypeParam>>(5, this->flag, this->news);
    expect_news(this->news, 5, false);
    this->await_waiters(crew, 5);
    this->flag.set();
    this->flag.clear();
    expect_news(this->news, 5, true);
    EXPECT_FALSE(this->flag.is_set());
  }
}

TYPED_TEST(EventAt, IsSetByAnother) {
  // _TestEvent.test_event
  EXPECT_FALSE(this->flag.wait_for(0s));
  Crew<TypeParam> crew;
  crew.template start<set_it<TypeParam>>(this->flag);
  EXPECT_TRUE(this->flag.wait());
  EXPECT_TRUE(this->flag.wait_for(1h));
}

template <class At>
void answer(const EventOf<At>& there, const EventOf<At>& back, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    there.wait();
    there.clear();
    back.set();
  }
}

TYPED_TEST(EventAt, NoneOfManySetsIsLost) {
  constexpr int rounds = turns<TypeParam>(2000);
  const EventOf<TypeParam> back{{.reach = TypeParam::reach}};
  Crew<TypeParam> crew;
  crew.template start<answer<TypeParam>>(this->flag, back, rounds);
  for (int i = 0; i < rounds; ++i) {
    this->flag.set();
    ASSERT_TRUE(back.wait());
    back.clear();
  }
}

// ---- futures ------------------------------------------------------------------------------------

TEST(Event, FutureIsDoneWhenItIsSet) {
  const Event event;
  auto first = event.wait_async();
  auto second = event.wait_async();
  EXPECT_FALSE(first.done());
  event.set();
  event.clear();
  first.get().unwrap();
  second.get().unwrap();
  auto third = event.wait_async();
  EXPECT_FALSE(third.wait_for(1ms));
  EXPECT_TRUE(third.cancel());
  { auto dropped = event.wait_async(); }
  event.set();
  EXPECT_TRUE(event.wait_async().done());
}

TEST(Event, FutureIsDoneWhenAnotherProcessSetsIt) {
  const Event event;
  auto future = event.wait_async();
  auto setter = Process::spawn<set_it<InProcesses>>(event).unwrap();
  future.get().unwrap();
}

// ---- the handle ---------------------------------------------------------------------------------

TEST(Event, HandlesOfOneEvent) {
  const Event event{{.name = "ready"}};
  const Event copy = event;
  EXPECT_TRUE(copy == event);
  EXPECT_FALSE(copy == Event{});
  copy.set();
  EXPECT_EQ(event.to_string(), "<Event 'ready': set>");
  EXPECT_EQ(event.name(), "ready");
  EXPECT_EQ(event.reach(), Reach::host);
}

TEST(Event, ClosedHandleDoesNothing) {
  Event event;
  const Event other = event;
  event.close();
  event.set();
  EXPECT_FALSE(other.is_set());
  EXPECT_FALSE(event.wait());
  EXPECT_FALSE(event.is_set());
  EXPECT_EQ(event.wait_async().get().error().code(), Errc::invalid_state);
  EXPECT_EQ(event.to_string(), "<closed Event>");
}

TEST(Event, ReachThreadsStaysInItsProcess) {
  const Event event{{.reach = Reach::threads}};
  auto sent = Process::spawn<set_it<InProcesses>>(event).unwrap();
  EXPECT_EQ(sent.join().unwrap(), 1);  // "an Event with reach threads cannot go to another process"
  EXPECT_FALSE(event.is_set());
  EXPECT_EQ(Event::create({.name = std::string(28, 'x')}).error().code(), Errc::invalid_argument);
}

TEST(Event, WorksOnInAForkedChild) {
  // EventTests.test_at_fork_reinit
  const Event here{{.reach = Reach::threads}};
  const Event both;
  const int child = ::fork();
  if (child == 0) {
    here.set();
    const bool good = here.wait() && !both.wait_for(0s);
    both.set();
    ::_exit(good ? 0 : 1);
  }
  EXPECT_TRUE(both.wait());
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(here.is_set());
}

/// The first process that is started makes what stays.
ProcessCensus census() {
  Process::spawn([] {}).unwrap().join().unwrap();
  return ProcessCensus::take();
}

// ---- deaths -------------------------------------------------------------------------------------

TEST(EventKill, Fault23KilledWaitersHoldNobodyUp) {
  const auto before = census();
  {
    const Event event;
    const Queue<bool> news;
    Crew<InProcesses> crew;
    crew.start_many<wait_once<InProcesses>>(3, event, news);
    std::vector<Process> victims;
    for (int i = 0; i < 3; ++i)
      victims.push_back(Process::spawn<wait_once<InProcesses>>(event, news).unwrap());
    expect_news(news, 6, false);
    crew.wait_until_blocked();
    for (auto& victim : victims) {
      victim.kill().unwrap();
      EXPECT_EQ(victim.join().unwrap(), -SIGKILL);
    }
    event.set();
    event.clear();
    expect_news(news, 3, true);
    crew.join();
    EXPECT_EQ(news.qsize(), 0U);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

void set_and_clear_for_ever(const Event& event, const Queue<bool>& begun) {
  begun.put(true).unwrap();
  for (;;) {
    event.set();
    event.clear();
  }
}

/// Dies between setting the event and waking those who wait.
void set_and_die(const Event& event) {
  const auto value = passel::codec<Event>::encode(event);
  auto object = std::dynamic_pointer_cast<passel::detail::SyncObject>(value.handle()->object);
  require(passel::detail::EventMachine{object->arena(), object->header()}.set(), "nobody sleeps");
  ::kill(::getpid(), SIGKILL);
}

TEST(EventKill, SetterKilledBeforeItsWakeLeavesNobodyAsleep) {
  const Event event;
  const Queue<bool> news;
  Crew<InProcesses> crew;
  crew.start_many<wait_once<InProcesses>>(3, event, news);
  expect_news(news, 3, false);
  crew.wait_until_blocked();
  auto future = event.wait_async();
  auto setter = Process::spawn<set_and_die>(event).unwrap();
  expect_news(news, 3, true);
  future.get().unwrap();
  EXPECT_EQ(setter.join().unwrap(), -SIGKILL);
}

TEST(EventKill, SetterKilledAnywhereLeavesNobodyBehind) {
  const auto before = census();
  std::mt19937_64 random{seed()};
  for (unsigned round = 0; round < rounds(20); ++round) {
    const Event event;
    const Queue<bool> begun;
    const Queue<bool> news;
    Crew<InProcesses> crew;
    auto setter = Process::spawn<set_and_clear_for_ever>(event, begun).unwrap();
    begun.get().unwrap();
    crew.start_many<wait_once<InProcesses>>(3, event, news);
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 3000});
    setter.kill().unwrap();
    EXPECT_EQ(setter.join().unwrap(), -SIGKILL);
    // Whoever waited when it was set last is gone; the others wait for the next time.
    event.set();
    crew.join();
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

}  // namespace
