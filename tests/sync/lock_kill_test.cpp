// Locks and semaphores whose users are killed, stopped and continued at random, with a history that
// is checked; and deaths at every instruction.
#include <passel/detail/sync_object.hpp>
#include <passel/lock.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/semaphore.hpp>

#include <gtest/gtest.h>

#include "placements.hpp"
#include "support/process_census.hpp"
#include "support/seed.hpp"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel_test;
using passel::BoundedSemaphore;
using passel::Lock;
using passel::Process;
using passel::Queue;
using passel::Semaphore;
using passel::detail::SyncKind;
using passel::detail::SyncObject;

constexpr std::size_t log_size = 1 << 20;

/// What the victims write: a memory that children of the start method fork share with the test.
struct History {
  struct Entry {
    std::uint64_t token;
    std::int32_t pid;
    bool abandoned;
    bool left;  ///< the holder gave it back and did not die inside
  };
  // Written under the lock only, and not atomically: that is the proof.
  std::uint64_t counter;
  std::uint64_t entries;
  std::array<Entry, log_size> log;
  std::atomic<std::uint64_t> violations;
  std::atomic<std::int64_t> inside;  ///< of the semaphore
  std::atomic<std::uint64_t> done;

  static History& shared() {
    static auto* const the_history = [] {
      void* const memory = ::mmap(nullptr, sizeof(History), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED) throw std::bad_alloc{};
      return new (memory) History{};
    }();
    return *the_history;
  }
  static void reset() {
    ::madvise(&shared(), sizeof(History), MADV_REMOVE);
    new (&shared()) History{};
  }
};

/// Takes the lock over and over and writes the history.
void work_inside(const Lock& lock) {
  History& history = History::shared();
  for (unsigned turn = 0;; ++turn) {
    auto guard = turn % 8 == 7 ? lock.acquire_for(100us) : lock.acquire();
    if (!guard) continue;
    const std::uint64_t mine = history.entries;
    if (mine >= log_size) ::_exit(0);
    history.log[mine] = {
        .token = guard->token(), .pid = ::getpid(), .abandoned = guard->abandoned(), .left = false};
    history.entries = mine + 1;
    const std::uint64_t seen = history.counter;
    history.counter = seen + 1;
    if (history.entries != mine + 1 || history.counter != seen + 1) ++history.violations;
    history.log[mine].left = true;
    history.done.fetch_add(1);
    if (turn % 4 == 3) {
      guard->detach();
      lock.unlock();
    } else {
      guard->release().unwrap();
    }
    // Without a pause the history is full before anybody is killed.
    for (int i = 0; i < 200; ++i) passel::detail::cpu_relax();
  }
}

struct Victim {
  pid_t pid;
  passel::detail::ProcessId id;
};

Victim start(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  return {.pid = child, .id = passel::detail::process_with_pid(child)};
}

void kill(const Victim& victim, const std::function<void(const Victim&)>& lost) {
  ::kill(victim.pid, SIGKILL);
  int status = 0;
  EXPECT_EQ(::waitpid(victim.pid, &status, 0), victim.pid);
  lost(victim);
}

/// Forked children are no children of passel: tells the arena itself, as a parent does.
template <class T>
void tell_of_death(const T& object, const Victim& victim) {
  const auto handle = passel::codec<T>::encode(object);
  handle.handle()->object->process_lost(victim.id);
}

