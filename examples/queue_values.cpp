// Example: values of any kind through a queue: a list of an integer, nothing and a text.
#include <passel/process.hpp>
#include <passel/queue.hpp>
#include <passel/runtime.hpp>
#include <passel/wire_value.hpp>

#include <cstdio>

void put_some(const passel::Queue<passel::WireValue>& queue) {
  queue.put(passel::WireValue::list({42, nullptr, "hello"})).unwrap();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  passel::Queue<passel::WireValue> queue;
  auto p = passel::Process::spawn<put_some>(queue).unwrap();
  std::puts(queue.get().unwrap().to_string().c_str());
  p.join().unwrap();
}
