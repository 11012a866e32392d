// Pool: many tasks at once, by map and imap; after CPython's _TestPool.
#include "small_tasks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <list>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Errc;
using passel::Pool;
using passel::Result;
using passel_test::add;
using passel_test::make_pool;
using passel_test::Meters;
using passel_test::nothing;
using passel_test::numbers;
using passel_test::shout;
using passel_test::square;
using passel_test::squares;
using passel_test::three_is_bad;
using passel_test::wait_for_word;
using passel_test::walk;

TEST(Pool, MapKeepsTheOrder) {
  Pool pool = make_pool(2);
  for (const unsigned chunk : {0U, 1U, 7U, 1'000U}) {
    EXPECT_EQ(pool.map<square>(numbers(100), {.chunksize = chunk}).unwrap(), squares(100)) << chunk;
  }
}

TEST(Pool, MapOfNothingIsNothing) {
  Pool pool = make_pool(1);
  EXPECT_TRUE(pool.map<square>(std::vector<int>{}).unwrap().empty());
}

TEST(Pool, MapTakesAnyRangeAndConvertsItems) {
  Pool pool = make_pool(2);
  const std::list<const char*> words{"a", "bc"};
  EXPECT_THAT(pool.map<shout>(words).unwrap(), ::testing::ElementsAre("a!", "bc!"));
  EXPECT_THAT(pool.map([](long n) { return n > 1; }, std::set<int>{1, 2}).unwrap(),
              ::testing::ElementsAre(false, true));
  EXPECT_TRUE(pool.map<nothing>(numbers(10)).is_ok());
  std::vector<double> far;
  for (const Meters& meters : pool.map<walk>(numbers(3)).unwrap()) far.push_back(meters.value());
  EXPECT_THAT(far, ::testing::ElementsAre(0.0, 0.75, 1.5));
}

TEST(Pool, MapFailsOnlyAfterAllTasksHaveRun) {
  Pool pool = make_pool(2);
  passel::Queue<int> ran;
  std::vector<std::tuple<int, passel::Queue<int>>> items;
  for (int i = 0; i < 10; ++i) items.emplace_back(i, ran);
  const auto result = pool.starmap(
      [](int n, const passel::Queue<int>& seen) {
        seen.put(n).unwrap();
        if (n % 3 == 2) throw std::runtime_error{"bad " + std::to_string(n)};
        return n;
      },
      items, {.chunksize = 4});
  ASSERT_TRUE(result.is_err());
  EXPECT_TRUE(result.error() == Errc::task_failed);
  EXPECT_THAT(result.error().what(), ::testing::HasSubstr("bad 2"));
  EXPECT_EQ(ran.qsize(), 10U);
  EXPECT_EQ(pool.map<square>(numbers(10)).unwrap(), squares(10));
}

TEST(Pool, MapAsyncAnswersLater) {
  Pool pool = make_pool(1);
  auto future = pool.map_async<square>(numbers(20), {.chunksize = 3});
  std::size_t count = 0;
  future.on_done([&](const Result<std::vector<int>>& all) { count = all->size(); });
  EXPECT_EQ(future.get().unwrap(), squares(20));
  EXPECT_EQ(count, 20U);
}

TEST(Pool, StarmapUnpacksTuplesAndPairs) {
  Pool pool = make_pool(2);
  EXPECT_THAT(pool.starmap<add>(std::vector{std::pair{1, 2}, std::pair{3, 4}}).unwrap(),
              ::testing::ElementsAre(3, 7));
  EXPECT_THAT(pool.starmap([](int a, const std::string& b) { return b + std::to_string(a); },
                           std::vector{std::tuple{1, std::string{"x"}}})
                  .unwrap(),
              ::testing::ElementsAre("x1"));
}

TEST(Pool, ImapYieldsInOrderAndImapUnorderedAll) {
  Pool pool = make_pool(2);
  for (const unsigned chunk : {1U, 7U}) {
    std::vector<int> ordered;
    for (Result<int>& result : pool.imap<square>(numbers(500), {.chunksize = chunk}).unwrap()) {
      ordered.push_back(*result);
    }
    EXPECT_EQ(ordered, squares(500));
    std::multiset<int> all;
    for (Result<int>& result :
         pool.imap_unordered<square>(numbers(500), {.chunksize = chunk}).unwrap()) {
      all.insert(*result);
    }
    const auto expected = squares(500);
    EXPECT_EQ(all, (std::multiset<int>{expected.begin(), expected.end()}));
  }
}

TEST(Pool, ImapGoesOnAfterAnError) {
  Pool pool = make_pool(2);
  std::vector<std::string> seen;
  for (Result<int>& result : pool.imap<three_is_bad>(numbers(6)).unwrap()) {
    seen.push_back(result ? std::to_string(*result)
                          : std::string{to_string(result.error().code())});
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("0", "1", "2", "task_failed", "4", "5"));
}

TEST(Pool, ImapReadsItsInputLazily) {
  Pool pool = make_pool(2);
  struct Endless {
    struct Iterator {
      int* read;
      int operator*() const { return *read; }
      Iterator& operator++() {
        ++*read;
        return *this;
      }
      bool operator==(const Iterator&) const { return false; }
    };
    int* read;
    [[nodiscard]] Iterator begin() const { return {read}; }
    [[nodiscard]] Iterator end() const { return {read}; }
  };
  int read = 0;
  {
    auto results = pool.imap<square>(Endless{&read}).unwrap();
    EXPECT_EQ(read, 0);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(**results.next(), i * i);
    // At most the window of both workers, twice, is read ahead.
    EXPECT_LE(read, 10 + 2 * 2 * 256);
  }
  EXPECT_EQ(pool.apply<square>(4).unwrap(), 16);
}

TEST(Pool, ImapNextWaitsNoLongerThanTold) {
  Pool pool = make_pool(1);
  passel::Queue<std::string> words;
  auto results = pool.imap<wait_for_word>(std::vector{words}).unwrap();
  const auto early = results.next_for(10ms);
  ASSERT_TRUE(early.has_value());
  EXPECT_TRUE(early->error() == Errc::timeout);
  words.put("now").unwrap();
  EXPECT_EQ(**results.next(), "now");
  EXPECT_FALSE(results.next().has_value());
}

TEST(Pool, AnExceptionOfTheInputComesOut) {
  Pool pool = make_pool(1);
  struct Broken {
    struct Iterator {
      int at = 0;
      int operator*() const {
        if (at == 2) throw std::logic_error{"no more"};
        return at;
      }
      Iterator& operator++() {
        ++at;
        return *this;
      }
      bool operator==(const Iterator& other) const { return at == other.at; }
    };
    [[nodiscard]] Iterator begin() const { return {}; }
    [[nodiscard]] Iterator end() const { return {100}; }
  };
  std::vector<std::string> seen;
  for (Result<int>& result : pool.imap<square>(Broken{}).unwrap()) {
    seen.push_back(result ? std::to_string(*result)
                          : std::string{to_string(result.error().code())});
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("0", "1", "task_failed"));
  EXPECT_THROW(static_cast<void>(pool.map<square>(Broken{}, {.chunksize = 1})), std::logic_error);
  EXPECT_EQ(pool.apply<square>(4).unwrap(), 16);
}

}  // namespace
