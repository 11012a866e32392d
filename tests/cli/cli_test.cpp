// The command line tool, run as people and scripts run it, on a process with something to see.
#include <passel/authkey.hpp>
#include <passel/lock.hpp>
#include <passel/pool.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>

namespace {

using nlohmann::json;
using passel::Lock;
using passel::Queue;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Outcome {
  int code = -1;
  std::string out;  ///< stdout and stderr
};

Outcome run(const std::string& arguments) {
  const std::string command = std::string{PASSEL_BINARY} + " " + arguments + " 2>&1";
  Outcome outcome;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    outcome.out.append(buffer, got);
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

std::string of_this_process(const std::string& command) {
  return command + " --pid " + std::to_string(::getpid());
}

json json_of(const std::string& command) {
  const Outcome outcome = run(of_this_process(command) + " --json");
  EXPECT_EQ(outcome.code, 0) << outcome.out;
  return json::parse(outcome.out);
}

TEST(Cli, HelpNamesEveryCommandAndNonsenseIsRefused) {
  const Outcome help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* command :
       {"ps", "top", "queues", "locks", "pool", "metrics", "serve", "worker", "ping", "call", "get",
        "put", "unpublish", "bench", "keygen", "completion"})
    EXPECT_THAT(help.out, HasSubstr(command));
  EXPECT_THAT(run("--version").out, StartsWith("passel "));
  EXPECT_EQ(run("").code, 2);
  EXPECT_EQ(run("nonsense").code, 2);
  EXPECT_EQ(run("ps --pid minus").code, 2);
  EXPECT_EQ(run("serve --key-file k --log loud").code, 2);
  EXPECT_EQ(run("serve --key-file k --address nowhere").code, 2);
  EXPECT_EQ(run("serve --config /no/such/file").code, 2);
  EXPECT_EQ(run("ping --key-file k --connect nowhere").code, 2);
  EXPECT_EQ(run("worker --connect nowhere -- true").code, 2);
  // Above the highest number that the kernel gives.
  const Outcome nobody = run("ps --pid 4194305");
  EXPECT_EQ(nobody.code, 1);
  EXPECT_THAT(nobody.out, HasSubstr("process 4194305 "));
}

TEST(Cli, PsShowsThisProcess) {
  const Lock lock;
  const Outcome table = run(of_this_process("ps"));
  EXPECT_EQ(table.code, 0);
  EXPECT_THAT(table.out, HasSubstr("PID  FAMILY  ROLE"));
  EXPECT_THAT(table.out, HasSubstr("main"));
  EXPECT_THAT(table.out, Not(HasSubstr("\x1b"))) << "colour is for terminals";
  const json processes = json_of("ps");
  ASSERT_GE(processes.size(), 1U);
  EXPECT_EQ(processes[0]["pid"], ::getpid());
  EXPECT_EQ(processes[0]["role"], "main");
}

TEST(Cli, QueuesShowTheirDepth) {
  Queue<int> queue{3};
  for (int i = 0; i < 3; ++i) queue.put(i).unwrap();
  const json queues = json_of("queues");
  ASSERT_EQ(queues.size(), 1U);
  EXPECT_EQ(queues[0]["depth"], 3);
  EXPECT_EQ(queues[0]["maxsize"], 3);
  EXPECT_THAT(run(of_this_process("queues --colour always")).out, HasSubstr("\x1b[33m"))
      << "a full one stands out";
}

TEST(Cli, LocksShowHoldersAndDeadlocks) {
  const Lock first{{.name = "first"}};
  const Lock second{{.name = "second"}};
  {
    const auto guard = first.acquire().unwrap();
    const json locks = json_of("locks")["locks"];
    ASSERT_EQ(locks.size(), 2U);
    EXPECT_EQ(locks[0]["name"], "first");
    EXPECT_EQ(locks[0]["holders"][0]["pid"], ::getpid());
    EXPECT_EQ(locks[1]["state"], "free");
    EXPECT_EQ(run(of_this_process("locks --check")).code, 0);
  }
  // In a process of its own, so that it can be ended.
  const auto stuck = passel::Process::spawn(
                         [](const Lock& one, const Lock& other) {
                           const auto guard = one.acquire().unwrap();
                           std::thread peer{[&] {
                             const auto mine = other.acquire().unwrap();
                             static_cast<void>(one.acquire());
                           }};
                           while (!other.locked()) std::this_thread::yield();
                           static_cast<void>(other.acquire());
                         },
                         first, second)
                         .unwrap();
  Outcome checked;
  do {
    checked = run(of_this_process("locks --check"));
  } while (checked.code == 0);
  EXPECT_EQ(checked.code, 3);
  EXPECT_THAT(checked.out, HasSubstr("deadlock: thread "));
  EXPECT_EQ(json_of("locks")["circles"][0].size(), 2U);
  EXPECT_THAT(run(of_this_process("metrics")).out, HasSubstr("passel_deadlocks 1\n"));
  stuck.kill().unwrap();
  static_cast<void>(stuck.join());
}

TEST(Cli, PoolAndMetricsCountTasks) {
  passel::Pool pool = passel::Pool::start({.processes = 1}).unwrap();
  for (int i = 0; i < 3; ++i) pool.apply([](int n) { return n; }, i).unwrap();
  const json workers = json_of("pool");
  ASSERT_EQ(workers.size(), 1U);
  EXPECT_EQ(workers[0]["done"], 3);
  EXPECT_EQ(workers[0]["pool_of"], ::getpid());
  const json figures = json_of("metrics");
  EXPECT_EQ(figures["passel_worker_tasks_done_total"][0]["value"], 3);
  EXPECT_EQ(figures["passel_deadlocks"][0]["value"], 0);
  const std::string metrics = run(of_this_process("metrics")).out;
  EXPECT_THAT(metrics, HasSubstr("# TYPE passel_worker_tasks_done_total counter\n"));
  EXPECT_THAT(metrics,
              HasSubstr("worker=\"" + std::to_string(pool.stats().workers.at(0).pid) + "\"} 3\n"));
}

TEST(Cli, TopLooksAsOftenAsItIsTold) {
  const Lock lock{{.name = "in use"}};
  const auto guard = lock.acquire().unwrap();
  const json look = json::parse(run(of_this_process("top --rounds 1 --json")).out);
  EXPECT_EQ(look["locks"]["locks"][0]["name"], "in use");
  EXPECT_EQ(look["processes"][0]["pid"], ::getpid());
  const Outcome top = run(of_this_process("top --rounds 2 --every 0.05"));
  EXPECT_EQ(top.code, 0);
  const auto first = top.out.find("in use");
  ASSERT_NE(first, std::string::npos);
  EXPECT_NE(top.out.find("in use", first + 1), std::string::npos);
}

TEST(Cli, KeygenMakesAFileForItsOwnerAndReplacesNone) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("passel-cli-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = folder / "key";
  EXPECT_EQ(run("keygen " + file).code, 0);
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto key = passel::AuthKey::load(file);
  ASSERT_TRUE(key.is_ok()) << key.error().to_string();
  EXPECT_EQ(key->bytes().size(), 32U);
  const Outcome again = run("keygen " + file);
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.out, HasSubstr(file));
  EXPECT_TRUE(*passel::AuthKey::load(file) == *key);
  EXPECT_EQ(run("keygen").code, 2);
  EXPECT_EQ(json::parse(run("keygen --json " + file + "2").out)["key_file"], file + "2");
  std::filesystem::remove_all(folder);
}

TEST(Cli, CompletionScriptsAreOnesThatShellsTake) {
  const Outcome bash = run("completion bash | bash -n");
  EXPECT_EQ(bash.code, 0) << bash.out;
  EXPECT_THAT(run("completion zsh").out, HasSubstr("bashcompinit"));
  EXPECT_THAT(run("completion fish").out, HasSubstr("complete -c passel"));
  EXPECT_EQ(run("completion csh").code, 2);
}

}  // namespace
