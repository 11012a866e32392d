// Values in shared memory: Python's tests of Value and sharedctypes, and what kills and rivals do
// to them.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/value.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <csignal>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <thread>
#include <type_traits>

#include "support/process_census.hpp"
#include "support/seed.hpp"

namespace {

using passel::Errc;
using passel::Lock;
using passel::Process;
using passel::Queue;
using passel::RawValue;
using passel::RLock;
using passel::typecode;
using passel::Value;
using passel_test::ProcessCensus;
using ::testing::HasSubstr;

void sleep_for_ever() {
  for (;;) ::pause();
}

/// Three words: more than a processor writes in one piece.
struct Foo {
  int x = 0;
  double y = 0;
  std::int64_t z = 0;
  bool operator==(const Foo&) const = default;
};

template <template <class> class V>
void set_all(const V<int>& i, const V<double>& d, const V<short>& h, const V<long long>& q,
             const V<char>& c) {
  i.set_value(24234);
  d.set_value(-4.25);
  h.set_value(234);
  q.set_value(std::int64_t{1} << 34);
  c.set_value('y');
}

template <class T>
using Synchronized = Value<T>;

// _TestValue.test_value, test_rawvalue
template <template <class> class V>
void values_change_in_another_process() {
  const V<int> i{4343};
  const V<double> d{3.625};
  const V<short> h{-232};
  const V<long long> q{std::int64_t{1} << 33};
  const V<char> c{'x'};
  EXPECT_EQ(i.value(), 4343);
  EXPECT_EQ(d.value(), 3.625);
  EXPECT_EQ(h.value(), -232);
  EXPECT_EQ(q.value(), std::int64_t{1} << 33);
  EXPECT_EQ(c.value(), 'x');
  auto p = Process::spawn<set_all<V>>(i, d, h, q, c).unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(i.value(), 24234);
  EXPECT_EQ(d.value(), -4.25);
  EXPECT_EQ(h.value(), 234);
  EXPECT_EQ(q.value(), std::int64_t{1} << 34);
  EXPECT_EQ(c.value(), 'y');
}

TEST(SharedValue, ChangesInAnotherProcess) { values_change_in_another_process<Synchronized>(); }
TEST(SharedValue, WithoutALockItChangesInAnotherProcess) {
  values_change_in_another_process<RawValue>();
}

TEST(SharedValue, IsZeroToBeginWithAlsoInUsedMemory) {
  for (int round = 0; round < 100; ++round) {
    Value<long> value;
    EXPECT_EQ(value.value(), 0);
    value.set_value(-1);
    EXPECT_EQ(Value<Foo>{}.value(), Foo{});
  }
}

TEST(SharedValue, TypeCodesAreTheTypesOfC) {
  static_assert(std::is_same_v<typecode<'c'>, char>);
  static_assert(std::is_same_v<typecode<'b'>, signed char>);
  static_assert(std::is_same_v<typecode<'B'>, unsigned char>);
  static_assert(std::is_same_v<typecode<'u'>, wchar_t>);
  static_assert(std::is_same_v<typecode<'h'>, short>);
  static_assert(std::is_same_v<typecode<'H'>, unsigned short>);
  static_assert(std::is_same_v<typecode<'i'>, int>);
  static_assert(std::is_same_v<typecode<'I'>, unsigned>);
  static_assert(std::is_same_v<typecode<'l'>, long>);
  static_assert(std::is_same_v<typecode<'L'>, unsigned long>);
  static_assert(std::is_same_v<typecode<'q'>, long long>);
  static_assert(std::is_same_v<typecode<'Q'>, unsigned long long>);
  static_assert(std::is_same_v<typecode<'f'>, float>);
  static_assert(std::is_same_v<typecode<'d'>, double>);
  // Integers wrap around.
  EXPECT_EQ(RawValue<typecode<'B'>>{200}.add(100), 44);
  EXPECT_EQ(RawValue<typecode<'b'>>{127}.add(1), -128);
  EXPECT_EQ(RawValue<int>{std::numeric_limits<int>::max()}.add(1), std::numeric_limits<int>::min());
  EXPECT_EQ(RawValue<typecode<'H'>>{0}.add(static_cast<unsigned short>(-1)), 65535);
}

template <class V>
concept HasLock = requires(const V& value) {
  value.get_lock();
  value.get_obj();
};

// _TestValue.test_getobj_getlock; a lock that is none does not compile: ValueLock.
TEST(SharedValue, HasALockOfItsOwnAGivenOneOrNone) {
  const Value<int> own{5};
  EXPECT_EQ(own.get_obj().value(), 5);
  static_assert(std::is_same_v<decltype(own.get_lock()), const RLock&>);
  const Lock lock;
  const Value<int, Lock> given{5, lock};
  EXPECT_TRUE(given.get_lock() == lock);
  const Value deduced{7, RLock{}};
  EXPECT_EQ(deduced.value(), 7);
  static_assert(HasLock<Value<int>> && HasLock<Value<int, Lock>> && !HasLock<RawValue<int>>);
  static_assert(!passel::ValueLock<int> && !passel::ValueLock<passel::Guard>);
  EXPECT_FALSE(own == (Value<int>{5}));
  EXPECT_TRUE(own == (Value<int>{own}));
}

TEST(SharedValue, WhoHoldsTheLockHasItToItself) {
  const Value<int> value{1};
  {
    const auto guard = value.acquire().unwrap();
    value.set_value(2);  // the lock is re-entrant
    std::thread other{[&value] {
      EXPECT_EQ(value.value(), 2);
      EXPECT_EQ(value.try_locked().error(), Errc::timeout);
      EXPECT_EQ(value.try_acquire().error(), Errc::timeout);
      EXPECT_EQ(value.locked_for(std::chrono::milliseconds{1}).error(), Errc::timeout);
      EXPECT_EQ(value.release().error(), Errc::invalid_state);
    }};
    other.join();
  }
  auto locked = value.locked().unwrap();
  *locked += 40;
  EXPECT_EQ(value.value(), 2) << "written back in one step, at the end";
  { const auto moved = std::move(locked); }
  EXPECT_EQ(value.value(), 42);
}

void double_all(const RawValue<int>& x, const RawValue<double>& y, const RawValue<long long>& z,
                const RawValue<Foo>& foo, const Value<Foo>& locked) {
  x.set_value(x.value() * 2);
  *y *= 2;
  *z *= 2;
  foo->x *= 2;
  foo->y *= 2;
  auto inside = locked.locked().unwrap();
  inside->x *= 2;
  inside->y *= 2;
}

// _TestSharedCTypes.test_sharedctypes, test_synchronize
TEST(SharedValue, StructsHaveFields) {
  const RawValue<int> x{7};
  const RawValue<double> y{1.0 / 3.0};
  const RawValue<long long> z{std::int64_t{1} << 33};
  const RawValue<Foo> foo{{3, 2, 0}};
  const Value<Foo> locked{{3, 2, 9}};
  auto p = Process::spawn<double_all>(x, y, z, foo, locked).unwrap();
  EXPECT_EQ(p.join().unwrap(), 0);
  EXPECT_EQ(x.value(), 14);
  EXPECT_DOUBLE_EQ(y.value(), 2.0 / 3.0);
  EXPECT_EQ(z.value(), std::int64_t{1} << 34);
  EXPECT_EQ(foo.value(), (Foo{6, 4, 0}));
  EXPECT_EQ(locked.value(), (Foo{6, 4, 9}));
  locked.set_value({1, 2, 3});
  EXPECT_EQ(locked.get_obj()->z, 3);
}

// _TestSharedCTypes.test_copy
TEST(SharedValue, ACopyIsIndependent) {
  const RawValue<Foo> foo{{2, 5.0, std::int64_t{1} << 33}};
  const auto bar = foo.copy().unwrap();
  foo.set_value({});
  EXPECT_EQ(bar.value(), (Foo{2, 5.0, std::int64_t{1} << 33}));
  EXPECT_FALSE(foo == bar);
}

template <class V>
concept CanBeSynchronized = requires(const V& value) {
  passel::synchronized(value);
};

TEST(SharedValue, ARawOneIsGivenALock) {
  const RawValue<int> raw{3};
  const Lock lock;
  const auto own = passel::synchronized(raw);
  const auto given = passel::synchronized(raw, lock);
  own.set_value(4);
  EXPECT_EQ(given.value(), 4);
  EXPECT_EQ(raw.value(), 4);
  EXPECT_TRUE(given.get_lock() == lock);
  static_assert(CanBeSynchronized<RawValue<int>> && !CanBeSynchronized<Value<int>>);
}

// "Value and Array only for Process"
TEST(SharedValue, CannotGoThroughAQueue) {
  Queue<Value<int>> queue;
  const Value<int> value{1};
  const auto put = queue.put(value);
  ASSERT_TRUE(put.is_err());
  EXPECT_EQ(put.error(), Errc::invalid_state) << put.error().to_string();
  EXPECT_EQ(passel::from_value<Value<int>>(passel::to_value(Value<double>{1})).error(),
            Errc::type_mismatch);
  EXPECT_EQ(passel::from_value<Value<int>>(passel::WireValue{1}).error(), Errc::type_mismatch);
}

TEST(SharedValue, ExchangesInOneStep) {
  const Value<int> value{5};
  EXPECT_EQ(value.exchange(6), 5);
  int expected = 5;
  EXPECT_FALSE(value.compare_exchange(expected, 7));
  EXPECT_EQ(expected, 6);
  EXPECT_TRUE(value.compare_exchange(expected, 7));
  EXPECT_EQ(value.value(), 7);
  EXPECT_EQ(value.add(-10), -3);
  EXPECT_EQ(Value<double>{0.5}.add(0.25), 0.75);
}

constexpr int steps = 2000;

void count_up(const Value<int>& locked, const Value<int>& scoped, const Value<int>& added,
              const RawValue<long>& raw, const RawValue<int>& started) {
  started.add(1);
  while (started.value() < 4) std::this_thread::yield();
  for (int i = 0; i < steps; ++i) {
    *locked.locked().unwrap() += 1;
    {
      const auto guard = scoped.get_lock().acquire().unwrap();
      scoped.set_value(scoped.value() + 1);
    }
    added.add(1);
    raw.add(1);
  }
}

// The lost updates of `value += 1`, and the three ways to have none.
TEST(SharedValue, CountsExactlyInManyProcesses) {
  const Value<int> locked;
  const Value<int> scoped;
  const Value<int> added;
  const RawValue<long> raw;
  const RawValue<int> started;
  std::vector<Process> all;
  for (int n = 0; n < 4; ++n)
    all.push_back(Process::spawn<count_up>(locked, scoped, added, raw, started).unwrap());
  for (Process& each : all) EXPECT_EQ(each.join().unwrap(), 0);
  EXPECT_EQ(locked.value(), 4 * steps);
  EXPECT_EQ(scoped.value(), 4 * steps);
  EXPECT_EQ(added.value(), 4 * steps);
  EXPECT_EQ(raw.value(), 4 * steps);
}

/// Two steps with another process's add in between: what `value += 1` does at a bad moment.
TEST(SharedValue, ReadingAndWritingAreTwoSteps) {
  const Value<int> value{0};
  const int seen = value.value();
  Process::spawn([](const Value<int>& v) { v.add(1); }, value).unwrap().join().unwrap();
  value.set_value(seen + 1);
  EXPECT_EQ(value.value(), 1) << "one update is lost";
}

void hold_half_done(const Value<Foo>& value, const Queue<int>& ready) {
  auto locked = value.locked().unwrap();
  locked->x = 99;
  ready.put(1).unwrap();
  sleep_for_ever();
}

TEST(SharedValue, AProcessKilledWithTheLockHasChangedNothing) {
  const Value<Foo> value{{1, 2, 3}};
  Queue<int> ready;
  auto victim = Process::spawn<hold_half_done>(value, ready).unwrap();
  ready.get().unwrap();
  EXPECT_EQ(value.try_locked().error(), Errc::timeout);
  victim.kill().unwrap();
  EXPECT_EQ(victim.join().unwrap(), -SIGKILL);
  auto locked = value.locked().unwrap();
  EXPECT_TRUE(locked.guard().abandoned());
  EXPECT_EQ(*locked, (Foo{1, 2, 3}));
}

void add_for_ever(const Value<long>& low, const RawValue<long>& high, const Queue<int>& ready) {
  ready.put(1).unwrap();
  for (;;) {
    *low.locked().unwrap() += 1;
    high.add(1L << 32);
  }
}

TEST(SharedValue, RandomKillsTearNothingAndBlockNobody) {
  std::mt19937_64 random{passel_test::seed()};
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = ProcessCensus::take();
  {
    const Value<long> low;
    const RawValue<long> high;
    Queue<int> ready;
    long at_least = 0;
    for (unsigned kill = 0; kill < passel_test::rounds(50); ++kill) {
      auto victim = Process::spawn<add_for_ever>(low, high, ready).unwrap();
      ready.get().unwrap();
      for (std::uint64_t spin = random() % 64; spin > 0; --spin) std::this_thread::yield();
      victim.kill().unwrap();
      victim.join().unwrap();
      EXPECT_EQ(high.value() & 0xffff'ffffL, 0);
      *low.locked().unwrap() += 1;
      EXPECT_GT(low.value(), at_least);
      at_least = low.value();
    }
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

// _TestHeap.test_heap: what is freed is used again, and one descriptor is enough for all.
TEST(SharedValue, MemoryIsUsedAgain) {
  const RawValue<int> first;
  const auto before = ProcessCensus::take();
  std::mt19937_64 random{passel_test::seed()};
  std::set<const int*> places;
  std::vector<RawValue<int>> held;
  for (unsigned n = 0; n < passel_test::rounds(5000); ++n) {
    held.emplace_back(static_cast<int>(n));
    places.insert(&*held.back());
    if (held.size() > 50) held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % 50));
  }
  EXPECT_LE(places.size(), 60U);
  EXPECT_EQ(ProcessCensus::take().descriptors.size(), before.descriptors.size());
  // From any thread, at any time.
  std::vector<std::thread> threads;
  for (int n = 0; n < 4; ++n) {
    threads.emplace_back([] {
      for (int i = 0; i < 500; ++i) EXPECT_EQ(RawValue<int>{i}.value(), i);
    });
  }
  for (std::thread& each : threads) each.join();
  held.clear();
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(Value, NumbersWrapAroundInTheirWidth) {
  // as ctypes, which checks no overflow
  const Value<std::uint8_t> small{250};
  EXPECT_EQ(small.add(10), 4);
  const Value<int> large{std::numeric_limits<int>::max()};
  large.add(1);
  EXPECT_EQ(large.value(), std::numeric_limits<int>::min());
}

}  // namespace
