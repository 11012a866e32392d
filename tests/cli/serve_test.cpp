// `passel serve` and `passel worker`, run as service managers run them, with a program that works.
#include "support/process_census.hpp"
#include "support/started_program.hpp"

#include <passel/authkey.hpp>
#include <passel/parse_address.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel_test::ProcessCensus;
using passel_test::StartedProgram;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
namespace fs = std::filesystem;

/// A directory with a key in it.
class ServeTest : public ::testing::Test {
 protected:
  ServeTest() {
    std::string name = (fs::temp_directory_path() / "passel-serve-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    passel::AuthKey::generate().save(key()).unwrap();
  }
  ~ServeTest() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string key() const { return folder_ / "key"; }
  [[nodiscard]] std::string written(const std::string& name, const std::string& text) const {
    std::ofstream{folder_ / name} << text;
    return folder_ / name;
  }
  static std::string address_in(StartedProgram& server) {
    const std::string line = server.line();
    EXPECT_THAT(line, StartsWith("listening at "));
    return line.substr(std::string{"listening at "}.size());
  }
  [[nodiscard]] std::vector<std::string> worker(const std::string& address) const {
    return {PASSEL_BINARY, "worker", "--connect", address,        "--key-file", key(),
            "--processes", "1",      "--",        SQUARES_BINARY, "work"};
  }
  /// What the program prints that asks for squares.
  [[nodiscard]] std::vector<std::string> ask(const std::string& address) const {
    ::setenv("PASSEL_CONNECT", address.c_str(), 1);
    ::setenv("PASSEL_AUTHKEY_FILE", key().c_str(), 1);
    StartedProgram program{{SQUARES_BINARY}};
    std::vector<std::string> lines;
    for (std::string line = program.line(); !line.empty(); line = program.line())
      lines.push_back(line);
    EXPECT_EQ(program.wait(), 0);
    ::unsetenv("PASSEL_CONNECT");
    ::unsetenv("PASSEL_AUTHKEY_FILE");
    return lines;
  }

  fs::path folder_;
};

/// The only child of a process.
pid_t child_of(pid_t parent) {
  while (true) {
    std::ifstream children{"/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                           "/children"};
    pid_t child = 0;
    if (children >> child) return child;
    std::this_thread::yield();
  }
}

TEST_F(ServeTest, AProgramWorksForAServerAndIsStartedAgainWhenItDies) {
  const auto before = ProcessCensus::take();
  {
    StartedProgram server{{PASSEL_BINARY, "serve", "--address", "127.0.0.1:0", "--key-file", key(),
                           "--log", "error"}};
    const std::string address = address_in(server);
    StartedProgram worker{this->worker(address)};
    const std::vector<std::string> squares{"1", "4", "9", "16", "25"};
    EXPECT_EQ(ask(address), squares);
    const pid_t first = child_of(worker.pid());
    ::kill(first, SIGKILL);
    while (child_of(worker.pid()) == first) std::this_thread::yield();
    EXPECT_EQ(ask(address), squares);
    worker.signal(SIGTERM);
    EXPECT_EQ(worker.wait(), 0) << "it leaves in order";
    server.signal(SIGTERM);
    EXPECT_EQ(server.line(), "drained");
    EXPECT_EQ(server.wait(), 0);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST_F(ServeTest, AServerWithTasksLeftSaysSo) {
  StartedProgram server{{PASSEL_BINARY, "serve", "--address", "127.0.0.1:0", "--key-file", key(),
                         "--log", "error", "--drain", "0"}};
  const std::string address = address_in(server);
  ::setenv("PASSEL_CONNECT", address.c_str(), 1);
  ::setenv("PASSEL_AUTHKEY_FILE", key().c_str(), 1);
  StartedProgram asking{{SQUARES_BINARY}};
  StartedProgram looking{{SQUARES_BINARY, "watch"}};
  ::unsetenv("PASSEL_CONNECT");
  ::unsetenv("PASSEL_AUTHKEY_FILE");
  EXPECT_EQ(looking.line(), "5 tasks wait");
  server.signal(SIGTERM);
  EXPECT_EQ(server.line(), "ended with tasks that are not done");
  EXPECT_EQ(server.wait(), 4);
  EXPECT_EQ(asking.wait(), 1);
}

TEST_F(ServeTest, TheServiceManagerIsToldOfBeginningLifeAndEnd) {
  const std::string path = folder_ / "notify";
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const auto told = [socket] {
    char text[512];
    const auto got = ::recv(socket, text, sizeof text, 0);
    return std::string(text, got < 0 ? 0 : static_cast<std::size_t>(got));
  };
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "100000", 1);
  StartedProgram server{{PASSEL_BINARY, "serve", "--address", folder_ / "socket", "--key-file",
                         key(), "--log", "error"}};
  ::unsetenv("NOTIFY_SOCKET");
  ::unsetenv("WATCHDOG_USEC");
  EXPECT_EQ(told(), "READY=1\nSTATUS=listening at " + (folder_ / "socket").string());
  EXPECT_EQ(told(), "WATCHDOG=1");
  EXPECT_EQ(told(), "WATCHDOG=1");
  server.signal(SIGTERM);
  std::string next = told();
  while (next == "WATCHDOG=1") next = told();
  EXPECT_THAT(next, StartsWith("STOPPING=1\n"));
  EXPECT_EQ(server.wait(), 0);
  ::close(socket);
}

TEST_F(ServeTest, OptionsComeFromAFileToo) {
  const std::string config =
      written("config.json", R"({"address": "127.0.0.1:0", "key-file": ")" + key() +
                                 R"(", "drain": 1.5, /* seconds */ "log": "error"})");
  StartedProgram server{{PASSEL_BINARY, "serve", "--config", config}};
  EXPECT_THAT(address_in(server), StartsWith("127.0.0.1:"));
  server.signal(SIGINT);
  EXPECT_EQ(server.wait(), 0);

  const auto refused = [&](const std::string& name, const std::string& text) {
    StartedProgram wrong{
        {"/bin/sh", "-c",
         std::string{PASSEL_BINARY} + " serve --config " + written(name, text) + " 2>&1"}};
    const std::string line = wrong.line();
    EXPECT_EQ(wrong.wait(), 2);
    return line;
  };
  EXPECT_THAT(refused("a.json", R"({"adress": "x"})"), HasSubstr("'adress' is no option"));
  EXPECT_THAT(refused("b.json", R"({"drain": "soon"})"), HasSubstr("b.json"));
  EXPECT_THAT(refused("c.json", "[1]"), HasSubstr("holds no JSON object"));
  EXPECT_THAT(refused("d.json", "{}"), HasSubstr("no key: --key-file"));
  EXPECT_THAT(refused("e.json", R"({"limits": {"session": 1}})"), HasSubstr("none of the limits"));
  EXPECT_THAT(refused("f.json", R"({"limits": {"objects": 0}})"), HasSubstr("from 1, not 0"));
  EXPECT_THAT(refused("g.json", R"({"roles": [{"name": "a"}]})"), HasSubstr("'key-file'"));
  EXPECT_THAT(
      refused("h.json", R"({"roles": [{"name": "a", "key-file": "k", "types": ["dict"]}]})"),
      HasSubstr("role 'a'"));
  EXPECT_THAT(refused("i.json", R"({"silence": 0})"), HasSubstr("silence"));
}

TEST_F(ServeTest, LimitsRolesAndFormerKeysAreThoseOfItsFiles) {
  const auto former = passel::AuthKey::generate();
  former.save(folder_ / "former").unwrap();
  passel::AuthKey::generate().save(folder_ / "readers").unwrap();
  std::ofstream{key(), std::ios::app} << std::ifstream{folder_ / "former"}.rdbuf();
  const std::string config = written(
      "config.json", R"({"address": "127.0.0.1:0", "log": "error", "silence": 2.5,
                         "limits": {"objects-of-session": 1},
                         "roles": [{"name": "readers", "key-file": ")" +
                         (folder_ / "readers").string() + R"(", "types": {"Queue": ["get"]}}]})");
  StartedProgram server{{PASSEL_BINARY, "serve", "--config", config, "--key-file", key()}};
  const std::string address = address_in(server);
  const auto client = [&](const std::string& key_file, const std::vector<std::string>& words) {
    std::string line = PASSEL_BINARY;
    for (const std::string& word : words) line += " " + word;
    StartedProgram program{
        {"/bin/sh", "-c", line + " --connect " + address + " --key-file " + key_file + " 2>&1"}};
    std::string said = program.rest();
    return std::to_string(program.wait()) + " " + said;
  };
  EXPECT_EQ(client(key(), {"put", "jobs", "1"}), "0 ");
  EXPECT_EQ(client(folder_ / "former", {"put", "jobs", "2"}), "0 ");
  EXPECT_EQ(client(folder_ / "readers", {"get", "jobs"}), "0 1\n");
  EXPECT_THAT(client(folder_ / "readers", {"put", "jobs", "3"}),
              AllOf(StartsWith("1 "), HasSubstr("readers")));

