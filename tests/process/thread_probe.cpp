// A program with a main of its own, for threads at the end of a process and across a fork (run by
// thread_exit_test).
#include <passel/finalize.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>
#include <passel/thread_hooks.hpp>
#include <passel/thread_local.hpp>
#include <passel/thread_pool.hpp>
#include <passel/thread_pool_executor.hpp>
#include <passel/timer.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Runtime;
using passel::Thread;

/// One write, so that lines of several processes and threads stay whole and in order.
void say(const std::string& text) {
  const std::string line = text + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::abort();
}

/// Long enough for a main that does not wait to be gone.
void linger() { std::this_thread::sleep_for(100ms); }

void end_of_thread() {
  linger();
  say("end of thread");
}

// --- the end of a process

int executor() {
  auto executor = passel::ThreadPoolExecutor::start({.max_workers = 1}).unwrap();
  static_cast<void>(executor.submit([] { end_of_thread(); }));
  static_cast<void>(executor.submit([] { say("the next one"); }));
  say("end of main");
  return 0;
}

/// Tasks that run for ever, and one each behind them.
int daemon_executors() {
  auto executor = passel::ThreadPoolExecutor::start({.max_workers = 1, .daemon = true}).unwrap();
  auto pool = passel::ThreadPool::start({.processes = 1, .daemon = true}).unwrap();
  std::latch running{2};
  const auto for_ever = [&running] {
    running.count_down();
    for (;;) ::pause();
  };
  static_cast<void>(executor.submit(for_ever));
  static_cast<void>(pool.submit(for_ever));
  running.wait();
  auto waiting = executor.submit([] { say("never"); });
  waiting.on_done([](const passel::Result<void>& end) { say(end.error().to_string()); });
  say("end of main");
  return 0;
}

int returns() {
  Thread::spawn(&end_of_thread).unwrap();
  say("end of main");
  return 0;
}

int throws() {
  try {
    Thread::spawn(&end_of_thread).unwrap();
    throw std::runtime_error{"end of main"};
  } catch (const std::runtime_error& thrown) {
    say(thrown.what());
    return 1;
  }
}

int exits() {
  Thread::spawn(&end_of_thread).unwrap();
  say("end of main");
  std::exit(3);
}

int thread_exits() {
  Thread::spawn(&end_of_thread).unwrap();
  Thread::spawn([] {
    say("exit in a thread");
    std::exit(4);
  })
      .unwrap()
      .join()
      .unwrap();
  return 0;
}

int starts_more() {
  Thread::spawn([] {
    linger();
    Thread::spawn([] {
      linger();
      Thread::spawn(&end_of_thread).unwrap();
      say("second");
    }).unwrap();
    say("first");
  }).unwrap();
  say("end of main");
  return 0;
}

int joins_main() {
  Thread::spawn([] {
    const Thread main = passel::main_thread();
    if (main.join_for(0s).is_ok()) say("too early");
    main.join().unwrap();
    say(main.is_alive() ? "alive" : "main has ended");
  }).unwrap();
  linger();
  say("end of main");
  return 0;
}

int timer() {
  passel::Timer::spawn(100ms, [] { say("timer"); }).unwrap();
  say("end of main");
  return 0;
}

/// Threads that use the library until they are stopped by the end of the process.
int daemons() {
  static auto& local = *new passel::ThreadLocal<int>;  // as long as the process
  static std::atomic<int> busy{0};
  const passel::Queue<int> queue{passel::QueueOptions{.reach = passel::Reach::threads}};
  for (int i = 0; i < 8; ++i) {
    Thread::spawn({.daemon = true}, [queue, i] {
      for (int n = 0;; ++n) {
        if (n == 1) ++busy;
        *local = n;
        passel::current_thread().set_name("daemon " + std::to_string(i));
        static_cast<void>(queue.put(n).is_ok());
        static_cast<void>(queue.get().is_ok());
        Thread::spawn([] {}).unwrap().join().unwrap();
      }
    }).unwrap();
  }
  while (busy < 8) std::this_thread::yield();
  say("end of main");
  return 0;
}

int hooks() {
  static std::atomic<bool> go{false};
  const auto late = [](const char* when) {
    const auto refused = passel::register_thread_atexit([] {});
    say(std::string{when} + ": " + (refused ? "accepted" : refused.error().what()));
  };
  passel::register_thread_atexit([late] {
    late("in a callback");
    go = true;
    go.notify_all();
  }).unwrap();
  passel::register_thread_atexit([] { say("newer callback"); }).unwrap();
  passel::register_thread_atexit([] { throw std::runtime_error{"lost"}; }).unwrap();
  Thread::spawn([late] {
    go.wait(false);
    say("thread");
    late("in a thread");
  }).unwrap();
  passel::Finalizer::add([] { say("finalizer"); });
  return 0;
}

int limit(Runtime& runtime) {
  Thread::spawn({.name = "stuck"}, [] {
    for (;;) ::pause();
  }).unwrap();
  for (const std::string& name : runtime.shutdown_for(20ms).unwrap()) say("left " + name);
  return 0;
}

