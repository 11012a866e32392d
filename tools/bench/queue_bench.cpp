// Tools: benchmark group queue. What an item costs from one process to another through Queue,
// beside the same bytes through a pipe and CPython's multiprocessing.Queue.
#include "bench.hpp"
#include "raw_peer.hpp"

#include <passel/process.hpp>
#include <passel/queue.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace bench {

namespace {

/// One way: the consumer answers once for each `batch` items, so that a turn of the loop ends when
/// all of its items have arrived.
template <class T>
void consume(passel::Queue<T> items, passel::Queue<long> answers, long batch) {
  long got = 0;
  for (auto& item : items) {
    benchmark::DoNotOptimize(item);
    if (++got % batch == 0) answers.put(got).unwrap();
  }
}

void consume_together(passel::Queue<long> items, passel::Queue<long> answers, long batch,
                      std::size_t together) {
  long got = 0;
  while (const auto several = items.get_many(together)) {
    const long before = got / batch;
    got += static_cast<long>(several->size());
    if (got / batch != before) answers.put(got).unwrap();
  }
}

Contender through_queue_together(std::size_t together, long batch, long maxsize) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            passel::Queue<long> items{maxsize};
            passel::Queue<long> answers;
            auto peer =
                passel::Process::spawn<consume_together>(items, answers, batch, together).unwrap();
            const std::vector<long> several(together, 1);
            const auto send_all = [&] {
              for (long i = 0; i < batch; i += static_cast<long>(together))
                items.put_many(several).unwrap();
              answers.get().unwrap();
            };
            send_all();  // the peer is running now
            for (auto _ : state) send_all();
            state.SetItemsProcessed(state.iterations() * batch);
            items.shutdown();
            peer.join().unwrap();
          }};
}

template <class T>
Contender through_queue(const T& item, long batch, long maxsize) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            passel::Queue<T> items{maxsize};
            passel::Queue<long> answers;
            auto peer = passel::Process::spawn<consume<T>>(items, answers, batch).unwrap();
            for (long i = 0; i < batch; ++i) items.put(item).unwrap();
            answers.get().unwrap();  // the peer is running now
            for (auto _ : state) {
              for (long i = 0; i < batch; ++i) items.put(item).unwrap();
              answers.get().unwrap();
            }
            state.SetItemsProcessed(state.iterations() * batch);
            items.shutdown();
            peer.join().unwrap();
          }};
}

Contender through_pipe(std::size_t size, long batch) {
  return {.name = "pipe, write + read each", .body = [=](benchmark::State& state) {
            const RawPeer peer{Stream::pipes, [=](int in, int out) {
                                 std::vector<char> item(size);
                                 for (long got = 1; read_all(in, item.data(), size); ++got) {
                                   if (got % batch == 0) write_all(out, &got, sizeof got);
                                 }
                               }};
            const std::vector<char> item(size, 'x');
            for (auto _ : state) {
              for (long i = 0; i < batch; ++i) peer.send(item.data(), size);
              long got = 0;
              peer.receive(&got, sizeof got);
            }
            state.SetItemsProcessed(state.iterations() * batch);
          }};
}

void send_back(passel::Queue<long> there, passel::Queue<long> back) {
  for (const long item : there) back.put(item).unwrap();
}

void ping_pong(benchmark::State& state) {
  passel::Queue<long> there;
  passel::Queue<long> back;
  auto peer = passel::Process::spawn<send_back>(there, back).unwrap();
  there.put(0).unwrap();
  back.get().unwrap();
  for (auto _ : state) {
    there.put(1).unwrap();
    benchmark::DoNotOptimize(back.get().unwrap());
  }
  there.shutdown();
  peer.join().unwrap();
}

void pipe_ping_pong(benchmark::State& state) {
  const RawPeer peer{Stream::pipes, echo<long>};
  for (auto _ : state) {
    long item = 1;
    peer.send(&item, sizeof item);
    peer.receive(&item, sizeof item);
  }
}

/// The same bounds on both sides; a pipe holds 64 KiB.
template <class T>
void one_way(Table& table, const std::string& work, const T& item, std::size_t size, long batch,
             long maxsize, long python_items) {
  const long counted = table.count(batch);
  table.row(work, through_queue(item, counted, maxsize),
            {through_pipe(size, counted),
             table.python("multiprocessing.Queue", "queue " + std::to_string(size) + " " +
                                                       std::to_string(maxsize) + " " +
                                                       std::to_string(table.count(python_items)))});
}

}  // namespace

void queue_rows(Table& table) {
  one_way(table, "one way, 8 B", 1L, sizeof(long), 20'000, 1024, 20'000);
  const long together = table.count(20'000) / 100 * 100;
  table.row("one way, 8 B, 100 at a time",
            through_queue_together(100, std::max(together, 100L), 1024),
            {table.python("multiprocessing.Queue",
                          "queue 8 1024 " + std::to_string(table.count(20'000)))});
  one_way(table, "one way, 1 KiB", std::string(1024, 'x'), 1024, 20'000, 1024, 20'000);
  one_way(table, "one way, 1 MiB", std::string(1 << 20, 'x'), 1 << 20, 100, 16, 100);
  table.row("round trip, 8 B", {.name = "passel", .body = ping_pong},
            {{.name = "pipe", .body = pipe_ping_pong},
             table.python("multiprocessing.Queue",
                          "queue_ping_pong " + std::to_string(table.count(5000)))});
}

}  // namespace bench
