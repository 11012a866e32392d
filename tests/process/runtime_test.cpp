// How a Runtime begins and ends, seen from outside: each case runs a program of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <array>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Ran {
  int code = -1;
  std::vector<std::string> lines;
};

Ran run(const std::string& mode, const std::string& environment = {}) {
  Ran ran;
  std::FILE* pipe = ::popen((environment + " " RUNTIME_PROBE " " + mode + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ran;
  std::string text;
  std::array<char, 4096> buffer;
  // End of file comes only when every process that inherited the pipe is gone: nothing may outlive
  // the program.
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe))
    text.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);) ran.lines.push_back(line);
  return ran;
}

TEST(Runtime, ProcessesWithoutOneAreRefusedNotForkedWithoutEnd) {
  const Ran ran = run("without_runtime");
  EXPECT_EQ(ran.code, 0);
  ASSERT_EQ(ran.lines.size(), 1U);
  EXPECT_THAT(ran.lines[0], HasSubstr("invalid_state: no Runtime"));
}

TEST(Runtime, SeveralMayFollowOneAnotherButNotBeThereAtOnce) {
  const std::string refusal = "invalid_state: there is a Runtime in this process already";
  EXPECT_THAT(run("twice").lines,
              ElementsAre(refusal, "run 0", refusal, "run 1", refusal, "run 2", "exists: 0"));
}

TEST(Runtime, WorksInAProgramThatHasThreadsAlready) {
  const Ran ran = run("with_threads");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("hello"));
}

TEST(Runtime, ShutdownEndsByItsDeadlineAndNamesWhoWasKilled) {
  const Ran ran = run("deadline");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("killed deaf", "killed stubborn", "-9 -9 0",
                                     "invalid_state: the Runtime has been shut down"));
}

TEST(Runtime, TheEndOfMainJoinsChildrenAndTerminatesDaemons) {
  const Ran ran = run("order_of_end");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("main is done", "child is done"));
}

TEST(Runtime, AnUncaughtExceptionOfAChildIsToldOnStderr) {
  const Ran ran = run("uncaught");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.lines, ElementsAre("Process unlucky:", "std::out_of_range: no such page"));
}

TEST(Runtime, AHandoverThatIsNoneIsRefusedWithItsName) {
  for (const std::string value : {"nonsense", "-1", "1", "9999"}) {
    const Ran ran = run("plain", "PASSEL_HANDOVER=" + value);
    EXPECT_EQ(ran.code, 3) << value;
    ASSERT_EQ(ran.lines.size(), 1U) << value;
  }
  EXPECT_THAT(run("plain", "PASSEL_HANDOVER=nonsense").lines[0],
              HasSubstr("PASSEL_HANDOVER=nonsense names no descriptor"));
  EXPECT_THAT(run("plain", "exec 5</dev/null; PASSEL_HANDOVER=5").lines[0],
              HasSubstr("is no handover"));
  EXPECT_THAT(run("plain").lines, ElementsAre("plain"));
}

}  // namespace
