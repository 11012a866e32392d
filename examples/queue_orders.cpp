// Example: first in first out, last in first out, smallest first.
#include <passel/lifo_queue.hpp>
#include <passel/priority_queue.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>

#include <cstdio>

template <class Q>
void show(const char* name, Q& queue) {
  for (const int n : {2, 3, 1}) queue.put(n).unwrap();
  std::printf("%s:", name);
  for (int i = 0; i < 3; ++i) std::printf(" %d", queue.get().unwrap());
  std::puts("");
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  passel::Queue<int> fifo;
  passel::LifoQueue<int> lifo;
  passel::PriorityQueue<int> smallest_first;
  show("Queue", fifo);
  show("LifoQueue", lifo);
  show("PriorityQueue", smallest_first);
}
