// Example: a hundred tasks in eight processes, three ways: map, submit (Python's apply_async),
// apply.
#include <passel/pool.hpp>
#include <passel/runtime.hpp>

#include <cstdio>
#include <cstring>
#include <numeric>
#include <vector>

void print_it(int n) { std::printf("%d\n", n); }

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  const char* way = argc > 1 ? argv[1] : "map";
  auto pool = passel::Pool::start({.processes = 8}).unwrap();
  std::vector<int> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  if (std::strcmp(way, "map") == 0) {
    pool.map<print_it>(numbers).unwrap();
  } else if (std::strcmp(way, "submit") == 0) {
    std::vector<passel::Future<void>> pending;
    for (const int n : numbers) pending.push_back(pool.submit<print_it>(n));
    std::puts("test");  // the loop did not wait
    for (auto& future : pending) future.get().unwrap();
  } else {
    for (const int n : numbers) pool.apply<print_it>(n).unwrap();  // one after the other
    std::puts("test");
  }
  pool.close();
  pool.join().unwrap();
}
