// select over several channels.
#include <passel/select.hpp>

#include <gtest/gtest.h>
#include <support/blocked_thread.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// Cases after crossbeam's tests/{select,select_macro}.rs and Go's select tests (chan_test, fifo,
// select3).

namespace {

using namespace std::chrono_literals;
using passel::channel;
using passel::Errc;
using passel::on_recv;
using passel::on_send;
using passel::otherwise;
using passel::Result;
using passel::select;
using passel_test::BlockedThread;

constexpr auto nothing = [](auto&&...) {};

template <class T>
void drop(T& end) {
  const auto gone = std::move(end);
}

TEST(Select, TakesFromTheReadyChannelAlone) {
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<std::string>();
  ASSERT_TRUE(tx2.send("b"));
  std::string got;
  const auto chosen = select(on_recv(rx1, [](int) { FAIL() << "nothing was sent here"; }),
                             on_recv(rx2, [&](std::string text) { got = std::move(text); }));
  EXPECT_EQ(*chosen, 1u);
  EXPECT_EQ(got, "b");
  ASSERT_TRUE(tx1.send(7));
  EXPECT_EQ(*select(on_recv(rx1, [](int n) { EXPECT_EQ(n, 7); }), on_recv(rx2, nothing)), 0u);
  EXPECT_TRUE(rx1.is_empty());
}

TEST(Select, OtherwiseWhenNothingIsReady) {
  auto [tx, rx] = channel<int>(1);
  bool called = false;
  EXPECT_EQ(*select(on_recv(rx, [](int) { FAIL(); }), otherwise([&] { called = true; })), 1u);
  EXPECT_TRUE(called);
  ASSERT_TRUE(tx.send(1));
  EXPECT_EQ(*select(otherwise([] { FAIL(); }), on_recv(rx, [](int) {})), 1u);
}

TEST(Select, TimeoutAfterTheTimeAndNotBefore) {
  auto [tx, rx] = channel<int>(0);
  bool called = false;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(*select(on_recv(rx, [](int) { FAIL(); }), on_send(tx, 1, [] {}),
                    passel::timeout(20ms, [&] { called = true; })),
            2u);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
  EXPECT_TRUE(called);
  EXPECT_TRUE(select(on_recv(rx, nothing), passel::timeout(-1s, [] {})).error() ==
              Errc::invalid_argument);
}

TEST(Select, SendsWhereThereIsRoomAndKeepsTheItemOtherwise) {
  auto [full, unread] = channel<std::unique_ptr<int>>(1);
  auto [free, rx] = channel<std::unique_ptr<int>>(1);
  ASSERT_TRUE(full.send(std::make_unique<int>(0)));
  auto a = std::make_unique<int>(1);
  auto b = std::make_unique<int>(2);
  const auto chosen =
      select(on_send(full, std::move(a), [] { FAIL(); }), on_send(free, std::move(b), [] {}));
  EXPECT_EQ(*chosen, 1u);
  EXPECT_NE(a, nullptr);
  EXPECT_EQ(b, nullptr);
  EXPECT_EQ(**rx.recv(), 2);
}

TEST(Select, ClosedChannelsAreLeftOut) {
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<int>(1);
  drop(tx1);
  ASSERT_TRUE(tx2.send(1));
  const auto again = [&rx1 = rx1, &rx2 = rx2] {
    return select(on_recv(rx1, [](int) { FAIL(); }), on_recv(rx2, [](int) {}));
  };
  EXPECT_EQ(*again(), 1u);
  drop(tx2);
  EXPECT_EQ(again().error().to_string(), "closed: all channels of the select are closed");
  EXPECT_TRUE(select(on_recv(rx1, [](int) {}), passel::timeout(1h, [] {})).error() == Errc::closed);
}

TEST(Select, AHandlerThatTakesAResultIsToldOfClosing) {
  auto [tx1, rx1] = channel<int>(1);
  auto [tx2, rx2] = channel<int>(1);
  drop(tx1);
  bool told = false;
  EXPECT_EQ(*select(on_recv(rx1, [&](Result<int> item) { told = item.error() == Errc::closed; }),
                    on_recv(rx2, [](int) { FAIL(); })),
            0u);
  EXPECT_TRUE(told);
  drop(rx2);
  told = false;
  EXPECT_EQ(*select(on_send(tx2, 1, [&](Result<void> sent) { told = sent.is_err(); })), 0u);
  EXPECT_TRUE(told);
}

class SelectKinds : public testing::TestWithParam<std::optional<std::size_t>> {
 protected:
  template <class T>
  static passel::ChannelPair<T> make() {
    return GetParam() ? channel<T>(*GetParam()) : channel<T>();
  }
};
INSTANTIATE_TEST_SUITE_P(Select, SelectKinds,
                         testing::Values(std::optional<std::size_t>{}, 0, 1, 16),
                         [](const auto& kind) {
                           return kind.param ? "Capacity" + std::to_string(*kind.param)
                                             : std::string{"Unbounded"};
                         });

TEST_P(SelectKinds, ABlockedSelectTakesWhatIsSentLater) {
  auto [tx1, rx1] = make<int>();
  auto [tx2, rx2] = make<int>();
  for (int round = 0; round < 20; ++round) {
    BlockedThread selecting{[&rx1 = rx1, &rx2 = rx2, round] {
      const auto chosen = select(on_recv(rx1, [&](int n) { EXPECT_EQ(n, round); }),
                                 on_recv(rx2, [&](int n) { EXPECT_EQ(n, round); }));
      EXPECT_EQ(*chosen, static_cast<std::size_t>(round % 2));
    }};
    selecting.wait_until_blocked();
    ASSERT_TRUE((round % 2 == 0 ? tx1 : tx2).send(round));
  }
}

TEST_P(SelectKinds, ABlockedSelectLearnsOfTheEnd) {
  auto one = make<int>();
  auto two = make<int>();
  BlockedThread selecting{[&] {
    EXPECT_TRUE(
        select(on_recv(one.receiver, [](int) {}), on_recv(two.receiver, [](int) {})).error() ==
        Errc::closed);
  }};
  selecting.wait_until_blocked();
  drop(one.sender);
  selecting.wait_until_blocked();
  EXPECT_FALSE(selecting.ended());
  drop(two.sender);
}

TEST_P(SelectKinds, ManySelectingReceiversLoseNothing) {
  constexpr int each = 3000;
  auto [tx1, rx1] = make<int>();
  auto [tx2, rx2] = make<int>();
  std::atomic<long> sum{0};
  std::atomic<int> count{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, r1 = rx1.clone(), r2 = rx2.clone()]() mutable {
      const auto add = [&](int n) {
        sum += n;
        ++count;
      };
      while (select(on_recv(r1, add), on_recv(r2, add))) {
      }
    });
    threads.emplace_back([&, r1 = rx1.clone()]() mutable {
      for (auto& n : r1) {
        sum += n;
        ++count;
      }
    });
    threads.emplace_back([s1 = tx1.clone(), s2 = tx2.clone()]() mutable {
      for (int i = 0; i < each; ++i) ASSERT_TRUE((i % 2 == 0 ? s1 : s2).send(i));
    });
  }
  drop(tx1);
  drop(tx2);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count.load(), 3 * each);
  EXPECT_EQ(sum.load(), 3L * each * (each - 1) / 2);
}

