// A Barrier among the arguments of a pool's tasks, when workers end that had not begun them.
#include <passel/barrier.hpp>
#include <passel/event.hpp>
#include <passel/pool.hpp>
#include <passel/process.hpp>

#include <gtest/gtest.h>

#include <unistd.h>
#include <csignal>

namespace {

using passel::Barrier;
using passel::Errc;
using passel::Event;
using passel::Pool;
using passel::Process;

void wait_for(const Event& begun, const Event& go) {
  begun.set();
  go.wait();
}
void die_at_a_word(const Event& begun, const Event& go) {
  begun.set();
  go.wait();
  ::kill(::getpid(), SIGKILL);
}
int meet(const Barrier& barrier) { return barrier.wait().unwrap(); }
int meet_and_die(const Barrier& barrier, const Event& begun) {
  begun.set();
  static_cast<void>(barrier.wait());
  return ::kill(::getpid(), SIGKILL);
}

TEST(PoolBarrier, IsNotBrokenByAWorkerThatLeavesATaskToAnother) {
  const Barrier barrier{2};
  const Event begun;
  const Event go;
  Pool pool = Pool::start({.processes = 1}).unwrap();
  auto partner = Process::spawn<meet>(barrier).unwrap();
  auto doomed = pool.submit<die_at_a_word>(begun, go);
  begun.wait();
  // Lies with the worker, who never comes to it.
  auto next = pool.submit<meet>(barrier);
  go.set();
  EXPECT_EQ(doomed.get().error().code(), Errc::worker_lost);
  EXPECT_TRUE(next.get().is_ok());
  EXPECT_EQ(partner.join().unwrap(), 0);
  EXPECT_FALSE(barrier.broken());
}

TEST(PoolBarrier, IsNotBrokenByAWorkerThatEndsInOrder) {
  const Barrier barrier{2};
  const Event begun;
  const Event go;
  auto partner = Process::spawn<meet>(barrier).unwrap();
  {
    Pool pool = Pool::start({.processes = 1}).unwrap();
    auto first = pool.submit<wait_for>(begun, go);
    begun.wait();
    auto unwanted = pool.submit<meet>(barrier);
    ASSERT_TRUE(unwanted.cancel());  // its worker is in the first one until the next line
    go.set();
    EXPECT_TRUE(first.get().is_ok());
    pool.close();
    pool.join().unwrap();
  }
  EXPECT_TRUE(barrier.wait().is_ok());
  EXPECT_EQ(partner.join().unwrap(), 0);
}

TEST(PoolBarrier, IsBrokenByAWorkerThatDiesInItsTask) {
  const Barrier barrier{3};
  const Event begun;
  Pool pool = Pool::start({.processes = 1}).unwrap();
  auto doomed = pool.submit<meet_and_die>(barrier, begun);
  begun.wait();
  pool.terminate();
  const auto broken = barrier.wait();
  ASSERT_TRUE(broken.is_err());
  EXPECT_EQ(broken.error().code(), Errc::broken);
}

}  // namespace
