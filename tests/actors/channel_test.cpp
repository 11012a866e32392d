// Channels: one body over bounded, unbounded and rendezvous.
#include <passel/channel.hpp>

#include <gtest/gtest.h>
#include <support/blocked_thread.hpp>

#include <atomic>
#include <chrono>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// Cases after crossbeam's tests/{array,list,zero,mpsc,golang}.rs, for every kind of channel.

namespace {

using namespace std::chrono_literals;
using passel::ChannelPair;
using passel::Errc;
using passel_test::BlockedThread;

// Capacity of the channel under test; nothing: unbounded.
using Kind = std::optional<std::size_t>;

template <class T>
ChannelPair<T> make(Kind kind) {
  return kind ? passel::channel<T>(*kind) : passel::unbounded_channel<T>();
}

std::string kind_name(const testing::TestParamInfo<Kind>& info) {
  return info.param ? "Capacity" + std::to_string(*info.param) : "Unbounded";
}

class AnyChannel : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Channel, AnyChannel,
                         testing::Values(Kind{}, Kind{0}, Kind{1}, Kind{3}, Kind{1024}), kind_name);
// Kinds at which a send can wait.
class LimitedChannel : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Channel, LimitedChannel,
                         testing::Values(Kind{0}, Kind{1}, Kind{3}, Kind{1024}), kind_name);
// Kinds that hold items.
class BufferedChannel : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Channel, BufferedChannel,
                         testing::Values(Kind{}, Kind{3}, Kind{64}, Kind{1024}), kind_name);

struct Counted {
  static inline std::atomic<int> alive{0};
  static inline std::atomic<int> destroyed{0};
  int value;
  bool mine = true;
  explicit Counted(int v) : value{v} { ++alive; }
  Counted(Counted&& other) noexcept : value{other.value}, mine{std::exchange(other.mine, false)} {}
  Counted& operator=(Counted&&) = delete;
  ~Counted() {
    if (!mine) return;
    --alive;
    ++destroyed;
  }
};

TEST_P(AnyChannel, PassesItemsInTheOrderOfTheirSender) {
  auto [tx, rx] = make<std::string>(GetParam());
  std::thread sender{[tx = std::move(tx)]() mutable {
    for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(tx.send(std::to_string(i)));
  }};
  int next = 0;
  for (auto& item : rx) ASSERT_EQ(item, std::to_string(next++));
  EXPECT_EQ(next, 20'000);
  sender.join();
}

TEST_P(AnyChannel, MoveOnlyItems) {
  auto [tx, rx] = make<std::unique_ptr<int>>(GetParam());
  std::thread sender{[&tx = tx] { ASSERT_TRUE(tx.send(std::make_unique<int>(5))); }};
  EXPECT_EQ(**rx.recv(), 5);
  sender.join();
}

TEST_P(AnyChannel, FiftyBySendersAndReceiversLoseAndDuplicateNothing) {
  constexpr int senders = 50;
  constexpr int each = 400;
  auto [tx, rx] = make<std::pair<int, int>>(GetParam());
  std::mutex mutex;
  std::map<std::pair<int, int>, int> seen;
  std::vector<std::thread> threads;
  for (int s = 0; s < senders; ++s) {
    threads.emplace_back([sender = tx.clone(), s]() mutable {
      for (int i = 0; i < each; ++i) ASSERT_TRUE(sender.send({s, i}));
    });
    threads.emplace_back([receiver = rx.clone(), &mutex, &seen]() mutable {
      std::map<int, int> last;
      std::vector<std::pair<int, int>> mine;
      for (auto& item : receiver) {
        const auto before = last.find(item.first);
        ASSERT_TRUE(before == last.end() || before->second < item.second) << item.first;
        last[item.first] = item.second;
        mine.push_back(item);
      }
      const std::lock_guard lock{mutex};
      for (const auto& item : mine) ++seen[item];
    });
  }
  { const auto gone = std::move(tx); }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(senders * each));
  for (const auto& [item, times] : seen) ASSERT_EQ(times, 1) << item.first << " " << item.second;
}

