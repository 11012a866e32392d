// Tools: benchmark group manager. Calls of objects in a manager's server over a Unix socket and
// over TCP with TLS, alone, from four processes and many at a time; its queue, lock and start,
// beside a bare socket pair, CPython's managers and Redis.
#include "bench.hpp"
#include "raw_peer.hpp"
#include "redis_rival.hpp"

#include <passel/detail/session_link.hpp>
#include <passel/event.hpp>
#include <passel/process.hpp>
#include <passel/semaphore.hpp>
#include <passel/sync_manager.hpp>

#include <chrono>
#include <cstdint>
#include <list>
#include <string>
#include <vector>

namespace bench {

namespace {

using passel::Address;
using passel::SyncManager;
using passel::TcpAddress;
using passel::UnixAddress;

using Dict = passel::DictProxy<std::string, std::int64_t>;

constexpr int clients = 4;
constexpr int in_flight = 128;

SyncManager manager_at(const Address& address) {
  return SyncManager::started({.address = address}).unwrap();
}

Contender get_at(const Address& address) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto manager = manager_at(address);
            const Dict dict = manager.dict<std::string, std::int64_t>({{"key", 1}}).unwrap();
            for (auto _ : state) benchmark::DoNotOptimize(dict.at("key").unwrap());
          }};
}

void set_often(benchmark::State& state) {
  auto manager = manager_at(UnixAddress{});
  const Dict dict = manager.dict<std::string, std::int64_t>().unwrap();
  std::int64_t n = 0;
  for (auto _ : state) dict.set("key", ++n).unwrap();
}

/// One of several that begin together; tells when it is ready, and when it is done.
void get_in_company(const Dict& dict, const passel::Semaphore& reached, const passel::Event& go,
                    std::int64_t times) {
  dict.at("key").unwrap();
  reached.release().unwrap();
  go.wait();
  for (std::int64_t i = 0; i < times; ++i) dict.at("key").unwrap();
  reached.release().unwrap();
}

/// `count` processes at once, `times` calls each.
Contender get_from(int count, const Address& address, std::int64_t times) {
  const auto body = [=](benchmark::State& state) {
    auto manager = manager_at(address);
    const Dict dict = manager.dict<std::string, std::int64_t>({{"key", 1}}).unwrap();
    const passel::Semaphore reached{0};
    const auto await_all = [&] {
      for (int i = 0; i < count; ++i) reached.acquire().unwrap().detach();
    };
    for (auto _ : state) {
      const passel::Event go;
      std::vector<passel::Process> processes;
      for (int i = 0; i < count; ++i) {
        processes.push_back(
            passel::Process::spawn<get_in_company>(dict, reached, go, times).unwrap());
      }
      await_all();
      const auto begin = std::chrono::steady_clock::now();
      go.set();
      await_all();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      state.SetIterationTime(taken.count());
      for (auto& process : processes) process.join().unwrap();
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * count * times);
  };
  return {.name = "passel", .body = body, .turns = 1};
}

void get_many_at_a_time(benchmark::State& state) {
  auto manager = manager_at(UnixAddress{});
  const Dict dict = manager.dict<std::string, std::int64_t>({{"key", 1}}).unwrap();
  std::vector<passel::Future<passel::WireValue>> asked;
  for (auto _ : state) {
    for (int i = 0; i < in_flight; ++i)
      asked.push_back(dict.call_async<passel::WireValue>("at", passel::WireValue{"key"}));
    for (auto& one : asked) benchmark::DoNotOptimize(one.get().unwrap());
    asked.clear();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * in_flight);
}

void fill(const passel::QueueProxy<std::int64_t>& queue, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) queue.put(i).unwrap();
}

void fill_by_hundreds(const passel::QueueProxy<std::int64_t>& queue, std::int64_t count) {
  std::vector<std::int64_t> batch(100);
  for (std::int64_t i = 0; i < count; i += 100) queue.put_many(batch).unwrap();
}

/// From one client to another through a queue, one by one or by hundreds.
template <auto Fill>
Contender through_queue(std::int64_t count) {
  const auto body = [=](benchmark::State& state) {
    auto manager = manager_at(UnixAddress{});
    const auto queue = manager.queue<std::int64_t>(1000).unwrap();
    for (auto _ : state) {
      auto producer = passel::Process::spawn<Fill>(queue, count).unwrap();
      queue.get().unwrap();  // it runs
      const auto begin = std::chrono::steady_clock::now();
      for (std::int64_t got = 1; got < count;) {
        if constexpr (Fill == &fill) {
          queue.get().unwrap();
          ++got;
        } else {
          got += static_cast<std::int64_t>(queue.get_many(100).unwrap().size());
        }
      }
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      state.SetIterationTime(taken.count());
      producer.join().unwrap();
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * (count - 1));
  };
  return {.name = "passel", .body = body, .turns = 1};
}

