// A value for each thread, after CPython's test_threading_local.py.
#include <passel/thread.hpp>
#include <passel/thread_local.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel::Thread;
using passel::ThreadLocal;

/// Counts how many of it there are.
struct Counted {
  static inline std::atomic<int> alive{0};
  explicit Counted(int n = 0) : number{n} { ++alive; }
  Counted(const Counted& other) : number{other.number} { ++alive; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive; }
  int number;
};

void in_thread(std::function<void()> f) { Thread::spawn(std::move(f)).unwrap().join().unwrap(); }

TEST(ThreadLocal, EachThreadHasItsOwn) {
  // BaseLocalTest.test_derived
  ThreadLocal<int> local;
  *local = 1;
  in_thread([&] {
    EXPECT_EQ(local.find(), nullptr);  // unset here
    EXPECT_EQ(*local, 0);
    *local = 2;
    EXPECT_EQ(local.get(), 2);
  });
  EXPECT_EQ(*local, 1);
  local.reset();
  EXPECT_EQ(local.find(), nullptr);
  local.set(5);
  EXPECT_EQ(*local.find(), 5);
}

TEST(ThreadLocal, ValuesGoWithTheirThread) {
  // BaseLocalTest.test_local_refs
  ThreadLocal<Counted> local;
  local.set(Counted{1});
  for (int i = 0; i < 20; ++i) {
    in_thread([&] {
      local->number = i;
      EXPECT_EQ(Counted::alive, 2);
    });
    EXPECT_EQ(Counted::alive, 1);
  }
  std::thread{[&] { local->number = 9; }}.join();
  EXPECT_EQ(Counted::alive, 1);
  EXPECT_EQ(local->number, 1);
  local.reset();
  EXPECT_EQ(Counted::alive, 0);
}

TEST(ThreadLocal, ValuesOfAllThreadsGoWithIt) {
  // BaseLocalTest.test_derived_cycle_dealloc
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<Thread> threads;
  {
    ThreadLocal<Counted> local;
    for (int i = 0; i < 4; ++i) {
      threads.push_back(Thread::spawn([&] {
                          local->number = 1;
                          ++ready;
                          go.wait(false);
                        }).unwrap());
    }
    while (ready < 4) std::this_thread::yield();
    EXPECT_EQ(Counted::alive, 4);
  }
  EXPECT_EQ(Counted::alive, 0);
  go = true;
  go.notify_all();
  for (const Thread& t : threads) t.join().unwrap();
}

TEST(ThreadLocal, MakesValuesWithAFunctionOfItsOwn) {
  // BaseLocalTest.test_arguments: a subclass with a constructor that runs once in each thread
  std::atomic<int> made{0};
  ThreadLocal<Counted> local{[&made] { return Counted{++made}; }};
  EXPECT_EQ(local->number, 1);
  in_thread([&] {
    EXPECT_EQ(local->number, 2);
    EXPECT_EQ(local->number, 2);
  });
  EXPECT_EQ(made, 2);
}

TEST(ThreadLocal, ManyThatComeAndGoLeaveNothingInALongThread) {
  ThreadLocal<int> stays;
  stays.set(3);
  for (int i = 0; i < 1000; ++i) {
    ThreadLocal<Counted> passing;
    passing->number = i;
    EXPECT_EQ(passing->number, i);
  }
  EXPECT_EQ(Counted::alive, 0);
  EXPECT_EQ(*stays, 3);
}

TEST(ThreadLocal, ADestructorMayUseAnother) {
  static std::atomic<int> seen{0};
  static ThreadLocal<int> other;
  struct UsesOther {
    bool armed = false;
    ~UsesOther() {
      if (armed) seen = ++*other;
    }
  };
  ThreadLocal<UsesOther> local;
  in_thread([&] {
    *other = 41;
    local->armed = true;
  });
  EXPECT_TRUE(seen == 42 || seen == 1) << seen;  // whichever of the two goes first
}

}  // namespace
