// Pools that span hosts: which tasks are offered while workers come and go, and how many.
#include <passel/manager.hpp>
#include <passel/remote_executor.hpp>
#include <passel/remote_worker.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker_messages.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

using passel::DynamicProxy;
using passel::Errc;
using passel::ExposedTasks;
using passel::Future;
using passel::Manager;
using passel::RemoteExecutor;
using passel::RemoteWorker;
using passel::Result;
using passel::UnknownTask;
using passel::detail::TaskSign;
using passel::detail::WorkerHello;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

int fetch(int n) { return n; }
int fetch_text(std::string text) { return static_cast<int>(text.size()); }
int count(int n) { return n + 1; }

ExposedTasks old_tasks() { return ExposedTasks::of<&fetch>(); }
ExposedTasks new_tasks() { return ExposedTasks::of<passel::exposed<"fetch", &fetch_text>>(); }

class BrokerOffersTest : public ::testing::Test {
 protected:
  [[nodiscard]] Result<RemoteWorker> join(const ExposedTasks& tasks) const {
    return RemoteWorker::join(tasks, {.address = server_.address(), .processes = {.processes = 1}});
  }
  [[nodiscard]] RemoteExecutor executor(UnknownTask unknown = UnknownTask::refused) const {
    return RemoteExecutor::connect({.address = server_.address(), .unknown_task = unknown})
        .unwrap();
  }
  [[nodiscard]] DynamicProxy broker() const {
    return manager_.create(passel::detail::broker_type, std::string{}).unwrap();
  }
  static WorkerHello hello_with(std::vector<TaskSign> tasks) {
    WorkerHello hello;
    hello.name = "w";
    hello.tasks = std::move(tasks);
    return hello;
  }
  static void leave(RemoteWorker& worker) {
    worker.leave();
    worker.wait().unwrap();
  }

  mutable Manager manager_;
  passel::ManagerServer server_ = manager_.get_server().unwrap();
};

TEST_F(BrokerOffersTest, ATaskMayHaveOtherTypesWhenNobodyOffersTheOldOnes) {
  const auto executor = this->executor();
  auto old = join(old_tasks()).unwrap();
  auto also_old = join(old_tasks()).unwrap();
  leave(old);
  EXPECT_EQ(join(new_tasks()).error(), Errc::type_mismatch);
  leave(also_old);
  const auto fresh = join(new_tasks());
  ASSERT_TRUE(fresh);
  EXPECT_THAT(executor.stats().unwrap().tasks, ElementsAre("fetch(str) -> int"));
}

TEST_F(BrokerOffersTest, ATaskThatNobodyOffersAnyMoreIsRefusedOrWaits) {
  const auto other = join(ExposedTasks::of<&count>()).unwrap();
  auto refusing = executor();
  auto waiting = executor(UnknownTask::waits);
  auto first = join(old_tasks()).unwrap();
  EXPECT_EQ(refusing.submit_named<int>("fetch", 3).get().unwrap(), 3);
  leave(first);
  const auto refused = refusing.submit_named<int>("fetch", 4).get();
  EXPECT_EQ(refused.error(), Errc::not_found);
  EXPECT_THAT(refused.error().what(), HasSubstr("'fetch'"));
  EXPECT_THAT(refused.error().what(), HasSubstr("count(int) -> int"));
  Future<int> waits = waiting.submit_named<int>("fetch", 5);
  const auto second = join(old_tasks()).unwrap();
  EXPECT_EQ(waits.get().unwrap(), 5);
}

TEST_F(BrokerOffersTest, WhileTheLastWorkerFinishesWhatItHasTasksWaitForTheNext) {
  auto executor = this->executor();
  auto first = join(old_tasks()).unwrap();
  const DynamicProxy broker = this->broker();
  // One that is leaving, and has not finished.
  const WorkerHello hello = hello_with({{"fetch", {"int"}, "int"}});
  const auto number = broker.call<std::uint64_t>("join", hello).unwrap();
  leave(first);
  Future<int> given = executor.submit_named<int>("fetch", 1);
  broker.call<void>("done", number, std::uint32_t{1}, std::vector<passel::detail::TaskOutcome>{})
      .unwrap();
  const auto task = broker.call<passel::detail::TaskGrant>("take", number).unwrap();
  ASSERT_EQ(task.tasks.size(), 1U);
  auto left = broker.call_async<void>("leave", number);
  Future<int> next = executor.submit_named<int>("fetch", 2);
  const auto second = join(old_tasks()).unwrap();
  EXPECT_EQ(next.get().unwrap(), 2);
  EXPECT_FALSE(left.done());
  broker.call<void>("quit", number).unwrap();
  EXPECT_EQ(given.get().error(), Errc::worker_lost);
}

TEST_F(BrokerOffersTest, Fault56AWorkerOffersAtMostAMebibyteAndASessionHas64OfThem) {
  const DynamicProxy broker = this->broker();
  WorkerHello hello = hello_with({{"fetch", {"int"}, "int"}});
  hello.tasks[0].name.resize(std::size_t{1} << 20, 'x');
  const auto large = broker.call<std::uint64_t>("join", hello);
  EXPECT_EQ(large.error(), Errc::full);
  EXPECT_THAT(large.error().what(), HasSubstr("bytes of what a worker offers: 1049"));
  EXPECT_THAT(large.error().what(), HasSubstr("limit 1048576"));
  hello.tasks[0].name = "fetch";
  std::uint64_t last = 0;
  for (int n = 0; n < 64; ++n) last = broker.call<std::uint64_t>("join", hello).unwrap();
  EXPECT_EQ(broker.call<std::uint64_t>("join", hello).error().to_string(),
            "full: workers of one session: 65, limit 64");
  broker.call<void>("quit", last).unwrap();
  EXPECT_TRUE(broker.call<std::uint64_t>("join", hello));
}

TEST_F(BrokerOffersTest, Fault56NamesOfTasksHaveALimitAndGoWithThoseWhoUseThem) {
  const DynamicProxy broker = this->broker();
  constexpr int in_one = 5000;
  std::vector<std::uint64_t> workers;
  WorkerHello hello = hello_with(std::vector<TaskSign>(in_one));
  auto join_with_others = [&, last = 0]() mutable {
    for (auto& task : hello.tasks) task.name = "t" + std::to_string(++last);
    return broker.call<std::uint64_t>("join", hello);
  };
  for (int n = 0; n < 100'000 / in_one; ++n) workers.push_back(join_with_others().unwrap());
  EXPECT_EQ(join_with_others().error().to_string(),
            "full: names of tasks at the server: 105000, limit 100000");
  auto executor = this->executor(UnknownTask::waits);
  EXPECT_EQ(executor.submit_named<int>("one more", 1).get().error(), Errc::full);
  const auto unknown = this->executor().submit_named<int>("one more", 1).get();
  EXPECT_EQ(unknown.error(), Errc::full);
  broker.call<void>("quit", workers.back()).unwrap();
  EXPECT_TRUE(join_with_others());
  for (const std::uint64_t worker : workers) broker.call<void>("quit", worker).unwrap();
  const auto named = this->executor().submit_named<int>("one more", 1).get();
  EXPECT_EQ(named.error(), Errc::not_found);
  EXPECT_THAT(named.error().what(), HasSubstr(" and 4980 more"));
}

}  // namespace
