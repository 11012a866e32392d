// Objects that a manager keeps under a name, for clients that know nothing of each other.
#include <passel/process.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process_census.hpp"
#include "support/stopped_process.hpp"

#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Address;
using passel::DynamicProxy;
using passel::Errc;
using passel::ListProxy;
using passel::LockProxy;
using passel::Process;
using passel::QueueProxy;
using passel::SyncManager;
using passel::UnixAddress;
using passel::WireValue;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class Published : public ::testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return std::get<UnixAddress>(manager.address()).path; }
  SyncManager manager = SyncManager::started().unwrap();
};

SyncManager connected(const std::string& path) {
  SyncManager manager{{.address = UnixAddress{path}}};
  manager.connect().unwrap();
  return manager;
}

void publish_items(const std::string& path, const std::vector<int>& items) {
  SyncManager manager = connected(path);
  manager.publish("items", manager.list(items).unwrap()).unwrap();
}

TEST_F(Published, IsFoundByNameWhenWhoMadeItIsGone) {
  Process::spawn<publish_items>(path(), std::vector{1, 2}).unwrap().join().unwrap();
  const auto items = manager.named<ListProxy<int>>("items").unwrap();
  EXPECT_EQ(items.at(1).unwrap(), 2);
  EXPECT_THAT(manager.names().unwrap(), ElementsAre(Pair("items", "list")));
}

TEST_F(Published, NobodyWaitsForAStoppedServerForLongerThanHeWants) {
  const auto items = manager.list<int>({7}).unwrap();
  manager.publish("items", items).unwrap();
  EXPECT_TRUE(manager.named_for<ListProxy<int>>(1h, "items"));
  EXPECT_THAT(manager.names_for(1h).unwrap(), ElementsAre(Pair("items", "list")));
  EXPECT_TRUE(manager.get_or_create_for(1h, "items", "list"));
  EXPECT_TRUE(items.copy_for(1h));
  SyncManager other{{.address = UnixAddress{path()}}};
  EXPECT_TRUE(other.connect_for(1h));
  passel_test::stop_all_of(*manager.pid());
  EXPECT_EQ(manager.named_for(1ms, "items").error(), Errc::timeout);
  EXPECT_EQ(manager.names_for(1ms).error(), Errc::timeout);
  EXPECT_EQ(manager.get_or_create_for(1ms, "more", "list").error(), Errc::timeout);
  EXPECT_EQ(items.copy_for(1ms).error(), Errc::timeout);
  SyncManager late{{.address = UnixAddress{path()}}};
  EXPECT_EQ(late.connect_for(1ms).error(), Errc::timeout);
  ::kill(*manager.pid(), SIGCONT);
  EXPECT_TRUE(late.connect_for(1h));
}

TEST_F(Published, LivesUntilItsNameAndItsLastProxyAreGone) {
  manager.publish("items", manager.list<int>({7}).unwrap()).unwrap();
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
  {
    const auto items = manager.named<ListProxy<int>>("items").unwrap();
    manager.unpublish("items").unwrap();
    EXPECT_EQ(items.at(0).unwrap(), 7);
  }
  EXPECT_EQ(manager.number_of_objects().unwrap(), 0U);
  EXPECT_EQ(manager.named("items").error().code(), Errc::not_found);
  EXPECT_THAT(manager.unpublish("items").error().what(), HasSubstr("'items'"));
}

TEST_F(Published, ANameStandsForOneObject) {
  const auto a = manager.list<int>({1}).unwrap();
  manager.publish("it", a).unwrap();
  manager.publish("it", a).unwrap();
  manager.publish("also", a).unwrap();
  EXPECT_EQ(manager.publish("it", manager.list<int>().unwrap()).error().code(),
            Errc::invalid_argument);
  EXPECT_TRUE(manager.named("it").unwrap() == manager.named("also").unwrap());
  for (const char* const wrong : {"", "two\nlines"}) {
    EXPECT_EQ(manager.publish(wrong, a).error().code(), Errc::invalid_argument);
  }
}

TEST_F(Published, OnlyWhatTheManagerHosts) {
  SyncManager other = SyncManager::started().unwrap();
  EXPECT_EQ(manager.publish("it", other.list<int>().unwrap()).error().code(),
            Errc::invalid_argument);
  EXPECT_EQ(manager.publish("it", DynamicProxy{}).error().code(), Errc::invalid_argument);
}

void put_once(const std::string& path, int item) {
  SyncManager manager = connected(path);
  const auto jobs = manager.get_or_create<QueueProxy<int>>("jobs", "Queue", 100).unwrap();
  jobs.put(item).unwrap();
}

TEST_F(Published, WhoAsksFirstMakesIt) {
  std::vector<Process> clients;
  for (int i = 1; i <= 4; ++i) clients.push_back(Process::spawn<put_once>(path(), i).unwrap());
  const auto jobs = manager.get_or_create<QueueProxy<int>>("jobs", "Queue", 100).unwrap();
  int sum = 0;
  for (int i = 0; i < 4; ++i) sum += jobs.get().unwrap();
  EXPECT_EQ(sum, 1 + 2 + 3 + 4);
  for (auto& client : clients) EXPECT_EQ(client.join().unwrap(), 0);
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
}

TEST_F(Published, AnotherTypeThanAskedForIsAnError) {
  auto lock = manager.get_or_create<LockProxy>("it", "Lock").unwrap();
  const auto refused = manager.get_or_create("it", "Queue", 1);
  EXPECT_EQ(refused.error().code(), Errc::type_mismatch);
  EXPECT_THAT(refused.error().what(), HasSubstr("'it' is a Lock, not a Queue"));
  EXPECT_EQ(manager.get_or_create("new", "no such type").error().code(), Errc::not_found);
  EXPECT_EQ(manager.get_or_create(std::string(1025, 'n'), "Lock").error().code(), Errc::too_large);
  EXPECT_EQ(manager.get_or_create("new", "Semaphore", -1).error().code(), Errc::invalid_argument);
  EXPECT_EQ(manager.named("new").error().code(), Errc::not_found);
}

void hold(const std::string& path) {
  SyncManager manager = connected(path);
  const auto lock = manager.get_or_create<LockProxy>("lock", "Lock").unwrap();
  auto guard = lock.acquire().unwrap();
  manager.publish("held", manager.list<int>().unwrap()).unwrap();
  for (;;) ::pause();
}

TEST_F(Published, AKilledHolderOfANamedLockReturnsIt) {
  auto holder = Process::spawn<hold>(path()).unwrap();
  while (!manager.named("held")) {
  }
  holder.kill().unwrap();
  const auto lock = manager.named<LockProxy>("lock").unwrap();
  EXPECT_TRUE(lock.acquire().unwrap().abandoned());
  holder.join().unwrap();
}

}  // namespace