  passel::SyncManager manager{{.address = passel::parse_address(address).unwrap(),
                               .authkey = passel::AuthKey::load(key()).unwrap()}};
  manager.connect().unwrap();
  const auto one = manager.queue<int>().unwrap();
  const auto two = manager.queue<int>();
  ASSERT_TRUE(two.is_err());
  EXPECT_EQ(two.error().code(), passel::Errc::full);
}

TEST_F(ServeTest, AStartThatFailsGivesItsReasonAndNothingElse) {
  StartedProgram server{
      {"/bin/sh", "-c",
       PASSEL_BINARY + (" serve --address /no/such/folder/s --key-file " + key()) + " 2>&1"}};
  EXPECT_THAT(server.line(), StartsWith("passel: "));
  EXPECT_EQ(server.rest(), "");
  EXPECT_EQ(server.wait(), 1);
}

TEST_F(ServeTest, WhatItDoesIsToBeHadAsJson) {
  StartedProgram server{{PASSEL_BINARY, "serve", "--address", folder_ / "s", "--key-file", key(),
                         "--log", "error", "--json"}};
  EXPECT_EQ(server.line(), R"({"listening":")" + (folder_ / "s").string() + R"("})");
  server.signal(SIGTERM);
  EXPECT_EQ(server.line(), R"({"drained":true})");
  EXPECT_EQ(server.wait(), 0);
}

