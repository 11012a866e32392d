// The program of README.md, built as a user would: against the installed headers and library.
#include <passel/passel.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

long square(long x) { return x * x; }

// Runs in a process of its own until the queue is shut down and empty.
void measure(const passel::Queue<std::string>& urls, const passel::Queue<std::size_t>& sizes) {
  for (const std::string& url : urls) sizes.put(url.size()).unwrap();
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};  // the first line: in a child process it never returns

  passel::Queue<std::string> urls{100};
  passel::Queue<std::size_t> sizes;
  auto worker = passel::Process::spawn<measure>(urls, sizes).unwrap();
  for (const char* url : {"http://a/", "http://example.org/"}) urls.put(url).unwrap();
  urls.shutdown();
  worker.join().unwrap();
  while (auto size = sizes.try_get()) std::printf("%zu characters\n", *size);

  auto pool = passel::Pool::start({.processes = 4}).unwrap();
  for (long y : pool.map<square>(std::vector{1L, 2L, 3L}).unwrap()) std::printf("%ld\n", y);

  auto doomed = pool.submit([](int code) { std::exit(code); }, 7);  // takes its worker with it
  auto fine = pool.submit<square>(12L);                             // and nobody else
  std::printf("%s, %ld\n", to_string(doomed.get().error().code()).data(), fine.get().unwrap());
}
