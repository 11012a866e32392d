// Actors: tell, ask, call and the end of an actor.
#include <passel/actor.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::Actor;
using passel::ActorOptions;
using passel::Errc;
using passel::Error;
using passel::ExitReason;
using passel::Future;
using passel::Promise;
using passel::RemoteError;
using passel::Result;
using passel::spawn;

struct Add {
  int n;
};
struct Total {};
struct Fail {};
struct Checked {
  int n;
};
struct Later {};
struct Give {
  std::unique_ptr<int> value;
};
struct Me {};

class Counter {
 public:
  explicit Counter(int start = 0) : total_{start} {}
  void on(Add m) { total_ += m.n; }
  int on(Total) const { return total_; }
  int on(Fail) { throw std::out_of_range{"no such thing"}; }
  Result<int> on(Checked m) {
    if (m.n < 0) return Error{Errc::invalid_argument, "negative"};
    return m.n;
  }
  Future<int> on(Later) {
    later_ = Promise<int>{};
    return later_.future();
  }
  std::unique_ptr<int> on(Give m) {
    later_.set(*m.value);
    return std::move(m.value);
  }
  Actor<Counter> on(Me) { return Actor<Counter>::current(); }

 private:
  int total_;
  Promise<int> later_;
};

TEST(Actor, TellAskAndCall) {
  auto counter = spawn<Counter>(1).unwrap();
  EXPECT_TRUE(counter.tell(Add{2}).is_ok());
  EXPECT_EQ(*counter.ask(Total{}).get(), 3);
  EXPECT_EQ(*counter.call(Total{}), 3);
  EXPECT_TRUE(counter.ask(Checked{-1}).get().error() == Errc::invalid_argument);
  EXPECT_EQ(*counter.call(Checked{4}), 4);
  EXPECT_TRUE(counter.is_alive());
}

TEST(Actor, AnAnswerMayComeLaterAndMessagesMayBeMoveOnly) {
  auto counter = spawn<Counter>().unwrap();
  auto later = counter.ask(Later{});
  EXPECT_FALSE(later.done());
  EXPECT_EQ(**counter.call(Give{std::make_unique<int>(8)}), 8);
  EXPECT_EQ(*later.get(), 8);
}

TEST(Actor, AThrowEndsItAndAnswersTheAsker) {
  auto counter = spawn<Counter>(ActorOptions{.name = "counter"}).unwrap();
  ExitReason seen;
  counter.monitor([&seen](const ExitReason& reason) { seen = reason; });
  const Error error = counter.ask(Fail{}).get().error();
  EXPECT_TRUE(error == Errc::task_failed);
  ASSERT_NE(error.detail<RemoteError>(), nullptr);
  EXPECT_EQ(error.detail<RemoteError>()->what, "no such thing");
  EXPECT_TRUE(counter.join() == ExitReason::Kind::failed);
  EXPECT_TRUE(seen == ExitReason::Kind::failed);
  ASSERT_NE(seen.error(), nullptr);
  EXPECT_TRUE(*seen.error() == Errc::task_failed);
  const Error gone = counter.call(Total{}).error();
  EXPECT_TRUE(gone == Errc::closed);
  EXPECT_NE(gone.what().find("counter"), std::string::npos);
  EXPECT_FALSE(counter.is_alive());
}

TEST(Actor, AFailedTellHasNotMovedFromItsMessage) {
  auto counter = spawn<Counter>().unwrap();
  counter.tell(Fail{}).unwrap();
  Give give{std::make_unique<int>(5)};
  EXPECT_TRUE(counter.tell(std::move(give)).error() == Errc::closed);
  ASSERT_NE(give.value, nullptr);
  EXPECT_EQ(*give.value, 5);
  EXPECT_TRUE(counter.ask(std::move(give)).get().error() == Errc::closed);
  ASSERT_NE(give.value, nullptr);
  EXPECT_TRUE(counter.call(std::move(give)).error() == Errc::closed);
  EXPECT_EQ(*give.value, 5);
}

TEST(Actor, EmptyHandlesRefuse) {
  const Actor<Counter> none;
  EXPECT_FALSE(none);
  EXPECT_TRUE(none.tell(Add{1}).error() == Errc::closed);
  EXPECT_TRUE(none.ask(Total{}).get().error() == Errc::closed);
  EXPECT_TRUE(none.call(Total{}).error() == Errc::closed);
}

