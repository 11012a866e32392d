// Tools: benchmark group channel. What an item costs on its way between threads through channels
// and queues, beside a mutex, a deque and condition variables, and CPython's queue module.
#include "bench.hpp"

#include <passel/channel.hpp>
#include <passel/queue.hpp>
#include <passel/simple_queue.hpp>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

namespace {

constexpr std::size_t bound = 1024;
constexpr std::size_t unbounded = static_cast<std::size_t>(-1);

/// The usual alternative.
class PlainQueue {
 public:
  explicit PlainQueue(std::size_t limit) : limit_{limit} {}
  void put(long item) {
    std::unique_lock lock{mutex_};
    not_full_.wait(lock, [this] { return items_.size() < limit_; });
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
  const std::size_t limit_;
  std::mutex mutex_;
  std::condition_variable not_empty_;
  std::condition_variable not_full_;
  std::deque<long> items_;
};

struct Work {
  long pairs;  ///< so many threads put, and as many get
  long items;  ///< in one turn of the loop
};

template <class Put, class Get>
void pass_on(benchmark::State& state, Work work, Put put, Get get) {
  const long each = work.items / work.pairs;
  for (auto _ : state) {
    std::vector<std::thread> threads;
    for (long p = 0; p < work.pairs; ++p) {
      threads.emplace_back([&] {
        for (long i = 0; i < each; ++i) put(i);
      });
      threads.emplace_back([&] {
        for (long i = 0; i < each; ++i) benchmark::DoNotOptimize(get());
      });
    }
    for (auto& thread : threads) thread.join();
  }
  state.SetItemsProcessed(state.iterations() * each * work.pairs);
}

/// `make()` gives the two ends.
template <class Make>
Contender through_channel(Work work, Make make) {
  return {.name = "passel channel", .body = [=](benchmark::State& state) {
            passel::ChannelPair<long> ends = make();
            pass_on(
                state, work, [&](long i) { ends.sender.send(std::move(i)).unwrap(); },
                [&] { return ends.receiver.recv().unwrap(); });
          }};
}

Contender through_queue(Work work) {
  return {.name = "passel Queue", .body = [=](benchmark::State& state) {
            const passel::Queue<long> queue{{.maxsize = bound, .reach = passel::Reach::threads}};
            pass_on(
                state, work, [&](long i) { queue.put(std::move(i)).unwrap(); },
                [&] { return queue.get().unwrap(); });
          }};
}

Contender through_simple_queue(Work work) {
  return {.name = "passel SimpleQueue", .body = [=](benchmark::State& state) {
            passel::SimpleQueue<long> queue;
            pass_on(
                state, work, [&](long i) { queue.put(std::move(i)); },
                [&] { return queue.get().unwrap(); });
          }};
}

Contender through_deque(Work work, std::size_t limit) {
  return {.name = "mutex + deque + condvar", .body = [=](benchmark::State& state) {
            PlainQueue queue{limit};
            pass_on(
                state, work, [&](long i) { queue.put(i); }, [&] { return queue.get(); });
          }};
}

}  // namespace

void channel_rows(Table& table) {
  const auto items = table.count(100'000);
  const Work one{.pairs = 1, .items = items};
  const Work two{.pairs = 2, .items = items};
  const auto python = [&](const char* name, const std::string& kind, Work work) {
    return table.python(name, "threads " + kind + " " + std::to_string(work.pairs) + " " +
                                  std::to_string(work.items));
  };
  const auto bounded = [] { return passel::channel<long>(bound); };
  const std::string kind = std::to_string(bound);
  table.row("bounded 1024, 1P1C", through_channel(one, bounded),
            {through_deque(one, bound), python("queue.Queue", kind, one)});
  table.row("bounded 1024, 2P2C", through_channel(two, bounded),
            {through_deque(two, bound), python("queue.Queue", kind, two)});
  table.row("unbounded, 1P1C", through_channel(one, [] { return passel::channel<long>(); }),
            {through_deque(one, unbounded)});
  table.row("rendezvous, 1P1C", through_channel(one, [] { return passel::channel<long>(0); }),
            {through_deque(one, 1)});
  table.row("Queue of threads, 1P1C", through_queue(one),
            {through_deque(one, bound), python("queue.Queue", kind, one)});
  for (const Work work : {one, two}) {
    table.row(work.pairs == 1 ? "SimpleQueue, 1P1C" : "SimpleQueue, 2P2C",
              through_simple_queue(work),
              {through_deque(work, unbounded), python("queue.SimpleQueue", "simple", work)});
  }
}

}  // namespace bench
