// Test support: a program that is started, read from, told to end and waited for.
#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace passel_test {

/// A program with its stdout to be read line by line. It is killed when this goes.
///
///     StartedProgram server{{PASSEL_BINARY, "serve", "--key-file", key}};
///     EXPECT_THAT(server.line(), StartsWith("listening at "));
///     server.signal(SIGTERM);
///     EXPECT_EQ(server.wait(), 0);
class StartedProgram {
 public:
  explicit StartedProgram(std::vector<std::string> words) {
    std::array<int, 2> out{};
    EXPECT_EQ(::pipe2(out.data(), O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    out_ = ::fdopen(out[0], "r");
  }
  StartedProgram(const StartedProgram&) = delete;
  StartedProgram& operator=(const StartedProgram&) = delete;
  ~StartedProgram() {
    if (pid_ > 0) {
      signal(SIGKILL);
      static_cast<void>(wait());
    }
    std::fclose(out_);
  }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  /// The next line of its stdout; empty at the end.
  [[nodiscard]] std::string line() {
    std::string text;
    for (int c = std::fgetc(out_); c != EOF && c != '\n'; c = std::fgetc(out_))
      text += static_cast<char>(c);
    return text;
  }
  /// Everything that is left of its stdout.
  [[nodiscard]] std::string rest() {
    std::string text;
    for (int c = std::fgetc(out_); c != EOF; c = std::fgetc(out_)) text += static_cast<char>(c);
    return text;
  }
  /// Its exit code; for a signal 128 and that.
  [[nodiscard]] int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  std::FILE* out_ = nullptr;
};

}  // namespace passel_test
