// Tools: benchmark group process. Start and join of a process, and of a thread, that does nothing.
#include "bench.hpp"

#include <passel/process.hpp>
#include <passel/thread.hpp>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <system_error>
#include <thread>

namespace bench {

namespace {

void nothing() {}

Contender start_and_join(passel::StartMethod method) {
  return {
      .name = "passel", .body = [=](benchmark::State& state) {
        for (auto _ : state) {
          auto process =
              passel::Process::spawn<nothing>(passel::ProcessOptions{.method = method}).unwrap();
          if (process.join().unwrap() != 0) throw std::runtime_error{"the process failed"};
        }
      }};
}

void spawn_true(benchmark::State& state) {
  char program[] = "/bin/true";
  char* arguments[] = {program, nullptr};
  for (auto _ : state) {
    pid_t pid = -1;
    const int error = posix_spawn(&pid, program, nullptr, nullptr, arguments, environ);
    if (error != 0) throw std::system_error{error, std::generic_category(), program};
    waitpid(pid, nullptr, 0);
  }
}

void start_and_join_thread(benchmark::State& state) {
  for (auto _ : state) passel::Thread::spawn(nothing).unwrap().join().unwrap();
}

void start_and_join_std_thread(benchmark::State& state) {
  for (auto _ : state) std::thread{nothing}.join();
}

}  // namespace

void process_rows(Table& table) {
  const Contender bare{.name = "posix_spawn of /bin/true", .body = spawn_true};
  const auto python = [&](const std::string& method, long times) {
    return table.python("Process, " + method,
                        "process " + method + " " + std::to_string(table.count(times)));
  };
  table.row("start + join, forkserver", start_and_join(passel::StartMethod::forkserver),
            {bare, python("fork", 40), python("forkserver", 10)});
  table.row("start + join, spawn", start_and_join(passel::StartMethod::spawn),
            {bare, python("spawn", 5)});
  table.row("thread: start + join", {.name = "passel", .body = start_and_join_thread},
            {{.name = "std::thread", .body = start_and_join_std_thread},
             table.python("Thread", "thread " + std::to_string(table.count(2000)))});
}

}  // namespace bench