/// Lets victims work, stops, continues and kills them at random, and starts new ones; all are dead
/// afterwards. Returns who was killed.
std::vector<pid_t> torment(std::mt19937_64& random, unsigned kills, int crew,
                           const std::function<void()>& body,
                           const std::function<void(const Victim&)>& lost) {
  std::vector<Victim> victims;
  std::vector<pid_t> killed;
  for (int i = 0; i < crew; ++i) victims.push_back(start(body));
  const auto has_room = [] { return History::shared().entries < log_size / 2; };
  for (unsigned i = 0; i < kills && has_room(); ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 2000});
    const std::size_t at = random() % victims.size();
    if (random() % 3 == 0) {
      ::kill(victims[at].pid, SIGSTOP);
      std::this_thread::sleep_for(std::chrono::microseconds{random() % 3000});
      ::kill(victims[at].pid, SIGCONT);
    }
    kill(victims[at], lost);
    killed.push_back(victims[at].pid);
    victims[at] = start(body);
  }
  // Whoever is alive gets on: no death has stopped the lock.
  const std::uint64_t before = History::shared().done;
  while (History::shared().done < before + 100 && has_room()) std::this_thread::yield();
  for (const Victim& victim : victims) {
    kill(victim, lost);
    killed.push_back(victim.pid);
  }
  return killed;
}

void check_history(std::uint64_t final_token, bool final_abandoned) {
  const History& history = History::shared();
  EXPECT_EQ(history.violations, 0U);
  ASSERT_LT(history.entries, log_size) << "the history is full: fewer kills, please";
  std::uint64_t last = 0;
  std::uint64_t left = 0;
  bool last_died = false;
  for (std::uint64_t i = 0; i < history.entries; ++i) {
    const History::Entry& entry = history.log[i];
    ASSERT_GT(entry.token, last) << "tokens grow, entry " << i;
    // Told of a death where the one before died inside; where it died on the way out or before it
    // had written a word, a token is missing in between, or not even that.
    if (last_died) {
      ASSERT_TRUE(entry.abandoned)
          << "entry " << i << " was not told that " << history.log[i - 1].pid << " died inside";
    }
    last = entry.token;
    last_died = !entry.left;
    left += entry.left ? 1 : 0;
  }
  EXPECT_GT(final_token, last);
  if (last_died) {
    EXPECT_TRUE(final_abandoned);
  }
  EXPECT_GE(history.counter, left);
  EXPECT_LE(history.counter, history.entries + 1);
}

TEST(Fault21LockHolder, KilledAnywhereTheNextOneGetsItAndIsTold) {
  std::mt19937_64 random{passel_test::seed()};
  for (const bool fair : {false, true}) {
    const auto before = ProcessCensus::take();
    History::reset();
    {
      const Lock lock{{.name = "victims'", .fair = fair}};
      const auto lost = [&](const Victim& victim) { tell_of_death(lock, victim); };
      torment(
          random, passel_test::rounds(150), 4, [&] { work_inside(lock); }, lost);
      const auto guard = lock.acquire().unwrap();
      check_history(guard.token(), guard.abandoned());
    }
    EXPECT_EQ(ProcessCensus::settle(before), "");
  }
}

void work_with_permits(const Semaphore& permits, int limit) {
  History& history = History::shared();
  for (unsigned turn = 0;; ++turn) {
    auto guard = turn % 8 == 7 ? permits.acquire_for(100us) : permits.acquire();
    if (!guard) continue;
    if (permits.value() > limit) ++history.violations;
    history.done.fetch_add(1);
    if (turn % 4 == 3) {
      guard->detach();
      permits.release().unwrap();
    }
  }
}

