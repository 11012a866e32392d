// Layer transport: waiting for several connections, processes and descriptors at once.
#pragma once

#include <passel/connection.hpp>
#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

namespace passel::inline v0 {

class Listener;

namespace detail {
class UsedDescriptor;
}  // namespace detail

/// Something that `connection_wait` can wait for: a Connection, a Listener (ready when a client
/// came, which `accept` may still have to wait for the greeting of), or a descriptor such as a
/// socket or the sentinel of a Process. It does not own the descriptor; a Connection or Listener
/// may be closed or go while its Waitable is in use.
class PASSEL_API Waitable {
 public:
  Waitable(const Connection& connection);
  Waitable(const Listener& listener);
  Waitable(int descriptor) noexcept : descriptor_{descriptor} {}

 private:
  friend struct WaitableAccess;
  std::shared_ptr<detail::UsedDescriptor> held_;
  int descriptor_ = -1;
};

namespace detail {
[[nodiscard]] PASSEL_API Result<std::vector<std::size_t>> wait_for_any(
    std::span<const Waitable> objects, Deadline deadline);
}  // namespace detail

/// Waits until at least one of the objects is ready and returns the places of those that are, in
/// the order of `objects`. Ready means: something to receive, the other end gone, a process that
/// has ended. Nothing is received. Without objects it returns at once. Errors: closed for a
/// Connection that is closed here, invalid_argument for a descriptor that is not open. May be
/// called from any thread. (Python: multiprocessing.connection.wait)
///
///     auto ready = passel::connection_wait({line, child.sentinel().unwrap()}).unwrap();
///     for (std::size_t place : ready) if (place == 0) answer(line);
[[nodiscard]] inline Result<std::vector<std::size_t>> connection_wait(
    std::span<const Waitable> objects) {
  return detail::wait_for_any(objects, detail::Deadline::never());
}
[[nodiscard]] inline Result<std::vector<std::size_t>> connection_wait(
    std::initializer_list<Waitable> objects) {
  return connection_wait(std::span{objects.begin(), objects.size()});
}
/// Waits at most `timeout`; a negative one counts as zero, as in Python. No place when nothing
/// became ready in that time. Errors: as connection_wait.
template <class Rep, class Period>
[[nodiscard]] Result<std::vector<std::size_t>> connection_wait_for(
    std::span<const Waitable> objects, std::chrono::duration<Rep, Period> timeout) {
  return detail::wait_for_any(objects, detail::Deadline::after(timeout));
}
template <class Rep, class Period>
[[nodiscard]] Result<std::vector<std::size_t>> connection_wait_for(
    std::initializer_list<Waitable> objects, std::chrono::duration<Rep, Period> timeout) {
  return connection_wait_for(std::span{objects.begin(), objects.size()}, timeout);
}

}  // namespace passel::inline v0