int two_runtimes(int argc, char** argv) {
  for (int i = 0; i < 2; ++i) {
    const Runtime runtime{argc, argv};
    passel::register_thread_atexit([i] { say("callback " + std::to_string(i)); }).unwrap();
    Thread::spawn([i] {
      linger();
      say("thread " + std::to_string(i));
    }).unwrap();
  }
  say(passel::main_thread().is_alive() ? "main is alive" : "main has ended");
  return 0;
}

/// Daemon threads that use the Runtime while it ends, and when it has ended.
int ends_under_daemons(int argc, char** argv) {
  static std::atomic<int> busy{0};
  static std::atomic<int> refused{0};
  {
    const Runtime runtime{argc, argv};
    for (int i = 0; i < 4; ++i) {
      Thread::spawn({.daemon = true}, [] {
        for (bool first = true;; first = false) {
          auto process = passel::Process::spawn([] {});
          if (process) static_cast<void>(process->join().is_ok());
          if (!process) ++refused;
          static_cast<void>(passel::active_children());
          static_cast<void>(passel::current_process());
          if (first) ++busy;
        }
      }).unwrap();
    }
    while (busy < 4) std::this_thread::yield();
  }
  const int before = refused;
  while (refused < before + 100) std::this_thread::yield();
  say("end of main");
  return 0;
}

// --- across a fork

void describe(const std::string& who) {
  const Thread me = passel::current_thread();
  const Thread main = passel::main_thread();
  say(who + ": " + main.name() + (me == main ? ", is current" : ", is not current") +
      (main.ident() == passel::get_ident() ? ", ident fits" : "") +
      (main.native_id() == ::getpid() ? ", native id fits" : "") +
      (main.is_alive() ? ", alive" : "") + (main.daemon() ? ", daemon" : "") + ", " +
      std::to_string(passel::active_count()) + " active");
}

/// Runs f in a fork of this process, which then ends by std::exit.
template <class F>
void fork_and(F f) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    f();
    std::exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) say("status " + std::to_string(status));
}

int forks() {
  std::atomic<bool> go{false};
  const auto other = Thread::spawn({.name = "other"}, [&] { go.wait(false); }).unwrap();
  fork_and([&] {
    describe("from main");
    say(other.is_alive() ? "other is alive" : "other is not alive");
    other.join().unwrap();
    Thread::spawn([] { say("a new thread"); }).unwrap().join().unwrap();
    fork_and([] { describe("from a child's main"); });
  });
  Thread::spawn({.name = "forker"}, [] { fork_and([] { describe("from a thread"); }); })
      .unwrap()
      .join()
      .unwrap();
  std::thread{[] { fork_and([] { describe("from a foreign thread"); }); }}.join();
  std::thread{[] {
    static_cast<void>(passel::current_thread());
    fork_and([] { describe("from a stand-in"); });
  }}.join();
  go = true;
  go.notify_one();
  other.join().unwrap();
  return 0;
}

int forked_ends() {
  // The child waits for its own thread, and only for that.
  const auto child = [] {
    Thread::spawn(&end_of_thread).unwrap();
    say("end of main");
  };
  std::atomic<bool> go{false};
  const auto parents = Thread::spawn([&] { go.wait(false); }).unwrap();
  passel::register_thread_atexit([] { say("the parent's"); }).unwrap();
  fork_and(child);
  Thread::spawn([&] { fork_and(child); }).unwrap().join().unwrap();
  go = true;
  go.notify_one();
  parents.join().unwrap();
  return 0;
}

int forks_under_load() {
  std::atomic<bool> stop{false};
  std::vector<Thread> busy;
  for (int i = 0; i < 3; ++i) {
    busy.push_back(Thread::spawn([&] {
                     passel::ThreadLocal<int> local;
                     while (!stop) {
                       passel::current_thread().set_name("busy");
                       local.set(1);
                       static_cast<void>(passel::enumerate_threads());
                       Thread::spawn([] {}).unwrap().join().unwrap();
                     }
                   }).unwrap());
  }
  for (int i = 0; i < 50; ++i) {
    fork_and([] {
      Thread::spawn([] { passel::current_thread().set_name("x"); }).unwrap().join().unwrap();
      if (passel::active_count() != 1) say("too many");
    });
  }
  stop = true;
  for (const Thread& t : busy) t.join().unwrap();
  say("done");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const std::map<std::string, int (*)()> modes{{"returns", &returns},
                                               {"executor", &executor},
                                               {"daemon_executors", &daemon_executors},
                                               {"throws", &throws},
                                               {"exits", &exits},
                                               {"thread_exits", &thread_exits},
                                               {"starts_more", &starts_more},
                                               {"joins_main", &joins_main},
                                               {"timer", &timer},
                                               {"daemons", &daemons},
                                               {"hooks", &hooks},
                                               {"forks", &forks},
                                               {"forked_ends", &forked_ends},
                                               {"forks_under_load", &forks_under_load}};
  if (mode == "two_runtimes") return two_runtimes(argc, argv);
  if (mode == "ends_under_daemons") return ends_under_daemons(argc, argv);
  std::optional<Runtime> runtime;
  if (argc > 2 && argv[2] == std::string{"runtime"}) runtime.emplace(argc, argv);
  if (mode == "limit") return limit(*runtime);
  const auto found = modes.find(mode);
  return found == modes.end() ? 2 : found->second();
}