TEST_P(SelectKinds, SelectsMeetSelects) {
  constexpr int each = 2000;
  auto [tx1, rx1] = make<int>();
  auto [tx2, rx2] = make<int>();
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, s1 = tx1.clone(), s2 = tx2.clone()]() mutable {
      for (int i = 0; i < each; ++i) {
        ASSERT_TRUE(select(on_send(s1, 1, [&] { ++sent; }), on_send(s2, 1, [&] { ++sent; })));
      }
    });
    threads.emplace_back([&, r1 = rx1.clone(), r2 = rx2.clone()]() mutable {
      const auto add = [&](int) { ++received; };
      while (select(on_recv(r1, add), on_recv(r2, add))) {
      }
    });
  }
  drop(tx1);
  drop(tx2);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sent.load(), 2 * each);
  EXPECT_EQ(received.load(), 2 * each);
}

TEST_P(SelectKinds, TimeoutsInSelectsLoseNothing) {
  auto [tx, rx] = make<int>();
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, s = tx.clone()]() mutable {
      for (int i = 0; i < 1500; ++i) {
        static_cast<void>(
            select(on_send(s, 1, [&] { ++sent; }), passel::timeout(20us, [] {})).unwrap());
      }
    });
    threads.emplace_back([&, r = rx.clone()]() mutable {
      const auto add = [&](int) { ++received; };
      while (select(on_recv(r, add), passel::timeout(15us, [] {}))) {
      }
    });
  }
  drop(tx);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sent.load(), received.load());
}

