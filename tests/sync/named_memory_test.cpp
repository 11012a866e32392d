// Shared memory with a name: Python's tests of SharedMemory, and what becomes of it when processes
// are killed.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/shared_memory.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "support/process_census.hpp"
#include "support/seed.hpp"

namespace {

using passel::Errc;
using passel::Process;
using passel::Queue;
using passel::SharedMemory;
using passel_test::ProcessCensus;
using ::testing::HasSubstr;
namespace detail = passel::detail;

void sleep_for_ever() {
  for (;;) ::pause();
}

/// A name that no other run of this test uses.
std::string own_name(const std::string& what) {
  return "passel_test_" + what + "_" + std::to_string(::getpid());
}

void write(const SharedMemory& memory, std::string_view text, std::size_t at = 0) {
  std::memcpy(memory.buf().data() + at, text.data(), text.size());
}

std::string read(const SharedMemory& memory, std::size_t length) {
  return {reinterpret_cast<const char*>(memory.buf().data()), length};
}

std::atomic_ref<std::uint32_t> word(const SharedMemory& memory, std::size_t index) {
  return std::atomic_ref{reinterpret_cast<std::uint32_t*>(memory.buf().data())[index]};
}

// _TestSharedMemory.test_shared_memory_basics
TEST(SharedMemory, Basics) {
  const std::string name = own_name("basics");
  auto memory = SharedMemory::create(512, name).unwrap();
  EXPECT_EQ(memory.name(), name);
  EXPECT_EQ(memory.size(), 512U);
  EXPECT_EQ(memory.buf().size(), 512U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.buf().data()) % 4096, 0U);
  EXPECT_THAT(memory.to_string(), HasSubstr(name));
  EXPECT_THAT(memory.to_string(), HasSubstr("512"));
  EXPECT_TRUE(std::all_of(memory.buf().begin(), memory.buf().end(),
                          [](std::byte b) { return b == std::byte{0}; }));

  memory.buf()[0] = std::byte{42};
  auto same = SharedMemory::attach(name).unwrap();
  EXPECT_EQ(same.buf()[0], std::byte{42});
  EXPECT_EQ(same.size(), 512U);
  EXPECT_NE(same.buf().data(), memory.buf().data());
  same.buf()[511] = std::byte{7};
  EXPECT_EQ(memory.buf()[511], std::byte{7});
  same.close();
  EXPECT_TRUE(same.closed());
  EXPECT_TRUE(same.buf().empty());
  EXPECT_EQ(same.name(), name);
  EXPECT_EQ(memory.buf()[0], std::byte{42});

  const auto twice = SharedMemory::create(512, name);
  ASSERT_TRUE(twice.is_err());
  EXPECT_EQ(twice.error(), Errc::refused);
  EXPECT_THAT(twice.error().what(), HasSubstr(name));
  EXPECT_EQ(SharedMemory::attach(own_name("not_there")).error(), Errc::not_found);
}

TEST(SharedMemory, IsUnlinkedOnce) {
  const std::string name = own_name("unlinked");
  auto uno = SharedMemory::create(5000, name).unwrap();
  EXPECT_GE(uno.size(), 5000U);
  auto duo = SharedMemory::attach(name).unwrap();
  duo.unlink().unwrap();
  duo.close();
  write(uno, "still there");
  EXPECT_EQ(read(uno, 11), "still there");
  EXPECT_EQ(SharedMemory::attach(name).error(), Errc::not_found);
  uno.close();
  EXPECT_EQ(uno.unlink().error(), Errc::not_found);
  EXPECT_EQ(duo.unlink().error(), Errc::not_found);
}

// The way most programs do it; the name outlives close, as Python's does.
TEST(SharedMemory, IsClosedAndThenUnlinked) {
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = ProcessCensus::take();
  const std::string name = own_name("idiom");
  auto memory = SharedMemory::create(100, name).unwrap();
  write(memory, "kept");
  memory.close();
  EXPECT_EQ(read(SharedMemory::attach(name).unwrap(), 4), "kept");
  memory.close();
  memory.unlink().unwrap();
  EXPECT_EQ(SharedMemory::attach(name).error(), Errc::not_found);
  EXPECT_EQ(ProcessCensus::settle(before), "");  // though the object is still there
  EXPECT_EQ(memory.unlink().error(), Errc::not_found);
  EXPECT_EQ(memory.name(), name);
}

// _TestSharedMemory.test_shared_memory_recreate
TEST(SharedMemory, ANameIsFreeAgainAfterUnlinkAndAfterTheLastHandle) {
  const std::string name = own_name("recreate");
  for (int round = 0; round < 3; ++round) {
    auto first = SharedMemory::create(1, name).unwrap();
    first.buf()[0] = std::byte{1};
    first.unlink().unwrap();
    auto second = SharedMemory::create(2, name).unwrap();
    EXPECT_EQ(second.buf()[0], std::byte{0});
    EXPECT_EQ(SharedMemory::attach(name).unwrap().size(), 2U);
  }
}

