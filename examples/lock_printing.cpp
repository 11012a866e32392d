// Example: processes that print, one at a time.
//
//   lock_printing hello      twenty processes, each with the lock
//   lock_printing locked     ten processes, acquire and release in a scope
//   lock_printing unlocked   ten processes without
#include <passel/lock.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include <cstdio>
#include <string>
#include <vector>

void say_hello(const passel::Lock& lock, int number) {
  const auto guard = lock.acquire().unwrap();
  std::printf("Hello Num: %d\n", number);
}

void locked(const passel::Lock& lock, int number) {
  const auto guard = lock.acquire().unwrap();
  std::printf("hello world %d\n", number);
}

void unlocked(const passel::Lock&, int number) { std::printf("hello world %d\n", number); }

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const std::string how = argc > 1 ? argv[1] : "hello";
  const passel::Lock lock;
  std::vector<passel::Process> processes;
  for (int i = 0; i < (how == "hello" ? 20 : 10); ++i) {
    processes.push_back((how == "hello"    ? passel::Process::spawn<say_hello>(lock, i)
                         : how == "locked" ? passel::Process::spawn<locked>(lock, i)
                                           : passel::Process::spawn<unlocked>(lock, i))
                            .unwrap());
  }
  for (auto& process : processes) process.join().unwrap();
}
