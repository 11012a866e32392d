// Example: a writer, a reader that never ends, and a parent that ends it.
//
//   writer --put--> Queue --get--> reader
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <unistd.h>
#include <cstdio>
#include <string>

void writer(const passel::Queue<std::string>& queue) {
  std::printf("Process to write: %d\n", ::getpid());
  for (const char* value : {"A", "B", "C"}) {
    std::printf("Put %s to queue...\n", value);
    queue.put(value).unwrap();
    sleep_seconds(0.2);
  }
}

void reader(const passel::Queue<std::string>& queue) {
  std::printf("Process to read: %d\n", ::getpid());
  for (;;) std::printf("Get %s from queue.\n", queue.get().unwrap().c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  passel::Queue<std::string> queue;
  auto writing = passel::Process::spawn<writer>(queue).unwrap();
  auto reading = passel::Process::spawn<reader>(queue).unwrap();
  writing.join().unwrap();
  while (!queue.empty()) sleep_seconds(0.1);
  sleep_seconds(0.2);  // what was taken last is being printed
  reading.terminate().unwrap();
  std::printf("reader's exitcode: %d\n", reading.join().unwrap());
}
