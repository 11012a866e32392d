// Sets in a manager's server. CPython's counterparts stand beside the cases.
#include <passel/process.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace {

using passel::Errc;
using passel::Process;
using passel::SetProxy;
using passel::SyncManager;
using passel::WireValue;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ManagerSet : public ::testing::Test {
 protected:
  SyncManager manager = SyncManager::started().unwrap();
};

// CPython: _TestContainers / TestSyncManagerTypes.test_set (gh-129949)
TEST_F(ManagerSet, HoldsEachItemOnce) {
  const auto set = manager.set<int>({3, 1, 3}).unwrap();
  set.add(2).unwrap();
  set.add(1).unwrap();
  EXPECT_EQ(set.size().unwrap(), 3U);
  EXPECT_THAT(set.values().unwrap(), ElementsAre(3, 1, 2));
  EXPECT_TRUE(set.contains(2).unwrap());
  EXPECT_FALSE(set.contains(7).unwrap());
  set.remove(3).unwrap();
  EXPECT_EQ(set.remove(3).error(), Errc::not_found);
  set.discard(3).unwrap();
  EXPECT_EQ(set.text().unwrap(), "{1, 2}");
  EXPECT_EQ(set.copy().unwrap(), WireValue::set({1, 2}));
  EXPECT_EQ(set.pop().unwrap() + set.pop().unwrap(), 3);
  EXPECT_EQ(set.pop().error(), Errc::not_found);
  EXPECT_EQ(set.text().unwrap(), "set()");
  set.add(1).unwrap();
  set.clear().unwrap();
  EXPECT_THAT(set.values().unwrap(), IsEmpty());
}

TEST_F(ManagerSet, CombinesAsPythonsOperatorsDo) {
  const auto set = manager.set<int>({1, 2, 3, 4}).unwrap();
  const std::vector<int> other{3, 4, 5};
  EXPECT_THAT(set.union_(other).unwrap(), UnorderedElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(set.intersection(other).unwrap(), UnorderedElementsAre(3, 4));
  EXPECT_THAT(set.difference(other).unwrap(), UnorderedElementsAre(1, 2));
  EXPECT_THAT(set.symmetric_difference(other).unwrap(), UnorderedElementsAre(1, 2, 5));
  EXPECT_EQ(set.size().unwrap(), 4U);
  EXPECT_FALSE(set.isdisjoint(other).unwrap());
  EXPECT_TRUE(set.isdisjoint(std::vector<int>{7}).unwrap());
  EXPECT_TRUE(set.issuperset(std::vector<int>{1, 2}).unwrap());
  EXPECT_FALSE(set.issuperset(other).unwrap());
  EXPECT_TRUE(set.issubset(std::vector<int>{0, 1, 2, 3, 4}).unwrap());
  EXPECT_FALSE(set.issubset(other).unwrap());

  set.intersection_update(std::vector<int>{2, 3, 4}).unwrap();
  EXPECT_THAT(set.values().unwrap(), UnorderedElementsAre(2, 3, 4));
  set.difference_update(std::vector<int>{4}).unwrap();
  set.symmetric_difference_update(std::vector<int>{3, 8}).unwrap();
  set.update(std::vector<int>{8, 9}).unwrap();
  EXPECT_THAT(set.values().unwrap(), UnorderedElementsAre(2, 8, 9));
}

TEST_F(ManagerSet, TakesTheItemsOfOtherContainersOfItsManager) {
  const auto set = manager.set<std::string>({"a"}).unwrap();
  const auto list = manager.list<std::string>({"b", "c", "b"}).unwrap();
  const auto dict = manager.dict<std::string, int>({{"c", 1}, {"d", 2}}).unwrap();
  const auto other = manager.set<std::string>({"a", "z"}).unwrap();
  set.update(list).unwrap();
  EXPECT_THAT(set.values().unwrap(), UnorderedElementsAre("a", "b", "c"));
  EXPECT_THAT(set.intersection(dict).unwrap(), UnorderedElementsAre("c"));
  EXPECT_THAT(set.union_(other).unwrap(), UnorderedElementsAre("a", "b", "c", "z"));
  set.difference_update(set).unwrap();
  EXPECT_EQ(set.size().unwrap(), 0U);
  const auto lock = manager.lock().unwrap();
  EXPECT_EQ(set.update(lock).error(), Errc::type_mismatch);
}

TEST_F(ManagerSet, WhatIsNotHashableChangesNothing) {
  const auto set = manager.set().unwrap();
  const auto bad = WireValue::list({1});
  EXPECT_EQ(set.add(bad).error(), Errc::type_mismatch);
  EXPECT_EQ(set.contains(bad).error(), Errc::type_mismatch);
  const auto refused = set.update(std::vector<WireValue>{1, bad});
  EXPECT_EQ(refused.error(), Errc::type_mismatch);
  EXPECT_THAT(refused.error().what(), HasSubstr("[1]"));
  EXPECT_EQ(set.size().unwrap(), 0U);
  EXPECT_EQ(manager.set<WireValue>({bad}).error(), Errc::type_mismatch);
  set.update(std::vector<WireValue>{1, "1", 2.5, nullptr, 1}).unwrap();
  EXPECT_EQ(set.size().unwrap(), 4U);
}

void add_numbers(const SetProxy<int>& set, int first) {
  for (int n = first; n < first + 30; ++n) set.add(n).unwrap();
}

TEST_F(ManagerSet, IsSharedByProcesses) {
  const auto set = manager.set<int>().unwrap();
  std::vector<Process> workers;
  for (const int first : {0, 10, 20})
    workers.push_back(Process::spawn<add_numbers>(set, first).unwrap());
  for (auto& worker : workers) EXPECT_EQ(worker.join().unwrap(), 0);
  EXPECT_EQ(set.size().unwrap(), 50U);
}

}  // namespace
