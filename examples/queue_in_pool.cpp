// Example: a Queue as an argument of a pool's tasks. Python needs a Manager for that and refuses a
// plain Queue ("... should only be shared between processes through inheritance").
#include <passel/pool.hpp>
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
  passel::Queue<std::string> queue{5};
  auto pool = passel::Pool::start({.processes = 2}).unwrap();
  auto produced = pool.apply_async<producer>(queue);
  auto consumed = pool.apply_async<consumer>(queue);
  pool.close();
  pool.join().unwrap();
}
