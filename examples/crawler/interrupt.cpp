// Example crawler: signal handlers that only count.
#include "interrupt.hpp"

#include <atomic>
#include <csignal>

namespace crawler {
namespace {

std::atomic<int> signals{0};
struct sigaction old_int {};
struct sigaction old_term {};

extern "C" void count_signal(int) { signals.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

Interrupts::Interrupts() {
  signals = 0;
  struct sigaction action {};
  action.sa_handler = count_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &old_int);
  ::sigaction(SIGTERM, &action, &old_term);
}

Interrupts::~Interrupts() {
  ::sigaction(SIGINT, &old_int, nullptr);
  ::sigaction(SIGTERM, &old_term, nullptr);
}

int Interrupts::count() const { return signals.load(std::memory_order_relaxed); }

}  // namespace crawler
