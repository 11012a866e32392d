// Layer transport: what the kernel says about a process in /proc/PID/stat.
#include <passel/detail/process_stat.hpp>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace passel::inline v0::detail {

ProcessStat read_process_stat(std::int32_t pid) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[1024];
  const ssize_t length = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (length <= 0) return {};
  text[length] = '\0';
  // "PID (name) S 1 2 ...": the name may hold blanks and parentheses.
  const char* const open = std::strchr(text, '(');
  const char* const close = std::strrchr(text, ')');
  if (open == nullptr || close == nullptr || close < open) return {};
  if (close[1] == '\0' || close[2] == '\0') return {};
  ProcessStat stat;
  const auto name_size = static_cast<std::size_t>(close - open - 1);
  std::memcpy(stat.name.data(), open + 1, std::min(name_size, stat.name.size() - 1));
  stat.state = close[2];
  // As proc(5) numbers them; those up to 3 have been read.
  constexpr std::size_t last = 24;
  std::array<std::uint64_t, last + 1> fields{};
  char* at = &text[close + 3 - text];
  for (std::size_t number = 4; number <= last && *at != '\0'; ++number)
    fields[number] = std::strtoull(at, &at, 10);
  stat.parent = static_cast<std::int32_t>(fields[4]);
  stat.user_time = fields[14];
  stat.system_time = fields[15];
  stat.threads = static_cast<unsigned>(fields[20]);
  stat.start = fields[22];
  stat.pages = fields[24];
  return stat;
}

}  // namespace passel::inline v0::detail
