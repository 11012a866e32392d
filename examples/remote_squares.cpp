// Example: squares that other programs compute, on this host or any other.
//
//   passel keygen key
//   passel serve --key-file key &
//   passel worker --connect 127.0.0.1:4711 --key-file key -- remote_squares work &
//   PASSEL_CONNECT=127.0.0.1:4711 PASSEL_AUTHKEY_FILE=key remote_squares
#include <passel/remote_executor.hpp>
#include <passel/remote_worker.hpp>
#include <passel/runtime.hpp>

#include <chrono>
#include <cstdint>
#include <iostream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

long square(long n) { return n * n; }

/// What both programs know by name; here they are one.
passel::ExposedTasks tasks() { return passel::ExposedTasks::of<&square>(); }

passel::Result<void> ask() {
  PASSEL_TRY(auto options, passel::RemoteExecutorOptions::from_environment());
  options.tasks = tasks();
  PASSEL_TRY(auto executor, passel::RemoteExecutor::connect(std::move(options)));
  const std::vector<long> numbers{1, 2, 3, 4, 5};
  PASSEL_TRY(auto squares, executor.map<square>(numbers));
  for (const auto& n : squares) {
    if (!n) return n.error();
    std::cout << *n << '\n';
  }
  return {};
}

/// Tells when there are tasks that no worker has.
passel::Result<void> watch() {
  PASSEL_TRY(auto options, passel::RemoteExecutorOptions::from_environment());
  PASSEL_TRY(const auto executor, passel::RemoteExecutor::connect(std::move(options)));
  std::uint64_t waiting = 0;
  while (waiting < 5) {
    PASSEL_TRY(const auto stats, executor.stats());
    waiting = stats.waiting;
    std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  std::cout << waiting << " tasks wait\n";
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const passel::Runtime runtime{argc, argv};
  const std::string_view role = argc > 1 ? argv[1] : "ask";
  const auto done = role == "work"    ? passel::serve_tasks(tasks())
                    : role == "watch" ? watch()
                                      : ask();
  if (!done) std::cerr << "remote_squares: " << done.error().to_string() << '\n';
  return done ? 0 : 1;
}