TEST(Select, BothSidesOfOneRendezvousDoNotMeetThemselves) {
  auto [tx, rx] = channel<int>(0);
  bool timed_out = false;
  EXPECT_EQ(*select(on_send(tx, 1, [] { FAIL(); }), on_recv(rx, [](int) { FAIL(); }),
                    passel::timeout(5ms, [&] { timed_out = true; })),
            2u);
  EXPECT_TRUE(timed_out);
}

TEST(Select, IsFairAmongReadyChannels) {
  auto [tx1, rx1] = channel<int>();
  auto [tx2, rx2] = channel<int>();
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(tx1.send(i));
    ASSERT_TRUE(tx2.send(i));
  }
  int first = 0;
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(select(on_recv(rx1, [&](int) { ++first; }), on_recv(rx2, [](int) {})));
  }
  // crossbeam asks for a quarter at least; a fair coin never strays that far.
  EXPECT_GT(first, 2'500);
  EXPECT_LT(first, 7'500);
}

TEST(Select, WhatAHandlerThrowsReachesTheCaller) {
  auto [tx, rx] = channel<int>(1);
  ASSERT_TRUE(tx.send(1));
  EXPECT_THROW(static_cast<void>(select(on_recv(rx, [](int) { throw std::runtime_error{"x"}; }))),
               std::runtime_error);
  EXPECT_TRUE(rx.is_empty());
}

TEST(SelectObject, ServesAnyNumberOfReceivers) {
  constexpr int inputs = 20;
  std::vector<passel::Receiver<int>> receivers;
  std::vector<std::thread> senders;
  for (int i = 0; i < inputs; ++i) {
    auto [tx, rx] = channel<int>(static_cast<std::size_t>(i % 4));
    receivers.push_back(std::move(rx));
    senders.emplace_back([sender = std::move(tx), i]() mutable {
      for (int n = 0; n < 100; ++n) ASSERT_TRUE(sender.send(i));
    });
  }
  std::vector<int> counts(inputs);
  passel::Select all;
  for (auto& rx : receivers) all.on_recv(rx, [&](int i) { ++counts[static_cast<std::size_t>(i)]; });
  EXPECT_EQ(all.size(), static_cast<std::size_t>(inputs));
  while (all.wait()) {
  }
  for (auto& sender : senders) sender.join();
  EXPECT_EQ(counts, std::vector<int>(inputs, 100));
}

TEST(SelectObject, TimesOutAndTries) {
  auto [tx, rx] = channel<int>(1);
  passel::Select one;
  one.on_recv(rx, [](int n) { EXPECT_EQ(n, 3); });
  EXPECT_TRUE(one.try_wait().error() == Errc::empty);
  EXPECT_TRUE(one.wait_for(2ms).error() == Errc::timeout);
  EXPECT_TRUE(one.wait_for(-2ms).error() == Errc::invalid_argument);
  ASSERT_TRUE(tx.send(3));
  EXPECT_EQ(*one.wait_for(1h), 0u);
  drop(tx);
  EXPECT_TRUE(one.wait().error() == Errc::closed);
}

}  // namespace
