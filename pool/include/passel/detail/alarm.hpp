// Layer pool: something that is to happen at a time.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/export.hpp>
#include <passel/result.hpp>

#include <cstdint>
#include <functional>
#include <utility>

namespace passel::inline v0::detail {

class IoLoop;

/// Called at its time, on the I/O thread, unless it is gone by then. Who is being called when it
/// goes is not waited for.
class PASSEL_API Alarm {
 public:
  Alarm() noexcept = default;
  /// Errors: those of runtime_io.
  [[nodiscard]] static Result<Alarm> set(Deadline when, std::function<void()> call);
  Alarm(Alarm&& other) noexcept
      : loop_{std::exchange(other.loop_, nullptr)}, key_{std::move(other.key_)} {}
  Alarm& operator=(Alarm&& other) noexcept {
    std::swap(loop_, other.loop_);
    std::swap(key_, other.key_);
    return *this;
  }
  ~Alarm();

  [[nodiscard]] bool is_set() const noexcept { return loop_ != nullptr; }

 private:
  IoLoop* loop_ = nullptr;
  std::pair<Deadline::Clock::time_point, std::uint64_t> key_{};
};

}  // namespace passel::inline v0::detail
