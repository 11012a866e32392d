// Lists in shared memory: Python's tests of ShareableList.
#include <passel/process.hpp>
#include <passel/shareable_list.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>
#include <cstring>
#include <numeric>

#include "support/process_census.hpp"

namespace {

using passel::Errc;
using passel::Process;
using passel::ShareableList;
using passel::SharedMemory;
using passel::WireValue;
using ::testing::HasSubstr;
namespace detail = passel::detail;

WireValue bytes(std::string_view text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return WireValue::Bytes(first, first + text.size());
}

WireValue::Items items_of(const ShareableList& list) { return {list.begin(), list.end()}; }

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// _TestSharedMemory.test_shared_memory_ShareableList_basics, here and in the next four
class List : public ::testing::Test {
 protected:
  const WireValue::Items given{"howdy", bytes("HoWdY"), -273.154, 100, nullptr, true, 42};
  ShareableList list = ShareableList::create(given).unwrap();
};

TEST_F(List, HasLengthItemsAndText) {
  EXPECT_EQ(list.size(), 7U);
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(list.get(0).unwrap(), "howdy");
  EXPECT_EQ(list.get(-2).unwrap(), true);
  EXPECT_EQ(list.get(-7).unwrap(), "howdy");
  EXPECT_EQ(list.get<int>(3).unwrap(), 100);
  EXPECT_EQ(list.get<double>(2).unwrap(), -273.154);
  EXPECT_EQ(list.get<std::string>(3).error(), Errc::type_mismatch);
  EXPECT_EQ(items_of(list), given);
  EXPECT_EQ(list.to_string(),
            "ShareableList(['howdy', b'HoWdY', -273.154, 100, None, True, 42], name='" +
                list.shm().name() + "')");
}

TEST_F(List, IndicesAreChecked) {
  for (const std::ptrdiff_t index : {7, -8, 1000}) {
    EXPECT_EQ(list.get(index).error(), Errc::invalid_argument);
    EXPECT_THAT(list.get(index).error().what(),
                HasSubstr("index " + std::to_string(index) + " out of range of a list of 7 items"));
    const auto set = list.set(index, 2);
    ASSERT_TRUE(set.is_err());
    EXPECT_THAT(set.error().what(), HasSubstr("assignment index"));
  }
  EXPECT_EQ(items_of(list), given);
}

TEST_F(List, CountsAndFinds) {
  list.set(3, 42).unwrap();
  EXPECT_EQ(list.count(42), 2U);
  EXPECT_EQ(list.count(bytes("HoWdY")), 1U);
  EXPECT_EQ(list.count(bytes("adios")), 0U);
  EXPECT_EQ(list.index(42).unwrap(), 3U);
  const auto none = list.index("100");
  ASSERT_TRUE(none.is_err());
  EXPECT_EQ(none.error(), Errc::not_found);
  EXPECT_THAT(none.error().what(), HasSubstr("'100'"));
}

TEST_F(List, AnItemChangesItsTypeWithinItsStorage) {
  const auto too_long = [this](std::ptrdiff_t index, const WireValue& value) {
    const WireValue before = list.get(index).unwrap();
    const auto set = list.set(index, value);
    ASSERT_TRUE(set.is_err());
    EXPECT_EQ(set.error(), Errc::too_large);
    EXPECT_THAT(set.error().what(), HasSubstr("9 bytes exceeds available storage of 8 bytes"));
    EXPECT_EQ(list.get(index).unwrap(), before);
  };
  list.set(4, "some").unwrap();
  EXPECT_EQ(list.get(4).unwrap(), "some");
  too_long(4, "far2 many");
  list.set(0, "encod\u00e9s").unwrap();  // 8 bytes of UTF-8
  EXPECT_EQ(list.get(0).unwrap(), "encod\u00e9s");
  EXPECT_EQ(list.get(1).unwrap(), bytes("HoWdY"));  // nothing spilled over
  too_long(0, "encod\u00e9es");                     // 9 bytes of UTF-8
  too_long(1, bytes("123456789"));
  list.set(0, 2.5).unwrap();
  list.set(1, nullptr).unwrap();
  list.set(2, false).unwrap();
  list.set(5, bytes("")).unwrap();
  const WireValue::Items now{2.5, nullptr, false, 100, "some", bytes(""), 42};
  EXPECT_EQ(items_of(list), now);
  list.set(0, "12345678").unwrap();  // its storage is what it was created with
  EXPECT_EQ(list.get(0).unwrap(), "12345678");
}

TEST_F(List, ACopyIsAListOfItsOwnAndAnAttachmentIsNot) {
  const std::string name = "passel_test_duplicate_" + std::to_string(::getpid());
  auto copy = ShareableList::create(list, name).unwrap();
  EXPECT_EQ(copy.shm().name(), name);
  EXPECT_EQ(items_of(copy), given);
  copy.set(-1, 77).unwrap();
  EXPECT_EQ(list.get(-1).unwrap(), 42);

  auto tethered = ShareableList::attach(list.shm().name()).unwrap();
  EXPECT_EQ(tethered.size(), 7U);
  tethered.set(-1, 880).unwrap();
  EXPECT_EQ(list.get(-1).unwrap(), 880);
  list.shm().close();
  EXPECT_EQ(list.get(0).error(), Errc::invalid_state);
  EXPECT_EQ(list.set(0, 1).error(), Errc::invalid_state);
  EXPECT_EQ(tethered.get(-1).unwrap(), 880);
}

TEST(ShareableList, MayBeEmpty) {
  auto list = ShareableList::create({}).unwrap();
  EXPECT_EQ(list.size(), 0U);
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.count("any"), 0U);
  EXPECT_EQ(list.index(nullptr).error(), Errc::not_found);
  EXPECT_EQ(list.get(0).error(), Errc::invalid_argument);
  EXPECT_EQ(ShareableList::attach(list.shm().name()).unwrap().size(), 0U);
}

