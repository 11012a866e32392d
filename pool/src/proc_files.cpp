// Layer pool: what the kernel says about processes, in small files.
#include "proc_files.hpp"

#include <passel/detail/descriptor.hpp>

#include <fcntl.h>
#include <unistd.h>

namespace passel::inline v0::detail {

std::string proc_file(int pid, const char* name) {
  return "/proc/" + (pid == 0 ? std::string{"self"} : std::to_string(pid)) + "/" + name;
}

std::string read_small(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) return {};
  char buffer[4096];
  const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
  return got > 0 ? std::string{buffer, static_cast<std::size_t>(got)} : std::string{};
}

}  // namespace passel::inline v0::detail
