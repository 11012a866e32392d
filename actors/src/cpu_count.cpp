// Layer actors: how many processors there are, and how many of them this process may use.
#include <passel/process.hpp>

#include <sched.h>
#include <unistd.h>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <string>

namespace passel::inline v0 {
namespace {

/// Processors that the CPU quota of our control group (version 2) or one above it allows, rounded
/// up; `all` without one.
int quota_cpus(int all) {
  std::ifstream own{"/proc/self/cgroup"};
  std::string line;
  std::string path;
  while (std::getline(own, line))
    if (line.starts_with("0::")) path = line.substr(3);
  int allowed = all;
  for (;;) {
    std::ifstream limit{"/sys/fs/cgroup" + path + "/cpu.max"};
    std::string quota;
    long period = 0;
    if (limit >> quota >> period && quota != "max" && period > 0)
      allowed = std::min(allowed, static_cast<int>((std::stol(quota) + period - 1) / period));
    const std::size_t parent = path.rfind('/');
    if (path.empty() || path == "/" || parent == std::string::npos) break;
    path.resize(parent);
  }
  return std::max(allowed, 1);
}

}  // namespace

int cpu_count() { return std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN))); }

int usable_cpu_count() {
  if (const char* given = std::getenv("PASSEL_CPU_COUNT")) {
    const std::string_view text{given};
    int count = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (failed == std::errc{} && end == text.data() + text.size() && count >= 1) return count;
  }
  cpu_set_t mine;
  CPU_ZERO(&mine);
  const int affine =
      ::sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : cpu_count();
  return quota_cpus(std::max(1, affine));
}

}  // namespace passel::inline v0
