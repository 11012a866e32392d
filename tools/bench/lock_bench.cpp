// Tools: benchmark group lock. What taking and giving back costs, alone and against another, and
// what a turn of a condition costs, beside pthread's and CPython's.
#include "bench.hpp"
#include "raw_peer.hpp"

#include <passel/condition.hpp>
#include <passel/process.hpp>
#include <passel/semaphore.hpp>
#include <passel/shared_memory.hpp>

#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace bench {

namespace {

/// A standard Lockable of another kind.
class RobustMutex {
 public:
  RobustMutex() {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex_, &attributes);
  }
  void lock() { pthread_mutex_lock(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }
  pthread_mutex_t* get() { return &mutex_; }

 private:
  pthread_mutex_t mutex_;
};

class PosixSemaphore {
 public:
  PosixSemaphore() { sem_init(&semaphore_, 1, 1); }
  void lock() { sem_wait(&semaphore_); }
  void unlock() { sem_post(&semaphore_); }

 private:
  sem_t semaphore_;
};

/// What both sides of a contest see.
struct Contest {
  std::atomic<int> stop;
  std::atomic<int> running;
  std::atomic<long> turns;  ///< of the other side
};

/// An object in memory that a forked process shares.
template <class T>
class InSharedMemory {
 public:
  InSharedMemory()
      : at_{new (mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0)) T} {}
  InSharedMemory(const InSharedMemory&) = delete;
  InSharedMemory& operator=(const InSharedMemory&) = delete;
  ~InSharedMemory() { munmap(at_, sizeof(T)); }
  T& operator*() const { return *at_; }
  T* operator->() const { return at_; }

 private:
  T* at_;
};

template <class Take>
void compete(Contest& contest, Take take) {
  contest.running.store(1);
  contest.running.notify_all();
  long turns = 0;
  while (contest.stop.load(std::memory_order_relaxed) == 0) {
    take();
    ++turns;
  }
  contest.turns.store(turns);
}

/// Takes what the other side takes, too; both sides' turns count.
template <class Take, class Finish>
void contend(benchmark::State& state, Contest& contest, Take take, Finish finish) {
  while (contest.running.load() == 0) std::this_thread::yield();
  for (auto _ : state) take();
  contest.stop.store(1);
  finish();
  state.SetItemsProcessed(state.iterations() + contest.turns.load());
}

template <class L>
Contender alone(const std::string& name) {
  return {.name = name, .body = [](benchmark::State& state) {
            L lock;
            for (auto _ : state) {
              const std::lock_guard guard{lock};
              benchmark::ClobberMemory();
            }
          }};
}

template <class L>
Contender guarded(const std::string& name, passel::Reach reach) {
  return {.name = name, .body = [reach](benchmark::State& state) {
            const L lock{{.reach = reach}};
            for (auto _ : state) {
              const auto guard = lock.acquire().unwrap();
              benchmark::ClobberMemory();
            }
          }};
}

template <class L>
Contender two_threads(const std::string& name) {
  return {.name = name, .body = [](benchmark::State& state) {
            L lock;
            Contest contest{};
            const auto take = [&] { const std::lock_guard guard{lock}; };
            std::thread other{[&] { compete(contest, take); }};
            contend(state, contest, take, [&] { other.join(); });
          }};
}

template <class L>
Contender two_forks(const std::string& name) {
  return {.name = name, .body = [](benchmark::State& state) {
            const InSharedMemory<L> lock;
            const InSharedMemory<Contest> contest;
            const auto take = [&] { const std::lock_guard guard{*lock}; };
            auto other = std::make_unique<RawPeer>(Stream::pipes,
                                                   [&](int, int) { compete(*contest, take); });
            contend(state, *contest, take, [&] { other.reset(); });
          }};
}

void compete_for_lock(const passel::Lock& lock, const passel::SharedMemory& memory) {
  compete(*reinterpret_cast<Contest*>(memory.buf().data()),
          [&] { const auto guard = lock.acquire().unwrap(); });
}

