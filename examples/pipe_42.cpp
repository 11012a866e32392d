// Example: values of any kind through a pipe: a list of an integer, nothing and a text.
#include <passel/pipe.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>
#include <passel/wire_value.hpp>

#include <cstdio>

void send_some(passel::Connection line) {
  line.send(passel::WireValue::list({42, nullptr, "hello"})).unwrap();
  line.close();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto [parent, child] = passel::Pipe::create().unwrap();
  auto p = passel::Process::spawn<send_some>(std::move(child)).unwrap();
  std::puts(parent.recv<passel::WireValue>().unwrap().to_string().c_str());
  p.join().unwrap();
}
