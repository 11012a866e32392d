// dummy: one program over processes and over threads, after CPython's _TestProcess with threads.
#include <passel/dummy.hpp>
#include <passel/pool.hpp>
#include <passel/process.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <atomic>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

/// What both worlds are called here: the aliases that a program switches by.
struct Processes {
  using Pool = passel::Pool;
  using Process = passel::Process;
  using Queue = passel::Queue<int>;
  using JoinableQueue = passel::JoinableQueue<int>;
};
struct Threads {
  using Pool = passel::dummy::Pool;
  using Process = passel::dummy::Process;
  using Queue = passel::dummy::Queue<int>;
  using JoinableQueue = passel::dummy::JoinableQueue<int>;
};

namespace {

using passel::Errc;
using ::testing::ElementsAre;

void put_square(const passel::Queue<int>& results, int n) { results.put(n * n).unwrap(); }
void take_all(const passel::JoinableQueue<int>& jobs) {
  for (const int job : jobs) {
    static_cast<void>(job);
    jobs.task_done().unwrap();
  }
}
int square(int n) { return n * n; }

template <class W>
class World : public ::testing::Test {};
using Worlds = ::testing::Types<Processes, Threads>;
TYPED_TEST_SUITE(World, Worlds);

// test_process
TYPED_TEST(World, AProcessRunsAndHasAnExitcode) {
  typename TypeParam::Queue results;
  auto p = TypeParam::Process::template spawn<put_square>(results, 6).unwrap();
  EXPECT_EQ(results.get().unwrap(), 36);
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_FALSE(p.is_alive());
  EXPECT_EQ(p.exitcode(), 0);
}

TYPED_TEST(World, AJoinableQueueIsJoined) {
  typename TypeParam::JoinableQueue jobs;
  auto p = TypeParam::Process::template spawn<take_all>(jobs).unwrap();
  for (int i = 0; i < 10; ++i) jobs.put(i).unwrap();
  jobs.join().unwrap();
  jobs.shutdown();
  EXPECT_EQ(p.join().unwrap(), 0);
}

TYPED_TEST(World, APoolMaps) {
  auto pool = TypeParam::Pool::start({.processes = 2}).unwrap();
  EXPECT_THAT(pool.template map<square>(std::vector{1, 2, 3}).unwrap(), ElementsAre(1, 4, 9));
}

// test_active_children
TEST(DummyProcess, IsStartedByItsMakerAloneAndListedWhileItRuns) {
  std::binary_semaphore may_end{0};
  auto p = passel::dummy::Process::make({.name = "waiter"}, [&may_end] { may_end.acquire(); });
  EXPECT_EQ(p.name(), "waiter");
  EXPECT_FALSE(p.exitcode().has_value());
  std::thread stranger{[&p] { EXPECT_TRUE(p.start().error() == Errc::invalid_state); }};
  stranger.join();
  EXPECT_TRUE(passel::dummy::active_children().empty());
  p.start().unwrap();
  EXPECT_THAT(passel::dummy::active_children(), ElementsAre(p));
  EXPECT_FALSE(p.exitcode().has_value());
  may_end.release();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_TRUE(passel::dummy::active_children().empty());
}

TEST(DummyProcess, ItsQueuesTakeWhatCannotTravel) {
  passel::dummy::Queue<std::unique_ptr<int>> queue;
  auto p = passel::dummy::Process::spawn([&queue] {
             queue.put(std::make_unique<int>(3)).unwrap();
           }).unwrap();
  EXPECT_EQ(*queue.get().unwrap(), 3);
  p.join().unwrap();
}

/// The alias is all that such a program changes.
namespace mp = passel::dummy;

TEST(DummyProcess, OneAliasSwapsTheWholeProgram) {
  auto [here, there] = mp::Pipe::create().unwrap();
  auto lock = mp::Lock::create().unwrap();
  auto total = mp::Value<int>::create(0).unwrap();
  auto told = mp::Event::create().unwrap();
  auto work = [](mp::Connection line, const mp::Lock& mine, mp::Value<int> sum, mp::Event done) {
    const int n = line.recv<int>().unwrap();
    {
      const auto held = mine.acquire().unwrap();
      sum.set_value(sum.value() + n);
    }
    line.send(n + 1).unwrap();
    done.set();
  };
  auto p = mp::Process::spawn(work, std::move(there), lock, total, told).unwrap();
  here.send(41).unwrap();
  EXPECT_EQ(here.recv<int>().unwrap(), 42);
  EXPECT_TRUE(told.wait());
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(total.value(), 41);
}

// test_listener_client
TEST(DummyProcess, ListenerAndClientMeetInOneProcess) {
  auto listener = mp::Listener::open().unwrap();
  auto p = mp::Process::spawn([&listener] {
             auto line = mp::Client::connect(listener.address()).unwrap();
             line.send(std::string{"hello"}).unwrap();
           }).unwrap();
  auto line = listener.accept().unwrap();
  EXPECT_EQ(line.recv<std::string>().unwrap(), "hello");
  EXPECT_EQ(p.join().unwrap(), 0);
}

}  // namespace
