// Example: ten threads one after the other, beside each other, or as daemons that nobody waits for.
//
//   ten_threads [serial|parallel|daemon]
#include <passel/runtime.hpp>
#include <passel/thread.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>
#include <vector>

void run(int n) {
  std::printf("run thread... %d\n", n);
  sleep_seconds(0.5);
  std::printf("thread %d is done\n", n);
}

void serial() {
  for (int i = 0; i < 10; ++i) {
    const auto t = passel::Thread::spawn(run, i).unwrap();
    t.join().unwrap();
  }
}

void parallel() {
  std::vector<passel::Thread> threads;
  for (int i = 0; i < 10; ++i) threads.push_back(passel::Thread::spawn(run, i).unwrap());
  for (const passel::Thread& t : threads) t.join().unwrap();
}

void daemon() {
  for (int i = 0; i < 10; ++i) {
    const passel::Thread t{run, i};
    t.set_daemon(true).unwrap();
    t.start().unwrap();
  }
  std::puts("master is done...");
}

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const std::string way = argc > 1 ? argv[1] : "parallel";
  const Stopwatch watch;
  if (way == "daemon") {
    daemon();
  } else {
    way == "serial" ? serial() : parallel();
    std::printf("%s: %.1f seconds\n", way.c_str(), watch.seconds());
  }
}
