// Managers whose clients have a key, and say what no proxy would.
#include <passel/detail/io_loop.hpp>
#include <passel/detail/proxy_core.hpp>
#include <passel/detail/session_link.hpp>
#include <passel/log.hpp>
#include <passel/sync_manager.hpp>

#include <gtest/gtest.h>

#include "process/executed_copy.hpp"
#include "support/seed.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using namespace passel::detail;
using passel::Address;
using passel::AuthKey;
using passel::Result;
using passel::SyncManager;
using passel::TcpAddress;
using passel::UnixAddress;
using passel::WireValue;

const AuthKey owners_key{"the key of those who may do everything"};

/// A client that says what it likes, without a proxy that would keep it from that.
class Stranger {
 public:
  explicit Stranger(const Address& address, const AuthKey& key = owners_key)
      : link{SessionLink::connect(loop_, address, {.authkey = key}, Deadline::after(30s))} {}

  template <class... A>
  Result<SessionReply> call(std::uint64_t target, std::string_view method, const A&... args) {
    return (*link)->call({.target = target,
                          .method = method,
                          .args = encode_pack(args...).unwrap(),
                          .deadline = Deadline::never()});
  }
  /// The number of a new object.
  template <class... A>
  std::uint64_t make(const std::string& type, const A&... args) {
    using Created = std::pair<std::uint64_t, std::uint64_t>;
    return decode_reply<Created>(call(0, "create " + type, args...)).unwrap().first;
  }

 private:
  IoLoop loop_;

 public:
  Result<std::shared_ptr<SessionLink>> link;
};

class HostileClient : public testing::TestWithParam<Address> {};
INSTANTIATE_TEST_SUITE_P(Addresses, HostileClient,
                         testing::Values(Address{UnixAddress{}}, Address{TcpAddress{}}),
                         [](const auto& address) {
                           return address.param.index() == 0 ? "Unix" : "Tcp";
                         });

// Its stderr is a pipe that is not read, and takes some hundred lines.
TEST(DISABLED_ExecutedCopy, ManagerWithALog) {
  passel::log_to_stderr(passel::LogLevel::debug);
  auto manager = SyncManager::started({.authkey = owners_key}).unwrap();
  const auto counter = manager.value<int>(0).unwrap();
  for (int n = 0; n < 1500; ++n) {
    ASSERT_TRUE(Stranger{manager.address()}.link);  // whose end is a line in the log
    counter.set(n).unwrap();
  }
  EXPECT_EQ(counter.get().unwrap(), 1499);
}

TEST(HostileClients, Fault55AServerWhoseLogNobodyReadsServesAllTheSame) {
  const auto run =
      passel_test::run_copy("ManagerWithALog", {}, passel_test::ReadErrors::at_the_end);
  EXPECT_EQ(run.exitcode, 0);
  EXPECT_GT(run.errors.size(), 60'000U);  // it was full
}

/// Calls and notes as they come out of a broken or hostile program.
class Noise {
 public:
  explicit Noise(std::uint64_t seed) : random_{seed} {}

  std::vector<std::byte> bytes() {
    auto good = encode_pack(WireValue::list({1, "two", 3.0, nullptr}), true, std::int64_t{-1}, "x")
                    .unwrap()
                    .bytes;
    switch (random_() % 4) {
      case 0: return good;
      case 1: good.resize(random_() % good.size()); return good;
      case 2:
        for (int n = 0; n < 8; ++n) good[random_() % good.size()] = std::byte(random_());
        return good;
      default: {
        std::vector<std::byte> junk(random_() % 200);
        for (auto& one : junk) one = std::byte(random_());
        return junk;
      }
    }
  }
  std::string_view word() {
    static constexpr std::string_view words[] = {
        "acquire",   "release",     "give_back",   "get",      "put",
        "task_done", "join",        "append",      "pop",      "set",
        "clear",     "wait",        "notify",      "reset",    "abort",
        "slice",     "#text",       "#copy",       "#methods", "types",
        "create ",   "create list", "create Lock", "hold",     "lend",
        "drop",      "kept",        "back",        "",         "\n"};
    return words[random_() % std::size(words)];
  }
  std::uint64_t object() { return random_() % 8 == 0 ? random_() : random_() % 14; }
  std::uint64_t operator()() { return random_(); }

 private:
  std::mt19937_64 random_;
};

TEST_P(HostileClient, Fault47WhateverAKeyHolderSaysIsAnsweredAndOthersAreServed) {
  auto manager = SyncManager::started({.address = GetParam(), .authkey = owners_key}).unwrap();
  const auto counter = manager.value<int>(0).unwrap();
  Noise noise{passel_test::seed()};
  const unsigned rounds = passel_test::rounds(8);
  for (unsigned round = 0; round < rounds; ++round) {
    Stranger hostile{manager.address()};
    const std::vector<std::uint64_t> objects{hostile.make("Lock"),
                                             hostile.make("RLock"),
                                             hostile.make("Condition"),
                                             hostile.make("Semaphore", std::int64_t{1}),
                                             hostile.make("Event"),
                                             hostile.make("Barrier", std::int64_t{2}),
                                             hostile.make("JoinableQueue", std::int64_t{3}),
                                             hostile.make("list", std::vector<WireValue>{1, 2}),
                                             hostile.make("dict", std::vector<WireValue>{})};
    for (int n = 0; n < 500; ++n) {
      const std::uint64_t target =
          noise() % 3 == 0 ? noise.object() : objects[noise() % objects.size()];
      if (noise() % 4 == 0) {
        (*hostile.link)->notify(target, noise.word(), noise.bytes());
        continue;
      }
      Encoded args;
      args.bytes = noise.bytes();
      const std::uint64_t call = (*hostile.link)
                                     ->call_async({.target = target,
                                                   .method = noise.word(),
                                                   .args = std::move(args),
                                                   .deadline = Deadline::after(50ms)},
                                                  [](const Result<SessionReply>&) {});
      if (noise() % 8 == 0) (*hostile.link)->cancel(call);
    }
    counter.set(static_cast<int>(round)).unwrap();
    EXPECT_EQ(counter.get().unwrap(), static_cast<int>(round));
    EXPECT_TRUE((*hostile.link)->is_open());
  }
}

}  // namespace
