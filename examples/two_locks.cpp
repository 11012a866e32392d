// Example: the two ways to wait for ever with locks, and what helps.
//
//   two_locks twice    one thread acquires a Lock twice: with a time limit it learns that it waits
//                      for itself; an RLock lets it in
//   two_locks order    A takes a, then b; B takes b, then a: with a time limit A backs off;
//                      std::scoped_lock takes both without a fixed order
#include <passel/barrier.hpp>
#include <passel/rlock.hpp>
#include <passel/runtime.hpp>
#include <passel/thread.hpp>

#include "pace.hpp"

#include <cstdio>
#include <mutex>
#include <string>

void twice() {
  const passel::Lock lock;
  const auto first = lock.acquire().unwrap();
  const auto second = lock.acquire_for(seconds(0.2));
  std::printf("Lock acquired twice: %s\n", second ? "yes" : "no");
  const passel::RLock rlock;
  const auto outer = rlock.acquire().unwrap();
  const auto inner = rlock.acquire_for(seconds(0.2));
  std::printf("RLock acquired twice: %s\n", inner ? "yes" : "no");
}

/// Has a, meets B, which has b, and wants b for a while.
void impatient(const passel::Lock& a, const passel::Lock& b, const passel::Barrier& meeting) {
  auto first = a.acquire().unwrap();
  meeting.wait().unwrap();
  while (!b.acquire_for(seconds(0.1))) {
    std::puts("A backs off");
    first.release().unwrap();
    sleep_seconds(0.1);
    first = a.acquire().unwrap();
  }
  std::puts("A has both");
}

void patient(const passel::Lock& b, const passel::Lock& a, const passel::Barrier& meeting) {
  const auto first = b.acquire().unwrap();
  meeting.wait().unwrap();
  const auto second = a.acquire().unwrap();
  std::puts("B has both");
}

void both_at_once(const passel::Lock& first, const passel::Lock& second, const char* name) {
  for (int i = 0; i < 1000; ++i) const std::scoped_lock both{first, second};
  std::printf("%s took both a thousand times\n", name);
}

void order() {
  const passel::Lock a{{.name = "a"}};
  const passel::Lock b{{.name = "b"}};
  const passel::Barrier meeting{2};
  const auto one = passel::Thread::spawn(impatient, a, b, meeting).unwrap();
  const auto two = passel::Thread::spawn(patient, b, a, meeting).unwrap();
  one.join().unwrap();
  two.join().unwrap();
  const auto three = passel::Thread::spawn(both_at_once, a, b, "A").unwrap();
  const auto four = passel::Thread::spawn(both_at_once, b, a, "B").unwrap();
  three.join().unwrap();
  four.join().unwrap();
}

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  if (argc > 1 && argv[1] == std::string{"order"}) {
    order();
  } else {
    twice();
  }
}
