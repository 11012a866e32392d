// Test support: a process without rights that has those of root in a namespace of its own.
#include "user_namespace.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace passel_test {
namespace {

constexpr const char* variable = "PASSEL_TEST_USER_NAMESPACE";
constexpr unsigned nobody = 65534;

[[noreturn]] void skip(const char* what) {
  // The words by which CTest knows a test that was skipped.
  std::printf("[  SKIPPED ] SKIPPED: this needs user namespaces for ordinary users: %s: %s\n", what,
              std::strerror(errno));
  std::fflush(stdout);
  ::_exit(0);
}

void become_nobody() {
  if (::setgroups(0, nullptr) != 0) skip("setgroups");
  if (::setresgid(nobody, nobody, nobody) != 0) skip("setresgid");
  if (::setresuid(nobody, nobody, nobody) != 0) skip("setresuid");
  // Else what is under /proc/self belongs to root.
  if (::prctl(PR_SET_DUMPABLE, 1) != 0) skip("prctl");
}

void write_file(const char* path, const std::string& text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) skip(path);
  const auto size = static_cast<ssize_t>(text.size());
  if (::write(file, text.data(), text.size()) != size) skip(path);
  ::close(file);
}

}  // namespace

void enter_user_namespace_when_asked() {
  if (std::getenv(variable) == nullptr) return;
  ::unsetenv(variable);
  if (::geteuid() == 0) become_nobody();
  const std::string user = "0 " + std::to_string(::geteuid()) + " 1";
  const std::string group = "0 " + std::to_string(::getegid()) + " 1";
  if (::unshare(CLONE_NEWUSER) != 0) skip("unshare");
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", user);
  write_file("/proc/self/gid_map", group);
}

}  // namespace passel_test
