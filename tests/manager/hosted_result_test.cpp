// Results of methods that stay in the server: objects, and things to go through. CPython's
// counterparts stand beside the cases.
#include <passel/base_manager.hpp>
#include <passel/process.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::BaseManager;
using passel::DynamicProxy;
using passel::Errc;
using passel::Future;
using passel::IteratorProxy;
using passel::Process;
using passel::Proxy;
using passel::Result;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Page {
  [[nodiscard]] int number() const { return n; }
  std::string write(const std::string& more) { return text += more; }
  int n = 0;
  std::string text{};
};

/// Gives squares one by one, and fails at a place.
struct Squares {
  std::optional<int> next() {
    ++at;
    if (at == bad) throw std::out_of_range{"no square of " + std::to_string(at)};
    if (at > last) return std::nullopt;
    return at * at;
  }
  int last = 0;
  int bad = 0;
  int at = 0;
};

/// A value that may have no copy.
struct Secret {
  int number = 0;
};

/// Gives lines of so many letters without an end.
struct Endless {
  std::optional<std::string> next() { return std::string(letters, 'x'); }
  std::size_t letters = 0;
};

struct Book {
  Page& page(int n) { return pages.at(static_cast<std::size_t>(n)); }
  [[nodiscard]] Page copy_of(int n) { return page(n); }
  std::unique_ptr<Page> tear_out(int n) {
    if (n > 1) return nullptr;
    return std::make_unique<Page>(pages[static_cast<std::size_t>(n)]);
  }
  Result<std::shared_ptr<Page>> find(const std::string& text) {
    if (text != "new") return passel::Error{Errc::not_found, "no page has '" + text + "'"};
    return found;
  }
  Future<std::shared_ptr<Page>> print() {
    return Future<std::shared_ptr<Page>>::of(std::make_shared<Page>(Page{7, "printed"}));
  }
  [[nodiscard]] std::vector<std::string> lines() const { return {"one", "two", "three"}; }
  [[nodiscard]] auto numbers() const { return std::views::iota(0, 5); }
  [[nodiscard]] std::deque<Secret> secrets() const { return {{1}, {2}, {-1}, {4}}; }
  [[nodiscard]] Endless endless(std::size_t letters) const { return {letters}; }
  [[nodiscard]] std::deque<Secret> many(std::size_t count) const {
    return std::deque<Secret>(count, Secret{1});
  }
  [[nodiscard]] Future<Secret> worst() const { return Future<Secret>::of(Secret{-2}); }
  [[nodiscard]] Squares squares(int last, int bad) const { return {last, bad}; }

  std::array<Page, 2> pages{Page{0, "first"}, Page{1, "second"}};
  std::shared_ptr<Page> found = std::make_shared<Page>(Page{9, "new"});
};

}  // namespace

template <>
struct passel::codec<Secret> {
  static WireValue encode(const Secret& secret) {
    if (secret.number < 0) throw std::invalid_argument{"not for others"};
    return WireValue{secret.number};
  }
  static Result<Secret> decode(const WireValue& value) {
    return Secret{static_cast<int>(value.as_int64().value_or(0))};
  }
};