void lock_and_unlock(benchmark::State& state) {
  auto manager = manager_at(UnixAddress{});
  const auto lock = manager.lock().unwrap();
  for (auto _ : state) lock.acquire().unwrap().release().unwrap();
}

void set_a_mebibyte(benchmark::State& state) {
  auto manager = manager_at(UnixAddress{});
  const auto dict = manager.dict<std::string, std::string>().unwrap();
  const std::string mebibyte(1 << 20, 'x');
  for (auto _ : state) dict.set("key", mebibyte).unwrap();
}

/// A connection of its own with the key proved, one call, and goodbye.
Contender connect_and_call(const Address& address) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            auto manager = manager_at(address);
            auto& loop = *passel::detail::runtime_io().unwrap();
            passel::detail::SessionLinkOptions options;
            options.authkey = passel::authkey();
            for (auto _ : state) {
              const auto link =
                  passel::detail::SessionLink::connect(loop, manager.address(), options,
                                                       passel::detail::Deadline::never())
                      .unwrap();
              passel::detail::SessionCall call;
              call.method = "number_of_objects";
              call.args = passel::detail::encode_pack().unwrap();
              benchmark::DoNotOptimize(link->call(call).unwrap());
              link->leave();
            }
          }};
}

void start_and_end(benchmark::State& state) {
  for (auto _ : state) {
    auto manager = manager_at(UnixAddress{});
    manager.shutdown().unwrap();
  }
}

Contender socket_pair() {
  return {.name = "bare socket pair", .body = [](benchmark::State& state) {
            const RawPeer peer{Stream::socket, echo<std::int64_t>};
            std::int64_t item = 1;
            for (auto _ : state) {
              peer.send(&item, sizeof item);
              peer.receive(&item, sizeof item);
            }
          }};
}

// ---- Redis ------------------------------------------------------------------------------------

/// `loop(state, line)` against a server of its own.
template <class Loop>
Contender redis(Loop loop) {
  const auto body = [loop](benchmark::State& state) {
    const RedisServer server;
    RedisLine line{server.path()};
    line.ask({"SET", "key", "1"});
    loop(state, line, server);
  };
  return {.name = "Redis", .body = body, .missing = redis_missing()};
}

/// The same words again and again.
template <class... Words>
Contender redis_asks(Words... words) {
  return redis([=](benchmark::State& state, RedisLine& line, const RedisServer&) {
    for (auto _ : state) line.ask({words...});
  });
}

void get_many_of_redis(benchmark::State& state, RedisLine& line, const RedisServer&) {
  for (auto _ : state) {
    for (int i = 0; i < in_flight; ++i) line.add({"GET", "key"});
    line.send();
    for (int i = 0; i < in_flight; ++i) line.receive();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * in_flight);
}

/// A process that does something `times` when it is told, and then says so; told `stop` it ends:
/// others that were forked later have copies of its line.
constexpr char start = 1;
constexpr char stop = 0;
template <class Act>
auto redis_worker(const std::string& path, std::int64_t times, Act act) {
  return [=](int in, int out) {
    RedisLine line{path};
    char go = 0;
    while (read_all(in, &go, 1) && go != stop) {
      for (std::int64_t i = 0; i < times; ++i) act(line);
      write_all(out, &go, 1);
    }
  };
}

Contender redis_from(int count, std::int64_t times) {
  auto contender = redis([=](benchmark::State& state, RedisLine&, const RedisServer& server) {
    const auto work = redis_worker(server.path(), times, [](RedisLine& line) {
      line.ask({"GET", "key"});
    });
    std::list<RawPeer> peers;
    for (int i = 0; i < count; ++i) peers.emplace_back(Stream::socket, work);
    for (auto _ : state) {
      char done = 0;
      const auto begin = std::chrono::steady_clock::now();
      for (const RawPeer& peer : peers) peer.send(&start, 1);
      for (const RawPeer& peer : peers) peer.receive(&done, 1);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      state.SetIterationTime(taken.count());
    }
    for (const RawPeer& peer : peers) peer.send(&stop, 1);
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * count * times);
  });
  contender.turns = 1;
  return contender;
}