TEST(SharedMemory, AutomaticNamesAreDifferent) {
  std::set<std::string> names;
  std::vector<SharedMemory> all;
  for (int n = 0; n < 50; ++n) {
    all.push_back(SharedMemory::create(1).unwrap());
    names.insert(all.back().name());
  }
  EXPECT_EQ(names.size(), all.size());
  for (const SharedMemory& memory : all) {
    EXPECT_TRUE(memory.name().starts_with("psm_")) << memory.name();
    EXPECT_TRUE(SharedMemory::attach(memory.name()).is_ok());
  }
}

// _TestSharedMemory.test_invalid_shared_memory_creation,
// test_shared_memory_name_with_embedded_null
TEST(SharedMemory, InvalidArgumentsAreNamed) {
  const auto refuse = [](const passel::Result<SharedMemory>& result, const char* why) {
    ASSERT_TRUE(result.is_err());
    EXPECT_EQ(result.error(), Errc::invalid_argument) << result.error().to_string();
    EXPECT_THAT(result.error().what(), HasSubstr(why));
  };
  refuse(SharedMemory::create(0), "1 byte or more");
  refuse(SharedMemory::create(static_cast<std::size_t>(-1)), "18446744073709551615 bytes");
  refuse(SharedMemory::create(static_cast<std::size_t>(-2), own_name("x")), "bytes");
  refuse(SharedMemory::attach(""), "empty");
  const std::string name = own_name("null");
  auto memory = SharedMemory::create(512, name).unwrap();
  refuse(SharedMemory::attach(name + '\0' + "a"), "NUL");
  refuse(SharedMemory::create(512, name + '\0' + "a"), "NUL");
  refuse(SharedMemory::create(512, "a/b"), "slash");
  refuse(SharedMemory::create(512, std::string(201, 'x')), "at most 200 bytes, not 201");
  EXPECT_TRUE(SharedMemory::create(512, std::string(200, 'x')).is_ok());
}

TEST(SharedMemory, CopiesAreOneMapping) {
  auto memory = SharedMemory::create(64).unwrap();
  const SharedMemory copy = memory;
  EXPECT_EQ(copy.buf().data(), memory.buf().data());
  memory.close();
  EXPECT_TRUE(memory.buf().empty());
  write(copy, "goes on");
  EXPECT_EQ(read(copy, 7), "goes on");
  EXPECT_TRUE(SharedMemory{memory}.closed());
  SharedMemory moved = std::move(memory);
  EXPECT_EQ(memory.unlink().error(), Errc::not_found);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(memory.size(), 0U);                         // NOLINT(bugprone-use-after-move)
  moved.unlink().unwrap();
}

void write_by_name(const std::string& name, const std::string& text) {
  write(SharedMemory::attach(name).unwrap(), text);
}
void write_into(SharedMemory memory, const std::string& text) {
  write(memory, text);
  memory.close();
}

// _TestSharedMemory.test_shared_memory_across_processes
TEST(SharedMemory, IsWrittenByOtherProcesses) {
  for (const auto method : {passel::StartMethod::forkserver, passel::StartMethod::spawn}) {
    auto memory = SharedMemory::create(512).unwrap();
    auto named = Process::spawn<write_by_name>({.method = method}, memory.name(), "howdy").unwrap();
    EXPECT_EQ(named.join().unwrap(), 0);
    EXPECT_EQ(read(memory, 5), "howdy");
    auto handed = Process::spawn<write_into>({.method = method}, memory, "HELLO").unwrap();
    EXPECT_EQ(handed.join().unwrap(), 0);
    EXPECT_EQ(read(memory, 5), "HELLO");
    // A closed handle stands for the memory all the same.
    memory.close();
    auto closed = Process::spawn<write_into>({.method = method}, memory, "CLOSED").unwrap();
    EXPECT_EQ(closed.join().unwrap(), 0);
    EXPECT_EQ(read(SharedMemory::attach(memory.name()).unwrap(), 6), "CLOSED");
  }
}

// _TestSharedMemory.test_shared_memory_pickle_unpickle
TEST(SharedMemory, EncodedAndDecodedItIsTheSameMemory) {
  const auto memory = SharedMemory::create(512).unwrap();
  write(memory, "pickle");
  const auto encoded = detail::encode(memory).unwrap();
  EXPECT_LT(encoded.bytes.size(), 300U);
  const auto same = detail::decode<SharedMemory>(encoded.bytes, encoded.descriptors).unwrap();
  EXPECT_EQ(same.name(), memory.name());
  EXPECT_EQ(read(same, 6), "pickle");
  write(memory, "newval");
  EXPECT_EQ(read(same, 6), "newval");
  write(same, "oldval");
  EXPECT_EQ(read(memory, 6), "oldval");
}

