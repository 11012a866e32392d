// Layer pool: how much memory a process uses, whether the kernel has been killing for it, and what
// it is doing.
#include "memory_watch.hpp"

#include "proc_files.hpp"

#include <passel/detail/process_stat.hpp>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace passel::inline v0::detail {
namespace {

/// The number behind `key ` at the beginning of a line.
std::uint64_t field(std::string_view text, std::string_view key) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ')
      return std::strtoull(std::string{line.substr(key.size() + 1)}.c_str(), nullptr, 10);
    at = end + 1;
  }
  return 0;
}

/// Where the counter is, by the lines of /proc/self/cgroup: "0::/path" (version 2) or
/// "5:memory:/path" (version 1).
std::uint64_t kills_of(std::string_view line) {
  const std::size_t first = line.find(':');
  const std::size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
  if (second == line.npos) return 0;
  const std::string_view controllers = line.substr(first + 1, second - first - 1);
  const std::string path{line.substr(second + 1)};
  if (controllers.empty()) {
    for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      if (const auto text = read_small(root + path + "/memory.events"); !text.empty())
        return field(text, "oom_kill");
    }
    return 0;
  }
  if (("," + std::string{controllers} + ",").find(",memory,") == std::string::npos) return 0;
  std::string text = read_small("/sys/fs/cgroup/memory" + path + "/memory.oom_control");
  // In a container the path is that of the host, and the own cgroup is mounted as the root.
  if (text.empty()) text = read_small("/sys/fs/cgroup/memory/memory.oom_control");
  return field(text, "oom_kill");
}

}  // namespace

std::uint64_t own_memory(int pid) noexcept {
  const std::string text = read_small(proc_file(pid, "statm"));
  char* at = nullptr;
  const char* const start = text.c_str();
  static_cast<void>(std::strtoull(start, &at, 10));
  const std::uint64_t resident = std::strtoull(at, &at, 10);
  const std::uint64_t shared = std::strtoull(at, &at, 10);
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return resident > shared ? (resident - shared) * page : 0;
}

std::uint64_t memory_kills() noexcept {
  const std::string groups = read_small(proc_file(0, "cgroup"));
  std::uint64_t kills = 0;
  for (std::size_t at = 0; at < groups.size();) {
    const std::size_t end = std::min(groups.find('\n', at), groups.size());
    kills += kills_of(std::string_view{groups}.substr(at, end - at));
    at = end + 1;
  }
  return kills;
}

bool is_stopped(int pid) noexcept {
  const char state = read_process_stat(pid).state;
  return state == 'T' || state == 't';
}

std::string doing_of(int pid) {
  switch (const char state = read_process_stat(pid).state) {
    case 'R': return "it computes";
    case 'T':
    case 't': return "it is stopped";
    case '\0': return "nothing can be seen of it";
    default: {
      const std::string where = read_small(proc_file(pid, "wchan"));
      const bool known = !where.empty() && where != "0";
      return std::string{state == 'D' ? "it waits for a device" : "it sleeps"} +
             (known ? " in " + where : "");
    }
  }
}

}  // namespace passel::inline v0::detail
