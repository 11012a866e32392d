// Tool passel: signals that a command waits for.
#include "signals.hpp"

#include <cerrno>
#include <ctime>

namespace passel_cli {

AwaitedSignals::AwaitedSignals(std::initializer_list<int> signals) {
  sigemptyset(&set_);
  for (const int signal : signals) sigaddset(&set_, signal);
  ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
}

std::optional<int> AwaitedSignals::wait(std::optional<std::chrono::nanoseconds> limit) const {
  while (true) {
    int signal = 0;
    if (limit) {
      const timespec time{.tv_sec = limit->count() / 1'000'000'000,
                          .tv_nsec = limit->count() % 1'000'000'000};
      signal = ::sigtimedwait(&set_, nullptr, &time);
    } else {
      signal = ::sigwaitinfo(&set_, nullptr);
    }
    if (signal > 0) return signal;
    if (errno != EINTR) return std::nullopt;
  }
}

}  // namespace passel_cli
