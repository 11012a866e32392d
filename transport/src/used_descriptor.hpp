// Layer transport: a descriptor that threads use while another one closes it.
#pragma once

#include <passel/detail/deadline.hpp>
#include <passel/detail/descriptor.hpp>
#include <passel/result.hpp>

#include <atomic>
#include <cstdint>
#include <utility>

namespace passel::inline v0::detail {

/// Waits until `fd` has one of `events`; false when the deadline passed. Errors: system.
[[nodiscard]] Result<bool> wait_for_events(int fd, short events, Deadline deadline);

/// Mutual exclusion of threads with a deadline.
class ConnectionTurn {
 public:
  [[nodiscard]] bool take(Deadline deadline) noexcept;
  void give() noexcept;

 private:
  std::atomic<std::uint32_t> word_{0};  // 0 free, 1 taken, 2 taken and perhaps waited for
};

/// A turn that was taken.
class TurnHeld {
 public:
  explicit TurnHeld(ConnectionTurn& turn) noexcept : turn_{turn} {}
  TurnHeld(const TurnHeld&) = delete;
  TurnHeld& operator=(const TurnHeld&) = delete;
  ~TurnHeld() { turn_.give(); }

 private:
  ConnectionTurn& turn_;
};

/// Owns a descriptor that is closed once nobody uses it any more.
class UsedDescriptor {
 public:
  explicit UsedDescriptor(Descriptor descriptor) noexcept : descriptor_{std::move(descriptor)} {}

  /// Keeps the descriptor open for as long as it lives; false when it is closed already.
  class Use {
   public:
    explicit Use(UsedDescriptor& descriptor) noexcept
        : descriptor_{&descriptor}, open_{descriptor.enter()} {}
    Use(Use&& other) noexcept
        : descriptor_{std::exchange(other.descriptor_, nullptr)}, open_{other.open_} {}
    Use& operator=(Use&&) = delete;
    ~Use() {
      if (descriptor_ != nullptr) descriptor_->leave();
    }
    [[nodiscard]] explicit operator bool() const noexcept { return open_; }

   private:
    UsedDescriptor* descriptor_;
    bool open_;
  };

  enum class Closing { done_before, nobody_inside, somebody_inside };
  /// Lets nobody in any more; the caller must hold a Use, which does not count as somebody. The
  /// descriptor stays open until the last one leaves, so there is time to wake those inside.
  Closing close() noexcept;
  [[nodiscard]] bool closed() const noexcept {
    return (uses_.load(std::memory_order_seq_cst) & closed_bit) != 0;
  }
  /// Valid during a Use.
  [[nodiscard]] int get() const noexcept { return descriptor_.get(); }

 private:
  bool enter() noexcept {
    return (uses_.fetch_add(1, std::memory_order_seq_cst) & closed_bit) == 0;
  }
  void leave() noexcept;

  static constexpr std::uint32_t closed_bit = 1U << 31;
  std::atomic<std::uint32_t> uses_{0};  // with closed_bit
  std::atomic<bool> released_{false};
  Descriptor descriptor_;
};

}  // namespace passel::inline v0::detail
