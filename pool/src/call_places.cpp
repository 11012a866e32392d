// Layer pool: how many calls may be unanswered at a time, and who waits until one is answered.
#include <passel/detail/call_places.hpp>

#include <passel/detail/observed_wait.hpp>

#include <string>

namespace passel::inline v0::detail {

Result<void> CallPlaces::enter(Deadline deadline) {
  std::unique_lock lock{mutex_};
  const auto free = [this] { return closed_ || taken_ < most_ || most_ == 0; };
  if (!observed_wait(lock, changed_, deadline, free)) {
    return Error{deadline.is_try() ? Errc::full : Errc::timeout,
                 std::to_string(taken_) + " of " + std::to_string(most_) +
                     " calls that may be unanswered have no answer yet"};
  }
  ++taken_;
  return {};
}

void CallPlaces::enter_at_once() {
  const std::lock_guard lock{mutex_};
  ++taken_;
}

void CallPlaces::leave() noexcept {
  const std::lock_guard lock{mutex_};
  --taken_;
  // Of those who wait for different things each must look.
  changed_.notify_all();
}

void CallPlaces::close() {
  const std::lock_guard lock{mutex_};
  closed_ = true;
  changed_.notify_all();
}

std::size_t CallPlaces::drain(Deadline deadline) {
  std::unique_lock lock{mutex_};
  static_cast<void>(observed_wait(lock, changed_, deadline, [this] { return taken_ == 0; }));
  return taken_;
}

}  // namespace passel::inline v0::detail
