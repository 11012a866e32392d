// Example: a producer process and a consumer process over a bounded queue.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>

void producer(const passel::Queue<std::string>& queue) {
  queue.put("a").unwrap();
  sleep_seconds(2);
}

void consumer(const passel::Queue<std::string>& queue) {
  sleep_seconds(2);
  std::puts(queue.get().unwrap().c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  passel::Queue<std::string> queue{10};
  auto my_producer = passel::Process::spawn<producer>(queue).unwrap();
  auto my_consumer = passel::Process::spawn<consumer>(queue).unwrap();
  my_producer.join().unwrap();
  my_consumer.join().unwrap();
}
