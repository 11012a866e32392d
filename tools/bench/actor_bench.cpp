// Tools: benchmark group actor. What a message to an actor costs, beside a mutex, a condition
// variable and threads.
#include "bench.hpp"

#include <passel/actor.hpp>

#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <thread>
#include <utility>

namespace bench {

namespace {

struct Add {
  int n;
};
struct Counter {
  int on(Add m) { return total += m.n; }
  int total = 0;
};

/// Made once and left to the end of the program.
const passel::Actor<Counter>& counter() {
  static const auto* const made = new passel::Actor<Counter>{passel::spawn<Counter>().unwrap()};
  return *made;
}

/// The usual alternative: state behind a mutex, whose users tell each other of changes.
class Monitor {
 public:
  int add(int n) {
    int result;
    {
      const std::scoped_lock lock{mutex_};
      result = total_ += n;
    }
    changed_.notify_one();
    return result;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int total_ = 0;
};

void monitor_call(benchmark::State& state) {
  static Monitor monitor;
  for (auto _ : state) benchmark::DoNotOptimize(monitor.add(1));
}
void actor_call(benchmark::State& state) {
  const auto actor = counter();
  for (auto _ : state) benchmark::DoNotOptimize(*actor.call(Add{1}));
}
void actor_ask(benchmark::State& state) {
  const auto actor = counter();
  for (auto _ : state) benchmark::DoNotOptimize(*actor.ask(Add{1}).get());
}
void actor_tell(benchmark::State& state) {
  const auto actor = counter();
  for (auto _ : state) actor.tell(Add{1}).unwrap();
}

void passel_promise(benchmark::State& state) {
  for (auto _ : state) {
    passel::Promise<int> promise;
    auto future = promise.future();
    promise.set(1);
    benchmark::DoNotOptimize(*future.get());
  }
}
void std_promise(benchmark::State& state) {
  for (auto _ : state) {
    std::promise<int> promise;
    auto future = promise.get_future();
    promise.set_value(1);
    benchmark::DoNotOptimize(future.get());
  }
}

void spawn_message_stop(benchmark::State& state) {
  for (auto _ : state) {
    const auto actor = passel::spawn<Counter>().unwrap();
    actor.tell(Add{1}).unwrap();
    actor.stop();
  }
}
void thread_start_join(benchmark::State& state) {
  for (auto _ : state) {
    int total = 0;
    std::thread{[&] { ++total; }}.join();
    benchmark::DoNotOptimize(total);
  }
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
  void on(passel::Actor<Player> partner) { other = std::move(partner); }
  void on(std::latch* latch) { done = latch; }
  std::latch* done = nullptr;
  passel::Actor<Player> other;
};

void actor_round_trip(benchmark::State& state) {
  const auto a = passel::spawn<Player>().unwrap();
  const auto b = passel::spawn<Player>().unwrap();
  a.tell(b).unwrap();
  b.tell(a).unwrap();
  constexpr int round_trips = 1000;
  for (auto _ : state) {
    std::latch done{1};
    a.tell(&done).unwrap();
    a.tell(Ping{2 * round_trips}).unwrap();
    done.wait();
  }
  state.SetItemsProcessed(state.iterations() * round_trips);
  a.stop();
  b.stop();
}

void thread_round_trip(benchmark::State& state) {
  std::mutex mutex;
  std::condition_variable changed;
  enum { mine, yours, over } turn = mine;
  std::jthread other{[&] {
    std::unique_lock lock{mutex};
    while (true) {
      changed.wait(lock, [&] { return turn != mine; });
      if (turn == over) return;
      turn = mine;
      changed.notify_one();
    }
  }};
  std::unique_lock lock{mutex};
  for (auto _ : state) {
    turn = yours;
    changed.notify_one();
    changed.wait(lock, [&] { return turn == mine; });
  }
  turn = over;
  changed.notify_one();
  lock.unlock();
}

}  // namespace

void actor_rows(Table& table) {
  counter();  // so that no side runs while the process has one thread only
  const auto side = [](const char* name, void (*body)(benchmark::State&), int threads = 1) {
    return Contender{.name = name, .body = body, .threads = threads};
  };
  const char* const monitor = "mutex + condvar";
  for (const int threads : {1, 2}) {
    const std::string by = threads == 1 ? "" : ", 2 threads";
    table.row("call + reply" + by, side("passel call", actor_call, threads),
              {side(monitor, monitor_call, threads)});
    table.row("ask + get" + by, side("passel ask", actor_ask, threads),
              {side(monitor, monitor_call, threads)});
    table.row("tell" + by, side("passel tell", actor_tell, threads),
              {side(monitor, monitor_call, threads)});
  }
  table.row("promise + future", side("passel", passel_promise),
            {side("std::promise", std_promise)});
  table.row("spawn + tell + stop", side("passel", spawn_message_stop),
            {side("std::thread + join", thread_start_join)});
  table.row("actor to actor round trip", side("passel", actor_round_trip),
            {side("2 threads, mutex + condvar", thread_round_trip)});
}

}  // namespace bench