TEST_P(AnyChannel, TimeoutsOnBothSidesLoseNothing) {
  constexpr int each = 300;
  auto [tx, rx] = make<int>(GetParam());
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([sender = tx.clone(), &sent]() mutable {
      for (int i = 0; i < each; ++i) sent += sender.send_for(1, 30us).is_ok() ? 1 : 0;
    });
    threads.emplace_back([receiver = rx.clone(), &received]() mutable {
      while (true) {
        const auto item = receiver.recv_for(20us);
        if (item) {
          ++received;
        } else if (item.error() == Errc::closed) {
          return;
        }
      }
    });
  }
  { const auto gone = std::move(tx); }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(sent.load(), received.load());
}

TEST_P(AnyChannel, ClosesWhenTheLastSenderGoes) {
  auto [tx, rx] = make<int>(GetParam());
  {
    auto first = std::move(tx);
    auto second = first.clone();
    { const auto gone = std::move(first); }
    EXPECT_FALSE(rx.is_closed());
    EXPECT_TRUE(rx.try_recv().error() == Errc::empty);
  }
  EXPECT_TRUE(rx.is_closed());
  EXPECT_EQ(rx.recv().error().to_string(), "closed: the channel is closed");
  EXPECT_TRUE(rx.try_recv().error() == Errc::closed);
  EXPECT_TRUE(rx.recv_for(1h).error() == Errc::closed);
}

TEST_P(AnyChannel, ClosesWhenTheLastReceiverGoes) {
  auto [tx, rx] = make<std::unique_ptr<int>>(GetParam());
  {
    auto first = std::move(rx);
    const auto second = first.clone();
    { const auto gone = std::move(first); }
    EXPECT_FALSE(tx.is_closed());
  }
  EXPECT_TRUE(tx.is_closed());
  auto item = std::make_unique<int>(1);
  EXPECT_TRUE(tx.send(std::move(item)).error() == Errc::closed);
  EXPECT_TRUE(tx.try_send(std::move(item)).error() == Errc::closed);
  EXPECT_TRUE(tx.send_for(std::move(item), 1h).error() == Errc::closed);
  EXPECT_NE(item, nullptr) << "a failed send moved from its argument";
}

TEST_P(AnyChannel, BlockedReceiversLearnThatTheLastSenderWent) {
  auto pair = make<int>(GetParam());
  auto& rx = pair.receiver;
  BlockedThread one{[&] { EXPECT_TRUE(rx.recv().error() == Errc::closed); }};
  BlockedThread two{[&] { EXPECT_TRUE(rx.recv_for(1h).error() == Errc::closed); }};
  one.wait_until_blocked();
  two.wait_until_blocked();
  { const auto gone = std::move(pair.sender); }
}

TEST_P(AnyChannel, BlockedReceiversLearnThatItWasClosed) {
  auto [tx, rx] = make<int>(GetParam());
  BlockedThread one{[&rx = rx] { EXPECT_TRUE(rx.recv().error() == Errc::closed); }};
  BlockedThread two{[&rx = rx] { EXPECT_TRUE(rx.recv().error() == Errc::closed); }};
  one.wait_until_blocked();
  two.wait_until_blocked();
  tx.close();
  tx.close();
}

TEST_P(LimitedChannel, BlockedSendersLearnOfTheEndAndKeepTheirItem) {
  for (const bool by_close : {true, false}) {
    auto pair = make<std::unique_ptr<int>>(GetParam());
    auto& tx = pair.sender;
    while (tx.try_send(std::make_unique<int>(0))) {
    }
    const auto body = [&] {
      auto item = std::make_unique<int>(1);
      EXPECT_TRUE(tx.send(std::move(item)).error() == Errc::closed);
      EXPECT_NE(item, nullptr);
    };
    BlockedThread one{body};
    BlockedThread two{body};
    one.wait_until_blocked();
    two.wait_until_blocked();
    if (by_close) {
      pair.receiver.close();
    } else {
      const auto gone = std::move(pair.receiver);
    }
  }
}

