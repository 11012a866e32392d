// Layer transport: threads of the library, which no signal of the program is delivered to.
#pragma once

#include <passel/result.hpp>

#include <pthread.h>
#include <csignal>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace passel::inline v0::detail {

/// While it lives the calling thread takes no signal, and threads that it starts never do.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

/// A thread without signals; `name` has at most 15 letters. Error: no_space when the system has no
/// thread left: then the caller's signal mask is as before, and nothing has run.
template <class F>
[[nodiscard]] Result<std::thread> start_quiet_thread(const char* name, F body) {
  const SignalsBlocked quiet;
  try {
    std::thread thread{std::move(body)};
    ::pthread_setname_np(thread.native_handle(), name);
    return thread;
  } catch (const std::system_error& failed) {
    return Error{Errc::no_space, std::string{"cannot start thread "} + name + ": " + failed.what()};
  }
}

}  // namespace passel::inline v0::detail
