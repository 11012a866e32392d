// Example: ten processes, each of which starts a thread and leaves the wait for it to its end.
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/thread.hpp>

#include "pace.hpp"

#include <cinttypes>
#include <cstdio>
#include <string>
#include <vector>

void thread_run() { std::printf("%" PRIu64 "\n", passel::get_ident()); }

void run(std::string name) {
  sleep_seconds(2);
  std::printf("hello %s\n", name.c_str());
  passel::Thread::spawn(thread_run).unwrap();
}

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  std::vector<passel::Process> processes;
  for (int i = 0; i < 10; ++i)
    processes.push_back(passel::Process::spawn<run>("bob " + std::to_string(i)).unwrap());
}