// _TestSharedMemory.test_shared_memory_pickle_unpickle_dead_object
TEST(SharedMemory, NobodyNewGetsInAfterUnlink) {
  auto memory = SharedMemory::create(512).unwrap();
  const auto before = detail::encode(memory).unwrap();
  memory.close();
  memory.unlink().unwrap();
  const auto after = detail::encode(memory).unwrap();
  for (const auto& encoded : {before, after}) {
    const auto dead = detail::decode<SharedMemory>(encoded.bytes, encoded.descriptors);
    ASSERT_TRUE(dead.is_err());
    EXPECT_EQ(dead.error(), Errc::not_found) << dead.error().to_string();
    EXPECT_THAT(dead.error().what(), HasSubstr(memory.name()));
  }
}

TEST(SharedMemory, SomethingElseUnderItsLabelOrHandleIsNotTakenForIt) {
  const std::string name = own_name("forged");
  const detail::Descriptor plain{::memfd_create(("passel.shm:" + name).c_str(), MFD_CLOEXEC)};
  EXPECT_EQ(SharedMemory::attach(name).error(), Errc::not_found);
  auto memory = SharedMemory::create(16, name).unwrap();
  EXPECT_EQ(SharedMemory::attach(name).unwrap().size(), 16U);
  const auto forged = std::make_shared<detail::Descriptor>(::memfd_create("x", MFD_CLOEXEC));
  const auto encoded = detail::encode(memory).unwrap();
  EXPECT_EQ(detail::decode<SharedMemory>(encoded.bytes, {{forged}}).error(), Errc::malformed);
  EXPECT_EQ(passel::from_value<SharedMemory>(passel::WireValue{7}).error(), Errc::type_mismatch);
}

/// Creates memory, tells its name, and waits to be killed.
void create_and_wait(const Queue<std::string>& names, const std::string& name) {
  auto memory = SharedMemory::create(10, name).unwrap();
  write(memory, "precious");
  names.put(memory.name()).unwrap();
  sleep_for_ever();
}

