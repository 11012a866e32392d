// Example: threads that run an object, where the Python original derives from Thread.
#include <passel/runtime.hpp>
#include <passel/thread.hpp>

#include "pace.hpp"

#include <cstdio>

struct GetDetailHtml {
  void run() {
    std::printf("get detail html started in %s\n", passel::current_thread().name().c_str());
    sleep_seconds(2);
    std::puts("get detail html end");
  }
};

struct GetDetailUrl {
  int urls = 0;
  void run() {
    std::printf("get detail url started in %s\n", passel::current_thread().name().c_str());
    sleep_seconds(4);
    std::puts("get detail url end");
    urls = 20;  // main reads it after the join
  }
};

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const passel::ThreadOf<GetDetailHtml> thread1{{.name = "get_detail_html"}};
  const passel::ThreadOf<GetDetailUrl> thread2{{.name = "get_detail_url"}};
  const Stopwatch watch;
  thread1.start().unwrap();
  thread2.start().unwrap();
  thread1.join().unwrap();
  thread2.join().unwrap();
  std::printf("%d urls\n", thread2->urls);
  std::printf("last time: %.1f\n", watch.seconds());
}