namespace {

constexpr auto page = passel::hosted_result<"Page", &Book::page, &Page::number, &Page::write>;
constexpr auto copy_of = passel::hosted_result<"Page", &Book::copy_of, &Page::write>;
constexpr auto tear_out =
    passel::hosted_result<"Page", passel::exposed<"tear", &Book::tear_out>, &Page::number>;
constexpr auto find = passel::hosted_result<"Page", &Book::find, &Page::number>;
constexpr auto print = passel::hosted_result<"Page", &Book::print, &Page::number>;
constexpr auto lines = passel::iterated<&Book::lines>;
constexpr auto numbers = passel::iterated<&Book::numbers>;
constexpr auto squares = passel::iterated<&Book::squares>;
constexpr auto secrets = passel::iterated<&Book::secrets>;
constexpr auto endless = passel::iterated<&Book::endless>;
constexpr auto many = passel::iterated<&Book::many>;

/// A proxy with a face of its own; it travels as others do. (CPython: a proxytype)
struct BookProxy : Proxy<Book> {
  using Proxy::Proxy;
  [[nodiscard]] Result<std::string> stamp(int n) const {
    PASSEL_TRY(auto stamped, call<page>(n));
    return stamped.call<&Page::write>(" (stamped)");
  }
};

class HostedResult : public ::testing::Test {
 protected:
  HostedResult() {
    manager
        .register_type<Book, page, copy_of, tear_out, find, print, lines, numbers, squares, secrets,
                       endless, many, &Book::worst>("Book")
        .unwrap();
    manager.start().unwrap();
    book = manager.create<Book>("Book").unwrap();
  }
  BaseManager manager;
  Proxy<Book> book;
};

// CPython: _TestMyManager.test_mymanager (method_to_typeid)
TEST_F(HostedResult, IsAnObjectOfItsOwn) {
  const Proxy<Page> first = book.call<page>(0).unwrap();
  EXPECT_EQ(first.type(), "Page");
  EXPECT_EQ(first.call<&Page::number>().unwrap(), 0);
  EXPECT_EQ(first.call<&Page::write>("!").unwrap(), "first!");
  EXPECT_THAT(first.methods().unwrap(), ElementsAre("number", "write"));
  const auto again = book.call<page>(0).unwrap();
  EXPECT_EQ(again, first);
  EXPECT_FALSE(again == book.call<page>(1).unwrap());
  EXPECT_EQ(again.call<&Page::write>("?").unwrap(), "first!?");
  // By its name, without the class.
  const auto second = book.call<DynamicProxy>("page", 1).unwrap();
  EXPECT_EQ(second.call<int>("number").unwrap(), 1);
}

TEST_F(HostedResult, ComesByValueByPointerAndLater) {
  const auto copied = book.call<copy_of>(0).unwrap();
  EXPECT_EQ(copied.call<&Page::write>("?").unwrap(), "first?");
  EXPECT_EQ(book.call<page>(0).unwrap().call<&Page::write>("").unwrap(), "first");
  EXPECT_EQ(book.call<tear_out>(1).unwrap().call<&Page::number>().unwrap(), 1);
  EXPECT_FALSE(book.call<tear_out>(2).unwrap().valid());
  const auto found = book.call<find>("new").unwrap();
  EXPECT_EQ(found, book.call<find>("new").unwrap());
  EXPECT_EQ(found.call<&Page::number>().unwrap(), 9);
  EXPECT_EQ(book.call<find>("old").error(), Errc::not_found);
  EXPECT_EQ(book.call_async<print>().get().unwrap().call<&Page::number>().unwrap(), 7);
  EXPECT_EQ(book.call<page>(5).error(), Errc::task_failed);
}

TEST_F(HostedResult, LivesAsLongAsItsProxyAndKeepsItsOwner) {
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
  std::optional<Proxy<Page>> first = book.call<page>(0).unwrap();
  EXPECT_EQ(manager.number_of_objects().unwrap(), 2U);
  book = {};
  EXPECT_EQ(manager.number_of_objects().unwrap(), 1U);
  EXPECT_EQ(first->call<&Page::write>("").unwrap(), "first");
  first.reset();
  EXPECT_EQ(manager.number_of_objects().unwrap(), 0U);
}

// CPython: _TestMyManager.test_mymanager (an iterator proxy); MGR-36
TEST_F(HostedResult, IsGoneThroughItemByItem) {
  const IteratorProxy<std::string> some = book.call<lines>().unwrap();
  EXPECT_EQ(**some.next(), "one");
  const auto same = some;  // goes on where the other one is
  EXPECT_EQ(**same.next_for(1h), "two");
  EXPECT_EQ(**some.next(), "three");
  EXPECT_FALSE(some.next().has_value());
  EXPECT_FALSE(same.next().has_value());
  std::vector<int> all;
  for (Result<int>& number : book.call<numbers>().unwrap()) all.push_back(*number);
  EXPECT_THAT(all, ElementsAre(0, 1, 2, 3, 4));
  const auto few = book.call<numbers>().unwrap();
  EXPECT_THAT(few.next_some(3).unwrap(), ElementsAre(0, 1, 2));
  EXPECT_THAT(few.next_some(3).unwrap(), ElementsAre(3, 4));
  EXPECT_THAT(few.next_some(3).unwrap(), ElementsAre());
}

TEST_F(HostedResult, AnItemThatThrowsIsAnErrorAndTheNextOneFollows) {
  const auto some = book.call<squares>(4, 3).unwrap();
  EXPECT_EQ(**some.next(), 1);
  EXPECT_EQ(**some.next(), 4);
  const auto bad = some.next();
  EXPECT_EQ(bad->error(), Errc::task_failed);
  EXPECT_THAT(bad->error().what(), HasSubstr("no square of 3"));
  EXPECT_EQ(**some.next(), 16);
  EXPECT_FALSE(some.next().has_value());

  const auto batch = book.call<squares>(4, 3).unwrap();
  EXPECT_THAT(batch.next_some(9).unwrap(), ElementsAre(1, 4));
  EXPECT_EQ(batch.next_some(9).error(), Errc::task_failed);
  EXPECT_THAT(batch.next_some(9).unwrap(), ElementsAre(16));
  int count = 0;
  bool failed = false;
  for (const auto& item : book.call<squares>(4, 3).unwrap()) {
    ++count;
    failed = item.is_err();
  }
  EXPECT_EQ(count, 3);
  EXPECT_TRUE(failed);
}

TEST_F(HostedResult, AnItemThatCannotBeSentIsAnErrorAndTheNextOneFollows) {
  const auto some = book.call<secrets>().unwrap();
  EXPECT_EQ((*some.next())->number, 1);
  EXPECT_EQ((*some.next())->number, 2);
  const auto bad = some.next();
  ASSERT_TRUE(bad->is_err());
  EXPECT_EQ(bad->error(), Errc::task_failed);
  EXPECT_THAT(bad->error().what(), HasSubstr("not for others"));
  EXPECT_EQ((*some.next())->number, 4);

  const auto batch = book.call<secrets>().unwrap();
  EXPECT_EQ(batch.next_some(9).unwrap().size(), 2U);
  EXPECT_EQ(batch.next_some(9).error(), Errc::task_failed);
  EXPECT_EQ(batch.next_some(9).unwrap().front().number, 4);
  const auto worst = book.call<&Book::worst>();
  ASSERT_TRUE(worst.is_err());
  EXPECT_THAT(worst.error().what(), HasSubstr("not for others"));
}

TEST_F(HostedResult, Fault47OneCallTakesNoMoreOfWhatHasNoEndThanAnAnswerHolds) {
  constexpr auto all = std::size_t(-1);
  constexpr std::size_t batch = std::size_t{16} << 20;
  const auto lines_of = [&](std::size_t letters) {
    return book.call<endless>(letters).unwrap().next_some(all).unwrap();
  };
  EXPECT_LT(lines_of(0).size(), batch);
  const auto some = lines_of(1000).size();
  EXPECT_LE(some * 1000, batch);
  EXPECT_GT(some * 1000, batch / 2);
  EXPECT_EQ(lines_of(batch).size(), 1U);
  // What did not fit comes next.
  constexpr std::size_t count = 500'000;
  const auto rest = book.call<many>(count).unwrap();
  std::size_t seen = 0;
  int calls = 0;
  for (std::size_t got = 1; got != 0; ++calls) {
    got = rest.next_some(all).unwrap().size();
    seen += got;
  }
  EXPECT_EQ(seen, count);
  EXPECT_GT(calls, 2);
}

TEST_F(HostedResult, AnIterationOfADeadManagerEnds) {
  const auto some = book.call<numbers>().unwrap();
  manager.shutdown().unwrap();
  int count = 0;
  for (const auto& item : some) {
    EXPECT_EQ(item.error(), Errc::peer_lost);
    ++count;
  }
  EXPECT_EQ(count, 1);
}

void stamp_in_child(const BookProxy& book) { book.stamp(1).unwrap(); }

TEST_F(HostedResult, AProxyOfAClassOfOnesOwnTravels) {
  const BookProxy mine{book};
  EXPECT_EQ(mine.stamp(0).unwrap(), "first (stamped)");
  EXPECT_EQ(Process::spawn<stamp_in_child>(mine).unwrap().join().unwrap(), 0);
  EXPECT_EQ(mine.call<page>(1).unwrap().call<&Page::write>("").unwrap(), "second (stamped)");
}

// D-20: proxies compare and hash by their object.
TEST_F(HostedResult, ProxiesAreKeysByTheirObject) {
  std::unordered_set<DynamicProxy> seen;
  EXPECT_TRUE(seen.insert(book).second);
  EXPECT_TRUE(seen.insert(book.call<page>(0).unwrap()).second);
  EXPECT_FALSE(seen.insert(book.call<page>(0).unwrap()).second);
  EXPECT_TRUE(seen.insert(book.call<page>(1).unwrap()).second);
  EXPECT_TRUE(seen.insert(DynamicProxy{}).second);
  EXPECT_EQ(seen.size(), 4U);
}

}  // namespace
