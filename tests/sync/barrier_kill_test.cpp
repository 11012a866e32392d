// Barrier when parties are killed: at once, all who wait are told who it was.
#include <passel/barrier.hpp>
#include <passel/event.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barrier_machine.hpp"
#include "placements.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <unistd.h>
#include <csignal>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace passel_test;
using passel::Barrier;
using passel::Errc;
using passel::Event;
using passel::Process;
using passel::Queue;
using ::testing::HasSubstr;
namespace detail = passel::detail;

std::string died(int pid) { return "process " + std::to_string(pid) + " died"; }

void report_end(const Barrier& barrier, const Queue<std::string>& ends) {
  const auto end = barrier.wait();
  ends.put(end ? "released" : end.error().what()).unwrap();
}

void take_part_then_stay(const Barrier& barrier, const Queue<std::string>& ends) {
  barrier.wait().unwrap();
  ends.put("released").unwrap();
  for (;;) ::pause();
}

void hold(const Barrier& barrier, const Queue<std::string>& ends) {
  ends.put(barrier.to_string()).unwrap();
  for (;;) ::pause();
}

void await_waiters(const Barrier& barrier, int count) {
  while (barrier.n_waiting() < count) std::this_thread::yield();
}

class BarrierKill : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(ProcessCensus::settle(before_), ""); }

  /// The first process that is started makes what stays.
  static ProcessCensus census() {
    Process::spawn([] {}).unwrap().join().unwrap();
    return ProcessCensus::take();
  }

  const ProcessCensus before_ = census();
};

TEST_F(BarrierKill, Fault24KilledWhileTheyWait) {
  const Barrier barrier{6};
  const Queue<std::string> ends;
  Crew<InProcesses> crew;
  crew.start_many<report_end>(3, barrier, ends);
  auto first = Process::spawn<report_end>(barrier, ends).unwrap();
  auto second = Process::spawn<report_end>(barrier, ends).unwrap();
  await_waiters(barrier, 5);
  const int pid = *first.pid();
  first.kill().unwrap();
  for (int i = 0; i < 4; ++i) EXPECT_THAT(ends.get().unwrap(), HasSubstr(died(pid)));
  EXPECT_TRUE(barrier.broken());
  crew.join();
  second.join().unwrap();
  first.join().unwrap();
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
  crew.start_many<report_end>(5, barrier, ends);
  barrier.wait().unwrap();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ends.get().unwrap(), "released");
}

TEST_F(BarrierKill, Fault24KilledAfterItTookPart) {
  const Barrier barrier{2};
  const Queue<std::string> ends;
  auto party = Process::spawn<take_part_then_stay>(barrier, ends).unwrap();
  barrier.wait().unwrap();
  ends.get().unwrap();
  const int pid = *party.pid();
  auto waiter = std::jthread{[&] {
    const auto end = barrier.wait();
    ASSERT_TRUE(end.is_err());
    EXPECT_EQ(end.error().code(), Errc::broken);
    EXPECT_THAT(end.error().what(), HasSubstr(died(pid)));
  }};
  await_waiters(barrier, 1);
  party.kill().unwrap();
  waiter.join();
  party.join().unwrap();
}

TEST_F(BarrierKill, Fault24KilledBeforeItTookPart) {
  const Barrier barrier{2};
  const Queue<std::string> ends;
  auto party = Process::spawn<hold>(barrier, ends).unwrap();
  EXPECT_EQ(ends.get().unwrap(), "<Barrier: waiters=0/2>");
  const int pid = *party.pid();
  party.kill().unwrap();
  party.join().unwrap();
  EXPECT_THAT(barrier.wait().error().what(), HasSubstr(died(pid)));
}

TEST_F(BarrierKill, Fault24KilledBeforeItHadTheBarrier) {
  for (int i = 0; i < 5; ++i) {
    const Barrier barrier{2};
    const Queue<std::string> ends;
    auto party = Process::spawn<hold>(barrier, ends).unwrap();
    const int pid = *party.pid();
    party.kill().unwrap();
    EXPECT_THAT(barrier.wait().error().what(), HasSubstr(died(pid)));
    party.join().unwrap();
  }
}

void close_then_report(Barrier barrier, const Queue<std::string>& ends) {
  barrier.close();
  ends.put("closed").unwrap();
  for (;;) ::pause();
}

TEST_F(BarrierKill, OneThatHasClosedItIsNoParty) {
  const Barrier barrier{2};
  const Queue<std::string> ends;
  auto closed = Process::spawn<close_then_report>(barrier, ends).unwrap();
  ends.get().unwrap();
  closed.kill().unwrap();
  closed.join().unwrap();
  EXPECT_FALSE(barrier.broken());
}

void end_in_order(const Barrier& barrier, const Queue<std::string>& ends) {
  ends.put(barrier.to_string()).unwrap();
  std::exit(0);
}

