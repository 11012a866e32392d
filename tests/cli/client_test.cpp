// `passel ping`, `call`, `get`, `put` and `bench`, run as people and scripts run them.
#include "support/process_census.hpp"
#include "support/started_program.hpp"
#include "support/stopped_process.hpp"

#include <passel/authkey.hpp>
#include <passel/parse_address.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

using nlohmann::json;
using passel_test::StartedProgram;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

/// `passel serve`, and what clients of it print.
class ClientTest : public ::testing::Test {
 protected:
  struct Outcome {
    int code;
    std::string out;
  };

  ClientTest() {
    std::string name = (fs::temp_directory_path() / "passel-client-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    passel::AuthKey::generate().save(key()).unwrap();
    server_.emplace(std::vector<std::string>{PASSEL_BINARY, "serve", "--address", folder_ / "s",
                                             "--key-file", key(), "--log", "error"});
    EXPECT_THAT(server_->line(), HasSubstr("listening at"));
  }
  ~ClientTest() override {
    server_.reset();
    fs::remove_all(folder_);
  }

  [[nodiscard]] std::string key() const { return folder_ / "key"; }
  [[nodiscard]] Outcome run(std::vector<std::string> words) const {
    words.insert(words.begin(), PASSEL_BINARY);
    words.insert(words.begin() + 2, {"--connect", folder_ / "s", "--key-file", key()});
    StartedProgram program{std::move(words)};
    std::string out = program.rest();
    return {program.wait(), std::move(out)};
  }
  [[nodiscard]] passel::SyncManager client() const {
    passel::SyncManager manager{{.address = passel::UnixAddress{folder_ / "s"},
                                 .authkey = passel::AuthKey::load(key()).unwrap()}};
    manager.connect().unwrap();
    return manager;
  }

  fs::path folder_;
  std::optional<StartedProgram> server_;
};

TEST_F(ClientTest, PingSaysHowFastTheServerAnswers) {
  const Outcome lines = run({"ping", "--count", "2", "--every", "0"});
  EXPECT_EQ(lines.code, 0);
  EXPECT_THAT(lines.out, HasSubstr("answer from " + (folder_ / "s").string() + ": n=2 time="));
  const Outcome figures = run({"ping", "--count", "3", "--every", "0", "--json"});
  EXPECT_EQ(json::parse(figures.out)["answers"], 3);
}

TEST_F(ClientTest, WhatNobodyServesIsAnError) {
  server_.reset();
  EXPECT_EQ(run({"ping"}).code, 1);
}

TEST_F(ClientTest, AStoppedServerDoesNotAnswerInTime) {
  auto manager = client();
  server_->signal(SIGSTOP);
  // The signal takes its time.
  passel::Result<void> answer{};
  while (answer.is_ok()) answer = manager.ping_for(std::chrono::milliseconds{1});
  EXPECT_EQ(answer.error().code(), passel::Errc::timeout);
  server_->signal(SIGCONT);
  EXPECT_TRUE(manager.ping_for(std::chrono::hours{1}).is_ok());
}

TEST_F(ClientTest, NoCommandWaitsForAStoppedServerForLongerThanItWasTold) {
  passel_test::stop_all_of(server_->pid());
  const std::vector<std::vector<std::string>> commands{{"get", "x"}, {"put", "x", "1"}};
  for (std::vector<std::string> words : commands) {
    words.insert(words.end(), {"--timeout", "0.1"});
    EXPECT_EQ(run(words).code, 1) << words[0];
  }
}

TEST_F(ClientTest, AnItemThatCouldNotBePrintedIsNotDone) {
  auto manager = client();
  const auto work = manager.joinable_queue<int>().unwrap();
  manager.publish("work", work).unwrap();
  work.put(5).unwrap();
  StartedProgram full{{"/bin/sh", "-c",
                       std::string{PASSEL_BINARY} + " get work --connect " +
                           (folder_ / "s").string() + " --key-file " + key() + " 2>&1 >/dev/full"}};
  EXPECT_THAT(full.line(), HasSubstr("not everything could be written to the output"));
  EXPECT_EQ(full.wait(), 1);
  EXPECT_EQ(work.get().unwrap(), 5) << "it came back";
  work.task_done().unwrap();
  work.join().unwrap();
}

TEST_F(ClientTest, WhatCouldNotBePrintedIsAnError) {
  for (const std::string words : {"ps", "metrics", "completion bash"}) {
    StartedProgram full{
        {"/bin/sh", "-c", std::string{PASSEL_BINARY} + " " + words + " >/dev/full"}};
    EXPECT_EQ(full.wait(), 1) << words;
  }
}

TEST_F(ClientTest, ItemsGoThroughAQueue) {
  EXPECT_EQ(run({"put", "jobs", R"({"url": "http://a", "depth": [1, 2.5, null, true]})"}).code, 0);
  EXPECT_EQ(run({"put", "jobs", "plain text"}).code, 0);
  EXPECT_THAT(run({"get"}).out, HasSubstr("jobs  Queue"));
  EXPECT_EQ(json::parse(run({"get", "--json"}).out), (json{{"jobs", "Queue"}}));
  EXPECT_EQ(json::parse(run({"get", "jobs"}).out),
            json::parse(R"({"url": "http://a", "depth": [1, 2.5, null, true]})"));
  EXPECT_EQ(run({"get", "jobs"}).out, "\"plain text\"\n");
  EXPECT_EQ(run({"get", "jobs", "--timeout", "0"}).code, 1);
}

TEST_F(ClientTest, WordsInBracketsStayWhole) {
  for (const std::string item : {"[]", "[1]", "[1,2]", "[1,2,3]", R"(["a b"])", "{}", "[[],{}]"}) {
    EXPECT_EQ(run({"put", "jobs", item}).code, 0) << item;
    EXPECT_EQ(json::parse(run({"get", "jobs"}).out), json::parse(item)) << item;
  }
  EXPECT_EQ(run({"call", "jobs", "put_many", "[1,[2],3]", "true"}).code, 0);
  EXPECT_EQ(run({"get", "jobs"}).out, "1\n");
  EXPECT_EQ(run({"get", "jobs"}).out, "[2]\n");
  auto manager = client();
  const auto places = manager.dict<passel::WireValue, passel::WireValue>().unwrap();
  manager.publish("places", places).unwrap();
  EXPECT_EQ(run({"put", "places", "[::1]", "[4,2]"}).code, 0);
  EXPECT_EQ(run({"get", "places", "[::1]"}).out, "[4,2]\n");
  EXPECT_EQ(run({"put", "places", "a", "b", "c"}).code, 2);
  EXPECT_EQ(run({"get", "places", "a", "b"}).code, 2);
}

TEST_F(ClientTest, TheCommandLineIsNearerThanTheEnvironment) {
  EXPECT_EQ(run({"put", "jobs", "1"}).code, 0);
  const std::string other = folder_ / "other";
  passel::AuthKey::generate().save(other).unwrap();
  ::setenv("PASSEL_CONNECT", (folder_ / "s").c_str(), 1);
  ::setenv("PASSEL_AUTHKEY_FILE", key().c_str(), 1);
  const auto code_of = [](std::vector<std::string> words) {
    words.insert(words.begin(), PASSEL_BINARY);
    StartedProgram program{std::move(words)};
    static_cast<void>(program.rest());
    return program.wait();
  };
  using Words = std::vector<std::string>;
  for (const Words& command :
       {Words{"ping", "--count", "1"}, Words{"get"}, Words{"put", "jobs", "2"},
        Words{"call", "jobs", "qsize"}, Words{"bench"}}) {
    const auto with = [&](const Words& more) {
      Words words = command;
      words.insert(words.end(), more.begin(), more.end());
      return words;
    };
    EXPECT_EQ(code_of(with({"--connect", folder_ / "nobody"})), 1) << command[0];
    EXPECT_EQ(code_of(with({"--connect", folder_ / "s", "--key-file", other})), 1) << command[0];
    // It is the command line's certificates that count, and those are for TCP.
    EXPECT_EQ(
        code_of(with({"--connect", "127.0.0.1:1", "--ca", "a", "--cert", "b", "--cert-key", "c"})),
        1)
        << command[0];
  }
  EXPECT_EQ(code_of({"call", "jobs", "qsize"}), 0)
      << "what is not said is as the environment has it";
  ::unsetenv("PASSEL_CONNECT");
  ::unsetenv("PASSEL_AUTHKEY_FILE");
  EXPECT_EQ(run({"call", "jobs", "qsize"}).out, "1\n");
}

TEST_F(ClientTest, ProgramsAndTheToolShareWhatIsPublished) {
  auto manager = client();
  const auto ages = manager.dict<std::string, int>({{"ann", 40}}).unwrap();
  manager.publish("ages", ages).unwrap();
  EXPECT_EQ(run({"put", "ages", "bob", "41"}).code, 0);
  EXPECT_EQ(ages.at("bob").unwrap(), 41);
  EXPECT_EQ(run({"get", "ages", "ann"}).out, "40\n");
  EXPECT_EQ(json::parse(run({"get", "ages"}).out), (json{{"ann", 40}, {"bob", 41}}));

  const auto list = manager.list<int>({1}).unwrap();
  manager.publish("list", list).unwrap();
  EXPECT_EQ(run({"put", "list", "2"}).code, 0);
  EXPECT_EQ(run({"call", "list", "insert", "0", "3"}).code, 0);
  EXPECT_EQ(run({"call", "list", "values"}).out, "[3,1,2]\n");

  const auto work = manager.joinable_queue<int>().unwrap();
  manager.publish("work", work).unwrap();
  work.put(5).unwrap();
  EXPECT_EQ(run({"get", "work"}).out, "5\n");
  work.join().unwrap();
}

TEST_F(ClientTest, WhatCannotBeCalledSaysWhy) {
  EXPECT_EQ(run({"get", "nothing"}).code, 1);
  EXPECT_EQ(run({"call", "nothing", "size"}).code, 1);
  EXPECT_EQ(run({"put", "it", "1"}).code, 0);
  EXPECT_EQ(run({"call", "it", "no_such_method"}).code, 1);
  EXPECT_EQ(run({"call", "it", "put", "1", "2", "3", "4", "5", "6", "7"}).code, 2);
  EXPECT_EQ(run({"get", "it", "key"}).code, 1);
}

TEST_F(ClientTest, ProgramsMakeNamedObjectsOfEveryTypeWithTheArgumentsThatAreWrittenDown) {
  using passel::to_value;
  using passel::WireValue;
  auto manager = client();
  const std::vector<WireValue> items{to_value(1), to_value(2)};
  const std::vector<WireValue> pairs{to_value(std::pair{std::string{"ann"}, 40})};
  for (const char* const type : {"Queue", "JoinableQueue", "LifoQueue", "PriorityQueue"})
    EXPECT_TRUE(manager.get_or_create(type, type, 100).is_ok()) << type;
  EXPECT_TRUE(manager.get_or_create("list", "list", items).is_ok());
  EXPECT_TRUE(manager.get_or_create("dict", "dict", pairs).is_ok());
  EXPECT_TRUE(manager.get_or_create("set", "set", WireValue::list(items)).is_ok());
  EXPECT_TRUE(manager.get_or_create("Value", "Value", to_value(7)).is_ok());
  EXPECT_TRUE(manager.get_or_create("Array", "Array", std::string{"i"}, items).is_ok());
  for (const char* const type : {"Namespace", "Lock", "RLock", "Event", "Condition"})
    EXPECT_TRUE(manager.get_or_create(type, type).is_ok()) << type;
  for (const char* const type : {"Semaphore", "BoundedSemaphore"})
    EXPECT_TRUE(manager.get_or_create(type, type, 2, true).is_ok()) << type;
  EXPECT_TRUE(
      manager.get_or_create("Barrier", "Barrier", 2, std::optional<std::int64_t>{}).is_ok());
  EXPECT_EQ(run({"get", "list"}).out, "[1,2]\n");
  EXPECT_EQ(run({"get", "dict"}).out, "{\"ann\":40}\n");
  EXPECT_EQ(run({"call", "Array", "set", "-1", "3"}).code, 0);
  EXPECT_EQ(run({"call", "Array", "values"}).out, "[1,3]\n");
}

TEST_F(ClientTest, ANameCanBeGivenUp) {
  EXPECT_EQ(run({"put", "typo", "1", "--json"}).out, R"({"name":"typo","new":true,"type":"Queue"})"
                                                     "\n");
  EXPECT_EQ(run({"put", "typo", "2", "--json"}).out, R"({"name":"typo","new":false,"type":"Queue"})"
                                                     "\n");
  EXPECT_EQ(run({"unpublish", "typo"}).code, 0);
  EXPECT_EQ(run({"get", "--json"}).out, "{}\n");
  EXPECT_EQ(run({"unpublish", "typo"}).code, 1);
}

TEST_F(ClientTest, BenchMeasuresTheWayToTheServer) {
  const Outcome figures = run({"bench", "--seconds", "0.01", "--json"});
  EXPECT_EQ(figures.code, 0);
  const json rows = json::parse(figures.out);
  EXPECT_EQ(rows.size(), 4U);
  for (const auto& [work, seconds] : rows.items()) EXPECT_GT(seconds.get<double>(), 0.0) << work;
}

TEST(BenchCommand, MeasuresThisHostAndLeavesNothing) {
  ::setenv("PASSEL_CONNECT", "127.0.0.1:1", 1);  // not for it, without --connect
  const auto before = passel_test::ProcessCensus::take();
  {
    StartedProgram program{{PASSEL_BINARY, "bench", "--seconds", "0.01"}};
    EXPECT_THAT(program.rest(), HasSubstr("pool: a call"));
    EXPECT_EQ(program.wait(), 0);
  }
  ::unsetenv("PASSEL_CONNECT");
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

}  // namespace