TEST(Actor, StopHandlesWhatWasSentBefore) {
  struct Slow {
    int on(Add m) { return seen += m.n; }
    int seen = 0;
  };
  auto slow = spawn<Slow>().unwrap();
  std::vector<Future<int>> answers;
  for (int i = 0; i < 10; ++i) answers.push_back(slow.ask(Add{1}));
  EXPECT_TRUE(slow.stop_for(10s).is_ok());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(*answers[static_cast<std::size_t>(i)].get(), i + 1);
  EXPECT_TRUE(slow.join() == ExitReason::Kind::stopped);
  EXPECT_TRUE(slow.ask(Add{1}).get().error() == Errc::closed);
}

struct Block {
  std::latch* inside;
  std::latch* release;
};
class Blocker {
 public:
  void on(Block m) {
    m.inside->count_down();
    m.release->wait();
  }
  void on(Add) { ++added; }
  int added = 0;
};

TEST(Actor, StopForNamesTheLateOneAndCancelledAsksDoNotRun) {
  auto blocker = spawn<Blocker>(ActorOptions{.name = "blocker"}).unwrap();
  std::latch inside{1};
  std::latch release{1};
  std::thread sender{[&] { blocker.tell(Block{&inside, &release}).unwrap(); }};
  inside.wait();
  auto waiting = blocker.ask(Add{1});
  auto cancelled = blocker.ask(Add{1});
  EXPECT_TRUE(cancelled.cancel());
  const auto late = blocker.stop_for(1ms);
  EXPECT_TRUE(late.error() == Errc::timeout);
  EXPECT_NE(late.error().what().find("blocker"), std::string::npos);
  release.count_down();
  sender.join();
  EXPECT_TRUE(waiting.get().is_ok());
  EXPECT_TRUE(cancelled.get().error() == Errc::cancelled);
  blocker.join();
}

TEST(Actor, KillAnswersWaitingAskersWithClosed) {
  auto blocker = spawn<Blocker>().unwrap();
  std::latch inside{1};
  std::latch release{1};
  std::thread sender{[&] { blocker.tell(Block{&inside, &release}).unwrap(); }};
  inside.wait();
  auto waiting = blocker.ask(Add{1});
  blocker.kill();
  release.count_down();
  EXPECT_TRUE(waiting.get().error() == Errc::closed);
  EXPECT_TRUE(blocker.join() == ExitReason::Kind::killed);
  sender.join();
}

TEST(Actor, TheConstructorsExceptionIsTheErrorOfSpawn) {
  struct Bad {
    Bad() { throw std::runtime_error{"no database"}; }
    void on(Add) {}
  };
  const auto bad = spawn<Bad>();
  ASSERT_TRUE(bad.is_err());
  EXPECT_TRUE(bad.error() == Errc::task_failed);
}

struct SelfCaller {
  Errc on(Me) { return Actor<SelfCaller>::current().call(Total{}).error().code(); }
  int on(Total) { return 1; }
};

TEST(Actor, KnowsItselfAndRefusesToWaitForItself) {
  auto counter = spawn<Counter>().unwrap();
  EXPECT_EQ(counter.call(Me{}).unwrap(), counter);
  EXPECT_FALSE(Actor<Counter>::current());
  EXPECT_EQ(*spawn<SelfCaller>().unwrap().call(Me{}), Errc::deadlock);
}

struct Ping {
  int left;
};
struct Player {
  void on(Ping m) {
    if (m.left == 0) {
      done->count_down();
    } else {
      other.tell(Ping{m.left - 1}).unwrap();
    }
  }
  void on(Actor<Player> partner) { other = std::move(partner); }
  std::latch* done;
  Actor<Player> other;
};

TEST(Actor, TwoActorsPlayWithoutDeepStacks) {
  std::latch done{1};
  auto a = spawn<Player>(Player{&done, {}}).unwrap();
  auto b = spawn<Player>(Player{&done, a}).unwrap();
  a.tell(b).unwrap();
  a.tell(Ping{100001}).unwrap();
  done.wait();
  EXPECT_TRUE(a.stop_for(10s).is_ok());
}

TEST(Actor, ManyThreadsAskOneActor) {
  auto counter = spawn<Counter>().unwrap();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([counter] {
      for (int i = 0; i < 2000; ++i) {
        counter.tell(Add{1}).unwrap();
        EXPECT_TRUE(counter.ask(Total{}).get().is_ok());
        EXPECT_TRUE(counter.call(Total{}).is_ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(*counter.call(Total{}), 8000);
}

}  // namespace
