// Test support: a process that stands still.
#pragma once

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

namespace passel_test {

/// Stops a process and waits until each of its threads stands still: they do so one by one.
inline void stop_all_of(int pid) {
  ::kill(pid, SIGSTOP);
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  const auto stands = [](const std::filesystem::path& task) {
    std::ifstream file{task / "stat"};
    const std::string stat{std::istreambuf_iterator<char>{file}, {}};
    const auto name_end = stat.rfind(')');
    return name_end == stat.npos || stat.compare(name_end, 3, ") T") == 0;
  };
  const auto all_stand = [&] {
    for (const auto& task : std::filesystem::directory_iterator{tasks})
      if (!stands(task.path())) return false;
    return true;
  };
  while (!all_stand()) std::this_thread::yield();
}

}  // namespace passel_test
