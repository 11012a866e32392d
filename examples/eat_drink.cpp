// Example: two threads that main waits for at its end, not at all, or before it looks at the clock.
//
//   eat_drink [daemon|join]
#include <passel/runtime.hpp>
#include <passel/thread.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>

void eat(const std::string&) {
  std::puts("start eat");
  sleep_seconds(2);
  std::puts("end eat");
}

void drink(const std::string&) {
  std::puts("start drink");
  sleep_seconds(2);
  std::puts("end drink");
}

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const std::string way = argc > 1 ? argv[1] : "";
  const passel::Thread thread1{eat, ""};
  const passel::Thread thread2{drink, ""};
  if (way == "daemon") {
    thread1.set_daemon(true).unwrap();
    thread2.set_daemon(true).unwrap();
  }
  const Stopwatch watch;
  thread1.start().unwrap();
  thread2.start().unwrap();
  if (way == "join") {
    thread1.join().unwrap();
    thread2.join().unwrap();
  }
  std::printf("last time: %.1f\n", watch.seconds());
}
