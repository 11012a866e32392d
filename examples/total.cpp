// Example: two threads add to and subtract from one number, a million times each.
//
//   total race     no lock: the result is whatever the threads leave
//   total lock     a Lock around each step: 0
//   total rlock    an RLock that is acquired twice: 0
#include <passel/rlock.hpp>
#include <passel/runtime.hpp>
#include <passel/thread.hpp>

#include <atomic>
#include <cstdio>
#include <string>

constexpr int turns = 1'000'000;

// Python's `total += 1` is a load, an addition and a store; so is this. Unprotected access to a
// plain int by two threads would be undefined in C++.
std::atomic<int> total{0};

void change(int by) {
  total.store(total.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

void race(int by) {
  for (int i = 0; i < turns; ++i) change(by);
}

void with_lock(const passel::Lock& lock, int by) {
  for (int i = 0; i < turns; ++i) {
    const auto guard = lock.acquire().unwrap();
    change(by);
  }
}

void with_rlock(const passel::RLock& lock, int by) {
  for (int i = 0; i < turns; ++i) {
    const auto guard = lock.acquire().unwrap();
    const auto again = lock.acquire().unwrap();  // a Lock would wait for itself here
    change(by);
  }
}

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const std::string how = argc > 1 ? argv[1] : "lock";
  const passel::Lock lock{{.reach = passel::Reach::threads}};
  const passel::RLock rlock{{.reach = passel::Reach::threads}};
  const auto start = [&](int by) {
    if (how == "race") return passel::Thread::spawn(race, by).unwrap();
    if (how == "rlock") return passel::Thread::spawn(with_rlock, rlock, by).unwrap();
    return passel::Thread::spawn(with_lock, lock, by).unwrap();
  };
  const auto add = start(1);
  const auto desc = start(-1);
  add.join().unwrap();
  desc.join().unwrap();
  std::printf("%d\n", total.load());
}
