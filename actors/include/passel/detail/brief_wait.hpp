// Layer actors: waiting for another thread that is in the middle of a step.
#pragma once

#include <passel/export.hpp>

#include <cstdint>

namespace passel::inline v0::detail {

/// Waits for something that another thread finishes within a few instructions. Pauses at first;
/// when the other thread seems to have lost its CPU in between, gives this one away for a moment.
class PASSEL_API BriefWait {
 public:
  void pause() noexcept;

 private:
  std::uint32_t step_ = 0;
};

}  // namespace passel::inline v0::detail