// _TestSharedMemory.test_shared_memory_cleaned_after_process_termination
TEST(SharedMemory, GoesWithAKilledCreatorWhenNobodyElseHasIt) {
  Queue<std::string> names;
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = ProcessCensus::take();
  for (const std::string& given : {std::string{}, own_name("victim")}) {
    auto creator = Process::spawn<create_and_wait>(names, given).unwrap();
    const std::string name = names.get().unwrap();
    EXPECT_TRUE(SharedMemory::attach(name).is_ok());
    creator.kill().unwrap();
    EXPECT_EQ(creator.join().unwrap(), -SIGKILL);
    EXPECT_EQ(SharedMemory::attach(name).error(), Errc::not_found);
    EXPECT_TRUE(SharedMemory::create(10, name).is_ok());
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

TEST(SharedMemory, LivesAsLongAsAnybodyHasIt) {
  Queue<std::string> names;
  auto creator = Process::spawn<create_and_wait>(names, own_name("heir")).unwrap();
  const std::string name = names.get().unwrap();
  {
    const auto heir = SharedMemory::attach(name).unwrap();
    creator.kill().unwrap();
    EXPECT_EQ(creator.join().unwrap(), -SIGKILL);
    EXPECT_EQ(read(heir, 8), "precious");
    EXPECT_EQ(SharedMemory::create(10, name).error(), Errc::refused);
    auto p = Process::spawn<write_by_name>(name, "PRECIOUS").unwrap();
    EXPECT_EQ(p.join().unwrap(), 0);
    EXPECT_EQ(read(heir, 8), "PRECIOUS");
  }
  EXPECT_EQ(SharedMemory::attach(name).error(), Errc::not_found);
}

// _TestSharedMemory.test_shared_memory_untracking: Python needs track=False for it.
TEST(SharedMemory, AProcessThatOnlyAttachedDeletesNothingWhenItEnds) {
  auto memory = SharedMemory::create(10).unwrap();
  for (const auto method : {passel::StartMethod::forkserver, passel::StartMethod::spawn}) {
    auto ends = Process::spawn<write_by_name>({.method = method}, memory.name(), "x").unwrap();
    EXPECT_EQ(ends.join().unwrap(), 0);
    EXPECT_TRUE(SharedMemory::attach(memory.name()).is_ok());
  }
  memory.unlink().unwrap();
}

void hold(const SharedMemory&, const Queue<int>& ready) {
  ready.put(1).unwrap();
  sleep_for_ever();
}

// Whoever reads a payload without copying it may die with it.
TEST(SharedMemory, Fault53IsGivenBackWhenItsReadersAreKilled) {
  Queue<int> ready;
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = ProcessCensus::take();
  std::string name;
  std::vector<Process> readers;
  {
    auto memory = SharedMemory::create(std::size_t{8} << 20).unwrap();
    name = memory.name();
    for (int n = 0; n < 3; ++n) {
      readers.push_back(Process::spawn<hold>(memory, ready).unwrap());
    }
    for (int n = 0; n < 3; ++n) ready.get().unwrap();
  }
  for (Process& reader : readers) {
    EXPECT_TRUE(SharedMemory::attach(name).is_ok());
    reader.kill().unwrap();
    reader.join().unwrap();
  }
  // Nobody has a descriptor of it, and mappings went with their processes.
  EXPECT_EQ(SharedMemory::attach(name).error(), Errc::not_found);
  readers.clear();
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

/// All `members` arrive at round `round` before any of them goes on.
void meet(const SharedMemory& board, std::uint32_t round, std::uint32_t members) {
  word(board, 0).fetch_add(1);
  while (word(board, 0).load() < round * members) std::this_thread::yield();
}

constexpr std::uint32_t rivals = 4;

/// Claims a name at the same moment as its rivals, in each round another one; counts the winners.
void claim_names(const SharedMemory& board, const std::string& name, std::uint32_t rounds) {
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    const std::string here = name + std::to_string(round);
    meet(board, 3 * round - 2, rivals);
    const auto mine = SharedMemory::create(8, here);
    if (mine) word(board, 1 + round).fetch_add(1);
    if (!mine && mine.error() != Errc::refused) word(board, 1).fetch_add(1);
    meet(board, 3 * round - 1, rivals);
    if (!SharedMemory::attach(here)) word(board, 1).fetch_add(1);
    meet(board, 3 * round, rivals);
  }
}

TEST(SharedMemory, OneOfSeveralProcessesGetsAName) {
  const std::uint32_t rounds = passel_test::rounds(100);
  const auto board = SharedMemory::create((2 + rounds) * sizeof(std::uint32_t)).unwrap();
  std::vector<Process> all;
  for (std::uint32_t n = 0; n < rivals; ++n)
    all.push_back(Process::spawn<claim_names>(board, own_name("claim"), rounds).unwrap());
  for (Process& each : all) EXPECT_EQ(each.join().unwrap(), 0);
  EXPECT_EQ(word(board, 1).load(), 0U) << "other errors, and names that were not found";
  for (std::uint32_t round = 1; round <= rounds; ++round)
    EXPECT_EQ(word(board, 1 + round).load(), 1U) << "winners in round " << round;
}

/// Creates, attaches, closes and unlinks a few names as fast as it can.
void be_busy(const std::string& name, std::uint32_t seed, const Queue<int>& ready) {
  ready.put(1).unwrap();
  std::minstd_rand random{seed};
  std::vector<SharedMemory> held;
  for (;;) {
    const std::string here = name + std::to_string(random() % 4);
    auto memory = random() % 2 == 0 ? SharedMemory::create(100, here) : SharedMemory::attach(here);
    if (memory && random() % 3 == 0) static_cast<void>(memory->unlink());
    if (memory) held.push_back(*std::move(memory));
    if (held.size() > 6) held.clear();
  }
}

// Fault row 54: nothing has a name that could be left over.
TEST(SharedMemory, Fault54LeavesNothingAfterRandomKills) {
  const auto seed = passel_test::seed();
  std::mt19937_64 random{seed};
  Queue<int> ready;
  const std::string name = own_name("kills");
  Process::spawn([] {}).unwrap().join().unwrap();  // the I/O thread is there from now on
  const auto before = ProcessCensus::take();
  for (unsigned kill = 0; kill < passel_test::rounds(50); ++kill) {
    std::vector<Process> pair;
    for (int n = 0; n < 2; ++n) {
      pair.push_back(
          Process::spawn<be_busy>(name, static_cast<std::uint32_t>(random()), ready).unwrap());
      ready.get().unwrap();
    }
    for (std::uint64_t spin = random() % 64; spin > 0; --spin) std::this_thread::yield();
    for (Process& each : pair) {
      each.kill().unwrap();
      each.join().unwrap();
    }
  }
  for (int n = 0; n < 4; ++n) {
    const std::string here = name + std::to_string(n);
    EXPECT_EQ(SharedMemory::attach(here).error(), Errc::not_found);
    EXPECT_TRUE(SharedMemory::create(1, here).is_ok());
  }
  EXPECT_EQ(ProcessCensus::settle(before), "");
}

}  // namespace
