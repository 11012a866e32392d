// Example: tasks of a pool share a queue (Python: Manager().Queue(5) in Pool(2)).
#include <passel/pool.hpp>
#include <passel/runtime.hpp>
#include <passel/sync_manager.hpp>

#include <cstdio>
#include <string>

void produce(const passel::QueueProxy<std::string>& queue) { queue.put("a").unwrap(); }
void consume(const passel::QueueProxy<std::string>& queue) {
  std::puts(queue.get().unwrap().c_str());
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto manager = passel::SyncManager::started().unwrap();
  const auto queue = manager.queue<std::string>(5).unwrap();
  auto pool = passel::Pool::start({.processes = 2}).unwrap();
  auto first = pool.submit<produce>(queue);
  auto second = pool.submit<consume>(queue);
  first.get().unwrap();
  second.get().unwrap();
  pool.close();
  pool.join().unwrap();
}