TEST_F(ServeTest, AWorkerWaitsForAServerThatIsNotThereYet) {
  const std::string address = folder_ / "s";
  StartedProgram worker{{"/bin/sh", "-c",
                         std::string{"exec "} + PASSEL_BINARY + " worker --restarts 0 --connect " +
                             address + " --key-file " + key() + " --processes 1 -- " +
                             SQUARES_BINARY + " work 2>&1"}};
  EXPECT_THAT(worker.line(), HasSubstr("worker waits for its server: not_found"));
  StartedProgram server{
      {PASSEL_BINARY, "serve", "--address", address, "--key-file", key(), "--log", "error"}};
  EXPECT_EQ(address_in(server), address);
  EXPECT_EQ(ask(address).size(), 5U);
  worker.signal(SIGTERM);
  EXPECT_EQ(worker.wait(), 0);
}

TEST_F(ServeTest, AWorkerThatWaitsForItsServerCanBeTold) {
  StartedProgram worker{{"/bin/sh", "-c",
                         std::string{"exec "} + PASSEL_BINARY + " worker --connect " +
                             (folder_ / "s").string() + " --key-file " + key() + " -- " +
                             SQUARES_BINARY + " work 2>&1"}};
  EXPECT_THAT(worker.line(), HasSubstr("waits for its server"));
  worker.signal(SIGTERM);
  EXPECT_EQ(worker.wait(), 0);
}

TEST_F(ServeTest, SignalsForTheGroupOfAWorkerAreNotForItsProgram) {
  StartedProgram worker{{PASSEL_BINARY, "worker", "--connect", "127.0.0.1:1", "--", "sh", "-c",
                         "echo $$; exec sleep 1000"}};
  const pid_t program = std::stoi(worker.line());
  EXPECT_EQ(::getpgid(program), program);
  EXPECT_EQ(::getpgid(worker.pid()), ::getpgrp());
}

TEST_F(ServeTest, AWorkerThatIsTheFirstProcessBuriesWhatItsProgramLeaves) {
  int out[2];
  ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
  const pid_t worker = ::fork();
  if (worker == 0) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // as the first process of a container is
    ::dup2(out[1], STDOUT_FILENO);
    // An orphan, which says who it is and ends, and the program, which stays.
    ::execl(PASSEL_BINARY, PASSEL_BINARY, "worker", "--connect", "127.0.0.1:1", "--", "sh", "-c",
            "(sh -c 'echo $$' &) ; exec sleep 1000", nullptr);
    ::_exit(127);
  }
  ::close(out[1]);
  char text[32] = {};
  ASSERT_GT(::read(out[0], text, sizeof text - 1), 0);
  ::close(out[0]);
  const pid_t orphan = std::atoi(text);
  while (::kill(orphan, 0) == 0) std::this_thread::yield();
  EXPECT_EQ(errno, ESRCH) << "not even a zombie";
  ::kill(worker, SIGTERM);
  int status = 0;
  ::waitpid(worker, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM);
}

TEST_F(ServeTest, AWorkersProgramGetsItsArgumentsAsTheyAre) {
  StartedProgram worker{{PASSEL_BINARY, "worker", "--connect", "127.0.0.1:1", "--", "sh", "-c",
                         "for one; do echo \"$one\"; done", "sh", "[a,b]", "[::1]", "[]", "{}", "",
                         "--connect", "--", "end"}};
  EXPECT_EQ(worker.rest(), "[a,b]\n[::1]\n[]\n{}\n\n--connect\n--\nend\n");
  EXPECT_EQ(worker.wait(), 0);
}

