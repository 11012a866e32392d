// Test support: one case of this test program, run in an executed copy of it.
#include "executed_copy.hpp"

#include <passel/detail/descriptor.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <string_view>

namespace passel_test {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

void read_all(int descriptor, std::string& text) {
  char bytes[4096];
  for (ssize_t got = 0; (got = ::read(descriptor, bytes, sizeof bytes)) > 0;)
    text.append(bytes, static_cast<std::size_t>(got));
}

}  // namespace

CopyRun run_copy(const std::string& name, const std::vector<std::string>& environment,
                 ReadErrors read) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const passel::detail::Descriptor read_end{ends[0]};
  passel::detail::Descriptor write_end{ends[1]};
  std::vector<std::string> variables = environment;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::string_view{*entry}.substr(0, 7) != "PASSEL_") variables.emplace_back(*entry);
  std::vector<std::string> arguments{"copy", "--gtest_filter=DISABLED_ExecutedCopy." + name,
                                     "--gtest_also_run_disabled_tests"};

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDERR_FILENO);
  pid_t pid = -1;
  EXPECT_EQ(::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, pointers(arguments).data(),
                          pointers(variables).data()),
            0);
  ::posix_spawn_file_actions_destroy(&actions);
  write_end.reset();

  CopyRun run;
  if (read == ReadErrors::all_along) read_all(read_end.get(), run.errors);
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  run.exitcode = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  read_all(read_end.get(), run.errors);
  return run;
}

}  // namespace passel_test
