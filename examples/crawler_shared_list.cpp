// Example: one thread finds urls, three fetch them. The original shares a list and polls it; here a
// channel hands the urls over, and its end tells the fetchers to stop.
#include <passel/channel.hpp>
#include <passel/runtime.hpp>
#include <passel/thread.hpp>

#include "pace.hpp"

#include <cstdio>
#include <string>
#include <utility>

void get_detail_html(passel::Receiver<std::string> urls) {
  for (const std::string& url : urls) {
    std::printf("get detail html started: %s\n", url.c_str());
    sleep_seconds(2);
    std::printf("get detail html end: %s\n", url.c_str());
  }
}

void get_detail_url(passel::Sender<std::string> urls) {
  std::puts("get detail url started");
  sleep_seconds(4);
  for (int i = 0; i < 20; ++i) urls.send("http://projectsedu.com/" + std::to_string(i)).unwrap();
  std::puts("get detail url end");
}  // the only sender goes, and with it the channel

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  auto [sender, receiver] = passel::unbounded_channel<std::string>();
  passel::Thread::spawn(get_detail_url, std::move(sender)).unwrap();
  for (int i = 0; i < 3; ++i) passel::Thread::spawn(get_detail_html, receiver.clone()).unwrap();
  const Stopwatch watch;
  std::printf("last time: %.1f\n", watch.seconds());
}
