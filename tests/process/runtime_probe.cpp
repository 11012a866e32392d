// A program with a main of its own, for what a Runtime does at its beginning and end (run by
// runtime_test).
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using passel::Process;

void nothing() {}
void sleep_for_ever() {
  for (;;) ::pause();
}
void say(std::string text) { std::printf("%s\n", text.c_str()); }
void ignore_terminate(const passel::Queue<int>& ready) {
  ::signal(SIGTERM, SIG_IGN);
  ready.put(1).unwrap();
  sleep_for_ever();
}

int without_runtime() {
  const auto refused = Process::spawn<nothing>();
  std::printf("%s\n", refused.error().to_string().c_str());
  return 0;
}

int twice(int argc, char** argv) {
  for (int i = 0; i < 3; ++i) {
    const passel::Runtime runtime{argc, argv};
    try {
      const passel::Runtime second{argc, argv};
    } catch (const passel::Exception& thrown) {
      std::printf("%s\n", thrown.what());
    }
    Process::spawn<say>("run " + std::to_string(i)).unwrap().join().unwrap();
  }
  std::printf("exists: %d\n", passel::Runtime::exists() ? 1 : 0);
  return 0;
}

int with_threads(int argc, char** argv) {
  // As in a service that makes its Runtime late: the guardian is the program executed anew.
  std::atomic<bool> stop{false};
  std::thread other;
  if (std::getenv("PASSEL_HANDOVER") == nullptr) other = std::thread{[&] { stop.wait(false); }};
  {
    const passel::Runtime runtime{argc, argv};
    const passel::Queue<std::string> out;
    Process::spawn([](const passel::Queue<std::string>& to) { to.put("hello").unwrap(); }, out)
        .unwrap()
        .join()
        .unwrap();
    std::printf("%s\n", out.get().unwrap().c_str());
  }
  stop = true;
  stop.notify_one();
  other.join();
  return 0;
}

int deadline(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const passel::Queue<int> ready;
  auto daemon = Process::spawn<ignore_terminate>({.name = "deaf", .daemon = true}, ready).unwrap();
  ready.get().unwrap();
  auto stubborn = Process::spawn<sleep_for_ever>({.name = "stubborn"}).unwrap();
  auto quick = Process::spawn<nothing>({.name = "quick"}).unwrap();
  for (const std::string& name : runtime.shutdown_for(50ms).unwrap())
    std::printf("killed %s\n", name.c_str());
  std::printf("%d %d %d\n", daemon.exitcode().value(), stubborn.exitcode().value(),
              quick.exitcode().value());
  std::printf("%s\n", Process::spawn<nothing>().error().to_string().c_str());
  return runtime.shutdown_for(1s).unwrap().empty() ? 0 : 1;
}

int order_of_end(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  auto daemon = Process::spawn<sleep_for_ever>({.daemon = true}).unwrap();
  auto child = Process::spawn([] {
                 std::this_thread::sleep_for(50ms);
                 std::puts("child is done");
               }).unwrap();
  std::puts("main is done");
  std::fflush(stdout);
  return 0;
}

int uncaught(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  auto p =
      Process::spawn({.name = "unlucky"}, [] { throw std::out_of_range{"no such page"}; }).unwrap();
  return p.join().unwrap() == 1 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "without_runtime") return without_runtime();
  if (mode == "twice") return twice(argc, argv);
  if (mode == "with_threads") return with_threads(argc, argv);
  if (mode == "deadline") return deadline(argc, argv);
  if (mode == "order_of_end") return order_of_end(argc, argv);
  if (mode == "uncaught") return uncaught(argc, argv);
  try {
    const passel::Runtime runtime{argc, argv};
    std::puts("plain");
  } catch (const passel::Exception& thrown) {
    std::printf("%s\n", thrown.what());
    return 3;
  }
  return 0;
}
