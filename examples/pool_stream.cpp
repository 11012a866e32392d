// Example: a task whose results come while it runs (a generator that lives in another process). A
// second one is killed in the middle: what it had sent is there, and then its end is told.
#include <passel/pool.hpp>
#include <passel/runtime.hpp>

#include <csignal>
#include <cstdio>

bool is_prime(int number) {
  for (int divisor = 2; divisor * divisor <= number; ++divisor)
    if (number % divisor == 0) return false;
  return number > 1;
}

void primes(passel::TaskOutput<int>& out) {
  for (int number = 2;; ++number)
    if (is_prime(number) && !out.send(number)) return;  // nobody wants more
}

void dies_at_seven(passel::TaskOutput<int>& out) {
  for (const int prime : {2, 3, 5, 7}) {
    if (prime == 7) std::raise(SIGKILL);
    out.send(prime).unwrap();
  }
}

int main(int argc, char** argv) {
  passel::Runtime runtime{argc, argv};
  auto pool = passel::Pool::start({.processes = 2}).unwrap();

  auto stream = pool.stream<primes>().unwrap();
  for (const auto& prime : stream) {
    if (*prime > 20) break;
    std::printf("%d is prime\n", *prime);
  }
  stream.stop();

  auto short_one = pool.stream<dies_at_seven>().unwrap();
  for (const auto& prime : short_one) {
    if (prime)
      std::printf("%d came\n", *prime);
    else
      std::printf("the end: %s\n",
                  prime.error() == passel::Errc::worker_lost ? "the worker is gone" : "?");
  }
  std::puts("done");
}
