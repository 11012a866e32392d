// Benchmark: what an item costs on its way between threads through channels and queues, beside a
// mutex, a deque and condition variables in the same run. Pin it with `taskset -c 0` for one CPU.
#include <passel/channel.hpp>
#include <passel/detail/thread_queue.hpp>
#include <passel/simple_queue.hpp>

#include <benchmark/benchmark.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr long items_per_round = 100'000;
constexpr std::size_t bound = 1024;

/// The usual alternative.
class PlainQueue {
 public:
  void put(long item) {
    std::unique_lock lock{mutex_};
    not_full_.wait(lock, [this] { return items_.size() < bound; });
    items_.push_back(item);
    lock.unlock();
    not_empty_.notify_one();
  }
  long get() {
    std::unique_lock lock{mutex_};
    not_empty_.wait(lock, [this] { return !items_.empty(); });
    const long item = items_.front();
    items_.pop_front();
    lock.unlock();
    not_full_.notify_one();
    return item;
  }

 private:
  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::deque<long> items_;
};

/// Passes items from state.range(0) threads to as many others.
template <class Put, class Get>
void pass_on(benchmark::State& state, Put put, Get get) {
  const long pairs = state.range(0);
  for (auto _ : state) {
    std::vector<std::thread> threads;
    for (long p = 0; p < pairs; ++p) {
      threads.emplace_back([&] {
        for (long i = 0; i < items_per_round / pairs; ++i) put(i);
      });
      threads.emplace_back([&] {
        for (long i = 0; i < items_per_round / pairs; ++i) benchmark::DoNotOptimize(get());
      });
    }
    for (auto& thread : threads) thread.join();
  }
  state.SetItemsProcessed(state.iterations() * items_per_round);
}

void through(benchmark::State& state, passel::ChannelPair<long> ends) {
  pass_on(
      state, [&](long i) { ends.sender.send(std::move(i)).unwrap(); },
      [&] { return ends.receiver.recv().unwrap(); });
}

void channel_bounded(benchmark::State& state) { through(state, passel::channel<long>(bound)); }
void channel_unbounded(benchmark::State& state) { through(state, passel::channel<long>()); }
void channel_rendezvous(benchmark::State& state) { through(state, passel::channel<long>(0)); }
void simple_queue(benchmark::State& state) {
  passel::SimpleQueue<long> queue;
  pass_on(
      state, [&](long i) { queue.put(std::move(i)); }, [&] { return queue.get().unwrap(); });
}
void thread_queue(benchmark::State& state) {
  passel::detail::ThreadQueue<long> queue{bound};
  const auto never = passel::detail::Deadline::never();
  pass_on(
      state, [&](long i) { queue.put(i, never).unwrap(); },
      [&] { return queue.get(never).unwrap(); });
}
void mutex_deque_condvar(benchmark::State& state) {
  PlainQueue queue;
  pass_on(
      state, [&](long i) { queue.put(i); }, [&] { return queue.get(); });
}
BENCHMARK(channel_bounded)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(channel_unbounded)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(channel_rendezvous)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(simple_queue)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(thread_queue)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(mutex_deque_condvar)->Arg(1)->Arg(2)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