TEST(ShareableList, KeepsWhatPythonLoses) {
  using namespace std::string_view_literals;
  const auto zeros = bytes("a\0\0"sv);
  const std::string wide = "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9";  // 7 characters, 14 bytes
  const auto list = ShareableList::create({zeros, wide, INT64_MIN, INT64_MAX}).unwrap();
  EXPECT_EQ(items_of(list), (WireValue::Items{zeros, wide, INT64_MIN, INT64_MAX}));
}

TEST(ShareableList, OtherKindsOfItemsAreRefused) {
  const auto nested = ShareableList::create({1, WireValue::list({})});
  ASSERT_TRUE(nested.is_err());
  EXPECT_EQ(nested.error(), Errc::type_mismatch);
  EXPECT_THAT(nested.error().what(), HasSubstr("not list"));
  EXPECT_EQ(ShareableList::create({UINT64_MAX}).error(), Errc::invalid_argument);
  auto list = ShareableList::create({1}).unwrap();
  EXPECT_EQ(list.set(0, UINT64_MAX).error(), Errc::invalid_argument);
  EXPECT_EQ(list.set(0, WireValue::tuple({1})).error(), Errc::type_mismatch);
  EXPECT_EQ(list.get(0).unwrap(), 1);
}

void change(ShareableList list, const std::string& name) {
  list.set(4, "changed").unwrap();
  ShareableList::attach(name).unwrap().set(3, "newvalue").unwrap();
}

// _TestSharedMemory.test_shared_memory_ShareableList_pickling
TEST(ShareableList, TravelsAsItsMemoryWhateverItsLength) {
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = passel_test::ProcessCensus::take();
  {
    // Names of one length: they are in what travels.
    const std::string pid = std::to_string(::getpid());
    auto list = ShareableList::create(numbers(10), "short-" + pid).unwrap();
    const auto encoded = detail::encode(list).unwrap();
    auto same = detail::decode<ShareableList>(encoded.bytes, encoded.descriptors).unwrap();
    EXPECT_EQ(same.get(-1).unwrap(), 9);
    auto p = Process::spawn<change>(same, list.shm().name()).unwrap();
    EXPECT_EQ(p.join().unwrap(), 0);
    EXPECT_EQ(list.get(4).unwrap(), "changed");
    EXPECT_EQ(list.get(3).unwrap(), "newvalue");

    const auto larger = ShareableList::create(numbers(400), "large-" + pid).unwrap();
    EXPECT_EQ(detail::encode(larger).unwrap().bytes.size(), encoded.bytes.size());
    EXPECT_EQ(passel::from_value<SharedMemory>(passel::to_value(list)).error(),
              Errc::type_mismatch);
  }
  EXPECT_EQ(passel_test::ProcessCensus::settle(before), "");
}

// _TestSharedMemory.test_shared_memory_ShareableList_pickling_dead_object
TEST(ShareableList, NobodyNewGetsInAfterUnlink) {
  auto list = ShareableList::create(numbers(10)).unwrap();
  const auto encoded = detail::encode(list).unwrap();
  list.shm().close();
  list.shm().unlink().unwrap();
  const auto dead = detail::decode<ShareableList>(encoded.bytes, encoded.descriptors);
  ASSERT_TRUE(dead.is_err());
  EXPECT_EQ(dead.error(), Errc::not_found);
}

TEST(ShareableList, MemoryThatHoldsNoListIsMalformed) {
  auto memory = SharedMemory::create(200).unwrap();
  EXPECT_EQ(ShareableList::attach(memory.name()).error(), Errc::malformed);
  auto tiny = SharedMemory::create(1).unwrap();
  EXPECT_EQ(ShareableList::attach(tiny.name()).error(), Errc::malformed);
  // A list whose entries point outside.
  auto list = ShareableList::create(numbers(3)).unwrap();
  const auto word = [&list](std::size_t index, std::uint64_t value) {
    std::memcpy(list.shm().buf().data() + index * 8, &value, sizeof value);
  };
  word(2 + 3, 1U << 30);  // the second item's offset
  EXPECT_EQ(ShareableList::attach(list.shm().name()).error(), Errc::malformed);
  EXPECT_EQ(list.get(1).unwrap(), 1) << "who had it open keeps to what it was";
  word(2 + 2, 5 | 4096U << 8);  // the first item: a str of 4096 bytes
  EXPECT_EQ(list.get(0).error(), Errc::malformed);
  word(1, UINT64_MAX / 24);  // the length
  EXPECT_EQ(ShareableList::attach(list.shm().name()).error(), Errc::malformed);
}

}  // namespace
