// Example: three processes meet at a barrier; it is broken, and mended.
#include <passel/barrier.hpp>
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include <algorithm>
#include <cstdio>
#include <vector>

/// Says that all are there; called by the last who comes.
void all_here() {
  std::puts("all here");
  std::fflush(stdout);
}

void take_part(const passel::Barrier& barrier, const passel::Queue<int>& results) {
  results.put(barrier.wait().unwrap()).unwrap();
  const auto second = barrier.wait();  // nobody completes this round
  results.put(second.is_ok() ? *second : -1).unwrap();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const auto barrier = passel::Barrier::create<all_here>({.parties = 3}).unwrap();
  const passel::Queue<int> results;
  auto a = passel::Process::spawn<take_part>(barrier, results).unwrap();
  auto b = passel::Process::spawn<take_part>(barrier, results).unwrap();

  std::vector<int> indices{barrier.wait().unwrap(), results.get().unwrap(), results.get().unwrap()};
  std::sort(indices.begin(), indices.end());
  std::printf("indices: {%d, %d, %d}\n", indices[0], indices[1], indices[2]);

  barrier.abort();
  for (int i = 0; i < 2; ++i) std::puts(results.get().unwrap() < 0 ? "broken" : "passed");
  std::printf("broken: %s\n", barrier.broken() ? "True" : "False");
  const auto late = barrier.wait();
  std::puts(late.error() == passel::Errc::broken ? "late: BrokenBarrierError" : "late: passed");

  barrier.reset();
  std::printf("broken after reset: %s, waiting: %d of %d\n", barrier.broken() ? "True" : "False",
              barrier.n_waiting(), barrier.parties());
}