TEST(Fault25SemaphoreHolder, KilledAnywhereAllPermitsComeBack) {
  std::mt19937_64 random{passel_test::seed()};
  const auto before = ProcessCensus::take();
  History::reset();
  {
    const BoundedSemaphore bounded{3};
    const Semaphore& permits = bounded;
    const auto lost = [&](const Victim& victim) { tell_of_death(permits, victim); };
    torment(
        random, passel_test::rounds(150), 5, [&] { work_with_permits(permits, 3); }, lost);
    EXPECT_EQ(History::shared().violations, 0U);
    EXPECT_EQ(bounded.value(), 3);
    std::vector<passel::Guard> all;
    for (int i = 0; i < 3; ++i) all.push_back(bounded.try_acquire().unwrap());
    EXPECT_TRUE(bounded.try_acquire().is_err());
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

// ---- those who wait -----------------------------------------------------------------------------

void say_and_wait(const Lock& lock, const Queue<int>& news) {
  news.put(::getpid()).unwrap();
  const auto guard = lock.acquire().unwrap();
  news.put(-::getpid()).unwrap();
}

TEST(Fault23Waiter, KilledInLineIsForgotten) {
  const auto before = ProcessCensus::take();
  {
    const Lock lock{{.fair = true}};
    const Queue<int> news;
    auto guard = lock.acquire().unwrap();
    Crew<InProcesses> crew;
    for (int i = 0; i < 6; ++i) {
      crew.start<say_and_wait>(lock, news);
      EXPECT_GT(news.get().unwrap(), 0);
      crew.wait_until_blocked();
    }
    auto& workers = crew.processes();
    for (const std::size_t victim : {4U, 2U, 0U}) {
      workers[victim].kill().unwrap();
      EXPECT_EQ(workers[victim].join().unwrap(), -SIGKILL);
      workers.erase(workers.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    guard.release().unwrap();
    for (const Process& living : workers) EXPECT_EQ(news.get().unwrap(), -*living.pid());
    crew.join();
    EXPECT_FALSE(lock.acquire().unwrap().abandoned());  // it only waited
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

/// A process that is stopped in its wait for `lock`: it does not learn of what it is granted.
void start_stopped_waiter(Crew<InProcesses>& crew, const Lock& lock, const Queue<int>& news) {
  crew.start<say_and_wait>(lock, news);
  EXPECT_GT(news.get().unwrap(), 0);
  crew.wait_until_blocked();
  EXPECT_EQ(::kill(*crew.processes().back().pid(), SIGSTOP), 0);
}

void kill_waiter(Crew<InProcesses>& crew) {
  Process& waiter = crew.processes().back();
  waiter.kill().unwrap();
  EXPECT_EQ(waiter.join().unwrap(), -SIGKILL);
  crew.processes().pop_back();
}

TEST(Fault23Waiter, KilledBeforeItLearntOfItsGrantLeavesNothingHalfDone) {
  const Lock lock{{.fair = true}};  // handed over: it is the holder while it sleeps
  const Queue<int> news;
  Crew<InProcesses> crew;
  auto guard = lock.acquire().unwrap();
  start_stopped_waiter(crew, lock, news);
  guard.release().unwrap();
  EXPECT_TRUE(lock.locked());
  kill_waiter(crew);
  EXPECT_FALSE(lock.acquire().unwrap().abandoned());
}

TEST(Fault23Waiter, KilledBeforeItLearntOfADeathTheNextOneIsTold) {
  const Lock lock{{.fair = true}};
  const Queue<int> news;
  Crew<InProcesses> crew;
  auto holder = Process::spawn(
                    [](const Lock& taken, const Queue<int>& out) {
                      taken.lock();
                      out.put(0).unwrap();
                      for (;;) ::pause();
                    },
                    lock, news)
                    .unwrap();
  EXPECT_EQ(news.get().unwrap(), 0);
  start_stopped_waiter(crew, lock, news);
  int repaired = 0;
  lock.on_abandoned([&](const passel::Abandonment& what) { repaired = what.pid; });
  const int dead = *holder.pid();
  holder.kill().unwrap();
  holder.join().unwrap();
  EXPECT_TRUE(lock.locked());  // handed to the one that is stopped
  kill_waiter(crew);
  EXPECT_TRUE(lock.acquire().unwrap().abandoned());
  EXPECT_EQ(repaired, dead);
}

TEST(Fault21LockHolder, SixtyFourContendersGoOnInOrder) {
  const Lock lock{{.fair = true}};
  const Queue<int> news;
  auto holder = Process::spawn(
                    [](const Lock& taken, const Queue<int>& out) {
                      const auto guard = taken.acquire().unwrap();
                      out.put(0).unwrap();
                      for (;;) ::pause();
                    },
                    lock, news)
                    .unwrap();
  EXPECT_EQ(news.get().unwrap(), 0);
  std::vector<passel::Future<passel::Guard>> contenders;
  for (int i = 0; i < 64; ++i) contenders.push_back(lock.acquire_async());
  holder.kill().unwrap();
  std::uint64_t token = 0;
  for (auto& contender : contenders) {
    const auto guard = contender.get().unwrap();
    EXPECT_EQ(guard.abandoned(), &contender == &contenders.front());
    if (token != 0) {
      EXPECT_EQ(guard.token(), token + 1);
    }
    token = guard.token();
  }
  holder.join().unwrap();
}

TEST(Fault21LockHolder, TheRepairFunctionIsCalledWithTheDeadOne) {
  const Lock lock;
  const Queue<int> news;
  int repaired = 0;
  bool fails = true;
  lock.on_abandoned([&](const passel::Abandonment& what) {
    if (fails) throw std::runtime_error{"cannot repair"};
    EXPECT_TRUE(lock.locked());
    repaired = what.pid;
  });
  auto holder = Process::spawn([](const Lock& taken) { taken.lock(); }, lock).unwrap();
  const int pid = *holder.pid();
  holder.join().unwrap();
  EXPECT_THROW(static_cast<void>(lock.acquire()), std::runtime_error);
  EXPECT_FALSE(lock.locked());
  EXPECT_EQ(lock.acquire_async().get().error().code(), passel::Errc::task_failed);
  fails = false;
  EXPECT_TRUE(lock.acquire().unwrap().abandoned());
  EXPECT_EQ(repaired, pid);
  repaired = 0;
  EXPECT_FALSE(lock.acquire().unwrap().abandoned());
  EXPECT_EQ(repaired, 0);
}

TEST(Fault21LockHolder, ARepairFunctionMayThrowAnything) {
  const Lock lock;
  lock.on_abandoned([](const passel::Abandonment&) { throw 7; });
  Process::spawn([](const Lock& taken) { taken.lock(); }, lock).unwrap().join().unwrap();
  EXPECT_THROW(static_cast<void>(lock.acquire()), int);
  EXPECT_EQ(lock.acquire_async().get().error().code(), passel::Errc::task_failed);
  lock.on_abandoned({});
  EXPECT_TRUE(lock.acquire().unwrap().abandoned());
}

// ---- every instruction --------------------------------------------------------------------------

/// Runs `body` in a child, one instruction at a time, and kills it after `count` of them. False
/// when it had ended by itself.
bool killed_after(long count, const std::function<void()>& warm_up,
                  const std::function<void()>& body,
                  const std::function<void(const Victim&)>& lost) {
  const Victim victim = start([&] {
    warm_up();
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(3);
    ::raise(SIGSTOP);
    body();
    ::raise(SIGSTOP);
  });
  int status = 0;
  ::waitpid(victim.pid, &status, 0);
  EXPECT_TRUE(WIFSTOPPED(status)) << "the child cannot be traced";
  bool ended = false;
  for (long i = 0; i < count && !ended && WIFSTOPPED(status); ++i) {
    if (::ptrace(PTRACE_SINGLESTEP, victim.pid, nullptr, nullptr) != 0) break;
    ::waitpid(victim.pid, &status, 0);
    ended = !WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP;
  }
  kill(victim, lost);
  return !ended;
}

bool sleeps(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(") ");
  return name_end != std::string::npos && line[name_end + 2] == 'S';
}

/// At so many points, spread over all of them.
void at_every_point(unsigned points, const std::function<void()>& warm_up,
                    const std::function<void()>& body,
                    const std::function<void(const Victim&)>& lost,
                    const std::function<void()>& prepare, const std::function<void()>& check) {
  std::mt19937_64 random{passel_test::seed()};
  const auto killed = [&](long count) {
    prepare();
    const bool result = killed_after(count, warm_up, body, lost);
    check();
    return result;
  };
  long length = 64;
  while (killed(length)) length *= 2;
  const long stride = std::max(1L, length / static_cast<long>(passel_test::rounds(points)));
  long at = static_cast<long>(random() % static_cast<std::uint64_t>(stride));
  while (killed(at) && !::testing::Test::HasFailure()) at += stride;
}

class LockEveryInstruction : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Fair, LockEveryInstruction, ::testing::Bool());

TEST_P(LockEveryInstruction, OfReleaseWithSomebodyInLine) {
  // Those in line are another process, which goes on for ever, and whatever comes after.
  const Lock lock{{.fair = GetParam()}};
  const Lock other{{.fair = GetParam()}};
  History::reset();
  const auto lost = [&](const Victim& victim) { tell_of_death(lock, victim); };
  Victim waiter{};
  at_every_point(
      40, [&] { const auto guard = other.acquire().unwrap(); }, [&] { lock.unlock(); }, lost,
      [&] {
        lock.lock();
        waiter = start([&] {
          History::shared().done.store(1);
          const auto guard = lock.acquire().unwrap();
          History::shared().done.store(2);
        });
        while (History::shared().done < 1 || !sleeps(waiter.pid)) std::this_thread::yield();
      },
      [&] {
        // Released by the dead one, or not at all: then by us.
        if (History::shared().done < 2) static_cast<void>(lock.release().is_ok());
        int status = 0;
        EXPECT_EQ(::waitpid(waiter.pid, &status, 0), waiter.pid);
        tell_of_death(lock, waiter);
        EXPECT_EQ(History::shared().done, 2U);
        const auto guard = lock.acquire().unwrap();
        History::shared().done.store(0);
      });
}

TEST_P(LockEveryInstruction, OfTakingAndGivingBack) {
  const Lock lock{{.fair = GetParam()}};
  const auto lost = [&](const Victim& victim) { tell_of_death(lock, victim); };
  std::uint64_t token = 0;
  const auto body = [&] { const auto guard = lock.acquire().unwrap(); };
  at_every_point(
      40, body, body, lost, [] {},
      [&] {
        const auto guard = lock.acquire().unwrap();
        EXPECT_GT(guard.token(), token);
        token = guard.token();
      });
}

TEST_P(LockEveryInstruction, OfWaitingInLineWithADeadline) {
  const Lock lock{{.fair = GetParam()}};
  const auto lost = [&](const Victim& victim) { tell_of_death(lock, victim); };
  const auto body = [&] { static_cast<void>(lock.acquire_for(1us).is_ok()); };
  at_every_point(
      3, body, body, lost, [&] { lock.lock(); },
      [&] {
        lock.unlock();
        EXPECT_TRUE(lock.acquire().is_ok());
        EXPECT_FALSE(lock.locked());
      });
}

TEST(EveryInstruction, OfMakingAndEndingALock) {
  // In an arena of ours that the child shares: what it leaves half made is cleared away.
  std::vector<Lock> kept(3);
  const auto lost = [&](const Victim& victim) { tell_of_death(kept[0], victim); };
  const auto handle = passel::codec<Lock>::encode(kept[0]);
  const auto near = std::dynamic_pointer_cast<SyncObject>(handle.handle()->object);
  const auto body = [&] {
    const auto large = SyncObject::create_beside(*near, SyncKind::bytes, 1500).unwrap();
    const auto small = SyncObject::create_beside(*near, SyncKind::bytes, 1).unwrap();
    std::memset(large->state(), 0xff, 1500);
  };
  at_every_point(
      3, body, body, lost, [] {},
      [&] {
        kept.emplace_back();
        const Semaphore large{{.value = 40, .ownership = passel::Ownership::owned}};
        EXPECT_EQ(large.value(), 40);
        for (const Lock& lock : kept) EXPECT_FALSE(lock.locked());
      });
}

}  // namespace
