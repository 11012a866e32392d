// Example: a pipe between two children; each of them is given one end.
#include <passel/pipe.hpp>
#include <passel/process.hpp>
#include <passel/runtime.hpp>

#include <cstdio>
#include <string>

void producer(passel::Connection pipe) { pipe.send(std::string{"a"}).unwrap(); }

void consumer(passel::Connection pipe) { std::puts(pipe.recv<std::string>().unwrap().c_str()); }

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto [receive_pipe, send_pipe] = passel::Pipe::create().unwrap();
  auto my_producer = passel::Process::make<producer>({}, std::move(send_pipe));
  auto my_consumer = passel::Process::make<consumer>({}, std::move(receive_pipe));
  my_producer.start().unwrap();
  my_consumer.start().unwrap();
  my_producer.join().unwrap();
  my_consumer.join().unwrap();
}
