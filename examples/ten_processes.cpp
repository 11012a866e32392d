// Example: ten processes at once, each with a thread of its own; the program ends when all have.
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <unistd.h>
#include <cstdio>
#include <thread>
#include <vector>

void run(int n) {
  sleep_seconds(2);
  std::printf("hello bob %d\n", n);
  std::thread thread{[] { std::printf("thread of process %d\n", ::getpid()); }};
  thread.join();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  std::vector<passel::Process> processes;
  for (int i = 0; i < 10; ++i) processes.push_back(passel::Process::spawn<run>(i).unwrap());
  // No join: the destructor of a Process does that.
}
