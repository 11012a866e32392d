// Example: at most three spiders at a time. The main thread takes a permit for each, and the spider
// gives it back.
#include <passel/runtime.hpp>
#include <passel/semaphore.hpp>
#include <passel/thread.hpp>

#include "pace.hpp"

#include <cstdio>

void spider(const passel::Semaphore& permits) {
  sleep_seconds(2);
  std::puts("success");
  permits.release().unwrap();
}

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const passel::Semaphore permits{3};
  for (int i = 0; i < 10; ++i) {
    permits.acquire().unwrap().detach();
    passel::Thread::spawn(spider, permits).unwrap();
  }
}
