// Example: join() of a queue returns when every item has been taken and acknowledged.
//
//   producer --put--> JoinableQueue --get, task_done--> consumer (daemon)
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>

using Products = passel::JoinableQueue<std::string>;

void consume(const Products& queue) {
  for (const std::string& product : queue) {
    std::printf("消费者拿到了 %s\n", product.c_str());
    queue.task_done().unwrap();
  }
}

void produce(const Products& queue) {
  for (int i = 0; i < 5; ++i) {
    sleep_seconds(1);
    const std::string product = "产品" + std::to_string(i);
    queue.put(product).unwrap();
    std::printf("生产者做好了 %s\n", product.c_str());
  }
  queue.join().unwrap();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  Products queue;
  auto consumer = passel::Process::spawn<consume>({.daemon = true}, queue).unwrap();
  auto producer = passel::Process::spawn<produce>(queue).unwrap();
  producer.join().unwrap();
  std::puts("主线程");
}