TEST_P(AnyChannel, TimesOutNotBeforeTheTime) {
  auto [tx, rx] = make<int>(GetParam());
  auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(rx.recv_for(20ms).error() == Errc::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
  if (!GetParam()) return;
  while (tx.try_send(0)) {
  }
  start = std::chrono::steady_clock::now();
  EXPECT_TRUE(tx.send_for(1, 20ms).error() == Errc::timeout);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
}

TEST_P(AnyChannel, NegativeTimeoutIsAnError) {
  auto [tx, rx] = make<int>(GetParam());
  EXPECT_TRUE(tx.send_for(1, -1s).error() == Errc::invalid_argument);
  EXPECT_TRUE(rx.recv_for(-1s).error() == Errc::invalid_argument);
  EXPECT_EQ(rx.len(), 0u);
}

TEST_P(AnyChannel, ClosingWhileSendersAreAtWorkDeliversWhatTheySent) {
  for (int round = 0; round < 30; ++round) {
    auto [tx, rx] = make<int>(GetParam());
    std::atomic<int> sent{0};
    std::atomic<int> received{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&sent, sender = tx.clone()]() mutable {
        while (sender.send(1)) ++sent;
      });
      threads.emplace_back([&received, receiver = rx.clone()]() mutable {
        while (receiver.recv()) ++received;
      });
    }
    while (received.load() < 50) std::this_thread::yield();
    tx.close();
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(sent.load(), received.load());
  }
}

TEST_P(AnyChannel, EveryItemIsDestroyedOnceWhoeverGoesFirst) {
  Counted::alive = 0;
  for (int round = 0; round < 60; ++round) {
    Counted::destroyed = 0;
    std::atomic<int> made{0};
    {
      auto [tx, rx] = make<Counted>(GetParam());
      std::vector<std::thread> threads;
      for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&made, sender = tx.clone()]() mutable {
          for (int i = 0; i < 400; ++i) {
            ++made;
            if (!sender.send(Counted{i})) return;
          }
        });
        threads.emplace_back([receiver = rx.clone(), round]() mutable {
          for (int i = 0; i < round * 8; ++i) {
            if (!receiver.recv()) return;
          }
        });
      }
      { const auto gone = std::move(tx); }
      { const auto gone = std::move(rx); }
      for (auto& thread : threads) thread.join();
    }
    ASSERT_EQ(Counted::alive.load(), 0);
    ASSERT_EQ(Counted::destroyed.load(), made.load());
  }
}

TEST_P(AnyChannel, AMovedFromEndSaysSo) {
  auto [tx, rx] = make<int>(GetParam());
  const auto sender = std::move(tx);
  auto receiver = std::move(rx);
  EXPECT_TRUE(tx.send(1).error() == Errc::invalid_state);
  EXPECT_TRUE(rx.recv().error() == Errc::invalid_state);
  EXPECT_TRUE(tx.is_closed());
  EXPECT_FALSE(sender.is_closed());
}

TEST_P(AnyChannel, EndsCanBeSentThroughChannels) {
  // Go's prime sieve habit: a request carries the channel for its reply.
  auto [requests, served] = make<std::pair<int, passel::Sender<int>>>(GetParam());
  std::thread server{[&served = served] {
    for (auto& [n, reply] : served) EXPECT_TRUE(reply.send(n * n));
  }};
  for (int i = 1; i <= 100; ++i) {
    auto [reply, answer] = passel::channel<int>(1);
    ASSERT_TRUE(requests.send({i, std::move(reply)}));
    ASSERT_EQ(*answer.recv(), i * i);
  }
  { const auto gone = std::move(requests); }
  server.join();
}

TEST_P(BufferedChannel, DrainsAfterItWasClosed) {
  auto [tx, rx] = make<int>(GetParam());
  for (const int n : {1, 2, 3}) ASSERT_TRUE(tx.send(n));
  tx.close();
  EXPECT_TRUE(tx.try_send(4).error() == Errc::closed);
  EXPECT_EQ(rx.len(), 3u);
  std::vector<int> seen;
  for (auto& item : rx) seen.push_back(item);
  EXPECT_EQ(seen, (std::vector{1, 2, 3}));
  EXPECT_TRUE(rx.try_recv().error() == Errc::closed);
}