void two_processes(benchmark::State& state) {
  const passel::Lock lock;
  const auto memory = passel::SharedMemory::create(sizeof(Contest)).unwrap();
  auto& contest = *new (memory.buf().data()) Contest{};
  auto other = passel::Process::spawn<compete_for_lock>(lock, memory).unwrap();
  contend(
      state, contest, [&] { const auto guard = lock.acquire().unwrap(); },
      [&] { other.join().unwrap(); });
}

void answer(const passel::Condition& cond, const passel::Semaphore& ready, int turns) {
  const auto guard = cond.acquire().unwrap();
  ready.release().unwrap();
  for (int i = 0; i < turns; ++i) {
    cond.wait().unwrap();
    cond.notify().unwrap();
  }
}

void condition_turns(benchmark::State& state) {
  const passel::Condition cond;
  const passel::Semaphore ready{0};
  const auto turns = static_cast<int>(state.max_iterations);
  auto other = passel::Process::spawn<answer>(cond, ready, turns).unwrap();
  ready.acquire().unwrap().detach();
  {
    const auto guard = cond.acquire().unwrap();
    for (auto _ : state) {
      cond.notify().unwrap();
      cond.wait().unwrap();
    }
  }
  other.join().unwrap();
}

struct PosixTurns {
  RobustMutex mutex;
  pthread_cond_t changed;
  int turn = 0;
  PosixTurns() {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&changed, &attributes);
  }
  void take(int mine) {
    mutex.lock();
    while (turn != mine) pthread_cond_wait(&changed, mutex.get());
    turn = 1 - mine;
    pthread_cond_signal(&changed);
    mutex.unlock();
  }
};

void posix_turns(benchmark::State& state) {
  const InSharedMemory<PosixTurns> turns;
  const auto count = state.max_iterations;
  const RawPeer other{Stream::pipes, [&](int, int) {
                        for (benchmark::IterationCount i = 0; i < count; ++i) turns->take(1);
                      }};
  for (auto _ : state) turns->take(0);
}

}  // namespace

void lock_rows(Table& table) {
  using passel::Reach;
  table.group("lock");
  const auto python = [&](const char* name, const char* work, long count) {
    return table.python(name, work + (" " + std::to_string(table.count(count))));
  };
  table.row("Lock, acquire + release", guarded<passel::Lock>("passel", Reach::host),
            {guarded<passel::Lock>("passel, reach threads", Reach::threads),
             alone<std::mutex>("std::mutex"), alone<RobustMutex>("robust pthread mutex"),
             alone<PosixSemaphore>("sem_t"), python("multiprocessing.Lock", "lock mp", 200000),
             python("threading.Lock", "lock threading", 200000)});
  table.row("RLock, acquire + release", guarded<passel::RLock>("passel", Reach::host),
            {alone<std::recursive_mutex>("std::recursive_mutex"),
             python("multiprocessing.RLock", "rlock mp", 200000),
             python("threading.RLock", "rlock threading", 200000)});
  table.row("BoundedSemaphore, acquire + release",
            guarded<passel::BoundedSemaphore>("passel", Reach::host),
            {alone<PosixSemaphore>("sem_t"),
             python("multiprocessing.BoundedSemaphore", "semaphore mp", 200000),
             python("threading.BoundedSemaphore", "semaphore threading", 50000)});
  table.row(
      "Lock, wanted by 2 threads", two_threads<passel::Lock>("passel"),
      {two_threads<std::mutex>("std::mutex"), two_threads<RobustMutex>("robust pthread mutex"),
       python("threading.Lock", "contend threading", 100000)});
  table.row("Lock, wanted by 2 processes", {.name = "passel", .body = two_processes},
            {two_forks<RobustMutex>("robust pthread mutex"), two_forks<PosixSemaphore>("sem_t"),
             python("multiprocessing.Lock", "contend mp", 100000)});
  table.row("Condition, a turn and back", {.name = "passel", .body = condition_turns},
            {{.name = "pthread_cond_t", .body = posix_turns},
             python("multiprocessing.Condition", "turns mp", 5000),
             python("threading.Condition", "turns threading", 5000)});
}

}  // namespace bench
