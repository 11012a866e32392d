// Example: the shape of a crawler with threads: list pages fill a queue, details are fetched from
// it.
//
//   get_detail_url --put url--> Queue(1000) --get--> 10 x get_detail_html
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

using Urls = passel::Queue<std::string>;

void get_detail_url(const Urls& urls, int pages) {
  for (int page = 0; page < pages; ++page) {
    std::puts("get detail url started");
    sleep_seconds(4);
    for (int i = 0; i < 20; ++i)
      urls.put("http://projectsedu.com/" + std::to_string(page * 20 + i)).unwrap();
    std::puts("get detail url end");
  }
  urls.shutdown();  // whoever waits for more learns that there is none
}

void get_detail_html(const Urls& urls) {
  for (const std::string& url : urls) {
    std::printf("get detail html started: %s\n", url.c_str());
    sleep_seconds(2);
    std::printf("get detail html end: %s\n", url.c_str());
  }
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const Urls urls{passel::QueueOptions{.maxsize = 1000, .reach = passel::Reach::threads}};
  std::vector<std::thread> threads;
  threads.emplace_back([&] { get_detail_url(urls, 2); });
  for (int i = 0; i < 10; ++i) threads.emplace_back([&] { get_detail_html(urls); });
  for (std::thread& thread : threads) thread.join();
}