TEST_P(BufferedChannel, ItemsAreDestroyedAsSoonAsNobodyCanReceiveThem) {
  Counted::alive = 0;
  auto pair = make<Counted>(GetParam());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(pair.sender.send(Counted{i}));
  EXPECT_EQ(Counted::alive.load(), 3);
  { const auto gone = std::move(pair.receiver); }
  EXPECT_EQ(Counted::alive.load(), 0);
  EXPECT_EQ(pair.sender.len(), 0u);
}

TEST_P(BufferedChannel, LenFollowsTheItemsThroughManyLaps) {
  auto [tx, rx] = make<int>(GetParam());
  for (int round = 0; round < 500; ++round) {
    ASSERT_TRUE(rx.is_empty());
    for (std::size_t n = 1; n <= 3; ++n) {
      ASSERT_TRUE(tx.send(round));
      ASSERT_EQ(rx.len(), n);
    }
    for (std::size_t n = 3; n > 0; --n) {
      ASSERT_EQ(tx.len(), n);
      ASSERT_EQ(*rx.recv(), round);
    }
  }
}

TEST(BoundedChannel, FullSaysHowMuchItHolds) {
  auto [tx, rx] = passel::channel<int>(2);
  EXPECT_EQ(tx.capacity(), 2u);
  EXPECT_FALSE(tx.is_full());
  ASSERT_TRUE(tx.try_send(1));
  ASSERT_TRUE(tx.try_send(2));
  EXPECT_TRUE(tx.is_full());
  EXPECT_EQ(tx.try_send(3).error().to_string(), "full: the channel holds 2 of 2 items");
  EXPECT_EQ(*rx.recv(), 1);
  EXPECT_TRUE(tx.try_send(3));
}

TEST(BoundedChannel, ABlockedSendGoesOnWhenAnItemIsTaken) {
  auto [tx, rx] = passel::channel<int>(1);
  ASSERT_TRUE(tx.send(1));
  BlockedThread sender{[&tx = tx] { EXPECT_TRUE(tx.send(2)); }};
  sender.wait_until_blocked();
  EXPECT_FALSE(sender.ended());
  EXPECT_EQ(*rx.recv(), 1);
  EXPECT_EQ(*rx.recv(), 2);
}

TEST(UnboundedChannel, NeverFullAndHasNoCapacity) {
  auto [tx, rx] = passel::channel<int>();
  EXPECT_FALSE(tx.capacity().has_value());
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(tx.try_send(i));
  EXPECT_FALSE(tx.is_full());
  EXPECT_EQ(rx.len(), 1000u);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(*rx.try_recv(), i);
}

TEST(RendezvousChannel, ASendWaitsUntilItsItemIsTaken) {
  auto [tx, rx] = passel::channel<int>(0);
  EXPECT_EQ(tx.capacity(), 0u);
  EXPECT_EQ(tx.try_send(1).error().to_string(),
            "full: no receiver waits at the channel of capacity 0");
  EXPECT_TRUE(rx.try_recv().error() == Errc::empty);
  BlockedThread sender{[&tx = tx] { EXPECT_TRUE(tx.send(1)); }};
  sender.wait_until_blocked();
  EXPECT_FALSE(sender.ended());
  EXPECT_EQ(*rx.try_recv(), 1);
}

TEST(RendezvousChannel, ATrySendReachesAReceiverThatWaits) {
  auto [tx, rx] = passel::channel<int>(0);
  BlockedThread receiver{[&rx = rx] { EXPECT_EQ(*rx.recv(), 7); }};
  receiver.wait_until_blocked();
  EXPECT_TRUE(tx.try_send(7));
}

TEST(RendezvousChannel, ASendWhoseTimeIsUpIsNotTakenLater) {
  auto [tx, rx] = passel::channel<std::unique_ptr<int>>(0);
  auto item = std::make_unique<int>(1);
  EXPECT_TRUE(tx.send_for(std::move(item), 1ms).error() == Errc::timeout);
  EXPECT_NE(item, nullptr);
  EXPECT_TRUE(rx.try_recv().error() == Errc::empty);
}

}  // namespace
