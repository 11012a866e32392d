// Lists, dictionaries, namespaces, values and arrays in a manager's server. CPython's counterparts
// stand beside the cases.
#include <passel/process.hpp>
#include <passel/sync_manager.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using passel::DictProxy;
using passel::Errc;
using passel::ListProxy;
using passel::Process;
using passel::SyncManager;
using passel::WireValue;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class ManagerContainers : public ::testing::Test {
 protected:
  SyncManager manager = SyncManager::started().unwrap();
};

// CPython: TestSyncManagerTypes.test_list, _TestContainers.test_list
TEST_F(ManagerContainers, AListIsChangedItemByItem) {
  const auto list = manager.list<int>({3, 1, 2}).unwrap();
  list.append(5).unwrap();
  list.extend({7, 1}).unwrap();
  list.insert(0, 9).unwrap();
  list.insert(-100, 8).unwrap();
  list.insert(100, 0).unwrap();
  EXPECT_THAT(list.values().unwrap(), ElementsAre(8, 9, 3, 1, 2, 5, 7, 1, 0));
  EXPECT_EQ(list.pop().unwrap(), 0);
  EXPECT_EQ(list.pop(0).unwrap(), 8);
  list.remove(1).unwrap();
  EXPECT_THAT(list.values().unwrap(), ElementsAre(9, 3, 2, 5, 7, 1));
  list.set(-1, 4).unwrap();
  list.erase(0).unwrap();
  EXPECT_EQ(list.at(-1).unwrap(), 4);
  EXPECT_EQ(list.size().unwrap(), 5U);
  EXPECT_EQ(list.index(5).unwrap(), 2U);
  EXPECT_EQ(list.index(5, {.start = 3}).error(), Errc::not_found);
  EXPECT_EQ(list.count(7).unwrap(), 1U);
  EXPECT_TRUE(list.contains(2).unwrap());
  EXPECT_FALSE(list.contains(42).unwrap());
  list.clear().unwrap();
  EXPECT_THAT(list.values().unwrap(), IsEmpty());
}

