// Example: one process waits for an event, another one for two seconds of it at most.
#include <passel/event.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include "pace.hpp"

#include <cstdio>

const char* text(bool is_set) { return is_set ? "True" : "False"; }

void wait_for_event(const passel::Event& e) {
  std::puts("wait_for_event: starting");
  e.wait();
  std::printf("wait_for_event: e.is_set()-> %s\n", text(e.is_set()));
}

void wait_for_event_timeout(const passel::Event& e, double limit) {
  std::puts("wait_for_event_timeout: starting");
  e.wait_for(seconds(limit));
  std::printf("wait_for_event_timeout: e.is_set()-> %s\n", text(e.is_set()));
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const passel::Event e;
  auto w1 = passel::Process::spawn<wait_for_event>({.name = "block"}, e).unwrap();
  auto w2 = passel::Process::spawn<wait_for_event_timeout>({.name = "non-block"}, e, 2).unwrap();
  std::puts("main: waiting before calling Event.set()");
  sleep_seconds(3);
  std::puts("main: event is set");
  std::fflush(stdout);
  e.set();
  w1.join().unwrap();
  w2.join().unwrap();
}
