// Example: a function over a list, in five processes (Python: with Pool(5) as p: p.map(f, [1, 2,
// 3])).
#include <passel/pool.hpp>
#include <passel/runtime.hpp>

#include <cstdio>
#include <vector>

int square(int x) { return x * x; }

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto pool = passel::Pool::start({.processes = 5}).unwrap();
  for (const int y : pool.map<square>(std::vector{1, 2, 3}).unwrap()) std::printf("%d\n", y);
}
