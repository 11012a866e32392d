// Layer sync: how much memory a process may still take.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

#include "named_memory.hpp"

namespace passel::inline v0::detail {
namespace {

constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

/// The number behind `key` in a file of lines "KEY NUMBER ..."; `otherwise` when there is none.
std::uint64_t number_in(const std::string& path, std::string_view key, std::uint64_t otherwise) {
  std::ifstream file{path};
  std::string word;
  std::uint64_t number = 0;
  for (std::string rest; file >> word; std::getline(file, rest))
    if (word == key && file >> number) return number;
  return otherwise;
}

/// A file that holds one number; `otherwise` when it holds a word ("max") or is not there.
std::uint64_t number_of(const std::string& path, std::uint64_t otherwise) {
  std::ifstream file{path};
  std::uint64_t number = 0;
  return file >> number ? number : otherwise;
}

struct GroupFiles {
  const char* limit;
  const char* used;
  const char* reclaimable;  // in memory.stat: what the kernel takes back before it refuses anything
};
constexpr GroupFiles version1{"/memory.limit_in_bytes", "/memory.usage_in_bytes",
                              "total_inactive_file"};
constexpr GroupFiles version2{"/memory.max", "/memory.current", "inactive_file"};

/// What the control group at `path` under `mount`, and those above it, leave.
std::uint64_t left_in_group(const std::string& mount, std::string path, const GroupFiles& files) {
  std::uint64_t left = unlimited;
  for (;;) {
    const std::string group = mount + path;
    const std::uint64_t limit = number_of(group + files.limit, unlimited);
    if (limit != unlimited) {
      const std::uint64_t used = number_of(group + files.used, 0);
      const std::uint64_t back = number_in(group + "/memory.stat", files.reclaimable, 0);
      const std::uint64_t firm = used - std::min(used, back);
      left = std::min(left, limit - std::min(limit, firm));
    }
    const std::size_t parent = path.rfind('/');
    if (parent == std::string::npos) return left;
    path.resize(parent);
  }
}

}  // namespace

std::uint64_t available_memory() {
  const std::string info = "/proc/meminfo";
  const std::uint64_t free = number_in(info, "MemAvailable:", unlimited / 4096);
  std::uint64_t left = (free + number_in(info, "SwapFree:", 0)) * 1024;
  // Lines "NUMBER:CONTROLLERS:PATH"; version 2 has no controllers.
  std::ifstream own{"/proc/self/cgroup"};
  for (std::string line; std::getline(own, line);) {
    const std::size_t controllers = line.find(':') + 1;
    const std::size_t path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    const std::string named = line.substr(controllers, path - controllers - 1);
    if (named.empty())
      left = std::min(left, left_in_group("/sys/fs/cgroup", line.substr(path), version2));
    if (("," + named + ",").find(",memory,") != std::string::npos)
      left = std::min(left, left_in_group("/sys/fs/cgroup/memory", line.substr(path), version1));
  }
  return left;
}

}  // namespace passel::inline v0::detail