Contender redis_queue(std::int64_t count) {
  auto contender = redis([=](benchmark::State& state, RedisLine& line, const RedisServer& server) {
    const RawPeer producer{Stream::socket, redis_worker(server.path(), count, [](RedisLine& to) {
                             to.ask({"LPUSH", "queue", "1"});
                           })};
    for (auto _ : state) {
      char done = 0;
      const auto begin = std::chrono::steady_clock::now();
      producer.send(&start, 1);
      for (std::int64_t got = 0; got < count; ++got) line.ask({"BRPOP", "queue", "0"});
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      state.SetIterationTime(taken.count());
      producer.receive(&done, 1);
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * count);
  });
  contender.turns = 1;
  return contender;
}

/// The producer does not wait for each answer: a hundred pushes at a time, and as many pops.
Contender redis_stream(std::int64_t count) {
  auto contender = redis([=](benchmark::State& state, RedisLine& line, const RedisServer& server) {
    const RawPeer producer{Stream::socket,
                           redis_worker(server.path(), count / 100, [](RedisLine& to) {
                             for (int i = 0; i < 100; ++i) to.add({"RPUSH", "queue", "1"});
                             to.send();
                             for (int i = 0; i < 100; ++i) to.receive();
                           })};
    for (auto _ : state) {
      char done = 0;
      const auto begin = std::chrono::steady_clock::now();
      producer.send(&start, 1);
      for (std::int64_t got = 0; got < count;) {
        line.ask({"BLPOP", "queue", "0"});
        got += 1 + static_cast<std::int64_t>(line.ask({"LPOP", "queue", "100"}));
      }
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      state.SetIterationTime(taken.count());
      producer.receive(&done, 1);
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * count);
  });
  contender.turns = 1;
  return contender;
}

void lock_by_redis(benchmark::State& state, RedisLine& line, const RedisServer&) {
  for (auto _ : state) {
    line.ask({"SET", "lock", "1", "NX"});
    line.ask({"DEL", "lock"});
  }
}

void set_a_mebibyte_of_redis(benchmark::State& state, RedisLine& line, const RedisServer&) {
  const std::string mebibyte(1 << 20, 'x');
  for (auto _ : state) line.ask({"SET", "key", mebibyte});
}

void connect_to_redis(benchmark::State& state, RedisLine&, const RedisServer& server) {
  for (auto _ : state) RedisLine{server.path()}.ask({"GET", "key"});
}

}  // namespace

void manager_rows(Table& table) {
  table.group("manager");
  const auto python = [&](const std::string& what, std::int64_t count) {
    return table.python("Manager", "manager " + what + " " + std::to_string(table.count(count)));
  };
  table.row("dict get", get_at(UnixAddress{}),
            {socket_pair(), redis_asks("GET", "key"), python("get unix", 5000)});
  table.row("dict get, TLS", get_at(TcpAddress{}), {python("get tcp", 5000)});
  table.row("dict set", {.name = "passel", .body = set_often},
            {redis_asks("SET", "key", "1"), python("set unix", 5000)});
  table.row("dict get, 4 clients", get_from(clients, UnixAddress{}, table.count(5000)),
            {redis_from(clients, table.count(5000)), python("get_from_four unix", 2000)});
  table.row("dict get, TLS, 4 clients", get_from(clients, TcpAddress{}, table.count(5000)),
            {python("get_from_four tcp", 2000)});
  table.row("dict get, 128 in flight", {.name = "passel", .body = get_many_at_a_time},
            {redis(get_many_of_redis), python("get unix", 5000)});
  table.row("Queue, to another client", through_queue<&fill>(table.count(20'000)),
            {redis_queue(table.count(20'000)), python("queue unix", 5000)});
  table.row("Queue, 100 at a time", through_queue<&fill_by_hundreds>(100 * table.count(2'000) + 1),
            {redis_stream(100 * table.count(2'000)), python("queue unix", 5000)});
  table.row("Lock and unlock", {.name = "passel", .body = lock_and_unlock},
            {redis(lock_by_redis), python("lock unix", 5000)});
  table.row("dict set, 1 MiB", {.name = "passel", .body = set_a_mebibyte},
            {redis(set_a_mebibyte_of_redis), python("mebibyte unix", 200)});
  table.row("connect and call", connect_and_call(UnixAddress{}),
            {redis(connect_to_redis), python("connect unix", 200)});
  table.row("connect and call, TLS", connect_and_call(TcpAddress{}), {python("connect tcp", 20)});
  table.row("start and end", {.name = "passel", .body = start_and_end}, {python("start unix", 20)});
}

}  // namespace bench
