// Tools: benchmark group event. From the set of an event until four processes are awake, and a
// round of a barrier, beside a bare futex, pthread's barrier and CPython's.
#include "bench.hpp"
#include "raw_peer.hpp"

#include <passel/barrier.hpp>
#include <passel/detail/futex.hpp>
#include <passel/event.hpp>
#include <passel/process.hpp>
#include <passel/shared_memory.hpp>

#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace bench {

namespace {

constexpr int waiters = 4;
constexpr int everybody = std::numeric_limits<int>::max();
constexpr auto host = passel::detail::FutexScope::host;

/// A word that processes sleep on.
struct Word {
  std::atomic<std::uint32_t> value;
  void sleep_while(std::uint32_t seen) {
    passel::detail::futex_wait(value, seen, passel::detail::Deadline::never(), host);
  }
  void add_and_wake() {
    value.fetch_add(1);
    passel::detail::futex_wake(value, everybody, host);
  }
};

/// What all sides of a benchmark see.
struct Shared {
  Word bell;   ///< of the bare futex
  Word awake;  ///< how many have been awake, all turns together
  std::atomic<std::uint32_t> here;
  pthread_barrier_t barrier;

  void report(std::uint32_t last) {
    if (awake.value.fetch_add(1) + 1 == last) passel::detail::futex_wake(awake.value, 1, host);
  }
  void await(std::uint32_t last) {
    for (std::uint32_t seen = awake.value; seen < last; seen = awake.value) awake.sleep_while(seen);
  }
  /// A barrier of nothing but a futex.
  void meet(std::uint32_t parties) {
    const std::uint32_t round = bell.value;
    if (here.fetch_add(1) + 1 == parties) {
      here.store(0);
      bell.add_and_wake();
    } else {
      while (bell.value == round) bell.sleep_while(round);
    }
  }
};

class SharedWithForks {
 public:
  SharedWithForks()
      : at_{new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                      -1, 0)) Shared{}} {}
  SharedWithForks(const SharedWithForks&) = delete;
  SharedWithForks& operator=(const SharedWithForks&) = delete;
  ~SharedWithForks() { munmap(at_, sizeof(Shared)); }
  Shared* operator->() const { return at_; }

 private:
  Shared* at_;
};

template <class Body>
std::vector<std::unique_ptr<RawPeer>> fork_peers(int count, Body body) {
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < count; ++i) {
    peers.push_back(std::make_unique<RawPeer>(Stream::pipes, [&](int, int) { body(); }));
  }
  return peers;
}

/// Two events in turn, so that each is cleared when nobody waits for it.
void wait_in_turn(const passel::Event& a, const passel::Event& b,
                  const passel::SharedMemory& memory, std::uint32_t turns) {
  auto& shared = *reinterpret_cast<Shared*>(memory.buf().data());
  for (std::uint32_t i = 0; i < turns; ++i) {
    (i % 2 == 0 ? a : b).wait();
    shared.report((i + 1) * waiters);
  }
}

void event_turns(benchmark::State& state) {
  const passel::Event a;
  const passel::Event b;
  const auto memory = passel::SharedMemory::create(sizeof(Shared)).unwrap();
  auto& shared = *new (memory.buf().data()) Shared{};
  const auto turns = static_cast<std::uint32_t>(state.max_iterations);
  std::vector<passel::Process> peers;
  for (int i = 0; i < waiters; ++i) {
    peers.push_back(passel::Process::spawn<wait_in_turn>(a, b, memory, turns).unwrap());
  }
  std::uint32_t turn = 0;
  for (auto _ : state) {
    const passel::Event& event = turn % 2 == 0 ? a : b;
    event.set();
    shared.await(++turn * waiters);
    event.clear();
  }
  for (auto& peer : peers) peer.join().unwrap();
}

void futex_turns(benchmark::State& state) {
  const SharedWithForks shared;
  const auto turns = static_cast<std::uint32_t>(state.max_iterations);
  const auto peers = fork_peers(waiters, [&] {
    for (std::uint32_t i = 0; i < turns; ++i) {
      while (shared->bell.value == i) shared->bell.sleep_while(i);
      shared->report((i + 1) * waiters);
    }
  });
  std::uint32_t turn = 0;
  for (auto _ : state) {
    shared->bell.add_and_wake();
    shared->await(++turn * waiters);
  }
}

void meet_often(const passel::Barrier& barrier, std::uint32_t turns) {
  for (std::uint32_t i = 0; i < turns; ++i) barrier.wait().unwrap();
}

Contender barrier_rounds(int parties) {
  return {.name = "passel", .body = [=](benchmark::State& state) {
            const passel::Barrier barrier{parties};
            const auto rounds = static_cast<std::uint32_t>(state.max_iterations);
            std::vector<passel::Process> peers;
            for (int i = 1; i < parties; ++i) {
              peers.push_back(passel::Process::spawn<meet_often>(barrier, rounds).unwrap());
            }
            for (auto _ : state) barrier.wait().unwrap();
            for (auto& peer : peers) peer.join().unwrap();
          }};
}

Contender futex_rounds(int parties) {
  return {.name = "bare futex", .body = [=](benchmark::State& state) {
            const SharedWithForks shared;
            const auto meet = [&] { shared->meet(static_cast<std::uint32_t>(parties)); };
            const auto rounds = state.max_iterations;
            const auto peers = fork_peers(parties - 1, [&] {
              for (benchmark::IterationCount i = 0; i < rounds; ++i) meet();
            });
            for (auto _ : state) meet();
          }};
}

Contender pthread_rounds(int parties) {
  return {.name = "pthread_barrier", .body = [=](benchmark::State& state) {
            const SharedWithForks shared;
            pthread_barrierattr_t attributes;
            pthread_barrierattr_init(&attributes);
            pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
            pthread_barrier_init(&shared->barrier, &attributes, static_cast<unsigned>(parties));
            const auto rounds = state.max_iterations;
            const auto peers = fork_peers(parties - 1, [&] {
              for (benchmark::IterationCount i = 0; i < rounds; ++i) {
                pthread_barrier_wait(&shared->barrier);
              }
            });
            for (auto _ : state) pthread_barrier_wait(&shared->barrier);
          }};
}

}  // namespace

void event_rows(Table& table) {
  table.group("event");
  table.row("Event, set until 4 processes awake", {.name = "passel", .body = event_turns},
            {{.name = "bare futex", .body = futex_turns},
             table.python("multiprocessing.Event", "event " + std::to_string(table.count(500)))});
  for (const int parties : {2, 4}) {
    const std::string count = std::to_string(parties);
    table.row("Barrier, a round of " + count + " processes", barrier_rounds(parties),
              {futex_rounds(parties), pthread_rounds(parties),
               table.python("multiprocessing.Barrier",
                            "barrier " + count + " " + std::to_string(table.count(500)))});
  }
}

}  // namespace bench
