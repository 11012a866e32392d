// Benchmark: what a message to an actor costs, beside a mutex and condition variable in the same
// run.
#include <passel/actor.hpp>

#include <benchmark/benchmark.h>

#include <condition_variable>
#include <latch>
#include <mutex>
#include <utility>

namespace {

struct Add {
  int n;
};
struct Counter {
  int on(Add m) { return total += m.n; }
  int total = 0;
};

passel::Actor<Counter>& shared_counter() {
  static auto* const counter = new passel::Actor<Counter>{passel::spawn<Counter>().unwrap()};
  return *counter;
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

void mutex_condvar_call(benchmark::State& state) {
  static Monitor monitor;
  for (auto _ : state) benchmark::DoNotOptimize(monitor.add(1));
}
BENCHMARK(mutex_condvar_call)->Threads(1)->Threads(2)->UseRealTime();

void actor_call(benchmark::State& state) {
  const auto counter = shared_counter();
  for (auto _ : state) benchmark::DoNotOptimize(*counter.call(Add{1}));
}
BENCHMARK(actor_call)->Threads(1)->Threads(2)->UseRealTime();

void actor_ask_get(benchmark::State& state) {
  const auto counter = shared_counter();
  for (auto _ : state) benchmark::DoNotOptimize(*counter.ask(Add{1}).get());
}
BENCHMARK(actor_ask_get)->Threads(1)->Threads(2)->UseRealTime();

void actor_tell(benchmark::State& state) {
  const auto counter = shared_counter();
  for (auto _ : state) counter.tell(Add{1}).unwrap();
}
BENCHMARK(actor_tell)->Threads(1)->Threads(2)->UseRealTime();

void future_promise(benchmark::State& state) {
  for (auto _ : state) {
    passel::Promise<int> promise;
    auto future = promise.future();
    promise.set(1);
    benchmark::DoNotOptimize(*future.get());
  }
}
BENCHMARK(future_promise);

void spawn_message_stop(benchmark::State& state) {
  for (auto _ : state) {
    const auto counter = passel::spawn<Counter>().unwrap();
    counter.tell(Add{1}).unwrap();
    counter.stop();
  }
}
BENCHMARK(spawn_message_stop);

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

void actor_to_actor_round_trip(benchmark::State& state) {
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
BENCHMARK(actor_to_actor_round_trip)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
