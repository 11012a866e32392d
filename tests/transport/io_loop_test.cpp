// The I/O loop: watches, timers and posted calls on one thread.
#include <passel/detail/io_loop.hpp>

#include <gtest/gtest.h>

#include <sys/epoll.h>
#include <unistd.h>
#include <atomic>
#include <csignal>
#include <future>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using passel::detail::Deadline;
using passel::detail::Descriptor;
using passel::detail::IoLoop;

struct Pipe {
  Descriptor read;
  Descriptor write;
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    read = Descriptor{ends[0]};
    write = Descriptor{ends[1]};
  }
  void fill() const { EXPECT_EQ(::write(write.get(), "x", 1), 1); }
  void drain() const {
    char c = 0;
    EXPECT_EQ(::read(read.get(), &c, 1), 1);
  }
};

TEST(IoLoop, TellsWhenADescriptorIsReady) {
  IoLoop loop;
  const Pipe pipe;
  std::promise<std::uint32_t> ready;
  auto watch = loop.watch(pipe.read.get(), EPOLLIN,
                          [&](std::uint32_t events) {
                            pipe.drain();
                            ready.set_value(events);
                          })
                   .unwrap();
  pipe.fill();
  EXPECT_EQ(ready.get_future().get(), static_cast<std::uint32_t>(EPOLLIN));
}

TEST(IoLoop, WatchOfABadDescriptorIsAnError) {
  IoLoop loop;
  const auto watch = loop.watch(-1, EPOLLIN, [](std::uint32_t) {});
  ASSERT_TRUE(watch.is_err());
  EXPECT_TRUE(watch.error() == passel::Errc::system);
}

TEST(IoLoop, APausedWatchReportsTheLevelOnceItResumes) {
  IoLoop loop;
  const Pipe pipe;
  std::atomic<int> calls{0};
  std::promise<void> called;
  auto watch = loop.watch(pipe.read.get(), 0,
                          [&](std::uint32_t) {
                            pipe.drain();
                            if (++calls == 1) called.set_value();
                          })
                   .unwrap();
  pipe.fill();
  std::promise<void> passed;
  loop.post([&] { passed.set_value(); });
  passed.get_future().get();
  EXPECT_EQ(calls, 0);
  watch.set_events(EPOLLIN);
  called.get_future().get();
  EXPECT_EQ(calls, 1);
}

TEST(IoLoop, ADestroyedWatchIsNeverCalledAgain) {
  IoLoop loop;
  for (int round = 0; round < 200; ++round) {
    const Pipe pipe;
    std::atomic<bool> gone{false};
    std::atomic<bool> called_after{false};
    {
      auto watch = loop.watch(pipe.read.get(), EPOLLIN,
                              [&](std::uint32_t) {
                                if (gone) called_after = true;
                              })
                       .unwrap();
      pipe.fill();
      if (round % 2 == 0) std::this_thread::yield();
    }
    gone = true;
    std::promise<void> passed;
    loop.post([&] { passed.set_value(); });
    passed.get_future().get();
    EXPECT_FALSE(called_after);
  }
}

TEST(IoLoop, AHandlerMayDestroyItsOwnWatch) {
  IoLoop loop;
  const Pipe pipe;
  IoLoop::Watch watch;
  std::promise<void> called;
  std::promise<void> assigned;
  auto is_assigned = assigned.get_future().share();
  watch = loop.watch(pipe.read.get(), EPOLLIN,
                     [&, is_assigned](std::uint32_t) {
                       is_assigned.wait();
                       watch.reset();
                       called.set_value();
                     })
              .unwrap();
  assigned.set_value();
  pipe.fill();
  called.get_future().get();
  EXPECT_FALSE(static_cast<bool>(watch));
}

TEST(IoLoop, TimersFireInOrderAndNotEarly) {
  IoLoop loop;
  std::vector<int> order;
  std::promise<void> done;
  const auto begin = Deadline::Clock::now();
  loop.at(Deadline::after(40ms), [&] {
    order.push_back(3);
    done.set_value();
  });
  loop.at(Deadline::after(10ms), [&] { order.push_back(1); });
  loop.at(Deadline::after(20ms), [&] { order.push_back(2); });
  done.get_future().get();
  EXPECT_GE(Deadline::Clock::now() - begin, 40ms);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(IoLoop, ACancelledTimerNeverRuns) {
  IoLoop loop;
  std::atomic<int> fired{0};
  std::vector<IoLoop::TimerKey> keys;
  int cancelled = 0;
  for (int i = 0; i < 1000; ++i)
    keys.push_back(loop.at(Deadline::after(std::chrono::microseconds{i}), [&] { ++fired; }));
  for (const auto& key : keys) cancelled += loop.cancel(key) ? 1 : 0;
  std::promise<void> later;
  loop.at(Deadline::after(5ms), [&] { later.set_value(); });
  later.get_future().get();
  EXPECT_EQ(fired + cancelled, 1000);  // cancel's answer is the truth
  EXPECT_FALSE(loop.cancel(keys.front()));
}

TEST(IoLoop, ATimerAtNeverIsNotArmed) {
  IoLoop loop;
  const auto key = loop.at(Deadline::never(), [] { ADD_FAILURE() << "never came"; });
  EXPECT_FALSE(loop.cancel(key));
  EXPECT_FALSE(loop.started());
}

TEST(IoLoop, PostedCallsRunInOrderOnTheLoopsThread) {
  IoLoop loop;
  EXPECT_FALSE(loop.on_loop_thread());
  std::vector<int> order;
  std::promise<void> done;
  for (int i = 0; i < 100; ++i) loop.post([&, i] { order.push_back(i); });
  loop.post([&] {
    EXPECT_TRUE(loop.on_loop_thread());
    done.set_value();
  });
  done.get_future().get();
  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(IoLoop, ACallIsWaitedForOrNeverMade) {
  IoLoop loop;
  int made = 0;
  EXPECT_TRUE(loop.call([&] {
    EXPECT_TRUE(loop.call([&] { ++made; }));  // on its own thread, at once
    ++made;
  }));
  EXPECT_EQ(made, 2);
  loop.stop();
  EXPECT_FALSE(loop.call([&] { ++made; }));
  EXPECT_EQ(made, 2);
}

TEST(IoLoop, CallsThatRaceItsEndAreMadeOrNot) {
  for (int round = 0; round < 200; ++round) {
    IoLoop loop;
    std::atomic<int> made{0};
    int told = 0;
    std::thread caller{[&] {
      while (loop.call([&] { ++made; })) ++told;
    }};
    while (made == 0) std::this_thread::yield();
    loop.stop();
    caller.join();
    EXPECT_EQ(told, made);
  }
}

TEST(IoLoop, StandsStillWhileParked) {
  std::atomic<int> ticks{0};
  std::atomic<bool> stop{false};
  std::function<void()> tick;
  IoLoop loop;  // goes first: no tick is left when what it uses goes
  tick = [&] {
    ++ticks;
    if (!stop) loop.post(tick);
  };
  loop.post(tick);
  for (int round = 0; round < 100; ++round)
    loop.while_parked([&] {
      const int before = ticks;
      std::this_thread::yield();
      EXPECT_EQ(ticks, before);
    });
  stop = true;
}

TEST(IoLoop, ItsThreadTakesNoSignalsOfTheProgram) {
  IoLoop loop;
  std::promise<bool> blocked;
  loop.post([&] {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked.set_value(::sigismember(&mask, SIGINT) == 1 && ::sigismember(&mask, SIGUSR1) == 1);
  });
  EXPECT_TRUE(blocked.get_future().get());
}

}  // namespace