TEST_F(ServeTest, AWorkersProgramIsToldWhatTheCommandLineSays) {
  ::setenv("PASSEL_CONNECT", "127.0.0.1:2", 1);
  ::setenv("PASSEL_AUTHKEY_FILE", key().c_str(), 1);
  StartedProgram worker{{PASSEL_BINARY, "worker", "--connect", "127.0.0.1:1", "--ca", "a", "--cert",
                         "b", "--cert-key", "c", "--", "sh", "-c",
                         "echo $PASSEL_CONNECT $PASSEL_CERT_FILE ${PASSEL_AUTHKEY_FILE-none}"}};
  ::unsetenv("PASSEL_CONNECT");
  ::unsetenv("PASSEL_AUTHKEY_FILE");
  EXPECT_EQ(worker.rest(), "127.0.0.1:1 b none\n");
  EXPECT_EQ(worker.wait(), 0);
}

TEST_F(ServeTest, AWorkerThatFailsAgainAndAgainIsGivenUp) {
  StartedProgram failing{{"/bin/sh", "-c",
                          std::string{PASSEL_BINARY} +
                              " worker --connect 127.0.0.1:1 --restarts 1 -- sh -c 'exit 7' 2>&1"}};
  EXPECT_THAT(failing.line(), HasSubstr("sh ended with exit code 7 and is started again"));
  EXPECT_THAT(failing.line(), HasSubstr("sh has failed 2 times within a minute"));
  EXPECT_EQ(failing.wait(), 1);
  StartedProgram missing{
      {"/bin/sh", "-c",
       std::string{PASSEL_BINARY} + " worker --connect 127.0.0.1:1 -- /no/such/program 2>&1"}};
  EXPECT_THAT(missing.line(), HasSubstr("cannot run /no/such/program"));
  EXPECT_EQ(missing.wait(), 1);
}

TEST_F(ServeTest, AWorkerSeesItsProgramEndAlsoWhereTheEndsOfChildrenAreIgnored) {
  StartedProgram ignoring{
      {"/bin/sh", "-c",
       std::string{"exec env --ignore-signal=CHLD "} + PASSEL_BINARY +
           " worker --connect 127.0.0.1:1 --restarts 0 -- sh -c 'exit 7' 2>&1"}};
  EXPECT_THAT(ignoring.line(), HasSubstr("at last with exit code 7"));
  EXPECT_EQ(ignoring.wait(), 1);
}

/// The options that a text uses with a command of passel, and those that the command has.
std::set<std::string> options_in(const std::string& text) {
  static const std::regex option{"--[a-z][a-z-]*"};
  std::set<std::string> all;
  for (std::sregex_iterator it{text.begin(), text.end(), option}, end; it != end; ++it)
    all.insert(it->str());
  return all;
}

/// Everything that the README and the files for service managers say, without comments.
std::string text_of(const fs::path& path) {
  std::ifstream file{path};
  std::string text;
  for (std::string line; std::getline(file, line);)
    if (line.empty() || line[0] != '#') text += line + '\n';
  return text;
}

TEST_F(ServeTest, ReadmeUnitsAndManifestsUseOptionsThatThereAre) {
  const fs::path folder = CLI_FOLDER;
  const std::string text =
      text_of(folder / "README.md") + text_of(folder / "deploy/passel.service") +
      text_of(folder / "deploy/passel-worker.service") + text_of(folder / "deploy/kubernetes.yaml");
  for (const std::string command : {"serve", "worker", "ping"}) {
    StartedProgram help{{PASSEL_BINARY, command, "--help"}};
    const auto there = options_in(help.rest());
    // In units one line, in manifests a list: up to the end of the line or of the brackets.
    const std::regex use{"passel,? " + command + "[ ,][^\n\\]]*"};
    std::size_t uses = 0;
    for (std::sregex_iterator it{text.begin(), text.end(), use}, end; it != end; ++it, ++uses)
      for (const std::string& option : options_in(it->str()))
        EXPECT_TRUE(there.contains(option)) << command << " " << option;
    EXPECT_GE(uses, 2U) << command;
    static_cast<void>(help.wait());
  }
}

TEST_F(ServeTest, UnitsLetRunningTasksEnd) {
  for (const char* const unit : {"passel.service", "passel-worker.service"}) {
    const std::string text = text_of(fs::path{CLI_FOLDER} / "deploy" / unit);
    for (const char* const line : {"Type=notify\n", "KillMode=mixed\n", "TimeoutStopSec=90\n",
                                   "[Unit]\n", "[Service]\n", "[Install]\n"})
      EXPECT_THAT(text, HasSubstr(line)) << unit;
  }
}

TEST_F(ServeTest, TheFileOfOptionsThatComesWithItIsOne) {
  const std::string config = fs::path{CLI_FOLDER} / "deploy/server.json";
  StartedProgram server{{PASSEL_BINARY, "serve", "--config", config, "--key-file", key(),
                         "--address", "127.0.0.1:0", "--log", "error"}};
  EXPECT_THAT(address_in(server), StartsWith("127.0.0.1:"));
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
}

}  // namespace