TEST_F(BarrierKill, AnEndInOrderBreaksNothing) {
  const Barrier barrier{2};
  const Queue<std::string> ends;
  auto other = Process::spawn<end_in_order>(barrier, ends).unwrap();
  EXPECT_EQ(other.join().unwrap(), 0);
  EXPECT_FALSE(barrier.broken());
  Crew<InProcesses> crew;
  crew.start_many<report_end>(1, barrier, ends);
  barrier.wait().unwrap();
}

void end_while_waiting(const Barrier& barrier) {
  std::thread{[barrier] { static_cast<void>(barrier.wait()); }}.detach();
  await_waiters(barrier, 1);
  std::exit(0);
}

TEST_F(BarrierKill, AnEndInOrderOfOneThatWaitsBreaksIt) {
  const Barrier barrier{2};
  auto other = Process::spawn<end_while_waiting>(barrier).unwrap();
  const int pid = *other.pid();
  other.join().unwrap();
  ASSERT_TRUE(barrier.broken());
  EXPECT_THAT(barrier.wait().error().what(),
              HasSubstr("process " + std::to_string(pid) + " ended while it waited"));
}

// ---- killed within the few instructions that hold the line --------------------------------------

/// Dies with the line of the barrier locked, with the phase that it was about to leave behind.
void die_in_phase(const Barrier& barrier, int phase) {
  const auto value = passel::codec<Barrier>::encode(barrier);
  auto object = std::dynamic_pointer_cast<detail::SyncObject>(value.handle()->object);
  require(object->arena().lock_line(object->header(), detail::Deadline::never()), "locked");
  auto& state = object->as<detail::BarrierState>();
  state.broken_by.store(static_cast<std::uint64_t>(::getpid()) << 32 |
                        static_cast<std::uint64_t>(detail::BarrierEnd::aborted));
  state.phase.store(static_cast<std::uint32_t>(phase));
  object->header().first = 0;  // in the middle of a change of the links
  ::kill(::getpid(), SIGKILL);
}

TEST_F(BarrierKill, WhatItHadBegunIsFinished) {
  for (const auto phase : {detail::barrier_filling, detail::barrier_releasing,
                           detail::barrier_broken, detail::barrier_resetting}) {
    const Barrier barrier{4};
    const Queue<std::string> ends;
    Crew<InProcesses> crew;
    crew.start_many<report_end>(3, barrier, ends);
    await_waiters(barrier, 3);
    auto victim = Process::spawn<die_in_phase>(barrier, static_cast<int>(phase)).unwrap();
    const int pid = *victim.pid();
    for (int i = 0; i < 3; ++i) {
      const std::string end = ends.get().unwrap();
      EXPECT_EQ(end == "released", phase == detail::barrier_releasing) << end;
      const bool is_told_who = phase != detail::barrier_filling || end.ends_with(died(pid));
      EXPECT_TRUE(is_told_who) << end;
    }
    EXPECT_EQ(victim.join().unwrap(), -SIGKILL);
    crew.join();
    EXPECT_TRUE(barrier.broken());
    barrier.reset();
    crew.start_many<report_end>(3, barrier, ends);
    barrier.wait().unwrap();
    crew.join();
  }
}

void wait_until_broken(const Barrier& barrier, const Queue<std::string>& ends) {
  for (;;) {
    const auto end = barrier.wait();
    if (end.is_ok()) continue;
    ends.put(end.error().what()).unwrap();
    return;
  }
}

TEST_F(BarrierKill, Fault24KilledAnywhere) {
  std::mt19937_64 random{seed()};
  for (unsigned round = 0; round < rounds(25); ++round) {
    const std::size_t parties = 2 + random() % 4;
    const std::size_t victims = 1 + random() % parties;
    const Barrier barrier{static_cast<int>(parties)};
    const Queue<std::string> ends;
    Crew<InProcesses> crew;
    crew.start_many<wait_until_broken>(static_cast<int>(parties - victims), barrier, ends);
    std::vector<Process> killed;
    for (std::size_t i = 0; i < victims; ++i) {
      killed.push_back(Process::spawn<wait_until_broken>(barrier, ends).unwrap());
    }
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 5000});
    for (auto& victim : killed) victim.kill().unwrap();
    for (std::size_t i = 0; i < parties - victims; ++i) {
      EXPECT_THAT(ends.get().unwrap(), HasSubstr("died"));
    }
    crew.join();
    for (auto& victim : killed) victim.join().unwrap();
    EXPECT_TRUE(barrier.broken());
    barrier.reset();
    crew.start_many<report_end>(static_cast<int>(parties) - 1, barrier, ends);
    barrier.wait().unwrap();
    crew.join();
  }
}

}  // namespace