TEST_F(ManagerContainers, AListIsSortedReversedAndRepeated) {
  const auto list = manager.list<std::string>({"pear", "fig", "apple"}).unwrap();
  list.sort().unwrap();
  EXPECT_EQ(list.text().unwrap(), "['apple', 'fig', 'pear']");
  list.sort_descending().unwrap();
  EXPECT_EQ(list.text().unwrap(), "['pear', 'fig', 'apple']");
  list.reverse().unwrap();
  list.pop().unwrap();
  list.repeat(2).unwrap();
  EXPECT_THAT(list.values().unwrap(), ElementsAre("apple", "fig", "apple", "fig"));
  EXPECT_EQ(list.repeat(1'000'000'000).error(), Errc::too_large);
  EXPECT_EQ(list.size().unwrap(), 4U);
  list.repeat(0).unwrap();
  EXPECT_EQ(list.size().unwrap(), 0U);
  list.repeat(1'000'000'000'000).unwrap();
  EXPECT_EQ(list.size().unwrap(), 0U);
}

TEST_F(ManagerContainers, SlicesOfAListAreThoseOfPython) {
  const auto list = manager.list<int>({0, 1, 2, 3, 4, 5}).unwrap();
  EXPECT_THAT(list.slice({.start = 1, .stop = 3}).unwrap(), ElementsAre(1, 2));
  EXPECT_THAT(list.slice({.start = -2}).unwrap(), ElementsAre(4, 5));
  EXPECT_THAT(list.slice({.step = -2}).unwrap(), ElementsAre(5, 3, 1));
  EXPECT_THAT(list.slice({.start = 4, .stop = 1}).unwrap(), IsEmpty());
  EXPECT_THAT(list.slice({.start = -100, .stop = 100, .step = 4}).unwrap(), ElementsAre(0, 4));
  EXPECT_EQ(list.slice({.step = 0}).error(), Errc::invalid_argument);
  list.set_slice({.start = 1, .stop = 3}, {10, 11, 12}).unwrap();
  EXPECT_THAT(list.values().unwrap(), ElementsAre(0, 10, 11, 12, 3, 4, 5));
  list.set_slice({.step = 3}, {-1, -2, -3}).unwrap();
  EXPECT_THAT(list.values().unwrap(), ElementsAre(-1, 10, 11, -2, 3, 4, -3));
  EXPECT_EQ(list.set_slice({.step = 3}, {1}).error(), Errc::invalid_argument);
  list.set_slice({.start = 5, .stop = 2}, {7}).unwrap();  // an empty slice: before 4
  EXPECT_THAT(list.values().unwrap(), ElementsAre(-1, 10, 11, -2, 3, 7, 4, -3));
  list.erase_slice({.step = 2}).unwrap();
  EXPECT_THAT(list.values().unwrap(), ElementsAre(10, -2, 7, -3));
}

TEST_F(ManagerContainers, WhatIsNotInAListIsAnError) {
  const auto list = manager.list<int>({1}).unwrap();
  EXPECT_EQ(list.at(1).error(), Errc::invalid_argument);
  EXPECT_THAT(list.at(-2).error().what(), HasSubstr("index -2 is out of range"));
  EXPECT_EQ(list.set(1, 0).error(), Errc::invalid_argument);
  EXPECT_EQ(list.erase(1).error(), Errc::invalid_argument);
  EXPECT_EQ(list.remove(7).error(), Errc::not_found);
  list.pop().unwrap();
  EXPECT_THAT(list.pop().error().what(), HasSubstr("pop from an empty list"));
  const passel::DynamicProxy untyped = list;
  untyped.call<void>("append", "text").unwrap();
  EXPECT_EQ(list.at(0).error(), Errc::type_mismatch);
}

// F-17: what Python 3.14's ListProxy has beside these.
TEST_F(ManagerContainers, AListIsAddedMultipliedAndReversedWithoutAChange) {
  const auto list = manager.list<int>({1, 2}).unwrap();
  EXPECT_THAT(list.plus({3}).unwrap(), ElementsAre(1, 2, 3));
  EXPECT_THAT(list.times(2).unwrap(), ElementsAre(1, 2, 1, 2));
  EXPECT_THAT(list.times(-1).unwrap(), IsEmpty());
  EXPECT_THAT(list.reversed().unwrap(), ElementsAre(2, 1));
  EXPECT_EQ(list.copy().unwrap(), WireValue::list({1, 2}));
  EXPECT_THAT(list.values().unwrap(), ElementsAre(1, 2));
}

// F-17: what Python 3.14's DictProxy has beside these.
TEST_F(ManagerContainers, ADictIsMergedReversedAndMadeOfKeys) {
  using Dict = DictProxy<std::string, int>;
  const auto dict = manager.dict<std::string, int>(Dict::fromkeys({"a", "b"}, 1)).unwrap();
  EXPECT_THAT(dict.merged({{"b", 2}, {"c", 3}}).unwrap(),
              ElementsAre(Pair("a", 1), Pair("b", 2), Pair("c", 3)));
  EXPECT_THAT(dict.reversed().unwrap(), ElementsAre("b", "a"));
  EXPECT_THAT(dict.items().unwrap(), ElementsAre(Pair("a", 1), Pair("b", 1)));
  dict.update({{"b", 2}, {"c", 3}}).unwrap();
  EXPECT_THAT(dict.get_many({"c", "x", "a"}).unwrap(), ElementsAre(3, std::nullopt, 1));
}

// N-50: a change of what is nested in a value does not get lost when it is made by `change`.
TEST_F(ManagerContainers, ValuesAreChangedWhole) {
  using List = std::vector<int>;
  const auto dict = manager.dict<std::string, List>({{"n", {}}}).unwrap();
  const auto list = manager.list<List>({{}, {}}).unwrap();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int n = 0; n < 25; ++n) {
        dict.change("n", [&](List& numbers) { numbers.push_back(t); }).unwrap();
        list.change(-1, [&](List& numbers) { numbers.push_back(t); }).unwrap();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(dict.at("n").unwrap().size(), 100U);
  EXPECT_EQ(list.at(1).unwrap().size(), 100U);
  EXPECT_EQ(dict.change("x", [](List&) {}).error(), Errc::not_found);
  EXPECT_EQ(list.change(7, [](List&) {}).error(), Errc::invalid_argument);
  EXPECT_THAT(list.change(0, [](List& numbers) { numbers = {5}; }).unwrap(), ElementsAre(5));
}

// CPython: TestSyncManagerTypes.test_dict, _TestContainers.test_dict
TEST_F(ManagerContainers, ADictKeepsTheOrderOfItsKeys) {
  const auto dict = manager.dict<std::string, int>({{"b", 1}, {"a", 2}}).unwrap();
  dict.set("c", 3).unwrap();
  dict.set("b", 4).unwrap();
  EXPECT_EQ(dict.text().unwrap(), "{'b': 4, 'a': 2, 'c': 3}");
  EXPECT_THAT(dict.keys().unwrap(), ElementsAre("b", "a", "c"));
  EXPECT_THAT(dict.values().unwrap(), ElementsAre(4, 2, 3));
  EXPECT_THAT(dict.items().unwrap(), ElementsAre(Pair("b", 4), Pair("a", 2), Pair("c", 3)));
  EXPECT_EQ(dict.at("a").unwrap(), 2);
  EXPECT_TRUE(dict.contains("a").unwrap());
  dict.erase("a").unwrap();
  EXPECT_FALSE(dict.contains("a").unwrap());
  EXPECT_EQ(dict.get("a").unwrap(), std::nullopt);
  EXPECT_EQ(dict.get("a", 7).unwrap(), 7);
  EXPECT_EQ(dict.get("b", 7).unwrap(), 4);
  EXPECT_EQ(dict.setdefault("d", 5).unwrap(), 5);
  EXPECT_EQ(dict.setdefault("d", 6).unwrap(), 5);
  EXPECT_EQ(dict.pop("b").unwrap(), 4);
  EXPECT_EQ(dict.pop("b", -1).unwrap(), -1);
  EXPECT_THAT(dict.popitem().unwrap(), Pair("d", 5));
  dict.update({{"x", 1}, {"c", 9}}).unwrap();
  EXPECT_EQ(dict.size().unwrap(), 2U);
  EXPECT_EQ(dict.at("c").unwrap(), 9);
  dict.clear().unwrap();
  EXPECT_EQ(dict.popitem().error(), Errc::not_found);
  EXPECT_EQ(dict.text().unwrap(), "{}");
}

TEST_F(ManagerContainers, KeysOfADictMayBeOfDifferentKinds) {
  const auto dict = manager.dict().unwrap();
  dict.set(1, "1").unwrap();
  dict.set("2", 2).unwrap();
  dict.set(0.25, nullptr).unwrap();
  EXPECT_EQ(dict.text().unwrap(), "{1: '1', '2': 2, 0.25: None}");
  EXPECT_EQ(dict.at(0.25).unwrap(), WireValue{});
  EXPECT_EQ(dict.at(7).error(), Errc::not_found);
  EXPECT_THAT(dict.erase("no").error().what(), HasSubstr("no key 'no'"));
  EXPECT_EQ(dict.pop("no").error(), Errc::not_found);
  const auto list = WireValue::list({1});
  EXPECT_EQ(dict.set(list, 1).error(), Errc::type_mismatch);
  EXPECT_EQ(dict.contains(list).error(), Errc::type_mismatch);
  // All of an update or nothing.
  EXPECT_EQ(dict.update({{"new", 1}, {list, 2}}).error(), Errc::type_mismatch);
  EXPECT_FALSE(dict.contains("new").unwrap());
}

// CPython: _TestContainers.test_namespace, TestSyncManagerTypes.test_namespace
TEST_F(ManagerContainers, ANamespaceHoldsValuesUnderNames) {
  const auto space = manager.namespace_().unwrap();
  space.set("name", "Bob").unwrap();
  space.set("job", std::string{"Builder"}).unwrap();
  space.set("_hidden", 1).unwrap();
  EXPECT_EQ(space.text().unwrap(), "Namespace(job='Builder', name='Bob')");
  EXPECT_EQ(space.get<std::string>("name").unwrap(), "Bob");
  EXPECT_EQ(space.get<int>("name").error(), Errc::type_mismatch);
  EXPECT_TRUE(space.contains("job").unwrap());
  space.erase("job").unwrap();
  EXPECT_EQ(space.get("job").error(), Errc::not_found);
  EXPECT_EQ(space.erase("job").error(), Errc::not_found);
  EXPECT_EQ(space.set("", 1).error(), Errc::invalid_argument);
  EXPECT_THAT(space.names().unwrap(), ElementsAre("_hidden", "name"));
}

// CPython: TestSyncManagerTypes.test_value
TEST_F(ManagerContainers, AValueHoldsOne) {
  const auto value = manager.value(0.0).unwrap();
  value.set(3.14).unwrap();
  EXPECT_EQ(value.get().unwrap(), 3.14);
  EXPECT_EQ(value.text().unwrap(), "Value(3.14)");
  EXPECT_EQ(value.call<void>("set", "text").error(), Errc::type_mismatch);
}

TEST_F(ManagerContainers, AnArrayTakesWhatItsTypeCanHold) {
  const auto array = manager.array<int>({1, 2}).unwrap();
  const passel::ArrayProxy<long> wide{array};
  EXPECT_EQ(wide.set(0, 1L << 40).error(), Errc::type_mismatch);
  EXPECT_EQ(wide.set_slice({}, {1, -(1L << 40)}).error(), Errc::type_mismatch);
  EXPECT_THAT(array.values().unwrap(), ElementsAre(1, 2));
  const auto small = manager.array<unsigned char>({1}).unwrap();
  EXPECT_EQ(passel::ArrayProxy<int>{small}.set(0, -1).error(), Errc::type_mismatch);
  EXPECT_EQ(manager.create("Array", std::string{"h"}, std::vector<WireValue>{1 << 20}).error(),
            Errc::type_mismatch);
}

// CPython: TestSyncManagerTypes.test_array
TEST_F(ManagerContainers, AnArrayKeepsItsSizeAndType) {
  const auto array = manager.array<int>({0, 1, 2, 3}).unwrap();
  array.set(0, 5).unwrap();
  array.set(-1, 9).unwrap();
  EXPECT_EQ(array.text().unwrap(), "array('i', [5, 1, 2, 9])");
  EXPECT_EQ(array.size().unwrap(), 4U);
  EXPECT_EQ(array.at(1).unwrap(), 1);
  EXPECT_THAT(array.slice({.start = 1, .stop = 3}).unwrap(), ElementsAre(1, 2));
  array.set_slice({.step = 2}, {7, 8}).unwrap();
  EXPECT_THAT(array.values().unwrap(), ElementsAre(7, 1, 8, 9));
  EXPECT_EQ(array.at(4).error(), Errc::invalid_argument);
  EXPECT_EQ(array.set_slice({.start = 1}, {1}).error(), Errc::invalid_argument);
  EXPECT_EQ(array.call<void>("set", 0, "text").error(), Errc::type_mismatch);
  EXPECT_EQ(array.call<void>("set", 0, 0.5).error(), Errc::type_mismatch);
  EXPECT_EQ(manager.array<double>({0.5}).unwrap().text().unwrap(), "array('d', [0.5])");
}

TEST_F(ManagerContainers, WhatIsFetchedIsACopy) {
  const auto dict = manager.dict<std::string, std::vector<std::string>>({{"l", {"a"}}}).unwrap();
  auto fetched = dict.at("l").unwrap();
  fetched.push_back("b");
  EXPECT_THAT(dict.at("l").unwrap(), ElementsAre("a"));
  dict.set("l", fetched).unwrap();
  EXPECT_THAT(dict.at("l").unwrap(), ElementsAre("a", "b"));
  EXPECT_EQ(dict.copy().unwrap().to_string(), "{'l': ['a', 'b']}");
}

// CPython: _TestContainers.test_list_proxy_in_list, test_dict_proxy_nested, test_nested_queue
TEST_F(ManagerContainers, ProxiesLieInContainers) {
  const auto outer = manager.list<ListProxy<int>>().unwrap();
  auto inner = std::optional{manager.list<int>({1}).unwrap()};
  outer.append(*inner).unwrap();
  EXPECT_TRUE(outer.contains(*inner).unwrap());
  EXPECT_EQ(outer.index(*inner).unwrap(), 0U);
  inner->append(2).unwrap();
  EXPECT_THAT(outer.at(0).unwrap().values().unwrap(), ElementsAre(1, 2));
  EXPECT_EQ(outer.at(0).unwrap(), *inner);
  outer.at(0).unwrap().append(3).unwrap();
  EXPECT_THAT(inner->values().unwrap(), ElementsAre(1, 2, 3));

  // The list holds its item when nobody else does.
  inner.reset();
  EXPECT_EQ(manager.number_of_objects().unwrap(), 2U);
  inner = outer.at(0).unwrap();
  outer.clear().unwrap();
  EXPECT_THAT(inner->values().unwrap(), ElementsAre(1, 2, 3));
  inner.reset();
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);

  const auto queues = manager.dict<std::string, passel::QueueProxy<int>>().unwrap();
  queues.set("jobs", manager.queue<int>().unwrap()).unwrap();
  queues.at("jobs").unwrap().put(7).unwrap();
  EXPECT_EQ(queues.at("jobs").unwrap().get().unwrap(), 7);
  EXPECT_EQ(manager.number_of_objects().unwrap(), 3U);
}

void add_one(const DictProxy<std::string, int>& ages, const ListProxy<int>& list, int n) {
  ages.set("child " + std::to_string(n), n).unwrap();
  list.append(n).unwrap();
}

// CPython: TestSyncManagerTypes.test_queue and its kind: proxies as arguments of processes
TEST_F(ManagerContainers, ChildrenChangeThem) {
  const auto ages = manager.dict<std::string, int>().unwrap();
  const auto list = manager.list<int>().unwrap();
  std::vector<Process> children;
  for (const int n : {1, 2, 3}) children.push_back(Process::spawn<add_one>(ages, list, n).unwrap());
  for (Process& child : children) child.join().unwrap();
  EXPECT_EQ(ages.size().unwrap(), 3U);
  EXPECT_EQ(ages.at("child 2").unwrap(), 2);
  list.sort().unwrap();
  EXPECT_THAT(list.values().unwrap(), ElementsAre(1, 2, 3));
}

// One call is whole whatever the others do.
TEST_F(ManagerContainers, SingleCallsAreAtomic) {
  constexpr int threads = 4;
  constexpr int each = 50;
  const auto list = manager.list<int>().unwrap();
  std::vector<std::jthread> writers;
  for (int t = 0; t < threads; ++t) {
    writers.emplace_back([&list] {
      for (int n = 0; n < each; ++n) list.extend({n, -n}).unwrap();
    });
  }
  writers.clear();
  const auto items = list.values().unwrap();
  ASSERT_EQ(items.size(), 2U * threads * each);
  for (std::size_t i = 0; i < items.size(); i += 2) EXPECT_EQ(items[i], -items[i + 1]);
}

}  // namespace
