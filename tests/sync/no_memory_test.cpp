// Handing over, telling and mending with no memory left: nobody is forgotten, and no lock stays.
#include <passel/barrier.hpp>
#include <passel/condition.hpp>
#include <passel/event.hpp>
#include <passel/lock.hpp>
#include <passel/semaphore.hpp>
#include <passel/thread.hpp>

#include <gtest/gtest.h>

#include "support/blocked_thread.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cstdlib>
#include <list>
#include <new>
#include <thread>
#include <vector>

namespace {

/// While it lives this thread is refused all memory.
class NoMemory {
 public:
  NoMemory() { refused_here = true; }
  NoMemory(const NoMemory&) = delete;
  NoMemory& operator=(const NoMemory&) = delete;
  ~NoMemory() { refused_here = false; }

  static thread_local bool refused_here;
};
thread_local bool NoMemory::refused_here = false;

}  // namespace

// Not inlined: the compiler would see memory of new that is given to free.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (NoMemory::refused_here) throw std::bad_alloc{};
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc{};
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using passel::Condition;
using passel::Errc;
using passel::Event;
using passel::Lock;
using passel::Ownership;
using passel::Reach;
using passel::Semaphore;
using passel_test::BlockedThread;

constexpr int many = 40;  // more than a step can name without memory

TEST(NoMemory, PermitsAreHandedToAllWhoWait) {
  for (const Reach reach : {Reach::threads, Reach::host}) {
    for (const auto ownership : {Ownership::counted, Ownership::owned}) {
      const Semaphore semaphore{
          {.value = 0, .reach = reach, .ownership = ownership, .limit = many}};
      std::list<BlockedThread> threads;
      for (int i = 0; i < many; ++i) {
        threads.emplace_back([&] { semaphore.acquire().unwrap().detach(); });
      }
      for (BlockedThread& each : threads) each.wait_until_blocked();
      {
        const NoMemory here;
        semaphore.release(many).unwrap();
      }
      threads.clear();
      EXPECT_EQ(semaphore.value(), 0);
    }
  }
}

TEST(NoMemory, ALockIsTakenAwaitedAndGivenBack) {
  const Lock lock{{.reach = Reach::threads, .fair = true}};
  auto guard = lock.acquire().unwrap();
  std::atomic<bool> has_it{false};
  BlockedThread other{[&] {
    const NoMemory here;
    const auto mine = lock.acquire();
    has_it.store(mine.is_ok());
  }};
  other.wait_until_blocked();
  {
    const NoMemory here;
    guard.release().unwrap();
  }
  other.join();
  EXPECT_TRUE(has_it.load());
}

TEST(NoMemory, AllWhoWaitForAConditionAreNotified) {
  const Condition condition{{.reach = Reach::threads}};
  int ready = 0;
  std::atomic<int> woken{0};
  std::list<BlockedThread> threads;
  for (int i = 0; i < many; ++i) {
    threads.emplace_back([&] {
      const auto guard = condition.acquire().unwrap();
      ++ready;
      if (condition.wait()) ++woken;
    });
  }
  for (;;) {
    auto guard = condition.acquire().unwrap();
    if (ready < many) continue;
    const NoMemory here;
    condition.notify_all().unwrap();
    break;
  }
  threads.clear();
  EXPECT_EQ(woken.load(), many);
}

TEST(NoMemory, AllFuturesOfAnEventAreDone) {
  const Event event;
  std::vector<passel::Future<void>> futures;
  for (int i = 0; i < many; ++i) futures.push_back(event.wait_async());
  {
    const NoMemory here;
    event.set();
  }
  for (auto& future : futures) EXPECT_TRUE(future.get().is_ok());
}

TEST(NoMemory, WhatADeadProcessHeldGoesToAllWhoWait) {
  const Semaphore semaphore{{.value = many, .ownership = Ownership::owned, .limit = many}};
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    for (int i = 0; i < many; ++i) semaphore.acquire().unwrap().detach();
    ::_exit(::write(ready[1], "!", 1) == 1 ? 0 : 1);
  }
  char said = 0;
  ASSERT_EQ(::read(ready[0], &said, 1), 1);
  const auto id = passel::detail::process_with_pid(holder);
  std::list<BlockedThread> threads;
  for (int i = 0; i < many; ++i) {
    threads.emplace_back([&] { semaphore.acquire().unwrap().detach(); });
  }
  for (BlockedThread& each : threads) each.wait_until_blocked();
  int status = 0;
  ASSERT_EQ(::waitpid(holder, &status, 0), holder);
  EXPECT_EQ(status, 0);
  const auto handle = passel::codec<Semaphore>::encode(semaphore);
  {
    const NoMemory here;
    handle.handle()->object->process_lost(id);
  }
  threads.clear();
  EXPECT_EQ(semaphore.value(), 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(NoMemory, AWaitThatCannotBeginKeepsTheLock) {
  const Condition condition{{.reach = Reach::threads}};
  auto guard = condition.acquire().unwrap();
  bool refused = false;
  {
    const NoMemory here;
    try {
      refused = condition.wait().is_err();
    } catch (const std::bad_alloc&) {
      refused = true;  // not even the error has room
    }
  }
  EXPECT_TRUE(refused);
  EXPECT_TRUE(guard.release().is_ok());
  EXPECT_FALSE(condition.locked());
}

}  // namespace
