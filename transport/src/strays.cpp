// Layer transport: processes that members of a family forked by themselves, and whose they are.
#include "strays.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>

namespace passel::inline v0::detail {

void mark_as_member() noexcept {
  rlimit mark{};
  if (::getrlimit(RLIMIT_LOCKS, &mark) != 0 || mark.rlim_max != RLIM_INFINITY) return;
  mark.rlim_cur = static_cast<rlim_t>(::getpid());
  ::setrlimit(RLIMIT_LOCKS, &mark);
}

ChildList::ChildList() {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/children", ::getpid());
  file_ = Descriptor{::open(path, O_RDONLY | O_CLOEXEC)};
}

std::vector<pid_t> ChildList::read() const {
  std::vector<pid_t> children;
  char text[4096];
  pid_t pid = 0;
  ::lseek(file_.get(), 0, SEEK_SET);
  for (ssize_t got = 0; (got = ::read(file_.get(), text, sizeof text)) > 0;) {
    for (ssize_t i = 0; i < got; ++i) {
      if (text[i] != ' ') {
        pid = pid * 10 + (text[i] - '0');
      } else {
        children.push_back(pid);
        pid = 0;
      }
    }
  }
  return children;
}

std::optional<pid_t> member_of(pid_t child) noexcept {
  rlimit mark{};
  // With a hard limit of its own it was never marked, or has changed the mark.
  if (::prlimit(child, RLIMIT_LOCKS, nullptr, &mark) != 0 || mark.rlim_max != RLIM_INFINITY ||
      mark.rlim_cur == RLIM_INFINITY)
    return std::nullopt;
  return static_cast<pid_t>(mark.rlim_cur);
}

}  // namespace passel::inline v0::detail
