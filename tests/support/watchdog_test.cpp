// Test support: the watchdog ends a case that hangs, and says where it hung.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

namespace {

using ::testing::HasSubstr;

bool is_running(int pid) {
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("State:")) return line.find('Z') == std::string::npos;
  }
  return false;
}

// Runs the hanging case with a limit of one second and returns what it printed.
std::string run_hanging_case(const std::string& environment) {
  const std::string command =
      "PASSEL_TEST_TIMEOUT=1 " + environment + " '" PASSEL_HANGING_CASE "' 2>&1";
  FILE* run = ::popen(command.c_str(), "r");
  if (run == nullptr) return "popen failed";
  std::string output;
  for (int c = std::fgetc(run); c != EOF; c = std::fgetc(run)) output += static_cast<char>(c);
  const int status = ::pclose(run);
  EXPECT_TRUE(WIFEXITED(status)) << output;
  EXPECT_EQ(WEXITSTATUS(status), 3) << output;
  return output;
}

void expect_report(const std::string& output) {
  EXPECT_THAT(output, HasSubstr("Hanging.WithAChildAndAThread is not done after 1000 ms"));
  EXPECT_THAT(output, HasSubstr("pause"));
  EXPECT_THAT(output, HasSubstr("descendant(s), exit code 3"));
  const auto at = output.find("child ");
  ASSERT_NE(at, std::string::npos) << output;
  const int child = std::stoi(output.substr(at + 6));
  while (is_running(child)) std::this_thread::sleep_for(std::chrono::milliseconds{5});
}

TEST(Watchdog, PrintsStacksKillsDescendantsAndExitsWith3) { expect_report(run_hanging_case("")); }

TEST(Watchdog, NeedsNoDebugger) {
  const std::string output = run_hanging_case("PATH=/nowhere");
  expect_report(output);
  EXPECT_THAT(output, HasSubstr("stack of thread"));
}

}  // namespace
