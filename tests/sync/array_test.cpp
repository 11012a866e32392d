// Arrays in shared memory: Python's tests of Array and sharedctypes.
#include <passel/array.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <csignal>
#include <numeric>
#include <random>
#include <vector>

#include "support/process_census.hpp"
#include "support/seed.hpp"

namespace {

using passel::Array;
using passel::Errc;
using passel::Lock;
using passel::Process;
using passel::Queue;
using passel::RawArray;
using passel::RLock;
using passel_test::ProcessCensus;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

template <class Sequence>
void add_up(const Sequence& sequence) {
  for (std::size_t i = 1; i < sequence.size(); ++i) sequence[i] += sequence[i - 1];
}
template <class A>
void add_up_there(const A& array) {
  add_up(array);
}

// _TestArray.test_array, test_rawarray
template <class A>
void array_is_a_sequence() {
  std::vector<int> sequence{680, 626, 934, 821, 150, 233, 548, 982, 714, 831};
  const A array(sequence);
  EXPECT_EQ(array.size(), sequence.size());
  EXPECT_EQ(array.at(3).unwrap(), sequence[3]);
  EXPECT_EQ(array.at(-1).unwrap(), 831);
  EXPECT_EQ(array.slice(2, 7).unwrap(), (std::vector<int>{934, 821, 150, 233, 548}));
  array.assign(4, 8, {1, 2, 3, 4}).unwrap();
  std::iota(sequence.begin() + 4, sequence.begin() + 8, 1);
  EXPECT_EQ(array.values(), sequence);
  EXPECT_EQ((std::vector<int>{array.begin(), array.end()}), sequence);
  std::partial_sum(sequence.begin(), sequence.end(), sequence.begin());
  auto p = Process::spawn<add_up_there<A>>(array).unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(array.values(), sequence);
}

TEST(SharedArray, IsASequence) { array_is_a_sequence<Array<int>>(); }
TEST(SharedArray, WithoutALockItIsASequence) { array_is_a_sequence<RawArray<int>>(); }

// _TestArray.test_array_from_size
TEST(SharedArray, OfASizeItIsZero) {
  for (const int size : {10, 100'000}) {
    for (int round = 0; round < 3; ++round) {
      const Array<int> array(size);
      EXPECT_EQ(array.size(), static_cast<std::size_t>(size));
      EXPECT_THAT(array.values(), Each(0));
      array.assign(0, size, numbers(size)).unwrap();
      EXPECT_EQ(array.values(), numbers(size));
    }
  }
  EXPECT_TRUE(Array<int>(0).empty());
  EXPECT_TRUE(Array<int>(0).values().empty());
  EXPECT_EQ((Array<int>{10}).values(), std::vector<int>{10});
}

TEST(SharedArray, ANegativeOrEndlessSizeIsAnError) {
  const auto negative = Array<int>::create(-1);
  ASSERT_TRUE(negative.is_err());
  EXPECT_EQ(negative.error(), Errc::invalid_argument);
  EXPECT_THAT(negative.error().what(), HasSubstr("not -1"));
  EXPECT_THROW(Array<int>(-10), passel::Exception);
  EXPECT_EQ(RawArray<double>::create(PTRDIFF_MAX).error(), Errc::no_space);
}

TEST(SharedArray, IndicesAndSlicesAreThoseOfPython) {
  const Array<int> array{0, 1, 2, 3, 4};
  for (const std::ptrdiff_t index : {5, -6, 1000}) {
    EXPECT_EQ(array.at(index).error(), Errc::invalid_argument);
    EXPECT_THAT(array.at(index).error().what(), HasSubstr("out of range of 5 items"));
    EXPECT_EQ(array.set(index, 1).error(), Errc::invalid_argument);
  }
  array.set(-5, 7).unwrap();
  EXPECT_EQ(array[0], 7);
  EXPECT_THAT(array.slice(-2, 100).unwrap(), ElementsAre(3, 4));
  EXPECT_THAT(array.slice(0, 5, 2).unwrap(), ElementsAre(7, 2, 4));
  EXPECT_THAT(array.slice(-1, -6, -1).unwrap(), ElementsAre(4, 3, 2, 1, 7));
  EXPECT_THAT(array.slice(4, 0, -3).unwrap(), ElementsAre(4, 1));
  EXPECT_TRUE(array.slice(3, 2).unwrap().empty());
  EXPECT_TRUE(array.slice(100, 200).unwrap().empty());
  EXPECT_EQ(array.slice(0, 5, 0).error(), Errc::invalid_argument);
  const auto shorter = array.assign(1, 3, {9});
  ASSERT_TRUE(shorter.is_err());
  EXPECT_EQ(shorter.error(), Errc::invalid_argument);
  EXPECT_THAT(shorter.error().what(), HasSubstr("1 items for a slice of 2"));
  EXPECT_EQ(array.assign(3, 1, {9}).error(), Errc::invalid_argument);
  EXPECT_THAT(array.values(), ElementsAre(7, 1, 2, 3, 4));
  array.assign(-2, 5, {8, 9}).unwrap();
  EXPECT_THAT(array.values(), ElementsAre(7, 1, 2, 8, 9));
}

template <class A>
concept HasLock = requires(const A& array) {
  array.get_lock();
  array.get_obj();
};

// _TestArray.test_getobj_getlock_obj
TEST(SharedArray, HasALockOfItsOwnAGivenOneOrNone) {
  const Array<int> own(numbers(10));
  EXPECT_EQ(own.get_obj().values(), numbers(10));
  static_assert(std::is_same_v<decltype(own.get_lock()), const RLock&>);
  const Lock lock;
  const Array<int, Lock> given(numbers(10), lock);
  EXPECT_TRUE(given.get_lock() == lock);
  {
    const auto guard = own.acquire().unwrap();
    EXPECT_EQ(own.values(), numbers(10));  // re-entrant
    const auto held = given.acquire().unwrap();
    EXPECT_TRUE(lock.locked());
    EXPECT_EQ(given.try_acquire().error(), Errc::timeout);
  }
  static_assert(HasLock<Array<int>> && !HasLock<RawArray<int>>);
  EXPECT_TRUE(own == (Array<int>{own}));
  EXPECT_FALSE(own == (Array<int>{1}));
}

void double_all(const Array<double>& array, const Array<char>& text) {
  const auto guard = array.acquire().unwrap();
  for (double& x : array) x *= 2;
  text.set_value(text.value() + text.value()).unwrap();
}

// _TestSharedCTypes.test_sharedctypes, test_synchronize
TEST(SharedArray, NumbersAndTextsAreDoubledElsewhere) {
  const Array<double> array(numbers(10));
  const Array<char> text(20);
  text.set_value("hello").unwrap();
  auto p = Process::spawn<double_all>(array, text).unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  for (int i = 0; i < 10; ++i) EXPECT_DOUBLE_EQ(array.at(i).unwrap(), i * 2.0);
  EXPECT_EQ(text.value(), "hellohello");
}

TEST(SharedArray, OfCharactersItHasAValueAndRawBytes) {
  using namespace std::string_literals;
  const Array<char> text(8);
  EXPECT_EQ(text.value(), "");
  EXPECT_EQ(text.raw(), std::string(8, '\0'));
  text.set_value("abcdef").unwrap();
  text.set_value("xy").unwrap();
  EXPECT_EQ(text.value(), "xy");
  EXPECT_EQ(text.raw(), "xy\0def\0\0"s);
  text.set_raw("\0\1"s).unwrap();
  EXPECT_EQ(text.raw(), "\0\1\0def\0\0"s);
  text.set_value("12345678").unwrap();
  EXPECT_EQ(text.value(), "12345678");
  const auto longer = text.set_value("123456789");
  ASSERT_TRUE(longer.is_err());
  EXPECT_EQ(longer.error(), Errc::invalid_argument);
  EXPECT_THAT(longer.error().what(), HasSubstr("9 bytes for an Array of 8"));
  EXPECT_EQ(text.set_raw("123456789").error(), Errc::invalid_argument);
  EXPECT_EQ((Array<char>{'a', 'b'}).value(), "ab");
}

// _TestSharedCTypes.test_copy; synchronized
TEST(SharedArray, IsCopiedAndGivenALock) {
  const RawArray<int> raw(numbers(3));
  const auto copy = raw.copy().unwrap();
  const auto locked = passel::synchronized(raw);
  const Lock lock;
  const auto given = passel::synchronized(raw, lock);
  locked.set(0, 9).unwrap();
  EXPECT_THAT(raw.values(), ElementsAre(9, 1, 2));
  EXPECT_THAT(given.values(), ElementsAre(9, 1, 2));
  EXPECT_THAT(copy.values(), ElementsAre(0, 1, 2));
}

struct Point {
  double x = 0;
  double y = 0;
};

void move_points(const Array<Point>& points) {
  const auto guard = points.acquire().unwrap();
  for (Point& point : points) point.x += point.y;
}

TEST(SharedArray, OfStructsAndLargeOnesGoToOtherProcesses) {
  const Array<Point> points{{1, 2}, {3, 4}};
  auto p = Process::spawn<move_points>(points).unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(points.at(1).unwrap().x, 7);

  const RawArray<int> large(1'000'000);  // a descriptor of its own
  auto q = Process::spawn([](const RawArray<int>& a) { a[a.size() - 1] = 5; }, large).unwrap();
  EXPECT_EQ(q.join().unwrap(), 0);
  EXPECT_EQ(large.at(-1).unwrap(), 5);
}

// "Value and Array only for Process"
TEST(SharedArray, CannotGoThroughAQueue) {
  Queue<Array<int>> small;
  EXPECT_EQ(small.put(Array<int>(3)).error(), Errc::invalid_state);
  Queue<RawArray<int>> large;
  EXPECT_EQ(large.put(RawArray<int>(100'000)).error(), Errc::invalid_state);
  const auto encoded = passel::to_value(RawArray<int>(4));
  EXPECT_EQ(passel::from_value<RawArray<double>>(encoded).error(), Errc::type_mismatch);
  EXPECT_TRUE(passel::from_value<RawArray<int>>(encoded).is_ok());
  const auto longer = passel::WireValue::tuple({encoded.items()->at(0), 1'000'000});
  EXPECT_EQ(passel::from_value<RawArray<int>>(longer).error(), Errc::malformed);
}

void die_with_the_lock(const Array<int>& array, const Queue<int>& ready) {
  const auto guard = array.acquire().unwrap();
  array[0] = 1;
  ready.put(1).unwrap();
  for (;;) ::pause();
}

TEST(SharedArray, TheNextHolderIsToldOfADeath) {
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = ProcessCensus::take();
  for (const int size : {10, 100'000}) {
    const Array<int> array(size);
    Queue<int> ready;
    auto victim = Process::spawn<die_with_the_lock>(array, ready).unwrap();
    ready.get().unwrap();
    victim.kill().unwrap();
    EXPECT_EQ(victim.join().unwrap(), -SIGKILL);
    const auto guard = array.acquire().unwrap();
    EXPECT_TRUE(guard.abandoned());
    EXPECT_EQ(array[0], 1);
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

// _TestHeap.test_heap with blocks of all sizes
TEST(SharedArray, AllBlocksAreGivenBack) {
  std::mt19937_64 random{passel_test::seed()};
  std::lognormal_distribution<double> sizes{0, 1};
  const auto before = ProcessCensus::take();
  {
    std::vector<RawArray<char>> held;
    for (unsigned n = 0; n < passel_test::rounds(2000); ++n) {
      const auto size = static_cast<std::ptrdiff_t>(sizes(random) * 3000);
      held.emplace_back(size);
      EXPECT_EQ(held.back().raw(), std::string(held.back().size(), '\0'));
      std::fill(held.back().begin(), held.back().end(), 'x');
      if (held.size() > 50) held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % 50));
    }
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

}  // namespace
