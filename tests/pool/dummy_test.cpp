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
  using Manager = passel::Manager;
};
struct Threads {
  using Pool = passel::dummy::Pool;
  using Process = passel::dummy::Process;
  using Queue = passel::dummy::Queue<int>;
  using JoinableQueue = passel::dummy::JoinableQueue<int>;
  using Manager = passel::dummy::Manager;
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
void note(const passel::DictProxy<int, std::string>& seen, const passel::ListProxy<int>& order,
          const passel::LockProxy& lock, const passel::QueueProxy<int>& done, int n) {
  {
    const auto held = lock.acquire().unwrap();
    seen.set(n, std::to_string(n)).unwrap();
    order.append(n).unwrap();
  }
  done.put(n).unwrap();
}

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

TYPED_TEST(World, AManagerHasObjectsForAll) {
  auto manager = TypeParam::Manager::started().unwrap();
  auto seen = manager.template dict<int, std::string>().unwrap();
  auto order = manager.template list<int>({7}).unwrap();
  auto lock = manager.lock().unwrap();
  auto done = manager.template queue<int>().unwrap();
  auto p = TypeParam::Process::template spawn<note>(seen, order, lock, done, 1).unwrap();
  auto q = TypeParam::Process::template spawn<note>(seen, order, lock, done, 2).unwrap();
  EXPECT_EQ(done.get().unwrap() + done.get().unwrap(), 3);
  EXPECT_EQ(p.join().unwrap() + q.join().unwrap(), 0);
  EXPECT_EQ(seen.get(1).unwrap(), "1");
  EXPECT_EQ(seen.get(2).unwrap(), "2");
  EXPECT_EQ(order.size().unwrap(), 3U);
  auto shared = manager.namespace_().unwrap();
  shared.set("a", 10).unwrap();
  EXPECT_EQ(shared.template get<int>("a").unwrap(), 10);
  manager.shutdown().unwrap();
  EXPECT_TRUE(order.size().is_err());
  EXPECT_TRUE(manager.shutdown().is_ok());
}

TEST(DummyManager, ThreadsWaitForEachOtherByItsLocks) {
  auto manager = passel::dummy::Manager::started().unwrap();
  auto lock = manager.lock().unwrap();
  auto value = manager.value(0).unwrap();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([lock, value] {
      for (int n = 0; n < 25; ++n) {
        const auto held = lock.acquire().unwrap();
        value.set(value.get().unwrap() + 1).unwrap();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(value.get().unwrap(), 100);
}

TEST(DummyManager, HasToBeStartedOnce) {
  passel::dummy::Manager manager;
  EXPECT_EQ(manager.shutdown().error(), Errc::invalid_state);
  EXPECT_EQ(manager.list<int>().error(), Errc::invalid_state);
  manager.start().unwrap();
  EXPECT_EQ(manager.start().error(), Errc::invalid_state);
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
